//! Softmax of int8 rows. Oracle: tflite-micro's and LiteRT's int8 SOFTMAX, bit for bit.
//!
//! Arithmetic, per row, with `d = x - max(row)` (never above 0) and Qm.n as in [`cnnip_numerics::q31`]:
//!
//! 1. `e = exp(scaled(d))` in Q0.31, where `scaled(d)` is `beta * scale * d` in Q5.26, one rounding doubling high multiply;
//!    elements with `d` below a limit count as 0;
//! 2. `sum` = the sum of `e`, each first rounded to Q12.19;
//! 3. `r` = the reciprocal of `sum`, normalised to [1, 2), by three Newton steps in Q0.31;
//! 4. output `round(r * e) - 128`, clamped: scale 1/256, zero point -128.
//!
//! The oracle stops the process where the sum reaches 512 (such rows spread so evenly that all outputs are -128 or so); here the
//! same formula goes on, exact up to rows of [`Softmax::MAX_DEPTH`] elements.

mod wide;

pub use wide::{WideSoftmax, softmax_int16};

use crate::HostError;
use cnnip_numerics::fixed::{
    rounding_divide_by_power_of_two as divide, saturating_rounding_doubling_high_mul as multiply, shift_right_away,
};
use cnnip_numerics::q31;
use cnnip_numerics::quantize::significand_and_shift;

/// Integer bits of the exponent's fixed-point format.
const DIFFERENCE_BITS: i32 = 5;
/// Integer bits of the sum.
const SUM_BITS: u32 = 12;

/// Parameters of an int8 softmax.
///
/// ```
/// use cnnip_hostops::Softmax;
/// let softmax = Softmax::new(1.0, 0.0625)?;
/// assert_eq!((softmax.multiplier, softmax.shift, softmax.smallest_difference), (1 << 30, 23, -248));
/// # Ok::<(), cnnip_hostops::HostError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// Significand of `beta * scale * 2^26`.
    pub multiplier: i32,
    /// Its left shift, 0 to 31.
    pub shift: u32,
    /// Differences below this count as minus infinity.
    pub smallest_difference: i32,
}

impl Softmax {
    /// Longest row whose sum of exponentials surely fits 32 bits.
    pub const MAX_DEPTH: usize = 8191;

    /// Derives the parameters from the model's `beta` and the input's scale.
    ///
    /// The real factor is `beta * scale * 2^26` in binary64, at most `2^31 - 1`.
    ///
    /// # Errors
    /// [`HostError::SoftmaxScale`] unless that factor is above 1, as the oracle demands.
    pub fn new(beta: f32, scale: f32) -> Result<Self, HostError> {
        let error = HostError::SoftmaxScale { beta, scale };
        let real = f64::from(beta) * f64::from(scale) * f64::from(1 << 26);
        if real.is_nan() || real <= 1.0 {
            return Err(error);
        }
        let real = real.min(f64::from(i32::MAX));
        let (multiplier, shift) = significand_and_shift(real).map_err(|_| error.clone())?;
        let shift = u32::try_from(shift).map_err(|_| error)?;
        Ok(Self { multiplier, shift, smallest_difference: -input_radius(shift) })
    }

    /// `exp` of a difference in Q0.31, or `None` for one that counts as minus infinity.
    fn exponential(&self, difference: i32) -> Option<i32> {
        (difference >= self.smallest_difference).then(|| {
            let scaled = multiply(difference.wrapping_shl(self.shift), self.multiplier); // fits: radius times 2^shift
            q31::exp_of_negative(scaled, 26)
        })
    }

    fn row(&self, input: &[i8], output: &mut [i8]) {
        let largest = input.iter().copied().max().map_or(0, i32::from);
        let exponentials = || input.iter().map(|&x| self.exponential(i32::from(x) - largest));
        let sum = exponentials().flatten().fold(0_u32, |sum, e| sum.wrapping_add(in_sum(e)));
        let inverse = Inverse::of(sum);
        for (out, e) in output.iter_mut().zip(exponentials()) {
            *out = e.map_or(i8::MIN, |e| inverse.times(e));
        }
    }
}

/// Largest difference whose scaled value fits the fixed-point format: `31 * 2^26 / 2^shift`, rounded down.
fn input_radius(shift: u32) -> i32 {
    let range = ((1_u64 << DIFFERENCE_BITS) - 1) << 26;
    i32::try_from(range >> shift).unwrap_or(i32::MAX)
}

/// A Q0.31 exponential as a Q12.19 summand; never negative.
fn in_sum(exponential: i32) -> u32 {
    divide(exponential, SUM_BITS).unsigned_abs()
}

/// The reciprocal of a sum: `mantissa / 2^31 * 2^-(exponent - 23)`.
struct Inverse {
    mantissa: i32,
    exponent: u32,
}

impl Inverse {
    fn of(sum: u32) -> Self {
        let headroom = sum.leading_zeros().min(SUM_BITS); // a row's largest element contributes 1, so the sum is at least 2^19
        let fraction = (sum << headroom) & (u32::MAX >> 1);
        let mantissa = q31::one_over_one_plus(fraction.cast_signed());
        Self { mantissa, exponent: SUM_BITS - headroom + 31 - i8::BITS }
    }

    fn times(&self, exponential: i32) -> i8 {
        let product = i64::from(multiply(self.mantissa, exponential));
        let output = shift_right_away(product, self.exponent) + i64::from(i8::MIN);
        i8::try_from(output).unwrap_or(i8::MAX) // never below -128
    }
}

/// Softmax over rows of `depth` elements: `input` and `output` are `[rows][depth]`.
///
/// ```
/// use cnnip_hostops::{Softmax, softmax_int8};
/// let mut output = [0; 3];
/// softmax_int8(&[10, 10, -100], 3, &Softmax::new(1.0, 0.1)?, &mut output)?;
/// assert_eq!(output, [0, 0, -128]); // 0.5, 0.5, 0
/// # Ok::<(), cnnip_hostops::HostError>(())
/// ```
///
/// # Errors
/// [`HostError::Length`], [`HostError::Rows`] (also for a depth of 0), [`HostError::Depth`].
pub fn softmax_int8(input: &[i8], depth: usize, parameters: &Softmax, output: &mut [i8]) -> Result<(), HostError> {
    check_rows((input.len(), output.len()), depth, Softmax::MAX_DEPTH)?;
    for (row, out) in input.chunks_exact(depth).zip(output.chunks_exact_mut(depth)) {
        parameters.row(row, out);
    }
    Ok(())
}

/// Checks that the input is whole rows of at most `max` elements, and the output as long.
fn check_rows((elements, output): (usize, usize), depth: usize, max: usize) -> Result<(), HostError> {
    if depth == 0 || !elements.is_multiple_of(depth) {
        return Err(HostError::Rows { elements, depth });
    }
    if depth > max {
        return Err(HostError::Depth { depth, max });
    }
    if elements != output {
        return Err(HostError::Length { input: elements, output });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
