//! Copies and fills of runs of bytes under four nested loops: what a DMA engine does.

mod loops;

use crate::{Backend, Declined, Kernels};
use loops::Loops;

/// Runs of contiguous bytes under four nested loops; loop 0 is the innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Bytes of one run.
    pub bytes: usize,
    /// How often each loop repeats.
    pub counts: [usize; 4],
    /// Bytes the source moves per step of each loop; a fill does not look at them.
    pub source: [usize; 4],
    /// Bytes the destination moves per step of each loop.
    pub destination: [usize; 4],
}

impl Kernels {
    /// Copies every run of `runs` from `source` to `destination`.
    ///
    /// # Errors
    /// [`Declined`], with nothing written, where a run would leave a slice or bytes of the destination would be written twice.
    ///
    /// ```
    /// use cnnip_kernels::{Kernels, Runs};
    /// let transpose = Runs { bytes: 1, counts: [3, 2, 1, 1], source: [1, 3, 0, 0], destination: [2, 1, 0, 0] };
    /// let mut out = [0; 6];
    /// Kernels::default().copy_strided(&[1, 2, 3, 4, 5, 6], &mut out, &transpose)?;
    /// assert_eq!(out, [1, 4, 2, 5, 3, 6]);
    /// # Ok::<(), cnnip_kernels::Declined>(())
    /// ```
    pub fn copy_strided(&self, source: &[u8], destination: &mut [u8], runs: &Runs) -> Result<(), Declined> {
        runs.check("source", runs.source, source.len())?;
        runs.check_destination(destination.len())?;
        if self.backend() == Backend::Scalar {
            runs.each(|from, to| destination[to..][..runs.bytes].copy_from_slice(&source[from..][..runs.bytes]));
        } else {
            Loops::new(runs).copy(source, destination);
        }
        Ok(())
    }

    /// Fills every run of `runs` in `destination` with repetitions of `pattern`, whose length divides the run's.
    ///
    /// # Errors
    /// As [`Kernels::copy_strided`]; also where the pattern is empty or does not fit the run.
    pub fn fill_strided(&self, pattern: &[u8], destination: &mut [u8], runs: &Runs) -> Result<(), Declined> {
        runs.check_destination(destination.len())?;
        if pattern.is_empty() || !runs.bytes.is_multiple_of(pattern.len()) {
            return Err(Declined::Shape { what: "pattern" });
        }
        let fill = |run: &mut [u8]| match pattern {
            [one] => run.fill(*one),
            _ => run.chunks_exact_mut(pattern.len()).for_each(|chunk| chunk.copy_from_slice(pattern)),
        };
        runs.each(|_, to| fill(&mut destination[to..][..runs.bytes]));
        Ok(())
    }
}

impl Runs {
    /// Bytes from the first run's start to one past the last byte, moving by `steps`.
    fn extent(&self, steps: [usize; 4]) -> Option<usize> {
        let mut loops = self.counts.into_iter().zip(steps);
        loops.try_fold(self.bytes, |end, (count, step)| end.checked_add(count.checked_sub(1)?.checked_mul(step)?))
    }

    fn check(&self, what: &'static str, steps: [usize; 4], have: usize) -> Result<(), Declined> {
        let need = self.extent(steps).filter(|_| self.bytes > 0).ok_or(Declined::Shape { what: "runs" })?;
        if need <= have { Ok(()) } else { Err(Declined::Extent { what, have, need }) }
    }

    /// As [`Runs::check`], and that ordered by size every step reaches over all runs of the smaller ones.
    fn check_destination(&self, have: usize) -> Result<(), Declined> {
        self.check("destination", self.destination, have)?;
        let mut loops: Vec4 = std::array::from_fn(|i| (self.destination[i], self.counts[i]));
        loops.sort_unstable();
        let counting = loops.into_iter().filter(|&(_, count)| count > 1);
        let reach = counting
            .into_iter()
            .try_fold(self.bytes, |reach, (step, count)| (step >= reach).then(|| reach + step * (count - 1)));
        reach.map(|_| ()).ok_or(Declined::Shape { what: "destination steps" })
    }

    /// Calls `run` with the source and destination offset of every run, loop 0 innermost.
    fn each(&self, mut run: impl FnMut(usize, usize)) {
        let [n0, n1, n2, n3] = self.counts;
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (self.source, self.destination);
        for i3 in 0..n3 {
            for i2 in 0..n2 {
                for i1 in 0..n1 {
                    let (from, to) = (i1 * s1 + i2 * s2 + i3 * s3, i1 * d1 + i2 * d2 + i3 * d3);
                    (0..n0).for_each(|i0| run(from + i0 * s0, to + i0 * d0));
                }
            }
        }
    }
}

/// Steps and counts of the four loops.
type Vec4 = [(usize, usize); 4];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bytes, vector_kernels};
    use proptest::prelude::*;

    #[test]
    fn bytes_written_twice_are_declined() {
        let runs = Runs { bytes: 4, counts: [2, 1, 1, 1], source: [0; 4], destination: [3, 0, 0, 0] };
        let mut out = [0; 16];
        let twice = Err(Declined::Shape { what: "destination steps" });
        assert_eq!(Kernels::default().copy_strided(&[0; 4], &mut out, &runs), twice);
        let outside = Err(Declined::Extent { what: "destination", have: 16, need: 17 });
        let runs = Runs { destination: [13, 0, 0, 0], ..runs };
        assert_eq!(Kernels::default().copy_strided(&[0; 4], &mut out, &runs), outside);
    }

    #[test]
    fn fills_repeat_their_pattern() {
        let mut out = [9; 10];
        let runs = Runs { bytes: 4, counts: [1, 2, 1, 1], source: [0; 4], destination: [0, 5, 0, 0] };
        Kernels::default().fill_strided(&[1, 2], &mut out, &runs).unwrap();
        assert_eq!(out, [1, 2, 1, 2, 9, 1, 2, 1, 2, 9]);
    }

    /// Runs whose loops do not nest by size: gaps between them stay as they were.
    #[test]
    fn gaps_of_the_destination_are_not_touched() {
        let runs = Runs { bytes: 40, counts: [2, 2, 2, 1], source: [40, 80, 160, 0], destination: [292, 40, 86, 0] };
        let source = bytes(5, runs.extent(runs.source).unwrap());
        for kernels in vector_kernels().chain([Kernels::scalar()]) {
            let mut out = vec![0xee; runs.extent(runs.destination).unwrap()];
            kernels.copy_strided(&source, &mut out, &runs).unwrap();
            assert_eq!(out[80..86], [0xee; 6], "{:?}", kernels.backend());
            assert_eq!(out[166..292], [0xee; 126], "{:?}", kernels.backend());
            assert_eq!(out[292..332], source[40..80], "{:?}", kernels.backend());
        }
    }

    #[test]
    fn lines_are_interleaved() {
        let source = bytes(3, 5 * 1000);
        for lines in 1..6 {
            let line_first = [[lines, 300, 2, 1], [300, 1, 1500, 0], [1, lines, lines * 300, 0]];
            let byte_first = [[300, lines, 2, 1], [1, 300, 1500, 0], [lines, 1, lines * 300, 0]];
            for [counts, from, destination] in [line_first, byte_first] {
                let runs = Runs { bytes: 1, counts, source: from, destination };
                let copy = |kernels: Kernels| {
                    let mut out = vec![0; runs.extent(destination).unwrap()];
                    kernels.copy_strided(&source, &mut out, &runs).unwrap();
                    out
                };
                let want = copy(Kernels::scalar());
                vector_kernels().for_each(|kernels| assert_eq!(copy(kernels), want, "{lines} lines"));
            }
        }
    }

    prop_compose! {
        /// Destinations without aliasing: loops nested in any order, each step a little over what the inner ones reach.
        fn runs()(
            bytes in prop_oneof![2 => 1..5_usize, 1 => 1..70_usize],
            counts in prop::array::uniform4(prop_oneof![1 => Just(1_usize), 3 => 1..7_usize, 1 => 30..40_usize]),
            source in prop::array::uniform4(prop_oneof![Just(0_usize), Just(1), Just(7), 0..50_usize]),
            gaps in prop::array::uniform4(prop_oneof![2 => Just(0_usize), 1 => 0..3_usize]),
            order in Just([0_usize, 1, 2, 3]).prop_shuffle(), dense: bool,
        ) -> Runs {
            let mut destination = [0; 4];
            let mut reach = bytes;
            let counts = if counts.iter().product::<usize>() > 20_000 { [counts[0], counts[1], 1, 1] } else { counts };
            for loop_index in order {
                destination[loop_index] = reach + gaps[loop_index];
                reach += destination[loop_index] * (counts[loop_index] - 1);
            }
            Runs { bytes, counts, source: if dense { destination } else { source }, destination }
        }
    }

    proptest! {
        #[test]
        fn every_backend_equals_the_scalar_twin(runs in runs(), seed: u64) {
            let source = bytes(seed, runs.extent(runs.source).unwrap());
            let run = |kernels: Kernels| {
                let mut out = bytes(1, runs.extent(runs.destination).unwrap() + 3);
                (kernels.copy_strided(&source, &mut out, &runs), out)
            };
            let want = run(Kernels::scalar());
            prop_assert_eq!(&want.0, &Ok(()));
            for kernels in vector_kernels() {
                prop_assert!(want == run(kernels));
            }
        }
    }
}
