use super::*;
use crate::{Backend, Kernels, Window};
use proptest::prelude::*;

/// Numbers with few bits, so that short sums are exact in any order.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 24) as u8) / 16.0 - 8.0
    };
    (0..count).map(|_| next()).collect()
}

fn backends() -> impl Iterator<Item = Kernels> {
    Backend::ALL.into_iter().filter_map(Kernels::new)
}

/// What [`Finish`] says, one element at a time.
fn finished(value: f32, low: f32, high: f32, grid: Option<(f32, i32, (i32, i32))>) -> f32 {
    let clamped = value.clamp(low, high);
    let Some((scale, zero, (least, greatest))) = grid else { return clamped };
    let q = ((clamped / scale).round_ties_even() + zero as f32).clamp(least as f32, greatest as f32);
    (q - zero as f32) * scale
}

proptest! {
    /// Values near ties are where a wrong division would show.
    #[test]
    fn finish_rounds_as_division_does(
        scale in 1e-6_f32..1e2, zero in -128_i32..128, multiple in -300_i32..300, ulps in -3_i32..=3, wide: bool
    ) {
        let range = if wide { (-32768, 32767) } else { (-128, 127) };
        let multiple = if wide { multiple * 100 } else { multiple };
        let tie = (multiple as f32 + 0.5) * scale;
        let value = f32::from_bits(tie.to_bits().wrapping_add_signed(ulps));
        let finish = Finish::NONE.clamped(-1e4, 1e3).rounded(scale, zero, range).unwrap();
        let want = finished(value, -1e4, 1e3, Some((scale, zero, range)));
        for kernels in backends() {
            let mut values = [value; 19];
            kernels.finish_f32(&mut values, &finish);
            prop_assert_eq!(values, [want; 19], "{:?}", kernels.backend());
        }
    }

    #[test]
    fn products_equal_plain_loops(
        count in 1_usize..40, depth in 1_usize..40, outputs in 1_usize..70, gap in 0_usize..3, seed: u32, residual: bool
    ) {
        let (stride, out_stride) = (depth + gap, outputs + gap);
        let (x, w, bias) = (numbers(count * stride, seed), numbers(outputs * depth, seed ^ 1), numbers(outputs, seed ^ 2));
        let other = numbers(count * out_stride, seed ^ 3);
        let weights = PackedWeights::new(&w, depth, &bias).unwrap();
        let finish = Finish::NONE.clamped(-100.0, f32::INFINITY);
        let after = Finish::NONE.clamped(0.0, 90.0);
        let residual = residual.then_some(Residual { values: &other, finish: after });
        let mut want = vec![7.0; count * out_stride];
        for (row, out) in x.chunks_exact(stride).zip(want.chunks_exact_mut(out_stride)) {
            for (o, out) in out.iter_mut().enumerate().take(outputs) {
                *out = (bias[o] + (0..depth).map(|k| row[k] * w[o * depth + k]).sum::<f32>()).max(-100.0);
            }
        }
        if residual.is_some() {
            for (out, other) in want.chunks_exact_mut(out_stride).zip(other.chunks_exact(out_stride)) {
                out.iter_mut().zip(other).take(outputs).for_each(|(out, other)| *out = (*out + other).clamp(0.0, 90.0));
            }
        }
        for kernels in backends() {
            let mut output = vec![7.0; count * out_stride];
            let rows = Rows { values: &x, stride, count };
            kernels.product_f32(rows, &weights, &Epilogue { finish, residual }, &mut output, out_stride).unwrap();
            prop_assert_eq!(&output, &want, "{:?}", kernels.backend());
        }
    }

    #[test]
    fn depthwise_equals_plain_loops(
        size in (1_usize..9, 1_usize..14), channels in 1_usize..40, taps in (1_usize..4, 1_usize..4), stride in (1_usize..3, 1_usize..3),
        dilation in (1_usize..3, 1_usize..3), padding in (0_usize..3, 0_usize..3), seed: u32
    ) {
        let window = Window {
            kh: taps.0, kw: taps.1, stride_y: stride.0, stride_x: stride.1,
            dilation_y: dilation.0, dilation_x: dilation.1, top: padding.0, left: padding.1,
        };
        // As many outputs as fit, and one more whose taps may lie beyond the end.
        let (h, w) = ((size.0 + padding.0) / stride.0 + 1, (size.1 + padding.1) / stride.1 + 1);
        let (x, k, bias) =
            (numbers(size.0 * size.1 * channels, seed), numbers(window.taps() * channels, seed ^ 1), numbers(channels, seed ^ 2));
        let weights = DepthwiseWeights::new(&k, channels, &bias, window).unwrap();
        let mut want = vec![];
        for (y, xo) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            for c in 0..channels {
                let mut sum = bias[c];
                for (ky, kx) in (0..taps.0).flat_map(|ky| (0..taps.1).map(move |kx| (ky, kx))) {
                    if let (Some(row), Some(column)) = (window.row(y, ky, size.0), window.column(xo, kx, size.1)) {
                        sum += x[(row * size.1 + column) * channels + c] * k[(ky * taps.1 + kx) * channels + c];
                    }
                }
                want.push(sum);
            }
        }
        for kernels in backends() {
            let mut output = vec![0.0; want.len()];
            let map = MapF32 { values: &x, h: size.0, w: size.1 };
            kernels.depthwise_f32(map, &weights, &Finish::NONE, [h, w], &mut output).unwrap();
            prop_assert_eq!(&output, &want, "{:?}", kernels.backend());
        }
    }
}

#[test]
fn pairs_repeat_the_second_operand() {
    for kernels in backends() {
        let (a, mut output) = (numbers(60, 1), vec![0.0; 60]);
        kernels.binary_f32(Binary::Sub, &a, &a[..20], &Finish::NONE, &mut output).unwrap();
        assert!((0..60).all(|i| output[i] == a[i] - a[i % 20]));
        assert!(kernels.binary_f32(Binary::Add, &a, &a[..7], &Finish::NONE, &mut output).is_err());
    }
}

#[test]
fn what_does_not_fit_is_declined() {
    let weights = PackedWeights::new(&[1.0; 6], 3, &[]).unwrap();
    assert_eq!((weights.depth(), weights.outputs()), (3, 2));
    let epilogue = Epilogue { finish: Finish::NONE, residual: None };
    let run = |values: usize, output: usize, stride| {
        let (x, mut y) = (vec![1.0; values], vec![0.0; output]);
        Kernels::default().product_f32(Rows { values: &x, stride: 3, count: 2 }, &weights, &epilogue, &mut y, stride)
    };
    assert_eq!(run(6, 4, 2), Ok(()));
    assert!(run(5, 4, 2).is_err() && run(6, 3, 2).is_err() && run(6, 4, 1).is_err());
    assert!(PackedWeights::new(&[1.0; 6], 4, &[]).is_err() && PackedWeights::new(&[1.0; 6], 3, &[0.0]).is_err());
    assert!(Finish::NONE.rounded(0.0, 0, (0, 1)).is_err() && Finish::NONE.rounded(1.0, i32::MAX, (0, 1)).is_err());
}

#[test]
fn finishes_join_where_that_is_one() {
    let clamp = Finish::NONE.clamped(0.0, 6.0);
    let grid = Finish::NONE.rounded(0.5, 0, (-4, 4)).unwrap();
    assert_eq!(clamp.then(&grid), Some(clamp.rounded(0.5, 0, (-4, 4)).unwrap()));
    assert_eq!(grid.then(&clamp), None);
    assert_eq!(grid.then(&Finish::NONE), Some(grid));
}

/// Numbers of all sizes, now and then none.
fn any_value() -> impl Strategy<Value = f32> {
    let edges = [0.0, -0.0, f32::MIN_POSITIVE, -1e-45, -3e-39, 1e-45, f32::MAX, f32::MIN, f32::NAN, f32::INFINITY];
    prop_oneof![4 => -10_f32..10.0, 1 => any::<f32>(), 1 => proptest::sample::select(edges.to_vec())]
}

proptest! {
    #[test]
    fn extremes_are_those_of_a_loop(values in proptest::collection::vec(any_value(), 0..200)) {
        let min = values.iter().copied().fold(f32::INFINITY, f32::min);
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let finite = values.iter().all(|value| value.is_finite());
        for kernels in backends() {
            let found = kernels.extremes_f32(&values);
            prop_assert_eq!(found, Extremes { min, max, finite }, "{:?}", kernels);
        }
    }

    #[test]
    fn what_is_not_zero_stays(values in proptest::collection::vec(prop_oneof![Just(0.0), Just(-0.0), any_value()], 0..200)) {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let want: Vec<f32> = values.iter().copied().filter(|&value| value != 0.0).collect();
        for kernels in backends() {
            let mut kept = vec![9.0; values.len()];
            let count = kernels.without_zeros_f32(&values, &mut kept).unwrap();
            prop_assert_eq!(bits(&kept[..count]), bits(&want), "{:?}", kernels);
        }
    }

    #[test]
    fn bins_are_those_of_binary64(
        values in proptest::collection::vec(any_value().prop_filter("finite", |value| value.is_finite()), 0..100), exponent in -117_i32..=126
    ) {
        const BELOW: u16 = 2048;
        let reach = f64::from(BELOW) * f64::powi(2.0, -exponent);
        let values: Vec<f32> = values.into_iter().filter(|&value| f64::from(value).abs() <= reach).collect();
        let bin = |&value: &f32| ((f64::from(value) * f64::powi(2.0, exponent)).floor() as i32 + 2048).min(4095) as u16;
        let want: Vec<u16> = values.iter().map(bin).collect();
        for kernels in backends() {
            let mut bins = vec![0; values.len()];
            kernels.bins_f32(&values, f32::powi(2.0, exponent), BELOW, &mut bins).unwrap();
            prop_assert_eq!(&bins, &want, "{:?}", kernels);
        }
    }
}
