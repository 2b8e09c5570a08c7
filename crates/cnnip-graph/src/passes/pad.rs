//! Fusion of padding into convolutions.

use super::dead_code;
use super::edit::{producers, readers, remove};
use crate::graph::Graph;
use crate::op::{Op, Pad, PadValue, Padding};

/// Gives convolutions the rows and columns of real 0 that a pad alone puts around their input.
#[must_use]
pub fn fuse_pads(mut graph: Graph) -> Graph {
    let (producers, readers) = (producers(&graph), readers(&graph));
    let mut gone = vec![false; graph.nodes.len()];
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        if !matches!(node.op, Op::Conv2d(_) | Op::DepthwiseConv2d(_)) {
            continue;
        }
        let Some(input) = node.inputs.first().copied().filter(|id| readers[id.index()] == 1) else { continue };
        let Some(producer) = producers[input.index()] else { continue };
        let Op::Pad(pad) = &graph.nodes[producer].op else { continue };
        let (Some(more), Some(&source)) = (around(pad), graph.nodes[producer].inputs.first()) else { continue };
        let node = &mut graph.nodes[index];
        if let Op::Conv2d(conv) = &mut node.op {
            conv.padding = sum(conv.padding, more);
        } else if let Op::DepthwiseConv2d(conv) = &mut node.op {
            conv.padding = sum(conv.padding, more);
        }
        node.inputs[0] = source;
        gone[producer] = true;
    }
    remove(&mut graph, &gone);
    dead_code(graph)
}

/// The rows and columns of 0, if there is nothing else.
fn around(pad: &Pad) -> Option<Padding> {
    let (&[0, top, left, 0], &[0, bottom, right, 0]) = (pad.before.as_slice(), pad.after.as_slice()) else {
        return None;
    };
    (pad.value == PadValue::Zero).then_some(Padding { top, bottom, left, right })
}

fn sum(a: Padding, b: Padding) -> Padding {
    Padding { top: a.top + b.top, bottom: a.bottom + b.bottom, left: a.left + b.left, right: a.right + b.right }
}
