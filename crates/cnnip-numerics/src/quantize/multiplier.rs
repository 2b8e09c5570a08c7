//! Real scales to multiplier and shift.

use super::{QuantizeError, positive};
use crate::cast::{exact_f64, low32, saturated_i64_from_f64};
use crate::fixed::{rounding_divide_by_power_of_two, saturating_rounding_doubling_high_mul};

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

/// Brings the shift into the machine's range.
pub(super) fn in_range(multiplier: i32, shift: i32) -> QuantizedMultiplier {
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

/// As [`product_scale`], but `input * weight` rounded to binary32. Oracle: LiteRT's kernels of uint8 products, which have one scale
/// for all channels.
///
/// ```
/// use cnnip_numerics::quantize::{narrow_product_scale, product_scale};
/// assert_ne!(narrow_product_scale(0.1, 0.1, 1.0), product_scale(0.1, 0.1, 1.0));
/// ```
#[must_use]
pub fn narrow_product_scale(input: f32, weight: f32, output: f32) -> f64 {
    f64::from(input * weight) / f64::from(output)
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
