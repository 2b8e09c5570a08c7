//! Operators and their attributes.
//!
//! Layouts: activations are NHWC. Convolution weights are OHWI
//! (`[output channel][kernel row][kernel column][input channel]`), depthwise weights are
//! `[1][kernel row][kernel column][channel]` with output channel `c * multiplier + m`, fully
//! connected weights are `[output][input]`. Padding is always explicit: importers turn rules such as
//! "same" into numbers. What a source format passes as a constant tensor (axes, a permutation, a new
//! shape) is an attribute here, not an input.

use std::fmt;

use crate::tensor::Shape;

/// A pair of extents or steps: rows, then columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hw {
    /// Along the rows (vertical).
    pub h: usize,
    /// Along the columns (horizontal).
    pub w: usize,
}

impl Hw {
    /// One in both directions: no stride, no dilation.
    pub const ONE: Self = Self::new(1, 1);

    /// `h` rows by `w` columns.
    pub const fn new(h: usize, w: usize) -> Self {
        Self { h, w }
    }
}

/// Rows by columns, as `3x2`.
impl fmt::Display for Hw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.h, self.w)
    }
}

/// Rows and columns added around a feature map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// No padding.
    pub const NONE: Self = Self { top: 0, bottom: 0, left: 0, right: 0 };

    /// The padding with which `input` gives `ceil(input / stride)` outputs in each direction; an odd
    /// amount puts the larger half below and to the right.
    ///
    /// `window` is the extent after dilation.
    ///
    /// ```
    /// # use cnnip_graph::{Hw, Padding};
    /// let padding = Padding::same(Hw::new(224, 224), Hw::new(3, 3), Hw::new(2, 2));
    /// assert_eq!(padding, Padding { top: 0, bottom: 1, left: 0, right: 1 });
    /// ```
    pub fn same(input: Hw, window: Hw, stride: Hw) -> Self {
        let (top, bottom) = same_along(input.h, window.h, stride.h);
        let (left, right) = same_along(input.w, window.w, stride.w);
        Self { top, bottom, left, right }
    }
}

/// Padding before and after along one direction.
fn same_along(input: usize, window: usize, stride: usize) -> (usize, usize) {
    let output = input.div_ceil(stride.max(1));
    let needed = output.saturating_sub(1).saturating_mul(stride).saturating_add(window);
    let total = needed.saturating_sub(input);
    (total / 2, total - total / 2)
}

/// As `top 0, bottom 1, left 0, right 1`.
impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "top {}, bottom {}, left {}, right {}", self.top, self.bottom, self.left, self.right)
    }
}

/// A clamp in real numbers, fused into the operator before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// No clamp beyond the output type's own range.
    #[default]
    None,
    /// At least 0.
    Relu,
    /// From 0 to 6.
    Relu6,
    /// From -1 to 1.
    ReluN1To1,
}

impl Activation {
    /// Least and greatest real value, where there is one.
    pub const fn bounds(self) -> (Option<f32>, Option<f32>) {
        match self {
            Self::None => (None, None),
            Self::Relu => (Some(0.0), None),
            Self::Relu6 => (Some(0.0), Some(6.0)),
            Self::ReluN1To1 => (Some(-1.0), Some(1.0)),
        }
    }
}

/// Convolution. Inputs: activation `[n, h, w, c]`, weights `[o, kh, kw, c / groups]`, optional bias
/// `[o]`. Output: `[n, h', w', o]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Step of the window.
    pub stride: Hw,
    /// Distance of neighbouring kernel elements; 1 is a dense kernel.
    pub dilation: Hw,
    /// Rows and columns that read as real 0.
    pub padding: Padding,
    /// Input channels fall into this many groups, each with its own output channels.
    pub groups: usize,
    /// Fused clamp.
    pub activation: Activation,
}

/// Transposed convolution. Inputs: activation `[n, h, w, c]`, weights `[o, kh, kw, c / groups]`, optional
/// bias `[o]`. Output: `[n, h', w', o]` with the extents of `output`.
///
/// Input position `(y, x)` times kernel element `(ky, kx)` adds to output position
/// `(y * stride.h + ky * dilation.h - crop.h, x * stride.w + kx * dilation.w - crop.w)`, if the output has it.
/// An output position that nothing adds to holds the bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransposeConv2d {
    /// Distance of the output positions that neighbouring input positions start at.
    pub stride: Hw,
    /// Distance of neighbouring kernel elements; 1 is a dense kernel.
    pub dilation: Hw,
    /// Rows above and columns to the left of the output that are cut off.
    pub crop: Hw,
    /// Rows and columns of the output.
    pub output: Hw,
    /// Input channels fall into this many groups, each with its own output channels.
    pub groups: usize,
    /// Fused clamp.
    pub activation: Activation,
}

/// Depthwise convolution. Inputs: activation `[n, h, w, c]`, weights `[1, kh, kw, c * multiplier]`,
/// optional bias `[c * multiplier]`. Output: `[n, h', w', c * multiplier]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepthwiseConv2d {
    /// Step of the window.
    pub stride: Hw,
    /// Distance of neighbouring kernel elements; 1 is a dense kernel.
    pub dilation: Hw,
    /// Rows and columns that read as real 0.
    pub padding: Padding,
    /// Output channels per input channel.
    pub multiplier: usize,
    /// Fused clamp.
    pub activation: Activation,
}

/// Fully connected layer. Inputs: activation of any shape with a multiple of `i` elements, weights
/// `[o, i]`, optional bias `[o]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullyConnected {
    /// Fused clamp.
    pub activation: Activation,
    /// Output has the input's shape with the last extent replaced by `o`; else it is
    /// `[elements / i, o]`.
    pub keep_num_dims: bool,
}

/// Pooling. Input `[n, h, w, c]`, output `[n, h', w', c]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Extent of the window.
    pub window: Hw,
    /// Step of the window.
    pub stride: Hw,
    /// Rows and columns around the input. They take no part: a maximum ignores them, an average
    /// divides by the number of positions inside the input.
    pub padding: Padding,
    /// Fused clamp.
    pub activation: Activation,
}

/// What [`Pad`] fills with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadValue {
    /// Real 0: the zero point of a quantized tensor.
    Zero,
    /// This integer, in the quantization of the input.
    Integer(i64),
    /// This number, for a tensor of floats.
    Float(f32),
}

/// Padding along every axis. One input.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// Elements in front, per axis.
    pub before: Vec<usize>,
    /// Elements behind, per axis.
    pub after: Vec<usize>,
    /// What they hold.
    pub value: PadValue,
}

/// A part of a tensor: along every axis, `count` elements from `begin` in steps of `stride`. One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First index, per axis.
    pub begin: Vec<usize>,
    /// Distance of the indices, per axis; at least 1.
    pub stride: Vec<usize>,
    /// Number of indices, per axis; at least 1.
    pub count: Vec<usize>,
    /// Axes of one index that the output lacks, ascending.
    pub dropped: Vec<usize>,
}

/// The elements at some indices of an axis. One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    /// The axis.
    pub axis: usize,
    /// The indices, of which some may repeat.
    pub indices: Vec<usize>,
    /// Shape of the indices, which replaces the axis in the output.
    pub shape: Shape,
}

/// A gather along every axis: the element at `(i, j, ..)` is the input's at `(indices[0][i], indices[1][j], ..)`.
/// One input; axes it lacks in front count as extents of 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// Per axis, the input's index for each element taken.
    pub indices: Vec<Vec<usize>>,
    /// Shape of the output, which has the elements in that order; else an extent per list of indices.
    pub shape: Option<Shape>,
}

impl Take {
    /// An output with an extent per list of indices.
    pub const fn new(indices: Vec<Vec<usize>>) -> Self {
        Self { indices, shape: None }
    }
}

/// A recurrent layer of long short-term memory, from the first step of a sequence to the last; both states begin at real 0.
///
/// Inputs: the sequence `[batch, time, depth]`, then for the input, forget, cell and output gates the weights `[units, depth]`,
/// again for all four the recurrent weights `[units, units]`, and their biases `[units]`. Output `[batch, time, units]`: the
/// hidden state after every step, which is quantized as the output. A step computes, `*` being element by element,
///
/// `gate = W x + R hidden + bias`, `cell = sigmoid(forget) * cell + sigmoid(input) * tanh(cell gate)`,
/// `hidden = sigmoid(output) * tanh(cell)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lstm {
    /// Input and output are `[time, batch, ..]` instead.
    pub time_major: bool,
    /// Scale of the cell state, which is int16 and symmetric, in a quantized layer.
    pub cell_scale: Option<f32>,
    /// Largest magnitude of the cell state; 0 for none.
    pub cell_clip: f32,
}

/// Resize of rows and columns to the nearest sample. Input `[n, h, w, c]`, output `[n, h', w', c]`.
///
/// Formats have many rules for which sample is nearest; importers turn them into indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizeNearest {
    /// Row of the input for every row of the output.
    pub rows: Vec<usize>,
    /// Column of the input for every column of the output.
    pub columns: Vec<usize>,
}

/// Where the positions of a resized axis lie on the input's axis of `n` samples, for `m` of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grid {
    /// Position `k` is at `k * n / m`.
    Asymmetric,
    /// Position `k` is at `k * (n - 1) / (m - 1)`, the first and last samples on one another; as
    /// [`Asymmetric`](Self::Asymmetric) for `m` of 1.
    AlignCorners,
    /// Position `k` is at `(k + 1/2) * n / m - 1/2`.
    HalfPixel,
}

/// Bilinear resize of rows and columns. Input `[n, h, w, c]`, output `[n, h', w', c]`.
///
/// Positions before the first sample or behind the last take that sample's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizeBilinear {
    /// Rows and columns of the output.
    pub output: Hw,
    /// Where the output's positions lie.
    pub grid: Grid,
}

/// Index of an extremum along an axis, the lowest on a tie. One input; the output is int32 or int64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgExtremum {
    /// The axis.
    pub axis: usize,
    /// Whether the axis stays, with extent 1.
    pub keep_dims: bool,
}

/// Blocks of positions and what surrounds the positions, for the axes behind the first. One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Extent of a block, per axis behind the first; at least 1.
    pub block: Vec<usize>,
    /// Positions in front, per axis behind the first: padded or cropped.
    pub before: Vec<usize>,
    /// Positions behind.
    pub after: Vec<usize>,
}

/// Mean, sum or extremum over some axes. One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mean {
    /// Axes reduced over, ascending, each at most once.
    pub axes: Vec<usize>,
    /// Whether these axes stay, with extent 1.
    pub keep_dims: bool,
}

/// Which boxes non-maximum suppression keeps, of every image and class by itself: from the highest score on (of equal scores the lowest
/// number first) those that overlap no kept one too much.
///
/// Inputs: boxes `[images, boxes, 4]` and scores `[images, classes, boxes]`. Output: int64 `[rows, 3]`, a row `[image, class, box]` for every
/// box that is kept, by image, then class, then score; `rows` are as many as there can be, and those behind the last box are -1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suppression {
    /// A box is its middle and its extents, `[x, y, w, h]`; else two opposite corners, `[y, x, y, x]`.
    pub center: bool,
    /// Most boxes that are kept; at least 1.
    pub per_class: usize,
    /// A box that overlaps a kept one by more, as intersection over union, is not kept; 0 to 1.
    pub iou: f32,
    /// A box whose score is not above is not kept; without it all may be.
    pub score: Option<f32>,
}

/// Which of its four results a node of [`Detections`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectionResult {
    /// `[1, rows, 4]`: top, left, bottom, right.
    Boxes,
    /// `[1, rows]`: classes from 0 on.
    Classes,
    /// `[1, rows]`.
    Scores,
    /// `[1]`: how many detections there are.
    Count,
}

/// Decodes boxes and keeps the best. A node gives one of four results; rows without a detection are 0.
///
/// Inputs: encodings `[1, boxes, 4 or more]` and anchors `[boxes, 4]` of `[y, x, height, width]`, and between them scores
/// `[1, boxes, classes]`, or one more class in front, the background. With the scales s, a box has its middle at
/// `code / s * anchor extent + anchor middle`, and half extents of `exp(code / s) * anchor extent / 2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detections {
    /// Which result.
    pub result: DetectionResult,
    /// Most boxes that are kept; at least 1.
    pub most: usize,
    /// Rows per box: its best classes; at least 1.
    pub classes_per_box: usize,
    /// Suppression of every class by itself, with at most so many boxes of each, and a row per box and class; else of boxes with the
    /// scores of their best classes.
    pub per_class: Option<usize>,
    /// Number of classes.
    pub classes: usize,
    /// A box whose score is below is not kept.
    pub score: f32,
    /// A box that overlaps a kept one by more, as intersection over union, is not kept; above 0, at most 1.
    pub iou: f32,
    /// What encodings are divided by: y, x, height, width.
    pub scales: [f32; 4],
}

/// Most inputs of [`Op::Concat`] and [`Op::Pack`].
pub(crate) const MAX_JOINED: usize = 64;

/// What a node computes.
///
/// Adding an operator: add a variant with its attributes here, its output shape in `infer.rs`, and
/// for TFLite one row in the table of `tflite/operators.rs` with its reader function (and, to write
/// it, an arm in `tflite/export.rs`). The compiler names every other place: no `match` over
/// operators in this crate has a catch-all arm.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Convolution.
    Conv2d(Conv2d),
    /// Transposed convolution.
    TransposeConv2d(TransposeConv2d),
    /// Depthwise convolution.
    DepthwiseConv2d(DepthwiseConv2d),
    /// Fully connected layer.
    FullyConnected(FullyConnected),
    /// Largest value in each window.
    MaxPool2d(Pool2d),
    /// Average of each window.
    AveragePool2d(Pool2d),
    /// Mean over axes.
    Mean(Mean),
    /// Sum over axes.
    Sum(Mean),
    /// Largest element over axes.
    ReduceMax(Mean),
    /// Smallest element over axes.
    ReduceMin(Mean),
    /// Inputs one behind the other along an axis that all have.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Inputs of one shape along a new axis.
    Pack {
        /// The axis of the output.
        axis: usize,
    },
    /// A part of the input.
    Slice(Slice),
    /// Elements at some indices of an axis.
    Gather(Gather),
    /// A gather along every axis.
    Take(Take),
    /// Resize to the nearest sample.
    ResizeNearest(ResizeNearest),
    /// Bilinear resize.
    ResizeBilinear(ResizeBilinear),
    /// Index of the largest element along an axis.
    ArgMax(ArgExtremum),
    /// Index of the smallest element along an axis.
    ArgMin(ArgExtremum),
    /// From channels to blocks of rows and columns; channel `(y * block + x) * c' + i` goes to `[y][x][i]`.
    DepthToSpace {
        /// Rows and columns of a block.
        block: usize,
    },
    /// The inverse of [`Op::DepthToSpace`].
    SpaceToDepth {
        /// Rows and columns of a block.
        block: usize,
    },
    /// Pads with real 0, then moves the positions within blocks in front of the first axis.
    SpaceToBatch(Blocks),
    /// The inverse of [`Op::SpaceToBatch`]: spreads the first axis over blocks, then crops.
    BatchToSpace(Blocks),
    /// Padding with a constant.
    Pad(Pad),
    /// Sum of two inputs; extents of 1 and missing leading axes are repeated.
    Add {
        /// Fused clamp.
        activation: Activation,
    },
    /// First input minus the second; shapes as for [`Op::Add`].
    Sub {
        /// Fused clamp.
        activation: Activation,
    },
    /// Product of two inputs; shapes as for [`Op::Add`].
    Mul {
        /// Fused clamp.
        activation: Activation,
    },
    /// First input divided by the second; shapes as for [`Op::Add`]. Integers lose their fraction.
    Div {
        /// Fused clamp.
        activation: Activation,
    },
    /// First input to the power of the second; shapes as for [`Op::Add`].
    Pow,
    /// Matrix product of two activations `[.., m, k]` and `[.., k, n]`; the axes in front broadcast.
    MatMul,
    /// The larger of two inputs; shapes as for [`Op::Add`].
    Maximum,
    /// The smaller of two inputs; shapes as for [`Op::Add`].
    Minimum,
    /// The input where it is at least 0, else its product with the second input, whose shape
    /// broadcasts to that of the first.
    Prelu,
    /// The same elements in the same order with another shape. One input.
    Reshape {
        /// Shape of the output.
        shape: Shape,
    },
    /// Exchange of axes: axis `i` of the output is axis `perm[i]` of the input.
    Transpose {
        /// A permutation of the input's axes.
        perm: Vec<usize>,
    },
    /// From floats, or other quantization parameters, to the output's quantization.
    Quantize,
    /// From quantized integers to floats.
    Dequantize,
    /// `exp(beta * x)` along the last axis, divided by its sum.
    Softmax {
        /// Factor before the exponential.
        beta: f32,
    },
    /// Clamp to at least 0.
    Relu,
    /// Clamp to 0 ..= 6.
    Relu6,
    /// Clamp to -1 ..= 1.
    ReluN1To1,
    /// Clamp to any range.
    Clamp {
        /// Least value; may be minus infinity.
        min: f32,
        /// Greatest value, at least `min`; may be infinity.
        max: f32,
    },
    /// The input where it is at least 0, else its product with a constant.
    LeakyRelu {
        /// Factor below 0.
        alpha: f32,
    },
    /// `x * min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Logistic,
    /// Hyperbolic tangent.
    Tanh,
    /// Natural exponential.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// One over the square root.
    Rsqrt,
    /// Magnitude.
    Abs,
    /// The input with the other sign.
    Neg,
    /// The input where it is at least 0, else `exp(x) - 1`.
    Elu,
    /// `x * (1 + erf(x / sqrt(2))) / 2`.
    Gelu {
        /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2` instead.
        approximate: bool,
    },
    /// Square of the difference of two inputs; shapes as for [`Op::Add`].
    SquaredDifference,
    /// Recurrent layer.
    Lstm(Lstm),
    /// Non-maximum suppression.
    NonMaxSuppression(Suppression),
    /// Box decoding and non-maximum suppression.
    Detections(Detections),
}

impl Op {
    /// The variant's name, for messages and dumps.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "Conv2d",
            Self::TransposeConv2d(_) => "TransposeConv2d",
            Self::DepthwiseConv2d(_) => "DepthwiseConv2d",
            Self::FullyConnected(_) => "FullyConnected",
            Self::MaxPool2d(_) => "MaxPool2d",
            Self::AveragePool2d(_) => "AveragePool2d",
            Self::Mean(_) => "Mean",
            Self::Sum(_) => "Sum",
            Self::ReduceMax(_) => "ReduceMax",
            Self::ReduceMin(_) => "ReduceMin",
            Self::Concat { .. } => "Concat",
            Self::Pack { .. } => "Pack",
            Self::Slice(_) => "Slice",
            Self::Gather(_) => "Gather",
            Self::Take(_) => "Take",
            Self::ResizeNearest(_) => "ResizeNearest",
            Self::ResizeBilinear(_) => "ResizeBilinear",
            Self::ArgMax(_) => "ArgMax",
            Self::ArgMin(_) => "ArgMin",
            Self::DepthToSpace { .. } => "DepthToSpace",
            Self::SpaceToDepth { .. } => "SpaceToDepth",
            Self::SpaceToBatch(_) => "SpaceToBatch",
            Self::BatchToSpace(_) => "BatchToSpace",
            Self::Pad(_) => "Pad",
            Self::Add { .. } => "Add",
            Self::Reshape { .. } => "Reshape",
            Self::Transpose { .. } => "Transpose",
            Self::Quantize => "Quantize",
            Self::Dequantize => "Dequantize",
            Self::Softmax { .. } => "Softmax",
            Self::Relu => "Relu",
            Self::Relu6 => "Relu6",
            Self::ReluN1To1 => "ReluN1To1",
            Self::Sub { .. } => "Sub",
            Self::Mul { .. } => "Mul",
            Self::Div { .. } => "Div",
            Self::Pow => "Pow",
            Self::MatMul => "MatMul",
            Self::Clamp { .. } => "Clamp",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::Exp => "Exp",
            Self::Log => "Log",
            Self::Sqrt => "Sqrt",
            Self::Rsqrt => "Rsqrt",
            Self::Abs => "Abs",
            Self::Neg => "Neg",
            Self::Elu => "Elu",
            Self::Gelu { .. } => "Gelu",
            Self::SquaredDifference => "SquaredDifference",
            Self::Lstm(_) => "Lstm",
            Self::NonMaxSuppression(_) => "NonMaxSuppression",
            Self::Detections(_) => "Detections",
            Self::Maximum => "Maximum",
            Self::Minimum => "Minimum",
            Self::Prelu => "Prelu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::HardSwish => "HardSwish",
            Self::Logistic => "Logistic",
            Self::Tanh => "Tanh",
        }
    }

    /// Length of the lists of indices among the attributes, which may have many entries.
    pub(crate) fn indices(&self) -> usize {
        if let Self::Take(take) = self {
            return take.indices.iter().map(Vec::len).sum();
        }
        if let Self::ResizeNearest(resize) = self {
            return resize.rows.len().saturating_add(resize.columns.len());
        }
        if let Self::Gather(gather) = self { gather.indices.len() } else { 0 }
    }

    /// Least and greatest number of inputs.
    pub const fn inputs(&self) -> (usize, usize) {
        match self {
            Self::Conv2d(_) | Self::TransposeConv2d(_) | Self::DepthwiseConv2d(_) | Self::FullyConnected(_) => (2, 3),
            Self::Add { .. } | Self::Sub { .. } | Self::Mul { .. } | Self::Maximum | Self::Minimum | Self::Prelu => {
                (2, 2)
            }
            Self::Div { .. } | Self::Pow | Self::MatMul | Self::SquaredDifference => (2, 2),
            Self::Lstm(_) => (13, 13),
            Self::NonMaxSuppression(_) => (2, 2),
            Self::Detections(_) => (3, 3),
            Self::Concat { .. } | Self::Pack { .. } => (1, MAX_JOINED),
            Self::MaxPool2d(_)
            | Self::AveragePool2d(_)
            | Self::Mean(_)
            | Self::Sum(_)
            | Self::ReduceMax(_)
            | Self::ReduceMin(_)
            | Self::Slice(_)
            | Self::Gather(_)
            | Self::Take(_)
            | Self::ResizeNearest(_)
            | Self::ResizeBilinear(_)
            | Self::ArgMax(_)
            | Self::ArgMin(_)
            | Self::DepthToSpace { .. }
            | Self::SpaceToDepth { .. }
            | Self::SpaceToBatch(_)
            | Self::BatchToSpace(_)
            | Self::Pad(_)
            | Self::Reshape { .. }
            | Self::Transpose { .. }
            | Self::Quantize
            | Self::Dequantize
            | Self::Softmax { .. }
            | Self::Relu
            | Self::Relu6
            | Self::ReluN1To1
            | Self::LeakyRelu { .. }
            | Self::Clamp { .. }
            | Self::HardSwish
            | Self::HardSigmoid { .. }
            | Self::Exp
            | Self::Log
            | Self::Sqrt
            | Self::Rsqrt
            | Self::Abs
            | Self::Neg
            | Self::Elu
            | Self::Gelu { .. }
            | Self::Logistic
            | Self::Tanh => (1, 1),
        }
    }

    /// The axis of the weights (input 1) along which per-channel scales belong: that of the output
    /// channels. `None` if the operator has no weights.
    pub const fn weight_axis(&self) -> Option<usize> {
        match self {
            Self::Conv2d(_) | Self::TransposeConv2d(_) | Self::FullyConnected(_) => Some(0),
            Self::DepthwiseConv2d(_) => Some(3),
            Self::MaxPool2d(_)
            | Self::AveragePool2d(_)
            | Self::Mean(_)
            | Self::Sum(_)
            | Self::ReduceMax(_)
            | Self::ReduceMin(_)
            | Self::Concat { .. }
            | Self::Pack { .. }
            | Self::Slice(_)
            | Self::Gather(_)
            | Self::Take(_)
            | Self::ResizeNearest(_)
            | Self::ResizeBilinear(_)
            | Self::ArgMax(_)
            | Self::ArgMin(_)
            | Self::DepthToSpace { .. }
            | Self::SpaceToDepth { .. }
            | Self::SpaceToBatch(_)
            | Self::BatchToSpace(_)
            | Self::Pad(_)
            | Self::Add { .. }
            | Self::Reshape { .. }
            | Self::Transpose { .. }
            | Self::Quantize
            | Self::Dequantize
            | Self::Softmax { .. }
            | Self::Relu
            | Self::Relu6
            | Self::ReluN1To1
            | Self::Sub { .. }
            | Self::Mul { .. }
            | Self::Maximum
            | Self::Minimum
            | Self::Prelu
            | Self::LeakyRelu { .. }
            | Self::Div { .. }
            | Self::Pow
            | Self::MatMul
            | Self::Clamp { .. }
            | Self::HardSwish
            | Self::HardSigmoid { .. }
            | Self::Exp
            | Self::Log
            | Self::Sqrt
            | Self::Rsqrt
            | Self::Abs
            | Self::Neg
            | Self::Elu
            | Self::Gelu { .. }
            | Self::SquaredDifference
            | Self::Lstm(_)
            | Self::NonMaxSuppression(_)
            | Self::Detections(_)
            | Self::Logistic
            | Self::Tanh => None,
        }
    }

    /// Whether an input stays as it is when a network of real numbers is quantized: constants that only the host reads, in real numbers.
    pub const fn stays_real(&self, input: usize) -> bool {
        matches!((self, input), (Self::Detections(_), 2))
    }

    /// Whether the output is real numbers whatever the inputs are.
    pub const fn gives_real(&self) -> bool {
        matches!(self, Self::Detections(_))
    }

    /// Whether the output is a list: rows up to the first that begins with a negative number, and no others, mean something.
    pub const fn gives_list(&self) -> bool {
        matches!(self, Self::NonMaxSuppression(_))
    }
}

/// The name and, where there are any, the attributes.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Conv2d(conv) => {
                window_attributes(f, None, conv.stride, conv.dilation, conv.padding)?;
                attribute(f, "groups", &conv.groups, &1)?;
                fused(f, conv.activation)
            }
            Self::TransposeConv2d(conv) => {
                window_attributes(f, None, conv.stride, conv.dilation, Padding::NONE)?;
                attribute(f, "crop", &conv.crop, &Hw::new(0, 0))?;
                write!(f, " output={}", conv.output)?;
                attribute(f, "groups", &conv.groups, &1)?;
                fused(f, conv.activation)
            }
            Self::DepthwiseConv2d(conv) => {
                window_attributes(f, None, conv.stride, conv.dilation, conv.padding)?;
                attribute(f, "multiplier", &conv.multiplier, &1)?;
                fused(f, conv.activation)
            }
            Self::FullyConnected(layer) => {
                attribute(f, "keep_num_dims", &layer.keep_num_dims, &false)?;
                fused(f, layer.activation)
            }
            Self::MaxPool2d(pool) | Self::AveragePool2d(pool) => {
                window_attributes(f, Some(pool.window), pool.stride, Hw::ONE, pool.padding)?;
                fused(f, pool.activation)
            }
            Self::Concat { axis } | Self::Pack { axis } => write!(f, " axis={axis}"),
            Self::Slice(Slice { begin, stride, count, dropped }) => {
                write!(f, " begin={begin:?} stride={stride:?} count={count:?} dropped={dropped:?}")
            }
            Self::Gather(gather) => write!(f, " axis={} indices={:?}", gather.axis, gather.indices),
            Self::Take(take) => {
                write!(f, " indices={:?}", take.indices)?;
                take.shape.as_ref().map_or(Ok(()), |shape| write!(f, " shape={shape}"))
            }
            Self::ResizeNearest(resize) => write!(f, " output={}x{}", resize.rows.len(), resize.columns.len()),
            Self::ResizeBilinear(resize) => write!(f, " output={} grid={:?}", resize.output, resize.grid),
            Self::ArgMax(arg) | Self::ArgMin(arg) => {
                write!(f, " axis={}", arg.axis)?;
                attribute(f, "keep_dims", &arg.keep_dims, &false)
            }
            Self::DepthToSpace { block } | Self::SpaceToDepth { block } => write!(f, " block={block}"),
            Self::SpaceToBatch(Blocks { block, before, after })
            | Self::BatchToSpace(Blocks { block, before, after }) => {
                write!(f, " block={block:?} before={before:?} after={after:?}")
            }
            Self::Mean(mean) | Self::Sum(mean) | Self::ReduceMax(mean) | Self::ReduceMin(mean) => {
                write!(f, " axes={:?}", mean.axes)?;
                attribute(f, "keep_dims", &mean.keep_dims, &false)
            }
            Self::Pad(pad) => {
                write!(f, " before={:?} after={:?} value={:?}", pad.before, pad.after, pad.value)
            }
            Self::Add { activation }
            | Self::Sub { activation }
            | Self::Mul { activation }
            | Self::Div { activation } => fused(f, *activation),
            Self::Clamp { min, max } => write!(f, " min={min} max={max}"),
            Self::HardSigmoid { alpha, beta } => write!(f, " alpha={alpha} beta={beta}"),
            Self::LeakyRelu { alpha } => write!(f, " alpha={alpha}"),
            Self::Reshape { shape } => write!(f, " shape={shape}"),
            Self::Transpose { perm } => write!(f, " perm={perm:?}"),
            Self::Softmax { beta } => write!(f, " beta={beta}"),
            Self::Gelu { approximate } => attribute(f, "approximate", approximate, &false),
            Self::Lstm(lstm) => {
                attribute(f, "time_major", &lstm.time_major, &false)?;
                lstm.cell_scale.map_or(Ok(()), |scale| write!(f, " cell_scale={scale}"))?;
                attribute(f, "cell_clip", &lstm.cell_clip, &0.0)
            }
            Self::NonMaxSuppression(Suppression { center, per_class, iou, score }) => {
                attribute(f, "center", center, &false)?;
                write!(f, " per_class={per_class} iou={iou}")?;
                score.map_or(Ok(()), |score| write!(f, " score={score}"))
            }
            Self::Detections(op) => {
                write!(f, " {:?} most={} classes={}", op.result, op.most, op.classes)?;
                attribute(f, "classes_per_box", &op.classes_per_box, &1)?;
                op.per_class.map_or(Ok(()), |most| write!(f, " per_class={most}"))?;
                write!(f, " score={} iou={} scales={:?}", op.score, op.iou, op.scales)
            }
            Self::Quantize
            | Self::Dequantize
            | Self::Relu
            | Self::Relu6
            | Self::ReluN1To1
            | Self::Maximum
            | Self::Minimum
            | Self::Prelu
            | Self::HardSwish
            | Self::Pow
            | Self::MatMul
            | Self::Exp
            | Self::Log
            | Self::Sqrt
            | Self::Rsqrt
            | Self::Abs
            | Self::Neg
            | Self::Elu
            | Self::SquaredDifference
            | Self::Logistic
            | Self::Tanh => Ok(()),
        }
    }
}

/// Writes ` name=value` unless the value is the ordinary one.
fn attribute<T: fmt::Display + PartialEq>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: &T,
    ordinary: &T,
) -> fmt::Result {
    if value == ordinary { Ok(()) } else { write!(f, " {name}={value}") }
}

fn window_attributes(
    f: &mut fmt::Formatter<'_>,
    window: Option<Hw>,
    stride: Hw,
    dilation: Hw,
    padding: Padding,
) -> fmt::Result {
    if let Some(window) = window {
        write!(f, " window={window}")?;
    }
    attribute(f, "stride", &stride, &Hw::ONE)?;
    attribute(f, "dilation", &dilation, &Hw::ONE)?;
    if padding == Padding::NONE {
        return Ok(());
    }
    let Padding { top, bottom, left, right } = padding;
    write!(f, " padding={top},{bottom},{left},{right}")
}

fn fused(f: &mut fmt::Formatter<'_>, activation: Activation) -> fmt::Result {
    if activation == Activation::None { Ok(()) } else { write!(f, " activation={activation:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_show_when_they_are_not_ordinary() {
        let mut conv = Conv2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::NONE,
            groups: 1,
            activation: Activation::None,
        };
        assert_eq!(Op::Conv2d(conv.clone()).to_string(), "Conv2d");
        conv.stride = Hw::new(2, 1);
        conv.padding.bottom = 1;
        conv.activation = Activation::Relu6;
        assert_eq!(Op::Conv2d(conv).to_string(), "Conv2d stride=2x1 padding=0,1,0,0 activation=Relu6");
    }

    proptest! {
        /// "Same" gives `ceil(input / stride)` windows and never more padding than they need.
        #[test]
        fn same_padding_gives_the_rounded_up_quotient(input in 1_usize..300, window in 1_usize..20, stride in 1_usize..20) {
            let (before, after) = same_along(input, window, stride);
            let output = input.div_ceil(stride);
            prop_assert!(after == before || after == before + 1);
            prop_assert_eq!((input + before + after - window) / stride + 1, output);
            prop_assert!(before + after == 0 || (output - 1) * stride + window == input + before + after);
        }
    }
}
