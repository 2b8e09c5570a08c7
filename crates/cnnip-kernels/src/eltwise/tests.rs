use super::*;
use crate::Element8;
use crate::testing::{bytes, mode, output, vector_kernels};
use proptest::prelude::*;

#[test]
fn an_addition_worked_by_hand() {
    let (a, b) = ([10_u8, 20, 30, 0xf6], [4_u8]);
    let map = Map::dense(2, 2, 1);
    let source = |bytes, map, zero| Source8 { bytes, map, element: Element8::Int8, zero };
    let op = Eltwise8 {
        function: Function::Add,
        pre_shift: 1,
        a: source(&a, map, 2),
        a_stage: Stage::NONE,
        b: source(&b, Map { row: 0, pix: 0, ..map }, -1),
        b_stage: Stage { mode: RoundingMode::Double, multiplier: 1 << 30, shift: 0 },
        multiplier: 1 << 30,
        shift: -1,
    };
    let mut out = [0; 4];
    let output = Output8 { zero: 1, min: -2, max: 14, mode: RoundingMode::Double };
    Kernels::scalar().eltwise8(&op, &mut out, map, output).unwrap();
    // (2 (a - 2) + 5) / 4 in two roundings: 21 -> 11 -> 6, 41 -> 21 -> 11, 61 -> 31 -> 16, -19 -> -9 -> -5; plus 1
    assert_eq!(out.map(u8::cast_signed), [7, 12, 14, -2]);
}

fn stage() -> impl Strategy<Value = Stage> {
    (mode(), any::<i32>(), -20..=0).prop_map(|(mode, multiplier, shift)| match mode {
        RoundingMode::Float | RoundingMode::FloatZero => {
            let scale = (f64::from(multiplier) / f64::from(1 << 30)) as f32;
            Stage { mode, multiplier: scale.to_bits(), shift: 0 }
        }
        _ => Stage { mode, multiplier: multiplier.max(-i32::MAX).cast_unsigned(), shift },
    })
}

fn function() -> impl Strategy<Value = Function> {
    use Function::{Add, Max, Min, Mul, Pass, Sub};
    prop_oneof![3 => Just(Add), 1 => Just(Sub), 2 => Just(Mul), 1 => Just(Min), 1 => Just(Max), 1 => Just(Pass)]
}

/// A source's strides: dense, with gaps, or one pixel or channel for all.
fn strided(kind: u8, h: usize, w: usize, c: usize) -> Map {
    match kind {
        0 => Map { h, w, c, row: 0, pix: 0 },
        1 => Map { h, w, c: 1, row: w, pix: 1 },
        2 => Map { h, w, c, row: w * (c + 2) + 1, pix: c + 2 },
        3 => Map { h, w, c, row: 0, pix: c },
        _ => Map::dense(h, w, c),
    }
}

/// Checks that every backend gives what the scalar twin does.
fn equals_the_twin(op: &Eltwise8<'_>, map: Map, output: Output8) -> Result<(), TestCaseError> {
    let run = |kernels: Kernels| {
        let mut out = bytes(9, map.extent().unwrap() + 3);
        (kernels.eltwise8(op, &mut out, map, output), out)
    };
    let want = run(Kernels::scalar());
    for kernels in vector_kernels() {
        prop_assert!(want == run(kernels), "{:?}", kernels.backend());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn every_backend_equals_the_scalar_twin(
        seed: u64, function in function(), size in (1..4_usize, 1..5_usize, 1..40_usize), kinds in (0..8_u8, 0..8_u8), gap in 0..3_usize,
        stages in (stage(), stage(), stage()), pre_shift in 0..21_u32, zeros in (-128..128, 0..256), output in output(),
    ) {
        let (h, w, c) = size;
        let (a_map, b_map) = (strided(kinds.0, h, w, c), strided(kinds.1, h, w, c));
        let map = Map { h, w, c, pix: c + gap / 2, row: w * (c + gap / 2) + gap };
        let (a, b) = (bytes(seed, a_map.extent().unwrap()), bytes(seed ^ 1, b_map.extent().unwrap()));
        let pre_shift = if function == Function::Mul { pre_shift / 4 } else { pre_shift };
        let op = Eltwise8 {
            function,
            pre_shift,
            a: Source8 { bytes: &a, map: a_map, element: Element8::Int8, zero: zeros.0 },
            a_stage: stages.0,
            b: Source8 { bytes: &b, map: b_map, element: Element8::Uint8, zero: zeros.1 },
            b_stage: stages.1,
            multiplier: stages.2.multiplier,
            shift: stages.2.shift,
        };
        let output = Output8 { mode: stages.2.mode, ..output };
        equals_the_twin(&op, map, output)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    /// Maps that are large enough for tables.
    #[test]
    fn tables_equal_the_scalar_twin(
        seed: u64, function in function(), size in (1..3_usize, 1..3_usize, 4096..4300_usize), elements: (bool, bool),
        stages in (stage(), stage(), stage()), pre_shift in 0..21_u32, zeros in (0..128, 0..128), output in output(), same: bool,
    ) {
        let (h, w, c) = size;
        let map = Map::dense(h, w, c);
        let b_map = if same { Map { h, w, c: 1, row: 0, pix: 0 } } else { map };
        let (a, b) = (bytes(seed, h * w * c), bytes(seed ^ 1, b_map.extent().unwrap()));
        let element = |uint8: bool| if uint8 { Element8::Uint8 } else { Element8::Int8 };
        let op = Eltwise8 {
            function,
            pre_shift: if function == Function::Mul { pre_shift / 4 } else { pre_shift },
            a: Source8 { bytes: &a, map, element: element(elements.0), zero: zeros.0 },
            a_stage: stages.0,
            b: Source8 { bytes: &b, map: b_map, element: element(elements.1), zero: zeros.1 },
            b_stage: stages.1,
            multiplier: stages.2.multiplier,
            shift: stages.2.shift,
        };
        let output = Output8 { mode: stages.2.mode, ..output };
        equals_the_twin(&op, map, output)?;
    }
}
