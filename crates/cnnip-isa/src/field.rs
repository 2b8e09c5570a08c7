//! A field: some neighbouring bits of a word.

/// Where a field lies in a word.
///
/// ```
/// use cnnip_isa::Field;
///
/// let height = Field { shift: 16, width: 16 };
/// assert_eq!(height.put(8), 0x0008_0000);
/// assert_eq!(height.get(0x0008_0010), 8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Number of the lowest bit.
    pub shift: u32,
    /// Number of bits, 1 to 32.
    pub width: u32,
}

impl Field {
    /// The largest value that fits.
    #[must_use]
    pub const fn largest(self) -> u32 {
        u32::MAX >> (32 - self.width)
    }

    /// The bits of the word that the field takes.
    #[must_use]
    pub const fn mask(self) -> u32 {
        self.largest() << self.shift
    }

    /// The field's value in `word`.
    #[must_use]
    pub const fn get(self, word: u32) -> u32 {
        (word >> self.shift) & self.largest()
    }

    /// `value` in the place of the field, all other bits zero. Only the bits that fit are taken: whoever has a larger
    /// value must refuse it before.
    #[must_use]
    pub const fn put(self, value: u32) -> u32 {
        (value & self.largest()) << self.shift
    }
}
