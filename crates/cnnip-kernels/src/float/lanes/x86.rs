//! AVX-512, and AVX2 with FMA.

use std::arch::x86_64::*;

use crate::float::Lanes;
use crate::float::simd::{Simd, Task};

/// Proof that AVX-512 F may be used.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// Proof that AVX2 and FMA may be used.
#[derive(Clone, Copy)]
pub(super) struct Fma(());

/// Runs `task` with AVX-512.
///
/// # Safety
/// The processor has the instructions named here.
#[target_feature(enable = "avx2,fma,avx512f")]
pub(in crate::float) unsafe fn enter_avx512(task: impl Task) {
    task.run(Avx512(()));
}

/// Runs `task` with AVX2 and FMA.
///
/// # Safety
/// The processor has the instructions named here.
#[target_feature(enable = "avx2,fma")]
pub(in crate::float) unsafe fn enter_fma(task: impl Task) {
    task.run(Fma(()));
}

// SAFETY, of every block below: the token proves that the instructions exist, and memory is reached through references to
// arrays of the size that is read or written; no instruction used here asks for alignment.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all, stated above")]
impl Simd for Avx512 {
    type Vector = __m512;

    const WIDE: bool = true;

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> __m512 {
        unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: __m512, lanes: &mut Lanes) {
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    /// One step of Markstein's correction after the product with the inverse (IBM J. Res. Dev. 34, 1990).
    #[inline(always)]
    fn divide(self, a: __m512, b: __m512, inverse: __m512) -> __m512 {
        unsafe {
            let quotient = _mm512_mul_ps(a, inverse);
            _mm512_fmadd_ps(_mm512_fnmadd_ps(quotient, b, a), inverse, quotient)
        }
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    fn without_zeros(self, a: __m512, to: &mut Lanes) -> usize {
        let kept = unsafe {
            let kept = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, _mm512_setzero_ps());
            _mm512_storeu_ps(to.as_mut_ptr(), _mm512_maskz_compress_ps(kept, a));
            kept
        };
        usize::try_from(kept.count_ones()).unwrap_or(0)
    }
}

type Pair = [__m256; 2];

// SAFETY, of every block below: as above.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all, stated above")]
impl Simd for Fma {
    type Vector = Pair;

    const WIDE: bool = false;

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Pair {
        let (low, high) = lanes.split_at(8);
        unsafe { [_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())] }
    }

    #[inline(always)]
    fn store(self, [low, high]: Pair, lanes: &mut Lanes) {
        let (first, second) = lanes.split_at_mut(8);
        unsafe {
            _mm256_storeu_ps(first.as_mut_ptr(), low);
            _mm256_storeu_ps(second.as_mut_ptr(), high);
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn divide(self, a: Pair, b: Pair, _: Pair) -> Pair {
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn round(self, a: Pair) -> Pair {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        unsafe { [_mm256_round_ps::<NEAREST>(a[0]), _mm256_round_ps::<NEAREST>(a[1])] }
    }
}
