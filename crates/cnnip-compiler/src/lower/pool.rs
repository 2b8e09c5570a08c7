//! Pools whose window the target takes as it is.

use cnnip_isa::Target;
use cnnip_isa::operation::{Activation, Operation, OutputStage, Pool as PoolOperation, PoolKind, Window};

use super::region::{Frame, MapBox, Span, StoredMap, len};
use super::{Lowered, Site};
use crate::error::Rule;
use crate::job::{BUFFER_ALIGNMENT, Job, Turns};
use crate::size::{aligned, pieces, small, width};
use crate::tile::boxes::{Limits, Tile, largest};
use cnnip_lowered::{Pool, PoolFunction, Sweep};

/// Whether one operation per piece does it.
pub(crate) fn fits_target(pool: &Pool, target: &Target) -> bool {
    let fits = |sweep: &Sweep, max_pad: u32| {
        sweep.kernel <= target.max_pool_window
            && sweep.stride <= target.max_stride
            && u64::from(sweep.before).max(sweep.after()) <= max_pad.into()
    };
    let known = kind(pool).is_some();
    known && fits(&pool.vertical, target.max_pad_y) && fits(&pool.horizontal, target.max_pad_x)
}

pub(super) fn lower(site: &mut Site<'_>, pool: &Pool) -> Result<Lowered, Rule> {
    let (tile, turns) = plan(site, pool)?;
    site.reserve(u64::from(pool.batch).saturating_mul(tile.count(&outputs(pool))))?;
    let [input, output] = bytes(site, pool, tile);
    let mut pad = site.scratchpad(scratchpad(site, pool, tile) * u64::from(turns));
    let mut inputs = Turns::take(&mut pad, "input", input, turns);
    let mut outputs = Turns::take(&mut pad, "output", output, turns);
    let mut jobs = vec![];
    for (batch, part) in order(pool, tile) {
        let number = jobs.len();
        let input = || pad.address(inputs.next(number).buffer);
        let output = || pad.address(outputs.next(number).buffer);
        jobs.push(job(site, pool, batch, &part, (input, output)));
    }
    let Tile { rows, columns, channels } = tile;
    let plan = format!("pool rows {rows} columns {columns} channels {channels} turns {turns}");
    Ok(Lowered { plan, pad, jobs })
}

/// The output of one map as a box.
pub(super) fn outputs(pool: &Pool) -> Tile {
    Tile { rows: pool.vertical.output, columns: pool.horizontal.output, channels: pool.channels }
}

fn plan(site: &Site<'_>, pool: &Pool) -> Result<(Tile, u32), Rule> {
    let whole = outputs(pool);
    let extent = u64::from(site.target.max_extent);
    let room = site.room();
    let fits = |tile: Tile, turns: u32| {
        let (rows, columns) = input_extent(pool, tile);
        rows.max(columns) <= extent && scratchpad(site, pool, tile) * u64::from(turns) <= room
    };
    for turns in [2, 1] {
        if let Some(tile) = largest(whole, Limits::of(site.target), |tile| fits(tile, turns)) {
            return Ok((tile, turns));
        }
    }
    Err(site.too_small(scratchpad(site, pool, Tile { rows: 1, columns: 1, channels: 1 })))
}

/// Bytes of the buffers of a piece, input and output; 0 for what is worked on where it lies.
pub(super) fn bytes(site: &Site<'_>, pool: &Pool, tile: Tile) -> [u64; 2] {
    let width = element_bytes(site, pool);
    let buffer = |value, bytes| if site.setting.is_resident(value) { 0 } else { bytes };
    [buffer(pool.input, input_bytes(pool, tile, width)), buffer(pool.output, output_bytes(tile, width))]
}

/// Scratchpad for a piece.
fn scratchpad(site: &Site<'_>, pool: &Pool, tile: Tile) -> u64 {
    bytes(site, pool, tile).iter().map(|&bytes| aligned(bytes, BUFFER_ALIGNMENT)).sum()
}

/// Input rows and columns of a piece at most.
fn input_extent(pool: &Pool, tile: Tile) -> (u64, u64) {
    let extent = |sweep: &Sweep, outputs: u32| window_extent(sweep, outputs).min(sweep.input.into());
    (extent(&pool.vertical, tile.rows), extent(&pool.horizontal, tile.columns))
}

/// Positions that `outputs` windows cover.
pub(super) fn window_extent(sweep: &Sweep, outputs: u32) -> u64 {
    u64::from(outputs - 1) * u64::from(sweep.stride) + u64::from(sweep.kernel)
}

/// Bytes of an element of a pool, input and output alike.
pub(super) fn element_bytes(site: &Site<'_>, pool: &Pool) -> u32 {
    width(site.element(pool.input))
}

pub(super) fn input_bytes(pool: &Pool, tile: Tile, width: u32) -> u64 {
    let (rows, columns) = input_extent(pool, tile);
    rows * columns * u64::from(tile.channels) * u64::from(width)
}

pub(super) fn output_bytes(tile: Tile, width: u32) -> u64 {
    u64::from(tile.rows) * u64::from(tile.columns) * u64::from(tile.channels) * u64::from(width)
}

/// All pieces of the output: batch index and box.
pub(super) fn order(pool: &Pool, tile: Tile) -> Vec<(u32, MapBox)> {
    let mut order = vec![];
    for batch in 0..pool.batch {
        for rows in pieces(pool.vertical.output, tile.rows) {
            for columns in pieces(pool.horizontal.output, tile.columns) {
                for channels in pieces(pool.channels, tile.channels) {
                    order.push((batch, MapBox { rows: rows.clone(), columns: columns.clone(), channels }));
                }
            }
        }
    }
    order
}

/// Input rows and columns of a piece, cut to the map.
pub(super) fn frame(pool: &Pool, part: &MapBox) -> Frame {
    let span = |sweep: &Sweep, outputs: &std::ops::Range<u32>| {
        let count = small(window_extent(sweep, len(outputs)));
        Span { start: sweep.start(outputs.start), count, step: 1 }.cut(sweep.input)
    };
    Frame { rows: span(&pool.vertical, &part.rows), columns: span(&pool.horizontal, &part.columns) }
}

/// The input of map `batch`.
pub(super) fn input_map(site: &Site<'_>, pool: &Pool, batch: u32) -> StoredMap {
    let map = site.map(pool.input, pool.horizontal.input, pool.channels, element_bytes(site, pool));
    map.nth(batch, pool.vertical.input)
}

/// The output of map `batch`.
pub(super) fn output_map(site: &Site<'_>, pool: &Pool, batch: u32) -> StoredMap {
    let map = site.map(pool.output, pool.horizontal.output, pool.channels, element_bytes(site, pool));
    map.nth(batch, pool.vertical.output)
}

fn job(
    site: &Site<'_>,
    pool: &Pool,
    batch: u32,
    part: &MapBox,
    (input, output): (impl FnOnce() -> u32, impl FnOnce() -> u32),
) -> Job {
    let frame = frame(pool, part);
    let moved = (site.element(pool.input), site.target.max_extent);
    let (input, loads) = frame.boxed(&part.channels).input(&input_map(site, pool, batch), moved, input);
    let (output, stores) = part.output(&output_map(site, pool, batch), moved, output);
    let operation = |kind: PoolKind| PoolOperation {
        kind,
        input,
        output,
        window: Window {
            kernel_h: pool.vertical.kernel,
            kernel_w: pool.horizontal.kernel,
            stride_y: pool.vertical.stride,
            stride_x: pool.horizontal.stride,
            top: small(frame.rows.start - pool.vertical.start(part.rows.start)),
            left: small(frame.columns.start - pool.horizontal.start(part.columns.start)),
            ..Window::UNIT
        },
        activation: activation(pool),
    };
    let computes = kind(pool).map(|kind| Operation::Pool(operation(kind))).into_iter().collect();
    Job { loads, computes, stores }
}

/// What the operation does; there is none for a minimum.
fn kind(pool: &Pool) -> Option<PoolKind> {
    match pool.function {
        PoolFunction::Max => Some(PoolKind::Max),
        PoolFunction::Min => None,
        PoolFunction::Average => {
            Some(PoolKind::Average { input_zero: pool.zero, count_pad: false, stage: OutputStage::NONE })
        }
    }
}

pub(super) fn activation(pool: &Pool) -> Activation {
    Activation { zero: pool.zero, min: pool.clamp.0, max: pool.clamp.1, table: None }
}
