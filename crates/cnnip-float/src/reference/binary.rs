//! Functions of two inputs, element by element.

use cnnip_graph::Activation;

use super::At;
use super::index::{flat, places};
use super::unary::clamp;

/// Applies `function`; extents of 1 and missing leading axes are repeated.
pub(super) fn binary(at: &At<'_>, function: impl Fn(f64, f64) -> f64) -> Option<Vec<f64>> {
    let (a, b) = (at.real(0)?, at.real(1)?);
    let (a_dims, b_dims) = (at.tensor(0)?.shape.dims(), at.tensor(1)?.shape.dims());
    let element = |place: Vec<usize>| function(a[repeated(&place, a_dims)], b[repeated(&place, b_dims)]);
    Some(places(at.output().shape.dims()).map(element).collect())
}

/// The first input divided by the second; integers without a scale lose their fraction.
pub(super) fn quotient(at: &At<'_>, activation: Activation) -> Option<Vec<f64>> {
    let output = at.output();
    let whole = output.element.range().is_some() && output.quantization.is_none();
    binary(at, |a, b| clamp(if whole { (a / b).trunc() } else { a / b }, activation))
}

/// The index in a shape, aligned at the last axis, of what is repeated to a place.
pub(super) fn repeated(place: &[usize], dims: &[usize]) -> usize {
    let aligned = &place[place.len() - dims.len()..];
    let own: Vec<usize> = aligned.iter().zip(dims).map(|(&at, &dim)| if dim == 1 { 0 } else { at }).collect();
    flat(&own, dims)
}
