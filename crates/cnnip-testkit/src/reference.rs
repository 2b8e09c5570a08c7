//! A slow, obvious evaluator of int8 graphs: plain loops, wide integers, its own derivation of every multiplier.
//!
//! It says what a quantized network means, in the words of the oracles, and shares no code with what turns the network into
//! commands or carries them out.

mod movement;
mod number;
mod ops;

use cnnip_graph::{ElementType, Graph, TensorId};

pub use number::Profile;

/// The int8 elements of every tensor that could be computed, by the tensor's index.
pub type Values = Vec<Option<Vec<i8>>>;

/// Evaluates an int8 graph.
///
/// `inputs` are the graph's inputs in order. A node whose operator is not written down here (softmax, floats), and what
/// depends on it, is left without a value.
pub fn evaluate(graph: &Graph, inputs: &[Vec<i8>], profile: Profile) -> Values {
    let mut values: Values = graph.tensors.iter().map(constant).collect();
    for (id, input) in graph.inputs.iter().zip(inputs) {
        values[id.index()] = Some(input.clone());
    }
    for node in &graph.nodes {
        let known = |id: &&TensorId| graph[**id].element == ElementType::I8;
        if node.inputs.iter().filter(known).all(|id| values[id.index()].is_some()) {
            let output = ops::node(graph, node, &values, profile);
            values[node.outputs[0].index()] = output;
        }
    }
    values
}

fn constant(tensor: &cnnip_graph::Tensor) -> Option<Vec<i8>> {
    let data = tensor.data.as_ref().filter(|_| tensor.element == ElementType::I8)?;
    Some(data.bytes().iter().map(|byte| byte.cast_signed()).collect())
}
