//! Where elements lie: maps, windows.

use crate::Declined;

/// A feature map `[h][w][c]` of bytes in a slice that starts at element (0, 0, 0); channels are adjacent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Height in pixels.
    pub h: usize,
    /// Width in pixels.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Bytes from one row to the next; 0 repeats the row (sources only).
    pub row: usize,
    /// Bytes from one pixel to the next; 0 repeats the pixel (sources only).
    pub pix: usize,
}

impl Map {
    /// A map without gaps.
    ///
    /// ```
    /// use cnnip_kernels::Map;
    /// assert_eq!(Map::dense(2, 3, 4), Map { h: 2, w: 3, c: 4, row: 12, pix: 4 });
    /// ```
    #[must_use]
    pub const fn dense(h: usize, w: usize, c: usize) -> Self {
        Self { h, w, c, row: w.wrapping_mul(c), pix: c }
    }

    /// Bytes from element (0, 0, 0) to one past the last; `None` for an empty map or one beyond the address space.
    ///
    /// ```
    /// use cnnip_kernels::Map;
    /// assert_eq!(Map { h: 2, w: 2, c: 3, row: 100, pix: 10 }.extent(), Some(113));
    /// assert_eq!(Map::dense(0, 2, 3).extent(), None);
    /// ```
    #[must_use]
    pub fn extent(&self) -> Option<usize> {
        let rows = self.h.checked_sub(1)?.checked_mul(self.row)?;
        let pixels = self.w.checked_sub(1)?.checked_mul(self.pix)?;
        let end = rows.checked_add(pixels)?.checked_add(self.c)?;
        (self.c > 0 && isize::try_from(end).is_ok()).then_some(end)
    }

    /// Offset of pixel (y, x); the caller stays inside a checked map.
    pub(crate) fn at(&self, y: usize, x: usize) -> usize {
        y * self.row + x * self.pix
    }

    /// Checks that `len` bytes hold the map.
    pub(crate) fn check(&self, what: &'static str, len: usize) -> Result<(), Declined> {
        let need = self.extent().ok_or(Declined::Shape { what })?;
        if need <= len { Ok(()) } else { Err(Declined::Extent { what, have: len, need }) }
    }

    /// As [`Map::check`], and that no two elements share a byte and rows follow each other upwards.
    pub(crate) fn check_destination(&self, len: usize) -> Result<(), Declined> {
        self.check("output", len)?;
        let pixels_apart = self.w == 1 || self.pix >= self.c;
        let rows_apart = self.h == 1 || self.row >= (self.w - 1) * self.pix + self.c;
        if pixels_apart && rows_apart { Ok(()) } else { Err(Declined::Shape { what: "output strides" }) }
    }
}

/// How a window moves: tap (ky, kx) of output (y, x) reads input
/// `(y * stride_y + ky * dilation_y - top, x * stride_x + kx * dilation_x - left)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Taps down.
    pub kh: usize,
    /// Taps across.
    pub kw: usize,
    /// Input rows per output row.
    pub stride_y: usize,
    /// Input columns per output column.
    pub stride_x: usize,
    /// Input rows per tap.
    pub dilation_y: usize,
    /// Input columns per tap.
    pub dilation_x: usize,
    /// Rows of padding above the input.
    pub top: usize,
    /// Columns of padding left of the input.
    pub left: usize,
}

/// Sizes, strides and pads above this are left to the slow path; it keeps every product of a few of them inside `usize`.
const LARGEST: usize = 1 << 16;

impl Window {
    /// One tap, no padding: a fully connected layer or a 1x1 convolution.
    pub const POINT: Self = Self::square(1, 1, 0);

    /// `k` x `k` taps, the same stride and padding both ways, no dilation.
    #[must_use]
    pub const fn square(k: usize, stride: usize, pad: usize) -> Self {
        Self { kh: k, kw: k, stride_y: stride, stride_x: stride, dilation_y: 1, dilation_x: 1, top: pad, left: pad }
    }

    /// Number of taps.
    pub(crate) fn taps(&self) -> usize {
        self.kh * self.kw
    }

    /// Input row of tap `ky` of output row `y`, if inside `h` rows.
    pub(crate) fn row(&self, y: usize, ky: usize, h: usize) -> Option<usize> {
        (y * self.stride_y + ky * self.dilation_y).checked_sub(self.top).filter(|&row| row < h)
    }

    /// Input column of tap `kx` of output column `x`, if inside `w` columns.
    pub(crate) fn column(&self, x: usize, kx: usize, w: usize) -> Option<usize> {
        (x * self.stride_x + kx * self.dilation_x).checked_sub(self.left).filter(|&column| column < w)
    }

    /// Rows and columns that `h` x `w` outputs reach over, padding included.
    pub(crate) fn reach(&self, h: usize, w: usize) -> (usize, usize) {
        let rows = (h - 1) * self.stride_y + (self.kh - 1) * self.dilation_y + 1;
        (rows, (w - 1) * self.stride_x + (self.kw - 1) * self.dilation_x + 1)
    }

    pub(crate) fn check(&self) -> Result<(), Declined> {
        let sizes = [self.kh, self.kw, self.stride_y, self.stride_x, self.dilation_y, self.dilation_x];
        let legal = sizes.iter().all(|size| (1..=LARGEST).contains(size)) && self.top.max(self.left) <= LARGEST;
        if legal { Ok(()) } else { Err(Declined::Shape { what: "window" }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_may_not_alias() {
        let map = Map { h: 2, w: 2, c: 3, row: 6, pix: 3 };
        assert_eq!(map.check_destination(12), Ok(()));
        assert_eq!(map.check_destination(11), Err(Declined::Extent { what: "output", have: 11, need: 12 }));
        let aliased = Declined::Shape { what: "output strides" };
        assert_eq!(Map { pix: 2, ..map }.check_destination(12), Err(aliased));
        assert_eq!(Map { row: 5, ..map }.check_destination(12), Err(aliased));
    }

    #[test]
    fn maps_beyond_the_address_space_have_no_extent() {
        assert_eq!(Map { h: 3, w: 1, c: 1, row: usize::MAX / 2, pix: 0 }.extent(), None);
    }

    #[test]
    fn windows_know_what_is_padding() {
        let window = Window::square(3, 2, 1);
        assert_eq!([0, 1, 2].map(|ky| window.row(0, ky, 2)), [None, Some(0), Some(1)]);
        assert_eq!(window.column(1, 2, 3), None);
        assert_eq!(window.reach(2, 3), (5, 7));
    }
}
