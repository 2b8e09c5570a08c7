//! What can be wrong with the bytes of a package, and with the file they are in.

use std::path::PathBuf;

use crate::Problem;

/// Bytes that are not a package this crate accepts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The bytes break the format; nothing behind the place was looked at.
    #[error(transparent)]
    Malformed(#[from] FormatError),
    /// The format is right, what it says is not; every problem found is listed.
    #[error("{}", listed(problems))]
    Invalid {
        /// The problems, in the order of the sections; at most [`MAX_PROBLEMS`](crate::MAX_PROBLEMS).
        problems: Vec<Problem>,
    },
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// A place where the bytes break the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset:#x} ({part}): {why} [{}]", why.rule())]
pub struct FormatError {
    /// Byte offset from the start of the file.
    pub offset: usize,
    /// `header`, `section table`, or the name of a section.
    pub part: &'static str,
    /// What is wrong there.
    pub why: Why,
}

/// A broken rule of the format, with the offending value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// Not the first eight bytes of a package.
    #[error("the file does not begin with the package signature")]
    Signature,
    /// A format version other than [`FORMAT_VERSION`](crate::FORMAT_VERSION).
    #[error("format version {found} is not {}", crate::FORMAT_VERSION)]
    FormatVersion {
        /// The version in the header.
        found: u32,
    },
    /// The header names another length than the file has.
    #[error("the header says {declared} bytes, the file has {actual}")]
    FileLength {
        /// Length in the header.
        declared: u64,
        /// Length of the bytes at hand.
        actual: u64,
    },
    /// A checksum that does not fit.
    #[error("checksum {stored:#010x} is stored, the bytes have {computed:#010x}")]
    Checksum {
        /// CRC-32 in the file.
        stored: u32,
        /// CRC-32 of the bytes.
        computed: u32,
    },
    /// More or fewer sections than a package can have.
    #[error("{count} sections are not between {min} and {max}")]
    SectionCount {
        /// Count in the header.
        count: u32,
        /// Number of sections every package has.
        min: usize,
        /// Number of sections that exist.
        max: usize,
    },
    /// A section kind without meaning.
    #[error("section kind {kind} does not exist")]
    UnknownSection {
        /// The kind.
        kind: u32,
    },
    /// A section twice, or after one with a higher kind.
    #[error("section `{name}` comes twice or too late")]
    SectionOrder {
        /// The section out of order.
        name: &'static str,
    },
    /// A required section that is not there.
    #[error("section `{name}` is missing")]
    MissingSection {
        /// Its name.
        name: &'static str,
    },
    /// A section anywhere but at the next multiple of 64.
    #[error("the section begins at {found:#x}, not at {expected:#x}")]
    SectionOffset {
        /// Offset in the table.
        found: u64,
        /// Offset where it must begin.
        expected: u64,
    },
    /// A section that ends behind the file.
    #[error("the section's {length} bytes end behind the file")]
    SectionLength {
        /// Length in the table.
        length: u64,
    },
    /// A byte between sections or regions that is not 0.
    #[error("padding byte is {value:#04x}, not 0")]
    Padding {
        /// The byte.
        value: u8,
    },
    /// The section ends inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// More items or text bytes than can follow.
    #[error("{count} items of at least {min_bytes} bytes do not fit the {remaining} bytes that remain")]
    Count {
        /// The count.
        count: u32,
        /// Fewest bytes of one item.
        min_bytes: usize,
        /// Bytes behind the count.
        remaining: usize,
    },
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A byte that must be 0 or 1.
    #[error("{value:#04x} is neither 0 nor 1")]
    Flag {
        /// The byte.
        value: u8,
    },
    /// A code without meaning.
    #[error("{what} {code:#04x} does not exist")]
    Code {
        /// What the code is of.
        what: &'static str,
        /// The code.
        code: u32,
    },
    /// A host operator this version does not know.
    #[error("host operator {tag:#06x} is unknown")]
    UnknownOperator {
        /// Its tag.
        tag: u16,
    },
    /// Bytes behind the last value of a section or an operator's attributes.
    #[error("{bytes} bytes follow the last value")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// The constants section does not have the length its regions add up to.
    #[error("the section has {found} bytes, the constant regions need {expected}")]
    ConstantsLength {
        /// Length of the section.
        found: u64,
        /// Length that follows from the regions.
        expected: u64,
    },
}

impl Why {
    /// Name of the rule in `isa-spec/package.md`.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::FormatVersion { .. } => "format-version",
            Self::FileLength { .. } => "file-length",
            Self::Checksum { .. } => "checksum",
            Self::SectionCount { .. } => "section-count",
            Self::UnknownSection { .. } => "section-kind",
            Self::SectionOrder { .. } => "section-order",
            Self::MissingSection { .. } => "section-missing",
            Self::SectionOffset { .. } => "section-offset",
            Self::SectionLength { .. } => "section-length",
            Self::Padding { .. } => "padding",
            Self::Truncated => "truncated",
            Self::Count { .. } => "count",
            Self::Utf8 => "utf8",
            Self::Flag { .. } => "flag",
            Self::Code { .. } => "code",
            Self::UnknownOperator { .. } => "operator",
            Self::TrailingBytes { .. } => "trailing-bytes",
            Self::ConstantsLength { .. } => "constants-length",
        }
    }

    /// What the reader of the message can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Signature => "give a .cnnip file as `cnnip compile` or `cnnip asm` writes it",
            Self::FormatVersion { .. } | Self::UnknownOperator { .. } => {
                "the package was made by another version of the tools: compile it again or update these tools"
            }
            Self::FileLength { .. } | Self::Truncated | Self::SectionLength { .. } => {
                "the file was cut off or extended: copy it again"
            }
            Self::Checksum { .. } => {
                "the file was damaged or edited: copy it again, or edit the text of `cnnip disasm`"
            }
            _ => "the tool that wrote the file breaks isa-spec/package.md",
        }
    }
}

/// A package file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's bytes are not a package, or the package to write has problems.
    #[error("{}: {source}", path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PackageError,
    },
}
