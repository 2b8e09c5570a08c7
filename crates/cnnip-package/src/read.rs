//! From bytes to a package.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::container::{Kind, MAX_HEAD_BYTES, Section, layout, padding, wide};
use crate::error::{FileError, FormatError, PackageError, Why};
use crate::layout::{Info, Interface};
use crate::mapped::Mapping;
use crate::wire::{Wire, exactly};
use crate::{CONSTANT_ALIGNMENT, ConstantBytes, Constants, Package, Region, RegionId, RegionKind};

impl Package {
    /// Decodes and checks a package, copying everything: right for bytes of any origin.
    ///
    /// Accepts exactly the bytes that [`to_bytes`](Self::to_bytes) makes of the result. Takes time and memory in
    /// proportion to the bytes at most, whatever they say.
    ///
    /// # Errors
    /// The first break of the format with its byte offset, or else all problems of the content.
    ///
    /// ```
    /// # use cnnip_package::{Package, PackageError};
    /// let bytes = Package::new("v4h").to_bytes();
    /// assert_eq!(Package::read(&bytes)?, Package::new("v4h"));
    /// assert!(matches!(Package::read(&bytes[1..]), Err(PackageError::Malformed(error)) if error.offset == 0));
    /// # Ok::<(), PackageError>(())
    /// ```
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        let sections = layout(bytes, bytes.len())?;
        let package = decode(bytes, &sections, |range| bytes[range].into())?;
        package.without_problems()
    }

    /// Reads a package file, copying everything.
    ///
    /// # Errors
    /// As [`read`](Self::read), or the operating system's.
    pub fn read_file(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| FileError::Io { path: path.into(), source })?;
        Self::read(&bytes).map_err(|source| FileError::Package { path: path.into(), source })
    }

    /// Opens a package file with its constants mapped instead of copied; they stay mapped while any clone of the package or
    /// of a [`ConstantBytes`] of it lives.
    ///
    /// # Contract
    /// Nobody modifies or truncates the file while it is mapped; replacing it by another file, as
    /// [`write_file`](Self::write_file) does, is fine. Where that is not sure, use [`read_file`](Self::read_file). Tables
    /// and lists are copied before they are checked, so a broken promise can change weights, or end the process if the
    /// file was truncated, but cannot make a checked value wrong.
    ///
    /// # Errors
    /// As [`read_file`](Self::read_file).
    pub fn open_mapped(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let io = |source| FileError::Io { path: path.into(), source };
        let mapping = File::open(path).and_then(|file| Mapping::new(&file)).map_err(io)?;
        read_mapped(mapping).map_err(|source| FileError::Package { path: path.into(), source })
    }

    fn without_problems(self) -> Result<Self, PackageError> {
        let problems = self.check();
        if problems.is_empty() { Ok(self) } else { Err(PackageError::Invalid { problems }) }
    }
}

fn read_mapped(mapping: Mapping) -> Result<Package, PackageError> {
    let mapping = Arc::new(mapping);
    let head = mapping[..mapping.len().min(MAX_HEAD_BYTES)].to_vec();
    let sections = layout(&head, mapping.len())?;
    let tables = mapping[..find(&sections, Kind::Constants).range.start].to_vec();
    decode(&tables, &sections, |range| ConstantBytes::mapped(Arc::clone(&mapping), range))?.without_problems()
}

/// Decodes the sections; `file` needs to hold everything before the constants.
fn decode(
    file: &[u8],
    sections: &[Section],
    constants: impl FnOnce(Range<usize>) -> ConstantBytes,
) -> Result<Package, FormatError> {
    gaps(file, sections)?;
    let Info { spec_version, target, budget } = section(file, sections, Kind::Info)?;
    let provenance = section(file, sections, Kind::Provenance)?;
    let regions: Vec<Region> = section(file, sections, Kind::Regions)?;
    let tokens = section(file, sections, Kind::Tokens)?;
    let lists = section(file, sections, Kind::Lists)?;
    let tensors = section(file, sections, Kind::Tensors)?;
    let program = section(file, sections, Kind::Program)?;
    let Interface { inputs, outputs } = section(file, sections, Kind::Interface)?;
    let layers = section(file, sections, Kind::Layers)?;
    let tile_map = optional(file, sections, Kind::TileMap)?;
    let lowered = whole(file, sections, Kind::LoweredGraph)?;
    let constants = split(constants, find(sections, Kind::Constants), &regions)?;
    Ok(Package {
        spec_version,
        target,
        budget,
        provenance,
        regions,
        constants,
        tokens,
        lists,
        tensors,
        program,
        inputs,
        outputs,
        layers,
        tile_map,
        lowered,
    })
}

/// The section of a required kind; the layout has made sure of it.
fn find(sections: &[Section], kind: Kind) -> &Section {
    sections.iter().find(|section| section.kind == kind).expect("the layout has every required section")
}

fn section<T: Wire>(file: &[u8], sections: &[Section], kind: Kind) -> Result<T, FormatError> {
    value(file, find(sections, kind))
}

fn optional<T: Wire>(file: &[u8], sections: &[Section], kind: Kind) -> Result<Option<T>, FormatError> {
    sections.iter().find(|section| section.kind == kind).map(|section| value(file, section)).transpose()
}

/// The bytes of a section that is not decoded here.
fn whole(file: &[u8], sections: &[Section], kind: Kind) -> Result<Option<Vec<u8>>, FormatError> {
    let Some(section) = sections.iter().find(|section| section.kind == kind) else { return Ok(None) };
    let bytes = &file[section.range.clone()];
    section.check(bytes)?;
    Ok(Some(bytes.to_vec()))
}

/// Checks and decodes a section that holds exactly one value.
fn value<T: Wire>(file: &[u8], section: &Section) -> Result<T, FormatError> {
    let bytes = &file[section.range.clone()];
    section.check(bytes)?;
    exactly(bytes, section.range.start, section.kind.name())
}

/// Checks that the bytes between sections are zero.
fn gaps(file: &[u8], sections: &[Section]) -> Result<(), FormatError> {
    let mut pairs = sections.iter().zip(&sections[1..]);
    pairs.try_for_each(|(a, b)| padding(file, a.range.end..b.range.start, a.kind.name()))
}

/// Cuts the constants section into regions.
fn split(
    source: impl FnOnce(Range<usize>) -> ConstantBytes,
    section: &Section,
    regions: &[Region],
) -> Result<Constants, FormatError> {
    let ranges = constant_ranges(section, regions)?;
    let bytes = source(section.range.clone());
    section.check(&bytes)?;
    let mut constants = Constants::default();
    let mut end = 0;
    for (region, range) in ranges {
        padding(&bytes, end..range.start, section.kind.name())
            .map_err(|error| FormatError { offset: section.range.start + error.offset, ..error })?;
        end = range.end;
        constants.insert(region, bytes.part(range).expect("aligned and within the section, see constant_ranges"));
    }
    Ok(constants)
}

/// Where the constant regions are in their section: in order of their numbers, each from the next multiple of 64, the last
/// one to the section's end.
fn constant_ranges(section: &Section, regions: &[Region]) -> Result<Vec<(RegionId, Range<usize>)>, FormatError> {
    let mut ranges = Vec::new();
    let mut end = 0_u64;
    for (number, region) in (0..=u8::MAX).zip(regions) {
        if region.kind == RegionKind::Constant {
            let start = end.checked_next_multiple_of(wide(CONSTANT_ALIGNMENT)).unwrap_or(u64::MAX);
            end = start.saturating_add(region.bytes);
            ranges.push((RegionId(number), start..end));
        }
    }
    let found = wide(section.range.len());
    if end != found {
        return Err(section.error(section.range.start, Why::ConstantsLength { found, expected: end }));
    }
    let narrow = |at| usize::try_from(at).expect("no region ends behind its section");
    Ok(ranges.into_iter().map(|(region, range)| (region, narrow(range.start)..narrow(range.end))).collect())
}
