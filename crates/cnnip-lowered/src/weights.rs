//! Weights in the machine's layouts, whole or in the pieces that operations take.

use std::ops::Range;

use cnnip_isa::ElementType;
use cnnip_numerics::ChannelRecord;

use crate::ConvLayer;

/// Lanes of a weight block: output channels.
const LANES: u32 = 16;

/// A part of a layer's weights; ranges count within a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightPiece {
    /// Groups.
    pub groups: Range<u32>,
    /// Output channels of a group.
    pub outputs: Range<u32>,
    /// Input channels of a group.
    pub depth: Range<u32>,
    /// Rows of taps.
    pub rows: Range<u32>,
    /// Columns of taps.
    pub columns: Range<u32>,
}

/// A run of weights of one piece: where it is in the piece's blocks and where in the layer's weights, in bytes.
#[derive(Clone, Copy, Debug)]
struct Run {
    blocked: usize,
    plain: usize,
    bytes: usize,
}

impl WeightPiece {
    /// All weights of a layer.
    pub fn whole(layer: &ConvLayer) -> Self {
        Self {
            groups: 0..layer.groups,
            outputs: 0..layer.outputs,
            depth: 0..layer.depth,
            rows: 0..layer.vertical.kernel,
            columns: 0..layer.horizontal.kernel,
        }
    }

    /// Weights in the piece, those that only fill blocks aside; at most 2^64 - 1.
    pub fn weights(&self) -> u64 {
        self.ranges().iter().map(|range| u64::from(len(range))).fold(1, u64::saturating_mul)
    }

    /// Bytes of the piece in the layout of the layer's operation; at most 2^64 - 1.
    pub fn bytes(&self, layer: &ConvLayer) -> u64 {
        let [groups, outputs, depth, rows, columns] = self.ranges().map(|range| u64::from(len(&range)));
        let (lanes, element) = (u64::from(LANES), wide(layer.weights.element.bytes()));
        let factors = if layer.depthwise {
            [groups.saturating_mul(outputs).div_ceil(lanes), lanes, 1, rows, columns, element]
        } else {
            let depth = depth.next_multiple_of(block_depth(layer).into());
            [groups, outputs.next_multiple_of(lanes), depth, rows, columns, element]
        };
        factors.into_iter().fold(1, u64::saturating_mul)
    }

    /// The output channels, counted over all groups.
    pub fn channels(&self, layer: &ConvLayer) -> impl Iterator<Item = u32> + use<> {
        let (per_group, outputs) = (layer.outputs, self.outputs.clone());
        self.groups.clone().flat_map(move |group| outputs.clone().map(move |output| group * per_group + output))
    }

    /// Whether the piece lies within the layer and has weights.
    pub fn is_within(&self, layer: &ConvLayer) -> bool {
        let whole = Self::whole(layer);
        let pairs = self.ranges().into_iter().zip(whole.ranges());
        pairs.into_iter().all(|(part, whole)| part.start < part.end && part.end <= whole.end)
    }

    fn ranges(&self) -> [Range<u32>; 5] {
        [&self.groups, &self.outputs, &self.depth, &self.rows, &self.columns].map(Clone::clone)
    }

    fn taps(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let columns = self.columns.clone();
        self.rows.clone().flat_map(move |row| columns.clone().map(move |column| (row, column)))
    }

    /// Calls `each` for every run, in the order of the blocks.
    fn runs(&self, layer: &ConvLayer, each: impl FnMut(Run)) {
        if layer.depthwise { self.depthwise_runs(layer, each) } else { self.dense_runs(layer, each) }
    }

    /// Blocks `[group][output / 16][row][column][depth / n][16][n]`, weights `[output][row][column][depth]`.
    fn dense_runs(&self, layer: &ConvLayer, mut each: impl FnMut(Run)) {
        let (element, deep) = (layer.weights.element.bytes(), block_depth(layer));
        let step = index(deep) * element;
        let (rows, columns, depth) = (layer.vertical.kernel, layer.horizontal.kernel, index(layer.depth));
        let mut block = 0;
        for group in self.groups.clone() {
            for first in self.outputs.clone().step_by(index(LANES)) {
                for (row, column) in self.taps() {
                    for start in self.depth.clone().step_by(index(deep)) {
                        let bytes = index((self.depth.end - start).min(deep)) * element;
                        for output in first..self.outputs.end.min(first.saturating_add(LANES)) {
                            let output_of_all = index(group) * index(layer.outputs) + index(output);
                            let tap = (output_of_all * index(rows) + index(row)) * index(columns) + index(column);
                            let plain = (tap * depth + index(start)) * element;
                            each(Run { blocked: block + index(output - first) * step, plain, bytes });
                        }
                        block += index(LANES) * step;
                    }
                }
            }
        }
    }

    /// Blocks `[channel / 16][row][column][16]`, weights `[row][column][channel]`.
    fn depthwise_runs(&self, layer: &ConvLayer, mut each: impl FnMut(Run)) {
        let bytes = layer.weights.element.bytes();
        let all = index(layer.groups) * index(layer.outputs);
        let channels: Vec<u32> = self.channels(layer).collect();
        let mut block = 0;
        for lanes in channels.chunks(index(LANES)) {
            for (row, column) in self.taps() {
                let tap = index(row) * index(layer.horizontal.kernel) + index(column);
                for (lane, &channel) in lanes.iter().enumerate() {
                    each(Run { blocked: block + lane * bytes, plain: (tap * all + index(channel)) * bytes, bytes });
                }
                block += index(LANES) * bytes;
            }
        }
    }
}

/// The weights of a piece in the layout of the layer's operation; lanes without a weight hold the zero point.
pub fn blocks(layer: &ConvLayer, piece: &WeightPiece) -> Vec<u8> {
    let mut blocked = vec![0; index(piece.bytes(layer))];
    if layer.weights.zero != 0 {
        let zero = &layer.weights.zero.to_le_bytes()[..layer.weights.element.bytes()];
        blocked.chunks_exact_mut(zero.len()).for_each(|weight| weight.copy_from_slice(zero));
    }
    let plain = layer.weights.data.bytes();
    piece.runs(layer, |run| {
        if let (Some(to), Some(from)) =
            (blocked.get_mut(run.blocked..run.blocked + run.bytes), plain.get(run.plain..run.plain + run.bytes))
        {
            to.copy_from_slice(from);
        }
    });
    blocked
}

/// Puts the weights of a piece, in the layout of the layer's operation, where they stand in the layer's weights; inverts
/// [`blocks`]. The layer's own weights are not looked at.
pub fn unblock(layer: &ConvLayer, piece: &WeightPiece, blocked: &[u8], plain: &mut [u8]) {
    piece.runs(layer, |run| {
        if let (Some(to), Some(from)) =
            (plain.get_mut(run.plain..run.plain + run.bytes), blocked.get(run.blocked..run.blocked + run.bytes))
        {
            to.copy_from_slice(from);
        }
    });
}

/// The records of a piece's output channels.
pub fn records(layer: &ConvLayer, piece: &WeightPiece) -> Vec<u8> {
    let record = |channel: u32| layer.records.get(index(channel)).map(ChannelRecord::to_le_bytes).unwrap_or_default();
    piece.channels(layer).flat_map(record).collect()
}

/// Input channels of a dense weight block.
fn block_depth(layer: &ConvLayer) -> u32 {
    if layer.weights.element == ElementType::Int16 { 2 } else { 4 }
}

fn len(range: &Range<u32>) -> u32 {
    range.end.saturating_sub(range.start)
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// An index known to be below the length of something in memory.
fn index(value: impl TryInto<usize>) -> usize {
    value.try_into().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use cnnip_isa::RoundingMode;
    use cnnip_isa::operation::Activation;

    use super::*;
    use crate::{Sweep, ValueId, WeightSource};

    /// A layer whose weights count up from 0.
    fn layer([groups, depth, outputs, kernel]: [u32; 4], depthwise: bool, element: ElementType) -> ConvLayer {
        let count = groups * outputs * kernel * depth;
        let bytes = element.bytes();
        let data: Vec<u8> = (0..count).flat_map(|at| at.to_le_bytes().into_iter().take(bytes)).collect();
        let record = |bias: u32| ChannelRecord { bias: bias.into(), multiplier: 0, shift: 0 };
        ConvLayer {
            input: ValueId(0),
            output: ValueId(1),
            batch: 1,
            groups,
            depth,
            outputs,
            depthwise,
            vertical: Sweep::plain(1),
            horizontal: Sweep { kernel, ..Sweep::plain(9) },
            weights: WeightSource { data: data.into(), element, zero: -1 },
            input_zero: 0,
            records: (0..groups * outputs).map(record).collect(),
            requant: RoundingMode::Double,
            activation: Activation { zero: 0, min: -128, max: 127, table: None },
        }
    }

    #[test]
    fn dense_blocks_hold_sixteen_outputs_of_four_inputs() {
        let layer = layer([1, 5, 2, 2], false, ElementType::Int8);
        let bytes = blocks(&layer, &WeightPiece::whole(&layer));
        assert_eq!(bytes.len(), 2 * 2 * 64, "two taps, two blocks of depth");
        assert_eq!(bytes[..8], [0, 1, 2, 3, 10, 11, 12, 13], "first tap, outputs 0 and 1");
        assert_eq!(bytes[8], 255, "an output that is not there has the zero point");
        assert_eq!(bytes[64..68], [4, 255, 255, 255], "the fifth input");
        assert_eq!(bytes[128..132], [5, 6, 7, 8], "second tap");
    }

    #[test]
    fn wide_blocks_hold_two_inputs() {
        let layer = layer([1, 3, 1, 1], false, ElementType::Int16);
        let bytes = blocks(&layer, &WeightPiece::whole(&layer));
        assert_eq!(bytes.len(), 2 * 64);
        assert_eq!((&bytes[..6], &bytes[64..68]), (&[0, 0, 1, 0, 255, 255][..], &[2, 0, 255, 255][..]));
    }

    #[test]
    fn a_piece_is_a_part_of_the_whole() {
        let layer = layer([1, 8, 32, 1], false, ElementType::Int8);
        let piece = WeightPiece { outputs: 16..32, depth: 4..8, ..WeightPiece::whole(&layer) };
        assert_eq!(blocks(&layer, &piece)[..8], [132, 133, 134, 135, 140, 141, 142, 143]);
        assert_eq!(ChannelRecord::from_le_bytes(records(&layer, &piece)[..16].try_into().unwrap()).bias, 16);
    }

    #[test]
    fn depthwise_blocks_hold_sixteen_channels() {
        let layer = layer([3, 1, 2, 2], true, ElementType::Int8);
        let bytes = blocks(&layer, &WeightPiece::whole(&layer));
        assert_eq!(bytes.len(), 2 * 16);
        assert_eq!(bytes[..7], [0, 1, 2, 3, 4, 5, 255]);
        assert_eq!(bytes[16..22], [6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn pieces_put_together_are_the_weights() {
        for element in [ElementType::Int8, ElementType::Int16] {
            for (sizes, depthwise) in [([2, 7, 37, 3], false), ([40, 1, 2, 3], true)] {
                let layer = layer(sizes, depthwise, element);
                let mut plain = vec![0; layer.weights.data.bytes().len()];
                for outputs in [0..1, 1..layer.outputs] {
                    for columns in [0..2, 2..3] {
                        let piece = WeightPiece { outputs: outputs.clone(), columns, ..WeightPiece::whole(&layer) };
                        assert!(piece.is_within(&layer));
                        unblock(&layer, &piece, &blocks(&layer, &piece), &mut plain);
                    }
                }
                assert_eq!(plain, layer.weights.data.bytes(), "{element:?} {sizes:?}");
            }
        }
    }
}
