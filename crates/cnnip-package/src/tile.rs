//! The tile map: the tensors of the network as an observer sees them, and which command produces which part of which.

use crate::{ElementType, ListId, Quantization, RegionId, SourceTensor, TensorId};

/// Where every tensor of the network can be seen while a job runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TileMap {
    /// Every tensor of the source model but constants, and those that lowering added.
    pub tensors: Vec<Traced>,
    /// The parts of those that commands write. Of two that complete the same element the later one in the run holds.
    pub tiles: Vec<Tile>,
}

/// Number of a traced tensor: its index in [`TileMap::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TracedId(pub u32);

/// A tensor of the network, wherever its bytes are, if they are anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// Name, unique in the tile map; the source model's name where there is one.
    pub name: String,
    /// Sizes, outermost first; no dimension is 0.
    pub shape: Vec<u32>,
    /// Type of an element.
    pub element: ElementType,
    /// Meaning of the integers, if they stand for real numbers.
    pub quantization: Option<Quantization>,
    /// What it is in the source model.
    pub model: SourceTensor,
    /// How to come by its elements.
    pub source: TraceSource,
}

/// How an observer comes by the elements of a traced tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceSource {
    /// Commands write it: its tiles cover every element.
    Tiles,
    /// It is this tensor of the package, bound by the application or left by a host step.
    Host(TensorId),
    /// The elements of another traced tensor that is no alias itself, in another shape or under another name.
    Alias(TracedId),
    /// It never exists: these layers do without it.
    Fused(Vec<String>),
}

impl TileMap {
    /// The traced tensor with this number.
    pub fn tensor(&self, id: TracedId) -> Option<&Traced> {
        self.tensors.get(usize::try_from(id.0).ok()?)
    }

    /// The number of the traced tensor with this name.
    pub fn named(&self, name: &str) -> Option<TracedId> {
        let index = self.tensors.iter().position(|tensor| tensor.name == name)?;
        u32::try_from(index).ok().map(TracedId)
    }

    /// The tensor whose elements are also those of `id`.
    pub fn root(&self, id: TracedId) -> TracedId {
        match self.tensor(id).map(|tensor| &tensor.source) {
            Some(TraceSource::Alias(of)) => *of,
            _ => id,
        }
    }
}

/// One `RUN` in one loop iteration, and elements of a tensor that it completes: a box, or every so many of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The list the command is in.
    pub list: ListId,
    /// Word index of the command in the list.
    pub pc: u32,
    /// Loop counters from the outermost open loop to the innermost, each from 0; empty outside of loops.
    pub iteration: Vec<u32>,
    /// The tensor.
    pub tensor: TracedId,
    /// First element, per dimension of the tensor.
    pub start: Vec<u32>,
    /// Elements, per dimension of the tensor; none is 0.
    pub size: Vec<u32>,
    /// From one element to the next, per dimension of the tensor, in elements of that dimension; none is 0, and 1 is a box.
    pub step: Vec<u32>,
    /// Where the elements are when the command has ended.
    pub memory: Memory,
    /// Byte address of the element at `start`: from the scratchpad's or the region's beginning.
    pub address: u64,
    /// Bytes from one element of the tile to the next, per dimension of the tensor.
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
