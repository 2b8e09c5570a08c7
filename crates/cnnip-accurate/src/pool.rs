//! Maximum, minimum and average of windows.

use std::num::NonZeroU32;

use cnnip_isa::ElementType;
use cnnip_kernels::{Divisor, Map, Output8, Pool8};
use cnnip_lowered::PoolFunction;
use cnnip_numerics::{RoundingMode, average};

use crate::element::{index, read, source, write};
use crate::numbers::{taps, window};
use crate::step::{Operands, Tools};

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

    pub(crate) fn run(&self, tools: &mut Tools, operands: Operands<'_>) {
        let cnnip_lowered::Pool { batch, channels, vertical, horizontal, .. } = &self.layer;
        let map = |rows: u32, columns: u32| Map::dense(index(rows), index(columns), index(*channels));
        let maps = [map(vertical.input, horizontal.input), map(vertical.output, horizontal.output)];
        let [from, to] = maps.map(|map| map.h * map.row * self.element.bytes());
        for at in 0..index(*batch) {
            let input = operands.inputs[0].get(at * from..(at + 1) * from).unwrap_or_default();
            let output = operands.output.get_mut(at * to..(at + 1) * to).unwrap_or_default();
            if !self.kernel(tools, input, output, maps) {
                self.plain(input, output);
            }
        }
    }

    /// Does the whole map, or nothing.
    fn kernel(&self, tools: &mut Tools, input: &[u8], output: &mut [u8], [from, to]: [Map; 2]) -> bool {
        if self.element != ElementType::Int8 {
            return false;
        }
        let Some(input) = source(input, from, self.element, self.layer.zero) else { return false };
        let pool = Pool8 { input, window: window(&self.layer.vertical, &self.layer.horizontal) };
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
    fn plain(&self, input: &[u8], output: &mut [u8]) {
        let cnnip_lowered::Pool { channels, vertical, horizontal, zero, clamp: (min, max), .. } = &self.layer;
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
