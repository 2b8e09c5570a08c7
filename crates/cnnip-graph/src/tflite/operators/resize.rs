//! Resizes: the format's rules of where samples lie.

use super::{Call, MAX_STEP};
use crate::flatbuffer::Field;
use crate::op::{Grid, Hw, Op, ResizeBilinear, ResizeNearest};
use crate::problem::Rule;
use crate::tflite::schema::{resize_bilinear, resize_nearest};

pub(super) fn bilinear(call: &Call<'_>) -> Result<Op, Rule> {
    let grid = grid(call, resize_bilinear::ALIGN_CORNERS, resize_bilinear::HALF_PIXEL_CENTERS)?;
    Ok(Op::ResizeBilinear(ResizeBilinear { output: size(call)?, grid }))
}

pub(super) fn nearest(call: &Call<'_>) -> Result<Op, Rule> {
    let [_, rows, columns, _] = call.nhwc(0, "input")?;
    let grid = grid(call, resize_nearest::ALIGN_CORNERS, resize_nearest::HALF_PIXEL_CENTERS)?;
    let output = size(call)?;
    Ok(Op::ResizeNearest(ResizeNearest {
        rows: nearest_indices(rows, output.h, grid),
        columns: nearest_indices(columns, output.w, grid),
    }))
}

fn grid(call: &Call<'_>, align_corners: Field<bool>, half_pixel: Field<bool>) -> Result<Grid, Rule> {
    match (call.get(align_corners)?, call.get(half_pixel)?) {
        (false, false) => Ok(Grid::Asymmetric),
        (true, false) => Ok(Grid::AlignCorners),
        (false, true) => Ok(Grid::HalfPixel),
        (true, true) => Err(Rule::Attribute { name: "half_pixel_centers", value: 1 }),
    }
}

/// Rows and columns of the output.
fn size(call: &Call<'_>) -> Result<Hw, Rule> {
    let size = call.required(1, "size")?;
    let extent = |value: i64| {
        let extent = usize::try_from(value).ok().filter(|_| (1..=i64::from(MAX_STEP)).contains(&value));
        extent.ok_or(Rule::Attribute { name: "size", value })
    };
    match *size.as_slice() {
        [h, w] => Ok(Hw::new(extent(h)?, extent(w)?)),
        _ => Err(Rule::Attribute { name: "size", value: i64::try_from(size.len()).unwrap_or(i64::MAX) }),
    }
}

/// The nearest of `from` samples for each of `to`, in the binary32 arithmetic of TFLite's kernels.
pub(in crate::tflite) fn nearest_indices(from: usize, to: usize, grid: Grid) -> Vec<usize> {
    let corners = grid == Grid::AlignCorners;
    let less = usize::from(corners && to > 1);
    let scale = real(from.saturating_sub(less)) / real(to - less);
    let offset = if grid == Grid::HalfPixel { 0.5 } else { 0.0 };
    let index = |k: usize| {
        let position = (real(k) + offset) * scale;
        whole(if corners { position.round() } else { position.floor() }).min(from.saturating_sub(1))
    };
    (0..to).map(index).collect()
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "extents are below 2^24, which is exact")]
fn real(value: usize) -> f32 {
    value as f32
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(value: f32) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_nearest_to_each_position() {
        assert_eq!(nearest_indices(3, 6, Grid::Asymmetric), [0, 0, 1, 1, 2, 2]);
        assert_eq!(nearest_indices(3, 6, Grid::HalfPixel), [0, 0, 1, 1, 2, 2]);
        assert_eq!(nearest_indices(3, 6, Grid::AlignCorners), [0, 0, 1, 1, 2, 2]);
        assert_eq!(nearest_indices(6, 4, Grid::Asymmetric), [0, 1, 3, 4]);
        assert_eq!(nearest_indices(6, 4, Grid::HalfPixel), [0, 2, 3, 5]);
        assert_eq!(nearest_indices(6, 4, Grid::AlignCorners), [0, 2, 3, 5]);
        assert_eq!(nearest_indices(5, 1, Grid::AlignCorners), [0]);
    }
}
