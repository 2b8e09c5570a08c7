//! Constant folding.

use super::dead_code;
use crate::evaluate::evaluate;
use crate::graph::Graph;
use crate::tensor::Tensor;

/// How much larger than its operands a result may be: repetition is cheaper computed than stored.
const GROWTH: usize = 4;

/// Computes nodes whose operands are all constants.
#[must_use]
pub fn fold_constants(mut graph: Graph) -> Graph {
    let nodes = std::mem::take(&mut graph.nodes);
    for node in nodes {
        let data = node.outputs.first().filter(|id| !graph.outputs.contains(id)).and_then(|&output| {
            let inputs: Vec<&Tensor> = node.inputs.iter().map(|&id| &graph[id]).collect();
            let constant = inputs.iter().all(|tensor| tensor.is_constant() && tensor.quantization.is_none());
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
