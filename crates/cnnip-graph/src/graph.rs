//! The network: tensors, and nodes in the order of execution.

use std::ops::Index;

use crate::check;
use crate::op::Op;
use crate::problem::Problems;
use crate::tensor::Tensor;

/// A tensor of a graph: its position in [`Graph::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(usize);

impl TensorId {
    /// The tensor at this position.
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// The position in [`Graph::tensors`].
    pub const fn index(self) -> usize {
        self.0
    }
}

/// A node of a graph: its position in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl NodeId {
    /// The node at this position.
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// The position in [`Graph::nodes`].
    pub const fn index(self) -> usize {
        self.0
    }
}

/// One step of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The source's name; where the source has none, that of the first output.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads, in the order that [`Op`] states. An optional input is absent at the end.
    pub inputs: Vec<TensorId>,
    /// What it writes.
    pub outputs: Vec<TensorId>,
}

/// A network.
///
/// The fields are open to passes; a graph from an importer or from
/// [`GraphBuilder::finish`](crate::GraphBuilder::finish) has passed [`check`](Self::check), and the
/// methods here assume so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The source's name; may be empty.
    pub name: String,
    /// All values. A constant that became an attribute may be left without a reader.
    pub tensors: Vec<Tensor>,
    /// All steps, each after those whose results it reads.
    pub nodes: Vec<Node>,
    /// What the application provides, in its order.
    pub inputs: Vec<TensorId>,
    /// What the application gets, in its order.
    pub outputs: Vec<TensorId>,
    /// Tensors of the source that nothing computes any more, without data: other steps do their work.
    pub fused: Vec<Tensor>,
}

impl Graph {
    /// Checks every rule of a well-formed graph: ids in range, names unique, each tensor given its
    /// value exactly once and before it is read, constants of the right length, quantization in
    /// range, and every output shape as [`infer_shape`](crate::infer_shape) says.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(&self) -> Result<(), Problems> {
        check::graph(self).into_result(())
    }

    /// The ids of all tensors.
    pub fn tensor_ids(&self) -> impl ExactSizeIterator<Item = TensorId> + use<> {
        (0..self.tensors.len()).map(TensorId)
    }

    /// The ids of all nodes, in the order of execution.
    pub fn node_ids(&self) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The tensor of this name.
    pub fn tensor_named(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().position(|tensor| tensor.name == name).map(TensorId)
    }

    /// The node that writes `tensor`; `None` for graph inputs and constants.
    pub fn producer(&self, tensor: TensorId) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.outputs.contains(&tensor)).map(NodeId)
    }

    /// The nodes that read `tensor`, in order, each once.
    pub fn consumers(&self, tensor: TensorId) -> impl Iterator<Item = NodeId> + '_ {
        let reads = move |(_, node): &(usize, &Node)| node.inputs.contains(&tensor);
        self.nodes.iter().enumerate().filter(reads).map(|(index, _)| NodeId(index))
    }

    /// For every tensor, the nodes that read it: [`consumers`](Self::consumers) of all in one pass.
    pub fn all_consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![Vec::new(); self.tensors.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                let readers: &mut Vec<NodeId> = &mut consumers[input.0];
                if readers.last() != Some(&NodeId(index)) {
                    readers.push(NodeId(index));
                }
            }
        }
        consumers
    }
}

/// # Panics
/// If the id is of another graph and beyond this one's tensors.
impl Index<TensorId> for Graph {
    type Output = Tensor;

    fn index(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }
}

/// # Panics
/// If the id is of another graph and beyond this one's nodes.
impl Index<NodeId> for Graph {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, ElementType, GraphBuilder, Shape};

    #[test]
    fn producers_and_consumers() {
        let mut build = GraphBuilder::new("twice");
        let x = build.input(Tensor::new("x", Shape::new([1, 4]).unwrap(), ElementType::F32));
        let a = build.apply("a", Op::Relu, &[x]);
        let b = build.apply("b", Op::Add { activation: Activation::None }, &[a, a]);
        let c = build.apply("c", Op::Add { activation: Activation::None }, &[a, b]);
        build.output(c);
        let graph = build.finish().unwrap();
        assert_eq!(graph.producer(x), None);
        assert_eq!(graph.producer(b), Some(NodeId(1)));
        assert_eq!(graph.consumers(a).collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
        for tensor in graph.tensor_ids() {
            assert_eq!(graph.all_consumers()[tensor.0], graph.consumers(tensor).collect::<Vec<_>>());
        }
        assert_eq!(graph.tensor_named("b"), Some(b));
        assert_eq!(graph.tensor_named("d"), None);
        assert_eq!(graph[NodeId(2)].name, "c");
    }
}
