//! Depthwise convolution: output channel `c` reads input channel `c / multiplier` only.

mod lines;
mod scalar;

use crate::channel::{BLOCK, Records};
use crate::operand::Factors;
use crate::scratch::sized;
use crate::{Backend, Declined, Kernels, Map, Prepared8, Scratch, Source8, Target8, Window};

/// A depthwise convolution's operands, target aside.
///
/// Weights are int8 in layout `depthwise`, `[c/16][kh][kw][16]`, c counting output channels; padding weights are zero.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise8<'a> {
    /// The input map.
    pub input: Source8<'a>,
    /// What taps outside the input read; in the range of the input's type.
    pub pad_value: i32,
    /// Taps, strides, dilations and padding.
    pub window: Window,
    /// Output channels per input channel.
    pub multiplier: usize,
    /// The weights.
    pub weights: &'a [u8],
    /// Zero point of the weights; kernels take 0 only.
    pub w_zero: i32,
    /// Per-channel records, as of a convolution.
    pub records: &'a [u8],
    /// Whether the records' biases are added.
    pub use_bias: bool,
}

/// Bytes of rearranged input above which the slow path takes over.
const LARGEST: usize = 1 << 24;

/// A checked depthwise convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) conv: Depthwise8<'a>,
    pub(crate) records: Records<'a>,
    /// Output height, width.
    pub(crate) size: [usize; 2],
    /// The byte that stands for padding.
    pub(crate) pad: u8,
    factors: Factors,
}

impl Kernels {
    /// Convolves `conv` into `target`, channel by channel.
    ///
    /// # Errors
    /// As [`Kernels::conv8`].
    pub fn depthwise8(
        &self,
        scratch: &mut Scratch,
        conv: &Depthwise8<'_>,
        mut target: Target8<'_>,
    ) -> Result<(), Declined> {
        let plan = Plan::new(conv, &target, self.takes_signed())?;
        plan.records.check(&target, plan.sum_bound())?;
        if self.backend() == Backend::Scalar {
            scalar::run(&plan, &mut target);
            return Ok(());
        }
        plan.records.fill(&target, 1, &mut scratch.channels);
        self.convolve_channels(scratch, &plan, target);
        Ok(())
    }

    /// As [`depthwise8`](Self::depthwise8), with channels that were prepared.
    ///
    /// # Errors
    /// As [`conv8_prepared`](Self::conv8_prepared).
    pub fn depthwise8_prepared(
        &self,
        scratch: &mut Scratch,
        conv: &Depthwise8<'_>,
        target: Target8<'_>,
        prepared: &Prepared8,
    ) -> Result<(), Declined> {
        if self.backend() == Backend::Scalar {
            return self.depthwise8(scratch, conv, target);
        }
        let Target8::Output { load: None, .. } = target else { return Err(Declined::Shape { what: "target" }) };
        let mut plan = Plan::new(conv, &target, self.takes_signed())?;
        let blocks = prepared.blocks(0..plan.records.channels.div_ceil(BLOCK))?;
        plan.factors.zero = 0; // its part is in the biases
        scratch.channels.clear();
        scratch.channels.extend_from_slice(blocks);
        self.convolve_channels(scratch, &plan, target);
        Ok(())
    }

    /// Computes a plan whose channels are filled in.
    fn convolve_channels(&self, scratch: &mut Scratch, plan: &Plan<'_>, mut target: Target8<'_>) {
        let mut expanded = std::mem::take(&mut scratch.expanded);
        let plan = plan.with_single_channels(&mut expanded);
        self.vectorize(lines::Job { plan: &plan, scratch, target: &mut target });
        scratch.expanded = expanded;
    }
}

impl<'a> Plan<'a> {
    fn new(conv: &Depthwise8<'a>, target: &Target8<'_>, signed: bool) -> Result<Self, Declined> {
        target.check()?;
        conv.input.check()?;
        conv.window.check()?;
        let pad = conv.input.element.byte("pad value", conv.pad_value)?;
        let [h, w, channels] = target.size();
        if conv.input.map.c.checked_mul(conv.multiplier) != Some(channels) {
            return Err(Declined::Shape { what: "multiplier" });
        }
        let plan = Self {
            conv: *conv,
            records: Records { bytes: conv.records, use_bias: conv.use_bias, channels },
            size: [h, w],
            pad,
            factors: Factors::new(&conv.input, signed),
        };
        plan.check_weights()?;
        plan.check_rearranged()?;
        Ok(plan)
    }

    fn check_weights(&self) -> Result<(), Declined> {
        if self.conv.w_zero != 0 {
            return Err(Declined::WeightZero { zero: self.conv.w_zero });
        }
        let blocks = self.records.channels.div_ceil(BLOCK);
        let need = blocks.checked_mul(self.conv.window.taps()).and_then(|n| n.checked_mul(BLOCK));
        let (need, have) = (need.ok_or(Declined::Shape { what: "weights" })?, self.conv.weights.len());
        if have < need { Err(Declined::Extent { what: "weights", have, need }) } else { Ok(()) }
    }

    /// The same convolution with multiplier 1: every input channel repeated in `expanded`.
    fn with_single_channels<'s>(&self, expanded: &'s mut Vec<u8>) -> Plan<'s>
    where
        'a: 's,
    {
        if self.conv.multiplier == 1 {
            return *self;
        }
        let (input, m) = (&self.conv.input, self.conv.multiplier);
        let map = Map::dense(input.map.h, input.map.w, self.records.channels);
        let bytes = sized(expanded, map.h * map.row, 0);
        for (at, pixel) in bytes.chunks_exact_mut(map.pix).enumerate() {
            let source = &input.bytes[input.map.at(at / map.w, at % map.w)..][..input.map.c];
            pixel.chunks_exact_mut(m).zip(source).for_each(|(copies, &x)| copies.fill(x));
        }
        let conv = Depthwise8 { input: Source8 { bytes, map, ..*input }, multiplier: 1, ..self.conv };
        Plan { conv, ..*self }
    }

    /// Interleaved lines and repeated channels stay small: far more than a scratchpad's maps need.
    fn check_rearranged(&self) -> Result<(), Declined> {
        let (map, window) = (&self.conv.input.map, &self.conv.window);
        let (_, columns) = window.reach(1, self.size[1]);
        let line = columns.checked_mul(window.kh).filter(|&taps| taps <= LARGEST / BLOCK);
        let expanded = map.h.checked_mul(map.w).and_then(|pixels| pixels.checked_mul(self.records.channels));
        let fits = line.is_some() && (self.conv.multiplier == 1 || expanded.is_some_and(|bytes| bytes <= LARGEST));
        if fits { Ok(()) } else { Err(Declined::Shape { what: "size of the rearranged input" }) }
    }

    /// What sums of products stay within.
    fn sum_bound(&self) -> u64 {
        let taps = u64::try_from(self.conv.window.taps()).unwrap_or(u64::MAX);
        taps.saturating_mul(self.conv.input.magnitude()).saturating_mul(128)
    }
}

#[cfg(test)]
mod tests;
