//! Softmax of int16 rows. Oracle: tflite-micro's int16 SOFTMAX, bit for bit.
//!
//! Arithmetic, per row, with `d = x - max(row)` and the tables of [`cnnip_numerics::table::lookup_513`]:
//!
//! 1. `e = exp(scaled(d))` in Q0.15 by a table over -10 to 0, where `scaled(d)` is `beta * scale * d` in steps of 10/65535, held to
//!    the table;
//! 2. `sum` = the sum of `e`, normalised to [1, 2) with 16 fraction bits, halves up;
//! 3. `r` = the reciprocal of that by a table of `1 / (1 + x)` over 0 to 1;
//! 4. output `e * r`, shifted back, halves up, clamped to 0 ..= 32767: scale 1/32768, zero point 0.

use cnnip_numerics::quantize::{QuantizedMultiplier, quantize_multiplier, sampled_table};
use cnnip_numerics::table::lookup_513;

use super::check_rows;
use crate::HostError;

/// Steps of the exponential's table: -10 to 0 over the range of 16 bits.
const STEP: f64 = 10.0 / 65535.0;

/// Parameters of an int16 softmax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WideSoftmax {
    /// `beta * scale` in steps of the table.
    pub scale: QuantizedMultiplier,
}

impl WideSoftmax {
    /// Longest row whose sum of exponentials surely fits 31 bits.
    pub const MAX_DEPTH: usize = 65_535;

    /// Derives the parameters from the model's `beta` and the input's scale.
    ///
    /// # Errors
    /// [`HostError::SoftmaxScale`] if their product is not a positive finite number.
    pub fn new(beta: f32, scale: f32) -> Result<Self, HostError> {
        let real = f64::from(scale) * f64::from(beta) / STEP;
        let error = HostError::SoftmaxScale { beta, scale };
        if real.is_nan() || real <= 0.0 {
            return Err(error);
        }
        quantize_multiplier(real).map(|scale| Self { scale }).map_err(|_| error)
    }
}

/// The two tables.
struct Tables {
    exponential: [i16; 513],
    reciprocal: [i16; 513],
}

impl Tables {
    fn new() -> Self {
        Self {
            exponential: sampled_table(-10.0, 0.0, libm::expf),
            reciprocal: sampled_table(0.0, 1.0, |x| 1.0 / (1.0 + x)),
        }
    }

    /// `exp` of a difference in steps of its table, Q0.15.
    fn exponential(&self, steps: i32) -> i16 {
        lookup_513(&self.exponential, saturated(steps.saturating_add(32_767)))
    }

    fn row(&self, input: &[i16], parameters: &WideSoftmax, output: &mut [i16]) {
        let largest = input.iter().copied().max().map_or(0, i64::from);
        for (e, &x) in output.iter_mut().zip(input) {
            *e = self.exponential(parameters.scale.times(i64::from(x) - largest));
        }
        let sum = output.iter().fold(0_u32, |sum, &e| sum + u32::from(e.unsigned_abs())); // below 2^31: at most MAX_DEPTH summands
        let headroom = sum.leading_zeros(); // at least 1
        let normalised = ((i64::from(sum) << (headroom - 1)) + (1 << 13)) >> 14;
        let fraction = i32::try_from(normalised - (1 << 15) - (1 << 16)).unwrap_or(i32::MAX);
        let reciprocal = i64::from(lookup_513(&self.reciprocal, saturated(fraction)));
        let right = 31 - headroom;
        for e in output {
            let product = i64::from(*e) * reciprocal + ((1_i64 << right) >> 1);
            *e = i16::try_from((product >> right).clamp(0, 32_767)).unwrap_or(i16::MAX);
        }
    }
}

fn saturated(value: i32) -> i16 {
    i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX })
}

/// Softmax over rows of `depth` elements: `input` and `output` are `[rows][depth]`.
///
/// ```
/// use cnnip_hostops::{WideSoftmax, softmax_int16};
/// let mut output = [0; 3];
/// softmax_int16(&[100, 100, -32768], 3, &WideSoftmax::new(1.0, 0.01)?, &mut output)?;
/// assert_eq!(output, [16384, 16384, 1]); // 0.5, 0.5, exp(-10) at least
/// # Ok::<(), cnnip_hostops::HostError>(())
/// ```
///
/// # Errors
/// [`HostError::Length`], [`HostError::Rows`] (also for a depth of 0), [`HostError::Depth`].
pub fn softmax_int16(
    input: &[i16],
    depth: usize,
    parameters: &WideSoftmax,
    output: &mut [i16],
) -> Result<(), HostError> {
    check_rows((input.len(), output.len()), depth, WideSoftmax::MAX_DEPTH)?;
    let tables = Tables::new();
    for (row, out) in input.chunks_exact(depth).zip(output.chunks_exact_mut(depth)) {
        tables.row(row, parameters, out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The line through two entries of a table, halves up.
    fn on_line(table: &[i16; 513], x: i128) -> i128 {
        let place = x.clamp(-32_768, 32_767) + 32_768;
        let entry = |i: i128| i128::from(table[usize::try_from(i).unwrap()]);
        let (i, f) = (place / 128, place % 128);
        entry(i) + ((entry(i + 1) - entry(i)) * f + 64).div_euclid(128)
    }

    fn halves_away(value: i128, bits: u32) -> i128 {
        value.signum() * ((2 * value.abs() + (1 << bits)) / (2 << bits))
    }

    /// Integers without bounds, and a division where the code counts zeros.
    fn slow_softmax(row: &[i16], WideSoftmax { scale }: WideSoftmax) -> Vec<i128> {
        let exponential = sampled_table(-10.0, 0.0, libm::expf);
        let reciprocal = sampled_table(0.0, 1.0, |x| 1.0 / (1.0 + x));
        let largest = i128::from(*row.iter().max().unwrap());
        let e = row.iter().map(|&x| {
            let difference = (i128::from(x) - largest) << scale.shift.max(0);
            let high = (difference * i128::from(scale.multiplier) + (1 << 30)).div_euclid(1 << 31);
            on_line(&exponential, halves_away(high, scale.shift.min(0).unsigned_abs()) + 32_767)
        });
        let e: Vec<i128> = e.collect();
        let sum: i128 = e.iter().sum();
        let unit = 1_i128 << sum.ilog2();
        // The sum in [1, 2), with 16 fraction bits.
        let normalised = (((sum << 30) / unit) + (1 << 13)) >> 14;
        let inverse = on_line(&reciprocal, normalised - 65_536 - 32_768);
        e.into_iter().map(|e| ((2 * e * inverse + unit) / (2 * unit)).clamp(0, 32_767)).collect()
    }

    proptest! {
        #[test]
        fn softmax_equals_its_slow_twin(row: Vec<i16>, scale in 1e-6_f32..1e-2, beta in 0.1_f32..4.0) {
            prop_assume!(!row.is_empty());
            let parameters = WideSoftmax::new(beta, scale).unwrap();
            let mut output = vec![0; row.len()];
            softmax_int16(&row, row.len(), &parameters, &mut output).unwrap();
            prop_assert_eq!(output.into_iter().map(i128::from).collect::<Vec<_>>(), slow_softmax(&row, parameters));
        }
    }

    /// What tflite-micro gives.
    #[test]
    fn a_row_is_the_oracles() {
        let row = [100, -200, 3000, 32767, -32768, 31000, 32000, 29999];
        let mut output = [0; 8];
        softmax_int16(&row, 8, &WideSoftmax::new(0.75, 0.001).unwrap(), &mut output).unwrap();
        assert_eq!(output, [1, 1, 1, 16769, 1, 4457, 9434, 2103]);
    }

    #[test]
    fn bad_parameters_are_errors() {
        assert!(matches!(WideSoftmax::new(0.0, 1.0), Err(HostError::SoftmaxScale { .. })));
        let parameters = WideSoftmax::new(1.0, 1.0).unwrap();
        assert_eq!(softmax_int16(&[1, 2], 0, &parameters, &mut [0; 2]), Err(HostError::Rows { elements: 2, depth: 0 }));
    }
}
