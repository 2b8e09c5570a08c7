//! Tensors by name, as any level of simulation or any dump gives them.

use std::collections::BTreeSet;

use cnnip_accurate::{Fault, Simulator, TensorView};
use cnnip_driver::{RecordedTensor, Recording};
use cnnip_package::{ElementType, TraceSource};

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
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// Type of an element.
    pub element: ElementType,
    /// Meaning of integers, if it is known.
    pub affine: Option<Affine>,
    /// Elements, dense, row-major, little-endian.
    pub bytes: Vec<u8>,
    /// Whether lowering added it, so that other levels need not have it.
    pub internal: bool,
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

    /// The index of an element, by its position.
    pub fn index(&self, element: usize) -> Vec<u64> {
        let mut rest = u64::try_from(element).unwrap_or(u64::MAX);
        let mut index = vec![0; self.shape.len()];
        for (place, &extent) in index.iter_mut().zip(&self.shape).rev() {
            let extent = extent.max(1);
            *place = rest % extent;
            rest /= extent;
        }
        index
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks().0.iter().copied()
}

impl TensorSet {
    /// The tensor with a name.
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// The tensors of a recorded run of the device.
pub fn of_recording(name: &str, recording: &Recording) -> TensorSet {
    let tensors = recording.iter().map(|RecordedTensor { tensor, bytes }| NamedTensor {
        name: tensor.name.clone(),
        shape: tensor.shape.iter().map(|&extent| extent.into()).collect(),
        element: tensor.element,
        affine: tensor.quantization.map(|found| Affine { scale: found.scale, zero: found.zero_point.into() }),
        bytes: bytes.to_vec(),
        internal: false,
    });
    let map = recording.package().tile_map.iter().flat_map(|map| &map.tensors);
    let fused = map.filter(|tensor| matches!(tensor.source, TraceSource::Fused(_)));
    let absent = fused.map(|tensor| tensor.name.clone()).collect();
    TensorSet { name: name.to_owned(), tensors: tensors.collect(), absent }.with_internal()
}

/// Runs the Accurate Simulator, whose inputs are set, and keeps every tensor.
///
/// # Errors
/// The first accumulator that leaves its range.
pub fn of_simulator(name: &str, simulator: &mut Simulator) -> Result<TensorSet, Fault> {
    let mut tensors = vec![];
    simulator.run_with(|view| tensors.extend(of_view(&view)))?;
    let absent =
        simulator.tensors().iter().filter(|tensor| !tensor.exists()).map(|tensor| tensor.name.clone()).collect();
    Ok(TensorSet { name: name.to_owned(), tensors, absent }.with_internal())
}

/// A tensor of the Accurate Simulator; `None` for types that no file has.
pub(crate) fn of_view(view: &TensorView<'_>) -> Option<NamedTensor> {
    let tensor = view.tensor();
    Some(NamedTensor {
        name: tensor.name.clone(),
        shape: tensor.shape.iter().map(|&extent| extent.into()).collect(),
        element: tensor.element?,
        affine: tensor.quantization.map(|(scale, zero)| Affine { scale: scale.into(), zero: zero.into() }),
        bytes: view.bytes().to_vec(),
        internal: false,
    })
}

impl TensorSet {
    /// Marks what lowering added: its name is that of another tensor, a colon, and what it is for.
    fn with_internal(mut self) -> Self {
        let names: BTreeSet<String> =
            self.tensors.iter().map(|tensor| tensor.name.clone()).chain(self.absent.iter().cloned()).collect();
        let added = |name: &str| name.rsplit_once(':').is_some_and(|(of, _)| names.contains(of));
        for tensor in &mut self.tensors {
            tensor.internal = added(&tensor.name);
        }
        self
    }
}
