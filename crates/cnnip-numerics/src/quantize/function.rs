//! Tables of functions that no integer kernel of an oracle has.

use super::{QuantizeError, positive};
use crate::cast::{exact_f64, saturated_i64_from_f64};

/// Entries of an `int8_256` table of any function: de-quantize, apply the function, quantize.
///
/// All steps are binary64, each rounded; results are rounded halves away from zero, then the zero point is added and they
/// are held to int8. A result that is no number counts as 0. Quantizations are scale and zero point. `function` must not depend on
/// the platform: take transcendental functions from the pinned `libm`.
///
/// ```
/// # use cnnip_numerics::quantize::function_table;
/// let squares = function_table((0.5, 0), (1.0, -128), |x| x * x)?;
/// assert_eq!((squares[128], squares[128 + 5], squares[0]), (-128, -122, 127)); // 0, 6.25, 4096
/// # Ok::<(), cnnip_numerics::quantize::QuantizeError>(())
/// ```
///
/// # Errors
/// [`QuantizeError`] if a scale is not a positive finite number.
pub fn function_table(
    input: (f32, i32),
    output: (f32, i32),
    function: impl Fn(f64) -> f64,
) -> Result<[i8; 256], QuantizeError> {
    let (from, to) = (f64::from(positive(input.0)?), f64::from(positive(output.0)?));
    let mut table = [0; 256];
    for (entry, x) in table.iter_mut().zip(-128_i64..) {
        let real = exact_f64(x.saturating_sub(input.1.into())) * from;
        let steps = nearest(function(real) / to);
        *entry = i8::try_from(crate::finish(steps, output.1, -128, 127)).unwrap_or(i8::MAX);
    }
    Ok(table)
}

/// Entries of an `int16_513` table of any function between symmetric quantizations.
///
/// As [`function_table`]; and as in TFLite's tables an entry is the function's value less half the error that the line to the next
/// entry has half way, so that the error is spread to both sides. The last entry is the value itself.
///
/// ```
/// # use cnnip_numerics::quantize::function_words;
/// let line = function_words(0.25, 0.5, |x| x)?;
/// assert_eq!((line[0], line[256], line[512]), (-16384, 0, 16384));
/// # Ok::<(), cnnip_numerics::quantize::QuantizeError>(())
/// ```
///
/// # Errors
/// [`QuantizeError`] if a scale is not a positive finite number.
pub fn function_words(input: f32, output: f32, function: impl Fn(f64) -> f64) -> Result<[i16; 513], QuantizeError> {
    let (from, to) = (f64::from(positive(input)?), f64::from(positive(output)?));
    let value = |x: i64| {
        let steps = function(exact_f64(x) * from) / to;
        if steps.is_nan() { 0.0 } else { steps.clamp(-32768.0, 32767.0) }
    };
    let mut table = [0; 513];
    for (entry, x) in table.iter_mut().zip((-32768_i64..=32768).step_by(128)) {
        let error =
            if x < 32768 { (value(x) + value(x.saturating_add(128))) / 2.0 - value(x.saturating_add(64)) } else { 0.0 };
        let steps = nearest(value(x) - error / 2.0);
        *entry = i16::try_from(crate::finish(steps, 0, -32768, 32767)).unwrap_or(i16::MAX);
    }
    Ok(table)
}

/// The nearest integer, halves away from zero; 0 for what is no number.
fn nearest(value: f64) -> i64 {
    saturated_i64_from_f64(libm::round(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_counts_as_zero_and_large_values_saturate() {
        let table = function_table((1.0, 0), (1.0, 3), |x| if x < 0.0 { f64::NAN } else { 1.0 / x }).unwrap();
        assert_eq!((table[0], table[128], table[129], table[130], table[131]), (3, 127, 4, 4, 3));
        assert!(function_table((0.0, 0), (1.0, 0), |x| x).is_err());
        assert!(function_words(1.0, f32::NAN, |x| x).is_err());
    }

    #[test]
    fn wide_tables_are_near_the_function_between_their_entries() {
        let (from, to) = (8.0 / 32768.0, 1.0 / 32768.0);
        let table = function_words(from, to, libm::tanh).unwrap();
        for x in (-32768_i16..=32767).step_by(37) {
            let exact = libm::tanh(f64::from(x) * f64::from(from)) * 32768.0;
            let found = crate::table::lookup_513(&table, x);
            assert!((f64::from(found) - exact).abs() < 4.0, "{x}: {found} for {exact}");
        }
    }
}
