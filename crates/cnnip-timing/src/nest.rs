//! The loop nests of `timing.md`.

use std::ops::Range;

use cnnip_isa::operation::{
    ArgMax, Conv, ConvKind, Decode, DmaPattern, Eltwise, FeatureMap, Lookup, Operation, Pool, Reduce, Resize,
};
use cnnip_isa::{ElementType, ResizeMode, Target};

/// The shape all operations share: `issue + blocks * steps * step_cycles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nest {
    /// Cycles before the first step.
    pub issue: u64,
    /// Blocks; each retires at the end of its last step.
    pub blocks: u64,
    /// Steps of every block.
    pub steps: u64,
    /// Cycles of every step.
    pub step_cycles: u64,
}

/// What has been done a number of cycles after an operation's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Blocks retired.
    pub blocks: u64,
    /// Steps done of the block in work.
    pub steps: u64,
}

impl Nest {
    /// The nest of an operation on a target.
    pub fn of(operation: &Operation, target: &Target) -> Self {
        match operation {
            Operation::Conv(conv) => ArrayNest::of_conv(conv, target).nest,
            Operation::Pool(pool) => ArrayNest::of_pool(pool, target).nest,
            Operation::Reduce(reduce) => ReduceNest::of(reduce, target).nest,
            Operation::Eltwise(Eltwise { first, output, .. }) => VectorNest::of(output, first.map.element, target).nest,
            Operation::Lookup(Lookup { input, output, .. }) => VectorNest::of(output, input.element, target).nest,
            Operation::Resize(resize) => VectorNest::of_resize(resize, target).nest,
            Operation::ArgMax(argmax) => VectorNest::of_argmax(argmax, target).nest,
            Operation::Copy(copy) => DmaNest::of(&copy.pattern, target).nest,
            Operation::Fill(fill) => DmaNest::of(&fill.pattern, target).nest,
            Operation::Decode(decode) => decode_nest(decode, target),
        }
    }

    /// Length of the operation in cycles, saturated.
    pub fn cycles(&self) -> u64 {
        self.issue.saturating_add(self.blocks.saturating_mul(self.block_cycles()))
    }

    /// Cycles of one block.
    fn block_cycles(&self) -> u64 {
        self.steps.saturating_mul(self.step_cycles)
    }

    /// The cycle, counted from the start, at whose end block `block` retires.
    pub fn retires(&self, block: u64) -> u64 {
        self.issue.saturating_add((block + 1).saturating_mul(self.block_cycles()))
    }

    /// What has been done `cycles` after the start.
    ///
    /// ```
    /// use cnnip_timing::{Nest, Progress};
    /// let nest = Nest { issue: 16, blocks: 2, steps: 3, step_cycles: 4 };
    /// assert_eq!(nest.cycles(), 40);
    /// assert_eq!(nest.progress(15), Progress { blocks: 0, steps: 0 });
    /// assert_eq!(nest.progress(16 + 12 + 7), Progress { blocks: 1, steps: 1 });
    /// ```
    pub fn progress(&self, cycles: u64) -> Progress {
        let steps_done = cycles.saturating_sub(self.issue) / self.step_cycles;
        let blocks = (steps_done / self.steps).min(self.blocks);
        let steps = if blocks == self.blocks { 0 } else { steps_done % self.steps };
        Progress { blocks, steps }
    }
}

/// Nest of the MAC array: `CONV`, `DEPTHWISE` and pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrayNest {
    /// Blocks and steps.
    pub nest: Nest,
    /// Elements of depth per step.
    pub step_depth: u32,
    /// Depth of a block: taps times input channels of the group, or that of the most stored weight blocks.
    pub depth: u32,
    channels_per_group: u32,
    group_blocks: u64,
    column_blocks: u64,
    lanes: u32,
    pixels: u32,
    rows: u64,
    columns: u32,
}

/// The outputs of one block of the MAC array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayBlock {
    /// Group of a grouped convolution, else 0.
    pub group: u32,
    /// Output channels, counted over all groups.
    pub channels: Range<u32>,
    /// Output row.
    pub row: u32,
    /// Output columns.
    pub columns: Range<u32>,
}

impl ArrayNest {
    /// Nest of a convolution.
    pub fn of_conv(conv: &Conv, target: &Target) -> Self {
        let (groups, input_channels, output_channels) = match conv.kind {
            ConvKind::Grouped { .. } => conv.grouping(),
            ConvKind::Depthwise { .. } => (1, 1, conv.output.channels),
        };
        let depth = match conv.weights.sparse {
            // A block takes a step at least.
            Some(sparse) => sparse.longest.max(1) * conv.block_depth(),
            None => conv.window.taps() * input_channels,
        };
        Self::new(groups, output_channels, depth, &conv.output, conv.input.element, target)
    }

    /// Nest of a pool: that of a depthwise convolution.
    pub fn of_pool(pool: &Pool, target: &Target) -> Self {
        Self::new(1, pool.output.channels, pool.window.taps(), &pool.output, pool.input.element, target)
    }

    fn new(groups: u32, channels: u32, depth: u32, output: &FeatureMap, input: ElementType, target: &Target) -> Self {
        let group_blocks = u64::from(channels.div_ceil(target.mac_channels));
        let column_blocks = u64::from(output.width.div_ceil(target.mac_pixels));
        let rows = u64::from(output.height);
        Self {
            nest: Nest {
                issue: u64::from(target.issue_cycles),
                blocks: u64::from(groups) * group_blocks * rows * column_blocks,
                steps: u64::from(depth.div_ceil(target.mac_depth)),
                step_cycles: array_step_cycles(input, target),
            },
            step_depth: target.mac_depth,
            depth,
            channels_per_group: channels,
            group_blocks,
            column_blocks,
            lanes: target.mac_channels,
            pixels: target.mac_pixels,
            rows,
            columns: output.width,
        }
    }

    /// The outputs of block `index`, which is below `nest.blocks`.
    pub fn block(&self, index: u64) -> ArrayBlock {
        let (rest, column) = (index / self.column_blocks, small(index % self.column_blocks));
        let (rest, row) = (rest / self.rows, small(rest % self.rows));
        let (group, channel) = (small(rest / self.group_blocks), small(rest % self.group_blocks));
        let first = channel * self.lanes;
        let base = group * self.channels_per_group;
        let left = column * self.pixels;
        ArrayBlock {
            group,
            channels: base + first..base + (first + self.lanes).min(self.channels_per_group),
            row,
            columns: left..(left + self.pixels).min(self.columns),
        }
    }

    /// The elements of depth of step `step`.
    pub fn step(&self, step: u64) -> Range<u32> {
        let first = small(step).saturating_mul(self.step_depth).min(self.depth);
        first..first.saturating_add(self.step_depth).min(self.depth)
    }
}

/// Nest of `REDUCE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReduceNest {
    /// Blocks and steps.
    pub nest: Nest,
    /// Pixels (elements, with `CHANNELS`) per step.
    pub step_depth: u64,
    /// Pixels (elements) in all.
    pub depth: u64,
    lanes: u32,
    channels: u32,
}

impl ReduceNest {
    /// Nest of a reduction.
    pub fn of(reduce: &Reduce, target: &Target) -> Self {
        let channels = reduce.output_channels();
        let input = &reduce.input;
        let depth = input.elements() / u64::from(if reduce.channels { 1 } else { input.channels });
        let step_depth = u64::from(target.mac_pixels);
        Self {
            nest: Nest {
                issue: u64::from(target.issue_cycles),
                blocks: u64::from(channels.div_ceil(target.mac_channels)),
                steps: depth.div_ceil(step_depth),
                step_cycles: array_step_cycles(input.element, target),
            },
            step_depth,
            depth,
            lanes: target.mac_channels,
            channels,
        }
    }

    /// The output channels of block `index`.
    pub fn block(&self, index: u64) -> Range<u32> {
        let first = small(index).saturating_mul(self.lanes).min(self.channels);
        first..first.saturating_add(self.lanes).min(self.channels)
    }

    /// The pixels (elements, with `CHANNELS`) of step `step`.
    pub fn step(&self, step: u64) -> Range<u64> {
        let first = step.saturating_mul(self.step_depth).min(self.depth);
        first..first.saturating_add(self.step_depth).min(self.depth)
    }
}

/// Nest of `ELTWISE`, `TABLE`, `RESIZE` and `ARGMAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorNest {
    /// Blocks of one step.
    pub nest: Nest,
    lanes: u64,
    elements: u64,
}

impl VectorNest {
    /// Nest over the elements of `output`.
    pub fn of(output: &FeatureMap, input: ElementType, target: &Target) -> Self {
        Self::new(target.vector_elements, output.elements(), vector_step_cycles(input), target)
    }

    /// Nest of a resize: over the elements of its output.
    pub fn of_resize(resize: &Resize, target: &Target) -> Self {
        let samples = match resize.mode {
            ResizeMode::Nearest => 1,
            ResizeMode::Bilinear => 4,
        };
        let step_cycles = samples * vector_step_cycles(resize.input.element);
        Self::new(target.vector_elements, resize.output.elements(), step_cycles, target)
    }

    /// Nest of an arg-max: over the pixels of its output, a channel per cycle.
    pub fn of_argmax(argmax: &ArgMax, target: &Target) -> Self {
        let step_cycles = u64::from(argmax.input.channels) * vector_step_cycles(argmax.input.element);
        Self::new(target.mac_pixels, argmax.output.elements(), step_cycles, target)
    }

    fn new(lanes: u32, elements: u64, step_cycles: u64, target: &Target) -> Self {
        let (lanes, issue) = (u64::from(lanes), u64::from(target.issue_cycles));
        let nest = Nest { issue, blocks: elements.div_ceil(lanes), steps: 1, step_cycles };
        Self { nest, lanes, elements }
    }

    /// The elements of block `index`, in memory order.
    pub fn block(&self, index: u64) -> Range<u64> {
        let first = index * self.lanes;
        first..(first + self.lanes).min(self.elements)
    }
}

/// Nest of `COPY` and `FILL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaNest {
    /// Blocks of one step: one bus word each.
    pub nest: Nest,
    words: u64,
    word: u64,
    run: u64,
}

/// Bytes that one block moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmaBlock {
    /// Number of the run, counted through the loops, innermost fastest.
    pub run: u64,
    /// Bytes within the run.
    pub bytes: Range<u64>,
}

impl DmaNest {
    /// Nest of a pattern.
    pub fn of(pattern: &DmaPattern, target: &Target) -> Self {
        let word = u64::from(target.dma_bytes_per_cycle);
        let run = u64::from(pattern.run);
        let words = run.div_ceil(word);
        let runs = pattern.counts.iter().fold(1_u64, |product, &count| product.saturating_mul(u64::from(count)));
        let nest = Nest {
            issue: u64::from(target.dma_latency_cycles),
            blocks: runs.saturating_mul(words),
            steps: 1,
            step_cycles: 1,
        };
        Self { nest, words, word, run }
    }

    /// The bytes of block `index`.
    pub fn block(&self, index: u64) -> DmaBlock {
        let first = index % self.words * self.word;
        DmaBlock { run: index / self.words, bytes: first..(first + self.word).min(self.run) }
    }
}

/// Bytes the decoder delivers for each byte that it could read in the same time.
const DECODED_PER_READ: u32 = 4;

/// Nest of `DECODE`: blocks of one step, which takes as long as the slower of the average block's coded and decoded side.
fn decode_nest(decode: &Decode, target: &Target) -> Nest {
    let word = u64::from(target.dma_bytes_per_cycle);
    let tables = decode.offsets_bytes() + decode.coding.codebook_bytes();
    let bytes = decode.stream_bytes.div_ceil(decode.blocks).max(decode.block_bytes.div_ceil(DECODED_PER_READ));
    Nest {
        issue: u64::from(target.dma_latency_cycles) + tables.div_ceil(word),
        blocks: u64::from(decode.blocks),
        steps: 1,
        step_cycles: u64::from(bytes).div_ceil(word),
    }
}

fn vector_step_cycles(input: ElementType) -> u64 {
    if input == ElementType::Int16 { 2 } else { 1 }
}

fn array_step_cycles(input: ElementType, target: &Target) -> u64 {
    if input == ElementType::Int16 { u64::from(target.wide_rate) } else { 1 }
}

/// An index that is below a 32-bit size.
fn small(index: u64) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
