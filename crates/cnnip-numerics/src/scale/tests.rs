//! Every mode against formulas over i128 and exact fractions that share no code with it.

use super::*;
use proptest::prelude::*;

const MODES: [RoundingMode; 6] = [
    RoundingMode::None,
    RoundingMode::Double,
    RoundingMode::Single,
    RoundingMode::Reduced,
    RoundingMode::Float,
    RoundingMode::FloatZero,
];

fn wrap(value: i128) -> i128 {
    (value + (1 << 31)).rem_euclid(1 << 32) - (1 << 31)
}

fn slow_double(acc: i32, multiplier: i32, shift: i32) -> i128 {
    let left = wrap(i128::from(acc) * (1_i128 << shift.max(0)));
    let high = (left * i128::from(multiplier) + (1 << 30)).div_euclid(1 << 31).min(i128::from(i32::MAX));
    let divisor = 1_i128 << (-shift).max(0);
    high.signum() * ((2 * high.abs() + divisor) / (2 * divisor))
}

fn slow_single(acc: i32, multiplier: i32, shift: i32) -> i128 {
    let divisor = 1_i128 << (31 - shift);
    (2 * i128::from(acc) * i128::from(multiplier) + divisor).div_euclid(2 * divisor)
}

fn slow_reduced(acc: i64, multiplier: i32, shift: i32) -> i128 {
    let m = i128::from(multiplier);
    let r = if m < 0x7fff_0000 { (m + 0x8000) / 0x1_0000 } else { 0x7fff };
    let divisor = 1_i128 << (15 - shift);
    wrap((2 * i128::from(acc) * r + divisor).div_euclid(2 * divisor))
}

/// The nearest integer with at most 24 significant bits, ties to even.
fn slow_24_bits(value: i64) -> i64 {
    let bits = 64 - value.unsigned_abs().leading_zeros();
    let step = 1_i128 << bits.saturating_sub(24);
    let (quotient, rest) = (i128::from(value).div_euclid(step), i128::from(value).rem_euclid(step));
    let up = 2 * rest > step || (2 * rest == step && quotient % 2 != 0);
    i64::try_from((quotient + i128::from(up)) * step).unwrap()
}

fn word() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), -300_000..300_000, Just(i32::MIN), Just(i32::MAX), Just(0)]
}

fn multiplier() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), (1 << 30)..=i32::MAX, 0x7ffe_ff00..=i32::MAX, Just(0), Just(i32::MIN)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn double_equals_its_slow_twin(acc in word(), m in multiplier(), shift in -31..=30) {
        let scale = Scale::new(RoundingMode::Double, m.cast_unsigned(), shift).unwrap();
        prop_assert_eq!(i128::from(scale.apply(acc.into())), slow_double(acc, m, shift));
    }

    #[test]
    fn single_equals_its_slow_twin(acc in word(), m in multiplier(), shift in -31..=31) {
        let scale = Scale::new(RoundingMode::Single, m.cast_unsigned(), shift).unwrap();
        prop_assert_eq!(i128::from(scale.apply(acc.into())), slow_single(acc, m, shift));
    }

    #[test]
    fn reduced_equals_its_slow_twin(acc in -(1_i64 << 47)..1 << 47, m in 0..=i32::MAX, shift in -31..=7) {
        let scale = Scale::new(RoundingMode::Reduced, m.cast_unsigned(), shift).unwrap();
        prop_assert_eq!(i128::from(scale.apply(acc)), slow_reduced(acc, m, shift));
    }

    /// With a power-of-two scale the product is exact, so only the two conversions round.
    #[test]
    fn float_rounds_ties_to_even(acc in word(), shift in 0_u32..30) {
        let scale = Scale::from_f32(1.0 / (1_u64 << shift) as f32).unwrap();
        let (value, divisor) = (slow_24_bits(acc.into()), 1_i64 << shift);
        let (quotient, rest) = (value.div_euclid(divisor), value.rem_euclid(divisor));
        let up = 2 * rest > divisor || (2 * rest == divisor && quotient % 2 != 0);
        prop_assert_eq!(scale.apply(acc.into()), quotient + i64::from(up));
    }

    /// Clamping in binary32 before rounding, as CPU kernels do, and clamping integers after it are the same.
    #[test]
    fn float_may_clamp_before_or_after_rounding(acc in word(), s in 1e-9_f32..2.0, zero in -128_i32..128, a in -128_i32..128, b in -128_i32..128) {
        let (min, max) = (a.min(b), a.max(b));
        let scaled = (acc as f32 * s).max((min - zero) as f32).min((max - zero) as f32);
        let want = scaled.round_ties_even() as i32 + zero;
        prop_assert_eq!(Scale::from_f32(s).unwrap().finish(acc.into(), zero, min, max), want);
    }

    /// The trick of adding 1.5 * 2^23 and reading the low bits rounds as ties-to-even does, once clamped.
    #[test]
    fn float_equals_the_magic_number_variant(acc in word(), s in 1e-9_f32..2.0, zero in -128_i32..128) {
        let scaled = (acc as f32 * s).max((-128 - zero) as f32).min((127 - zero) as f32);
        let magic = (scaled + 12_582_912.0).to_bits().cast_signed() - 12_582_912.0_f32.to_bits().cast_signed();
        prop_assert_eq!(Scale::from_f32(s).unwrap().finish(acc.into(), zero, -128, 127), magic + zero);
    }

    /// A smaller multiplier never gives a larger magnitude: what lets `max` of two stages be a leaky rectifier.
    #[test]
    fn double_is_monotone_in_the_scale(x in -65_535_i32..=65_535, big in 0.0_f64..=1.0, ratio in 0.0_f64..=1.0) {
        let scaled = |real| {
            let q = crate::quantize::quantize_multiplier(real).unwrap();
            Scale::new(RoundingMode::Double, q.multiplier.cast_unsigned(), q.shift).unwrap().apply(x.into())
        };
        let (large, small) = (scaled(big), scaled(big * ratio));
        prop_assert!(if x >= 0 { large >= small } else { large <= small }, "{large} {small}");
    }

    #[test]
    fn whatever_is_accepted_is_total(acc: i64, mode in 0..MODES.len(), m: u32, shift in -40_i32..40, zero: i32, min: i32, max: i32) {
        if let Ok(scale) = Scale::new(MODES[mode], m, shift) {
            prop_assert_eq!(scale.mode(), MODES[mode]);
            let _ = (scale.apply(acc), scale.finish(acc, zero, min, max), crate::requantize(acc, &scale, zero, min, max));
        }
    }

    #[test]
    fn records_survive_a_round_trip(bias: i64, multiplier: u32, shift: i32) {
        let record = ChannelRecord { bias, multiplier, shift };
        prop_assert_eq!(ChannelRecord::from_le_bytes(record.to_le_bytes()), record);
    }
}

#[test]
fn parameters_outside_their_range_are_rejected() {
    for mode in MODES {
        let (min, max) = mode.shifts();
        assert!(Scale::new(mode, 0, min).is_ok() && Scale::new(mode, 0, max).is_ok(), "{mode:?}");
        for shift in [min.checked_sub(1), max.checked_add(1)].into_iter().flatten() {
            assert_eq!(Scale::new(mode, 0, shift), Err(IllegalParameter::Shift { mode, shift, min, max }));
        }
    }
    let multiplier = -1_i32;
    let mode = RoundingMode::Reduced;
    assert_eq!(Scale::new(mode, multiplier.cast_unsigned(), 0), Err(IllegalParameter::Multiplier { mode, multiplier }));
    for bits in [f32::NAN.to_bits(), f32::INFINITY.to_bits(), f32::NEG_INFINITY.to_bits()] {
        assert_eq!(Scale::new(RoundingMode::Float, bits, 0), Err(IllegalParameter::FloatScale { bits }));
    }
}

#[test]
fn a_zero_point_before_rounding_moves_ties() {
    let scale = |mode| Scale::new(mode, 0.5_f32.to_bits(), 0).unwrap();
    assert_eq!(scale(RoundingMode::Float).finish(1, 3, -128, 127), 3); // 0.5 -> 0, plus 3
    assert_eq!(scale(RoundingMode::FloatZero).finish(1, 3, -128, 127), 4); // 3.5 -> 4
}

#[test]
fn accumulators_are_checked_by_mode() {
    let check = |mode, acc| crate::requantize(acc, &Scale::new(mode, 0, 0).unwrap(), 0, -128, 127).is_ok();
    for mode in [RoundingMode::Double, RoundingMode::Single, RoundingMode::Float, RoundingMode::FloatZero] {
        assert!(
            check(mode, (1 << 31) - 1)
                && !check(mode, 1 << 31)
                && check(mode, -(1 << 31))
                && !check(mode, -(1 << 31) - 1)
        );
    }
    for mode in [RoundingMode::Reduced, RoundingMode::None] {
        assert!(
            check(mode, (1 << 47) - 1)
                && !check(mode, 1 << 47)
                && check(mode, -(1 << 47))
                && !check(mode, -(1 << 47) - 1)
        );
    }
}
