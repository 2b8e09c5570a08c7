//! The lowered network: what a compiler makes of a quantized graph before it becomes commands.
//!
//! Every layer is one that the device or the host does as a whole, and has all its numbers: zero points, multipliers, shifts, clamps, padding.
//! So it says what each intermediate tensor *is*, for whoever computes it: command lists, or a layer at a time.
//! What is deliberately absent: places in memory, tiles, commands.

#![forbid(unsafe_code)]

mod boxes;
mod check;
mod layer;
mod table;
pub mod weights;
mod wire;

pub use boxes::boxes_operator;
pub use check::{MAX_PROBLEMS, Place, Problem, Rule};
pub use layer::{
    ArgMax, ConvLayer, Eltwise, EltwiseInput, HostLayer, Layer, Network, Origin, Pool, PoolFunction, Resize, Sampling,
    Stride, Sum, Sweep, Transfer, Value, ValueId, WeightSource, Work, source_tensor,
};
pub use table::Table;
pub use wire::{LoweredError, Places, StoredPiece};
