//! What the operators' functions share: the layers so far, and checked access to a node's tensors.

use cnnip_graph::{Activation, ElementType, Graph, Node, Place, Quantization, Tensor};
use cnnip_isa::operation::{Activation as Clamp, OutputStage};
use cnnip_numerics::quantize::{self, QuantizedMultiplier};

use crate::error::{Problem, Rule};
use crate::options::{Options, Rounding};
use crate::size::{small, wide};
use cnnip_lowered::{Layer, Network, Origin, Stride, Transfer, Value, ValueId, Work};

/// Range of int8.
pub(super) const INT8: (i32, i32) = (-128, 127);

/// The layers so far. Value i is the graph's tensor i; further values follow.
pub(super) struct Context<'a> {
    pub(super) legalized: Network,
    graph: &'a Graph,
    rounding: Rounding,
}

impl<'a> Context<'a> {
    pub(super) fn new(graph: &'a Graph, options: &Options) -> Self {
        let ids = |list: &[cnnip_graph::TensorId]| list.iter().map(|id| ValueId(id.index())).collect();
        let legalized = Network {
            values: graph.tensors.iter().map(value).collect(),
            inputs: ids(&graph.inputs),
            outputs: ids(&graph.outputs),
            ..Network::default()
        };
        Self { legalized, graph, rounding: options.rounding }
    }

    /// Marks the inputs, and reports those the machine and the host steps cannot take.
    pub(super) fn start(&mut self) -> Vec<Problem> {
        let mut problems = vec![];
        for &id in &self.graph.inputs {
            self.legalized.values[id.index()].origin = Origin::Input;
            if let Err(rule) = check_end("input", &self.graph[id]) {
                problems.push(Problem { place: Place::tensor(id.index(), &self.graph[id].name), rule });
            }
        }
        problems
    }

    /// Enters the names that must still be there at the end.
    pub(super) fn keep(&mut self, names: &[String]) -> Vec<Problem> {
        let mut problems = vec![];
        for name in names {
            match self.graph.tensor_named(name) {
                Some(id) => self.legalized.kept.push(ValueId(id.index())),
                None => {
                    let rule = Rule::UnknownTensor { name: name.clone() };
                    problems.push(Problem { place: Place::Model, rule });
                }
            }
        }
        problems
    }

    /// Gives every output bytes of its own where the application's input or a constant is the output.
    pub(super) fn separate_outputs(&mut self) {
        for at in 0..self.legalized.outputs.len() {
            let id = self.legalized.outputs[at];
            let root = self.legalized.root(id);
            if self.legalized.values[root.0].origin == Origin::Computed {
                continue;
            }
            let copy = self.copy_out(id);
            self.legalized.outputs[at] = copy;
        }
    }

    /// Copies `id`; an alias becomes the copy itself, so that it keeps its name.
    fn copy_out(&mut self, id: ValueId) -> ValueId {
        let name = self.legalized.values[id.0].name.clone();
        let root = self.legalized.root(id);
        let output = if root == id {
            let value = Value {
                origin: Origin::Computed,
                name: format!("{name}:output"),
                ..self.legalized.values[id.0].clone()
            };
            self.add_value(value)
        } else {
            self.legalized.values[id.0].origin = Origin::Computed;
            id
        };
        let run = small(self.legalized.values[id.0].bytes());
        let transfer =
            Transfer { input: root, output, output_bytes: run, fill: None, start: 0, offset: 0, run, strides: vec![] };
        let node = self.legalized.layers.last().map_or(0, |layer| layer.node);
        self.legalized.layers.push(Layer {
            name,
            node,
            operator: "output",
            sources: vec![],
            macs: 0,
            work: Work::Transfer(transfer),
        });
        output
    }

    pub(super) fn at<'c>(&'c mut self, index: usize, node: &'a Node) -> At<'a, 'c> {
        At { context: self, index, node }
    }

    fn add_value(&mut self, value: Value) -> ValueId {
        self.legalized.values.push(value);
        ValueId(self.legalized.values.len() - 1)
    }
}

fn value(tensor: &Tensor) -> Value {
    let quantization = match &tensor.quantization {
        Some(Quantization::PerTensor { scale, zero_point }) => Some((*scale, i32::try_from(*zero_point).unwrap_or(0))),
        _ => None,
    };
    Value {
        name: tensor.name.clone(),
        shape: tensor.shape.dims().iter().map(|&extent| small(extent)).collect(),
        element: tensor.element,
        quantization,
        origin: tensor.data.clone().map_or(Origin::Computed, Origin::Constant),
    }
}

/// Types an input of the network may have.
fn check_end(what: &'static str, tensor: &Tensor) -> Result<(), Rule> {
    match tensor.element {
        ElementType::I8 | ElementType::F32 => Ok(()),
        found => Err(Rule::Element { what, tensor: tensor.name.clone(), found, want: "int8 or float32" }),
    }
}

/// A node, and the layers it is to join.
pub(super) struct At<'a, 'c> {
    context: &'c mut Context<'a>,
    index: usize,
    node: &'a Node,
}

/// Scale and zero point of an activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl<'a> At<'a, '_> {
    /// The node's input `index`, which inference has proved to be there.
    pub(super) fn input(&self, index: usize) -> &'a Tensor {
        &self.context.graph[self.node.inputs[index]]
    }

    /// Number of the node's inputs.
    pub(super) fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// The optional input `index`.
    pub(super) fn optional(&self, index: usize) -> Option<&'a Tensor> {
        self.node.inputs.get(index).map(|&id| &self.context.graph[id])
    }

    pub(super) fn output(&self) -> &'a Tensor {
        &self.context.graph[self.node.outputs[0]]
    }

    pub(super) fn input_id(&self, index: usize) -> ValueId {
        ValueId(self.node.inputs[index].index())
    }

    pub(super) fn output_id(&self) -> ValueId {
        ValueId(self.node.outputs[0].index())
    }

    pub(super) fn rounding(&self) -> Rounding {
        self.context.rounding
    }

    /// The int8 activation `index` with its quantization.
    pub(super) fn activation_in(&self, index: usize) -> Result<Affine, Rule> {
        affine("input", self.input(index))
    }

    /// The int8 output with its quantization.
    pub(super) fn activation_out(&self) -> Result<Affine, Rule> {
        affine("output", self.output())
    }

    /// Checks that int8 input `index` is quantized as `output`.
    pub(super) fn same_quantization(&self, index: usize, output: Affine) -> Result<(), Rule> {
        let input = self.activation_in(index)?;
        if input == output {
            return Ok(());
        }
        Err(Rule::DifferentQuantization {
            input: input.scale,
            input_zero: input.zero,
            output: output.scale,
            output_zero: output.zero,
        })
    }

    /// Checks that input 0 and the output are int8, for operators that only move bytes.
    pub(super) fn moves_int8(&self) -> Result<(), Rule> {
        int8("input", self.input(0))?;
        int8("output", self.output())
    }

    /// A stage that multiplies by `scale` in the mode of all operators but products.
    pub(super) fn stage(&self, scale: QuantizedMultiplier) -> OutputStage {
        stage(self.rounding(), scale)
    }

    /// A value that the graph does not have.
    pub(super) fn temporary(&mut self, suffix: &str, shape: Vec<u32>) -> ValueId {
        let name = format!("{}:{suffix}", self.output().name);
        let from = &self.context.legalized.values[self.node.inputs[0].index()];
        let value = Value { name, shape, origin: Origin::Computed, ..from.clone() };
        self.context.add_value(value)
    }

    /// Says that the output has the bytes of input 0.
    pub(super) fn alias(&mut self) {
        let (input, output) = (self.input_id(0), self.output_id());
        let root = self.context.legalized.root(input);
        self.context.legalized.values[output.0].origin = Origin::Alias(root);
    }

    /// Appends a layer that carries out this node.
    pub(super) fn push(&mut self, macs: u64, work: Work) {
        let name = self.node.name.clone();
        let sources = vec![name.clone()];
        let (node, operator) = (self.index, self.node.op.name());
        self.context.legalized.layers.push(Layer { name, node, operator, sources, macs, work });
    }
}

/// A stage in the profile's mode for everything but products.
pub(super) fn stage(rounding: Rounding, scale: QuantizedMultiplier) -> OutputStage {
    let QuantizedMultiplier { multiplier, shift } = scale;
    OutputStage { mode: rounding.of_others(), multiplier: multiplier.cast_unsigned(), shift }
}

pub(super) fn int8(what: &'static str, tensor: &Tensor) -> Result<(), Rule> {
    match tensor.element {
        ElementType::I8 => Ok(()),
        found => Err(Rule::Element { what, tensor: tensor.name.clone(), found, want: "int8" }),
    }
}

fn affine(what: &'static str, tensor: &Tensor) -> Result<Affine, Rule> {
    int8(what, tensor)?;
    quantization(what, tensor)
}

/// The one scale and zero point of a tensor.
pub(super) fn quantization(what: &'static str, tensor: &Tensor) -> Result<Affine, Rule> {
    match &tensor.quantization {
        None => Err(Rule::NoQuantization { what, tensor: tensor.name.clone() }),
        Some(Quantization::PerTensor { scale, zero_point }) => {
            Ok(Affine { scale: *scale, zero: i32::try_from(*zero_point).unwrap_or(0) })
        }
        Some(Quantization::PerChannel { scales, .. }) => {
            Err(Rule::PerChannelActivation { tensor: tensor.name.clone(), scales: scales.len() })
        }
    }
}

/// The clamp of a fused activation and the output's zero point.
pub(super) fn clamp(activation: Activation, output: Affine) -> Clamp {
    let (min, max) = range(activation, output);
    Clamp { zero: output.zero, min, max, table: None }
}

/// The bounds of an activation in the integers of `at`, within int8.
pub(super) fn range(activation: Activation, at: Affine) -> (i32, i32) {
    let activation = match activation {
        Activation::None => quantize::Activation::None,
        Activation::Relu => quantize::Activation::Relu,
        Activation::Relu6 => quantize::Activation::Relu6,
        Activation::ReluN1To1 => quantize::Activation::ReluN1To1,
    };
    let (min, max) = activation.range(at.scale, at.zero, INT8);
    let min = min.min(INT8.1);
    (min, max.max(min))
}

/// Extents as the device counts them.
pub(super) fn extents(tensor: &Tensor) -> Vec<u32> {
    tensor.shape.dims().iter().map(|&extent| small(extent)).collect()
}

/// `[batch, rows, columns, channels]` of a tensor that inference has proved to have four axes.
pub(super) fn nhwc(tensor: &Tensor) -> [u32; 4] {
    let [n, h, w, c] = tensor.shape.nhwc().unwrap_or([1; 4]);
    [n, h, w, c].map(small)
}

/// Elements of a tensor.
pub(super) fn elements(tensor: &Tensor) -> u64 {
    wide(tensor.shape.elements())
}

/// Bytes from one index to the next along each axis of a dense int8 tensor.
pub(super) fn steps(extents: &[u32]) -> Vec<u32> {
    let mut steps = vec![1; extents.len()];
    for axis in (1..extents.len()).rev() {
        steps[axis - 1] = steps[axis] * extents[axis];
    }
    steps
}

/// A transfer that copies `input` to `output` over `strides`, outermost first.
pub(super) fn copy(input: ValueId, output: ValueId, outermost_first: &[Stride]) -> Transfer {
    let strides = outermost_first.iter().rev().copied().collect();
    let output_bytes = outermost_first.iter().map(|stride| stride.count).product();
    Transfer { input, output, output_bytes, fill: None, start: 0, offset: 0, run: 1, strides }
}
