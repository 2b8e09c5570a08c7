//! The bytes an operand occupies: runs of bytes over nested strides.

mod meet;

use std::convert::Infallible;
use std::ops::Range;

/// Which memory a footprint is in. SRAM is that of the engine's own core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Scratchpad of the core.
    Sram,
    /// A region of external memory.
    Dram(u8),
}

/// A set of bytes: runs of `run` bytes, repeated over up to four nested `(count, step)` pairs.
///
/// Kept in canonical form: steps of zero and counts of one are dropped, touching runs are merged, steps descend outward.
/// So equal sets built from equal maps compare equal, and a dense map is one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    space: Space,
    base: u64,
    run: u64,
    dims: Dimensions,
}

/// Count and step, innermost first; unused ones are `(1, 0)`.
type Dimensions = [(u64, u64); 4];

impl Footprint {
    /// The bytes of runs of `run` bytes from `base` on, over `(count, step)` pairs, innermost first.
    pub fn new(space: Space, base: u64, run: u64, dims: &[(u32, u32)]) -> Self {
        let mut sorted = [(1_u64, 0_u64); 4];
        let mut len = 0;
        for &(count, step) in dims.iter().filter(|(count, step)| *count > 1 && *step > 0) {
            sorted[len] = (u64::from(count), u64::from(step));
            len += 1;
        }
        sorted[..len].sort_unstable_by_key(|&(count, step)| (step, count));
        Self { space, base, run, dims: [(1, 0); 4] }.with_merged(&sorted[..len])
    }

    /// A contiguous range of bytes.
    pub fn dense(space: Space, base: u64, bytes: u64) -> Self {
        Self { space, base, run: bytes, dims: [(1, 0); 4] }
    }

    fn with_merged(mut self, sorted: &[(u64, u64)]) -> Self {
        let mut len = 0;
        for &(count, step) in sorted {
            if len == 0 && step <= self.run {
                self.run = (count - 1).saturating_mul(step).saturating_add(self.run);
            } else if len > 0 && step == self.dims[len - 1].0.saturating_mul(self.dims[len - 1].1) {
                self.dims[len - 1].0 = self.dims[len - 1].0.saturating_mul(count);
            } else {
                self.dims[len] = (count, step);
                len += 1;
            }
        }
        self
    }

    /// Which memory the bytes are in.
    pub fn space(&self) -> Space {
        self.space
    }

    /// From the first to one past the last byte.
    pub fn extent(&self) -> Range<u64> {
        self.base..self.base.saturating_add(span(self.run, &self.dims))
    }

    /// Bytes of a run.
    pub fn run_bytes(&self) -> u64 {
        self.run
    }

    /// Count and step in bytes of the loops around a run, innermost first.
    pub fn loops(&self) -> impl Iterator<Item = (u64, u64)> {
        self.dims.into_iter().filter(|&(count, _)| count > 1)
    }

    /// True if the footprint is one contiguous run.
    pub fn is_dense(&self) -> bool {
        self.dims[0].0 == 1
    }

    /// Calls `visit` with every run, in address order as far as the strides nest; stops at the first `Err`.
    ///
    /// # Errors
    /// What `visit` returned.
    pub fn try_for_each_run<E>(&self, mut visit: impl FnMut(Range<u64>) -> Result<(), E>) -> Result<(), E> {
        for d in 0..self.dims[3].0 {
            for c in 0..self.dims[2].0 {
                for b in 0..self.dims[1].0 {
                    let outer = self.base + d * self.dims[3].1 + c * self.dims[2].1 + b * self.dims[1].1;
                    for a in 0..self.dims[0].0 {
                        let start = outer + a * self.dims[0].1;
                        visit(start..start + self.run)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` with the first byte of every repetition of the innermost loop.
    pub fn for_each_line(&self, mut visit: impl FnMut(u64)) {
        let [_, dims @ ..] = self.dims;
        let outer = Self { run: 1, dims: [dims[0], dims[1], dims[2], (1, 0)], ..*self };
        let Ok(()) = outer.try_for_each_run::<Infallible>(|run| {
            visit(run.start);
            Ok(())
        });
    }

    /// True if every step reaches over all that is within it, so that no byte is covered twice. What is written always is;
    /// a source may overlap itself.
    pub fn is_nested(&self) -> bool {
        (0..self.dims.len()).all(|i| self.dims[i].0 == 1 || self.dims[i].1 >= span(self.run, &self.dims[..i]))
    }

    /// Calls `visit` with the part within `range` of every run that reaches into it; stops at the first `Err`.
    ///
    /// # Errors
    /// What `visit` returned.
    pub fn try_for_each_run_in<E>(
        &self,
        range: &Range<u64>,
        mut visit: impl FnMut(Range<u64>) -> Result<(), E>,
    ) -> Result<(), E> {
        runs_in(self.base, self.run, &self.dims, range, &mut visit)
    }

    /// As [`try_for_each_run_in`](Self::try_for_each_run_in), for visits that cannot fail.
    pub fn for_each_run_in(&self, range: &Range<u64>, mut visit: impl FnMut(Range<u64>)) {
        let Ok(()) = self.try_for_each_run_in::<Infallible>(range, |run| {
            visit(run);
            Ok(())
        });
    }

    /// A byte of this footprint within `range`, if any; of a nested footprint the first.
    pub fn first_in(&self, range: &Range<u64>) -> Option<u64> {
        self.try_for_each_run_in(range, |run| Err(run.start)).err()
    }

    /// Whether both footprints have a byte in common; exact, and fast however many runs they have. `None` if the strides are
    /// at such odds that this would not be fast.
    ///
    /// ```
    /// use cnnip_isa::operation::{Footprint, Space};
    /// let columns = |first| Footprint::new(Space::Sram, first, 3, &[(60_000, 8), (60_000, 480_000)]);
    /// assert_eq!(columns(0).meets(&columns(3)), Some(false));
    /// assert_eq!(columns(0).meets(&columns(6)), Some(true));
    /// ```
    pub fn meets(&self, other: &Self) -> Option<bool> {
        let (a, b) = (self.extent(), other.extent());
        if self.space != other.space || a.start >= b.end || b.start >= a.end {
            return Some(false);
        }
        if self.is_dense() && other.is_dense() { Some(true) } else { meet::meet(self, other) }
    }

    /// A byte that both footprints have, if any; exact, however the strides interleave. Takes time in proportion to the runs
    /// if there is one.
    pub fn first_common_byte(&self, other: &Self) -> Option<u64> {
        if self.meets(other) == Some(false) {
            return None;
        }
        let (few, many) = if self.runs() <= other.runs() { (self, other) } else { (other, self) };
        // Looking up a byte is fast in a nested footprint only.
        let (walked, searched) = if many.is_nested() { (few, many) } else { (many, few) };
        walked.try_for_each_run_in(&searched.extent(), |run| searched.first_in(&run).map_or(Ok(()), Err)).err()
    }

    /// Number of runs.
    pub fn runs(&self) -> u64 {
        self.dims.iter().fold(1, |product, &(count, _)| product.saturating_mul(count))
    }
}

/// Bytes from the first to one past the last of runs over `dims`.
fn span(run: u64, dims: &[(u64, u64)]) -> u64 {
    dims.iter().fold(run, |sum, &(count, step)| sum.saturating_add((count - 1).saturating_mul(step)))
}

/// Descends from the outermost dimension, visiting only the indices whose span meets `range`.
fn runs_in<E>(
    base: u64,
    run: u64,
    dims: &[(u64, u64)],
    range: &Range<u64>,
    visit: &mut impl FnMut(Range<u64>) -> Result<(), E>,
) -> Result<(), E> {
    let Some((&(count, step), inner)) = dims.split_last() else {
        let part = base.max(range.start)..range.end.min(base + run);
        return if part.is_empty() { Ok(()) } else { visit(part) };
    };
    if count == 1 {
        return runs_in(base, run, inner, range, visit);
    }
    let first = (range.start + 1).saturating_sub(base + span(run, inner)).div_ceil(step);
    let end = range.end.saturating_sub(base).div_ceil(step).min(count);
    (first..end).try_for_each(|i| runs_in(base + i * step, run, inner, range, visit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn bytes(f: &Footprint) -> BTreeSet<u64> {
        let mut set = BTreeSet::new();
        let done: Result<(), ()> = f.try_for_each_run(|run| {
            set.extend(run);
            Ok(())
        });
        assert_eq!(done, Ok(()));
        set
    }

    fn any_footprint() -> impl Strategy<Value = Footprint> {
        (0_u64..64, 1_u64..8, proptest::collection::vec((1_u32..5, 0_u32..20), 0..=4))
            .prop_map(|(base, run, dims)| Footprint::new(Space::Sram, base, run, &dims))
    }

    /// Billions of runs, with strides that have nothing to do with each other.
    #[test]
    fn no_pair_of_maps_takes_long() {
        let cases = [
            (1, [(65_535, 8), (65_535, 524_288)], 3, [(65_535, 8), (65_535, 524_288)], false),
            (1, [(65_535, 65_537), (1, 0)], 0, [(65_535, 65_539), (1, 0)], true),
            (1, [(65_535, 65_536), (1, 0)], 1, [(65_535, 65_538), (1, 0)], false),
            (7, [(60_000, 1_000), (60_000, 60_000_000)], 900, [(60_000, 1_000), (50_000, 60_000_000)], false),
            (7, [(60_000, 1_000), (60_000, 60_000_000)], 900, [(50_000, 1_003), (50_000, 60_000_000)], true),
        ];
        for (run, a, base, b, want) in cases {
            let a = Footprint::new(Space::Sram, 0, run, &a);
            let b = Footprint::new(Space::Sram, base, 1, &b);
            assert_eq!(a.meets(&b), Some(want), "{a:?} {b:?}");
        }
    }

    #[test]
    fn dense_map_is_one_run() {
        let map = Footprint::new(Space::Sram, 100, 8, &[(4, 8), (3, 32)]);
        assert!(map.is_dense());
        assert_eq!(map.extent(), 100..196);
    }

    proptest! {
        #[test]
        fn canonical_form_keeps_the_bytes(base in 0_u64..9, run in 1_u64..6, dims in proptest::collection::vec((1_u32..5, 0_u32..20), 0..=4)) {
            let mut want = BTreeSet::new();
            let mut starts = vec![base];
            for &(count, step) in &dims {
                starts = starts.iter().flat_map(|s| (0..count).map(move |i| s + u64::from(i * step))).collect();
            }
            for s in starts { want.extend(s..s + run); }
            let f = Footprint::new(Space::Sram, base, run, &dims);
            prop_assert_eq!(bytes(&f), want.clone());
            prop_assert_eq!(f.extent(), *want.first().unwrap()..want.last().unwrap() + 1);
        }

        #[test]
        fn overlap_is_exact(a in any_footprint(), b in any_footprint()) {
            let common: BTreeSet<_> = bytes(&a).intersection(&bytes(&b)).copied().collect();
            match a.first_common_byte(&b) {
                Some(byte) => prop_assert!(common.contains(&byte)),
                None => prop_assert!(common.is_empty()),
            }
            prop_assert_eq!(a.meets(&b), Some(!common.is_empty()));
        }

        #[test]
        fn parts_of_runs_are_the_bytes_within_a_range(f in any_footprint(), start in 0_u64..150, len in 0_u64..40) {
            let range = start..start + len;
            let want: BTreeSet<_> = bytes(&f).intersection(&range.clone().collect()).copied().collect();
            let mut got = Vec::new();
            let done: Result<(), ()> = f.try_for_each_run_in(&range, |run| {
                got.extend(run);
                Ok(())
            });
            prop_assert_eq!(done, Ok(()));
            if f.is_nested() {
                prop_assert_eq!(f.first_in(&range), want.first().copied());
                prop_assert!(got.is_sorted());
            }
            prop_assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), want);
        }

        #[test]
        fn what_is_nested_covers_no_byte_twice(f in any_footprint()) {
            let visited = f.runs() * f.run;
            prop_assert!(!f.is_nested() || u64::try_from(bytes(&f).len()) == Ok(visited));
        }
    }
}
