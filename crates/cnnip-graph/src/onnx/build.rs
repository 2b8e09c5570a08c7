//! The graph while it grows: nodes are added one by one, and what is constant is computed at once.

use crate::check;
use crate::evaluate::{evaluate, float_data, integer_data, integers, moved_quantization};
use crate::graph::{Graph, Node, TensorId};
use crate::infer::infer_shape;
use crate::op::Op;
use crate::problem::Rule;
use crate::tensor::{Data, ElementType, Quantization, Shape, Source, Tensor};
use crate::unique::{Budget, Names};

/// From channels behind the batch to channels last.
pub(super) const TO_NHWC: [usize; 4] = [0, 2, 3, 1];
/// From channels last to channels behind the batch.
pub(super) const TO_NCHW: [usize; 4] = [0, 3, 1, 2];

/// A graph that grows.
pub(super) struct Build {
    pub(super) graph: Graph,
    /// For every tensor, the node that writes it.
    producers: Vec<Option<usize>>,
    names: Names,
    pub(super) budget: Budget,
}

impl Build {
    pub(super) fn new(name: String, budget: Budget) -> Self {
        let graph = Graph { name, ..Graph::default() };
        Self { graph, producers: Vec::new(), names: Names::default(), budget }
    }

    /// Adds a tensor; its name is made unique.
    pub(super) fn tensor(&mut self, tensor: Tensor) -> Result<TensorId, Rule> {
        self.budget.spend(size_of::<Tensor>() + 3 * tensor.name.len() + 8 * tensor.shape.rank())?;
        let name = self.names.unique(tensor.name);
        self.graph.tensors.push(Tensor { name, ..tensor });
        self.producers.push(None);
        Ok(TensorId::new(self.graph.tensors.len() - 1))
    }

    pub(super) fn get(&self, id: TensorId) -> &Tensor {
        &self.graph[id]
    }

    pub(super) fn dims(&self, id: TensorId) -> &[usize] {
        self.graph[id].shape.dims()
    }

    /// Gives a tensor the name that the source has for it, or one like it.
    pub(super) fn rename(&mut self, id: TensorId, name: &str) {
        let tensor = &mut self.graph.tensors[id.index()];
        (tensor.name, tensor.source) = (name.to_owned(), Source::Same);
        let unique = self.names.unique(name.to_owned());
        if unique != name {
            (tensor.source, tensor.name) = (tensor.copied(), unique);
        }
    }

    /// The node that writes a tensor.
    pub(super) fn producer(&self, id: TensorId) -> Option<&Node> {
        self.producers[id.index()].map(|index| &self.graph.nodes[index])
    }

    /// Whether a tensor is known before the network runs: a constant, or the real values of one.
    pub(super) fn is_weight(&self, id: TensorId) -> bool {
        self.get(id).is_constant() || self.quantized_constant(id).is_some()
    }

    /// The quantized constant whose real values a tensor is.
    fn quantized_constant(&self, id: TensorId) -> Option<TensorId> {
        let node = self.producer(id).filter(|node| node.op == Op::Dequantize)?;
        node.inputs.first().copied().filter(|&input| self.get(input).is_constant())
    }

    /// The result of an operator of the element type of its first input.
    pub(super) fn emit(&mut self, name: &str, op: Op, inputs: &[TensorId]) -> Result<TensorId, Rule> {
        let first = inputs.first().map(|&id| self.get(id));
        let element = first.map_or(ElementType::F32, |tensor| tensor.element);
        let quantization = first.and_then(|tensor| tensor.quantization.clone());
        if let Some(constant) = self.movement_of_quantized(name, &op, inputs)? {
            return Ok(constant);
        }
        self.emit_as(name, op, inputs, element, quantization)
    }

    /// As [`emit`](Self::emit), with a type of its own. What is constant is computed.
    pub(super) fn emit_as(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[TensorId],
        element: ElementType,
        quantization: Option<Quantization>,
    ) -> Result<TensorId, Rule> {
        let tensors: Vec<&Tensor> = inputs.iter().map(|&id| self.get(id)).collect();
        let shapes: Vec<&Shape> = tensors.iter().map(|tensor| &tensor.shape).collect();
        let shape = infer_shape(&op, &shapes)?;
        let mut tensor = Tensor { quantization, ..Tensor::new(name, shape, element) };
        // The integers of weights are kept: what they are for is only known later.
        if op != Op::Dequantize && tensors.iter().all(|tensor| tensor.is_constant()) {
            self.budget.spend(tensor.byte_len())?;
            let tensors: Vec<&Tensor> = inputs.iter().map(|&id| self.get(id)).collect();
            if let Some(data) = evaluate(&op, &tensors, &tensor.shape) {
                if let Some(quantization) = moved_quantization(&op, tensors[0]) {
                    tensor.quantization = quantization;
                }
                return self.tensor(tensor.constant(data));
            }
        }
        self.node(op, inputs, tensor)
    }

    /// A node even where its input is constant.
    pub(super) fn copy(
        &mut self,
        name: &str,
        op: Op,
        input: TensorId,
        element: ElementType,
        quantization: Option<Quantization>,
    ) -> Result<TensorId, Rule> {
        let tensor = Tensor { quantization, ..Tensor::new(name, self.get(input).shape.clone(), element) };
        let id = self.node(op, &[input], tensor)?;
        self.graph.tensors[id.index()].source = Source::Same;
        Ok(id)
    }

    fn node(&mut self, op: Op, inputs: &[TensorId], output: Tensor) -> Result<TensorId, Rule> {
        let tensors: Vec<&Tensor> = inputs.iter().map(|&id| self.get(id)).collect();
        check::node(&op, &tensors, &[&output])?;
        self.budget.spend(size_of::<Node>() + 8 * inputs.len() + output.name.len())?;
        let id = self.tensor(Tensor { source: Source::Added, ..output })?;
        self.producers[id.index()] = Some(self.graph.nodes.len());
        let name = self.get(id).name.clone();
        self.graph.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: vec![id] });
        Ok(id)
    }

    /// A movement of the real values of a quantized constant, as the real values of a moved constant.
    fn movement_of_quantized(&mut self, name: &str, op: &Op, inputs: &[TensorId]) -> Result<Option<TensorId>, Rule> {
        let &[input] = inputs else { return Ok(None) };
        if !matches!(op, Op::Transpose { .. } | Op::Reshape { .. }) {
            return Ok(None);
        }
        let Some(constant) = self.quantized_constant(input) else { return Ok(None) };
        if moved_quantization(op, self.get(constant)).is_none() {
            return Ok(None);
        }
        let source = self.get(constant).name.clone();
        let moved = self.emit(&format!("{source}.moved"), op.clone(), &[constant])?;
        self.emit_as(name, Op::Dequantize, &[moved], ElementType::F32, None).map(Some)
    }

    /// Exchange of axes; nothing where they stay.
    pub(super) fn transpose(&mut self, name: &str, id: TensorId, perm: &[usize]) -> Result<TensorId, Rule> {
        if perm.iter().copied().eq(0..self.dims(id).len()) {
            return Ok(id);
        }
        self.emit(&format!("{name}.transposed"), Op::Transpose { perm: perm.to_vec() }, &[id])
    }

    /// Another shape; nothing where it is the same.
    pub(super) fn reshape(&mut self, name: &str, id: TensorId, dims: &[usize]) -> Result<TensorId, Rule> {
        if self.dims(id) == dims {
            return Ok(id);
        }
        self.emit(&format!("{name}.reshaped"), Op::Reshape { shape: Shape::new(dims)? }, &[id])
    }

    /// A channels-first feature map with its channels last.
    pub(super) fn nhwc(&mut self, name: &str, id: TensorId) -> Result<TensorId, Rule> {
        self.transpose(name, id, &TO_NHWC)
    }

    /// The channels-first form of a channels-last feature map that holds the source's value `name`.
    pub(super) fn nchw(&mut self, name: &str, id: TensorId) -> Result<TensorId, Rule> {
        let source = Source::View { name: name.to_owned(), axes: TO_NHWC.to_vec() };
        self.graph.tensors[id.index()].source = source;
        self.transpose(name, id, &TO_NCHW)
    }

    /// A constant of binary32 numbers.
    pub(super) fn floats(
        &mut self,
        name: &str,
        dims: &[usize],
        values: impl IntoIterator<Item = f32>,
    ) -> Result<TensorId, Rule> {
        self.constant(name, dims, ElementType::F32, float_data(values))
    }

    /// A constant of integers of a type that holds them.
    pub(super) fn integers(
        &mut self,
        name: &str,
        dims: &[usize],
        values: impl IntoIterator<Item = i64>,
        element: ElementType,
    ) -> Result<TensorId, Rule> {
        let data = integer_data(values, element).ok_or(Rule::OperandType { what: "constant", element })?;
        self.constant(name, dims, element, data)
    }

    fn constant(&mut self, name: &str, dims: &[usize], element: ElementType, data: Data) -> Result<TensorId, Rule> {
        self.budget.spend(data.bytes().len())?;
        let tensor = Tensor::new(name, Shape::new(dims)?, element).constant(data);
        self.tensor(tensor)
    }

    /// The elements of an integer constant.
    pub(super) fn constant_integers(&self, id: TensorId, what: &'static str) -> Result<Vec<i64>, Rule> {
        let tensor = self.get(id);
        if !tensor.is_constant() {
            return Err(Rule::NotConstant { what, index: id.index() });
        }
        let (element, shape) = (tensor.element, tensor.shape.clone());
        integers(tensor).ok_or(Rule::AttributeTensor { what, index: id.index(), element, shape })
    }
}
