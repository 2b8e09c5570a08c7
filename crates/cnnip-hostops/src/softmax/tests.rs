//! A slow twin over i128, sharing nothing with the code, and the real softmax as a sanity bound.

use super::*;
use proptest::prelude::*;

fn high(a: i128, b: i128) -> i128 {
    (a * b + (1 << 30)).div_euclid(1 << 31).min((1 << 31) - 1)
}

fn away(value: i128, exponent: u32) -> i128 {
    let divisor = 1_i128 << exponent;
    value.signum() * ((2 * value.abs() + divisor) / (2 * divisor))
}

/// exp of a Q5.26 number by the published steps: a polynomial near -1/8, then one factor per set bit.
fn slow_exp(x: i128) -> i128 {
    if x == 0 {
        return (1 << 31) - 1;
    }
    let small = x.rem_euclid(1 << 24) - (1 << 24);
    let t = small * 32 + (1 << 28);
    let (t2, t3) = (high(t, t), high(high(t, t), t));
    let inner = high(away(high(t2, t2), 2) + t3, 715_827_883) + t2;
    let mut result = 1_895_147_668 + high(1_895_147_668, t + away(inner, 1));
    let factors = [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
    for (bit, factor) in factors.into_iter().enumerate() {
        if (small - x) >> (24 + bit) & 1 == 1 {
            result = high(result, factor);
        }
    }
    result
}

fn slow_reciprocal(fraction: i128) -> i128 {
    let d = (fraction + (1 << 31)) / 2; // halves away from zero of fraction + 2^31 - 1
    let saturate = |v: i128| v.clamp(-(1 << 31), (1 << 31) - 1);
    let mut x = 1_515_870_810 + high(d, -1_010_580_540);
    for _ in 0..3 {
        x += saturate(4 * high(x, (1 << 29) - high(d, x)));
    }
    saturate(2 * x)
}

fn slow_softmax(row: &[i8], p: &Softmax) -> Vec<i8> {
    let largest = i128::from(*row.iter().max().unwrap());
    let e: Vec<Option<i128>> = row
        .iter()
        .map(|&x| i128::from(x) - largest)
        .map(|d| (d >= p.smallest_difference.into()).then(|| slow_exp(high(d << p.shift, p.multiplier.into()))))
        .collect();
    let sum: i128 = e.iter().flatten().map(|&e| away(e, 12)).sum();
    let top = sum.ilog2();
    let inverse = slow_reciprocal((sum << (31 - top)) - (1 << 31));
    let output = |e: Option<i128>| e.map_or(-128, |e| (away(high(inverse, e), top - 19 + 23) - 128).clamp(-128, 127));
    e.into_iter().map(|e| i8::try_from(output(e)).unwrap()).collect()
}

fn scale() -> impl Strategy<Value = f32> {
    prop_oneof![1e-6_f32..1.0, 1.0_f32..100.0, Just(1.0 / 256.0), Just(16.0), Just(1e9)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn equals_its_slow_twin(row in prop::collection::vec(any::<i8>(), 1..40), beta in 0.1_f32..4.0, scale in scale()) {
        let parameters = Softmax::new(beta, scale).unwrap();
        let mut output = vec![0; row.len()];
        softmax_int8(&row, row.len(), &parameters, &mut output).unwrap();
        prop_assert_eq!(output, slow_softmax(&row, &parameters));
    }

    #[test]
    fn is_near_the_real_softmax(row in prop::collection::vec(any::<i8>(), 1..40), scale in 0.001_f32..0.5) {
        let parameters = Softmax::new(1.0, scale).unwrap();
        let mut output = vec![0; row.len()];
        softmax_int8(&row, row.len(), &parameters, &mut output).unwrap();
        let e: Vec<f64> = row.iter().map(|&x| (f64::from(x) * f64::from(scale)).exp()).collect();
        let sum: f64 = e.iter().sum();
        for (&out, e) in output.iter().zip(e) {
            prop_assert!((f64::from(out) + 128.0 - (256.0 * e / sum).min(255.0)).abs() < 1.01);
        }
    }
}

#[test]
fn the_longest_row_of_equal_elements() {
    let row = vec![7; Softmax::MAX_DEPTH];
    let parameters = Softmax::new(1.0, 0.1).unwrap();
    let mut output = vec![0; row.len()];
    softmax_int8(&row, row.len(), &parameters, &mut output).unwrap();
    assert!(output.iter().all(|&out| out == -128));
    assert_eq!(output, slow_softmax(&row, &parameters));
}

#[test]
fn bad_shapes_and_scales_are_errors() {
    let parameters = Softmax::new(1.0, 0.1).unwrap();
    let run =
        |elements: usize, depth, out: usize| softmax_int8(&vec![0; elements], depth, &parameters, &mut vec![0; out]);
    assert_eq!(run(6, 0, 6), Err(HostError::Rows { elements: 6, depth: 0 }));
    assert_eq!(run(6, 4, 6), Err(HostError::Rows { elements: 6, depth: 4 }));
    assert_eq!(run(6, 3, 5), Err(HostError::Length { input: 6, output: 5 }));
    assert_eq!(run(8192, 8192, 8192), Err(HostError::Depth { depth: 8192, max: 8191 }));
    for (beta, scale) in [(1.0, 0.0), (1.0, 1e-9), (-1.0, 0.1), (f32::NAN, 0.1)] {
        assert!(matches!(Softmax::new(beta, scale), Err(HostError::SoftmaxScale { .. })));
    }
}
