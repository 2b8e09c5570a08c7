//! Tables of real functions of one 8-bit value.

use super::affine::{Ties, dequantize, quantize};

/// Scale and zero point of 8-bit integers, as the machine has them: within -128 to 127.
pub type Quantized = (f32, i32);

/// Entries of an `int8_256` table: every int8 de-quantized, the function, and quantized, all in binary32.
///
/// Oracle: ONNX Runtime's `QLinearLeakyRelu`, `QLinearSigmoid`, `QLinearConcat`, with ties to even; and by definition a
/// `DequantizeLinear`, the function and a `QuantizeLinear`.
///
/// ```
/// use cnnip_numerics::quantize::{Ties, real_table};
/// let halves = real_table(|x| x, (0.25, 0), (0.5, 1), Ties::Even);
/// assert_eq!((halves[128 + 2], halves[128 + 3]), (2, 3));
/// ```
#[must_use]
pub fn real_table(function: impl Fn(f32) -> f32, input: Quantized, output: Quantized, ties: Ties) -> [i8; 256] {
    let range = (i8::MIN.into(), i8::MAX.into());
    let mut table = [0; 256];
    for (entry, x) in table.iter_mut().zip(i8::MIN..=i8::MAX) {
        let real = function(dequantize(x.into(), input.0, input.1));
        *entry = i8::try_from(quantize(real, output.0, output.1, range, ties)).unwrap_or(0);
    }
    table
}

/// Entries of an `int8_256` table, as [`real_table`], but multiplied by one over the output's scale, and with ties away from zero.
/// What is no number becomes the smallest. Oracle: LiteRT's and tflite-micro's tables of EXP, LOG, ELU and GELU; LiteRT's of uint8 LOGISTIC and TANH.
///
/// ```
/// let halves = cnnip_numerics::quantize::scaled_table(|x| x, (0.25, 0), (0.5, 1));
/// assert_eq!((halves[128 + 2], halves[128 + 3]), (2, 3));
/// ```
#[must_use]
pub fn scaled_table(function: impl Fn(f32) -> f32, input: Quantized, output: Quantized) -> [i8; 256] {
    let inverse = 1.0 / output.0;
    let mut table = [0; 256];
    for (entry, x) in table.iter_mut().zip(i8::MIN..=i8::MAX) {
        let steps = (function(dequantize(x.into(), input.0, input.1)) * inverse).round();
        let steps = if steps.is_nan() { i64::MIN } else { crate::cast::saturated_i64(steps) };
        *entry = i8::try_from(crate::finish(steps, output.1, i8::MIN.into(), i8::MAX.into())).unwrap_or(0);
    }
    table
}

/// The exponential function, computed in binary64 and rounded once.
#[must_use]
pub fn exponential(x: f32) -> f32 {
    crate::cast::narrowed(libm::exp(x.into()))
}

/// The hyperbolic tangent, computed in binary64 and rounded once.
#[must_use]
pub fn hyperbolic_tangent(x: f32) -> f32 {
    crate::cast::narrowed(libm::tanh(x.into()))
}

/// The natural logarithm, computed in binary64 and rounded once.
#[must_use]
pub fn logarithm(x: f32) -> f32 {
    crate::cast::narrowed(libm::log(x.into()))
}

/// `x` from 0 on, `exp(x) - 1` below, computed in binary64 and rounded once.
#[must_use]
pub fn elu(x: f32) -> f32 {
    if x < 0.0 { crate::cast::narrowed(libm::expm1(x.into())) } else { x }
}

/// `x * (1 + erf(x / sqrt(2))) / 2`, or its approximation by tanh, computed in binary64 and rounded once.
#[must_use]
pub fn gelu(x: f32, approximate: bool) -> f32 {
    let x = f64::from(x);
    let twice_part = if approximate {
        let slope = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
        1.0 + libm::tanh(slope * (x + 0.044_715 * x * x * x))
    } else {
        libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
    };
    crate::cast::narrowed(0.5 * x * twice_part)
}

/// The logistic function, computed in binary64 and rounded once.
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    crate::cast::narrowed(1.0 / (1.0 + libm::exp(-f64::from(x))))
}

#[cfg(test)]
mod tests {
    use super::{Ties, elu, gelu, logarithm, real_table, scaled_table, sigmoid};

    #[test]
    fn both_ends_saturate_and_halves_go_to_even() {
        let table = real_table(|x| 2.0 * x, (1.0, -128), (1.0, -128), Ties::Even);
        assert_eq!((table[0], table[1], table[255]), (-128, -126, 127));
        let table = real_table(|x| x, (0.5, 0), (1.0, 0), Ties::Even);
        assert_eq!((table[128 + 1], table[128 + 3], table[128 - 1]), (0, 2, 0));
    }

    #[test]
    fn what_is_no_number_is_the_smallest() {
        let table = scaled_table(logarithm, (1.0, 0), (0.5, 3));
        assert_eq!((table[0], table[128], table[129], table[128 + 2]), (-128, -128, 3, 4));
    }

    #[test]
    fn smooth_steps_pass_through_zero_and_become_lines() {
        for function in [elu, |x| gelu(x, false), |x| gelu(x, true)] {
            assert_eq!((function(0.0), function(40.0)), (0.0, 40.0));
        }
        assert_eq!((elu(-40.0), gelu(-40.0, false)), (-1.0, 0.0));
    }

    #[test]
    fn the_logistic_function_is_one_half_at_zero_and_saturates() {
        assert_eq!((sigmoid(0.0), sigmoid(200.0), sigmoid(-200.0)), (0.5, 1.0, 0.0));
    }
}
