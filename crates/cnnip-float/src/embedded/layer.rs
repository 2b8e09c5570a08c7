//! Steps from nodes.

use cnnip_graph::{Activation, Graph, Node, Op, Tensor};
use cnnip_kernels::float::Finish;
use cnnip_kernels::{Declined, Kernels};

use super::plan::Source;
use super::{boxes, movement, pointwise, pool, product, resize};
use crate::{Elements, FloatError};

/// One step of a network.
pub(super) trait Layer: Send + Sync {
    /// Computes the output.
    ///
    /// # Errors
    /// Slices that do not fit the graph's shapes.
    fn run(&self, call: Call<'_>) -> Result<(), Declined>;

    /// Whether it can work on the bytes of its first input.
    fn takes_codes(&self) -> bool {
        false
    }

    /// Whether it can give the bytes of its output.
    fn gives_codes(&self) -> bool {
        false
    }
}

/// What a step works on.
pub(super) struct Call<'a> {
    pub(super) kernels: Kernels,
    pub(super) inputs: Inputs<'a>,
    pub(super) output: &'a mut [f32],
    pub(super) scratch: &'a mut Scratch,
    pub(super) codes: Codes<'a>,
}

/// The bytes that stand for numbers on grids of 8 bits, for steps that work on these.
pub(super) struct Codes<'a> {
    /// Those of the first input, where they are there.
    pub(super) input: Option<&'a [u8]>,
    /// Where those of the output go, if they are wanted.
    pub(super) output: Option<&'a mut [u8]>,
    /// Whether the output's real numbers are wanted.
    pub(super) real: bool,
}

/// Working memory of steps.
#[derive(Default)]
pub(super) struct Scratch {
    /// Rows of a product's left matrix.
    pub(super) rows: Vec<f32>,
    /// Sums of a reduction.
    pub(super) sums: Vec<f64>,
    /// Bytes of an input and of an output that are there as real numbers only.
    pub(super) taken: Vec<u8>,
    pub(super) made: Vec<u8>,
    /// What kernels of integers need.
    pub(super) kernels: cnnip_kernels::Scratch,
}

/// The inputs of a step.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) sources: &'a [Source],
    pub(super) buffers: &'a [Vec<f32>],
    pub(super) constants: &'a [Vec<f32>],
}

impl<'a> Inputs<'a> {
    pub(super) fn get(&self, index: usize) -> Result<&'a [f32], Declined> {
        let source = self.sources.get(index).and_then(|source| source.values(self.buffers, self.constants));
        source.ok_or(Declined::Shape { what: "inputs" })
    }
}

/// A node with its tensors.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
}

impl<'a> At<'a> {
    /// An input's tensor.
    pub(super) fn tensor(&self, input: usize) -> Option<&'a Tensor> {
        Some(&self.graph[*self.node.inputs.get(input)?])
    }

    pub(super) fn output(&self) -> &'a Tensor {
        &self.graph[self.node.outputs[0]]
    }

    /// The real numbers of a constant input.
    pub(super) fn constant(&self, input: usize) -> Option<Vec<f32>> {
        let tensor = self.tensor(input)?;
        Some(Elements::constant(tensor)?.real(tensor))
    }

    pub(super) fn unsupported(&self, why: &'static str) -> FloatError {
        FloatError::unsupported(self.node, why)
    }

    pub(super) fn malformed(&self) -> FloatError {
        FloatError::malformed(self.node)
    }

    /// The clamp of a fused activation, then the output's grid.
    pub(super) fn finish(&self, clamp: Finish) -> Result<Finish, FloatError> {
        super::finish_of(self.output(), clamp).ok_or_else(|| {
            self.unsupported("has an output whose integers have no scale, one per channel, or more than 16 bits")
        })
    }

    /// As [`At::finish`], for results that are elements of the inputs: nothing, where all lie on the output's grid.
    pub(super) fn finish_elements(&self, clamp: Finish) -> Result<Finish, FloatError> {
        let output = self.output();
        let alike = |tensor: &Tensor| tensor.element == output.element && tensor.quantization == output.quantization;
        let on_grid = clamp == Finish::NONE && self.node.inputs.iter().all(|&id| alike(&self.graph[id]));
        if on_grid { Ok(Finish::NONE) } else { self.finish(clamp) }
    }
}

/// The clamp of an activation.
pub(super) fn clamp(activation: Activation) -> Finish {
    let (low, high) = activation.bounds();
    Finish::NONE.clamped(low.unwrap_or(f32::NEG_INFINITY), high.unwrap_or(f32::INFINITY))
}

/// The clamp that an operator is, if it is one.
pub(super) fn clamp_of(op: &Op) -> Option<Finish> {
    match op {
        Op::Relu => Some(clamp(Activation::Relu)),
        Op::Relu6 => Some(clamp(Activation::Relu6)),
        Op::ReluN1To1 => Some(clamp(Activation::ReluN1To1)),
        Op::Clamp { min, max } => Some(Finish::NONE.clamped(*min, *max)),
        Op::Quantize | Op::Dequantize => Some(Finish::NONE),
        _ => None,
    }
}

/// The step of a node by itself; products are made by the plan, which fuses what follows into them.
pub(super) fn layer(at: At<'_>) -> Result<Box<dyn Layer>, FloatError> {
    if let Some(clamp) = clamp_of(&at.node.op) {
        return Ok(Box::new(pointwise::Clamp { finish: at.finish_elements(clamp)? }));
    }
    match &at.node.op {
        Op::MatMul => product::mat_mul(at),
        Op::MaxPool2d(op) => pool::pool(at, op, pool::Kind::Largest),
        Op::AveragePool2d(op) => pool::pool(at, op, pool::Kind::Average),
        Op::Mean(op) => pool::reduce(at, op, pool::Reduction::Mean),
        Op::Sum(op) => pool::reduce(at, op, pool::Reduction::Sum),
        Op::ReduceMax(op) => pool::reduce(at, op, pool::Reduction::Largest),
        Op::ReduceMin(op) => pool::reduce(at, op, pool::Reduction::Smallest),
        Op::ArgMax(op) => pool::arg_extremum(at, op, |x, best| x > best),
        Op::ArgMin(op) => pool::arg_extremum(at, op, |x, best| x < best),
        Op::NonMaxSuppression(_) | Op::Detections(_) => boxes::boxes(at),
        Op::ResizeBilinear(op) => resize::bilinear(at, op),
        Op::Concat { axis } => movement::concat(at, *axis),
        Op::Reshape { .. } => Ok(Box::new(pointwise::Clamp { finish: at.finish_elements(Finish::NONE)? })),
        Op::Pack { .. }
        | Op::Slice(_)
        | Op::Gather(_)
        | Op::Take(_)
        | Op::ResizeNearest(_)
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::SpaceToBatch(_)
        | Op::BatchToSpace(_)
        | Op::Pad(_)
        | Op::Transpose { .. } => movement::moved(at),
        Op::Softmax { beta } => pointwise::softmax(at, *beta),
        op => match (pointwise::pair(op), pointwise::single(op)) {
            (Some((function, activation)), _) => pointwise::binary(at, function, clamp(activation)),
            (None, Some(function)) => Ok(Box::new(pointwise::Unary { function, finish: at.finish(Finish::NONE)? })),
            (None, None) => Err(at.unsupported("is not an operator of the embedded engine")),
        },
    }
}
