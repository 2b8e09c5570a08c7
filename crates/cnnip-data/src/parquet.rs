//! Tables as Apache Parquet files, written row by row.
//!
//! What is written is the plainest that the format has (<https://parquet.apache.org/docs/file-format/>): flat columns, all of them
//! optional, pages of version 1 without compression or dictionary. Every reader of the format takes it.

use std::io::{self, Write};

/// Rows of a group: what is held in memory before it is written.
const GROUP_ROWS: usize = 4096;
/// First and last bytes of a file.
const MAGIC: &[u8; 4] = b"PAR1";

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit integers.
    Integer,
    /// Binary64 numbers.
    Real,
    /// UTF-8.
    Text,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Of a column of integers.
    Integer(i64),
    /// Of a column of real numbers.
    Real(f64),
    /// Of a column of texts.
    Text(String),
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Type of its cells.
    pub kind: Kind,
}

impl Kind {
    /// Number of the type in the format: INT64, DOUBLE, BYTE_ARRAY.
    const fn code(self) -> i64 {
        match self {
            Self::Integer => 2,
            Self::Real => 5,
            Self::Text => 6,
        }
    }
}

/// The cells of a column that are not written yet.
#[derive(Debug, Default)]
struct Pending {
    /// Whether a row has a cell.
    present: Vec<bool>,
    /// The cells there are, in their encoding PLAIN.
    cells: Vec<u8>,
}

/// A column's part of a group, in the file.
#[derive(Debug)]
struct Chunk {
    offset: i64,
    bytes: i64,
}

#[derive(Debug)]
struct Group {
    rows: i64,
    chunks: Vec<Chunk>,
}

/// A table that is being written.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    at: usize,
    columns: Vec<Column>,
    pending: Vec<Pending>,
    groups: Vec<Group>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(out: W, columns: Vec<Column>) -> io::Result<Self> {
        let pending = columns.iter().map(|_| Pending::default()).collect();
        let mut writer = Self { out, at: 0, columns, pending, groups: vec![] };
        writer.write(MAGIC)?;
        Ok(writer)
    }

    /// Adds a row: a cell or nothing per column.
    ///
    /// # Errors
    /// Those of the output, and `InvalidInput` for another number of cells or cells of another kind; then nothing was added.
    pub fn row(&mut self, cells: &[Option<Cell>]) -> io::Result<()> {
        let fits = |(column, cell): (&Column, &Option<Cell>)| match cell {
            None => true,
            Some(Cell::Integer(_)) => column.kind == Kind::Integer,
            Some(Cell::Real(_)) => column.kind == Kind::Real,
            Some(Cell::Text(text)) => column.kind == Kind::Text && u32::try_from(text.len()).is_ok(),
        };
        if cells.len() != self.columns.len() || !self.columns.iter().zip(cells).all(fits) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the row does not fit the table's columns"));
        }
        for (pending, cell) in self.pending.iter_mut().zip(cells) {
            pending.present.push(cell.is_some());
            match cell {
                None => {}
                Some(Cell::Integer(value)) => pending.cells.extend(value.to_le_bytes()),
                Some(Cell::Real(value)) => pending.cells.extend(value.to_le_bytes()),
                Some(Cell::Text(text)) => {
                    pending.cells.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
                    pending.cells.extend(text.as_bytes());
                }
            }
        }
        let full = self.pending.first().is_some_and(|pending| pending.present.len() == GROUP_ROWS);
        if full { self.group() } else { Ok(()) }
    }

    /// Writes what is left and how to find it.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.group()?;
        let footer = footer(&self.columns, &self.groups);
        self.write(&footer)?;
        self.write(&u32::try_from(footer.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        self.write(MAGIC)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len();
        self.out.write_all(bytes)
    }

    /// Writes the pending rows, if there are any.
    fn group(&mut self) -> io::Result<()> {
        let rows = self.pending.first().map_or(0, |pending| pending.present.len());
        if rows == 0 {
            return Ok(());
        }
        let mut chunks = vec![];
        for Pending { present, cells } in self.pending.iter_mut().map(std::mem::take).collect::<Vec<_>>() {
            let (offset, levels) = (self.at, levels(&present));
            let header = page_header(rows, levels.len() + cells.len());
            for part in [&header, &levels, &cells] {
                self.write(part)?;
            }
            chunks.push(Chunk { offset: number(offset), bytes: number(self.at - offset) });
        }
        self.groups.push(Group { rows: number(rows), chunks });
        Ok(())
    }
}

fn number(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Definition levels: which rows have a cell, one bit each in a single bit-packed run, the run's bytes counted in front.
fn levels(present: &[bool]) -> Vec<u8> {
    let mut run = vec![];
    varint(&mut run, u64::try_from(present.len().div_ceil(8)).unwrap_or(0) << 1 | 1);
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    run.extend(present.chunks(8).map(byte));
    let length = u32::try_from(run.len()).unwrap_or(u32::MAX).to_le_bytes();
    length.into_iter().chain(run).collect()
}

fn page_header(rows: usize, bytes: usize) -> Vec<u8> {
    const RLE: i64 = 3;
    let mut out = Struct::default();
    out.integer(1, I32, 0); // a data page
    out.integer(2, I32, number(bytes));
    out.integer(3, I32, number(bytes));
    let mut page = Struct::default();
    page.integer(1, I32, number(rows));
    page.integer(2, I32, 0); // PLAIN
    page.integer(3, I32, RLE);
    page.integer(4, I32, RLE);
    out.structure(5, page);
    out.end()
}

/// The schema and the places of all columns.
fn footer(columns: &[Column], groups: &[Group]) -> Vec<u8> {
    let mut root = Struct::default();
    root.text(4, "table");
    root.integer(5, I32, number(columns.len()));
    let schema = [root].into_iter().chain(columns.iter().map(schema)).map(Struct::end).collect();
    let rows = groups.iter().map(|group| group.rows).sum();
    let mut file = Struct::default();
    file.integer(1, I32, 1);
    file.list(2, STRUCT, schema);
    file.integer(3, I64, rows);
    file.list(4, STRUCT, groups.iter().map(|found| group(columns, found)).collect());
    file.end()
}

fn schema(column: &Column) -> Struct {
    const OPTIONAL: i64 = 1;
    let mut out = Struct::default();
    out.integer(1, I32, column.kind.code());
    out.integer(3, I32, OPTIONAL);
    out.text(4, &column.name);
    if column.kind == Kind::Text {
        out.integer(6, I32, 0); // UTF8
    }
    out
}

fn group(columns: &[Column], group: &Group) -> Vec<u8> {
    let chunk = |(column, chunk): (&Column, &Chunk)| {
        let mut meta = Struct::default();
        meta.integer(1, I32, column.kind.code());
        meta.list(2, I32, [0, 3].map(zigzag).to_vec()); // PLAIN, and RLE for levels
        meta.list(3, BINARY, vec![binary(&column.name)]);
        meta.integer(4, I32, 0); // no compression
        meta.integer(5, I64, group.rows);
        meta.integer(6, I64, chunk.bytes);
        meta.integer(7, I64, chunk.bytes);
        meta.integer(9, I64, chunk.offset);
        let mut out = Struct::default();
        out.integer(2, I64, chunk.offset);
        out.structure(3, meta);
        out.end()
    };
    let mut out = Struct::default();
    out.list(1, STRUCT, columns.iter().zip(&group.chunks).map(chunk).collect());
    out.integer(2, I64, group.chunks.iter().map(|chunk| chunk.bytes).sum());
    out.integer(3, I64, group.rows);
    out.end()
}

/// Types of Thrift's compact protocol.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A structure of Thrift's compact protocol; fields come in the order of their numbers.
#[derive(Debug, Default)]
struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

impl Struct {
    /// The head of a field less than 16 behind the last.
    fn field(&mut self, id: u8, kind: u8) {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    fn integer(&mut self, id: u8, kind: u8, value: i64) {
        self.field(id, kind);
        self.bytes.extend(zigzag(value));
    }

    fn text(&mut self, id: u8, text: &str) {
        self.field(id, BINARY);
        self.bytes.extend(binary(text));
    }

    fn structure(&mut self, id: u8, inner: Self) {
        self.field(id, STRUCT);
        self.bytes.extend(inner.end());
    }

    fn list(&mut self, id: u8, kind: u8, items: Vec<Vec<u8>>) {
        self.field(id, LIST);
        match u8::try_from(items.len()) {
            Ok(count @ 0..15) => self.bytes.push(count << 4 | kind),
            _ => {
                self.bytes.push(0xf0 | kind);
                varint(&mut self.bytes, u64::try_from(items.len()).unwrap_or(u64::MAX));
            }
        }
        self.bytes.extend(items.concat());
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// Seven bits per byte, the lowest first; the top bit says that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn zigzag(value: i64) -> Vec<u8> {
    let mut out = vec![];
    varint(&mut out, (value << 1 ^ value >> 63).cast_unsigned());
    out
}

fn binary(text: &str) -> Vec<u8> {
    let mut out = vec![];
    varint(&mut out, u64::try_from(text.len()).unwrap_or(u64::MAX));
    out.extend(text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        [("n", Kind::Integer), ("x", Kind::Real), ("t", Kind::Text)]
            .map(|(name, kind)| Column { name: name.to_owned(), kind })
            .to_vec()
    }

    fn table(rows: usize) -> Vec<u8> {
        let mut writer = Writer::new(vec![], columns()).unwrap();
        for row in 0..rows {
            let x = (row % 3 != 0).then_some(Cell::Real(0.5));
            writer.row(&[Some(Cell::Integer(number(row))), x, Some(Cell::Text("é".to_owned()))]).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn pages_hold_levels_and_plain_cells() {
        let file = table(2);
        let page = [&[2, 0, 0, 0, 3, 0b10][..], &0.5_f64.to_le_bytes()].concat();
        assert!(file.windows(page.len()).any(|bytes| bytes == page), "{file:?}");
        let texts = [[2, 0, 0, 0, 0xc3, 0xa9]; 2].concat();
        assert!(file.windows(texts.len()).any(|bytes| bytes == texts), "{file:?}");
    }

    #[test]
    fn the_footer_is_found_from_the_end() {
        for rows in [0, 1, GROUP_ROWS, GROUP_ROWS + 1] {
            let file = table(rows);
            let (body, end) = file.split_at(file.len() - 8);
            assert_eq!((&file[..4], &end[4..]), (&MAGIC[..], &MAGIC[..]));
            let length = u32::from_le_bytes(end[..4].try_into().unwrap());
            let footer = &body[body.len() - usize::try_from(length).unwrap()..];
            // Version 1, then a list of four elements of the schema.
            assert_eq!(footer[..4], [1 << 4 | I32, 2, 1 << 4 | LIST, 4 << 4 | STRUCT], "{rows}");
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let mut writer = Writer::new(vec![], columns()).unwrap();
        assert!(writer.row(&[None]).is_err());
        assert!(writer.row(&[Some(Cell::Real(1.0)), None, None]).is_err());
        writer.row(&[None, None, None]).unwrap();
    }

    #[test]
    fn numbers_are_thrifts() {
        assert_eq!((zigzag(0), zigzag(-1), zigzag(1), zigzag(-65)), (vec![0], vec![1], vec![2], vec![0x81, 1]));
    }
}
