//! ONNX models: [`import_onnx`] reads them, [`export_onnx`] writes them.
//!
//! What is taken over, and how:
//!
//! - Operator sets 7 to 28 of the standard domain, and the quantized operators of `com.microsoft`.
//! - A tensor keeps the name of the file's value. Channels-last tensors that hold a channels-first
//!   value say so in [`Tensor::source`](crate::Tensor); tensors that the file has no value for are
//!   named after the node's first output.
//! - What is constant is computed: shape arithmetic disappears. `Identity` and `Dropout` too.
//! - An unknown first extent of an input is the batch, 1 unless [`OnnxOptions`] says otherwise.
//! - An LSTM is unrolled.
//!
//! Constant data stays in one shared copy of the file.

mod build;
mod call;
mod constant;
mod export;
mod external;
mod import;
mod operators;
mod proto;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use export::{OnnxExportError, export_onnx};
pub use import::{OnnxOptions, import_onnx, import_onnx_in};

/// Names of all operators that [`import_onnx`] reads, with the domain where it is not the standard one.
///
/// ```
/// assert!(cnnip_graph::onnx::operators().any(|name| name == "Conv"));
/// ```
pub fn operators() -> impl Iterator<Item = String> {
    operators::OPERATORS.iter().map(|operator| match operator.domain {
        "" => operator.name.to_owned(),
        domain => format!("{domain}.{}", operator.name),
    })
}
