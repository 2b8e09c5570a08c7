//! The part of the TFLite schema, version 3, that is read or written here.
//!
//! Field numbers, union tags and enumeration values are those of the format; whatever is not listed
//! is skipped by readers and absent in written files.

use crate::flatbuffer::{Field, Scalars, SubTable, SubTables, Text, Union};

/// Bytes 4 to 7 of a model.
pub(super) const IDENTIFIER: [u8; 4] = *b"TFL3";

/// The version of the schema.
pub(super) const VERSION: u32 = 3;

/// The root table.
pub(super) mod model {
    use super::*;
    pub(crate) const VERSION: Field<u32> = Field::scalar(0, 0);
    pub(crate) const OPERATOR_CODES: Field<SubTables> = Field::tables(1);
    pub(crate) const SUBGRAPHS: Field<SubTables> = Field::tables(2);
    pub(crate) const DESCRIPTION: Field<Text> = Field::text(3);
    pub(crate) const BUFFERS: Field<SubTables> = Field::tables(4);
}

/// What an operator is.
pub(super) mod operator_code {
    use super::*;
    /// The code where it is below 127; the greater of both fields counts.
    pub(crate) const SHORT_CODE: Field<i8> = Field::scalar(0, 0);
    pub(crate) const CUSTOM_NAME: Field<Text> = Field::text(1);
    pub(crate) const VERSION: Field<i32> = Field::scalar(2, 1);
    pub(crate) const CODE: Field<i32> = Field::scalar(3, 0);
}

/// One function.
pub(super) mod subgraph {
    use super::*;
    pub(crate) const TENSORS: Field<SubTables> = Field::tables(0);
    pub(crate) const INPUTS: Field<Scalars<i32>> = Field::scalars(1);
    pub(crate) const OUTPUTS: Field<Scalars<i32>> = Field::scalars(2);
    pub(crate) const OPERATORS: Field<SubTables> = Field::tables(3);
    pub(crate) const NAME: Field<Text> = Field::text(4);
}

/// A value.
pub(super) mod tensor {
    use super::*;
    pub(crate) const SHAPE: Field<Scalars<i32>> = Field::scalars(0);
    pub(crate) const TYPE: Field<i8> = Field::scalar(1, 0);
    /// Buffer 0 stands for "no data".
    pub(crate) const BUFFER: Field<u32> = Field::scalar(2, 0);
    pub(crate) const NAME: Field<Text> = Field::text(3);
    pub(crate) const QUANTIZATION: Field<SubTable> = Field::table(4);
    pub(crate) const IS_VARIABLE: Field<bool> = Field::scalar(5, false);
    pub(crate) const SPARSITY: Field<SubTable> = Field::table(6);
    #[cfg(test)]
    pub(crate) const SHAPE_SIGNATURE: Field<Scalars<i32>> = Field::scalars(7);
    pub(crate) const EXTERNAL_BUFFER: Field<u32> = Field::scalar(10, 0);
}

/// Scales and zero points.
pub(super) mod quantization {
    use super::*;
    pub(crate) const SCALE: Field<Scalars<f32>> = Field::scalars(2);
    pub(crate) const ZERO_POINT: Field<Scalars<i64>> = Field::scalars(3);
    pub(crate) const DETAILS: Field<Union> = Field::union(4);
    pub(crate) const DIMENSION: Field<i32> = Field::scalar(6, 0);
}

/// Constant data.
pub(super) mod buffer {
    use super::*;
    pub(crate) const DATA: Field<Scalars<u8>> = Field::aligned(0, 16);
    /// Above 1: the data is behind the flatbuffer, here.
    pub(crate) const OFFSET: Field<u64> = Field::scalar(1, 0);
    #[cfg(test)]
    pub(crate) const SIZE: Field<u64> = Field::scalar(2, 0);
}

/// One step.
pub(super) mod operator {
    use super::*;
    pub(crate) const CODE_INDEX: Field<u32> = Field::scalar(0, 0);
    /// An absent optional input is -1.
    pub(crate) const INPUTS: Field<Scalars<i32>> = Field::scalars(1);
    pub(crate) const OUTPUTS: Field<Scalars<i32>> = Field::scalars(2);
    pub(crate) const OPTIONS: Field<Union> = Field::union(3);
    /// Attributes of a custom operator.
    pub(crate) const CUSTOM_OPTIONS: Field<Scalars<u8>> = Field::scalars(5);
    /// Tensors that hold nothing but scales of values inside the operator.
    pub(crate) const INTERMEDIATES: Field<Scalars<i32>> = Field::scalars(8);
}

/// Attributes of `CONV_2D`; the first three fields are those of all windowed operators.
pub(super) mod conv2d {
    use super::*;
    pub(crate) const PADDING: Field<i8> = Field::scalar(0, 0);
    pub(crate) const STRIDE_W: Field<i32> = Field::scalar(1, 0);
    pub(crate) const STRIDE_H: Field<i32> = Field::scalar(2, 0);
    pub(crate) const ACTIVATION: Field<i8> = Field::scalar(3, 0);
    pub(crate) const DILATION_W: Field<i32> = Field::scalar(4, 1);
    pub(crate) const DILATION_H: Field<i32> = Field::scalar(5, 1);
}

/// Attributes of `DEPTHWISE_CONV_2D`, beside padding and stride.
pub(super) mod depthwise {
    use super::*;
    pub(crate) const MULTIPLIER: Field<i32> = Field::scalar(3, 0);
    pub(crate) const ACTIVATION: Field<i8> = Field::scalar(4, 0);
    pub(crate) const DILATION_W: Field<i32> = Field::scalar(5, 1);
    pub(crate) const DILATION_H: Field<i32> = Field::scalar(6, 1);
}

/// Attributes of pooling, beside padding and stride.
pub(super) mod pool2d {
    use super::*;
    pub(crate) const WINDOW_W: Field<i32> = Field::scalar(3, 0);
    pub(crate) const WINDOW_H: Field<i32> = Field::scalar(4, 0);
    pub(crate) const ACTIVATION: Field<i8> = Field::scalar(5, 0);
}

/// Attributes of `FULLY_CONNECTED`.
pub(super) mod fully_connected {
    use super::*;
    pub(crate) const ACTIVATION: Field<i8> = Field::scalar(0, 0);
    pub(crate) const WEIGHTS_FORMAT: Field<i8> = Field::scalar(1, 0);
    pub(crate) const KEEP_NUM_DIMS: Field<bool> = Field::scalar(2, false);
}

/// Attributes of the remaining operators, one or none each.
pub(super) mod single {
    use super::*;
    pub(crate) const GELU_APPROXIMATE: Field<bool> = Field::scalar(0, false);
    pub(crate) const SOFTMAX_BETA: Field<f32> = Field::scalar(0, 0.0);
    pub(crate) const ADD_ACTIVATION: Field<i8> = Field::scalar(0, 0);
    pub(crate) const LEAKY_RELU_ALPHA: Field<f32> = Field::scalar(0, 0.0);
    pub(crate) const RESHAPE_SHAPE: Field<Scalars<i32>> = Field::scalars(0);
    pub(crate) const REDUCE_KEEP_DIMS: Field<bool> = Field::scalar(0, false);
    pub(crate) const SQUEEZE_DIMS: Field<Scalars<i32>> = Field::scalars(0);
    pub(crate) const BLOCK_SIZE: Field<i32> = Field::scalar(0, 0);
}

/// Attributes of `RESIZE_BILINEAR`.
pub(super) mod resize_bilinear {
    use super::*;
    pub(crate) const ALIGN_CORNERS: Field<bool> = Field::scalar(2, false);
    pub(crate) const HALF_PIXEL_CENTERS: Field<bool> = Field::scalar(3, false);
}

/// Attributes of `RESIZE_NEAREST_NEIGHBOR`.
pub(super) mod resize_nearest {
    use super::*;
    pub(crate) const ALIGN_CORNERS: Field<bool> = Field::scalar(0, false);
    pub(crate) const HALF_PIXEL_CENTERS: Field<bool> = Field::scalar(1, false);
}

/// Attributes of `ARG_MAX` and `ARG_MIN`.
pub(super) mod arg_extremum {
    use super::*;
    pub(crate) const OUTPUT_TYPE: Field<i8> = Field::scalar(0, 0);
}

/// Attributes of `MIRROR_PAD`: 0 leaves the edge out of the mirror, 1 repeats it.
pub(super) mod mirror_pad {
    use super::*;
    pub(crate) const MODE: Field<i8> = Field::scalar(0, 0);
}

/// Attributes of `CONCATENATION`.
pub(super) mod concatenation {
    use super::*;
    pub(crate) const AXIS: Field<i32> = Field::scalar(0, 0);
    pub(crate) const ACTIVATION: Field<i8> = Field::scalar(1, 0);
}

/// Attributes of `PACK` and `UNPACK`.
pub(super) mod pack {
    use super::*;
    pub(crate) const COUNT: Field<i32> = Field::scalar(0, 0);
    pub(crate) const AXIS: Field<i32> = Field::scalar(1, 0);
}

/// Attributes of `GATHER`.
pub(super) mod gather {
    use super::*;
    pub(crate) const AXIS: Field<i32> = Field::scalar(0, 0);
    pub(crate) const BATCH_DIMS: Field<i32> = Field::scalar(1, 0);
}

/// Attributes of `UNIDIRECTIONAL_SEQUENCE_LSTM`.
pub(super) mod lstm {
    use super::*;
    pub(crate) const ACTIVATION: Field<i8> = Field::scalar(0, 0);
    pub(crate) const CELL_CLIP: Field<f32> = Field::scalar(1, 0.0);
    pub(crate) const TIME_MAJOR: Field<bool> = Field::scalar(3, false);
    /// The one activation that cells have.
    pub(crate) const TANH: i8 = 4;
}

/// Attributes of `STRIDED_SLICE`: bits per axis.
pub(super) mod strided_slice {
    use super::*;
    pub(crate) const BEGIN_MASK: Field<i32> = Field::scalar(0, 0);
    pub(crate) const END_MASK: Field<i32> = Field::scalar(1, 0);
    pub(crate) const ELLIPSIS_MASK: Field<i32> = Field::scalar(2, 0);
    pub(crate) const NEW_AXIS_MASK: Field<i32> = Field::scalar(3, 0);
    pub(crate) const SHRINK_AXIS_MASK: Field<i32> = Field::scalar(4, 0);
    pub(crate) const OFFSET: Field<bool> = Field::scalar(5, false);
}

/// Operator codes.
pub(super) mod code {
    pub(crate) const ADD: i32 = 0;
    pub(crate) const AVERAGE_POOL_2D: i32 = 1;
    pub(crate) const CONCATENATION: i32 = 2;
    pub(crate) const CONV_2D: i32 = 3;
    pub(crate) const DEPTHWISE_CONV_2D: i32 = 4;
    pub(crate) const DEPTH_TO_SPACE: i32 = 5;
    pub(crate) const DEQUANTIZE: i32 = 6;
    pub(crate) const FULLY_CONNECTED: i32 = 9;
    pub(crate) const LOGISTIC: i32 = 14;
    pub(crate) const MAX_POOL_2D: i32 = 17;
    pub(crate) const MUL: i32 = 18;
    pub(crate) const RELU: i32 = 19;
    pub(crate) const RELU_N1_TO_1: i32 = 20;
    pub(crate) const RELU6: i32 = 21;
    pub(crate) const RESHAPE: i32 = 22;
    pub(crate) const RESIZE_BILINEAR: i32 = 23;
    pub(crate) const SOFTMAX: i32 = 25;
    pub(crate) const SPACE_TO_DEPTH: i32 = 26;
    pub(crate) const TANH: i32 = 28;
    pub(crate) const CUSTOM: i32 = 32;
    pub(crate) const PAD: i32 = 34;
    pub(crate) const GATHER: i32 = 36;
    pub(crate) const BATCH_TO_SPACE_ND: i32 = 37;
    pub(crate) const SPACE_TO_BATCH_ND: i32 = 38;
    pub(crate) const TRANSPOSE: i32 = 39;
    pub(crate) const MEAN: i32 = 40;
    pub(crate) const SUB: i32 = 41;
    pub(crate) const SQUEEZE: i32 = 43;
    pub(crate) const UNIDIRECTIONAL_SEQUENCE_LSTM: i32 = 44;
    pub(crate) const STRIDED_SLICE: i32 = 45;
    pub(crate) const EXP: i32 = 47;
    pub(crate) const SPLIT: i32 = 49;
    pub(crate) const PRELU: i32 = 54;
    pub(crate) const MAXIMUM: i32 = 55;
    pub(crate) const ARG_MAX: i32 = 56;
    pub(crate) const MINIMUM: i32 = 57;
    pub(crate) const NEG: i32 = 59;
    pub(crate) const PADV2: i32 = 60;
    pub(crate) const SLICE: i32 = 65;
    pub(crate) const TRANSPOSE_CONV: i32 = 67;
    pub(crate) const TILE: i32 = 69;
    pub(crate) const EXPAND_DIMS: i32 = 70;
    pub(crate) const LOG: i32 = 73;
    pub(crate) const SUM: i32 = 74;
    pub(crate) const RSQRT: i32 = 76;
    pub(crate) const ARG_MIN: i32 = 79;
    pub(crate) const REDUCE_MAX: i32 = 82;
    pub(crate) const PACK: i32 = 83;
    pub(crate) const UNPACK: i32 = 88;
    pub(crate) const REDUCE_MIN: i32 = 89;
    pub(crate) const RESIZE_NEAREST_NEIGHBOR: i32 = 97;
    pub(crate) const LEAKY_RELU: i32 = 98;
    pub(crate) const SQUARED_DIFFERENCE: i32 = 99;
    pub(crate) const MIRROR_PAD: i32 = 100;
    pub(crate) const ABS: i32 = 101;
    pub(crate) const SPLIT_V: i32 = 102;
    pub(crate) const REVERSE_V2: i32 = 105;
    pub(crate) const ELU: i32 = 111;
    pub(crate) const QUANTIZE: i32 = 114;
    pub(crate) const HARD_SWISH: i32 = 117;
    pub(crate) const BROADCAST_TO: i32 = 130;
    pub(crate) const GELU: i32 = 150;
    pub(crate) const RELU_0_TO_1: i32 = 152;
}

/// Tags of the union of attributes.
pub(super) mod options {
    /// For operators that have no attributes in the format.
    pub(crate) const NONE: u8 = 0;
    pub(crate) const CONV_2D: u8 = 1;
    pub(crate) const DEPTHWISE_CONV_2D: u8 = 2;
    pub(crate) const POOL_2D: u8 = 5;
    pub(crate) const FULLY_CONNECTED: u8 = 8;
    pub(crate) const SOFTMAX: u8 = 9;
    pub(crate) const CONCATENATION: u8 = 10;
    pub(crate) const ADD: u8 = 11;
    pub(crate) const RESIZE_BILINEAR: u8 = 15;
    pub(crate) const RESHAPE: u8 = 17;
    pub(crate) const SPACE_TO_DEPTH: u8 = 19;
    pub(crate) const MUL: u8 = 21;
    pub(crate) const PAD: u8 = 22;
    pub(crate) const GATHER: u8 = 23;
    pub(crate) const BATCH_TO_SPACE_ND: u8 = 24;
    pub(crate) const SPACE_TO_BATCH_ND: u8 = 25;
    pub(crate) const TRANSPOSE: u8 = 26;
    pub(crate) const REDUCE: u8 = 27;
    pub(crate) const SUB: u8 = 28;
    pub(crate) const SQUEEZE: u8 = 30;
    pub(crate) const STRIDED_SLICE: u8 = 32;
    pub(crate) const EXP: u8 = 33;
    pub(crate) const SPLIT: u8 = 35;
    pub(crate) const DEQUANTIZE: u8 = 38;
    pub(crate) const MAXIMUM_MINIMUM: u8 = 39;
    pub(crate) const ARG_MAX: u8 = 40;
    pub(crate) const NEG: u8 = 42;
    pub(crate) const PADV2: u8 = 43;
    pub(crate) const SLICE: u8 = 48;
    pub(crate) const TRANSPOSE_CONV: u8 = 49;
    pub(crate) const TILE: u8 = 51;
    pub(crate) const EXPAND_DIMS: u8 = 52;
    pub(crate) const ARG_MIN: u8 = 57;
    pub(crate) const PACK: u8 = 59;
    pub(crate) const UNPACK: u8 = 64;
    pub(crate) const UNIDIRECTIONAL_SEQUENCE_LSTM: u8 = 71;
    pub(crate) const RESIZE_NEAREST_NEIGHBOR: u8 = 74;
    pub(crate) const LEAKY_RELU: u8 = 75;
    pub(crate) const SQUARED_DIFFERENCE: u8 = 76;
    pub(crate) const MIRROR_PAD: u8 = 77;
    pub(crate) const ABS: u8 = 78;
    pub(crate) const SPLIT_V: u8 = 79;
    pub(crate) const REVERSE_V2: u8 = 81;
    pub(crate) const QUANTIZE: u8 = 89;
    pub(crate) const HARD_SWISH: u8 = 91;
    pub(crate) const DEPTH_TO_SPACE: u8 = 94;
    pub(crate) const BROADCAST_TO: u8 = 104;
    pub(crate) const GELU: u8 = 116;
}

/// Values of the padding attribute.
pub(super) mod padding {
    pub(crate) const SAME: i8 = 0;
    pub(crate) const VALID: i8 = 1;
}
