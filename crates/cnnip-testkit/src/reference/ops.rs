//! The operators, in plain loops.

use cnnip_graph::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, FullyConnected, Graph, Mean, Node, Op, Pad, PadValue, Padding,
    Pool2d, Tensor,
};

use super::number::{
    Multiplier, Profile, clamp_range, divided, finished, float_scaled, halves_away, multiplier, rounded_i64, scaled,
    scaled_short,
};
use super::{Integers, movement};

/// A node with its tensors.
pub(super) struct At<'a> {
    graph: &'a Graph,
    pub(super) node: &'a Node,
    values: &'a Integers,
    profile: Profile,
    /// Elements of the third input, if there is one.
    bias: Vec<i64>,
}

/// Evaluates a node; `None` if its operator is not written down.
pub(super) fn node(graph: &Graph, node: &Node, values: &Integers, profile: Profile) -> Option<Vec<i64>> {
    let at = At { graph, node, values, profile, bias: bias(graph, node) };
    match &node.op {
        Op::Conv2d(op) => conv(&at, op),
        Op::DepthwiseConv2d(op) => depthwise(&at, op),
        Op::FullyConnected(op) => fully_connected(&at, op),
        Op::MaxPool2d(op) => pool(&at, op, |window| window.iter().copied().max().unwrap_or(i64::MIN)),
        Op::AveragePool2d(op) => pool(&at, op, average),
        Op::Mean(op) => mean(&at, op, divided),
        Op::Sum(op) => mean(&at, op, |by, _| by),
        Op::ReduceMax(op) => extremum(&at, op, i64::max),
        Op::ReduceMin(op) => extremum(&at, op, i64::min),
        Op::Concat { axis } => movement::concat(&at, *axis),
        Op::Pack { axis } => movement::pack(&at, *axis),
        Op::Slice(op) => movement::slice(&at, op),
        Op::Gather(op) => movement::gather(&at, op),
        Op::Take(op) => movement::take(&at, op),
        Op::DepthToSpace { block } => movement::depth_to_space(&at, *block),
        Op::SpaceToDepth { block } => movement::space_to_depth(&at, *block),
        Op::SpaceToBatch(op) => movement::space_to_batch(&at, op),
        Op::BatchToSpace(op) => movement::batch_to_space(&at, op),
        Op::Pad(op) => pad(&at, op),
        Op::Add { activation } => sum(&at, 1, *activation),
        Op::Sub { activation } => sum(&at, -1, *activation),
        Op::Mul { activation } => mul(&at, *activation),
        Op::Maximum => pairwise(&at, i64::max),
        Op::Minimum => pairwise(&at, i64::min),
        Op::Prelu => prelu(&at),
        Op::LeakyRelu { alpha } => leaky_relu(&at, *alpha),
        Op::HardSwish => hard_swish(&at),
        Op::HardSigmoid { alpha, beta } => {
            function(&at, |x| (f64::from(*alpha) * x + f64::from(*beta)).clamp(0.0, 1.0))
        }
        Op::Sqrt => function(&at, f64::sqrt),
        Op::Exp => short_function(&at, f64::exp),
        Op::Log => short_function(&at, f64::ln),
        Op::Elu => short_function(&at, |x| if x < 0.0 { x.exp_m1() } else { x }),
        Op::Abs => absolute(&at),
        Op::Neg => negated(&at),
        Op::SquaredDifference => squared_difference(&at),
        Op::Clamp { min, max } => requantized_within(&at, [*min, *max]),
        Op::Reshape { .. } => Some(at.input(0)?.to_vec()),
        Op::Transpose { perm } => transpose(&at, perm),
        Op::Quantize => requantize(&at, i64::MIN),
        Op::Relu => requantize(&at, at.zero(at.output())),
        Op::Relu6 => clamp(&at, Some(0.0), Some(6.0)),
        Op::ReluN1To1 => clamp(&at, Some(-1.0), Some(1.0)),
        _ => None,
    }
}

impl<'a> At<'a> {
    pub(super) fn tensor(&self, index: usize) -> &'a Tensor {
        &self.graph[self.node.inputs[index]]
    }

    pub(super) fn output(&self) -> &'a Tensor {
        &self.graph[self.node.outputs[0]]
    }

    pub(super) fn input(&self, index: usize) -> Option<&'a [i64]> {
        self.values[self.node.inputs[index].index()].as_deref()
    }

    fn scale(&self, tensor: &Tensor) -> f32 {
        tensor.quantization.as_ref().map_or(1.0, |quantization| quantization.scales()[0])
    }

    pub(super) fn zero(&self, tensor: &Tensor) -> i64 {
        tensor.quantization.as_ref().map_or(0, |quantization| quantization.zero_points()[0])
    }

    fn range(&self, activation: Activation) -> (i64, i64) {
        let (low, high) = activation.bounds();
        let output = self.output();
        clamp_range([low, high], self.scale(output), self.zero(output), limits(output))
    }

    /// Adds the output's zero point to a value and holds it to the output's type.
    fn held(&self, value: i64) -> i64 {
        finished(value, self.zero(self.output()), limits(self.output()))
    }

    /// The output element of an accumulator without bias.
    fn product(&self, sum: i64, channel: usize, activation: Activation) -> i64 {
        let weights = self.tensor(1).quantization.as_ref().map_or(&[1.0][..], |quantization| quantization.scales());
        let weight = if weights.len() == 1 { weights[0] } else { weights[channel] };
        let (input, output) = (self.scale(self.tensor(0)), self.scale(self.output()));
        let sum = sum + self.bias.get(channel).copied().unwrap_or(0);
        // LiteRT's uint8 kernels have the product of the scales in binary32.
        let real = match self.tensor(0).element {
            ElementType::U8 => f64::from(input * weight) / f64::from(output),
            _ => f64::from(input) * f64::from(weight) / f64::from(output),
        };
        let value = match (self.tensor(0).element, self.profile) {
            (ElementType::I16, _) => scaled_short(sum, multiplier(real)),
            (_, Profile::Float) => float_scaled(sum, input * weight / output),
            // LiteRT's fully connected for uint8 rounds once.
            (ElementType::U8, _) if matches!(self.node.op, Op::FullyConnected(_)) => {
                scaled(sum, multiplier(real), Profile::Single)
            }
            (_, profile) => scaled(sum, multiplier(real), profile),
        };
        finished(value, self.zero(self.output()), self.range(activation))
    }
}

/// The values of a tensor's type.
pub(super) fn limits(tensor: &Tensor) -> (i64, i64) {
    tensor.element.range().expect("an integer type")
}

fn bias(graph: &Graph, node: &Node) -> Vec<i64> {
    let bias = node.inputs.get(2).map(|&id| &graph[id]);
    bias.and_then(|bias| bias.data.as_ref()?.integers(bias.element)).unwrap_or_default()
}

/// Index of the input position of a tap, if it lies inside.
fn tap(output: usize, stride: usize, tap: usize, dilation: usize, before: usize, size: usize) -> Option<usize> {
    (output * stride + tap * dilation).checked_sub(before).filter(|&position| position < size)
}

fn nhwc(tensor: &Tensor) -> [usize; 4] {
    tensor.shape.nhwc().expect("inference gave four axes")
}

fn conv(at: &At<'_>, op: &Conv2d) -> Option<Vec<i64>> {
    let (x, w) = (at.input(0)?, at.input(1)?);
    let ([_, h, wd, c], [n, oh, ow, oc]) = (nhwc(at.tensor(0)), nhwc(at.output()));
    let [_, kh, kw, depth] = nhwc(at.tensor(1));
    let (zero, weight_zero, per_group) = (at.zero(at.tensor(0)), at.zero(at.tensor(1)), oc / op.groups);
    let mut out = vec![];
    for (b, y, xo, o) in indices([n, oh, ow, oc]) {
        let mut sum = 0;
        for (ky, kx) in pairs(kh, kw) {
            let row = tap(y, op.stride.h, ky, op.dilation.h, op.padding.top, h);
            let column = tap(xo, op.stride.w, kx, op.dilation.w, op.padding.left, wd);
            let Some((row, column)) = row.zip(column) else { continue };
            for d in 0..depth {
                let value = x[((b * h + row) * wd + column) * c + o / per_group * depth + d];
                let weight = w[((o * kh + ky) * kw + kx) * depth + d];
                sum += (value - zero) * (weight - weight_zero);
            }
        }
        out.push(at.product(sum, o, op.activation));
    }
    Some(out)
}

fn depthwise(at: &At<'_>, op: &DepthwiseConv2d) -> Option<Vec<i64>> {
    let (x, w) = (at.input(0)?, at.input(1)?);
    let ([_, h, wd, c], [n, oh, ow, oc]) = (nhwc(at.tensor(0)), nhwc(at.output()));
    let [_, kh, kw, _] = nhwc(at.tensor(1));
    let (zero, weight_zero) = (at.zero(at.tensor(0)), at.zero(at.tensor(1)));
    let mut out = vec![];
    for (b, y, xo, o) in indices([n, oh, ow, oc]) {
        let mut sum = 0;
        for (ky, kx) in pairs(kh, kw) {
            let row = tap(y, op.stride.h, ky, op.dilation.h, op.padding.top, h);
            let column = tap(xo, op.stride.w, kx, op.dilation.w, op.padding.left, wd);
            let Some((row, column)) = row.zip(column) else { continue };
            let value = x[((b * h + row) * wd + column) * c + o / op.multiplier];
            sum += (value - zero) * (w[(ky * kw + kx) * oc + o] - weight_zero);
        }
        out.push(at.product(sum, o, op.activation));
    }
    Some(out)
}

fn fully_connected(at: &At<'_>, op: &FullyConnected) -> Option<Vec<i64>> {
    let (x, w) = (at.input(0)?, at.input(1)?);
    let &[outputs, depth] = at.tensor(1).shape.dims() else { return None };
    let (zero, weight_zero) = (at.zero(at.tensor(0)), at.zero(at.tensor(1)));
    let mut out = vec![];
    for row in x.chunks_exact(depth) {
        for o in 0..outputs {
            let products =
                row.iter().zip(&w[o * depth..]).map(|(&value, &weight)| (value - zero) * (weight - weight_zero));
            out.push(at.product(products.sum(), o, op.activation));
        }
    }
    Some(out)
}

fn average(window: &[i64]) -> i64 {
    let (sum, count) = (window.iter().sum::<i64>(), i128::try_from(window.len()).unwrap_or(1));
    i64::try_from(halves_away(sum.into(), count)).expect("an average is not larger than its elements")
}

fn pool(at: &At<'_>, op: &Pool2d, of: impl Fn(&[i64]) -> i64) -> Option<Vec<i64>> {
    let x = at.input(0)?;
    let ([_, h, w, c], shape) = (nhwc(at.tensor(0)), nhwc(at.output()));
    let Padding { top, left, .. } = op.padding;
    let mut out = vec![];
    for (b, y, xo, channel) in indices(shape) {
        let mut window = vec![];
        for (ky, kx) in pairs(op.window.h, op.window.w) {
            let row = tap(y, op.stride.h, ky, 1, top, h);
            let column = tap(xo, op.stride.w, kx, 1, left, w);
            let Some((row, column)) = row.zip(column) else { continue };
            window.push(x[((b * h + row) * w + column) * c + channel]);
        }
        out.push(finished(of(&window), 0, at.range(op.activation)));
    }
    Some(out)
}

fn extremum(at: &At<'_>, op: &Mean, of: fn(i64, i64) -> i64) -> Option<Vec<i64>> {
    let x = at.input(0)?;
    let dims = at.tensor(0).shape.dims();
    let mut found: Vec<Option<i64>> = vec![None; at.output().shape.elements()];
    for (index, &value) in x.iter().enumerate() {
        let target = &mut found[reduced(&unflatten(index, dims), dims, op)];
        *target = Some(target.map_or(value, |other| of(other, value)));
    }
    found.into_iter().collect()
}

/// Index of the result that an element goes into.
fn reduced(place: &[usize], dims: &[usize], op: &Mean) -> usize {
    let kept = (0..dims.len()).filter(|axis| !op.axes.contains(axis));
    kept.fold(0, |target, axis| target * dims[axis] + place[axis])
}

fn mean(at: &At<'_>, op: &Mean, by: fn(Multiplier, usize) -> Multiplier) -> Option<Vec<i64>> {
    let x = at.input(0)?;
    let dims = at.tensor(0).shape.dims();
    let count: usize = op.axes.iter().map(|&axis| dims[axis]).product();
    let mut sums = vec![0_i64; at.output().shape.elements()];
    for (index, &value) in x.iter().enumerate() {
        sums[reduced(&unflatten(index, dims), dims, op)] += value - at.zero(at.tensor(0));
    }
    let real = f64::from(at.scale(at.tensor(0))) / f64::from(at.scale(at.output()));
    let by = by(multiplier(real), count);
    Some(sums.into_iter().map(|sum| at.held(scaled(sum, by, at.profile))).collect())
}

fn pad(at: &At<'_>, op: &Pad) -> Option<Vec<i64>> {
    let x = at.input(0)?;
    let value = match op.value {
        PadValue::Integer(value) => value,
        PadValue::Zero => at.zero(at.output()),
        PadValue::Float(_) => return None,
    };
    let (from, to) = (at.tensor(0).shape.dims(), at.output().shape.dims());
    let mut out = vec![value; at.output().shape.elements()];
    for (index, &value) in x.iter().enumerate() {
        let place: Vec<usize> = unflatten(index, from).iter().zip(&op.before).map(|(at, before)| at + before).collect();
        out[flatten(&place, to)] = value;
    }
    Some(out)
}

fn transpose(at: &At<'_>, perm: &[usize]) -> Option<Vec<i64>> {
    let x = at.input(0)?;
    let (from, to) = (at.tensor(0).shape.dims(), at.output().shape.dims());
    let element = |index: usize| {
        let place = unflatten(index, to);
        let mut source = vec![0; from.len()];
        perm.iter().zip(place).for_each(|(&axis, at)| source[axis] = at);
        x[flatten(&source, from)]
    };
    Some((0..x.len()).map(element).collect())
}

/// The sum of one input and `sign` times the other.
fn sum(at: &At<'_>, sign: i64, activation: Activation) -> Option<Vec<i64>> {
    let (a, b) = (at.input(0)?, at.input(1)?);
    let (sa, sb, so) = (at.scale(at.tensor(0)), at.scale(at.tensor(1)), at.scale(at.output()));
    let twice = 2.0 * f64::from(if sa > sb { sa } else { sb });
    let (ma, mb) = (multiplier(f64::from(sa) / twice), multiplier(f64::from(sb) / twice));
    let shift = if at.output().element == ElementType::I16 { 15 } else { 20 };
    let mo = multiplier(twice / (f64::from(1 << shift) * f64::from(so)));
    let dims = at.output().shape.dims();
    let operand = |index: usize, values: &[i64], tensor: &Tensor, by: Multiplier| {
        let value = values[broadcast(index, dims, tensor.shape.dims())] - at.zero(tensor);
        scaled(value << shift, by, at.profile)
    };
    let element = |index: usize| {
        let sum = operand(index, a, at.tensor(0), ma) + sign * operand(index, b, at.tensor(1), mb);
        finished(scaled(sum, mo, at.profile), at.zero(at.output()), at.range(activation))
    };
    Some((0..at.output().shape.elements()).map(element).collect())
}

/// A function of both inputs, held to the output's type.
fn pairwise(at: &At<'_>, of: impl Fn(i64, i64) -> i64) -> Option<Vec<i64>> {
    let (a, b) = (at.input(0)?, at.input(1)?);
    let dims = at.output().shape.dims();
    let value = |index: usize, values: &[i64], tensor: &Tensor| values[broadcast(index, dims, tensor.shape.dims())];
    let element = |index: usize| {
        let (a, b) = (value(index, a, at.tensor(0)), value(index, b, at.tensor(1)));
        finished(of(a, b), 0, limits(at.output()))
    };
    Some((0..at.output().shape.elements()).map(element).collect())
}

fn mul(at: &At<'_>, activation: Activation) -> Option<Vec<i64>> {
    let by = product_multiplier(at);
    let (za, zb, zero) = (at.zero(at.tensor(0)), at.zero(at.tensor(1)), at.zero(at.output()));
    let range = at.range(activation);
    pairwise(at, |a, b| finished(scaled((a - za) * (b - zb), by, at.profile), zero, range))
}

fn product_multiplier(at: &At<'_>) -> Multiplier {
    let scale = |tensor: &Tensor| f64::from(at.scale(tensor));
    multiplier(scale(at.tensor(0)) * scale(at.tensor(1)) / scale(at.output()))
}

fn prelu(at: &At<'_>) -> Option<Vec<i64>> {
    let above = multiplier(f64::from(at.scale(at.tensor(0))) / f64::from(at.scale(at.output())));
    let below = product_multiplier(at);
    let (zx, za) = (at.zero(at.tensor(0)), at.zero(at.tensor(1)));
    pairwise(at, |x, alpha| {
        let value = if x >= zx {
            scaled(x - zx, above, at.profile)
        } else {
            scaled((x - zx) * (alpha - za), below, at.profile)
        };
        at.held(value)
    })
}

/// The entries of an 8-bit table are made with two roundings in every profile. The quotients are LiteRT's for uint8.
fn leaky_relu(at: &At<'_>, alpha: f32) -> Option<Vec<i64>> {
    let (sx, so) = (at.scale(at.tensor(0)), at.scale(at.output()));
    let element = at.tensor(0).element;
    let (above, below) = match element {
        ElementType::U8 => (f64::from(sx / so), f64::from(sx * alpha / so)),
        _ => (f64::from(sx) / f64::from(so), f64::from(sx) * f64::from(alpha) / f64::from(so)),
    };
    let (above, below) = (multiplier(above), multiplier(below));
    let profile = if element == ElementType::I16 { at.profile } else { Profile::Double };
    let zx = at.zero(at.tensor(0));
    let element = |&x: &i64| {
        let difference = x - zx;
        let by = if difference < 0 { below } else { above };
        at.held(scaled(difference, by, profile))
    };
    Some(at.input(0)?.iter().map(element).collect())
}

/// A function of real numbers by itself, for 8 bits; what is no number counts as 0.
fn function(at: &At<'_>, function: impl Fn(f64) -> f64) -> Option<Vec<i64>> {
    let [from, to] = [at.tensor(0), at.output()].map(|tensor| f64::from(at.scale(tensor)));
    let zero = at.zero(at.tensor(0));
    let element = |&x: &i64| {
        let steps = i32::try_from(x - zero).ok()?;
        let result = function(f64::from(steps) * from) / to;
        let result = if result.is_nan() { 0.0 } else { result.clamp(-1e6, 1e6) };
        // Adding a half and cutting off rounds halves away from zero, as these numbers have bits to spare.
        Some(at.held(rounded_i64((result.abs() + 0.5).floor()) * if result < 0.0 { -1 } else { 1 }))
    };
    at.input(0)?.iter().map(element).collect()
}

/// The same in binary32, each operation rounded, by one over the scale; what is no number is the smallest.
#[expect(clippy::cast_possible_truncation, reason = "the nearest binary32 number is meant")]
fn short_function(at: &At<'_>, function: impl Fn(f64) -> f64) -> Option<Vec<i64>> {
    if at.output().element == ElementType::I16 {
        return None;
    }
    let [from, to] = [at.tensor(0), at.output()].map(|tensor| at.scale(tensor));
    let zero = at.zero(at.tensor(0));
    let element = |&x: &i64| {
        let real = f32::from(i16::try_from(x - zero).ok()?) * from;
        let steps = f64::from(function(real.into()) as f32 * (1.0 / to));
        let magnitude = rounded_i64((steps.abs().min(1e6) + 0.5).floor());
        Some(at.held(if steps.is_nan() { -1_000_000 } else { magnitude * if steps < 0.0 { -1 } else { 1 } }))
    };
    at.input(0)?.iter().map(element).collect()
}

/// The distance from the zero point; rescaled with two roundings for 8 bits, and not at all if the scales are one.
fn absolute(at: &At<'_>) -> Option<Vec<i64>> {
    let (input, output) = (at.tensor(0), at.output());
    let (from, to) = (at.scale(input), at.scale(output));
    let by = multiplier(f64::from(from) / f64::from(to));
    let profile = if output.element == ElementType::I16 { at.profile } else { Profile::Double };
    let element = |&x: &i64| {
        let distance = (x - at.zero(input)).abs();
        at.held(if from == to { distance } else { scaled(distance, by, profile) })
    };
    Some(at.input(0)?.iter().map(element).collect())
}

/// Around 0 the integer with the other sign, but the smallest as it is; else as a function, for 8 bits.
fn negated(at: &At<'_>) -> Option<Vec<i64>> {
    let (input, output) = (at.tensor(0), at.output());
    let alike = (at.scale(input), at.zero(input)) == (at.scale(output), at.zero(output));
    if output.element != ElementType::U8 && alike && at.zero(output) == 0 {
        let least = limits(output).0;
        return Some(at.input(0)?.iter().map(|&x| if x == least { x } else { -x }).collect());
    }
    if output.element == ElementType::I16 { None } else { function(at, |x| -x) }
}

/// Both inputs shifted left and scaled to twice the larger scale; their difference squared.
fn squared_difference(at: &At<'_>) -> Option<Vec<i64>> {
    let (sa, sb) = (at.scale(at.tensor(0)), at.scale(at.tensor(1)));
    let twice = 2.0 * f64::from(if sa > sb { sa } else { sb });
    let shift = if at.output().element == ElementType::I16 { 0 } else { 7 };
    let (ma, mb) = (multiplier(f64::from(sa) / twice), multiplier(f64::from(sb) / twice));
    let by = multiplier(twice * twice / (f64::from(1 << (2 * shift)) * f64::from(at.scale(at.output()))));
    let (za, zb) = (at.zero(at.tensor(0)), at.zero(at.tensor(1)));
    let operand = |value: i64, zero: i64, by: Multiplier| scaled((value - zero) << shift, by, at.profile);
    pairwise(at, |a, b| {
        let difference = operand(a, za, ma) - operand(b, zb, mb);
        at.held(scaled(difference * difference, by, at.profile))
    })
}

/// Requantized, and held to two real numbers in the output's quantization.
fn requantized_within(at: &At<'_>, [min, max]: [f32; 2]) -> Option<Vec<i64>> {
    let output = at.output();
    let finite = [min, max].map(|bound| Some(bound).filter(|real| real.is_finite()));
    let bounds = clamp_range(finite, at.scale(output), at.zero(output), limits(output));
    Some(requantize(at, i64::MIN)?.into_iter().map(|x| x.clamp(bounds.0, bounds.1)).collect())
}

fn hard_swish(at: &At<'_>) -> Option<Vec<i64>> {
    let fine = at.scale(at.tensor(0)) / 128.0;
    let (output, gate) = (short(fine / at.scale(at.output())), short(fine / (3.0 / 32768.0)));
    let zx = at.zero(at.tensor(0));
    let hold = |value: i64| value.clamp(-0x8000, 0x7fff);
    let element = |&x: &i64| {
        let value = (x - zx) * 128;
        let mut open = value;
        for _ in 1..gate.e {
            open = hold(open * 2);
        }
        open = hold(nearest(open, gate.m));
        if gate.e > 0 {
            open = hold(open * 2);
        }
        let open = (exactly(open, -gate.e) + 0x8000).div_euclid(2);
        let product = open * hold(nearest(value, output.m)) / 0x8000;
        at.held(exactly(product, -output.e))
    };
    Some(at.input(0)?.iter().map(element).collect())
}

/// A multiplier with 15 bits.
fn short(real: f32) -> Multiplier {
    let Multiplier { m, e } = multiplier(real.into());
    Multiplier { m: ((m + 0x8000) >> 16).min(0x7fff), e }
}

/// `value * m / 2^15`, halves up.
fn nearest(value: i64, m: i128) -> i64 {
    i64::try_from((i128::from(value) * m + 0x4000).div_euclid(0x8000)).expect("16 bits times 15")
}

/// `value / 2^bits`, halves away from zero; the value itself for negative `bits`.
fn exactly(value: i64, bits: i32) -> i64 {
    i64::try_from(halves_away(value.into(), 1 << bits.max(0))).expect("not larger than the value")
}

fn requantize(at: &At<'_>, low: i64) -> Option<Vec<i64>> {
    let (input, output) = (at.tensor(0), at.output());
    let by = multiplier(f64::from(at.scale(input)) / f64::from(at.scale(output)));
    let element = |&value: &i64| {
        let scaled = scaled(value - at.zero(input), by, at.profile);
        let (least, greatest) = limits(output);
        finished(scaled, at.zero(output), (low.max(least), greatest))
    };
    Some(at.input(0)?.iter().map(element).collect())
}

fn clamp(at: &At<'_>, low: Option<f32>, high: Option<f32>) -> Option<Vec<i64>> {
    let input = at.tensor(0);
    let range = clamp_range([low, high], at.scale(input), at.zero(input), limits(input));
    Some(at.input(0)?.iter().map(|&value| finished(value, 0, range)).collect())
}

/// All indices of a shape, the last fastest.
fn indices([n, h, w, c]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..n * h * w * c).map(move |i| (i / c / w / h, i / c / w % h, i / c % w, i % c))
}

fn pairs(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows * columns).map(move |i| (i / columns, i % columns))
}

pub(super) fn unflatten(mut index: usize, dims: &[usize]) -> Vec<usize> {
    let mut place = vec![0; dims.len()];
    for axis in (0..dims.len()).rev() {
        place[axis] = index % dims[axis];
        index /= dims[axis];
    }
    place
}

pub(super) fn flatten(place: &[usize], dims: &[usize]) -> usize {
    place.iter().zip(dims).fold(0, |index, (at, dim)| index * dim + at)
}

/// The element of a smaller tensor that meets element `index` of a shape.
fn broadcast(index: usize, dims: &[usize], of: &[usize]) -> usize {
    let place = unflatten(index, dims);
    let last = &place[dims.len() - of.len()..];
    let own: Vec<usize> = last.iter().zip(of).map(|(&at, &dim)| if dim == 1 { 0 } else { at }).collect();
    flatten(&own, of)
}
