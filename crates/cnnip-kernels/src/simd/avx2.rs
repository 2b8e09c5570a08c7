//! AVX2: a vector is two registers, low lanes first.

use super::{Block, Lanes, Simd, Task};
use crate::channel::{BLOCK, Channel16};
use std::arch::x86_64::*;

/// Proof that AVX2 may be used.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Runs `task` with AVX2.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn enter(task: impl Task) {
    task.run(Avx2(()));
}

type Pair = [__m256i; 2];

// SAFETY, of every block below: the token proves that the instructions exist, and memory is reached through references to
// arrays of the size that is read or written; no instruction used here asks for alignment.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all, stated above")]
impl Simd for Avx2 {
    type Vector = Pair;
    /// Register j: channels 4j to 4j + 3, two sums each.
    type Sums = [__m256i; 4];
    type Double = [Double; 2];
    type Single = [Single; 2];
    type Linear = ();

    const TILE_BLOCKS: usize = 1;
    const TILE_PIXELS: usize = 3;

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Pair {
        let (low, high) = lanes.split_at(BLOCK / 2);
        unsafe { [_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())] }
    }

    #[inline(always)]
    fn store(self, vector: Pair, lanes: &mut Lanes) {
        let (low, high) = lanes.split_at_mut(BLOCK / 2);
        unsafe {
            _mm256_storeu_si256(low.as_mut_ptr().cast(), vector[0]);
            _mm256_storeu_si256(high.as_mut_ptr().cast(), vector[1]);
        }
    }

    #[inline(always)]
    fn splat(self, value: i32) -> Pair {
        [unsafe { _mm256_set1_epi32(value) }; 2]
    }

    #[inline(always)]
    fn widen_int8(self, bytes: &[u8; BLOCK]) -> Pair {
        let [low, high] = halves(bytes);
        unsafe { [_mm256_cvtepi8_epi32(low), _mm256_cvtepi8_epi32(high)] }
    }

    #[inline(always)]
    fn widen_uint8(self, bytes: &[u8; BLOCK]) -> Pair {
        let [low, high] = halves(bytes);
        unsafe { [_mm256_cvtepu8_epi32(low), _mm256_cvtepu8_epi32(high)] }
    }

    #[inline(always)]
    fn low_bytes(self, [a, b]: Pair) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        unsafe {
            let low = _mm256_set1_epi32(0xff);
            let words = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let [first, last] = [_mm256_castsi256_si128(ordered), _mm256_extracti128_si256::<1>(ordered)];
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm_packus_epi16(first, last));
        }
        bytes
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_mullo_epi32(a[0], b[0]), _mm256_mullo_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_min_epi32(a[0], b[0]), _mm256_min_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_max_epi32(a[0], b[0]), _mm256_max_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn shift_left(self, a: Pair, bits: u32) -> Pair {
        unsafe {
            let bits = _mm_cvtsi32_si128(bits.cast_signed());
            [_mm256_sll_epi32(a[0], bits), _mm256_sll_epi32(a[1], bits)]
        }
    }

    #[inline(always)]
    fn prepare_double(self, channel: &Channel16) -> [Double; 2] {
        let (multiplier, left, right) =
            (self.load(&channel.multiplier), self.load(&channel.left), self.load(&channel.right));
        unsafe { [Double::new(multiplier[0], left[0], right[0]), Double::new(multiplier[1], left[1], right[1])] }
    }

    #[inline(always)]
    fn double(self, value: Pair, by: &[Double; 2]) -> Pair {
        unsafe { [double(value[0], by[0]), double(value[1], by[1])] }
    }

    #[inline(always)]
    fn prepare_single(self, channel: &Channel16) -> [Single; 2] {
        let (multiplier, right) = (self.load(&channel.multiplier), self.load(&channel.right));
        unsafe { [Single::new(multiplier[0], right[0]), Single::new(multiplier[1], right[1])] }
    }

    #[inline(always)]
    fn single(self, value: Pair, by: &[Single; 2]) -> Pair {
        unsafe { [single(value[0], by[0]), single(value[1], by[1])] }
    }

    #[inline(always)]
    fn float(self, value: Pair, scale: Pair, zero: f32, clamp: [f32; 2]) -> Pair {
        unsafe { [float(value[0], scale[0], zero, clamp), float(value[1], scale[1], zero, clamp)] }
    }

    #[inline(always)]
    fn no_sums(self) -> [__m256i; 4] {
        [unsafe { _mm256_setzero_si256() }; 4]
    }

    #[inline(always)]
    fn dot_splat(self, sums: [__m256i; 4], x: [u8; 4], w: &Block) -> [__m256i; 4] {
        let [a, b, c, d] = quarters(w);
        unsafe {
            let x = _mm256_cvtepu8_epi16(_mm_set1_epi32(i32::from_le_bytes(x)));
            [
                add_products(sums[0], x, a),
                add_products(sums[1], x, b),
                add_products(sums[2], x, c),
                add_products(sums[3], x, d),
            ]
        }
    }

    #[inline(always)]
    fn dot(self, sums: [__m256i; 4], x: &Block, w: &Block) -> [__m256i; 4] {
        let (x, w) = (quarters(x), quarters(w));
        unsafe {
            [
                add_products(sums[0], _mm256_cvtepu8_epi16(x[0]), w[0]),
                add_products(sums[1], _mm256_cvtepu8_epi16(x[1]), w[1]),
                add_products(sums[2], _mm256_cvtepu8_epi16(x[2]), w[2]),
                add_products(sums[3], _mm256_cvtepu8_epi16(x[3]), w[3]),
            ]
        }
    }

    #[inline(always)]
    fn total(self, [a, b, c, d]: [__m256i; 4]) -> Pair {
        // Adjacent sums added, then the middle quarters put in order.
        const ORDER: i32 = 0b11_01_10_00;
        unsafe {
            let [low, high] = [_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d)];
            [_mm256_permute4x64_epi64::<ORDER>(low), _mm256_permute4x64_epi64::<ORDER>(high)]
        }
    }

    #[inline(always)]
    fn interleave(self, rows: [&[u8; BLOCK]; 4], flip: u8) -> Block {
        let mut block = [0; 4 * BLOCK];
        unsafe {
            let flip = _mm_set1_epi8(flip.cast_signed());
            let row = |r: usize| _mm_xor_si128(_mm_loadu_si128(rows[r].as_ptr().cast()), flip);
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (low_ab, low_cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            let (high_ab, high_cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
            let low = _mm256_set_m128i(_mm_unpackhi_epi16(low_ab, low_cd), _mm_unpacklo_epi16(low_ab, low_cd));
            let high = _mm256_set_m128i(_mm_unpackhi_epi16(high_ab, high_cd), _mm_unpacklo_epi16(high_ab, high_cd));
            let (first, last) = block.split_at_mut(2 * BLOCK);
            _mm256_storeu_si256(first.as_mut_ptr().cast(), low);
            _mm256_storeu_si256(last.as_mut_ptr().cast(), high);
        }
        block
    }

    #[inline(always)]
    fn dot_pairs(self, sums: Pair, a: Pair, b: Pair) -> Pair {
        unsafe {
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(a[0], b[0])),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(a[1], b[1])),
            ]
        }
    }

    #[inline(always)]
    fn even_and_odd_bytes(self, block: &Block) -> [Pair; 2] {
        let [a, b] = load_halves(block);
        unsafe {
            let (even_a, even_b) = (_mm256_slli_epi16::<8>(a), _mm256_slli_epi16::<8>(b));
            [
                [_mm256_srai_epi16::<8>(even_a), _mm256_srai_epi16::<8>(even_b)],
                [_mm256_srai_epi16::<8>(a), _mm256_srai_epi16::<8>(b)],
            ]
        }
    }

    #[inline(always)]
    fn low_and_high_bytes(self, block: &Block) -> [Pair; 2] {
        let [a, b] = load_halves(block);
        unsafe {
            let low = _mm256_set1_epi16(0xff);
            [
                [_mm256_and_si256(a, low), _mm256_and_si256(b, low)],
                [_mm256_srai_epi16::<8>(a), _mm256_srai_epi16::<8>(b)],
            ]
        }
    }

    #[inline(always)]
    fn prepare_linear(self, _: &crate::Linear8) {}

    #[inline(always)]
    fn linear(self, _: &Block, _: &Block, (): &()) -> Block {
        [0; 4 * BLOCK] // never: `Kernels::has_linear`
    }

    #[inline(always)]
    fn flipped(self, block: &Block, flip: u8) -> Block {
        let mut out = [0; 4 * BLOCK];
        for (out, half) in out.as_chunks_mut::<32>().0.iter_mut().zip(block.as_chunks::<32>().0) {
            unsafe {
                let half = _mm256_loadu_si256(half.as_ptr().cast());
                let flipped = _mm256_xor_si256(half, _mm256_set1_epi8(flip.cast_signed()));
                _mm256_storeu_si256(out.as_mut_ptr().cast(), flipped);
            }
        }
        out
    }
}

/// Both halves of a block.
#[inline(always)]
fn load_halves(block: &Block) -> Pair {
    let (low, high) = block.split_at(2 * BLOCK);
    // SAFETY: the caller has a token for AVX2, and each half has the 32 bytes that are read.
    unsafe { [_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())] }
}

/// Eight bytes each, in the low half of a register.
#[inline(always)]
fn halves(bytes: &[u8; BLOCK]) -> [__m128i; 2] {
    let (low, high) = bytes.split_at(BLOCK / 2);
    // SAFETY: SSE2 is part of x86-64, and each half has the eight bytes that are read.
    unsafe { [_mm_loadl_epi64(low.as_ptr().cast()), _mm_loadl_epi64(high.as_ptr().cast())] }
}

/// The quarters of a block.
#[inline(always)]
fn quarters(block: &Block) -> [__m128i; 4] {
    let (low, high) = block.split_at(2 * BLOCK);
    let ((a, b), (c, d)) = (low.split_at(BLOCK), high.split_at(BLOCK));
    // SAFETY: SSE2 is part of x86-64, and each quarter has the sixteen bytes that are read.
    unsafe {
        [
            _mm_loadu_si128(a.as_ptr().cast()),
            _mm_loadu_si128(b.as_ptr().cast()),
            _mm_loadu_si128(c.as_ptr().cast()),
            _mm_loadu_si128(d.as_ptr().cast()),
        ]
    }
}

/// Adds products of unsigned 16-bit `x` below 256 and signed bytes `w`, in pairs.
#[inline]
#[target_feature(enable = "avx2")]
fn add_products(sums: __m256i, x: __m256i, w: __m128i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(x, _mm256_cvtepi8_epi16(w)))
}

/// The even and the odd lanes, each in the low half of 64 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn lanes64(value: __m256i) -> [__m256i; 2] {
    [value, _mm256_srli_epi64::<32>(value)]
}

/// Products of the even and of the odd lanes, 64 bits each.
#[inline]
#[target_feature(enable = "avx2")]
fn products(a: __m256i, b: [__m256i; 2]) -> [__m256i; 2] {
    let a = lanes64(a);
    [_mm256_mul_epi32(a[0], b[0]), _mm256_mul_epi32(a[1], b[1])]
}

/// Parameters of mode `Double`, for eight lanes.
#[derive(Clone, Copy)]
pub(super) struct Double {
    multiplier: [__m256i; 2],
    left: __m256i,
    right: __m256i,
    half: __m256i,
    sign_at: __m256i,
}

impl Double {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(multiplier: __m256i, left: __m256i, right: __m256i) -> Self {
        let one = _mm256_set1_epi32(1);
        // A count of -1 gives 0, and so does a count of 32: nothing is rounded where nothing is shifted.
        let half = _mm256_sllv_epi32(one, _mm256_sub_epi32(right, one));
        let sign_at = _mm256_max_epi32(_mm256_sub_epi32(_mm256_set1_epi32(32), right), _mm256_set1_epi32(31));
        Self { multiplier: lanes64(multiplier), left, right, half, sign_at }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn double(value: __m256i, by: Double) -> __m256i {
    let round = _mm256_set1_epi64x(1 << 30);
    let [even, odd] = products(_mm256_sllv_epi32(value, by.left), by.multiplier);
    let even = _mm256_srli_epi64::<31>(_mm256_add_epi64(even, round));
    let odd = _mm256_slli_epi64::<1>(_mm256_add_epi64(odd, round));
    let high = _mm256_blend_epi32::<0b1010_1010>(even, odd);
    // Halves away from zero: half is added, less one where the value is negative.
    let negative = _mm256_srlv_epi32(high, by.sign_at);
    _mm256_srav_epi32(_mm256_sub_epi32(_mm256_add_epi32(high, by.half), negative), by.right)
}

/// Parameters of mode `Single`, for eight lanes: even, odd.
#[derive(Clone, Copy)]
pub(super) struct Single {
    multiplier: [__m256i; 2],
    right: [__m256i; 2],
    half: [__m256i; 2],
    /// The sign bit, shifted as values are.
    offset: [__m256i; 2],
}

impl Single {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(multiplier: __m256i, right: __m256i) -> Self {
        let right = [_mm256_and_si256(right, _mm256_set1_epi64x(0xffff_ffff)), _mm256_srli_epi64::<32>(right)];
        let (one, sign) = (_mm256_set1_epi64x(1), _mm256_set1_epi64x(i64::MIN));
        // A count of -1 gives 0.
        let half = [
            _mm256_sllv_epi64(one, _mm256_sub_epi64(right[0], one)),
            _mm256_sllv_epi64(one, _mm256_sub_epi64(right[1], one)),
        ];
        let offset = [_mm256_srlv_epi64(sign, right[0]), _mm256_srlv_epi64(sign, right[1])];
        Self { multiplier: lanes64(multiplier), right, half, offset }
    }

    /// Rounding shift right of even (0) or odd (1) lanes, halves up.
    ///
    /// There is no arithmetic shift of 64 bits: an offset makes the value positive, and is taken off shifted.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn shift(&self, value: __m256i, half: usize) -> __m256i {
        let sign = _mm256_set1_epi64x(i64::MIN);
        let moved = _mm256_xor_si256(_mm256_add_epi64(value, self.half[half]), sign);
        _mm256_sub_epi64(_mm256_srlv_epi64(moved, self.right[half]), self.offset[half])
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn single(value: __m256i, by: Single) -> __m256i {
    let [even, odd] = products(value, by.multiplier);
    _mm256_blend_epi32::<0b1010_1010>(by.shift(even, 0), _mm256_slli_epi64::<32>(by.shift(odd, 1)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn float(value: __m256i, scale: __m256i, zero: f32, clamp: [f32; 2]) -> __m256i {
    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(value), _mm256_castsi256_ps(scale));
    let moved = _mm256_add_ps(product, _mm256_set1_ps(zero));
    let [low, high] = [_mm256_set1_ps(clamp[0]), _mm256_set1_ps(clamp[1])];
    _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(moved, low), high))
}
