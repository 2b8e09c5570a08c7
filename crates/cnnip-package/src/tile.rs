//! The tile map: which command produces which part of which tensor.

use crate::{ListId, RegionId, TensorId};

/// One `RUN` in one loop iteration, and the box of a tensor that it completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The list the command is in.
    pub list: ListId,
    /// Word index of the command in the list.
    pub pc: u32,
    /// Loop counters from the outermost open loop to the innermost, each from 0; empty outside of loops.
    pub iteration: Vec<u32>,
    /// The tensor.
    pub tensor: TensorId,
    /// First element of the box, per dimension of the tensor.
    pub start: Vec<u32>,
    /// Elements of the box, per dimension of the tensor; none is 0.
    pub size: Vec<u32>,
    /// Where the box is when the command has ended.
    pub memory: Memory,
    /// Byte address of the element at `start`: from the scratchpad's or the region's beginning.
    pub address: u64,
    /// Bytes from one element to the next, per dimension of the tensor.
    pub strides: Vec<u64>,
}

/// A memory that a tile can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// The scratchpad of the core whose list it is.
    Sram,
    /// A region of external memory.
    Dram(RegionId),
}
