//! One over a square root in fixed point.

use super::QuantizedMultiplier;
use crate::fixed::saturating_rounding_doubling_high_mul as multiply;

/// 1 with 28 fraction bits.
const ONE: i32 = 1 << 28;
/// The square root of 1/2 with 31 fraction bits.
const ROOT_OF_HALF: i32 = 1_518_500_250;
/// Newton steps.
const STEPS: u32 = 5;

/// `1 / sqrt(value)` as a multiplier; 1, nearly, for values below 2. Oracle: `GetInvSqrtQuantizedMultiplierExp`, which
/// TFLite's int8 RSQRT is made of.
///
/// Five Newton steps `x = x * (3 - v * x^2) / 2` from 1 on, for the value `v` scaled to 1/4 to 1 with 28 fraction bits.
///
/// ```
/// use cnnip_numerics::quantize::inverse_square_root;
/// assert_eq!(inverse_square_root(4).times(1 << 20), 1 << 19);
/// ```
#[must_use]
pub fn inverse_square_root(value: i32) -> QuantizedMultiplier {
    if value <= 1 {
        return QuantizedMultiplier { multiplier: i32::MAX, shift: 0 };
    }
    // At most 29 bits, so that the value and half of it stay positive.
    let excess = 3_u32.saturating_sub(value.leading_zeros()).div_ceil(2);
    let reduced = value >> excess.saturating_mul(2);
    let pairs = reduced.leading_zeros().saturating_sub(1) / 2;
    let pairs = pairs.saturating_sub(1);
    let scaled = reduced.wrapping_shl(pairs.saturating_mul(2)) >> 1;
    let root = multiply(newton(scaled), ROOT_OF_HALF);
    let shift = 11_i32.saturating_add_unsigned(excess).saturating_sub_unsigned(pairs);
    if shift < 0 {
        return QuantizedMultiplier { multiplier: root.wrapping_shl(shift.unsigned_abs()), shift: 0 };
    }
    QuantizedMultiplier { multiplier: root, shift: shift.saturating_neg() }
}

fn newton(value: i32) -> i32 {
    let half = value.saturating_add(1) >> 1;
    let mut x = ONE;
    for _ in 0..STEPS {
        let cube = saturated(multiply(multiply(x, x), x), 6);
        let rest = multiply(ONE.saturating_add(ONE >> 1), x).saturating_sub(multiply(half, cube));
        x = saturated(rest, 3);
    }
    x
}

/// `value * 2^bits`, saturated.
fn saturated(value: i32, bits: u32) -> i32 {
    let wide = i64::from(value).wrapping_shl(bits); // below 2^38
    i32::try_from(wide).unwrap_or(if wide < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::inverse_square_root;

    #[test]
    fn it_is_near_the_real_number() {
        for value in (2..5000).chain([1 << 20, (1 << 29) - 1, 1 << 29, i32::MAX]) {
            let found = inverse_square_root(value);
            let real = f64::from(found.multiplier) * libm::exp2(f64::from(found.shift) - 31.0);
            let want = 1.0 / f64::from(value).sqrt();
            // The farthest is 2, at 1.24e-6: the oracle's steps keep 28 bits, and so do these.
            assert!((real / want - 1.0).abs() < 1.25e-6, "{value}: {real} for {want}");
        }
    }
}
