//! Functions of one input, element by element, and softmax.

use cnnip_graph::Activation;

use super::At;
use crate::elements::nearest;

pub(super) fn unary(at: &At<'_>, function: impl Fn(f64) -> f64) -> Option<Vec<f64>> {
    Some(at.real(0)?.into_iter().map(function).collect())
}

/// The fused activation.
pub(super) fn clamp(x: f64, activation: Activation) -> f64 {
    let (low, high) = activation.bounds();
    let above = low.map_or(x, |low| x.max(low.into()));
    high.map_or(above, |high| above.min(high.into()))
}

pub(super) fn leaky(x: f64, slope: f64) -> f64 {
    if x >= 0.0 { x } else { x * slope }
}

pub(super) fn hard_swish(x: f64) -> f64 {
    x * (x + 3.0).clamp(0.0, 6.0) / 6.0
}

pub(super) fn gelu(x: f64, approximate: bool) -> f64 {
    cnnip_numerics::quantize::gelu(nearest(x), approximate).into()
}

pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `exp(beta * x)` along the last axis, divided by its sum; the largest is subtracted first, which changes nothing but
/// keeps it finite.
pub(super) fn softmax(at: &At<'_>, beta: f64) -> Option<Vec<f64>> {
    let x = at.real(0)?;
    let rows = x.chunks_exact(*at.tensor(0)?.shape.dims().last()?).flat_map(|row| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = row.iter().map(|x| (beta * (x - largest)).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(move |power| power / sum)
    });
    Some(rows.collect())
}
