//! Views into a flatbuffer file. Nothing is copied; every access is checked against the file's end.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Range;

use super::{Corrupt, Field, Scalar, Scalars, SubTable, SubTables, Text, Union};

/// The root table of `file`.
pub(crate) fn root(file: &[u8]) -> Result<Table<'_>, Corrupt> {
    Table::at(file, follow(file, 0)?)
}

/// A table: its place in the file and its vtable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    file: &'a [u8],
    at: usize,
    vtable: &'a [u8],
}

impl<'a> Table<'a> {
    fn at(file: &'a [u8], at: usize) -> Result<Self, Corrupt> {
        let back: i32 = scalar(file, at, "the offset to a vtable")?;
        let corrupt = Corrupt { at, what: "a vtable inside the file" };
        let start = i64::try_from(at).ok().and_then(|at| usize::try_from(at - i64::from(back)).ok()).ok_or(corrupt)?;
        let len = usize::from(scalar::<u16>(file, start, "the length of a vtable")?);
        let vtable = slice(file, start, len, "a vtable")?;
        Ok(Self { file, at, vtable })
    }

    /// Where field `id` stands in the file, `None` if it is absent.
    fn place(&self, id: u16) -> Option<usize> {
        let slot = 4 + 2 * usize::from(id);
        let offset = self.vtable.get(slot..).and_then(u16::get_le)?;
        (offset != 0).then(|| self.at + usize::from(offset))
    }

    /// What the forward offset in field `id` points at, `None` if the field is absent.
    fn target(&self, id: u16) -> Result<Option<usize>, Corrupt> {
        self.place(id).map(|at| follow(self.file, at)).transpose()
    }

    /// A number; the schema's default if absent.
    pub(crate) fn scalar<T: Scalar>(&self, field: Field<T>) -> Result<T, Corrupt> {
        self.place(field.id).map_or(Ok(field.kind), |at| scalar(self.file, at, "a number"))
    }

    /// Whether the field is there at all.
    pub(crate) fn has<K>(&self, field: Field<K>) -> bool {
        self.place(field.id).is_some()
    }

    /// A vector of numbers; empty if absent.
    pub(crate) fn list<T: Scalar>(&self, field: Field<Scalars<T>>) -> Result<List<'a, T>, Corrupt> {
        self.target(field.id)?.map_or(Ok(List::EMPTY), |at| vector(self.file, at, T::SIZE).map(List::new))
    }

    /// A string, with the replacement character for what is not UTF-8; empty if absent.
    pub(crate) fn text(&self, field: Field<Text>) -> Result<Cow<'a, str>, Corrupt> {
        let Some(at) = self.target(field.id)? else { return Ok(Cow::Borrowed("")) };
        vector(self.file, at, 1).map(|(_, bytes)| String::from_utf8_lossy(bytes))
    }

    /// A sub-table.
    pub(crate) fn table(&self, field: Field<SubTable>) -> Result<Option<Table<'a>>, Corrupt> {
        self.target(field.id)?.map(|at| Table::at(self.file, at)).transpose()
    }

    /// A vector of tables; empty if absent.
    pub(crate) fn tables(&self, field: Field<SubTables>) -> Result<Tables<'a>, Corrupt> {
        let offsets = self.target(field.id)?.map_or(Ok(List::EMPTY), |at| vector(self.file, at, 4).map(List::new))?;
        Ok(Tables { file: self.file, offsets })
    }

    /// A union's tag and table; `None` for tag 0, which stands for "nothing".
    pub(crate) fn union(&self, field: Field<Union>) -> Result<Option<(u8, Table<'a>)>, Corrupt> {
        let tag = self.place(field.id).map_or(Ok(0), |at| scalar(self.file, at, "the tag of a union"))?;
        match self.target(field.id + 1)? {
            Some(at) if tag != 0 => Table::at(self.file, at).map(|table| Some((tag, table))),
            _ => Ok(None),
        }
    }
}

/// A vector of numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'a, T> {
    start: usize,
    bytes: &'a [u8],
    element: PhantomData<T>,
}

impl<'a, T: Scalar> List<'a, T> {
    const EMPTY: Self = Self { start: 0, bytes: &[], element: PhantomData };

    fn new((start, bytes): (usize, &'a [u8])) -> Self {
        Self { start, bytes, element: PhantomData }
    }

    /// Elements.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / T::SIZE
    }

    /// Whether there is no element.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = T> + 'a {
        self.bytes.chunks_exact(T::SIZE).map(|chunk| T::get_le(chunk).expect("a chunk has the size of an element"))
    }

    /// The byte range in the file that holds the elements.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }
}

/// A vector of tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables<'a> {
    file: &'a [u8],
    offsets: List<'a, u32>,
}

impl<'a> Tables<'a> {
    /// Number of tables.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Table `index`.
    pub(crate) fn get(&self, index: usize) -> Result<Table<'a>, Corrupt> {
        let corrupt = Corrupt { at: self.offsets.start, what: "a vector with that many tables" };
        let at = index.checked_mul(4).and_then(|skip| self.offsets.start.checked_add(skip)).ok_or(corrupt)?;
        if index >= self.len() {
            return Err(corrupt);
        }
        Table::at(self.file, follow(self.file, at)?)
    }
}

#[cfg(test)]
impl Tables<'_> {
    /// The byte range in the file that holds the offsets to the tables.
    pub(crate) fn entries(&self) -> Range<usize> {
        self.offsets.range()
    }
}

/// The elements of the vector at `at`: where they begin, and their bytes.
fn vector(file: &[u8], at: usize, element: usize) -> Result<(usize, &[u8]), Corrupt> {
    let what = "a vector inside the file";
    let count = usize::try_from(scalar::<u32>(file, at, what)?).ok();
    let len = count.and_then(|count| count.checked_mul(element)).ok_or(Corrupt { at, what })?;
    slice(file, at + 4, len, what).map(|bytes| (at + 4, bytes))
}

/// Follows the forward offset at `at`.
fn follow(file: &[u8], at: usize) -> Result<usize, Corrupt> {
    let offset: u32 = scalar(file, at, "an offset")?;
    let target = usize::try_from(offset).ok().and_then(|offset| at.checked_add(offset));
    target.filter(|&target| target < file.len()).ok_or(Corrupt { at, what: "an offset inside the file" })
}

fn scalar<T: Scalar>(file: &[u8], at: usize, what: &'static str) -> Result<T, Corrupt> {
    file.get(at..).and_then(T::get_le).ok_or(Corrupt { at, what })
}

fn slice<'a>(file: &'a [u8], at: usize, len: usize, what: &'static str) -> Result<&'a [u8], Corrupt> {
    at.checked_add(len).and_then(|end| file.get(at..end)).ok_or(Corrupt { at, what })
}
