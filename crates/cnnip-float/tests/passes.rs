//! Graph passes keep what a network computes.

use cnnip_float::{Elements, Ties, reference};
use cnnip_graph::{
    Activation, Conv2d, ElementType, FullyConnected, Graph, GraphBuilder, Hw, Mean, Op, Pad, PadValue, Padding, Shape,
    Slice, Tensor, TensorId, passes,
};

/// Numbers that look random, from -1 to 1.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |at: usize| ((at + seed) * 7919 % 2003) as f32 / 1001.5 - 1.0;
    (0..count).map(number).collect()
}

fn constant(build: &mut GraphBuilder, name: &str, dims: &[usize]) -> TensorId {
    let shape = Shape::new(dims).unwrap();
    let bytes: Vec<u8> = numbers(shape.elements(), name.len() * 31).into_iter().flat_map(f32::to_le_bytes).collect();
    build.tensor(Tensor::new(name, shape, ElementType::F32).constant(bytes))
}

/// A convolution of a channels-first map, channels first again.
fn conv(build: &mut GraphBuilder, name: &str, x: TensorId, outputs: usize) -> TensorId {
    let channels = build[x].shape.dims()[1];
    let last = build.apply(&format!("{name}.last"), Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x]);
    let weights = constant(build, &format!("{name}.w"), &[outputs, 3, 3, channels]);
    let padding = Padding { top: 1, bottom: 1, left: 1, right: 1 };
    let (stride, dilation, activation) = (Hw::ONE, Hw::ONE, Activation::None);
    let op = Op::Conv2d(Conv2d { stride, dilation, padding, groups: 1, activation });
    let made = build.apply(&format!("{name}.made"), op, &[last, weights]);
    build.apply(name, Op::Transpose { perm: vec![0, 3, 1, 2] }, &[made])
}

fn reshape(build: &mut GraphBuilder, name: &str, x: TensorId, dims: &[usize]) -> TensorId {
    build.apply(name, Op::Reshape { shape: Shape::new(dims).unwrap() }, &[x])
}

/// Channels-first, with everything that the layout pass must find its way through.
fn network() -> Graph {
    let (add, mul) = (Op::Add { activation: Activation::None }, Op::Mul { activation: Activation::None });
    let mut build = GraphBuilder::new("channels first");
    let b = &mut build;
    let image = b.input(Tensor::new("image", Shape::new([1, 3, 6, 5]).unwrap(), ElementType::F32));
    let a = conv(b, "a", image, 8);
    let (factor, summand) = (constant(b, "factor", &[8, 1, 1]), constant(b, "summands", &[1, 8, 1, 1]));
    let scaled = b.apply("scaled", mul.clone(), &[a, factor]);
    let shifted = b.apply("shifted", add.clone(), &[scaled, summand]);
    let relu = b.apply("relu", Op::Relu6, &[shifted]);
    // A gate from the mean of each channel.
    let mean = b.apply("mean", Op::Mean(Mean { axes: vec![2, 3], keep_dims: true }), &[relu]);
    let gate = b.apply("gate", Op::Logistic, &[mean]);
    let gated = b.apply("gated", mul, &[relu, gate]);
    // An exchange of channels between two groups.
    let split = reshape(b, "split", gated, &[1, 2, 4, 6, 5]);
    let swapped = b.apply("swapped", Op::Transpose { perm: vec![0, 2, 1, 3, 4] }, &[split]);
    let shuffled = reshape(b, "shuffled", swapped, &[1, 8, 6, 5]);
    let half = |begin: usize| {
        Op::Slice(Slice { begin: vec![0, begin, 0, 0], stride: vec![1; 4], count: vec![1, 4, 6, 5], dropped: vec![] })
    };
    let (low, high) = (b.apply("low", half(0), &[shuffled]), b.apply("high", half(4), &[shuffled]));
    let deeper = conv(b, "deeper", low, 4);
    let joined = b.apply("joined", Op::Concat { axis: 1 }, &[deeper, high]);
    let pad = Op::Pad(Pad { before: vec![0, 0, 1, 0], after: vec![0, 1, 0, 1], value: PadValue::Zero });
    let padded = b.apply("padded", pad, &[joined]);
    let flat = reshape(b, "flat", padded, &[1, 9 * 7 * 6]);
    let weights = constant(b, "weights", &[5, 9 * 7 * 6]);
    let layer = Op::FullyConnected(FullyConnected { activation: Activation::None, keep_num_dims: true });
    let scores = b.apply("scores", layer, &[flat, weights]);
    b.output(scores);
    b.output(shuffled);
    build.finish().unwrap()
}

fn outputs(graph: &Graph) -> Vec<Vec<f32>> {
    let inputs = graph.inputs.iter().map(|&id| Elements::Real(numbers(graph[id].shape.elements(), 5)));
    let values = reference::evaluate(graph, &inputs.collect::<Vec<_>>(), Ties::Even).unwrap();
    graph.outputs.iter().map(|&id| values.real(graph, id).unwrap()).collect()
}

#[test]
fn every_pass_keeps_the_values_of_the_outputs() {
    let graph = network();
    let want = outputs(&graph);
    let last = passes::standard(graph, |name, graph| {
        graph.check().unwrap_or_else(|problems| panic!("after {name}: {problems}"));
        for (found, want) in outputs(graph).iter().zip(&want) {
            assert_eq!(found.len(), want.len(), "after {name}");
            let near = found.iter().zip(want).all(|(found, want)| (found - want).abs() <= 1e-4 * want.abs().max(1.0));
            assert!(near, "after {name}: {found:?}, not {want:?}");
        }
    });
    let exchanges = last.nodes.iter().filter(|node| matches!(node.op, Op::Transpose { .. })).count();
    assert_eq!(exchanges, 3, "at the input, at the second output, and of the groups:\n{last}");
}
