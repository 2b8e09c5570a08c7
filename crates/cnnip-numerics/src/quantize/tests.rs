use super::*;
use proptest::prelude::*;

fn value(q: QuantizedMultiplier) -> f64 {
    f64::from(q.multiplier) * 2_f64.powi(q.shift - 31)
}

proptest! {
    #[test]
    fn a_multiplier_is_the_scale_to_31_bits(real in prop_oneof![1e-8_f64..1e8, -1e8_f64..-1e-8]) {
        let q = quantize_multiplier(real).unwrap();
        prop_assert!((value(q) / real - 1.0).abs() <= 2_f64.powi(-31));
        prop_assert!((1 << 30..=1_u32 << 31).contains(&q.multiplier.unsigned_abs()));
        prop_assert_eq!(quantize_multiplier(-real).unwrap(), QuantizedMultiplier { multiplier: -q.multiplier, ..q });
    }

    #[test]
    fn every_multiplier_is_a_legal_scale(bits: u64) {
        let real = f64::from_bits(bits);
        match quantize_multiplier(real) {
            Ok(q) => prop_assert!(crate::Scale::new(crate::RoundingMode::Double, q.multiplier.cast_unsigned(), q.shift).is_ok()),
            Err(error) => prop_assert!(!real.is_finite(), "{error}"),
        }
    }

    #[test]
    fn a_mean_divides_the_scale(real in 1e-6_f64..1e3, count in 1_u32..1 << 24) {
        let q = quantize_multiplier(real).unwrap();
        let mean = mean_multiplier(q, count);
        prop_assert!((value(mean) * f64::from(count) / real - 1.0).abs() < 1e-8);
        prop_assert!(mean.shift >= -31);
    }

    #[test]
    fn everything_is_total(x: f32, scale: f32, zero: i32, min: i32, max: i32, q: i32, shift in -31..=30, count: u32, n: u32, corners: bool) {
        let _ = quantize(x, scale, zero, (min, max), Ties::Away);
        let _ = (dequantize(q, scale, zero), half_table_scale(scale, Curve::Tanh), add_scales(x, scale, x, count), resize_step(n, count, corners));
        let _ = (mean_multiplier(QuantizedMultiplier { multiplier: q, shift }, count), half_pixel_origin(n));
        let _ = (curve_table(Curve::Tanh, scale, zero), curve_table(Curve::Sigmoid, x, zero));
        for activation in [Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1To1] {
            let _ = activation.range(scale, zero, (min, max));
        }
    }
}

#[test]
fn corner_cases_of_the_multiplier() {
    let q = |real| quantize_multiplier(real).map(|q| (q.multiplier, q.shift));
    assert_eq!(q(0.0), Ok((0, 0)));
    assert_eq!(q(1.0 - 2_f64.powi(-40)), Ok((1 << 30, 1)), "rounds up to 2^31");
    assert_eq!(q(2_f64.powi(-32)), Ok((1 << 30, -31)));
    assert_eq!(q(2_f64.powi(-33)), Ok((0, 0)), "shift below -31");
    assert_eq!(q(f64::MIN_POSITIVE / 8.0), Ok((0, 0)), "subnormal");
    assert_eq!(q(2_f64.powi(29)), Ok((1 << 30, 30)));
    assert_eq!(q(2_f64.powi(30)), Ok((i32::MAX, 30)), "shift above 30");
    assert_eq!(q(f64::INFINITY), Err(QuantizeError::NotFinite(f64::INFINITY)));
}

#[test]
fn activation_ranges() {
    assert_eq!(Activation::Relu.range(0.1, -128, (-128, 127)), (-128, 127));
    assert_eq!(Activation::Relu6.range(0.023_529_412, -128, (-128, 127)), (-128, 127));
    assert_eq!(Activation::ReluN1To1.range(0.1, 5, (-128, 127)), (-5, 15));
    assert_eq!(Activation::Relu.range(0.1, 0, (-32768, 32767)), (0, 32767));
}

#[test]
fn resize_steps() {
    assert_eq!(resize_step(4, 8, false), Ok(512));
    assert_eq!(resize_step(4, 7, true), Ok(512));
    assert_eq!(resize_step(0, 8, false), Err(QuantizeError::Resize { from: 0, to: 8 }));
    assert_eq!(half_pixel_origin(512), -256);
}

#[test]
fn half_table_scales() {
    assert_eq!(half_table_scale(0.001, Curve::Sigmoid), Ok((25165, 11)));
    assert_eq!(half_table_scale(-1.0, Curve::Tanh), Err(QuantizeError::NotPositive(-1.0)));
}

#[test]
fn half_table_scales_near_a_power_of_two_are_exact() {
    assert_eq!(half_table_scale(2_f32.powi(-12), Curve::Sigmoid), Ok((3, 0)));
    assert_eq!(half_table_scale(2_f32.powi(-11), Curve::Tanh), Ok((6, 0)));
    assert_eq!(half_table_scale(2_f32.powi(-11), Curve::Sigmoid), Ok((24576, 12)));
}
