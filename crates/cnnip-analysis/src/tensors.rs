//! Tensors by name, as any level of simulation or any dump gives them.

use cnnip_accurate::{Fault, Simulator, State, TensorView};
use cnnip_driver::{RecordedTensor, Recording};
use cnnip_graph::{Graph, TensorId};
use cnnip_lowered::source_tensor;
use cnnip_package::{ElementType, SourceTensor, TraceSource};

/// `real = scale * (stored - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Step between neighbouring integers, above 0.
    pub scale: f64,
    /// The integer that stands for 0.
    pub zero: i64,
}

/// A tensor with its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The source model's name, or that of a tensor that lowering added.
    pub name: String,
    /// Extents in the source model's order of axes, outermost first.
    pub shape: Vec<u64>,
    /// Type of an element.
    pub element: ElementType,
    /// Meaning of integers, if it is known.
    pub affine: Option<Affine>,
    /// Elements, dense, row-major in the source's order, little-endian.
    pub bytes: Vec<u8>,
    /// What it is in the source model; of a dump, which does not say it, the source's own.
    pub model: SourceTensor,
}

/// The tensors of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorSet {
    /// What it is, for messages: `iss:digits.cnnip`.
    pub name: String,
    /// In the order of execution, where it is known.
    pub tensors: Vec<NamedTensor>,
    /// Tensors of the source model that this level never makes.
    pub absent: Vec<String>,
}

impl NamedTensor {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        let bytes = usize::try_from(self.element.bytes()).unwrap_or(1).max(1);
        self.bytes.len() / bytes
    }

    /// The integers, whatever their width; `None` for real numbers.
    pub fn integers(&self) -> Option<Vec<i64>> {
        Some(match self.element {
            ElementType::Int8 => self.bytes.iter().map(|byte| byte.cast_signed().into()).collect(),
            ElementType::Uint8 => self.bytes.iter().map(|&byte| byte.into()).collect(),
            ElementType::Int16 => chunks(&self.bytes).map(|bytes| i16::from_le_bytes(bytes).into()).collect(),
            ElementType::Int32 => chunks(&self.bytes).map(|bytes| i32::from_le_bytes(bytes).into()).collect(),
            ElementType::Int64 => chunks(&self.bytes).map(i64::from_le_bytes).collect(),
            ElementType::Float32 => return None,
        })
    }

    /// The real numbers, if integers have a scale. `affine` stands in for one that is not known.
    pub fn real(&self, affine: Option<Affine>) -> Option<Vec<f64>> {
        let Some(integers) = self.integers() else {
            return Some(chunks(&self.bytes).map(|bytes| f32::from_le_bytes(bytes).into()).collect());
        };
        let Affine { scale, zero } = self.affine.or(affine)?;
        #[expect(clippy::cast_precision_loss, reason = "elements of activations have at most 32 bits")]
        let real = |stored: i64| scale * (stored.saturating_sub(zero) as f64);
        Some(integers.into_iter().map(real).collect())
    }

    /// The same tensor as binary32 numbers, `scale * (stored - zero point)`; `None` for integers without a scale.
    pub fn dequantized(&self) -> Option<Self> {
        if self.element == ElementType::Float32 {
            return Some(self.clone());
        }
        let Affine { scale, zero } = self.affine?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "scales are binary32; differences fit 24 bits"
        )]
        let real = |stored: i64| scale as f32 * stored.saturating_sub(zero) as f32;
        let bytes = self.integers()?.into_iter().flat_map(|stored| real(stored).to_le_bytes()).collect();
        Some(Self { element: ElementType::Float32, affine: None, bytes, ..self.clone() })
    }

    /// Whether it is none of the source's own tensors, so that other levels need not have it.
    pub fn is_internal(&self) -> bool {
        self.model.name(&self.name) != Some(&self.name)
    }

    /// Rows, columns and channels among the dimensions, if it is a feature map: `[batch, rows, columns, channels]` where it is computed.
    pub fn map_axes(&self) -> Option<[usize; 3]> {
        let axes = self.model.per_own_axis(&[0, 1, 2, 3]);
        match axes.as_slice() {
            // A map that the source has on its side is shown so.
            &[_, a, b, channels] if self.shape.len() == 4 => Some([a.min(b), a.max(b), channels]),
            _ => None,
        }
    }

    /// Number of channels, and neighbouring elements of one: channels are the last dimension where the tensor is computed.
    pub fn channels(&self) -> (usize, usize) {
        let axes: Vec<usize> = (0..self.shape.len()).collect();
        let Some(&axis) = self.model.per_own_axis(&axes).last() else { return (1, 1) };
        let product = |extents: &[u64]| usize::try_from(extents.iter().product::<u64>()).unwrap_or(usize::MAX).max(1);
        let (channels, inner) = (self.shape.get(axis..=axis), self.shape.get(axis + 1..));
        (product(channels.unwrap_or_default()), product(inner.unwrap_or_default()))
    }

    /// The index of an element, by its position.
    pub fn index(&self, element: usize) -> Vec<u64> {
        index_at(&self.shape, element)
    }
}

/// The index of a position in row-major order.
pub(crate) fn index_at(shape: &[u64], position: usize) -> Vec<u64> {
    let mut rest = u64::try_from(position).unwrap_or(u64::MAX);
    let mut index = vec![0; shape.len()];
    for (place, &extent) in index.iter_mut().zip(shape).rev() {
        let extent = extent.max(1);
        *place = rest % extent;
        rest /= extent;
    }
    index
}

/// The position of an index in row-major order.
pub(crate) fn position(index: &[u64], shape: &[u64]) -> Option<usize> {
    let inside = index.len() == shape.len() && index.iter().zip(shape).all(|(at, extent)| at < extent);
    let flat = index.iter().zip(shape).fold(0_u64, |flat, (at, extent)| flat.wrapping_mul(*extent).wrapping_add(*at));
    usize::try_from(flat).ok().filter(|_| inside)
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks().0.iter().copied()
}

/// Axes of a map, computed channels last, in a source that has channels first.
const CHANNELS_LAST: [u32; 4] = [0, 2, 3, 1];

impl TensorSet {
    /// The tensors of a network, as a level computes them.
    ///
    /// Where maps are computed channels last of a source that has channels first, the source's own tensors of four dimensions, such as inputs
    /// and outputs, are maps with channels first too.
    pub fn of_network(name: &str, mut tensors: Vec<NamedTensor>, absent: Vec<String>) -> Self {
        if tensors.iter().any(|tensor| tensor.model.axes() == Some(&CHANNELS_LAST)) {
            let own = |tensor: &&mut NamedTensor| tensor.model == SourceTensor::Same && tensor.shape.len() == 4;
            for tensor in tensors.iter_mut().filter(own) {
                tensor.model = SourceTensor::View { name: tensor.name.clone(), axes: CHANNELS_LAST.to_vec() };
            }
        }
        Self { name: name.to_owned(), tensors, absent }
    }

    /// The tensor with a name.
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// The tensors of a recorded run of the device.
pub fn of_recording(name: &str, recording: &Recording) -> TensorSet {
    let tensors = recording.iter().map(|RecordedTensor { tensor, bytes }| NamedTensor {
        name: tensor.name.clone(),
        shape: extents(&tensor.model.per_axis(&tensor.shape)),
        element: tensor.element,
        affine: tensor.quantization.map(|found| Affine { scale: found.scale, zero: found.zero_point.into() }),
        bytes: tensor.model.to_source(bytes, &tensor.shape, usize::try_from(tensor.element.bytes()).unwrap_or(1)),
        model: tensor.model.clone(),
    });
    let map = recording.package().tile_map.iter().flat_map(|map| &map.tensors);
    let fused = map.filter(|tensor| matches!(tensor.source, TraceSource::Fused(_)));
    let absent = fused.map(|tensor| tensor.name.clone()).collect();
    TensorSet::of_network(name, tensors.collect(), absent)
}

/// Runs the Accurate Simulator, whose inputs are set, and keeps every tensor.
///
/// # Errors
/// The first accumulator that leaves its range.
pub fn of_simulator(name: &str, simulator: &mut Simulator) -> Result<TensorSet, Fault> {
    let mut tensors = vec![];
    simulator.run_with(|view| tensors.extend(of_view(&view)))?;
    let never = simulator.tensors().iter().filter(|tensor| matches!(tensor.state, State::Fused | State::Constant));
    let absent = never.map(|tensor| tensor.name.clone()).collect();
    Ok(TensorSet::of_network(name, tensors, absent))
}

/// A tensor of the Accurate Simulator as the source has it; `None` for types that no file has.
pub fn of_view(view: &TensorView<'_>) -> Option<NamedTensor> {
    let tensor = view.tensor();
    Some(NamedTensor {
        name: tensor.name.clone(),
        shape: extents(&tensor.source_shape()),
        element: tensor.element?,
        affine: tensor.quantization.map(|(scale, zero)| Affine { scale: scale.into(), zero: zero.into() }),
        bytes: view.source_bytes(),
        model: tensor.model.clone(),
    })
}

/// The type of a tensor whose integers stand for themselves: other levels have them so too.
fn indices(tensor: &cnnip_graph::Tensor) -> Option<ElementType> {
    let is_index = tensor.element == cnnip_graph::ElementType::I64 && tensor.quantization.is_none();
    is_index.then_some(ElementType::Int64)
}

/// Real values of a tensor of a graph, as the source has it.
pub fn of_values(graph: &Graph, id: TensorId, values: &[f32]) -> NamedTensor {
    let tensor = &graph[id];
    let shape: Vec<u32> = tensor.shape.dims().iter().map(|&extent| u32::try_from(extent).unwrap_or(u32::MAX)).collect();
    let (element, bytes) = match indices(tensor) {
        // Exact: an index is far below 2^24.
        #[expect(clippy::cast_possible_truncation, reason = "saturation is meant")]
        Some(element) => (element, values.iter().flat_map(|&value| (value as i64).to_le_bytes()).collect()),
        None => (ElementType::Float32, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()),
    };
    let size = usize::try_from(element.bytes()).unwrap_or(1);
    let model = source_tensor(&tensor.source);
    NamedTensor {
        name: tensor.name.clone(),
        shape: extents(&model.per_axis(&shape)),
        element,
        affine: None,
        bytes: model.to_source(&bytes, &shape, size),
        model,
    }
}

pub(crate) fn extents(shape: &[u32]) -> Vec<u64> {
    shape.iter().map(|&extent| extent.into()).collect()
}
