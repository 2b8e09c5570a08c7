//! Graphs by hand, for tests and generators.

use std::ops::Index;

use crate::graph::{Graph, Node, TensorId};
use crate::infer::infer_shape;
use crate::op::Op;
use crate::problem::{Place, Problems, Rule};
use crate::tensor::{ElementType, Quantization, Shape, Tensor};

/// Builds a graph node by node; [`finish`](Self::finish) checks it.
///
/// ```
/// use cnnip_graph::{ElementType, GraphBuilder, Op, Quantization, Shape, Tensor};
///
/// let mut build = GraphBuilder::new("clamp");
/// let image = Tensor::new("image", Shape::new([1, 4, 4, 3])?, ElementType::I8);
/// let image = build.input(image.quantized(Quantization::per_tensor(0.5, -128)));
/// let clamped = build.apply("clamped", Op::Relu6, &[image]);
/// build.output(clamped);
/// assert_eq!(build.finish()?.nodes.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    graph: Graph,
    problems: Problems,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Self { graph: Graph { name: name.into(), ..Graph::default() }, problems: Problems::default() }
    }

    /// Adds a tensor: a constant, or one that a later [`node`](Self::node) writes.
    pub fn tensor(&mut self, tensor: Tensor) -> TensorId {
        self.graph.tensors.push(tensor);
        TensorId::new(self.graph.tensors.len() - 1)
    }

    /// Adds a tensor that the application provides.
    pub fn input(&mut self, tensor: Tensor) -> TensorId {
        let id = self.tensor(tensor);
        self.graph.inputs.push(id);
        id
    }

    /// Adds a node that writes `output`, and is named like it.
    pub fn node(&mut self, op: Op, inputs: &[TensorId], output: Tensor) -> TensorId {
        let name = output.name.clone();
        let id = self.tensor(output);
        self.graph.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: vec![id] });
        id
    }

    /// Adds a node whose output has the shape that `op` implies and the type and quantization of the
    /// first input. If `op` cannot work on the inputs, [`finish`](Self::finish) says so.
    pub fn apply(&mut self, name: &str, op: Op, inputs: &[TensorId]) -> TensorId {
        let first = inputs.first().and_then(|id| self.graph.tensors.get(id.index()));
        let element = first.map_or(ElementType::I8, |tensor| tensor.element);
        let quantization = first.and_then(|tensor| tensor.quantization.clone());
        self.apply_as(name, op, inputs, element, quantization)
    }

    /// As [`apply`](Self::apply) with a type and quantization of its own.
    pub fn apply_as(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[TensorId],
        element: ElementType,
        quantization: Option<Quantization>,
    ) -> TensorId {
        let shape = self.infer(&op, inputs).unwrap_or_else(|rule| {
            self.problems.push(Place::node(self.graph.nodes.len(), name, op.name()), rule);
            Shape::scalar()
        });
        self.node(op, inputs, Tensor { quantization, ..Tensor::new(name, shape, element) })
    }

    fn infer(&self, op: &Op, inputs: &[TensorId]) -> Result<Shape, Rule> {
        let count = self.graph.tensors.len();
        let shape = |id: &TensorId| match self.graph.tensors.get(id.index()) {
            Some(tensor) => Ok(&tensor.shape),
            None => Err(Rule::TensorIndex { index: i64::try_from(id.index()).unwrap_or(i64::MAX), count }),
        };
        let shapes: Vec<&Shape> = inputs.iter().map(shape).collect::<Result<_, _>>()?;
        Ok(infer_shape(op, &shapes)?)
    }

    /// Lists a tensor as an output of the graph.
    pub fn output(&mut self, tensor: TensorId) {
        self.graph.outputs.push(tensor);
    }

    /// The graph.
    ///
    /// # Errors
    /// All problems at once: those of [`apply`](Self::apply), else those of [`Graph::check`].
    pub fn finish(self) -> Result<Graph, Problems> {
        self.problems.into_result(())?;
        self.graph.check()?;
        Ok(self.graph)
    }
}

/// A tensor added so far.
///
/// # Panics
/// If the id is of another graph.
impl Index<TensorId> for GraphBuilder {
    type Output = Tensor;

    fn index(&self, id: TensorId) -> &Tensor {
        &self.graph[id]
    }
}
