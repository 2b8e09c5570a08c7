use super::*;
use crate::testing::{Kind, bytes, kind, on_target, output, records, vector_kernels};
use crate::{Element8, Load, Map, Output8};
use cnnip_numerics::{ChannelRecord, RoundingMode};
use proptest::prelude::*;

/// 2x2 input of one channel, 2x2 kernel, padding below and right, one output channel; worked by hand.
#[test]
fn a_convolution_worked_by_hand() {
    let input = [1_u8, 2, 3, 4];
    let mut weights = vec![0; 4 * BLOCK_BYTES];
    for (tap, weight) in [1_u8, 2, 3, 255].into_iter().enumerate() {
        weights[tap * BLOCK_BYTES] = weight; // the last is -1
    }
    let records = ChannelRecord { bias: 10, multiplier: 1 << 30, shift: 0 }.to_le_bytes();
    let conv = Conv8 {
        input: Source8 { bytes: &input, map: Map::dense(2, 2, 1), element: Element8::Int8, zero: 1 },
        pad_value: 1,
        window: Window::square(2, 1, 0),
        groups: 1,
        weights: &weights,
        w_zero: 0,
        records: &records,
        use_bias: true,
    };
    // x - 1 = [[0, 1], [2, 3]]: sums 0 + 2 + 6 - 3, 1 + 9, 2 + 6, 3
    let mut acc = [0; 32];
    let target = Target8::Accumulators { bytes: &mut acc, size: [2, 2, 1], load: Load::Zero };
    Kernels::scalar().conv8(&mut Scratch::new(), &conv, target).unwrap();
    let values: Vec<_> = (0..4).map(|i| crate::accumulators::read(&acc, i)).collect();
    assert_eq!(values, [15, 20, 18, 13]);

    let mut out = [7; 6];
    let output = Output8 { zero: -3, min: -128, max: 6, mode: RoundingMode::Double };
    let map = Map { h: 2, w: 2, c: 1, row: 3, pix: 1 };
    let target = Target8::Output { bytes: &mut out, map, output, load: None };
    Kernels::scalar().conv8(&mut Scratch::new(), &conv, target).unwrap();
    assert_eq!(out, [5, 6, 7, 6, 4, 7]); // 7.5 -> 8, 10, 9, 6.5 -> 7; minus 3; clamped to 6
}

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    window: Window,
    in_size: (usize, usize),
    out_size: (usize, usize),
    groups: usize,
    channels: (usize, usize),
    gaps: (usize, usize),
    unsigned: bool,
    /// The input's zero point is its type's smallest number, as after most activations.
    zero_is_smallest: bool,
    use_bias: bool,
    output: Output8,
    kind: Kind,
}

fn window() -> impl Strategy<Value = Window> {
    let any = (1..=3_usize, 1..=4_usize, 1..=3_usize, 1..=3_usize, 1..=2_usize, 1..=3_usize, 0..=3_usize, 0..=3_usize);
    let any = any.prop_map(|(kh, kw, stride_y, stride_x, dilation_y, dilation_x, top, left)| Window {
        kh,
        kw,
        stride_y,
        stride_x,
        dilation_y,
        dilation_x,
        top,
        left,
    });
    prop_oneof![1 => Just(Window::POINT), 2 => any]
}

prop_compose! {
    fn case()(
        seed: u64, window in window(), in_size in (1..7_usize, 1..9_usize), out_size in (1..5_usize, 1..12_usize),
        groups in prop_oneof![3 => Just(1_usize), 1 => 2..4_usize], channels in (1..21_usize, 1..70_usize),
        gaps in prop_oneof![2 => Just((0, 0)), 1 => (0..3_usize, 0..3_usize)],
        unsigned: bool, zero_is_smallest: bool, use_bias: bool, output in output(), kind in kind(),
    ) -> Case {
        Case { seed, window, in_size, out_size, groups, channels, gaps, unsigned, zero_is_smallest, use_bias, output, kind }
    }
}

/// Whole tiles of depth and pixels that lie one after another: what tile registers read where it is.
fn deep_case() -> impl Strategy<Value = Case> {
    let depth = prop_oneof![4 => Just(64_usize), 2 => Just(128), 1 => Just(32), 1 => Just(16), 1 => 60..70_usize];
    let kernel = prop_oneof![2 => Just((1_usize, 1_usize)), 2 => Just((3, 3)), 1 => (1..=3_usize, 1..=4_usize)];
    let sizes = (1..9_usize, 1..40_usize, prop_oneof![5 => Just(1_usize), 1 => Just(2)], 0..=1_usize);
    (case(), depth, kernel, sizes).prop_map(|(case, depth, (kh, kw), (h, w, stride, pad))| {
        let pad = pad * usize::from(kh * kw > 1);
        let window = Window { kh, kw, stride_y: stride, stride_x: stride, top: pad, left: pad, ..case.window };
        let dilation = if case.unsigned { 1 } else { case.window.dilation_x };
        let window = Window { dilation_x: dilation, dilation_y: dilation, ..window };
        let size = (h, w);
        let channels = (depth, case.channels.1);
        // Often of the kind that needs no flipping.
        let unsigned = case.unsigned && case.use_bias;
        Case { window, in_size: size, out_size: size, channels, gaps: (case.gaps.0, 0), unsigned, ..case }
    })
}

impl Case {
    fn run(&self, kernels: Kernels, scratch: &mut Scratch) -> (Result<(), Declined>, Vec<u8>) {
        let (h, w, c) = (self.in_size.0, self.in_size.1, self.channels.0 * self.groups);
        let in_map = Map { h, w, c, pix: c + self.gaps.0, row: w * (c + self.gaps.0) + self.gaps.1 };
        let (oh, ow, oc) = (self.out_size.0, self.out_size.1, self.channels.1 * self.groups);
        let out_map = Map { h: oh, w: ow, c: oc, pix: oc + self.gaps.1, row: ow * (oc + self.gaps.1) + self.gaps.0 };
        let (element, smallest, zero) =
            if self.unsigned { (Element8::Uint8, 0, 200) } else { (Element8::Int8, -128, 5) };
        let zero = if self.zero_is_smallest { smallest } else { zero };
        let input = bytes(self.seed, in_map.extent().unwrap());
        let blocks = self.groups * self.channels.1.div_ceil(BLOCK) * self.channels.0.div_ceil(DEPTH);
        // Random padding weights too: they must not matter.
        let weights = bytes(self.seed ^ 99, blocks * self.window.taps() * BLOCK_BYTES);
        let conv = Conv8 {
            input: Source8 { bytes: &input, map: in_map, element, zero },
            pad_value: (zero - 3).max(smallest),
            window: self.window,
            groups: self.groups,
            weights: &weights,
            w_zero: 0,
            records: &records(self.seed ^ 7, oc, self.output.mode, self.window.taps() * self.channels.0),
            use_bias: self.use_bias,
        };
        on_target(self.kind, out_map, self.output, |target| kernels.conv8(scratch, &conv, target))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn every_backend_equals_the_scalar_twin(case in case(), before in case()) {
        let mut scratch = Scratch::new();
        let want = case.run(Kernels::scalar(), &mut scratch);
        prop_assert_eq!(&want.0, &Ok(()));
        for kernels in vector_kernels() {
            let _ = before.run(kernels, &mut scratch); // leaves its rubbish in the scratch
            prop_assert!(want == case.run(kernels, &mut scratch), "{:?}", kernels.backend());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn deep_inputs_equal_the_scalar_twin(case in deep_case(), before in prop_oneof![case(), deep_case()]) {
        let mut scratch = Scratch::new();
        let want = case.run(Kernels::scalar(), &mut scratch);
        prop_assert_eq!(&want.0, &Ok(()));
        for kernels in vector_kernels() {
            let _ = before.run(kernels, &mut scratch);
            prop_assert!(want == case.run(kernels, &mut scratch), "{:?}", kernels.backend());
        }
    }
}

/// A 1x1 convolution with weight zero: what is loaded goes straight to requantization.
fn requantized(
    kernels: Kernels,
    output: Output8,
    channels: &[(i32, i32, i32)],
    use_bias: bool,
) -> (Result<(), Declined>, Vec<u8>) {
    let load: Vec<u8> = channels.iter().flat_map(|&(acc, ..)| i64::from(acc).to_le_bytes()).collect();
    let record = |multiplier: i32, shift| ChannelRecord { bias: 1, multiplier: multiplier.cast_unsigned(), shift };
    let records: Vec<u8> = channels.iter().flat_map(|&(_, m, shift)| record(m, shift).to_le_bytes()).collect();
    let conv = Conv8 {
        input: Source8 { bytes: &[3], map: Map::dense(1, 1, 1), element: Element8::Int8, zero: 3 },
        pad_value: 0,
        window: Window::POINT,
        groups: 1,
        weights: &vec![0; channels.len().div_ceil(BLOCK) * BLOCK_BYTES],
        w_zero: 0,
        records: &records,
        use_bias,
    };
    let map = Map::dense(1, 1, channels.len());
    let mut bytes = vec![0; channels.len()];
    let target = Target8::Output { bytes: &mut bytes, map, output, load: Some(&load) };
    (kernels.conv8(&mut Scratch::new(), &conv, target), bytes)
}

fn accumulator() -> impl Strategy<Value = i32> {
    let most = (1_i32 << 30) - 40_000; // the bound counts a product and half of the divisor too
    prop_oneof![
        -most..=most,
        -3000..3000,
        Just(most),
        Just(-most),
        (0..30_u32).prop_map(|n| 1 << n),
        (0..30_u32).prop_map(|n| -1 << n)
    ]
    .prop_map(move |acc| acc.clamp(-most, most))
}

fn integer_scale() -> impl Strategy<Value = (i32, i32, i32)> {
    let multiplier = prop_oneof![any::<i32>(), Just(1 << 30), Just(i32::MAX), Just(-(1 << 30)), 1 << 30..i32::MAX];
    (accumulator(), multiplier, prop_oneof![-31..=0_i32, -31..=30_i32, -25..-18_i32])
}

fn float_scale() -> impl Strategy<Value = (i32, i32, i32)> {
    let scale = prop_oneof![-1.0..1.0_f32, Just(0.5), Just(f32::MAX), Just(-1e-9), -1e-6..1e-6_f32, any::<f32>()];
    (accumulator(), scale.prop_filter("finite", |scale| scale.is_finite()), Just(0))
        .prop_map(|(acc, scale, shift)| (acc, scale.to_bits().cast_signed(), shift))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn requantization_equals_the_scalar_twin_at_the_edges(
        integers in prop::collection::vec(integer_scale(), 1..40), floats in prop::collection::vec(float_scale(), 1..40),
        output in output(), use_bias: bool,
    ) {
        let is_float = matches!(output.mode, RoundingMode::Float | RoundingMode::FloatZero);
        let mut channels = if is_float { floats } else { integers };
        if output.mode == RoundingMode::Single {
            channels.iter_mut().for_each(|channel| channel.2 = channel.2.min(0));
        }
        let want = requantized(Kernels::scalar(), output, &channels, use_bias);
        prop_assert!(want.0.is_ok() || channels.iter().any(|channel| channel.1 == i32::MIN));
        for kernels in vector_kernels() {
            prop_assert_eq!(&want, &requantized(kernels, output, &channels, use_bias), "{:?}", kernels.backend());
        }
    }
}

/// Real networks have biases above 2^30 where a channel is dead.
#[test]
fn large_accumulators_are_not_refused_where_rounding_has_room() {
    let most = i32::MAX - (1 << 29) - 40_000;
    for mode in [RoundingMode::Double, RoundingMode::Single, RoundingMode::Float] {
        let output = Output8 { zero: 3, min: -128, max: 127, mode };
        let scale = if mode == RoundingMode::Float { 1e-7_f32.to_bits().cast_signed() } else { 1_518_500_250 };
        let shift = |n: i32| if mode == RoundingMode::Float { 0 } else { -(n % 31) };
        let channels: Vec<_> = (0..62).map(|n| (if n % 2 == 0 { most } else { -most }, scale, shift(n))).collect();
        let want = requantized(Kernels::scalar(), output, &channels, true);
        assert_eq!(want.0, Ok(()));
        for kernels in vector_kernels() {
            assert_eq!(want, requantized(kernels, output, &channels, true), "{:?}", kernels.backend());
        }
    }
}

/// What is refused is refused by every backend, and nothing is written.
#[test]
fn refusals_leave_the_output_alone() {
    let output = Output8 { zero: 0, min: -128, max: 127, mode: RoundingMode::Double };
    let fine = [(0, 1 << 30, 0)];
    let cases = [
        (output, [(i32::MAX, 1 << 30, 0)], Declined::AccumulatorBound { bound: (1 << 31) - 1 + 131 * 128 }),
        (output, [(0, i32::MIN, 0)], Declined::Shape { what: "multiplier" }),
        (Output8 { mode: RoundingMode::Reduced, ..output }, fine, Declined::Mode(RoundingMode::Reduced)),
        (Output8 { max: 128, ..output }, fine, Declined::Range { what: "output maximum", value: 128 }),
    ];
    for (output, channels, why) in cases {
        for kernels in vector_kernels().chain([Kernels::scalar()]) {
            assert_eq!(requantized(kernels, output, &channels, false), (Err(why), vec![0]));
        }
    }
}
