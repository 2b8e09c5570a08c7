//! Contents and parameters of the logistic and tanh tables.

use super::multiplier::in_range;
use super::{QuantizeError, positive, significand_and_shift};
use crate::cast::{exact_f64, saturated_i64_from_f64};
use crate::fixed::rounding_divide_by_power_of_two;
use crate::q31;

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
