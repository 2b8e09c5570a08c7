use super::*;
use crate::testing::{Kind, bytes, kind, on_target16, output16, records16, vector_kernels, weights16};
use crate::{Map, Output16};
use cnnip_numerics::RoundingMode;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    window: Window,
    in_size: (usize, usize),
    out_size: (usize, usize),
    channels: usize,
    multiplier: usize,
    gap: usize,
    wide: bool,
    use_bias: bool,
    output: Output16,
    kind: Kind,
}

prop_compose! {
    fn window()(
        kernel in (1..=3_usize, 1..=4_usize), stride in (1..=3_usize, 1..=3_usize),
        dilation in (1..=2_usize, 1..=3_usize), padding in (0..=3_usize, 0..=3_usize),
    ) -> Window {
        let ((kh, kw), (stride_y, stride_x)) = (kernel, stride);
        let ((dilation_y, dilation_x), (top, left)) = (dilation, padding);
        Window { kh, kw, stride_y, stride_x, dilation_y, dilation_x, top, left }
    }
}

prop_compose! {
    fn case()(
        seed: u64, window in window(), in_size in (1..7_usize, 1..9_usize), out_size in (1..5_usize, 1..7_usize),
        channels in 1..40_usize, multiplier in prop_oneof![3 => Just(1_usize), 1 => 2..4_usize], gap in 0..3_usize,
        wide: bool, use_bias: bool, output in output16(), kind in kind(),
    ) -> Case {
        Case { seed, window, in_size, out_size, channels, multiplier, gap, wide, use_bias, output, kind }
    }
}

impl Case {
    fn run(&self, kernels: Kernels) -> (Result<(), Declined>, Vec<u8>) {
        let (h, w, c) = (self.in_size.0, self.in_size.1, self.channels);
        let in_map = Map { h, w, c, pix: 2 * c + self.gap, row: w * (2 * c + self.gap) };
        let (oh, ow, oc) = (self.out_size.0, self.out_size.1, self.channels * self.multiplier);
        let out_map = Map { h: oh, w: ow, c: oc, pix: 2 * oc + self.gap, row: ow * (2 * oc + self.gap) };
        let input = bytes(self.seed, h * in_map.row);
        let weights = bytes(self.seed ^ 99, oc.div_ceil(BLOCK) * self.window.taps() * BLOCK * 2);
        let conv = Depthwise16 {
            input: Source16 { bytes: &input, map: in_map },
            pad_value: 32_767,
            window: self.window,
            multiplier: self.multiplier,
            weights: weights16(self.wide, &weights),
            records: &records16(self.seed ^ 7, oc, self.output.mode),
            use_bias: self.use_bias,
        };
        on_target16(self.kind, out_map, self.output, |target| kernels.depthwise16(&mut Scratch::new(), &conv, target))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_backend_equals_the_scalar_twin(case in case()) {
        let want = case.run(Kernels::scalar());
        let may_decline = matches!(case.output.mode, RoundingMode::Double | RoundingMode::Single);
        prop_assert!(want.0.is_ok() || may_decline, "{:?}", want.0);
        for kernels in vector_kernels() {
            prop_assert!(want == case.run(kernels), "{:?}", kernels.backend());
        }
    }
}
