//! What the tables of registers and fields are made of.

use crate::engine::EngineKind;
use crate::field::Field;
use crate::generated::{CNN_REGISTERS, DMA_REGISTERS};

/// A register as the specification describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterSpec {
    /// Index, as SET and NEXT name it.
    pub index: u8,
    /// Name.
    pub name: &'static str,
    /// What it holds, in one or two sentences.
    pub doc: &'static str,
    /// How its word is read.
    pub kind: RegisterKind,
    /// Bits that may be set; setting another is the fault ReservedBits.
    pub mask: u32,
    /// Fields, for [`RegisterKind::Fields`].
    pub fields: &'static [FieldSpec],
}

/// How the word of a register is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterKind {
    /// As an unsigned number.
    Unsigned,
    /// As a two's complement number.
    Signed,
    /// As bits whose meaning depends: an integer, or an IEEE binary32 number.
    Bits,
    /// Field by field.
    Fields,
}

/// A field of a register or command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Name within its register or command.
    pub name: &'static str,
    /// Number of the lowest bit.
    pub shift: u32,
    /// Number of bits.
    pub width: u32,
    /// Smallest legal value.
    pub min: u32,
    /// Largest legal value.
    pub max: u32,
    /// What it means, in a few words.
    pub doc: &'static str,
    /// Names and codes of the values, where the specification enumerates them.
    pub values: Option<&'static [(&'static str, u32)]>,
}

impl FieldSpec {
    /// The bits of the field.
    #[must_use]
    pub const fn field(&self) -> Field {
        Field { shift: self.shift, width: self.width }
    }

    /// The name that the specification gives to `value`, if it enumerates the values.
    #[must_use]
    pub fn value_name(&self, value: u32) -> Option<&'static str> {
        self.values?.iter().find(|&&(_, code)| code == value).map(|&(name, _)| name)
    }
}

/// The registers of an engine, in the order of their indices.
#[must_use]
pub const fn registers_of(engine: EngineKind) -> &'static [RegisterSpec] {
    match engine {
        EngineKind::Dma => DMA_REGISTERS,
        EngineKind::Cnn => CNN_REGISTERS,
    }
}
