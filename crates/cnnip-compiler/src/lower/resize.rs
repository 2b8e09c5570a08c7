//! Bilinear resizes: every piece of the output with the input samples it lies between.

use std::ops::Range;

use cnnip_isa::ResizeMode;
use cnnip_isa::operation::{Operation, Resize as ResizeOperation, ResizeAxis};

use super::region::MapBox;
use super::{Lowered, Site};
use crate::error::Rule;
use crate::job::{BUFFER_ALIGNMENT, Job, Turns};
use crate::size::{aligned, index, pieces, small, width};
use crate::tile::boxes::{Limits, Tile, largest};
use cnnip_lowered::{Resize, Sampling};

pub(super) fn lower(site: &mut Site<'_>, resize: &Resize) -> Result<Lowered, Rule> {
    check_scale(site, resize)?;
    let (tile, turns) = plan(site, resize)?;
    site.reserve(u64::from(resize.batch).saturating_mul(tile.count(&outputs(resize))))?;
    let [input, output] = bytes(site, resize, tile);
    let mut pad = site.scratchpad(scratchpad(site, resize, tile) * u64::from(turns));
    let mut inputs = Turns::take(&mut pad, "input", input, turns);
    let mut outputs = Turns::take(&mut pad, "output", output, turns);
    let mut jobs = vec![];
    for batch in 0..resize.batch {
        for part in parts(resize, tile) {
            let number = jobs.len();
            let input = || pad.address(inputs.next(number).buffer);
            let output = || pad.address(outputs.next(number).buffer);
            jobs.push(job(site, resize, batch, &part, (input, output)));
        }
    }
    let Tile { rows, columns, channels } = tile;
    let plan = format!("resize rows {rows} columns {columns} channels {channels} turns {turns}");
    Ok(Lowered { plan, pad, jobs })
}

/// The target's largest magnification holds along both axes.
fn check_scale(site: &Site<'_>, resize: &Resize) -> Result<(), Rule> {
    let most = site.target.max_scale(ResizeMode::Bilinear);
    let one = 1_u32 << resize.fraction;
    for axis in [&resize.vertical, &resize.horizontal] {
        if axis.step < one / most {
            let found = index(one.div_ceil(axis.step.max(1)));
            return Err(Rule::TooMany {
                what: "output rows or columns per input of a resize",
                found,
                most: index(most),
            });
        }
    }
    Ok(())
}

fn outputs(resize: &Resize) -> Tile {
    Tile { rows: resize.vertical.output, columns: resize.horizontal.output, channels: resize.channels }
}

fn plan(site: &Site<'_>, resize: &Resize) -> Result<(Tile, u32), Rule> {
    let (extent, room) = (u64::from(site.target.max_extent), site.room());
    let fits = |tile: Tile, turns: u32| {
        let (rows, columns) = input_extent(resize, tile);
        rows.max(columns) <= extent && scratchpad(site, resize, tile) * u64::from(turns) <= room
    };
    for turns in [2, 1] {
        if let Some(tile) = largest(outputs(resize), Limits::of(site.target), |tile| fits(tile, turns)) {
            return Ok((tile, turns));
        }
    }
    Err(site.too_small(scratchpad(site, resize, Tile { rows: 1, columns: 1, channels: 1 })))
}

/// Bytes of the buffers of a piece, input and output; 0 for what is worked on where it lies.
fn bytes(site: &Site<'_>, resize: &Resize, tile: Tile) -> [u64; 2] {
    let element = width(site.element(resize.input));
    let buffer = |value, bytes| if site.setting.is_resident(value) { 0 } else { bytes };
    [buffer(resize.input, input_bytes(resize, tile, element)), buffer(resize.output, output_bytes(tile, element))]
}

/// Scratchpad for a piece.
fn scratchpad(site: &Site<'_>, resize: &Resize, tile: Tile) -> u64 {
    bytes(site, resize, tile).iter().map(|&bytes| aligned(bytes, BUFFER_ALIGNMENT)).sum()
}

/// Input rows and columns of a piece at most: positions that far apart, and samples on either side.
fn input_extent(resize: &Resize, tile: Tile) -> (u64, u64) {
    let extent = |axis: &Sampling, outputs: u32| {
        let apart = (u64::from(outputs - 1) * u64::from(axis.step)) >> resize.fraction;
        (apart + 3).min(axis.input.into())
    };
    (extent(&resize.vertical, tile.rows), extent(&resize.horizontal, tile.columns))
}

fn input_bytes(resize: &Resize, tile: Tile, element: u32) -> u64 {
    let (rows, columns) = input_extent(resize, tile);
    rows * columns * u64::from(tile.channels) * u64::from(element)
}

fn output_bytes(tile: Tile, element: u32) -> u64 {
    u64::from(tile.rows) * u64::from(tile.columns) * u64::from(tile.channels) * u64::from(element)
}

/// All pieces of one map's output.
fn parts(resize: &Resize, tile: Tile) -> Vec<MapBox> {
    let mut parts = vec![];
    for rows in pieces(resize.vertical.output, tile.rows) {
        for columns in pieces(resize.horizontal.output, tile.columns) {
            for channels in pieces(resize.channels, tile.channels) {
                parts.push(MapBox { rows: rows.clone(), columns: columns.clone(), channels });
            }
        }
    }
    parts
}

/// The input samples that outputs lie between, and where the first output lies among them.
pub(crate) fn between(axis: &Sampling, fraction: u32, outputs: &Range<u32>) -> (Range<u32>, ResizeAxis) {
    let at = |k: u32| i64::from(axis.origin) + i64::from(k) * i64::from(axis.step);
    let last = i64::from(axis.input - 1);
    let sample = |k: u32| at(k).clamp(0, last << fraction) >> fraction;
    let start = sample(outputs.start);
    let end = (sample(outputs.end - 1) + 1).min(last) + 1;
    let origin = at(outputs.start) - (start << fraction);
    let origin = i32::try_from(origin).unwrap_or(if origin < 0 { i32::MIN } else { i32::MAX });
    (small(start)..small(end), ResizeAxis { origin, step: axis.step })
}

fn job(
    site: &Site<'_>,
    resize: &Resize,
    batch: u32,
    part: &MapBox,
    (input, output): (impl FnOnce() -> u32, impl FnOnce() -> u32),
) -> Job {
    let (rows, vertical) = between(&resize.vertical, resize.fraction, &part.rows);
    let (columns, horizontal) = between(&resize.horizontal, resize.fraction, &part.columns);
    let element = site.element(resize.input);
    let map = |value, columns, rows| site.map(value, columns, resize.channels, width(element)).nth(batch, rows);
    let from = map(resize.input, resize.horizontal.input, resize.vertical.input);
    let to = map(resize.output, resize.horizontal.output, resize.vertical.output);
    let moved = (element, site.target.max_extent);
    let (input, loads) = MapBox { rows, columns, channels: part.channels.clone() }.input(&from, moved, input);
    let (output, stores) = part.output(&to, moved, output);
    let (mode, fraction) = (ResizeMode::Bilinear, resize.fraction);
    let operation = ResizeOperation { mode, input, output, fraction, rows: vertical, columns: horizontal };
    Job { loads, computes: vec![Operation::Resize(operation)], stores }
}

#[cfg(test)]
mod tests {
    use super::super::region::len;
    use super::*;
    use cnnip_numerics::resize::{position, tap};
    use proptest::prelude::*;

    proptest! {
        /// A piece takes the samples and weights that the whole takes, from the input that it loads, and no more than planned.
        #[test]
        fn pieces_lie_where_the_whole_lies(
            input in 1_u32..40, output in 1_u32..90, origin in -2000_i32..2000, step in 0_u32..4000, cut in 1_u32..30,
        ) {
            let axis = Sampling { input, output, origin, step };
            for outputs in pieces(output, cut) {
                let (samples, part) = between(&axis, 10, &outputs);
                let most = ((u64::from(len(&outputs) - 1) * u64::from(step)) >> 10) + 3;
                prop_assert!(u64::from(len(&samples)) <= most.min(input.into()));
                for k in outputs.clone() {
                    let whole = tap(position(k, step, origin, 10, input), 10, input);
                    let inside = len(&samples);
                    let got = tap(position(k - outputs.start, part.step, part.origin, 10, inside), 10, inside);
                    prop_assert_eq!(got.low + samples.start, whole.low);
                    prop_assert_eq!(got.weight, whole.weight);
                    prop_assert!(got.weight == 0 || got.high + samples.start == whole.high);
                }
            }
        }
    }
}
