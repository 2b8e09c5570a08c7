//! Quantized tensors: integers, and the real numbers they stand for.

use cnnip_graph::Tensor;
pub use cnnip_numerics::quantize::Ties;

use crate::elements::narrow;

/// The real numbers that a quantized tensor can hold: `scale * (q - zero_point)` for every integer `q` of its type, in binary32.
///
/// Quantization is `zero_point + x / scale`, divided in binary32, rounded, clamped to the type; NaN gives the zero
/// point. That is ONNX's `QuantizeLinear` with [`Ties::Even`] and TFLite's `QUANTIZE` with [`Ties::Away`].
///
/// ```
/// use cnnip_float::{Grid, Ties};
/// use cnnip_graph::{ElementType, Quantization, Shape, Tensor};
/// let tensor = Tensor::new("x", Shape::new([2])?, ElementType::I8).quantized(Quantization::per_tensor(0.5, 1));
/// let grid = Grid::of(&tensor).unwrap();
/// assert_eq!(grid.quantize_all(&[0.25, -100.0], Ties::Even), [1, -128]);
/// assert_eq!(grid.dequantize_all(&[1, -128]), [0.0, -64.5]);
/// # Ok::<(), cnnip_graph::ShapeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a> {
    scales: &'a [f32],
    zero_points: &'a [i64],
    /// Neighbouring elements that share a channel.
    run: usize,
    range: (i64, i64),
}

impl<'a> Grid<'a> {
    /// The grid of a tensor with a scale and an integer type.
    pub fn of(tensor: &'a Tensor) -> Option<Self> {
        let quantization = tensor.quantization.as_ref()?;
        let behind = quantization.axis().map_or(0, |axis| axis + 1);
        let run = tensor.shape.dims().get(behind..).map_or(1, |dims| dims.iter().product());
        let range = tensor.element.range()?;
        Some(Self { scales: quantization.scales(), zero_points: quantization.zero_points(), run, range })
    }

    /// Scale and zero point, if all elements have the same.
    pub fn per_tensor(&self) -> Option<(f32, i64)> {
        match (self.scales, self.zero_points) {
            (&[scale], &[zero_point]) => Some((scale, zero_point)),
            _ => None,
        }
    }

    /// Least and greatest integer.
    pub fn range(&self) -> (i64, i64) {
        self.range
    }

    /// Scale and zero point of the element at a row-major index.
    fn at(&self, index: usize) -> (f32, i64) {
        let channel = index / self.run.max(1) % self.scales.len().max(1);
        let scale = self.scales.get(channel).copied().unwrap_or(1.0);
        (scale, self.zero_points.get(channel).copied().unwrap_or(0))
    }

    /// The integer for a real number at a row-major index.
    pub fn quantize(&self, index: usize, real: f32, ties: Ties) -> i64 {
        let (scale, zero_point) = self.at(index);
        ties.whole(real / scale).saturating_add(zero_point).clamp(self.range.0, self.range.1)
    }

    /// The real number of an integer at a row-major index.
    pub fn dequantize(&self, index: usize, integer: i64) -> f32 {
        let (scale, zero_point) = self.at(index);
        narrow(integer.saturating_sub(zero_point)) * scale
    }

    /// The integers for all elements of the tensor.
    pub fn quantize_all(&self, real: &[f32], ties: Ties) -> Vec<i64> {
        real.iter().enumerate().map(|(index, &real)| self.quantize(index, real, ties)).collect()
    }

    /// The real numbers of all elements of the tensor.
    pub fn dequantize_all(&self, integers: &[i64]) -> Vec<f32> {
        integers.iter().enumerate().map(|(index, &integer)| self.dequantize(index, integer)).collect()
    }
}

/// Rounding to whole numbers.
pub(crate) trait Whole {
    /// The nearest whole number, saturated; NaN gives 0.
    fn whole(self, value: f32) -> i64;
}

impl Whole for Ties {
    #[expect(clippy::cast_possible_truncation, reason = "saturation is meant")]
    fn whole(self, value: f32) -> i64 {
        match self {
            Self::Away => value.round() as i64,
            Self::Even => value.round_ties_even() as i64,
        }
    }
}
