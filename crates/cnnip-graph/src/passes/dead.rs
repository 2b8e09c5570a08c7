//! Dead code.

use crate::graph::{Graph, TensorId};

/// Without the nodes and tensors that no output depends on. Inputs of the graph stay.
#[must_use]
pub fn dead_code(mut graph: Graph) -> Graph {
    let mut needed = vec![false; graph.tensors.len()];
    for id in graph.outputs.iter().chain(&graph.inputs) {
        needed[id.index()] = true;
    }
    let mut live = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|id| needed[id.index()]) {
            live[index] = true;
            node.inputs.iter().chain(&node.outputs).for_each(|id| needed[id.index()] = true);
        }
    }
    let mut kept = live.into_iter();
    graph.nodes.retain(|_| kept.next() == Some(true));
    compact(graph, &needed)
}

/// Without the tensors that are not needed; ids are given anew, in the same order.
fn compact(mut graph: Graph, needed: &[bool]) -> Graph {
    let mut next = 0;
    let ids: Vec<TensorId> = needed
        .iter()
        .map(|&needed| {
            let id = TensorId::new(next);
            next += usize::from(needed);
            id
        })
        .collect();
    let mut kept = needed.iter();
    graph.tensors.retain(|_| kept.next() == Some(&true));
    let lists = graph.nodes.iter_mut().flat_map(|node| [&mut node.inputs, &mut node.outputs]);
    for list in lists.chain([&mut graph.inputs, &mut graph.outputs]) {
        list.iter_mut().for_each(|id| *id = ids[id.index()]);
    }
    graph
}
