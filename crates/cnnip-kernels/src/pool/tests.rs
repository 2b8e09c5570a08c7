use super::*;
use crate::testing::{bytes, vector_kernels};
use proptest::prelude::*;

#[test]
fn poolings_worked_by_hand() {
    let input = [1_u8, 2, 4, 0xfb]; // 1, 2, 4, -5
    let source = Source8 { bytes: &input, map: Map::dense(2, 2, 1), element: Element8::Int8, zero: 1 };
    let pool = Pool8 { input: source, window: Window::square(2, 1, 1) };
    let output = Output8 { zero: 0, min: -3, max: 3, mode: RoundingMode::None };
    let (kernels, map, mut out) = (Kernels::scalar(), Map::dense(3, 3, 1), [0; 9]);
    kernels.max_pool8(&pool, &mut out, map, output).unwrap();
    assert_eq!(out.map(u8::cast_signed), [1, 2, 2, 3, 3, 2, 3, 3, -3]);
    let scratch = &mut Scratch::new();
    kernels.average_pool8(scratch, &pool, Divisor::Valid, &mut out, map, output).unwrap();
    assert_eq!(out.map(u8::cast_signed), [0, 1, 1, 2, -1, -3, 3, -2, -3]); // 0 0.5 1, 1.5 -0.5 -2.5, 3 -1.5 -6
    kernels.average_pool8(scratch, &pool, Divisor::Window, &mut out, map, output).unwrap();
    assert_eq!(out.map(u8::cast_signed), [0, 0, 0, 1, -1, -1, 1, -1, -2]); // 0 .25 .25, .75 -.5 -1.25, .75 -.75 -1.5
}

prop_compose! {
    fn window()(
        kh in 1..6_usize, kw in 1..6_usize, stride_y in 1..4_usize, stride_x in 1..4_usize, top in 0..3_usize, left in 0..3_usize
    ) -> Window {
        Window { kh, kw, stride_y, stride_x, dilation_y: 1, dilation_x: 1, top, left }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn every_backend_equals_the_scalar_twin(
        seed: u64, window in window(), in_size in (1..9_usize, 1..9_usize), out_size in (1..6_usize, 1..6_usize), c in 1..80_usize,
        gaps in (0..3_usize, 0..3_usize), zeros in (-128..128, -128..128), clamp in (-128..128, -128..128), whole: bool,
    ) {
        let in_map = Map { h: in_size.0, w: in_size.1, c, pix: c + gaps.0, row: in_size.1 * (c + gaps.0) + gaps.1 };
        let map = Map { h: out_size.0, w: out_size.1, c, pix: c + gaps.1, row: out_size.1 * (c + gaps.1) + gaps.0 };
        let input = bytes(seed, in_map.extent().unwrap());
        let source = Source8 { bytes: &input, map: in_map, element: Element8::Int8, zero: zeros.0 };
        let pool = Pool8 { input: source, window };
        let output = Output8 { zero: zeros.1, min: clamp.0, max: clamp.1, mode: RoundingMode::None };
        let divisor = if whole { Divisor::Window } else { Divisor::Valid };
        let run = |kernels: Kernels| {
            let (mut max, mut average) = (bytes(3, map.extent().unwrap() + 3), bytes(4, map.extent().unwrap() + 3));
            let done = kernels.max_pool8(&pool, &mut max, map, output);
            let same = kernels.average_pool8(&mut Scratch::new(), &pool, divisor, &mut average, map, output);
            (done, same, max, average)
        };
        let want = run(Kernels::scalar());
        for kernels in vector_kernels() {
            prop_assert!(want == run(kernels), "{:?}", kernels.backend());
        }
    }
}
