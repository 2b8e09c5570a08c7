//! Writing ONNX models, so that a graph from here can run on ONNX's own interpreters.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::constant::code;
use super::proto::{self, kind};
use crate::evaluate::float_data;
use crate::graph::{Graph, Node, TensorId};
use crate::infer::dilated;
use crate::op::{
    Activation, FullyConnected, Gather, Grid, Hw, Mean, Op, Pad, PadValue, Padding, Pool2d, ResizeNearest, Slice,
    TransposeConv2d,
};
use crate::problem::Problems;
use crate::tensor::{ElementType, Quantization, Shape, Tensor};

/// Version of the operators that are written: ONNX Runtime, told nothing, refuses int8 networks of the next one, in which it gives a
/// quantization that it moves another type than its zero point has (1.31.1).
const OPSET: i64 = 20;
/// The first with 16-bit quantization.
const OPSET_OF_INT16: i64 = 21;
/// Version of the file format that goes with it.
const IR_VERSION: i64 = 10;

/// Why a graph cannot be written as an ONNX model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxExportError {
    /// The graph is not well-formed.
    #[error(transparent)]
    Graph(#[from] Problems),
    /// An operator that this writer has no form for.
    #[error("node {node}: {operator} cannot be written as an ONNX operator")]
    Operator {
        /// Name of the node.
        node: String,
        /// Name of the operator.
        operator: &'static str,
    },
}

/// Writes `graph` as an ONNX model of operators on floats.
///
/// A quantized tensor is written as floats between `QuantizeLinear` and `DequantizeLinear` with its
/// scale and zero point, quantized constants as their integers and `DequantizeLinear`: the form that
/// ONNX Runtime and others take for quantized networks. Layers stay channels-last, between
/// `Transpose` nodes; inputs and outputs keep their names, shapes and types.
///
/// # Errors
/// If the graph is not well-formed, or has an operator without form.
pub fn export_onnx(graph: &Graph) -> Result<Vec<u8>, OnnxExportError> {
    graph.check()?;
    let taken = graph.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut writer = Writer { graph, out: proto::Graph::default(), real: HashMap::new(), taken, next: 0 };
    writer.out.name = Some(if graph.name.is_empty() { "network".to_owned() } else { graph.name.clone() });
    writer.out.input = graph.inputs.iter().map(|&id| info(&graph[id])).collect();
    writer.out.output = graph.outputs.iter().map(|&id| info(&graph[id])).collect();
    for node in &graph.nodes {
        writer.node(node)?;
    }
    let wide = graph.tensors.iter().any(|tensor| tensor.quantization.is_some() && tensor.element == ElementType::I16);
    let version = if wide { OPSET_OF_INT16 } else { OPSET };
    let opset = proto::OperatorSet { domain: Some(String::new()), version: Some(version) };
    let model = proto::Model {
        ir_version: Some(IR_VERSION),
        producer_name: Some("cnnip-graph".to_owned()),
        graph: Some(Box::new(writer.out)),
        opset_import: vec![opset],
    };
    Ok(model.encode_to_vec())
}

fn info(tensor: &Tensor) -> proto::ValueInfo {
    let dim = |&dim: &usize| proto::Dimension { dim_value: Some(signed(dim)), dim_param: None };
    let shape = proto::TensorShape { dim: tensor.shape.dims().iter().map(dim).collect() };
    let tensor_type = proto::TensorType { elem_type: Some(code(tensor.element)), shape: Some(shape) };
    proto::ValueInfo {
        name: Some(tensor.name.clone()),
        value_type: Some(proto::Type { tensor_type: Some(tensor_type) }),
    }
}

/// Extents are below 2^31.
fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An attribute's value.
enum Value {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
}

fn attribute((name, value): (&str, Value)) -> proto::Attribute {
    let mut attribute = proto::Attribute { name: Some(name.to_owned()), ..Default::default() };
    let code = match value {
        Value::Int(value) => {
            attribute.i = Some(value);
            kind::INT
        }
        Value::Float(value) => {
            attribute.f = Some(value);
            kind::FLOAT
        }
        Value::Ints(list) => {
            attribute.ints = list;
            kind::INTS
        }
    };
    attribute.kind = Some(code);
    attribute
}

fn list(values: &[usize]) -> Value {
    Value::Ints(values.iter().map(|&value| signed(value)).collect())
}

fn pair(extent: Hw) -> Value {
    list(&[extent.h, extent.w])
}

fn pads(padding: Padding) -> Value {
    let Padding { top, bottom, left, right } = padding;
    list(&[top, left, bottom, right])
}

type Attributes = Vec<(&'static str, Value)>;

struct Writer<'a> {
    graph: &'a Graph,
    out: proto::Graph,
    /// The value with the real numbers of a tensor.
    real: HashMap<TensorId, String>,
    /// Names of the graph's tensors.
    taken: HashSet<&'a str>,
    next: usize,
}

impl Writer<'_> {
    /// A name that no tensor has.
    fn fresh(&mut self, what: &str) -> String {
        loop {
            self.next += 1;
            let name = format!("{what}/{}", self.next);
            if !self.taken.contains(name.as_str()) {
                return name;
            }
        }
    }

    /// Adds a node with one output.
    fn push(&mut self, kind: &str, inputs: &[&str], output: &str, attributes: Attributes) {
        self.out.node.push(proto::Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(output.to_owned()),
            op_type: Some(kind.to_owned()),
            attribute: attributes.into_iter().map(attribute).collect(),
            domain: None,
        });
    }

    /// Adds a node; gives the name of its output.
    fn step(&mut self, what: &str, kind: &str, inputs: &[&str], attributes: Attributes) -> String {
        let output = self.fresh(what);
        self.push(kind, inputs, &output, attributes);
        output
    }

    fn constant(&mut self, what: &str, tensor: &Tensor) -> String {
        let name = self.fresh(what);
        self.out.initializer.push(proto::Tensor {
            name: Some(name.clone()),
            dims: tensor.shape.dims().iter().map(|&dim| signed(dim)).collect(),
            data_type: Some(code(tensor.element)),
            raw_data: tensor.data.as_ref().map(|data| data.bytes().to_vec().into()),
            ..Default::default()
        });
        name
    }

    fn integers(&mut self, what: &str, values: &[usize]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|&value| signed(value).to_le_bytes()).collect();
        let shape = Shape::new([values.len()]).unwrap_or_default();
        self.constant(what, &Tensor::new(what, shape, ElementType::I64).constant(bytes))
    }

    fn number(&mut self, what: &str, value: f32) -> String {
        let tensor = Tensor::new(what, Shape::scalar(), ElementType::F32);
        self.constant(what, &tensor.constant(float_data([value])))
    }

    /// Scale and zero point of a quantization for integers of a type, and its axis.
    fn parameters(
        &mut self,
        name: &str,
        quantization: &Quantization,
        element: ElementType,
    ) -> (String, String, Attributes) {
        let dims = quantization.axis().map(|_| vec![quantization.scales().len()]).unwrap_or_default();
        let shape = Shape::new(dims).unwrap_or_default();
        let scales = float_data(quantization.scales().iter().copied());
        let scale =
            self.constant(&format!("{name}/scale"), &Tensor::new("", shape.clone(), ElementType::F32).constant(scales));
        let zero_points = crate::evaluate::integer_data(quantization.zero_points().iter().copied(), element);
        let zero_point = Tensor::new("", shape, element).constant(zero_points.unwrap_or_else(|| vec![].into()));
        let zero_point = self.constant(&format!("{name}/zero_point"), &zero_point);
        let axis = quantization.axis().map(|axis| ("axis", Value::Int(signed(axis))));
        (scale, zero_point, axis.into_iter().collect())
    }

    /// The value of a tensor as it is.
    fn value(&mut self, id: TensorId) -> String {
        let tensor = &self.graph[id];
        if !tensor.is_constant() {
            return tensor.name.clone();
        }
        let found = self.out.initializer.iter().any(|known| known.name.as_deref() == Some(&tensor.name));
        if !found {
            let made = self.constant("", tensor);
            if let Some(last) = self.out.initializer.last_mut().filter(|last| last.name.as_ref() == Some(&made)) {
                last.name = Some(tensor.name.clone());
            }
        }
        tensor.name.clone()
    }

    /// The real numbers of a tensor.
    fn real(&mut self, id: TensorId) -> String {
        let tensor = &self.graph[id];
        let value = self.value(id);
        let Some(quantization) = &tensor.quantization else { return value };
        if let Some(known) = self.real.get(&id) {
            return known.clone();
        }
        let (scale, zero_point, axis) = self.parameters(&tensor.name, quantization, tensor.element);
        let name = format!("{}/real", tensor.name);
        let real = self.step(&name, "DequantizeLinear", &[&value, &scale, &zero_point], axis);
        self.real.insert(id, real.clone());
        real
    }

    /// Writes the real numbers `value` as a tensor.
    fn store(&mut self, id: TensorId, value: &str) {
        let tensor = &self.graph[id];
        match &tensor.quantization {
            None => match self.out.node.last_mut().filter(|node| node.output.iter().any(|output| output == value)) {
                // The step that has just been written takes the tensor's name.
                Some(node) => node.output = vec![tensor.name.clone()],
                None => self.push("Identity", &[value], &tensor.name, vec![]),
            },
            Some(quantization) => {
                let (scale, zero_point, axis) = self.parameters(&tensor.name, quantization, tensor.element);
                self.push("QuantizeLinear", &[value, &scale, &zero_point], &tensor.name, axis);
            }
        }
    }

    fn node(&mut self, node: &Node) -> Result<(), OnnxExportError> {
        let inputs: Vec<String> = node.inputs.iter().map(|&id| self.real(id)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let unknown = || OnnxExportError::Operator { node: node.name.clone(), operator: node.op.name() };
        let (Some(&output), Some(&x)) = (node.outputs.first(), inputs.first()) else { return Err(unknown()) };
        let made = self.operator(node, x, &inputs).ok_or_else(unknown)?;
        self.store(output, &made);
        Ok(())
    }

    /// The value of what a node computes on real numbers; `None` if there is no form.
    fn operator(&mut self, node: &Node, x: &str, inputs: &[&str]) -> Option<String> {
        let name = node.name.as_str();
        let reduction = |mean: &Mean| vec![("keepdims", Value::Int(i64::from(mean.keep_dims)))];
        Some(match &node.op {
            Op::Conv2d(conv) => {
                let attributes = convolved(conv.stride, conv.dilation, conv.padding, conv.groups);
                self.windowed(node, "Conv", inputs, &[0, 3, 1, 2], attributes, conv.activation)
            }
            Op::DepthwiseConv2d(conv) => {
                let channels = *self.graph[*node.inputs.first()?].shape.dims().last()?;
                let attributes = convolved(conv.stride, conv.dilation, conv.padding, channels);
                self.windowed(node, "Conv", inputs, &[3, 0, 1, 2], attributes, conv.activation)
            }
            Op::MaxPool2d(pool) => self.windowed(node, "MaxPool", &[x], &[], pooled(pool), pool.activation),
            Op::AveragePool2d(pool) => self.windowed(node, "AveragePool", &[x], &[], pooled(pool), pool.activation),
            Op::FullyConnected(layer) => self.fully_connected(node, layer, x, inputs)?,
            Op::Add { activation } => self.binary(name, "Add", inputs, *activation),
            Op::Sub { activation } => self.binary(name, "Sub", inputs, *activation),
            Op::Mul { activation } => self.binary(name, "Mul", inputs, *activation),
            Op::Div { activation } => self.binary(name, "Div", inputs, *activation),
            Op::Pow => self.step(name, "Pow", inputs, vec![]),
            Op::MatMul => self.step(name, "MatMul", inputs, vec![]),
            Op::Maximum => self.step(name, "Max", inputs, vec![]),
            Op::Minimum => self.step(name, "Min", inputs, vec![]),
            Op::Prelu => self.step(name, "PRelu", inputs, vec![]),
            Op::Mean(mean) => self.with_list(name, "ReduceMean", x, &mean.axes, reduction(mean)),
            Op::Sum(mean) => self.with_list(name, "ReduceSum", x, &mean.axes, reduction(mean)),
            Op::ReduceMax(mean) => self.with_list(name, "ReduceMax", x, &mean.axes, reduction(mean)),
            Op::ReduceMin(mean) => self.with_list(name, "ReduceMin", x, &mean.axes, reduction(mean)),
            Op::Concat { axis } => self.step(name, "Concat", inputs, vec![("axis", Value::Int(signed(*axis)))]),
            Op::Slice(slice) => self.slice(name, x, slice),
            Op::Gather(gather) => self.gather(name, x, gather),
            Op::Reshape { shape } => self.with_list(name, "Reshape", x, shape.dims(), vec![]),
            Op::Transpose { perm } => self.step(name, "Transpose", &[x], vec![("perm", list(perm))]),
            Op::DepthToSpace { block } => self.blocks(name, "DepthToSpace", x, *block),
            Op::SpaceToDepth { block } => self.blocks(name, "SpaceToDepth", x, *block),
            Op::Pad(pad) => self.pad(name, x, pad)?,
            Op::ResizeBilinear(resize) => self.resize(name, x, *node.outputs.first()?, resize.grid),
            Op::ResizeNearest(resize) => self.resize_nearest(name, x, resize),
            Op::TransposeConv2d(conv) if conv.groups == 1 => {
                let attributes = self.uncropped(node, conv)?;
                self.windowed(node, "ConvTranspose", inputs, &[3, 0, 1, 2], attributes, conv.activation)
            }
            // Both conversions are in how tensors are read and written.
            Op::Quantize | Op::Dequantize => x.to_owned(),
            Op::Softmax { beta } => self.softmax(name, x, *beta),
            Op::Relu => self.clamped(name, x.to_owned(), Activation::Relu),
            Op::Relu6 => self.clamped(name, x.to_owned(), Activation::Relu6),
            Op::ReluN1To1 => self.clamped(name, x.to_owned(), Activation::ReluN1To1),
            Op::Clamp { min, max } => self.clip(name, x, *min, *max),
            Op::LeakyRelu { alpha } => self.step(name, "LeakyRelu", &[x], vec![("alpha", Value::Float(*alpha))]),
            Op::HardSwish => self.step(name, "HardSwish", &[x], vec![]),
            Op::HardSigmoid { alpha, beta } => {
                let attributes = vec![("alpha", Value::Float(*alpha)), ("beta", Value::Float(*beta))];
                self.step(name, "HardSigmoid", &[x], attributes)
            }
            Op::Logistic => self.step(name, "Sigmoid", &[x], vec![]),
            Op::Tanh => self.step(name, "Tanh", &[x], vec![]),
            Op::Exp => self.step(name, "Exp", &[x], vec![]),
            Op::Sqrt => self.step(name, "Sqrt", &[x], vec![]),
            _ => return None,
        })
    }

    /// An operator that takes a list as its second operand.
    fn with_list(&mut self, name: &str, kind: &str, x: &str, values: &[usize], attributes: Attributes) -> String {
        let values = self.integers(name, values);
        self.step(name, kind, &[x, &values], attributes)
    }

    fn fully_connected(&mut self, node: &Node, layer: &FullyConnected, x: &str, inputs: &[&str]) -> Option<String> {
        let name = node.name.as_str();
        let weights = self.step(name, "Transpose", &[inputs.get(1)?], vec![("perm", list(&[1, 0]))]);
        let x = if layer.keep_num_dims {
            x.to_owned()
        } else {
            let depth = *self.graph[*node.inputs.get(1)?].shape.dims().last()?;
            let rows = self.graph[*node.inputs.first()?].shape.elements() / depth.max(1);
            self.with_list(name, "Reshape", x, &[rows, depth], vec![])
        };
        let mut made = self.step(name, "MatMul", &[&x, &weights], vec![]);
        if let Some(bias) = inputs.get(2) {
            made = self.step(name, "Add", &[&made, bias], vec![]);
        }
        Some(self.clamped(name, made, layer.activation))
    }

    fn gather(&mut self, name: &str, x: &str, gather: &Gather) -> String {
        let indices = self.integers(name, &gather.indices);
        let indices = self.with_list(name, "Reshape", &indices, gather.shape.dims(), vec![]);
        self.step(name, "Gather", &[x, &indices], vec![("axis", Value::Int(signed(gather.axis)))])
    }

    fn pad(&mut self, name: &str, x: &str, pad: &Pad) -> Option<String> {
        let value = match pad.value {
            PadValue::Zero => 0.0,
            PadValue::Float(value) => value,
            PadValue::Integer(_) => return None,
        };
        let amounts = self.integers(name, &[pad.before.as_slice(), &pad.after].concat());
        let value = self.number(name, value);
        Some(self.step(name, "Pad", &[x, &amounts, &value], vec![]))
    }

    fn softmax(&mut self, name: &str, x: &str, beta: f32) -> String {
        let mut x = x.to_owned();
        if beta != 1.0 {
            let beta = self.number(name, beta);
            x = self.step(name, "Mul", &[&x, &beta], vec![]);
        }
        self.step(name, "Softmax", &[&x], vec![("axis", Value::Int(-1))])
    }

    fn binary(&mut self, name: &str, kind: &str, inputs: &[&str], activation: Activation) -> String {
        let made = self.step(name, kind, inputs, vec![]);
        self.clamped(name, made, activation)
    }

    fn clamped(&mut self, name: &str, value: String, activation: Activation) -> String {
        match activation.bounds() {
            (None, None) => value,
            (Some(0.0), None) => self.step(name, "Relu", &[&value], vec![]),
            (min, max) => self.clip(name, &value, min.unwrap_or(f32::NEG_INFINITY), max.unwrap_or(f32::INFINITY)),
        }
    }

    fn clip(&mut self, name: &str, x: &str, min: f32, max: f32) -> String {
        let (min, max) = (self.number(name, min), self.number(name, max));
        self.step(name, "Clip", &[x, &min, &max], vec![])
    }

    fn channels_first(&mut self, name: &str, x: &str) -> String {
        self.step(name, "Transpose", &[x], vec![("perm", list(&[0, 3, 1, 2]))])
    }

    fn channels_last(&mut self, name: &str, x: &str) -> String {
        self.step(name, "Transpose", &[x], vec![("perm", list(&[0, 2, 3, 1]))])
    }

    /// An operator on channels-first maps; `order` is that of the axes of its weights.
    fn windowed(
        &mut self,
        node: &Node,
        kind: &str,
        inputs: &[&str],
        order: &[usize],
        attributes: Attributes,
        activation: Activation,
    ) -> String {
        let name = node.name.as_str();
        let mut operands = Vec::new();
        for (slot, &input) in inputs.iter().enumerate() {
            operands.push(match slot {
                0 => self.channels_first(name, input),
                1 => self.step(name, "Transpose", &[input], vec![("perm", list(order))]),
                _ => input.to_owned(),
            });
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let made = self.step(name, kind, &operands, attributes);
        let made = self.clamped(name, made, activation);
        self.channels_last(name, &made)
    }

    /// Attributes that give a transposed convolution its crops and extents.
    fn uncropped(&self, node: &Node, conv: &TransposeConv2d) -> Option<Attributes> {
        let [_, h, w, _] = self.graph[*node.inputs.first()?].shape.nhwc()?;
        let [_, kh, kw, _] = self.graph[*node.inputs.get(1)?].shape.nhwc()?;
        let along = |input: usize, kernel: usize, stride: usize, dilation: usize, crop: usize, output: usize| {
            let full = stride * (input - 1) + dilated(kernel, dilation);
            let wanted = crop + output;
            (full.saturating_sub(wanted), wanted.saturating_sub(full))
        };
        let Hw { h: rows, w: columns } = conv.output;
        let (bottom, more_h) = along(h, kh, conv.stride.h, conv.dilation.h, conv.crop.h, rows);
        let (right, more_w) = along(w, kw, conv.stride.w, conv.dilation.w, conv.crop.w, columns);
        Some(vec![
            ("strides", pair(conv.stride)),
            ("dilations", pair(conv.dilation)),
            ("pads", list(&[conv.crop.h, conv.crop.w, bottom, right])),
            ("output_padding", list(&[more_h, more_w])),
        ])
    }

    fn blocks(&mut self, name: &str, kind: &str, x: &str, block: usize) -> String {
        let x = self.channels_first(name, x);
        let made = self.step(name, kind, &[&x], vec![("blocksize", Value::Int(signed(block)))]);
        self.channels_last(name, &made)
    }

    fn slice(&mut self, name: &str, x: &str, slice: &Slice) -> String {
        let ends: Vec<usize> = (0..slice.begin.len())
            .map(|axis| slice.begin[axis] + (slice.count[axis].max(1) - 1) * slice.stride[axis] + 1)
            .collect();
        let axes: Vec<usize> = (0..slice.begin.len()).collect();
        let lists = [&slice.begin, &ends, &axes, &slice.stride].map(|values| self.integers(name, values));
        let made = self.step(name, "Slice", &[x, &lists[0], &lists[1], &lists[2], &lists[3]], vec![]);
        if slice.dropped.is_empty() {
            return made;
        }
        self.with_list(name, "Squeeze", &made, &slice.dropped, vec![])
    }

    /// Rows, then columns, each taken from where the grid put them.
    fn resize_nearest(&mut self, name: &str, x: &str, resize: &ResizeNearest) -> String {
        let mut made = x.to_owned();
        for (axis, indices) in [(1, &resize.rows), (2, &resize.columns)] {
            let indices = self.integers(name, indices);
            made = self.step(name, "Gather", &[&made, &indices], vec![("axis", Value::Int(axis))]);
        }
        made
    }

    fn resize(&mut self, name: &str, x: &str, output: TensorId, grid: Grid) -> String {
        let mode = match grid {
            Grid::Asymmetric => "asymmetric",
            Grid::AlignCorners => "align_corners",
            Grid::HalfPixel => "half_pixel",
        };
        let dims = self.graph[output].shape.dims().to_vec();
        let x = self.channels_first(name, x);
        let sizes = match dims.as_slice() {
            &[n, h, w, c] => self.integers(name, &[n, c, h, w]),
            other => self.integers(name, other),
        };
        let made = self.fresh(name);
        self.push("Resize", &[&x, "", "", &sizes], &made, vec![]);
        if let Some(node) = self.out.node.last_mut() {
            for (key, text) in [("mode", "linear"), ("coordinate_transformation_mode", mode)] {
                let text = Some(text.as_bytes().to_vec().into());
                node.attribute.push(proto::Attribute {
                    name: Some(key.to_owned()),
                    s: text,
                    kind: Some(kind::STRING),
                    ..Default::default()
                });
            }
        }
        self.channels_last(name, &made)
    }
}

fn convolved(stride: Hw, dilation: Hw, padding: Padding, groups: usize) -> Attributes {
    vec![
        ("strides", pair(stride)),
        ("dilations", pair(dilation)),
        ("pads", pads(padding)),
        ("group", Value::Int(signed(groups))),
    ]
}

fn pooled(pool: &Pool2d) -> Attributes {
    vec![("kernel_shape", pair(pool.window)), ("strides", pair(pool.stride)), ("pads", pads(pool.padding))]
}
