//! The operators that are read.
//!
//! Adding one: a row in [`OPERATORS`] with every attribute that its reader looks at, and the reader,
//! which adds nodes to the graph and gives the node's outputs. An attribute that is not in the row
//! is a problem of the model, so none is ever ignored.

mod boxes;
mod conv;
mod dense;
mod elementwise;
mod movement;
mod pool;
mod quantized;
mod recurrent;
mod reduce;
mod resize;
mod shapes;

use super::call::Call;
use crate::graph::TensorId;
use crate::problem::Rule;

/// Adds what a node computes; gives its outputs.
type Read = fn(&mut Call<'_>) -> Result<Vec<TensorId>, Rule>;

/// An operator that is read.
pub(super) struct Operator {
    pub(super) domain: &'static str,
    pub(super) name: &'static str,
    /// Least and greatest number of operands.
    pub(super) inputs: (usize, usize),
    /// The attributes that may be there.
    pub(super) attributes: &'static [&'static str],
    pub(super) read: Read,
}

const fn row(name: &'static str, inputs: (usize, usize), attributes: &'static [&'static str], read: Read) -> Operator {
    Operator { domain: "", name, inputs, attributes, read }
}

const fn microsoft(
    name: &'static str,
    inputs: (usize, usize),
    attributes: &'static [&'static str],
    read: Read,
) -> Operator {
    Operator { domain: "com.microsoft", name, inputs, attributes, read }
}

/// The operator of this domain and name.
pub(super) fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    let wanted =
        |operator: &&Operator| operator.name == name && super::import::same_domain(Some(domain), operator.domain);
    OPERATORS.iter().find(wanted)
}

/// Most operands of an operator that takes any number.
const ANY: usize = 1024;

const CONV: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
const REDUCE: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];

/// All operators that can be read, by name.
pub(super) const OPERATORS: &[Operator] = &[
    row("Abs", (1, 1), &[], shapes::abs),
    row("Add", (2, 2), &[], elementwise::add),
    row("And", (2, 2), &[], shapes::and),
    row("ArgMax", (1, 1), &["axis", "keepdims", "select_last_index"], reduce::arg_max),
    row("ArgMin", (1, 1), &["axis", "keepdims", "select_last_index"], reduce::arg_min),
    row(
        "AveragePool",
        (1, 1),
        &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        pool::average,
    ),
    row(
        "BatchNormalization",
        (5, 5),
        &["epsilon", "momentum", "spatial", "training_mode"],
        elementwise::batch_normalization,
    ),
    row("Cast", (1, 1), &["to", "saturate"], shapes::cast),
    row("Ceil", (1, 1), &[], shapes::ceil),
    row("Clip", (1, 3), &["min", "max"], elementwise::clip),
    row("Concat", (1, ANY), &["axis"], movement::concat),
    row("Constant", (0, 0), &["value", "value_float", "value_floats", "value_int", "value_ints"], shapes::constant),
    row("ConstantOfShape", (1, 1), &["value"], shapes::constant_of_shape),
    row("Conv", (2, 3), CONV, conv::conv),
    row(
        "ConvTranspose",
        (2, 3),
        &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"],
        conv::transposed,
    ),
    row("DepthToSpace", (1, 1), &["blocksize", "mode"], movement::depth_to_space),
    row("Div", (2, 2), &[], elementwise::div),
    row("DequantizeLinear", (2, 3), &["axis", "block_size", "output_dtype"], quantized::dequantize),
    row("Dropout", (1, 3), &["ratio", "seed"], movement::dropout),
    row("Equal", (2, 2), &[], shapes::equal),
    row("Exp", (1, 1), &[], elementwise::exp),
    row("Expand", (2, 2), &[], movement::expand),
    row("Flatten", (1, 1), &["axis"], movement::flatten),
    row("Floor", (1, 1), &[], shapes::floor),
    row("Gather", (2, 2), &["axis"], movement::gather),
    row("Gemm", (2, 3), &["alpha", "beta", "transA", "transB"], dense::gemm),
    row("GlobalAveragePool", (1, 1), &[], reduce::global_average),
    row("GlobalMaxPool", (1, 1), &[], reduce::global_max),
    row("Greater", (2, 2), &[], shapes::greater),
    row("HardSigmoid", (1, 1), &["alpha", "beta"], elementwise::hard_sigmoid),
    row("HardSwish", (1, 1), &[], elementwise::hard_swish),
    row("Identity", (1, 1), &[], movement::identity),
    row("LSTM", (3, 8), &["direction", "hidden_size", "input_forget", "layout"], recurrent::lstm),
    row("LeakyRelu", (1, 1), &["alpha"], elementwise::leaky_relu),
    row("Less", (2, 2), &[], shapes::less),
    row("MatMul", (2, 2), &[], dense::mat_mul),
    row("Max", (1, ANY), &[], elementwise::max),
    row(
        "MaxPool",
        (1, 1),
        &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        pool::max,
    ),
    row("Mean", (1, ANY), &[], elementwise::mean),
    row("Min", (1, ANY), &[], elementwise::min),
    row("Mod", (2, 2), &["fmod"], shapes::modulo),
    row("Mul", (2, 2), &[], elementwise::mul),
    row("Neg", (1, 1), &[], elementwise::neg),
    row("NonMaxSuppression", (2, 5), &["center_point_box"], boxes::non_max_suppression),
    row("Not", (1, 1), &[], shapes::not),
    row("Or", (2, 2), &[], shapes::or),
    row("PRelu", (2, 2), &[], elementwise::prelu),
    row("Pad", (1, 4), &["mode", "pads", "value"], movement::pad),
    row("Pow", (2, 2), &[], elementwise::pow),
    row("QLinearConv", (8, 9), CONV, quantized::conv),
    row("QLinearMatMul", (8, 8), &[], quantized::mat_mul),
    row(
        "QuantizeLinear",
        (2, 3),
        &["axis", "block_size", "output_dtype", "precision", "saturate"],
        quantized::quantize,
    ),
    row("Range", (3, 3), &[], shapes::range),
    row("Reciprocal", (1, 1), &[], elementwise::reciprocal),
    row("ReduceL2", (1, 2), REDUCE, reduce::l2),
    row("ReduceMax", (1, 2), REDUCE, reduce::max),
    row("ReduceMean", (1, 2), REDUCE, reduce::mean),
    row("ReduceMin", (1, 2), REDUCE, reduce::min),
    row("ReduceProd", (1, 2), REDUCE, shapes::product),
    row("ReduceSum", (1, 2), REDUCE, reduce::sum),
    row("ReduceSumSquare", (1, 2), REDUCE, reduce::sum_of_squares),
    row("Relu", (1, 1), &[], elementwise::relu),
    row("Reshape", (2, 2), &["allowzero"], movement::reshape),
    row(
        "Resize",
        (2, 4),
        &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        resize::resize,
    ),
    row("Shape", (1, 1), &["start", "end"], shapes::shape),
    row("Sigmoid", (1, 1), &[], elementwise::sigmoid),
    row("Size", (1, 1), &[], shapes::size),
    row("Slice", (1, 5), &["axes", "ends", "starts"], movement::slice),
    row("Softmax", (1, 1), &["axis"], elementwise::softmax),
    row("SpaceToDepth", (1, 1), &["blocksize", "mode"], movement::space_to_depth),
    row("Split", (1, 2), &["axis", "num_outputs", "split"], movement::split),
    row("Sqrt", (1, 1), &[], elementwise::sqrt),
    row("Squeeze", (1, 2), &["axes"], movement::squeeze),
    row("Sub", (2, 2), &[], elementwise::sub),
    row("Sum", (1, ANY), &[], elementwise::sum),
    row("Tanh", (1, 1), &[], elementwise::tanh),
    row("Tile", (2, 2), &[], movement::tile),
    row("Transpose", (1, 1), &["perm"], movement::transpose),
    row("Unsqueeze", (1, 2), &["axes"], movement::unsqueeze),
    row("Upsample", (1, 2), &["mode", "scales"], resize::upsample),
    row("Where", (3, 3), &[], shapes::select),
    microsoft("QGemm", (6, 9), &["alpha", "transA", "transB"], quantized::gemm),
    microsoft("QLinearAdd", (7, 8), &[], quantized::add),
    microsoft(
        "QLinearAveragePool",
        (4, 5),
        &["auto_pad", "ceil_mode", "channels_last", "count_include_pad", "kernel_shape", "pads", "strides"],
        quantized::average_pool,
    ),
    microsoft("QLinearConcat", (5, ANY), &["axis"], quantized::concat),
    microsoft("QLinearGlobalAveragePool", (4, 5), &["channels_last"], quantized::global_average_pool),
    microsoft("QLinearLeakyRelu", (4, 5), &["alpha"], quantized::leaky_relu),
    microsoft("QLinearMul", (7, 8), &[], quantized::mul),
    microsoft("QLinearSigmoid", (4, 5), &[], quantized::sigmoid),
    microsoft("QLinearSoftmax", (4, 5), &["axis", "opset"], quantized::softmax),
];
