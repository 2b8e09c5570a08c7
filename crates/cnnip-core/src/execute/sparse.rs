//! Weights of which a bitmap tells the stored blocks.

use std::ops::Range;

use cnnip_isa::operation::{BLOCK_BYTES, Conv, Operation, OperationError, Rule, Sparse};

use super::element::{at, bytes};
use crate::FaultCause;
use crate::memory::index;

/// Output channels of a weight block.
const CHANNELS: u32 = 16;

/// A stored block of 16 output channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// Its number among all blocks of the channels: taps, then blocks of input channels.
    pub(super) number: u32,
    /// Its number among all stored blocks.
    pub(super) place: u32,
}

/// Some of 16 output channels that share weight blocks.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Number of the 16 channels, counted over all groups.
    pub(super) number: u32,
    /// The channels.
    pub(super) channels: Range<u32>,
}

/// The parts of some channels of one group that share weight blocks.
pub(super) fn rows(conv: &Conv, channels: Range<u32>) -> impl Iterator<Item = Row> {
    let (_, _, outputs) = conv.grouping();
    let mut first = channels.start;
    std::iter::from_fn(move || {
        if first >= channels.end {
            return None;
        }
        let (group, output) = (first / outputs, first % outputs);
        let end = first.saturating_add(CHANNELS - output % CHANNELS).min(channels.end);
        let row = Row { number: group * outputs.div_ceil(CHANNELS) + output / CHANNELS, channels: first..end };
        first = end;
        Some(row)
    })
}

/// The stored blocks of row `row`, in order.
pub(super) fn stored(conv: &Conv, sparse: &Sparse, row: u32, sram: &[u8]) -> Vec<Stored> {
    let before = set_before(sparse, u64::from(row) * u64::from(conv.row_blocks()), sram);
    (before..).zip(numbers(conv, sparse, row, sram)).map(|(place, number)| Stored { number, place }).collect()
}

/// The numbers of the stored blocks of row `row`.
fn numbers(conv: &Conv, sparse: &Sparse, row: u32, sram: &[u8]) -> impl Iterator<Item = u32> {
    let blocks = conv.row_blocks();
    let first = u64::from(row) * u64::from(blocks);
    (0..blocks).filter(move |&number| is_set(sparse, first + u64::from(number), sram))
}

fn is_set(sparse: &Sparse, bit: u64, sram: &[u8]) -> bool {
    let [byte] = bytes(sram, at(sparse.bitmap, bit / 8));
    byte >> (bit % 8) & 1 == 1
}

/// Bits of the bitmap that are set below bit `end`.
fn set_before(sparse: &Sparse, end: u64, sram: &[u8]) -> u32 {
    let whole = sram.get(at(sparse.bitmap, 0)..at(sparse.bitmap, end / 8)).unwrap_or_default();
    let rest = (end / 8 * 8..end).filter(|&bit| is_set(sparse, bit, sram)).count();
    whole.iter().map(|byte| byte.count_ones()).sum::<u32>() + u32::try_from(rest).unwrap_or(0)
}

/// Checks that the bitmap has what the registers say.
///
/// # Errors
/// `W_STORED` or `W_LONGEST`, with what the bitmap implies.
pub(crate) fn check_bitmap(operation: &Operation, sram: &[u8]) -> Result<(), FaultCause> {
    let Operation::Conv(conv) = operation else { return Ok(()) };
    let Some(sparse) = &conv.weights.sparse else { return Ok(()) };
    let illegal =
        |register, value, rule| Err(FaultCause::Operation(OperationError::IllegalParameter { register, value, rule }));
    let blocks = conv.weight_bytes() / BLOCK_BYTES;
    let set = set_before(sparse, blocks, sram);
    if set != sparse.stored {
        return illegal("W_STORED", sparse.stored, Rule::Equal { expected: u64::from(set), because: "the bitmap" });
    }
    let all = rows_of(conv).map(|row| numbers(conv, sparse, row, sram).count());
    let most = u32::try_from(all.max().unwrap_or(0)).unwrap_or(u32::MAX);
    if most > sparse.longest {
        let (min, max) = (i64::from(most), i64::from(conv.row_blocks()));
        return illegal("W_LONGEST", sparse.longest, Rule::Range { min, max });
    }
    Ok(())
}

/// Numbers of all rows of blocks.
fn rows_of(conv: &Conv) -> Range<u32> {
    let (groups, _, outputs) = conv.grouping();
    0..groups * outputs.div_ceil(CHANNELS)
}

/// Most bytes of all blocks for each byte of the scratchpad: what a bitmap may name is far more than is ever stored.
const MAX_GROWTH: u64 = 16;

/// Puts all blocks into `dense`; does nothing where all are stored. `None` if they are too many.
pub(super) fn expand(conv: &Conv, sram: &[u8], dense: &mut Vec<u8>) -> Option<()> {
    let Some(sparse) = &conv.weights.sparse else { return Some(()) };
    let bytes = conv.weight_bytes();
    if bytes / MAX_GROWTH > u64::try_from(sram.len()).ok()? {
        return None;
    }
    let zero = conv.weights.zero.to_le_bytes();
    let element = conv.weights.element.bytes();
    dense.clear();
    dense.resize(index(bytes), 0);
    if conv.weights.zero != 0 {
        dense.chunks_exact_mut(element).for_each(|weight| weight.copy_from_slice(&zero[..element]));
    }
    let mut from = sram.get(at(conv.weights.address, 0)..)?.chunks_exact(index(BLOCK_BYTES));
    for (bit, to) in (0..).zip(dense.chunks_exact_mut(index(BLOCK_BYTES))) {
        if is_set(sparse, bit, sram) {
            to.copy_from_slice(from.next()?);
        }
    }
    Some(())
}
