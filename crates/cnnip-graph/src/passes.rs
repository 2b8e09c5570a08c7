//! Passes: functions from a graph to a graph that computes the same.
//!
//! Each keeps the graph well-formed, and the names, shapes and types of its inputs and outputs.

mod activation;
mod affine;
mod batch_norm;
mod constants;
mod dead;
mod edit;
mod layout;
mod pad;
mod quantized;
mod scales;
#[cfg(test)]
mod tests;

pub use activation::fuse_activations;
pub use batch_norm::fold_batch_norm;
pub use constants::fold_constants;
pub use dead::dead_code;
pub use layout::channels_last;
pub use pad::fuse_pads;
pub(crate) use quantized::{bias_quantization, quantized_elements};
pub use quantized::{float_nodes, fuse_quantization};
pub use scales::equal_scales;

use std::collections::HashSet;

use crate::graph::Graph;
use crate::tensor::{Source, Tensor};

/// A pass by name.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Its name, as in dumps.
    pub name: &'static str,
    /// What it does.
    pub run: fn(Graph) -> Graph,
}

/// What every imported float or ONNX network goes through, in this order.
pub const STANDARD: &[Pass] = &[
    Pass { name: "constants", run: fold_constants },
    Pass { name: "layout", run: channels_last },
    Pass { name: "batch-norm", run: fold_batch_norm },
    Pass { name: "activations", run: fuse_activations },
    Pass { name: "pads", run: fuse_pads },
    Pass { name: "quantization", run: fuse_quantization },
    Pass { name: "dead-code", run: dead_code },
];

/// Runs [`STANDARD`]; `watch` sees the graph after each pass. Tensors of the source that are then gone are in [`Graph::fused`].
///
/// ```
/// use cnnip_graph::{ElementType, GraphBuilder, Op, Shape, Tensor, passes};
///
/// let mut build = GraphBuilder::new("back and forth");
/// let x = build.input(Tensor::new("x", Shape::new([1, 3, 4, 5])?, ElementType::F32));
/// let there = build.apply("there", Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x]);
/// let relu = build.apply("relu", Op::Relu, &[there]);
/// let back = build.apply("back", Op::Transpose { perm: vec![0, 3, 1, 2] }, &[relu]);
/// build.output(back);
/// let graph = passes::standard(build.finish()?, |_, _| {});
/// assert_eq!(graph.nodes.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn standard(graph: Graph, mut watch: impl FnMut(&'static str, &Graph)) -> Graph {
    let before: Vec<Tensor> = graph.tensors.iter().filter(|tensor| tensor.source == Source::Same).cloned().collect();
    let mut graph = STANDARD.iter().fold(graph, |graph, pass| {
        let graph = (pass.run)(graph);
        watch(pass.name, &graph);
        graph
    });
    let names: HashSet<&str> = graph.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    // A pass may have given a tensor the name of one that the import had fused away.
    graph.fused.retain(|tensor| !names.contains(tensor.name.as_str()));
    let gone = before.into_iter().filter(|tensor| !tensor.is_constant() && !names.contains(tensor.name.as_str()));
    graph.fused.extend(gone);
    graph
}
