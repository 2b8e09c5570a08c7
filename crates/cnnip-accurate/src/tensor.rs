//! The tensors of a network as a user sees them.

use cnnip_graph::ElementType as Element;
use cnnip_hostops::{Affine, convert, rows_of_list};
use cnnip_package::{ElementType, SourceTensor};

/// A tensor of the network, in the order of axes that the layers compute in.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name.
    pub name: String,
    /// Extents, outermost first; dense, row-major.
    pub shape: Vec<u32>,
    /// Type of one element; `None` for a type that no package knows.
    pub element: Option<ElementType>,
    /// Scale and zero point: `real = scale * (stored - zero point)`.
    pub quantization: Option<(f32, i32)>,
    /// What it is in the source model.
    pub model: SourceTensor,
    /// Where its elements come from.
    pub state: State,
    /// Whether only rows before the first that begins with a negative number mean something.
    pub is_list: bool,
}

/// Where the elements of a tensor come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The application.
    Input,
    /// The model.
    Constant,
    /// A layer, complete after the last that writes to it.
    Computed {
        /// Index of that layer.
        layer: usize,
        /// Its name: that of the source's node.
        node: String,
        /// Name of its operator.
        operator: String,
    },
    /// Nothing: it was fused into a layer and does not exist.
    Fused,
}

impl Tensor {
    /// Whether a run gives it elements.
    pub const fn exists(&self) -> bool {
        !matches!(self.state, State::Fused)
    }

    /// Extents in the source's order of axes.
    pub fn source_shape(&self) -> Vec<u32> {
        self.model.per_axis(&self.shape)
    }
}

/// A tensor with its elements.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// Name, shape, type and scale.
    pub const fn tensor(&self) -> &'a Tensor {
        self.tensor
    }

    /// The elements as they are in memory: dense, row-major, little-endian.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements of the rows that mean something: all but for a list, such as the boxes that non-maximum suppression keeps.
    pub fn found(&self) -> &'a [u8] {
        let length = self.tensor.shape.last().map_or(1, |&length| usize::try_from(length).unwrap_or(usize::MAX));
        let rows = || rows_of_list(self.bytes, length).saturating_mul(length).saturating_mul(size_of::<i64>());
        let end = if self.tensor.is_list { rows() } else { self.bytes.len() };
        self.bytes.get(..end).unwrap_or(self.bytes)
    }

    /// The elements in the source's order of axes: dense, row-major, little-endian.
    pub fn source_bytes(&self) -> Vec<u8> {
        let bytes = self.tensor.element.map_or(1, ElementType::bytes);
        self.tensor.model.to_source(self.bytes, &self.tensor.shape, usize::try_from(bytes).unwrap_or(1))
    }

    /// The real numbers that the elements stand for: `scale * (q - zero point)` in binary32, or floats as they are; `None`
    /// for integers without a scale, or of a type that no scale belongs to.
    pub fn real(&self) -> Option<Vec<f32>> {
        match self.tensor.element? {
            ElementType::Float32 => {
                Some(self.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
            }
            ElementType::Int8 => self.dequantized(i8::from_le_bytes),
            ElementType::Uint8 => self.dequantized(u8::from_le_bytes),
            ElementType::Int16 => self.dequantized(i16::from_le_bytes),
            ElementType::Int32 | ElementType::Int64 => None,
        }
    }

    fn dequantized<T: convert::Element, const N: usize>(&self, element: fn([u8; N]) -> T) -> Option<Vec<f32>> {
        let (scale, zero) = self.tensor.quantization?;
        let affine = Affine::new::<T>(scale, zero).ok()?;
        let elements: Vec<T> = self.bytes.as_chunks().0.iter().map(|&bytes| element(bytes)).collect();
        let mut real = vec![0.0; elements.len()];
        affine.dequantize(&elements, &mut real).ok().map(|()| real)
    }
}

/// The package's name for a type.
pub(crate) const fn element(element: Element) -> Option<ElementType> {
    match element {
        Element::I8 => Some(ElementType::Int8),
        Element::U8 => Some(ElementType::Uint8),
        Element::I16 => Some(ElementType::Int16),
        Element::I32 => Some(ElementType::Int32),
        Element::I64 => Some(ElementType::Int64),
        Element::F32 => Some(ElementType::Float32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_numbers_need_a_scale_or_are_there() {
        let tensor = |element, quantization| Tensor {
            name: "t".into(),
            shape: vec![2],
            element: Some(element),
            quantization,
            model: SourceTensor::Same,
            state: State::Input,
            is_list: false,
        };
        let real = |tensor: Tensor, bytes: &[u8]| TensorView { tensor: &tensor, bytes }.real();
        assert_eq!(real(tensor(ElementType::Int16, Some((0.5, 0))), &[1, 0, 0xfe, 0xff]), Some(vec![0.5, -1.0]));
        assert_eq!(real(tensor(ElementType::Int8, Some((2.0, -1))), &[0, 0x80]), Some(vec![2.0, -254.0]));
        assert_eq!(real(tensor(ElementType::Float32, None), &1.5_f32.to_le_bytes()), Some(vec![1.5]));
        assert_eq!(real(tensor(ElementType::Int8, None), &[1, 2]), None);
    }
}
