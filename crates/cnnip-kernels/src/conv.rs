//! Convolution: dense and grouped, strided, dilated; a fully connected layer is a 1x1 convolution.
//!
//! `acc = start + sum over kh, kw, ic of (x - zero) * w`, then requantization per output channel.

mod matrix;
mod pack;
mod scalar;
mod tile;

use crate::channel::{BLOCK, Records};
use crate::operand::Factors;
use crate::{Backend, Declined, Kernels, Prepared8, Scratch, Source8, Target8, Window};

/// A convolution's operands, target aside.
///
/// Weights are int8 in layout `dense8`, `[g][oc/16][kh][kw][ic/4][16][4]`, where oc and ic count within a group and padding
/// weights are zero. Their channel counts follow from the input's channels, the target's channels and `groups`.
#[derive(Clone, Copy, Debug)]
pub struct Conv8<'a> {
    /// The input map.
    pub input: Source8<'a>,
    /// What taps outside the input read; in the range of the input's type.
    pub pad_value: i32,
    /// Taps, strides, dilations and padding.
    pub window: Window,
    /// Groups; divides input and output channels.
    pub groups: usize,
    /// The weights.
    pub weights: &'a [u8],
    /// Zero point of the weights; kernels take 0 only.
    pub w_zero: i32,
    /// Per-channel records, 16 bytes each: bias (int64), multiplier (32 bits), shift (int32).
    pub records: &'a [u8],
    /// Whether the records' biases are added.
    pub use_bias: bool,
}

/// Input channels per weight block.
pub(crate) const DEPTH: usize = 4;

/// Bytes of one weight block.
pub(crate) const BLOCK_BYTES: usize = BLOCK * DEPTH;

/// A checked convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) conv: Conv8<'a>,
    pub(crate) records: Records<'a>,
    /// Output height, width.
    pub(crate) size: [usize; 2],
    /// Input channels of a group.
    pub(crate) ic: usize,
    /// Output channels of a group.
    pub(crate) oc: usize,
    /// The byte that stands for padding.
    pub(crate) pad: u8,
    factors: Factors,
}

impl Kernels {
    /// Convolves `conv` into `target`.
    ///
    /// # Errors
    /// [`Declined`], with nothing written: operands out of their slices, asymmetric weights, mode `Reduced`, or accumulators
    /// that do not provably stay inside 31 bits.
    pub fn conv8(&self, scratch: &mut Scratch, conv: &Conv8<'_>, target: Target8<'_>) -> Result<(), Declined> {
        let plan = Plan::new(conv, &target, self.multiplies_signed())?;
        plan.records.check(&target, plan.sum_bound())?;
        let layout = pack::Layout::new(&plan)?;
        plan.records.fill(&target, conv.groups, &mut scratch.channels);
        self.convolve(scratch, &plan, layout, target);
        Ok(())
    }

    /// As [`conv8`](Self::conv8), with channels that were prepared: those of `prepared` from block `first` on.
    ///
    /// # Errors
    /// As [`conv8`](Self::conv8), and where sums start from other sums.
    pub fn conv8_prepared(
        &self,
        scratch: &mut Scratch,
        conv: &Conv8<'_>,
        target: Target8<'_>,
        prepared: &Prepared8,
        first: usize,
    ) -> Result<(), Declined> {
        if self.backend() == Backend::Scalar {
            return self.conv8(scratch, conv, target);
        }
        let Target8::Output { load: None, .. } = target else { return Err(Declined::Shape { what: "target" }) };
        let mut plan = Plan::new(conv, &target, self.multiplies_signed())?;
        let layout = pack::Layout::new(&plan)?;
        let blocks = prepared.blocks(first..first + conv.groups * plan.oc_blocks())?;
        plan.factors.zero = 0; // its part is in the biases
        scratch.channels.clear();
        scratch.channels.extend_from_slice(blocks);
        self.convolve(scratch, &plan, layout, target);
        Ok(())
    }

    fn multiplies_signed(&self) -> bool {
        self.backend() == Backend::Amx || self.takes_signed()
    }

    /// Computes a plan whose channels are filled in.
    fn convolve(&self, scratch: &mut Scratch, plan: &Plan<'_>, layout: pack::Layout, mut target: Target8<'_>) {
        let target = &mut target;
        if self.backend() == Backend::Scalar {
            return scalar::run(plan, target);
        }
        match self.tiles() {
            Some(tiles) => self.vectorize(matrix::Job { plan, layout, scratch, target, tiles }),
            None => self.vectorize(tile::Job { plan, layout, scratch, target }),
        };
    }
}

impl<'a> Plan<'a> {
    fn new(conv: &Conv8<'a>, target: &Target8<'_>, signed: bool) -> Result<Self, Declined> {
        target.check()?;
        conv.input.check()?;
        conv.window.check()?;
        let pad = conv.input.element.byte("pad value", conv.pad_value)?;
        let [h, w, channels] = target.size();
        let (ic, oc) = split(conv.input.map.c, channels, conv.groups)?;
        let records = Records { bytes: conv.records, use_bias: conv.use_bias, channels };
        let factors = Factors::new(&conv.input, signed);
        let plan = Self { conv: *conv, records, size: [h, w], ic, oc, pad, factors };
        plan.check_weights()?;
        Ok(plan)
    }

    fn check_weights(&self) -> Result<(), Declined> {
        if self.conv.w_zero != 0 {
            return Err(Declined::WeightZero { zero: self.conv.w_zero });
        }
        let need = self.conv.groups.checked_mul(self.oc_blocks()).and_then(|n| n.checked_mul(self.panel_bytes()?));
        let need = need.ok_or(Declined::Shape { what: "weights" })?;
        let have = self.conv.weights.len();
        if have < need { Err(Declined::Extent { what: "weights", have, need }) } else { Ok(()) }
    }

    /// What sums of products stay within.
    fn sum_bound(&self) -> u64 {
        let terms = u64::try_from(self.conv.window.taps().saturating_mul(self.ic)).unwrap_or(u64::MAX);
        terms.saturating_mul(self.conv.input.magnitude()).saturating_mul(128)
    }

    /// Whether every output reads one whole pixel of the input, none of it padding.
    fn reads_whole_pixels(&self) -> bool {
        let (window, map) = (&self.conv.window, &self.conv.input.map);
        let inside = (self.size[0] - 1) * window.stride_y < map.h && (self.size[1] - 1) * window.stride_x < map.w;
        window.taps() == 1 && [window.top, window.left] == [0; 2] && inside && self.ic.is_multiple_of(DEPTH)
    }

    /// Whether output pixels are as many as the input's, and each at the place of the one it reads.
    fn has_every_pixel(&self) -> bool {
        let (window, map) = (&self.conv.window, &self.conv.input.map);
        [window.stride_y, window.stride_x] == [1; 2] && self.size[1] == map.w
    }

    /// Blocks of 16 output channels in a group.
    pub(crate) fn oc_blocks(&self) -> usize {
        self.oc.div_ceil(BLOCK)
    }

    /// Blocks of 4 input channels in a group.
    pub(crate) fn ic_blocks(&self) -> usize {
        self.ic.div_ceil(DEPTH)
    }

    /// Weight bytes of one block of output channels.
    fn panel_bytes(&self) -> Option<usize> {
        self.conv.window.taps().checked_mul(self.ic_blocks())?.checked_mul(BLOCK_BYTES)
    }
}

pub(crate) fn split(input: usize, output: usize, groups: usize) -> Result<(usize, usize), Declined> {
    let divides = groups > 0 && input.is_multiple_of(groups) && output.is_multiple_of(groups);
    if divides { Ok((input / groups, output / groups)) } else { Err(Declined::Shape { what: "groups" }) }
}

#[cfg(test)]
mod tests;
