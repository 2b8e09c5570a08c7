//! Vectors of sixteen 32-bit lanes: what vector backends offer to the kernels.
//!
//! A [`Simd`] value is a token: it is made only by [`Kernels::vectorize`], for a backend that the processor has. So its methods are safe,
//! and kernels are written once, in safe code, for all vector backends. Everything on the way from the entry to an
//! instruction is `inline(always)`, because only inlined code may use the entry's instruction set.

pub(crate) mod amx;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx2;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx512;
#[cfg(all(target_arch = "aarch64", not(miri)))]
mod neon;

use crate::channel::{BLOCK, Channel16};
use crate::{Backend, Kernels, Linear8, Output8};
use cnnip_numerics::RoundingMode;

/// One block of weights, or sixteen channels of four taps.
pub(crate) type Block = [u8; 4 * BLOCK];

/// Sixteen 32-bit integers in memory.
pub(crate) type Lanes = [i32; BLOCK];

/// The instructions of one backend.
pub(crate) trait Simd: Copy {
    /// Sixteen 32-bit lanes.
    type Vector: Copy;
    /// Sixteen sums of products in progress.
    type Sums: Copy;
    /// Parameters of mode `Double`, in registers.
    type Double: Copy;
    /// Parameters of mode `Single`, in registers.
    type Single: Copy;
    /// A linear form of bytes, in registers.
    type Linear: Copy;

    /// Most blocks of output channels that a convolution's tile keeps in registers.
    const TILE_BLOCKS: usize;
    /// Most pixels that a tile keeps in registers.
    const TILE_PIXELS: usize;
    /// Whether [`narrow`](Self::narrow) takes less than four times [`low_bytes`](Self::low_bytes) with a clamp.
    const NARROWS_FOUR: bool = false;
    /// Whether [`look_up`](Self::look_up) takes less than the arithmetic that a table replaces.
    const LOOKS_UP: bool = false;

    fn load(self, lanes: &Lanes) -> Self::Vector;
    fn store(self, vector: Self::Vector, lanes: &mut Lanes);
    fn splat(self, value: i32) -> Self::Vector;
    /// Sixteen int8, widened.
    fn widen_int8(self, bytes: &[u8; BLOCK]) -> Self::Vector;
    /// Sixteen uint8, widened.
    fn widen_uint8(self, bytes: &[u8; BLOCK]) -> Self::Vector;
    /// The low byte of every lane.
    fn low_bytes(self, vector: Self::Vector) -> [u8; BLOCK];

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn shift_left(self, a: Self::Vector, bits: u32) -> Self::Vector;

    fn prepare_double(self, channel: &Channel16) -> Self::Double;
    /// Mode `Double` of values within the limit; no multiplier is `i32::MIN`.
    fn double(self, value: Self::Vector, by: &Self::Double) -> Self::Vector;
    fn prepare_single(self, channel: &Channel16) -> Self::Single;
    /// Mode `Single`, where results fit 32 bits.
    fn single(self, value: Self::Vector, by: &Self::Single) -> Self::Vector;
    /// Float modes: `value * scale + zero` in binary32, clamped, rounded to even; `scale` holds the bits of floats.
    fn float(self, value: Self::Vector, scale: Self::Vector, zero: f32, clamp: [f32; 2]) -> Self::Vector;

    /// No products yet.
    fn no_sums(self) -> Self::Sums;
    /// Lane i: adds the products of the four `x`, of the sign the backend takes, and the signed bytes 4i to 4i + 3 of `w`.
    fn dot_splat(self, sums: Self::Sums, x: [u8; 4], w: &Block) -> Self::Sums;
    /// Lane i: adds the products of bytes 4i to 4i + 3 of `x`, of the sign the backend takes, and signed ones of `w`.
    fn dot(self, sums: Self::Sums, x: &Block, w: &Block) -> Self::Sums;
    /// The sums, modulo 2^32.
    fn total(self, sums: Self::Sums) -> Self::Vector;
    /// Byte `4i + r` is byte i of row r, with the top bit flipped where `flip` is 0x80.
    fn interleave(self, rows: [&[u8; BLOCK]; 4], flip: u8) -> Block;
    /// Lane i: adds the two products of the signed 16-bit halves of `a` and `b`, modulo 2^32.
    fn dot_pairs(self, sums: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Signed bytes 0 and 2, and 1 and 3, of every lane, as 16-bit halves.
    fn even_and_odd_bytes(self, block: &Block) -> [Self::Vector; 2];
    /// The low bytes, unsigned, and the high bytes, signed, of the 16-bit halves of every lane, as 16-bit halves.
    fn low_and_high_bytes(self, block: &Block) -> [Self::Vector; 2];
    /// Puts a linear form in registers. Backends that [`Kernels::has_linear`] does not name have none.
    fn prepare_linear(self, linear: &Linear8) -> Self::Linear;
    /// A linear form of two bytes each.
    fn linear(self, a: &Block, b: &Block, by: &Self::Linear) -> Block;
    /// The bytes with the bits of `flip` turned over.
    fn flipped(self, block: &Block, flip: u8) -> Block;

    /// The bytes of four vectors of scaled values: byte `16q + 4v + i` is that of lane `4q + i` of vector v.
    #[inline(always)]
    fn narrow(self, scaled: [Self::Vector; 4], finish: &Finish) -> Block {
        let clamp = finish.clamp(self);
        let bytes = scaled.map(|scaled| clamp.bytes(self, scaled));
        std::array::from_fn(|at| bytes[at / 4 % 4][at / BLOCK * 4 + at % 4])
    }

    /// The bytes of four vectors of scaled values, vector by vector.
    #[inline(always)]
    fn narrow_in_order(self, scaled: [Self::Vector; 4], finish: &Finish) -> [[u8; BLOCK]; 4] {
        let clamp = finish.clamp(self);
        scaled.map(|scaled| clamp.bytes(self, scaled))
    }

    /// Entries of 64 bytes, in the order from which [`narrow`](Self::narrow) gives the bytes' own.
    #[inline(always)]
    fn look_up(self, table: &Planes, bytes: &Block) -> [Self::Vector; 4] {
        std::array::from_fn(|v| {
            let byte = |lane: usize| usize::from(bytes[lane / 4 * BLOCK + v * 4 + lane % 4]);
            self.load(&std::array::from_fn(|lane| i32::from_le_bytes(table.0.map(|plane| plane[byte(lane)]))))
        })
    }
}

/// A table of 256 32-bit entries: the first bytes of all, little-endian, then the second, third and fourth.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Planes(pub(crate) [[u8; 256]; 4]);

impl Planes {
    /// The table whose entries for 16 bytes each `entries` gives.
    #[inline(always)]
    pub(crate) fn new(mut entries: impl FnMut(&[u8; BLOCK]) -> Lanes) -> Self {
        let mut planes = [[0; 256]; 4];
        for first in (0..=u8::MAX).step_by(BLOCK) {
            let bytes = std::array::from_fn(|lane| first + u8::try_from(lane).unwrap_or(0));
            for (byte, entry) in bytes.into_iter().zip(entries(&bytes)) {
                planes.iter_mut().zip(entry.to_le_bytes()).for_each(|(plane, part)| plane[usize::from(byte)] = part);
            }
        }
        Self(planes)
    }
}

/// Work that can be done with any backend's vectors.
pub(crate) trait Task {
    /// Does it. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S);
}

impl Kernels {
    /// The tile registers, if this backend has them.
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
    pub(crate) fn tiles(&self) -> Option<amx::Tiles> {
        // SAFETY: `Kernels` exists for this backend only if the registers are available.
        (self.backend() == Backend::Amx).then(|| unsafe { amx::Tiles::configure() })
    }

    /// The tile registers, if this backend has them.
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
    pub(crate) fn tiles(&self) -> Option<amx::Tiles> {
        None
    }

    /// Whether vectors compute linear forms of bytes faster than in stages.
    pub(crate) fn has_linear(&self) -> bool {
        matches!(self.backend(), Backend::Vnni | Backend::Amx)
    }

    /// Whether vectors multiply inputs as signed numbers, as tiles do; else as unsigned ones.
    pub(crate) fn takes_signed(&self) -> bool {
        self.backend() == Backend::Neon
    }

    /// Runs `task` with this backend's vectors; `false` if it has none.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub(crate) fn vectorize(&self, task: impl Task) -> bool {
        match self.backend() {
            Backend::Scalar | Backend::Neon => return false,
            // SAFETY: `Kernels` exists for this backend only if the processor has AVX2.
            Backend::Avx2 => unsafe { avx2::enter(task) },
            // SAFETY: `Kernels` exists for this backend only if the processor has AVX-512 F, BW, DQ, VL and VNNI.
            Backend::Vnni | Backend::Amx => unsafe { avx512::enter(task) },
        }
        true
    }

    /// As [`vectorize`](Self::vectorize), for tasks that look bytes up in tables where that is fast.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub(crate) fn vectorize_with_tables(&self, task: impl Task) -> bool {
        let has_vnni = matches!(self.backend(), Backend::Vnni | Backend::Amx);
        if has_vnni && is_x86_feature_detected!("avx512vbmi") {
            // SAFETY: as in `vectorize`, and VBMI was detected.
            unsafe { avx512::enter_with_tables(task) };
            return true;
        }
        self.vectorize(task)
    }

    /// As [`vectorize`](Self::vectorize), for tasks that look bytes up in tables where that is fast.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pub(crate) fn vectorize_with_tables(&self, task: impl Task) -> bool {
        self.vectorize(task)
    }

    /// Runs `task` with this backend's vectors; `false` if it has none.
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    pub(crate) fn vectorize(&self, task: impl Task) -> bool {
        if self.backend() != Backend::Neon {
            return false;
        }
        // SAFETY: `Kernels` exists for this backend only if the processor has NEON and its dot products.
        unsafe { neon::enter(task) };
        true
    }

    /// Runs `task` with this backend's vectors; `false` if it has none.
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    pub(crate) fn vectorize(&self, _task: impl Task) -> bool {
        debug_assert_eq!(self.backend(), Backend::Scalar);
        false
    }
}

/// How values are scaled. A type per mode, so that a loop over pixels is made for one mode and keeps its parameters in registers.
pub(crate) trait Scaler<S: Simd> {
    fn scale(&self, s: S, value: S::Vector) -> S::Vector;
}

/// Mode `None`.
pub(crate) struct Plain;

/// Mode `Double`.
pub(crate) struct Double<S: Simd>(pub(crate) S::Double);

/// Mode `Single`.
pub(crate) struct Single<S: Simd>(pub(crate) S::Single);

/// Modes `Float` and `FloatZero`: scale, zero point added before rounding, clamp.
pub(crate) struct Float<S: Simd> {
    pub(crate) scale: S::Vector,
    pub(crate) zero: f32,
    pub(crate) clamp: [f32; 2],
}

impl<S: Simd> Scaler<S> for Plain {
    #[inline(always)]
    fn scale(&self, _: S, value: S::Vector) -> S::Vector {
        value
    }
}

impl<S: Simd> Scaler<S> for Double<S> {
    #[inline(always)]
    fn scale(&self, s: S, value: S::Vector) -> S::Vector {
        s.double(value, &self.0)
    }
}

impl<S: Simd> Scaler<S> for Single<S> {
    #[inline(always)]
    fn scale(&self, s: S, value: S::Vector) -> S::Vector {
        s.single(value, &self.0)
    }
}

impl<S: Simd> Scaler<S> for Float<S> {
    #[inline(always)]
    fn scale(&self, s: S, value: S::Vector) -> S::Vector {
        s.float(value, self.scale, self.zero, self.clamp)
    }
}

/// Any mode, where a loop has several stages and is not worth making for every combination.
pub(crate) enum AnyScaler<S: Simd> {
    Plain(Plain),
    Double(Double<S>),
    Single(Single<S>),
    Float(Float<S>),
}

impl<S: Simd> AnyScaler<S> {
    /// Float modes add `zero` before they round and clamp to `clamp`.
    #[inline(always)]
    pub(crate) fn new(s: S, mode: RoundingMode, channel: &Channel16, zero: f32, clamp: [f32; 2]) -> Self {
        match mode {
            RoundingMode::Double => Self::Double(Double(s.prepare_double(channel))),
            RoundingMode::Single => Self::Single(Single(s.prepare_single(channel))),
            RoundingMode::Float | RoundingMode::FloatZero => {
                Self::Float(Float { scale: s.load(&channel.multiplier), zero, clamp })
            }
            RoundingMode::None | RoundingMode::Reduced => Self::Plain(Plain),
        }
    }
}

impl<S: Simd> Scaler<S> for AnyScaler<S> {
    #[inline(always)]
    fn scale(&self, s: S, value: S::Vector) -> S::Vector {
        match self {
            Self::Plain(scaler) => scaler.scale(s, value),
            Self::Double(scaler) => scaler.scale(s, value),
            Self::Single(scaler) => scaler.scale(s, value),
            Self::Float(scaler) => scaler.scale(s, value),
        }
    }
}

/// What follows the scale: values are clamped to `low..=high`, then `zero` is added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    mode: RoundingMode,
    low: i32,
    high: i32,
    zero: i32,
    float_zero: f32,
}

/// [`Finish`] in registers.
#[derive(Clone, Copy)]
pub(crate) struct Clamp<S: Simd> {
    low: S::Vector,
    high: S::Vector,
    zero: S::Vector,
}

impl Finish {
    pub(crate) fn new(output: &Output8) -> Self {
        let mode = output.mode;
        // `FloatZero` adds the zero point before rounding, so only its clamp is left.
        let (before, zero) = if mode == RoundingMode::FloatZero { (output.zero, 0) } else { (0, output.zero) };
        Self { mode, low: output.min - zero, high: output.max - zero, zero, float_zero: small_float(before) }
    }

    #[inline(always)]
    pub(crate) fn scaler<S: Simd>(&self, s: S, channel: &Channel16) -> AnyScaler<S> {
        AnyScaler::new(s, self.mode, channel, self.float_zero, [small_float(self.low), small_float(self.high)])
    }

    #[inline(always)]
    pub(crate) fn clamp<S: Simd>(&self, s: S) -> Clamp<S> {
        Clamp { low: s.splat(self.low), high: s.splat(self.high), zero: s.splat(self.zero) }
    }
}

impl<S: Simd> Clamp<S> {
    /// The bytes of scaled values.
    #[inline(always)]
    pub(crate) fn bytes(&self, s: S, scaled: S::Vector) -> [u8; BLOCK] {
        s.low_bytes(s.add(s.min(s.max(scaled, self.low), self.high), self.zero))
    }
}

/// An integer of at most 16 bits as a float.
fn small_float(value: i32) -> f32 {
    f32::from(i16::try_from(value).unwrap_or(0)) // 8-bit values and their differences
}

/// Writes the first `out.len()` of 16 bytes without a call to the library's copy.
#[inline(always)]
pub(crate) fn store_bytes(out: &mut [u8], bytes: &[u8; BLOCK]) {
    if let Ok(whole) = <&mut [u8; BLOCK]>::try_from(&mut *out) {
        *whole = *bytes;
        return;
    }
    let mut done = 0;
    for step in [8, 4, 2, 1] {
        if out.len() & step != 0 {
            match step {
                8 => out[done..done + 8].copy_from_slice(&bytes[done..done + 8]),
                4 => out[done..done + 4].copy_from_slice(&bytes[done..done + 4]),
                2 => out[done..done + 2].copy_from_slice(&bytes[done..done + 2]),
                _ => out[done] = bytes[done],
            }
            done += step;
        }
    }
}

/// Up to 16 bytes, the rest zero.
#[inline(always)]
pub(crate) fn load_bytes(bytes: &[u8]) -> [u8; BLOCK] {
    match bytes.first_chunk() {
        Some(whole) => *whole,
        None => std::array::from_fn(|i| bytes.get(i).copied().unwrap_or(0)),
    }
}
