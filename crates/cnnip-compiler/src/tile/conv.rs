//! How a convolution is cut: output rows, columns and channels, input channels, and taps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cnnip_isa::operation::{RECORD_BYTES, SPILL_BYTES};
use cnnip_isa::{ElementType, Target};

use super::boxes::most;
use super::taps::Taps;
use crate::job::BUFFER_ALIGNMENT;
use crate::size::{aligned, even, shrink, small, wide, width};
use cnnip_lowered::ConvLayer;

/// Sizes of a piece and the order of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvPlan {
    /// Output rows.
    pub(crate) rows: u32,
    /// Output columns.
    pub(crate) columns: u32,
    /// Groups; if more than one, all their channels.
    pub(crate) groups: u32,
    /// Output channels of a group.
    pub(crate) outputs: u32,
    /// Input channels of a group at a time.
    pub(crate) depth: u32,
    /// Input is loaded for each chunk of taps on its own.
    pub(crate) split_taps: bool,
    /// All pixels for one piece of weights, rather than all weights for one piece of pixels.
    pub(crate) weights_stay: bool,
    /// Buffers of each kind that take turns: 2, or 1 where space is short.
    pub(crate) turns: u32,
    /// Buffers of weights: more than `turns` where there is space, so that loads run ahead.
    pub(crate) weight_turns: u32,
}

impl ConvPlan {
    /// One element at a time.
    const fn least(turns: u32) -> Self {
        Self {
            rows: 1,
            columns: 1,
            groups: 1,
            outputs: 1,
            depth: 1,
            split_taps: false,
            weights_stay: false,
            turns,
            weight_turns: turns,
        }
    }
}

/// What a layer finds in the scratchpad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Room {
    /// Bytes for its buffers.
    pub(crate) bytes: u64,
    /// Its input is there.
    pub(crate) input: bool,
    /// Its output has its place there.
    pub(crate) output: bool,
}

/// The plans of a network's convolutions as far as someone has asked for them: finding one takes most of a compilation, and what differs
/// from one to the next is little.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plans(Arc<Mutex<HashMap<PlanKey, Result<ConvPlan, u64>>>>);

/// A layer's index, what it finds in the scratchpad, and how many cheaper plans there are.
type PlanKey = (usize, Room, usize);

/// Plans that are remembered at most.
const MAX_PLANS: usize = 1 << 20;

impl Plans {
    /// The plan of a layer of the network with `rank` cheaper ones by estimated cycles, or the last one; on a tie the first found is
    /// cheaper. `Err` has the bytes of the smallest piece.
    pub(crate) fn plan(&self, layer: usize, shape: &ConvShape<'_>, rank: usize) -> Result<ConvPlan, u64> {
        let key = (layer, shape.room, rank);
        if let Some(&known) = self.known().get(&key) {
            return known;
        }
        let found = shape.plan(rank);
        let mut known = self.known();
        if known.len() >= MAX_PLANS {
            known.clear();
        }
        known.insert(key, found);
        found
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PlanKey, Result<ConvPlan, u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of each buffer of a plan; 0 for one that is not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvBytes {
    pub(crate) input: u64,
    pub(crate) weights: u64,
    pub(crate) output: u64,
    pub(crate) accumulators: u64,
}

/// A layer seen with a target's limits.
#[derive(Clone, Debug)]
pub(crate) struct ConvShape<'a> {
    pub(crate) layer: &'a ConvLayer,
    pub(crate) target: &'static Target,
    /// Type of the input's elements.
    pub(crate) input: ElementType,
    /// Type of the output's elements.
    pub(crate) output: ElementType,
    pub(crate) vertical: Taps,
    pub(crate) horizontal: Taps,
    /// Padding is filled in rather than given by registers.
    pub(crate) filled: bool,
    pub(crate) room: Room,
}

impl<'a> ConvShape<'a> {
    pub(crate) fn new(
        layer: &'a ConvLayer,
        [input, output]: [ElementType; 2],
        target: &'static Target,
        room: Room,
    ) -> Self {
        let vertical = Taps::of(&layer.vertical, target, target.max_pad_y);
        let horizontal = Taps::of(&layer.horizontal, target, target.max_pad_x);
        let filled = !(vertical.is_plain() && horizontal.is_plain());
        Self { layer, target, input, output, vertical, horizontal, filled, room }
    }

    /// Whether every operation reads the input where it lies.
    fn reads_in_place(&self) -> bool {
        self.room.input && !self.filled
    }

    /// Chunks of taps: operations per piece of input channels.
    pub(crate) fn tap_chunks(&self) -> u32 {
        small(self.vertical.chunks.len() * self.horizontal.chunks.len())
    }

    /// Operations that one output passes through.
    pub(crate) fn phases(&self, plan: &ConvPlan) -> u32 {
        self.layer.depth.div_ceil(plan.depth) * self.tap_chunks()
    }

    /// Rows and columns of the largest input piece.
    pub(crate) fn input_extent(&self, plan: &ConvPlan) -> (u64, u64) {
        let extent = |taps: &Taps, sweep, outputs| {
            if plan.split_taps { taps.largest_chunk_extent(sweep, outputs) } else { Taps::whole_extent(sweep, outputs) }
        };
        let (vertical, horizontal) = (&self.layer.vertical, &self.layer.horizontal);
        let rows = extent(&self.vertical, vertical, plan.rows);
        let columns = extent(&self.horizontal, horizontal, plan.columns);
        if self.filled {
            (rows, columns)
        } else {
            (rows.min(vertical.input.into()), columns.min(horizontal.input.into()))
        }
    }

    /// Bytes of the weights of the largest chunk of taps, in the machine's layout.
    fn weight_bytes(&self, plan: &ConvPlan) -> u64 {
        let longest = |taps: &Taps| taps.chunks.iter().map(|chunk| u64::from(chunk.len)).max().unwrap_or(1);
        let taps = longest(&self.vertical) * longest(&self.horizontal);
        let outputs = u64::from(plan.outputs);
        let width = width(self.layer.weights.element);
        if self.layer.depthwise {
            return (u64::from(plan.groups) * outputs).div_ceil(16) * taps * u64::from(16 * width);
        }
        let depths = plan.depth.div_ceil(4 / width.max(1));
        u64::from(plan.groups) * outputs.div_ceil(16) * taps * u64::from(depths) * 64
    }

    pub(crate) fn bytes(&self, plan: &ConvPlan) -> ConvBytes {
        let (rows, columns) = self.input_extent(plan);
        let channels = u64::from(plan.groups) * u64::from(plan.outputs);
        let output = u64::from(plan.rows) * u64::from(plan.columns) * channels;
        let spill = if self.phases(plan) > 1 { output * u64::from(SPILL_BYTES) } else { 0 };
        let input = rows * columns * u64::from(plan.groups) * u64::from(plan.depth) * u64::from(width(self.input));
        ConvBytes {
            input: if self.reads_in_place() { 0 } else { input },
            weights: aligned(self.weight_bytes(plan), 64) + channels * u64::from(RECORD_BYTES),
            output: if self.room.output { 0 } else { output * u64::from(width(self.output)) },
            accumulators: spill,
        }
    }

    /// Scratchpad that a plan needs.
    pub(crate) fn scratchpad(&self, plan: &ConvPlan) -> u64 {
        let ConvBytes { input, weights, output, accumulators } = self.bytes(plan);
        let turning = |bytes: u64, turns: u32| aligned(bytes, BUFFER_ALIGNMENT) * u64::from(turns);
        turning(input, plan.turns)
            + turning(weights, plan.weight_turns)
            + turning(output, plan.turns)
            + aligned(accumulators, BUFFER_ALIGNMENT)
    }

    fn fits(&self, plan: &ConvPlan) -> bool {
        let (rows, columns) = self.input_extent(plan);
        let extent = u64::from(self.target.max_extent);
        rows <= extent
            && columns <= extent
            && u64::from(plan.groups) * u64::from(plan.depth) <= self.target.max_channels.into()
            && u64::from(plan.groups) * u64::from(plan.outputs) <= self.target.max_channels.into()
            && self.scratchpad(plan) <= self.room.bytes
    }

    /// As [`Plans::plan`].
    fn plan(&self, rank: usize) -> Result<ConvPlan, u64> {
        let found = match rank {
            0 => self.candidates().min_by_key(|plan| self.cost(plan)),
            _ => self.ranked(rank),
        };
        found.map(|plan| self.running_ahead(plan)).ok_or_else(|| self.scratchpad(&self.smallest()))
    }

    fn ranked(&self, rank: usize) -> Option<ConvPlan> {
        let mut plans: Vec<(u64, ConvPlan)> = self.candidates().map(|plan| (self.cost(&plan), plan)).collect();
        plans.sort_by_key(|&(cost, _)| cost);
        plans.dedup();
        plans.get(rank).or(plans.last()).map(|&(_, plan)| plan)
    }

    /// The plan with as many buffers of weights as there are pieces, if they take at most half of the room.
    fn running_ahead(&self, plan: ConvPlan) -> ConvPlan {
        let counts = self.counts(&plan);
        let pieces = small(counts.channels * counts.phases);
        let turns = plan.weight_turns.min(pieces);
        let fits = |weight_turns: u32| self.scratchpad(&ConvPlan { weight_turns, ..plan }) <= self.room.bytes / 2;
        ConvPlan { weight_turns: most(pieces, fits).map_or(turns, |most| most.max(turns)), ..plan }
    }

    /// Bytes moved to and from external memory.
    pub(crate) fn traffic(&self, plan: &ConvPlan) -> u64 {
        let counts = self.counts(plan);
        let (input_loads, weight_loads) = self.loads(plan, &counts);
        let bytes = self.bytes(plan);
        let input = if self.room.input { 0 } else { input_loads * bytes.input };
        input + weight_loads * bytes.weights + counts.pixels * counts.channels * bytes.output
    }

    fn smallest(&self) -> ConvPlan {
        let split_taps = self.tap_chunks() > 1;
        ConvPlan { split_taps, ..ConvPlan::least(1) }
    }

    fn candidates(&self) -> impl Iterator<Item = ConvPlan> + '_ {
        let layer = self.layer;
        let columns = shrink(layer.horizontal.output, 16, self.target.max_extent);
        let splits = if self.tap_chunks() > 1 { &[false, true][..] } else { &[false] };
        let channels = self.channel_candidates().into_iter();
        channels.flat_map(move |(groups, outputs, depth)| {
            let columns = columns.clone();
            columns.into_iter().flat_map(move |columns| {
                let orders = splits.iter().flat_map(|&split| [2, 1].map(|turns| (split, turns)));
                orders.flat_map(move |(split_taps, turns)| {
                    let plan = ConvPlan { columns, groups, outputs, depth, split_taps, ..ConvPlan::least(turns) };
                    self.with_most_rows(plan)
                })
            })
        })
    }

    /// The plan with as many rows as fit, in both orders.
    fn with_most_rows(&self, plan: ConvPlan) -> Vec<ConvPlan> {
        let limit = self.layer.vertical.output.min(self.target.max_extent);
        let Some(rows) = most(limit, |rows| self.fits(&ConvPlan { rows, ..plan })) else { return vec![] };
        let rows = even(self.layer.vertical.output, rows);
        let columns = even(self.layer.horizontal.output, plan.columns);
        [false, true].map(|weights_stay| ConvPlan { rows, columns, weights_stay, ..plan }).to_vec()
    }

    /// Groups, output channels and input channels of a piece.
    fn channel_candidates(&self) -> Vec<(u32, u32, u32)> {
        let layer = self.layer;
        let most = self.target.max_channels;
        let depths = shrink(layer.depth, 4, most);
        let of_one = shrink(layer.outputs, 16, most);
        let parts = of_one.iter().flat_map(|&outputs| depths.iter().map(move |&depth| (1, outputs, depth)));
        let unit = 16_u32.div_ceil(layer.outputs.min(16));
        let several = shrink(layer.groups, unit, most).into_iter().filter(|&groups| groups > 1);
        several.map(|groups| (groups, layer.outputs, layer.depth)).chain(parts).collect()
    }

    /// Estimated cycles.
    fn cost(&self, plan: &ConvPlan) -> u64 {
        let counts = self.counts(plan);
        let jobs = self.jobs(plan);
        let engines = u64::from(self.target.dma_engines.max(1));
        let load = self.load_cycles(plan, &counts) / engines;
        let compute = jobs * self.operation_cycles(plan) + self.spill_cycles(plan, &counts);
        let store = counts.pixels * counts.channels * self.store_cycles(plan);
        let sum = load + compute + store;
        if plan.turns == 1 { sum } else { load.max(compute).max(store) + sum / (jobs * OVERLAP) }
    }

    /// Cycles for accumulators that one operation leaves to the next. Those of the timing model are 0; a device moves them, and so does
    /// its simulator.
    fn spill_cycles(&self, plan: &ConvPlan, counts: &Counts) -> u64 {
        if counts.phases == 1 {
            return 0;
        }
        let moved = 2 * self.bytes(plan).accumulators; // written, then read
        moved / SPILLED_PER_CYCLE * (counts.phases - 1) * counts.pixels * counts.channels
    }

    /// Jobs of a plan.
    pub(crate) fn jobs(&self, plan: &ConvPlan) -> u64 {
        let counts = self.counts(plan);
        counts.pixels.saturating_mul(counts.channels).saturating_mul(counts.phases)
    }

    fn counts(&self, plan: &ConvPlan) -> Counts {
        let layer = self.layer;
        let cut = |extent: u32, step: u32| u64::from(extent.div_ceil(step));
        let maps = cut(layer.vertical.output, plan.rows) * cut(layer.horizontal.output, plan.columns);
        let groups = cut(layer.groups, plan.groups);
        Counts {
            pixels: u64::from(layer.batch) * maps,
            groups,
            channels: groups * cut(layer.outputs, plan.outputs),
            depths: cut(layer.depth, plan.depth),
            phases: self.phases(plan).into(),
        }
    }

    /// How often a piece of the input and a piece of the weights are loaded.
    fn loads(&self, plan: &ConvPlan, counts: &Counts) -> (u64, u64) {
        let Counts { pixels, groups, channels, depths, phases } = *counts;
        let inputs = if plan.split_taps { phases } else { depths };
        let input_stays = inputs == 1 && (!plan.weights_stay || pixels == 1);
        let input_loads = pixels * if input_stays { groups } else { channels * inputs };
        let weights_stay = phases == 1 && (plan.weights_stay || channels == 1);
        let weight_loads = channels * phases * if weights_stay { 1 } else { pixels };
        (input_loads, weight_loads)
    }

    fn load_cycles(&self, plan: &ConvPlan, counts: &Counts) -> u64 {
        let (input_loads, weight_loads) = self.loads(plan, counts);
        let input = if self.reads_in_place() { 0 } else { input_loads * self.input_cycles(plan) };
        input + weight_loads * self.dense_cycles(self.bytes(plan).weights)
    }

    fn input_cycles(&self, plan: &ConvPlan) -> u64 {
        let (rows, columns) = self.input_extent(plan);
        let layer = self.layer;
        let channels = u64::from(plan.groups) * u64::from(plan.depth);
        let whole_pixels = channels == u64::from(layer.groups) * u64::from(layer.depth);
        let channels = channels * u64::from(width(self.input));
        let (runs, run) = match whole_pixels {
            false => (rows * columns, channels),
            true if columns >= layer.horizontal.input.into() => (1, rows * columns * channels),
            true => (rows, columns * channels),
        };
        self.run_cycles(runs, run)
    }

    fn store_cycles(&self, plan: &ConvPlan) -> u64 {
        if self.room.output {
            return 0;
        }
        let layer = self.layer;
        let channels = u64::from(plan.groups) * u64::from(plan.outputs);
        let (rows, columns) = (u64::from(plan.rows), u64::from(plan.columns));
        let pixel = channels * u64::from(width(self.output));
        if channels < u64::from(layer.groups) * u64::from(layer.outputs) {
            return self.run_cycles(rows * columns, pixel);
        }
        if plan.columns < layer.horizontal.output {
            return self.run_cycles(rows, columns * pixel);
        }
        self.dense_cycles(rows * columns * pixel)
    }

    fn dense_cycles(&self, bytes: u64) -> u64 {
        self.run_cycles(1, bytes)
    }

    fn run_cycles(&self, runs: u64, bytes: u64) -> u64 {
        u64::from(self.target.dma_latency_cycles) + runs * bytes.div_ceil(self.target.dma_bytes_per_cycle.into())
    }

    /// Cycles of one operation, with the commands around it.
    fn operation_cycles(&self, plan: &ConvPlan) -> u64 {
        let target = self.target;
        let layer = self.layer;
        let chunks = wide(self.vertical.chunks.len() * self.horizontal.chunks.len());
        let taps = (u64::from(layer.vertical.kernel) * u64::from(layer.horizontal.kernel)).div_ceil(chunks);
        let (groups, outputs, depth) = if layer.depthwise {
            (1, u64::from(plan.groups) * u64::from(plan.outputs), 1)
        } else {
            (u64::from(plan.groups), u64::from(plan.outputs), u64::from(plan.depth))
        };
        let blocks = groups * outputs.div_ceil(target.mac_channels.into()) * u64::from(plan.rows);
        let columns = u64::from(plan.columns.div_ceil(target.mac_pixels));
        let rate = if self.input == ElementType::Int16 { target.wide_rate } else { 1 };
        let steps = (taps * depth).div_ceil(target.mac_depth.into()) * u64::from(rate);
        u64::from(target.issue_cycles) + COMMAND_CYCLES + blocks * columns * steps
    }
}

/// About what a job takes beside its operation: commands of its engines, their waiting for each other, and the latency of a load.
/// This and [`OVERLAP`] were chosen so that seven networks take fewest cycles on v3m and v4h as they are scheduled in the end.
const COMMAND_CYCLES: u64 = 166;

/// What part of a layer's first load and last store nothing else goes on beside: one in so many. The rest overlaps with its neighbours.
const OVERLAP: u64 = 4;

/// Bytes of accumulators per cycle: four 512-bit words. Enough to decide between plans of about as many cycles; at one word, DeepLab's
/// dilated layers were cut so that they took a third more cycles.
const SPILLED_PER_CYCLE: u64 = 256;

/// How often the parts of a plan occur.
struct Counts {
    /// Pieces of the output's pixels.
    pixels: u64,
    /// Pieces of the groups.
    groups: u64,
    /// Pieces of the output channels.
    channels: u64,
    /// Pieces of the input channels.
    depths: u64,
    /// Operations per output.
    phases: u64,
}

/// As `conv rows 8 columns 16 groups 1 outputs 64 depth 32 turns 2 weights 4 pixels stay`.
impl std::fmt::Display for ConvPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, columns, groups, outputs, depth, split_taps, weights_stay, turns, weight_turns } = self;
        let order = if *weights_stay { "weights stay" } else { "pixels stay" };
        write!(
            f,
            "conv rows {rows} columns {columns} groups {groups} outputs {outputs} depth {depth} turns {turns} \
             weights {weight_turns} {order}"
        )?;
        if *split_taps { f.write_str(" split taps") } else { Ok(()) }
    }
}
