//! `RESIZE`, block by block.

use std::ops::Range;

use cnnip_isa::ResizeMode;
use cnnip_isa::operation::{Resize, ResizeAxis};
use cnnip_numerics::resize::{Tap, bilinear, position, tap};

use super::element::{self, coordinates, read, write};

/// Computes and writes the output elements `block`.
pub(super) fn retire(op: &Resize, block: Range<u64>, sram: &mut [u8]) {
    for index in block {
        let [row, column, channel] = coordinates(&op.output, index);
        let y = taps(op, &op.rows, row, op.input.height);
        let x = taps(op, &op.columns, column, op.input.width);
        let at = |row, column| read(sram, element::position(&op.input, row, column, channel), op.input.element);
        let value = match op.mode {
            ResizeMode::Nearest => at(y.low, x.low),
            ResizeMode::Bilinear => {
                let sample = |row, column| i16::try_from(at(row, column)).unwrap_or(i16::MAX);
                let samples = [y.low, y.high].map(|row| [sample(row, x.low), sample(row, x.high)]);
                bilinear(samples, y, x, op.fraction)
            }
        };
        write(sram, element::position(&op.output, row, column, channel), op.output.element, value);
    }
}

/// The samples of output index `index` along an axis of `size`.
fn taps(op: &Resize, axis: &ResizeAxis, index: u32, size: u32) -> Tap {
    tap(position(index, axis.step, axis.origin, op.fraction, size), op.fraction, size)
}
