//! Bytes of constant regions: shared, aligned, owned or mapped.

use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::RegionId;
use crate::mapped::Mapping;

/// Alignment of every constant region, in the file and in memory.
pub const CONSTANT_ALIGNMENT: usize = 64;

/// Bytes of constant regions, by region number.
///
/// ```
/// # use cnnip_package::{Constants, RegionId};
/// let mut constants = Constants::default();
/// constants.insert(RegionId(2), &[1, 2, 3][..]);
/// assert_eq!(constants.get(RegionId(2)).unwrap()[..], [1, 2, 3]);
/// assert!(constants.get(RegionId(0)).is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constants {
    regions: BTreeMap<RegionId, ConstantBytes>,
}

impl Constants {
    /// Sets the bytes of a region.
    pub fn insert(&mut self, region: RegionId, bytes: impl Into<ConstantBytes>) {
        self.regions.insert(region, bytes.into());
    }

    /// The bytes of a region, if it has any.
    pub fn get(&self, region: RegionId) -> Option<&ConstantBytes> {
        self.regions.get(&region)
    }

    /// All regions with bytes, in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (RegionId, &ConstantBytes)> {
        self.regions.iter().map(|(&region, bytes)| (region, bytes))
    }
}

/// Immutable bytes that start at a multiple of [`CONSTANT_ALIGNMENT`]; a clone shares them.
#[derive(Clone)]
pub struct ConstantBytes {
    storage: Storage,
    range: Range<usize>,
}

#[derive(Clone)]
enum Storage {
    Owned(Arc<Vec<u8>>),
    Mapped(Arc<Mapping>),
}

impl ConstantBytes {
    /// A part of a mapped file; `range` must lie within it and begin aligned.
    pub(crate) fn mapped(mapping: Arc<Mapping>, range: Range<usize>) -> Self {
        Self { storage: Storage::Mapped(mapping), range }
    }

    /// A part of these bytes, sharing them; `None` if it is not within them or does not begin aligned.
    pub(crate) fn part(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        range
            .start
            .is_multiple_of(CONSTANT_ALIGNMENT)
            .then(|| Self { storage: self.storage.clone(), range: start..end })
    }
}

impl From<&[u8]> for ConstantBytes {
    /// Copies the bytes to an aligned place.
    fn from(bytes: &[u8]) -> Self {
        let mut buffer: Vec<u8> = Vec::with_capacity(bytes.len() + CONSTANT_ALIGNMENT - 1);
        let start = buffer.as_ptr().align_offset(CONSTANT_ALIGNMENT).min(CONSTANT_ALIGNMENT - 1);
        buffer.resize(start, 0);
        buffer.extend_from_slice(bytes); // within the capacity, so the buffer does not move
        let range = start..buffer.len();
        Self { storage: Storage::Owned(Arc::new(buffer)), range }
    }
}

impl From<Vec<u8>> for ConstantBytes {
    fn from(bytes: Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl Deref for ConstantBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.storage {
            Storage::Owned(bytes) => bytes,
            Storage::Mapped(mapping) => mapping,
        };
        &all[self.range.clone()]
    }
}

impl AsRef<[u8]> for ConstantBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for ConstantBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ConstantBytes {}

impl std::fmt::Debug for ConstantBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.storage {
            Storage::Owned(_) => "owned",
            Storage::Mapped(_) => "mapped",
        };
        write!(f, "ConstantBytes({} bytes, {kind})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_start_aligned_whatever_their_length() {
        for length in 0..200 {
            let bytes = ConstantBytes::from(vec![7_u8; length]);
            assert_eq!(bytes.as_ptr().align_offset(CONSTANT_ALIGNMENT), 0, "length {length}");
            assert_eq!(bytes.len(), length);
        }
    }

    #[test]
    fn parts_share_and_stay_inside() {
        let bytes = ConstantBytes::from((0..=255).collect::<Vec<u8>>());
        let part = bytes.part(64..70).unwrap();
        assert_eq!(part[..], [64, 65, 66, 67, 68, 69]);
        assert_eq!(part.as_ptr(), bytes[64..].as_ptr());
        assert_eq!(part.part(0..7), None);
        assert_eq!(bytes.part(1..2), None, "not aligned");
        assert_eq!(bytes.part(192..300), None);
    }
}
