//! Sums of products: convolutions, fully connected layers, matrix products.

use cnnip_graph::{Activation, Hw, Op};
use cnnip_kernels::float::{DepthwiseWeights, Epilogue, Finish, MapF32, PackedWeights, Residual, Rows, row_stride};
use cnnip_kernels::{Declined, Window};

use super::layer::{At, Call, Layer, clamp};
use super::pointwise::{each_place, repeated};
use crate::{Elements, FloatError};

/// Elements of the left matrix that are gathered at once: half of a second-level cache of 1 MiB.
const GATHERED: usize = 1 << 17;

/// What is fused behind a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct After {
    /// Clamp and grid of the product itself.
    pub(super) finish: Finish,
    /// Position among the step's inputs of what is added then, and the finish of that sum.
    pub(super) residual: Option<(usize, Finish)>,
}

/// A convolution as matrix products, one per group; a fully connected layer is one of a single pixel row.
struct Conv {
    groups: Vec<PackedWeights>,
    geometry: Geometry,
    after: After,
}

/// How windows lie on a map.
#[derive(Clone)]
struct Geometry {
    /// Images, rows, columns, channels.
    input: [usize; 4],
    /// Output rows and columns.
    size: Hw,
    kernel: Hw,
    stride: Hw,
    dilation: Hw,
    /// Padding above and to the left, or what a transposed convolution crops there.
    before: Hw,
    /// Whether strides count output positions.
    transposed: bool,
    /// Channels per group.
    depth: usize,
}

impl Layer for Conv {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let x = call.inputs.get(0)?;
        let residual = match self.after.residual {
            Some((input, finish)) => Some((call.inputs.get(input)?, finish)),
            None => None,
        };
        let channels: usize = self.groups.iter().map(PackedWeights::outputs).sum();
        let pixels = self.geometry.pixels();
        let mut first_output = 0;
        for (group, weights) in self.groups.iter().enumerate() {
            let stride = row_stride(weights.depth());
            let together = (GATHERED / stride).next_multiple_of(14).min(pixels);
            call.scratch.rows.resize(call.scratch.rows.len().max(together * stride), 0.0);
            for first in (0..pixels).step_by(together) {
                let count = together.min(pixels - first);
                let rows = &mut call.scratch.rows[..count * stride];
                for (pixel, row) in (first..).zip(rows.chunks_exact_mut(stride)) {
                    self.geometry.gather(x, pixel, group, &mut row[..weights.depth()]);
                }
                let at = first * channels + first_output;
                let residual = residual.map(|(values, finish)| Residual { values: &values[at..], finish });
                let epilogue = Epilogue { finish: self.after.finish, residual };
                let rows = Rows { values: rows, stride, count };
                call.kernels.product_f32(rows, weights, &epilogue, &mut call.output[at..], channels)?;
            }
            first_output += weights.outputs();
        }
        Ok(())
    }
}

impl Geometry {
    fn pixels(&self) -> usize {
        self.input[0] * self.size.h * self.size.w
    }

    /// Copies what the window at an output pixel sees of a group's channels: `[kh][kw][depth]`.
    fn gather(&self, x: &[f32], pixel: usize, group: usize, row: &mut [f32]) {
        let [_, height, width, channels] = self.input;
        let (n, y, column) =
            (pixel / self.size.w / self.size.h, pixel / self.size.w % self.size.h, pixel % self.size.w);
        let first = (column * self.stride.w).checked_sub(self.before.w);
        let dense = self.dilation.w == 1 && self.depth == channels && !self.transposed;
        for (ky, taps) in row.chunks_exact_mut(self.kernel.w * self.depth).enumerate() {
            let source = self.source(y, ky, |pair| pair.h);
            let Some(line) = source.filter(|&row| row < height) else {
                taps.fill(0.0);
                continue;
            };
            let line = &x[(n * height + line) * width * channels..][..width * channels];
            match first.filter(|first| dense && first + self.kernel.w <= width) {
                Some(first) => taps.copy_from_slice(&line[first * channels..][..taps.len()]),
                None => self.gather_taps(line, column, group, taps),
            }
        }
    }

    /// The input position of a tap along one axis, which may lie behind the input.
    fn source(&self, output: usize, tap: usize, axis: fn(Hw) -> usize) -> Option<usize> {
        let (stride, offset) = (axis(self.stride), tap * axis(self.dilation));
        if self.transposed {
            let distance = (output + axis(self.before)).checked_sub(offset)?;
            return distance.is_multiple_of(stride).then_some(distance / stride);
        }
        (output * stride + offset).checked_sub(axis(self.before))
    }

    /// As [`Geometry::gather`] for one row of the window, tap by tap.
    fn gather_taps(&self, line: &[f32], column: usize, group: usize, taps: &mut [f32]) {
        let [_, _, width, channels] = self.input;
        for (kx, tap) in taps.chunks_exact_mut(self.depth).enumerate() {
            match self.source(column, kx, |pair| pair.w).filter(|&column| column < width) {
                Some(column) => tap.copy_from_slice(&line[column * channels + group * self.depth..][..self.depth]),
                None => tap.fill(0.0),
            }
        }
    }
}

/// The fused clamp of an operator that is made of products with constant weights.
pub(super) fn activation(op: &Op) -> Option<Activation> {
    match op {
        Op::Conv2d(op) => Some(op.activation),
        Op::DepthwiseConv2d(op) => Some(op.activation),
        Op::TransposeConv2d(op) => Some(op.activation),
        Op::FullyConnected(op) => Some(op.activation),
        _ => None,
    }
}

/// Clamp and grid of a product.
pub(super) fn finish(at: At<'_>) -> Result<Finish, FloatError> {
    at.finish(activation(&at.node.op).map_or(Finish::NONE, clamp))
}

/// The step of a convolution or fully connected layer, with what is fused behind it.
pub(super) fn product(at: At<'_>, after: After) -> Result<Box<dyn Layer>, FloatError> {
    let weights = at.constant(1).ok_or_else(|| at.unsupported("has weights that are not constant"))?;
    let bias = bias(at)?;
    let step = match &at.node.op {
        Op::DepthwiseConv2d(_) => depthwise(at, &weights, &bias, after),
        Op::Conv2d(op) => at.tensor(0).zip(at.tensor(1)).and_then(|(x, w)| {
            let ([_, kh, kw, depth], [_, h, width, _]) = (w.shape.nhwc()?, at.output().shape.nhwc()?);
            let geometry = Geometry {
                input: x.shape.nhwc()?,
                size: Hw::new(h, width),
                kernel: Hw::new(kh, kw),
                stride: op.stride,
                dilation: op.dilation,
                before: Hw::new(op.padding.top, op.padding.left),
                transposed: false,
                depth,
            };
            conv(geometry, kh * kw * depth, op.groups, &weights, &bias, after)
        }),
        Op::TransposeConv2d(op) => at.tensor(0).zip(at.tensor(1)).and_then(|(x, w)| {
            let [_, kh, kw, depth] = w.shape.nhwc()?;
            let geometry = Geometry {
                input: x.shape.nhwc()?,
                size: op.output,
                kernel: Hw::new(kh, kw),
                stride: op.stride,
                dilation: op.dilation,
                before: op.crop,
                transposed: true,
                depth,
            };
            conv(geometry, kh * kw * depth, op.groups, &weights, &bias, after)
        }),
        _ => at.tensor(0).zip(at.tensor(1)).and_then(|(x, w)| {
            let &[_, depth] = w.shape.dims() else { return None };
            let geometry = Geometry {
                input: [1, x.shape.elements() / depth.max(1), 1, depth],
                size: Hw::new(x.shape.elements() / depth.max(1), 1),
                kernel: Hw::ONE,
                stride: Hw::ONE,
                dilation: Hw::ONE,
                before: Hw::new(0, 0),
                transposed: false,
                depth,
            };
            conv(geometry, depth, 1, &weights, &bias, after)
        }),
    };
    step.ok_or_else(|| at.malformed())
}

fn conv(
    geometry: Geometry,
    products: usize,
    groups: usize,
    weights: &[f32],
    bias: &[f32],
    after: After,
) -> Option<Box<dyn Layer>> {
    let outputs = weights.len().checked_div(products)?.checked_div(groups)?;
    let pack = |group: usize| {
        let bias = bias.get(group * outputs..(group + 1) * outputs).unwrap_or_default();
        let weights = weights.get(group * outputs * products..(group + 1) * outputs * products)?;
        PackedWeights::new(weights, products, bias).ok()
    };
    let groups = (0..groups).map(pack).collect::<Option<_>>()?;
    Some(Box::new(Conv { groups, geometry, after }))
}

/// The biases as real numbers; none if the node has none.
fn bias(at: At<'_>) -> Result<Vec<f32>, FloatError> {
    let Some(tensor) = at.tensor(2) else { return Ok(vec![]) };
    let elements = Elements::constant(tensor).ok_or_else(|| at.unsupported("has a bias that is not constant"))?;
    crate::reference::bias(at.graph, at.node, &elements).ok_or_else(|| at.malformed())
}

/// A depthwise convolution.
struct Depthwise {
    weights: DepthwiseWeights,
    /// Images, rows, columns, channels.
    input: [usize; 4],
    multiplier: usize,
    size: [usize; 2],
    after: After,
}

impl Layer for Depthwise {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let [images, h, w, c] = self.input;
        let mut x = call.inputs.get(0)?;
        if self.multiplier > 1 {
            let repeats = x.iter().flat_map(|&x| std::iter::repeat_n(x, self.multiplier));
            call.scratch.rows.clear();
            call.scratch.rows.extend(repeats);
            x = &call.scratch.rows;
        }
        let (input, output) = (h * w * c * self.multiplier, call.output.len() / images.max(1));
        for (values, output) in x.chunks_exact(input).zip(call.output.chunks_exact_mut(output)) {
            let map = MapF32 { values, h, w };
            call.kernels.depthwise_f32(map, &self.weights, &self.after.finish, self.size, output)?;
        }
        let Some((input, finish)) = self.after.residual else { return Ok(()) };
        let other = call.inputs.get(input)?;
        call.output.iter_mut().zip(other).for_each(|(output, &other)| *output += other);
        call.kernels.finish_f32(call.output, &finish);
        Ok(())
    }
}

fn depthwise(at: At<'_>, weights: &[f32], bias: &[f32], after: After) -> Option<Box<dyn Layer>> {
    let Op::DepthwiseConv2d(op) = &at.node.op else { return None };
    let ([_, kh, kw, channels], [_, h, w, _]) = (at.tensor(1)?.shape.nhwc()?, at.output().shape.nhwc()?);
    let window = Window {
        kh,
        kw,
        stride_y: op.stride.h,
        stride_x: op.stride.w,
        dilation_y: op.dilation.h,
        dilation_x: op.dilation.w,
        top: op.padding.top,
        left: op.padding.left,
    };
    let weights = DepthwiseWeights::new(weights, channels, bias, window).ok()?;
    let input = at.tensor(0)?.shape.nhwc()?;
    Some(Box::new(Depthwise { weights, input, multiplier: op.multiplier, size: [h, w], after }))
}

/// A product of two activations.
struct MatMul {
    /// First element of either matrix and of the result, per step of the axes in front.
    firsts: Vec<[usize; 3]>,
    /// Rows, products, columns.
    size: [usize; 3],
    finish: Finish,
}

impl Layer for MatMul {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let (a, b) = (call.inputs.get(0)?, call.inputs.get(1)?);
        let [rows, depth, columns] = self.size;
        call.output.fill(0.0);
        for &[at, bt, ot] in &self.firsts {
            let output = &mut call.output[ot..][..rows * columns];
            for (a, output) in a[at..].chunks_exact(depth).zip(output.chunks_exact_mut(columns)) {
                for (&a, b) in a.iter().zip(b[bt..].chunks_exact(columns)) {
                    output.iter_mut().zip(b).for_each(|(output, &b)| *output += a * b);
                }
            }
        }
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

pub(super) fn mat_mul(at: At<'_>) -> Result<Box<dyn Layer>, FloatError> {
    let (Some(a), Some(b)) = (at.tensor(0), at.tensor(1)) else { return Err(at.malformed()) };
    let ([outer_a @ .., rows, depth], [outer_b @ .., _, columns]) = (a.shape.dims(), b.shape.dims()) else {
        return Err(at.malformed());
    };
    let outer = at.output().shape.dims().split_last_chunk::<2>().map_or(&[][..], |(outer, _)| outer);
    let mut firsts = vec![];
    each_place(outer, |place| {
        let (a, b) = (repeated(place, outer_a) * rows * depth, repeated(place, outer_b) * depth * columns);
        firsts.push([a, b, firsts.len() * rows * columns]);
    });
    let size = [*rows, *depth, *columns];
    Ok(Box::new(MatMul { firsts, size, finish: at.finish(Finish::NONE)? }))
}
