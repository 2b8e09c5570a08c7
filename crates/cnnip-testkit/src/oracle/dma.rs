//! `COPY` and `FILL`.

use cnnip_isa::Target;
use cnnip_isa::operation::{Copy, DmaPattern, Fill};

use super::memory::index;
use super::{Memory, Outcome, small};

/// One byte of a run: loop indices, innermost first, and its position in the run.
type Byte = ([u32; 4], u32);

/// The bytes of each cycle.
fn words(pattern: &DmaPattern, target: &Target) -> Vec<Vec<Byte>> {
    let [n0, n1, n2, n3] = pattern.counts;
    let mut words = Vec::new();
    for d in 0..n3 {
        for c in 0..n2 {
            for b in 0..n1 {
                for a in 0..n0 {
                    let run: Vec<Byte> = (0..pattern.run).map(|i| ([a, b, c, d], i)).collect();
                    words.extend(run.chunks(super::size(target.dma_bytes_per_cycle)).map(<[Byte]>::to_vec));
                }
            }
        }
    }
    words
}

/// Length of the operation in cycles.
pub(super) fn cycles(pattern: &DmaPattern, target: &Target) -> u64 {
    let words = u64::try_from(words(pattern, target).len()).unwrap_or(u64::MAX);
    u64::from(target.dma_latency_cycles) + words
}

/// The bytes that are done after `cycles`.
fn done(pattern: &DmaPattern, target: &Target, cycles: u64) -> Vec<Byte> {
    let count = cycles.saturating_sub(u64::from(target.dma_latency_cycles));
    words(pattern, target).into_iter().take(super::size(small(count))).flatten().collect()
}

fn position(base: u32, steps: &[u32; 4], (indices, byte): Byte) -> usize {
    let moved: u64 = indices.iter().zip(steps).map(|(&i, &step)| u64::from(i) * u64::from(step)).sum();
    index(u64::from(base) + moved + u64::from(byte))
}

pub(super) fn copy(op: &Copy, target: &Target, memory: &Memory, cycles: u64) -> Outcome {
    let mut memory = memory.clone();
    for byte in done(&op.pattern, target, cycles) {
        let from = position(op.source.address, &op.source_steps, byte);
        let to = position(op.destination.address, &op.destination_steps, byte);
        memory.space_mut(op.destination.space)[to] = memory.space(op.source.space)[from];
    }
    Outcome { memory, in_work: None, overflow: None }
}

pub(super) fn fill(op: &Fill, target: &Target, memory: &Memory, cycles: u64) -> Outcome {
    let mut memory = memory.clone();
    for byte in done(&op.pattern, target, cycles) {
        let to = position(op.destination.address, &op.destination_steps, byte);
        memory.space_mut(op.destination.space)[to] = op.value.to_le_bytes()[super::size(byte.1 % op.value_bytes)];
    }
    Outcome { memory, in_work: None, overflow: None }
}
