//! Scales as exact numbers, and how products are rounded.

/// Rounding profile, as the compiler's option of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Two roundings.
    Double,
    /// One rounding.
    Single,
    /// binary32 for products with weights.
    Float,
}

/// `m * 2^(e - 31)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Multiplier {
    pub(super) m: i128,
    pub(super) e: i32,
}

/// The multiplier nearest to a positive real number, from its bits.
pub(super) fn multiplier(real: f64) -> Multiplier {
    if real == 0.0 {
        return Multiplier { m: 0, e: 0 };
    }
    let bits = real.to_bits();
    let biased = (bits >> 52) & 0x7ff;
    let fraction = i128::from(bits & ((1 << 52) - 1));
    let (mut significand, mut power) = match biased {
        0 => (fraction, -1074),
        _ => (fraction | 1 << 52, i32::try_from(biased).unwrap_or(0) - 1075),
    };
    while significand < 1 << 52 {
        significand <<= 1;
        power -= 1;
    }
    // real = significand * 2^power with 53 bits; m keeps 31 of them, halves up.
    let mut m = (significand + (1 << 21)) >> 22;
    let mut e = power + 53;
    if m == 1 << 31 {
        m = 1 << 30;
        e += 1;
    }
    if e < -31 { Multiplier { m: 0, e: 0 } } else { Multiplier { m, e } }
}

/// Divides a multiplier by a count, as the mean does.
pub(super) fn divided(Multiplier { m, e }: Multiplier, count: usize) -> Multiplier {
    let count = i128::try_from(count).unwrap_or(1);
    let mut bits = 0;
    while 1_i128 << (bits + 1) <= count && bits < 32 && bits < 31 + e {
        bits += 1;
    }
    Multiplier { m: (m << bits) / count, e: e - bits }
}

/// `value * multiplier`, rounded as the profile has it for operators without weights.
pub(super) fn scaled(value: i64, Multiplier { m, e }: Multiplier, profile: Profile) -> i64 {
    let exact = i128::from(value);
    let result = if profile == Profile::Single {
        (exact * m + (1_i128 << (30 - e))) >> (31 - e)
    } else {
        let left = wrapped(exact << e.max(0));
        let high = (left * m + (1 << 30)) >> 31;
        halves_away(high, 1 << (-e).max(0))
    };
    i64::try_from(result).expect("a product of 32 bits and a fraction fits 64")
}

fn wrapped(value: i128) -> i128 {
    let low = value.rem_euclid(1 << 32);
    if low < 1 << 31 { low } else { low - (1 << 32) }
}

/// `value / divisor`, halves away from zero.
pub(super) fn halves_away(value: i128, divisor: i128) -> i128 {
    let magnitude = (2 * value.abs() + divisor) / (2 * divisor);
    if value < 0 { -magnitude } else { magnitude }
}

/// `value * multiplier` with 16 bits of the multiplier, halves up, as 64-bit sums are scaled.
pub(super) fn scaled_short(value: i64, Multiplier { m, e }: Multiplier) -> i64 {
    let short = if m < 0x7fff_0000 { (m + 0x8000) >> 16 } else { 0x7fff };
    let shift = 15 - e;
    let product = i128::from(value) * short + (1 << (shift - 1));
    i64::try_from(wrapped(product.div_euclid(1 << shift))).expect("32 bits")
}

/// Adds a zero point and clamps to `range`.
pub(super) fn finished(value: i64, zero: i64, (low, high): (i64, i64)) -> i64 {
    (value + zero).max(low).min(high)
}

/// The range within `limits` of a clamp to real numbers `low ..= high` in a tensor's integers.
pub(super) fn clamp_range(
    [low, high]: [Option<f32>; 2],
    scale: f32,
    zero: i64,
    (least, greatest): (i64, i64),
) -> (i64, i64) {
    let at = |real: f32| {
        let quotient = f64::from(real / scale);
        let magnitude = (quotient.abs() + 0.5).floor();
        zero + rounded_i64(if quotient < 0.0 { -magnitude } else { magnitude })
    };
    let low = low.map_or(least, |real| at(real).max(least)).min(greatest);
    (low, high.map_or(greatest, |real| at(real).min(greatest)).max(low))
}

/// A whole number; saturated.
#[expect(clippy::cast_possible_truncation, reason = "saturation is meant")]
pub(super) fn rounded_i64(value: f64) -> i64 {
    value as i64
}

/// An accumulator times a binary32 scale, ties to even.
#[expect(clippy::cast_precision_loss, reason = "the nearest binary32 number is meant")]
pub(super) fn float_scaled(value: i64, scale: f32) -> i64 {
    rounded_i64(f64::from((value as f32 * scale).round_ties_even()))
}
