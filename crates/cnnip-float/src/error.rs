//! What keeps a network from being evaluated.

use cnnip_graph::{Graph, Node};

/// A network, or inputs of one, that cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FloatError {
    /// Another number of inputs than the graph has.
    #[error("{found} inputs are given, the network has {want}")]
    InputCount {
        /// Inputs given.
        found: usize,
        /// Inputs of the graph.
        want: usize,
    },
    /// An input with another number of elements than its tensor.
    #[error("input `{name}` has {found} elements, its shape has {want}")]
    InputLength {
        /// Name of the tensor.
        name: String,
        /// Elements given.
        found: usize,
        /// Elements of its shape.
        want: usize,
    },
    /// Integers without a scale where real numbers are expected, or the reverse.
    #[error("input `{name}` holds {want}, not {found}")]
    InputKind {
        /// Name of the tensor.
        name: String,
        /// What was given.
        found: &'static str,
        /// What the tensor holds.
        want: &'static str,
    },
    /// An operator, or a case of one, that this evaluator does not have.
    #[error("node `{node}`: {op} {why}")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// Name of the operator.
        op: &'static str,
        /// What is missing.
        why: &'static str,
    },
    /// What another runtime says.
    #[error("{why}")]
    Runtime {
        /// Its message.
        why: String,
    },
    /// A graph that breaks the rules of `Graph::check`.
    #[error("node `{node}` reads a tensor without a value, or its shapes do not fit: check the graph first")]
    Malformed {
        /// Name of the node.
        node: String,
    },
}

impl FloatError {
    pub(crate) fn unsupported(node: &Node, why: &'static str) -> Self {
        Self::Unsupported { node: node.name.clone(), op: node.op.name(), why }
    }

    pub(crate) fn malformed(node: &Node) -> Self {
        Self::Malformed { node: node.name.clone() }
    }
}

/// Checks the number and lengths of inputs.
pub(crate) fn check_inputs(graph: &Graph, lengths: &[usize]) -> Result<(), FloatError> {
    let (found, want) = (lengths.len(), graph.inputs.len());
    if found != want {
        return Err(FloatError::InputCount { found, want });
    }
    for (&id, &found) in graph.inputs.iter().zip(lengths) {
        let (name, want) = (&graph[id].name, graph[id].shape.elements());
        if found != want {
            return Err(FloatError::InputLength { name: name.clone(), found, want });
        }
    }
    Ok(())
}
