//! From TFLite operators to [`Op`]s: one table, one reader function per operator.
//!
//! Adding an operator:
//!
//! 1. `schema.rs`: its code in `code`, its attribute table's tag in `options`, the fields it reads.
//! 2. Here: a row in [`BUILTINS`] and, unless an existing one serves, a reader that turns a [`Call`]
//!    into an [`Op`]. A reader only looks at attributes; shapes are checked for all operators by
//!    `infer.rs`.
//! 3. `export.rs`: how the [`Op`] is written, so that the round-trip test covers it.

mod detection;
mod movement;
mod recurrent;
mod resize;

pub(super) use detection::{NAME as DETECTION_NAME, shapes as detection_shapes};
pub(super) use recurrent::{STATES, in_slots};
pub(super) use resize::nearest_indices;

use super::schema::{code, conv2d, depthwise, fully_connected, options, padding, pool2d, single};
use crate::flatbuffer::{Field, Scalar, Scalars, Table};
use crate::infer::{InferError, dilated};
use crate::op::{
    Activation, ArgExtremum, Conv2d, DepthwiseConv2d, FullyConnected, Hw, MAX_JOINED, Mean, Op, Pad, PadValue, Padding,
    Pool2d, TransposeConv2d,
};
use crate::problem::Rule;
use crate::tensor::{ElementType, MAX_RANK, Shape, Tensor};

/// Most elements of a constant that becomes an attribute: two per axis.
const MAX_ATTRIBUTE: usize = 2 * MAX_RANK;

/// Greatest window extent, stride and dilation.
const MAX_STEP: i32 = 0xffff;

/// How one TFLite operator is read.
pub(super) struct Builtin {
    /// Its code.
    pub(super) code: i32,
    /// The tag of its attributes.
    pub(super) options: u8,
    /// Fewest and most inputs.
    pub(super) inputs: (usize, usize),
    /// Which of the inputs the node keeps, in this order; the others become attributes.
    pub(super) data: &'static [usize],
    /// The reader. It is asked once per output, and every output gets a node of its own.
    pub(super) read: fn(&Call<'_>) -> Result<Op, Rule>,
}

impl Builtin {
    /// Whether there may be several outputs.
    pub(super) const fn splits(&self) -> bool {
        matches!(self.code, code::SPLIT | code::SPLIT_V | code::UNPACK | code::CUSTOM)
    }

    /// Which inputs are tensors that it reads and writes. Such an operator has optional inputs between others.
    pub(super) const fn states(&self) -> &'static [usize] {
        match self.code {
            code::UNIDIRECTIONAL_SEQUENCE_LSTM => &STATES,
            _ => &[],
        }
    }
}

/// The custom operator that can be read, by its name.
pub(super) const CUSTOM: (&str, Builtin) = (
    DETECTION_NAME,
    Builtin { code: code::CUSTOM, options: options::NONE, inputs: (3, 3), data: &[0, 1, 2], read: detection::read },
);

/// All operators of the format that can be read.
pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { code: code::ABS, options: options::ABS, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Abs) },
    Builtin { code: code::ADD, options: options::ADD, inputs: (2, 2), data: &[0, 1], read: add },
    Builtin {
        code: code::ARG_MAX,
        options: options::ARG_MAX,
        inputs: (2, 2),
        data: &[0],
        read: |call| arg_extremum(call).map(Op::ArgMax),
    },
    Builtin {
        code: code::ARG_MIN,
        options: options::ARG_MIN,
        inputs: (2, 2),
        data: &[0],
        read: |call| arg_extremum(call).map(Op::ArgMin),
    },
    Builtin { code: code::AVERAGE_POOL_2D, options: options::POOL_2D, inputs: (1, 1), data: &[0], read: average_pool },
    Builtin {
        code: code::BATCH_TO_SPACE_ND,
        options: options::BATCH_TO_SPACE_ND,
        inputs: (3, 3),
        data: &[0],
        read: movement::batch_to_space,
    },
    Builtin {
        code: code::BROADCAST_TO,
        options: options::BROADCAST_TO,
        inputs: (2, 2),
        data: &[0],
        read: movement::broadcast_to,
    },
    Builtin {
        code: code::CONCATENATION,
        options: options::CONCATENATION,
        inputs: (1, MAX_JOINED),
        data: &JOINED,
        read: movement::concatenation,
    },
    Builtin { code: code::CONV_2D, options: options::CONV_2D, inputs: (2, 3), data: &[0, 1, 2], read: convolution },
    Builtin {
        code: code::DEPTHWISE_CONV_2D,
        options: options::DEPTHWISE_CONV_2D,
        inputs: (2, 3),
        data: &[0, 1, 2],
        read: depthwise_convolution,
    },
    Builtin {
        code: code::DEPTH_TO_SPACE,
        options: options::DEPTH_TO_SPACE,
        inputs: (1, 1),
        data: &[0],
        read: movement::depth_to_space,
    },
    Builtin {
        code: code::DEQUANTIZE,
        options: options::DEQUANTIZE,
        inputs: (1, 1),
        data: &[0],
        read: |_| Ok(Op::Dequantize),
    },
    Builtin { code: code::ELU, options: options::NONE, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Elu) },
    Builtin { code: code::EXP, options: options::EXP, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Exp) },
    Builtin { code: code::EXPAND_DIMS, options: options::EXPAND_DIMS, inputs: (2, 2), data: &[0], read: expand_dims },
    Builtin {
        code: code::FULLY_CONNECTED,
        options: options::FULLY_CONNECTED,
        inputs: (2, 3),
        data: &[0, 1, 2],
        read: dense,
    },
    Builtin { code: code::GATHER, options: options::GATHER, inputs: (2, 2), data: &[0], read: movement::gather },
    Builtin { code: code::GELU, options: options::GELU, inputs: (1, 1), data: &[0], read: gelu },
    Builtin {
        code: code::HARD_SWISH,
        options: options::HARD_SWISH,
        inputs: (1, 1),
        data: &[0],
        read: |_| Ok(Op::HardSwish),
    },
    Builtin { code: code::LEAKY_RELU, options: options::LEAKY_RELU, inputs: (1, 1), data: &[0], read: leaky_relu },
    Builtin { code: code::LOG, options: options::NONE, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Log) },
    Builtin { code: code::LOGISTIC, options: options::NONE, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Logistic) },
    Builtin {
        code: code::MAXIMUM,
        options: options::MAXIMUM_MINIMUM,
        inputs: (2, 2),
        data: &[0, 1],
        read: |_| Ok(Op::Maximum),
    },
    Builtin { code: code::MAX_POOL_2D, options: options::POOL_2D, inputs: (1, 1), data: &[0], read: max_pool },
    Builtin { code: code::MEAN, options: options::REDUCE, inputs: (2, 2), data: &[0], read: mean },
    Builtin {
        code: code::MINIMUM,
        options: options::MAXIMUM_MINIMUM,
        inputs: (2, 2),
        data: &[0, 1],
        read: |_| Ok(Op::Minimum),
    },
    Builtin {
        code: code::MIRROR_PAD,
        options: options::MIRROR_PAD,
        inputs: (2, 2),
        data: &[0],
        read: movement::mirror_pad,
    },
    Builtin { code: code::MUL, options: options::MUL, inputs: (2, 2), data: &[0, 1], read: mul },
    Builtin { code: code::NEG, options: options::NEG, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Neg) },
    Builtin { code: code::PACK, options: options::PACK, inputs: (1, MAX_JOINED), data: &JOINED, read: movement::pack },
    Builtin { code: code::PAD, options: options::PAD, inputs: (2, 2), data: &[0], read: pad },
    Builtin { code: code::PADV2, options: options::PADV2, inputs: (3, 3), data: &[0], read: pad },
    Builtin { code: code::PRELU, options: options::NONE, inputs: (2, 2), data: &[0, 1], read: |_| Ok(Op::Prelu) },
    Builtin {
        code: code::QUANTIZE,
        options: options::QUANTIZE,
        inputs: (1, 1),
        data: &[0],
        read: |_| Ok(Op::Quantize),
    },
    Builtin {
        code: code::REDUCE_MAX,
        options: options::REDUCE,
        inputs: (2, 2),
        data: &[0],
        read: |call| reduction(call).map(Op::ReduceMax),
    },
    Builtin {
        code: code::REDUCE_MIN,
        options: options::REDUCE,
        inputs: (2, 2),
        data: &[0],
        read: |call| reduction(call).map(Op::ReduceMin),
    },
    Builtin { code: code::RELU, options: options::NONE, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Relu) },
    Builtin { code: code::RELU6, options: options::NONE, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Relu6) },
    Builtin {
        code: code::RELU_0_TO_1,
        options: options::NONE,
        inputs: (1, 1),
        data: &[0],
        read: |_| Ok(Op::Clamp { min: 0.0, max: 1.0 }),
    },
    Builtin {
        code: code::RELU_N1_TO_1,
        options: options::NONE,
        inputs: (1, 1),
        data: &[0],
        read: |_| Ok(Op::ReluN1To1),
    },
    Builtin { code: code::RESHAPE, options: options::RESHAPE, inputs: (1, 2), data: &[0], read: reshape },
    Builtin {
        code: code::RESIZE_BILINEAR,
        options: options::RESIZE_BILINEAR,
        inputs: (2, 2),
        data: &[0],
        read: resize::bilinear,
    },
    Builtin {
        code: code::RESIZE_NEAREST_NEIGHBOR,
        options: options::RESIZE_NEAREST_NEIGHBOR,
        inputs: (2, 2),
        data: &[0],
        read: resize::nearest,
    },
    Builtin {
        code: code::REVERSE_V2,
        options: options::REVERSE_V2,
        inputs: (2, 2),
        data: &[0],
        read: movement::reverse,
    },
    Builtin { code: code::RSQRT, options: options::NONE, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Rsqrt) },
    Builtin { code: code::SLICE, options: options::SLICE, inputs: (3, 3), data: &[0], read: movement::slice },
    Builtin { code: code::SOFTMAX, options: options::SOFTMAX, inputs: (1, 1), data: &[0], read: softmax },
    Builtin {
        code: code::SPACE_TO_BATCH_ND,
        options: options::SPACE_TO_BATCH_ND,
        inputs: (3, 3),
        data: &[0],
        read: movement::space_to_batch,
    },
    Builtin {
        code: code::SPACE_TO_DEPTH,
        options: options::SPACE_TO_DEPTH,
        inputs: (1, 1),
        data: &[0],
        read: movement::space_to_depth,
    },
    Builtin { code: code::SPLIT, options: options::SPLIT, inputs: (2, 2), data: &[1], read: movement::split },
    Builtin { code: code::SPLIT_V, options: options::SPLIT_V, inputs: (3, 3), data: &[0], read: movement::split_v },
    Builtin {
        code: code::SQUARED_DIFFERENCE,
        options: options::SQUARED_DIFFERENCE,
        inputs: (2, 2),
        data: &[0, 1],
        read: |_| Ok(Op::SquaredDifference),
    },
    Builtin { code: code::SQUEEZE, options: options::SQUEEZE, inputs: (1, 1), data: &[0], read: squeeze },
    Builtin {
        code: code::STRIDED_SLICE,
        options: options::STRIDED_SLICE,
        inputs: (4, 4),
        data: &[0],
        read: movement::strided_slice,
    },
    Builtin { code: code::SUB, options: options::SUB, inputs: (2, 2), data: &[0, 1], read: sub },
    Builtin {
        code: code::SUM,
        options: options::REDUCE,
        inputs: (2, 2),
        data: &[0],
        read: |call| reduction(call).map(Op::Sum),
    },
    Builtin { code: code::TANH, options: options::NONE, inputs: (1, 1), data: &[0], read: |_| Ok(Op::Tanh) },
    Builtin { code: code::TILE, options: options::TILE, inputs: (2, 2), data: &[0], read: movement::tile },
    Builtin { code: code::TRANSPOSE, options: options::TRANSPOSE, inputs: (2, 2), data: &[0], read: transpose },
    Builtin {
        code: code::TRANSPOSE_CONV,
        options: options::TRANSPOSE_CONV,
        inputs: (3, 4),
        data: &[2, 1, 3],
        read: transposed_convolution,
    },
    Builtin {
        code: code::UNIDIRECTIONAL_SEQUENCE_LSTM,
        options: options::UNIDIRECTIONAL_SEQUENCE_LSTM,
        inputs: (recurrent::INPUTS - 4, recurrent::INPUTS),
        data: &recurrent::DATA,
        read: recurrent::read,
    },
    Builtin { code: code::UNPACK, options: options::UNPACK, inputs: (1, 1), data: &[0], read: movement::unpack },
];

/// All inputs, however many there are.
const JOINED: [usize; MAX_JOINED] = {
    let mut slots = [0; MAX_JOINED];
    let mut slot = 0;
    while slot < MAX_JOINED {
        slots[slot] = slot;
        slot += 1;
    }
    slots
};

/// An operator of the file: its tensors and attributes.
pub(super) struct Call<'a> {
    /// Its inputs with their indices; as many as [`Builtin::inputs`] allows. `None` for an optional one that is absent.
    pub(super) inputs: Vec<Option<(usize, &'a Tensor)>>,
    /// Its attributes, where the file has them.
    pub(super) options: Option<Table<'a>>,
    /// Those of a custom operator, as bytes.
    pub(super) custom: &'a [u8],
    /// Which of its outputs is asked for, and how many there are.
    pub(super) output: (usize, usize),
}

impl<'a> Call<'a> {
    /// The input `slot` with its index, if it is there.
    fn slot(&self, slot: usize) -> Option<(usize, &'a Tensor)> {
        self.inputs.get(slot).copied().flatten()
    }

    /// The activation. There is one: no operator takes fewer inputs.
    fn input(&self) -> Result<&'a Tensor, Rule> {
        self.slot(0).map(|input| input.1).ok_or(Rule::InputCount { found: 0, least: 1, most: 1 })
    }

    /// Batch, height, width and channels of input `slot`.
    fn nhwc(&self, slot: usize, what: &'static str) -> Result<[usize; 4], Rule> {
        let shape = self.slot(slot).map(|input| &input.1.shape);
        let rank = || InferError::Rank { what, want: 4, found: shape.cloned().unwrap_or_default() };
        Ok(shape.and_then(Shape::nhwc).ok_or_else(rank)?)
    }

    /// An attribute, or its default.
    fn get<T: Scalar>(&self, field: Field<T>) -> Result<T, Rule> {
        Ok(self.options.map_or(Ok(field.default_value()), |table| table.scalar(field))?)
    }

    /// A list among the attributes; `None` if it is absent.
    fn list(&self, name: &'static str, field: Field<Scalars<i32>>) -> Result<Option<Vec<i64>>, Rule> {
        let Some(table) = self.options.filter(|table| table.has(field)) else { return Ok(None) };
        let list = table.list(field)?;
        if list.len() > MAX_ATTRIBUTE {
            return Err(Rule::Attribute { name, value: i64::try_from(list.len()).unwrap_or(i64::MAX) });
        }
        Ok(Some(list.iter().map(i64::from).collect()))
    }

    /// A window extent, stride or dilation.
    fn step(&self, name: &'static str, field: Field<i32>) -> Result<usize, Rule> {
        let value = self.get(field)?;
        let rule = Rule::Attribute { name, value: i64::from(value) };
        if !(1..=MAX_STEP).contains(&value) {
            return Err(rule);
        }
        usize::try_from(value).map_err(|_| rule)
    }

    fn stride(&self) -> Result<Hw, Rule> {
        Ok(Hw::new(self.step("stride_h", conv2d::STRIDE_H)?, self.step("stride_w", conv2d::STRIDE_W)?))
    }

    fn activation(&self, field: Field<i8>) -> Result<Activation, Rule> {
        match self.get(field)? {
            0 => Ok(Activation::None),
            1 => Ok(Activation::Relu),
            2 => Ok(Activation::ReluN1To1),
            3 => Ok(Activation::Relu6),
            other => Err(Rule::Attribute { name: "fused_activation_function", value: i64::from(other) }),
        }
    }

    /// The padding rule as numbers, for a window that is `kernel` dilated.
    fn padding(&self, kernel: Hw, stride: Hw, dilation: Hw) -> Result<Padding, Rule> {
        let [_, h, w, _] = self.nhwc(0, "input")?;
        let window = Hw::new(dilated(kernel.h, dilation.h), dilated(kernel.w, dilation.w));
        match self.get(conv2d::PADDING)? {
            padding::SAME => Ok(Padding::same(Hw::new(h, w), window, stride)),
            padding::VALID => Ok(Padding::NONE),
            other => Err(Rule::Attribute { name: "padding", value: i64::from(other) }),
        }
    }

    /// The constant in `slot`, a short list of int32 or int64; `None` if there is no such input.
    fn constant(&self, slot: usize, what: &'static str) -> Result<Option<Vec<i64>>, Rule> {
        self.integers(slot, what, MAX_ATTRIBUTE)
    }

    /// As [`constant`](Self::constant), with at most so many elements.
    fn integers(&self, slot: usize, what: &'static str, most: usize) -> Result<Option<Vec<i64>>, Rule> {
        let Some((index, tensor)) = self.slot(slot) else { return Ok(None) };
        let data = tensor.data.as_ref().ok_or(Rule::NotConstant { what, index })?;
        let wrong = || Rule::AttributeTensor { what, index, element: tensor.element, shape: tensor.shape.clone() };
        let legal = matches!(tensor.element, ElementType::I32 | ElementType::I64);
        if !legal || tensor.shape.elements() > most {
            return Err(wrong());
        }
        data.integers(tensor.element).map(Some).ok_or_else(wrong)
    }

    /// As [`constant`](Self::constant), for an input that must be there.
    fn required(&self, slot: usize, what: &'static str) -> Result<Vec<i64>, Rule> {
        let (least, most) = (slot + 1, slot + 1);
        self.constant(slot, what)?.ok_or(Rule::InputCount { found: self.inputs.len(), least, most })
    }
}

fn convolution(call: &Call<'_>) -> Result<Op, Rule> {
    let [_, _, _, channels] = call.nhwc(0, "input")?;
    let [_, h, w, depth] = call.nhwc(1, "weights")?;
    let stride = call.stride()?;
    let dilation = Hw::new(
        call.step("dilation_h_factor", conv2d::DILATION_H)?,
        call.step("dilation_w_factor", conv2d::DILATION_W)?,
    );
    Ok(Op::Conv2d(Conv2d {
        stride,
        dilation,
        padding: call.padding(Hw::new(h, w), stride, dilation)?,
        groups: channels / depth.max(1),
        activation: call.activation(conv2d::ACTIVATION)?,
    }))
}

/// Inputs: the output's shape, weights, activation, bias. The padding is that of the convolution whose input the output is.
fn transposed_convolution(call: &Call<'_>) -> Result<Op, Rule> {
    let shape = call.required(0, "output shape")?;
    let &[_, rows, columns, _] = shape.as_slice() else {
        return Err(Rule::Attribute { name: "output_shape", value: i64::try_from(shape.len()).unwrap_or(i64::MAX) });
    };
    let output = Hw::new(extent("output_shape", rows)?, extent("output_shape", columns)?);
    let [_, h, w, depth] = call.nhwc(1, "weights")?;
    let [_, _, _, channels] = call.nhwc(2, "input")?;
    let stride = call.stride()?;
    let crop = match call.get(conv2d::PADDING)? {
        padding::SAME => Padding::same(output, Hw::new(h, w), stride),
        padding::VALID => Padding::NONE,
        other => return Err(Rule::Attribute { name: "padding", value: i64::from(other) }),
    };
    Ok(Op::TransposeConv2d(TransposeConv2d {
        stride,
        dilation: Hw::ONE,
        crop: Hw::new(crop.top, crop.left),
        output,
        groups: channels / depth.max(1),
        activation: call.activation(conv2d::ACTIVATION)?,
    }))
}

fn arg_extremum(call: &Call<'_>) -> Result<ArgExtremum, Rule> {
    let axes = call.required(1, "axis")?;
    let &[axis] = axes.as_slice() else {
        return Err(Rule::Attribute { name: "axis", value: i64::try_from(axes.len()).unwrap_or(i64::MAX) });
    };
    Ok(ArgExtremum { axis: self::axis("axis", axis, call.input()?.shape.rank())?, keep_dims: false })
}

fn depthwise_convolution(call: &Call<'_>) -> Result<Op, Rule> {
    let [_, _, _, channels] = call.nhwc(0, "input")?;
    let [_, h, w, outputs] = call.nhwc(1, "weights")?;
    let multiplier = outputs / channels.max(1);
    let stated = call.get(depthwise::MULTIPLIER)?;
    if stated != 0 && usize::try_from(stated) != Ok(multiplier) {
        return Err(Rule::Attribute { name: "depth_multiplier", value: i64::from(stated) });
    }
    let stride = call.stride()?;
    let dilation = Hw::new(
        call.step("dilation_h_factor", depthwise::DILATION_H)?,
        call.step("dilation_w_factor", depthwise::DILATION_W)?,
    );
    Ok(Op::DepthwiseConv2d(DepthwiseConv2d {
        stride,
        dilation,
        padding: call.padding(Hw::new(h, w), stride, dilation)?,
        multiplier,
        activation: call.activation(depthwise::ACTIVATION)?,
    }))
}

fn dense(call: &Call<'_>) -> Result<Op, Rule> {
    let format = call.get(fully_connected::WEIGHTS_FORMAT)?;
    if format != 0 {
        return Err(Rule::Attribute { name: "weights_format", value: i64::from(format) });
    }
    Ok(Op::FullyConnected(FullyConnected {
        activation: call.activation(fully_connected::ACTIVATION)?,
        keep_num_dims: call.get(fully_connected::KEEP_NUM_DIMS)?,
    }))
}

fn max_pool(call: &Call<'_>) -> Result<Op, Rule> {
    pool(call).map(Op::MaxPool2d)
}

fn average_pool(call: &Call<'_>) -> Result<Op, Rule> {
    pool(call).map(Op::AveragePool2d)
}

fn pool(call: &Call<'_>) -> Result<Pool2d, Rule> {
    let window = Hw::new(call.step("filter_height", pool2d::WINDOW_H)?, call.step("filter_width", pool2d::WINDOW_W)?);
    let stride = call.stride()?;
    let padding = call.padding(window, stride, Hw::ONE)?;
    Ok(Pool2d { window, stride, padding, activation: call.activation(pool2d::ACTIVATION)? })
}

fn add(call: &Call<'_>) -> Result<Op, Rule> {
    Ok(Op::Add { activation: call.activation(single::ADD_ACTIVATION)? })
}

/// `SUB` and `MUL` have their activation where `ADD` has it.
fn sub(call: &Call<'_>) -> Result<Op, Rule> {
    Ok(Op::Sub { activation: call.activation(single::ADD_ACTIVATION)? })
}

fn mul(call: &Call<'_>) -> Result<Op, Rule> {
    Ok(Op::Mul { activation: call.activation(single::ADD_ACTIVATION)? })
}

fn leaky_relu(call: &Call<'_>) -> Result<Op, Rule> {
    let alpha = call.get(single::LEAKY_RELU_ALPHA)?;
    if !alpha.is_finite() {
        return Err(Rule::FloatAttribute { name: "alpha", value: alpha });
    }
    Ok(Op::LeakyRelu { alpha })
}

fn gelu(call: &Call<'_>) -> Result<Op, Rule> {
    Ok(Op::Gelu { approximate: call.get(single::GELU_APPROXIMATE)? })
}

fn softmax(call: &Call<'_>) -> Result<Op, Rule> {
    let beta = call.get(single::SOFTMAX_BETA)?;
    if !beta.is_finite() {
        return Err(Rule::FloatAttribute { name: "beta", value: beta });
    }
    Ok(Op::Softmax { beta })
}

fn mean(call: &Call<'_>) -> Result<Op, Rule> {
    reduction(call).map(Op::Mean)
}

/// The axes of `MEAN`, `SUM` and the like.
fn reduction(call: &Call<'_>) -> Result<Mean, Rule> {
    let rank = call.input()?.shape.rank();
    let axes = call.required(1, "axes")?;
    let mut axes = axes.into_iter().map(|axis| self::axis("axis", axis, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(Mean { axes, keep_dims: call.get(single::REDUCE_KEEP_DIMS)? })
}

fn transpose(call: &Call<'_>) -> Result<Op, Rule> {
    let rank = call.input()?.shape.rank();
    let perm = call.required(1, "permutation")?;
    Ok(Op::Transpose { perm: perm.into_iter().map(|axis| self::axis("perm", axis, rank)).collect::<Result<_, _>>()? })
}

/// `PAD` and `PADV2`: the latter has the value as third input.
fn pad(call: &Call<'_>) -> Result<Op, Rule> {
    let amounts = call.required(1, "paddings")?;
    if let Some((index, tensor)) = call.slot(1)
        && tensor.shape.dims() != [call.input()?.shape.rank(), 2]
    {
        let (element, shape) = (tensor.element, tensor.shape.clone());
        return Err(Rule::AttributeTensor { what: "paddings", index, element, shape });
    }
    let amounts = amounts.into_iter().map(|value| extent("padding", value)).collect::<Result<Vec<_>, _>>()?;
    let value = call.slot(2).map_or(Ok(PadValue::Zero), |(index, tensor)| pad_value(index, tensor, call.input()?))?;
    let (pairs, _) = amounts.as_chunks::<2>();
    let (before, after) = pairs.iter().map(|&[before, after]| (before, after)).unzip();
    Ok(Op::Pad(Pad { before, after, value }))
}

/// The one element of a constant of the padded tensor's type.
fn pad_value(index: usize, tensor: &Tensor, padded: &Tensor) -> Result<PadValue, Rule> {
    let what = "padding value";
    let data = tensor.data.as_ref().ok_or(Rule::NotConstant { what, index })?;
    let wrong = || Rule::AttributeTensor { what, index, element: tensor.element, shape: tensor.shape.clone() };
    if tensor.element != padded.element || tensor.shape.elements() != 1 {
        return Err(wrong());
    }
    if tensor.element == ElementType::F32 {
        return f32::get_le(data.bytes()).map(PadValue::Float).ok_or_else(wrong);
    }
    let value = data.integers(tensor.element).and_then(|values| values.first().copied());
    value.map(PadValue::Integer).ok_or_else(wrong)
}

fn reshape(call: &Call<'_>) -> Result<Op, Rule> {
    let input = &call.input()?.shape;
    let wanted = match call.constant(1, "new shape")? {
        Some(shape) => shape,
        None => {
            call.list("new_shape", single::RESHAPE_SHAPE)?.ok_or(Rule::InputCount { found: 1, least: 2, most: 2 })?
        }
    };
    let known = wanted
        .iter()
        .filter(|&&dim| dim != -1)
        .try_fold(1_usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?));
    let free = known.filter(|&known| known != 0).map_or(0, |known| input.elements() / known);
    let dims = wanted.iter().map(|&dim| if dim == -1 { Ok(free) } else { extent("new_shape", dim) });
    let dims = dims.collect::<Result<Vec<_>, _>>()?;
    if wanted.iter().filter(|&&dim| dim == -1).count() > 1 {
        return Err(Rule::Attribute { name: "new_shape", value: -1 });
    }
    Ok(Op::Reshape { shape: Shape::new(dims)? })
}

/// Removes the listed axes of extent 1, all of them if none is listed.
fn squeeze(call: &Call<'_>) -> Result<Op, Rule> {
    let dims = call.input()?.shape.dims();
    let listed = call.list("squeeze_dims", single::SQUEEZE_DIMS)?.unwrap_or_default();
    let axes =
        listed.iter().map(|&axis| self::axis("squeeze_dims", axis, dims.len())).collect::<Result<Vec<_>, _>>()?;
    let goes = |axis: usize, dim: usize| if axes.is_empty() { dim == 1 } else { axes.contains(&axis) };
    let kept: Vec<usize> =
        dims.iter().enumerate().filter(|&(axis, &dim)| !goes(axis, dim)).map(|(_, &dim)| dim).collect();
    Ok(Op::Reshape { shape: Shape::new(kept)? })
}

/// Inserts an axis of extent 1.
fn expand_dims(call: &Call<'_>) -> Result<Op, Rule> {
    let mut dims = call.input()?.shape.dims().to_vec();
    let axes = call.required(1, "axis")?;
    let &[axis] = axes.as_slice() else {
        return Err(Rule::Attribute { name: "axis", value: i64::try_from(axes.len()).unwrap_or(i64::MAX) });
    };
    dims.insert(self::axis("axis", axis, dims.len() + 1)?, 1);
    Ok(Op::Reshape { shape: Shape::new(dims)? })
}

/// An axis below `rank`; negative ones count from the end.
fn axis(name: &'static str, value: i64, rank: usize) -> Result<usize, Rule> {
    let rule = Rule::Attribute { name, value };
    let from_front =
        if value < 0 { i64::try_from(rank).ok().and_then(|rank| value.checked_add(rank)) } else { Some(value) };
    let axis = from_front.and_then(|axis| usize::try_from(axis).ok());
    axis.filter(|&axis| axis < rank).ok_or(rule)
}

/// A number of elements.
fn extent(name: &'static str, value: i64) -> Result<usize, Rule> {
    usize::try_from(value).map_err(|_| Rule::Attribute { name, value })
}
