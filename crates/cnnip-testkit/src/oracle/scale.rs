//! Scales and the output stage, formula by formula from `numerics.md`.

use cnnip_isa::RoundingMode;
use cnnip_isa::operation::{Activation, OutputStage};

use super::{Memory, TooWide, low64};

/// Bits that a mode accepts.
fn bits(mode: RoundingMode) -> u32 {
    match mode {
        RoundingMode::None | RoundingMode::Reduced => 48,
        RoundingMode::Double | RoundingMode::Single | RoundingMode::Float | RoundingMode::FloatZero => 32,
    }
}

fn check(mode: RoundingMode, value: i128) -> Result<i128, TooWide> {
    let bits = bits(mode);
    let half = 1_i128 << (bits - 1);
    if (-half..half).contains(&value) { Ok(value) } else { Err(TooWide { value, bits }) }
}

/// The scaled value, if the value fits the mode.
pub(super) fn scaled(stage: &OutputStage, value: i128) -> Result<i128, TooWide> {
    let value = check(stage.mode, value)?;
    let (m, shift) = (i128::from(stage.multiplier.cast_signed()), i128::from(stage.shift));
    Ok(match stage.mode {
        RoundingMode::None => value,
        RoundingMode::Double => double(value, m, shift),
        RoundingMode::Single => halves_up(value * m, 31 - shift),
        RoundingMode::Reduced => {
            let r = if m < 0x7fff_0000 { (m + 0x8000) >> 16 } else { 0x7fff };
            wrap32(halves_up(value * r, 15 - shift))
        }
        RoundingMode::Float | RoundingMode::FloatZero => even(product(value, stage.multiplier)),
    })
}

/// The output stage: scale, zero point, clamp, table.
pub(super) fn finish(
    stage: &OutputStage,
    activation: &Activation,
    value: i128,
    memory: &Memory,
) -> Result<i128, TooWide> {
    let zero = i128::from(activation.zero);
    let shifted = if stage.mode == RoundingMode::FloatZero {
        even(product(check(stage.mode, value)?, stage.multiplier) + float(zero))
    } else {
        scaled(stage, value)? + zero
    };
    let clamped = clamp(activation, shifted);
    Ok(activation.table.map_or(clamped, |table| memory.look_up(table, clamped)))
}

/// The output's clamp.
pub(super) fn clamp(activation: &Activation, value: i128) -> i128 {
    value.max(i128::from(activation.min)).min(i128::from(activation.max))
}

fn double(value: i128, m: i128, shift: i128) -> i128 {
    let y = wrap32(value << shift.max(0));
    let h = if y == m && y == -(1 << 31) { (1 << 31) - 1 } else { (y * m + (1 << 30)) >> 31 };
    halves_away(h, 1 << (-shift).max(0))
}

/// `value / 2^by`, halves up.
fn halves_up(value: i128, by: i128) -> i128 {
    if by == 0 { value } else { (value + (1 << (by - 1))) >> by }
}

/// `value / by`, halves away from zero.
pub(super) fn halves_away(value: i128, by: i128) -> i128 {
    value.signum() * ((2 * value.abs() + by) / (2 * by))
}

fn wrap32(value: i128) -> i128 {
    (value + (1 << 31)).rem_euclid(1 << 32) - (1 << 31)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "rounds to nearest, ties to even: what is wanted"
)]
fn float(value: i128) -> f32 {
    low64(value) as f32
}

/// `x * factor + addend`, rounded once to binary32.
pub(super) fn fused((x, factor): (i128, f32), addend: f32) -> f32 {
    float(x).mul_add(factor, addend)
}

fn product(value: i128, scale: u32) -> f32 {
    float(value) * f32::from_bits(scale)
}

/// The nearest integer, ties to even; 0 for what is not a number.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "saturates: what is wanted")]
pub(super) fn even(value: f32) -> i128 {
    i128::from(value.round_ties_even() as i64)
}

#[cfg(test)]
mod tests {
    use super::{halves_away, scaled};
    use cnnip_isa::RoundingMode;
    use cnnip_isa::operation::OutputStage;

    fn apply(mode: RoundingMode, multiplier: u32, shift: i32, value: i128) -> Option<i128> {
        scaled(&OutputStage { mode, multiplier, shift }, value).ok()
    }

    #[test]
    fn halves_go_away_from_zero() {
        let results = [(5, 2), (-5, 2), (6, 4), (-127, 9)].map(|(value, by)| halves_away(value, by));
        assert_eq!(results, [3, -3, 2, -14]);
    }

    #[test]
    fn modes_do_what_the_specification_computes() {
        let half = 1 << 30;
        assert_eq!(apply(RoundingMode::Double, half, 0, -5), Some(-2));
        assert_eq!(apply(RoundingMode::Double, half, -1, -6), Some(-2));
        assert_eq!(apply(RoundingMode::Double, half, 30, 3), Some(-536_870_912));
        assert_eq!(apply(RoundingMode::Single, half, -1, -6), Some(-1));
        assert_eq!(apply(RoundingMode::Reduced, 2_147_483_647, -31, -140_737_488_355_328), Some(-65_534));
        assert_eq!(apply(RoundingMode::Float, 0.5_f32.to_bits(), 0, 3), Some(2));
        assert_eq!(apply(RoundingMode::Float, 1e30_f32.to_bits(), 0, 2_147_483_647), Some(i128::from(i64::MAX)));
        assert_eq!(apply(RoundingMode::Double, half, 0, 1 << 31), None);
    }
}
