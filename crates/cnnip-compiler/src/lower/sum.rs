//! Means: a sum per channel, in pieces where there are many elements.

use cnnip_isa::operation::{
    Accumulators, Activation, FeatureMap, Operation, OutputStage, Reduce, ReduceOutput, SPILL_BYTES,
};
use cnnip_isa::{ElementType, ReduceFunction};

use super::region::{MapBox, StoredMap, len};
use super::{Lowered, Site};
use crate::error::Rule;
use crate::job::{BUFFER_ALIGNMENT, Job, Scratchpad, Turns};
use crate::size::{aligned, pieces, width};
use crate::tile::boxes::{Limits, Tile, largest};
use cnnip_lowered::{Sum, ValueId};

/// Rows are outer indices, columns are elements of a sum.
pub(super) fn lower(site: &mut Site<'_>, sum: &Sum) -> Result<Lowered, Rule> {
    let (tile, turns) = plan(site, sum)?;
    let whole = Tile { rows: sum.outer, columns: sum.count, channels: sum.channels };
    let per_sum = u64::from(tile.columns / site.target.max_reduce_side + 1);
    site.reserve(Tile { rows: 1, ..tile }.count(&whole).saturating_mul(per_sum))?;
    let mut lowering = Lowering::new(site, sum, tile, turns);
    for rows in pieces(sum.outer, tile.rows) {
        for channels in pieces(sum.channels, tile.channels) {
            lowering.sums(&MapBox { rows: rows.clone(), columns: 0..sum.count, channels });
        }
    }
    let Tile { rows, columns, channels } = tile;
    let plan = format!("sum outer {rows} count {columns} channels {channels} turns {turns}");
    Ok(Lowered { plan, pad: lowering.pad, jobs: lowering.jobs })
}

fn plan(site: &Site<'_>, sum: &Sum) -> Result<(Tile, u32), Rule> {
    let whole = Tile { rows: sum.outer, columns: sum.count, channels: sum.channels };
    for turns in [2, 1] {
        let fits = |tile: Tile| scratchpad(site, sum, (tile, turns)) <= site.room();
        if let Some(tile) = largest(whole, Limits::of(site.target), fits) {
            let rows = if tile.columns < sum.count { 1 } else { tile.rows };
            return Ok((Tile { rows, ..tile }, turns));
        }
    }
    Err(site.too_small(scratchpad(site, sum, (Tile { rows: 1, columns: 1, channels: 1 }, 1))))
}

fn scratchpad(site: &Site<'_>, sum: &Sum, (tile, turns): (Tile, u32)) -> u64 {
    let turning: u64 = bytes(site, sum, tile).iter().map(|&bytes| aligned(bytes, BUFFER_ALIGNMENT)).sum();
    turning * u64::from(turns) + aligned(accumulators(tile), BUFFER_ALIGNMENT)
}

/// Bytes of the buffers of a piece, input and output; 0 for what is worked on where it lies.
fn bytes(site: &Site<'_>, sum: &Sum, tile: Tile) -> [u64; 2] {
    let buffer = |value, bytes| if site.setting.is_resident(value) { 0 } else { bytes };
    let output = u64::from(tile.rows) * u64::from(tile.channels) * u64::from(width(site.element(sum.input)));
    [buffer(sum.input, output * u64::from(tile.columns)), buffer(sum.output, output)]
}

fn accumulators(tile: Tile) -> u64 {
    u64::from(tile.channels) * u64::from(SPILL_BYTES)
}

struct Lowering<'a, 's> {
    site: &'a mut Site<'s>,
    sum: &'a Sum,
    element: ElementType,
    tile: Tile,
    pad: Scratchpad,
    inputs: Turns<usize>,
    outputs: Turns<usize>,
    accumulators: u32,
    jobs: Vec<Job>,
}

impl<'a, 's> Lowering<'a, 's> {
    fn new(site: &'a mut Site<'s>, sum: &'a Sum, tile: Tile, turns: u32) -> Self {
        let mut pad = site.scratchpad(scratchpad(site, sum, (tile, turns)));
        let accumulators = pad.take("accumulators", accumulators(tile));
        let accumulators = pad.address(accumulators);
        let [input, output] = bytes(site, sum, tile);
        let inputs = Turns::take(&mut pad, "input", input, turns);
        let outputs = Turns::take(&mut pad, "output", output, turns);
        let element = site.element(sum.input);
        Self { site, sum, element, tile, pad, inputs, outputs, accumulators, jobs: vec![] }
    }

    /// The jobs of a box of outputs, one per piece of their elements.
    fn sums(&mut self, part: &MapBox) {
        let map = self.map(self.sum.output, 1);
        let buffer = || self.pad.address(self.outputs.next(self.jobs.len()).buffer);
        let part = MapBox { columns: 0..1, ..part.clone() };
        let (output, stores) = part.output(&map, (self.element, self.site.target.max_extent), buffer);
        for columns in pieces(self.sum.count, self.tile.columns) {
            let job = self.piece(&MapBox { columns, ..part.clone() }, &output);
            self.jobs.push(job);
        }
        if let Some(last) = self.jobs.last_mut() {
            last.stores = stores;
        }
    }

    fn piece(&mut self, piece: &MapBox, output: &FeatureMap) -> Job {
        let map = self.map(self.sum.input, self.sum.count);
        let buffer = || self.pad.address(self.inputs.next(self.jobs.len()).buffer);
        let (input, loads) = piece.input(&map, (self.element, self.site.target.max_extent), buffer);
        let row = |row: u32| {
            let input = FeatureMap { address: input.address + row * input.row, height: 1, ..input };
            self.row(piece, &input, output.address + row * output.row)
        };
        let computes = (0..len(&piece.rows)).flat_map(row).collect();
        Job { loads, computes, stores: vec![] }
    }

    /// A map with a row per sum and `columns` pixels in it.
    fn map(&self, value: ValueId, columns: u32) -> StoredMap {
        self.site.map(value, columns, self.sum.channels, width(self.element))
    }

    /// The operations for one outer index, whose elements are the pixels of a row.
    fn row(&self, piece: &MapBox, input: &FeatureMap, output: u32) -> Vec<Operation> {
        let maps = maps(len(&piece.columns), self.site.target.max_reduce_side);
        let sum = |&SumMap { first, height, width }: &SumMap| {
            let end = piece.columns.start + first + height * width == self.sum.count;
            let sum = PartialSum {
                input: FeatureMap {
                    address: input.address + first * input.pixel,
                    height,
                    width,
                    row: width * input.pixel,
                    ..*input
                },
                input_zero: self.sum.input_zero,
                start: piece.columns.start + first == 0,
                accumulators: self.accumulators,
                end: end.then_some(SumEnd {
                    address: output,
                    stage: self.sum.stage,
                    divisor: 1,
                    activation: self.sum.activation,
                }),
            };
            sum.operation()
        };
        maps.iter().map(sum).collect()
    }
}

/// One step of a sum over several maps.
pub(super) struct PartialSum {
    pub(super) input: FeatureMap,
    pub(super) input_zero: i32,
    /// The first step: accumulators start at zero.
    pub(super) start: bool,
    /// Where accumulators wait between steps.
    pub(super) accumulators: u32,
    /// The last step: what happens to the sum.
    pub(super) end: Option<SumEnd>,
}

/// What happens to a sum.
pub(super) struct SumEnd {
    pub(super) address: u32,
    pub(super) stage: OutputStage,
    pub(super) divisor: u32,
    pub(super) activation: Activation,
}

/// What a reduction that stores accumulators has for an output.
const NO_OUTPUT: ReduceOutput = ReduceOutput {
    address: 0,
    element: ElementType::None,
    stage: OutputStage::NONE,
    divisor: 1,
    activation: Activation { zero: 0, min: 0, max: 0, table: None },
};

impl PartialSum {
    pub(super) fn operation(&self) -> Operation {
        let output = self.end.as_ref().map_or(NO_OUTPUT, |&SumEnd { address, stage, divisor, activation }| {
            ReduceOutput { address, element: self.input.element, stage, divisor, activation }
        });
        Operation::Reduce(Reduce {
            function: ReduceFunction::Sum,
            input: self.input,
            input_zero: self.input_zero,
            channels: false,
            accumulators: Accumulators {
                load: (!self.start).then_some(self.accumulators),
                store: self.end.is_none().then_some(self.accumulators),
                bias: false,
            },
            output,
        })
    }
}

/// Pixels `first .. first + height * width` of a sequence, seen as a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SumMap {
    first: u32,
    height: u32,
    width: u32,
}

/// Cuts a sequence of `count` pixels into maps whose sides are at most `side`: one if it factors, else large ones first.
fn maps(count: u32, side: u32) -> Vec<SumMap> {
    let factor = (1..=side.min(count)).rev().find(|&width| count.is_multiple_of(width) && count / width <= side);
    if let Some(width) = factor {
        return vec![SumMap { first: 0, height: count / width, width }];
    }
    let mut maps = vec![];
    let mut first = 0;
    while first < count {
        let rest = count - first;
        let width = rest.min(side);
        let height = (rest / width).min(side);
        maps.push(SumMap { first, height, width });
        first += height * width;
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_become_few_maps() {
        assert_eq!(maps(49, 125), [SumMap { first: 0, height: 1, width: 49 }]);
        assert_eq!(maps(3136, 125), [SumMap { first: 0, height: 28, width: 112 }]);
        let prime = [SumMap { first: 0, height: 1, width: 125 }, SumMap { first: 125, height: 1, width: 2 }];
        assert_eq!(maps(127, 125), prime);
        let large: u32 = maps(100_003, 125).iter().map(|map| map.height * map.width).sum();
        assert_eq!(large, 100_003);
    }
}
