//! Tests of passes. That they keep the values is tested where graphs are evaluated.

use super::*;
use crate::evaluate::float_data;
use crate::onnx::tests::{ModelBuilder, resnet_block};
use crate::op::{Activation, Conv2d, Hw, Op, Pad, PadValue, Padding};
use crate::{ElementType, GraphBuilder, Quantization, Shape, Source, Tensor, TensorId};

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

fn float(name: &str, dims: &[usize]) -> Tensor {
    Tensor::new(name, shape(dims), ElementType::F32)
}

fn constant(name: &str, dims: &[usize], value: f32) -> Tensor {
    let elements = shape(dims).elements();
    float(name, dims).constant(float_data(std::iter::repeat_n(value, elements)))
}

fn ops(graph: &Graph) -> Vec<String> {
    graph.nodes.iter().map(|node| node.op.to_string()).collect()
}

const ADD: Op = Op::Add { activation: Activation::None };

fn conv(build: &mut GraphBuilder, name: &str, x: TensorId) -> TensorId {
    let channels = build[x].shape.dims()[3];
    let weights = build.tensor(constant(&format!("{name}.w"), &[2, 3, 3, channels], 0.5));
    let op = Op::Conv2d(Conv2d {
        stride: Hw::ONE,
        dilation: Hw::ONE,
        padding: Padding::NONE,
        groups: 1,
        activation: Activation::None,
    });
    build.apply(name, op, &[x, weights])
}

#[test]
fn a_residual_block_ends_channels_last_with_everything_folded() {
    let graph = standard(resnet_block().import().unwrap(), |name, graph| {
        graph.check().unwrap_or_else(|problems| panic!("after {name}: {problems}"));
    });
    let names: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(names, ["Transpose", "Conv2d", "Conv2d", "Add", "Mean", "Reshape", "FullyConnected"]);
    let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names[1..4], ["r1", "b2", "r2"]);
    let source = graph[graph.tensor_named("r1").unwrap()].source.clone();
    assert_eq!(source, Source::View { name: "r1".into(), axes: vec![0, 2, 3, 1] });
}

/// The layout pass gives the convolution the name of its result, which the import had found to be the output under another name.
#[test]
fn every_tensor_has_a_name_of_its_own() {
    let model = ModelBuilder::new(13).input("x", &[1, 2, 4, 4]).weights("w", &[3, 2, 1, 1]);
    let model = model.node("Conv", &["x", "w"], &["conv"], &[]).node("Identity", &["conv"], &["mask"], &[]);
    let graph = standard(model.output("mask").import().unwrap(), |_, _| {});
    let mut names: Vec<&str> = graph.tensors.iter().chain(&graph.fused).map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.contains(&"conv") && names.contains(&"mask"), "{names:?}");
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}

#[test]
fn a_factor_and_a_summand_go_into_weights_and_bias() {
    let mut build = GraphBuilder::new("batch-norm");
    let x = build.input(float("x", &[1, 4, 4, 1]));
    let y = conv(&mut build, "conv", x);
    let factor = build.tensor(constant("factor", &[1, 1, 1, 2], 4.0));
    let y = build.apply("scaled", Op::Mul { activation: Activation::None }, &[y, factor]);
    let summand = build.tensor(constant("summand", &[2], 3.0));
    let y = build.apply("shifted", ADD, &[y, summand]);
    build.output(y);
    let graph = fold_batch_norm(build.finish().unwrap());
    graph.check().unwrap();
    let [node] = graph.nodes.as_slice() else { panic!("{graph}") };
    let values = |slot: usize| crate::evaluate::floats_of(&graph[node.inputs[slot]]).unwrap();
    assert_eq!((node.name.as_str(), values(1)[0], values(2)), ("shifted", 2.0, vec![3.0, 3.0]));
}

#[test]
fn what_others_read_is_not_folded_away() {
    let mut build = GraphBuilder::new("shared");
    let x = build.input(float("x", &[1, 4, 4, 1]));
    let y = conv(&mut build, "conv", x);
    let z = build.apply("relu", Op::Relu, &[y]);
    let summand = build.tensor(constant("summand", &[2], 3.0));
    let shifted = build.apply("shifted", ADD, &[y, summand]);
    build.output(z);
    build.output(shifted);
    let graph = build.finish().unwrap();
    assert_eq!(ops(&standard(graph.clone(), |_, _| {})), ops(&graph));
}

#[test]
fn a_pad_of_zeros_goes_into_the_convolution() {
    let mut build = GraphBuilder::new("pad");
    let x = build.input(float("x", &[1, 4, 4, 1]));
    let pad = |value| Op::Pad(Pad { before: vec![0, 1, 0, 0], after: vec![0, 2, 1, 0], value });
    let zeros = build.apply("zeros", pad(PadValue::Zero), &[x]);
    let ones = build.apply("ones", pad(PadValue::Float(1.0)), &[x]);
    for (name, padded) in [("a", zeros), ("b", ones)] {
        let y = conv(&mut build, name, padded);
        build.output(y);
    }
    let graph = fuse_pads(build.finish().unwrap());
    graph.check().unwrap();
    let convs: Vec<String> = ops(&graph).into_iter().filter(|op| op.starts_with("Conv2d")).collect();
    assert_eq!(convs, ["Conv2d padding=1,2,0,1", "Conv2d"]);
}

#[test]
fn a_written_out_hard_swish_is_one() {
    let mut build = GraphBuilder::new("swish");
    let x = build.input(float("x", &[1, 4]));
    let gate = build.apply("gate", Op::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, &[x]);
    let y = build.apply("y", Op::Mul { activation: Activation::None }, &[gate, x]);
    build.output(y);
    assert_eq!(ops(&fuse_activations(build.finish().unwrap())), ["HardSwish"]);
}

#[test]
fn inputs_of_a_join_take_its_scale_where_it_is_free() {
    let quantized = |name: &str, scale: f32| {
        Tensor::new(name, shape(&[1, 2]), ElementType::I8).quantized(Quantization::per_tensor(scale, 0))
    };
    let mut build = GraphBuilder::new("join");
    let x = build.input(quantized("x", 0.5));
    let sum = build.node(ADD, &[x, x], quantized("sum", 0.25));
    let again = build.node(Op::Quantize, &[sum], quantized("again", 1.0));
    let other = build.node(Op::Quantize, &[x], quantized("other", 1.0));
    let joined = Tensor { shape: shape(&[1, 4]), ..quantized("joined", 1.0) };
    let y = build.node(Op::Concat { axis: 1 }, &[again, other], joined);
    build.output(y);
    let graph = equal_scales(build.finish().unwrap());
    graph.check().unwrap();
    assert_eq!(ops(&graph), ["Add", "Quantize", "Concat axis=1"]);
    assert_eq!(graph[graph.nodes[0].outputs[0]].quantization, Some(Quantization::per_tensor(1.0, 0)));
}

#[test]
fn dead_code_goes_and_inputs_stay() {
    let mut build = GraphBuilder::new("dead");
    let x = build.input(float("x", &[1, 4]));
    build.input(float("unread", &[1]));
    build.apply("unused", Op::Tanh, &[x]);
    let y = build.apply("y", Op::Relu, &[x]);
    build.output(y);
    let graph = dead_code(build.finish().unwrap());
    assert_eq!((ops(&graph), graph.inputs.len(), graph.tensors.len()), (vec!["Relu".to_owned()], 2, 3));
}

/// Real factors and summands per channel between quantized tensors.
#[test]
fn a_normalization_without_product_is_a_depthwise_layer() {
    for (name, multiplied, added) in [("both", true, true), ("factor", true, false), ("summand", false, true)] {
        let quantized = |name: &str| {
            let tensor = Tensor::new(name, shape(&[1, 3, 3, 2]), ElementType::U8);
            tensor.quantized(Quantization::per_tensor(0.5, 3))
        };
        let mut build = GraphBuilder::new(name);
        let x = build.input(quantized("x"));
        let mut real = build.node(Op::Dequantize, &[x], float("real", &[1, 3, 3, 2]));
        if multiplied {
            let factor = build.tensor(constant("factor", &[2], -1.5));
            real = build.apply("product", Op::Mul { activation: Activation::None }, &[real, factor]);
        }
        if added {
            let summand = build.tensor(constant("summand", &[1, 1, 1, 2], 2.25));
            real = build.apply("sum", ADD, &[summand, real]);
        }
        let y = build.node(Op::Quantize, &[real], quantized("y"));
        build.output(y);
        let graph = fuse_quantization(build.finish().unwrap());
        graph.check().unwrap();
        let names: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
        assert_eq!(names, ["DepthwiseConv2d"], "{graph}");
    }
}
