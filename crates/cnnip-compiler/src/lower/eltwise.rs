//! Element-wise layers: a job per piece of output, an operation per job.

use std::ops::Range;

use cnnip_isa::ElementType;
use cnnip_isa::operation::{
    Copy, Eltwise as Operation, FeatureMap, Location, Lookup, Operation as AnyOperation, Space, Stage, Table,
};

use super::region::{MapBox, len, offset};
use super::{Lowered, Site};
use crate::error::Rule;
use crate::job::{BUFFER_ALIGNMENT, Job, Scratchpad, Turns};
use crate::memory::Role;
use crate::size::{aligned, pieces, small, wide, width};
use crate::strided::copies;
use crate::tile::boxes::{Limits, Tile, largest};
use cnnip_lowered::{Eltwise, EltwiseInput, Stride};

pub(super) fn lower(site: &mut Site<'_>, layer: &Eltwise) -> Result<Lowered, Rule> {
    let (tile, turns) = plan(site, layer)?;
    let [rows, columns, channels] = inner(&layer.extents);
    let outer: u64 = outer(&layer.extents).iter().map(|&extent| u64::from(extent)).product();
    site.reserve(outer.saturating_mul(tile.count(&Tile { rows, columns, channels })))?;
    let entries = layer.table.as_ref().map(|table| {
        let bytes = table.bytes();
        TableSource { offset: site.constants.push(&bytes), bytes: small(bytes.len()) }
    });
    let mut lowering = Lowering::new(site, layer, tile, turns, entries);
    for (outer, part) in lowering.order() {
        lowering.job(outer, &part);
    }
    let Tile { rows, columns, channels } = tile;
    let plan = format!("eltwise rows {rows} columns {columns} channels {channels} turns {turns}");
    Ok(Lowered { plan, pad: lowering.pad, jobs: lowering.jobs })
}

/// The size of a piece and the number of buffers that take turns.
fn plan(site: &Site<'_>, layer: &Eltwise) -> Result<(Tile, u32), Rule> {
    let [rows, columns, channels] = inner(&layer.extents);
    let whole = Tile { rows, columns, channels };
    let limits = Limits::of(site.target);
    let room = site.room();
    let fits = |turns: u32| move |tile: Tile| scratchpad(site, layer, tile) * u64::from(turns) <= room;
    for turns in [2, 1] {
        if let Some(tile) = largest(whole, limits, fits(turns)) {
            return Ok((tile, turns));
        }
    }
    Err(site.too_small(scratchpad(site, layer, Tile { rows: 1, columns: 1, channels: 1 })))
}

fn scratchpad(site: &Site<'_>, layer: &Eltwise, tile: Tile) -> u64 {
    let inputs = layer.inputs.iter().map(|input| aligned(input_bytes(site, input, tile), BUFFER_ALIGNMENT));
    // Counted once per turn, though all turns share one.
    let table = layer.table.as_ref().map_or(0, |table| aligned(wide(table.bytes().len()), BUFFER_ALIGNMENT));
    inputs.sum::<u64>() + aligned(output_bytes(site, layer, tile), BUFFER_ALIGNMENT) + table
}

fn output_bytes(site: &Site<'_>, layer: &Eltwise, tile: Tile) -> u64 {
    if site.setting.is_resident(layer.output) {
        return 0;
    }
    let elements = u64::from(tile.rows) * u64::from(tile.columns) * u64::from(tile.channels);
    elements * u64::from(width(site.element(layer.output)))
}

/// Bytes of the buffer for a piece of an input: an axis along which it is repeated counts once, and no bytes for one that is
/// worked on where it lies.
fn input_bytes(site: &Site<'_>, input: &EltwiseInput, tile: Tile) -> u64 {
    if site.setting.is_resident(input.value) {
        return 0;
    }
    let own = own_extents(input, tile);
    let elements: u64 = own.iter().map(|&extent| u64::from(extent)).product();
    elements * u64::from(width(site.element(input.value)))
}

fn own_extents(input: &EltwiseInput, tile: Tile) -> [u32; 3] {
    let [rows, columns, channels] = inner(&input.steps);
    let own = |step: u32, extent: u32| if step == 0 { 1 } else { extent };
    [own(rows, tile.rows), own(columns, tile.columns), own(channels, tile.channels)]
}

/// The last three of the layer's axes: rows, columns, channels.
fn inner(axes: &[u32]) -> [u32; 3] {
    axes.last_chunk().copied().unwrap_or([1; 3])
}

/// The axes before the last three.
fn outer(axes: &[u32]) -> &[u32] {
    &axes[..axes.len().saturating_sub(3)]
}

struct Lowering<'a, 's> {
    site: &'a mut Site<'s>,
    layer: &'a Eltwise,
    tile: Tile,
    pad: Scratchpad,
    table: Option<TableBuffer>,
    inputs: Vec<Turns<(u32, MapBox)>>,
    outputs: Turns<usize>,
    jobs: Vec<Job>,
}

/// Where a table stands in the constant region.
#[derive(Clone, Copy, Debug)]
struct TableSource {
    offset: u64,
    bytes: u32,
}

/// A table and its buffer.
#[derive(Clone, Copy, Debug)]
struct TableBuffer {
    source: TableSource,
    buffer: usize,
}

impl<'a, 's> Lowering<'a, 's> {
    fn new(site: &'a mut Site<'s>, layer: &'a Eltwise, tile: Tile, turns: u32, entries: Option<TableSource>) -> Self {
        let mut pad = site.scratchpad(scratchpad(site, layer, tile) * u64::from(turns));
        let table = entries.map(|source| TableBuffer { source, buffer: pad.take("table", source.bytes.into()) });
        let bytes = |input| input_bytes(site, input, tile);
        let inputs = layer.inputs.iter().map(|input| Turns::take(&mut pad, "input", bytes(input), turns));
        let inputs = inputs.collect();
        let outputs = Turns::take(&mut pad, "output", output_bytes(site, layer, tile), turns);
        Self { site, layer, tile, pad, table, inputs, outputs, jobs: vec![] }
    }

    /// All pieces: the index over the outer axes and the box within the inner ones.
    fn order(&self) -> Vec<(u32, MapBox)> {
        let [rows, columns, channels] = inner(&self.layer.extents);
        let count: u32 = outer(&self.layer.extents).iter().product();
        let mut order = vec![];
        for index in 0..count {
            for rows in pieces(rows, self.tile.rows) {
                for columns in pieces(columns, self.tile.columns) {
                    for channels in pieces(channels, self.tile.channels) {
                        order.push((index, MapBox { rows: rows.clone(), columns: columns.clone(), channels }));
                    }
                }
            }
        }
        order
    }

    fn job(&mut self, outer: u32, part: &MapBox) {
        let mut job = Job::default();
        let stages: Vec<Stage> = (0..self.inputs.len()).map(|index| self.input(&mut job, index, outer, part)).collect();
        let element = self.site.element(self.layer.output);
        let [rows, columns, channels] = inner(&self.layer.extents);
        let map = self.site.map(self.layer.output, columns, channels, width(element)).nth(outer, rows);
        let buffer = || self.pad.address(self.outputs.next(self.jobs.len()).buffer);
        let (output, stores) = part.output(&map, (element, self.site.target.max_extent), buffer);
        job.stores = stores;
        let table = self.table(&mut job);
        job.computes.extend(self.operation(&stages, output, table));
        self.jobs.push(job);
    }

    /// The operation of a job: a table lookup, or the layer's function.
    fn operation(&self, stages: &[Stage], output: FeatureMap, table: Option<Table>) -> Option<AnyOperation> {
        let (&first, rest) = stages.split_first()?;
        if let Some(table) = table {
            // A table gives bytes, whatever they are called: also uint8 from int8.
            let output = FeatureMap { element: first.map.element, ..output };
            let scale = self.layer.table.as_ref().and_then(cnnip_lowered::Table::scale);
            return Some(AnyOperation::Lookup(Lookup { input: first.map, output, table, scale }));
        }
        let &Eltwise { function, pre_shift, stage, activation, .. } = self.layer;
        let second = rest.first().copied();
        Some(AnyOperation::Eltwise(Operation { function, pre_shift, first, second, output, stage, activation }))
    }

    /// Has the table, if there is one, in its buffer: the first job loads it.
    fn table(&self, job: &mut Job) -> Option<Table> {
        let TableBuffer { source: TableSource { offset, bytes }, buffer } = self.table?;
        let kind = self.layer.table.as_ref()?.kind();
        let address = self.pad.address(buffer);
        if self.jobs.is_empty() {
            let source = self.site.memory.locate(Role::Constant, offset);
            job.loads.push(AnyOperation::Copy(Copy::dense(source, Location::sram(address), bytes)));
        }
        Some(Table { kind, address })
    }

    /// Has a piece of an input in the scratchpad; returns it as the operation sees it.
    fn input(&mut self, job: &mut Job, index: usize, outer: u32, part: &MapBox) -> Stage {
        let input = &self.layer.inputs[index];
        let element = self.site.element(input.value);
        let width = width(element);
        let own = own_box(input, part);
        let from = outer_offset(&self.layer.extents, &input.steps, outer);
        let [row, column, channel] = inner(&input.steps);
        let start = own.rows.start * row + own.columns.start * column + own.channels.start * channel;
        let source = offset(self.site.memory.location(input.value), (from + start) * width);
        if source.space == Space::Sram {
            return stage(input, source.address, part, ([row, column].map(|step| step * width), element));
        }
        let turn = self.inputs[index].next((from, own.clone()));
        let address = self.pad.address(turn.buffer);
        let (columns, pixel) = (len(&own.columns), len(&own.channels) * width);
        if !turn.hit {
            let strides = [
                Stride { count: columns, from: column * width, to: pixel },
                Stride { count: len(&own.rows), from: row * width, to: columns * pixel },
            ];
            let destination = Location::sram(address);
            job.loads.extend(copies(source, destination, pixel, &strides, self.site.target.max_extent));
        }
        stage(input, address, part, ([columns * pixel, pixel], element))
    }
}

/// The part of an input that a piece needs: index 0 along axes where it is repeated.
fn own_box(input: &EltwiseInput, part: &MapBox) -> MapBox {
    let [rows, columns, channels] = inner(&input.steps);
    let own = |step: u32, range: &Range<u32>| if step == 0 { 0..1 } else { range.clone() };
    MapBox {
        rows: own(rows, &part.rows),
        columns: own(columns, &part.columns),
        channels: own(channels, &part.channels),
    }
}

/// Elements from an input's start to the index `outer` over the outer axes.
fn outer_offset(extents: &[u32], steps: &[u32], mut index: u32) -> u32 {
    let axes = outer(extents).iter().zip(outer(steps)).rev();
    axes.fold(0, |sum, (&extent, &step)| {
        let at = index % extent;
        index /= extent;
        sum + at * step
    })
}

/// A piece of an input whose rows and columns are `steps` bytes apart.
fn stage(input: &EltwiseInput, address: u32, part: &MapBox, (steps, element): ([u32; 2], ElementType)) -> Stage {
    let [row, column, channel] = inner(&input.steps);
    let repeated = |step: u32, bytes: u32| if step == 0 { 0 } else { bytes };
    Stage {
        map: FeatureMap {
            address,
            width: len(&part.columns),
            height: len(&part.rows),
            channels: len(&part.channels),
            row: repeated(row, steps[0]),
            pixel: repeated(column, steps[1]),
            element,
        },
        broadcast: channel == 0 && len(&part.channels) > 1,
        zero: input.zero,
        scale: input.stage,
    }
}

#[cfg(test)]
mod tests {
    use super::outer_offset;

    #[test]
    fn outer_indices_become_offsets() {
        let (extents, steps) = ([2, 3, 4, 5, 6], [360, 0, 30, 6, 1]);
        assert_eq!(outer_offset(&extents, &steps, 0), 0);
        assert_eq!(outer_offset(&extents, &steps, 2), 0, "the second axis is repeated");
        assert_eq!(outer_offset(&extents, &steps, 4), 360);
    }
}
