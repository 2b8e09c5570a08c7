//! Read-only memory maps: the one module of this crate with `unsafe`.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A file mapped for reading.
///
/// Whoever makes one promises that nobody modifies or truncates the file while it exists, see
/// [`Package::open_mapped`](crate::Package::open_mapped).
pub(crate) struct Mapping(memmap2::Mmap);

impl Mapping {
    /// Maps a whole file.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the file stays as it is while mapped: that is the contract `Package::open_mapped` puts on its caller.
        // No reader depends on the bytes for memory safety or control flow: tables are copied before they are checked.
        let map = unsafe { memmap2::Mmap::map(file) }?;
        Ok(Self(map))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
