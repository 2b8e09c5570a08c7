//! Sums of products with weights.

use cnnip_graph::{Conv2d, DepthwiseConv2d, FullyConnected, Hw, Quantization, TransposeConv2d};

use super::binary::repeated;
use super::index::{Window, flat, nhwc, places};
use super::unary::clamp;
use super::{At, wide};
use crate::Elements;

pub(super) fn conv(at: &At<'_>, op: &Conv2d) -> Option<Vec<f64>> {
    let (x, w) = (at.real(0)?, at.real(1)?);
    let (map, kernel) = (at.tensor(0)?.shape.nhwc()?, at.tensor(1)?.shape.nhwc()?);
    let [outputs, kh, kw, depth] = kernel;
    let (size, input) = (Hw::new(kh, kw), Hw::new(map[1], map[2]));
    let window = Window { size, stride: op.stride, dilation: op.dilation, padding: op.padding, input };
    let bias = bias(at, outputs)?;
    let element = |[n, y, x_out, o]: [usize; 4]| {
        let first = o / (outputs / op.groups) * depth;
        let products = window.taps(y, x_out).flat_map(|(ky, kx, row, column)| {
            let (x, w) = (&x, &w);
            (0..depth).map(move |d| x[flat(&[n, row, column, first + d], &map)] * w[flat(&[o, ky, kx, d], &kernel)])
        });
        clamp(products.sum::<f64>() + bias[o], op.activation)
    };
    Some(nhwc(at.output())?.map(element).collect())
}

pub(super) fn depthwise(at: &At<'_>, op: &DepthwiseConv2d) -> Option<Vec<f64>> {
    let (x, w) = (at.real(0)?, at.real(1)?);
    let (map, kernel) = (at.tensor(0)?.shape.nhwc()?, at.tensor(1)?.shape.nhwc()?);
    let [_, kh, kw, outputs] = kernel;
    let (size, input) = (Hw::new(kh, kw), Hw::new(map[1], map[2]));
    let window = Window { size, stride: op.stride, dilation: op.dilation, padding: op.padding, input };
    let bias = bias(at, outputs)?;
    let element = |[n, y, x_out, o]: [usize; 4]| {
        let products = window.taps(y, x_out).map(|(ky, kx, row, column)| {
            x[flat(&[n, row, column, o / op.multiplier], &map)] * w[flat(&[0, ky, kx, o], &kernel)]
        });
        clamp(products.sum::<f64>() + bias[o], op.activation)
    };
    Some(nhwc(at.output())?.map(element).collect())
}

/// Position of the input whose product with a tap goes to an output position, if there is one.
fn source(output: usize, crop: usize, tap: usize, dilation: usize, stride: usize, input: usize) -> Option<usize> {
    let distance = (output + crop).checked_sub(tap * dilation)?;
    (distance % stride == 0).then_some(distance / stride).filter(|&position| position < input)
}

pub(super) fn transpose_conv(at: &At<'_>, op: &TransposeConv2d) -> Option<Vec<f64>> {
    let (x, w) = (at.real(0)?, at.real(1)?);
    let (map, kernel) = (at.tensor(0)?.shape.nhwc()?, at.tensor(1)?.shape.nhwc()?);
    let [outputs, kh, kw, depth] = kernel;
    let bias = bias(at, outputs)?;
    let element = |[n, y, x_out, o]: [usize; 4]| {
        let first = o / (outputs / op.groups) * depth;
        let mut sum = bias[o];
        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
            let row = source(y, op.crop.h, ky, op.dilation.h, op.stride.h, map[1]);
            let column = source(x_out, op.crop.w, kx, op.dilation.w, op.stride.w, map[2]);
            let Some((row, column)) = row.zip(column) else { continue };
            for d in 0..depth {
                sum += x[flat(&[n, row, column, first + d], &map)] * w[flat(&[o, ky, kx, d], &kernel)];
            }
        }
        clamp(sum, op.activation)
    };
    Some(nhwc(at.output())?.map(element).collect())
}

pub(super) fn fully_connected(at: &At<'_>, op: &FullyConnected) -> Option<Vec<f64>> {
    let (x, w) = (at.real(0)?, at.real(1)?);
    let &[outputs, depth] = at.tensor(1)?.shape.dims() else { return None };
    let bias = bias(at, outputs)?;
    let rows = x.chunks_exact(depth).flat_map(|row| {
        let dot = |weights: &[f64]| row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>();
        w.chunks_exact(depth).zip(&bias).map(move |(weights, bias)| clamp(dot(weights) + bias, op.activation))
    });
    Some(rows.collect())
}

/// Products of the last two axes; those in front broadcast.
pub(super) fn mat_mul(at: &At<'_>) -> Option<Vec<f64>> {
    let (a, b) = (at.real(0)?, at.real(1)?);
    let ([outer_a @ .., rows, depth], [outer_b @ .., _, columns]) =
        (at.tensor(0)?.shape.dims(), at.tensor(1)?.shape.dims())
    else {
        return None;
    };
    let element = |place: Vec<usize>| {
        let (outer, inner) = place.split_at(place.len() - 2);
        let (first_a, first_b) = (repeated(outer, outer_a) * rows + inner[0], repeated(outer, outer_b) * depth);
        (0..*depth).map(|k| a[first_a * depth + k] * b[(first_b + k) * columns + inner[1]]).sum()
    };
    Some(places(at.output().shape.dims()).map(element).collect())
}

/// One number per output channel; zeros if the node has no bias.
fn bias(at: &At<'_>, outputs: usize) -> Option<Vec<f64>> {
    match at.node.inputs.len() {
        0..=2 => Some(vec![0.0; outputs]),
        _ => real_bias(at, at.elements(2)?),
    }
}

/// The real numbers of a bias with these elements.
pub(super) fn real_bias(at: &At<'_>, bias: &Elements) -> Option<Vec<f64>> {
    let tensor = at.tensor(2)?;
    match bias {
        Elements::Integer(bias) if tensor.quantization.is_none() => scaled_bias(at, bias),
        _ => Some(bias.real(tensor).into_iter().map(f64::from).collect()),
    }
}

/// Integer bias without a scale counts in products of the input's and the weights' steps, as in TFLite and QLinearConv.
fn scaled_bias(at: &At<'_>, bias: &[i64]) -> Option<Vec<f64>> {
    let scales = |input: usize| Some(at.tensor(input)?.quantization.as_ref().map_or(&[1.0][..], Quantization::scales));
    let (input, weights) = (f64::from(*scales(0)?.first()?), scales(1)?);
    let step = |channel: usize| weights.get(channel).or(weights.first()).map_or(input, |&step| input * f64::from(step));
    Some(bias.iter().enumerate().map(|(channel, &value)| wide(value) * step(channel)).collect())
}
