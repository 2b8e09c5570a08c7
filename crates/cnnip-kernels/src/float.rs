//! Kernels of networks in binary32, chosen at run time.
//!
//! Unlike the integer kernels these are not exact: sums run in another order on every backend, with or without fused
//! multiply-add. What is exact on all of them is [`Finish`]: clamp, and rounding to the grid of a quantized tensor.
//!
//! | module | operations |
//! |---|---|
//! | `product` | matrix products with packed weights |
//! | `depthwise` | depthwise convolution |
//! | `lines` | element by element |
//! | `codes` | numbers on a grid of 8 bits as bytes, and back |
//! | `statistics` | smallest and largest value, bins of a histogram |

mod codes;
mod depthwise;
mod lanes;
mod lines;
mod product;
mod simd;
mod statistics;
#[cfg(test)]
mod tests;

pub use codes::Grid8;
pub use depthwise::{DepthwiseWeights, MapF32};
pub use lines::Binary;
pub use product::{Epilogue, PackedWeights, Residual, Rows, row_stride};
pub use statistics::Extremes;

use crate::Declined;
use simd::Simd;

/// Elements that are handled together.
pub(crate) const BLOCK: usize = 16;

/// Sixteen elements in memory.
pub(crate) type Lanes = [f32; BLOCK];

/// What happens to a result before it is stored: a clamp, then rounding to the grid of a quantized tensor.
///
/// ```
/// use cnnip_kernels::float::Finish;
/// let finish = Finish::NONE.clamped(0.0, 6.0).rounded(0.5, 0, (-128, 127)).unwrap();
/// let mut values = [0.74, -1.0, 7.0];
/// cnnip_kernels::Kernels::default().finish_f32(&mut values, &finish);
/// assert_eq!(values, [0.5, 0.0, 6.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finish {
    /// Least value.
    low: f32,
    /// Greatest value.
    high: f32,
    grid: Option<Step>,
}

/// The grid of a tensor: whole multiples of a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) scale: f32,
    /// `1 / scale`, to the nearest.
    pub(crate) inverse: f32,
    /// Least and greatest multiple.
    pub(crate) least: f32,
    pub(crate) greatest: f32,
}

/// Largest multiple of a grid: what can be rounded by adding and subtracting 1.5 * 2^23.
const LARGEST_MULTIPLE: i32 = 1 << 21;

impl Finish {
    /// The result as it is.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY, grid: None };

    /// Also clamps to `low..=high`, before any grid.
    #[must_use]
    pub const fn clamped(self, low: f32, high: f32) -> Self {
        Self { low: self.low.max(low).min(high), high: self.high.min(high).max(low), grid: self.grid }
    }

    /// Also rounds to the nearest `scale * (q - zero_point)` for `q` in `range`, ties to even `q - zero_point`.
    ///
    /// As `QuantizeLinear` and `DequantizeLinear` of ONNX: divided in binary32, rounded, clamped, multiplied in binary32. NaN
    /// becomes the least number of the grid.
    ///
    /// # Errors
    /// [`Declined::Shape`] for a scale that is not positive and normal, or whose inverse is not; [`Declined::Range`] for a
    /// zero point far outside 16 bits.
    pub fn rounded(self, scale: f32, zero_point: i32, range: (i32, i32)) -> Result<Self, Declined> {
        let inverse = scale.recip();
        if !(scale.is_normal() && inverse.is_normal() && scale > 0.0) {
            return Err(Declined::Shape { what: "scale" });
        }
        let multiple = |q: i32| q.checked_sub(zero_point).filter(|multiple| multiple.abs() <= LARGEST_MULTIPLE);
        match (multiple(range.0), multiple(range.1)) {
            (Some(least), Some(greatest)) => {
                let step = Step { scale, inverse, least: whole(least), greatest: whole(greatest) };
                Ok(Self { grid: Some(step), ..self })
            }
            _ => Err(Declined::Range { what: "zero point", value: zero_point }),
        }
    }

    /// The step of the grid, and the least and greatest multiple of it that come out, clamp included; `None` without a grid.
    ///
    /// ```
    /// use cnnip_kernels::float::Finish;
    /// let finish = Finish::NONE.clamped(0.0, 6.0).rounded(0.5, -128, (-128, 127)).unwrap();
    /// assert_eq!(finish.steps(), Some((0.5, 0, 12)));
    /// assert_eq!(Finish::NONE.steps(), None);
    /// ```
    #[must_use]
    pub fn steps(&self) -> Option<(f32, i32, i32)> {
        let Step { scale, least, greatest, .. } = self.grid?;
        #[expect(clippy::cast_possible_truncation, reason = "multiples are within 2^21")]
        let multiple = |bound: f32| (bound / scale).max(least).min(greatest).round_ties_even() as i32;
        Some((scale, multiple(self.low), multiple(self.high)))
    }

    /// The clamp and grid one after the other, where that is one [`Finish`]: unless `self` has a grid and `after` does
    /// something.
    #[must_use]
    pub fn then(&self, after: &Self) -> Option<Self> {
        match (self.grid, *after) {
            (_, Self::NONE) => Some(*self),
            (None, after) => Some(Self { grid: after.grid, ..self.clamped(after.low, after.high) }),
            (Some(_), _) => None,
        }
    }
}

/// Small integers as floats.
fn whole(multiple: i32) -> f32 {
    let (high, low) = (multiple.div_euclid(1 << 12), multiple.rem_euclid(1 << 12));
    let small = |part: i32| f32::from(i16::try_from(part).unwrap_or(0)); // both parts have at most 12 bits
    small(high) * 4096.0 + small(low)
}

/// [`Finish`] in registers.
#[derive(Clone, Copy)]
pub(crate) struct Finisher<S: Simd> {
    low: S::Vector,
    high: S::Vector,
    grid: Option<StepVectors<S>>,
}

#[derive(Clone, Copy)]
struct StepVectors<S: Simd> {
    scale: S::Vector,
    inverse: S::Vector,
    least: S::Vector,
    greatest: S::Vector,
}

impl<S: Simd> Finisher<S> {
    #[inline(always)]
    pub(crate) fn new(s: S, finish: &Finish) -> Self {
        let grid = match &finish.grid {
            Some(step) => Some(StepVectors {
                scale: s.splat(step.scale),
                inverse: s.splat(step.inverse),
                least: s.splat(step.least),
                greatest: s.splat(step.greatest),
            }),
            None => None,
        };
        Self { low: s.splat(finish.low), high: s.splat(finish.high), grid }
    }

    #[inline(always)]
    pub(crate) fn apply(&self, s: S, value: S::Vector) -> S::Vector {
        let clamped = s.min(s.max(value, self.low), self.high);
        match &self.grid {
            None => clamped,
            Some(step) => {
                let quotient = s.divide(clamped, step.scale, step.inverse);
                let multiple = s.round(s.min(s.max(quotient, step.least), step.greatest));
                s.mul(multiple, step.scale)
            }
        }
    }
}
