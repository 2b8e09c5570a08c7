//! The program: what happens in a job, step after step.

use crate::{ListId, TensorId};

/// One step; the next begins when it has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The device runs these lists together, each on its own engine; at most one list per core and engine.
    Device {
        /// Lists to start.
        lists: Vec<ListId>,
    },
    /// The host computes something the machine cannot.
    Host(HostStep),
}

/// A step of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostStep {
    /// What is computed, with its attributes.
    pub operator: HostOperator,
    /// Tensors read, in the operator's order.
    pub inputs: Vec<TensorId>,
    /// Tensors written, in the operator's order.
    pub outputs: Vec<TensorId>,
}

/// What a host step computes. Scales and zero points are those of its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum HostOperator {
    /// Softmax over the last dimension; one input and one output of the same shape.
    Softmax {
        /// Factor on the input before the exponential; finite.
        beta: f32,
    },
    /// Real numbers to integers, halves away from zero, as TFLite does: `float32` input, integer output with a scale, same shape.
    Quantize,
    /// As [`Quantize`](Self::Quantize), halves to even, as ONNX does.
    QuantizeEven,
    /// Integers with a scale to real numbers: `float32` output, same shape.
    Dequantize,
    /// Index of the largest element along an axis, the lowest on a tie: `int32` or `int64` output of the input's shape without
    /// the axis, or with an extent of 1 there.
    ArgMax {
        /// The axis.
        axis: u32,
    },
    /// As [`ArgMax`](Self::ArgMax), of the smallest element.
    ArgMin {
        /// The axis.
        axis: u32,
    },
}

impl HostOperator {
    /// The axis that the output lacks, or has with an extent of 1.
    pub const fn axis(&self) -> Option<u32> {
        match self {
            Self::ArgMax { axis } | Self::ArgMin { axis } => Some(*axis),
            Self::Softmax { .. } | Self::Quantize | Self::QuantizeEven | Self::Dequantize => None,
        }
    }

    /// The name used in text and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Softmax { .. } => "softmax",
            Self::Quantize => "quantize",
            Self::QuantizeEven => "quantize_even",
            Self::Dequantize => "dequantize",
            Self::ArgMax { .. } => "arg_max",
            Self::ArgMin { .. } => "arg_min",
        }
    }
}
