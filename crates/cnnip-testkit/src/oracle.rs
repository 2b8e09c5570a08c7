//! The slow, obvious oracle of the machine's operations.
//!
//! Written from `isa-spec/timing.md` and `isa-spec/numerics.md` in plain loops and wide integers. It shares no code with what
//! it checks: of an [`Operation`] it reads the public fields only, never its methods. After `c` cycles of a `RUN` it gives
//! memory and the accumulators of the block in work.

mod argmax;
mod conv;
mod decode;
mod dma;
mod eltwise;
mod memory;
mod pool;
mod reduce;
mod resize;
mod scale;

pub use decode::decode;
pub use memory::Memory;

use cnnip_isa::operation::Operation;
use cnnip_isa::{ElementType, Target};
use memory::Write;

/// Accumulators of a block in work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InWork {
    /// Blocks retired before.
    pub block: u64,
    /// Steps done of the block, at least one.
    pub steps: u64,
    /// `[column][channel]` of a convolution or pool, `[channel]` of a reduction.
    pub values: Vec<i64>,
}

/// An accumulator that left its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Cycles from the start of the `RUN` to the fault.
    pub cycle: u64,
    /// Output row, column and channel.
    pub place: [u32; 3],
    /// The accumulator, saturated to 64 bits.
    pub value: i64,
    /// Bits that the mode accepts.
    pub bits: u32,
}

/// What stands after some cycles of a `RUN`.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Memory of the core.
    pub memory: Memory,
    /// Accumulators of a block of which at least one step is done and that has not retired.
    pub in_work: Option<InWork>,
    /// The overflow at which the operation ended.
    pub overflow: Option<Overflow>,
}

/// Output row, column and channel.
type Place = [u32; 3];

/// A value that does not fit, before its cycle is known.
struct TooWide {
    value: i128,
    bits: u32,
}

/// What an operation of the CNN engine computes, one output at a time.
trait Work {
    /// Outputs of every block, in order.
    fn blocks(&self, target: &Target) -> Vec<Vec<Place>>;
    /// Elements of depth of an output, and how many of them one step takes.
    fn depth(&self, target: &Target) -> (u64, u64);
    /// Cycles of a step.
    fn step_cycles(&self, target: &Target) -> u64;
    /// The accumulator before the first step.
    fn start(&self, place: Place, memory: &Memory) -> i128;
    /// The accumulator after element `index` of the depth.
    fn take(&self, place: Place, index: u64, memory: &Memory, acc: i128) -> i128;
    /// What is written when the block retires.
    fn retire(&self, place: Place, acc: i128, memory: &Memory) -> Result<Write, TooWide>;
}

/// What stands `cycles` cycles after the start of `operation` on memory as it was then.
pub fn after(operation: &Operation, target: &Target, memory: &Memory, cycles: u64) -> Outcome {
    match operation {
        Operation::Conv(op) => work(op, target, memory, cycles),
        Operation::Pool(op) => work(op, target, memory, cycles),
        Operation::Eltwise(op) => work(op, target, memory, cycles),
        Operation::Lookup(op) => work(op, target, memory, cycles),
        Operation::Reduce(op) => work(op, target, memory, cycles),
        Operation::Resize(op) => work(op, target, memory, cycles),
        Operation::ArgMax(op) => work(op, target, memory, cycles),
        Operation::Copy(op) => dma::copy(op, target, memory, cycles),
        Operation::Fill(op) => dma::fill(op, target, memory, cycles),
        Operation::Decode(op) => decode::after(op, target, memory, cycles),
    }
}

/// The length of `operation` in cycles.
pub fn cycles(operation: &Operation, target: &Target) -> u64 {
    match operation {
        Operation::Conv(op) => length(op, target),
        Operation::Pool(op) => length(op, target),
        Operation::Eltwise(op) => length(op, target),
        Operation::Lookup(op) => length(op, target),
        Operation::Reduce(op) => length(op, target),
        Operation::Resize(op) => length(op, target),
        Operation::ArgMax(op) => length(op, target),
        Operation::Copy(op) => dma::cycles(&op.pattern, target),
        Operation::Fill(op) => dma::cycles(&op.pattern, target),
        Operation::Decode(op) => decode::cycles(op, target),
    }
}

fn length(op: &dyn Work, target: &Target) -> u64 {
    let blocks = u64::try_from(op.blocks(target).len()).unwrap_or(u64::MAX);
    let (depth, step_depth) = op.depth(target);
    u64::from(target.issue_cycles) + blocks * depth.div_ceil(step_depth) * op.step_cycles(target)
}

fn work(op: &dyn Work, target: &Target, memory: &Memory, cycles: u64) -> Outcome {
    let issue = u64::from(target.issue_cycles);
    let step_cycles = op.step_cycles(target);
    let (depth, step_depth) = op.depth(target);
    let steps_of_block = depth.div_ceil(step_depth);
    let mut left = cycles.saturating_sub(issue) / step_cycles;
    let mut outcome = Outcome { memory: memory.clone(), in_work: None, overflow: None };
    for (block, outputs) in (0_u64..).zip(op.blocks(target)) {
        let steps = left.min(steps_of_block);
        if steps == 0 {
            break;
        }
        let accumulators = accumulate(op, &outputs, depth.min(steps * step_depth), &outcome.memory);
        if steps < steps_of_block {
            outcome.in_work = Some(InWork { block, steps, values: accumulators.into_iter().map(low64).collect() });
            break;
        }
        let end = issue + (block + 1) * steps_of_block * step_cycles;
        if let Err(overflow) = retire(op, &outputs, &accumulators, end, &mut outcome.memory) {
            outcome.overflow = Some(overflow);
            break;
        }
        left -= steps;
    }
    outcome
}

/// The accumulators of a block after the first `depth` elements.
fn accumulate(op: &dyn Work, outputs: &[Place], depth: u64, memory: &Memory) -> Vec<i128> {
    let sum = |&place: &Place| (0..depth).fold(op.start(place, memory), |acc, i| op.take(place, i, memory, acc));
    outputs.iter().map(sum).collect()
}

/// Writes a block, or nothing of it if one of its values does not fit.
fn retire(op: &dyn Work, outputs: &[Place], acc: &[i128], end: u64, memory: &mut Memory) -> Result<(), Overflow> {
    let mut writes = Vec::new();
    for (&place, &acc) in outputs.iter().zip(acc) {
        let overflow = |wide: TooWide| Overflow { cycle: end, place, value: saturated(wide.value), bits: wide.bits };
        writes.push(op.retire(place, acc, memory).map_err(overflow)?);
    }
    writes.iter().for_each(|write| memory.write(write));
    Ok(())
}

/// Outputs of one row in blocks of channels and columns: group, channels, row, columns, first loop outermost.
fn array_blocks(groups: u32, channels: u32, height: u32, width: u32, target: &Target) -> Vec<Vec<Place>> {
    let mut blocks = Vec::new();
    for group in 0..groups {
        for channel in (0..channels).step_by(size(target.mac_channels)) {
            for row in 0..height {
                for column in (0..width).step_by(size(target.mac_pixels)) {
                    blocks.push(Vec::new());
                    for x in (column..width).take(size(target.mac_pixels)) {
                        for c in (channel..channels).take(size(target.mac_channels)) {
                            blocks.last_mut().into_iter().for_each(|b| b.push([row, x, group * channels + c]));
                        }
                    }
                }
            }
        }
    }
    blocks
}

/// The array's step: `wide_rate` cycles with 16-bit input.
fn array_step(input: ElementType, target: &Target) -> u64 {
    if input == ElementType::Int16 { u64::from(target.wide_rate) } else { 1 }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// An index that the generators keep below 2^32.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The low 64 bits as two's complement.
fn low64(value: i128) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = value.to_le_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
