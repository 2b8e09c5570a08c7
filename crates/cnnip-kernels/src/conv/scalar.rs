//! The slow twin: plain loops over the definition.

use super::{BLOCK_BYTES, DEPTH, Plan};
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
        taps.map(|(ky, kx)| self.tap(self.source(y, x, ky, kx), channel, ky * window.kw + kx)).sum()
    }

    /// Offset of the input pixel under a tap; `None` for padding.
    fn source(&self, y: usize, x: usize, ky: usize, kx: usize) -> Option<usize> {
        let (map, window) = (&self.conv.input.map, &self.conv.window);
        Some(map.at(window.row(y, ky, map.h)?, window.column(x, kx, map.w)?))
    }

    /// One tap's share: all input channels of the group.
    fn tap(&self, pixel: Option<usize>, channel: usize, tap: usize) -> i64 {
        let (group, oc) = (channel / self.oc, channel % self.oc);
        let element = |ic| pixel.map_or(self.pad, |pixel| self.conv.input.bytes[pixel + group * self.ic + ic]);
        let difference = |ic| self.conv.input.element.value(element(ic)) - self.conv.input.zero;
        (0..self.ic).map(|ic| i64::from(difference(ic)) * i64::from(self.weight(group, oc, tap, ic))).sum()
    }

    fn weight(&self, group: usize, oc: usize, tap: usize, ic: usize) -> i8 {
        let panel = group * self.oc_blocks() + oc / BLOCK;
        let block = (panel * self.conv.window.taps() + tap) * self.ic_blocks() + ic / DEPTH;
        self.conv.weights[block * BLOCK_BYTES + oc % BLOCK * DEPTH + ic % DEPTH].cast_signed()
    }
}
