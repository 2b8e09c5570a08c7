//! Operators in the arithmetic of ONNX Runtime: its results on small inputs, copied. Made with onnxruntime 1.31.1 on x86-64, graph
//! optimizations off.

mod common;

use cnnip_compiler::{Options, Rounding};
use cnnip_graph::{
    Activation, ElementType, GraphBuilder, Grid, Hw, Mean, Op, Padding, Pool2d, Quantization, ResizeBilinear, Shape,
    Tensor,
};
use cnnip_isa::Target;

/// Shape, scale, zero point and integers of a tensor.
type Case<'a> = (&'a [usize], f32, i64, &'a [i16]);

/// One node over these inputs gives this output, on the core.
fn check(op: Op, element: ElementType, inputs: &[Case<'_>], output: Case<'_>) {
    let tensor = |name: &str, (shape, scale, zero, _): Case<'_>| {
        let tensor = Tensor::new(name, Shape::new(shape).unwrap(), element);
        tensor.quantized(Quantization::per_tensor(scale, zero))
    };
    let mut build = GraphBuilder::new("one operator");
    let ids: Vec<_> = ["a", "b"].iter().zip(inputs).map(|(name, &case)| build.input(tensor(name, case))).collect();
    let made = build.node(op, &ids, tensor("y", output));
    build.output(made);
    let graph = build.finish().unwrap();
    let bytes =
        |(.., integers): &Case<'_>| integers.iter().map(|integer| integer.to_le_bytes()[0].cast_signed()).collect();
    let given: Vec<Vec<i8>> = inputs.iter().map(bytes).collect();
    for target in ["v3m", "v4h"] {
        let options = Options { rounding: Rounding::Onnx, ..Options::new(Target::by_name(target).unwrap()) };
        let expected = given.iter().cloned().chain([bytes(&output)]).map(Some).collect();
        common::check_against(&graph, &options, &given, expected);
    }
}

fn int8(op: Op, inputs: &[Case<'_>], output: Case<'_>) {
    check(op, ElementType::I8, inputs, output);
}

fn uint8(op: Op, inputs: &[Case<'_>], output: Case<'_>) {
    check(op, ElementType::U8, inputs, output);
}

const ADD: Op = Op::Add { activation: Activation::None };
const MUL: Op = Op::Mul { activation: Activation::None };

/// The first two sums round otherwise if the integers are those of int8.
#[test]
fn sums_of_uint8_have_the_roundings_of_uint8() {
    let a: Case<'_> = (&[1, 8], 0.029_003_449, 43, &[10, 10, 31, 234, 205, 40, 119, 46]);
    let b: Case<'_> = (&[1, 8], 0.104_302_84, 123, &[95, 95, 74, 33, 152, 45, 200, 151]);
    uint8(ADD, &[a, b], (&[1, 8], 0.050_687_49, 246, &[170, 170, 138, 170, 255, 84, 255, 255]));
}

/// The second operand counts first; where the first is a single element, it does.
#[test]
fn sums_with_one_element_go_the_other_way() {
    let a: Case<'_> = (&[1, 1], 0.023_692_155, 77, &[85]);
    let b: Case<'_> = (&[1, 1], 0.004_084_685_4, 102, &[46]);
    int8(ADD, &[a, b], (&[1, 1], 0.078_410_74, -77, &[-78]));
}

/// The first product rounds otherwise if the zero point is that of int8.
#[test]
fn products_of_uint8_have_the_roundings_of_uint8() {
    let a: Case<'_> = (&[1, 7], 0.118_696_2, 118, &[177, 61, 98, 202, 198, 115, 249]);
    let b: Case<'_> = (&[1, 7], 0.022_560_677, 67, &[201, 128, 186, 80, 53, 36, 103]);
    uint8(MUL, &[a, b], (&[1, 7], 0.361_901_04, 42, &[100, 16, 24, 50, 34, 43, 77]));
}

fn pool(window: Hw, padding: usize) -> Op {
    let padding = Padding { top: padding, bottom: padding, left: padding, right: padding };
    Op::AveragePool2d(Pool2d { window, stride: Hw::ONE, padding, activation: Activation::None })
}

#[test]
fn averages_divide_by_the_elements_inside() {
    let integers = [-9, -51, 26, 127, 103, 11, 19, -107, -102];
    let averages = [2, -33, -4, 60, 115, 88, 54, 48, 127, 76, -23, -59, 48, -57, -128, -128];
    int8(pool(Hw::new(2, 2), 1), &[(&[1, 3, 3, 1], 0.05, -7, &integers)], (&[1, 4, 4, 1], 0.03, 5, &averages));
    let (integers, averages) = (integers.map(|integer| integer + 128), averages.map(|average| average + 128));
    uint8(pool(Hw::new(2, 2), 1), &[(&[1, 3, 3, 1], 0.05, 121, &integers)], (&[1, 4, 4, 1], 0.03, 133, &averages));
}

/// The zero point is added before the rounding: with an odd one, halves go to odd steps.
#[test]
fn halves_of_averages_go_with_the_zero_point() {
    int8(pool(Hw::new(1, 2), 0), &[(&[1, 2, 2, 1], 0.5, 0, &[1, 2, 4, 7])], (&[1, 2, 1, 1], 0.5, 3, &[4, 8]));
}

#[test]
fn averages_of_whole_maps() {
    let integers = [-48, -76, -45, -8, -31, -61, -47, -3, 8, -36, -94, 76, -9, 104, 99];
    let mean = Op::Mean(Mean { axes: vec![1, 2], keep_dims: true });
    int8(mean, &[(&[1, 5, 1, 3], 0.05, -7, &integers)], (&[1, 1, 1, 3], 0.02, 5, &[-52, -28, 61]));
}

#[test]
fn functions_of_one_value() {
    let x: Case<'_> = (&[1, 11], 0.05, -7, &[-128, -100, -64, -8, -7, -6, 0, 1, 33, 90, 127]);
    let leaky = [-40, -30, -16, 5, 5, 6, 14, 15, 55, 126, 127];
    int8(Op::LeakyRelu { alpha: 0.3 }, &[x], (&[1, 11], 0.04, 5, &leaky));
    let sigmoid = [-99, -98, -86, 22, 25, 28, 47, 50, 120, 127, 127];
    int8(Op::Logistic, &[x], (&[1, 11], 0.004, -100, &sigmoid));
    let requantized = [-128, -111, -66, 4, 5, 6, 14, 15, 55, 126, 127];
    int8(Op::Quantize, &[x], (&[1, 11], 0.04, 5, &requantized));
}

/// Real numbers between the samples, computed by hand: halves go to even, where the integer kernels of TFLite have them away from zero.
#[test]
fn magnifications_by_powers_of_two_round_halves_to_even() {
    let resized = |columns| Op::ResizeBilinear(ResizeBilinear { output: Hw::new(1, columns), grid: Grid::HalfPixel });
    // 0, 1.5, 4.5, 3, -3, -4, 0, 6.5, 15.5, 22.5, 27.5, 30
    let doubled: Case<'_> = (&[1, 1, 12, 1], 0.5, 3, &[0, 2, 4, 3, -3, -4, 0, 6, 16, 22, 28, 30]);
    int8(resized(12), &[(&[1, 1, 6, 1], 0.5, 3, &[0, 6, -6, 2, 20, 30])], doubled);
    // -128, -64.25, 63.25, 127
    int8(resized(4), &[(&[1, 1, 2, 1], 0.5, 3, &[-128, 127])], (&[1, 1, 4, 1], 0.5, 3, &[-128, -64, 63, 127]));
    // 0, 63.75, 191.25, 255
    uint8(resized(4), &[(&[1, 1, 2, 1], 0.5, 200, &[0, 255])], (&[1, 1, 4, 1], 0.5, 200, &[0, 64, 191, 255]));
}

#[test]
fn tables_of_gates_and_clamps() {
    let x: Case<'_> = (&[1, 5], 0.05, -7, &[-128, -27, -7, 33, 127]);
    int8(Op::HardSigmoid { alpha: 0.25, beta: 0.5 }, &[x], (&[1, 5], 0.004, -128, &[-128, -66, -3, 122, 122]));
    int8(Op::Clamp { min: -1.0, max: 2.0 }, &[x], (&[1, 5], 0.05, -7, &[-27, -27, -7, 33, 33]));
}
