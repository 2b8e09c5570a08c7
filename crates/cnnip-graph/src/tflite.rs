//! TFLite models: [`import_tflite`] reads them, [`export_tflite`] writes them.
//!
//! What is taken over, and how:
//!
//! - Tensor `i` of the file is tensor `i` of the graph, node `i` is operator `i`.
//! - A tensor's name is the file's; an empty name becomes `tensor_<index>`, and of equal names all
//!   but the first get `_1`, `_2`, … appended. A node has no name in the file and gets that of its
//!   first output.
//! - `SAME` and `VALID` become numbers; axes, permutations, paddings and shapes given as constant
//!   tensors become attributes. `SQUEEZE` and `EXPAND_DIMS` become [`Op::Reshape`](crate::Op).
//! - One scale is "per tensor" whatever the quantized dimension says, and a list (a bias) has its
//!   channels along its only axis; scales without zero points have zero points 0; a minimum and maximum without scales are no quantization.
//! - A shape signature with unknown extents is accepted where the shape itself is concrete, so a
//!   model with a free batch is a model with the batch of its shape, which is 1.
//! - Custom metadata, signatures and operator versions are ignored.
//!
//! Constant data stays in one shared copy of the file.

mod export;
mod flexbuffer;
mod import;
mod names;
mod operators;
mod schema;
#[cfg(test)]
mod tests;

pub use export::{ExportError, export_tflite};
pub use import::{ImportErrors, import_tflite, import_tflite_shared};

/// Names of all operators that [`import_tflite`] reads, as the format has them.
///
/// ```
/// assert!(cnnip_graph::tflite::operators().any(|name| name == "CONV_2D"));
/// ```
pub fn operators() -> impl Iterator<Item = String> {
    let builtin = operators::BUILTINS.iter().map(|builtin| names::builtin_name(builtin.code));
    builtin.chain([format!("CUSTOM {}", operators::CUSTOM.0)])
}
