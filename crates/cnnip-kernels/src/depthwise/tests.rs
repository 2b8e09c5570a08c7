use super::*;
use crate::testing::{Kind, bytes, kind, on_target, output, records, vector_kernels};
use crate::{Element8, Output8};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    window: Window,
    in_size: (usize, usize),
    out_size: (usize, usize),
    channels: usize,
    multiplier: usize,
    gaps: (usize, usize),
    unsigned: bool,
    use_bias: bool,
    output: Output8,
    kind: Kind,
}

fn window() -> impl Strategy<Value = Window> {
    (1..=6_usize, 1..=5_usize, 1..=3_usize, 1..=3_usize, 1..=2_usize, 1..=3_usize, 0..=3_usize, 0..=3_usize).prop_map(
        |(kh, kw, stride_y, stride_x, dilation_y, dilation_x, top, left)| Window {
            kh,
            kw,
            stride_y,
            stride_x,
            dilation_y,
            dilation_x,
            top,
            left,
        },
    )
}

prop_compose! {
    fn case()(
        seed: u64, window in window(), in_size in (1..9_usize, 1..20_usize), out_size in (1..5_usize, 1..20_usize),
        channels in 1..40_usize, multiplier in prop_oneof![4 => Just(1_usize), 1 => 2..5_usize],
        gaps in (0..3_usize, 0..3_usize), unsigned: bool, use_bias: bool, output in output(), kind in kind(),
    ) -> Case {
        Case { seed, window, in_size, out_size, channels, multiplier, gaps, unsigned, use_bias, output, kind }
    }
}

impl Case {
    fn run(&self, kernels: Kernels) -> (Result<(), Declined>, Vec<u8>) {
        let (h, w, c) = (self.in_size.0, self.in_size.1, self.channels);
        let in_map = Map { h, w, c, pix: c + self.gaps.0, row: w * (c + self.gaps.0) + self.gaps.1 };
        let (oh, ow, oc) = (self.out_size.0, self.out_size.1, c * self.multiplier);
        let out_map = Map { h: oh, w: ow, c: oc, pix: oc + self.gaps.1, row: ow * (oc + self.gaps.1) + self.gaps.0 };
        let (element, zero) = if self.unsigned { (Element8::Uint8, 77) } else { (Element8::Int8, -9) };
        let input = bytes(self.seed, in_map.extent().unwrap());
        let weights = bytes(self.seed ^ 99, oc.div_ceil(BLOCK) * BLOCK * self.window.taps());
        let conv = Depthwise8 {
            input: Source8 { bytes: &input, map: in_map, element, zero },
            pad_value: zero + 3,
            window: self.window,
            multiplier: self.multiplier,
            weights: &weights,
            w_zero: 0,
            records: &records(self.seed ^ 7, oc, self.output.mode, self.window.taps()),
            use_bias: self.use_bias,
        };
        on_target(self.kind, out_map, self.output, |target| kernels.depthwise8(&mut Scratch::new(), &conv, target))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn every_backend_equals_the_scalar_twin(case in case()) {
        let want = case.run(Kernels::scalar());
        prop_assert_eq!(&want.0, &Ok(()));
        for kernels in vector_kernels() {
            prop_assert!(want == case.run(kernels), "{:?}", kernels.backend());
        }
    }
}

#[test]
fn a_tiny_input_does_not_justify_huge_buffers() {
    let window = Window { stride_x: 60_000, ..Window::POINT };
    let conv = Depthwise8 {
        input: Source8 { bytes: &[0], map: Map::dense(1, 1, 1), element: Element8::Int8, zero: 0 },
        pad_value: 0,
        window,
        multiplier: 1,
        weights: &[0; BLOCK],
        w_zero: 0,
        records: &[0; 16],
        use_bias: false,
    };
    let output = Output8 { zero: 0, min: -128, max: 127, mode: cnnip_numerics::RoundingMode::Double };
    let mut bytes = [9; 1000];
    let target = Target8::Output { bytes: &mut bytes, map: Map::dense(1, 1000, 1), output, load: None };
    let done = Kernels::default().depthwise8(&mut Scratch::new(), &conv, target);
    assert_eq!(done, Err(Declined::Shape { what: "size of the rearranged input" }));
    assert_eq!(bytes, [9; 1000]);
}
