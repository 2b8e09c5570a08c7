//! Vectors of sixteen binary32 lanes, and the way into code that may use them.
//!
//! As for the integer kernels, a [`Simd`] value is a token that exists only where the processor has the instructions, so
//! kernels are written once, in safe code. All of it is `inline(always)` and without closures on the hot paths, because
//! only inlined code may use the entry's instructions.

use super::Lanes;
use super::lanes::Portable;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::Backend;
use crate::Kernels;

/// The instructions of one backend.
pub(crate) trait Simd: Copy {
    /// Sixteen lanes.
    type Vector: Copy;

    /// Whether there are registers for 14 by 2 vectors of sums; else for 6 by 1.
    const WIDE: bool;

    fn load(self, lanes: &Lanes) -> Self::Vector;
    fn store(self, vector: Self::Vector, lanes: &mut Lanes);
    fn splat(self, value: f32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once or twice.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The smaller; `b` if one is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger; `b` if one is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a / b` as the division of binary32 rounds it, where the quotient is a normal number below 2^24; `inverse` is `1 / b`.
    fn divide(self, a: Self::Vector, b: Self::Vector, inverse: Self::Vector) -> Self::Vector;
    /// The nearest whole numbers, ties to even, of values up to 2^22.
    fn round(self, a: Self::Vector) -> Self::Vector;

    /// Stores the lanes that are not 0, in their order from the first of `to` on, and gives how many; behind them stands anything.
    #[inline(always)]
    fn without_zeros(self, a: Self::Vector, to: &mut Lanes) -> usize {
        let mut lanes = *to;
        self.store(a, &mut lanes);
        let mut kept = 0;
        for lane in lanes {
            to[kept] = lane;
            kept += usize::from(lane != 0.0);
        }
        kept
    }
}

/// Work that can be done with any backend's vectors.
pub(crate) trait Task {
    /// Does it. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, s: S);
}

impl Kernels {
    /// Runs `task` with the best vectors this backend allows.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub(crate) fn with_floats(&self, task: impl Task) {
        match self.backend() {
            // SAFETY: `Kernels` exists for this backend only if the processor has AVX2, and FMA was just seen.
            Backend::Avx2 if is_x86_feature_detected!("fma") => unsafe { super::lanes::x86::enter_fma(task) },
            Backend::Avx2 | Backend::Scalar | Backend::Neon => task.run(Portable),
            // SAFETY: `Kernels` exists for the backends above AVX2 only if the processor has AVX-512 F.
            Backend::Vnni | Backend::Amx => unsafe { super::lanes::x86::enter_avx512(task) },
        }
    }

    /// Runs `task` with the vectors that every processor has.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pub(crate) fn with_floats(&self, task: impl Task) {
        task.run(Portable);
    }
}
