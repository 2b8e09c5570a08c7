//! NEON with the dot product instructions of ARMv8.2: a vector is four registers, low lanes first.
//!
//! `SDOT` multiplies signed by signed bytes; so on this backend inputs are taken as signed numbers (`Kernels::takes_signed`).

use super::{Block, Lanes, Simd, Task};
use crate::channel::{BLOCK, Channel16};
use std::arch::aarch64::*;
use std::arch::asm;

/// Proof that NEON and its dot products may be used.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

/// Runs `task` with NEON and its dot products.
///
/// # Safety
/// The processor has both.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn enter(task: impl Task) {
    task.run(Neon(()));
}

type Quad = [int32x4_t; 4];

/// Parameters of mode `Double`, four lanes each.
#[derive(Clone, Copy)]
pub(super) struct Double {
    multiplier: Quad,
    left: Quad,
    /// Right shifts, negative.
    right: Quad,
}

/// Parameters of mode `Single`: the halves of every register as lanes of 64 bits.
#[derive(Clone, Copy)]
pub(super) struct Single {
    multiplier: Quad,
    /// Right shifts, negative.
    right: [[int64x2_t; 2]; 4],
}

/// Four vectors of the same operation on each register.
#[inline(always)]
fn each(function: impl Fn(usize) -> int32x4_t) -> Quad {
    [function(0), function(1), function(2), function(3)]
}

// SAFETY, of every block below: NEON is part of the target, the token proves that dot products exist, and memory is reached
// through references to arrays of the size that is read or written; no instruction used here asks for alignment.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all, stated above")]
#[allow(unused_unsafe, reason = "which intrinsics are unsafe differs between releases of Rust")]
impl Simd for Neon {
    type Vector = Quad;
    type Sums = Quad;
    type Double = Double;
    type Single = Single;
    type Linear = ();

    const TILE_BLOCKS: usize = 1;
    const TILE_PIXELS: usize = 6;

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Quad {
        let (parts, _) = lanes.as_chunks::<4>();
        each(|i| unsafe { vld1q_s32(parts[i].as_ptr()) })
    }

    #[inline(always)]
    fn store(self, vector: Quad, lanes: &mut Lanes) {
        for (part, vector) in lanes.as_chunks_mut::<4>().0.iter_mut().zip(vector) {
            unsafe { vst1q_s32(part.as_mut_ptr(), vector) }
        }
    }

    #[inline(always)]
    fn splat(self, value: i32) -> Quad {
        [unsafe { vdupq_n_s32(value) }; 4]
    }

    #[inline(always)]
    fn widen_int8(self, bytes: &[u8; BLOCK]) -> Quad {
        unsafe {
            let bytes = vreinterpretq_s8_u8(vld1q_u8(bytes.as_ptr()));
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
            [
                vmovl_s16(vget_low_s16(low)),
                vmovl_s16(vget_high_s16(low)),
                vmovl_s16(vget_low_s16(high)),
                vmovl_s16(vget_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    fn widen_uint8(self, bytes: &[u8; BLOCK]) -> Quad {
        unsafe {
            let bytes = vld1q_u8(bytes.as_ptr());
            let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes)));
            [
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
                vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
                vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high))),
            ]
        }
    }

    #[inline(always)]
    fn low_bytes(self, [a, b, c, d]: Quad) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        unsafe {
            let (low, high) = (vcombine_s16(vmovn_s32(a), vmovn_s32(b)), vcombine_s16(vmovn_s32(c), vmovn_s32(d)));
            vst1q_s8(bytes.as_mut_ptr().cast(), vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
        }
        bytes
    }

    #[inline(always)]
    fn add(self, a: Quad, b: Quad) -> Quad {
        each(|i| unsafe { vaddq_s32(a[i], b[i]) })
    }

    #[inline(always)]
    fn sub(self, a: Quad, b: Quad) -> Quad {
        each(|i| unsafe { vsubq_s32(a[i], b[i]) })
    }

    #[inline(always)]
    fn mul(self, a: Quad, b: Quad) -> Quad {
        each(|i| unsafe { vmulq_s32(a[i], b[i]) })
    }

    #[inline(always)]
    fn min(self, a: Quad, b: Quad) -> Quad {
        each(|i| unsafe { vminq_s32(a[i], b[i]) })
    }

    #[inline(always)]
    fn max(self, a: Quad, b: Quad) -> Quad {
        each(|i| unsafe { vmaxq_s32(a[i], b[i]) })
    }

    #[inline(always)]
    fn shift_left(self, a: Quad, bits: u32) -> Quad {
        let bits = self.splat(bits.cast_signed());
        each(|i| unsafe { vshlq_s32(a[i], bits[i]) })
    }

    #[inline(always)]
    fn prepare_double(self, channel: &Channel16) -> Double {
        let right = self.sub(self.splat(0), self.load(&channel.right));
        Double { multiplier: self.load(&channel.multiplier), left: self.load(&channel.left), right }
    }

    #[inline(always)]
    fn double(self, value: Quad, by: &Double) -> Quad {
        each(|i| unsafe {
            // Twice the product, its high half rounded: the two factors are never both the smallest number.
            let high = vqrdmulhq_s32(vshlq_s32(value[i], by.left[i]), by.multiplier[i]);
            // Halves away from zero: a shift rounds them up, so negative numbers are one smaller before, where any are shifted.
            let below = vshrq_n_s32::<31>(vandq_s32(high, by.right[i]));
            vrshlq_s32(vaddq_s32(high, below), by.right[i])
        })
    }

    #[inline(always)]
    fn prepare_single(self, channel: &Channel16) -> Single {
        let right = self.sub(self.splat(0), self.load(&channel.right));
        let wide = |i: usize| unsafe { [vmovl_s32(vget_low_s32(right[i])), vmovl_s32(vget_high_s32(right[i]))] };
        Single { multiplier: self.load(&channel.multiplier), right: [wide(0), wide(1), wide(2), wide(3)] }
    }

    #[inline(always)]
    fn single(self, value: Quad, by: &Single) -> Quad {
        each(|i| unsafe {
            let (value, factor, right) = (value[i], by.multiplier[i], by.right[i]);
            let low = vmull_s32(vget_low_s32(value), vget_low_s32(factor));
            let high = vmull_s32(vget_high_s32(value), vget_high_s32(factor));
            vcombine_s32(vmovn_s64(vrshlq_s64(low, right[0])), vmovn_s64(vrshlq_s64(high, right[1])))
        })
    }

    #[inline(always)]
    fn float(self, value: Quad, scale: Quad, zero: f32, clamp: [f32; 2]) -> Quad {
        each(|i| unsafe {
            let product = vmulq_f32(vcvtq_f32_s32(value[i]), vreinterpretq_f32_s32(scale[i]));
            let moved = vaddq_f32(product, vdupq_n_f32(zero));
            let (low, high) = (vdupq_n_f32(clamp[0]), vdupq_n_f32(clamp[1]));
            vcvtnq_s32_f32(vminq_f32(vmaxq_f32(moved, low), high))
        })
    }

    #[inline(always)]
    fn no_sums(self) -> Quad {
        self.splat(0)
    }

    #[inline(always)]
    fn dot_splat(self, sums: Quad, x: [u8; 4], w: &Block) -> Quad {
        let w = quarters(w);
        let x = unsafe { vreinterpretq_s8_s32(vdupq_n_s32(i32::from_le_bytes(x))) };
        each(|i| unsafe { sdot(sums[i], x, w[i]) })
    }

    #[inline(always)]
    fn dot(self, sums: Quad, x: &Block, w: &Block) -> Quad {
        let (x, w) = (quarters(x), quarters(w));
        each(|i| unsafe { sdot(sums[i], x[i], w[i]) })
    }

    #[inline(always)]
    fn total(self, sums: Quad) -> Quad {
        sums
    }

    #[inline(always)]
    fn interleave(self, rows: [&[u8; BLOCK]; 4], flip: u8) -> Block {
        let mut block = [0; 4 * BLOCK];
        unsafe {
            let flip = vdupq_n_u8(flip);
            let row = |r: usize| veorq_u8(vld1q_u8(rows[r].as_ptr()), flip);
            vst4q_u8(block.as_mut_ptr(), uint8x16x4_t(row(0), row(1), row(2), row(3)));
        }
        block
    }

    #[inline(always)]
    fn dot_pairs(self, sums: Quad, a: Quad, b: Quad) -> Quad {
        each(|i| unsafe {
            let (a, b) = (vreinterpretq_s16_s32(a[i]), vreinterpretq_s16_s32(b[i]));
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            let high = vmull_s16(vget_high_s16(a), vget_high_s16(b));
            vaddq_s32(sums[i], vpaddq_s32(low, high))
        })
    }

    #[inline(always)]
    fn even_and_odd_bytes(self, block: &Block) -> [Quad; 2] {
        let pairs = quarters(block).map(|part| unsafe { vreinterpretq_s16_s8(part) });
        [
            each(|i| unsafe { vreinterpretq_s32_s16(vshrq_n_s16::<8>(vshlq_n_s16::<8>(pairs[i]))) }),
            each(|i| unsafe { vreinterpretq_s32_s16(vshrq_n_s16::<8>(pairs[i])) }),
        ]
    }

    #[inline(always)]
    fn low_and_high_bytes(self, block: &Block) -> [Quad; 2] {
        let halves = quarters(block).map(|part| unsafe { vreinterpretq_s16_s8(part) });
        [
            each(|i| unsafe { vreinterpretq_s32_s16(vandq_s16(halves[i], vdupq_n_s16(0xff))) }),
            each(|i| unsafe { vreinterpretq_s32_s16(vshrq_n_s16::<8>(halves[i])) }),
        ]
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
        for (out, part) in out.as_chunks_mut::<16>().0.iter_mut().zip(block.as_chunks::<16>().0) {
            unsafe { vst1q_u8(out.as_mut_ptr(), veorq_u8(vld1q_u8(part.as_ptr()), vdupq_n_u8(flip))) }
        }
        out
    }
}

/// The quarters of a block.
#[inline(always)]
fn quarters(block: &Block) -> [int8x16_t; 4] {
    let (parts, _) = block.as_chunks::<BLOCK>();
    // SAFETY: NEON is part of the target, and each quarter has the sixteen bytes that are read.
    std::array::from_fn(|i| unsafe { vld1q_s8(parts[i].as_ptr().cast()) })
}

/// Lane i: adds the products of signed bytes 4i to 4i + 3. The intrinsic is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sums: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: the function's feature has the instruction, which only writes the register of the sums.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {x:v}.16b, {w:v}.16b",
            sums = inout(vreg) sums,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
