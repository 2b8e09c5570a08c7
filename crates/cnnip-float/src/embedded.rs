//! The embedded engine: packed weights, planned memory, activations fused into the layers before them.
//!
//! | module | concern |
//! |---|---|
//! | `plan` | which nodes become one step, and which buffers tensors live in |
//! | `layer` | steps from nodes |
//! | `product` | convolutions, fully connected layers, matrix products |
//! | `whole` | the same on 8-bit integers, where inputs, weights and outputs are such |
//! | `pool` | windows and reductions |
//! | `pointwise` | functions of one or two inputs |
//! | `resize` | bilinear resize |
//! | `movement` | copies |
//!
//! Sums are in binary32 in the order that suits the processor: within `depth * 2^-23 * sum |x * w|` of the reference
//! before the next rounding to a grid.

mod boxes;
mod layer;
mod movement;
mod plan;
mod pointwise;
mod pool;
mod product;
mod resize;
mod whole;

use std::sync::Arc;

use cnnip_graph::{Graph, TensorId};
use cnnip_kernels::Kernels;
use cnnip_kernels::float::Finish;

use crate::error::check_inputs;
use crate::{Engine, FloatError, Network, Session};
use layer::{Call, Codes, Inputs, Scratch};
use plan::Plan;

/// The engine that is always there. One thread per session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Embedded {
    kernels: Kernels,
}

impl Embedded {
    /// The engine on these kernels.
    pub const fn new(kernels: Kernels) -> Self {
        Self { kernels }
    }
}

impl Engine for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn prepare(&self, graph: Arc<Graph>, watched: &[TensorId]) -> Result<Arc<dyn Network>, FloatError> {
        let plan = Plan::new(&graph, watched, self.kernels)?;
        Ok(Arc::new(Prepared { graph, plan, kernels: self.kernels }))
    }
}

struct Prepared {
    graph: Arc<Graph>,
    plan: Plan,
    kernels: Kernels,
}

impl Network for Prepared {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        let buffers = self.plan.buffers.iter().map(|&len| vec![0.0; len]).collect();
        let codes = self.plan.codes.iter().map(|&len| vec![0; len]).collect();
        Box::new(Running { network: self, buffers, codes, scratch: Scratch::default() })
    }
}

struct Running {
    network: Arc<Prepared>,
    buffers: Vec<Vec<f32>>,
    /// Per buffer, the bytes of the tensor in it, where a step takes them.
    codes: Vec<Vec<u8>>,
    scratch: Scratch,
}

impl Session for Running {
    fn run(&mut self, inputs: &[&[f32]], observer: &mut dyn FnMut(TensorId, &[f32])) -> Result<(), FloatError> {
        let Self { network, buffers, codes, scratch } = self;
        let Prepared { graph, plan, kernels } = &**network;
        check_inputs(graph, &inputs.iter().map(|input| input.len()).collect::<Vec<_>>())?;
        for ((&id, values), (buffer, finish)) in graph.inputs.iter().zip(inputs).zip(&plan.inputs) {
            let place = &mut buffers[*buffer][..values.len()];
            place.copy_from_slice(values);
            kernels.finish_f32(place, finish);
            observer(id, place);
        }
        for step in &plan.steps {
            let mut output = std::mem::take(&mut buffers[step.buffer]);
            let inputs = Inputs { sources: &step.inputs, buffers, constants: &plan.constants };
            let mut bytes = std::mem::take(&mut codes[step.buffer]);
            let wanted = Codes {
                input: step.codes.input.and_then(|(index, len)| codes.get(index)?.get(..len)),
                output: step.codes.output.then(|| &mut bytes[..step.len]),
                real: step.codes.real,
            };
            let call = Call { kernels: *kernels, inputs, output: &mut output[..step.len], scratch, codes: wanted };
            let done = step.layer.run(call);
            if step.codes.real {
                observer(step.tensor, &output[..step.len]);
            }
            (buffers[step.buffer], codes[step.buffer]) = (output, bytes);
            done.map_err(|_| FloatError::Malformed { node: graph[step.tensor].name.clone() })?;
        }
        Ok(())
    }

    fn output(&self, index: usize) -> Option<&[f32]> {
        let plan = &self.network.plan;
        plan.outputs.get(index)?.values(&self.buffers, &plan.constants)
    }
}

/// Rounding to the grid of a quantized tensor after a clamp; `None` for a grid this engine does not have.
fn finish_of(tensor: &cnnip_graph::Tensor, clamp: Finish) -> Option<Finish> {
    let Some(grid) = crate::Grid::of(tensor) else { return tensor.element.range().is_none().then_some(clamp) };
    let ((scale, zero_point), (least, greatest)) = (grid.per_tensor()?, grid.range());
    let narrow = |value: i64| i32::try_from(value).ok();
    clamp.rounded(scale, narrow(zero_point)?, (narrow(least)?, narrow(greatest)?)).ok()
}
