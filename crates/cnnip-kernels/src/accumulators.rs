//! Spilled accumulators: 64 bits, little-endian, dense `[h][w][c]`.

use crate::operand::ACCUMULATOR;

/// One accumulator in memory.
pub(crate) type Accumulator = [u8; ACCUMULATOR];

/// `count` accumulators from index `first` on; the caller checked the length.
#[inline(always)]
pub(crate) fn slice(bytes: &[u8], first: usize, count: usize) -> &[Accumulator] {
    bytes[first * ACCUMULATOR..][..count * ACCUMULATOR].as_chunks().0
}

/// As [`slice`], for writing.
#[inline(always)]
pub(crate) fn slice_mut(bytes: &mut [u8], first: usize, count: usize) -> &mut [Accumulator] {
    bytes[first * ACCUMULATOR..][..count * ACCUMULATOR].as_chunks_mut().0
}

/// Accumulator `index`; the caller checked the length.
#[inline(always)]
pub(crate) fn read(bytes: &[u8], index: usize) -> i64 {
    bytes[index * ACCUMULATOR..].first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

/// Sets accumulator `index`; the caller checked the length.
#[inline(always)]
pub(crate) fn write(bytes: &mut [u8], index: usize, value: i64) {
    bytes[index * ACCUMULATOR..][..ACCUMULATOR].copy_from_slice(&value.to_le_bytes());
}

/// Largest magnitude of the first `count` accumulators.
pub(crate) fn magnitude(bytes: &[u8], count: usize) -> u64 {
    let (min, max) = slice(bytes, 0, count).iter().fold((0, 0), |(min, max): (i64, i64), &bytes| {
        let value = i64::from_le_bytes(bytes);
        (min.min(value), max.max(value))
    });
    min.unsigned_abs().max(max.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_inverts_write_and_magnitude_sees_both_signs() {
        let mut bytes = vec![0; 3 * ACCUMULATOR];
        write(&mut bytes, 1, -(1 << 40));
        write(&mut bytes, 2, i64::MIN);
        assert_eq!((read(&bytes, 0), read(&bytes, 1)), (0, -(1 << 40)));
        assert_eq!((magnitude(&bytes, 2), magnitude(&bytes, 3)), (1 << 40, 1 << 63));
    }
}
