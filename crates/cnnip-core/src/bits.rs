//! A bitmap with fast ranges: which bytes have been written.

use std::ops::Range;

/// One bit per byte of a memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

const WORD: usize = 64;

impl Bits {
    /// `len` clear bits.
    pub(crate) fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(WORD)] }
    }

    /// Sets every bit of `range`, which lies within the length.
    pub(crate) fn set(&mut self, range: Range<usize>) {
        for (index, mask) in masks(range) {
            self.words[index] |= mask;
        }
    }

    /// Clears every bit.
    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The first clear bit of `range`, which lies within the length.
    pub(crate) fn first_clear(&self, range: Range<usize>) -> Option<usize> {
        masks(range).find_map(|(index, mask)| {
            let clear = !self.words[index] & mask;
            (clear != 0).then(|| index * WORD + usize::try_from(clear.trailing_zeros()).unwrap_or(0))
        })
    }
}

/// The words that `range` touches, each with the bits of the range.
fn masks(range: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let words = if range.is_empty() { 0..0 } else { range.start / WORD..range.end.div_ceil(WORD) };
    words.map(move |index| {
        let first = index * WORD;
        let low = u64::MAX << range.start.saturating_sub(first);
        let high = u64::MAX >> (first + WORD).saturating_sub(range.end);
        (index, low & high)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_vector_of_flags(ranges in proptest::collection::vec((0_usize..300, 0_usize..150), 0..6), ask in (0_usize..300, 0_usize..150)) {
            let mut bits = Bits::new(450);
            let mut flags = vec![false; 450];
            for (start, len) in ranges {
                bits.set(start..start + len);
                flags[start..start + len].fill(true);
            }
            let want = (ask.0..ask.0 + ask.1).find(|&i| !flags[i]);
            prop_assert_eq!(bits.first_clear(ask.0..ask.0 + ask.1), want);
        }
    }
}
