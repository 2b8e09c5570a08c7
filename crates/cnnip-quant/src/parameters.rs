//! Scale and zero point of a range.

use crate::histogram::narrow;
use crate::ranges::Range;

/// Integers that represent activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// 8 bits with a zero point.
    Int8,
    /// 16 bits, zero point 0.
    Int16,
}

/// `real = scale * (integer - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// What one step stands for.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero: i64,
    width: Width,
}

impl Affine {
    /// The finest steps that reach both ends of a range.
    ///
    /// Zero is represented exactly: the range is extended to it. Int8 uses all 256 integers; int16 is symmetric, from -32767.
    ///
    /// ```
    /// use cnnip_quant::{Affine, Range, Width};
    ///
    /// let affine = Affine::of(Range { min: 0.0, max: 6.0 }, Width::Int8);
    /// assert_eq!((affine.scale, affine.zero), (6.0 / 255.0, -128));
    /// let affine = Affine::of(Range { min: -1.0, max: 0.5 }, Width::Int16);
    /// assert_eq!((affine.scale, affine.zero), (1.0 / 32767.0, 0));
    /// ```
    pub fn of(range: Range, width: Width) -> Self {
        let range = range.with_zero();
        let (min, max) = (f64::from(range.min), f64::from(range.max));
        let scale = match width {
            Width::Int8 => (max - min) / 255.0,
            Width::Int16 => max.max(-min) / 32767.0,
        };
        let scale = usable(scale);
        let zero = match width {
            // The end of the larger magnitude is met exactly or nearly; the other one within half a step.
            Width::Int8 => integer(-128.0 - min / f64::from(scale)).clamp(-128, 127),
            Width::Int16 => 0,
        };
        Self { scale, zero, width }
    }

    /// As [`of`](Self::of) for a range that values may leave: with 16 bits it is doubled. That costs one bit of sixteen, and
    /// what an example of the calibration did not reach stays exact.
    pub(crate) fn roomy(range: Range, width: Width) -> Self {
        match width {
            Width::Int8 => Self::of(range, width),
            Width::Int16 => Self::of(Range { min: range.min * 2.0, max: range.max * 2.0 }, width),
        }
    }

    /// The quantization of results from 0, or from -1, to 1 that TFLite's integer kernels have.
    pub(crate) fn unit(signed: bool, width: Width) -> Self {
        let (scale, zero) = match (width, signed) {
            (Width::Int8, false) => (1.0 / 256.0, -128),
            (Width::Int8, true) => (1.0 / 128.0, 0),
            (Width::Int16, _) => (1.0 / 32768.0, 0),
        };
        Self { scale, zero, width }
    }

    /// The integers it is for.
    pub fn width(&self) -> Width {
        self.width
    }

    /// The integer of a value, rounded half away from zero and clamped.
    pub fn code(&self, value: f64) -> i64 {
        let (min, max) = match self.width {
            Width::Int8 => (-128, 127),
            Width::Int16 => (-32768, 32767),
        };
        integer(value / f64::from(self.scale)).saturating_add(self.zero).clamp(min, max)
    }

    /// What the integer of a value stands for.
    pub(crate) fn round_trip(&self, value: f64) -> f64 {
        let steps = self.code(value) - self.zero;
        f64::from(self.scale) * f64::from(i32::try_from(steps).unwrap_or(0))
    }
}

/// The smallest scale: below it, products of scales are no longer normal numbers.
const LEAST_SCALE: f64 = 1.0 / (1_u64 << 40) as f64;

/// A scale that is a positive number; 1 for the range of nothing but zero.
pub(crate) fn usable(scale: f64) -> f32 {
    if scale > 0.0 { narrow(scale.max(LEAST_SCALE)) } else { 1.0 }
}

/// The nearest integer, halves away from zero.
pub(crate) fn integer(value: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and makes 0 of what is no number")]
    let integer = value.round() as i64;
    integer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tensor_of_zeros_has_a_scale() {
        let zeros = Range { min: 0.0, max: 0.0 };
        assert_eq!(Affine::of(zeros, Width::Int8).scale.to_bits(), 1.0_f32.to_bits());
        assert_eq!(Affine::of(zeros, Width::Int16).code(0.0), 0);
    }

    proptest! {
        #[test]
        fn values_in_the_range_are_met_to_half_a_step(a in -1e3_f32..1e3, b in -1e3_f32..1e3, at in 0.0_f64..1.0) {
            let range = Range { min: a.min(b), max: a.max(b) };
            for width in [Width::Int8, Width::Int16] {
                let affine = Affine::of(range, width);
                let value = f64::from(range.min) + at * (f64::from(range.max) - f64::from(range.min));
                let error = (affine.round_trip(value) - value).abs();
                // Half a step, and half another where the zero point was rounded.
                prop_assert!(error <= f64::from(affine.scale) * 1.001, "{value} is {error} off at {affine:?}");
                prop_assert_eq!(affine.round_trip(0.0), 0.0);
            }
        }
    }
}
