//! What each layer adds by itself: fed with the reference's inputs instead of what the layers before it made.

use cnnip_accurate::{Fault, Simulator, SimulatorError, State, Tensor, TensorView};
use cnnip_lowered::Network;
use cnnip_package::ElementType;

use crate::compare::{Comparer, Comparison, Incomparable, Totals};
use crate::tensors::{Affine, NamedTensor, TensorSet, extents, of_view};

/// A layer that cannot be run by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The reference lacks a tensor, or has it in a form that no layer can be fed with.
    #[error("the reference has no `{name}` of shape {shape:?} that could be fed to the layer behind it")]
    Input {
        /// The tensor.
        name: String,
        /// Extents that the layer needs.
        shape: Vec<u32>,
    },
    /// The simulator does not take the network.
    #[error("{0}")]
    Simulator(#[from] SimulatorError),
    /// An accumulator left its range.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The result cannot be compared.
    #[error("{0}")]
    Incomparable(#[from] Incomparable),
}

/// As [`Comparer::add_local`], of one input, which the reference has.
///
/// # Errors
/// As there, and an input of the network that the reference lacks.
pub fn local(network: &Network, reference: &TensorSet) -> Result<Comparison, LocalError> {
    let mut simulator = Simulator::new(network.clone())?;
    let given = simulator.inputs().find(|tensor| known(tensor, reference).is_none());
    if let Some(tensor) = given {
        return Err(missing(tensor));
    }
    let mut comparer = Comparer::default();
    comparer.add_local(&mut simulator, reference)?;
    Ok(comparer.comparison())
}

impl Comparer {
    /// Adds a run in which every layer reads the reference's own tensors, where it has them, and else what the layers between made
    /// of these. Inputs that the reference lacks are those that the simulator has.
    ///
    /// Real values, and integers of another scale, are quantized to what the layer takes: to the nearest integer, halves away from
    /// zero, clamped.
    ///
    /// # Errors
    /// The first tensor that cannot be fed or compared.
    pub fn add_local(&mut self, simulator: &mut Simulator, reference: &TensorSet) -> Result<(), LocalError> {
        let mut found = vec![];
        let mut problem = None;
        simulator.run_replacing(|view| {
            let of = known(view.tensor(), reference)?;
            match measured(&view, of, &reference.name).and_then(|totals| Ok((totals, fed(view.tensor(), of)?))) {
                Ok((totals, bytes)) => {
                    found.extend(totals);
                    Some(bytes)
                }
                Err(why) => {
                    problem.get_or_insert(why);
                    None
                }
            }
        })?;
        problem.map_or(Ok(()), Err)?;
        Ok(self.add_totals(found)?)
    }
}

fn missing(tensor: &Tensor) -> LocalError {
    LocalError::Input { name: tensor.name.clone(), shape: tensor.shape.clone() }
}

/// The reference's tensor under a tensor's own name, or under the source's.
fn known<'r>(tensor: &Tensor, reference: &'r TensorSet) -> Option<&'r NamedTensor> {
    let found = reference.get(&tensor.name).or_else(|| reference.get(tensor.model.name(&tensor.name)?))?;
    (found.shape == extents(&tensor.source_shape())).then_some(found)
}

/// How far a layer's result is from the reference; nothing of what the application gives, or the source does not have.
fn measured(view: &TensorView<'_>, of: &NamedTensor, set: &str) -> Result<Option<Totals>, LocalError> {
    let State::Computed { node, .. } = &view.tensor().state else { return Ok(None) };
    let found = of_view(view).filter(|found| !found.is_internal());
    let totals = found.map(|found| Totals::of(of, &found, None, [set, node])).transpose()?;
    Ok(totals)
}

/// The bytes that a layer takes for a tensor of the reference.
fn fed(tensor: &Tensor, of: &NamedTensor) -> Result<Vec<u8>, LocalError> {
    let element = tensor.element.unwrap_or(of.element);
    let affine = tensor.quantization.map(|(scale, zero)| Affine { scale: scale.into(), zero: zero.into() });
    let bytes = elements(of, element, affine).ok_or_else(|| missing(tensor))?;
    Ok(tensor.model.from_source(&bytes, &tensor.shape, usize::try_from(element.bytes()).unwrap_or(1)))
}

/// A tensor's elements as those of another type and scale.
fn elements(of: &NamedTensor, element: ElementType, affine: Option<Affine>) -> Option<Vec<u8>> {
    let (range, bytes) = match element {
        ElementType::Int8 | ElementType::Uint8 | ElementType::Int16 => (element.range()?, element.bytes()),
        _ => return (of.element == element).then(|| of.bytes.clone()),
    };
    let same_grid = of.affine.is_none() || of.affine == affine;
    let integers = match (of.integers(), affine) {
        (Some(integers), _) if same_grid => integers,
        (_, Some(affine)) => of.real(None)?.into_iter().map(|real| quantized(real, affine, range)).collect(),
        (_, None) => return None,
    };
    let (low, high) = range;
    let fits = integers.iter().all(|&value| (low..=high).contains(&value));
    let bytes = usize::try_from(bytes).ok()?;
    fits.then(|| integers.into_iter().flat_map(|value| value.to_le_bytes().into_iter().take(bytes)).collect())
}

fn quantized(real: f64, Affine { scale, zero }: Affine, (low, high): (i64, i64)) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "saturates; clamped to 16 bits below")]
    let steps = (real / scale).round() as i64;
    steps.saturating_add(zero).clamp(low, high)
}
