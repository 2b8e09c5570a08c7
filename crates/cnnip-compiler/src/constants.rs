//! The constant region: weights, records and constant operands, each at a multiple of 64 bytes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use cnnip_lowered::weights::WeightPiece;

/// Alignment of every piece: a weight block, and what a bus moves at once.
const ALIGNMENT: usize = 64;

/// The bytes of the constant region while it grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Constants {
    bytes: Vec<u8>,
    /// Offsets of what was pushed, by its hash: what cores have in common stands once.
    known: HashMap<u64, Vec<usize>>,
    /// Index of the layer that pieces are for now.
    layer: usize,
    weights: Vec<PlacedWeights>,
}

/// Where a part of a layer's weights lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedWeights {
    /// Index of the layer in the divided network.
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
    pub(crate) fn append(&mut self, piece: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let offset = crate::size::wide(self.bytes.len());
        self.bytes.extend_from_slice(piece);
        offset
    }

    /// The offset of a piece: where the same bytes have been pushed before, or at the end.
    pub(crate) fn push(&mut self, piece: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        piece.hash(&mut hasher);
        let hash = hasher.finish();
        let is_there = |&&at: &&usize| self.bytes.get(at..).is_some_and(|bytes| bytes.starts_with(piece));
        if let Some(&offset) = self.known.get(&hash).and_then(|known| known.iter().find(is_there)) {
            return crate::size::wide(offset);
        }
        let offset = self.append(piece);
        self.known.entry(hash).or_default().push(crate::size::index(offset));
        offset
    }

    /// Says that the weights pushed from now on are those of a layer.
    pub(crate) fn begin(&mut self, layer: usize) {
        self.layer = layer;
    }

    /// Appends weights and the records behind them, if any.
    pub(crate) fn push_weights(&mut self, piece: WeightPiece, weights: &[u8], records: Option<&[u8]>) -> u64 {
        let offset = match records {
            Some(records) => self.push(&[weights, records].concat()),
            None => self.push(weights),
        };
        let records = records.map(|_| offset + crate::size::wide(weights.len()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pieces_stand_once() {
        let mut constants = Constants::default();
        let first = constants.push(&[1, 2, 3]);
        assert_eq!(constants.push(&[4; 70]), 64);
        assert_eq!(constants.push(&[1, 2, 3]), first);
        assert_eq!(constants.push(&[1, 2]), 192, "a part of another piece is a piece of its own");
        assert_eq!(constants.append(&[1, 2, 3]), 256);
    }
}
