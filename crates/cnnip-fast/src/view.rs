//! Tensors as values.

use cnnip_float::{Grid, Ties};
use cnnip_graph::{ElementType, Tensor};

/// A tensor with its elements.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    tensor: &'a Tensor,
    real: &'a [f32],
}

impl<'a> TensorView<'a> {
    /// A tensor of a graph with the real numbers an engine computed for it.
    pub fn new(tensor: &'a Tensor, real: &'a [f32]) -> Self {
        Self { tensor, real }
    }

    /// Name, shape, type and scale.
    pub fn tensor(&self) -> &'a Tensor {
        self.tensor
    }

    /// The real numbers, row-major: those of a quantized tensor lie on its grid.
    pub fn real(&self) -> &'a [f32] {
        self.real
    }

    /// The integers of a quantized tensor; `None` for a tensor of floats.
    pub fn codes(&self) -> Option<Vec<i64>> {
        // Exact: a multiple of a scale divided by the scale is within half an ulp of the whole number.
        Some(Grid::of(self.tensor)?.quantize_all(self.real, Ties::Even))
    }

    /// The integers of a tensor whose integers stand for themselves, such as indices; `None` for others.
    pub fn whole(&self) -> Option<Vec<i64>> {
        let (least, greatest) = self.tensor.element.range().filter(|_| self.tensor.quantization.is_none())?;
        #[expect(clippy::cast_possible_truncation, reason = "saturation is meant")]
        let whole = |real: f32| (real.round_ties_even() as i64).clamp(least, greatest);
        Some(self.real.iter().map(|&real| whole(real)).collect())
    }

    /// The elements in the tensor's own type, dense, little-endian.
    pub fn bytes(&self) -> Vec<u8> {
        match self.codes().or_else(|| self.whole()) {
            Some(codes) => little_endian(&codes, self.tensor.element),
            None => self.real.iter().flat_map(|real| real.to_le_bytes()).collect(),
        }
    }
}

/// The low bytes of integers in the range of a type, which are its two's complement.
fn little_endian(codes: &[i64], element: ElementType) -> Vec<u8> {
    codes.iter().flat_map(|code| code.to_le_bytes().into_iter().take(element.size())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_graph::{Quantization, Shape};

    #[test]
    fn bytes_are_of_the_tensors_own_type() {
        let tensor = Tensor::new("t", Shape::new([2]).unwrap(), ElementType::I16);
        let tensor = tensor.quantized(Quantization::per_tensor(0.5, 0));
        let view = TensorView::new(&tensor, &[-0.5, 128.0]);
        assert_eq!((view.codes(), view.bytes()), (Some(vec![-1, 256]), vec![0xff, 0xff, 0, 1]));
    }
}
