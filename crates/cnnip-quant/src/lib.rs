//! From a float network to a quantized one.
//!
//! Steps, each with a result that can be kept, looked at and edited:
//!
//! | step | module | from → to |
//! |---|---|---|
//! | calibrate | [`observe`], [`calibrate`] | activations of example inputs → [`Ranges`] |
//! | equalize | [`equalize()`] | float graph → the same function with weights of even ranges |
//! | quantize | [`quantize()`] | float graph and ranges → quantized graph |
//! | lift | [`mixed`] | a goal → the fewest tensors of 16 bits that reach it |
//! | compress | [`compress`] | weights → weights that a device stores in less |
//!
//! Activations are int8 with a zero point, or int16 without; weights int8 symmetric per output channel; biases int32, or int64
//! behind int16 activations. These are the rules of TFLite's full integer quantization, which the machine carries out exactly.
//!
//! Calibration is one pass over any number of inputs in bounded memory, and its result does not depend on their order or
//! grouping, except that of the moving average, whose purpose it is.

#![forbid(unsafe_code)]

pub mod calibrate;
pub mod compress;
mod equalize;
mod histogram;
mod means;
pub mod mixed;
pub mod observe;
mod parameters;
mod quantize;
mod ranges;
mod ties;

pub use calibrate::Calibration;
pub use equalize::equalize;
pub use histogram::Histogram;
pub use means::Means;
pub use observe::{Method, Observer};
pub use parameters::{Affine, Width};
pub use quantize::{Options, QuantizeErrors, QuantizeProblem, QuantizeRule, quantize};
pub use ranges::{Range, Ranges, RangesError};
