//! The roundings everything else is made of. Oracle: gemmlowp's fixed-point primitives.

/// `floor(a * b / 2^31 + 1/2)`: a product of two Q0.31 numbers, halves *up*, saturated.
///
/// Only `i32::MIN * i32::MIN` saturates (to `i32::MAX`).
///
/// ```
/// use cnnip_numerics::fixed::saturating_rounding_doubling_high_mul as mul;
/// assert_eq!(mul(1, 1 << 30), 1); //  0.5
/// assert_eq!(mul(-1, 1 << 30), 0); // -0.5
/// ```
#[must_use]
pub fn saturating_rounding_doubling_high_mul(a: i32, b: i32) -> i32 {
    let product = i64::from(a).wrapping_mul(i64::from(b)); // at most 2^62
    let high = product.wrapping_add(1 << 30) >> 31;
    i32::try_from(high).unwrap_or(i32::MAX)
}

/// `value / 2^exponent`, halves *away from zero*.
///
/// ```
/// use cnnip_numerics::fixed::rounding_divide_by_power_of_two as divide;
/// assert_eq!((divide(5, 1), divide(-5, 1), divide(-5, 3)), (3, -3, -1));
/// ```
#[must_use]
pub fn rounding_divide_by_power_of_two(value: i32, exponent: u32) -> i32 {
    let rounded = shift_right_away(i64::from(value), exponent);
    i32::try_from(rounded).unwrap_or(value) // never larger than `value`
}

/// `value / 2^shift`, halves away from zero; 0 for shifts above 63.
#[must_use]
pub fn shift_right_away(value: i64, shift: u32) -> i64 {
    let half = 1_u64.checked_shl(shift).unwrap_or(0) >> 1;
    let magnitude = value.unsigned_abs().saturating_add(half).checked_shr(shift).unwrap_or(0);
    let rounded = i64::try_from(magnitude).unwrap_or(i64::MAX);
    if value < 0 { rounded.wrapping_neg() } else { rounded }
}

/// `floor(value / 2^shift + 1/2)`: halves up; 0 for shifts above 63. The caller keeps `|value|` below 2^62.
#[must_use]
pub fn shift_right_up(value: i64, shift: u32) -> i64 {
    let half = 1_i64.checked_shl(shift.wrapping_sub(1)).unwrap_or(0);
    value.wrapping_add(half).checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The primitives as the oracle words them: nudge and truncating division, mask and threshold.
    fn oracle_mul(a: i32, b: i32) -> i128 {
        let product = i128::from(a) * i128::from(b);
        let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
        ((product + nudge) / (1 << 31)).min(i128::from(i32::MAX))
    }

    fn oracle_divide(value: i32, exponent: u32) -> i128 {
        let (value, mask) = (i128::from(value), (1_i128 << exponent) - 1);
        let threshold = (mask >> 1) + i128::from(value < 0);
        (value >> exponent) + i128::from(value & mask > threshold)
    }

    fn edge() -> impl Strategy<Value = i32> {
        prop_oneof![any::<i32>(), -70_000..70_000, Just(i32::MIN), Just(i32::MAX), Just(1 << 30), Just(-(1 << 30))]
    }

    proptest! {
        #[test]
        fn high_mul_equals_the_oracle(a in edge(), b in edge()) {
            prop_assert_eq!(i128::from(saturating_rounding_doubling_high_mul(a, b)), oracle_mul(a, b));
        }

        #[test]
        fn divide_equals_the_oracle(value in edge(), exponent in 0_u32..=31) {
            prop_assert_eq!(i128::from(rounding_divide_by_power_of_two(value, exponent)), oracle_divide(value, exponent));
        }

        #[test]
        fn shifts_are_rounded_quotients(value in -(1_i64 << 61)..1 << 61, shift in 0_u32..=61) {
            let (v, d) = (i128::from(value), 1_i128 << shift);
            prop_assert_eq!(i128::from(shift_right_up(value, shift)), (2 * v + d).div_euclid(2 * d));
            prop_assert_eq!(i128::from(shift_right_away(value, shift)), v.signum() * ((2 * v.abs() + d) / (2 * d)));
        }

        #[test]
        fn shifts_are_total(value: i64, shift: u32) {
            let _ = (shift_right_away(value, shift), shift_right_up(value, shift));
        }
    }
}
