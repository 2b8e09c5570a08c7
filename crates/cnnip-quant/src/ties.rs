//! Tensors that must be quantized alike.

use cnnip_graph::{Graph, Node, Op, TensorId};

/// What an operator demands of the quantization of what it reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing: it rescales.
    None,
    /// All its operands and its result alike: it moves or compares integers.
    Alike,
    /// All alike, and values outside of the result's range may saturate before: it clamps.
    Clamped,
    /// A result of this largest value: its integer kernel has one output quantization.
    Unit {
        /// Whether results may be negative.
        signed: bool,
    },
}

pub(crate) fn demand(op: &Op) -> Demand {
    match op {
        Op::Concat { .. }
        | Op::Pack { .. }
        | Op::MaxPool2d(_)
        | Op::AveragePool2d(_)
        | Op::ReduceMax(_)
        | Op::ReduceMin(_)
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice(_)
        | Op::Gather(_)
        | Op::Take(_)
        | Op::ResizeNearest(_)
        | Op::ResizeBilinear(_)
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::SpaceToBatch(_)
        | Op::BatchToSpace(_)
        | Op::Pad(_)
        | Op::Maximum
        | Op::Minimum => Demand::Alike,
        Op::Relu6 | Op::ReluN1To1 => Demand::Clamped,
        Op::Softmax { .. } | Op::Logistic => Demand::Unit { signed: false },
        Op::Tanh => Demand::Unit { signed: true },
        _ => Demand::None,
    }
}

/// Classes of tensors that are quantized alike: a forest in which a class is known by its root.
#[derive(Clone, Debug)]
pub(crate) struct Ties {
    parents: Vec<usize>,
}

impl Ties {
    /// The classes that the operators of a graph demand; `is_quantized` says which tensors are to become integers.
    pub(crate) fn of(graph: &Graph, is_quantized: impl Fn(TensorId) -> bool) -> Self {
        let mut ties = Self { parents: (0..graph.tensors.len()).collect() };
        for node in &graph.nodes {
            if matches!(demand(&node.op), Demand::Alike | Demand::Clamped) {
                let mut ids = operands(node).filter(|&id| is_quantized(id));
                let Some(first) = ids.next() else { continue };
                ids.for_each(|id| ties.join(first, id));
            }
        }
        ties
    }

    /// The tensor that stands for the class of `id`.
    pub(crate) fn root(&self, id: TensorId) -> TensorId {
        let mut at = id.index();
        while self.parents[at] != at {
            at = self.parents[at];
        }
        TensorId::new(at)
    }

    fn join(&mut self, a: TensorId, b: TensorId) {
        let (a, b) = (self.root(a).index(), self.root(b).index());
        self.parents[a.max(b)] = a.min(b);
    }
}

fn operands(node: &Node) -> impl Iterator<Item = TensorId> + '_ {
    node.inputs.iter().chain(&node.outputs).copied()
}
