//! Weights stored sparse or as streams: every tensor is what it is without, and less is moved.

mod common;

use cnnip_compiler::{Options, WeightCoding, compile_stages};
use cnnip_graph::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, Graph, GraphBuilder, Hw, Op, Padding, Quantization, Shape, Tensor,
};
use cnnip_isa::Target;
use cnnip_testkit::Rng;

const CODINGS: [WeightCoding; 5] =
    [WeightCoding::Raw, WeightCoding::ZeroRun, WeightCoding::Cluster, WeightCoding::Sparse, WeightCoding::Smallest];

fn int8(name: &str, dims: &[usize]) -> Tensor {
    let tensor = Tensor::new(name, Shape::new(dims).unwrap(), ElementType::I8);
    tensor.quantized(Quantization::per_tensor(0.05, -3))
}

/// A layer with weights that `weight` gives for output, tap and input.
fn layer(op: Op, input: [usize; 4], dims: [usize; 4], weight: impl Fn([usize; 3]) -> i8) -> Graph {
    let [outputs, rows, columns, inputs] = dims;
    let taps = rows * columns;
    let at = |index: usize| weight([index / inputs / taps, index / inputs % taps, index % inputs]).to_le_bytes();
    let bytes: Vec<u8> = (0..outputs * taps * inputs).flat_map(at).collect();
    let weights = Tensor::new("weights", Shape::new(dims).unwrap(), ElementType::I8);
    let mut build = GraphBuilder::new("coded");
    let x = build.input(int8("x", &input));
    let weights = build.tensor(weights.quantized(Quantization::per_tensor(0.001, 0)).constant(bytes));
    let y = build.apply("y", op, &[x, weights]);
    build.output(y);
    build.finish().unwrap()
}

fn conv(groups: usize) -> Op {
    let padding = Padding::same(Hw::new(9, 9), Hw::new(3, 3), Hw::ONE);
    Op::Conv2d(Conv2d { stride: Hw::ONE, dilation: Hw::ONE, padding, groups, activation: Activation::Relu })
}

/// Every second block of 16 outputs by 4 inputs is empty, and there are five kernels besides.
fn few([output, tap, input]: [usize; 3]) -> i8 {
    let kernel = i8::try_from((output * 7 + input * 3) % 5).unwrap();
    if (output / 16 + input / 4 + tap) % 2 == 0 { 0 } else { 11 * kernel - i8::try_from(tap).unwrap() }
}

fn random(at: [usize; 3]) -> i8 {
    let [a, b, c] = at.map(|n| u32::try_from(n).unwrap());
    i8::from_le_bytes([(a * 31 + b * 17 + c).wrapping_mul(2_654_435_761).to_le_bytes()[3]])
}

fn check(graph: &Graph, target: &'static Target) {
    for weights in CODINGS {
        let options = Options { weights, ..Options::new(target) };
        let inputs = common::random_inputs(graph, &mut Rng::new(5));
        common::check(graph, &options, &inputs);
    }
}

#[test]
fn results_are_the_same_with_every_coding() {
    let v4h = Target::by_name("v4h").unwrap();
    let weights: [fn([usize; 3]) -> i8; 3] = [few, random, |_| 0];
    for weight in weights {
        let wide = layer(conv(1), [1, 9, 9, 24], [40, 3, 3, 24], weight);
        check(&wide, v4h);
        // Pieces of channels and depth, and accumulators that wait.
        check(&wide, common::tiny(6 * 1024));
        check(&layer(conv(3), [1, 9, 9, 27], [51, 3, 3, 9], weight), v4h);
        let padding = Padding::same(Hw::new(9, 9), Hw::new(3, 3), Hw::ONE);
        let (stride, dilation) = (Hw::ONE, Hw::ONE);
        let op = DepthwiseConv2d { stride, dilation, padding, multiplier: 1, activation: Activation::None };
        check(&layer(Op::DepthwiseConv2d(op), [1, 9, 9, 40], [1, 3, 3, 40], weight), v4h);
    }
}

#[test]
fn few_kernels_and_empty_blocks_save_bytes_and_cycles() {
    let target = Target::by_name("v4h").unwrap();
    let graph = layer(conv(1), [1, 9, 9, 256], [256, 3, 3, 256], few);
    let report = |weights| compile_stages(&graph, &Options { weights, ..Options::new(target) }).unwrap().report(target);
    let raw = report(WeightCoding::Raw);
    let sparse = report(WeightCoding::Sparse);
    assert!(sparse.loaded_bytes * 100 < raw.loaded_bytes * 56, "{sparse:?} {raw:?}");
    assert!(sparse.cycles * 100 < raw.cycles * 65, "{sparse:?} {raw:?}");
    for coding in [WeightCoding::Cluster, WeightCoding::Smallest] {
        assert!(report(coding).loaded_bytes * 5 < raw.loaded_bytes, "{:?} {raw:?}", report(coding));
    }
}
