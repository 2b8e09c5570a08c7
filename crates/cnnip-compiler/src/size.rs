//! Conversions and divisions of sizes.

/// A size as 64 bits.
pub(crate) fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// A size known to be below 2^32, as every extent and byte count of a tensor is.
pub(crate) fn small(size: impl TryInto<u32>) -> u32 {
    size.try_into().unwrap_or(u32::MAX)
}

/// Bytes of an element.
pub(crate) fn width(element: cnnip_isa::ElementType) -> u32 {
    small(element.bytes())
}

/// An index known to be below the length of something in memory.
pub(crate) fn index(value: impl TryInto<usize>) -> usize {
    value.try_into().unwrap_or(usize::MAX)
}

/// `value` rounded up to a multiple of `unit`.
pub(crate) fn aligned(value: u64, unit: u64) -> u64 {
    value.div_ceil(unit) * unit
}

/// Cuts `0..extent` into pieces of `step`; the last may be shorter.
pub(crate) fn pieces(extent: u32, step: u32) -> impl Iterator<Item = std::ops::Range<u32>> + Clone {
    let step = step.max(1);
    (0..extent.div_ceil(step)).map(move |i| i * step..((i + 1).saturating_mul(step)).min(extent))
}

/// The largest step not above `step` that cuts `extent` into equally many but more even pieces.
pub(crate) fn even(extent: u32, step: u32) -> u32 {
    extent.div_ceil(extent.div_ceil(step.max(1)).max(1)).max(1)
}

/// Sizes to try for an extent, largest first: the whole, then ever smaller parts rounded up to `unit`, then below the unit.
pub(crate) fn shrink(extent: u32, unit: u32, limit: u32) -> Vec<u32> {
    let mut sizes = vec![];
    let mut size = extent.min(limit).max(1);
    loop {
        sizes.push(size);
        if size == 1 {
            return sizes;
        }
        let half = size.div_ceil(2);
        let rounded = half.next_multiple_of(unit);
        size = if rounded < size { rounded } else { size / 2 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_shrink_by_units_then_below() {
        assert_eq!(shrink(100, 16, 1000), [100, 64, 32, 16, 8, 4, 2, 1]);
        assert_eq!(shrink(3, 16, 1000), [3, 1]);
        assert_eq!(shrink(100, 4, 40), [40, 20, 12, 8, 4, 2, 1]);
    }

    proptest! {
        #[test]
        fn pieces_cover_an_extent(extent in 1_u32..1000, step in 1_u32..1000) {
            let step = even(extent, step);
            let cut: Vec<_> = pieces(extent, step).collect();
            prop_assert_eq!(cut.iter().map(|piece| piece.end - piece.start).sum::<u32>(), extent);
            prop_assert!(cut.windows(2).all(|two| two[0].end == two[1].start));
            prop_assert!(cut.iter().all(|piece| !piece.is_empty()));
        }
    }
}
