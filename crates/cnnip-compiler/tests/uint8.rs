//! uint8 layers where LiteRT's kernels, their oracle, round otherwise than those of int8. The numbers are LiteRT 2.3.0's, from the
//! models of `tools/check_operators.py` that are named.

mod common;

use cnnip_compiler::Options;
use cnnip_graph::{
    Activation, DepthwiseConv2d, ElementType, GraphBuilder, Hw, Op, Padding, Quantization, Shape, Tensor, TensorId,
};
use cnnip_isa::Target;

fn tensor(name: &str, dims: &[usize], scale: f32, zero: i64) -> Tensor {
    let tensor = Tensor::new(name, Shape::new(dims).unwrap(), ElementType::U8);
    tensor.quantized(Quantization::per_tensor(scale, zero))
}

/// Compiles and runs a network of one node, and compares its output.
fn check(mut build: GraphBuilder, op: Op, operands: &[TensorId], output: Tensor, input: &[u8], want: &[u8]) {
    let output = build.node(op, operands, output);
    build.output(output);
    let graph = build.finish().unwrap();
    let bytes = |values: &[u8]| values.iter().map(|value| value.cast_signed()).collect::<Vec<i8>>();
    let mut expected = vec![None; graph.tensors.len()];
    expected[operands[0].index()] = Some(bytes(input));
    expected[output.index()] = Some(bytes(want));
    for target in ["v3m", "v4h"] {
        let options = Options::new(Target::by_name(target).unwrap());
        common::check_against(&graph, &options, &[bytes(input)], expected.clone());
    }
}

/// The model of `logistic`, seed 125. Near the middle of the curve the real result is a half, less 1e-6, at every 16th input.
#[test]
fn a_logistic_function_is_computed_in_binary32() {
    let mut build = GraphBuilder::new("logistic");
    let x = build.input(tensor("x", &[1, 256], 1.0 / 1024.0, 0));
    let input: Vec<u8> = (0..=255).collect();
    let want: Vec<u8> = (0..256_u16).map(|x| 128 + ((x + 7 - u16::from(x >= 226)) / 16).to_le_bytes()[0]).collect();
    check(build, Op::Logistic, &[x], tensor("y", &[1, 256], 1.0 / 256.0, 0), &input, &want);
}

/// Channel 10 of `depthwise_conv2d`, seed 111: 79.49805 by the product of scales in binary32, whose double rounding is 80; 79.498047 by
/// the one in binary64, whose is 79.
#[test]
fn the_product_of_scales_is_binary32() {
    let mut build = GraphBuilder::new("depthwise");
    let x = build.input(tensor("x", &[1, 1, 1, 1], 1.208_579_1, 0));
    let weights = build.tensor(tensor("weights", &[1, 1, 1, 1], 0.000_246_486_68, 100).constant(vec![98]));
    let bias = Tensor::new("bias", Shape::new([1]).unwrap(), ElementType::I32);
    let bias = bias.quantized(Quantization::per_tensor(0.000_297_898_66, 0));
    let bias = build.tensor(bias.constant(32_190_i32.to_le_bytes().to_vec()));
    let op = DepthwiseConv2d {
        stride: Hw::ONE,
        dilation: Hw::ONE,
        padding: Padding::NONE,
        multiplier: 1,
        activation: Activation::None,
    };
    let output = tensor("y", &[1, 1, 1, 1], 0.120_623_81, 126);
    check(build, Op::DepthwiseConv2d(op), &[x, weights, bias], output, &[0], &[206]);
}
