//! Scaled sums over one axis.

use cnnip_isa::ElementType;
use cnnip_kernels::Map;
use cnnip_numerics::Scale;

use crate::element::{index, read, source, write};
use crate::error::Why;
use crate::numbers::scale;
use crate::step::{Operands, Overflow, Tools};

/// A sum ready to run.
#[derive(Debug)]
pub(crate) struct Sum {
    layer: cnnip_lowered::Sum,
    elements: [ElementType; 2],
    scale: Scale,
}

impl Sum {
    pub(crate) fn new(layer: cnnip_lowered::Sum, elements: [ElementType; 2]) -> Result<Self, Why> {
        Ok(Self { scale: scale(&layer.stage)?, layer, elements })
    }

    pub(crate) fn run(&self, tools: &mut Tools, operands: Operands<'_>) -> Result<(), Overflow> {
        let Operands { inputs: [input, ..], output } = operands;
        let channels = index(self.layer.channels);
        let part = index(self.layer.count) * channels * self.elements[0].bytes();
        for outer in 0..self.layer.outer {
            let at = index(outer);
            let input = input.get(at * part..(at + 1) * part).unwrap_or_default();
            tools.sums.clear();
            tools.sums.resize(channels, 0);
            if !self.kernel(tools, input) {
                self.plain(input, &mut tools.sums);
            }
            self.finish(&tools.sums, at * channels, output).map_err(|overflow| overflow.within(outer))?;
        }
        Ok(())
    }

    /// Adds all elements, or none.
    fn kernel(&self, tools: &mut Tools, input: &[u8]) -> bool {
        let map = Map::dense(1, index(self.layer.count), index(self.layer.channels));
        let source = source(input, map, self.elements[0], self.layer.input_zero);
        source.is_some_and(|source| tools.kernels.reduce_sum8(&source, &mut tools.sums).is_ok())
    }

    /// The slow twin.
    fn plain(&self, input: &[u8], sums: &mut [i64]) {
        let channels = sums.len();
        for at in 0..index(self.layer.count) {
            for (channel, sum) in sums.iter_mut().enumerate() {
                let element = read(input, at * channels + channel, self.elements[0]);
                *sum = sum.wrapping_add(i64::from(element) - i64::from(self.layer.input_zero));
            }
        }
    }

    fn finish(&self, sums: &[i64], first: usize, output: &mut [u8]) -> Result<(), Overflow> {
        let activation = &self.layer.activation;
        for ((channel, &sum), at) in (0..).zip(sums).zip(first..) {
            let sum = self.scale.accumulator().check(sum).map_err(|overflow| Overflow::new(overflow, channel))?;
            let value = self.scale.finish(sum, activation.zero, activation.min, activation.max);
            write(output, at, self.elements[1], value);
        }
        Ok(())
    }
}
