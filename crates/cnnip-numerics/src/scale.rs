//! Rounding modes, scales and per-channel records.

use crate::accumulator::AccumulatorWidth;
use crate::cast::{low32, nearest_f32, saturated_i64};
use crate::fixed::{rounding_divide_by_power_of_two, saturating_rounding_doubling_high_mul, shift_right_up};

/// How the product of an integer and a scale becomes an integer again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoundingMode {
    /// The value passes unchanged; multiplier and shift are not looked at.
    None,
    /// Saturating rounding doubling high multiply (halves up), then rounding shift (halves away from zero).
    Double,
    /// One 64-bit product, one rounding shift (halves up).
    Single,
    /// Multiplier reduced to 16 bits, 48-bit accumulator, one rounding shift (halves up).
    Reduced,
    /// binary32 scale, ties to even, then the zero point.
    Float,
    /// As `Float`, but the zero point is added in binary32 *before* rounding.
    FloatZero,
}

/// A multiplier or shift that its mode does not allow: the machine's fault of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IllegalParameter {
    /// Shift outside the mode's range.
    #[error("shift {shift} is outside {min}..={max} of mode {mode:?}")]
    Shift {
        /// The mode.
        mode: RoundingMode,
        /// The offending shift.
        shift: i32,
        /// Smallest legal shift.
        min: i32,
        /// Largest legal shift.
        max: i32,
    },
    /// Integer multiplier that the mode does not take.
    #[error("multiplier {multiplier} is negative, which mode {mode:?} does not take")]
    Multiplier {
        /// The mode.
        mode: RoundingMode,
        /// The offending multiplier.
        multiplier: i32,
    },
    /// Float scale that is infinite or not a number.
    #[error("scale bits {bits:#010x} are not a finite number")]
    FloatScale {
        /// The offending bits.
        bits: u32,
    },
    /// A left shift that could leave 32 bits.
    #[error("pre-shift {shift} is above {max}")]
    PreShift {
        /// The offending shift.
        shift: u32,
        /// Largest legal shift.
        max: u32,
    },
}

/// A scale whose parameters were checked: every call is total.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale(Kind);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    None,
    Double { multiplier: i32, left: u32, right: u32 },
    Single { multiplier: i64, right: u32 },
    Reduced { multiplier: i64, right: u32 },
    Float { scale: f32 },
    FloatZero { scale: f32 },
}

impl RoundingMode {
    /// Smallest and largest legal shift, in TFLite's sense: positive shifts left.
    ///
    /// `Single` at 31 is an exact product; the float modes take no shift.
    #[must_use]
    pub const fn shifts(self) -> (i32, i32) {
        match self {
            Self::None => (i32::MIN, i32::MAX),
            Self::Double => (-31, 30),
            Self::Single => (-31, 31),
            Self::Reduced => (-31, 7),
            Self::Float | Self::FloatZero => (0, 0),
        }
    }

    /// Range an accumulator must be in before this mode scales it.
    #[must_use]
    pub const fn accumulator(self) -> AccumulatorWidth {
        match self {
            Self::Double | Self::Single | Self::Float | Self::FloatZero => AccumulatorWidth::Bits32,
            Self::None | Self::Reduced => AccumulatorWidth::Bits48,
        }
    }
}

impl Scale {
    /// The scale that changes nothing.
    pub const NONE: Self = Self(Kind::None);

    /// Checks the parameters as registers and records hold them.
    ///
    /// `multiplier` is an `i32` in two's complement, or the bits of a binary32 number in the float modes; `shift` is positive
    /// for a left shift. An integer scale stands for `multiplier * 2^(shift - 31)`.
    ///
    /// # Errors
    /// [`IllegalParameter`] if the shift is outside [`RoundingMode::shifts`], the multiplier is negative in `Reduced`, or a
    /// float scale is not finite.
    pub fn new(mode: RoundingMode, multiplier: u32, shift: i32) -> Result<Self, IllegalParameter> {
        check_shift(mode, shift)?;
        let integer = multiplier.cast_signed();
        let kind = match mode {
            RoundingMode::None => Kind::None,
            RoundingMode::Double => Kind::Double { multiplier: integer, left: positive(shift), right: negative(shift) },
            RoundingMode::Single => Kind::Single { multiplier: i64::from(integer), right: below(31, shift) },
            RoundingMode::Reduced => Kind::Reduced { multiplier: reduced(integer)?, right: below(15, shift) },
            RoundingMode::Float => Kind::Float { scale: finite(multiplier)? },
            RoundingMode::FloatZero => Kind::FloatZero { scale: finite(multiplier)? },
        };
        Ok(Self(kind))
    }

    /// A float scale.
    ///
    /// # Errors
    /// [`IllegalParameter::FloatScale`] if `scale` is not finite.
    pub fn from_f32(scale: f32) -> Result<Self, IllegalParameter> {
        Self::new(RoundingMode::Float, scale.to_bits(), 0)
    }

    /// The mode it was made for.
    #[must_use]
    pub const fn mode(&self) -> RoundingMode {
        match self.0 {
            Kind::None => RoundingMode::None,
            Kind::Double { .. } => RoundingMode::Double,
            Kind::Single { .. } => RoundingMode::Single,
            Kind::Reduced { .. } => RoundingMode::Reduced,
            Kind::Float { .. } => RoundingMode::Float,
            Kind::FloatZero { .. } => RoundingMode::FloatZero,
        }
    }

    /// Range an accumulator must be in before it is scaled.
    #[must_use]
    pub const fn accumulator(&self) -> AccumulatorWidth {
        self.mode().accumulator()
    }

    /// The scaled and rounded value, before zero point and clamp.
    ///
    /// `acc` is in the range of [`Scale::accumulator`]; of a larger value only its low 32 bits (`Double`, `Single`) count.
    /// `Double` and `Reduced` results are 32 bits wide and wrap, as their oracle's do; the others are exact, float results
    /// saturated to 64 bits. `FloatZero` rounds as with a zero point of 0: use [`Scale::finish`].
    ///
    /// ```
    /// use cnnip_numerics::{RoundingMode, Scale};
    /// let half = |mode| Scale::new(mode, 1 << 30, 0).unwrap();
    /// assert_eq!(half(RoundingMode::Double).apply(-5), -2); // -2.5, halves up in the high multiply
    /// assert_eq!(Scale::new(RoundingMode::Double, 1 << 30, -1).unwrap().apply(-6), -2); // -1.5, away in the shift
    /// ```
    #[must_use]
    pub fn apply(&self, acc: i64) -> i64 {
        match self.0 {
            Kind::None => acc,
            Kind::Double { multiplier, left, right } => double(low32(acc), multiplier, left, right),
            Kind::Single { multiplier, right } => single(low32(acc), multiplier, right),
            Kind::Reduced { multiplier, right } => wrap32(shift_right_up(acc.wrapping_mul(multiplier), right)),
            Kind::Float { scale } | Kind::FloatZero { scale } => round_even(nearest_f32(acc) * scale),
        }
    }

    /// The scaled value plus zero point, clamped to `min..=max`.
    ///
    /// The same as [`finish`](crate::finish) of [`apply`](Scale::apply), except in `FloatZero`, where the zero point is added
    /// in binary32 before rounding.
    #[must_use]
    pub fn finish(&self, acc: i64, zero_point: i32, min: i32, max: i32) -> i32 {
        match self.0 {
            Kind::FloatZero { scale } => {
                let shifted = nearest_f32(acc) * scale + nearest_f32(i64::from(zero_point));
                crate::finish(round_even(shifted), 0, min, max)
            }
            _ => crate::finish(self.apply(acc), zero_point, min, max),
        }
    }
}

fn check_shift(mode: RoundingMode, shift: i32) -> Result<(), IllegalParameter> {
    let (min, max) = mode.shifts();
    if (min..=max).contains(&shift) { Ok(()) } else { Err(IllegalParameter::Shift { mode, shift, min, max }) }
}

/// The left part of a shift.
fn positive(shift: i32) -> u32 {
    shift.max(0).unsigned_abs()
}

/// The right part of a shift.
fn negative(shift: i32) -> u32 {
    shift.min(0).unsigned_abs()
}

/// `from - shift`; the shift was checked not to be above `from`.
fn below(from: i32, shift: i32) -> u32 {
    from.saturating_sub(shift).max(0).unsigned_abs()
}

/// The 16-bit multiplier of `Reduced`, rounded halves up and kept below 2^15.
fn reduced(multiplier: i32) -> Result<i64, IllegalParameter> {
    if multiplier < 0 {
        return Err(IllegalParameter::Multiplier { mode: RoundingMode::Reduced, multiplier });
    }
    let rounded = i64::from(multiplier).wrapping_add(1 << 15) >> 16;
    Ok(if multiplier < 0x7fff_0000 { rounded } else { 0x7fff })
}

fn finite(bits: u32) -> Result<f32, IllegalParameter> {
    let scale = f32::from_bits(bits);
    if scale.is_finite() { Ok(scale) } else { Err(IllegalParameter::FloatScale { bits }) }
}

fn double(acc: i32, multiplier: i32, left: u32, right: u32) -> i64 {
    let high = saturating_rounding_doubling_high_mul(acc.wrapping_shl(left), multiplier);
    i64::from(rounding_divide_by_power_of_two(high, right))
}

fn single(acc: i32, multiplier: i64, right: u32) -> i64 {
    shift_right_up(i64::from(acc).wrapping_mul(multiplier), right) // below 2^63: 2^62 + 2^61
}

/// The low 32 bits, sign-extended.
fn wrap32(value: i64) -> i64 {
    i64::from(low32(value))
}

/// The nearest integer, ties to even, saturated to 64 bits.
pub(crate) fn round_even(value: f32) -> i64 {
    saturated_i64(value.round_ties_even())
}

/// One per-channel record of a convolution, as it lies in memory: 16 bytes, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRecord {
    /// Added to the accumulator where `ACC_MODE.BIAS` is set. Bytes 0 to 7.
    pub bias: i64,
    /// Integer multiplier, or the bits of a binary32 scale. Bytes 8 to 11.
    pub multiplier: u32,
    /// Positive shifts left. Bytes 12 to 15.
    pub shift: i32,
}

impl ChannelRecord {
    /// Size in memory.
    pub const BYTES: usize = 16;

    /// Reads a record.
    #[must_use]
    pub fn from_le_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let word = |at: usize| -> [u8; 4] { std::array::from_fn(|i| bytes[at.wrapping_add(i)]) };
        Self {
            bias: i64::from_le_bytes(std::array::from_fn(|i| bytes[i])),
            multiplier: u32::from_le_bytes(word(8)),
            shift: i32::from_le_bytes(word(12)),
        }
    }

    /// Writes a record.
    ///
    /// ```
    /// use cnnip_numerics::ChannelRecord;
    /// let record = ChannelRecord { bias: -2, multiplier: 1 << 30, shift: -7 };
    /// assert_eq!(ChannelRecord::from_le_bytes(record.to_le_bytes()), record);
    /// ```
    #[must_use]
    pub fn to_le_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.bias.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.multiplier.to_le_bytes());
        bytes[12..].copy_from_slice(&self.shift.to_le_bytes());
        bytes
    }

    /// The record's scale in `mode`.
    ///
    /// # Errors
    /// As [`Scale::new`].
    pub fn scale(&self, mode: RoundingMode) -> Result<Scale, IllegalParameter> {
        Scale::new(mode, self.multiplier, self.shift)
    }
}

#[cfg(test)]
mod tests;
