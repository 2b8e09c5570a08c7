//! Per-channel records, checked and laid out for vectors.

use crate::{Declined, Output8, Target8, accumulators};
use cnnip_numerics::{ChannelRecord, RoundingMode};

/// Channels per block: of the weight layouts and of every vector backend.
pub(crate) const BLOCK: usize = 16;

/// Magnitude that accumulators must provably stay within: vectors hold them in 32 bits.
const ACCUMULATOR_LIMIT: u64 = (1 << 31) - 1;

/// Magnitude that values between element-wise stages must stay within: two of them can be added.
pub(crate) const STAGE_LIMIT: u64 = (1 << 30) - 1;

/// Requantization parameters of 16 output channels. Lanes without a channel are zero.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Channel16 {
    /// Start of the accumulators: bias and whatever the backend adds.
    pub(crate) bias: [i32; BLOCK],
    /// Multiplier, or the bits of the float scale.
    pub(crate) multiplier: [i32; BLOCK],
    /// Left shift before the product (`double`).
    pub(crate) left: [i32; BLOCK],
    /// Right shift after the product (`double`, `single`).
    pub(crate) right: [i32; BLOCK],
}

/// Records of a convolution and what they are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<'a> {
    /// Memory of the records, 16 bytes per channel.
    pub(crate) bytes: &'a [u8],
    /// Whether biases count.
    pub(crate) use_bias: bool,
    /// Number of channels.
    pub(crate) channels: usize,
}

impl Records<'_> {
    /// Whether they are looked at; without bias and requantization there need not be any.
    fn are_used(&self, target: &Target8<'_>) -> bool {
        self.use_bias || matches!(target, Target8::Output { .. })
    }

    /// The record of `channel`, of which only the bias that counts.
    pub(crate) fn get(&self, channel: usize) -> ChannelRecord {
        self.read(&self.bytes.as_chunks().0[channel])
    }

    fn read(&self, bytes: &[u8; ChannelRecord::BYTES]) -> ChannelRecord {
        let record = ChannelRecord::from_le_bytes(*bytes);
        ChannelRecord { bias: if self.use_bias { record.bias } else { 0 }, ..record }
    }

    /// All records in order; those that memory has.
    fn iter(&self) -> impl Iterator<Item = ChannelRecord> {
        self.bytes.as_chunks().0.iter().take(self.channels).map(|bytes| self.read(bytes))
    }

    /// What the accumulators of `channel` start from.
    pub(crate) fn bias(&self, channel: usize) -> i64 {
        if self.use_bias { self.get(channel).bias } else { 0 }
    }

    /// Checks every record against `target`; sums of products stay within `sum`.
    pub(crate) fn check(&self, target: &Target8<'_>, sum: u64) -> Result<(), Declined> {
        if !self.are_used(target) {
            return fits(sum).map(|_| ());
        }
        let need = self.channels.checked_mul(ChannelRecord::BYTES).ok_or(Declined::Shape { what: "channels" })?;
        if self.bytes.len() < need {
            return Err(Declined::Extent { what: "records", have: self.bytes.len(), need });
        }
        let (output, sum) = stage(target, sum);
        self.iter().try_for_each(|record| check_record(&record, output, sum))
    }

    /// Lays out the channels of `groups` groups, each rounded up to whole blocks.
    pub(crate) fn fill(&self, target: &Target8<'_>, groups: usize, blocks: &mut Vec<Channel16>) {
        let in_group = self.channels / groups;
        let per_group = in_group.div_ceil(BLOCK);
        blocks.clear();
        blocks.resize(groups * per_group, Channel16::default());
        if !self.are_used(target) {
            return;
        }
        let mode = stage(target, 0).0.map_or(RoundingMode::None, |output| output.mode);
        let mut records = self.iter();
        for blocks in blocks.chunks_exact_mut(per_group.max(1)) {
            let lanes = (0..in_group).map(|at| (at / BLOCK, at % BLOCK));
            lanes.zip(&mut records).for_each(|((block, lane), record)| blocks[block].set(lane, &record, mode));
        }
    }
}

impl Channel16 {
    /// The same scale in all lanes.
    pub(crate) fn splat(record: &ChannelRecord, mode: RoundingMode) -> Self {
        let mut block = Self::default();
        (0..BLOCK).for_each(|lane| block.set(lane, record, mode));
        block
    }

    fn set(&mut self, lane: usize, record: &ChannelRecord, mode: RoundingMode) {
        self.bias[lane] = i32::try_from(record.bias).unwrap_or(0); // checked to be small
        self.multiplier[lane] = record.multiplier.cast_signed();
        let (left, right) = shifts(record.shift, mode);
        self.left[lane] = left;
        self.right[lane] = right;
    }
}

/// Left and right shift of a record.
fn shifts(shift: i32, mode: RoundingMode) -> (i32, i32) {
    match mode {
        RoundingMode::Double => (shift.max(0), -shift.min(0)),
        RoundingMode::Single => (0, 31 - shift),
        _ => (0, 0),
    }
}

/// The output stage, and the bound of what reaches it.
fn stage(target: &Target8<'_>, sum: u64) -> (Option<Output8>, u64) {
    match target {
        Target8::Output { map, output, load, .. } => {
            let loaded = load.map_or(0, |load| accumulators::magnitude(load, map.h * map.w * map.c));
            (Some(*output), sum.saturating_add(loaded))
        }
        Target8::Accumulators { .. } => (None, sum),
    }
}

fn check_record(record: &ChannelRecord, output: Option<Output8>, sum: u64) -> Result<(), Declined> {
    let bound = fits(sum.saturating_add(record.bias.unsigned_abs()))?;
    output.map_or(Ok(()), |output| check_scale(record, output.mode, bound))
}

/// Checks that vectors can scale values within `bound`: the scale is legal and no 32-bit result is lost.
pub(crate) fn check_scale(record: &ChannelRecord, mode: RoundingMode, bound: u64) -> Result<(), Declined> {
    record.scale(mode)?;
    match mode {
        RoundingMode::Double if record.multiplier.cast_signed() == i32::MIN => {
            Err(Declined::Shape { what: "multiplier" })
        }
        // Half of the divisor is added to the high product.
        RoundingMode::Double if record.shift < 0 => {
            let high = ((bound * u64::from(record.multiplier.cast_signed().unsigned_abs())) >> 31) + 1;
            fits(high + (1 << -record.shift >> 1)).map(|_| ())
        }
        RoundingMode::Single => fits(bound << record.shift.max(0)).map(|_| ()),
        RoundingMode::Reduced => Err(Declined::Mode(mode)),
        _ => Ok(()),
    }
}

/// Passes `bound` on if accumulators within it are safe.
fn fits(bound: u64) -> Result<u64, Declined> {
    if bound <= ACCUMULATOR_LIMIT { Ok(bound) } else { Err(Declined::AccumulatorBound { bound }) }
}

/// Passes `bound` on if values between stages within it are safe.
pub(crate) fn within(bound: u64) -> Result<u64, Declined> {
    if bound <= STAGE_LIMIT { Ok(bound) } else { Err(Declined::AccumulatorBound { bound }) }
}
