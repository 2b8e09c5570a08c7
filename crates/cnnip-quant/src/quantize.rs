//! Float graph and ranges → quantized graph.

mod edges;
mod plan;
mod weights;

use std::collections::{HashMap, HashSet};

use cnnip_graph::{ElementType, Graph, Node, Op, Pattern, Place, Problems, Quantization, Tensor, TensorId};

use crate::means::Means;
use crate::parameters::{Affine, Width};
use crate::ranges::Ranges;
use plan::Plan;

pub(crate) use plan::activations;

/// What a caller may choose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Tensors of 16 bits; all others have 8. Tensors that must be quantized alike follow. Weights that are named so have 16 bits where
    /// their node works in 16 bits.
    pub wide: Vec<Pattern>,
    /// Inputs and outputs are the integers themselves. Otherwise they stay float32, and the network begins with quantizing and
    /// ends with de-quantizing.
    pub integer_ends: bool,
    /// Means of the activations: biases then make up for what rounding the weights does to the mean of every output channel.
    pub means: Option<Means>,
}

/// All problems of a graph and its ranges; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizeErrors {
    problems: Vec<QuantizeProblem>,
}

impl QuantizeErrors {
    /// The problems, in the order of the graph.
    pub fn problems(&self) -> &[QuantizeProblem] {
        &self.problems
    }
}

impl std::error::Error for QuantizeErrors {}

/// A line per problem, and one per hint.
impl std::fmt::Display for QuantizeErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// One problem: where, and which rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {rule}\n  hint: {}", rule.hint())]
pub struct QuantizeProblem {
    /// Node or tensor.
    pub place: Place,
    /// The rule it breaks.
    pub rule: QuantizeRule,
}

/// What quantization needs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeRule {
    /// A tensor that calibration has not seen.
    #[error("the tensor has no range")]
    NoRange,
    /// Weights or a bias that the network computes.
    #[error("the {what} `{tensor}` is not a constant")]
    NotConstant {
        /// Which operand.
        what: &'static str,
        /// Its name.
        tensor: String,
    },
    /// A constant with infinite values or values that are no numbers.
    #[error("{count} of the constant's elements are not finite, the first is element {first}")]
    NotFinite {
        /// How many.
        count: usize,
        /// Index of the first.
        first: usize,
    },
    /// A tensor that is quantized already.
    #[error("the tensor is {element} with a scale: it is quantized already")]
    Quantized {
        /// Its type.
        element: ElementType,
    },
    /// A pattern that no tensor has.
    #[error("no tensor is named like `{pattern}`")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// The result is no well-formed graph.
    #[error("internal error: {what}")]
    Internal {
        /// What is wrong with it.
        what: String,
    },
}

impl QuantizeRule {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoRange => "calibrate with inputs that reach it, or give its range by hand",
            Self::NotConstant { .. } => "freeze the model's variables before exporting it",
            Self::NotFinite { .. } => "the model was damaged or training diverged: export it again",
            Self::Quantized { .. } => "compile it without calibration",
            Self::Pattern { .. } => "`*` stands for any characters; `cnnip info` lists the names",
            Self::Internal { .. } => "please report this with the model",
        }
    }
}

/// Quantizes a float graph.
///
/// Every float32 tensor becomes int8 or int16 under its own name. Where a node has operands of both widths it works in 16 bits, and
/// requantizations are put around it. Weights are symmetric per output channel; biases have the scale of input times weights.
///
/// # Errors
/// All problems at once: tensors without range, weights that are not constant or not finite, a graph that is quantized already.
pub fn quantize(graph: &Graph, ranges: &Ranges, options: &Options) -> Result<Graph, QuantizeErrors> {
    let plan = Plan::new(graph, ranges, options)?;
    let mut rewrite = Rewrite::new(graph, &plan, options.means.as_ref());
    let mut problems = vec![];
    if !options.integer_ends {
        rewrite.quantize_inputs();
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        if let Err((id, rule)) = rewrite.node(node) {
            let place = id.map_or_else(
                || Place::node(index, &node.name, node.op.name()),
                |id| Place::tensor(id.index(), &graph[id].name),
            );
            problems.push(QuantizeProblem { place, rule });
        }
    }
    if !problems.is_empty() {
        return Err(QuantizeErrors { problems });
    }
    if !options.integer_ends {
        rewrite.dequantize_outputs();
    }
    let graph = rewrite.finish();
    graph.check().map_err(|problems| internal(&problems))?;
    Ok(graph)
}

fn internal(found: &Problems) -> QuantizeErrors {
    let rule = QuantizeRule::Internal { what: found.to_string() };
    QuantizeErrors { problems: vec![QuantizeProblem { place: Place::Model, rule }] }
}

/// A rule that a node breaks, and the tensor if it is that tensor's.
type Broken = (Option<TensorId>, QuantizeRule);

/// The new graph while it grows. Tensor `i` of the old one is tensor `i` of the new one; others follow.
struct Rewrite<'a> {
    old: &'a Graph,
    plan: &'a Plan,
    means: Option<&'a Means>,
    new: Graph,
    /// The same values in 16 bits, by the tensor of 8 bits.
    widened: HashMap<TensorId, TensorId>,
    /// Integers of float inputs.
    inputs: HashMap<TensorId, TensorId>,
    /// Constants that have become integers in their place.
    replaced: HashSet<TensorId>,
}

impl<'a> Rewrite<'a> {
    fn new(old: &'a Graph, plan: &'a Plan, means: Option<&'a Means>) -> Self {
        let tensors = old.tensor_ids().map(|id| quantized(&old[id], plan.affine(id))).collect();
        let new = Graph {
            name: old.name.clone(),
            tensors,
            nodes: vec![],
            inputs: old.inputs.clone(),
            outputs: old.outputs.clone(),
            fused: old.fused.clone(),
        };
        Self { old, plan, means, new, widened: HashMap::new(), inputs: HashMap::new(), replaced: HashSet::new() }
    }

    fn node(&mut self, node: &Node) -> Result<(), Broken> {
        let Some(width) = self.plan.node_width(node) else {
            self.new.nodes.push(node.clone());
            return Ok(());
        };
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (position, &id) in node.inputs.iter().enumerate() {
            inputs.push(match self.plan.role(node, position) {
                plan::Role::Activation => self.activation(id, width)?,
                plan::Role::Weights => weights::weights(self, node, width)?,
                plan::Role::Bias => weights::bias(self, node, &inputs, width)?,
                plan::Role::Other => id,
            });
        }
        let output = node.outputs[0];
        let written = self.written(node, output, width);
        self.new.nodes.push(Node { inputs, outputs: vec![written], ..node.clone() });
        if written != output {
            self.requantize(written, output);
        }
        Ok(())
    }

    /// The integers of an activation or constant operand in `width`.
    fn activation(&mut self, id: TensorId, width: Width) -> Result<TensorId, Broken> {
        if self.old[id].is_constant() {
            return weights::operand(self, id, width);
        }
        let id = self.inputs.get(&id).copied().unwrap_or(id);
        if width == Width::Int8 || self.new[id].element != ElementType::I8 {
            return Ok(id);
        }
        if let Some(&wide) = self.widened.get(&id) {
            return Ok(wide);
        }
        let affine = self.plan.in_width(self.plan.origin(id, self.old), Width::Int16);
        let wide = self.like(id, ":int16", affine, Width::Int16);
        self.requantize(id, wide);
        self.widened.insert(id, wide);
        Ok(wide)
    }

    /// Where a node of `width` writes: its output, or a tensor of which the output is then made.
    fn written(&mut self, node: &Node, output: TensorId, width: Width) -> TensorId {
        let natural = self.plan.natural_output(node, width);
        let wanted = self.plan.affine(output);
        match (natural, wanted) {
            (Some(natural), Some(wanted)) if natural != wanted => self.like(output, ":unit", natural, width),
            (None, Some(wanted)) if wanted.width() != width => {
                let affine = self.plan.in_width(output, width);
                self.like(output, ":int16", affine, width)
            }
            _ => output,
        }
    }

    fn requantize(&mut self, from: TensorId, to: TensorId) {
        let name = format!("{}:requantize", self.new[to].name);
        self.new.nodes.push(Node { name, op: Op::Quantize, inputs: vec![from], outputs: vec![to] });
    }

    /// A new tensor of the shape of `id`.
    fn like(&mut self, id: TensorId, suffix: &str, affine: Affine, width: Width) -> TensorId {
        let of = &self.new[id];
        let (name, source) = (format!("{}{suffix}", of.name), of.copied());
        let tensor = Tensor { name, data: None, element: element(width), source, ..of.clone() };
        self.add(tensor.quantized(Quantization::per_tensor(affine.scale, affine.zero)))
    }

    /// Puts integers in the place of a constant; for a further reader, whose integers may be others, beside it.
    fn replace(&mut self, id: TensorId, integers: Tensor) -> TensorId {
        if self.replaced.insert(id) {
            self.new.tensors[id.index()] = integers;
            return id;
        }
        if self.new[id] == integers { id } else { self.add(integers) }
    }

    /// Adds a tensor under a name that no other has.
    fn add(&mut self, mut tensor: Tensor) -> TensorId {
        let wanted = tensor.name.clone();
        let mut number = 2;
        while self.new.tensor_named(&tensor.name).is_some() {
            tensor.name = format!("{wanted}:{number}");
            number += 1;
        }
        self.new.tensors.push(tensor);
        TensorId::new(self.new.tensors.len() - 1)
    }

    fn finish(self) -> Graph {
        self.new
    }
}

/// The tensor with its quantization; weights and biases become others where they are used.
fn quantized(tensor: &Tensor, affine: Option<Affine>) -> Tensor {
    match affine {
        Some(affine) if !tensor.is_constant() => Tensor { element: element(affine.width()), ..tensor.clone() }
            .quantized(Quantization::per_tensor(affine.scale, affine.zero)),
        _ => tensor.clone(),
    }
}

const fn element(width: Width) -> ElementType {
    match width {
        Width::Int8 => ElementType::I8,
        Width::Int16 => ElementType::I16,
    }
}

#[cfg(test)]
mod tests;
