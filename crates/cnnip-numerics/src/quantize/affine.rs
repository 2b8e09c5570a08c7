//! Real numbers to integers and back.

use crate::cast::{nearest_f32, saturated_i64};

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
