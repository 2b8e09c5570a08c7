//! A slow, obvious evaluator: plain loops, sums in binary64, one rounding to binary32 per element.
//!
//! It says what a network means and is what the engines are checked against. Every operator reads real numbers (those that
//! quantized integers stand for) and its result is rounded to binary32, then to the grid of a quantized output. Operators
//! that only move elements move integers as they are, unless the output has another grid. Integers without a scale are exact
//! below 2^53.
//!
//! | module | operators |
//! |---|---|
//! | `product` | convolutions, fully connected layers, matrix products |
//! | `pool` | windows, reductions |
//! | `recurrent` | long short-term memory |
//! | `resize` | bilinear resize |
//! | `binary` | two inputs, element by element |
//! | `unary` | one input, element by element; softmax |
//! | `boxes` | box decoding, non-maximum suppression |
//! | `movement` | elements to other places |

mod binary;
mod boxes;
mod index;
mod movement;
mod pool;
mod product;
mod recurrent;
mod resize;
mod unary;

use cnnip_graph::{Graph, Node, Op, Tensor, TensorId};

use crate::elements::nearest;
use crate::error::check_inputs;
use crate::{Elements, FloatError, Ties};
pub(crate) use movement::{Origin, filled};
pub(crate) use resize::{Between, between};

/// The elements of every tensor of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(Vec<Option<Elements>>);

impl Values {
    /// The elements of a tensor; `None` for a constant that no node reads as a tensor.
    pub fn get(&self, id: TensorId) -> Option<&Elements> {
        self.0.get(id.index())?.as_ref()
    }

    /// The real numbers of a tensor.
    pub fn real(&self, graph: &Graph, id: TensorId) -> Option<Vec<f32>> {
        Some(self.get(id)?.real(graph.tensors.get(id.index())?))
    }
}

/// Evaluates a checked graph.
///
/// `inputs` are the graph's inputs in order, in the kind of their tensors. `ties` decides how real numbers become integers.
///
/// ```
/// use cnnip_float::{Elements, Ties, reference};
/// use cnnip_graph::{ElementType, GraphBuilder, Op, Shape, Tensor};
///
/// let mut build = GraphBuilder::new("clamp");
/// let x = build.input(Tensor::new("x", Shape::new([3])?, ElementType::F32));
/// let y = build.apply("y", Op::Relu6, &[x]);
/// build.output(y);
/// let graph = build.finish()?;
/// let values = reference::evaluate(&graph, &[Elements::Real(vec![-1.0, 2.0, 7.0])], Ties::Even)?;
/// assert_eq!(values.get(y), Some(&Elements::Real(vec![0.0, 2.0, 6.0])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Inputs that do not fit, an operator that is not written down here, a graph that [`Graph::check`] rejects.
pub fn evaluate(graph: &Graph, inputs: &[Elements], ties: Ties) -> Result<Values, FloatError> {
    check_inputs(graph, &inputs.iter().map(Elements::len).collect::<Vec<_>>())?;
    let mut values = Values(graph.tensors.iter().map(Elements::constant).collect());
    for (&id, input) in graph.inputs.iter().zip(inputs) {
        check_kind(&graph[id], input)?;
        values.0[id.index()] = Some(input.clone());
    }
    for node in &graph.nodes {
        let [output] = node.outputs[..] else { return Err(FloatError::malformed(node)) };
        values.0[output.index()] = Some(evaluate_node(graph, node, &values, ties)?);
    }
    Ok(values)
}

fn check_kind(tensor: &Tensor, input: &Elements) -> Result<(), FloatError> {
    let want = if tensor.element.range().is_some() { "integers" } else { "real numbers" };
    let found = input.kind();
    if found == want { Ok(()) } else { Err(FloatError::InputKind { name: tensor.name.clone(), found, want }) }
}

/// What a node makes.
enum Computed {
    /// Real numbers, before any rounding.
    Real(Vec<f64>),
    /// Elements of inputs at other places.
    Moved(Vec<Origin>),
}

/// A node with its tensors.
#[derive(Clone, Copy)]
struct At<'a> {
    graph: &'a Graph,
    node: &'a Node,
    values: &'a Values,
    ties: Ties,
}

/// Evaluates one node whose inputs have values.
fn evaluate_node(graph: &Graph, node: &Node, values: &Values, ties: Ties) -> Result<Elements, FloatError> {
    let at = At { graph, node, values, ties };
    let computed = compute(&at)?.ok_or_else(|| FloatError::malformed(node))?;
    let elements = match computed {
        Computed::Real(real) if is_plain_integer(at.output()) => Elements::Integer(whole(at.output(), &real, ties)),
        Computed::Real(real) => Elements::nearest(at.output(), real.into_iter().map(nearest).collect(), ties),
        Computed::Moved(origins) => movement::gathered(&at, &origins).ok_or_else(|| FloatError::malformed(node))?,
    };
    if elements.len() == at.output().shape.elements() { Ok(elements) } else { Err(FloatError::malformed(node)) }
}

/// Whether a tensor holds integers that stand for themselves.
fn is_plain_integer(tensor: &Tensor) -> bool {
    tensor.element.range().is_some() && tensor.quantization.is_none()
}

/// Whole numbers in the range of a tensor's type.
fn whole(tensor: &Tensor, real: &[f64], ties: Ties) -> Vec<i64> {
    let (least, greatest) = tensor.element.range().unwrap_or((i64::MIN, i64::MAX));
    let rounded = |value: f64| match ties {
        Ties::Away => value.round(),
        Ties::Even => value.round_ties_even(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "saturation is meant")]
    let integer = |value: f64| (rounded(value) as i64).clamp(least, greatest);
    real.iter().map(|&value| integer(value)).collect()
}

/// Where an operator that only moves elements takes each from.
pub(crate) fn origins(graph: &Graph, node: &Node) -> Option<Vec<Origin>> {
    let at = At { graph, node, values: &Values(vec![]), ties: Ties::Even };
    match compute(&at).ok()?? {
        Computed::Moved(origins) => Some(origins),
        Computed::Real(_) => None,
    }
}

/// The real numbers of a node's bias.
pub(crate) fn bias(graph: &Graph, node: &Node, bias: &Elements) -> Option<Vec<f32>> {
    let at = At { graph, node, values: &Values(vec![]), ties: Ties::Even };
    Some(product::real_bias(&at, bias)?.into_iter().map(nearest).collect())
}

/// The operator's result; `None` if an input is missing.
fn compute(at: &At<'_>) -> Result<Option<Computed>, FloatError> {
    let real = |values: Option<Vec<f64>>| values.map(Computed::Real);
    let moved = |origins: Option<Vec<Origin>>| origins.map(Computed::Moved);
    Ok(match &at.node.op {
        Op::Conv2d(op) => real(product::conv(at, op)),
        Op::DepthwiseConv2d(op) => real(product::depthwise(at, op)),
        Op::TransposeConv2d(op) => real(product::transpose_conv(at, op)),
        Op::FullyConnected(op) => real(product::fully_connected(at, op)),
        Op::MaxPool2d(op) => real(pool::pool(at, op, pool::largest)),
        Op::AveragePool2d(op) => real(pool::pool(at, op, pool::average)),
        Op::Mean(op) => real(pool::reduce(at, op, pool::average)),
        Op::Sum(op) => real(pool::reduce(at, op, |values| values.iter().sum())),
        Op::ReduceMax(op) => real(pool::reduce(at, op, pool::largest)),
        Op::ReduceMin(op) => real(pool::reduce(at, op, pool::smallest)),
        Op::ArgMax(op) => real(pool::arg_extremum(at, op, |x, best| x > best)),
        Op::ArgMin(op) => real(pool::arg_extremum(at, op, |x, best| x < best)),
        Op::ResizeBilinear(op) => real(resize::bilinear(at, op)),
        Op::Add { activation } => real(binary::binary(at, |a, b| unary::clamp(a + b, *activation))),
        Op::Sub { activation } => real(binary::binary(at, |a, b| unary::clamp(a - b, *activation))),
        Op::Mul { activation } => real(binary::binary(at, |a, b| unary::clamp(a * b, *activation))),
        Op::Div { activation } => real(binary::quotient(at, *activation)),
        Op::Pow => real(binary::binary(at, f64::powf)),
        Op::MatMul => real(product::mat_mul(at)),
        Op::Maximum => real(binary::binary(at, f64::max)),
        Op::Minimum => real(binary::binary(at, f64::min)),
        Op::Prelu => real(binary::binary(at, unary::leaky)),
        Op::LeakyRelu { alpha } => real(unary::unary(at, |x| unary::leaky(x, f64::from(*alpha)))),
        Op::Relu => real(unary::unary(at, |x| x.max(0.0))),
        Op::Relu6 => real(unary::unary(at, |x| x.clamp(0.0, 6.0))),
        Op::ReluN1To1 => real(unary::unary(at, |x| x.clamp(-1.0, 1.0))),
        Op::Clamp { min, max } => real(unary::unary(at, |x| x.max((*min).into()).min((*max).into()))),
        Op::HardSigmoid { alpha, beta } => {
            real(unary::unary(at, |x| (f64::from(*alpha) * x + f64::from(*beta)).clamp(0.0, 1.0)))
        }
        Op::Exp => real(unary::unary(at, f64::exp)),
        Op::Log => real(unary::unary(at, f64::ln)),
        Op::Sqrt => real(unary::unary(at, f64::sqrt)),
        Op::Rsqrt => real(unary::unary(at, |x| 1.0 / x.sqrt())),
        Op::Abs => real(unary::unary(at, f64::abs)),
        Op::Neg => real(unary::unary(at, |x| -x)),
        Op::Elu => real(unary::unary(at, |x| if x < 0.0 { x.exp_m1() } else { x })),
        Op::Gelu { approximate } => real(unary::unary(at, |x| unary::gelu(x, *approximate))),
        Op::SquaredDifference => real(binary::binary(at, |a, b| (a - b) * (a - b))),
        Op::Lstm(op) => real(recurrent::lstm(at, op)),
        Op::NonMaxSuppression(op) => real(boxes::suppressed(at, op)),
        Op::Detections(op) => real(boxes::detected(at, op)),
        Op::HardSwish => real(unary::unary(at, unary::hard_swish)),
        Op::Logistic => real(unary::unary(at, unary::logistic)),
        Op::Tanh => real(unary::unary(at, f64::tanh)),
        Op::Softmax { beta } => real(unary::softmax(at, f64::from(*beta))),
        Op::Quantize | Op::Dequantize => real(unary::unary(at, |x| x)),
        Op::Concat { axis } => moved(movement::concat(at, *axis)),
        Op::Pack { axis } => moved(movement::pack(at, *axis)),
        Op::Slice(op) => moved(movement::slice(at, op)),
        Op::Take(op) => moved(movement::take(at, op)),
        Op::ResizeNearest(op) => moved(movement::resize_nearest(at, op)),
        Op::Gather(op) => moved(movement::gather(at, op)),
        Op::DepthToSpace { block } => moved(movement::depth_to_space(at, *block)),
        Op::SpaceToDepth { block } => moved(movement::space_to_depth(at, *block)),
        Op::SpaceToBatch(op) => moved(movement::space_to_batch(at, op)),
        Op::BatchToSpace(op) => moved(movement::batch_to_space(at, op)),
        Op::Pad(op) => moved(movement::pad(at, op)),
        Op::Reshape { .. } => moved(movement::reshape(at)),
        Op::Transpose { perm } => moved(movement::transpose(at, perm)),
        _ => return Err(FloatError::unsupported(at.node, "has no float evaluation")),
    })
}

impl<'a> At<'a> {
    fn tensor(&self, input: usize) -> Option<&'a Tensor> {
        self.graph.tensors.get(self.node.inputs.get(input)?.index())
    }

    fn output(&self) -> &'a Tensor {
        &self.graph[self.node.outputs[0]]
    }

    fn elements(&self, input: usize) -> Option<&'a Elements> {
        self.values.get(*self.node.inputs.get(input)?)
    }

    /// The real numbers of an input.
    fn real(&self, input: usize) -> Option<Vec<f64>> {
        let (tensor, elements) = (self.tensor(input)?, self.elements(input)?);
        if let (Elements::Integer(values), None) = (elements, &tensor.quantization) {
            return Some(values.iter().map(|&value| wide(value)).collect());
        }
        Some(elements.real(tensor).into_iter().map(f64::from).collect())
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53, which is what is promised")]
fn wide(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
