//! Elements of a tensor.

use cnnip_graph::{ElementType, Tensor};

use crate::grid::{Grid, Ties, Whole};

/// The elements of a tensor in row-major order, as they are: not de-quantized.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Elements of a float type. Binary16 is widened, binary64 rounded to the nearest.
    Real(Vec<f32>),
    /// Elements of an integer type or `Bool` (0 or 1).
    Integer(Vec<i64>),
}

impl Elements {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Real(values) => values.len(),
            Self::Integer(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a constant holds; `None` if it has no data, or an integer above the range of `i64`.
    ///
    /// ```
    /// use cnnip_float::Elements;
    /// use cnnip_graph::{ElementType, Shape, Tensor};
    /// let half = Tensor::new("half", Shape::scalar(), ElementType::F16).constant(vec![0x00, 0x38]);
    /// assert_eq!(Elements::constant(&half), Some(Elements::Real(vec![0.5])));
    /// ```
    pub fn constant(tensor: &Tensor) -> Option<Self> {
        let data = tensor.data.as_ref()?;
        let bytes = data.bytes();
        Some(match tensor.element {
            ElementType::F32 => Self::Real(numbers(bytes, f32::from_le_bytes)),
            ElementType::F64 => Self::Real(numbers(bytes, |bytes| nearest(f64::from_le_bytes(bytes)))),
            ElementType::F16 => Self::Real(numbers(bytes, |bytes| widened(u16::from_le_bytes(bytes)))),
            ElementType::Bool => Self::Integer(bytes.iter().map(|&byte| i64::from(byte != 0)).collect()),
            integer => Self::Integer(data.integers(integer)?),
        })
    }

    /// The real numbers the elements of `tensor` stand for. Integers without a scale stand for themselves, rounded to
    /// binary32.
    pub fn real(&self, tensor: &Tensor) -> Vec<f32> {
        match (self, Grid::of(tensor)) {
            (Self::Real(values), _) => values.clone(),
            (Self::Integer(values), Some(grid)) => grid.dequantize_all(values),
            (Self::Integer(values), None) => values.iter().map(|&value| narrow(value)).collect(),
        }
    }

    /// The elements of `tensor` that are nearest to real numbers: on its grid if it has one, else whole numbers, else
    /// the numbers themselves.
    pub fn nearest(tensor: &Tensor, real: Vec<f32>, ties: Ties) -> Self {
        match (tensor.element.range(), Grid::of(tensor)) {
            (Some(_), Some(grid)) => Self::Integer(grid.quantize_all(&real, ties)),
            (Some((low, high)), None) => {
                Self::Integer(real.into_iter().map(|value| ties.whole(value).clamp(low, high)).collect())
            }
            (None, _) => Self::Real(real),
        }
    }

    /// The integers, if that is what they are.
    pub fn integers(&self) -> Option<&[i64]> {
        match self {
            Self::Integer(values) => Some(values),
            Self::Real(_) => None,
        }
    }

    /// A word for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Real(_) => "real numbers",
            Self::Integer(_) => "integers",
        }
    }
}

fn numbers<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| number(bytes)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest binary32 number is meant")]
pub(crate) fn nearest(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_precision_loss, reason = "the nearest binary32 number is meant")]
pub(crate) fn narrow(value: i64) -> f32 {
    value as f32
}

/// A binary16 number from its bits: sign, 5 bits of exponent, 10 of fraction (IEEE 754-2019, 3.4).
fn widened(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    match exponent {
        0 => f32::from_bits(sign | (f32::from(bits & 0x3ff) * 2_f32.powi(-24)).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_graph::{Quantization, Shape};

    #[test]
    fn binary16_is_widened_exactly() {
        let cases = [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x8000, -0.0)];
        for (bits, want) in cases {
            assert_eq!(widened(bits).to_bits(), f32::to_bits(want), "{bits:#x}");
        }
        assert_eq!(widened(0x7c00), f32::INFINITY);
        assert!(widened(0x7e00).is_nan());
    }

    #[test]
    fn integers_stand_for_real_numbers_per_channel() {
        let tensor = Tensor::new("w", Shape::new([2, 2]).unwrap(), ElementType::I8);
        let tensor = tensor.quantized(Quantization::symmetric_per_channel(0, vec![1.0, 0.5]));
        let elements = Elements::Integer(vec![1, -2, 3, 4]);
        assert_eq!(elements.real(&tensor), [1.0, -2.0, 1.5, 2.0]);
        assert_eq!(Elements::nearest(&tensor, vec![1.0, -2.0, 1.5, 2.0], Ties::Even), elements);
    }
}
