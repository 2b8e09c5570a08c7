//! Fusion of clamps into the operators before them, and names for activations that are written out.

use super::dead_code;
use super::edit::{producers, readers, remove};
use crate::evaluate::floats_of;
use crate::graph::{Graph, TensorId};
use crate::op::{Activation, Op};
use crate::tensor::ElementType;

/// Makes `x * HardSigmoid(x)` with slope 1/6 a hard swish, and fuses clamps into the operator that
/// alone gives them their input. Only tensors of floats are touched: a clamp of integers may be of
/// other quantization than its input.
#[must_use]
pub fn fuse_activations(graph: Graph) -> Graph {
    fuse(dead_code(hard_swishes(graph)))
}

fn fuse(mut graph: Graph) -> Graph {
    let (producers, readers) = (producers(&graph), readers(&graph));
    let mut gone = vec![false; graph.nodes.len()];
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let activation = match node.op {
            Op::Relu => Activation::Relu,
            Op::Relu6 => Activation::Relu6,
            Op::ReluN1To1 => Activation::ReluN1To1,
            _ => continue,
        };
        let (&[input], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { continue };
        let alone = readers[input.index()] == 1 && graph[output].element == ElementType::F32;
        let Some(producer) = producers[input.index()].filter(|&producer| alone && !gone[producer]) else { continue };
        let before = &mut graph.nodes[producer];
        if let Some(slot) = fused(&mut before.op).filter(|slot| **slot == Activation::None) {
            *slot = activation;
            before.outputs = vec![output];
            before.name.clone_from(&graph.tensors[output.index()].name);
            // The node takes the place of the clamp: what follows a clamp that is fused may be another.
            graph.nodes.swap(producer, index);
            gone[producer] = true;
        }
    }
    remove(&mut graph, &gone);
    dead_code(graph)
}

/// Where an operator keeps its clamp.
pub(super) fn fused(op: &mut Op) -> Option<&mut Activation> {
    match op {
        Op::Conv2d(conv) => Some(&mut conv.activation),
        Op::DepthwiseConv2d(conv) => Some(&mut conv.activation),
        Op::TransposeConv2d(conv) => Some(&mut conv.activation),
        Op::FullyConnected(layer) => Some(&mut layer.activation),
        Op::MaxPool2d(pool) | Op::AveragePool2d(pool) => Some(&mut pool.activation),
        Op::Add { activation } | Op::Sub { activation } | Op::Mul { activation } | Op::Div { activation } => {
            Some(activation)
        }
        _ => None,
    }
}

/// `x * min(max(x / 6 + 1/2, 0), 1)`, however it is written.
fn hard_swishes(mut graph: Graph) -> Graph {
    let producers = producers(&graph);
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        if node.op != (Op::Mul { activation: Activation::None }) {
            continue;
        }
        let &[a, b] = node.inputs.as_slice() else { continue };
        let find = |x: TensorId, gate: TensorId| is_gate(&graph, &producers, x, gate).then_some(x);
        if let Some(x) = find(a, b).or_else(|| find(b, a)) {
            let node = &mut graph.nodes[index];
            (node.op, node.inputs) = (Op::HardSwish, vec![x]);
        }
    }
    graph
}

/// Whether `gate` is the hard sigmoid of `x` with slope 1/6.
fn is_gate(graph: &Graph, producers: &[Option<usize>], x: TensorId, gate: TensorId) -> bool {
    let node = |id: TensorId| producers[id.index()].map(|index| &graph.nodes[index]);
    let Some(last) = node(gate) else { return false };
    match (&last.op, last.inputs.as_slice()) {
        (Op::HardSigmoid { alpha, beta }, &[input]) => {
            input == x && (alpha - 1.0 / 6.0).abs() < 1e-6 && (beta - 0.5).abs() < 1e-6
        }
        (Op::Div { activation: Activation::None }, &[input, six]) => {
            let clipped = node(input).filter(|node| node.op == Op::Relu6);
            let sum = clipped.and_then(|node| node.inputs.first().copied()).and_then(node);
            let three = |sum: &&crate::graph::Node| {
                matches!(sum.op, Op::Add { activation: Activation::None })
                    && sum.inputs.first() == Some(&x)
                    && sum.inputs.get(1).is_some_and(|&id| is_number(graph, id, 3.0))
            };
            is_number(graph, six, 6.0) && sum.as_ref().is_some_and(three)
        }
        _ => false,
    }
}

fn is_number(graph: &Graph, id: TensorId, want: f32) -> bool {
    floats_of(&graph[id]).is_some_and(|values| values == [want])
}
