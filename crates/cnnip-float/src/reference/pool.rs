//! One number from many: windows and axes.

use cnnip_graph::{ArgExtremum, Hw, Mean, Pool2d};

use super::index::{Window, flat, nhwc, place, places};
use super::unary::clamp;
use super::{At, wide};

pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

pub(super) fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub(super) fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / wide(i64::try_from(values.len()).unwrap_or(i64::MAX))
}

/// Applies `combine` to the elements of each window that lie inside the input.
pub(super) fn pool(at: &At<'_>, op: &Pool2d, combine: impl Fn(&[f64]) -> f64) -> Option<Vec<f64>> {
    let (x, map) = (at.real(0)?, at.tensor(0)?.shape.nhwc()?);
    let window = Window {
        size: op.window,
        stride: op.stride,
        dilation: Hw::ONE,
        padding: op.padding,
        input: Hw::new(map[1], map[2]),
    };
    let element = |[n, y, x_out, c]: [usize; 4]| {
        let inside = window.taps(y, x_out).map(|(_, _, row, column)| x[flat(&[n, row, column, c], &map)]);
        clamp(combine(&inside.collect::<Vec<_>>()), op.activation)
    };
    Some(nhwc(at.output())?.map(element).collect())
}

/// The index of the first element along an axis that no other is better than.
pub(super) fn arg_extremum(at: &At<'_>, op: &ArgExtremum, better: impl Fn(f64, f64) -> bool) -> Option<Vec<f64>> {
    let first_best = |values: &[f64]| {
        let best =
            (1..values.len()).fold(0, |best, index| if better(values[index], values[best]) { index } else { best });
        wide(i64::try_from(best).unwrap_or(i64::MAX))
    };
    reduce(at, &Mean { axes: vec![op.axis], keep_dims: op.keep_dims }, first_best)
}

/// Applies `combine` to the elements along the reduced axes.
pub(super) fn reduce(at: &At<'_>, op: &Mean, combine: impl Fn(&[f64]) -> f64) -> Option<Vec<f64>> {
    let (x, dims) = (at.real(0)?, at.tensor(0)?.shape.dims());
    let kept = |axis: &usize| !op.axes.contains(axis);
    let outer: Vec<usize> = (0..dims.len()).filter(kept).collect();
    let outer_dims: Vec<usize> = outer.iter().map(|&axis| dims[axis]).collect();
    let inner_dims: Vec<usize> = op.axes.iter().map(|&axis| dims[axis]).collect();
    let element = |fixed: Vec<usize>| {
        let inner = places(&inner_dims).map(|moving| {
            let mut full = place(0, dims);
            outer.iter().zip(&fixed).chain(op.axes.iter().zip(&moving)).for_each(|(&axis, &at)| full[axis] = at);
            x[flat(&full, dims)]
        });
        combine(&inner.collect::<Vec<_>>())
    };
    Some(places(&outer_dims).map(element).collect())
}
