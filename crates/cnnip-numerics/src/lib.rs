//! The device's arithmetic as pure scalar functions: values in, value or error out.
//!
//! This crate is `isa-spec/numerics.md` in code. It knows no commands, registers, shapes or memory. Every function is total:
//! whatever passed a constructor's check ([`Scale::new`], [`Eltwise::new`], …) never panics afterwards, and overflow is
//! either impossible, stated to wrap, or returned as [`AccumulatorOverflow`].
//!
//! | module | what |
//! |---|---|
//! | [`fixed`] | the two roundings everything else is made of |
//! | [`scale`] | rounding modes, scales and their legal parameters, per-channel records |
//! | [`accumulator`] | range checks of accumulators |
//! | [`eltwise`] | the stages of element-wise operations |
//! | [`average`] | rounded division |
//! | [`table`] | lookup tables and their interpolation |
//! | [`resize`] | positions and weights of resizing |
//! | [`q31`] | fixed-point exponential and reciprocal, for table contents and host steps |
//! | [`quantize`] | *compiler side*: real numbers to multipliers, shifts, ranges and steps |
//!
//! A whole requantization, from accumulator to output element:
//!
//! ```
//! use cnnip_numerics::{RoundingMode, Scale, requantize};
//!
//! let scale = Scale::new(RoundingMode::Double, 1 << 30, -3)?; // 2^-4
//! assert_eq!(requantize(1000, &scale, -5, -128, 127)?, 58); // 62.5 -> 63, minus 5
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::as_conversions, clippy::arithmetic_side_effects))]

pub mod accumulator;
pub mod average;
mod cast;
pub mod eltwise;
pub mod fixed;
pub mod q31;
pub mod quantize;
pub mod resize;
pub mod scale;
pub mod table;

pub use accumulator::{AccumulatorOverflow, AccumulatorWidth};
pub use eltwise::Eltwise;
pub use scale::{ChannelRecord, IllegalParameter, RoundingMode, Scale};

/// Adds the zero point to a scaled value and clamps: `min(max(value + zero_point, min), max)`.
///
/// The sum is exact. With `min > max`, which the machine rejects as an illegal parameter, the result is `max`.
///
/// ```
/// assert_eq!(cnnip_numerics::finish(200, -10, -128, 127), 127);
/// ```
#[must_use]
pub fn finish(value: i64, zero_point: i32, min: i32, max: i32) -> i32 {
    let sum = value.saturating_add(i64::from(zero_point));
    let low = sum.max(i64::from(min)).min(i64::from(max));
    i32::try_from(low).unwrap_or(max)
}

/// Checks an accumulator, scales it, adds the zero point and clamps: what a convolution does per output element.
///
/// # Errors
/// [`AccumulatorOverflow`] if `acc` is outside the range of the scale's mode ([`Scale::accumulator`]).
pub fn requantize(acc: i64, scale: &Scale, zero_point: i32, min: i32, max: i32) -> Result<i32, AccumulatorOverflow> {
    let acc = scale.accumulator().check(acc)?;
    Ok(scale.finish(acc, zero_point, min, max))
}
