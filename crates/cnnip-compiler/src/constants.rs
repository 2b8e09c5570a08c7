//! The constant region: weights, records and constant operands, each at a multiple of 64 bytes.

/// Alignment of every piece: a weight block, and what a bus moves at once.
const ALIGNMENT: usize = 64;

/// The bytes of the constant region while it grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Constants {
    bytes: Vec<u8>,
}

impl Constants {
    /// Appends a piece and returns its offset.
    pub(crate) fn push(&mut self, piece: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let offset = crate::size::wide(self.bytes.len());
        self.bytes.extend_from_slice(piece);
        offset
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
