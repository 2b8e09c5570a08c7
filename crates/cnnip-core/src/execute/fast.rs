//! Whole operations on fast kernels.
//!
//! Every function here either does the whole operation exactly as the block form does, or declines without having written
//! anything. Declined are 16-bit operations other than convolutions, accumulators that cannot be proven to stay in range (so
//! that an overflow is found block by block, where the specification puts it), and what the kernels themselves decline.

use std::ops::Range;

use cnnip_isa::operation::{
    Accumulators, Activation, Conv, ConvKind, Copy, DmaPattern, Eltwise, FeatureMap, Fill, Footprint, Lookup,
    Operation, OutputStage, Pool, PoolKind, Reduce, Role, Space, Stage, Table,
};
use cnnip_isa::{ElementType, EltwiseFunction, ReduceFunction, RoundingMode, TableKind};
use cnnip_kernels::{
    Conv8, Conv16, Depthwise8, Depthwise16, Divisor, Element8, Eltwise8, Kernels, Load, Map, Output8, Output16, Pool8,
    Runs, Scratch, Source8, Source16, Target8, Target16, Weights16, Window,
};

use super::scales::mode;
use super::sums::Sums;
use super::{eltwise, reduce, sparse};
use crate::memory::{Bound, Memory, index};

/// The kernels of this processor and their working memory.
#[derive(Debug)]
pub(crate) struct Fast {
    kernels: Kernels,
    scratch: Scratch,
    /// Copies of sources whose extent reaches into the destination's.
    copies: [Vec<u8>; SOURCES],
    sums: Vec<i64>,
    linear: Sums,
    /// All blocks of weights of which only some are stored.
    dense: Vec<u8>,
}

/// Sources of one operation at most: input, weights, records, accumulators, table.
const SOURCES: usize = 5;

impl Fast {
    pub(crate) fn new(kernels: Kernels) -> Self {
        Self {
            kernels,
            scratch: Scratch::new(),
            copies: Default::default(),
            sums: Vec::new(),
            linear: Sums::default(),
            dense: Vec::new(),
        }
    }

    /// Does the whole operation, or declines by `false` without having written anything.
    pub(crate) fn run(&mut self, operation: &Operation, core: u8, memory: &mut Memory) -> bool {
        let sram = &mut memory.srams[usize::from(core)].data;
        let done = match operation {
            Operation::Conv(conv) => self.conv(conv, sram),
            Operation::Pool(pool) => self.pool(pool, sram),
            Operation::Eltwise(eltwise) => self.eltwise(eltwise, sram),
            Operation::Lookup(lookup) => self.lookup(lookup, sram),
            Operation::Reduce(reduce) => self.reduce(reduce, sram),
            // The block form of a decode is whole blocks already.
            Operation::Resize(_) | Operation::ArgMax(_) | Operation::Decode(_) => None,
            Operation::Copy(copy) => self.copy(copy, core, memory),
            Operation::Fill(fill) => self.fill(fill, core, memory),
        };
        done.is_some()
    }

    fn conv(&mut self, conv: &Conv, sram: &mut [u8]) -> Option<()> {
        if conv.is_wide() {
            return self.conv_wide(conv, sram);
        }
        let operands = Extents::of_conv(conv);
        let Self { kernels, scratch, copies, dense, .. } = self;
        sparse::expand(conv, sram, dense)?;
        let ([input, weights, records, load, _], destination) = operands.split(sram, copies)?;
        let weights = if conv.weights.sparse.is_some() { dense } else { weights };
        let source = source(input, &conv.input, conv.input_zero)?;
        let window = window(&conv.window);
        let target = target(conv, load, destination)?;
        match conv.kind {
            ConvKind::Grouped { groups } => {
                let conv8 = Conv8 {
                    input: source,
                    pad_value: conv.pad_value,
                    window,
                    groups: size(groups),
                    weights,
                    w_zero: conv.weights.zero,
                    records,
                    use_bias: conv.accumulators.bias,
                };
                kernels.conv8(scratch, &conv8, target).ok()?;
            }
            ConvKind::Depthwise { multiplier } => {
                let depthwise8 = Depthwise8 {
                    input: source,
                    pad_value: conv.pad_value,
                    window,
                    multiplier: size(multiplier),
                    weights,
                    w_zero: conv.weights.zero,
                    records,
                    use_bias: conv.accumulators.bias,
                };
                kernels.depthwise8(scratch, &depthwise8, target).ok()?;
            }
        }
        self.activate(conv.activation.table, table_of(conv.activation.table, &operands), &conv.output, sram)
    }

    fn conv_wide(&mut self, conv: &Conv, sram: &mut [u8]) -> Option<()> {
        if conv.activation.table.is_some() || conv.weights.zero != 0 || conv.input_zero != 0 {
            return None;
        }
        let operands = Extents::of_conv(conv);
        let Self { kernels, scratch, copies, dense, .. } = self;
        sparse::expand(conv, sram, dense)?;
        let ([input, weights, records, load, _], destination) = operands.split(sram, copies)?;
        let weights = if conv.weights.sparse.is_some() { dense } else { weights };
        let input = Source16 { bytes: input, map: map(&conv.input) };
        let pad_value = i16::try_from(conv.pad_value).ok()?;
        let window = window(&conv.window);
        let weights = match conv.weights.element {
            ElementType::Int8 => Weights16::Int8(weights),
            ElementType::Int16 => Weights16::Int16(weights),
            ElementType::None | ElementType::Uint8 | ElementType::Int32 => return None,
        };
        let use_bias = conv.accumulators.bias;
        let target = target16(conv, load, destination)?;
        match conv.kind {
            ConvKind::Grouped { groups } => {
                let conv16 = Conv16 { input, pad_value, window, groups: size(groups), weights, records, use_bias };
                kernels.conv16(scratch, &conv16, target).ok()
            }
            ConvKind::Depthwise { multiplier } => {
                let multiplier = size(multiplier);
                let conv16 = Depthwise16 { input, pad_value, window, multiplier, weights, records, use_bias };
                kernels.depthwise16(scratch, &conv16, target).ok()
            }
        }
    }

    /// Applies a table to results that are written already; nothing in it can decline by then.
    fn activate(&self, table: Option<Table>, extent: Range<usize>, output: &FeatureMap, sram: &mut [u8]) -> Option<()> {
        if table.is_none() {
            return Some(());
        }
        let entries: [u8; 256] = sram.get(extent)?.try_into().ok()?;
        let bytes = sram.get_mut(byte_range(&output.footprint()))?;
        self.kernels.table8_in_place(bytes, map(output), &entries).ok()
    }

    fn pool(&mut self, pool: &Pool, sram: &mut [u8]) -> Option<()> {
        let work = pool.output.elements() * u64::from(pool.window.taps());
        let operands = Extents::of(&Operation::Pool(*pool), work);
        let Self { kernels, scratch, copies, .. } = self;
        let ([input, ..], out) = operands.split(sram, copies)?;
        let zero = if let PoolKind::Average { input_zero, .. } = pool.kind { input_zero } else { 0 };
        let pool8 = Pool8 { input: source(input, &pool.input, zero)?, window: window(&pool.window) };
        let output = output8(&pool.activation, RoundingMode::None);
        match &pool.kind {
            PoolKind::Max => kernels.max_pool8(&pool8, out, map(&pool.output), output).ok(),
            PoolKind::Average { count_pad, stage, .. } if stage.mode == RoundingMode::None => {
                let divisor = if *count_pad { Divisor::Window } else { Divisor::Valid };
                kernels.average_pool8(scratch, &pool8, divisor, out, map(&pool.output), output).ok()
            }
            PoolKind::Average { .. } => None,
        }
    }

    fn eltwise(&mut self, op: &Eltwise, sram: &mut [u8]) -> Option<()> {
        int8(op.output.element)?;
        let operands = Extents::of(&Operation::Eltwise(*op), op.output.elements());
        let Self { kernels, copies, linear, .. } = self;
        let ([first, second, ..], out) = operands.split(sram, copies)?;
        if changes_nothing(op) {
            return kernels.copy_strided(first, out, &pixels(&op.first.map, &op.output)).ok();
        }
        let a = stage_source(first, &op.first)?;
        let b = op.second.as_ref().map_or(Some(a), |stage| stage_source(second, stage))?;
        let b_stage = op.second.as_ref().map_or(OutputStage::NONE, |stage| stage.scale);
        let eltwise8 = Eltwise8 {
            function: eltwise::function(op.function)?,
            pre_shift: op.pre_shift,
            a,
            a_stage: stage(&op.first.scale),
            b,
            b_stage: stage(&b_stage),
            multiplier: op.stage.multiplier,
            shift: op.stage.shift,
        };
        let (map, output) = (map(&op.output), output8(&op.activation, op.stage.mode));
        if op.second.is_none() || linear.run(*kernels, &eltwise8, out, (map, output)).is_none() {
            kernels.eltwise8(&eltwise8, out, map, output).ok()?;
        }
        self.activate(op.activation.table, table_of(op.activation.table, &operands), &op.output, sram)
    }

    fn lookup(&mut self, op: &Lookup, sram: &mut [u8]) -> Option<()> {
        if op.table.kind != TableKind::Int8_256 {
            return None;
        }
        let operands = Extents::of(&Operation::Lookup(*op), op.output.elements());
        let Self { kernels, copies, .. } = self;
        let ([input, _, _, _, table], out) = operands.split(sram, copies)?;
        let table: &[u8; 256] = table.try_into().ok()?;
        kernels.table8(input, map(&op.input), table, out, map(&op.output)).ok()
    }

    fn reduce(&mut self, op: &Reduce, sram: &mut [u8]) -> Option<()> {
        if op.function != ReduceFunction::Sum || op.channels {
            return None;
        }
        let input = sram.get(byte_range(&op.input.footprint()))?;
        let source = source(input, &op.input, op.input_zero)?;
        let channels = 0..op.output_channels();
        reduce::start(op, channels.clone(), sram, &mut self.sums);
        self.kernels.reduce_sum8(&source, &mut self.sums).ok()?;
        // One retirement of all channels: it checks every sum before it writes.
        reduce::retire(op, channels, sram, &self.sums).ok()
    }

    fn copy(&mut self, copy: &Copy, core: u8, memory: &mut Memory) -> Option<()> {
        let runs = runs(&copy.pattern, &copy.source_steps, &copy.destination_steps);
        let (from, to) = (copy.source, copy.destination);
        let (start, end) = (size(from.address), size(to.address));
        if let (Space::Dram(region), Space::Sram) = (from.space, to.space) {
            let source = memory.regions.get(usize::from(region))?.data().get(start..)?;
            let destination = memory.srams[usize::from(core)].data.get_mut(end..)?;
            return self.kernels.copy_strided(source, destination, &runs).ok();
        }
        if let (Space::Sram, Space::Dram(_)) = (from.space, to.space) {
            let Memory { srams, regions } = memory;
            let destination = region_mut(regions, to.space)?.get_mut(end..)?;
            return self.kernels.copy_strided(srams[usize::from(core)].data.get(start..)?, destination, &runs).ok();
        }
        if let (Space::Dram(source), Space::Dram(destination)) = (from.space, to.space)
            && source != destination
        {
            let both = [usize::from(source), usize::from(destination)];
            let [source, destination] = memory.regions.get_disjoint_mut(both).ok()?;
            let destination = buffer_mut(destination)?.get_mut(end..)?;
            return self.kernels.copy_strided(source.data().get(start..)?, destination, &runs).ok();
        }
        // Within one memory: through a copy, so that no order of runs matters.
        let operands = Extents::of(&Operation::Copy(*copy), copy.pattern.bytes());
        let extent = operands.sources[0].clone();
        if !operands.is_worth_copying(&extent) {
            return None;
        }
        let through = &mut self.copies[0];
        through.clear();
        through.extend_from_slice(memory.data(core, from.space).get(extent)?);
        let destination = memory.data_mut(core, to.space).get_mut(end..)?;
        self.kernels.copy_strided(through, destination, &runs).ok()
    }

    fn fill(&mut self, fill: &Fill, core: u8, memory: &mut Memory) -> Option<()> {
        let runs = runs(&fill.pattern, &[0; 4], &fill.destination_steps);
        let value = fill.value.to_le_bytes();
        let destination = memory.data_mut(core, fill.destination.space).get_mut(size(fill.destination.address)..)?;
        self.kernels.fill_strided(value.get(..size(fill.value_bytes))?, destination, &runs).ok()
    }
}

/// Byte ranges in SRAM of an operation's operands, in the order the kernels take them.
struct Extents {
    /// Input, weights or second input, records, accumulators in, table; empty where there is none.
    sources: [Range<usize>; SOURCES],
    destination: Range<usize>,
    /// Multiplications, elements or bytes that the operation works on.
    work: u64,
}

/// Bytes that are copied sooner than one piece of work is done block by block.
const COPIED_PER_WORK: u64 = 256;

impl Extents {
    fn of(operation: &Operation, work: u64) -> Self {
        let mut extents = Self { sources: [const { 0..0 }; SOURCES], destination: 0..0, work };
        for operand in operation.operands().iter() {
            let place = match operand.role {
                // Looked at before the kernels run.
                Role::Bitmap => continue,
                Role::Input | Role::Source | Role::Stream => &mut extents.sources[0],
                Role::Weights | Role::SecondInput | Role::Offsets => &mut extents.sources[1],
                Role::Records => &mut extents.sources[2],
                Role::AccumulatorsIn => &mut extents.sources[3],
                Role::Table | Role::Codebook => &mut extents.sources[4],
                Role::Output | Role::AccumulatorsOut | Role::Destination => &mut extents.destination,
            };
            *place = byte_range(&operand.bytes);
        }
        extents
    }

    /// Those of a convolution. Accumulators that go on where they are need no source of their own.
    fn of_conv(conv: &Conv) -> Self {
        let mut extents = Self::of(&Operation::Conv(*conv), conv.macs());
        if conv.accumulators.load == conv.accumulators.store {
            extents.sources[3] = 0..0;
        }
        extents
    }

    /// False where a few bytes lie so far apart that copying all between them takes longer than the slow form.
    fn is_worth_copying(&self, source: &Range<usize>) -> bool {
        u64::try_from(source.len()).is_ok_and(|bytes| bytes / COPIED_PER_WORK <= self.work)
    }

    /// The destination for writing beside all sources for reading; a source that reaches into it is copied.
    fn split<'a>(
        &self,
        sram: &'a mut [u8],
        copies: &'a mut [Vec<u8>; SOURCES],
    ) -> Option<([&'a [u8]; SOURCES], &'a mut [u8])> {
        let Range { start, end } = self.destination;
        for (range, copy) in self.sources.iter().zip(copies.iter_mut()) {
            copy.clear();
            if range.start < end && start < range.end {
                if !self.is_worth_copying(range) {
                    return None;
                }
                copy.extend_from_slice(sram.get(range.clone())?);
            }
        }
        let (before, rest) = sram.split_at_mut_checked(start)?;
        let (destination, after) = rest.split_at_mut_checked(end - start)?;
        let (before, after): (&[u8], &[u8]) = (before, after);
        let mut sources: [&[u8]; SOURCES] = [&[]; SOURCES];
        for ((source, range), copy) in sources.iter_mut().zip(&self.sources).zip(copies.iter()) {
            *source = if !copy.is_empty() {
                copy
            } else if range.end <= start {
                before.get(range.clone())?
            } else {
                after.get(range.start - end..range.end - end)?
            };
        }
        Some((sources, destination))
    }
}

fn table_of(table: Option<Table>, extents: &Extents) -> Range<usize> {
    table.map_or(0..0, |_| extents.sources[4].clone())
}

fn byte_range(bytes: &Footprint) -> Range<usize> {
    let extent = bytes.extent();
    index(extent.start)..index(extent.end)
}

fn region_mut(regions: &mut [Bound], space: Space) -> Option<&mut [u8]> {
    let Space::Dram(region) = space else { return None };
    buffer_mut(regions.get_mut(usize::from(region))?)
}

fn buffer_mut(region: &mut Bound) -> Option<&mut [u8]> {
    match region {
        Bound::Buffer { bytes, .. } => Some(&mut bytes.data),
        Bound::Constant(_) | Bound::Unbound => None,
    }
}

/// A 32-bit size; kernels run on hosts with at least 32-bit addresses.
fn size(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn map(map: &FeatureMap) -> Map {
    Map { h: size(map.height), w: size(map.width), c: size(map.channels), row: size(map.row), pix: size(map.pixel) }
}

fn int8(element: ElementType) -> Option<()> {
    (element == ElementType::Int8).then_some(())
}

fn source<'a>(bytes: &'a [u8], input: &FeatureMap, zero: i32) -> Option<Source8<'a>> {
    let element = match input.element {
        ElementType::Int8 => Element8::Int8,
        ElementType::Uint8 => Element8::Uint8,
        ElementType::None | ElementType::Int16 | ElementType::Int32 => return None,
    };
    Some(Source8 { bytes, map: map(input), element, zero })
}

fn stage_source<'a>(bytes: &'a [u8], stage: &Stage) -> Option<Source8<'a>> {
    let channels = if stage.broadcast { 1 } else { stage.map.channels };
    source(bytes, &FeatureMap { channels, ..stage.map }, stage.zero)
}

fn stage(stage: &OutputStage) -> cnnip_kernels::Stage {
    cnnip_kernels::Stage { mode: mode(stage.mode), multiplier: stage.multiplier, shift: stage.shift }
}

fn window(window: &cnnip_isa::operation::Window) -> Window {
    Window {
        kh: size(window.kernel_h),
        kw: size(window.kernel_w),
        stride_y: size(window.stride_y),
        stride_x: size(window.stride_x),
        dilation_y: size(window.dilation_y),
        dilation_x: size(window.dilation_x),
        top: size(window.top),
        left: size(window.left),
    }
}

fn output8(activation: &Activation, requant: RoundingMode) -> Output8 {
    Output8 { zero: activation.zero, min: activation.min, max: activation.max, mode: mode(requant) }
}

fn target<'a>(conv: &Conv, load: &'a [u8], bytes: &'a mut [u8]) -> Option<Target8<'a>> {
    if conv.accumulators.store.is_some() {
        return Some(Target8::Accumulators { bytes, size: output_size(conv), load: start(&conv.accumulators, load) });
    }
    int8(conv.output.element)?;
    let load = conv.accumulators.load.map(|_| load);
    let output = output8(&conv.activation, conv.requant);
    Some(Target8::Output { bytes, map: map(&conv.output), output, load })
}

fn target16<'a>(conv: &Conv, load: &'a [u8], bytes: &'a mut [u8]) -> Option<Target16<'a>> {
    if conv.accumulators.store.is_some() {
        return Some(Target16::Accumulators { bytes, size: output_size(conv), load: start(&conv.accumulators, load) });
    }
    if conv.output.element != ElementType::Int16 {
        return None;
    }
    let Activation { zero, min, max, .. } = conv.activation;
    let [zero, min, max] = [zero, min, max].map(i16::try_from);
    let output = Output16 { zero: zero.ok()?, min: min.ok()?, max: max.ok()?, mode: mode(conv.requant) };
    let load = conv.accumulators.load.map(|_| load);
    Some(Target16::Output { bytes, map: map(&conv.output), output, load })
}

fn output_size(conv: &Conv) -> [usize; 3] {
    [size(conv.output.height), size(conv.output.width), size(conv.output.channels)]
}

/// What accumulators that are left in memory start from.
fn start<'a>(accumulators: &Accumulators, load: &'a [u8]) -> Load<'a> {
    match accumulators.load {
        None => Load::Zero,
        Some(_) if accumulators.load == accumulators.store => Load::InPlace,
        Some(_) => Load::From(load),
    }
}

/// Whether every int8 element leaves as it came, so that only places change.
fn changes_nothing(op: &Eltwise) -> bool {
    let unscaled = [op.first.scale.mode, op.stage.mode] == [RoundingMode::None; 2] && op.pre_shift == 0;
    let unclamped = op.activation == Activation::full_range(op.first.zero, ElementType::Int8);
    let as_it_stands = op.first.map.element == ElementType::Int8 && !op.first.broadcast;
    op.function == EltwiseFunction::Pass && unscaled && unclamped && as_it_stands
}

/// The pixels of an int8 map as runs, from where they lie to where they go.
fn pixels(from: &FeatureMap, to: &FeatureMap) -> Runs {
    let steps = |map: &FeatureMap| [size(map.pixel), size(map.row), 0, 0];
    let counts = [size(to.width), size(to.height), 1, 1];
    Runs { bytes: size(to.channels), counts, source: steps(from), destination: steps(to) }
}

fn runs(pattern: &DmaPattern, source: &[u32; 4], destination: &[u32; 4]) -> Runs {
    Runs {
        bytes: size(pattern.run),
        counts: pattern.counts.map(size),
        source: source.map(size),
        destination: destination.map(size),
    }
}
