//! Maximum and average pooling.

mod lines;
mod scalar;

use crate::{Backend, Declined, Element8, Kernels, Map, Output8, Scratch, Source8, Window};
use cnnip_numerics::RoundingMode;
use std::num::NonZeroU32;

/// A pooling's input and window, without dilation; both sides have the same channels.
#[derive(Clone, Copy, Debug)]
pub struct Pool8<'a> {
    /// The input map; only average pooling looks at its zero point.
    pub input: Source8<'a>,
    /// Taps, strides and padding. Padded positions count for nothing.
    pub window: Window,
}

/// What average pooling divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// The number of valid positions.
    Valid,
    /// The whole window, padded positions included.
    Window,
}

impl Kernels {
    /// Largest element of each window, clamped to the output's `min..=max` (its zero point and mode are not looked at).
    ///
    /// # Errors
    /// [`Declined`], with nothing written, also where a window has no valid position.
    pub fn max_pool8(&self, pool: &Pool8<'_>, out: &mut [u8], map: Map, output: Output8) -> Result<(), Declined> {
        pool.check(out, map, output)?;
        if self.backend() == Backend::Scalar {
            scalar::max(pool, out, map, output);
        } else {
            self.vectorize(lines::Max { pool, out, map, output });
        }
        Ok(())
    }

    /// Average of each window: the sum of (x - zero) divided, halves away from zero, plus the output's zero point, clamped.
    ///
    /// # Errors
    /// [`Declined`], with nothing written: also where a window has no valid position, and for modes other than `None`.
    pub fn average_pool8(
        &self,
        scratch: &mut Scratch,
        pool: &Pool8<'_>,
        divisor: Divisor,
        out: &mut [u8],
        map: Map,
        output: Output8,
    ) -> Result<(), Declined> {
        pool.check(out, map, output)?;
        if output.mode != RoundingMode::None {
            return Err(Declined::Mode(output.mode));
        }
        if self.backend() == Backend::Scalar {
            scalar::average(pool, divisor, out, map, output);
        } else {
            self.vectorize(lines::Average { pool, divisor, sums: &mut scratch.sums, out, map, output });
        }
        Ok(())
    }
}

/// Windows above this are left to the slow path: their sums stay inside 32 bits.
const LARGEST_WINDOW: usize = 1 << 16;

impl Pool8<'_> {
    fn check(&self, out: &[u8], map: Map, output: Output8) -> Result<(), Declined> {
        self.input.check()?;
        self.window.check()?;
        output.check()?;
        map.check_destination(out.len())?;
        if map.c != self.input.map.c || self.input.element != Element8::Int8 {
            return Err(Declined::Shape { what: "pooling types" });
        }
        self.check_windows(map)
    }

    /// Every window has a valid position: the rows and columns of the first and last one do.
    fn check_windows(&self, map: Map) -> Result<(), Declined> {
        let Window { kh, kw, .. } = self.window;
        let dense = (self.window.dilation_y, self.window.dilation_x) == (1, 1) && kh * kw <= LARGEST_WINDOW;
        let rows = |y| (0..kh).any(|ky| self.window.row(y, ky, self.input.map.h).is_some());
        let columns = |x| (0..kw).any(|kx| self.window.column(x, kx, self.input.map.w).is_some());
        let valid = rows(0) && rows(map.h - 1) && columns(0) && columns(map.w - 1);
        if dense && valid { Ok(()) } else { Err(Declined::Shape { what: "pooling window" }) }
    }

    /// Offsets of the valid pixels under a window.
    fn valid(&self, y: usize, x: usize) -> impl Iterator<Item = usize> {
        let (map, window) = (self.input.map, self.window);
        let rows = (0..window.kh).filter_map(move |ky| window.row(y, ky, map.h));
        rows.flat_map(move |row| (0..window.kw).filter_map(move |kx| Some(map.at(row, window.column(x, kx, map.w)?))))
    }

    /// What the window's sum is divided by.
    fn count(&self, divisor: Divisor, y: usize, x: usize) -> NonZeroU32 {
        let count = match divisor {
            Divisor::Valid => self.valid(y, x).count(),
            Divisor::Window => self.window.taps(),
        };
        u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN) // windows are checked
    }

    fn value(&self, pixel: usize, c: usize) -> i32 {
        self.input.element.value(self.input.bytes[pixel + c])
    }
}

#[cfg(test)]
mod tests;
