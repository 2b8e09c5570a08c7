//! Tensors as values.

use cnnip_hostops::{Affine, rows_of_list};
use cnnip_package::{ElementType, Tensor};

/// A type of tensor elements.
pub trait Element: Copy {
    /// The type's code in packages.
    const TYPE: ElementType;
    /// Bytes of one element, as an array.
    const BYTES: usize = size_of::<Self>();
    /// The element in `bytes`, which are as many as it has, little-endian.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! element {
    ($($type:ty = $code:ident),*) => { $(
        impl Element for $type {
            const TYPE: ElementType = ElementType::$code;

            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map(Self::from_le_bytes).unwrap_or_default()
            }
        }
    )* };
}
element!(i8 = Int8, u8 = Uint8, i16 = Int16, i32 = Int32, i64 = Int64, f32 = Float32);

/// A tensor asked for in a type it does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor `{tensor}` has elements of {found}, not {asked}")]
pub struct TypeMismatch {
    /// Name of the tensor.
    pub tensor: String,
    /// Its type.
    pub found: ElementType,
    /// The type asked for.
    pub asked: ElementType,
}

/// A tensor with its bytes.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    tensor: &'a Tensor,
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// A tensor with its bytes: dense, row-major, little-endian, as many as its shape and type say, or fewer rows of a list.
    pub fn new(tensor: &'a Tensor, bytes: &'a [u8]) -> Self {
        Self { tensor, bytes }
    }

    /// Name, type and scale, and the shape it has room for.
    pub fn tensor(&self) -> &'a Tensor {
        self.tensor
    }

    /// Its shape. A list, such as the boxes that non-maximum suppression keeps, has as many rows as were found, fewer than there is room
    /// for.
    pub fn shape(&self) -> Vec<u32> {
        let mut shape = self.tensor.shape.clone();
        let whole = self.tensor.bytes().and_then(|bytes| usize::try_from(bytes).ok());
        if let Some(rows) = shape.first_mut().filter(|_| whole != Some(self.bytes.len())) {
            let row = whole.unwrap_or(0) / usize::try_from(*rows).unwrap_or(1).max(1);
            *rows = u32::try_from(self.bytes.len() / row.max(1)).unwrap_or(u32::MAX);
        }
        shape
    }

    /// The rows of a list that mean something.
    #[must_use]
    pub fn as_list(self) -> Self {
        let length = self.tensor.shape.last().map_or(1, |&length| usize::try_from(length).unwrap_or(usize::MAX));
        let end = rows_of_list(self.bytes, length).saturating_mul(length).saturating_mul(size_of::<i64>());
        Self { bytes: self.bytes.get(..end).unwrap_or(self.bytes), ..self }
    }

    /// The elements as they are in memory: dense, row-major, little-endian.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// If they have another type.
    pub fn elements<T: Element>(&self) -> Result<impl ExactSizeIterator<Item = T> + use<'a, T>, TypeMismatch> {
        let found = self.tensor.element;
        if found != T::TYPE {
            return Err(TypeMismatch { tensor: self.tensor.name.clone(), found, asked: T::TYPE });
        }
        Ok(self.bytes.chunks_exact(T::BYTES).map(T::read))
    }

    /// The elements in row-major order, as a vector.
    ///
    /// # Errors
    /// If they have another type.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, TypeMismatch> {
        self.elements().map(Iterator::collect)
    }

    /// The integers, whatever their width; `None` for real numbers.
    pub fn integers(&self) -> Option<Vec<i64>> {
        Some(match self.tensor.element {
            ElementType::Int8 => self.wide::<i8>(),
            ElementType::Uint8 => self.wide::<u8>(),
            ElementType::Int16 => self.wide::<i16>(),
            ElementType::Int32 => self.wide::<i32>(),
            ElementType::Int64 => self.wide::<i64>(),
            ElementType::Float32 => return None,
        })
    }

    fn wide<T: Element + Into<i64>>(&self) -> Vec<i64> {
        self.bytes.chunks_exact(T::BYTES).map(|bytes| T::read(bytes).into()).collect()
    }

    /// The real numbers that the elements stand for: as host step `Dequantize` computes them, or as they are. `None` for
    /// integers without a scale, or of a type that no scale belongs to.
    pub fn real(&self) -> Option<Vec<f32>> {
        match self.tensor.element {
            ElementType::Float32 => Some(self.bytes.chunks_exact(f32::BYTES).map(f32::read).collect()),
            ElementType::Int8 => self.dequantized::<i8>(),
            ElementType::Uint8 => self.dequantized::<u8>(),
            ElementType::Int16 => self.dequantized::<i16>(),
            ElementType::Int32 | ElementType::Int64 => None,
        }
    }

    fn dequantized<T: Element + cnnip_hostops::convert::Element>(&self) -> Option<Vec<f32>> {
        let affine = affine::<T>(self.tensor)?;
        let integers: Vec<T> = self.bytes.chunks_exact(<T as Element>::BYTES).map(T::read).collect();
        let mut real = vec![0.0; integers.len()];
        affine.dequantize(&integers, &mut real).ok().map(|()| real)
    }
}

/// The affine map of a tensor with a scale.
fn affine<T: cnnip_hostops::convert::Element>(tensor: &Tensor) -> Option<Affine> {
    let quantization = tensor.quantization?;
    Affine::new::<T>(narrow(quantization.scale), quantization.zero_point).ok()
}

/// A scale as the model has it: packages keep binary32 scales as binary64.
fn narrow(scale: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest, which is the model's own number")]
    let narrow = scale as f32;
    narrow
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_package::{Place, Quantization, RegionId};

    fn tensor(element: ElementType, quantization: Option<Quantization>) -> Tensor {
        let place = Place { region: RegionId(0), offset: 0 };
        Tensor { name: "t".into(), shape: vec![2], element, quantization, place }
    }

    #[test]
    fn elements_are_little_endian_and_typed() {
        let tensor = tensor(ElementType::Int16, Some(Quantization { scale: 0.5, zero_point: 0 }));
        let view = TensorView::new(&tensor, &[1, 0, 0xfe, 0xff]);
        assert_eq!(view.to_vec::<i16>(), Ok(vec![1, -2]));
        assert_eq!(view.integers(), Some(vec![1, -2]));
        assert_eq!(view.real(), Some(vec![0.5, -1.0]));
        let mismatch = view.to_vec::<u8>().unwrap_err();
        assert_eq!(mismatch.to_string(), "tensor `t` has elements of int16, not uint8");
    }

    #[test]
    fn real_numbers_need_a_scale_or_are_there() {
        let bytes = 1.5_f32.to_le_bytes();
        assert_eq!(TensorView::new(&tensor(ElementType::Float32, None), &bytes).real(), Some(vec![1.5]));
        assert_eq!(TensorView::new(&tensor(ElementType::Int8, None), &[1, 2]).real(), None);
    }
}
