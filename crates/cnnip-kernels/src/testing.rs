//! What the tests of several kernels need: backends, random bytes, and targets with guard bytes.

use crate::{Backend, Declined, Kernels, Load, Map, Output8, Output16, Target8, Target16, Weights16};
use cnnip_numerics::{ChannelRecord, RoundingMode};
use proptest::prelude::*;

/// Every vector backend that this processor has.
pub(crate) fn vector_kernels() -> impl Iterator<Item = Kernels> {
    Backend::ALL.into_iter().filter(|&backend| backend != Backend::Scalar).filter_map(Kernels::new)
}

/// Bytes from a small generator; edges are frequent.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    };
    let edge = [0x80, 0x7f, 0, 0xff];
    std::iter::repeat_with(next).map(|b| if b[1] < 40 { edge[usize::from(b[2] % 4)] } else { b[0] }).take(len).collect()
}

/// A rounding mode that kernels take.
pub(crate) fn mode() -> impl Strategy<Value = RoundingMode> {
    use RoundingMode::{Double, Float, FloatZero, None, Single};
    prop_oneof![4 => Just(Double), 3 => Just(Single), 3 => Just(Float), 1 => Just(FloatZero), 1 => Just(None)]
}

/// An output stage; now and then with an empty clamp.
pub(crate) fn output() -> impl Strategy<Value = Output8> {
    (mode(), -128..128, -128..128, -128..128, any::<bool>()).prop_map(|(mode, zero, a, b, full)| {
        let (min, max) = if full { (-128, 127) } else { (a, b) };
        Output8 { zero, min, max, mode }
    })
}

/// Records for `channels` channels whose scales bring sums of `terms` products into the output's range, roughly.
pub(crate) fn records(seed: u64, channels: usize, mode: RoundingMode, terms: usize) -> Vec<u8> {
    let noise = bytes(seed, channels * 12);
    let depth = i32::try_from(terms.max(1).ilog2()).unwrap();
    let record = |noise: &[u8; 12]| {
        let [a, b, c, d, e, f, g, h, i, ..] = *noise;
        let bias = i64::from(i32::from_le_bytes([a, b, c, d]) >> 12);
        let multiplier = i32::from_le_bytes([e, f, g, h]) >> u32::from(i % 3);
        let shift = i32::from(i / 3 % 12) - 10 - depth / 2;
        match mode {
            RoundingMode::Float | RoundingMode::FloatZero => {
                let scale = f32::from(i16::from_le_bytes([e, f]))
                    * (f32::from(h) - 200.0)
                    * f32::from(-i16::from(i % 22)).exp2();
                ChannelRecord { bias, multiplier: scale.to_bits(), shift: 0 }
            }
            RoundingMode::Double if multiplier == i32::MIN => ChannelRecord { bias, multiplier: 1, shift },
            _ => ChannelRecord { bias, multiplier: multiplier.cast_unsigned(), shift },
        }
    };
    noise.as_chunks::<12>().0.iter().flat_map(|noise| record(noise).to_le_bytes()).collect()
}

/// Where a convolution under test goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Output,
    LoadedOutput,
    Store,
    LoadedStore,
    InPlace,
}

pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    use Kind::{InPlace, LoadedOutput, LoadedStore, Output, Store};
    prop_oneof![4 => Just(Output), 1 => Just(LoadedOutput), 1 => Just(Store), 1 => Just(LoadedStore), 1 => Just(InPlace)]
}

/// Runs `f` on a target of that kind, in memory that is the same each time; gives the result and all of that memory.
pub(crate) fn on_target(
    kind: Kind,
    map: Map,
    output: Output8,
    f: impl FnOnce(Target8<'_>) -> Result<(), Declined>,
) -> (Result<(), Declined>, Vec<u8>) {
    let size = [map.h, map.w, map.c];
    let count = map.h * map.w * map.c;
    let small = |i: usize, b: &u8| i64::from(b.cast_signed()) << (i % 13);
    let loaded: Vec<u8> = bytes(5, count).iter().enumerate().flat_map(|(i, b)| small(i, b).to_le_bytes()).collect();
    let wide = bytes(6, 8 * count);
    let guard = 5;
    let mut memory = match kind {
        Kind::Output | Kind::LoadedOutput => bytes(7, map.extent().unwrap() + guard),
        _ => bytes(8, 8 * count + guard),
    };
    let bytes = &mut memory[..];
    let result = f(match kind {
        Kind::Output => Target8::Output { bytes, map, output, load: None },
        Kind::LoadedOutput => Target8::Output { bytes, map, output, load: Some(&loaded) },
        Kind::Store => Target8::Accumulators { bytes, size, load: Load::Zero },
        Kind::LoadedStore => Target8::Accumulators { bytes, size, load: Load::From(&wide) },
        Kind::InPlace => Target8::Accumulators { bytes, size, load: Load::InPlace },
    });
    (result, memory)
}

/// A 16-bit output stage.
pub(crate) fn output16() -> impl Strategy<Value = Output16> {
    use RoundingMode::{Double, Reduced, Single};
    let mode = prop_oneof![4 => Just(Reduced), 1 => Just(Double), 1 => Just(Single)];
    (mode, any::<i16>(), any::<i16>(), any::<bool>()).prop_map(|(mode, a, b, full)| {
        let (min, max) = if full { (i16::MIN, i16::MAX) } else { (a.min(b), a.max(b)) };
        Output16 { zero: 0, min, max, mode }
    })
}

/// Records for `channels` channels of 16-bit layers.
pub(crate) fn records16(seed: u64, channels: usize, mode: RoundingMode) -> Vec<u8> {
    let noise = bytes(seed, channels * 12);
    let record = |noise: &[u8; 12]| {
        let [a, b, c, d, e, f, g, h, i, ..] = *noise;
        let bias = i64::from(i32::from_le_bytes([a, b, c, d])) >> if mode == RoundingMode::Reduced { 0 } else { 14 };
        let multiplier = u32::from_le_bytes([e, f, g, h]) >> 1;
        ChannelRecord { bias, multiplier, shift: -i32::from(i % 24) }
    };
    noise.as_chunks::<12>().0.iter().flat_map(|noise| record(noise).to_le_bytes()).collect()
}

/// Weights of either type in the same memory.
pub(crate) fn weights16(wide: bool, bytes: &[u8]) -> Weights16<'_> {
    if wide { Weights16::Int16(bytes) } else { Weights16::Int8(bytes) }
}

/// As [`on_target`], for 16-bit maps.
pub(crate) fn on_target16(
    kind: Kind,
    map: Map,
    output: Output16,
    f: impl FnOnce(Target16<'_>) -> Result<(), Declined>,
) -> (Result<(), Declined>, Vec<u8>) {
    let size = [map.h, map.w, map.c];
    let count = map.h * map.w * map.c;
    let small = |i: usize, b: &u8| i64::from(b.cast_signed()) << (i % 13);
    let loaded: Vec<u8> = bytes(5, count).iter().enumerate().flat_map(|(i, b)| small(i, b).to_le_bytes()).collect();
    let wide = bytes(6, 8 * count);
    let guard = 5;
    let mut memory = match kind {
        Kind::Output | Kind::LoadedOutput => bytes(7, map.h * map.row + guard),
        _ => bytes(8, 8 * count + guard),
    };
    let bytes = &mut memory[..];
    let result = f(match kind {
        Kind::Output => Target16::Output { bytes, map, output, load: None },
        Kind::LoadedOutput => Target16::Output { bytes, map, output, load: Some(&loaded) },
        Kind::Store => Target16::Accumulators { bytes, size, load: Load::Zero },
        Kind::LoadedStore => Target16::Accumulators { bytes, size, load: Load::From(&wide) },
        Kind::InPlace => Target16::Accumulators { bytes, size, load: Load::InPlace },
    });
    (result, memory)
}
