//! Copies with merged loops, runs of constant size, and tiles for transpositions.

use super::Runs;

/// One loop: count, source step, destination step.
#[derive(Clone, Copy, Debug)]
struct Loop {
    count: usize,
    source: usize,
    destination: usize,
}

/// The same runs with fewer loops, innermost first; no byte of the destination is written twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loops {
    bytes: usize,
    loops: [Loop; 4],
}

const ONCE: Loop = Loop { count: 1, source: 0, destination: 0 };

/// Side of a tile in a transposition: both sides' cache lines stay near.
const TILE: usize = 32;

impl Loops {
    pub(super) fn new(runs: &Runs) -> Self {
        let mut merged = Self { bytes: runs.bytes, loops: [ONCE; 4] };
        let mut used = 0;
        for index in 0..4 {
            let next =
                Loop { count: runs.counts[index], source: runs.source[index], destination: runs.destination[index] };
            if next.count > 1 && !merged.merge(used, next) {
                merged.loops[used] = next;
                used += 1;
            }
        }
        merged
    }

    /// Makes `next` part of the last of the `used` loops, or of the run, if it goes on where that ends.
    fn merge(&mut self, used: usize, next: Loop) -> bool {
        match used.checked_sub(1).map(|last| &mut self.loops[last]) {
            None if (next.source, next.destination) == (self.bytes, self.bytes) => self.bytes *= next.count,
            Some(last)
                if (next.source, next.destination) == (last.source * last.count, last.destination * last.count) =>
            {
                last.count *= next.count;
            }
            _ => return false,
        }
        true
    }

    pub(super) fn copy(&self, source: &[u8], destination: &mut [u8]) {
        match self.bytes {
            1 => self.copy_bytes(source, destination),
            2 => self.copy_fixed::<2>(source, destination),
            3 => self.copy_fixed::<3>(source, destination),
            4 => self.copy_fixed::<4>(source, destination),
            8 => self.copy_fixed::<8>(source, destination),
            16 => self.copy_fixed::<16>(source, destination),
            32 => self.copy_fixed::<32>(source, destination),
            bytes => self.each_plane(|from, to| {
                self.each_run(from, to, |from, to| {
                    destination[to..][..bytes].copy_from_slice(&source[from..][..bytes])
                });
            }),
        }
    }

    /// Copies runs of one byte: transpositions, mostly.
    fn copy_bytes(&self, source: &[u8], destination: &mut [u8]) {
        if let Some(lines) = self.interleaved() {
            return match lines[0].count {
                2 => self.interleave::<2>(lines, source, destination),
                3 => self.interleave::<3>(lines, source, destination),
                _ => self.interleave::<4>(lines, source, destination),
            };
        }
        let inner = self.loops[0];
        self.each_plane(|from, to| {
            self.each_line(from, to, |from, to, count| {
                // Loops that do not move the destination, or the source, must still be steps.
                let targets = destination[to..].iter_mut().step_by(inner.destination.max(1)).take(count);
                match inner.source {
                    0 => targets.for_each(|target| *target = source[from]),
                    step => targets.zip(source[from..].iter().step_by(step)).for_each(|(target, &byte)| *target = byte),
                }
            });
        });
    }

    /// The two inner loops as a few lines and the bytes of one, if they put these next to each other, as the colours of a
    /// picture's pixels.
    fn interleaved(&self) -> Option<[Loop; 2]> {
        let [a, b, ..] = self.loops;
        [[a, b], [b, a]].into_iter().find(|[lines, bytes]| {
            (2..=4).contains(&lines.count)
                && lines.destination == 1
                && (bytes.source, bytes.destination) == (1, lines.count)
        })
    }

    fn interleave<const N: usize>(&self, [lines, bytes]: [Loop; 2], source: &[u8], destination: &mut [u8]) {
        self.each_plane(|from, to| {
            let lines: [&[u8]; N] = std::array::from_fn(|at| &source[from + at * lines.source..][..bytes.count]);
            let out = destination[to..][..N * bytes.count].as_chunks_mut::<N>().0;
            out.iter_mut().enumerate().for_each(|(at, out)| *out = lines.map(|line| line[at]));
        });
    }

    /// Copies runs of a size that the compiler knows.
    fn copy_fixed<const N: usize>(&self, source: &[u8], destination: &mut [u8]) {
        self.each_plane(|from, to| {
            self.each_run(from, to, |from, to| {
                if let (Some(source), Some(destination)) =
                    (source[from..].first_chunk::<N>(), destination[to..].first_chunk_mut())
                {
                    *destination = *source;
                }
            });
        });
    }

    /// Offsets of every repetition of the two inner loops.
    #[inline(always)]
    fn each_plane(&self, mut plane: impl FnMut(usize, usize)) {
        let [_, _, inner, outer] = self.loops;
        for i in 0..outer.count {
            for j in 0..inner.count {
                plane(i * outer.source + j * inner.source, i * outer.destination + j * inner.destination);
            }
        }
    }

    /// Offsets of the runs of the two inner loops, tile by tile.
    #[inline(always)]
    fn each_run(&self, from: usize, to: usize, mut run: impl FnMut(usize, usize)) {
        let inner = self.loops[0];
        self.each_line(from, to, |from, to, count| {
            (0..count).for_each(|i| run(from + i * inner.source, to + i * inner.destination));
        });
    }

    /// The two inner loops, tile by tile: offsets and number of runs of every line of a tile.
    #[inline(always)]
    fn each_line(&self, from: usize, to: usize, mut line: impl FnMut(usize, usize, usize)) {
        let [inner, outer, ..] = self.loops;
        for first in (0..outer.count).step_by(TILE) {
            for column in (0..inner.count).step_by(TILE) {
                let (from, to) = (from + column * inner.source, to + column * inner.destination);
                let count = TILE.min(inner.count - column);
                for row in first..outer.count.min(first + TILE) {
                    line(from + row * outer.source, to + row * outer.destination, count);
                }
            }
        }
    }
}
