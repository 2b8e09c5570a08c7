use super::*;
use crate::testing::{Kind, bytes, kind, on_target16, output16, records16, vector_kernels, weights16};
use crate::{Load, Map, Output16};
use cnnip_numerics::{ChannelRecord, RoundingMode};
use proptest::prelude::*;

/// Two pixels of two channels, one output channel; worked by hand.
#[test]
fn a_convolution_worked_by_hand() {
    let input: Vec<u8> = [300_i16, -20_000, 32_767, 2].iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut weights = vec![0; BLOCK_BYTES];
    weights[..2].copy_from_slice(&[100, 0x80]); // the second is -128
    let records = ChannelRecord { bias: 1 << 33, multiplier: 1 << 30, shift: -16 }.to_le_bytes();
    let conv = Conv16 {
        input: Source16 { bytes: &input, map: Map { h: 1, w: 2, c: 2, row: 8, pix: 4 } },
        pad_value: 0,
        window: Window::POINT,
        groups: 1,
        weights: Weights16::Int8(&weights),
        records: &records,
        use_bias: true,
    };
    let sums = [30_000 + 2_560_000, 3_276_700 - 256];
    for kernels in vector_kernels().chain([Kernels::scalar()]) {
        let mut acc = [0; 16];
        let target = Target16::Accumulators { bytes: &mut acc, size: [1, 2, 1], load: Load::Zero };
        kernels.conv16(&mut Scratch::new(), &conv, target).unwrap();
        let values = [0, 1].map(|i| crate::accumulators::read(&acc, i));
        assert_eq!(values, sums.map(|sum| sum + (1 << 33)));

        let mut out = [7; 5];
        let output = Output16 { zero: 0, min: -32768, max: 32767, mode: RoundingMode::Reduced };
        let map = Map { h: 1, w: 2, c: 1, row: 4, pix: 3 };
        let target = Target16::Output { bytes: &mut out, map, output, load: None };
        kernels.conv16(&mut Scratch::new(), &conv, target).unwrap();
        // 2^33 + sum, times 2^-17: 65555.76 and 65561, both above the clamp
        assert_eq!(out, [0xff, 0x7f, 7, 0xff, 0x7f]);
    }
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
    wide: bool,
    use_bias: bool,
    output: Output16,
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
        seed: u64, window in window(), in_size in (1..7_usize, 1..9_usize), out_size in (1..5_usize, 1..7_usize),
        groups in prop_oneof![3 => Just(1_usize), 1 => 2..4_usize],
        channels in (prop_oneof![8 => 1..21_usize, 1 => 500..700_usize], 1..40_usize),
        gaps in prop_oneof![2 => Just((0, 0)), 1 => (0..3_usize, 0..3_usize)],
        wide: bool, use_bias: bool, output in output16(), kind in kind(),
    ) -> Case {
        Case { seed, window, in_size, out_size, groups, channels, gaps, wide, use_bias, output, kind }
    }
}

impl Case {
    fn run(&self, kernels: Kernels, scratch: &mut Scratch) -> (Result<(), Declined>, Vec<u8>) {
        let (h, w, c) = (self.in_size.0, self.in_size.1, self.channels.0 * self.groups);
        let in_map = Map { h, w, c, pix: 2 * c + self.gaps.0, row: w * (2 * c + self.gaps.0) + self.gaps.1 };
        let (oh, ow, oc) = (self.out_size.0, self.out_size.1, self.channels.1 * self.groups);
        let out_map =
            Map { h: oh, w: ow, c: oc, pix: 2 * oc + self.gaps.1, row: ow * (2 * oc + self.gaps.1) + self.gaps.0 };
        let input = bytes(self.seed, h * in_map.row + 1);
        let per_block = if self.wide { 2 } else { 4 };
        let blocks = self.groups * self.channels.1.div_ceil(BLOCK) * self.channels.0.div_ceil(per_block);
        // Random padding weights too: they must not matter.
        let weights = bytes(self.seed ^ 99, blocks * self.window.taps() * BLOCK_BYTES);
        let conv = Conv16 {
            input: Source16 { bytes: &input, map: in_map },
            pad_value: -77,
            window: self.window,
            groups: self.groups,
            weights: weights16(self.wide, &weights),
            records: &records16(self.seed ^ 7, oc, self.output.mode),
            use_bias: self.use_bias,
        };
        on_target16(self.kind, out_map, self.output, |target| kernels.conv16(scratch, &conv, target))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_backend_equals_the_scalar_twin(case in case(), before in case()) {
        let mut scratch = Scratch::new();
        let want = case.run(Kernels::scalar(), &mut scratch);
        let may_decline = matches!(case.output.mode, RoundingMode::Double | RoundingMode::Single);
        prop_assert!(want.0.is_ok() || may_decline, "{:?}", want.0);
        for kernels in vector_kernels() {
            let _ = before.run(kernels, &mut scratch); // leaves its rubbish in the scratch
            prop_assert!(want == case.run(kernels, &mut scratch), "{:?}", kernels.backend());
        }
    }
}

/// As deep as a layer gets, with every product as large as it can be: 32-bit sums must be emptied in time.
#[test]
fn sums_of_the_largest_products_are_exact() {
    let depth = 3000;
    for (wide, byte) in [(false, [0x80, 0x80]), (true, [0x00, 0x80]), (true, [0xff, 0x80]), (true, [0xff, 0x7f])] {
        let input = [0x00, 0x80].repeat(depth);
        let per_block = if wide { 2 } else { 4 };
        let weights = byte.repeat(depth.div_ceil(per_block) * BLOCK_BYTES / 2);
        let conv = Conv16 {
            input: Source16 { bytes: &input, map: Map { h: 1, w: 1, c: depth, row: 0, pix: 0 } },
            pad_value: 0,
            window: Window::POINT,
            groups: 1,
            weights: weights16(wide, &weights),
            records: &[],
            use_bias: false,
        };
        let weight = if wide { i64::from(i16::from_le_bytes(byte)) } else { -128 };
        for kernels in vector_kernels().chain([Kernels::scalar()]) {
            let mut acc = [0; 8];
            let target = Target16::Accumulators { bytes: &mut acc, size: [1, 1, 1], load: Load::Zero };
            kernels.conv16(&mut Scratch::new(), &conv, target).unwrap();
            assert_eq!(i64::from_le_bytes(acc), 3000 * -32_768 * weight, "{:?}", kernels.backend());
        }
    }
}
