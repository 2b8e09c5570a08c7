//! `DECODE`, bit by bit.

use cnnip_isa::Target;
use cnnip_isa::operation::{Codebook, Coding, Decode};

use super::memory::index;
use super::{Memory, Outcome, size};

/// The decoded blocks, or the number of the first block of the stream that does not decode.
///
/// # Errors
/// That number.
pub fn decode(op: &Decode, memory: &Memory) -> Result<Vec<Vec<u8>>, u32> {
    (op.first..op.first + op.blocks).map(|number| block(op, memory, number).ok_or(number)).collect()
}

/// Cycles before the first block, and cycles of a block.
fn rhythm(op: &Decode, target: &Target) -> (u64, u64) {
    let word = u64::from(target.dma_bytes_per_cycle);
    let codebook = match op.coding {
        Coding::Cluster(Codebook { kernels, taps, element_bytes, .. }) => {
            u64::from(kernels) * u64::from(taps) * u64::from(element_bytes)
        }
        Coding::Raw | Coding::ZeroRun => 0,
    };
    let tables = 4 * (u64::from(op.blocks) + 1) + codebook;
    let read = u64::from(op.stream_bytes).div_ceil(u64::from(op.blocks)).div_ceil(word);
    let delivered = u64::from(op.block_bytes).div_ceil(4 * word);
    (u64::from(target.dma_latency_cycles) + tables.div_ceil(word), read.max(delivered))
}

/// Length of the operation in cycles.
pub(super) fn cycles(op: &Decode, target: &Target) -> u64 {
    let (issue, block) = rhythm(op, target);
    issue + u64::from(op.blocks) * block
}

/// What stands after some cycles; nothing is written where a block does not decode.
pub(super) fn after(op: &Decode, target: &Target, memory: &Memory, cycles: u64) -> Outcome {
    let (issue, block) = rhythm(op, target);
    let done = index(cycles.saturating_sub(issue) / block);
    let mut after = memory.clone();
    let start = size(op.destination.address);
    let bytes: Vec<u8> = decode(op, memory).unwrap_or_default().into_iter().take(done).flatten().collect();
    after.space_mut(op.destination.space)[start..start + bytes.len()].copy_from_slice(&bytes);
    Outcome { memory: after, in_work: None, overflow: None }
}

fn block(op: &Decode, memory: &Memory, number: u32) -> Option<Vec<u8>> {
    let source = memory.space(op.stream.space);
    let offset = |entry: u32| {
        let first = size(op.offsets) + 4 * size(entry);
        source[first..first + 4].iter().rev().fold(0, |value, &byte| value * 256 + usize::from(byte))
    };
    let (start, end) = (offset(number), offset(number + 1));
    if start > end || end > size(op.stream_bytes) {
        return None;
    }
    let first = size(op.stream.address);
    let coded = &source[first + start..first + end];
    let bytes = match &op.coding {
        Coding::Raw => Some(coded.to_vec()),
        Coding::ZeroRun => zeros(coded),
        Coding::Cluster(codebook) => clusters(coded, size(op.block_bytes), codebook, source),
    };
    bytes.filter(|bytes| bytes.len() == size(op.block_bytes))
}

fn zeros(coded: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut i = 0;
    while i < coded.len() {
        bytes.push(coded[i]);
        if coded[i] == 0 {
            i += 1;
            bytes.extend((0..*coded.get(i)?).map(|_| 0));
        }
        i += 1;
    }
    Some(bytes)
}

/// Element t of the kernel at position q goes to element `t * P + q`.
fn clusters(coded: &[u8], bytes: usize, codebook: &Codebook, source: &[u8]) -> Option<Vec<u8>> {
    let (taps, width, index_bits) = (size(codebook.taps), size(codebook.element_bytes), size(codebook.index_bits));
    let positions = bytes / (taps * width);
    let mut bits = coded.iter().flat_map(|byte| (0..8).map(move |bit| usize::from(byte >> bit & 1)));
    let mut block = vec![0; bytes];
    for position in 0..positions {
        let mut kernel = 0;
        for bit in 0..index_bits {
            kernel += bits.next()? << bit;
        }
        if kernel >= size(codebook.kernels) {
            return None;
        }
        for tap in 0..taps {
            for byte in 0..width {
                let from = size(codebook.address) + (kernel * taps + tap) * width + byte;
                block[(tap * positions + position) * width + byte] = source[from];
            }
        }
    }
    let rest: Vec<usize> = bits.collect();
    (rest.len() < 8 && rest.iter().all(|&bit| bit == 0)).then_some(block)
}
