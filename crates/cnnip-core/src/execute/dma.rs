//! `COPY` and `FILL`, one bus word at a time.

use cnnip_isa::operation::{Copy, DmaPattern, Fill};
use cnnip_timing::DmaBlock;

use super::element::at;
use crate::memory::Memory;

/// Byte offset of a run under `steps`.
fn offset(pattern: &DmaPattern, steps: &[u32; 4], run: u64) -> u64 {
    let mut rest = run;
    let mut offset = 0;
    for (&count, &step) in pattern.counts.iter().zip(steps) {
        offset += rest % u64::from(count) * u64::from(step);
        rest /= u64::from(count);
    }
    offset
}

/// Copies the bytes of one block.
pub(super) fn copy(copy: &Copy, block: &DmaBlock, core: u8, memory: &mut Memory) {
    let from = at(copy.source.address, offset(&copy.pattern, &copy.source_steps, block.run) + block.bytes.start);
    let to =
        at(copy.destination.address, offset(&copy.pattern, &copy.destination_steps, block.run) + block.bytes.start);
    let count = usize::try_from(block.bytes.end - block.bytes.start).unwrap_or(0);
    for i in 0..count {
        let byte = memory.data(core, copy.source.space).get(from + i).copied().unwrap_or(0);
        if let Some(place) = memory.data_mut(core, copy.destination.space).get_mut(to + i) {
            *place = byte;
        }
    }
}

/// Fills the bytes of one block.
pub(super) fn fill(fill: &Fill, block: &DmaBlock, core: u8, memory: &mut Memory) {
    let base = at(fill.destination.address, offset(&fill.pattern, &fill.destination_steps, block.run));
    let value = fill.value.to_le_bytes();
    let data = memory.data_mut(core, fill.destination.space);
    for i in block.bytes.clone() {
        let byte = value[usize::try_from(i % u64::from(fill.value_bytes)).unwrap_or(0)];
        if let Some(place) = data.get_mut(base + usize::try_from(i).unwrap_or(0)) {
            *place = byte;
        }
    }
}
