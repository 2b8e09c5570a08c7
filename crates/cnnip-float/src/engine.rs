//! What all engines offer.

use std::sync::Arc;

use cnnip_graph::{Graph, TensorId};

use crate::FloatError;

/// A way to run networks in binary32.
pub trait Engine: Send + Sync {
    /// A name for reports.
    fn name(&self) -> &'static str;

    /// Prepares a checked graph: packs its weights, plans its memory.
    ///
    /// Tensors that are neither outputs nor in `watched` may be fused away; the others can be looked at during a run.
    ///
    /// # Errors
    /// An operator, or a case of one, that the engine does not have.
    fn prepare(&self, graph: Arc<Graph>, watched: &[TensorId]) -> Result<Arc<dyn Network>, FloatError>;
}

/// The numbers of a tensor that mean something: all, but for a list those before the first row that begins with a negative number.
pub fn found<'a>(graph: &Graph, id: TensorId, numbers: &'a [f32]) -> &'a [f32] {
    let is_list = graph.producer(id).is_some_and(|node| graph[node].op.gives_list());
    let length = graph[id].shape.dims().last().copied().unwrap_or(1).max(1);
    let rows = || numbers.chunks_exact(length).take_while(|row| row.first().is_some_and(|&first| first >= 0.0)).count();
    let end = if is_list { rows() * length } else { numbers.len() };
    numbers.get(..end).unwrap_or(numbers)
}

/// A prepared network: weights that all sessions share.
pub trait Network: Send + Sync {
    /// The graph.
    fn graph(&self) -> &Graph;

    /// Memory for one run at a time: one session per thread.
    fn session(self: Arc<Self>) -> Box<dyn Session>;
}

/// A network with the memory of its activations. After the first run nothing more is allocated.
pub trait Session: Send {
    /// Runs the network on its inputs in order, row-major.
    ///
    /// Inputs and tensors are real numbers; those of quantized tensors lie on their grids, inputs are rounded to them. `observer` sees
    /// every tensor that is computed, in the order of execution, at least the watched ones.
    ///
    /// # Errors
    /// Inputs that do not fit.
    fn run(&mut self, inputs: &[&[f32]], observer: &mut dyn FnMut(TensorId, &[f32])) -> Result<(), FloatError>;

    /// A graph output after a run.
    fn output(&self, index: usize) -> Option<&[f32]>;
}
