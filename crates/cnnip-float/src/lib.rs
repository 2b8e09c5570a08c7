//! Networks in binary32.
//!
//! | module | concern |
//! |---|---|
//! | [`elements`] | elements of a tensor: real numbers or integers |
//! | [`grid`] | what a quantized tensor's integers stand for, both ways |
//! | [`mod@reference`] | a slow, obvious evaluator of every operator: the oracle of the engines |
//! | [`Engine`] | what engines offer: prepare a graph once, run it often, look at any tensor |
//! | [`embedded`] | the engine in plain Rust on `cnnip-kernels` |
//! | [`slow`] | the evaluator as an engine |
//! | `ort` | ONNX Runtime as an engine, with the feature of that name |
//!
//! A quantized tensor holds integers; an operator reads the real numbers they stand for and rounds its result to the
//! grid of its output. So a quantized graph evaluated here is *pseudo-quantized*: near the device's integers, not equal.

#![forbid(unsafe_code)]

pub mod elements;
pub mod embedded;
mod engine;
mod error;
pub mod grid;
#[cfg(feature = "ort")]
pub mod ort;
pub mod reference;
pub mod slow;

pub use elements::Elements;
pub use embedded::Embedded;
pub use engine::{Engine, Network, Session, found};
pub use error::FloatError;
pub use grid::{Grid, Ties};
#[cfg(feature = "ort")]
pub use ort::{Ort, OrtError};
pub use slow::Reference;
