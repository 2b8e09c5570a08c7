use super::*;
use cnnip_graph::{
    Activation, ArgExtremum, Blocks, Conv2d, ElementType, Gather, GraphBuilder, Grid, Hw, Mean, Pad, PadValue, Padding,
    Pool2d, Quantization, ResizeBilinear, ResizeNearest, Shape, Slice, Take, Tensor, TransposeConv2d,
};

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

fn constant(name: &str, dims: &[usize], values: &[f32]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::new(name, shape(dims), ElementType::F32).constant(bytes)
}

/// The output of one node on an input that counts up from 1, and constants.
fn counted(op: Op, dims: &[usize], constants: Vec<Tensor>) -> Vec<f32> {
    let mut build = GraphBuilder::new("one");
    let x = build.input(Tensor::new("x", shape(dims), ElementType::F32));
    let constants = constants.into_iter().map(|tensor| build.tensor(tensor));
    let inputs: Vec<TensorId> = [x].into_iter().chain(constants.collect::<Vec<_>>()).collect();
    let y = build.apply("y", op, &inputs);
    build.output(y);
    let graph = build.finish().unwrap();
    let count: usize = dims.iter().product();
    let input = (1..=u16::try_from(count).unwrap()).map(f32::from).collect();
    evaluate(&graph, &[Elements::Real(input)], Ties::Even).unwrap().real(&graph, y).unwrap()
}

#[test]
fn a_grouped_convolution_by_hand() {
    let conv = Op::Conv2d(Conv2d {
        stride: Hw::new(1, 2),
        dilation: Hw::ONE,
        padding: Padding { left: 1, ..Padding::NONE },
        groups: 2,
        activation: Activation::Relu,
    });
    let weights = constant("w", &[2, 1, 2, 1], &[1.0, 10.0, -1.0, 1.0]);
    let bias = constant("b", &[2], &[0.5, -2.0]);
    // pixels (1, 2), (3, 4), (5, 6); windows (pad, 0) and (1, 2)
    assert_eq!(counted(conv, &[1, 1, 3, 2], vec![weights, bias]), [10.5, 0.0, 53.5, 0.0]);
}

#[test]
fn pools_leave_padding_out() {
    let pool = Pool2d {
        window: Hw::new(2, 2),
        stride: Hw::ONE,
        padding: Padding { top: 1, ..Padding::NONE },
        activation: Activation::None,
    };
    assert_eq!(counted(Op::AveragePool2d(pool.clone()), &[1, 2, 2, 1], vec![]), [1.5, 2.5]);
    assert_eq!(counted(Op::MaxPool2d(pool), &[1, 2, 2, 1], vec![]), [2.0, 4.0]);
}

#[test]
fn reductions_run_over_any_axes() {
    let over = |axes: &[usize]| Mean { axes: axes.to_vec(), keep_dims: false };
    assert_eq!(counted(Op::Mean(over(&[0, 2])), &[2, 2, 2], vec![]), [3.5, 5.5]);
    assert_eq!(counted(Op::Sum(over(&[1])), &[2, 3], vec![]), [6.0, 15.0]);
    assert_eq!(counted(Op::ReduceMin(over(&[0])), &[2, 3], vec![]), [1.0, 2.0, 3.0]);
}

#[test]
fn broadcasts_repeat_what_has_extent_one() {
    let add = Op::Mul { activation: Activation::Relu6 };
    assert_eq!(counted(add, &[2, 2], vec![constant("b", &[2, 1], &[1.0, -1.0])]), [1.0, 2.0, 0.0, 0.0]);
    assert_eq!(counted(Op::Prelu, &[1, 3], vec![constant("b", &[3], &[1.0, 2.0, 3.0])]), [1.0, 2.0, 3.0]);
}

#[test]
fn movements_find_their_elements() {
    let slice = Slice { begin: vec![1, 0], stride: vec![1, 2], count: vec![1, 2], dropped: vec![0] };
    assert_eq!(counted(Op::Slice(slice), &[2, 3], vec![]), [4.0, 6.0]);
    let gather = Gather { axis: 1, indices: vec![2, 0], shape: shape(&[2]) };
    assert_eq!(counted(Op::Gather(gather), &[2, 3], vec![]), [3.0, 1.0, 6.0, 4.0]);
    assert_eq!(counted(Op::Transpose { perm: vec![1, 0] }, &[2, 3], vec![]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(
        counted(Op::Concat { axis: 1 }, &[2, 1], vec![constant("c", &[2, 1], &[8.0, 9.0])]),
        [1.0, 8.0, 2.0, 9.0]
    );
    assert_eq!(counted(Op::Pack { axis: 0 }, &[2], vec![constant("c", &[2], &[8.0, 9.0])]), [1.0, 2.0, 8.0, 9.0]);
    let pad = Pad { before: vec![1], after: vec![1], value: PadValue::Float(-1.0) };
    assert_eq!(counted(Op::Pad(pad), &[2], vec![]), [-1.0, 1.0, 2.0, -1.0]);
}

/// Depth to space and batch to space undo their inverses.
#[test]
fn blocks_go_there_and_back() {
    let there = counted(Op::SpaceToDepth { block: 2 }, &[1, 2, 4, 1], vec![]);
    assert_eq!(there, [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
    assert_eq!(counted(Op::DepthToSpace { block: 2 }, &[1, 1, 1, 4], vec![]), [1.0, 2.0, 3.0, 4.0]);
    let blocks = Blocks { block: vec![1, 2], before: vec![0, 1], after: vec![0, 0] };
    assert_eq!(counted(Op::SpaceToBatch(blocks.clone()), &[1, 1, 3, 1], vec![]), [0.0, 2.0, 1.0, 3.0]);
    assert_eq!(counted(Op::BatchToSpace(blocks), &[2, 1, 2, 1], vec![]), [3.0, 2.0, 4.0]);
}

#[test]
fn resizes_and_takes_by_hand() {
    let bilinear = |grid| Op::ResizeBilinear(ResizeBilinear { output: Hw::new(1, 4), grid });
    assert_eq!(counted(bilinear(Grid::HalfPixel), &[1, 1, 2, 1], vec![]), [1.0, 1.25, 1.75, 2.0]);
    assert_eq!(counted(bilinear(Grid::Asymmetric), &[1, 1, 2, 1], vec![]), [1.0, 1.5, 2.0, 2.0]);
    assert_eq!(counted(bilinear(Grid::AlignCorners), &[1, 1, 4, 1], vec![]), [1.0, 2.0, 3.0, 4.0]);
    let resize = ResizeNearest { rows: vec![1], columns: vec![0, 0, 1] };
    assert_eq!(counted(Op::ResizeNearest(resize), &[1, 2, 2, 1], vec![]), [3.0, 3.0, 4.0]);
    let take = Take::new(vec![vec![0, 0], vec![2, 1]]);
    assert_eq!(counted(Op::Take(take), &[3], vec![]), [3.0, 2.0, 3.0, 2.0]);
}

#[test]
fn extrema_have_the_lowest_index() {
    let mut build = GraphBuilder::new("arg");
    let x = build.input(Tensor::new("x", shape(&[2, 3]), ElementType::F32));
    let op = Op::ArgMax(ArgExtremum { axis: 1, keep_dims: false });
    let y = build.apply_as("y", op, &[x], ElementType::I64, None);
    build.output(y);
    let inputs = [Elements::Real(vec![1.0, 4.0, 4.0, 0.0, -1.0, -2.0])];
    let values = evaluate(&build.finish().unwrap(), &inputs, Ties::Even).unwrap();
    assert_eq!(values.get(y), Some(&Elements::Integer(vec![1, 0])));
}

/// Two inputs, three taps, stride 2: taps at 0, 1, 2 and 2, 3, 4; one column cut off in front.
#[test]
fn a_transposed_convolution_by_hand() {
    let conv = Op::TransposeConv2d(TransposeConv2d {
        stride: Hw::new(1, 2),
        dilation: Hw::ONE,
        crop: Hw::new(0, 1),
        output: Hw::new(1, 5),
        groups: 1,
        activation: Activation::None,
    });
    let weights = constant("w", &[1, 1, 3, 1], &[1.0, 10.0, 100.0]);
    assert_eq!(counted(conv, &[1, 1, 2, 1], vec![weights]), [10.0, 102.0, 20.0, 200.0, 0.0]);
}

#[test]
fn matrix_products_broadcast_in_front() {
    let b = constant("b", &[2, 3, 1], &[1.0, 0.0, 0.0, 0.0, 0.0, 2.0]);
    assert_eq!(counted(Op::MatMul, &[2, 3], vec![b]), [1.0, 4.0, 6.0, 12.0]);
}

#[test]
fn integers_without_a_scale_divide_to_integers() {
    let mut build = GraphBuilder::new("quotient");
    let integers = |name: &str| Tensor::new(name, shape(&[2]), ElementType::I32);
    let (a, b) = (build.input(integers("a")), build.input(integers("b")));
    let y = build.apply("y", Op::Div { activation: Activation::None }, &[a, b]);
    build.output(y);
    let inputs = [Elements::Integer(vec![7, -7]), Elements::Integer(vec![4, 4])];
    let values = evaluate(&build.finish().unwrap(), &inputs, Ties::Even).unwrap();
    assert_eq!(values.get(y), Some(&Elements::Integer(vec![1, -1])));
}

#[test]
fn functions() {
    assert_eq!(counted(Op::Clamp { min: 1.5, max: f32::INFINITY }, &[2], vec![]), [1.5, 2.0]);
    assert_eq!(counted(Op::HardSigmoid { alpha: 0.25, beta: 0.25 }, &[4], vec![]), [0.5, 0.75, 1.0, 1.0]);
    assert_eq!(counted(Op::Pow, &[3], vec![constant("b", &[1], &[2.0])]), [1.0, 4.0, 9.0]);
    assert_eq!(counted(Op::HardSwish, &[3], vec![]), [4.0 / 6.0, 10.0 / 6.0, 3.0]);
    let shares = counted(Op::Softmax { beta: 1.0 }, &[2], vec![]);
    assert!((shares[0] - 0.268_941_42).abs() < 1e-7 && (shares[0] + shares[1] - 1.0).abs() < 1e-7);
    assert_eq!(counted(Op::LeakyRelu { alpha: 0.5 }, &[2], vec![]), [1.0, 2.0]);
}

/// A quantized sum: 1.5 and 0.5 on a grid of halves, rounded to whole numbers.
#[test]
fn quantized_tensors_round_to_their_grids() {
    let mut build = GraphBuilder::new("sum");
    let quantized = |name: &str, scale, zero| {
        Tensor::new(name, shape(&[2]), ElementType::I8).quantized(Quantization::per_tensor(scale, zero))
    };
    let a = build.input(quantized("a", 0.5, 0));
    let b = build.input(quantized("b", 0.25, 1));
    let sum = build.node(Op::Add { activation: Activation::None }, &[a, b], quantized("sum", 1.0, -3));
    let real = build.apply_as("real", Op::Dequantize, &[sum], ElementType::F32, None);
    let back = build.node(Op::Quantize, &[real], quantized("back", 2.0, 0));
    build.output(back);
    let graph = build.finish().unwrap();
    let inputs = [Elements::Integer(vec![3, 127]), Elements::Integer(vec![5, 127])];
    let even = evaluate(&graph, &inputs, Ties::Even).unwrap();
    assert_eq!(even.get(sum), Some(&Elements::Integer(vec![-1, 92]))); // 2.5 and 95
    assert_eq!(even.get(real), Some(&Elements::Real(vec![2.0, 95.0])));
    let away = evaluate(&graph, &inputs, Ties::Away).unwrap();
    assert_eq!(away.get(sum), Some(&Elements::Integer(vec![0, 92])));
    assert_eq!(away.get(back), Some(&Elements::Integer(vec![2, 48])));
}

#[test]
fn inputs_are_checked() {
    let mut build = GraphBuilder::new("clamp");
    let x = build.input(Tensor::new("x", shape(&[2]), ElementType::F32));
    let y = build.apply("y", Op::Relu, &[x]);
    build.output(y);
    let graph = build.finish().unwrap();
    let refused = |inputs: &[Elements]| evaluate(&graph, inputs, Ties::Even).unwrap_err().to_string();
    assert_eq!(refused(&[]), "0 inputs are given, the network has 1");
    assert_eq!(refused(&[Elements::Real(vec![1.0])]), "input `x` has 1 elements, its shape has 2");
    assert_eq!(refused(&[Elements::Integer(vec![1, 2])]), "input `x` holds real numbers, not integers");
}
