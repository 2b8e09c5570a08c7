//! Compiler side: real numbers to multipliers, shifts, ranges and steps, as TFLite's *prepare* code computes them.
//!
//! The machine never runs these. They decide what is written into registers and records, so they must equal the oracle too.

use crate::cast::{exact_f64, low32, narrow_f32, nearest_f32, saturated_i64, saturated_i64_from_f64};
use crate::fixed::{rounding_divide_by_power_of_two, saturating_rounding_doubling_high_mul};
use crate::q31;

/// An integer scale: `multiplier * 2^(shift - 31)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuantizedMultiplier {
    /// 0, 2^30 to 2^31 - 1, or -2^31 to -2^30.
    pub multiplier: i32,
    /// -31 to 30; positive shifts left.
    pub shift: i32,
}

impl QuantizedMultiplier {
    /// `value` times the scale, rounded as in mode `double`; `value` is taken modulo 2^32.
    #[must_use]
    pub fn times(self, value: i64) -> i32 {
        let shifted = low32(value).wrapping_shl(self.shift.max(0).unsigned_abs());
        let high = saturating_rounding_doubling_high_mul(shifted, self.multiplier);
        rounding_divide_by_power_of_two(high, self.shift.min(0).unsigned_abs())
    }
}

/// A number that no quantization parameter can be made of.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// Infinite or not a number.
    #[error("scale {0} is not finite")]
    NotFinite(f64),
    /// A tensor's scale that is not above zero.
    #[error("scale {0} is not positive")]
    NotPositive(f64),
    /// A size of zero, or too large for a fixed-point step.
    #[error("cannot resize {from} samples to {to}")]
    Resize {
        /// Input samples.
        from: u32,
        /// Output samples.
        to: u32,
    },
}

/// Splits a real scale into multiplier and shift. Oracle: TFLite's `QuantizeMultiplier`.
///
/// The significand is rounded to 31 bits, halves away from zero; one that rounds up to 2^31 is halved. A shift below -31 gives
/// zero; a shift above 30 gives the largest multiplier at 30, as TFLite's single-rounding build does (its other build leaves
/// such shifts, which its kernels cannot carry out).
///
/// ```
/// use cnnip_numerics::quantize::{QuantizedMultiplier, quantize_multiplier};
/// assert_eq!(quantize_multiplier(0.75)?, QuantizedMultiplier { multiplier: 3 << 29, shift: 0 });
/// assert_eq!(quantize_multiplier(1.0)?, QuantizedMultiplier { multiplier: 1 << 30, shift: 1 });
/// # Ok::<(), cnnip_numerics::quantize::QuantizeError>(())
/// ```
///
/// # Errors
/// [`QuantizeError::NotFinite`].
pub fn quantize_multiplier(real: f64) -> Result<QuantizedMultiplier, QuantizeError> {
    significand_and_shift(real).map(|(multiplier, shift)| in_range(multiplier, shift))
}

/// The significand of a scale, rounded to 31 bits, and its shift in whatever range it falls.
///
/// The first half of [`quantize_multiplier`], for host steps that take larger shifts than the machine.
///
/// ```
/// assert_eq!(cnnip_numerics::quantize::significand_and_shift(3.0 * 2_f64.powi(40)), Ok((3 << 29, 42)));
/// ```
///
/// # Errors
/// [`QuantizeError::NotFinite`].
pub fn significand_and_shift(real: f64) -> Result<(i32, i32), QuantizeError> {
    if !real.is_finite() {
        return Err(QuantizeError::NotFinite(real));
    }
    let (significand, exponent) = libm::frexp(real);
    let rounded = saturated_i64_from_f64((significand * exact_f64(1 << 31)).round());
    // 2^31 itself does not fit and is halved; -2^31 fits and stays, as in the oracle.
    Ok(match i32::try_from(rounded) {
        Ok(multiplier) => (multiplier, exponent),
        Err(_) => (1 << 30, exponent.saturating_add(1)),
    })
}

fn in_range(multiplier: i32, shift: i32) -> QuantizedMultiplier {
    match shift {
        ..-31 => QuantizedMultiplier { multiplier: 0, shift: 0 },
        -31..=30 if multiplier == 0 => QuantizedMultiplier { multiplier: 0, shift: 0 },
        -31..=30 => QuantizedMultiplier { multiplier, shift },
        _ => QuantizedMultiplier { multiplier: if multiplier < 0 { -i32::MAX } else { i32::MAX }, shift: 30 },
    }
}

/// Real scale of one output channel of CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV and FULLY_CONNECTED, and of MUL (with the second
/// input's scale as `weight`): `input * weight / output`, left to right in binary64. Oracle: tflite-micro.
#[must_use]
pub fn product_scale(input: f32, weight: f32, output: f32) -> f64 {
    f64::from(input) * f64::from(weight) / f64::from(output)
}

/// Real scale of QUANTIZE between integer types, MEAN, SUM and RELU: `input / output` in binary64.
#[must_use]
pub fn requantize_scale(input: f32, output: f32) -> f64 {
    f64::from(input) / f64::from(output)
}

/// The binary32 scale of a convolution in the float profile: `input * weight / output`, rounded after each step.
///
/// Oracle: XNNPACK's per-channel `input_scale * kernel_scale / output_scale`, and ONNX Runtime's `QLinearConv`.
#[must_use]
pub fn float_conv_scale(input: f32, weight: f32, output: f32) -> f32 {
    input * weight / output
}

/// The three scales of ADD and SUB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EltwiseScales {
    /// Scale of the first input.
    pub a: QuantizedMultiplier,
    /// Scale of the second input.
    pub b: QuantizedMultiplier,
    /// Scale of the output.
    pub output: QuantizedMultiplier,
}

/// Scales of ADD and SUB: inputs to twice the larger input scale, then `2^pre_shift` finer than the output.
///
/// `pre_shift` is 20 for int8 and 15 for int16. Oracle: TFLite's ADD and SUB.
///
/// # Errors
/// [`QuantizeError`] if a scale is not a positive finite number.
pub fn add_scales(a: f32, b: f32, output: f32, pre_shift: u32) -> Result<EltwiseScales, QuantizeError> {
    for scale in [a, b, output] {
        positive(scale)?;
    }
    let twice = 2.0 * f64::from(a.max(b));
    let finer = exact_f64(1_i64.wrapping_shl(pre_shift));
    Ok(EltwiseScales {
        a: quantize_multiplier(f64::from(a) / twice)?,
        b: quantize_multiplier(f64::from(b) / twice)?,
        output: quantize_multiplier(twice / (finer * f64::from(output)))?,
    })
}

fn positive(scale: f32) -> Result<f32, QuantizeError> {
    match scale {
        s if !s.is_finite() => Err(QuantizeError::NotFinite(s.into())),
        s if s <= 0.0 => Err(QuantizeError::NotPositive(s.into())),
        s => Ok(s),
    }
}

/// Divides a scale by a number of elements: what MEAN multiplies its sum by.
///
/// `multiplier * 2^s / count`, truncated, and `shift - s`, where s is the position of the highest bit of `count`, at most 32 and
/// at most `31 + shift`. Oracle: TFLite's and tflite-micro's MEAN. A `count` of 0 is taken as 1.
///
/// ```
/// use cnnip_numerics::quantize::{QuantizedMultiplier, mean_multiplier};
/// let one = QuantizedMultiplier { multiplier: 1 << 30, shift: 1 };
/// let third = mean_multiplier(one, 3);
/// assert_eq!(third, QuantizedMultiplier { multiplier: 715_827_882, shift: 0 });
/// ```
#[must_use]
pub fn mean_multiplier(scale: QuantizedMultiplier, count: u32) -> QuantizedMultiplier {
    let count = count.max(1);
    let room = u32::try_from(scale.shift.saturating_add(31)).unwrap_or(0);
    let bits = count.ilog2().min(room);
    let wide = i64::from(scale.multiplier).wrapping_shl(bits); // below 2^62
    let multiplier = wide.checked_div(i64::from(count)).and_then(|m| i32::try_from(m).ok()).unwrap_or(i32::MAX);
    QuantizedMultiplier { multiplier, shift: scale.shift.saturating_sub_unsigned(bits) }
}

/// A fused activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// No clamp but that of the type.
    None,
    /// At least 0.
    Relu,
    /// 0 to 6.
    Relu6,
    /// -1 to 1.
    ReluN1To1,
}

impl Activation {
    /// The clamp in the output's integers, within the type's range. Oracle: TFLite's `CalculateActivationRangeQuantized`.
    ///
    /// Bounds are `zero_point + real / scale`, divided in binary32, halves away from zero.
    ///
    /// ```
    /// use cnnip_numerics::quantize::Activation;
    /// assert_eq!(Activation::Relu6.range(0.05, -100, (-128, 127)), (-100, 20));
    /// ```
    #[must_use]
    pub fn range(self, scale: f32, zero_point: i32, (min, max): (i32, i32)) -> (i32, i32) {
        let at = |real: f32| quantized(real, scale, zero_point);
        match self {
            Self::None => (min, max),
            Self::Relu => (min.max(at(0.0)), max),
            Self::Relu6 => (min.max(at(0.0)), max.min(at(6.0))),
            Self::ReluN1To1 => (min.max(at(-1.0)), max.min(at(1.0))),
        }
    }
}

/// `zero_point + real / scale`, halves away from zero, saturated to 32 bits.
fn quantized(real: f32, scale: f32, zero_point: i32) -> i32 {
    crate::finish(saturated_i64((real / scale).round()), zero_point, i32::MIN, i32::MAX)
}

/// Fraction bits of TFLite's integer bilinear resize.
pub const RESIZE_FRACTION: u32 = 10;

/// Input samples per output sample with [`RESIZE_FRACTION`] bits, rounded to nearest. Oracle: TFLite's RESIZE_BILINEAR.
///
/// # Errors
/// [`QuantizeError::Resize`] if a size is zero or the step does not fit.
pub fn resize_step(from: u32, to: u32, align_corners: bool) -> Result<u32, QuantizeError> {
    let error = QuantizeError::Resize { from, to };
    if from == 0 || to == 0 {
        return Err(error);
    }
    let less = u32::from(align_corners && to > 1);
    let (from, to) = (u64::from(from.saturating_sub(less)), u64::from(to.saturating_sub(less)));
    let step = (from << RESIZE_FRACTION).wrapping_add(to >> 1).checked_div(to);
    step.and_then(|step| u32::try_from(step).ok()).ok_or(error)
}

/// Origin that puts samples at pixel centres: `step / 2 - 1/2`, truncated.
#[must_use]
pub fn half_pixel_origin(step: u32) -> i32 {
    i32::try_from(step >> 1).unwrap_or(i32::MAX).saturating_sub(1 << (RESIZE_FRACTION - 1))
}

/// How float becomes integer in QUANTIZE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ties {
    /// Halves away from zero: TFLite.
    Away,
    /// Halves to even: ONNX.
    Even,
}

/// `zero_point + x / scale`, divided in binary32, rounded, clamped to `min..=max`. NaN gives the zero point.
///
/// ```
/// use cnnip_numerics::quantize::{Ties, quantize};
/// assert_eq!(quantize(1.25, 0.5, 0, (-128, 127), Ties::Away), 3);
/// assert_eq!(quantize(1.25, 0.5, 0, (-128, 127), Ties::Even), 2);
/// ```
#[must_use]
pub fn quantize(x: f32, scale: f32, zero_point: i32, (min, max): (i32, i32), ties: Ties) -> i32 {
    let real = x / scale;
    let rounded = match ties {
        Ties::Away => real.round(),
        Ties::Even => real.round_ties_even(),
    };
    crate::finish(saturated_i64(rounded), zero_point, min, max)
}

/// `scale * (q - zero_point)` in binary32. Oracles: TFLite's DEQUANTIZE and ONNX's DequantizeLinear.
///
/// ```
/// assert_eq!(cnnip_numerics::quantize::dequantize(-3, 0.5, 1), -2.0);
/// ```
#[must_use]
pub fn dequantize(q: i32, scale: f32, zero_point: i32) -> f32 {
    nearest_f32(i64::from(q).saturating_sub(i64::from(zero_point))) * scale
}

/// A function that a table computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// `1 / (1 + exp(-x))`: TFLite's LOGISTIC.
    Sigmoid,
    /// Hyperbolic tangent: TFLite's TANH.
    Tanh,
}

/// Input multiplier and right shift of the half tables (TABLE kinds `int16_sigmoid` and `int16_tanh`). Oracle: tflite-micro's int16
/// LOGISTIC and TANH.
///
/// A scale within 0.001 octaves of 2^-12, for `Tanh` also of 2^-11, takes an exact multiplier 3 or 6. Others take
/// `scale * 3 * 4096`, doubled until above 16383.5 and then truncated; the shift counts the doublings, at most 31.
///
/// # Errors
/// [`QuantizeError`] if the scale is not a positive finite number.
pub fn half_table_scale(scale: f32, curve: Curve) -> Result<(u32, u32), QuantizeError> {
    let octaves = libm::log2(f64::from(positive(scale)?));
    let near = |power: f64| libm::fabs(octaves - power) < 1e-3;
    Ok(match curve {
        _ if near(-12.0) => (3, 0),
        Curve::Tanh if near(-11.0) => (6, 0),
        _ => general_half_table_scale(f64::from(scale) * (4096.0 * 3.0)),
    })
}

fn general_half_table_scale(mut real: f64) -> (u32, u32) {
    let mut shift = 0_u32;
    while real <= 32767.0 / 2.0 && shift <= 30 {
        real *= 2.0;
        shift = shift.saturating_add(1);
    }
    let multiplier = u32::try_from(saturated_i64_from_f64(real.trunc())).unwrap_or(u32::MAX);
    (multiplier.min(crate::table::MAX_INPUT_MULTIPLIER), shift)
}

/// Entries of an `int8_256` table of LOGISTIC or TANH. Oracle: tflite-micro's int8 kernels.
///
/// Output scale and zero point are the operator's own: 1/256 and -128, or 1/128 and 0.
///
/// # Errors
/// [`QuantizeError`] if the scale is not a positive finite number.
pub fn curve_table(curve: Curve, scale: f32, zero_point: i32) -> Result<[i8; 256], QuantizeError> {
    let (multiplier, shift) = significand_and_shift(f64::from(positive(scale)?) * exact_f64(1 << 27))?;
    let radius = saturated_i64_from_f64(libm::ldexp(15.0, 27_i32.saturating_sub(shift)).floor());
    let to_q27 = in_range(multiplier, shift);
    let mut table = [0; 256];
    for (entry, x) in table.iter_mut().zip(-128_i64..) {
        let difference = x.saturating_sub(i64::from(zero_point));
        *entry = match difference {
            d if d <= radius.saturating_neg() => i8::MIN,
            d if d >= radius => i8::MAX,
            d => curve_entry(curve, to_q27.times(d)),
        };
    }
    Ok(table)
}

/// One entry, from Q4.27.
fn curve_entry(curve: Curve, value: i32) -> i8 {
    let (real, exponent, zero_point) = match curve {
        Curve::Sigmoid => (q31::logistic(value), 23, -128),
        Curve::Tanh => (q31::tanh(value), 24, 0),
    };
    let scaled = i64::from(rounding_divide_by_power_of_two(real, exponent));
    i8::try_from(crate::finish(scaled, zero_point, -128, 127)).unwrap_or(i8::MAX)
}

/// Entries of TFLite's half table that are one above the rounded function.
const HALF_TABLE_ABOVE: [usize; 44] = [
    4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46, 49,
    50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255,
];

/// Content of the half table: `65536 / (1 + exp(-i / 24))`, rounded, and one more at 44 entries where TFLite's table has it.
///
/// ```
/// let table = cnnip_numerics::quantize::half_table();
/// assert_eq!((table[0], table[4], table[255]), (32768, 35493, 65535));
/// ```
#[must_use]
pub fn half_table() -> [u16; 256] {
    let mut table = [0; 256];
    for (entry, i) in table.iter_mut().zip(0_u32..) {
        *entry = half_table_entry(f64::from(i));
    }
    for i in HALF_TABLE_ABOVE {
        table[i] = u16::saturating_add(table[i], 1);
    }
    table
}

fn half_table_entry(i: f64) -> u16 {
    let real = 65536.0 / (1.0 + libm::exp(-i / 24.0));
    u16::try_from(saturated_i64_from_f64(real.round())).unwrap_or(u16::MAX)
}

/// The binary32 number nearest to a binary64 one, ties to even.
#[must_use]
pub fn to_f32(value: f64) -> f32 {
    narrow_f32(value)
}

#[cfg(test)]
mod tests;
