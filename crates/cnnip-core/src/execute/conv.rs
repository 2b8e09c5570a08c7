//! `CONV` and `DEPTHWISE`, block by block.

use std::ops::Range;

use cnnip_isa::operation::{Conv, ConvKind, Sparse};
use cnnip_isa::{ElementType, WeightLayout};
use cnnip_numerics::Scale;
use cnnip_timing::ArrayBlock;

use super::element::{at, look_up, position, read, read_spill, write, write_spill};
use super::scales::{mode, record};
use super::{outputs, sparse};
use crate::FaultCause;

/// Output channels of one weight block.
const BLOCK: u32 = 16;

/// Position of output (row, column, channel) among spilled accumulators.
fn spill_index(conv: &Conv, row: u32, column: u32, channel: u32) -> u64 {
    let pixel = u64::from(row) * u64::from(conv.output.width) + u64::from(column);
    pixel * u64::from(conv.output.channels) + u64::from(channel)
}

/// Start values of the block's accumulators.
pub(super) fn start(conv: &Conv, block: &ArrayBlock, sram: &[u8], acc: &mut Vec<i64>) {
    acc.clear();
    acc.extend(outputs(block).map(|(column, channel)| {
        let load = conv.accumulators.load;
        let loaded = load.map_or(0, |at| read_spill(sram, at, spill_index(conv, block.row, column, channel)));
        let bias = if conv.accumulators.bias { record(conv, sram, channel).bias } else { 0 };
        loaded.wrapping_add(bias)
    }));
}

/// Adds the products of the depth elements `depth`.
pub(super) fn step(conv: &Conv, block: &ArrayBlock, depth: Range<u32>, sram: &[u8], acc: &mut [i64]) {
    if let Some(sparse) = &conv.weights.sparse {
        return step_stored(conv, sparse, block, &depth, sram, acc);
    }
    let group_inputs = match conv.kind {
        ConvKind::Grouped { groups } => conv.input.channels / groups,
        ConvKind::Depthwise { .. } => 1,
    };
    for element in depth {
        let (tap, input) = (element / group_inputs, element % group_inputs);
        let tap = Tap { ky: tap / conv.window.kernel_w, kx: tap % conv.window.kernel_w, input };
        let weights: Vec<i32> = block.channels.clone().map(|channel| weight(conv, &tap, channel, sram)).collect();
        for (column, acc) in block.columns.clone().zip(acc.chunks_exact_mut(weights.len())) {
            add_products(conv, block, &tap, column, &weights, sram, acc);
        }
    }
}

/// As [`step`], for the elements of stored blocks only: each 16 output channels have their own.
fn step_stored(conv: &Conv, sparse: &Sparse, block: &ArrayBlock, depth: &Range<u32>, sram: &[u8], acc: &mut [i64]) {
    let lanes = block.channels.len();
    let rows = sparse::rows(conv, block.channels.clone());
    for row in rows {
        let stored = sparse::stored(conv, sparse, row.number, sram);
        for element in depth.clone() {
            let Some(weights) = StoredWeights::of(conv, &stored, element) else { break };
            for channel in row.channels.clone() {
                let lane = index(channel - block.channels.start);
                add_stored(conv, block, &weights, channel, sram, acc.iter_mut().skip(lane).step_by(lanes));
            }
        }
    }
}

/// The weights that 16 output channels have for one element of depth.
struct StoredWeights {
    tap: Tap,
    /// Position of the first channel's weight among all stored ones.
    first: u64,
}

impl StoredWeights {
    /// Those of element `element` of the stored blocks, if there are so many.
    fn of(conv: &Conv, stored: &[sparse::Stored], element: u32) -> Option<Self> {
        let (_, inputs, _) = conv.grouping();
        let (per, within) = (conv.block_depth(), element % conv.block_depth());
        let block = stored.get(index(element / per))?;
        let (tap, input) = (block.number / inputs.div_ceil(per), block.number % inputs.div_ceil(per));
        let tap = Tap { ky: tap / conv.window.kernel_w, kx: tap % conv.window.kernel_w, input: input * per + within };
        Some(Self { tap, first: u64::from(block.place) * u64::from(BLOCK * per) + u64::from(within) })
    }
}

/// Adds the products of a channel's weight to its accumulators, one per column. A block may be deeper than the input.
fn add_stored<'a>(
    conv: &Conv,
    block: &ArrayBlock,
    StoredWeights { tap, first }: &StoredWeights,
    channel: u32,
    sram: &[u8],
    accumulators: impl Iterator<Item = &'a mut i64>,
) {
    let (_, inputs, outputs) = conv.grouping();
    if tap.input >= inputs {
        return;
    }
    let lane = u64::from(channel % outputs % BLOCK * conv.block_depth());
    let bytes = if conv.weights.element == ElementType::Int16 { 2 } else { 1 };
    let weight = read(sram, at(conv.weights.address, (first + lane) * bytes), conv.weights.element);
    for (column, acc) in block.columns.clone().zip(accumulators) {
        let input = block.group * inputs + tap.input;
        let pixel = input_pixel(conv, block.row, column, tap);
        let x = pixel.map_or(conv.pad_value, |pixel| element_of(conv, pixel, input, sram)) - conv.input_zero;
        *acc = acc.wrapping_add(i64::from(x * (weight - conv.weights.zero)));
    }
}

/// One element of depth: kernel position and input channel within the group.
struct Tap {
    ky: u32,
    kx: u32,
    input: u32,
}

/// Adds the products of one element of depth for all channels of an output column.
fn add_products(
    conv: &Conv,
    block: &ArrayBlock,
    tap: &Tap,
    column: u32,
    weights: &[i32],
    sram: &[u8],
    acc: &mut [i64],
) {
    let pixel = input_pixel(conv, block.row, column, tap);
    let x = |channel| pixel.map_or(conv.pad_value, |pixel| element_of(conv, pixel, channel, sram)) - conv.input_zero;
    // Factors have at most 16 bits and a sign, so products have 32.
    let add = |acc: &mut i64, x: i32, w: i32| *acc = acc.wrapping_add(i64::from(x * w));
    match conv.kind {
        ConvKind::Grouped { groups } => {
            let x = x(block.group * (conv.input.channels / groups) + tap.input);
            acc.iter_mut().zip(weights).for_each(|(acc, &w)| add(acc, x, w));
        }
        ConvKind::Depthwise { multiplier } => {
            let outputs = acc.iter_mut().zip(weights).zip(block.channels.clone());
            outputs.for_each(|((acc, &w), channel)| add(acc, x(channel / multiplier), w));
        }
    }
}

/// Row and column that a tap reads for an output, or `None` in the padding.
fn input_pixel(conv: &Conv, row: u32, column: u32, tap: &Tap) -> Option<[u32; 2]> {
    let (window, input) = (&conv.window, &conv.input);
    let row = (row * window.stride_y + tap.ky * window.dilation_y).checked_sub(window.top)?;
    let column = (column * window.stride_x + tap.kx * window.dilation_x).checked_sub(window.left)?;
    (row < input.height && column < input.width).then_some([row, column])
}

fn element_of(conv: &Conv, [row, column]: [u32; 2], channel: u32, sram: &[u8]) -> i32 {
    read(sram, position(&conv.input, row, column, channel), conv.input.element)
}

/// The weight of a tap for an output channel, minus its zero point.
fn weight(conv: &Conv, tap: &Tap, channel: u32, sram: &[u8]) -> i32 {
    let (window, element) = (&conv.window, conv.weights.element);
    let tap_index = u64::from(tap.ky * window.kernel_w + tap.kx);
    let taps = u64::from(window.taps());
    let index = match conv.layout() {
        WeightLayout::Dense8 => dense(conv, tap, tap_index, channel, 4),
        WeightLayout::Dense16 => dense(conv, tap, tap_index, channel, 2),
        WeightLayout::Depthwise => {
            (u64::from(channel / BLOCK) * taps + tap_index) * u64::from(BLOCK) + u64::from(channel % BLOCK)
        }
    };
    let bytes = if element == ElementType::Int16 { 2 } else { 1 };
    read(sram, at(conv.weights.address, index * bytes), element) - conv.weights.zero
}

/// Element index in `[g][oc/16][kh][kw][ic/per][16][per]`.
fn dense(conv: &Conv, tap: &Tap, tap_index: u64, channel: u32, per: u32) -> u64 {
    let (_, inputs, outputs) = conv.grouping();
    let (group, oc) = (channel / outputs, channel % outputs);
    let blocks = u64::from(outputs.div_ceil(BLOCK));
    let block = u64::from(group) * blocks + u64::from(oc / BLOCK);
    let block = block * u64::from(conv.window.taps()) + tap_index;
    let block = block * u64::from(inputs.div_ceil(per)) + u64::from(tap.input / per);
    (block * u64::from(BLOCK) + u64::from(oc % BLOCK)) * u64::from(per) + u64::from(tap.input % per)
}

/// A count that is below what fits in memory.
fn index(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Writes the block's results.
pub(super) fn retire(conv: &Conv, block: &ArrayBlock, sram: &mut [u8], acc: &[i64]) -> Result<(), FaultCause> {
    if let Some(address) = conv.accumulators.store {
        for ((column, channel), &value) in outputs(block).zip(acc) {
            write_spill(sram, address, spill_index(conv, block.row, column, channel), value);
        }
        return Ok(());
    }
    let results = requantize(conv, block, sram, acc)?;
    for ((column, channel), value) in outputs(block).zip(results) {
        write(sram, position(&conv.output, block.row, column, channel), conv.output.element, value);
    }
    Ok(())
}

fn requantize(conv: &Conv, block: &ArrayBlock, sram: &[u8], acc: &[i64]) -> Result<Vec<i32>, FaultCause> {
    let activation = &conv.activation;
    let scales: Vec<Scale> = block
        .channels
        .clone()
        .map(|channel| {
            let scale = record(conv, sram, channel).scale(mode(conv.requant));
            scale.map_err(|why| FaultCause::Scale { channel: Some(channel), why })
        })
        .collect::<Result<_, _>>()?;
    let elements = outputs(block).zip(acc).zip(scales.iter().cycle());
    elements
        .map(|(((column, channel), &value), scale)| {
            let value = scale.accumulator().check(value);
            let value = value.map_err(|error| super::overflow(error, [block.row, column, channel]))?;
            let clamped = scale.finish(value, activation.zero, activation.min, activation.max);
            Ok(activation.table.map_or(clamped, |table| look_up(sram, table, clamped)))
        })
        .collect()
}
