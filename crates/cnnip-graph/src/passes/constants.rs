//! Constant folding.

use std::collections::HashSet;

use super::dead_code;
use crate::evaluate::evaluate;
use crate::graph::{Graph, Node, TensorId};
use crate::op::Op;
use crate::tensor::Tensor;

/// How much larger than its operands a result may be: repetition is cheaper computed than stored.
const GROWTH: usize = 4;

/// Computes nodes whose operands are all constants. Quantized weights keep their integers, unless
/// nothing but arithmetic on real numbers reads them.
#[must_use]
pub fn fold_constants(mut graph: Graph) -> Graph {
    let nodes = std::mem::take(&mut graph.nodes);
    let known = known(&graph, &nodes);
    let mut weights = vec![false; graph.tensors.len()];
    let beside = |node: &&Node| {
        let activation = node.inputs.iter().any(|id| !known.contains(id));
        node.op.weight_axis().is_some() || is_join(&node.op) && activation
    };
    for node in nodes.iter().filter(beside) {
        node.inputs.iter().for_each(|id| weights[id.index()] = true);
    }
    for node in nodes {
        let data = node.outputs.first().filter(|id| !graph.outputs.contains(id)).and_then(|&output| {
            let inputs: Vec<&Tensor> = node.inputs.iter().map(|&id| &graph[id]).collect();
            let real = node.op == Op::Dequantize && !weights[output.index()];
            let plain = |tensor: &&Tensor| tensor.is_constant() && (real || tensor.quantization.is_none());
            let constant = inputs.iter().all(plain);
            let stored: usize = inputs.iter().map(|tensor| tensor.byte_len()).sum();
            let small = graph[output].byte_len() <= stored.saturating_mul(GROWTH).saturating_add(0x1000);
            (constant && small).then(|| evaluate(&node.op, &inputs, &graph[output].shape)).flatten()
        });
        match (data, node.outputs.as_slice()) {
            (Some(data), &[output]) => graph.tensors[output.index()].data = Some(data),
            _ => graph.nodes.push(node),
        }
    }
    dead_code(graph)
}

/// Tensors that do not depend on an input.
fn known(graph: &Graph, nodes: &[Node]) -> HashSet<TensorId> {
    let mut known: HashSet<TensorId> = graph.tensor_ids().filter(|&id| graph[id].is_constant()).collect();
    for node in nodes {
        if node.inputs.iter().all(|id| known.contains(id)) {
            known.extend(&node.outputs);
        }
    }
    known
}

/// Whether an operator takes quantized constants as they are, beside activations.
fn is_join(op: &Op) -> bool {
    matches!(
        op,
        Op::Concat { .. } | Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } | Op::Prelu | Op::Maximum | Op::Minimum
    )
}
