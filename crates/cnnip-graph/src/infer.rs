//! The output shape that an operator's attributes and inputs imply.

mod boxes;
mod movement;

use crate::op::{Conv2d, DepthwiseConv2d, FullyConnected, Hw, Mean, Op, Pad, Padding, Pool2d, TransposeConv2d};
use crate::tensor::{Shape, ShapeError};

/// Why an operator cannot work on these inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// The number of inputs is not one the operator takes.
    #[error("{found} inputs where the operator takes {least} to {most}")]
    Inputs {
        /// Inputs given.
        found: usize,
        /// Fewest it takes.
        least: usize,
        /// Most it takes.
        most: usize,
    },
    /// An input has the wrong number of dimensions.
    #[error("the {what} has shape {found}, expected {want} dimensions")]
    Rank {
        /// Which input.
        what: &'static str,
        /// Dimensions it should have.
        want: usize,
        /// Its shape.
        found: Shape,
    },
    /// An extent that must be at least 1 is 0.
    #[error("the {what} is zero")]
    Zero {
        /// What it is the extent of.
        what: &'static str,
    },
    /// The window, after dilation, is larger than the padded input.
    #[error("a window of {window} does not fit an input of {input} with padding {padding}")]
    Window {
        /// Extent after dilation.
        window: Hw,
        /// Extent of the input.
        input: Hw,
        /// Padding around it.
        padding: Padding,
    },
    /// The weights do not fit the channels.
    #[error("weights of shape {weights} do not fit {channels} input channels in {groups} groups")]
    Channels {
        /// Shape of the weights.
        weights: Shape,
        /// Channels of the activation.
        channels: usize,
        /// Groups the channels fall into.
        groups: usize,
    },
    /// The bias has not one element per output channel.
    #[error("the bias has {found} elements for {want} output channels")]
    Bias {
        /// Elements of the bias.
        found: usize,
        /// Output channels.
        want: usize,
    },
    /// Two shapes do not broadcast to one another.
    #[error("shapes {a} and {b} do not match or broadcast")]
    Broadcast {
        /// Shape of the first input.
        a: Shape,
        /// Shape of the second input.
        b: Shape,
    },
    /// An axis list is not a set of ascending axes, or a permutation not a permutation.
    #[error("axes {axes:?} are not valid for {rank} dimensions")]
    Axes {
        /// The axes.
        axes: Vec<usize>,
        /// Dimensions of the input.
        rank: usize,
    },
    /// A reshape changes the number of elements.
    #[error("{from} cannot take the shape {to}: the number of elements differs")]
    Elements {
        /// Shape of the input.
        from: Shape,
        /// Shape asked for.
        to: Shape,
    },
    /// An index beyond the axis.
    #[error("index {index} is beyond axis {axis} of shape {shape}")]
    Index {
        /// The index.
        index: usize,
        /// The axis.
        axis: usize,
        /// Shape of the input.
        shape: Shape,
    },
    /// An operand of another shape than the first ones ask for.
    #[error("input {operand} has shape {found}, expected {want}")]
    Operand {
        /// Its number.
        operand: usize,
        /// The shape that fits the others.
        want: Shape,
        /// The shape it has.
        found: Shape,
    },
    /// An axis that does not fall into blocks.
    #[error("an extent of {extent} does not fall into {blocks}")]
    Blocks {
        /// The extent.
        extent: usize,
        /// What must divide it.
        blocks: usize,
    },
    /// The output is no legal shape.
    #[error(transparent)]
    Output(#[from] ShapeError),
}

/// Shape of the output of `op` on inputs of these shapes.
///
/// ```
/// # use cnnip_graph::{infer_shape, Op, Shape};
/// let op = Op::Transpose { perm: vec![0, 2, 3, 1] };
/// let shape = infer_shape(&op, &[&Shape::new([1, 3, 8, 9])?])?;
/// assert_eq!(shape.dims(), [1, 8, 9, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first rule of the operator that the shapes break.
pub fn infer_shape(op: &Op, inputs: &[&Shape]) -> Result<Shape, InferError> {
    let (least, most) = op.inputs();
    let arity = InferError::Inputs { found: inputs.len(), least, most };
    if !(least..=most).contains(&inputs.len()) {
        return Err(arity);
    }
    let &[x, ref rest @ ..] = inputs else { return Err(arity) };
    match op {
        Op::Conv2d(conv) => conv2d(conv, x, rest),
        Op::TransposeConv2d(conv) => transpose_conv2d(conv, x, rest),
        Op::DepthwiseConv2d(conv) => depthwise(conv, x, rest),
        Op::FullyConnected(layer) => fully_connected(layer, x, rest),
        Op::MaxPool2d(pool) | Op::AveragePool2d(pool) => pool2d(pool, x),
        Op::Mean(mean) | Op::Sum(mean) | Op::ReduceMax(mean) | Op::ReduceMin(mean) => reduce(mean, x),
        Op::Concat { axis } => movement::concat(*axis, inputs),
        Op::Pack { axis } => movement::pack(*axis, inputs),
        Op::Slice(op) => movement::slice(op, x),
        Op::Gather(op) => movement::gather(op, x),
        Op::Take(op) => movement::take(op, x),
        Op::ResizeNearest(op) => movement::resize_nearest(op, x),
        Op::ResizeBilinear(op) => resized(op.output, x),
        Op::ArgMax(arg) | Op::ArgMin(arg) => reduce(&Mean { axes: vec![arg.axis], keep_dims: arg.keep_dims }, x),
        Op::DepthToSpace { block } => movement::depth_to_space(*block, x),
        Op::SpaceToDepth { block } => movement::space_to_depth(*block, x),
        Op::SpaceToBatch(op) => movement::space_to_batch(op, x),
        Op::BatchToSpace(op) => movement::batch_to_space(op, x),
        Op::Pad(pad) => padded(pad, x),
        Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } | Op::Div { .. } | Op::Pow | Op::Maximum | Op::Minimum => {
            rest.first().map_or(Err(arity), |b| broadcast(x, b))
        }
        Op::SquaredDifference => rest.first().map_or(Err(arity), |b| broadcast(x, b)),
        Op::Lstm(_) => lstm(x, rest),
        Op::NonMaxSuppression(op) => boxes::suppressed(op, x, rest),
        Op::Detections(op) => boxes::detected(op, x, rest),
        Op::MatMul => rest.first().map_or(Err(arity), |b| mat_mul(x, b)),
        Op::Prelu => rest.first().map_or(Err(arity), |alpha| slopes(x, alpha)),
        Op::Reshape { shape } => reshape(x, shape),
        Op::Transpose { perm } => transpose(perm, x),
        Op::Softmax { .. } if x.rank() == 0 => Err(InferError::Rank { what: "input", want: 1, found: x.clone() }),
        Op::Softmax { .. } | Op::Quantize | Op::Dequantize | Op::Relu | Op::Relu6 | Op::ReluN1To1 => Ok(x.clone()),
        Op::LeakyRelu { .. } | Op::HardSwish | Op::Logistic | Op::Tanh => Ok(x.clone()),
        Op::Clamp { .. } | Op::HardSigmoid { .. } | Op::Exp | Op::Log | Op::Sqrt | Op::Rsqrt => Ok(x.clone()),
        Op::Abs | Op::Neg | Op::Elu | Op::Gelu { .. } => Ok(x.clone()),
    }
}

fn conv2d(conv: &Conv2d, x: &Shape, rest: &[&Shape]) -> Result<Shape, InferError> {
    let [n, h, w, channels] = nhwc("input", x)?;
    let [outputs, kh, kw] = grouped(channels, conv.groups, rest)?;
    let out = windows(Hw::new(h, w), Hw::new(kh, kw), conv.stride, conv.dilation, conv.padding)?;
    Ok(Shape::new([n, out.h, out.w, outputs])?)
}

fn transpose_conv2d(conv: &TransposeConv2d, x: &Shape, rest: &[&Shape]) -> Result<Shape, InferError> {
    let [n, _, _, channels] = nhwc("input", x)?;
    let [outputs, kh, kw] = grouped(channels, conv.groups, rest)?;
    for (what, pair) in [("window", Hw::new(kh, kw)), ("stride", conv.stride), ("dilation", conv.dilation)] {
        nonzero(what, pair)?;
    }
    nonzero("output", conv.output)?;
    Ok(Shape::new([n, conv.output.h, conv.output.w, outputs])?)
}

/// Output channels, rows and columns of a grouped kernel, its weights and bias checked.
fn grouped(channels: usize, groups: usize, rest: &[&Shape]) -> Result<[usize; 3], InferError> {
    let (weights, [outputs, kh, kw, depth]) = weights4(rest)?;
    let fits = groups != 0 && depth.checked_mul(groups) == Some(channels) && outputs % groups == 0;
    if !fits {
        return Err(InferError::Channels { weights: weights.clone(), channels, groups });
    }
    bias(rest, outputs)?;
    Ok([outputs, kh, kw])
}

/// Weights, recurrent weights and biases of the four gates follow the sequence.
fn lstm(x: &Shape, rest: &[&Shape]) -> Result<Shape, InferError> {
    let &[outer, inner, depth] = x.dims() else {
        return Err(InferError::Rank { what: "input", want: 3, found: x.clone() });
    };
    let units = rest.first().and_then(|weights| weights.dims().first()).copied().unwrap_or(0);
    let want: [&[usize]; 3] = [&[units, depth], &[units, units], &[units]];
    for (operand, found) in rest.iter().enumerate() {
        let want = want.get(operand / 4).copied().unwrap_or_default();
        if found.dims() != want {
            return Err(InferError::Operand { operand: operand + 1, want: Shape::new(want)?, found: (*found).clone() });
        }
    }
    Ok(Shape::new([outer, inner, units])?)
}

fn resized(output: Hw, x: &Shape) -> Result<Shape, InferError> {
    let [n, _, _, channels] = nhwc("input", x)?;
    nonzero("output", output)?;
    Ok(Shape::new([n, output.h, output.w, channels])?)
}

fn depthwise(conv: &DepthwiseConv2d, x: &Shape, rest: &[&Shape]) -> Result<Shape, InferError> {
    let [n, h, w, channels] = nhwc("input", x)?;
    let (weights, [one, kh, kw, outputs]) = weights4(rest)?;
    if one != 1 || channels.checked_mul(conv.multiplier) != Some(outputs) {
        return Err(InferError::Channels { weights: weights.clone(), channels, groups: channels });
    }
    bias(rest, outputs)?;
    let out = windows(Hw::new(h, w), Hw::new(kh, kw), conv.stride, conv.dilation, conv.padding)?;
    Ok(Shape::new([n, out.h, out.w, outputs])?)
}

fn fully_connected(layer: &FullyConnected, x: &Shape, rest: &[&Shape]) -> Result<Shape, InferError> {
    let &[weights, ..] = rest else { return Err(InferError::Zero { what: "number of weights" }) };
    let &[outputs, depth] = weights.dims() else {
        return Err(InferError::Rank { what: "weights", want: 2, found: weights.clone() });
    };
    let mismatch = InferError::Channels { weights: weights.clone(), channels: x.elements(), groups: 1 };
    if depth == 0 || !x.elements().is_multiple_of(depth) {
        return Err(mismatch);
    }
    bias(rest, outputs)?;
    if !layer.keep_num_dims {
        return Ok(Shape::new([x.elements() / depth, outputs])?);
    }
    match x.dims() {
        [outer @ .., last] if *last == depth => Ok(Shape::new([outer, &[outputs]].concat())?),
        _ => Err(mismatch),
    }
}

fn pool2d(pool: &Pool2d, x: &Shape) -> Result<Shape, InferError> {
    let [n, h, w, c] = nhwc("input", x)?;
    let out = windows(Hw::new(h, w), pool.window, pool.stride, Hw::ONE, pool.padding)?;
    Ok(Shape::new([n, out.h, out.w, c])?)
}

fn reduce(mean: &Mean, x: &Shape) -> Result<Shape, InferError> {
    let ascending = mean.axes.is_sorted_by(|a, b| a < b);
    if !ascending || mean.axes.iter().any(|&axis| axis >= x.rank()) {
        return Err(InferError::Axes { axes: mean.axes.clone(), rank: x.rank() });
    }
    let kept = |(axis, &dim): (usize, &usize)| match (mean.axes.contains(&axis), mean.keep_dims) {
        (false, _) => Some(dim),
        (true, true) => Some(1),
        (true, false) => None,
    };
    Ok(Shape::new(x.dims().iter().enumerate().filter_map(kept).collect::<Vec<_>>())?)
}

fn padded(pad: &Pad, x: &Shape) -> Result<Shape, InferError> {
    for amounts in [&pad.before, &pad.after] {
        if amounts.len() != x.rank() {
            return Err(InferError::Rank { what: "input", want: amounts.len(), found: x.clone() });
        }
    }
    let grown = x.dims().iter().zip(&pad.before).zip(&pad.after);
    Ok(Shape::new(
        grown.map(|((dim, before), after)| dim.saturating_add(*before).saturating_add(*after)).collect::<Vec<_>>(),
    )?)
}

/// The shape of an element-wise operation: aligned at the last axis, extents of 1 repeated.
fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, InferError> {
    let rank = a.rank().max(b.rank());
    let from_end = |shape: &Shape, back: usize| shape.dims().iter().rev().nth(back).copied().unwrap_or(1);
    let pairs = (0..rank).rev().map(|back| (from_end(a, back), from_end(b, back)));
    let dims = pairs.map(|pair| match pair {
        (x, y) if x == y => Some(x),
        (1, other) | (other, 1) => Some(other),
        _ => None,
    });
    let dims: Option<Vec<usize>> = dims.collect();
    Ok(Shape::new(dims.ok_or_else(|| InferError::Broadcast { a: a.clone(), b: b.clone() })?)?)
}

/// The shape of a matrix product: the last two axes multiply, those in front broadcast.
fn mat_mul(a: &Shape, b: &Shape) -> Result<Shape, InferError> {
    let mismatch = || InferError::Broadcast { a: a.clone(), b: b.clone() };
    let ([outer_a @ .., rows, depth], [outer_b @ .., other, columns]) = (a.dims(), b.dims()) else {
        return Err(mismatch());
    };
    if depth != other {
        return Err(mismatch());
    }
    let outer = broadcast(&Shape::new(outer_a)?, &Shape::new(outer_b)?).map_err(|_| mismatch())?;
    Ok(Shape::new([outer.dims(), &[*rows, *columns]].concat())?)
}

/// The shape of a parametric RELU: slopes are repeated, the input is not.
fn slopes(x: &Shape, alpha: &Shape) -> Result<Shape, InferError> {
    let shape = broadcast(x, alpha)?;
    if shape == *x { Ok(shape) } else { Err(InferError::Broadcast { a: x.clone(), b: alpha.clone() }) }
}

fn reshape(x: &Shape, shape: &Shape) -> Result<Shape, InferError> {
    if x.elements() == shape.elements() {
        return Ok(shape.clone());
    }
    Err(InferError::Elements { from: x.clone(), to: shape.clone() })
}

fn transpose(perm: &[usize], x: &Shape) -> Result<Shape, InferError> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.rank()) {
        return Err(InferError::Axes { axes: perm.to_vec(), rank: x.rank() });
    }
    Ok(Shape::new(perm.iter().map(|&axis| x.dims()[axis]).collect::<Vec<_>>())?)
}

fn nhwc(what: &'static str, shape: &Shape) -> Result<[usize; 4], InferError> {
    shape.nhwc().ok_or_else(|| InferError::Rank { what, want: 4, found: shape.clone() })
}

/// The first of the further inputs, as weights of four dimensions.
fn weights4<'a>(rest: &[&'a Shape]) -> Result<(&'a Shape, [usize; 4]), InferError> {
    let &[weights, ..] = rest else { return Err(InferError::Zero { what: "number of weights" }) };
    Ok((weights, nhwc("weights", weights)?))
}

/// Checks the bias, the second of the further inputs, if there is one.
fn bias(rest: &[&Shape], want: usize) -> Result<(), InferError> {
    match rest.get(1).map(|bias| bias.elements()) {
        Some(found) if found != want => Err(InferError::Bias { found, want }),
        _ => Ok(()),
    }
}

/// Number of window positions in each direction.
fn windows(input: Hw, kernel: Hw, stride: Hw, dilation: Hw, padding: Padding) -> Result<Hw, InferError> {
    for (what, pair) in [("window", kernel), ("stride", stride), ("dilation", dilation)] {
        nonzero(what, pair)?;
    }
    let window = Hw::new(dilated(kernel.h, dilation.h), dilated(kernel.w, dilation.w));
    let h = positions(input.h, window.h, stride.h, (padding.top, padding.bottom));
    let w = positions(input.w, window.w, stride.w, (padding.left, padding.right));
    match (h, w) {
        (Some(h), Some(w)) => Ok(Hw::new(h, w)),
        _ => Err(InferError::Window { window, input, padding }),
    }
}

fn nonzero(what: &'static str, pair: Hw) -> Result<(), InferError> {
    if pair.h == 0 || pair.w == 0 { Err(InferError::Zero { what }) } else { Ok(()) }
}

/// Extent of `kernel` elements that stand `dilation` apart; neither is 0.
pub(crate) const fn dilated(kernel: usize, dilation: usize) -> usize {
    kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

fn positions(input: usize, window: usize, stride: usize, padding: (usize, usize)) -> Option<usize> {
    let extent = input.checked_add(padding.0)?.checked_add(padding.1)?;
    Some(extent.checked_sub(window)? / stride + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Activation, PadValue};

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    fn infer(op: Op, inputs: &[&[usize]]) -> Result<Vec<usize>, InferError> {
        let shapes: Vec<Shape> = inputs.iter().map(|dims| shape(dims)).collect();
        infer_shape(&op, &shapes.iter().collect::<Vec<_>>()).map(|shape| shape.dims().to_vec())
    }

    fn conv(groups: usize) -> Conv2d {
        Conv2d {
            stride: Hw::new(2, 1),
            dilation: Hw::new(1, 2),
            padding: Padding { top: 1, bottom: 0, left: 0, right: 3 },
            groups,
            activation: Activation::None,
        }
    }

    fn pool(window: Hw) -> Pool2d {
        Pool2d { window, stride: window, padding: Padding::NONE, activation: Activation::None }
    }

    #[test]
    fn convolutions() {
        // rows: (9 + 1 - 3) / 2 + 1; columns: 8 + 3 - (1 + 2 * 2) + 1
        assert_eq!(infer(Op::Conv2d(conv(1)), &[&[1, 9, 8, 4], &[6, 3, 3, 4], &[6]]), Ok(vec![1, 4, 7, 6]));
        assert_eq!(infer(Op::Conv2d(conv(2)), &[&[2, 9, 8, 4], &[6, 3, 3, 2]]), Ok(vec![2, 4, 7, 6]));
        let depthwise = |multiplier| {
            let Conv2d { stride, dilation, padding, activation, .. } = conv(1);
            Op::DepthwiseConv2d(DepthwiseConv2d { stride, dilation, padding, multiplier, activation })
        };
        assert_eq!(infer(depthwise(2), &[&[1, 9, 8, 3], &[1, 3, 3, 6], &[6]]), Ok(vec![1, 4, 7, 6]));
        assert!(matches!(infer(depthwise(1), &[&[1, 9, 8, 3], &[1, 3, 3, 6]]), Err(InferError::Channels { .. })));
    }

    #[test]
    fn convolutions_that_do_not_fit() {
        let run = |inputs: &[&[usize]], groups| infer(Op::Conv2d(conv(groups)), inputs).unwrap_err();
        assert!(matches!(run(&[&[1, 9, 8, 4]], 1), InferError::Inputs { found: 1, least: 2, most: 3 }));
        assert!(matches!(run(&[&[9, 8, 4], &[6, 3, 3, 4]], 1), InferError::Rank { what: "input", .. }));
        assert!(matches!(run(&[&[1, 9, 8, 4], &[6, 3, 4]], 1), InferError::Rank { what: "weights", .. }));
        assert!(matches!(run(&[&[1, 9, 8, 4], &[6, 3, 3, 3]], 1), InferError::Channels { .. }));
        assert!(matches!(run(&[&[1, 9, 8, 4], &[6, 3, 3, 0]], 0), InferError::Channels { .. }));
        assert!(matches!(run(&[&[1, 9, 8, 4], &[6, 3, 3, 4], &[5]], 1), InferError::Bias { found: 5, want: 6 }));
        assert!(matches!(run(&[&[1, 1, 8, 4], &[6, 3, 3, 4]], 1), InferError::Window { .. }));
        assert!(matches!(run(&[&[1, 9, 8, 4], &[6, 0, 3, 4]], 1), InferError::Zero { what: "window" }));
    }

    #[test]
    fn transposed_convolutions_state_their_output() {
        let of = |output| {
            let (stride, crop) = (Hw::new(2, 3), Hw::new(1, 0));
            let activation = Activation::None;
            Op::TransposeConv2d(TransposeConv2d { stride, dilation: Hw::ONE, crop, output, groups: 2, activation })
        };
        let run = |output| infer(of(output), &[&[1, 9, 8, 4], &[6, 3, 3, 2], &[6]]);
        assert_eq!(run(Hw::new(18, 24)), Ok(vec![1, 18, 24, 6]));
        assert!(matches!(run(Hw::new(18, 0)), Err(InferError::Zero { what: "output" })));
        let wide = infer(of(Hw::ONE), &[&[1, 9, 8, 4], &[6, 3, 3, 4]]);
        assert!(matches!(wide, Err(InferError::Channels { groups: 2, .. })));
    }

    #[test]
    fn resizes_and_indices_of_extrema() {
        let grid = crate::op::Grid::HalfPixel;
        let bilinear = Op::ResizeBilinear(crate::op::ResizeBilinear { output: Hw::new(3, 5), grid });
        assert_eq!(infer(bilinear, &[&[2, 9, 8, 4]]), Ok(vec![2, 3, 5, 4]));
        let arg = |axis, keep_dims| Op::ArgMax(crate::op::ArgExtremum { axis, keep_dims });
        assert_eq!(infer(arg(1, false), &[&[2, 9, 8]]), Ok(vec![2, 8]));
        assert_eq!(infer(arg(2, true), &[&[2, 9, 8]]), Ok(vec![2, 9, 1]));
        assert!(matches!(infer(arg(3, true), &[&[2, 9, 8]]), Err(InferError::Axes { .. })));
    }

    #[test]
    fn fully_connected_layers() {
        let layer = |keep_num_dims| Op::FullyConnected(FullyConnected { activation: Activation::None, keep_num_dims });
        assert_eq!(infer(layer(false), &[&[2, 2, 6], &[5, 12]]), Ok(vec![2, 5]));
        assert_eq!(infer(layer(true), &[&[2, 2, 6], &[5, 6], &[5]]), Ok(vec![2, 2, 5]));
        assert!(matches!(infer(layer(true), &[&[2, 2, 6], &[5, 12]]), Err(InferError::Channels { .. })));
        assert!(matches!(infer(layer(false), &[&[2, 5], &[5, 12]]), Err(InferError::Channels { .. })));
        assert!(matches!(infer(layer(false), &[&[2, 5], &[5]]), Err(InferError::Rank { what: "weights", .. })));
        assert!(matches!(infer(layer(false), &[&[2, 5], &[4, 5], &[5]]), Err(InferError::Bias { .. })));
    }

    #[test]
    fn pools_means_and_pads() {
        assert_eq!(infer(Op::MaxPool2d(pool(Hw::new(2, 3))), &[&[1, 5, 6, 7]]), Ok(vec![1, 2, 2, 7]));
        assert!(matches!(
            infer(Op::AveragePool2d(pool(Hw::new(0, 3))), &[&[1, 5, 6, 7]]),
            Err(InferError::Zero { .. })
        ));
        let mean = |axes: &[usize], keep_dims| Op::Mean(Mean { axes: axes.to_vec(), keep_dims });
        assert_eq!(infer(mean(&[1, 2], false), &[&[1, 5, 6, 7]]), Ok(vec![1, 7]));
        assert_eq!(infer(mean(&[1, 2], true), &[&[1, 5, 6, 7]]), Ok(vec![1, 1, 1, 7]));
        for axes in [&[2, 1][..], &[1, 1], &[4]] {
            assert!(matches!(infer(mean(axes, true), &[&[1, 5, 6, 7]]), Err(InferError::Axes { .. })));
        }
        let pad = |before: &[usize], after: &[usize]| {
            Op::Pad(Pad { before: before.to_vec(), after: after.to_vec(), value: PadValue::Zero })
        };
        assert_eq!(infer(pad(&[0, 1], &[2, 0]), &[&[4, 5]]), Ok(vec![6, 6]));
        assert!(matches!(infer(pad(&[0], &[2, 0]), &[&[4, 5]]), Err(InferError::Rank { .. })));
        assert!(matches!(infer(pad(&[usize::MAX, 1], &[2, 0]), &[&[4, 5]]), Err(InferError::Output(_))));
    }

    #[test]
    fn shapes_and_broadcasts() {
        let add = || Op::Add { activation: Activation::None };
        assert_eq!(infer(add(), &[&[2, 1, 3], &[4, 1]]), Ok(vec![2, 4, 3]));
        assert_eq!(infer(add(), &[&[], &[4, 1]]), Ok(vec![4, 1]));
        assert!(matches!(infer(add(), &[&[2, 3], &[2]]), Err(InferError::Broadcast { .. })));
        assert_eq!(infer(Op::Maximum, &[&[1, 3], &[2, 1]]), Ok(vec![2, 3]));
        assert_eq!(infer(Op::Prelu, &[&[2, 4, 3], &[1, 3]]), Ok(vec![2, 4, 3]));
        assert!(matches!(infer(Op::Prelu, &[&[2, 1, 3], &[4, 3]]), Err(InferError::Broadcast { .. })));
        assert_eq!(infer(Op::MatMul, &[&[5, 1, 2, 3], &[4, 3, 6]]), Ok(vec![5, 4, 2, 6]));
        for b in [&[3][..], &[2, 6], &[2, 3, 6]] {
            assert!(matches!(infer(Op::MatMul, &[&[4, 2, 3], b]), Err(InferError::Broadcast { .. })));
        }
        let to = |dims: &[usize]| Op::Reshape { shape: shape(dims) };
        assert_eq!(infer(to(&[3, 2]), &[&[6]]), Ok(vec![3, 2]));
        assert!(matches!(infer(to(&[3]), &[&[6]]), Err(InferError::Elements { .. })));
        let swap = |perm: &[usize]| Op::Transpose { perm: perm.to_vec() };
        assert_eq!(infer(swap(&[2, 0, 1]), &[&[4, 5, 6]]), Ok(vec![6, 4, 5]));
        for perm in [&[0, 0][..], &[0, 2], &[0]] {
            assert!(matches!(infer(swap(perm), &[&[4, 5]]), Err(InferError::Axes { .. })));
        }
        assert!(matches!(infer(Op::Softmax { beta: 1.0 }, &[&[]]), Err(InferError::Rank { .. })));
        assert_eq!(infer(Op::Relu6, &[&[4, 5]]), Ok(vec![4, 5]));
    }
}
