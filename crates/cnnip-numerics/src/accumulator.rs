//! Range checks of accumulators: made once, in the command that requantizes.

/// How many bits an accumulator may need when it is requantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccumulatorWidth {
    /// -2^31 to 2^31 - 1: modes `double`, `single`, `float`, `float_zero`.
    Bits32,
    /// -2^47 to 2^47 - 1: modes `reduced` and `none`.
    Bits48,
}

/// An accumulator outside the range of its mode: the machine's fault of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("accumulator {value} does not fit {} bits", width.bits())]
pub struct AccumulatorOverflow {
    /// The value that was to be scaled.
    pub value: i64,
    /// The range it had to fit.
    pub width: AccumulatorWidth,
}

impl AccumulatorWidth {
    /// Number of bits, sign included.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bits32 => 32,
            Self::Bits48 => 48,
        }
    }

    /// Whether `value` is in range.
    ///
    /// ```
    /// use cnnip_numerics::AccumulatorWidth;
    /// assert!(AccumulatorWidth::Bits32.holds(i64::from(i32::MIN)));
    /// assert!(!AccumulatorWidth::Bits48.holds(1 << 47));
    /// ```
    #[must_use]
    pub const fn holds(self, value: i64) -> bool {
        let limit = match self {
            Self::Bits32 => 1_i64 << 31,
            Self::Bits48 => 1_i64 << 47,
        };
        value >= limit.wrapping_neg() && value < limit
    }

    /// Passes `value` on if it is in range.
    ///
    /// # Errors
    /// [`AccumulatorOverflow`] otherwise.
    pub const fn check(self, value: i64) -> Result<i64, AccumulatorOverflow> {
        if self.holds(value) { Ok(value) } else { Err(AccumulatorOverflow { value, width: self }) }
    }
}
