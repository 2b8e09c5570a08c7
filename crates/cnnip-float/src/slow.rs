//! The reference evaluator as an engine: for answers one can trust and wait for.

use std::sync::Arc;

use cnnip_graph::{Graph, TensorId};

use crate::reference::evaluate;
use crate::{Elements, Engine, FloatError, Network, Session, Ties};

/// The [reference evaluator](mod@crate::reference) as an engine; rounds to grids to nearest, ties to even, as the others do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Engine for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn prepare(&self, graph: Arc<Graph>, _: &[TensorId]) -> Result<Arc<dyn Network>, FloatError> {
        Ok(Arc::new(Prepared { graph }))
    }
}

struct Prepared {
    graph: Arc<Graph>,
}

impl Network for Prepared {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        let outputs = vec![vec![]; self.graph.outputs.len()];
        Box::new(Running { graph: Arc::clone(&self.graph), outputs })
    }
}

struct Running {
    graph: Arc<Graph>,
    outputs: Vec<Vec<f32>>,
}

impl Session for Running {
    fn run(&mut self, inputs: &[&[f32]], observer: &mut dyn FnMut(TensorId, &[f32])) -> Result<(), FloatError> {
        let graph = &*self.graph;
        crate::error::check_inputs(graph, &inputs.iter().map(|input| input.len()).collect::<Vec<_>>())?;
        let bound = graph.inputs.iter().zip(inputs);
        let elements: Vec<Elements> =
            bound.map(|(&id, values)| Elements::nearest(&graph[id], values.to_vec(), Ties::Even)).collect();
        let values = evaluate(graph, &elements, Ties::Even)?;
        for &id in graph.inputs.iter().chain(graph.nodes.iter().flat_map(|node| &node.outputs)) {
            observer(id, &values.real(graph, id).unwrap_or_default());
        }
        let outputs = graph.outputs.iter().map(|&id| values.real(graph, id).unwrap_or_default());
        self.outputs = outputs.collect();
        Ok(())
    }

    fn output(&self, index: usize) -> Option<&[f32]> {
        self.outputs.get(index).map(Vec::as_slice)
    }
}
