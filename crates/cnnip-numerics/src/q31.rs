//! Fixed-point functions on Q-numbers in 32 bits: exponential, reciprocal, logistic, tanh.
//!
//! `Qm.n` is an `i32` that stands for `value / 2^n`, with m + n = 31. Products are rounded by
//! [`saturating_rounding_doubling_high_mul`](crate::fixed::saturating_rounding_doubling_high_mul). Oracle: gemmlowp's
//! fixed-point functions, which TFLite's integer SOFTMAX, LOGISTIC and TANH are made of. The machine does not compute these:
//! they make table contents and host steps.

use crate::cast::low32;
use crate::fixed::{
    rounding_divide_by_power_of_two as divide, saturating_rounding_doubling_high_mul as mul, shift_right_away,
};

/// 1 in Q0.31, as near as it goes.
pub const ONE: i32 = i32::MAX;

const EXP_MINUS_EIGHTH: i32 = 1_895_147_668;
const THIRD: i32 = 715_827_883;
/// `exp(-2^k)` in Q0.31 for k = -2 to 4.
const EXP_MINUS_POWER: [i32; 7] = [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];

/// `exp(value / 2^fraction)` in Q0.31 for `value <= 0`.
///
/// `fraction` is 26 (Q5.26, down to -32) to 29; the integer bits above 2^4 are not looked at.
///
/// ```
/// use cnnip_numerics::q31::{ONE, exp_of_negative};
/// assert_eq!(exp_of_negative(0, 26), ONE);
/// let half = exp_of_negative(-46_516_320, 26); // -ln 2
/// assert!((half - (1 << 30)).abs() < 64);
/// ```
#[must_use]
pub fn exp_of_negative(value: i32, fraction: u32) -> i32 {
    if value >= 0 {
        return ONE;
    }
    let quarter = 1_i32.wrapping_shl(fraction.wrapping_sub(2));
    let small = (value & quarter.wrapping_sub(1)).wrapping_sub(quarter); // in [-1/4, 0)
    let start = exp_near_minus_eighth(small.wrapping_shl(31_u32.wrapping_sub(fraction)));
    let rest = small.wrapping_sub(value); // a multiple of 1/4
    let bit = |k: u32| fraction.wrapping_sub(2).wrapping_add(k);
    (0_u32..)
        .zip(EXP_MINUS_POWER)
        .filter(|&(k, _)| bit(k) < 31 && rest & 1_i32.wrapping_shl(bit(k)) != 0)
        .fold(start, |product, (_, factor)| mul(product, factor))
}

/// `exp` of a Q0.31 number in [-1/4, 0): four terms of the series around -1/8.
fn exp_near_minus_eighth(value: i32) -> i32 {
    let x = value.wrapping_add(1 << 28);
    let x2 = mul(x, x);
    let (x3, x4) = (mul(x2, x), mul(x2, x2));
    let high = mul(divide(x4, 2).wrapping_add(x3), THIRD).wrapping_add(x2);
    let series = x.wrapping_add(divide(high, 1));
    EXP_MINUS_EIGHTH.wrapping_add(mul(EXP_MINUS_EIGHTH, series))
}

/// `1 / (1 + value)` in Q0.31 for a Q0.31 number in [0, 1), by three Newton steps.
///
/// ```
/// use cnnip_numerics::q31::{ONE, one_over_one_plus};
/// assert_eq!(one_over_one_plus(0), ONE);
/// ```
#[must_use]
pub fn one_over_one_plus(value: i32) -> i32 {
    double_saturated(newton(value))
}

/// `(1 - value) / (1 + value)` in Q0.31 for a Q0.31 number in [0, 1).
#[must_use]
pub fn one_minus_over_one_plus(value: i32) -> i32 {
    quadruple_saturated(newton(value).wrapping_sub(1 << 29))
}

/// `2 / (1 + value)` in Q2.29.
fn newton(value: i32) -> i32 {
    let half_denominator = half_sum(value, ONE);
    let start = 1_515_870_810_i32.wrapping_add(mul(half_denominator, -1_010_580_540)); // 48/17 - 32/17 d
    (0..3).fold(start, |x, _| {
        let error = (1_i32 << 29).wrapping_sub(mul(half_denominator, x));
        x.wrapping_add(quadruple_saturated(mul(x, error)))
    })
}

/// `(a + b) / 2`, halves away from zero.
fn half_sum(a: i32, b: i32) -> i32 {
    low32(shift_right_away(i64::from(a).wrapping_add(i64::from(b)), 1))
}

fn double_saturated(value: i32) -> i32 {
    value.saturating_mul(2)
}

fn quadruple_saturated(value: i32) -> i32 {
    value.saturating_mul(4)
}

/// `1 / (1 + exp(-value))` in Q0.31, for Q4.27.
#[must_use]
pub fn logistic(value: i32) -> i32 {
    let positive = one_over_one_plus(exp_of_negative(value.saturating_abs().wrapping_neg(), 27));
    match value.signum() {
        0 => 1 << 30,
        1 => positive,
        _ => ONE.wrapping_sub(positive),
    }
}

/// `tanh(value)` in Q0.31, for Q4.27.
#[must_use]
pub fn tanh(value: i32) -> i32 {
    let minus = value.saturating_abs().wrapping_neg();
    let positive = one_minus_over_one_plus(exp_of_negative(minus, 26)); // exp(-2|x|): the same bits read as Q5.26
    match value.signum() {
        0 => 0,
        1 => positive,
        _ => positive.wrapping_neg(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(got: i32, want: f64) -> bool {
        (f64::from(got) / 2_f64.powi(31) - want).abs() < 5e-7
    }

    proptest! {
        #[test]
        fn functions_are_close_to_the_real_ones(value in i32::MIN..=0) {
            let real = f64::from(value) / 2_f64.powi(26);
            prop_assert!(near(exp_of_negative(value, 26), real.exp()));
            let unit = value.wrapping_neg().max(0);
            let x = f64::from(unit) / 2_f64.powi(31);
            prop_assert!(near(one_over_one_plus(unit), 1.0 / (1.0 + x)));
            prop_assert!(near(one_minus_over_one_plus(unit), (1.0 - x) / (1.0 + x)));
        }

        #[test]
        fn logistic_and_tanh_are_close_and_symmetric(value in -i32::MAX..=i32::MAX) {
            let real = f64::from(value) / 2_f64.powi(27);
            prop_assert!(near(logistic(value), 1.0 / (1.0 + (-real).exp())));
            prop_assert!(near(tanh(value), real.tanh()));
            prop_assert_eq!(tanh(-value), -tanh(value));
        }

        #[test]
        fn is_total(value: i32, fraction: u32) {
            let _ = (exp_of_negative(value, fraction), one_over_one_plus(value), one_minus_over_one_plus(value), logistic(value), tanh(value));
        }
    }
}
