//! The flatbuffer wire format as far as model files need it: a bounded reader and a small writer.
//!
//! A *table* is a record whose fields are found through a *vtable* of 16-bit offsets, so that a file
//! may leave out or add fields; vectors, strings and sub-tables are reached by 32-bit forward
//! offsets. Neither side recurses on what a file says, and the reader hands out views into the file,
//! so reading costs no memory. Every access is checked and may fail with [`Corrupt`].
//!
//! A schema is a list of [`Field`] constants; the same constant reads ([`Table`]) and writes
//! ([`TableBuilder`]).

mod read;
mod write;

use std::marker::PhantomData;

pub(crate) use read::{List, Table, Tables, root};
pub(crate) use write::TableBuilder;

/// The place at which a file stops being a flatbuffer, and what was being read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt {
    /// Byte offset in the file.
    pub(crate) at: usize,
    /// What should have been there.
    pub(crate) what: &'static str,
}

/// One field of a table: its number in the schema and what it holds.
///
/// `K` is one of [`Scalar`] types (with the value that an absent field means), [`Scalars`],
/// [`Text`], [`SubTable`], [`SubTables`] or [`Union`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<K> {
    id: u16,
    kind: K,
}

/// A vector of numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalars<T> {
    align: usize,
    element: PhantomData<T>,
}

/// A UTF-8 string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text;

/// One table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubTable;

/// A vector of tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubTables;

/// A tag (field `id`) and the table it names (field `id + 1`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Union;

#[cfg(test)]
impl<K> Field<K> {
    /// The number of the field.
    pub(crate) fn number(&self) -> u16 {
        self.id
    }
}

impl<T: Scalar> Field<T> {
    /// A number that reads as `default` when absent.
    pub(crate) const fn scalar(id: u16, default: T) -> Self {
        Self { id, kind: default }
    }

    /// What an absent field means.
    pub(crate) const fn default_value(self) -> T {
        self.kind
    }
}

impl<T: Scalar> Field<Scalars<T>> {
    /// A vector of numbers.
    pub(crate) const fn scalars(id: u16) -> Self {
        Self::aligned(id, 4)
    }

    /// A vector of numbers, the first of which is written at a multiple of `align` bytes.
    pub(crate) const fn aligned(id: u16, align: usize) -> Self {
        Self { id, kind: Scalars { align, element: PhantomData } }
    }
}

impl Field<Text> {
    pub(crate) const fn text(id: u16) -> Self {
        Self { id, kind: Text }
    }
}

impl Field<SubTable> {
    pub(crate) const fn table(id: u16) -> Self {
        Self { id, kind: SubTable }
    }
}

impl Field<SubTables> {
    pub(crate) const fn tables(id: u16) -> Self {
        Self { id, kind: SubTables }
    }
}

impl Field<Union> {
    /// The union whose tag is field `id`.
    pub(crate) const fn union(id: u16) -> Self {
        Self { id, kind: Union }
    }
}

/// A number as flatbuffers store it: little-endian, `SIZE` bytes.
pub(crate) trait Scalar: Copy {
    /// Bytes of one value.
    const SIZE: usize;

    /// Reads the value from the first `SIZE` bytes, if there are that many.
    fn get_le(bytes: &[u8]) -> Option<Self>;

    /// Appends the value.
    fn put_le(self, out: &mut Vec<u8>);
}

macro_rules! scalar {
    ($($t:ty),*) => {$(
        impl Scalar for $t {
            const SIZE: usize = size_of::<$t>();

            fn get_le(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|&chunk| Self::from_le_bytes(chunk))
            }

            fn put_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
scalar!(u8, i8, u16, i32, u32, i64, u64, f32);

impl Scalar for bool {
    const SIZE: usize = 1;

    fn get_le(bytes: &[u8]) -> Option<Self> {
        bytes.first().map(|&byte| byte != 0)
    }

    fn put_le(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const BYTE: Field<i8> = Field::scalar(0, 7);
    const LONG: Field<i64> = Field::scalar(3, 0);
    const FLAG: Field<bool> = Field::scalar(4, true);
    const INTS: Field<Scalars<i32>> = Field::scalars(5);
    const BLOB: Field<Scalars<u8>> = Field::aligned(6, 16);
    const NAME: Field<Text> = Field::text(7);
    const CHILD: Field<SubTable> = Field::table(8);
    const CHILDREN: Field<SubTables> = Field::tables(9);
    const PICK: Field<Union> = Field::union(10);

    #[derive(Clone, Debug)]
    struct Sample {
        byte: i8,
        long: i64,
        flag: bool,
        ints: Vec<i32>,
        blob: Vec<u8>,
        name: String,
        children: Vec<i8>,
        tag: u8,
    }

    fn sample() -> impl Strategy<Value = Sample> {
        (
            any::<i8>(),
            any::<i64>(),
            any::<bool>(),
            vec(any::<i32>(), 0..9),
            vec(any::<u8>(), 0..40),
            ".{0,9}",
            vec(any::<i8>(), 0..5),
            1_u8..,
        )
            .prop_map(|(byte, long, flag, ints, blob, name, children, tag)| Sample {
                byte,
                long,
                flag,
                ints,
                blob,
                name,
                children,
                tag,
            })
    }

    fn encode(sample: &Sample) -> Vec<u8> {
        let leaf = |byte: i8| TableBuilder::new().with(BYTE, byte);
        TableBuilder::new()
            .with(BYTE, sample.byte)
            .with(LONG, sample.long)
            .with(FLAG, sample.flag)
            .with_list(INTS, &sample.ints)
            .with_list(BLOB, &sample.blob)
            .with_text(NAME, &sample.name)
            .with_table(CHILD, leaf(sample.byte))
            .with_tables(CHILDREN, sample.children.iter().map(|&byte| leaf(byte)).collect())
            .with_union(PICK, sample.tag, TableBuilder::new())
            .finish(*b"TEST")
    }

    fn decode(file: &[u8]) -> Result<Sample, Corrupt> {
        let table = root(file)?;
        let children = table.tables(CHILDREN)?;
        Ok(Sample {
            byte: table.table(CHILD)?.map_or(Ok(0), |child| child.scalar(BYTE))?,
            long: table.scalar(LONG)?,
            flag: table.scalar(FLAG)?,
            ints: table.list(INTS)?.iter().collect(),
            blob: table.list(BLOB)?.iter().collect(),
            name: table.text(NAME)?.into_owned(),
            children: (0..children.len()).map(|i| children.get(i)?.scalar(BYTE)).collect::<Result<_, _>>()?,
            tag: table.union(PICK)?.map_or(0, |(tag, _)| tag),
        })
    }

    proptest! {
        #[test]
        fn reading_inverts_writing(sample in sample()) {
            let file = encode(&sample);
            prop_assert_eq!(&file[4..8], b"TEST");
            prop_assert_eq!(format!("{:?}", decode(&file)), format!("{:?}", Ok::<_, Corrupt>(sample)));
        }

        #[test]
        fn vectors_stand_at_their_alignment(sample in sample()) {
            let file = encode(&sample);
            let table = root(&file).unwrap();
            prop_assert_eq!(table.list(BLOB).unwrap().range().start % 16, 0);
            prop_assert_eq!(table.list(INTS).unwrap().range().start % 4, 0);
        }

        #[test]
        fn any_bytes_are_read_or_refused(file in vec(any::<u8>(), 0..200)) {
            let _ = decode(&file);
        }

        #[test]
        fn damaged_files_are_read_or_refused(sample in sample(), hits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
            let mut file = encode(&sample);
            for (at, byte) in hits {
                let at = at.index(file.len());
                file[at] = byte;
            }
            let _ = decode(&file);
        }
    }

    #[test]
    fn absent_fields_read_as_their_defaults() {
        let file = TableBuilder::new().finish(*b"TEST");
        let table = root(&file).unwrap();
        assert_eq!(table.scalar(BYTE), Ok(7));
        assert_eq!(table.scalar(FLAG), Ok(true));
        assert_eq!(table.list(INTS).unwrap().len(), 0);
        assert_eq!(table.text(NAME).unwrap(), "");
        assert!(table.table(CHILD).unwrap().is_none());
        assert!(table.union(PICK).unwrap().is_none());
    }
}
