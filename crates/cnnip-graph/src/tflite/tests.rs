//! What the importer says of models that are damaged on purpose.

use std::collections::HashSet;
use std::mem::discriminant;

use proptest::prelude::*;

use super::export::model_tables;
use super::import_tflite;
use super::operators::in_slots;
use super::schema::{
    IDENTIFIER, buffer, conv2d, depthwise, fully_connected, model, operator, operator_code, quantization, single,
    subgraph, tensor,
};
use crate::flatbuffer::{Field, Scalar, SubTables, TableBuilder, root};
use crate::op::{
    Activation, ArgExtremum, Blocks, Conv2d, DepthwiseConv2d, FullyConnected, Gather, Grid, Hw, Lstm, Mean, Op, Pad,
    PadValue, Padding, Pool2d, ResizeBilinear, ResizeNearest, Slice, TransposeConv2d,
};
use crate::problem::{Place, Problem, Problems, Rule};
use crate::tensor::{ElementType, Quantization, Shape, Tensor};
use crate::{Graph, GraphBuilder, TensorId};

/// Nodes of [`sample`], by the order in which it adds them.
mod node {
    pub(super) const CONV: usize = 0;
    pub(super) const DEPTHWISE: usize = 1;
    pub(super) const POOL: usize = 2;
    pub(super) const PAD: usize = 3;
    pub(super) const PAD_VALUE: usize = 4;
    pub(super) const TRANSPOSE: usize = 6;
    pub(super) const MEAN: usize = 8;
    pub(super) const RESHAPE: usize = 9;
    pub(super) const DENSE: usize = 10;
    pub(super) const SOFTMAX: usize = 11;
}

/// Tensors of [`sample`].
const IMAGE: usize = 0;
const CONV_WEIGHTS: usize = 1;
const CONV_BIAS: usize = 2;
const CONV_OUT: usize = 3;

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

fn weights(build: &mut GraphBuilder, name: &str, dims: &[usize], axis: usize) -> TensorId {
    let bytes = (0_u8..251).cycle().take(dims.iter().product()).collect::<Vec<_>>();
    let scales = vec![0.25; dims[axis]];
    let tensor = Tensor::new(name, shape(dims), ElementType::I8).constant(bytes);
    build.tensor(tensor.quantized(Quantization::symmetric_per_channel(axis, scales)))
}

fn bias(build: &mut GraphBuilder, name: &str, channels: usize) -> TensorId {
    let tensor = Tensor::new(name, shape(&[channels]), ElementType::I32).constant(vec![0; 4 * channels]);
    build.tensor(tensor.quantized(Quantization::symmetric_per_channel(0, vec![0.125; channels])))
}

/// A network with every operator.
fn sample() -> Graph {
    let mut build = GraphBuilder::new("sample");
    let image = Tensor::new("image", shape(&[1, 8, 9, 3]), ElementType::I8);
    let image = build.input(image.quantized(Quantization::per_tensor(0.5, -3)));
    let (w, b) = (weights(&mut build, "conv/w", &[4, 3, 3, 3], 0), bias(&mut build, "conv/b", 4));
    let (stride, dilation) = (Hw::new(1, 2), Hw::new(1, 1));
    let padding = Padding::same(Hw::new(8, 9), Hw::new(3, 3), stride);
    let conv = Conv2d { stride, dilation, padding, groups: 1, activation: Activation::Relu6 };
    let x = build.apply("conv", Op::Conv2d(conv), &[image, w, b]);
    let w = weights(&mut build, "depthwise/w", &[1, 2, 2, 8], 3);
    let depthwise = DepthwiseConv2d {
        stride: Hw::ONE,
        dilation: Hw::new(2, 1),
        padding: Padding::NONE,
        multiplier: 2,
        activation: Activation::Relu,
    };
    let x = build.apply("depthwise", Op::DepthwiseConv2d(depthwise), &[x, w]);
    let window = Hw::new(2, 1);
    let pool = |activation| Pool2d { window, stride: window, padding: Padding::NONE, activation };
    let x = build.apply("max", Op::MaxPool2d(pool(Activation::None)), &[x]);
    let amounts = (vec![0, 1, 0, 0], vec![0, 0, 2, 0]);
    let x = build.apply(
        "pad",
        Op::Pad(Pad { before: amounts.0.clone(), after: amounts.1.clone(), value: PadValue::Zero }),
        &[x],
    );
    let value = PadValue::Integer(-7);
    let x = build.apply("pad_value", Op::Pad(Pad { before: amounts.0, after: amounts.1, value }), &[x]);
    let x = build.apply("average", Op::AveragePool2d(pool(Activation::ReluN1To1)), &[x]);
    let x = build.apply("transpose", Op::Transpose { perm: vec![0, 2, 1, 3] }, &[x]);
    let x = build.apply("sum", Op::Add { activation: Activation::None }, &[x, x]);
    let x = build.apply("mean", Op::Mean(Mean { axes: vec![1], keep_dims: false }), &[x]);
    let flat = build[x].shape.elements();
    let x = build.apply("flat", Op::Reshape { shape: shape(&[1, flat]) }, &[x]);
    let w = weights(&mut build, "dense/w", &[5, flat], 0);
    let x = build.apply(
        "dense",
        Op::FullyConnected(FullyConnected { activation: Activation::None, keep_num_dims: true }),
        &[x, w],
    );
    let x = build.apply("softmax", Op::Softmax { beta: 1.0 }, &[x]);
    let x = build.apply("relu", Op::Relu, &[x]);
    let x = build.apply("relu6", Op::Relu6, &[x]);
    let x = build.apply("relu_n1", Op::ReluN1To1, &[x]);
    let x = build.apply("difference", Op::Sub { activation: Activation::Relu }, &[x, x]);
    let x = build.apply("product", Op::Mul { activation: Activation::Relu6 }, &[x, x]);
    let x = build.apply("joined", Op::Concat { axis: 1 }, &[x, x, x]);
    let part = Slice { begin: vec![0, 2], stride: vec![1, 2], count: vec![1, 6], dropped: vec![] };
    let x = build.apply("part", Op::Slice(part), &[x]);
    let first = Slice { begin: vec![0, 0], stride: vec![1, 1], count: vec![1, 6], dropped: vec![0] };
    let x = build.apply("first", Op::Slice(first), &[x]);
    let x = build.apply("packed", Op::Pack { axis: 1 }, &[x, x, x, x]);
    let picked = Gather { axis: 0, indices: vec![5, 0, 5, 2], shape: shape(&[2, 2]) };
    let x = build.apply("picked", Op::Gather(picked), &[x]);
    let x = build.apply("wide", Op::Reshape { shape: shape(&[1, 2, 2, 4]) }, &[x]);
    let x = build.apply("spread", Op::DepthToSpace { block: 2 }, &[x]);
    let x = build.apply("gathered", Op::SpaceToDepth { block: 4 }, &[x]);
    let blocks = Blocks { block: vec![2, 1], before: vec![1, 0], after: vec![0, 1] };
    let x = build.apply("batches", Op::SpaceToBatch(blocks.clone()), &[x]);
    let x = build.apply("unbatched", Op::BatchToSpace(blocks), &[x]);
    let x = build.apply("largest", Op::ReduceMax(Mean { axes: vec![1], keep_dims: true }), &[x]);
    let x = build.apply("smallest", Op::ReduceMin(Mean { axes: vec![1], keep_dims: false }), &[x]);
    let x = build.apply("total", Op::Sum(Mean { axes: vec![1], keep_dims: false }), &[x]);
    let x = build.apply("larger", Op::Maximum, &[x, x]);
    let x = build.apply("smaller", Op::Minimum, &[x, x]);
    let x = build.apply("prelu", Op::Prelu, &[x, x]);
    let x = build.apply("leaky", Op::LeakyRelu { alpha: 0.25 }, &[x]);
    let x = build.apply("swish", Op::HardSwish, &[x]);
    let x = build.apply("logistic", Op::Logistic, &[x]);
    let x = build.apply("tanh", Op::Tanh, &[x]);
    let x = build.apply("abs", Op::Abs, &[x]);
    let x = build.apply("neg", Op::Neg, &[x]);
    let x = build.apply("exp", Op::Exp, &[x]);
    let x = build.apply("log", Op::Log, &[x]);
    let x = build.apply("rsqrt", Op::Rsqrt, &[x]);
    let x = build.apply("elu", Op::Elu, &[x]);
    let x = build.apply("gelu", Op::Gelu { approximate: true }, &[x]);
    let x = build.apply("squared", Op::SquaredDifference, &[x, x]);
    let x = build.apply_as("rescaled", Op::Quantize, &[x], ElementType::U8, Some(Quantization::per_tensor(0.25, 200)));
    let x = build.apply_as("real", Op::Dequantize, &[x], ElementType::F32, None);
    build.output(x);
    build.finish().unwrap()
}

/// What follows the sample's operators: those whose output has a size of its own.
fn resized() -> Graph {
    let mut build = GraphBuilder::new("resized");
    let image = Tensor::new("image", shape(&[1, 5, 6, 4]), ElementType::I8);
    let x = build.input(image.quantized(Quantization::per_tensor(0.5, -3)));
    let nearest = ResizeNearest { rows: vec![0, 1, 3], columns: vec![0, 0, 1, 2, 3, 3, 4, 5] };
    let x = build.apply("nearest", Op::ResizeNearest(nearest), &[x]);
    let bilinear = ResizeBilinear { output: Hw::new(4, 3), grid: Grid::AlignCorners };
    let x = build.apply("bilinear", Op::ResizeBilinear(bilinear), &[x]);
    let transposed = |stride, crop, output| {
        let (dilation, activation) = (Hw::ONE, Activation::Relu);
        Op::TransposeConv2d(TransposeConv2d { stride, dilation, crop, output, groups: 1, activation })
    };
    let w = weights(&mut build, "same/w", &[6, 3, 3, 4], 0);
    let b = bias(&mut build, "same/b", 6);
    let x = build.apply("same", transposed(Hw::new(2, 1), Hw::new(0, 1), Hw::new(8, 3)), &[x, w, b]);
    let w = weights(&mut build, "valid/w", &[2, 2, 3, 6], 0);
    let x = build.apply("valid", transposed(Hw::new(1, 2), Hw::new(0, 0), Hw::new(9, 7)), &[x, w]);
    let index = Op::ArgMax(ArgExtremum { axis: 3, keep_dims: false });
    let y = build.apply_as("index", index, &[x], ElementType::I64, None);
    let index = Op::ArgMin(ArgExtremum { axis: 1, keep_dims: false });
    let z = build.apply_as("row", index, &[x], ElementType::I32, None);
    build.output(y);
    build.output(z);
    build.finish().unwrap()
}

/// A recurrent layer, whose states are no tensors of the graph.
fn recurrent() -> Graph {
    let mut build = GraphBuilder::new("recurrent");
    let sequence = Tensor::new("sequence", shape(&[2, 5, 3]), ElementType::I8);
    let mut inputs = vec![build.input(sequence.quantized(Quantization::per_tensor(0.5, -3)))];
    for (what, depth) in [("weights", 3), ("recurrent", 4)] {
        inputs.extend((0..4).map(|gate| {
            let tensor = Tensor::new(format!("{what}{gate}"), shape(&[4, depth]), ElementType::I8);
            let tensor = tensor.quantized(Quantization::per_tensor(0.25, 0));
            build.tensor(tensor.constant(vec![gate; 4 * depth]))
        }));
    }
    inputs.extend((0..4).map(|gate| bias(&mut build, &format!("bias{gate}"), 4)));
    let lstm = Lstm { time_major: true, cell_scale: Some(1.0 / 2048.0), cell_clip: 2.5 };
    let quantization = Some(Quantization::per_tensor(1.0 / 128.0, 1));
    let x = build.apply_as("lstm", Op::Lstm(lstm), &inputs, ElementType::I8, quantization);
    build.output(x);
    build.finish().unwrap()
}

/// The sample's model, to be damaged.
struct Model(TableBuilder);

impl Model {
    fn new() -> Self {
        Self(model_tables(&sample()).unwrap())
    }

    fn graph(&mut self) -> &mut TableBuilder {
        &mut self.0.tables_mut(model::SUBGRAPHS)[0]
    }

    fn tensor(&mut self, index: usize) -> &mut TableBuilder {
        &mut self.graph().tables_mut(subgraph::TENSORS)[index]
    }

    fn quantization(&mut self, index: usize) -> &mut TableBuilder {
        self.tensor(index).table_mut(tensor::QUANTIZATION.number())
    }

    fn operator(&mut self, index: usize) -> &mut TableBuilder {
        &mut self.graph().tables_mut(subgraph::OPERATORS)[index]
    }

    fn options(&mut self, index: usize) -> &mut TableBuilder {
        self.operator(index).table_mut(operator::OPTIONS.number() + 1)
    }

    /// The index of the constant that holds an attribute.
    fn attribute(&self, name: &str) -> usize {
        self.read().tensor_named(name).unwrap().index()
    }

    /// Changes the constant that holds an attribute. Buffers stand in the order of their tensors.
    fn set_attribute(&mut self, name: &str, values: &[i32]) {
        let before = &self.read().tensors[..self.attribute(name)];
        let buffer = 1 + before.iter().filter(|tensor| tensor.is_constant()).count();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.0.tables_mut(model::BUFFERS)[buffer].set_list(buffer::DATA, &bytes);
    }

    /// The graph, while nothing is damaged.
    fn read(&self) -> Graph {
        import_tflite(&self.file()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn file(&self) -> Vec<u8> {
        self.0.finish(IDENTIFIER)
    }
}

/// Entries of one of the sample's tables.
fn entries(field: Field<SubTables>) -> usize {
    Model::new().0.tables_mut(field).len()
}

/// The problems of the sample after `damage`.
fn problems(damage: impl FnOnce(&mut Model)) -> Problems {
    let mut model = Model::new();
    damage(&mut model);
    import_tflite(&model.file()).expect_err("the damage should be found")
}

#[test]
fn writing_and_reading_every_operator_gives_the_same_graph() {
    for graph in [sample(), resized(), recurrent()] {
        let mut again =
            import_tflite(&super::export_tflite(&graph).unwrap()).unwrap_or_else(|problems| panic!("{problems}"));
        again.tensors.truncate(graph.tensors.len());
        assert_eq!(again, graph);
    }
}

#[test]
fn padding_that_the_format_lacks_is_not_written() {
    let mut graph = sample();
    let Op::Conv2d(conv) = &mut graph.nodes[node::CONV].op else { panic!("the first node is the convolution") };
    std::mem::swap(&mut conv.padding.top, &mut conv.padding.bottom);
    conv.padding.top += 1;
    conv.padding.bottom -= 1;
    let error = super::export_tflite(&graph).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node conv: padding top 2, bottom 0, left 1, right 1 is neither `SAME` nor `VALID`; put a pad node before it"
    );
}

/// One kind of damage and what must be said of it, among whatever else it breaks.
struct Case {
    why: &'static str,
    damage: fn(&mut Model),
    place: Place,
    rule: Rule,
}

fn at_tensor(index: usize) -> Place {
    Place::tensor(index, &sample().tensors[index].name)
}

fn at_node(index: usize, operator: &str) -> Place {
    Place::node(index, &sample().nodes[index].name, operator)
}

fn case(why: &'static str, place: Place, rule: Rule, damage: fn(&mut Model)) -> Case {
    Case { why, damage, place, rule }
}

fn model_cases() -> Vec<Case> {
    let place = || Place::Model;
    let count = Model::new().read().tensors.len();
    vec![
        case("version", place(), Rule::Version { found: 2 }, |m| m.0.set(model::VERSION, 2)),
        case("no subgraph", place(), Rule::Subgraphs { found: 0 }, |m| m.0.tables_mut(model::SUBGRAPHS).clear()),
        case("two subgraphs", place(), Rule::Subgraphs { found: 2 }, |m| {
            m.0.tables_mut(model::SUBGRAPHS).push(TableBuilder::new());
        }),
        case("no inputs", place(), Rule::NoInputs, |m| m.graph().set_list(subgraph::INPUTS, &[])),
        case("no outputs", place(), Rule::NoOutputs, |m| m.graph().remove(subgraph::OUTPUTS)),
        case("input out of range", place(), Rule::TensorIndex { index: -1, count }, |m| {
            m.graph().set_list(subgraph::INPUTS, &[0, -1]);
        }),
        case("constant as input", place(), Rule::InputIsConstant { index: CONV_BIAS }, |m| {
            m.graph().set_list(subgraph::INPUTS, &[0, 2]);
        }),
        case("input twice", place(), Rule::RepeatedInput { index: IMAGE }, |m| {
            m.graph().set_list(subgraph::INPUTS, &[0, 0]);
        }),
        case("output that nothing produces", place(), Rule::NeverProduced { index: CONV_OUT }, |m| {
            m.graph().set_list(subgraph::OUTPUTS, &[3]);
            m.operator(node::CONV).set_list(operator::OUTPUTS, &[4]);
        }),
    ]
}

fn tensor_cases() -> Vec<Case> {
    let image = || at_tensor(IMAGE);
    vec![
        case("string tensor", image(), Rule::ElementType { code: 5 }, |m| m.tensor(IMAGE).set(tensor::TYPE, 5)),
        case("free extent", image(), Rule::Dimension { axis: 1, value: -1 }, |m| {
            m.tensor(IMAGE).set_list(tensor::SHAPE, &[1, -1, 9, 3]);
        }),
        case("empty activation", image(), Rule::Dimension { axis: 2, value: 0 }, |m| {
            m.tensor(IMAGE).set_list(tensor::SHAPE, &[1, 8, 0, 3]);
        }),
        case("too many dimensions", image(), Rule::Shape(crate::ShapeError::Rank { found: 9 }), |m| {
            m.tensor(IMAGE).set_list(tensor::SHAPE, &[1; 9]);
        }),
        case(
            "extents whose product overflows",
            image(),
            Rule::Shape(crate::ShapeError::Elements { dims: vec![0x7fff_ffff; 4] }),
            |m| m.tensor(IMAGE).set_list(tensor::SHAPE, &[i32::MAX; 4]),
        ),
        case(
            "buffer out of range",
            at_tensor(CONV_BIAS),
            Rule::BufferIndex { index: 99, count: entries(model::BUFFERS) },
            |m| {
                m.tensor(CONV_BIAS).set(tensor::BUFFER, 99);
            },
        ),
        case("data behind the model", at_tensor(CONV_WEIGHTS), Rule::ExternalData, |m| {
            let buffer = &mut m.0.tables_mut(model::BUFFERS)[1];
            buffer.set(buffer::OFFSET, 4096);
            buffer.set(buffer::SIZE, 108);
        }),
        case("data in another file", image(), Rule::ExternalData, |m| m.tensor(IMAGE).set(tensor::EXTERNAL_BUFFER, 1)),
        case("short data", at_tensor(CONV_WEIGHTS), Rule::DataSize { want: 108, found: 107 }, |m| {
            m.0.tables_mut(model::BUFFERS)[1].set_list(buffer::DATA, &[0; 107]);
        }),
        case("long data", at_tensor(CONV_WEIGHTS), Rule::DataSize { want: 108, found: 109 }, |m| {
            m.0.tables_mut(model::BUFFERS)[1].set_list(buffer::DATA, &[0; 109]);
        }),
        case("variable tensor", image(), Rule::Variable, |m| m.tensor(IMAGE).set(tensor::IS_VARIABLE, true)),
        case("sparse tensor", at_tensor(CONV_WEIGHTS), Rule::Sparse, |m| {
            *m.tensor(CONV_WEIGHTS) =
                std::mem::take(m.tensor(CONV_WEIGHTS)).with_table(tensor::SPARSITY, TableBuilder::new());
        }),
    ]
}

fn quantization_cases() -> Vec<Case> {
    let image = || at_tensor(IMAGE);
    let weights = || at_tensor(CONV_WEIGHTS);
    vec![
        case("blockwise quantization", image(), Rule::QuantizationDetails { kind: 2 }, |m| {
            let table = std::mem::take(m.quantization(IMAGE));
            *m.quantization(IMAGE) = table.with_union(quantization::DETAILS, 2, TableBuilder::new());
        }),
        case("scale of zero", image(), Rule::Scale { channel: 0, value: 0.0 }, |m| {
            m.quantization(IMAGE).set_list(quantization::SCALE, &[0.0]);
        }),
        case("infinite scale", weights(), Rule::Scale { channel: 2, value: f32::INFINITY }, |m| {
            m.quantization(CONV_WEIGHTS).set_list(quantization::SCALE, &[1.0, 1.0, f32::INFINITY, 1.0]);
        }),
        case("negative scale", weights(), Rule::Scale { channel: 3, value: -1.0 }, |m| {
            m.quantization(CONV_WEIGHTS).set_list(quantization::SCALE, &[1.0, 1.0, 1.0, -1.0]);
        }),
        case("zero point", image(), Rule::ZeroPoint { channel: 0, value: 128, element: ElementType::I8 }, |m| {
            m.quantization(IMAGE).set_list(quantization::ZERO_POINT, &[128]);
        }),
        case("too few zero points", weights(), Rule::ZeroPointCount { scales: 4, zero_points: 2 }, |m| {
            m.quantization(CONV_WEIGHTS).set_list(quantization::ZERO_POINT, &[0, 0]);
        }),
        case("axis out of range", weights(), Rule::ChannelAxis { axis: 4, rank: 4 }, |m| {
            m.quantization(CONV_WEIGHTS).set(quantization::DIMENSION, 4);
        }),
        case("negative axis", weights(), Rule::ChannelAxis { axis: -1, rank: 4 }, |m| {
            m.quantization(CONV_WEIGHTS).set(quantization::DIMENSION, -1);
        }),
        case("scales for other channels", weights(), Rule::ChannelCount { scales: 4, channels: 3, axis: 3 }, |m| {
            m.quantization(CONV_WEIGHTS).set(quantization::DIMENSION, 3);
        }),
        case("scales along inputs", at_node(node::CONV, "CONV_2D"), Rule::WeightAxis { want: 0, found: 3 }, |m| {
            let table = m.quantization(CONV_WEIGHTS);
            table.set(quantization::DIMENSION, 3);
            table.set_list(quantization::SCALE, &[1.0; 3]);
            table.set_list(quantization::ZERO_POINT, &[0; 3]);
        }),
    ]
}

fn node_cases() -> Vec<Case> {
    let conv = || at_node(node::CONV, "CONV_2D");
    let count = Model::new().read().tensors.len();
    vec![
        case(
            "unsupported operator",
            at_node(node::CONV, "SVDF"),
            Rule::UnsupportedOperator { name: "SVDF".into() },
            |m| {
                let code = &mut m.0.tables_mut(model::OPERATOR_CODES)[0];
                code.set(operator_code::SHORT_CODE, 27);
                code.set(operator_code::CODE, 27);
            },
        ),
        case(
            "custom operator",
            at_node(node::CONV, "CUSTOM detect"),
            Rule::UnsupportedOperator { name: "CUSTOM detect".into() },
            |m| {
                let code =
                    TableBuilder::new().with(operator_code::CODE, 32).with_text(operator_code::CUSTOM_NAME, "detect");
                m.0.tables_mut(model::OPERATOR_CODES)[0] = code;
            },
        ),
        case(
            "operator code",
            at_node(node::CONV, "?"),
            Rule::OperatorCode { index: 77, count: entries(model::OPERATOR_CODES) },
            |m| {
                m.operator(node::CONV).set(operator::CODE_INDEX, 77);
            },
        ),
        case("options of another operator", conv(), Rule::Options { want: 1, found: 9 }, |m| {
            let table = std::mem::take(m.operator(node::CONV));
            *m.operator(node::CONV) = table.with_union(operator::OPTIONS, 9, TableBuilder::new());
        }),
        case("missing options", conv(), Rule::Attribute { name: "stride_h", value: 0 }, |m| {
            m.operator(node::CONV).remove(operator::OPTIONS);
        }),
        case("missing weights", conv(), Rule::InputCount { found: 1, least: 2, most: 3 }, |m| {
            m.operator(node::CONV).set_list(operator::INPUTS, &[0, -1, -1]);
        }),
        case("tensor out of range", conv(), Rule::TensorIndex { index: 999, count }, |m| {
            m.operator(node::CONV).set_list(operator::INPUTS, &[0, 999]);
        }),
        case("two outputs", conv(), Rule::OutputCount { found: 2 }, |m| {
            m.operator(node::CONV).set_list(operator::OUTPUTS, &[3, 5]);
        }),
        case("used too early", conv(), Rule::UsedTooEarly { index: 5, producer: node::DEPTHWISE }, |m| {
            m.operator(node::CONV).set_list(operator::INPUTS, &[5, 1, 2]);
        }),
        case("reads what it writes", conv(), Rule::UsedTooEarly { index: CONV_OUT, producer: node::CONV }, |m| {
            m.operator(node::CONV).set_list(operator::INPUTS, &[3, 1, 2]);
        }),
        case(
            "writes a constant",
            Place::node(node::CONV, "conv/b", "CONV_2D"),
            Rule::Overwritten { index: CONV_BIAS, already: "a constant" },
            |m| {
                m.operator(node::CONV).set_list(operator::OUTPUTS, &[2]);
            },
        ),
        case(
            "writes an input",
            Place::node(node::CONV, "image", "CONV_2D"),
            Rule::Overwritten { index: IMAGE, already: "a graph input" },
            |m| {
                m.operator(node::CONV).set_list(operator::OUTPUTS, &[0]);
            },
        ),
        case(
            "shape of the output",
            conv(),
            Rule::OutputShape { want: shape(&[1, 8, 5, 4]), found: shape(&[1, 8, 5, 5]) },
            |m| {
                m.tensor(CONV_OUT).set_list(tensor::SHAPE, &[1, 8, 5, 5]);
            },
        ),
        case(
            "shapes that do not fit",
            conv(),
            Rule::Infer(crate::InferError::Channels { weights: shape(&[4, 3, 3, 3]), channels: 4, groups: 1 }),
            |m| m.tensor(IMAGE).set_list(tensor::SHAPE, &[1, 8, 9, 4]),
        ),
    ]
}

fn attribute_cases() -> Vec<Case> {
    let conv = || at_node(node::CONV, "CONV_2D");
    let attribute = |name, value| Rule::Attribute { name, value };
    vec![
        case("padding", conv(), attribute("padding", 2), |m| m.options(node::CONV).set(conv2d::PADDING, 2)),
        case("stride", conv(), attribute("stride_w", -1), |m| m.options(node::CONV).set(conv2d::STRIDE_W, -1)),
        case("dilation", conv(), attribute("dilation_h_factor", 0), |m| {
            m.options(node::CONV).set(conv2d::DILATION_H, 0)
        }),
        case("huge dilation", conv(), attribute("dilation_w_factor", 0x10000), |m| {
            m.options(node::CONV).set(conv2d::DILATION_W, 0x10000);
        }),
        case("activation", conv(), attribute("fused_activation_function", 4), |m| {
            m.options(node::CONV).set(conv2d::ACTIVATION, 4);
        }),
        case("multiplier", at_node(node::DEPTHWISE, "DEPTHWISE_CONV_2D"), attribute("depth_multiplier", 3), |m| {
            m.options(node::DEPTHWISE).set(depthwise::MULTIPLIER, 3);
        }),
        case("pool window", at_node(node::POOL, "MAX_POOL_2D"), attribute("filter_height", 0), |m| {
            m.options(node::POOL).remove(super::schema::pool2d::WINDOW_H);
        }),
        case("shuffled weights", at_node(node::DENSE, "FULLY_CONNECTED"), attribute("weights_format", 1), |m| {
            m.options(node::DENSE).set(fully_connected::WEIGHTS_FORMAT, 1);
        }),
        case(
            "beta",
            at_node(node::SOFTMAX, "SOFTMAX"),
            Rule::FloatAttribute { name: "beta", value: f32::INFINITY },
            |m| m.options(node::SOFTMAX).set(single::SOFTMAX_BETA, f32::INFINITY),
        ),
        case("negative padding", at_node(node::PAD, "PAD"), attribute("padding", -1), |m| {
            m.set_attribute("pad/paddings", &[0, 0, 1, 0, 0, -1, 0, 0]);
        }),
        case(
            "paddings of another shape",
            at_node(node::PAD, "PAD"),
            Rule::AttributeTensor {
                what: "paddings",
                index: Model::new().attribute("pad/paddings"),
                element: ElementType::I32,
                shape: shape(&[9]),
            },
            |m| {
                let index = m.attribute("pad/paddings");
                m.set_attribute("pad/paddings", &[0; 9]);
                m.tensor(index).set_list(tensor::SHAPE, &[9]);
            },
        ),
        case("mean over no axis of the input", at_node(node::MEAN, "MEAN"), attribute("axis", -5), |m| {
            m.set_attribute("mean/axes", &[-5]);
        }),
        case("not a permutation", at_node(node::TRANSPOSE, "TRANSPOSE"), attribute("perm", 4), |m| {
            m.set_attribute("transpose/perm", &[0, 1, 2, 4]);
        }),
        case("two free extents", at_node(node::RESHAPE, "RESHAPE"), attribute("new_shape", -1), |m| {
            m.set_attribute("flat/shape", &[-1, -1]);
        }),
        case(
            "axes from the network",
            at_node(node::MEAN, "MEAN"),
            Rule::NotConstant { what: "axes", index: IMAGE },
            |m| {
                m.operator(node::MEAN).set_list(operator::INPUTS, &[0, 0]);
            },
        ),
        case(
            "padding value of another type",
            at_node(node::PAD_VALUE, "PADV2"),
            Rule::AttributeTensor {
                what: "padding value",
                index: Model::new().attribute("pad_value/value"),
                element: ElementType::U8,
                shape: Shape::scalar(),
            },
            |m| {
                let index = m.attribute("pad_value/value");
                m.tensor(index).set(tensor::TYPE, 3);
                m.tensor(index).remove(tensor::QUANTIZATION);
            },
        ),
    ]
}

fn cases() -> Vec<Case> {
    [model_cases(), tensor_cases(), quantization_cases(), node_cases(), attribute_cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Every case says what it should, at the right place, and nothing panics.
#[test]
fn damage_is_named_with_its_place() {
    let mut wrong = Vec::new();
    for Case { why, damage, place, rule } in cases() {
        let problems = problems(damage);
        let want = Problem { place, rule };
        if !problems.list().contains(&want) {
            wrong.push(format!("{why}: wanted\n  {want}\ngot\n  {problems}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Rules that the table of cases cannot show have tests of their own, below.
#[test]
fn every_rule_has_a_test() {
    let mut tested: HashSet<_> = cases().iter().map(|case| discriminant(&case.rule)).collect();
    let below = [
        Rule::Identifier { found: String::new() },
        Rule::Corrupt { at: 0, what: "" },
        Rule::Size { limit: 0 },
        Rule::RepeatedName { other: 0 },
        Rule::OptionalInput { what: "", is_there: false },
        Rule::StateType { found: ElementType::I8 },
        Rule::StateZero { zero_point: 0 },
        Rule::HiddenState,
        Rule::CustomOptions, // beside the operator that has them
    ];
    // The tests of `onnx` show these.
    let name = String::new;
    let elsewhere = [
        Rule::Protobuf { why: name() },
        Rule::OperatorSet { domain: name(), found: 0, least: 0, newest: 0 },
        Rule::SymbolicDimension { axis: 0, name: name() },
        Rule::Undefined { name: name() },
        Rule::DefinedTwice { name: name() },
        Rule::UnknownAttribute { name: name() },
        Rule::TextAttribute { name: "", value: name() },
        Rule::OperandType { what: "", element: ElementType::I8 },
        Rule::OperandTypes { a: ElementType::I8, b: ElementType::I8 },
        Rule::OtherQuantization { scale: 0.0, found: 0.0 },
        Rule::NotFinite { name: name(), index: 0, value: 0.0 },
        Rule::ExternalFile { path: name(), why: name() },
    ];
    tested.extend(below.iter().chain(&elsewhere).map(discriminant));
    let source = include_str!("../problem.rs");
    let rules = source.split("pub enum Rule {").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
    assert_eq!(tested.len(), rules.matches("#[error(").count());
}

/// The states are the last tensors, the hidden one first.
#[test]
fn a_recurrent_layer_says_what_it_lacks() {
    fn state(m: &mut Model, from_end: usize) -> &mut TableBuilder {
        let index = m.graph().tables_mut(subgraph::TENSORS).len() - from_end;
        m.tensor(index)
    }
    fn quantized(m: &mut Model, from_end: usize) -> &mut TableBuilder {
        state(m, from_end).table_mut(tensor::QUANTIZATION.number())
    }
    type Damage = fn(&mut Model);
    let cases: [(Rule, Damage); 4] = [
        (Rule::OptionalInput { what: "peephole connections", is_there: true }, |m| {
            let mut inputs = in_slots(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15]);
            inputs[9] = 9;
            m.operator(0).set_list(operator::INPUTS, &inputs);
        }),
        (Rule::StateType { found: ElementType::I8 }, |m| state(m, 1).set(tensor::TYPE, 9)),
        (Rule::StateZero { zero_point: 5 }, |m| quantized(m, 1).set_list(quantization::ZERO_POINT, &[5_i64])),
        (Rule::HiddenState, |m| quantized(m, 2).set_list(quantization::SCALE, &[0.75_f32])),
    ];
    let place = Place::node(0, &recurrent().nodes[0].name, "UNIDIRECTIONAL_SEQUENCE_LSTM");
    for (rule, damage) in cases {
        let mut model = Model(model_tables(&recurrent()).unwrap());
        damage(&mut model);
        let problems = import_tflite(&model.file()).unwrap_err();
        assert!(problems.list().contains(&Problem { place: place.clone(), rule }), "{problems}");
    }
}

#[test]
fn a_scale_that_is_not_a_number_is_refused() {
    let problems = problems(|m| m.quantization(IMAGE).set_list(quantization::SCALE, &[f32::NAN]));
    assert_eq!(problems.to_string(), "tensor 0 (image): scale NaN of channel 0 (scales must be finite and above zero)");
}

#[test]
fn what_is_no_model_is_named() {
    let refused = |bytes: &[u8]| import_tflite(bytes).unwrap_err().list().to_vec();
    let identifier = |found: &str| Problem { place: Place::Model, rule: Rule::Identifier { found: found.into() } };
    assert_eq!(refused(b""), [identifier("")]);
    assert_eq!(refused(b"1234TFL"), [identifier("TFL")]);
    assert_eq!(refused(b"1234TFL2567"), [identifier("TFL2")]);
    let [Problem { rule: Rule::Corrupt { at: 0, what: "an offset inside the file" }, .. }] = refused(b"1234TFL3")[..]
    else {
        panic!("the root lies behind the end");
    };
}

#[test]
fn all_problems_are_told_at_once() {
    let problems = problems(|m| {
        let codes = m.0.tables_mut(model::OPERATOR_CODES);
        for (code, unknown) in codes.iter_mut().zip([2, 18, 41]) {
            code.set(operator_code::SHORT_CODE, unknown);
            code.set(operator_code::CODE, unknown.into());
        }
    });
    let places: Vec<String> = problems.list().iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(places, ["node 0, CONCATENATION (conv)", "node 1, MUL (depthwise)", "node 2, SUB (max)"]);
}

#[test]
fn a_problem_is_told_once_and_not_again_for_all_that_depends_on_it() {
    let problems = problems(|m| m.tensor(CONV_OUT).set(tensor::TYPE, 5));
    assert_eq!(problems.list().len(), 1, "{problems}");
}

#[test]
fn old_files_have_the_code_in_the_short_field_only() {
    let mut model = Model::new();
    for code in model.0.tables_mut(model::OPERATOR_CODES) {
        // Later operators need the long field.
        if code.bytes(operator_code::SHORT_CODE) != Some(&[127]) {
            code.remove(operator_code::CODE);
        }
    }
    assert_eq!(model.read(), Model::new().read());
}

#[test]
fn a_free_batch_is_accepted_where_the_shape_is_concrete() {
    let mut model = Model::new();
    model.tensor(IMAGE).set_list(tensor::SHAPE_SIGNATURE, &[-1, 8, 9, 3]);
    assert_eq!(model.read(), Model::new().read());
}

#[test]
fn dimensions_without_channels_are_ignored() {
    let mut model = Model::new();
    model.quantization(IMAGE).set(quantization::DIMENSION, 17);
    model.quantization(CONV_BIAS).set(quantization::DIMENSION, 3);
    assert_eq!(model.read(), Model::new().read());
}

#[test]
fn absent_zero_points_are_zero() {
    let mut model = Model::new();
    model.quantization(CONV_WEIGHTS).remove(quantization::ZERO_POINT);
    assert_eq!(model.read(), Model::new().read());
}

#[test]
fn names_become_unique() {
    let mut model = Model::new();
    for (index, name) in [(0, "conv"), (1, ""), (2, "conv_1")] {
        *model.tensor(index) = std::mem::take(model.tensor(index)).with_text(tensor::NAME, name);
    }
    let names: Vec<String> = model.read().tensors.into_iter().map(|tensor| tensor.name).take(4).collect();
    assert_eq!(names, ["conv", "tensor_1", "conv_1", "conv_2"]);
}

#[test]
fn a_new_shape_may_leave_one_extent_free_or_be_an_option() {
    let mut model = Model::new();
    model.set_attribute("flat/shape", &[1, -1]);
    assert_eq!(model.read().nodes, Model::new().read().nodes);
    let data = i32::try_from(sample().nodes[node::RESHAPE].inputs[0].index()).unwrap();
    model.operator(node::RESHAPE).set_list(operator::INPUTS, &[data]);
    assert_eq!(model.read().nodes, Model::new().read().nodes);
}

/// A model of one `RESHAPE`, to be turned into an operator that is read as one.
fn reshaping(from: &[usize], to: &[usize]) -> Model {
    let mut build = GraphBuilder::new("reshaping");
    let x = build.input(Tensor::new("x", shape(from), ElementType::F32));
    let y = build.apply("y", Op::Reshape { shape: shape(to) }, &[x]);
    build.output(y);
    Model(model_tables(&build.finish().unwrap()).unwrap())
}

impl Model {
    /// Makes the only node another operator.
    fn become_operator(&mut self, code: i32, tag: u8, options: TableBuilder) {
        self.0.tables_mut(model::OPERATOR_CODES)[0] = TableBuilder::new().with(operator_code::CODE, code);
        *self.operator(0) = std::mem::take(self.operator(0)).with_union(operator::OPTIONS, tag, options);
    }
}

#[test]
fn squeeze_removes_the_listed_axes_or_all_of_extent_one() {
    for (to, axes) in [(&[4, 1][..], &[0, -2][..]), (&[4], &[])] {
        let mut model = reshaping(&[1, 4, 1, 1], to);
        model.operator(0).set_list(operator::INPUTS, &[0]);
        let options = TableBuilder::new().with_list(single::SQUEEZE_DIMS, axes);
        model.become_operator(43, 30, options);
        assert_eq!(model.read().nodes[0].op, Op::Reshape { shape: shape(to) });
    }
    let mut model = reshaping(&[1, 4], &[4]);
    model.operator(0).set_list(operator::INPUTS, &[0]);
    model.become_operator(43, 30, TableBuilder::new().with_list(single::SQUEEZE_DIMS, &[2]));
    let problems = import_tflite(&model.file()).unwrap_err();
    assert_eq!(problems.list()[0].rule, Rule::Attribute { name: "squeeze_dims", value: 2 });
}

#[test]
fn expand_dims_inserts_an_axis_of_extent_one() {
    for (to, axis) in [(&[4, 1, 3][..], 1), (&[4, 3, 1], -1), (&[1, 4, 3], -3)] {
        let mut model = reshaping(&[4, 3], to);
        model.tensor(2).set_list(tensor::SHAPE, &[]);
        model.0.tables_mut(model::BUFFERS)[1].set_list(buffer::DATA, &i32::to_le_bytes(axis));
        model.become_operator(70, 52, TableBuilder::new());
        assert_eq!(model.read().nodes[0].op, Op::Reshape { shape: shape(to) });
    }
}

/// Makes all entries of the list of tensors refer to the last one, as the format permits.
fn share_tensors(file: &mut [u8]) {
    let subgraph = root(file).and_then(|model| model.tables(model::SUBGRAPHS)?.get(0)).unwrap();
    let entries = subgraph.tables(subgraph::TENSORS).unwrap().entries();
    let last = entries.end - 4;
    let target = last + usize::try_from(u32::get_le(&file[last..]).unwrap()).unwrap();
    for at in entries.step_by(4) {
        let offset = u32::try_from(target - at).unwrap();
        file[at..at + 4].copy_from_slice(&offset.to_le_bytes());
    }
}

#[test]
fn shared_tables_do_not_multiply() {
    let mut model = Model::new();
    let tensors = model.graph().tables_mut(subgraph::TENSORS);
    tensors.resize(5_000, TableBuilder::new());
    tensors.push(TableBuilder::new().with_text(tensor::NAME, &"x".repeat(10_000)));
    let mut file = model.file();
    share_tensors(&mut file);
    let limit = 16 * file.len() + 0x1_0000;
    let problems = import_tflite(&file).unwrap_err();
    let want = Problem { place: Place::Model, rule: Rule::Size { limit } };
    assert_eq!(problems.list().last(), Some(&want), "{problems}");
}

#[test]
fn a_checked_graph_has_unique_names() {
    let mut graph = sample();
    graph.tensors[CONV_BIAS].name = "image".into();
    let problems = graph.check().unwrap_err();
    let want = Problem { place: Place::tensor(CONV_BIAS, "image"), rule: Rule::RepeatedName { other: IMAGE } };
    assert_eq!(problems.list(), [want]);
}

#[test]
fn a_checked_graph_has_no_foreign_ids() {
    let mut graph = sample();
    let count = graph.tensors.len();
    graph.outputs.push(TensorId::new(count));
    graph.nodes[node::CONV].inputs[0] = TensorId::new(usize::MAX);
    let index = i64::try_from(count).unwrap();
    let want = [
        Problem { place: Place::Model, rule: Rule::TensorIndex { index, count } },
        Problem {
            place: Place::node(node::CONV, "conv", "Conv2d"),
            rule: Rule::TensorIndex { index: i64::MAX, count },
        },
    ];
    assert_eq!(graph.check().unwrap_err().list(), want);
}

/// What is wrong with a file; a graph that comes out of it must be well-formed.
fn import_anything(file: &[u8]) {
    if let Ok(graph) = import_tflite(file) {
        graph.check().unwrap_or_else(|problems| panic!("{problems}"));
        let _ = (graph.to_text(), graph.to_dot());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_bytes_give_problems_or_a_graph(hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut file = super::export_tflite(&sample()).unwrap();
        for (at, byte) in hits {
            let at = 8 + at.index(file.len() - 8);
            file[at] = byte;
        }
        import_anything(&file);
    }

    #[test]
    fn damaged_words_give_problems_or_a_graph(at in any::<prop::sample::Index>(), word in prop_oneof![any::<u32>(), 0_u32..64, Just(u32::MAX)]) {
        let mut file = super::export_tflite(&sample()).unwrap();
        let at = 8 + 4 * at.index(file.len() / 4 - 2);
        file[at..at + 4].copy_from_slice(&word.to_le_bytes());
        import_anything(&file);
    }

    #[test]
    fn cut_files_give_problems_or_a_graph(end in any::<prop::sample::Index>()) {
        let file = super::export_tflite(&sample()).unwrap();
        import_anything(&file[..end.index(file.len())]);
    }
}
