//! Convolution of int16 maps, dense and grouped, with int8 or int16 weights; accumulators are exact in 64 bits.

mod scalar;
mod tile;

use crate::channel::{BLOCK, Records};
use crate::operand16::Channel;
use crate::{Backend, Declined, Kernels, Scratch, Source16, Target16, Weights16, Window};

/// A 16-bit convolution's operands, target aside.
///
/// Weights are in layout `dense8`, `[g][oc/16][kh][kw][ic/4][16][4]`, or `dense16`, `[g][oc/16][kh][kw][ic/2][16][2]`, where oc
/// and ic count within a group.
#[derive(Clone, Copy, Debug)]
pub struct Conv16<'a> {
    /// The input map.
    pub input: Source16<'a>,
    /// What taps outside the input read.
    pub pad_value: i16,
    /// Taps, strides, dilations and padding.
    pub window: Window,
    /// Groups; divides input and output channels.
    pub groups: usize,
    /// The weights; their zero point is 0.
    pub weights: Weights16<'a>,
    /// Per-channel records, 16 bytes each: bias (int64), multiplier (32 bits), shift (int32).
    pub records: &'a [u8],
    /// Whether the records' biases are added.
    pub use_bias: bool,
}

/// Bytes of one weight block: 16 output channels.
const BLOCK_BYTES: usize = 4 * BLOCK;

/// Pairs of elements of a rearranged input above which the slow path takes over.
const LARGEST: usize = 1 << 22;

/// A checked convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    conv: Conv16<'a>,
    records: Records<'a>,
    /// Output height, width.
    size: [usize; 2],
    /// Input channels of a group.
    ic: usize,
    /// Output channels of a group.
    oc: usize,
}

impl Kernels {
    /// Convolves `conv` into `target`.
    ///
    /// # Errors
    /// [`Declined`], with nothing written: operands out of their slices, or accumulators that do not provably stay in the range
    /// of the output's mode.
    pub fn conv16(&self, scratch: &mut Scratch, conv: &Conv16<'_>, mut target: Target16<'_>) -> Result<(), Declined> {
        let plan = Plan::new(conv, &target)?;
        let mut channels = std::mem::take(&mut scratch.channels16);
        target.fill_channels(&plan.records, &mut channels);
        if self.backend() == Backend::Scalar {
            scalar::run(&plan, &channels, &mut target);
        } else {
            self.vectorize(tile::Job { plan: &plan, channels: &channels, scratch, target: &mut target });
        }
        scratch.channels16 = channels;
        Ok(())
    }
}

impl<'a> Plan<'a> {
    fn new(conv: &Conv16<'a>, target: &Target16<'_>) -> Result<Self, Declined> {
        target.check()?;
        conv.input.check()?;
        conv.window.check()?;
        let [h, w, channels] = target.size();
        let (ic, oc) = crate::conv::split(conv.input.map.c, channels, conv.groups)?;
        let records = Records { bytes: conv.records, use_bias: conv.use_bias, channels };
        let plan = Self { conv: *conv, records, size: [h, w], ic, oc };
        plan.check_weights()?;
        plan.check_rearranged()?;
        plan.check_sums(target)?;
        Ok(plan)
    }

    fn check_weights(&self) -> Result<(), Declined> {
        let blocks = self.conv.groups.checked_mul(self.oc.div_ceil(BLOCK));
        let per_block = self.conv.window.taps().checked_mul(self.depth());
        let need = blocks.and_then(|n| n.checked_mul(per_block?)).and_then(|n| n.checked_mul(BLOCK_BYTES));
        let need = need.ok_or(Declined::Shape { what: "weights" })?;
        let have = self.conv.weights.bytes().len();
        if have < need { Err(Declined::Extent { what: "weights", have, need }) } else { Ok(()) }
    }

    fn check_rearranged(&self) -> Result<(), Declined> {
        let (rows, columns) = self.conv.window.reach(self.size[0], self.size[1]);
        let sizes = [rows, columns, self.conv.groups, self.pixel_pairs()];
        let pairs = sizes.into_iter().try_fold(1_usize, |product, size| product.checked_mul(size));
        let fits = pairs.is_some_and(|pairs| pairs <= LARGEST);
        if fits { Ok(()) } else { Err(Declined::Shape { what: "size of the padded input" }) }
    }

    /// Checks the records against a bound that needs no look at the operands, or else against one that does.
    fn check_sums(&self, target: &Target16<'_>) -> Result<(), Declined> {
        let terms = u64::try_from(self.conv.window.taps().saturating_mul(self.ic)).unwrap_or(u64::MAX);
        let any = terms.saturating_mul(1 << 15).saturating_mul(self.conv.weights.magnitude());
        match target.check_records(&self.records, |_| any) {
            Err(Declined::AccumulatorBound { .. }) => {
                let input = self.conv.input.magnitude(self.conv.pad_value);
                target.check_records(&self.records, |channel| self.weight_sum(channel).saturating_mul(input))
            }
            result => result,
        }
    }

    /// Sum of the magnitudes of a channel's weights.
    fn weight_sum(&self, channel: usize) -> u64 {
        let (group, oc) = (channel / self.oc, channel % self.oc);
        let taps = 0..self.conv.window.taps();
        let weights = taps.flat_map(|tap| (0..self.ic).map(move |ic| self.weight(group, oc, tap, ic)));
        weights.map(|weight| u64::from(weight.unsigned_abs())).sum()
    }

    fn weight(&self, group: usize, oc: usize, tap: usize, ic: usize) -> i16 {
        let per_block = self.channels_per_block();
        let panel = group * self.oc.div_ceil(BLOCK) + oc / BLOCK;
        let block = (panel * self.conv.window.taps() + tap) * self.depth() + ic / per_block;
        self.conv.weights.get((block * BLOCK + oc % BLOCK) * per_block + ic % per_block)
    }

    /// Input channels of one weight block.
    fn channels_per_block(&self) -> usize {
        4 / self.conv.weights.size()
    }

    /// Weight blocks per tap.
    fn depth(&self) -> usize {
        self.ic.div_ceil(self.channels_per_block())
    }

    /// Pairs of elements of one rearranged pixel of a group.
    fn pixel_pairs(&self) -> usize {
        self.depth() * self.channels_per_block() / 2
    }
}

#[cfg(test)]
mod tests;
