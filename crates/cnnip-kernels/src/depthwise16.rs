//! Depthwise convolution of int16 maps: output channel `c` reads input channel `c / multiplier` only.

use crate::channel::{BLOCK, Records};
use crate::operand16::{Channel, int16};
use crate::simd::{Simd, Task};
use crate::{Backend, Declined, Kernels, Scratch, Source16, Target16, Weights16, Window};

/// A 16-bit depthwise convolution's operands, target aside.
///
/// Weights are in layout `depthwise`, `[c/16][kh][kw][16]`, c counting output channels.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise16<'a> {
    /// The input map.
    pub input: Source16<'a>,
    /// What taps outside the input read.
    pub pad_value: i16,
    /// Taps, strides, dilations and padding.
    pub window: Window,
    /// Output channels per input channel.
    pub multiplier: usize,
    /// The weights; their zero point is 0.
    pub weights: Weights16<'a>,
    /// Per-channel records, as of a convolution.
    pub records: &'a [u8],
    /// Whether the records' biases are added.
    pub use_bias: bool,
}

/// A checked depthwise convolution.
struct Plan<'a> {
    conv: Depthwise16<'a>,
    records: Records<'a>,
    /// Output height, width.
    size: [usize; 2],
}

impl Kernels {
    /// Convolves `conv` into `target`, channel by channel.
    ///
    /// # Errors
    /// As [`Kernels::conv16`].
    pub fn depthwise16(
        &self,
        scratch: &mut Scratch,
        conv: &Depthwise16<'_>,
        mut target: Target16<'_>,
    ) -> Result<(), Declined> {
        let plan = Plan::new(conv, &target)?;
        target.fill_channels(&plan.records, &mut scratch.channels16);
        let job = Job { plan: &plan, channels: &scratch.channels16, target: &mut target };
        if self.backend() == Backend::Scalar {
            job.run_plainly();
        } else {
            self.vectorize(job);
        }
        Ok(())
    }
}

impl<'a> Plan<'a> {
    fn new(conv: &Depthwise16<'a>, target: &Target16<'_>) -> Result<Self, Declined> {
        target.check()?;
        conv.input.check()?;
        conv.window.check()?;
        let [h, w, channels] = target.size();
        if conv.input.map.c.checked_mul(conv.multiplier) != Some(channels) {
            return Err(Declined::Shape { what: "multiplier" });
        }
        let records = Records { bytes: conv.records, use_bias: conv.use_bias, channels };
        let plan = Self { conv: *conv, records, size: [h, w] };
        plan.check_weights()?;
        plan.check_sums(target)?;
        Ok(plan)
    }

    fn check_weights(&self) -> Result<(), Declined> {
        let taps = self.records.channels.div_ceil(BLOCK).checked_mul(self.conv.window.taps());
        let need = taps.and_then(|taps| taps.checked_mul(BLOCK * self.conv.weights.size()));
        let need = need.ok_or(Declined::Shape { what: "weights" })?;
        let have = self.conv.weights.bytes().len();
        if have < need { Err(Declined::Extent { what: "weights", have, need }) } else { Ok(()) }
    }

    /// As a dense convolution's.
    fn check_sums(&self, target: &Target16<'_>) -> Result<(), Declined> {
        let taps = u64::try_from(self.conv.window.taps()).unwrap_or(u64::MAX);
        let any = taps.saturating_mul(1 << 15).saturating_mul(self.conv.weights.magnitude());
        match target.check_records(&self.records, |_| any) {
            Err(Declined::AccumulatorBound { .. }) => {
                let input = self.conv.input.magnitude(self.conv.pad_value);
                let weights = |channel| (0..self.conv.window.taps()).map(move |tap| self.weight(channel, tap));
                let sum = |channel| weights(channel).map(|weight| u64::from(weight.unsigned_abs())).sum::<u64>();
                target.check_records(&self.records, |channel| sum(channel).saturating_mul(input))
            }
            result => result,
        }
    }

    #[inline(always)]
    fn weight(&self, channel: usize, tap: usize) -> i16 {
        self.conv.weights.get((channel / BLOCK * self.conv.window.taps() + tap) * BLOCK + channel % BLOCK)
    }
}

/// A checked convolution whose channels are filled in.
struct Job<'j, 'a, 't> {
    plan: &'j Plan<'a>,
    channels: &'j [Channel],
    target: &'j mut Target16<'t>,
}

impl Task for Job<'_, '_, '_> {
    /// The loops are plain; the backend's instructions are what the compiler makes vectors of.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let [h, w] = self.plan.size;
        for y in 0..h {
            for x in 0..w {
                for (block, channels) in self.channels.chunks(BLOCK).enumerate() {
                    let sums = self.plan.block_sums(y, x, block, channels.len());
                    self.target.deliver([y, x, block * BLOCK], &sums[..channels.len()], channels);
                }
            }
        }
    }
}

impl Job<'_, '_, '_> {
    /// The slow twin: one channel at a time.
    fn run_plainly(self) {
        let [h, w] = self.plan.size;
        for y in 0..h {
            for x in 0..w {
                for (index, channel) in self.channels.iter().enumerate() {
                    self.target.deliver([y, x, index], &[self.plan.sum(y, x, index)], &[*channel]);
                }
            }
        }
    }
}

impl Plan<'_> {
    fn sum(&self, y: usize, x: usize, channel: usize) -> i64 {
        let (window, input) = (&self.conv.window, &self.conv.input);
        let taps = (0..window.kh).flat_map(|ky| (0..window.kw).map(move |kx| (ky, kx)));
        let product = |(ky, kx)| {
            let pixel = window.row(y, ky, input.map.h).zip(window.column(x, kx, input.map.w));
            let element =
                |(row, column)| int16(input.elements(input.map.at(row, column), channel / self.conv.multiplier, 1)[0]);
            i64::from(pixel.map_or(self.conv.pad_value, element)) * i64::from(self.weight(channel, ky * window.kw + kx))
        };
        taps.map(product).sum()
    }

    /// Sums of up to 16 channels.
    #[inline(always)]
    fn block_sums(&self, y: usize, x: usize, block: usize, count: usize) -> [i64; BLOCK] {
        let (window, input) = (&self.conv.window, &self.conv.input);
        let mut sums = [0; BLOCK];
        for ky in 0..window.kh {
            let row = window.row(y, ky, input.map.h);
            for kx in 0..window.kw {
                let pixel = row.zip(window.column(x, kx, input.map.w));
                let elements = self.block_elements(pixel, block, count);
                let first = (block * window.taps() + ky * window.kw + kx) * BLOCK;
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let product = i32::from(elements[lane]) * i32::from(self.conv.weights.get(first + lane));
                    *sum += i64::from(product);
                }
            }
        }
        sums
    }

    /// What a tap reads for up to 16 output channels.
    #[inline(always)]
    fn block_elements(&self, pixel: Option<(usize, usize)>, block: usize, count: usize) -> [i16; BLOCK] {
        let Some((row, column)) = pixel else { return [self.conv.pad_value; BLOCK] };
        let (input, multiplier) = (&self.conv.input, self.conv.multiplier);
        let mut elements = [0; BLOCK];
        let first = block * BLOCK;
        if multiplier == 1 {
            let source = input.elements(input.map.at(row, column), first, count);
            elements.iter_mut().zip(source).for_each(|(element, bytes)| *element = int16(*bytes));
            return elements;
        }
        let source = input.elements(input.map.at(row, column), 0, input.map.c);
        let channels = (first..first + count).map(|channel| int16(source[channel / multiplier]));
        elements.iter_mut().zip(channels).for_each(|(element, value)| *element = value);
        elements
    }
}

#[cfg(test)]
mod tests;
