//! The container: header, section table, and sections at multiples of 64 bytes.

use std::ops::Range;

use nom::Parser;

use crate::error::{FormatError, Why};
use crate::wire::{Located, Parsed, Wire, fail, put_count, record};

/// Version of the file format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 2;

/// First bytes of a package: a byte no text has, the name, and line ends that a text-mode copy would change.
pub const SIGNATURE: [u8; 8] = *b"\x89CNNIP\r\n";

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of one entry of the section table.
pub(crate) const ENTRY_BYTES: usize = 24;
/// Sections begin at multiples of this.
pub(crate) const SECTION_ALIGNMENT: usize = 64;
/// Header and the longest section table that can be.
pub(crate) const MAX_HEAD_BYTES: usize = HEADER_BYTES + Kind::ALL.len() * ENTRY_BYTES;

/// Kinds of sections, in their order in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Info,
    Provenance,
    Regions,
    Tokens,
    Lists,
    Tensors,
    Program,
    Interface,
    Layers,
    TileMap,
    LoweredGraph,
    Constants,
}

impl Kind {
    /// Every kind in order; a kind's number in the file is its place here, from 1.
    pub(crate) const ALL: [Self; 12] = [
        Self::Info,
        Self::Provenance,
        Self::Regions,
        Self::Tokens,
        Self::Lists,
        Self::Tensors,
        Self::Program,
        Self::Interface,
        Self::Layers,
        Self::TileMap,
        Self::LoweredGraph,
        Self::Constants,
    ];

    /// Kinds that a package may lack.
    const OPTIONAL: [Self; 2] = [Self::TileMap, Self::LoweredGraph];

    fn required() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| !Self::OPTIONAL.contains(kind))
    }

    fn number(self) -> u32 {
        (1..).zip(Self::ALL).find(|&(_, kind)| kind == self).map_or(0, |(number, _)| number)
    }

    fn from_number(number: u32) -> Option<Self> {
        (1..).zip(Self::ALL).find(|&(candidate, _)| candidate == number).map(|(_, kind)| kind)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Provenance => "provenance",
            Self::Regions => "regions",
            Self::Tokens => "tokens",
            Self::Lists => "lists",
            Self::Tensors => "tensors",
            Self::Program => "program",
            Self::Interface => "interface",
            Self::Layers => "layers",
            Self::TileMap => "tile map",
            Self::LoweredGraph => "lowered graph",
            Self::Constants => "constants",
        }
    }
}

/// A section whose place in the file has been checked; its bytes have not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    pub(crate) checksum: u32,
    pub(crate) range: Range<usize>,
}

impl Section {
    pub(crate) fn error(&self, offset: usize, why: Why) -> FormatError {
        FormatError { offset, part: self.kind.name(), why }
    }

    /// Holds the section's bytes against their checksum.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), FormatError> {
        let computed = crc32fast::hash(bytes);
        let why = Why::Checksum { stored: self.checksum, computed };
        if computed == self.checksum { Ok(()) } else { Err(self.error(self.range.start, why)) }
    }
}

struct Header {
    signature: u64,
    version: u32,
    sections: u32,
    length: u64,
    table_checksum: u32,
    header_checksum: u32,
}

record!(Header { signature: u64, version: u32, sections: u32, length: u64, table_checksum: u32, header_checksum: u32 });

struct Entry {
    kind: u32,
    checksum: u32,
    offset: u64,
    length: u64,
}

record!(Entry { kind: u32, checksum: u32, offset: u64, length: u64 });

/// Header and section table for sections given as (kind, checksum, length), and the zero bytes up to the first section.
pub(crate) fn head(sections: &[(Kind, u32, usize)]) -> Vec<u8> {
    let mut end = HEADER_BYTES + sections.len() * ENTRY_BYTES;
    let mut table = Vec::new();
    for &(kind, checksum, length) in sections {
        let offset = end.next_multiple_of(SECTION_ALIGNMENT);
        Entry { kind: kind.number(), checksum, offset: wide(offset), length: wide(length) }.put(&mut table);
        end = offset + length;
    }
    let mut head = header_for(&table, end);
    head.append(&mut table);
    head.resize(head.len().next_multiple_of(SECTION_ALIGNMENT), 0);
    head
}

fn header_for(table: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    FORMAT_VERSION.put(&mut bytes);
    put_count(table.len() / ENTRY_BYTES, &mut bytes);
    wide(length).put(&mut bytes);
    crc32fast::hash(table).put(&mut bytes);
    crc32fast::hash(&bytes).put(&mut bytes);
    bytes
}

/// A size in memory as the file has it.
pub(crate) fn wide(size: usize) -> u64 {
    u64::try_from(size).expect("sizes in memory fit 64 bits")
}

/// Checks header and section table and says where the sections are.
///
/// `head` is the file, or [`MAX_HEAD_BYTES`] from its beginning if it has that many; `length` is the whole file's.
pub(crate) fn layout(head: &[u8], length: usize) -> Result<Vec<Section>, FormatError> {
    let (rest, header) = header(head, length).map_err(|error| locate(head, 0, "header", error))?;
    let table = entries(rest, &header).map_err(|error| locate(head, 0, TABLE, error))?.1;
    let sections = place(&table, length)?;
    complete(&sections)?;
    padding(head, HEADER_BYTES + table.len() * ENTRY_BYTES..sections[0].range.start, TABLE)?;
    Ok(sections)
}

const TABLE: &str = "section table";

fn header(head: &[u8], length: usize) -> Parsed<'_, Header> {
    if !head.starts_with(&SIGNATURE) {
        return fail(head, Why::Signature);
    }
    let (rest, header) = Header::take(head)?;
    if header.version != FORMAT_VERSION {
        return fail(&head[8..], Why::FormatVersion { found: header.version });
    }
    let computed = crc32fast::hash(&head[..HEADER_BYTES - 4]);
    if computed != header.header_checksum {
        return fail(&head[HEADER_BYTES - 4..], Why::Checksum { stored: header.header_checksum, computed });
    }
    if header.length != wide(length) {
        return fail(&head[16..], Why::FileLength { declared: header.length, actual: wide(length) });
    }
    Ok((rest, header))
}

fn entries<'a>(table: &'a [u8], header: &Header) -> Parsed<'a, Vec<Entry>> {
    let count = usize::try_from(header.sections).unwrap_or(usize::MAX);
    let (min, max) = (Kind::required().count(), Kind::ALL.len());
    if !(min..=max).contains(&count) {
        return fail(table, Why::SectionCount { count: header.sections, min, max });
    }
    let (rest, entries) = nom::multi::count(Entry::take, count).parse(table)?;
    let computed = crc32fast::hash(&table[..table.len() - rest.len()]);
    if computed != header.table_checksum {
        return fail(table, Why::Checksum { stored: header.table_checksum, computed });
    }
    Ok((rest, entries))
}

/// Turns table entries into sections; offsets of errors are those of the entries.
fn place(table: &[Entry], length: usize) -> Result<Vec<Section>, FormatError> {
    let mut sections: Vec<Section> = Vec::with_capacity(table.len());
    let mut end = HEADER_BYTES + table.len() * ENTRY_BYTES;
    for (index, entry) in table.iter().enumerate() {
        let error = |why| FormatError { offset: HEADER_BYTES + index * ENTRY_BYTES, part: TABLE, why };
        let kind = kind_after(sections.last(), entry.kind).map_err(error)?;
        let range = range_after(end, entry, length).map_err(error)?;
        end = range.end;
        sections.push(Section { kind, checksum: entry.checksum, range });
    }
    match length - end {
        0 => Ok(sections),
        bytes => Err(FormatError { offset: end, part: TABLE, why: Why::TrailingBytes { bytes } }),
    }
}

fn kind_after(previous: Option<&Section>, number: u32) -> Result<Kind, Why> {
    let kind = Kind::from_number(number).ok_or(Why::UnknownSection { kind: number })?;
    if previous.is_some_and(|previous| previous.kind >= kind) {
        return Err(Why::SectionOrder { name: kind.name() });
    }
    Ok(kind)
}

/// The section's bytes, which begin at the next multiple of 64 and end within the file.
fn range_after(end: usize, entry: &Entry, length: usize) -> Result<Range<usize>, Why> {
    let start = end.next_multiple_of(SECTION_ALIGNMENT);
    if entry.offset != wide(start) {
        return Err(Why::SectionOffset { found: entry.offset, expected: wide(start) });
    }
    usize::try_from(entry.length)
        .ok()
        .and_then(|bytes| start.checked_add(bytes))
        .filter(|&end| end <= length)
        .map(|end| start..end)
        .ok_or(Why::SectionLength { length: entry.length })
}

fn complete(sections: &[Section]) -> Result<(), FormatError> {
    let missing = Kind::required().find(|&kind| sections.iter().all(|section| section.kind != kind));
    match missing {
        None => Ok(()),
        Some(kind) => {
            Err(FormatError { offset: HEADER_BYTES, part: TABLE, why: Why::MissingSection { name: kind.name() } })
        }
    }
}

/// Checks that bytes between sections or regions are zero.
pub(crate) fn padding(file: &[u8], range: Range<usize>, part: &'static str) -> Result<(), FormatError> {
    let start = range.start;
    match file[range].iter().zip(start..).find(|&(&byte, _)| byte != 0) {
        None => Ok(()),
        Some((&value, offset)) => Err(FormatError { offset, part, why: Why::Padding { value } }),
    }
}

/// Turns a parser's failure within `bytes`, which begin at `start` of the file, into an error with an offset.
pub(crate) fn locate(bytes: &[u8], start: usize, part: &'static str, error: nom::Err<Located<'_>>) -> FormatError {
    match error {
        nom::Err::Error(found) | nom::Err::Failure(found) => {
            let within = found.at.as_ptr().addr() - bytes.as_ptr().addr();
            FormatError { offset: start + within, part, why: found.why }
        }
        nom::Err::Incomplete(_) => FormatError { offset: start + bytes.len(), part, why: Why::Truncated },
    }
}
