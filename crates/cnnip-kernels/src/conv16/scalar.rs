//! The slow twin: plain loops over the definition.

use super::{Channel, Plan};
use crate::Target16;
use crate::operand16::int16;

pub(super) fn run(plan: &Plan<'_>, channels: &[Channel], target: &mut Target16<'_>) {
    let [h, w] = plan.size;
    for y in 0..h {
        for x in 0..w {
            for (channel, scale) in channels.iter().enumerate() {
                target.deliver([y, x, channel], &[plan.sum(y, x, channel)], &[*scale]);
            }
        }
    }
}

impl Plan<'_> {
    /// The sum of products of one output element.
    fn sum(&self, y: usize, x: usize, channel: usize) -> i64 {
        let window = &self.conv.window;
        let taps = (0..window.kh).flat_map(|ky| (0..window.kw).map(move |kx| (ky, kx)));
        taps.map(|(ky, kx)| self.tap(y, x, [ky, kx], channel)).sum()
    }

    /// One tap's share: all input channels of the group.
    fn tap(&self, y: usize, x: usize, [ky, kx]: [usize; 2], channel: usize) -> i64 {
        let (input, window) = (&self.conv.input, &self.conv.window);
        let pixel = window.row(y, ky, input.map.h).zip(window.column(x, kx, input.map.w));
        let (group, oc) = (channel / self.oc, channel % self.oc);
        let element = |ic| match pixel {
            Some((row, column)) => int16(input.elements(input.map.at(row, column), group * self.ic + ic, 1)[0]),
            None => self.conv.pad_value,
        };
        let product = |ic| i64::from(element(ic)) * i64::from(self.weight(group, oc, ky * window.kw + kx, ic));
        (0..self.ic).map(product).sum()
    }
}
