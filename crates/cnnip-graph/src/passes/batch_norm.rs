//! Folding of factors and summands per channel, such as batch normalization, into products before them.

use super::dead_code;
use super::edit::{Edit, producers, readers};
use crate::evaluate::{float_data, floats_of};
use crate::graph::{Graph, TensorId};
use crate::op::{Activation, Op};
use crate::tensor::{ElementType, Shape, Tensor};

/// Folds a constant factor or summand per channel behind a convolution or fully connected layer into
/// its weights and bias. Folded weights are rounded to binary32 once per factor.
#[must_use]
pub fn fold_batch_norm(graph: Graph) -> Graph {
    let (mut producers, readers) = (producers(&graph), readers(&graph));
    let (mut edit, mut nodes) = Edit::open(graph);
    let mut gone = vec![false; nodes.len()];
    for index in 0..nodes.len() {
        let (op, inputs) = (&nodes[index].op, &nodes[index].inputs);
        let integers = |id: TensorId| {
            let node = producers[id.index()].map(|at| &nodes[at]).filter(|node| node.op == Op::Dequantize)?;
            node.inputs.first().map(|&id| &edit.graph[id]).filter(|tensor| tensor.is_constant())
        };
        let found = operands(&edit.graph, op, inputs).or_else(|| quantized_bias(op, inputs, integers));
        let Some((product, constant)) = found else { continue };
        let Some(producer) = producers[product.index()].filter(|_| readers[product.index()] == 1) else { continue };
        let Some(axis) = product_axis(&mut nodes[producer].op) else { continue };
        let (op, output) = (nodes[index].op.clone(), nodes[index].outputs.clone());
        let Some(inputs) = folded(&mut edit, &op, &nodes[producer].inputs, axis, product, constant) else { continue };
        let mut node = nodes[producer].clone();
        (node.inputs, node.outputs) = (inputs, output);
        node.name.clone_from(&nodes[index].name);
        node.outputs.iter().for_each(|id| producers[id.index()] = Some(index));
        nodes[index] = node;
        gone[producer] = true;
    }
    let mut gone = gone.into_iter();
    nodes.retain(|_| gone.next() == Some(false));
    edit.graph.nodes = nodes;
    dead_code(edit.graph)
}

/// The axis of the output channels of the weights of a product without clamp.
fn product_axis(op: &mut Op) -> Option<usize> {
    let axis = match op {
        Op::Conv2d(_) | Op::TransposeConv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_) => op.weight_axis()?,
        _ => return None,
    };
    super::activation::fused(op).filter(|activation| **activation == Activation::None).map(|_| axis)
}

/// The activation and the constant of a factor or summand.
pub(super) fn operands(graph: &Graph, op: &Op, inputs: &[TensorId]) -> Option<(TensorId, TensorId)> {
    let &[a, b] = inputs else { return None };
    let commutes = match op {
        Op::Add { activation: Activation::None } | Op::Mul { activation: Activation::None } => true,
        Op::Sub { activation: Activation::None } | Op::Div { activation: Activation::None } => false,
        _ => return None,
    };
    match (graph[a].is_constant(), graph[b].is_constant()) {
        (false, true) => Some((a, b)),
        (true, false) if commutes => Some((b, a)),
        _ => None,
    }
}

/// The activation and the summand, where that is made of int32 constants along one axis, as quantizers write biases.
fn quantized_bias<'t>(
    op: &Op,
    inputs: &[TensorId],
    integers: impl Fn(TensorId) -> Option<&'t Tensor>,
) -> Option<(TensorId, TensorId)> {
    let (&[a, b], Op::Add { activation: Activation::None }) = (inputs, op) else { return None };
    let is_bias = |id: TensorId| integers(id).is_some_and(|it| it.element == ElementType::I32 && it.shape.rank() == 1);
    match (is_bias(a), is_bias(b)) {
        (false, true) => Some((a, b)),
        (true, false) => Some((b, a)),
        _ => None,
    }
}

/// One number per channel from a constant that only differs along the last axis.
pub(super) fn per_channel(constant: &Tensor, map: &Shape) -> Option<Vec<f32>> {
    let channels = *map.dims().last()?;
    let values = floats_of(constant)?;
    let dims = constant.shape.dims();
    match values.as_slice() {
        &[value] if dims.len() <= map.rank() => Some(vec![value; channels]),
        _ if dims.last() == Some(&channels) && values.len() == channels && dims.len() <= map.rank() => Some(values),
        _ => None,
    }
}

/// The inputs of a product with a factor or summand folded in.
fn folded(
    edit: &mut Edit,
    op: &Op,
    inputs: &[TensorId],
    axis: usize,
    product: TensorId,
    constant: TensorId,
) -> Option<Vec<TensorId>> {
    let &[x, weights, ref rest @ ..] = inputs else { return None };
    if !edit.graph[constant].is_constant() {
        let fits =
            rest.is_empty() && edit.graph[constant].shape.dims().last() == edit.graph[product].shape.dims().last();
        return fits.then(|| vec![x, weights, constant]);
    }
    let values = per_channel(&edit.graph[constant], &edit.graph[product].shape)?;
    let kernel = edit.graph[weights].clone();
    let numbers = floats_of(&kernel)?;
    if edit.graph[x].element != ElementType::F32 {
        return None;
    }
    let zeros = vec![0.0; values.len()];
    let bias = match rest.first() {
        Some(&bias) => floats_of(&edit.graph[bias])?,
        None => zeros,
    };
    let inner: usize = kernel.shape.dims().get(axis + 1..)?.iter().product();
    let channel = |at: usize| values[at / inner.max(1) % values.len()];
    let each = bias.iter().zip(&values);
    let (weights, bias): (TensorId, Vec<f32>) = match op {
        Op::Add { .. } => (weights, each.map(|(bias, value)| bias + value).collect()),
        Op::Sub { .. } => (weights, each.map(|(bias, value)| bias - value).collect()),
        Op::Mul { .. } => {
            let scaled = float_data(numbers.iter().enumerate().map(|(at, weight)| weight * channel(at)));
            (edit.constant(&kernel, scaled), each.map(|(bias, value)| bias * value).collect())
        }
        Op::Div { .. } => {
            let scaled = float_data(numbers.iter().enumerate().map(|(at, weight)| weight / channel(at)));
            (edit.constant(&kernel, scaled), each.map(|(bias, value)| bias / value).collect())
        }
        _ => return None,
    };
    if rest.is_empty() && bias.iter().all(|&value| value == 0.0) {
        return Some(vec![x, weights]);
    }
    let name = format!("{}.bias", edit.graph[product].name);
    let tensor = Tensor::new(name, Shape::new([bias.len()]).ok()?, ElementType::F32);
    Some(vec![x, weights, edit.tensor(tensor.constant(float_data(bias)))])
}
