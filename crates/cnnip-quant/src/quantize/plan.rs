//! Which tensors become which integers.

use std::collections::HashMap;

use cnnip_graph::{ElementType, Graph, Node, Place, Tensor, TensorId};

use super::weights::{constant_range, floats};
use super::{Options, QuantizeErrors, QuantizeProblem, QuantizeRule};
use crate::parameters::{Affine, Width};
use crate::ranges::{Range, Ranges};
use crate::ties::{Demand, Ties, demand};

/// What an input of a node is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Activation,
    Weights,
    Bias,
    /// Indices and the like.
    Other,
}

/// Decisions for all tensors of a graph.
#[derive(Debug)]
pub(super) struct Plan {
    /// By tensor.
    affines: Vec<Option<Affine>>,
    ranges: HashMap<TensorId, Range>,
    /// Which tensors a pattern gives 16 bits.
    is_wide: Vec<bool>,
    /// Which tensors are real numbers, if only by their scale.
    is_real: Vec<bool>,
}

impl Plan {
    pub(super) fn new(graph: &Graph, ranges: &Ranges, options: &Options) -> Result<Self, QuantizeErrors> {
        let mut problems = quantized_already(graph);
        problems.extend(unused_patterns(graph, options));
        let activations = activations(graph);
        let is_wide: Vec<bool> =
            graph.tensors.iter().map(|tensor| options.wide.iter().any(|one| one.matches(&tensor.name))).collect();
        let ties = Ties::of(graph, |id| activations[id.index()]);
        let saturating = saturating(graph);
        let mut classes: HashMap<TensorId, Class> = HashMap::new();
        for id in graph.tensor_ids().filter(|id| activations[id.index()]) {
            let class = classes.entry(ties.root(id)).or_default();
            class.members.push(id);
            class.wide |= is_wide[id.index()];
            match range_of(graph, ranges, id) {
                Ok(range) if !saturating[id.index()] => {
                    class.range = Some(class.range.map_or(range, |all| all.union(range)))
                }
                Ok(_) => {}
                Err(rule) => problems.push(at_tensor(graph, id, rule)),
            }
        }
        if !problems.is_empty() {
            return Err(QuantizeErrors { problems });
        }
        Ok(Self::of_classes(graph, classes, is_wide))
    }

    fn of_classes(graph: &Graph, classes: HashMap<TensorId, Class>, is_wide: Vec<bool>) -> Self {
        let mut plan = Self {
            affines: vec![None; graph.tensors.len()],
            ranges: HashMap::new(),
            is_wide,
            is_real: graph.tensors.iter().map(is_real).collect(),
        };
        for class in classes.into_values() {
            let width = if class.wide { Width::Int16 } else { Width::Int8 };
            let range = class.range.unwrap_or(Range { min: 0.0, max: 0.0 });
            let affine = class.unit(graph, width).unwrap_or_else(|| Affine::roomy(range, width));
            for id in class.members {
                plan.affines[id.index()] = Some(affine);
                plan.ranges.insert(id, range);
            }
        }
        plan
    }

    /// The quantization of an activation; `None` for other tensors.
    pub(super) fn affine(&self, id: TensorId) -> Option<Affine> {
        self.affines.get(id.index()).copied().flatten()
    }

    /// The quantization that an activation would have in `width`.
    pub(super) fn in_width(&self, id: TensorId, width: Width) -> Affine {
        Affine::roomy(self.ranges.get(&id).copied().unwrap_or(Range { min: 0.0, max: 0.0 }), width)
    }

    /// The most bits that weights may have.
    pub(super) fn weight_width(&self, id: TensorId) -> Width {
        if self.is_wide.get(id.index()).copied().unwrap_or(false) { Width::Int16 } else { Width::Int8 }
    }

    /// The tensor of the old graph whose values `id` of the new one holds.
    pub(super) fn origin(&self, id: TensorId, old: &Graph) -> TensorId {
        if id.index() < old.tensors.len() { id } else { self.quantized_input(id, old) }
    }

    /// The quantized inputs stand behind the old tensors, in the order of the inputs that are activations.
    fn quantized_input(&self, id: TensorId, old: &Graph) -> TensorId {
        let mut inputs = old.inputs.iter().filter(|&&input| self.affine(input).is_some());
        inputs.nth(id.index() - old.tensors.len()).copied().unwrap_or(id)
    }

    /// The width a node works in: the larger of its activations'. `None` if none of them is quantized.
    pub(super) fn node_width(&self, node: &Node) -> Option<Width> {
        node.inputs.iter().chain(&node.outputs).filter_map(|&id| self.affine(id)).map(|affine| affine.width()).max()
    }

    pub(super) fn role(&self, node: &Node, position: usize) -> Role {
        let is_real = self.is_real.get(node.inputs[position].index()).copied().unwrap_or(false);
        match (node.op.weight_axis().is_some(), position) {
            _ if !is_real || node.op.stays_real(position) => Role::Other,
            (true, 1) => Role::Weights,
            (true, 2) => Role::Bias,
            _ => Role::Activation,
        }
    }

    /// The quantization that the integer kernel of a node gives its output, if it has but one.
    pub(super) fn natural_output(&self, node: &Node, width: Width) -> Option<Affine> {
        match demand(&node.op) {
            Demand::Unit { signed } => Some(Affine::unit(signed, width)),
            Demand::None | Demand::Alike | Demand::Clamped => None,
        }
    }
}

/// Tensors quantized alike.
#[derive(Debug, Default)]
struct Class {
    members: Vec<TensorId>,
    range: Option<Range>,
    wide: bool,
}

impl Class {
    /// The quantization that the writer of its only member demands.
    fn unit(&self, graph: &Graph, width: Width) -> Option<Affine> {
        let &[only] = self.members.as_slice() else { return None };
        match demand(&graph[graph.producer(only)?].op) {
            Demand::Unit { signed } => Some(Affine::unit(signed, width)),
            Demand::None | Demand::Alike | Demand::Clamped => None,
        }
    }
}

/// Which tensors are real numbers and neither weights nor biases.
pub(crate) fn activations(graph: &Graph) -> Vec<bool> {
    let mut found = vec![false; graph.tensors.len()];
    for node in &graph.nodes {
        let has_weights = node.op.weight_axis().is_some();
        let stays = |position: usize| has_weights && position > 0 || node.op.stays_real(position);
        let inputs = node.inputs.iter().enumerate().filter(|&(position, _)| !stays(position));
        let outputs = node.outputs.iter().filter(|_| !node.op.gives_real());
        inputs.map(|(_, id)| id).chain(outputs).for_each(|id| found[id.index()] = true);
    }
    let real = graph.nodes.iter().filter(|node| node.op.gives_real()).flat_map(|node| &node.outputs);
    graph.inputs.iter().chain(&graph.outputs).for_each(|id| found[id.index()] = true);
    real.for_each(|id| found[id.index()] = false);
    found.iter().zip(&graph.tensors).map(|(found, tensor)| *found && is_real(tensor)).collect()
}

fn is_real(tensor: &Tensor) -> bool {
    tensor.element == ElementType::F32 || tensor.is_constant() && tensor.quantization.is_some()
}

/// Tensors whose only reader clamps: what lies outside of the clamp's result may as well saturate before.
fn saturating(graph: &Graph) -> Vec<bool> {
    let readers = graph.all_consumers();
    let only_clamped = |id: TensorId| match readers[id.index()].as_slice() {
        &[reader] => demand(&graph[reader].op) == Demand::Clamped && !graph.outputs.contains(&id),
        _ => false,
    };
    graph.tensor_ids().map(only_clamped).collect()
}

fn range_of(graph: &Graph, ranges: &Ranges, id: TensorId) -> Result<Range, QuantizeRule> {
    match floats(&graph[id]) {
        Some(values) => constant_range(&values),
        None => ranges.get(&graph[id].name).ok_or(QuantizeRule::NoRange),
    }
}

fn quantized_already(graph: &Graph) -> Vec<QuantizeProblem> {
    let quantized = graph.tensor_ids().filter(|&id| graph[id].quantization.is_some() && !graph[id].is_constant());
    quantized.map(|id| at_tensor(graph, id, QuantizeRule::Quantized { element: graph[id].element })).collect()
}

fn unused_patterns(graph: &Graph, options: &Options) -> Vec<QuantizeProblem> {
    let unused = options.wide.iter().filter(|one| graph.tensors.iter().all(|tensor| !one.matches(&tensor.name)));
    let problem = |pattern: &cnnip_graph::Pattern| QuantizeProblem {
        place: Place::Model,
        rule: QuantizeRule::Pattern { pattern: pattern.to_string() },
    };
    unused.map(problem).collect()
}

fn at_tensor(graph: &Graph, id: TensorId, rule: QuantizeRule) -> QuantizeProblem {
    QuantizeProblem { place: Place::tensor(id.index(), &graph[id].name), rule }
}
