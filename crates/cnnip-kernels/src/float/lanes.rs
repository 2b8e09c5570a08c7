//! The vectors of each backend.

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) mod x86;

use super::simd::Simd;
use super::{BLOCK, Lanes};

/// Plain arrays: what every processor has, and the compiler's idea of vectors.
#[derive(Clone, Copy)]
pub(super) struct Portable;

/// Adding and subtracting this leaves a whole number, as binary32 has no fraction there.
const ROUNDING: f32 = 12_582_912.0; // 1.5 * 2^23

#[inline(always)]
fn each(a: Lanes, b: Lanes, function: impl Fn(f32, f32) -> f32) -> Lanes {
    let mut result = a;
    for i in 0..BLOCK {
        result[i] = function(a[i], b[i]);
    }
    result
}

impl Simd for Portable {
    type Vector = Lanes;

    const WIDE: bool = false;

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Lanes {
        *lanes
    }

    #[inline(always)]
    fn store(self, vector: Lanes, lanes: &mut Lanes) {
        *lanes = vector;
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        [value; BLOCK]
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn divide(self, a: Lanes, b: Lanes, _: Lanes) -> Lanes {
        each(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn round(self, a: Lanes) -> Lanes {
        each(a, a, |a, _| (a + ROUNDING) - ROUNDING)
    }
}
