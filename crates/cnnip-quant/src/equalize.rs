//! Cross-layer equalization: ranges of weights made even without changing what a network computes.
//!
//! Between two layers with weights, with nothing or a rectifier between, each channel may be divided by any positive number on the one side
//! and multiplied by it on the other. The factor `sqrt(range before / range after)` makes both ranges the same (Nagel et al. 2019, "Data-Free
//! Quantization Through Weight Equalization and Bias Correction", section 4.1). What it mends are channels of very different ranges, which
//! share one scale as activations.

use cnnip_graph::{Activation, Data, ElementType, Graph, Node, NodeId, Op, TensorId};

/// Largest factor, either way: channels that are nearly dead are left as they are.
const MAX_FACTOR: f32 = 1024.0;

/// Rounds over all pairs; ranges settle quickly.
const ROUNDS: usize = 8;

/// Equalizes every pair of layers that can be; gives how many pairs there are.
///
/// ```
/// use cnnip_graph::{ElementType, GraphBuilder, Op, Shape, Tensor};
///
/// let mut build = GraphBuilder::new("no weights");
/// let x = build.input(Tensor::new("x", Shape::new([1, 4])?, ElementType::F32));
/// let y = build.apply("y", Op::Relu, &[x]);
/// build.output(y);
/// assert_eq!(cnnip_quant::equalize(&mut build.finish()?), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn equalize(graph: &mut Graph) -> usize {
    let pairs = pairs(graph);
    for _ in 0..ROUNDS {
        pairs.iter().for_each(|pair| pair.equalize(graph));
    }
    pairs.len()
}

/// Two layers, the second of which is all that reads the first.
struct Pair {
    first: Weights,
    bias: Option<TensorId>,
    second: Weights,
    /// Channels between them.
    channels: usize,
}

/// Weights, and how their elements belong to the channels between two layers.
struct Weights {
    tensor: TensorId,
    /// Elements from one channel to the next.
    step: usize,
    /// Elements that follow one another in a channel's turn: outputs per input channel of a depthwise layer.
    run: usize,
}

impl Weights {
    fn channel(&self, element: usize, channels: usize) -> usize {
        element / self.step / self.run % channels
    }
}

fn pairs(graph: &Graph) -> Vec<Pair> {
    let readers = graph.all_consumers();
    let pair = |id: NodeId| {
        let node = &graph[id];
        let &[reader] = readers[node.outputs.first()?.index()].as_slice() else { return None };
        let next = &graph[reader];
        let is_input = next.inputs.first() == node.outputs.first() && !graph.outputs.contains(&node.outputs[0]);
        (is_input && is_homogeneous(&node.op)).then_some(())?;
        let channels = graph[node.outputs[0]].shape.dims().last().copied()?;
        let bias = node.inputs.get(2).copied();
        let owned = |id: &TensorId| {
            graph[*id].element == ElementType::F32 && graph[*id].is_constant() && readers[id.index()].len() == 1
        };
        let ours = node.inputs.iter().skip(1).chain(next.inputs.get(1));
        ours.clone().all(owned).then_some(())?;
        Some(Pair { first: outputs_of(graph, node)?, bias, second: inputs_of(graph, next)?, channels })
    };
    graph.node_ids().filter_map(pair).collect()
}

/// Whether the layer's activation keeps ratios.
fn is_homogeneous(op: &Op) -> bool {
    let activation = match op {
        Op::Conv2d(conv) => conv.activation,
        Op::DepthwiseConv2d(conv) => conv.activation,
        Op::FullyConnected(layer) => layer.activation,
        _ => return false,
    };
    matches!(activation, Activation::None | Activation::Relu)
}

/// The weights of a layer by its output channels.
fn outputs_of(graph: &Graph, node: &Node) -> Option<Weights> {
    let tensor = *node.inputs.get(1)?;
    let axis = node.op.weight_axis()?;
    Some(Weights { tensor, step: inner(graph, tensor, axis), run: 1 })
}

/// The weights of a layer by its input channels.
fn inputs_of(graph: &Graph, node: &Node) -> Option<Weights> {
    let tensor = *node.inputs.get(1)?;
    match &node.op {
        Op::Conv2d(conv) if conv.groups == 1 => Some(Weights { tensor, step: 1, run: 1 }),
        Op::DepthwiseConv2d(conv) => Some(Weights { tensor, step: 1, run: conv.multiplier }),
        // What was flattened before has another innermost axis.
        Op::FullyConnected(_) => {
            let same = graph[node.inputs[0]].shape.dims().last() == graph[tensor].shape.dims().last();
            same.then_some(Weights { tensor, step: 1, run: 1 })
        }
        _ => None,
    }
}

fn inner(graph: &Graph, tensor: TensorId, axis: usize) -> usize {
    graph[tensor].shape.dims().iter().skip(axis + 1).product::<usize>().max(1)
}

impl Pair {
    fn equalize(&self, graph: &mut Graph) {
        let (before, after) = (self.ranges(graph, &self.first), self.ranges(graph, &self.second));
        let factor = |(before, after): (&f32, &f32)| {
            if *before > 0.0 && *after > 0.0 {
                (before / after).sqrt().clamp(1.0 / MAX_FACTOR, MAX_FACTOR)
            } else {
                1.0
            }
        };
        let factors: Vec<f32> = before.iter().zip(&after).map(factor).collect();
        let channels = self.channels;
        scale(graph, self.first.tensor, |at| 1.0 / factors[self.first.channel(at, channels)]);
        scale(graph, self.second.tensor, |at| factors[self.second.channel(at, channels)]);
        if let Some(bias) = self.bias {
            scale(graph, bias, |at| 1.0 / factors[at % channels]);
        }
    }

    /// Largest magnitude of every channel.
    fn ranges(&self, graph: &Graph, weights: &Weights) -> Vec<f32> {
        let mut ranges = vec![0.0_f32; self.channels];
        for (at, value) in values(graph, weights.tensor).into_iter().enumerate() {
            let range = &mut ranges[weights.channel(at, self.channels)];
            *range = range.max(value.abs());
        }
        ranges
    }
}

fn values(graph: &Graph, tensor: TensorId) -> Vec<f32> {
    let bytes = graph[tensor].data.as_ref().map_or(&[][..], Data::bytes);
    bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
}

fn scale(graph: &mut Graph, tensor: TensorId, factor: impl Fn(usize) -> f32) {
    let scaled = values(graph, tensor).into_iter().enumerate().map(|(at, value)| value * factor(at));
    let bytes: Vec<u8> = scaled.flat_map(f32::to_le_bytes).collect();
    graph.tensors[tensor.index()].data = Some(bytes.into());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cnnip_float::{Embedded, Engine};
    use cnnip_graph::{Conv2d, DepthwiseConv2d, GraphBuilder, Hw, Padding, Shape, Tensor};
    use proptest::prelude::*;

    use super::*;

    fn tensor(name: &str, shape: &[usize]) -> Tensor {
        Tensor::new(name, Shape::new(shape).unwrap(), ElementType::F32)
    }

    fn constant(build: &mut GraphBuilder, name: &str, shape: &[usize], values: &[f32]) -> TensorId {
        let count: usize = shape.iter().product();
        let bytes: Vec<u8> = values.iter().cycle().take(count).flat_map(|value| value.to_le_bytes()).collect();
        build.tensor(tensor(name, shape).constant(bytes))
    }

    /// A 1x1 convolution, a depthwise one with two outputs per channel, and another 1x1.
    fn chain(values: &[f32]) -> Graph {
        let mut build = GraphBuilder::new("chain");
        let conv = Op::Conv2d(Conv2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::NONE,
            groups: 1,
            activation: Activation::Relu,
        });
        let image = build.input(tensor("image", &[1, 2, 2, 3]));
        let (w, b) = (constant(&mut build, "w1", &[4, 1, 1, 3], values), constant(&mut build, "b1", &[4], values));
        let x = build.apply("x", conv.clone(), &[image, w, b]);
        let w = constant(&mut build, "w2", &[1, 1, 1, 8], &values[1..]);
        let depthwise = DepthwiseConv2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::NONE,
            multiplier: 2,
            activation: Activation::None,
        };
        let y = build.apply("y", Op::DepthwiseConv2d(depthwise), &[x, w]);
        let w = constant(&mut build, "w3", &[5, 1, 1, 8], &values[2..]);
        let z = build.apply("z", conv, &[y, w]);
        build.output(z);
        build.finish().unwrap()
    }

    fn run(graph: &Graph) -> Vec<f32> {
        let mut session = Embedded::default().prepare(Arc::new(graph.clone()), &[]).unwrap().session();
        let input: Vec<f32> = (0..12_u8).map(|at| f32::from(at) - 5.0).collect();
        session.run(&[&input], &mut |_, _| {}).unwrap();
        session.output(0).unwrap().to_vec()
    }

    proptest! {
        #[test]
        fn the_network_computes_the_same(values in proptest::collection::vec(-4.0_f32..4.0, 7..30)) {
            let graph = chain(&values);
            let mut even = graph.clone();
            prop_assert_eq!(equalize(&mut even), 2);
            for (a, b) in run(&graph).iter().zip(run(&even)) {
                prop_assert!((a - b).abs() <= 1e-3 * a.abs().max(1.0), "{} and {}", a, b);
            }
        }
    }

    #[test]
    fn both_sides_get_the_same_range() {
        let mut graph = chain(&[100.0, 0.01, 1.0, 3.0, -0.5, 7.0, 0.2]);
        equalize(&mut graph);
        for pair in pairs(&graph) {
            let (before, after) = (pair.ranges(&graph, &pair.first), pair.ranges(&graph, &pair.second));
            for (a, b) in before.iter().zip(after) {
                assert!((a / b - 1.0).abs() < 0.05, "{a} and {b}");
            }
        }
    }
}
