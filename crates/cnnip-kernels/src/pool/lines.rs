//! Pooling over vectors: plain loops over the channels of a pixel, which the compiler turns into vector instructions.

use super::{Divisor, Pool8};
use crate::operand::low8;
use crate::scratch::sized;
use crate::simd::{Simd, Task};
use crate::{Map, Output8};
use std::num::NonZeroU32;

pub(super) struct Max<'j, 'a> {
    pub(super) pool: &'j Pool8<'a>,
    pub(super) out: &'j mut [u8],
    pub(super) map: Map,
    pub(super) output: Output8,
}

impl Task for Max<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { pool, out, map, output } = self;
        let [min, max] = [output.min, output.max].map(|bound| low8(bound).cast_signed());
        for y in 0..map.h {
            for x in 0..map.w {
                let out = &mut out[map.at(y, x)..][..map.c];
                out.fill(0x80);
                for pixel in pool.valid(y, x) {
                    let source = &pool.input.bytes[pixel..][..map.c];
                    for (out, x) in out.iter_mut().zip(source) {
                        *out = out.cast_signed().max(x.cast_signed()).cast_unsigned();
                    }
                }
                out.iter_mut().for_each(|out| *out = out.cast_signed().max(min).min(max).cast_unsigned());
            }
        }
    }
}

pub(super) struct Average<'j, 'a> {
    pub(super) pool: &'j Pool8<'a>,
    pub(super) divisor: Divisor,
    pub(super) sums: &'j mut Vec<i32>,
    pub(super) out: &'j mut [u8],
    pub(super) map: Map,
    pub(super) output: Output8,
}

impl Task for Average<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { pool, divisor, sums, out, map, output } = self;
        let sums = sized(sums, map.c, 0);
        for y in 0..map.h {
            for x in 0..map.w {
                sums.fill(0);
                for pixel in pool.valid(y, x) {
                    let source = &pool.input.bytes[pixel..][..map.c];
                    for (sum, x) in sums.iter_mut().zip(source) {
                        *sum += i32::from(x.cast_signed()) - pool.input.zero;
                    }
                }
                let reciprocal = Reciprocal::new(pool.count(divisor, y, x));
                let out = &mut out[map.at(y, x)..][..map.c];
                for (out, &sum) in out.iter_mut().zip(&*sums) {
                    *out = low8((reciprocal.divide(sum) + output.zero).max(output.min).min(output.max));
                }
            }
        }
    }
}

/// Division by multiplication, halves away from zero.
///
/// For a count of at most 2^16 and sums of as many differences of bytes: with n = |sum| + count/2 < 2^24 and the reciprocal
/// too large by at most 1 / 2^40, the quotient is too large by less than n / 2^40 < 1 / count, so its integer part is right.
#[derive(Clone, Copy)]
struct Reciprocal {
    half: u32,
    factor: u64,
}

impl Reciprocal {
    fn new(count: NonZeroU32) -> Self {
        Self { half: count.get() / 2, factor: (1 << 40) / u64::from(count.get()) + 1 }
    }

    #[inline(always)]
    fn divide(self, sum: i32) -> i32 {
        let magnitude = (u64::from(sum.unsigned_abs() + self.half) * self.factor) >> 40;
        let [a, b, c, d, ..] = magnitude.to_le_bytes();
        let magnitude = i32::from_le_bytes([a, b, c, d]); // below 2^9
        if sum < 0 { -magnitude } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_reciprocal_divides(count in prop_oneof![1_u32..=1 << 16, 65_000_u32..=1 << 16], part in 0.0..=1.0_f64, low in 0_i64..3) {
            let largest = i64::from(count) * 255;
            let near = (largest as f64 * part) as i64 / i64::from(count) * i64::from(count) + i64::from(count) / 2 - 1 + low;
            let count = NonZeroU32::new(count).unwrap();
            for sum in [near, -near].map(|sum| sum.clamp(-largest, largest)) {
                let want = cnnip_numerics::average::divide(sum, count);
                prop_assert_eq!(i64::from(Reciprocal::new(count).divide(i32::try_from(sum).unwrap())), want);
            }
        }
    }
}
