//! Buffers that calls reuse.

use crate::channel::Channel16;
use crate::operand16::Channel;
use crate::simd::Block;

/// Working memory of kernels: grows to what the largest call so far needed, so that a call allocates nothing once warm.
///
/// Contents mean nothing between calls; one `Scratch` serves any kernels in any order.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Requantization parameters of every block of 16 output channels.
    pub(crate) channels: Vec<Channel16>,
    /// Input of a convolution, rearranged and padded: four input channels together.
    pub(crate) input: Vec<[u8; 4]>,
    /// Offsets of contiguous runs of taps in `input`.
    pub(crate) runs: Vec<usize>,
    /// Rows of a convolution's left matrix, for tile registers.
    pub(crate) matrix: Vec<u8>,
    /// Four rows of a depthwise convolution's input, interleaved: every column of every group of four taps.
    pub(crate) columns: Vec<Block>,
    /// Depthwise weights, interleaved likewise.
    pub(crate) taps: Vec<Block>,
    /// Depthwise input with one channel per output channel.
    pub(crate) expanded: Vec<u8>,
    /// Bias and scale of every output channel of a 16-bit convolution.
    pub(crate) channels16: Vec<Channel>,
    /// Input of a 16-bit convolution, rearranged and padded: two elements together.
    pub(crate) pairs: Vec<i32>,
    /// Sums of one output pixel's channels.
    pub(crate) sums: Vec<i32>,
}

impl Scratch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A part of `buffer` with `len` elements, whatever they hold.
pub(crate) fn sized<T: Copy>(buffer: &mut Vec<T>, len: usize, fill: T) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, fill);
    }
    &mut buffer[..len]
}
