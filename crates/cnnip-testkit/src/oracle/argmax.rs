//! `ARGMAX`.

use cnnip_isa::operation::ArgMax;
use cnnip_isa::{ElementType, Target};

use super::memory::Write;
use super::{Memory, Place, TooWide, Work, size};

impl Work for ArgMax {
    fn blocks(&self, target: &Target) -> Vec<Vec<Place>> {
        let mut pixels = Vec::new();
        for row in 0..self.input.height {
            pixels.extend((0..self.input.width).map(|column| [row, column, 0]));
        }
        pixels.chunks(size(target.mac_pixels)).map(<[Place]>::to_vec).collect()
    }

    fn depth(&self, _target: &Target) -> (u64, u64) {
        (1, 1)
    }

    fn step_cycles(&self, _target: &Target) -> u64 {
        u64::from(self.input.channels) * if self.input.element == ElementType::Int16 { 2 } else { 1 }
    }

    fn start(&self, _place: Place, _memory: &Memory) -> i128 {
        0
    }

    fn take(&self, _place: Place, _index: u64, _memory: &Memory, acc: i128) -> i128 {
        acc
    }

    fn retire(&self, [row, column, _]: Place, _acc: i128, memory: &Memory) -> Result<Write, TooWide> {
        let value = |channel: u32| memory.element(&self.input, [row, column, channel]);
        let mut best = 0;
        for channel in 1..self.input.channels {
            if value(channel) > value(best) {
                best = channel;
            }
        }
        Ok(Write::element(&self.output, [row, column, 0], i128::from(best)))
    }
}
