//! What each layer adds by itself: fed with the reference's inputs instead of what the layers before it made.

use std::collections::BTreeSet;

use cnnip_accurate::{Fault, InputError, Simulator, SimulatorError};
use cnnip_graph::ElementType;
use cnnip_lowered::{Network, Origin, ValueId};

use crate::compare::{Comparison, Incomparable, measure};
use crate::tensors::{Affine, NamedTensor, TensorSet, of_view};

/// A layer that cannot be run by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The reference lacks an input of the network, or has it in another shape or type.
    #[error("the reference has no `{name}` of shape {shape:?} that could be fed to the layer behind it")]
    Input {
        /// The tensor.
        name: String,
        /// Extents that the layer needs.
        shape: Vec<u32>,
    },
    /// The simulator does not take the layer.
    #[error("{0}")]
    Simulator(#[from] SimulatorError),
    /// The simulator does not take the input.
    #[error("{0}")]
    Bytes(#[from] InputError),
    /// An accumulator left its range.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The result cannot be compared.
    #[error("{0}")]
    Incomparable(#[from] Incomparable),
}

/// Runs every layer whose result the reference has with the reference's own inputs, on the Accurate Simulator.
///
/// Real inputs, and integers of another scale, are quantized to what the layer takes: to the nearest integer, halves away from
/// zero, clamped.
///
/// # Errors
/// The first layer that cannot be run or compared.
pub fn local(network: &Network, reference: &TensorSet) -> Result<Comparison, LocalError> {
    let mut comparison =
        Comparison { reference: reference.name.clone(), other: "layer by layer".to_owned(), ..Comparison::default() };
    let mut done = BTreeSet::new();
    for layer in network.layers.iter().rev() {
        let output = network.root(layer.work.writes());
        if !done.insert(output) {
            continue;
        }
        let Some(of) = known(network, reference, output) else { continue };
        let found = one(network, reference, output)?;
        comparison.measures.push(measure(of, &found, [&reference.name, &layer.name])?);
    }
    comparison.measures.reverse();
    Ok(comparison)
}

/// The reference's tensor of a value, under its own name.
fn known<'r>(network: &Network, reference: &'r TensorSet, id: ValueId) -> Option<&'r NamedTensor> {
    let value = &network.values[id.0];
    let found = reference.get(&value.name)?;
    found.shape.iter().copied().eq(value.shape.iter().copied().map(u64::from)).then_some(found)
}

/// A value, computed from what the reference has before it.
fn one(network: &Network, reference: &TensorSet, output: ValueId) -> Result<NamedTensor, LocalError> {
    let cut = Cut::of(network, reference, output);
    let mut part = Network { layers: vec![], inputs: vec![], outputs: vec![output], kept: vec![], ..network.clone() };
    part.layers = cut.layers.iter().map(|&layer| network.layers[layer].clone()).collect();
    part.inputs = cut.inputs.iter().copied().collect();
    for (at, value) in part.values.iter_mut().enumerate() {
        let given = cut.inputs.contains(&ValueId(at));
        match value.origin {
            Origin::Computed if given => value.origin = Origin::Input,
            Origin::Input if !given => value.origin = Origin::Computed,
            _ => {}
        }
    }
    let mut simulator = Simulator::new(part)?;
    for (index, &input) in cut.inputs.iter().enumerate() {
        let bytes = known(network, reference, input).and_then(|tensor| fed(network, input, tensor));
        let value = &network.values[input.0];
        let missing = || LocalError::Input { name: value.name.clone(), shape: value.shape.clone() };
        simulator.set_input(index, &bytes.ok_or_else(missing)?)?;
    }
    simulator.run()?;
    let view = simulator.outputs().next();
    let value = &network.values[output.0];
    let missing = || LocalError::Input { name: value.name.clone(), shape: value.shape.clone() };
    view.and_then(|view| of_view(&view)).ok_or_else(missing)
}

/// The layers behind a value up to what the reference has.
struct Cut {
    layers: BTreeSet<usize>,
    inputs: BTreeSet<ValueId>,
}

impl Cut {
    fn of(network: &Network, reference: &TensorSet, output: ValueId) -> Self {
        let mut cut = Self { layers: BTreeSet::new(), inputs: BTreeSet::new() };
        let mut open = vec![output];
        while let Some(value) = open.pop() {
            let writes = |layer: &cnnip_lowered::Layer| network.root(layer.work.writes()) == value;
            for (index, layer) in network.layers.iter().enumerate().filter(|(_, layer)| writes(layer)) {
                if !cut.layers.insert(index) {
                    continue;
                }
                for read in layer.work.reads().into_iter().map(|read| network.root(read)) {
                    match network.values[read.0].origin {
                        Origin::Constant(_) => {}
                        Origin::Computed if known(network, reference, read).is_none() => open.push(read),
                        _ => {
                            cut.inputs.insert(read);
                        }
                    }
                }
            }
        }
        cut
    }
}

/// The bytes that a layer takes for a tensor of the reference.
fn fed(network: &Network, id: ValueId, tensor: &NamedTensor) -> Option<Vec<u8>> {
    let value = &network.values[id.0];
    let affine = value.quantization.map(|(scale, zero)| Affine { scale: scale.into(), zero: zero.into() });
    let (bytes, range): (usize, _) = match value.element {
        ElementType::I8 => (1, (i8::MIN.into(), i8::MAX.into())),
        ElementType::U8 => (1, (u8::MIN.into(), u8::MAX.into())),
        ElementType::I16 => (2, (i16::MIN.into(), i16::MAX.into())),
        _ => return (u64::try_from(tensor.bytes.len()) == Ok(value.bytes())).then(|| tensor.bytes.clone()),
    };
    let same_grid = tensor.affine.is_none() || tensor.affine == affine;
    let integers = match (tensor.integers(), affine) {
        (Some(integers), _) if same_grid => integers,
        (_, Some(affine)) => tensor.real(None)?.into_iter().map(|real| quantized(real, affine, range)).collect(),
        (_, None) => return None,
    };
    let (low, high) = range;
    let fits = integers.iter().all(|&value| (low..=high).contains(&value));
    fits.then(|| integers.into_iter().flat_map(|value| value.to_le_bytes().into_iter().take(bytes)).collect())
}

fn quantized(real: f64, Affine { scale, zero }: Affine, (low, high): (i64, i64)) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "saturates; clamped to 16 bits below")]
    let steps = (real / scale).round() as i64;
    steps.saturating_add(zero).clamp(low, high)
}
