//! Memory that begins at a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line. Tile registers load a row in one piece only if it lies in one line: across two it takes twice as long.
const LINE: usize = 64;

/// Bytes of which the first is at the start of a cache line.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// What comes before is there to align them.
    start: usize,
}

impl Lines {
    /// So many zeros.
    pub(crate) fn zeros(size: usize) -> Self {
        let mut bytes = vec![0; size + LINE];
        let start = bytes.as_ptr().align_offset(LINE).min(LINE);
        bytes.truncate(start + size);
        Self { bytes, start }
    }

    /// A copy.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut lines = Self::zeros(bytes.len());
        lines.copy_from_slice(bytes);
        lines
    }
}

impl Deref for Lines {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_begin_at_a_cache_line() {
        for size in [0, 1, 63, 64, 1000] {
            let bytes = vec![7; size];
            let lines = Lines::of(&bytes);
            assert_eq!((lines.as_ptr().addr() % LINE, &*lines), (0, &*bytes));
        }
    }
}
