//! Layers of the sizes that real networks have: they equal the slow evaluator, and take no absurd number of commands.

mod common;

use cnnip_compiler::{Options, compile};
use cnnip_graph::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, FullyConnected, Graph, GraphBuilder, Hw, Op, Padding, Pool2d,
    Quantization, Shape, Tensor,
};
use cnnip_isa::Target;
use cnnip_testkit::Rng;

fn int8(name: &str, dims: &[usize]) -> Tensor {
    let tensor = Tensor::new(name, Shape::new(dims).unwrap(), ElementType::I8);
    tensor.quantized(Quantization::per_tensor(0.05, -3))
}

fn weights(dims: &[usize]) -> Tensor {
    let mut rng = Rng::new(7);
    let count: usize = dims.iter().product();
    let bytes: Vec<u8> = (0..count).map(|_| rng.bits().to_le_bytes()[0]).collect();
    let tensor = Tensor::new("weights", Shape::new(dims).unwrap(), ElementType::I8);
    tensor.quantized(Quantization::per_tensor(0.001, 0)).constant(bytes)
}

fn single(inputs: &[&[usize]], op: Op, weight_dims: Option<&[usize]>) -> Graph {
    let mut build = GraphBuilder::new("large");
    let named = (0..).zip(inputs).map(|(index, dims)| int8(&format!("x{index}"), dims));
    let mut operands: Vec<_> = named.map(|tensor| build.input(tensor)).collect();
    operands.extend(weight_dims.map(|dims| build.tensor(weights(dims))));
    let output = build.apply("y", op, &operands);
    build.output(output);
    build.finish().unwrap()
}

/// Padded so that the stride alone decides about the output's size.
fn conv([n, h, w, c]: [usize; 4], kernel: usize, stride: usize, outputs: usize) -> Graph {
    let (kernel, stride) = (Hw::new(kernel, kernel), Hw::new(stride, stride));
    let padding = Padding::same(Hw::new(h, w), kernel, stride);
    let op = Conv2d { stride, dilation: Hw::ONE, padding, groups: 1, activation: Activation::Relu };
    single(&[&[n, h, w, c]], Op::Conv2d(op), Some(&[outputs, kernel.h, kernel.w, c]))
}

/// Padded likewise.
fn depthwise([n, h, w, c]: [usize; 4], kernel: usize, stride: usize) -> Graph {
    let (kernel, stride) = (Hw::new(kernel, kernel), Hw::new(stride, stride));
    let padding = Padding::same(Hw::new(h, w), kernel, stride);
    let op = DepthwiseConv2d { stride, dilation: Hw::ONE, padding, multiplier: 1, activation: Activation::Relu6 };
    single(&[&[n, h, w, c]], Op::DepthwiseConv2d(op), Some(&[1, kernel.h, kernel.w, c]))
}

/// Padded likewise.
fn pool(op: fn(Pool2d) -> Op, [n, h, w, c]: [usize; 4], window: usize, stride: usize) -> Graph {
    let (window, stride) = (Hw::new(window, window), Hw::new(stride, stride));
    let padding = Padding::same(Hw::new(h, w), window, stride);
    single(&[&[n, h, w, c]], op(Pool2d { window, stride, padding, activation: Activation::None }), None)
}

fn transpose(dims: &[usize], perm: &[usize]) -> Graph {
    single(&[dims], Op::Transpose { perm: perm.to_vec() }, None)
}

/// Checks that a layer takes at most so many commands on v3m and on v4h.
fn costs(name: &str, graph: &Graph, most: [u64; 2]) {
    for (target, most) in ["v3m", "v4h"].into_iter().zip(most) {
        let package = compile(graph, &Options::new(Target::by_name(target).unwrap())).unwrap();
        assert!(package.budget.commands <= most, "{name} on {target}: {} commands", package.budget.commands);
    }
}

/// Checks as [`costs`], and that the layer equals the slow evaluator on v4h.
fn equals(name: &str, graph: &Graph, most: [u64; 2]) {
    costs(name, graph, most);
    let inputs = common::random_inputs(graph, &mut Rng::new(3));
    common::check(graph, &Options::new(Target::by_name("v4h").unwrap()), &inputs);
}

#[test]
fn convolutions() {
    costs("3x3 512 to 512", &conv([1, 28, 28, 512], 3, 1, 512), [2300, 1200]);
    costs("3x3 64 to 64", &conv([1, 224, 224, 64], 3, 1, 64), [4600, 520]);
    equals("7x7 stride 2", &conv([1, 224, 224, 3], 7, 2, 64), [1100, 580]);
    equals("11x11 stride 4", &conv([1, 227, 227, 3], 11, 4, 96), [9320, 3800]);
    equals("1x1 2048 to 2048", &conv([1, 7, 7, 2048], 1, 1, 2048), [2420, 640]);
    equals("3x3 stride 2 batch 4", &conv([4, 28, 28, 64], 3, 2, 128), [640, 350]);
    equals("depthwise 3x3", &depthwise([1, 112, 112, 960], 3, 1), [1330, 690]);
    equals("depthwise 5x5 stride 2", &depthwise([1, 112, 112, 144], 5, 2), [460, 90]);
    let op = Op::FullyConnected(FullyConnected { activation: Activation::None, keep_num_dims: false });
    equals("fully connected", &single(&[&[1, 25_088]], op, Some(&[4096, 25_088])), [4830, 2420]);
}

#[test]
fn pools() {
    equals("average 14x14", &pool(Op::AveragePool2d, [1, 14, 14, 1024], 14, 14), [25, 25]);
    equals("average 7x7 batch 4", &pool(Op::AveragePool2d, [4, 7, 7, 2048], 7, 7), [70, 70]);
    equals("average 3x3", &pool(Op::AveragePool2d, [1, 35, 35, 288], 3, 1), [40, 25]);
    equals("average 8x8 stride 8", &pool(Op::AveragePool2d, [1, 224, 224, 16], 8, 8), [2400, 2400]);
    equals("maximum 3x3 stride 2", &pool(Op::MaxPool2d, [1, 112, 112, 64], 3, 2), [55, 25]);
    equals("maximum 5x5", &pool(Op::MaxPool2d, [1, 20, 20, 512], 5, 1), [50, 50]);
    equals("maximum 13x13", &pool(Op::MaxPool2d, [1, 20, 20, 512], 13, 1), [200, 150]);
    equals("maximum 4x4 stride 4", &pool(Op::MaxPool2d, [1, 224, 224, 16], 4, 4), [80, 50]);
    equals("maximum 5x5 stride 5", &pool(Op::MaxPool2d, [1, 40, 40, 32], 5, 5), [250, 250]);
    equals("maximum 6x6 stride 6 of a few", &pool(Op::MaxPool2d, [2, 50, 41, 32], 6, 6), [410, 410]);
}

#[test]
fn additions_and_transpositions() {
    let add = Op::Add { activation: Activation::None };
    equals("add", &single(&[&[1, 1024, 1024, 8], &[1, 1024, 1024, 8]], add, None), [1400, 700]);
    equals("planes to pixels", &transpose(&[1, 3, 224, 224], &[0, 2, 3, 1]), [40, 40]);
    equals("pixels to planes", &transpose(&[1, 224, 224, 3], &[0, 3, 1, 2]), [180, 180]);
    equals("a square", &transpose(&[1024, 1024], &[1, 0]), [290, 290]);
    equals("batch 4", &transpose(&[4, 64, 33, 35], &[0, 2, 3, 1]), [170, 80]);
    equals("first with last", &transpose(&[7, 5, 300, 11], &[3, 1, 2, 0]), [20, 20]);
    equals("cells of 15 bytes", &transpose(&[2, 300, 40, 3, 5], &[0, 2, 1, 3, 4]), [170, 170]);
    equals("many small ones", &transpose(&[100_000, 2, 3], &[0, 2, 1]), [20, 20]);
    equals("tall", &transpose(&[70_000, 13], &[1, 0]), [350, 350]);
    equals("wide", &transpose(&[13, 70_000], &[1, 0]), [80, 50]);
}

#[test]
fn a_transposition_is_not_a_cycle_per_byte() {
    let package = |target| {
        let graph = transpose(&[1, 3, 224, 224], &[0, 2, 3, 1]);
        compile(&graph, &Options::new(Target::by_name(target).unwrap())).unwrap()
    };
    for target in ["v3m", "v4h"] {
        assert!(package(target).budget.cycles < 3 * 224 * 224 / 10, "{target}");
    }
}

#[test]
fn transpositions_through_a_small_scratchpad() {
    for (dims, perm) in [([3, 500, 60], [1, 2, 0]), ([60, 50, 3], [2, 0, 1]), ([2, 300, 7], [0, 2, 1])] {
        let graph = transpose(&dims, &perm);
        let inputs = common::random_inputs(&graph, &mut Rng::new(3));
        common::check(&graph, &Options::new(common::tiny(4096)), &inputs);
    }
}
