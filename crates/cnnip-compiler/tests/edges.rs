//! Layers at the edges of what the machine takes, and networks of a shape that needs care.

mod common;

use cnnip_compiler::{CompileErrors, Options, PixelRule, Rounding, compile};
use cnnip_graph::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, FullyConnected, Graph, GraphBuilder, Hw, Mean, Op, Padding,
    Pool2d, Quantization, Shape, Tensor, TensorId,
};
use cnnip_isa::Target;
use cnnip_package::{Color, HostOperator, Layout, Pixels, Step};
use cnnip_testkit::Rng;

fn options() -> Options {
    Options::new(Target::by_name("v3m").unwrap())
}

fn int8(name: &str, dims: &[usize]) -> Tensor {
    let tensor = Tensor::new(name, Shape::new(dims).unwrap(), ElementType::I8);
    tensor.quantized(Quantization::per_tensor(0.05, -3))
}

fn weights(dims: &[usize]) -> Tensor {
    let mut rng = Rng::new(7);
    let count: usize = dims.iter().product();
    let bytes: Vec<u8> = (0..count).map(|_| rng.bits().to_le_bytes()[0]).collect();
    let tensor = Tensor::new("weights", Shape::new(dims).unwrap(), ElementType::I8);
    tensor.quantized(Quantization::per_tensor(0.01, 0)).constant(bytes)
}

const PLAIN: Conv2d =
    Conv2d { stride: Hw::ONE, dilation: Hw::ONE, padding: Padding::NONE, groups: 1, activation: Activation::None };

/// One node over an input, with weights where given.
fn single(input: &[usize], op: Op, weight_dims: Option<&[usize]>) -> Graph {
    let mut build = GraphBuilder::new("edge");
    let mut operands = vec![build.input(int8("x", input))];
    operands.extend(weight_dims.map(|dims| build.tensor(weights(dims))));
    let output = build.apply("y", op, &operands);
    build.output(output);
    build.finish().unwrap()
}

fn check(graph: &Graph) {
    let inputs = common::random_inputs(graph, &mut Rng::new(3));
    common::check(graph, &options(), &inputs);
}

#[test]
fn kernels_strides_and_dilations_far_beyond_the_target() {
    let padding = Padding { top: 20, bottom: 30, left: 0, right: 25 };
    check(&single(&[1, 40, 33, 5], Op::Conv2d(Conv2d { padding, ..PLAIN }), Some(&[7, 31, 17, 5])));
    let patches = Conv2d { stride: Hw::new(16, 16), ..PLAIN };
    check(&single(&[1, 64, 48, 3], Op::Conv2d(patches), Some(&[24, 16, 16, 3])));
    let sparse = Conv2d { dilation: Hw::new(9, 5), stride: Hw::new(7, 1), ..PLAIN };
    check(&single(&[2, 50, 40, 9], Op::Conv2d(sparse), Some(&[6, 3, 4, 9])));
    let depthwise = DepthwiseConv2d {
        stride: Hw::new(4, 5),
        dilation: Hw::new(1, 6),
        padding: Padding { top: 9, bottom: 9, left: 17, right: 17 },
        multiplier: 3,
        activation: Activation::Relu6,
    };
    check(&single(&[1, 30, 60, 21], Op::DepthwiseConv2d(depthwise), Some(&[1, 11, 9, 63])));
}

#[test]
fn columns_taken_together_are_the_same_layer() {
    let padding = Padding { top: 3, bottom: 2, left: 3, right: 2 };
    let first = |stride: Hw| Op::Conv2d(Conv2d { stride, padding, ..PLAIN });
    check(&single(&[2, 30, 36, 3], first(Hw::new(2, 2)), Some(&[9, 7, 7, 3])));
    check(&single(&[1, 30, 900, 3], first(Hw::new(1, 3)), Some(&[9, 5, 11, 3])));
    check(&single(&[1, 12, 21, 40], first(Hw::new(1, 3)), Some(&[5, 2, 6, 40])));
}

#[test]
fn layers_larger_than_the_scratchpad_in_every_way() {
    check(&single(&[1, 20, 3000, 64], Op::Conv2d(PLAIN), Some(&[4, 3, 3, 64]))); // rows and columns
    check(&single(&[1, 3, 3, 4096], Op::Conv2d(PLAIN), Some(&[48, 3, 3, 4096]))); // input channels
    check(&single(&[1, 2, 2, 16], Op::Conv2d(PLAIN), Some(&[70_000, 1, 1, 16]))); // output channels
    let layer = Op::FullyConnected(FullyConnected { activation: Activation::None, keep_num_dims: false });
    check(&single(&[2, 90_000], layer, Some(&[9, 90_000])));
}

#[test]
fn extents_beyond_sixteen_bits() {
    check(&single(&[70_000, 3], Op::Relu, None));
    check(&single(&[1, 70_001, 1, 2], Op::Conv2d(PLAIN), Some(&[2, 1, 1, 2])));
    check(&single(&[2, 70_000], Op::Transpose { perm: vec![1, 0] }, None));
    check(&single(&[1, 70_000, 2], Op::Mean(Mean { axes: vec![1], keep_dims: false }), None));
}

#[test]
fn pools_over_whole_maps() {
    let pool = |window: Hw| Pool2d { window, stride: Hw::ONE, padding: Padding::NONE, activation: Activation::None };
    check(&single(&[1, 300, 131, 17], Op::AveragePool2d(pool(Hw::new(300, 131))), None));
    check(&single(&[1, 300, 131, 40], Op::MaxPool2d(pool(Hw::new(299, 130))), None));
    check(&single(&[1, 1200, 1000, 2], Op::MaxPool2d(pool(Hw::new(1200, 1000))), None));
    check(&single(&[1, 1200, 1000, 2], Op::AveragePool2d(pool(Hw::new(1200, 1000))), None));
    check(&single(&[1, 600, 500, 8], Op::Mean(Mean { axes: vec![1, 2], keep_dims: true }), None));
}

#[test]
fn a_constant_may_be_an_operand() {
    let mut build = GraphBuilder::new("constant");
    let x = build.input(int8("x", &[1, 4, 4, 8]));
    let c = build.tensor(int8("c", &[8]).constant(vec![1, 255, 3, 128, 127, 6, 7, 0]));
    let y = build.apply("y", Op::Add { activation: Activation::Relu }, &[x, c]);
    build.output(y);
    check(&build.finish().unwrap());
}

#[test]
fn bytes_are_shared_and_outputs_still_stand_alone() {
    let mut build = GraphBuilder::new("shared");
    let x = build.input(int8("x", &[2, 6]));
    let flat = |build: &mut GraphBuilder, name: &str, of: TensorId| {
        build.apply(name, Op::Reshape { shape: Shape::new([12]).unwrap() }, &[of])
    };
    let view = flat(&mut build, "view", x);
    let y = build.apply("y", Op::Relu, &[x]);
    let again = flat(&mut build, "again", y);
    let z = build.apply("z", Op::Relu6, &[again]);
    for output in [view, y, again, z, x] {
        build.output(output);
    }
    let graph = build.finish().unwrap();
    check(&graph);
    let package = compile(&graph, &options()).unwrap();
    let names: Vec<_> = package.outputs.iter().map(|&id| package.tensor(id).unwrap().name.as_str()).collect();
    assert_eq!(names, ["view", "y", "again", "z", "x:output"]);
}

/// A network with floats at both ends and a softmax.
fn with_host_steps() -> Graph {
    let mut build = GraphBuilder::new("host");
    let x = build.input(Tensor::new("x", Shape::new([1, 4]).unwrap(), ElementType::F32));
    let q = build.apply_as("q", Op::Quantize, &[x], ElementType::I8, Some(Quantization::per_tensor(0.05, -3)));
    let r = build.apply("r", Op::Relu, &[q]);
    let probabilities = Some(Quantization::per_tensor(1.0 / 256.0, -128));
    let s = build.apply_as("s", Op::Softmax { beta: 1.0 }, &[r], ElementType::I8, probabilities);
    let t = build.apply("t", Op::Relu6, &[s]);
    let y = build.apply_as("y", Op::Dequantize, &[t], ElementType::F32, None);
    build.output(y);
    build.finish().unwrap()
}

/// TFLite and ONNX round halves of their inputs otherwise.
#[test]
fn halves_of_inputs_go_where_the_rounding_says() {
    for (rounding, want) in [(Rounding::Float, HostOperator::Quantize), (Rounding::Onnx, HostOperator::QuantizeEven)] {
        let mut build = GraphBuilder::new("input");
        let x = build.input(Tensor::new("x", Shape::new([1, 4]).unwrap(), ElementType::F32));
        let q = build.apply_as("q", Op::Quantize, &[x], ElementType::I8, Some(Quantization::per_tensor(0.05, -3)));
        build.output(q);
        let package = compile(&build.finish().unwrap(), &Options { rounding, ..options() }).unwrap();
        assert!(matches!(&package.program[..], [Step::Host(step)] if step.operator == want), "{rounding:?}");
    }
}

#[test]
fn host_steps_stand_between_device_steps() {
    let package = compile(&with_host_steps(), &options()).unwrap();
    let steps = package.program.iter().map(|step| match step {
        Step::Device { lists } => format!("device {}", lists.len()),
        Step::Host(host) => host.operator.name().to_owned(),
    });
    assert_eq!(steps.collect::<Vec<_>>(), ["quantize", "device 3", "softmax", "device 3", "dequantize"]);
    let Step::Host(softmax) = &package.program[2] else { panic!("the third step is the host's") };
    assert_eq!(softmax.operator, HostOperator::Softmax { beta: 1.0 });
    let visible: Vec<_> = package.regions.iter().map(|region| (region.name.as_str(), region.core_visible)).collect();
    assert_eq!(visible, [("inputs", false), ("outputs", false), ("scratch", true)]);
}

#[test]
fn a_picture_has_a_rule_and_the_caller_may_choose_another() {
    let rule = |input: &[usize], op: Op, pixels: PixelRule| {
        let package = compile(&single(input, op, None), &Options { pixels, ..options() }).unwrap();
        package.inputs[0].preprocess.clone()
    };
    let rgb = rule(&[1, 6, 5, 3], Op::Relu, PixelRule::Auto).unwrap();
    assert_eq!((rgb.height, rgb.width, rgb.layout, rgb.color), (6, 5, Layout::Nhwc, Color::Rgb));
    assert_eq!(rgb.pixels, Pixels::Offset(-128));
    let planar = rule(&[1, 3, 6, 5], Op::Transpose { perm: vec![0, 2, 3, 1] }, PixelRule::Raw).unwrap();
    assert_eq!((planar.height, planar.width, planar.layout, planar.pixels), (6, 5, Layout::Nchw, Pixels::Raw));
    assert_eq!(rule(&[1, 6, 5, 3], Op::Relu, PixelRule::None), None);
    assert_eq!(rule(&[1, 6, 5, 4], Op::Relu, PixelRule::Auto), None);
}

#[test]
fn all_problems_of_a_model_come_at_once() {
    let mut build = GraphBuilder::new("wrong");
    let x = build.input(int8("x", &[1, 4, 4, 2]));
    let bare = Tensor { quantization: None, ..int8("bare", &[1, 4, 4, 2]) };
    let a = build.node(Op::Relu, &[x], bare);
    let other = int8("other", &[1, 4, 4, 2]).quantized(Quantization::per_tensor(0.07, -3));
    let pool = Pool2d { window: Hw::ONE, stride: Hw::ONE, padding: Padding::NONE, activation: Activation::None };
    let b = build.node(Op::MaxPool2d(pool), &[x], other);
    let soft = build.apply("soft", Op::Softmax { beta: 1.0 }, &[b]);
    build.output(a);
    build.output(soft);
    let graph = build.finish().unwrap();
    let errors = compile(&graph, &Options { keep: vec!["nothing".into()], ..options() }).unwrap_err();
    let want = "node 0, Relu (bare): the output `bare` has no scale and zero point
  hint: convert the model with full integer quantization
node 1, MaxPool2d (other): input scale 0.05 zero point -3 differs from output scale 0.07 zero point -3
  hint: give both tensors the same scale and zero point, or quantize in between
node 2, Softmax (soft): the output's scale 0.07 and zero point -3 are not 1/256 and -128
  hint: the integer softmax has this one output quantization
model: the model has no tensor `nothing` to keep
  hint: `cnnip info` lists the names of the tensors";
    assert_eq!(errors.to_string(), want);
}

#[test]
fn a_graph_that_is_not_well_formed_is_an_error() {
    let mut graph = single(&[1, 8, 8, 4], Op::Relu, None);
    graph.nodes[0].inputs[0] = TensorId::new(99);
    let text = compile(&graph, &options()).unwrap_err().problems()[0].to_string();
    assert!(text.starts_with("node 0, Relu (y): "), "{text}");
}

#[test]
fn a_small_file_cannot_ask_for_endless_lists() {
    let pool = Pool2d { window: Hw::new(9, 9), stride: Hw::ONE, padding: Padding::NONE, activation: Activation::None };
    let graph = single(&[1, 20_000, 20_000, 1], Op::AveragePool2d(pool), None);
    let text = compile(&graph, &options()).unwrap_err().problems()[0].to_string();
    assert!(text.starts_with("node 0, AveragePool2d (y): 799360128 operations, more than 2097152\n"), "{text}");
}

#[test]
fn a_target_that_is_too_small_is_an_error() {
    let graph = single(&[1, 8, 8, 4], Op::Conv2d(PLAIN), Some(&[4, 3, 3, 4]));
    let errors: CompileErrors = compile(&graph, &Options::new(common::tiny(512))).unwrap_err();
    let text = errors.problems()[0].rule.to_string();
    assert_eq!(text, "the smallest piece needs 832 bytes of scratchpad, v3m has 512");
}
