//! `RESIZE`.

use cnnip_isa::operation::{Resize, ResizeAxis};
use cnnip_isa::{ResizeMode, Target};

use super::eltwise::{vector_step, vectors};
use super::memory::Write;
use super::{Memory, Place, TooWide, Work, scale, small};

impl Work for Resize {
    fn blocks(&self, target: &Target) -> Vec<Vec<Place>> {
        vectors(&self.output, target)
    }

    fn depth(&self, _target: &Target) -> (u64, u64) {
        (1, 1)
    }

    fn step_cycles(&self, _target: &Target) -> u64 {
        let samples = if self.mode == ResizeMode::Bilinear { 4 } else { 1 };
        samples * vector_step(self.input.element)
    }

    fn start(&self, _place: Place, _memory: &Memory) -> i128 {
        0
    }

    fn take(&self, _place: Place, _index: u64, _memory: &Memory, acc: i128) -> i128 {
        acc
    }

    fn retire(&self, [row, column, channel]: Place, _acc: i128, memory: &Memory) -> Result<Write, TooWide> {
        let one = 1_i128 << self.fraction;
        let y = position(&self.rows, row, self.input.height, one);
        let x = position(&self.columns, column, self.input.width, one);
        let sample = |y: i128, x: i128| {
            let held = |at: i128, size: u32| small(u64::try_from(at.min(i128::from(size) - 1)).unwrap_or(0));
            memory.element(&self.input, [held(y, self.input.height), held(x, self.input.width), channel])
        };
        let ((y0, fy), (x0, fx)) = ((y / one, y % one), (x / one, x % one));
        let value = if self.mode == ResizeMode::Nearest {
            sample(y0, x0)
        } else {
            let sum = sample(y0, x0) * (one - fy) * (one - fx)
                + sample(y0, x0 + 1) * (one - fy) * fx
                + sample(y0 + 1, x0) * fy * (one - fx)
                + sample(y0 + 1, x0 + 1) * fy * fx;
            scale::halves_away(sum, one * one)
        };
        Ok(Write::element(&self.output, [row, column, channel], value))
    }
}

/// The position of output index `index` on an axis of `size` samples.
fn position(axis: &ResizeAxis, index: u32, size: u32, one: i128) -> i128 {
    let at = i128::from(axis.origin) + i128::from(index) * i128::from(axis.step);
    at.clamp(0, (i128::from(size) - 1) * one)
}
