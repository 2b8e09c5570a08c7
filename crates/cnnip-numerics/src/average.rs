//! Rounded division of pooling and reduction.

use std::num::NonZeroU32;

/// `sum / count`, halves away from zero. Oracle: TFLite's average pooling.
///
/// ```
/// # use std::num::NonZeroU32;
/// let four = NonZeroU32::new(4).unwrap();
/// assert_eq!(cnnip_numerics::average::divide(6, four), 2); // 1.5
/// assert_eq!(cnnip_numerics::average::divide(-6, four), -2);
/// ```
#[must_use]
pub fn divide(sum: i64, count: NonZeroU32) -> i64 {
    let half = u64::from(count.get()) >> 1;
    let count = std::num::NonZeroU64::from(count);
    let quotient = sum.unsigned_abs().saturating_add(half) / count;
    let quotient = i64::try_from(quotient).unwrap_or(i64::MAX);
    if sum < 0 { quotient.wrapping_neg() } else { quotient }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_rounded_quotient(sum in -(1_i64 << 48)..1 << 48, count in 1_u32..100_000) {
            let (s, n) = (i128::from(sum), i128::from(count));
            let want = s.signum() * ((2 * s.abs() + n) / (2 * n));
            prop_assert_eq!(i128::from(divide(sum, NonZeroU32::new(count).unwrap())), want);
        }

        #[test]
        fn is_total(sum: i64, count in 1_u32..) {
            let _ = divide(sum, NonZeroU32::new(count).unwrap());
        }
    }
}
