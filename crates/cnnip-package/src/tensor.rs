//! Tensors: what the bytes of regions mean.

use crate::RegionId;

/// Number of a tensor: its index in [`Package::tensors`](crate::Package::tensors).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub u32);

/// A named array in a region, as the host sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name, unique among the tensors; the source model's name where there is one.
    pub name: String,
    /// Sizes, outermost first, in the source model's order; no dimension is 0, and `[]` is one element.
    pub shape: Vec<u32>,
    /// Type of an element, little-endian in memory.
    pub element: ElementType,
    /// Meaning of the integers, if they stand for real numbers.
    pub quantization: Option<Quantization>,
    /// Where its first byte is.
    pub place: Place,
}

/// `real = scale * (stored - zero_point)`, one scale for the whole tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// Step between neighbouring integers: finite and above 0.
    pub scale: f64,
    /// The integer that stands for 0; within the element type's range.
    pub zero_point: i32,
}

/// Where a tensor begins. Tensors are dense and row-major: the last dimension's elements are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The region that holds it.
    pub region: RegionId,
    /// Bytes from the region's start.
    pub offset: u64,
}

/// Type of a tensor's elements. The first four have the device's type codes, the others exist on the host only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// Two's complement, one byte.
    Int8,
    /// Unsigned, one byte.
    Uint8,
    /// Two's complement, two bytes.
    Int16,
    /// Two's complement, four bytes.
    Int32,
    /// Two's complement, eight bytes.
    Int64,
    /// IEEE binary32.
    Float32,
}

impl ElementType {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Int8 | Self::Uint8 => 1,
            Self::Int16 => 2,
            Self::Int32 | Self::Float32 => 4,
            Self::Int64 => 8,
        }
    }

    /// Smallest and largest integer, or `None` for a float type.
    pub fn range(self) -> Option<(i64, i64)> {
        match self {
            Self::Int8 => Some((i8::MIN.into(), i8::MAX.into())),
            Self::Uint8 => Some((u8::MIN.into(), u8::MAX.into())),
            Self::Int16 => Some((i16::MIN.into(), i16::MAX.into())),
            Self::Int32 => Some((i32::MIN.into(), i32::MAX.into())),
            Self::Int64 => Some((i64::MIN, i64::MAX)),
            Self::Float32 => None,
        }
    }

    /// The name used in text: `int8`, `uint8`, `int16`, `int32`, `int64`, `float32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
        }
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Tensor {
    /// Number of elements, or `None` if it does not fit 64 bits.
    ///
    /// ```
    /// # use cnnip_package::{ElementType, Place, RegionId, Tensor};
    /// # let place = Place { region: RegionId(0), offset: 0 };
    /// let tensor = Tensor { name: "x".into(), shape: vec![1, 8, 8, 3], element: ElementType::Int16, quantization: None, place };
    /// assert_eq!(tensor.elements(), Some(192));
    /// assert_eq!(tensor.bytes(), Some(384));
    /// ```
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size.into()))
    }

    /// Bytes it covers, or `None` if they do not fit 64 bits.
    pub fn bytes(&self) -> Option<u64> {
        self.elements()?.checked_mul(self.element.bytes())
    }
}
