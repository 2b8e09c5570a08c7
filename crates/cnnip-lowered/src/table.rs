//! Tables of an element-wise layer.

use cnnip_isa::TableKind;
use cnnip_isa::operation::TableScale;
use cnnip_numerics::quantize::{Curve, half_table};

/// A function of one element by its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// int8: entries for -128 to 127.
    Bytes(Box<[i8; 256]>),
    /// int16: entries for -32768 and every 128 on, with lines between them.
    Words(Box<[i16; 513]>),
    /// int16: the half table of a curve, whose input is multiplied and shifted right first.
    Half {
        /// Which function.
        curve: Curve,
        /// Multiplier of the input.
        multiplier: u32,
        /// Right shift of the product.
        shift: u32,
    },
}

impl Table {
    /// The machine's name for it.
    pub const fn kind(&self) -> TableKind {
        match self {
            Self::Bytes(_) => TableKind::Int8_256,
            Self::Words(_) => TableKind::Int16_513,
            Self::Half { curve: Curve::Sigmoid, .. } => TableKind::Int16Sigmoid,
            Self::Half { curve: Curve::Tanh, .. } => TableKind::Int16Tanh,
        }
    }

    /// Scale of a half table's input.
    pub const fn scale(&self) -> Option<TableScale> {
        match *self {
            Self::Bytes(_) | Self::Words(_) => None,
            Self::Half { multiplier, shift, .. } => Some(TableScale { multiplier, shift }),
        }
    }

    /// Its entries as they stand in memory, little-endian.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(entries) => entries.iter().map(|entry| entry.cast_unsigned()).collect(),
            Self::Words(entries) => entries.iter().flat_map(|entry| entry.to_le_bytes()).collect(),
            Self::Half { .. } => half_table().iter().flat_map(|entry| entry.to_le_bytes()).collect(),
        }
    }
}
