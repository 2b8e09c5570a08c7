//! Real numbers on a grid of at most 256 steps, and the bytes that stand for them.

use super::simd::{Simd, Task};
use crate::operand::Element8;
use crate::{Declined, Kernels};

/// A grid: `real = (code - zero) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid8 {
    /// Step, above 0.
    pub scale: f32,
    /// The code that stands for 0; in the range of the type.
    pub zero: i32,
    /// Type of the codes.
    pub element: Element8,
}

/// Added to a number up to 2^22, this leaves its whole part in the low bits: 1.5 * 2^23.
const ROUNDING: f32 = 12_582_912.0;

impl Kernels {
    /// The codes of numbers that lie on the grid.
    ///
    /// # Errors
    /// [`Declined::Extent`] if there are not as many codes as numbers.
    pub fn encode_f32(&self, real: &[f32], grid: Grid8, codes: &mut [u8]) -> Result<(), Declined> {
        same(real.len(), codes.len())?;
        self.with_floats(Encode { real, inverse: grid.scale.recip(), offset: ROUNDING + small(grid.zero), codes });
        Ok(())
    }

    /// The numbers that codes stand for.
    ///
    /// # Errors
    /// As [`Kernels::encode_f32`].
    pub fn decode_f32(&self, codes: &[u8], grid: Grid8, real: &mut [f32]) -> Result<(), Declined> {
        same(codes.len(), real.len())?;
        self.with_floats(Decode { codes, grid, real });
        Ok(())
    }
}

fn same(have: usize, need: usize) -> Result<(), Declined> {
    if have == need { Ok(()) } else { Err(Declined::Extent { what: "codes", have, need }) }
}

/// A zero point as a float.
fn small(zero: i32) -> f32 {
    f32::from(i16::try_from(zero).unwrap_or(0)) // in the range of 8 bits
}

struct Encode<'a> {
    real: &'a [f32],
    inverse: f32,
    offset: f32,
    codes: &'a mut [u8],
}

impl Task for Encode<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (code, real) in self.codes.iter_mut().zip(self.real) {
            // Within 2^-15 of a whole number, as numbers on the grid are, any order of rounding gives that number.
            *code = (real * self.inverse + self.offset).to_bits().to_le_bytes()[0];
        }
    }
}

struct Decode<'a> {
    codes: &'a [u8],
    grid: Grid8,
    real: &'a mut [f32],
}

impl Task for Decode<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Grid8 { scale, zero, element } = self.grid;
        // As unsigned numbers both types are one, 128 higher where they are signed.
        let (flip, zero) = (element.flip(), small(zero + i32::from(element.flip())));
        for (real, code) in self.real.iter_mut().zip(self.codes) {
            *real = (f32::from(code ^ flip) - zero) * scale;
        }
    }
}
