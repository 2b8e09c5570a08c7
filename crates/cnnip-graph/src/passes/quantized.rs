//! Fusion of dequantize, operator, quantize into the operator on integers.

use super::affine::{Depthwise, Grid};
use super::batch_norm::{operands, per_channel};
use super::dead_code;
use super::edit::{Edit, producers, readers};
use super::layout::named;
use super::scales::without_copies;
use crate::graph::{Graph, Node, NodeId, TensorId};
use crate::op::{Activation, DepthwiseConv2d, Hw, Op, Padding};
use crate::tensor::{ElementType, Quantization, Shape, Tensor};

/// How an operator works on integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Its inputs and output each have a quantization of their own.
    Arithmetic,
    /// It picks elements of its inputs: they keep their quantization.
    Movement,
    /// It does not.
    Float,
}

fn form(op: &Op) -> Form {
    match op {
        Op::MaxPool2d(_) | Op::ReduceMax(_) | Op::ReduceMin(_) | Op::Concat { .. } | Op::Pack { .. } => Form::Movement,
        Op::Slice(_) | Op::Gather(_) | Op::DepthToSpace { .. } | Op::SpaceToDepth { .. } => Form::Movement,
        Op::SpaceToBatch(_) | Op::BatchToSpace(_) | Op::Reshape { .. } | Op::Transpose { .. } => Form::Movement,
        Op::ResizeNearest(_) => Form::Movement,
        Op::TransposeConv2d(_) | Op::ResizeBilinear(_) => Form::Arithmetic,
        Op::Pad(pad) if pad.value == crate::op::PadValue::Zero => Form::Movement,
        Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_) | Op::AveragePool2d(_) => Form::Arithmetic,
        Op::Mean(_) | Op::Sum(_) | Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } | Op::Prelu => Form::Arithmetic,
        Op::Maximum | Op::Minimum | Op::Softmax { .. } | Op::Relu | Op::Relu6 | Op::ReluN1To1 => Form::Arithmetic,
        Op::LeakyRelu { .. } | Op::HardSwish | Op::HardSigmoid { .. } | Op::Logistic | Op::Tanh => Form::Arithmetic,
        Op::Clamp { .. } | Op::Abs | Op::Sqrt | Op::Exp | Op::Elu | Op::Gelu { .. } => Form::Arithmetic,
        _ => Form::Float,
    }
}

/// The nodes that give floats in a network that has quantized tensors: what no integer operator was
/// found for, and the conversions to floats.
pub fn float_nodes(graph: &Graph) -> Vec<NodeId> {
    let quantized = graph.tensors.iter().any(|tensor| tensor.quantization.is_some());
    let float = |id: &NodeId| graph[*id].outputs.iter().any(|&output| graph[output].element == ElementType::F32);
    graph.node_ids().filter(|id| quantized && float(id)).collect()
}

/// Turns an operator between dequantizations of all its inputs and the quantization of its output
/// into the operator on integers.
///
/// Operators that only pick elements work in the quantization of their input, and the result is
/// quantized anew where it has another; so do the inputs of a join. A bias of floats is rounded to
/// the int32 multiples of input scale times weight scale, halves to even. Constant real factors and
/// summands per channel become a depthwise layer. What does not match stays as it is.
#[must_use]
pub fn fuse_quantization(graph: Graph) -> Graph {
    let (producers, readers) = (producers(&graph), readers(&graph));
    let outputs = graph.outputs.clone();
    let (edit, nodes) = Edit::open(graph);
    let mut fusion = Fusion { edit, producers, readers, nodes, outputs };
    for index in 0..fusion.nodes.len() {
        let node = fusion.nodes[index].clone();
        if fusion.integer(&node).is_none() {
            fusion.edit.graph.nodes.push(node);
        }
    }
    let mut graph = fusion.edit.graph;
    written_once(&mut graph);
    named(dead_code(without_copies(graph)))
}

/// A quantization whose operator now writes its output itself is no longer needed.
fn written_once(graph: &mut Graph) {
    let mut written = vec![false; graph.tensors.len()];
    graph.nodes.retain(|node| {
        let first = node.outputs.iter().all(|id| !written[id.index()]);
        node.outputs.iter().for_each(|id| written[id.index()] = true);
        first
    });
}

struct Fusion {
    edit: Edit,
    producers: Vec<Option<usize>>,
    readers: Vec<usize>,
    nodes: Vec<Node>,
    outputs: Vec<TensorId>,
}

impl Fusion {
    fn tensor(&self, id: TensorId) -> &Tensor {
        &self.edit.graph[id]
    }

    /// The integers whose real values a tensor is.
    fn integers_of(&self, id: TensorId) -> Option<TensorId> {
        let node = &self.nodes[(*self.producers.get(id.index())?)?];
        let input = node.inputs.first().copied().filter(|_| node.op == Op::Dequantize)?;
        self.tensor(input).quantization.is_some().then_some(input)
    }

    /// The tensor that a float tensor is quantized to, if that is all it is for.
    fn quantized_to(&self, id: TensorId) -> Option<TensorId> {
        if self.readers[id.index()] != 1 || self.outputs.contains(&id) {
            return None;
        }
        let reader = self.nodes.iter().find(|node| node.inputs.contains(&id))?;
        let output = reader.outputs.first().copied().filter(|_| reader.op == Op::Quantize)?;
        self.tensor(output).quantization.as_ref().filter(|quantization| quantization.axis().is_none())?;
        Some(output)
    }

    /// Writes the node on integers; `None` if it does not match.
    fn integer(&mut self, node: &Node) -> Option<()> {
        let &[output] = node.outputs.as_slice() else { return None };
        if node.op == Op::Quantize {
            return self.again(*node.inputs.first()?, output);
        }
        if self.tensor(output).element != ElementType::F32 {
            return None;
        }
        if let Some(done) = self.affine(node) {
            return Some(done);
        }
        match form(&node.op) {
            Form::Arithmetic => self.arithmetic(node, self.quantized_to(output)?),
            Form::Movement => self.movement(node, output),
            Form::Float => None,
        }
    }

    /// Real values of integers that are quantized are integers quantized anew, or the same.
    fn again(&mut self, input: TensorId, output: TensorId) -> Option<()> {
        let integers = self.integers_of(input)?;
        let (from, to) = (self.tensor(integers), self.tensor(output));
        let same = from.quantization == to.quantization && from.element == to.element;
        let op = if same { Op::Reshape { shape: to.shape.clone() } } else { Op::Quantize };
        self.edit.push(op, vec![integers], output);
        Some(())
    }

    /// A constant factor, a constant summand, or one after the other, per channel of a map of 8 bits.
    fn affine(&mut self, node: &Node) -> Option<()> {
        let (x, constant) = operands(&self.edit.graph, &node.op, &node.inputs)?;
        let integers = self.integers_of(x)?;
        let shape = self.tensor(x).shape.clone();
        let values = |fusion: &Self, constant| per_channel(fusion.tensor(constant), &shape);
        let &made = node.outputs.first()?;
        let (factors, summands, last, activation) = match node.op {
            Op::Mul { .. } => {
                let factors = values(self, constant)?;
                match self.summand(made) {
                    Some((summand, last, activation)) => (factors, values(self, summand)?, last, activation),
                    None => (factors.clone(), vec![0.0; factors.len()], made, Activation::None),
                }
            }
            Op::Add { .. } => {
                let summands = values(self, constant)?;
                (vec![1.0; summands.len()], summands, made, Activation::None)
            }
            _ => return None,
        };
        let output = self.quantized_to(last)?;
        if shape.rank() != 4 || self.tensor(last).shape != shape {
            return None;
        }
        let grids = [Grid::narrow(self.tensor(integers))?, Grid::narrow(self.tensor(output))?];
        let layer = Depthwise::of(&factors, &summands, grids, activation)?;
        let inputs = self.depthwise(integers, &layer)?;
        let (stride, dilation, padding) = (Hw::ONE, Hw::ONE, Padding::NONE);
        let op = Op::DepthwiseConv2d(DepthwiseConv2d { stride, dilation, padding, multiplier: 1, activation });
        self.edit.push(op, inputs, output);
        Some(())
    }

    /// The constant that is added to a tensor if that is all it is for, the sum, and the clamp of it.
    fn summand(&self, product: TensorId) -> Option<(TensorId, TensorId, Activation)> {
        if self.readers[product.index()] != 1 || self.outputs.contains(&product) {
            return None;
        }
        let reader = self.nodes.iter().find(|node| node.inputs.contains(&product))?;
        let Op::Add { activation } = reader.op else { return None };
        let plain = Op::Add { activation: Activation::None };
        let (_, constant) = operands(&self.edit.graph, &plain, &reader.inputs)?;
        Some((constant, *reader.outputs.first()?, activation))
    }

    /// The inputs of a depthwise layer of one position.
    fn depthwise(&mut self, x: TensorId, layer: &Depthwise) -> Option<Vec<TensorId>> {
        let (name, channels) = (self.tensor(x).name.clone(), layer.weights.len());
        let bytes: Vec<u8> = layer.weights.iter().map(|weight| weight.to_le_bytes()[0]).collect();
        let weights = Tensor::new(format!("{name}.factors"), Shape::new([1, 1, 1, channels]).ok()?, ElementType::I8);
        let scales = Quantization::symmetric_per_channel(3, layer.scales.clone());
        let weights = self.edit.tensor(weights.quantized(scales).constant(bytes));
        let bytes: Vec<u8> = layer.biases.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let biases = Tensor::new(format!("{name}.summands"), Shape::new([channels]).ok()?, ElementType::I32);
        let scales = bias_quantization(self.tensor(x), self.tensor(weights))?;
        let biases = self.edit.tensor(biases.quantized(scales).constant(bytes));
        Some(vec![x, weights, biases])
    }

    fn arithmetic(&mut self, node: &Node, output: TensorId) -> Option<()> {
        let mut inputs = Vec::new();
        for (slot, &input) in node.inputs.iter().enumerate() {
            let integers = self.integers_of(input);
            let per_tensor = |id: &TensorId| {
                self.tensor(*id).quantization.as_ref().is_some_and(|quantization| quantization.axis().is_none())
            };
            inputs.push(match (slot, node.op.weight_axis()) {
                (1, Some(axis)) => integers.filter(|&id| self.fits_weights(id, axis))?,
                (2, Some(_)) => self.bias(input, integers, &inputs)?,
                _ => integers.filter(per_tensor)?,
            });
        }
        self.edit.push(node.op.clone(), inputs, output);
        Some(())
    }

    /// Whether integers are constant weights with scales along the output channels.
    fn fits_weights(&self, id: TensorId, axis: usize) -> bool {
        let tensor = self.tensor(id);
        let along = tensor.quantization.as_ref().and_then(Quantization::axis);
        tensor.is_constant() && along.is_none_or(|along| along == axis)
    }

    /// The int32 bias of a product of these inputs.
    fn bias(&mut self, bias: TensorId, integers: Option<TensorId>, inputs: &[TensorId]) -> Option<TensorId> {
        if let Some(id) = integers.filter(|&id| self.tensor(id).is_constant()) {
            return (self.tensor(id).element == ElementType::I32).then_some(id);
        }
        let &[x, weights] = inputs else { return None };
        let quantization = bias_quantization(self.tensor(x), self.tensor(weights))?;
        let tensor = self.tensor(bias);
        let values = crate::evaluate::floats_of(tensor)?;
        let scales = quantization.scales();
        let rounded = values.iter().enumerate().map(|(at, &value)| {
            let scale = scales.get(at).or(scales.first()).copied()?;
            int32(f64::from(value) / f64::from(scale))
        });
        let bytes: Vec<u8> = rounded.collect::<Option<Vec<i32>>>()?.into_iter().flat_map(i32::to_le_bytes).collect();
        let name = format!("{}.int32", tensor.name);
        let tensor = Tensor::new(name, tensor.shape.clone(), ElementType::I32).quantized(quantization);
        Some(self.edit.tensor(tensor.constant(bytes)))
    }

    /// A movement of real values is one of integers; its result is quantized anew where it is to have
    /// another quantization, and is real again where it is not quantized.
    fn movement(&mut self, node: &Node, output: TensorId) -> Option<()> {
        let mut inputs = node.inputs.iter().map(|&id| self.integers_of(id)).collect::<Option<Vec<TensorId>>>()?;
        let quantized = self.quantized_to(output);
        let wanted = match quantized {
            Some(to) => self.tensor(to),
            None => self.tensor(*inputs.first()?),
        };
        let (wanted, element) = (wanted.quantization.clone()?, wanted.element);
        if inputs.iter().any(|&id| self.tensor(id).quantization.as_ref().is_none_or(|q| q.axis().is_some())) {
            return None;
        }
        if inputs.len() > 1 {
            let name = self.tensor(output).name.clone();
            inputs = inputs.into_iter().map(|id| self.requantized(&name, id, &wanted, element)).collect();
        }
        let &first = inputs.first()?;
        let (own, own_element) = (self.tensor(first).quantization.clone()?, self.tensor(first).element);
        let same = own == wanted && own_element == element;
        if let Some(to) = quantized.filter(|_| same) {
            self.edit.push(node.op.clone(), inputs, to);
            return Some(());
        }
        let name = format!("{}.integers", self.tensor(output).name);
        let made = self.edit.apply(&name, node.op.clone(), &inputs, Some(own))?;
        self.edit.graph.tensors[made.index()].source = self.tensor(output).copied();
        match quantized {
            Some(to) => self.edit.push(Op::Quantize, vec![made], to),
            None => {
                self.edit.push(Op::Dequantize, vec![made], output);
                // What follows finds the integers behind the real values.
                self.producers[output.index()] = Some(self.nodes.len());
                self.nodes.push(Node {
                    name: String::new(),
                    op: Op::Dequantize,
                    inputs: vec![made],
                    outputs: vec![output],
                });
            }
        }
        Some(())
    }

    /// The integers in another quantization.
    fn requantized(&mut self, name: &str, id: TensorId, wanted: &Quantization, element: ElementType) -> TensorId {
        let tensor = self.tensor(id);
        if tensor.quantization.as_ref() == Some(wanted) && tensor.element == element {
            return id;
        }
        let tensor = Tensor::new(format!("{name}.requantized"), tensor.shape.clone(), element);
        let to = self.edit.tensor(tensor.quantized(wanted.clone()));
        self.edit.push(Op::Quantize, vec![id], to);
        to
    }
}

/// The quantization of the bias of a product: input scale times weight scale.
pub(crate) fn bias_quantization(x: &Tensor, weights: &Tensor) -> Option<Quantization> {
    let &[scale] = x.quantization.as_ref()?.scales() else { return None };
    let scales: Vec<f32> = weights.quantization.as_ref()?.scales().iter().map(|weight| scale * weight).collect();
    Some(match scales.as_slice() {
        &[scale] => Quantization::per_tensor(scale, 0),
        _ => Quantization::symmetric_per_channel(0, scales),
    })
}

/// The nearest int32, halves to even; `None` beyond the type.
#[expect(clippy::cast_possible_truncation, reason = "the value is whole and in range")]
fn int32(value: f64) -> Option<i32> {
    let whole = value.round_ties_even();
    (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&whole).then_some(whole as i32)
}

/// The elements of floats in a quantization per tensor, as a quantize operator gives them: divided by
/// the scale in binary32, halves to even, held to the type.
pub(crate) fn quantized_elements(
    values: &[f32],
    shape: &Shape,
    to: &Quantization,
    element: ElementType,
) -> Option<Vec<i64>> {
    let (least, greatest) = element.range()?;
    let inner: usize = to.axis().map_or(1, |axis| shape.dims()[axis + 1..].iter().product());
    let (scales, zero_points) = (to.scales(), to.zero_points());
    let one = |(at, &value): (usize, &f32)| {
        let channel = at / inner.max(1) % scales.len();
        let whole = f64::from((value / scales[channel]).round_ties_even());
        let shifted = whole + bounded(zero_points[channel]);
        (!value.is_nan()).then(|| integer(shifted.clamp(bounded(least), bounded(greatest))))
    };
    values.iter().enumerate().map(one).collect()
}

#[expect(clippy::cast_precision_loss, reason = "ends of types below 64 bits are exact")]
fn bounded(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, reason = "the value is whole and in range")]
fn integer(value: f64) -> i64 {
    value as i64
}
