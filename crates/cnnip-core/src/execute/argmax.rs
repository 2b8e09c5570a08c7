//! `ARGMAX`, block by block.

use std::ops::Range;

use cnnip_isa::operation::ArgMax;

use super::element::{coordinates, position, read, write};

/// Finds and writes the indices of the output pixels `block`.
pub(super) fn retire(op: &ArgMax, block: Range<u64>, sram: &mut [u8]) {
    for pixel in block {
        let [row, column, _] = coordinates(&op.output, pixel);
        let value = |channel: &u32| read(sram, position(&op.input, row, column, *channel), op.input.element);
        // The last of equal elements wins, so the channels are taken from the last to the first.
        let largest = (0..op.input.channels).rev().max_by_key(value).unwrap_or(0);
        let index = i32::try_from(largest).unwrap_or(i32::MAX);
        write(sram, position(&op.output, row, column, 0), op.output.element, index);
    }
}
