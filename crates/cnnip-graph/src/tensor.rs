//! Tensors: shape, element type, quantization and constant data.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// Most dimensions a tensor may have.
pub const MAX_RANK: usize = 8;

/// Most elements a tensor may have. Everything below counts elements in a `usize` without overflow.
pub const MAX_ELEMENTS: usize = 0x7fff_ffff;

/// The extents of a tensor, outermost first. Activations are NHWC: batch, row, column, channel.
///
/// At most [`MAX_RANK`] dimensions and [`MAX_ELEMENTS`] elements; a scalar has no dimension and one
/// element.
///
/// ```
/// # use cnnip_graph::Shape;
/// let shape = Shape::new([1, 4, 4, 3])?;
/// assert_eq!((shape.rank(), shape.elements()), (4, 48));
/// assert_eq!(shape.to_string(), "1x4x4x3");
/// assert!(Shape::new([1 << 20, 1 << 20]).is_err());
/// # Ok::<(), cnnip_graph::ShapeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// A shape with these extents.
    ///
    /// # Errors
    /// [`ShapeError::Rank`] and [`ShapeError::Elements`] above the limits.
    pub fn new(dims: impl Into<Vec<usize>>) -> Result<Self, ShapeError> {
        let dims = dims.into();
        if dims.len() > MAX_RANK {
            return Err(ShapeError::Rank { found: dims.len() });
        }
        let mut nonzero = dims.iter().filter(|&&dim| dim != 0);
        let elements = nonzero.try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        match elements {
            Some(elements) if elements <= MAX_ELEMENTS => Ok(Self(dims)),
            _ => Err(ShapeError::Elements { dims }),
        }
    }

    /// The shape without dimensions, of one element.
    pub fn scalar() -> Self {
        Self::default()
    }

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements: the product of the extents.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// The four extents batch, height, width, channels; `None` for another rank.
    pub fn nhwc(&self) -> Option<[usize; 4]> {
        self.0.as_slice().try_into().ok()
    }
}

/// Extents joined by `x`; `scalar` if there are none.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("scalar");
        }
        for (axis, dim) in self.0.iter().enumerate() {
            write!(f, "{}{dim}", if axis == 0 { "" } else { "x" })?;
        }
        Ok(())
    }
}

/// Why extents are not a [`Shape`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Too many dimensions.
    #[error("the tensor has {found} dimensions, more than {MAX_RANK}")]
    Rank {
        /// Dimensions asked for.
        found: usize,
    },
    /// Too many elements.
    #[error("the shape {dims:?} has more than {MAX_ELEMENTS} elements")]
    Elements {
        /// Extents asked for.
        dims: Vec<usize>,
    },
}

/// What one element of a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// True or false, one byte.
    Bool,
    /// 8-bit two's complement.
    I8,
    /// 8-bit unsigned.
    U8,
    /// 16-bit two's complement.
    I16,
    /// 16-bit unsigned.
    U16,
    /// 32-bit two's complement.
    I32,
    /// 32-bit unsigned.
    U32,
    /// 64-bit two's complement.
    I64,
    /// 64-bit unsigned.
    U64,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl ElementType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Least and greatest value of an integer type; `None` for floats and `Bool`.
    ///
    /// The upper end of `U64` is given as `i64::MAX`, as zero points are 64-bit signed.
    pub const fn range(self) -> Option<(i64, i64)> {
        match self {
            Self::I8 => Some((-0x80, 0x7f)),
            Self::U8 => Some((0, 0xff)),
            Self::I16 => Some((-0x8000, 0x7fff)),
            Self::U16 => Some((0, 0xffff)),
            Self::I32 => Some((-0x8000_0000, 0x7fff_ffff)),
            Self::U32 => Some((0, 0xffff_ffff)),
            Self::I64 => Some((i64::MIN, i64::MAX)),
            Self::U64 => Some((0, i64::MAX)),
            Self::Bool | Self::F16 | Self::F32 | Self::F64 => None,
        }
    }
}

/// The usual lower-case name: `int8`, `float32`.
impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        })
    }
}

/// What an integer `q` stands for: the real number `scale * (q - zero_point)`.
///
/// In a checked graph every scale is finite and above zero, and every zero point in the range of the
/// tensor's element type.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantization {
    /// One scale and zero point for all elements.
    PerTensor {
        /// Real value of one step.
        scale: f32,
        /// Integer that stands for 0.
        zero_point: i64,
    },
    /// One scale and zero point for each index along `axis`.
    PerChannel {
        /// Dimension along which the parameters change.
        axis: usize,
        /// One scale per index; as many as the extent of `axis`.
        scales: Arc<[f32]>,
        /// One zero point per index; as many as scales.
        zero_points: Arc<[i64]>,
    },
}

impl Quantization {
    /// One scale and zero point for all elements.
    pub const fn per_tensor(scale: f32, zero_point: i64) -> Self {
        Self::PerTensor { scale, zero_point }
    }

    /// Symmetric parameters per index along `axis`: the zero points are 0.
    pub fn symmetric_per_channel(axis: usize, scales: impl Into<Arc<[f32]>>) -> Self {
        let scales = scales.into();
        let zero_points = vec![0; scales.len()].into();
        Self::PerChannel { axis, scales, zero_points }
    }

    /// All scales: one, or one per channel.
    pub fn scales(&self) -> &[f32] {
        match self {
            Self::PerTensor { scale, .. } => std::slice::from_ref(scale),
            Self::PerChannel { scales, .. } => scales,
        }
    }

    /// All zero points: one, or one per channel.
    pub fn zero_points(&self) -> &[i64] {
        match self {
            Self::PerTensor { zero_point, .. } => std::slice::from_ref(zero_point),
            Self::PerChannel { zero_points, .. } => zero_points,
        }
    }

    /// The axis of per-channel parameters.
    pub fn axis(&self) -> Option<usize> {
        match self {
            Self::PerTensor { .. } => None,
            Self::PerChannel { axis, .. } => Some(*axis),
        }
    }
}

/// Constant elements: little-endian, row-major, without alignment. Clones share the bytes.
#[derive(Clone)]
pub struct Data(Bytes);

impl Data {
    /// The part of `file` in `range`, shared, not copied. `None` if `range` leaves `file`.
    pub fn part_of(file: &Arc<[u8]>, range: Range<usize>) -> Option<Self> {
        file.get(range.clone())?;
        Some(Self(Bytes::from_owner(Arc::clone(file)).slice(range)))
    }

    /// The bytes of all elements.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The elements of an integer type as 64-bit values; `None` for floats, `Bool` and `U64` above
    /// the range.
    ///
    /// ```
    /// # use cnnip_graph::{Data, ElementType};
    /// let data = Data::from(vec![0xff, 0xff, 2, 0]);
    /// assert_eq!(data.integers(ElementType::I16), Some(vec![-1, 2]));
    /// ```
    pub fn integers(&self, element: ElementType) -> Option<Vec<i64>> {
        self.bytes().chunks_exact(element.size()).map(|chunk| integer(chunk, element)).collect()
    }
}

/// One little-endian integer, sign-extended.
fn integer(chunk: &[u8], element: ElementType) -> Option<i64> {
    let (least, greatest) = element.range()?;
    let negative = least < 0 && chunk.last().is_some_and(|&top| top >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..chunk.len()].copy_from_slice(chunk);
    let value = i64::from_le_bytes(wide);
    (least..=greatest).contains(&value).then_some(value)
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Data {}

/// The length only: constants run to megabytes.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

/// The tensor of the source model that a tensor holds the values of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The one of its own name, in the same order of axes.
    #[default]
    Same,
    /// One of another name, or in another order of axes.
    View {
        /// Its name in the source.
        name: String,
        /// Axis `i` of the tensor is axis `axes[i]` of the source's.
        axes: Vec<usize>,
    },
    /// None: an importer or a pass added it.
    Added,
}

impl Source {
    /// The name in the source; `own` is the tensor's.
    pub fn name<'a>(&'a self, own: &'a str) -> Option<&'a str> {
        match self {
            Self::Same => Some(own),
            Self::View { name, .. } => Some(name),
            Self::Added => None,
        }
    }
}

/// A value of the network: an activation that a node writes, or a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The source's name, unique in the graph.
    pub name: String,
    /// Extents, NHWC for activations.
    pub shape: Shape,
    /// Type of one element.
    pub element: ElementType,
    /// What the integers stand for; `None` for plain numbers.
    pub quantization: Option<Quantization>,
    /// The elements, if they are known before the network runs.
    pub data: Option<Data>,
    /// The source's tensor that it holds the values of.
    pub source: Source,
}

impl Tensor {
    /// A tensor without quantization and data.
    pub fn new(name: impl Into<String>, shape: Shape, element: ElementType) -> Self {
        Self { name: name.into(), shape, element, quantization: None, data: None, source: Source::Same }
    }

    /// The same tensor, quantized.
    #[must_use]
    pub fn quantized(self, quantization: Quantization) -> Self {
        Self { quantization: Some(quantization), ..self }
    }

    /// The same tensor as a constant of these little-endian bytes.
    #[must_use]
    pub fn constant(self, data: impl Into<Data>) -> Self {
        Self { data: Some(data.into()), ..self }
    }

    /// What a tensor is whose axis `i` is axis `axes[i]` of this one.
    pub fn seen_as(&self, axes: &[usize]) -> Source {
        match &self.source {
            Source::Same => Source::View { name: self.name.clone(), axes: axes.to_vec() },
            Source::View { name, axes: of } => {
                let axes = axes.iter().map(|&axis| of.get(axis).copied().unwrap_or(axis)).collect();
                Source::View { name: name.clone(), axes }
            }
            Source::Added => Source::Added,
        }
    }

    /// What a tensor of the same values in the same order is, under another name or on another grid.
    pub fn copied(&self) -> Source {
        self.seen_as(&(0..self.shape.rank()).collect::<Vec<_>>())
    }

    /// Bytes of all elements.
    pub fn byte_len(&self) -> usize {
        self.shape.elements().saturating_mul(self.element.size())
    }

    /// Whether the elements are known before the network runs.
    pub fn is_constant(&self) -> bool {
        self.data.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_bounded_before_anything_is_multiplied() {
        assert_eq!(Shape::new([1; 9]), Err(ShapeError::Rank { found: 9 }));
        assert!(Shape::new([usize::MAX, usize::MAX]).is_err());
        assert!(Shape::new([0, usize::MAX, 2]).is_err(), "a zero does not hide an overflow");
        assert_eq!(Shape::new([MAX_ELEMENTS]).unwrap().elements(), MAX_ELEMENTS);
        assert_eq!(Shape::new([0, 3]).unwrap().elements(), 0);
        assert_eq!(Shape::scalar().elements(), 1);
        assert_eq!(Shape::scalar().to_string(), "scalar");
    }

    #[test]
    fn integers_are_sign_extended_by_type() {
        let data = Data::from(vec![0x80, 0xff]);
        assert_eq!(data.integers(ElementType::I8), Some(vec![-128, -1]));
        assert_eq!(data.integers(ElementType::U8), Some(vec![128, 255]));
        assert_eq!(data.integers(ElementType::U16), Some(vec![0xff80]));
        assert_eq!(data.integers(ElementType::F16), None);
        let all_ones = Data::from(vec![0xff; 8]);
        assert_eq!(all_ones.integers(ElementType::I64), Some(vec![-1]));
        assert_eq!(all_ones.integers(ElementType::U64), None);
    }

    #[test]
    fn data_shares_the_file() {
        let file: Arc<[u8]> = vec![1, 2, 3].into();
        let part = Data::part_of(&file, 1..3).unwrap();
        assert_eq!(part.bytes(), &[2, 3]);
        assert_eq!(part, Data::from(vec![2, 3]));
        assert_eq!(format!("{part:?}"), "Data(2 bytes)");
        assert!(Data::part_of(&file, 2..4).is_none());
    }

    #[test]
    fn quantization_reads_alike_for_tensor_and_channel() {
        let tensor = Quantization::per_tensor(0.5, 3);
        assert_eq!((tensor.scales(), tensor.zero_points(), tensor.axis()), (&[0.5][..], &[3][..], None));
        let channel = Quantization::symmetric_per_channel(3, vec![0.5, 0.25]);
        assert_eq!((channel.scales(), channel.zero_points(), channel.axis()), (&[0.5, 0.25][..], &[0, 0][..], Some(3)));
    }
}
