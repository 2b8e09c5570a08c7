//! One quantization across operators that only pick elements.

use super::dead_code;
use super::edit::{producers, readers};
use crate::graph::Graph;
use crate::op::Op;

/// Lets an operator write the quantization that its result is only quantized anew to.
///
/// Where a network is quantized here, the inputs of a join and of a pool get the quantization of its
/// output this way, and nothing is rounded twice. A model that came quantized is left alone: its
/// results would change.
#[must_use]
pub fn equal_scales(mut graph: Graph) -> Graph {
    let (producers, readers) = (producers(&graph), readers(&graph));
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let (Op::Quantize, &[input], &[output]) = (&node.op, node.inputs.as_slice(), node.outputs.as_slice()) else {
            continue;
        };
        let same_type = graph[input].quantization.is_some() && graph[input].element == graph[output].element;
        let Some(producer) = producers[input.index()].filter(|_| same_type && readers[input.index()] == 1) else {
            continue;
        };
        if own_scale(&graph.nodes[producer].op) {
            let quantization = graph[output].quantization.clone();
            graph.tensors[input.index()].quantization = quantization;
            let shape = graph[input].shape.clone();
            // Removed as a reshape to the same shape.
            graph.nodes[index].op = Op::Reshape { shape };
        }
    }
    dead_code(without_copies(graph))
}

/// Whether the output of an operator may have any quantization.
fn own_scale(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv2d(_)
            | Op::DepthwiseConv2d(_)
            | Op::FullyConnected(_)
            | Op::Add { .. }
            | Op::Sub { .. }
            | Op::Mul { .. }
    )
}

/// Without reshapes to the same shape of what has the same quantization, unless they are outputs.
pub(super) fn without_copies(mut graph: Graph) -> Graph {
    let nodes = std::mem::take(&mut graph.nodes);
    let mut same: Vec<_> = graph.tensor_ids().collect();
    for mut node in nodes {
        node.inputs.iter_mut().for_each(|id| *id = same[id.index()]);
        if let (Op::Reshape { .. }, &[input], &[output]) = (&node.op, node.inputs.as_slice(), node.outputs.as_slice()) {
            let (a, b) = (&graph[input], &graph[output]);
            let equal = a.shape == b.shape && a.quantization == b.quantization && a.element == b.element;
            if equal && !graph.outputs.contains(&output) {
                same[output.index()] = input;
                continue;
            }
        }
        graph.nodes.push(node);
    }
    graph
}
