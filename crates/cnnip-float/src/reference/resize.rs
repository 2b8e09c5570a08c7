//! Resizes that mix neighbouring samples.

use cnnip_graph::{Grid, ResizeBilinear};

use super::index::{flat, nhwc};
use super::{At, wide};

/// Two samples of an axis and the share of the second.
#[derive(Clone, Copy)]
pub(crate) struct Between {
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) share: f64,
}

/// Where position `at` of `output` positions lies on an axis of `input` samples.
pub(crate) fn between(grid: Grid, at: usize, input: usize, output: usize) -> Between {
    let real = |count: usize| wide(i64::try_from(count).unwrap_or(i64::MAX));
    let (at, samples, positions) = (real(at), real(input), real(output));
    let place = match grid {
        Grid::AlignCorners if output > 1 => at * (samples - 1.0) / (positions - 1.0),
        Grid::Asymmetric | Grid::AlignCorners => at * samples / positions,
        Grid::HalfPixel => (at + 0.5) * samples / positions - 0.5,
    };
    let place = place.clamp(0.0, samples - 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the number of samples")]
    let first = place.floor() as usize;
    Between { first, second: (first + 1).min(input.saturating_sub(1)), share: place - place.floor() }
}

pub(super) fn bilinear(at: &At<'_>, op: &ResizeBilinear) -> Option<Vec<f64>> {
    let (x, map) = (at.real(0)?, at.tensor(0)?.shape.nhwc()?);
    let element = |[n, y, column, c]: [usize; 4]| {
        let (rows, columns) = (between(op.grid, y, map[1], op.output.h), between(op.grid, column, map[2], op.output.w));
        let sample = |row, column| x[flat(&[n, row, column, c], &map)];
        let mix = |a: f64, b: f64, share: f64| a + (b - a) * share;
        let line = |row| mix(sample(row, columns.first), sample(row, columns.second), columns.share);
        mix(line(rows.first), line(rows.second), rows.share)
    };
    Some(nhwc(at.output())?.map(element).collect())
}
