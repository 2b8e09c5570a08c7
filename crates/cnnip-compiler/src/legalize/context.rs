//! What the operators' functions share: the layers so far, and checked access to a node's tensors.

use cnnip_graph::{Activation, Data, ElementType, Graph, Node, Op, Place, Quantization, Tensor, TensorId};
use cnnip_isa::operation::{Activation as Clamp, OutputStage};
use cnnip_isa::{ElementType as DeviceType, EltwiseFunction, ResizeMode};
use cnnip_numerics::quantize::{self, QuantizedMultiplier};

use crate::error::{Problem, Rule};
use crate::options::{Options, Rounding};
use crate::size::{small, wide};
use cnnip_lowered::{
    Eltwise, EltwiseInput, Layer, Network, Origin, Stride, Table, Transfer, Value, ValueId, Work, source_tensor,
};
use cnnip_package::SourceTensor;

/// What a uint8 zero point has more than that of the same tensor as int8: a byte is re-labelled by exclusive-or 0x80.
const RELABEL: i32 = 128;

/// The layers so far. Value i is the graph's tensor i; those that were fused away and further values follow.
///
/// A uint8 tensor is an int8 value; only inputs of the network are read as what they are.
pub(super) struct Context<'a> {
    pub(super) legalized: Network,
    graph: &'a Graph,
    rounding: Rounding,
    /// Largest magnification of a bilinear resize.
    max_magnification: u32,
    /// Most elements to find the largest of.
    max_argmax_channels: u32,
    /// By graph tensor: the int8 value of a uint8 input.
    relabelled: Vec<Option<ValueId>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(graph: &'a Graph, options: &Options) -> Self {
        let ids = |list: &[TensorId]| list.iter().map(|id| ValueId(id.index())).collect();
        let legalized = Network {
            values: graph.tensors.iter().chain(&graph.fused).map(value).collect(),
            inputs: ids(&graph.inputs),
            outputs: ids(&graph.outputs),
            ..Network::default()
        };
        let relabelled = vec![None; graph.tensors.len()];
        let max_magnification = options.target.max_scale(ResizeMode::Bilinear);
        let max_argmax_channels = options.target.max_argmax_channels;
        Self { legalized, graph, rounding: options.rounding, max_magnification, max_argmax_channels, relabelled }
    }

    /// Marks the inputs, re-labels those of uint8, and reports those the machine and the host steps cannot take.
    pub(super) fn start(&mut self) -> Vec<Problem> {
        let mut problems = vec![];
        for &id in &self.graph.inputs {
            self.legalized.values[id.index()].origin = Origin::Input;
            if let Err(rule) = check_end("input", &self.graph[id]) {
                problems.push(Problem { place: Place::tensor(id.index(), &self.graph[id].name), rule });
            }
            if self.graph[id].element == ElementType::U8 {
                self.start_uint8(id);
            }
        }
        problems
    }

    /// Makes input `id` what it is for the application, and an int8 value of it unless only convolutions read it.
    fn start_uint8(&mut self, id: TensorId) {
        let int8 = self.legalized.values[id.index()].clone();
        let (name, quantization) = (format!("{}:int8", int8.name), int8.quantization);
        let input = &mut self.legalized.values[id.index()];
        input.element = ElementType::U8;
        input.quantization = quantization.map(|(scale, zero)| (scale, zero + RELABEL));
        if self.graph.consumers(id).all(|node| reads_uint8(&self.graph[node].op)) {
            return;
        }
        let value = self.add_value(Value { name, model: copied(&int8), origin: Origin::Computed, ..int8 });
        self.relabelled[id.index()] = Some(value);
        let activation = Clamp::full_range(0, DeviceType::Int8);
        self.relabel(ValueId(id.index()), value, RELABEL, (activation, None));
    }

    /// Appends a layer between a uint8 and an int8 value, element by element.
    fn relabel(&mut self, input: ValueId, output: ValueId, zero: i32, (activation, table): (Clamp, Option<Table>)) {
        let elements = self.legalized.values[input.0].shape.iter().product();
        let operand = EltwiseInput { value: input, steps: vec![0, 0, 1], zero, stage: OutputStage::NONE };
        let work = Eltwise {
            function: EltwiseFunction::Pass,
            pre_shift: 0,
            inputs: vec![operand],
            output,
            extents: vec![1, 1, elements],
            stage: OutputStage::NONE,
            activation,
            table,
        };
        let name = self.legalized.values[output.0].name.clone();
        self.push_end("re-label", name, Work::Eltwise(work));
    }

    /// Appends a layer that no node asks for.
    fn push_end(&mut self, operator: &'static str, name: String, work: Work) {
        let node = self.legalized.layers.last().map_or(0, |layer| layer.node);
        self.legalized.layers.push(Layer { name, node, operator: operator.into(), sources: vec![], macs: 0, work });
    }

    /// Gives every uint8 output a value of that type.
    pub(super) fn finish_uint8(&mut self) {
        for at in 0..self.graph.outputs.len() {
            let tensor = self.graph.outputs[at];
            let id = self.legalized.outputs[at];
            if self.graph[tensor].element == ElementType::U8 && self.legalized.values[id.0].element == ElementType::I8 {
                self.legalized.outputs[at] = self.uint8_output(id);
            }
        }
    }

    /// The value takes the tensor's name, as the application knows it.
    fn uint8_output(&mut self, id: ValueId) -> ValueId {
        let int8 = &mut self.legalized.values[id.0];
        let quantization = int8.quantization.map(|(scale, zero)| (scale, zero + RELABEL));
        let value = Value { element: ElementType::U8, quantization, origin: Origin::Computed, ..int8.clone() };
        (int8.model, int8.name) = (copied(int8), format!("{}:int8", value.name));
        let output = self.add_value(value);
        let mut entries = Box::new([0; 256]);
        for (entry, x) in entries.iter_mut().zip(0_u8..=255) {
            *entry = x.cast_signed();
        }
        let activation = Clamp::full_range(0, DeviceType::Uint8);
        self.relabel(id, output, 0, (activation, Some(Table::Bytes(entries))));
        output
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
                model: copied(&self.legalized.values[id.0]),
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
        self.push_end("output", name, Work::Transfer(transfer));
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
        Some(Quantization::PerTensor { scale, zero_point }) => Some((*scale, signed_zero(tensor.element, *zero_point))),
        _ => None,
    };
    Value {
        name: tensor.name.clone(),
        shape: tensor.shape.dims().iter().map(|&extent| small(extent)).collect(),
        element: if tensor.element == ElementType::U8 { ElementType::I8 } else { tensor.element },
        quantization,
        model: source_tensor(&tensor.source),
        origin: tensor.data.as_ref().map_or(Origin::Computed, |data| Origin::Constant(signed(tensor.element, data))),
    }
}

/// What a value of the same elements under another name is in the source.
fn copied(value: &Value) -> SourceTensor {
    match &value.model {
        SourceTensor::Same => {
            SourceTensor::View { name: value.name.clone(), axes: (0..).take(value.shape.len()).collect() }
        }
        model => model.clone(),
    }
}

/// The data of a tensor whose uint8 elements are re-labelled int8.
pub(super) fn signed(element: ElementType, data: &Data) -> Data {
    if element != ElementType::U8 {
        return data.clone();
    }
    let bytes: Vec<u8> = data.bytes().iter().map(|byte| byte ^ 0x80).collect();
    bytes.into()
}

/// What an element has more in the model than in the machine, where uint8 is re-labelled int8.
pub(super) const fn relabelling(element: ElementType) -> i32 {
    match element {
        ElementType::U8 => RELABEL,
        _ => 0,
    }
}

/// The zero point of a tensor whose uint8 elements are re-labelled int8.
pub(super) fn signed_zero(element: ElementType, zero: i64) -> i32 {
    let zero = i32::try_from(zero).unwrap_or(0);
    if element == ElementType::U8 { zero - RELABEL } else { zero }
}

/// Operators whose operation reads uint8 itself, as their first input.
const fn reads_uint8(op: &Op) -> bool {
    matches!(op, Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_))
}

/// Types an input of the network may have.
fn check_end(what: &'static str, tensor: &Tensor) -> Result<(), Rule> {
    match tensor.element {
        ElementType::I8 | ElementType::U8 | ElementType::I16 | ElementType::F32 => Ok(()),
        found => Err(Rule::Element { what, tensor: tensor.name.clone(), found, want: "int8, uint8, int16 or float32" }),
    }
}

/// A node, and the layers it is to join.
pub(super) struct At<'a, 'c> {
    context: &'c mut Context<'a>,
    index: usize,
    node: &'a Node,
}

/// Type, scale and zero point of an activation as the machine has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    /// `Int8` or `Int16`.
    pub(super) element: DeviceType,
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl Affine {
    /// Zero point and the full range of the type.
    pub(super) fn full_range(self) -> Clamp {
        Clamp::full_range(self.zero, self.element)
    }

    /// Smallest and largest value of the type.
    pub(super) fn limits(self) -> (i32, i32) {
        let Clamp { min, max, .. } = self.full_range();
        (min, max)
    }

    pub(super) fn is_wide(self) -> bool {
        self.element == DeviceType::Int16
    }
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

    pub(super) fn op(&self) -> &'a Op {
        &self.node.op
    }

    pub(super) fn output(&self) -> &'a Tensor {
        &self.context.graph[self.node.outputs[0]]
    }

    /// The value of input `index`, int8 for uint8.
    pub(super) fn input_id(&self, index: usize) -> ValueId {
        let tensor = self.node.inputs[index].index();
        self.context.relabelled[tensor].unwrap_or(ValueId(tensor))
    }

    /// The value of the first input as a convolution reads it, and its zero point: uint8 if it is an input of the network.
    pub(super) fn read_by_product(&self, input: Affine) -> (ValueId, i32) {
        let value = ValueId(self.node.inputs[0].index());
        let uint8 = self.context.legalized.values[value.0].element == ElementType::U8;
        (value, if uint8 { input.zero + RELABEL } else { input.zero })
    }

    pub(super) fn output_id(&self) -> ValueId {
        ValueId(self.node.outputs[0].index())
    }

    pub(super) fn max_magnification(&self) -> u32 {
        self.context.max_magnification
    }

    pub(super) fn max_argmax_channels(&self) -> u32 {
        self.context.max_argmax_channels
    }

    pub(super) fn rounding(&self) -> Rounding {
        self.context.rounding
    }

    /// The activation `index` with its quantization.
    pub(super) fn activation_in(&self, index: usize) -> Result<Affine, Rule> {
        affine("input", self.input(index))
    }

    /// The output with its quantization.
    pub(super) fn activation_out(&self) -> Result<Affine, Rule> {
        affine("output", self.output())
    }

    /// The 8-bit activation `index`, for operators that no 16-bit kernel of the oracle has.
    pub(super) fn narrow_in(&self, index: usize) -> Result<Affine, Rule> {
        narrow("input", self.input(index))
    }

    /// The 8-bit output.
    pub(super) fn narrow_out(&self) -> Result<Affine, Rule> {
        narrow("output", self.output())
    }

    /// The activations `0..N`, which is the output's.
    pub(super) fn alike<const N: usize>(&self) -> Result<([Affine; N], Affine), Rule> {
        let output = self.activation_out()?;
        let mut inputs = [output; N];
        for (index, input) in inputs.iter_mut().enumerate() {
            *input = self.activation_in(index)?;
            self.check_type(index, output)?;
        }
        Ok((inputs, output))
    }

    /// Checks that input `index` has the type of the output.
    fn check_type(&self, index: usize, output: Affine) -> Result<(), Rule> {
        let tensor = self.input(index);
        if self.activation_in(index)?.element == output.element {
            return Ok(());
        }
        let (found, want) = (tensor.element, "of the output's type");
        Err(Rule::Element { what: "input", tensor: tensor.name.clone(), found, want })
    }

    /// Checks that input `index` is of the type and quantization of `output`.
    pub(super) fn same_quantization(&self, index: usize, output: Affine) -> Result<(), Rule> {
        self.check_type(index, output)?;
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

    /// Checks that the machine computes with the type of input 0.
    pub(super) fn device_input(&self) -> Result<(), Rule> {
        element("input", self.input(0)).map(|_| ())
    }

    /// Checks that input 0 and the output are of one type, for operators that only move elements.
    pub(super) fn moves(&self) -> Result<(), Rule> {
        element("input", self.input(0))?;
        let output = self.output();
        if output.element == self.input(0).element {
            return Ok(());
        }
        let (tensor, found) = (output.name.clone(), output.element);
        Err(Rule::Element { what: "output", tensor, found, want: "of the input's type" })
    }

    /// A stage that multiplies by `scale` in the mode of all operators but products.
    pub(super) fn stage(&self, scale: QuantizedMultiplier) -> OutputStage {
        stage(self.rounding(), scale)
    }

    /// A value that the graph does not have.
    pub(super) fn temporary(&mut self, suffix: &str, shape: Vec<u32>) -> ValueId {
        let name = format!("{}:{suffix}", self.output().name);
        let from = &self.context.legalized.values[self.input_id(0).0];
        let value = Value { name, shape, model: SourceTensor::Added, origin: Origin::Computed, ..from.clone() };
        self.context.add_value(value)
    }

    /// A value that the graph does not have, quantized as the output.
    pub(super) fn temporary_output(&mut self, suffix: &str, shape: Vec<u32>) -> ValueId {
        let name = format!("{}:{suffix}", self.output().name);
        let from = &self.context.legalized.values[self.output_id().0];
        let value = Value { name, shape, model: SourceTensor::Added, origin: Origin::Computed, ..from.clone() };
        self.context.add_value(value)
    }

    /// A 16-bit value of `shape` that the graph does not have.
    pub(super) fn temporary_wide(&mut self, suffix: &str, shape: Vec<u32>) -> ValueId {
        let id = self.temporary_output(suffix, shape);
        let value = &mut self.context.legalized.values[id.0];
        (value.element, value.quantization) = (ElementType::I16, None);
        id
    }

    /// A 16-bit constant that the graph does not have.
    pub(super) fn constant_wide(&mut self, suffix: &str, shape: Vec<u32>, elements: &[i16]) -> ValueId {
        let id = self.temporary_wide(suffix, shape);
        let bytes: Vec<u8> = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        self.context.legalized.values[id.0].origin = Origin::Constant(bytes.into());
        id
    }

    /// Says that the output has the bytes of input 0.
    pub(super) fn alias(&mut self) {
        let (input, output) = (self.input_id(0), self.output_id());
        let root = self.context.legalized.root(input);
        self.context.legalized.values[output.0].origin = Origin::Alias(root);
    }

    /// Appends a transfer whose every number counts elements.
    pub(super) fn transfer(&mut self, elements: Transfer) {
        let value = &self.context.legalized.values[elements.output.0];
        let width = small(value.element.size());
        let strides = elements.strides.iter();
        let in_bytes = |stride: &Stride| Stride { from: stride.from * width, to: stride.to * width, ..*stride };
        let transfer = Transfer {
            output_bytes: elements.output_bytes * width,
            start: elements.start * width,
            offset: elements.offset * width,
            run: elements.run * width,
            strides: strides.map(in_bytes).collect(),
            ..elements
        };
        self.push(0, Work::Transfer(transfer));
    }

    /// Appends a layer that carries out this node.
    pub(super) fn push(&mut self, macs: u64, work: Work) {
        let name = self.node.name.clone();
        let sources = vec![name.clone()];
        let (node, operator) = (self.index, self.node.op.name().into());
        self.context.legalized.layers.push(Layer { name, node, operator, sources, macs, work });
    }
}

/// A stage in the profile's mode for everything but products.
pub(super) fn stage(rounding: Rounding, scale: QuantizedMultiplier) -> OutputStage {
    let QuantizedMultiplier { multiplier, shift } = scale;
    OutputStage { mode: rounding.of_others(), multiplier: multiplier.cast_unsigned(), shift }
}

/// The machine's type of an activation.
fn element(what: &'static str, tensor: &Tensor) -> Result<DeviceType, Rule> {
    match tensor.element {
        ElementType::I8 | ElementType::U8 => Ok(DeviceType::Int8),
        ElementType::I16 => Ok(DeviceType::Int16),
        found => Err(Rule::Element { what, tensor: tensor.name.clone(), found, want: "int8, uint8 or int16" }),
    }
}

/// Type and quantization of an activation; 16 bit is symmetric.
fn affine(what: &'static str, tensor: &Tensor) -> Result<Affine, Rule> {
    let affine = quantization(what, tensor)?;
    if affine.is_wide() && affine.zero != 0 {
        return Err(Rule::NotSymmetric { what, tensor: tensor.name.clone(), zero_point: affine.zero });
    }
    Ok(affine)
}

fn narrow(what: &'static str, tensor: &Tensor) -> Result<Affine, Rule> {
    let affine = affine(what, tensor)?;
    if affine.is_wide() {
        let (tensor, found) = (tensor.name.clone(), tensor.element);
        return Err(Rule::Element { what, tensor, found, want: "int8 or uint8" });
    }
    Ok(affine)
}

/// Type, and the one scale and zero point of a tensor.
pub(super) fn quantization(what: &'static str, tensor: &Tensor) -> Result<Affine, Rule> {
    let element = element(what, tensor)?;
    match &tensor.quantization {
        None => Err(Rule::NoQuantization { what, tensor: tensor.name.clone() }),
        Some(Quantization::PerTensor { scale, zero_point }) => {
            Ok(Affine { element, scale: *scale, zero: signed_zero(tensor.element, *zero_point) })
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

/// The bounds of an activation in the integers of `at`, within its type.
pub(super) fn range(activation: Activation, at: Affine) -> (i32, i32) {
    let activation = match activation {
        Activation::None => quantize::Activation::None,
        Activation::Relu => quantize::Activation::Relu,
        Activation::Relu6 => quantize::Activation::Relu6,
        Activation::ReluN1To1 => quantize::Activation::ReluN1To1,
    };
    let (min, max) = activation.range(at.scale, at.zero, at.limits());
    let min = min.min(at.limits().1);
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

/// Elements from one index to the next along each axis of a dense tensor.
pub(super) fn steps(extents: &[u32]) -> Vec<u32> {
    let mut steps = vec![1; extents.len()];
    for axis in (1..extents.len()).rev() {
        steps[axis - 1] = steps[axis] * extents[axis];
    }
    steps
}

/// A transfer that copies `input` to `output` over loops, outermost first; it counts elements, as [`At::transfer`] wants it.
pub(super) fn copy(input: ValueId, output: ValueId, outermost_first: &[Stride]) -> Transfer {
    let strides = outermost_first.iter().rev().copied().collect();
    let output_bytes = outermost_first.iter().map(|stride| stride.count).product();
    Transfer { input, output, output_bytes, fill: None, start: 0, offset: 0, run: 1, strides }
}
