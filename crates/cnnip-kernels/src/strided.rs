//! Copies and fills of runs of bytes under four nested loops: what a DMA engine does.

use crate::{Declined, Kernels};

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
    /// Copies every run of `runs` from `source` to `destination`, outermost loop first.
    ///
    /// # Errors
    /// [`Declined`], with nothing written, where a run would leave a slice.
    pub fn copy_strided(&self, source: &[u8], destination: &mut [u8], runs: &Runs) -> Result<(), Declined> {
        runs.check("source", runs.source, source.len())?;
        runs.check("destination", runs.destination, destination.len())?;
        runs.each(|from, to| destination[to..][..runs.bytes].copy_from_slice(&source[from..][..runs.bytes]));
        Ok(())
    }

    /// Fills every run of `runs` in `destination` with repetitions of `pattern`, whose length divides the run's.
    ///
    /// # Errors
    /// [`Declined`], with nothing written, where a run would leave the slice or the pattern does not fit.
    pub fn fill_strided(&self, pattern: &[u8], destination: &mut [u8], runs: &Runs) -> Result<(), Declined> {
        runs.check("destination", runs.destination, destination.len())?;
        if pattern.is_empty() || !runs.bytes.is_multiple_of(pattern.len()) {
            return Err(Declined::Shape { what: "pattern" });
        }
        runs.each(|_, to| {
            let run = destination[to..][..runs.bytes].chunks_exact_mut(pattern.len());
            run.for_each(|chunk| chunk.copy_from_slice(pattern));
        });
        Ok(())
    }
}

impl Runs {
    /// Bytes from the first run's start to one past the last byte, moving by `steps`.
    fn extent(&self, steps: [usize; 4]) -> Option<usize> {
        let loops = self.counts.into_iter().zip(steps);
        loops
            .into_iter()
            .try_fold(self.bytes, |end, (count, step)| end.checked_add(count.checked_sub(1)?.checked_mul(step)?))
    }

    fn check(&self, what: &'static str, steps: [usize; 4], have: usize) -> Result<(), Declined> {
        let need = self.extent(steps).ok_or(Declined::Shape { what: "runs" })?;
        if need <= have { Ok(()) } else { Err(Declined::Extent { what, have, need }) }
    }

    /// Calls `run` with the source and destination offset of every run.
    fn each(&self, mut run: impl FnMut(usize, usize)) {
        let [n0, n1, n2, n3] = self.counts;
        let offset = |steps: [usize; 4], at: [usize; 4]| at.iter().zip(steps).map(|(i, step)| i * step).sum();
        for i3 in 0..n3 {
            for i2 in 0..n2 {
                for i1 in 0..n1 {
                    for i0 in 0..n0 {
                        run(offset(self.source, [i0, i1, i2, i3]), offset(self.destination, [i0, i1, i2, i3]));
                    }
                }
            }
        }
    }
}
