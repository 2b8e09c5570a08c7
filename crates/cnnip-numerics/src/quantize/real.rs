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

/// The logistic function, computed in binary64 and rounded once.
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    crate::cast::narrowed(1.0 / (1.0 + libm::exp(-f64::from(x))))
}

#[cfg(test)]
mod tests {
    use super::{Ties, real_table, sigmoid};

    #[test]
    fn both_ends_saturate_and_halves_go_to_even() {
        let table = real_table(|x| 2.0 * x, (1.0, -128), (1.0, -128), Ties::Even);
        assert_eq!((table[0], table[1], table[255]), (-128, -126, 127));
        let table = real_table(|x| x, (0.5, 0), (1.0, 0), Ties::Even);
        assert_eq!((table[128 + 1], table[128 + 3], table[128 - 1]), (0, 2, 0));
    }

    #[test]
    fn the_logistic_function_is_one_half_at_zero_and_saturates() {
        assert_eq!((sigmoid(0.0), sigmoid(200.0), sigmoid(-200.0)), (0.5, 1.0, 0.0));
    }
}
