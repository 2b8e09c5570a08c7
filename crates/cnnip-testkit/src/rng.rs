//! A small random generator: the same seed gives the same cases on every machine, for ever.

use std::ops::RangeInclusive;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 32 random bits.
    pub fn word(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.bits().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// A number within `range`.
    pub fn wide(&mut self, range: RangeInclusive<i64>) -> i64 {
        let (low, high) = (i128::from(*range.start()), i128::from(*range.end()));
        let offset = i128::from(self.bits()) % (high - low + 1).max(1);
        i64::try_from(low + offset).unwrap_or(*range.start())
    }

    /// A number within `range`.
    pub fn within(&mut self, range: RangeInclusive<u32>) -> u32 {
        let number = self.wide(i64::from(*range.start())..=i64::from(*range.end()));
        u32::try_from(number).unwrap_or(*range.start())
    }

    /// A signed number within `range`.
    pub fn signed(&mut self, range: RangeInclusive<i32>) -> i32 {
        let number = self.wide(i64::from(*range.start())..=i64::from(*range.end()));
        i32::try_from(number).unwrap_or(*range.start())
    }

    /// An index below `len`, which is not 0.
    pub fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.bits() % len).unwrap_or(0)
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.within(0..=99) < percent
    }

    /// One of `items`, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    /// Random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.bits().to_le_bytes()[0]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn the_sequence_never_changes() {
        let mut rng = Rng::new(1);
        assert_eq!(rng.bits(), 0x910a_2dec_8902_5cc1);
        assert_eq!(rng.bits(), 0xbeeb_8da1_658e_ec67);
    }

    #[test]
    fn numbers_stay_within_their_range() {
        let mut rng = Rng::new(7);
        for _ in 0..1000 {
            assert!((-3..=5).contains(&rng.signed(-3..=5)));
            assert!((2..=2).contains(&rng.within(2..=2)));
        }
    }
}
