//! Why a kernel refused.

use cnnip_numerics::{IllegalParameter, RoundingMode};

/// A kernel does not do this case; nothing was written. Not an error of the program under test: the caller's slow path
/// decides what the operation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Declined {
    /// A slice does not reach over the map, weights, records or accumulators it should hold.
    #[error("the slice for the {what} has {have} bytes, {need} are needed")]
    Extent {
        /// Which operand.
        what: &'static str,
        /// Its length.
        have: usize,
        /// The length it should have.
        need: usize,
    },
    /// A size, stride or count that does not make sense or is beyond what kernels are made for.
    #[error("unsupported {what}")]
    Shape {
        /// Which parameter.
        what: &'static str,
    },
    /// A zero point, pad value or clamp outside the 8-bit types.
    #[error("{what} = {value} is outside its 8-bit type")]
    Range {
        /// Which parameter.
        what: &'static str,
        /// Its value.
        value: i32,
    },
    /// Asymmetric weights.
    #[error("weights with zero point {zero}")]
    WeightZero {
        /// The zero point.
        zero: i32,
    },
    /// A rounding mode without a kernel.
    #[error("rounding mode {0:?}")]
    Mode(RoundingMode),
    /// A scale that is illegal in its mode.
    #[error(transparent)]
    Scale(#[from] IllegalParameter),
    /// It is not provable that accumulators, or values between stages, stay inside 32 bits.
    #[error("accumulators could reach {bound}")]
    AccumulatorBound {
        /// The bound on their magnitude.
        bound: u64,
    },
}
