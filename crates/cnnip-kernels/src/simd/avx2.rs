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
    fn double(self, value: Pair, channel: &Channel16) -> Pair {
        let (multiplier, left, right) =
            (self.load(&channel.multiplier), self.load(&channel.left), self.load(&channel.right));
        unsafe {
            let [low, high] = [_mm256_sllv_epi32(value[0], left[0]), _mm256_sllv_epi32(value[1], left[1])];
            [double(low, multiplier[0], right[0]), double(high, multiplier[1], right[1])]
        }
    }

    #[inline(always)]
    fn single(self, value: Pair, channel: &Channel16) -> Pair {
        let (multiplier, right) = (self.load(&channel.multiplier), self.load(&channel.right));
        unsafe { [single(value[0], multiplier[0], right[0]), single(value[1], multiplier[1], right[1])] }
    }

    #[inline(always)]
    fn float(self, value: Pair, channel: &Channel16, zero: f32, clamp: [f32; 2]) -> Pair {
        let scale = self.load(&channel.multiplier);
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

/// Products of the even and of the odd lanes, 64 bits each.
#[inline]
#[target_feature(enable = "avx2")]
fn products(a: __m256i, b: __m256i) -> [__m256i; 2] {
    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
    [_mm256_mul_epi32(a, b), odd]
}

#[inline]
#[target_feature(enable = "avx2")]
fn double(value: __m256i, multiplier: __m256i, right: __m256i) -> __m256i {
    let [even, odd] = products(value, multiplier);
    let round = _mm256_set1_epi64x(1 << 30);
    let even = _mm256_srli_epi64::<31>(_mm256_add_epi64(even, round));
    let odd = _mm256_slli_epi64::<1>(_mm256_add_epi64(odd, round));
    divide(_mm256_blend_epi32::<0b1010_1010>(even, odd), right)
}

/// Rounding shift right, halves away from zero; values stay within 31 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn divide(value: __m256i, right: __m256i) -> __m256i {
    let one = _mm256_set1_epi32(1);
    let half = _mm256_sllv_epi32(one, _mm256_sub_epi32(right, one)); // a count of -1 gives 0
    let sign_at = _mm256_max_epi32(_mm256_sub_epi32(_mm256_set1_epi32(32), right), _mm256_set1_epi32(31));
    let negative = _mm256_srlv_epi32(value, sign_at); // 0 where nothing is shifted
    _mm256_srav_epi32(_mm256_sub_epi32(_mm256_add_epi32(value, half), negative), right)
}

#[inline]
#[target_feature(enable = "avx2")]
fn single(value: __m256i, multiplier: __m256i, right: __m256i) -> __m256i {
    let [even, odd] = products(value, multiplier);
    let low = _mm256_and_si256(right, _mm256_set1_epi64x(0xffff_ffff));
    let odd = _mm256_slli_epi64::<32>(shift_up(odd, _mm256_srli_epi64::<32>(right)));
    _mm256_blend_epi32::<0b1010_1010>(shift_up(even, low), odd)
}

/// Rounding shift right of 64-bit lanes, halves up.
#[inline]
#[target_feature(enable = "avx2")]
fn shift_up(value: __m256i, right: __m256i) -> __m256i {
    let one = _mm256_set1_epi64x(1);
    let half = _mm256_sllv_epi64(one, _mm256_sub_epi64(right, one)); // a count of -1 gives 0
    // There is no arithmetic shift of 64 bits: shift with an offset that makes the value positive, and take it off.
    let offset = _mm256_set1_epi64x(i64::MIN);
    let moved = _mm256_xor_si256(_mm256_add_epi64(value, half), offset);
    _mm256_sub_epi64(_mm256_srlv_epi64(moved, right), _mm256_srlv_epi64(offset, right))
}

#[inline]
#[target_feature(enable = "avx2")]
fn float(value: __m256i, scale: __m256i, zero: f32, clamp: [f32; 2]) -> __m256i {
    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(value), _mm256_castsi256_ps(scale));
    let moved = _mm256_add_ps(product, _mm256_set1_ps(zero));
    let [low, high] = [_mm256_set1_ps(clamp[0]), _mm256_set1_ps(clamp[1])];
    _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(moved, low), high))
}
