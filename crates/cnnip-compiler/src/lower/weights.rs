//! Weights in the machine's layouts, one contiguous piece per operation.

use std::ops::Range;

use cnnip_numerics::ChannelRecord;

use super::region::len;
use crate::size::{index, width};
use cnnip_lowered::ConvLayer;

/// Lanes of a weight block.
const LANES: u32 = 16;
/// Bytes of a lane of a dense block.
const LANE_BYTES: u32 = 4;

/// The part of a layer's weights that one operation uses; ranges count within a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightPiece {
    pub(crate) groups: Range<u32>,
    pub(crate) outputs: Range<u32>,
    pub(crate) depth: Range<u32>,
    pub(crate) rows: Range<u32>,
    pub(crate) columns: Range<u32>,
}

/// The weights of a piece in the layout of the layer's operation.
pub(crate) fn blocks(layer: &ConvLayer, piece: &WeightPiece) -> Vec<u8> {
    if layer.depthwise { depthwise(layer, piece) } else { dense(layer, piece) }
}

/// `[group][output / 16][row][column][depth / 4][16][4]`; half as deep with 16 bit.
fn dense(layer: &ConvLayer, piece: &WeightPiece) -> Vec<u8> {
    let depth = LANE_BYTES / width(layer.weights.element).max(1);
    let zero = zero(layer);
    let mut bytes = vec![];
    for group in piece.groups.clone() {
        for outputs in crate::size::pieces(len(&piece.outputs), LANES) {
            for (row, column) in taps(piece) {
                for depths in crate::size::pieces(len(&piece.depth), depth) {
                    let at = |lane: u32, d: u32| {
                        let (output, depth) = (outputs.start + lane, depths.start + d);
                        let inside = output < len(&piece.outputs) && depth < len(&piece.depth);
                        inside
                            .then(|| (group * layer.outputs + piece.outputs.start + output, piece.depth.start + depth))
                    };
                    for (lane, d) in (0..LANES).flat_map(|lane| (0..depth).map(move |d| (lane, d))) {
                        let weight = at(lane, d).map(|(o, i)| dense_weight(layer, [o, row, column, i]));
                        bytes.extend(weight.unwrap_or(&zero));
                    }
                }
            }
        }
    }
    bytes
}

/// The weight at `[output, row, column, depth]`, the output counted over all groups.
fn dense_weight(layer: &ConvLayer, [output, row, column, depth]: [u32; 4]) -> &[u8] {
    let rows = u64::from(layer.vertical.kernel);
    let columns = u64::from(layer.horizontal.kernel);
    let tap = (u64::from(output) * rows + u64::from(row)) * columns + u64::from(column);
    weight(layer, tap * u64::from(layer.depth) + u64::from(depth))
}

/// `[channel / 16][row][column][16]` over all output channels of the piece.
fn depthwise(layer: &ConvLayer, piece: &WeightPiece) -> Vec<u8> {
    let channels: Vec<u32> = channels(layer, piece).collect();
    let zero = zero(layer);
    let mut bytes = vec![];
    for block in channels.chunks(index(LANES)) {
        for (row, column) in taps(piece) {
            let weights = block.iter().map(|&channel| depthwise_weight(layer, [row, column, channel]));
            let padding = std::iter::repeat_n(&zero[..], index(LANES) - block.len());
            bytes.extend(weights.chain(padding).flatten());
        }
    }
    bytes
}

fn depthwise_weight(layer: &ConvLayer, [row, column, channel]: [u32; 3]) -> &[u8] {
    let tap = u64::from(row) * u64::from(layer.horizontal.kernel) + u64::from(column);
    let channels = u64::from(layer.groups) * u64::from(layer.outputs);
    weight(layer, tap * channels + u64::from(channel))
}

/// The bytes of the weight at position `at` of the source.
fn weight(layer: &ConvLayer, at: u64) -> &[u8] {
    let width = layer.weights.element.bytes();
    let start = index(at) * width;
    &layer.weights.data.bytes()[start..start + width]
}

/// The weights' zero point, which stands where a block has no weight.
fn zero(layer: &ConvLayer) -> Vec<u8> {
    layer.weights.zero.to_le_bytes()[..layer.weights.element.bytes()].to_vec()
}

fn taps(piece: &WeightPiece) -> impl Iterator<Item = (u32, u32)> + use<> {
    let columns = piece.columns.clone();
    piece.rows.clone().flat_map(move |row| columns.clone().map(move |column| (row, column)))
}

/// The output channels of a piece, counted over all groups.
fn channels(layer: &ConvLayer, piece: &WeightPiece) -> impl Iterator<Item = u32> + use<> {
    let (per_group, outputs) = (layer.outputs, piece.outputs.clone());
    piece.groups.clone().flat_map(move |group| outputs.clone().map(move |output| group * per_group + output))
}

/// The records of a piece's output channels.
pub(crate) fn records(layer: &ConvLayer, piece: &WeightPiece) -> Vec<u8> {
    let record = |channel: u32| layer.records.get(index(channel)).map(ChannelRecord::to_le_bytes).unwrap_or_default();
    channels(layer, piece).flat_map(record).collect()
}

#[cfg(test)]
mod tests {
    use cnnip_isa::operation::Activation;
    use cnnip_isa::{ElementType, RoundingMode};

    use super::*;
    use cnnip_lowered::{Sweep, ValueId, WeightSource};

    /// A layer whose weights count up from 0.
    fn layer(groups: u32, depth: u32, outputs: u32, kernel: u32, depthwise: bool) -> ConvLayer {
        let count = groups * outputs * kernel * depth;
        let data: Vec<u8> = (0..count).map(|at| at.to_le_bytes()[0]).collect();
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
            weights: WeightSource { data: data.into(), element: ElementType::Int8, zero: -1 },
            input_zero: 0,
            records: (0..groups * outputs).map(record).collect(),
            requant: RoundingMode::Double,
            activation: Activation { zero: 0, min: -128, max: 127, table: None },
        }
    }

    fn whole(layer: &ConvLayer) -> WeightPiece {
        let columns = 0..layer.horizontal.kernel;
        WeightPiece { groups: 0..layer.groups, outputs: 0..layer.outputs, depth: 0..layer.depth, rows: 0..1, columns }
    }

    #[test]
    fn dense_blocks_hold_sixteen_outputs_of_four_inputs() {
        let layer = layer(1, 5, 2, 2, false);
        let bytes = blocks(&layer, &whole(&layer));
        assert_eq!(bytes.len(), 2 * 2 * 64, "two taps, two blocks of depth");
        assert_eq!(bytes[..8], [0, 1, 2, 3, 10, 11, 12, 13], "first tap, outputs 0 and 1");
        assert_eq!(bytes[8], 255, "an output that is not there has the zero point");
        assert_eq!(bytes[64..68], [4, 255, 255, 255], "the fifth input");
        assert_eq!(bytes[128..132], [5, 6, 7, 8], "second tap");
    }

    #[test]
    fn a_piece_is_a_part_of_the_whole() {
        let layer = layer(1, 8, 32, 1, false);
        let piece = WeightPiece { outputs: 16..32, depth: 4..8, ..whole(&layer) };
        assert_eq!(blocks(&layer, &piece)[..8], [132, 133, 134, 135, 140, 141, 142, 143]);
        assert_eq!(ChannelRecord::from_le_bytes(records(&layer, &piece)[..16].try_into().unwrap()).bias, 16);
    }

    #[test]
    fn depthwise_blocks_hold_sixteen_channels() {
        let layer = layer(3, 1, 2, 2, true);
        let bytes = blocks(&layer, &whole(&layer));
        assert_eq!(bytes.len(), 2 * 16);
        assert_eq!(bytes[..7], [0, 1, 2, 3, 4, 5, 255]);
        assert_eq!(bytes[16..22], [6, 7, 8, 9, 10, 11]);
    }
}
