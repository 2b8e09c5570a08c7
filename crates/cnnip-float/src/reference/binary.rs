//! Functions of two inputs, element by element.

use super::At;
use super::index::{flat, places};

/// Applies `function`; extents of 1 and missing leading axes are repeated.
pub(super) fn binary(at: &At<'_>, function: impl Fn(f64, f64) -> f64) -> Option<Vec<f64>> {
    let (a, b) = (at.real(0)?, at.real(1)?);
    let (a_dims, b_dims) = (at.tensor(0)?.shape.dims(), at.tensor(1)?.shape.dims());
    let element = |place: Vec<usize>| function(a[repeated(&place, a_dims)], b[repeated(&place, b_dims)]);
    Some(places(at.output().shape.dims()).map(element).collect())
}

/// The index in a shape, aligned at the last axis, of what is repeated to a place.
fn repeated(place: &[usize], dims: &[usize]) -> usize {
    let aligned = &place[place.len() - dims.len()..];
    let own: Vec<usize> = aligned.iter().zip(dims).map(|(&at, &dim)| if dim == 1 { 0 } else { at }).collect();
    flat(&own, dims)
}
