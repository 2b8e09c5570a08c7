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
        let Some(Span { first, last, head, tail }) = span(range) else { return };
        if first == last {
            self.words[first] |= head & tail;
            return;
        }
        self.words[first] |= head;
        self.words[first + 1..last].fill(u64::MAX);
        self.words[last] |= tail;
    }

    /// Clears every bit.
    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The first clear bit of `range`, which lies within the length.
    pub(crate) fn first_clear(&self, range: Range<usize>) -> Option<usize> {
        let Span { first, last, head, tail } = span(range)?;
        let clear_in = |index: usize, mask: u64| {
            let clear = !self.words[index] & mask;
            (clear != 0).then(|| index * WORD + usize::try_from(clear.trailing_zeros()).unwrap_or(0))
        };
        if first == last {
            return clear_in(first, head & tail);
        }
        let middle = || self.words[first + 1..last].iter().position(|&word| word != u64::MAX);
        clear_in(first, head)
            .or_else(|| middle().and_then(|offset| clear_in(first + 1 + offset, u64::MAX)))
            .or_else(|| clear_in(last, tail))
    }
}

/// The words of a range of bits, with the bits of the range in the first and in the last.
struct Span {
    first: usize,
    last: usize,
    head: u64,
    tail: u64,
}

fn span(range: Range<usize>) -> Option<Span> {
    let end = range.end.checked_sub(1).filter(|&end| end >= range.start)?;
    let shift = |bits: usize| u32::try_from(bits % WORD).unwrap_or(0);
    let head = u64::MAX << shift(range.start);
    let tail = u64::MAX >> (63 - shift(end));
    Some(Span { first: range.start / WORD, last: end / WORD, head, tail })
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
