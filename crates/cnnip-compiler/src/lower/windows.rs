//! Pools whose window is beyond the target: a reduction over the valid part of each window.

use std::ops::Range;

use cnnip_isa::operation::{
    Accumulators, Eltwise, FeatureMap, Operation, OutputStage, Reduce, ReduceOutput, SPILL_BYTES, Stage,
};
use cnnip_isa::{ElementType, EltwiseFunction, ReduceFunction};

use super::pool::{
    activation, bytes, element_bytes, frame, input_map, order, output_bytes, output_map, outputs, window_extent,
};
use super::region::{Frame, MapBox, Span, len};
use super::sum::{PartialSum, SumEnd};
use super::{Lowered, Site};
use crate::error::Rule;
use crate::job::{BUFFER_ALIGNMENT, Job, Scratchpad, Turns};
use crate::size::{aligned, pieces, small};
use crate::tile::boxes::{Limits, Tile, largest};
use cnnip_lowered::{Pool, PoolFunction, Sweep};

/// How a pool is cut.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Outputs of a job.
    tile: Tile,
    /// Rows and columns of a window at a time; several jobs per output if it is less than a window.
    part: (u32, u32),
    turns: u32,
    /// All windows of a job are loaded at once.
    whole: bool,
}

pub(super) fn lower(site: &mut Site<'_>, pool: &Pool) -> Result<Lowered, Rule> {
    let plan = plan(site, pool)?;
    site.reserve(operations(pool, &plan))?;
    let mut lowering = Lowering::new(site, pool, plan);
    for (batch, part) in order(pool, plan.tile) {
        lowering.outputs(batch, &part);
    }
    let Plan { tile: Tile { rows, columns, channels }, part, turns, .. } = plan;
    let plan = format!("windows rows {rows} columns {columns} channels {channels} part {part:?} turns {turns}");
    Ok(Lowered { plan, pad: lowering.pad, jobs: lowering.jobs })
}

/// Operations of a plan at most: two per part of a window.
fn operations(pool: &Pool, plan: &Plan) -> u64 {
    let window = Tile { rows: pool.vertical.kernel, columns: pool.horizontal.kernel, channels: 1 };
    let parts = Tile { rows: plan.part.0, columns: plan.part.1, channels: 1 }.count(&window);
    let pixels = Tile { rows: 1, columns: 1, ..plan.tile }.count(&outputs(pool));
    u64::from(pool.batch).saturating_mul(pixels).saturating_mul(2 * parts)
}

/// Whole windows if they fit, else parts of a window for one output at a time.
fn plan(site: &Site<'_>, pool: &Pool) -> Result<Plan, Rule> {
    let limits = Limits::of(site.target);
    let side = site.target.max_reduce_side;
    let fits = |plan: Plan| scratchpad(site, pool, &plan) <= site.room();
    for turns in [2, 1] {
        let whole = |tile: Tile| Plan { tile, part: (side, side), turns, whole: true };
        let tile = largest(outputs(pool), limits, |tile| whole_frames(pool, tile, limits) && fits(whole(tile)));
        if let Some(tile) = tile {
            return Ok(whole(tile));
        }
    }
    let window = Tile { rows: pool.vertical.kernel, columns: pool.horizontal.kernel, channels: pool.channels };
    let parts = |part: Tile| Plan {
        tile: Tile { rows: 1, columns: 1, channels: part.channels },
        part: (part.rows, part.columns),
        turns: 1,
        whole: false,
    };
    match largest(window, Limits { extent: side, ..limits }, |part| fits(parts(part))) {
        Some(part) => Ok(parts(part)),
        None => Err(site.too_small(scratchpad(site, pool, &parts(Tile { rows: 1, columns: 1, channels: 1 })))),
    }
}

fn whole_frames(pool: &Pool, tile: Tile, limits: Limits) -> bool {
    let fits = |sweep: &Sweep, outputs| window_extent(sweep, outputs).min(sweep.input.into()) <= limits.extent.into();
    fits(&pool.vertical, tile.rows) && fits(&pool.horizontal, tile.columns)
}

/// Bytes of the buffers that take turns, input and output; 0 for what is worked on where it lies.
fn turning(site: &Site<'_>, pool: &Pool, plan: &Plan) -> [u64; 2] {
    let [input, output] = bytes(site, pool, plan.tile);
    let part = Tile { rows: plan.part.0, columns: plan.part.1, channels: plan.tile.channels };
    let part = output_bytes(part, element_bytes(site, pool));
    [if plan.whole { input } else { input.min(part) }, output]
}

/// Bytes of all buffers: input and output, accumulators, and the result of a part.
fn scratchpad(site: &Site<'_>, pool: &Pool, plan: &Plan) -> u64 {
    let turning: u64 = turning(site, pool, plan).iter().map(|&bytes| aligned(bytes, BUFFER_ALIGNMENT)).sum();
    let accumulators = aligned(u64::from(plan.tile.channels) * u64::from(SPILL_BYTES), BUFFER_ALIGNMENT);
    turning * u64::from(plan.turns) + accumulators + partial_bytes(site, pool, plan)
}

fn partial_bytes(site: &Site<'_>, pool: &Pool, plan: &Plan) -> u64 {
    output_bytes(Tile { rows: 1, columns: 1, ..plan.tile }, element_bytes(site, pool))
}

struct Lowering<'a, 's> {
    site: &'a mut Site<'s>,
    pool: &'a Pool,
    element: ElementType,
    plan: Plan,
    pad: Scratchpad,
    inputs: Turns<usize>,
    outputs: Turns<usize>,
    accumulators: u32,
    partial: u32,
    jobs: Vec<Job>,
}

/// A part of one output's window, in rows and columns of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    rows: Range<u32>,
    columns: Range<u32>,
    first: bool,
    last: bool,
    /// Valid positions of the whole window.
    count: u32,
}

impl Part {
    fn frame(&self) -> Frame {
        let span = |range: &Range<u32>| Span { start: range.start.into(), count: len(range), step: 1 };
        Frame { rows: span(&self.rows), columns: span(&self.columns) }
    }
}

impl<'a, 's> Lowering<'a, 's> {
    fn new(site: &'a mut Site<'s>, pool: &'a Pool, plan: Plan) -> Self {
        let mut pad = site.scratchpad(scratchpad(site, pool, &plan));
        let [input, output] = turning(site, pool, &plan);
        let inputs = Turns::take(&mut pad, "input", input, plan.turns);
        let outputs = Turns::take(&mut pad, "output", output, plan.turns);
        let accumulators = pad.take("accumulators", u64::from(plan.tile.channels) * u64::from(SPILL_BYTES));
        let partial = pad.take("partial", partial_bytes(site, pool, &plan));
        let (accumulators, partial) = (pad.address(accumulators), pad.address(partial));
        let element = site.element(pool.input);
        Self { site, pool, element, plan, pad, inputs, outputs, accumulators, partial, jobs: vec![] }
    }

    /// The jobs of a piece of output.
    fn outputs(&mut self, batch: u32, piece: &MapBox) {
        let buffer = || self.pad.address(self.outputs.next(self.jobs.len()).buffer);
        let moved = (self.element, self.site.target.max_extent);
        let (output, stores) = piece.output(&output_map(self.site, self.pool, batch), moved, buffer);
        if self.plan.whole {
            self.whole(batch, piece, &output);
        } else {
            self.parts_apart(batch, piece, output.address);
        }
        if let Some(job) = self.jobs.last_mut() {
            job.stores = stores;
        }
    }

    /// One job: the input of all windows at once.
    fn whole(&mut self, batch: u32, piece: &MapBox, output: &FeatureMap) {
        let frame = frame(self.pool, piece);
        let (mut job, input) = self.load(batch, &frame, &piece.channels);
        for (y, row) in (0..).zip(piece.rows.clone()) {
            for (x, column) in (0..).zip(piece.columns.clone()) {
                let address = output.address + y * output.row + x * output.pixel;
                for part in self.parts(row, column) {
                    job.computes.extend(self.step(view(&frame, &part, &input), &part, address));
                }
            }
        }
        self.jobs.push(job);
    }

    /// One output, a job per part of its window.
    fn parts_apart(&mut self, batch: u32, piece: &MapBox, output: u32) {
        for part in self.parts(piece.rows.start, piece.columns.start) {
            let frame = part.frame();
            let (mut job, input) = self.load(batch, &frame, &piece.channels);
            job.computes = self.step(view(&frame, &part, &input), &part, output);
            self.jobs.push(job);
        }
    }

    fn load(&mut self, batch: u32, frame: &Frame, channels: &Range<u32>) -> (Job, FeatureMap) {
        let buffer = || self.pad.address(self.inputs.next(self.jobs.len()).buffer);
        let moved = (self.element, self.site.target.max_extent);
        let (input, loads) = frame.boxed(channels).input(&input_map(self.site, self.pool, batch), moved, buffer);
        (Job { loads, ..Job::default() }, input)
    }

    /// The parts of the window of an output, cut to the map.
    fn parts(&self, row: u32, column: u32) -> Vec<Part> {
        let (rows, columns) = (valid(&self.pool.vertical, row), valid(&self.pool.horizontal, column));
        let count = len(&rows) * len(&columns);
        let shifted = |range: &Range<u32>, by: u32| range.start + by..range.end + by;
        let mut parts = vec![];
        for y in pieces(len(&rows), self.plan.part.0) {
            for x in pieces(len(&columns), self.plan.part.1) {
                let (rows, columns) = (shifted(&y, rows.start), shifted(&x, columns.start));
                parts.push(Part { rows, columns, first: parts.is_empty(), last: false, count });
            }
        }
        if let Some(part) = parts.last_mut() {
            part.last = true;
        }
        parts
    }

    /// The operations that add a part to the result.
    fn step(&self, input: FeatureMap, part: &Part, output: u32) -> Vec<Operation> {
        match self.pool.function {
            PoolFunction::Average => vec![self.sum(input, part, output)],
            PoolFunction::Max => self.extremum(input, part, output, (ReduceFunction::Max, EltwiseFunction::Max)),
            PoolFunction::Min => self.extremum(input, part, output, (ReduceFunction::Min, EltwiseFunction::Min)),
        }
    }

    /// The largest or smallest element of a part, and of what was found before.
    fn extremum(
        &self,
        input: FeatureMap,
        part: &Part,
        output: u32,
        (reduce, choose): (ReduceFunction, EltwiseFunction),
    ) -> Vec<Operation> {
        if part.first {
            return vec![self.reduce(reduce, input, output)];
        }
        vec![self.reduce(reduce, input, self.partial), self.choose(choose, input.channels, output)]
    }

    fn sum(&self, input: FeatureMap, part: &Part, address: u32) -> Operation {
        let activation = activation(self.pool);
        let end = SumEnd { address, stage: OutputStage::NONE, divisor: part.count, activation };
        let end = part.last.then_some(end);
        PartialSum { input, input_zero: self.pool.zero, start: part.first, accumulators: self.accumulators, end }
            .operation()
    }

    fn reduce(&self, function: ReduceFunction, input: FeatureMap, address: u32) -> Operation {
        Operation::Reduce(Reduce {
            function,
            input,
            input_zero: 0,
            channels: false,
            accumulators: Accumulators::default(),
            output: ReduceOutput {
                address,
                element: self.element,
                stage: OutputStage::NONE,
                divisor: 1,
                activation: activation(self.pool),
            },
        })
    }

    /// Keeps in the output the larger or smaller of it and the partial result.
    fn choose(&self, function: EltwiseFunction, channels: u32, output: u32) -> Operation {
        let pixel = |address: u32| FeatureMap::dense(address, [1, 1, channels], self.element);
        let stage = |address| Stage { map: pixel(address), broadcast: false, zero: 0, scale: OutputStage::NONE };
        Operation::Eltwise(Eltwise {
            function,
            pre_shift: 0,
            first: stage(output),
            second: Some(stage(self.partial)),
            output: pixel(output),
            stage: OutputStage::NONE,
            activation: activation(self.pool),
        })
    }
}

/// Positions of the window of output `index` inside the map.
fn valid(sweep: &Sweep, index: u32) -> Range<u32> {
    let start = sweep.start(index);
    let cut = |position: i64| small(position.clamp(0, sweep.input.into()));
    cut(start)..cut(start + i64::from(sweep.kernel))
}

/// A part of the map, whose frame is `whole`.
fn view(frame: &Frame, part: &Part, whole: &FeatureMap) -> FeatureMap {
    let y = small(i64::from(part.rows.start) - frame.rows.start);
    let x = small(i64::from(part.columns.start) - frame.columns.start);
    FeatureMap {
        address: whole.address + y * whole.row + x * whole.pixel,
        height: len(&part.rows),
        width: len(&part.columns),
        ..*whole
    }
}
