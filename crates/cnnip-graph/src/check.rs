//! The rules of a well-formed graph, shared by importers and [`Graph::check`].

use std::collections::HashMap;

use crate::graph::{Graph, TensorId};
use crate::infer::infer_shape;
use crate::op::Op;
use crate::problem::{Place, Problems, Rule, quote};
use crate::tensor::{ElementType, Quantization, Shape, Tensor};

/// All problems of `graph`.
pub(crate) fn graph(graph: &Graph) -> Problems {
    let mut problems = Problems::default();
    names(graph, &mut problems);
    for (index, found) in graph.tensors.iter().enumerate() {
        tensor(found, &mut |rule| problems.push(Place::tensor(index, &found.name), rule));
    }
    let known = ids(graph, &mut problems);
    if known {
        let wires: Vec<Wires<'_>> =
            graph.nodes.iter().map(|node| (node.inputs.as_slice(), node.outputs.as_slice())).collect();
        let origins = graph.tensors.iter().map(Origin::of).collect();
        let ends = (graph.inputs.as_slice(), graph.outputs.as_slice());
        flow(origins, ends, &wires, &mut |at, rule| problems.push(place(graph, at), rule));
        shapes(graph, &mut problems);
    }
    problems
}

fn place(graph: &Graph, at: Option<usize>) -> Place {
    at.map_or(Place::Model, |index| Place::node(index, &graph.nodes[index].name, graph.nodes[index].op.name()))
}

fn names(graph: &Graph, problems: &mut Problems) {
    let mut seen = HashMap::new();
    for (index, tensor) in graph.tensors.iter().enumerate() {
        let other = *seen.entry(tensor.name.as_str()).or_insert(index);
        if other != index {
            problems.push(Place::tensor(index, &tensor.name), Rule::RepeatedName { other });
        }
    }
}

/// Whether every id is one of the graph's; those that are not are reported.
fn ids(graph: &Graph, problems: &mut Problems) -> bool {
    let count = graph.tensors.len();
    let mut check = |at: Option<usize>, list: &[TensorId]| {
        for id in list.iter().filter(|id| id.index() >= count) {
            let index = i64::try_from(id.index()).unwrap_or(i64::MAX);
            problems.push(place(graph, at), Rule::TensorIndex { index, count });
        }
    };
    check(None, &graph.inputs);
    check(None, &graph.outputs);
    for (index, node) in graph.nodes.iter().enumerate() {
        check(Some(index), &node.inputs);
        check(Some(index), &node.outputs);
    }
    let all = graph.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.outputs));
    all.chain(&graph.inputs).chain(&graph.outputs).all(|id| id.index() < count)
}

fn shapes(graph: &Graph, problems: &mut Problems) {
    for (index, found) in graph.nodes.iter().enumerate() {
        let inputs: Vec<&Tensor> = found.inputs.iter().map(|&id| &graph[id]).collect();
        let outputs: Vec<&Tensor> = found.outputs.iter().map(|&id| &graph[id]).collect();
        if let Err(rule) = node(&found.op, &inputs, &outputs) {
            problems.push(place(graph, Some(index)), rule);
        }
    }
}

/// Whether the operator fits its tensors.
pub(crate) fn node(op: &Op, inputs: &[&Tensor], outputs: &[&Tensor]) -> Result<(), Rule> {
    let shapes: Vec<&Shape> = inputs.iter().map(|tensor| &tensor.shape).collect();
    let want = infer_shape(op, &shapes)?;
    let [output] = outputs else { return Err(Rule::OutputCount { found: outputs.len() }) };
    if output.shape != want {
        return Err(Rule::OutputShape { want, found: output.shape.clone() });
    }
    weight_axis(op, inputs)?;
    inputs.iter().try_for_each(|tensor| numbers(op, tensor))
}

/// Whether a constant of floats holds numbers, and weights finite ones.
fn numbers(op: &Op, tensor: &Tensor) -> Result<(), Rule> {
    let Some(data) = tensor.data.as_ref().filter(|_| tensor.element == ElementType::F32) else { return Ok(()) };
    let values = data.bytes().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    let finite = op.weight_axis().is_some();
    let wrong = |(_, value): &(usize, f32)| value.is_nan() || finite && value.is_infinite();
    match values.enumerate().find(wrong) {
        Some((index, value)) => Err(Rule::NotFinite { name: quote(&tensor.name), index, value }),
        None => Ok(()),
    }
}

fn weight_axis(op: &Op, inputs: &[&Tensor]) -> Result<(), Rule> {
    let scales = inputs.get(1).and_then(|weights| weights.quantization.as_ref()).and_then(Quantization::axis);
    match (op.weight_axis(), scales) {
        (Some(want), Some(found)) if want != found => Err(Rule::WeightAxis { want, found }),
        _ => Ok(()),
    }
}

/// Reports what is wrong with one tensor by itself.
pub(crate) fn tensor(tensor: &Tensor, report: &mut dyn FnMut(Rule)) {
    if let Some(quantization) = &tensor.quantization {
        parameters(quantization, tensor.element, report);
        if let Some(axis) = quantization.axis()
            && let Err(rule) = channels(&tensor.shape, axis, quantization.scales().len())
        {
            report(rule);
        }
    }
    match &tensor.data {
        Some(data) if data.bytes().len() != tensor.byte_len() => {
            report(Rule::DataSize { want: tensor.byte_len(), found: data.bytes().len() });
        }
        None => empty_activation(&tensor.shape, report),
        Some(_) => {}
    }
}

/// A tensor without elements makes sense only as a constant, such as the shape of a scalar.
fn empty_activation(shape: &Shape, report: &mut dyn FnMut(Rule)) {
    if let Some(axis) = shape.dims().iter().position(|&dim| dim == 0) {
        report(Rule::Dimension { axis, value: 0 });
    }
}

/// Reports scales that are not positive numbers and zero points outside the element type.
fn parameters(quantization: &Quantization, element: ElementType, report: &mut dyn FnMut(Rule)) {
    let (scales, zero_points) = (quantization.scales(), quantization.zero_points());
    if scales.len() != zero_points.len() {
        report(Rule::ZeroPointCount { scales: scales.len(), zero_points: zero_points.len() });
    }
    for (channel, &value) in scales.iter().enumerate() {
        if !(value.is_finite() && value > 0.0) {
            report(Rule::Scale { channel, value });
        }
    }
    let (least, greatest) = element.range().unwrap_or((0, 0));
    for (channel, &value) in zero_points.iter().enumerate() {
        if !(least..=greatest).contains(&value) {
            report(Rule::ZeroPoint { channel, value, element });
        }
    }
}

fn channels(shape: &Shape, axis: usize, scales: usize) -> Result<(), Rule> {
    match shape.dims().get(axis) {
        Some(&channels) if channels == scales => Ok(()),
        Some(&channels) => Err(Rule::ChannelCount { scales, channels, axis }),
        None => Err(Rule::ChannelAxis { axis: i64::try_from(axis).unwrap_or(i64::MAX), rank: shape.rank() }),
    }
}

/// What a node reads and what it writes.
pub(crate) type Wires<'a> = (&'a [TensorId], &'a [TensorId]);

/// What has given a tensor its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing so far.
    Nothing,
    /// The model itself.
    Constant,
    /// The application.
    Input,
    /// A node.
    Node,
    /// Not known, as the tensor has a problem of its own: neither reading nor writing is reported.
    Unknown,
}

impl Origin {
    /// That of a tensor before anything runs.
    pub(crate) fn of(tensor: &Tensor) -> Self {
        if tensor.is_constant() { Self::Constant } else { Self::Nothing }
    }

    /// Why a tensor of this origin may not be written, if it may not.
    fn taken(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Unknown => None,
            Self::Constant => Some("a constant"),
            Self::Input => Some("a graph input"),
            Self::Node => Some("written by another node"),
        }
    }
}

/// Reports every use of a tensor that breaks "written once, before it is read"; `at` is the index of
/// the node, `None` for the graph's own inputs and outputs. All ids are below `origins.len()`.
pub(crate) fn flow(
    mut origins: Vec<Origin>,
    ends: Wires<'_>,
    nodes: &[Wires<'_>],
    report: &mut dyn FnMut(Option<usize>, Rule),
) {
    let producers = producers(origins.len(), nodes);
    let unread = |origins: &[Origin], id: TensorId| {
        let index = id.index();
        match (origins[index], producers[index]) {
            (Origin::Nothing, Some(producer)) => Some(Rule::UsedTooEarly { index, producer }),
            (Origin::Nothing, None) => Some(Rule::NeverProduced { index }),
            _ => None,
        }
    };
    start(&mut origins, ends, report);
    for (at, (inputs, outputs)) in nodes.iter().enumerate() {
        inputs.iter().filter_map(|&id| unread(&origins, id)).for_each(|rule| report(Some(at), rule));
        for id in *outputs {
            let index = id.index();
            if let Some(already) = origins[index].taken() {
                report(Some(at), Rule::Overwritten { index, already });
            }
            origins[index] = Origin::Node;
        }
    }
    ends.1.iter().filter_map(|&id| unread(&origins, id)).for_each(|rule| report(None, rule));
}

/// Enters the graph's inputs and reports what is wrong with them.
fn start(origins: &mut [Origin], (inputs, outputs): Wires<'_>, report: &mut dyn FnMut(Option<usize>, Rule)) {
    if inputs.is_empty() {
        report(None, Rule::NoInputs);
    }
    if outputs.is_empty() {
        report(None, Rule::NoOutputs);
    }
    for id in inputs {
        let index = id.index();
        match origins[index] {
            Origin::Constant => report(None, Rule::InputIsConstant { index }),
            Origin::Input => report(None, Rule::RepeatedInput { index }),
            Origin::Nothing | Origin::Node | Origin::Unknown => origins[index] = Origin::Input,
        }
    }
}

/// The first node that writes each tensor.
fn producers(tensors: usize, nodes: &[Wires<'_>]) -> Vec<Option<usize>> {
    let mut producers = vec![None; tensors];
    for (at, (_, outputs)) in nodes.iter().enumerate() {
        for id in *outputs {
            producers[id.index()].get_or_insert(at);
        }
    }
    producers
}
