//! The slow twin: plain loops over the definition.

use super::Plan;
use crate::Target8;
use crate::channel::BLOCK;
use crate::operand::deliver;

pub(super) fn run(plan: &Plan<'_>, target: &mut Target8<'_>) {
    let [h, w] = plan.size;
    for y in 0..h {
        for x in 0..w {
            for channel in 0..plan.records.channels {
                deliver(target, &plan.records, [y, x, channel], plan.sum(y, x, channel));
            }
        }
    }
}

impl Plan<'_> {
    /// The sum of products of one output element.
    fn sum(&self, y: usize, x: usize, channel: usize) -> i64 {
        let window = &self.conv.window;
        let taps = (0..window.kh).flat_map(|ky| (0..window.kw).map(move |kx| (ky, kx)));
        taps.map(|(ky, kx)| self.difference(y, x, ky, kx, channel) * self.weight(channel, ky * window.kw + kx)).sum()
    }

    fn difference(&self, y: usize, x: usize, ky: usize, kx: usize, channel: usize) -> i64 {
        let (input, window) = (&self.conv.input, &self.conv.window);
        let pixel = window.row(y, ky, input.map.h).zip(window.column(x, kx, input.map.w));
        let at = |(y, x)| input.bytes[input.map.at(y, x) + channel / self.conv.multiplier];
        i64::from(input.element.value(pixel.map_or(self.pad, at)) - input.zero)
    }

    fn weight(&self, channel: usize, tap: usize) -> i64 {
        let block = channel / BLOCK * self.conv.window.taps() + tap;
        i64::from(self.conv.weights[block * BLOCK + channel % BLOCK].cast_signed())
    }
}
