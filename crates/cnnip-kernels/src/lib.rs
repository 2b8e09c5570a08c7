//! Fast exact kernels for the device's operations, chosen at run time.
//!
//! A kernel is one whole operation on 8-bit feature maps in memory. It either does all of it, bit for bit as
//! `cnnip-numerics` defines it, or returns [`Declined`] *without having written anything*; the caller then takes its own
//! slow path. So a kernel may refuse what is rare, and never guesses.
//!
//! | module | operations |
//! |---|---|
//! | [`conv`] | convolution, dense and grouped; fully connected as 1x1 |
//! | [`depthwise`] | depthwise convolution with channel multiplier |
//! | [`pool`] | maximum and average pooling |
//! | [`eltwise`] | element-wise functions of two maps |
//! | [`table`] | 256-entry lookup |
//! | [`reduce`] | sums over height and width |
//! | [`strided`] | copies and fills of nested runs |
//! | [`float`] | matrix products and depthwise convolution in binary32, for float networks; not exact |
//!
//! [`Kernels`] is the only door: it is made for a [`Backend`] that this processor was seen to have, and that proof is what
//! lets the rest of the crate call vector instructions. Nothing is global; buffers live in a [`Scratch`] of the caller.
//!
//! ```
//! use cnnip_kernels::{Backend, Kernels};
//!
//! let kernels = Kernels::new(Backend::best()).expect("the best backend is always there");
//! assert_eq!(kernels.backend(), Backend::best());
//! ```
#![deny(clippy::undocumented_unsafe_blocks)]

mod accumulators;
mod backend;
mod channel;
pub mod conv;
mod declined;
pub mod depthwise;
pub mod eltwise;
mod emit;
pub mod float;
mod geometry;
mod operand;
pub mod pool;
pub mod reduce;
mod scratch;
mod simd;
pub mod strided;
pub mod table;
#[cfg(test)]
mod testing;

pub use backend::{Backend, Kernels};
pub use conv::Conv8;
pub use declined::Declined;
pub use depthwise::Depthwise8;
pub use eltwise::{Eltwise8, Stage};
pub use geometry::{Map, Window};
pub use operand::{Element8, Load, Output8, Source8, Target8};
pub use pool::{Divisor, Pool8};
pub use scratch::Scratch;
pub use strided::Runs;
