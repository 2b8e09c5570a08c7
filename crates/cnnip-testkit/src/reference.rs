//! A slow, obvious evaluator of graphs of int8, uint8 and int16 activations: plain loops, wide integers, its own derivation of every multiplier.
//!
//! It says what a quantized network means, in the words of the oracles, and shares no code with what turns the network into
//! commands or carries them out.

mod movement;
mod number;
mod ops;

use cnnip_graph::{Data, ElementType, Graph, Tensor, TensorId};

pub use number::Profile;

/// The elements of every tensor that could be computed, by the tensor's index: in memory order, little-endian, a byte each for
/// types of 8 bits.
pub type Values = Vec<Option<Vec<i8>>>;

/// The integers of every tensor that could be computed.
type Integers = Vec<Option<Vec<i64>>>;

/// Evaluates a graph.
///
/// `inputs` are the graph's inputs in order. A node whose operator is not written down here (softmax, floats), and what
/// depends on it, is left without a value.
pub fn evaluate(graph: &Graph, inputs: &[Vec<i8>], profile: Profile) -> Values {
    let mut values: Integers = graph.tensors.iter().map(constant).collect();
    for (&id, input) in graph.inputs.iter().zip(inputs) {
        let bytes: Vec<u8> = input.iter().map(|byte| byte.cast_unsigned()).collect();
        values[id.index()] = Data::from(bytes).integers(graph[id].element);
    }
    for node in &graph.nodes {
        let known = |id: &&TensorId| is_activation(&graph[**id]);
        if node.inputs.iter().filter(known).all(|id| values[id.index()].is_some()) {
            let output = ops::node(graph, node, &values, profile);
            values[node.outputs[0].index()] = output;
        }
    }
    let bytes = |(tensor, values): (&Tensor, Option<Vec<i64>>)| {
        let low = |value: i64| value.to_le_bytes().into_iter().take(tensor.element.size()).map(u8::cast_signed);
        Some(values?.into_iter().flat_map(low).collect())
    };
    graph.tensors.iter().zip(values).map(bytes).collect()
}

const fn is_activation(tensor: &Tensor) -> bool {
    matches!(tensor.element, ElementType::I8 | ElementType::U8 | ElementType::I16)
}

fn constant(tensor: &Tensor) -> Option<Vec<i64>> {
    tensor.data.as_ref().filter(|_| is_activation(tensor))?.integers(tensor.element)
}
