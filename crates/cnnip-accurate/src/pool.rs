//! Maximum, minimum and average of windows.

use std::num::NonZeroU32;
use std::ops::Range;

use cnnip_isa::ElementType;
use cnnip_kernels::{Divisor, Map, Output8, Pool8};
use cnnip_lowered::{PoolFunction, Sweep};
use cnnip_numerics::{RoundingMode, average};

use crate::element::{index, read, source, write};
use crate::numbers::{taps, window};
use crate::split::{self, spans};
use crate::step::{Operands, Overflow, Tools};
use crate::workers::Workers;

/// Elements that a fast kernel reads in a nanosecond, about.
const READS_PER_NANOSECOND: usize = 8;

/// A pool ready to run; both sides have the same type.
#[derive(Debug)]
pub(crate) struct Pool {
    layer: cnnip_lowered::Pool,
    element: ElementType,
}

impl Pool {
    pub(crate) fn new(layer: cnnip_lowered::Pool, element: ElementType) -> Self {
        Self { layer, element }
    }

    pub(crate) fn run(&self, workers: &mut Workers, operands: Operands<'_>) {
        let cnnip_lowered::Pool { batch, vertical, horizontal, .. } = &self.layer;
        let row = |sweep: u32| index(sweep) * index(self.layer.channels) * self.element.bytes();
        let rows = [row(horizontal.input), row(horizontal.output)];
        let [from, to] = [index(vertical.input) * rows[0], index(vertical.output) * rows[1]];
        let taps = index(vertical.kernel) * index(horizontal.kernel);
        let parts = self.parts(workers.parts(to * taps / READS_PER_NANOSECOND));
        for at in 0..index(*batch) {
            let input = operands.inputs[0].get(at * from..(at + 1) * from).unwrap_or_default();
            let output = operands.output.get_mut(at * to..(at + 1) * to).unwrap_or_default();
            let pieces = split::cut(output, parts.iter().map(|(_, sweep)| index(sweep.output) * rows[1]));
            let work = |tools: &mut Tools, ((read, sweep), output): (&(Range<u32>, Sweep), &mut [u8])| {
                let input = input.get(index(read.start) * rows[0]..index(read.end) * rows[0]).unwrap_or_default();
                if !self.kernel(tools, sweep, input, output) {
                    self.plain(sweep, input, output);
                }
                Ok(())
            };
            let done: Result<(), Overflow> = workers.run(parts.iter().zip(pieces), work);
            debug_assert!(done.is_ok(), "nothing overflows in a pool");
        }
    }

    /// The rows in so many parts, or fewer: rows of the input, and the sweep between these and the part's.
    fn parts(&self, count: usize) -> Vec<(Range<u32>, Sweep)> {
        let vertical = &self.layer.vertical;
        let parts: Option<Vec<_>> =
            spans(index(vertical.output), count).map(|span| split::rows(vertical, &span)).collect();
        parts.filter(|_| count > 1).unwrap_or_else(|| vec![(0..vertical.input, *vertical)])
    }

    /// Does the whole map, or nothing.
    fn kernel(&self, tools: &mut Tools, vertical: &Sweep, input: &[u8], output: &mut [u8]) -> bool {
        if self.element != ElementType::Int8 {
            return false;
        }
        let (horizontal, channels) = (&self.layer.horizontal, index(self.layer.channels));
        let map = |rows: u32, columns: u32| Map::dense(index(rows), index(columns), channels);
        let [from, to] = [map(vertical.input, horizontal.input), map(vertical.output, horizontal.output)];
        let Some(input) = source(input, from, self.element, self.layer.zero) else { return false };
        let pool = Pool8 { input, window: window(vertical, horizontal) };
        let (min, max) = self.layer.clamp;
        let last = Output8 { zero: self.layer.zero, min, max, mode: RoundingMode::None };
        let Tools { kernels, scratch, .. } = tools;
        match self.layer.function {
            PoolFunction::Max => kernels.max_pool8(&pool, output, to, last).is_ok(),
            PoolFunction::Min => false,
            PoolFunction::Average => kernels.average_pool8(scratch, &pool, Divisor::Valid, output, to, last).is_ok(),
        }
    }

    /// The slow twin.
    fn plain(&self, vertical: &Sweep, input: &[u8], output: &mut [u8]) {
        let cnnip_lowered::Pool { channels, horizontal, zero, clamp: (min, max), .. } = &self.layer;
        let mut at = 0;
        for row in 0..vertical.output {
            for column in 0..horizontal.output {
                for channel in 0..index(*channels) {
                    let rows = taps(vertical, row);
                    let positions = rows.flat_map(|(_, y)| taps(horizontal, column).map(move |(_, x)| (y, x)));
                    let elements = positions.map(|(y, x)| {
                        let pixel = y * index(horizontal.input) + x;
                        let element = read(input, pixel * index(*channels) + channel, self.element);
                        i64::from(element) - i64::from(*zero)
                    });
                    let value = self.reduce(elements);
                    write(output, at, self.element, cnnip_numerics::finish(value, *zero, *min, *max));
                    at += 1;
                }
            }
        }
    }

    fn reduce(&self, elements: impl Iterator<Item = i64>) -> i64 {
        match self.layer.function {
            PoolFunction::Max => elements.max().unwrap_or(i64::MIN),
            PoolFunction::Min => elements.min().unwrap_or(i64::MAX),
            PoolFunction::Average => {
                let (sum, count) = elements.fold((0, 0_u32), |(sum, count), element| (sum + element, count + 1));
                NonZeroU32::new(count).map_or(0, |count| average::divide(sum, count))
            }
        }
    }
}
