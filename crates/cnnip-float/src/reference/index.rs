//! Places in tensors.

use cnnip_graph::{Hw, Padding, Tensor};

/// The place of the element at a row-major index.
pub(super) fn place(mut index: usize, dims: &[usize]) -> Vec<usize> {
    let mut place = vec![0; dims.len()];
    for (at, &dim) in place.iter_mut().zip(dims).rev() {
        *at = index % dim;
        index /= dim;
    }
    place
}

/// The row-major index of a place.
pub(super) fn flat(place: &[usize], dims: &[usize]) -> usize {
    place.iter().zip(dims).fold(0, |index, (&at, &dim)| index * dim + at)
}

/// All places of a shape, in row-major order.
pub(super) fn places(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..dims.iter().product()).map(|index| place(index, dims))
}

/// All `[n, h, w, c]` of a tensor, in row-major order.
pub(super) fn nhwc(tensor: &Tensor) -> Option<impl Iterator<Item = [usize; 4]> + use<>> {
    let [n, h, w, c] = tensor.shape.nhwc()?;
    Some((0..n * h * w * c).map(move |index| [index / c / w / h, index / c / w % h, index / c % w, index % c]))
}

/// A window on a feature map.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) size: Hw,
    pub(super) stride: Hw,
    pub(super) dilation: Hw,
    pub(super) padding: Padding,
    /// Extent of the map.
    pub(super) input: Hw,
}

impl Window {
    /// The taps of the window at an output position that lie inside the map: `(tap row, tap column, row, column)`.
    pub(super) fn taps(self, y: usize, x: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let taps = (0..self.size.h).flat_map(move |ky| (0..self.size.w).map(move |kx| (ky, kx)));
        taps.filter_map(move |(ky, kx)| {
            let row = (y * self.stride.h + ky * self.dilation.h).checked_sub(self.padding.top)?;
            let column = (x * self.stride.w + kx * self.dilation.w).checked_sub(self.padding.left)?;
            (row < self.input.h && column < self.input.w).then_some((ky, kx, row, column))
        })
    }
}
