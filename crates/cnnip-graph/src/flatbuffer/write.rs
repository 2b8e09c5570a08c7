//! Flatbuffers from a tree of tables, written front to back: a table first, then what it points at.

use super::{Field, Scalar, Scalars, SubTable, SubTables, Text, Union};

/// A table in memory that can be changed and, at the end, written.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableBuilder {
    /// Fields by number, ascending.
    fields: Vec<(u16, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    /// A number's bytes, kept in the table itself.
    Inline(Vec<u8>),
    /// A vector or string: element count, bytes, alignment of the first byte.
    Vector {
        count: usize,
        bytes: Vec<u8>,
        align: usize,
    },
    Table(TableBuilder),
    Tables(Vec<TableBuilder>),
}

impl TableBuilder {
    /// A table in which every field is absent.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn put(&mut self, id: u16, value: Value) {
        match self.fields.binary_search_by_key(&id, |field| field.0) {
            Ok(at) => self.fields[at].1 = value,
            Err(at) => self.fields.insert(at, (id, value)),
        }
    }

    fn with_value(mut self, id: u16, value: Value) -> Self {
        self.put(id, value);
        self
    }

    /// Sets a number; it is stored even when it equals the default.
    pub(crate) fn set<T: Scalar>(&mut self, field: Field<T>, value: T) {
        let mut bytes = Vec::new();
        value.put_le(&mut bytes);
        self.put(field.id, Value::Inline(bytes));
    }

    /// Sets a vector of numbers.
    pub(crate) fn set_list<T: Scalar>(&mut self, field: Field<Scalars<T>>, values: &[T]) {
        let mut bytes = Vec::with_capacity(values.len() * T::SIZE);
        values.iter().for_each(|value| value.put_le(&mut bytes));
        self.put(field.id, Value::Vector { count: values.len(), bytes, align: field.kind.align.max(T::SIZE) });
    }

    /// As [`set`](Self::set), chained.
    pub(crate) fn with<T: Scalar>(mut self, field: Field<T>, value: T) -> Self {
        self.set(field, value);
        self
    }

    /// As [`set_list`](Self::set_list), chained.
    pub(crate) fn with_list<T: Scalar>(mut self, field: Field<Scalars<T>>, values: &[T]) -> Self {
        self.set_list(field, values);
        self
    }

    /// Sets a string.
    pub(crate) fn with_text(self, field: Field<Text>, text: &str) -> Self {
        let bytes = [text.as_bytes(), &[0]].concat();
        self.with_value(field.id, Value::Vector { count: text.len(), bytes, align: 4 })
    }

    /// Sets a sub-table.
    pub(crate) fn with_table(self, field: Field<SubTable>, table: TableBuilder) -> Self {
        self.with_value(field.id, Value::Table(table))
    }

    /// Sets a vector of tables.
    pub(crate) fn with_tables(self, field: Field<SubTables>, tables: Vec<TableBuilder>) -> Self {
        self.with_value(field.id, Value::Tables(tables))
    }

    /// Sets a union.
    pub(crate) fn with_union(self, field: Field<Union>, tag: u8, table: TableBuilder) -> Self {
        self.with_value(field.id, Value::Inline(vec![tag])).with_value(field.id + 1, Value::Table(table))
    }

    /// The file whose root is this table.
    pub(crate) fn finish(&self, identifier: [u8; 4]) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend_from_slice(&identifier);
        let root = self.write(&mut out);
        patch(&mut out, 0, root);
        out
    }

    /// Appends vtable, table and everything below it; returns where the table begins.
    fn write(&self, out: &mut Vec<u8>) -> usize {
        let slots = self.fields.last().map_or(0, |field| usize::from(field.0) + 1);
        align(out, 8, 4 + 2 * slots);
        let vtable = out.len();
        out.resize(vtable + 4 + 2 * slots, 0);
        let table = out.len();
        u32_at(out, None, table - vtable);
        let children: Vec<_> = self.fields.iter().map(|field| write_inline(out, vtable, table, field)).collect();
        let size = out.len() - table;
        out[vtable..vtable + 2].copy_from_slice(&short(4 + 2 * slots));
        out[vtable + 2..vtable + 4].copy_from_slice(&short(size));
        for (place, (_, value)) in children.into_iter().zip(&self.fields) {
            write_child(out, place, value);
        }
        table
    }
}

/// Reserves or fills a field's place in its table and enters it in the vtable.
fn write_inline(out: &mut Vec<u8>, vtable: usize, table: usize, (id, value): &(u16, Value)) -> usize {
    let reference = [0; 4];
    let bytes = if let Value::Inline(bytes) = value { bytes.as_slice() } else { &reference };
    align(out, bytes.len(), 0);
    let place = out.len();
    out.extend_from_slice(bytes);
    let slot = vtable + 4 + 2 * usize::from(*id);
    out[slot..slot + 2].copy_from_slice(&short(place - table));
    place
}

/// Writes what the field at `place` points at, and the offset to it.
fn write_child(out: &mut Vec<u8>, place: usize, value: &Value) {
    let target = match value {
        Value::Inline(_) => return,
        Value::Vector { count, bytes, align } => write_vector(out, *count, bytes, *align),
        Value::Table(table) => table.write(out),
        Value::Tables(tables) => write_tables(out, tables),
    };
    patch(out, place, target);
}

fn write_vector(out: &mut Vec<u8>, count: usize, bytes: &[u8], alignment: usize) -> usize {
    align(out, alignment, 4);
    let at = out.len();
    u32_at(out, None, count);
    out.extend_from_slice(bytes);
    at
}

fn write_tables(out: &mut Vec<u8>, tables: &[TableBuilder]) -> usize {
    let at = write_vector(out, tables.len(), &vec![0; 4 * tables.len()], 4);
    for (index, table) in tables.iter().enumerate() {
        let target = table.write(out);
        patch(out, at + 4 + 4 * index, target);
    }
    at
}

/// Appends zeros until the byte `ahead` places further on stands at a multiple of `to`.
fn align(out: &mut Vec<u8>, to: usize, ahead: usize) {
    out.resize((out.len() + ahead).next_multiple_of(to) - ahead, 0);
}

/// Stores at `place` the offset from there to `target`.
fn patch(out: &mut Vec<u8>, place: usize, target: usize) {
    u32_at(out, Some(place), target - place);
}

/// Stores `value` at `place`, or appends it.
fn u32_at(out: &mut Vec<u8>, place: Option<usize>, value: usize) {
    let bytes = u32::try_from(value).expect("a model built in memory stays below 4 GiB").to_le_bytes();
    match place {
        Some(place) => out[place..place + 4].copy_from_slice(&bytes),
        None => out.extend_from_slice(&bytes),
    }
}

fn short(value: usize) -> [u8; 2] {
    u16::try_from(value).expect("tables of this schema stay below 64 KiB").to_le_bytes()
}

#[cfg(test)]
impl TableBuilder {
    /// The tables of a field, to be damaged by a test.
    pub(crate) fn tables_mut(&mut self, field: Field<SubTables>) -> &mut Vec<TableBuilder> {
        let found = self.fields.iter_mut().find(|(id, _)| *id == field.id);
        let Some((_, Value::Tables(tables))) = found else { panic!("field {} holds no tables", field.id) };
        tables
    }

    /// The table of a field or union, to be damaged by a test.
    pub(crate) fn table_mut(&mut self, id: u16) -> &mut TableBuilder {
        let found = self.fields.iter_mut().find(|field| field.0 == id);
        let Some((_, Value::Table(table))) = found else { panic!("field {id} holds no table") };
        table
    }

    /// The bytes of a number, if it is there.
    pub(crate) fn bytes<T: Scalar>(&self, field: Field<T>) -> Option<&[u8]> {
        self.fields.iter().find_map(|(id, value)| match value {
            Value::Inline(bytes) if *id == field.id => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// Makes a field absent.
    pub(crate) fn remove<K>(&mut self, field: Field<K>) {
        self.fields.retain(|(id, _)| *id != field.id);
    }
}
