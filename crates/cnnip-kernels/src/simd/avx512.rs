//! AVX-512 with VNNI: a vector is one register.

use super::{Block, Finish, Lanes, Planes, Simd, Task};
use crate::channel::{BLOCK, Channel16};
use crate::eltwise::LOW_BITS;
use crate::{Element8, Linear8};
use std::arch::x86_64::*;

/// Proof that AVX-512 F, BW, DQ, VL and VNNI may be used; with `TABLES`, also VBMI.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const TABLES: bool>(());

/// Runs `task` with AVX-512.
///
/// # Safety
/// The processor has the instructions named here.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn enter(task: impl Task) {
    task.run(Avx512::<false>(()));
}

/// Runs `task` with AVX-512, tables of bytes among it.
///
/// # Safety
/// The processor has the instructions named here.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn enter_with_tables(task: impl Task) {
    task.run(Avx512::<true>(()));
}

/// Parameters of mode `Double`.
#[derive(Clone, Copy)]
pub(super) struct Double {
    multiplier: [__m512i; 2],
    left: __m512i,
    right: __m512i,
    half: __m512i,
    /// Lanes that are shifted right.
    shifted: __mmask16,
}

/// Parameters of mode `Single`: even lanes, odd lanes.
#[derive(Clone, Copy)]
pub(super) struct Single {
    multiplier: [__m512i; 2],
    right: [__m512i; 2],
    half: [__m512i; 2],
}

/// A linear form of bytes.
#[derive(Clone, Copy)]
pub(super) struct Linear {
    elements: [Element8; 2],
    /// Pairs of 16-bit factors in every lane.
    low: __m512i,
    high: __m512i,
    start: [__m512i; 2],
    shift: __m128i,
    clamp: [__m512i; 2],
}

/// Odd 32-bit lanes.
const ODD: __mmask16 = 0xaaaa;

// SAFETY, of every block below: the token proves that the instructions exist, and memory is reached through references to
// arrays of the size that is read or written; no instruction used here asks for alignment.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all, stated above")]
impl<const TABLES: bool> Simd for Avx512<TABLES> {
    type Vector = __m512i;
    type Sums = __m512i;
    type Double = Double;
    type Single = Single;
    type Linear = Linear;

    const TILE_BLOCKS: usize = 3;
    const TILE_PIXELS: usize = 8;
    const NARROWS_FOUR: bool = true;
    const LOOKS_UP: bool = TABLES;

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> __m512i {
        unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, vector: __m512i, lanes: &mut Lanes) {
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn splat(self, value: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn widen_int8(self, bytes: &[u8; BLOCK]) -> __m512i {
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn widen_uint8(self, bytes: &[u8; BLOCK]) -> __m512i {
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn low_bytes(self, vector: __m512i) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(vector)) };
        bytes
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_mullo_epi32(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_min_epi32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_max_epi32(a, b) }
    }

    #[inline(always)]
    fn shift_left(self, a: __m512i, bits: u32) -> __m512i {
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(bits.cast_signed())) }
    }

    #[inline(always)]
    fn prepare_double(self, channel: &Channel16) -> Double {
        let (multiplier, left, right) =
            (self.load(&channel.multiplier), self.load(&channel.left), self.load(&channel.right));
        unsafe {
            let one = _mm512_set1_epi32(1);
            // A count of -1 gives 0, and so does a count of 32: nothing is rounded where nothing is shifted.
            let half = _mm512_sllv_epi32(one, _mm512_sub_epi32(right, one));
            let shifted = _mm512_cmpgt_epi32_mask(right, _mm512_setzero_si512());
            Double { multiplier: lanes64(multiplier), left, right, half, shifted }
        }
    }

    // Shifts and products are for one of the two ports that 512-bit instructions have, moves of lanes and comparisons for the other,
    // so the products' bits 31 to 62 are doubled into place and moved.
    #[inline(always)]
    fn double(self, value: __m512i, by: &Double) -> __m512i {
        unsafe {
            let round = _mm512_set1_epi64(1 << 30);
            let [even, odd] = products(_mm512_sllv_epi32(value, by.left), by.multiplier);
            let (even, odd) = (_mm512_add_epi64(even, round), _mm512_add_epi64(odd, round));
            let (even, odd) = (_mm512_add_epi64(even, even), _mm512_add_epi64(odd, odd));
            let high = _mm512_mask_blend_epi32(ODD, odd_lanes(even), odd);
            // Halves away from zero: half is added, less one where the value is negative.
            let negative = _mm512_mask_cmplt_epi32_mask(by.shifted, high, _mm512_setzero_si512());
            let rounded = _mm512_add_epi32(high, by.half);
            let rounded = _mm512_mask_sub_epi32(rounded, negative, rounded, _mm512_set1_epi32(1));
            _mm512_srav_epi32(rounded, by.right)
        }
    }

    #[inline(always)]
    fn prepare_single(self, channel: &Channel16) -> Single {
        let (multiplier, right) = (self.load(&channel.multiplier), self.load(&channel.right));
        unsafe {
            let low = _mm512_and_si512(right, _mm512_set1_epi64(0xffff_ffff));
            let right = [low, _mm512_srli_epi64::<32>(right)];
            let one = _mm512_set1_epi64(1);
            // A count of -1 gives 0.
            let half = [
                _mm512_sllv_epi64(one, _mm512_sub_epi64(right[0], one)),
                _mm512_sllv_epi64(one, _mm512_sub_epi64(right[1], one)),
            ];
            Single { multiplier: lanes64(multiplier), right, half }
        }
    }

    #[inline(always)]
    fn single(self, value: __m512i, by: &Single) -> __m512i {
        unsafe {
            let [even, odd] = products(value, by.multiplier);
            let even = _mm512_srav_epi64(_mm512_add_epi64(even, by.half[0]), by.right[0]);
            let odd = _mm512_srav_epi64(_mm512_add_epi64(odd, by.half[1]), by.right[1]);
            _mm512_mask_blend_epi32(ODD, even, _mm512_slli_epi64::<32>(odd))
        }
    }

    #[inline(always)]
    fn float(self, value: __m512i, scale: __m512i, zero: f32, clamp: [f32; 2]) -> __m512i {
        unsafe {
            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(value), _mm512_castsi512_ps(scale));
            let moved = _mm512_add_ps(product, _mm512_set1_ps(zero));
            let [low, high] = [_mm512_set1_ps(clamp[0]), _mm512_set1_ps(clamp[1])];
            _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(moved, low), high))
        }
    }

    #[inline(always)]
    fn no_sums(self) -> __m512i {
        self.splat(0)
    }

    #[inline(always)]
    fn dot_splat(self, sums: __m512i, x: [u8; 4], w: &Block) -> __m512i {
        unsafe {
            let w = _mm512_loadu_si512(w.as_ptr().cast());
            _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(i32::from_le_bytes(x)), w)
        }
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, x: &Block, w: &Block) -> __m512i {
        unsafe {
            _mm512_dpbusd_epi32(sums, _mm512_loadu_si512(x.as_ptr().cast()), _mm512_loadu_si512(w.as_ptr().cast()))
        }
    }

    #[inline(always)]
    fn total(self, sums: __m512i) -> __m512i {
        sums
    }

    #[inline(always)]
    fn interleave(self, rows: [&[u8; BLOCK]; 4], flip: u8) -> Block {
        let mut block = [0; 4 * BLOCK];
        unsafe {
            let row = |r: usize| _mm_loadu_si128(rows[r].as_ptr().cast());
            let (low, high) = (_mm256_set_m128i(row(1), row(0)), _mm256_set_m128i(row(3), row(2)));
            let rows = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            // Four channels of every row into each quarter, then a transposition within it.
            let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let within = _mm512_set4_epi32(0x0f0b_0703, 0x0e0a_0602, 0x0d09_0501, 0x0c08_0400);
            let mixed = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(quarters, rows), within);
            let flipped = _mm512_xor_si512(mixed, _mm512_set1_epi8(flip.cast_signed()));
            _mm512_storeu_si512(block.as_mut_ptr().cast(), flipped);
        }
        block
    }

    #[inline(always)]
    fn dot_pairs(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_dpwssd_epi32(sums, a, b) }
    }

    #[inline(always)]
    fn even_and_odd_bytes(self, block: &Block) -> [__m512i; 2] {
        unsafe {
            let bytes = _mm512_loadu_si512(block.as_ptr().cast());
            [_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(bytes)), _mm512_srai_epi16::<8>(bytes)]
        }
    }

    #[inline(always)]
    fn low_and_high_bytes(self, block: &Block) -> [__m512i; 2] {
        unsafe {
            let halves = _mm512_loadu_si512(block.as_ptr().cast());
            [_mm512_and_si512(halves, _mm512_set1_epi16(0xff)), _mm512_srai_epi16::<8>(halves)]
        }
    }

    #[inline(always)]
    fn prepare_linear(self, linear: &Linear8) -> Linear {
        let pair = |[a, b]: [i16; 2]| {
            let ([a, b], [c, d]) = (a.to_le_bytes(), b.to_le_bytes());
            self.splat(i32::from_le_bytes([a, b, c, d]))
        };
        unsafe {
            Linear {
                elements: linear.elements,
                low: pair(linear.low),
                high: pair(linear.high),
                start: linear.start.map(|start| self.splat(start)),
                shift: _mm_cvtsi32_si128(linear.shift.cast_signed()),
                clamp: [_mm512_set1_epi8(linear.min), _mm512_set1_epi8(linear.max)],
            }
        }
    }

    #[inline(always)]
    fn linear(self, a: &Block, b: &Block, by: &Linear) -> Block {
        let mut out = [0; 4 * BLOCK];
        unsafe {
            let (a, b) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
            let low = linear_half(_mm512_castsi512_si256(a), _mm512_castsi512_si256(b), by);
            let high = linear_half(_mm512_extracti64x4_epi64::<1>(a), _mm512_extracti64x4_epi64::<1>(b), by);
            let bytes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            let clamped = _mm512_min_epi8(_mm512_max_epi8(bytes, by.clamp[0]), by.clamp[1]);
            _mm512_storeu_si512(out.as_mut_ptr().cast(), clamped);
        }
        out
    }

    #[inline(always)]
    fn flipped(self, block: &Block, flip: u8) -> Block {
        let mut out = [0; 4 * BLOCK];
        unsafe {
            let flipped =
                _mm512_xor_si512(_mm512_loadu_si512(block.as_ptr().cast()), _mm512_set1_epi8(flip.cast_signed()));
            _mm512_storeu_si512(out.as_mut_ptr().cast(), flipped);
        }
        out
    }

    // The zero point is added before the clamp: sums saturate at 16 bits and then at 8, and what lies beyond is beyond the limits too.
    #[inline(always)]
    fn narrow(self, [a, b, c, d]: [__m512i; 4], finish: &Finish) -> Block {
        let mut block = [0; 4 * BLOCK];
        unsafe {
            let zero = _mm512_set1_epi32(finish.zero);
            let zero = _mm512_packs_epi32(zero, zero);
            let low = _mm512_set1_epi8((finish.low + finish.zero).to_le_bytes()[0].cast_signed());
            let high = _mm512_set1_epi8((finish.high + finish.zero).to_le_bytes()[0].cast_signed());
            let first = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero);
            let second = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero);
            let bytes = _mm512_packs_epi16(first, second);
            let clamped = _mm512_min_epi8(_mm512_max_epi8(bytes, low), high);
            _mm512_storeu_si512(block.as_mut_ptr().cast(), clamped);
        }
        block
    }

    #[inline(always)]
    fn narrow_in_order(self, scaled: [__m512i; 4], finish: &Finish) -> [[u8; BLOCK]; 4] {
        let block = self.narrow(scaled, finish);
        let mut rows = [[0; BLOCK]; 4];
        unsafe {
            let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let block = _mm512_permutexvar_epi32(quarters, _mm512_loadu_si512(block.as_ptr().cast()));
            _mm512_storeu_si512(rows.as_mut_ptr().cast(), block);
        }
        rows
    }

    #[inline(always)]
    fn look_up(self, table: &Planes, bytes: &Block) -> [__m512i; 4] {
        assert!(TABLES);
        unsafe {
            let index = _mm512_loadu_si512(bytes.as_ptr().cast());
            // The upper two bits of a byte say which quarter of a plane has its entry.
            let top = _mm512_movepi8_mask(index);
            let next = _mm512_movepi8_mask(_mm512_add_epi8(index, index));
            let in_quarter = [next, top, top & next];
            let a = in_plane(&table.0[0], index, in_quarter);
            let b = in_plane(&table.0[1], index, in_quarter);
            let c = in_plane(&table.0[2], index, in_quarter);
            let d = in_plane(&table.0[3], index, in_quarter);
            let [low, low_end] = [_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b)];
            let [high, high_end] = [_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d)];
            [
                _mm512_unpacklo_epi16(low, high),
                _mm512_unpackhi_epi16(low, high),
                _mm512_unpacklo_epi16(low_end, high_end),
                _mm512_unpackhi_epi16(low_end, high_end),
            ]
        }
    }
}

/// A linear form of 32 bytes each, not clamped.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn linear_half(a: __m256i, b: __m256i, by: &Linear) -> __m256i {
    let (a, b) = (wide_bytes(a, by.elements[0]), wide_bytes(b, by.elements[1]));
    // Pairs leave their order within each quarter, and packing brings it back.
    let first = linear_pairs(_mm512_unpacklo_epi16(a, b), by);
    let second = linear_pairs(_mm512_unpackhi_epi16(a, b), by);
    _mm512_cvtsepi16_epi8(_mm512_packs_epi32(first, second))
}

/// A linear form of a pair of 16-bit numbers in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn linear_pairs(pairs: __m512i, by: &Linear) -> __m512i {
    let low = _mm512_srai_epi32::<LOW_BITS>(_mm512_dpwssd_epi32(by.start[0], pairs, by.low));
    let high = _mm512_dpwssd_epi32(_mm512_add_epi32(low, by.start[1]), pairs, by.high);
    _mm512_sra_epi32(high, by.shift)
}

/// Bytes as 16-bit numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn wide_bytes(bytes: __m256i, element: Element8) -> __m512i {
    match element {
        Element8::Int8 => _mm512_cvtepi8_epi16(bytes),
        Element8::Uint8 => _mm512_cvtepu8_epi16(bytes),
    }
}

/// The even and the odd lanes, each in the low half of 64 bits; the high halves hold anything.
#[inline]
#[target_feature(enable = "avx512f")]
fn lanes64(value: __m512i) -> [__m512i; 2] {
    [value, odd_lanes(value)]
}

/// The odd lanes in the place of the even ones.
#[inline]
#[target_feature(enable = "avx512f")]
fn odd_lanes(value: __m512i) -> __m512i {
    _mm512_castps_si512(_mm512_movehdup_ps(_mm512_castsi512_ps(value)))
}

/// Entries of a table of bytes; the masks say which may be in the second, third and fourth quarter, of which the last is the one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn in_plane(plane: &[u8; 256], index: __m512i, in_quarter: [__mmask64; 3]) -> __m512i {
    let (quarters, _) = plane.as_chunks::<64>();
    let found = _mm512_permutexvar_epi8(index, quarter(&quarters[0]));
    let found = _mm512_mask_permutexvar_epi8(found, in_quarter[0], index, quarter(&quarters[1]));
    let found = _mm512_mask_permutexvar_epi8(found, in_quarter[1], index, quarter(&quarters[2]));
    _mm512_mask_permutexvar_epi8(found, in_quarter[2], index, quarter(&quarters[3]))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn quarter(bytes: &Block) -> __m512i {
    // SAFETY: the load is of 64 bytes, and needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Products of the even and of the odd lanes, 64 bits each.
#[inline]
#[target_feature(enable = "avx512f")]
fn products(a: __m512i, b: [__m512i; 2]) -> [__m512i; 2] {
    let a = lanes64(a);
    [_mm512_mul_epi32(a[0], b[0]), _mm512_mul_epi32(a[1], b[1])]
}
