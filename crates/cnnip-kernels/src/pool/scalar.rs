//! The slow twins: plain loops over the definition.

use super::{Divisor, Pool8};
use crate::operand::low8;
use crate::{Map, Output8};

pub(super) fn max(pool: &Pool8<'_>, out: &mut [u8], map: Map, output: Output8) {
    each(map, |y, x, c, at| {
        let max = pool.valid(y, x).map(|pixel| pool.value(pixel, c)).max().unwrap_or(i32::MIN);
        out[at] = low8(max.max(output.min).min(output.max));
    });
}

pub(super) fn average(pool: &Pool8<'_>, divisor: Divisor, out: &mut [u8], map: Map, output: Output8) {
    each(map, |y, x, c, at| {
        let sum: i64 = pool.valid(y, x).map(|pixel| i64::from(pool.value(pixel, c) - pool.input.zero)).sum();
        let average = cnnip_numerics::average::divide(sum, pool.count(divisor, y, x));
        out[at] = low8(cnnip_numerics::finish(average, output.zero, output.min, output.max));
    });
}

/// Every element: row, column, channel, offset.
fn each(map: Map, mut element: impl FnMut(usize, usize, usize, usize)) {
    for y in 0..map.h {
        for x in 0..map.w {
            (0..map.c).for_each(|c| element(y, x, c, map.at(y, x) + c));
        }
    }
}
