//! Scales step by step. Written out here once more on purpose: it is what a person would do on paper.

use cnnip_isa::operation::Activation;
use cnnip_isa::{EltwiseFunction, RoundingMode};

/// Mode, multiplier, shift.
pub(super) type Stage = (RoundingMode, u32, i32);

/// The function of two scaled elements; `None` for one that is not integer.
pub(super) const fn combine(function: EltwiseFunction, a: i64, b: i64) -> Option<i64> {
    Some(match function {
        EltwiseFunction::Add => a.saturating_add(b),
        EltwiseFunction::Sub => a.saturating_sub(b),
        EltwiseFunction::Mul => a.saturating_mul(b),
        EltwiseFunction::Min => {
            if a < b {
                a
            } else {
                b
            }
        }
        EltwiseFunction::Max => {
            if a > b {
                a
            } else {
                b
            }
        }
        EltwiseFunction::Pass => a,
        EltwiseFunction::Affine => return None,
    })
}

/// Scales, adds the zero point, clamps.
pub(super) fn finish(steps: &mut Vec<String>, sum: i64, stage: Stage, activation: &Activation) -> Option<i64> {
    let Activation { zero, min, max, .. } = *activation;
    if stage.0 == RoundingMode::FloatZero {
        let product = single(sum) * f32::from_bits(stage.1) + single(zero.into());
        let value = nearest(product);
        steps.push(format!(
            "in binary32 * {:e} + zero point {zero} = {product}, nearest even {value}",
            f32::from_bits(stage.1)
        ));
        return Some(clamp(steps, value, min, max));
    }
    let value = scaled(steps, sum, stage)?;
    steps.push(format!("+ zero point {zero} = {}", value + i64::from(zero)));
    Some(clamp(steps, value + i64::from(zero), min, max))
}

fn clamp(steps: &mut Vec<String>, value: i64, min: i32, max: i32) -> i64 {
    let clamped = value.clamp(min.into(), max.into());
    steps.push(format!("clamped to {min}..={max} = {clamped}"));
    clamped
}

/// A value times a scale, with every rounding.
pub(super) fn scaled(steps: &mut Vec<String>, value: i64, (mode, multiplier, shift): Stage) -> Option<i64> {
    let integer = i64::from(multiplier.cast_signed());
    Some(match mode {
        RoundingMode::None => value,
        RoundingMode::Double => {
            let left = value << shift.max(0);
            let product = left * integer;
            let high = (product + (1 << 30)) >> 31;
            let right = shift.min(0).unsigned_abs();
            let result = away(high, right);
            steps.push(format!("double: {value} << {} = {left}; * {integer} = {product}", shift.max(0)));
            steps.push(format!("  / 2^31, halves up = {high}; / 2^{right}, halves away from zero = {result}"));
            result
        }
        RoundingMode::Single => {
            let right = u32::try_from(31 - shift).unwrap_or(0);
            up(steps, "single", value, integer, right)
        }
        RoundingMode::Reduced => {
            let reduced = if integer < 0x7fff_0000 { (integer + (1 << 15)) >> 16 } else { 0x7fff };
            let right = u32::try_from(15 - shift).unwrap_or(0);
            steps.push(format!("multiplier {integer} reduced to 16 bits = {reduced}"));
            up(steps, "reduced", value, reduced, right)
        }
        RoundingMode::Float | RoundingMode::FloatZero => {
            let scale = f32::from_bits(multiplier);
            let product = single(value) * scale;
            let result = nearest(product);
            steps.push(format!("float: {value} * {scale:e} = {product} in binary32; nearest, ties to even = {result}"));
            result
        }
    })
}

/// One product, one rounding shift, halves up.
fn up(steps: &mut Vec<String>, mode: &str, value: i64, multiplier: i64, right: u32) -> i64 {
    let product = i128::from(value) * i128::from(multiplier);
    let half = if right == 0 { 0 } else { 1_i128 << (right - 1) };
    let result = (product + half) >> right;
    steps.push(format!("{mode}: {value} * {multiplier} = {product}; / 2^{right}, halves up = {result}"));
    i64::try_from(result).unwrap_or(i64::MAX)
}

/// Divides by a power of two, halves away from zero.
fn away(value: i64, exponent: u32) -> i64 {
    let half = (1_i64 << exponent) >> 1;
    if value < 0 { -((half - value) >> exponent) } else { (value + half) >> exponent }
}

#[expect(clippy::cast_precision_loss, reason = "to the nearest, as the machine does")]
fn single(value: i64) -> f32 {
    value as f32
}

fn nearest(value: f32) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, as the machine does")]
    let integer = value.round_ties_even() as i64;
    integer
}
