//! Cutting a box of rows, columns and channels so that a piece fits.

use crate::size::{even, shrink};

/// Rows, columns and channels of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) channels: u32,
}

impl Tile {
    /// Pieces of `whole`.
    pub(crate) fn count(&self, whole: &Self) -> u64 {
        let cut = |extent: u32, step: u32| u64::from(extent.div_ceil(step.max(1)));
        let maps = cut(whole.rows, self.rows).saturating_mul(cut(whole.columns, self.columns));
        maps.saturating_mul(cut(whole.channels, self.channels))
    }
}

/// Largest extents of a map on the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) extent: u32,
    pub(crate) channels: u32,
}

impl Limits {
    pub(crate) fn of(target: &cnnip_isa::Target) -> Self {
        Self { extent: target.max_extent, channels: target.max_channels }
    }
}

/// The largest piece of `whole` for which `fits`: as many rows as possible; if one is too much, fewer columns; if one
/// pixel is too much, fewer channels. `None` if a single element does not fit.
///
/// `fits` must hold for every piece inside one for which it holds.
pub(crate) fn largest(whole: Tile, limits: Limits, fits: impl Fn(Tile) -> bool) -> Option<Tile> {
    for channels in shrink(whole.channels, 16, limits.channels) {
        for columns in shrink(whole.columns, 16, limits.extent) {
            let rows = most(whole.rows.min(limits.extent), |rows| fits(Tile { rows, columns, channels }));
            if let Some(rows) = rows {
                let channels = even_units(whole.channels, channels);
                return Some(Tile { rows: even(whole.rows, rows), columns: even(whole.columns, columns), channels });
            }
        }
    }
    None
}

/// Evens pieces, keeping multiples of 16 where there are any.
fn even_units(extent: u32, step: u32) -> u32 {
    even(extent, step).next_multiple_of(16).min(step)
}

/// The largest number from 1 to `limit` for which `fits`, which holds up to some number.
pub(crate) fn most(limit: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
    if !fits(1) {
        return None;
    }
    let (mut low, mut high) = (1, limit);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_first_then_columns_then_channels() {
        let whole = Tile { rows: 10, columns: 20, channels: 40 };
        let limits = Limits { extent: 65_535, channels: 65_535 };
        let within = |bytes: u32| {
            largest(whole, limits, |tile| tile.rows * tile.columns * tile.channels <= bytes)
                .map(|Tile { rows, columns, channels }| [rows, columns, channels])
        };
        assert_eq!(within(8000), Some([10, 20, 40]));
        assert_eq!(within(7999), Some([5, 20, 40]), "two even pieces");
        assert_eq!(within(799), Some([1, 10, 40]));
        assert_eq!(within(39), Some([1, 1, 32]));
        assert_eq!(within(0), None);
    }
}
