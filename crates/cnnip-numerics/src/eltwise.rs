//! The stages of element-wise operations.
//!
//! ```text
//! a' = a.scale((a - a.zero_point) << pre_shift)      b' likewise
//! v  = a' function b'
//! out = clamp(out.scale(v) + zero_point)
//! ```
//!
//! With scales on a and b this is *scale-then-sum*; with `RoundingMode::None` on both it is *sum-then-scale*.

use crate::accumulator::AccumulatorOverflow;
use crate::scale::{IllegalParameter, Scale, round_even};

/// What is computed from the two scaled inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a * b
    Mul,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// a; b is not looked at.
    Pass,
}

/// One input's zero point and scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Subtracted from every element.
    pub zero_point: i32,
    /// Applied after the pre-shift.
    pub scale: Scale,
}

/// The output's scale, zero point and clamp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    /// Applied to the combined value.
    pub scale: Scale,
    /// Added after scaling.
    pub zero_point: i32,
    /// Lower clamp.
    pub min: i32,
    /// Upper clamp.
    pub max: i32,
}

/// A checked element-wise operation.
///
/// ```
/// use cnnip_numerics::eltwise::{Function, Input, Output};
/// use cnnip_numerics::{Eltwise, RoundingMode, Scale};
///
/// let plain = |zero_point| Input { zero_point, scale: Scale::NONE };
/// let half = Scale::new(RoundingMode::Double, 1 << 30, 0)?;
/// let output = Output { scale: half, zero_point: 1, min: -128, max: 127 };
/// let mean = Eltwise::new(Function::Add, 0, plain(3), plain(-2), output)?;
/// assert_eq!(mean.apply(10, 20)?, 16); // (7 + 22) / 2 = 14.5 -> 15, plus 1
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eltwise {
    function: Function,
    pre_shift: u32,
    a: Input,
    b: Input,
    output: Output,
}

/// Largest pre-shift: 8-bit differences then stay within 31 bits.
pub const MAX_PRE_SHIFT: u32 = 22;

impl Eltwise {
    /// Puts checked stages together.
    ///
    /// # Errors
    /// [`IllegalParameter::PreShift`] if `pre_shift` is above [`MAX_PRE_SHIFT`].
    pub fn new(
        function: Function,
        pre_shift: u32,
        a: Input,
        b: Input,
        output: Output,
    ) -> Result<Self, IllegalParameter> {
        if pre_shift > MAX_PRE_SHIFT {
            return Err(IllegalParameter::PreShift { shift: pre_shift, max: MAX_PRE_SHIFT });
        }
        Ok(Self { function, pre_shift, a, b, output })
    }

    /// One output element.
    ///
    /// # Errors
    /// [`AccumulatorOverflow`] if the input of any stage is outside the range of that stage's mode.
    pub fn apply(&self, a: i32, b: i32) -> Result<i32, AccumulatorOverflow> {
        let value = self.combine(self.a.scaled(a, self.pre_shift)?, b)?;
        crate::requantize(value, &self.output.scale, self.output.zero_point, self.output.min, self.output.max)
    }

    fn combine(&self, a: i64, b: i32) -> Result<i64, AccumulatorOverflow> {
        if self.function == Function::Pass {
            return Ok(a);
        }
        let b = self.b.scaled(b, self.pre_shift)?;
        Ok(match self.function {
            Function::Add => a.saturating_add(b),
            Function::Sub => a.saturating_sub(b),
            Function::Mul => a.saturating_mul(b),
            Function::Min => a.min(b),
            Function::Max => a.max(b),
            Function::Pass => a,
        })
    }
}

impl Input {
    fn scaled(&self, x: i32, pre_shift: u32) -> Result<i64, AccumulatorOverflow> {
        let difference = i64::from(x).saturating_sub(i64::from(self.zero_point));
        let shifted = difference.wrapping_shl(pre_shift); // below 2^55
        Ok(self.scale.apply(self.scale.accumulator().check(shifted)?))
    }
}

/// A sum of two float-scaled inputs: `fma(a, scale_a, fma(b, scale_b, offset))` in binary32, rounded to even and clamped.
///
/// Each `fma` rounds once to binary32. This is what ONNX Runtime's `QLinearAdd` computes on processors with fused multiply-add;
/// the quantization's zero points are part of `offset`. Those here are 0, but for uint8 elements that are held as int8.
///
/// ```
/// use cnnip_numerics::eltwise::Affine;
/// let sum = Affine { scales: [0.5, 0.25], zero_points: [0, 0], offset: -3.0, zero_point: 0, min: -128, max: 127 };
/// assert_eq!(sum.apply(10, 20), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Factors of a and b.
    pub scales: [f32; 2],
    /// Subtracted from a and b, exactly.
    pub zero_points: [i32; 2],
    /// What is added in binary32, before the rounding.
    pub offset: f32,
    /// What is added after the rounding.
    pub zero_point: i32,
    /// Smallest output.
    pub min: i32,
    /// Largest output.
    pub max: i32,
}

impl Affine {
    /// One output element, of elements of 8 bits.
    #[must_use]
    pub fn apply(&self, a: i32, b: i32) -> i32 {
        let [a, b] = [(a, self.zero_points[0]), (b, self.zero_points[1])].map(|(x, zero)| {
            let difference = x.saturating_sub(zero);
            f32::from(i16::try_from(difference).unwrap_or(if difference < 0 { i16::MIN } else { i16::MAX }))
        });
        let sum = a.mul_add(self.scales[0], b.mul_add(self.scales[1], self.offset));
        crate::finish(round_even(sum), self.zero_point, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::{self, EltwiseScales};
    use crate::scale::RoundingMode;
    use proptest::prelude::*;

    fn mbqm(value: i128, multiplier: i32, shift: i32) -> i128 {
        let high = (value * (1_i128 << shift.max(0)) * i128::from(multiplier) + (1 << 30)).div_euclid(1 << 31);
        let divisor = 1_i128 << (-shift).max(0);
        high.signum() * ((2 * high.abs() + divisor) / (2 * divisor))
    }

    fn double(q: quantize::QuantizedMultiplier) -> Scale {
        Scale::new(RoundingMode::Double, q.multiplier.cast_unsigned(), q.shift).unwrap()
    }

    proptest! {
        /// TFLite's ADD and SUB, int8 and int16, written out.
        #[test]
        fn add_and_sub_equal_tflite(
            x: i8, y: i8, wide_x: i16, wide_y: i16, narrow: bool, sub: bool,
            scales in (0.001_f32..1.0, 0.001_f32..1.0, 0.01_f32..1.0),
            zeros in (-128_i32..128, -128_i32..128, -128_i32..128),
        ) {
            let (bits, (x, y)) = if narrow { (20, (x.into(), y.into())) } else { (15, (i32::from(wide_x), wide_y.into())) };
            let (za, zb, zo) = if narrow { zeros } else { (0, 0, 0) };
            let (min, max) = if narrow { (-128, 127) } else { (-32768, 32767) };
            let EltwiseScales { a, b, output } = quantize::add_scales(scales.0, scales.1, scales.2 , bits).unwrap();
            let value = |x: i32, zero: i32, q: quantize::QuantizedMultiplier| mbqm(i128::from(x - zero) << bits, q.multiplier, q.shift);
            let (va, vb) = (value(x, za, a), value(y, zb, b));
            let sum = if sub { va - vb } else { va + vb };
            let want = (mbqm(sum, output.multiplier, output.shift) + i128::from(zo)).clamp(min, max);
            let input = |zero_point, q| Input { zero_point, scale: double(q) };
            let function = if sub { Function::Sub } else { Function::Add };
            let out = Output { scale: double(output), zero_point: zo, min: min as i32, max: max as i32 };
            let op = Eltwise::new(function, bits, input(za, a), input(zb, b), out).unwrap();
            prop_assert_eq!(op.apply(x, y).map(i128::from), Ok(want));
        }

        /// TFLite's MUL: the product of the differences, scaled once.
        #[test]
        fn mul_equals_tflite(x: i16, y: i16, real in 1e-9_f64..0.9) {
            let q = quantize::quantize_multiplier(real).unwrap();
            let want = mbqm(i128::from(x) * i128::from(y), q.multiplier, q.shift).clamp(-32768, 32767);
            let plain = Input { zero_point: 0, scale: Scale::NONE };
            let out = Output { scale: double(q), zero_point: 0, min: -32768, max: 32767 };
            let op = Eltwise::new(Function::Mul, 0, plain, plain, out).unwrap();
            prop_assert_eq!(op.apply(x.into(), y.into()).map(i128::from), Ok(want));
        }

        #[test]
        fn is_total(x: i32, y: i32, zero: i32, f in 0_usize..6, shift in 0_u32..=MAX_PRE_SHIFT, m: u32, none: bool) {
            let functions = [Function::Add, Function::Sub, Function::Mul, Function::Min, Function::Max, Function::Pass];
            let scale = if none { Scale::NONE } else { Scale::new(RoundingMode::Double, m, 0).unwrap() };
            let input = Input { zero_point: zero, scale };
            let out = Output { scale, zero_point: zero, min: -128, max: 127 };
            let _ = Eltwise::new(functions[f], shift, input, input, out).unwrap().apply(x, y);
        }
    }

    #[test]
    fn min_and_max_choose_after_scaling() {
        let plain = Input { zero_point: 0, scale: Scale::NONE };
        let out = Output { scale: Scale::NONE, zero_point: 0, min: -128, max: 127 };
        let op = |function| Eltwise::new(function, 0, plain, plain, out).unwrap();
        assert_eq!(op(Function::Min).apply(-3, 5), Ok(-3));
        assert_eq!(op(Function::Max).apply(-3, 5), Ok(5));
        assert_eq!(op(Function::Pass).apply(-3, 5), Ok(-3));
    }

    #[test]
    fn a_pre_shift_that_could_overflow_is_rejected() {
        let plain = Input { zero_point: 0, scale: Scale::NONE };
        let out = Output { scale: Scale::NONE, zero_point: 0, min: 0, max: 0 };
        let made = Eltwise::new(Function::Add, 23, plain, plain, out);
        assert_eq!(made, Err(IllegalParameter::PreShift { shift: 23, max: 22 }));
    }
}
