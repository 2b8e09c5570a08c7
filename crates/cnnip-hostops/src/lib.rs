//! Exact arithmetic of the steps that run on the host, because the machine has no operation for them.
//!
//! Each step states its arithmetic, names the oracle it equals bit for bit, and has a slow twin in its tests. Integer where the
//! oracle is integer; otherwise binary32 in a stated order without fused operations. Ties go to the lowest index. No step
//! knows files, commands or tensors' names: slices in, slices out.
//!
//! | module | step | oracle |
//! |---|---|---|
//! | [`softmax`] | softmax of int8 and int16 rows | tflite-micro; LiteRT for int8 |
//! | [`convert`] | float to integer and back at a model's ends | TFLite QUANTIZE, DEQUANTIZE; ONNX QuantizeLinear, DequantizeLinear |
//! | [`boxes`] | non-maximum suppression; box decoding | ONNX NonMaxSuppression; TFLite_Detection_PostProcess |
//! | [`select`] | largest or smallest element, k largest elements | TFLite ARG_MAX, ARG_MIN, TOPK_V2; ONNX ArgMax, TopK |
//!
//! [`Step`] is any of them as a package asks for it: bytes in, bytes out.
#![forbid(unsafe_code)]

pub mod boxes;
pub mod convert;
pub mod select;
pub mod softmax;
mod step;

pub use convert::{Affine, Ties};
pub use select::{arg_max, top_k};
pub use softmax::{Softmax, WideSoftmax, softmax_int8, softmax_int16};
pub use step::{End, Operand, Step, StepError, rows_of_list};

/// Why a step cannot be done. A compiler checks these before it emits the step, so a sound package never meets them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Input and output of an element-wise step differ in length.
    #[error("{input} input elements do not match {output} output elements")]
    Length {
        /// Elements of the input.
        input: usize,
        /// Elements of the output.
        output: usize,
    },
    /// The input is not a whole number of rows.
    #[error("{elements} elements are no whole number of rows of {depth}")]
    Rows {
        /// Elements of the input.
        elements: usize,
        /// Elements of a row.
        depth: usize,
    },
    /// A row too long for the sum of its exponentials.
    #[error("a row of {depth} elements is longer than {max}")]
    Depth {
        /// Elements of a row.
        depth: usize,
        /// Largest allowed number.
        max: usize,
    },
    /// A scale that is not a positive finite number.
    #[error("scale {scale} is not a positive finite number")]
    Scale {
        /// The offending scale.
        scale: f32,
    },
    /// A zero point outside its type.
    #[error("zero point {zero_point} is outside {min}..={max}")]
    ZeroPoint {
        /// The offending zero point.
        zero_point: i32,
        /// Smallest value of the type.
        min: i32,
        /// Largest value of the type.
        max: i32,
    },
    /// Softmax whose `beta * scale` is too small for the fixed-point exponential.
    #[error(
        "softmax with beta {beta} and input scale {scale} is outside the fixed-point range: beta * scale must exceed 2^-26"
    )]
    SoftmaxScale {
        /// Factor of the exponent.
        beta: f32,
        /// Scale of the input.
        scale: f32,
    },
}
