//! What passes share: adding tensors and nodes, and who reads what.

use crate::graph::{Graph, Node, TensorId};
use crate::infer::infer_shape;
use crate::op::Op;
use crate::tensor::{Data, Quantization, Source, Tensor};
use crate::unique::Names;

/// A graph whose nodes are gone through and written anew.
pub(super) struct Edit {
    pub(super) graph: Graph,
    names: Names,
}

impl Edit {
    /// Takes the nodes out of the graph.
    pub(super) fn open(mut graph: Graph) -> (Self, Vec<Node>) {
        let nodes = std::mem::take(&mut graph.nodes);
        let mut names = Names::default();
        graph.tensors.iter().for_each(|tensor| {
            names.unique(tensor.name.clone());
        });
        (Self { graph, names }, nodes)
    }

    /// Adds a tensor that the source does not have; its name is made unique.
    pub(super) fn tensor(&mut self, tensor: Tensor) -> TensorId {
        let name = self.names.unique(tensor.name);
        self.graph.tensors.push(Tensor { name, source: Source::Added, ..tensor });
        TensorId::new(self.graph.tensors.len() - 1)
    }

    /// Adds a constant like `like` with other elements.
    pub(super) fn constant(&mut self, like: &Tensor, data: Data) -> TensorId {
        self.tensor(like.clone().constant(data))
    }

    /// Adds a node that writes a new tensor; `None` if the operator does not fit the inputs.
    pub(super) fn apply(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[TensorId],
        quantization: Option<Quantization>,
    ) -> Option<TensorId> {
        let shapes: Vec<_> = inputs.iter().map(|&id| &self.graph[id].shape).collect();
        let shape = infer_shape(&op, &shapes).ok()?;
        let element = self.graph[*inputs.first()?].element;
        let id = self.tensor(Tensor { quantization, ..Tensor::new(name, shape, element) });
        self.push(op, inputs.to_vec(), id);
        Some(id)
    }

    /// Adds a node that writes `output`.
    pub(super) fn push(&mut self, op: Op, inputs: Vec<TensorId>, output: TensorId) {
        let name = self.graph[output].name.clone();
        self.graph.nodes.push(Node { name, op, inputs, outputs: vec![output] });
    }
}

/// How often each tensor is read, by nodes and by the outputs of the graph.
pub(super) fn readers(graph: &Graph) -> Vec<usize> {
    let mut readers = vec![0; graph.tensors.len()];
    let nodes = graph.nodes.iter().flat_map(|node| &node.inputs);
    nodes.chain(&graph.outputs).for_each(|id| readers[id.index()] += 1);
    readers
}

/// For each tensor the node that writes it.
pub(super) fn producers(graph: &Graph) -> Vec<Option<usize>> {
    let mut producers = vec![None; graph.tensors.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.outputs.iter().for_each(|id| producers[id.index()] = Some(index));
    }
    producers
}

/// Removes the nodes with these indices.
pub(super) fn remove(graph: &mut Graph, gone: &[bool]) {
    let mut gone = gone.iter();
    graph.nodes.retain(|_| gone.next() != Some(&true));
}
