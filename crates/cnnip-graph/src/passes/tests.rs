//! Tests of passes on imported networks.

use super::{STANDARD, standard};
use crate::onnx::tests::resnet_block;
use crate::op::Op;

#[test]
fn a_residual_block_ends_channels_last_with_everything_folded() {
    let graph = resnet_block().import().unwrap();
    let graph = standard(graph, |name, graph| {
        println!("{name}\n{graph}");
        graph.check().unwrap_or_else(|problems| panic!("after {name}: {problems}"));
    });
    let ops: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(ops, ["Transpose", "Conv2d", "Conv2d", "Add", "Mean", "Reshape", "FullyConnected"]);
    let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names[1..4], ["r1", "b2", "r2"]);
    let source = graph[graph.tensor_named("r1").unwrap()].source.clone().unwrap();
    assert_eq!((source.name.as_str(), source.axes.as_slice()), ("r1", &[0, 2, 3, 1][..]));
    assert!(matches!(graph.nodes[0].op, Op::Transpose { .. }));
    assert_eq!(STANDARD.len(), 7);
}
