//! Fast exact kernels for the device's operations, chosen at run time.
//!
//! A kernel is one whole operation on feature maps in memory. It either does all of it, bit for bit as
//! `cnnip-numerics` defines it, or returns [`Declined`] *without having written anything*; the caller then takes its own
//! slow path. So a kernel may refuse what is rare, and never guesses.
//!
//! | module | operations |
//! |---|---|
//! | [`conv`] | convolution, dense and grouped; fully connected as 1x1 |
//! | [`depthwise`] | depthwise convolution with channel multiplier |
//! | [`conv16`], [`depthwise16`] | the same on 16-bit maps, exact in 64 bits |
//! | [`pool`] | maximum and average pooling |
//! | [`eltwise`] | element-wise functions of two maps |
//! | [`table`] | 256-entry lookup |
//! | [`reduce`] | sums over height and width |
//! | [`strided`] | copies and fills of nested runs |
//! | [`float`] | matrix products and depthwise convolution in binary32, for float networks; not exact |
//!
//! Several threads may each do parts of an operation; [`Team`] hands them out.
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
pub mod conv16;
mod declined;
pub mod depthwise;
pub mod depthwise16;
pub mod eltwise;
mod emit;
pub mod float;
mod geometry;
mod operand;
mod operand16;
mod peak;
pub mod pool;
mod prepared;
pub mod reduce;
mod scratch;
mod simd;
pub mod strided;
pub mod table;
mod team;
#[cfg(test)]
mod testing;

pub use backend::{Backend, Kernels};
pub use conv::Conv8;
pub use conv16::Conv16;
pub use declined::Declined;
pub use depthwise::Depthwise8;
pub use depthwise16::Depthwise16;
pub use eltwise::{Eltwise8, Linear8, Stage};
pub use geometry::{Map, Window};
pub use operand::{Element8, Load, Output8, Source8, Target8};
pub use operand16::{Output16, Source16, Target16, Weights16};
pub use pool::{Divisor, Pool8};
pub use prepared::Prepared8;
pub use scratch::Scratch;
pub use strided::Runs;
pub use team::Team;
