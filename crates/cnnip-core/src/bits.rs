//! A bitmap with fast ranges: which bytes have been written.

use std::ops::Range;

/// One bit per byte of a memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

/// Bits of a word.
pub(crate) const WORD: usize = 64;

/// Bits that are looked at together when all are cleared.
pub(crate) const PART: usize = 4096;

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

    /// Sets `count` runs of `run` bits each, the first at `start`, a word at a time; `step` bits from one to the next, at most
    /// [`WORD`].
    pub(crate) fn set_runs(&mut self, start: usize, run: usize, count: usize, step: usize) {
        let reach = count.checked_sub(1).map(|steps| start + steps * step + run);
        let Some(Span { first, last, head, tail }) = reach.and_then(|end| span(start..end)) else { return };
        // A word by how far its first bit is behind the beginning of a run.
        let pattern = |phase: usize| {
            let is_set = |&bit: &usize| (phase + bit) % step < run;
            (0..WORD).filter(is_set).fold(0_u64, |word, bit| word | 1 << bit)
        };
        let patterns: [u64; WORD] = std::array::from_fn(pattern);
        let mut phase = (step - start % WORD % step) % step;
        for (index, word) in self.words[first..=last].iter_mut().enumerate() {
            let mut bits = patterns[phase];
            if index == 0 {
                bits &= head;
            }
            if index == last - first {
                bits &= tail;
            }
            *word |= bits;
            phase = (phase + WORD) % step;
        }
    }

    /// Clears every bit, and calls `visit` with ranges of [`PART`] bits that hold all that were set.
    pub(crate) fn take(&mut self, mut visit: impl FnMut(Range<usize>)) {
        for (number, words) in self.words.chunks_mut(PART / WORD).enumerate() {
            if words.iter().fold(0, |any, word| any | word) != 0 {
                words.fill(0);
                visit(number * PART..(number + 1) * PART);
            }
        }
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
        clear_in(first, head)
            .or_else(|| {
                first_with_clear(&self.words[first + 1..last]).and_then(|at| clear_in(first + 1 + at, u64::MAX))
            })
            .or_else(|| clear_in(last, tail))
    }
}

/// Words looked at together.
const CHUNK: usize = 16;

/// The first word that has a clear bit.
fn first_with_clear(words: &[u64]) -> Option<usize> {
    let (chunks, _) = words.as_chunks::<CHUNK>();
    let all_set = |chunk: &[u64; CHUNK]| chunk.iter().fold(u64::MAX, |all, word| all & word) == u64::MAX;
    let start = CHUNK * chunks.iter().take_while(|chunk| all_set(chunk)).count();
    words[start..].iter().position(|&word| word != u64::MAX).map(|at| start + at)
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
        fn runs_are_set_like_ranges(start in 0_usize..200, run in 1_usize..64, count in 0_usize..300, step in 1_usize..=WORD) {
            let (mut at_once, mut one_by_one) = (Bits::new(20_000), Bits::new(20_000));
            at_once.set_runs(start, run.min(step), count, step);
            (0..count).for_each(|i| one_by_one.set(start + i * step..start + i * step + run.min(step)));
            prop_assert_eq!(at_once, one_by_one);
        }

        #[test]
        fn behaves_like_a_vector_of_flags(ranges in proptest::collection::vec((0_usize..3000, 0_usize..1500), 0..6), ask in (0_usize..3000, 0_usize..1500)) {
            let mut bits = Bits::new(4500);
            let mut flags = vec![false; 4500];
            for (start, len) in ranges {
                bits.set(start..start + len);
                flags[start..start + len].fill(true);
            }
            let want = (ask.0..ask.0 + ask.1).find(|&i| !flags[i]);
            prop_assert_eq!(bits.first_clear(ask.0..ask.0 + ask.1), want);
            bits.take(|part| flags[part.start..part.end.min(4500)].fill(false));
            prop_assert_eq!((bits, flags), (Bits::new(4500), vec![false; 4500]));
        }
    }
}
