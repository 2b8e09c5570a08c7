//! Buffers that calls reuse.

use crate::channel::Channel16;

/// Working memory of kernels: grows to what the largest call so far needed, so that a call allocates nothing once warm.
///
/// Contents mean nothing between calls; one `Scratch` serves any kernels in any order.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Requantization parameters of every block of 16 output channels.
    pub(crate) channels: Vec<Channel16>,
    /// Input rearranged and padded, one byte per element.
    pub(crate) bytes: Vec<u8>,
    /// Input rearranged and padded, two bytes per element.
    pub(crate) halves: Vec<i16>,
    /// Weights widened or rearranged.
    pub(crate) weights: Vec<i16>,
    /// Offsets of every output pixel: in the rearranged input, in the output.
    pub(crate) pixels: Vec<[usize; 2]>,
    /// Offsets of contiguous runs of taps.
    pub(crate) runs: Vec<usize>,
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
