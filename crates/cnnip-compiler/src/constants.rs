//! The constant region: weights, records and constant operands, each at a multiple of 64 bytes.

use cnnip_lowered::weights::WeightPiece;

/// Alignment of every piece: a weight block, and what a bus moves at once.
const ALIGNMENT: usize = 64;

/// The bytes of the constant region while it grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Constants {
    bytes: Vec<u8>,
    /// Index of the layer that pieces are for now.
    layer: usize,
    weights: Vec<PlacedWeights>,
}

/// Where a part of a layer's weights lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedWeights {
    /// Index of the layer.
    pub(crate) layer: usize,
    /// Which weights.
    pub(crate) piece: WeightPiece,
    /// Where they are.
    pub(crate) offset: u64,
    /// Where the records of their output channels are, if they are with them.
    pub(crate) records: Option<u64>,
}

impl Constants {
    /// Appends a piece and returns its offset.
    pub(crate) fn push(&mut self, piece: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let offset = crate::size::wide(self.bytes.len());
        self.bytes.extend_from_slice(piece);
        offset
    }

    /// Says that the weights pushed from now on are those of a layer.
    pub(crate) fn begin(&mut self, layer: usize) {
        self.layer = layer;
    }

    /// Appends weights and the records behind them, if any.
    pub(crate) fn push_weights(&mut self, piece: WeightPiece, weights: &[u8], records: Option<&[u8]>) -> u64 {
        let offset = self.push(weights);
        let behind = crate::size::wide(self.bytes.len());
        self.bytes.extend_from_slice(records.unwrap_or_default());
        let records = records.map(|_| behind);
        self.weights.push(PlacedWeights { layer: self.layer, piece, offset, records });
        offset
    }

    /// The weights of all layers, in the order of the region.
    pub(crate) fn weights(&self) -> &[PlacedWeights] {
        &self.weights
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
