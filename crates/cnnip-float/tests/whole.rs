//! Layers of 8-bit integers in the embedded engine: results are those of the reference, but for ties.

use std::collections::BTreeMap;
use std::sync::Arc;

use cnnip_float::{Elements, Embedded, Engine, Grid, Reference, Ties, reference};
use cnnip_graph::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, FullyConnected, Graph, GraphBuilder, Hw, Mean, Node, Op, Padding,
    Quantization, Shape, Tensor, TensorId,
};
use cnnip_kernels::{Backend, Kernels};
use proptest::prelude::*;

struct Random(u32);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(self.0 >> 8).unwrap() % bound
    }

    /// 0.5 to 1.5 times `around`.
    fn scale(&mut self, around: f32) -> f32 {
        around * (0.5 + f32::from(u16::try_from(self.below(1000)).unwrap()) / 1000.0)
    }
}

/// A quantized network in the making.
struct Making {
    build: GraphBuilder,
    random: Random,
}

impl Making {
    fn weights(&mut self, dims: &[usize], axis: usize) -> TensorId {
        let shape = Shape::new(dims).unwrap();
        let bytes: Vec<u8> = (0..shape.elements()).map(|_| self.random.below(256).to_le_bytes()[0]).collect();
        let scales: Vec<f32> = (0..dims[axis]).map(|_| self.random.scale(0.01)).collect();
        let tensor = Tensor::new(format!("w{}", self.random.0), shape, ElementType::I8);
        self.build.tensor(tensor.quantized(Quantization::symmetric_per_channel(axis, scales)).constant(bytes))
    }

    /// Biases in steps of input times weight.
    fn bias(&mut self, x: TensorId, weights: TensorId) -> TensorId {
        let input = self.build[x].quantization.as_ref().unwrap().scales()[0];
        let scales: Vec<f32> =
            self.build[weights].quantization.as_ref().unwrap().scales().iter().map(|scale| scale * input).collect();
        let values = (0..scales.len()).map(|_| i32::try_from(self.random.below(4000)).unwrap() - 2000);
        let bytes = values.flat_map(i32::to_le_bytes).collect::<Vec<u8>>();
        let tensor = Tensor::new(format!("b{}", self.random.0), Shape::new([scales.len()]).unwrap(), ElementType::I32);
        self.build.tensor(tensor.quantized(Quantization::symmetric_per_channel(0, scales)).constant(bytes))
    }

    fn apply(&mut self, name: &str, op: Op, inputs: &[TensorId], scale: f32) -> TensorId {
        let zero = i64::try_from(self.random.below(60)).unwrap() - 30;
        let quantization = Quantization::per_tensor(self.random.scale(scale), zero);
        self.build.apply_as(name, op, inputs, ElementType::I8, Some(quantization))
    }

    fn layer(&mut self, name: &str, x: TensorId, outputs: usize, kernel: usize, groups: usize) -> TensorId {
        let depth = self.build[x].shape.dims()[3] / groups;
        let weights = self.weights(&[outputs, kernel, kernel, depth], 0);
        let bias = self.bias(x, weights);
        let side = kernel / 2;
        let padding = Padding { top: side, bottom: side, left: side, right: side };
        let activation = [Activation::None, Activation::Relu, Activation::Relu6][self.random.below(3)];
        let conv = Conv2d { stride: Hw::ONE, dilation: Hw::ONE, padding, groups, activation };
        self.apply(name, Op::Conv2d(conv), &[x, weights, bias], 0.2)
    }

    fn depthwise(&mut self, x: TensorId, stride: usize) -> TensorId {
        let channels = self.build[x].shape.dims()[3];
        let weights = self.weights(&[1, 3, 3, channels], 3);
        let bias = self.bias(x, weights);
        let padding = Padding { top: 1, bottom: 1, left: 1, right: 1 };
        let (stride, activation) = (Hw::new(stride, stride), Activation::Relu6);
        let op = DepthwiseConv2d { stride, dilation: Hw::ONE, padding, multiplier: 1, activation };
        self.apply("depthwise", Op::DepthwiseConv2d(op), &[x, weights, bias], 0.05)
    }
}

/// Convolutions in a row, one of them grouped, one with a sum behind it, one depthwise; then a fully connected layer.
fn network(seed: u32) -> Graph {
    let mut making = Making { build: GraphBuilder::new("whole"), random: Random(seed) };
    let (side, channels) = (3 + making.random.below(6), 2 * (1 + making.random.below(12)));
    let element = [ElementType::I8, ElementType::U8][making.random.below(2)];
    let x = Tensor::new("x", Shape::new([2, side, side, channels]).unwrap(), element);
    let x = making.build.input(x.quantized(Quantization::per_tensor(0.02, 3)));
    let outputs = 2 * (1 + making.random.below(20));
    let a = making.layer("a", x, outputs, 3, 1);
    let b = making.layer("b", a, outputs, 1, 2);
    let sum = making.apply("sum", Op::Add { activation: Activation::Relu }, &[b, a], 0.2);
    let stride = 1 + making.random.below(2);
    let deep = making.depthwise(sum, stride);
    let c = making.layer("c", deep, 24, 3, 1);
    let mean = making.apply("mean", Op::Mean(Mean { axes: vec![1, 2], keep_dims: false }), &[c], 0.1);
    let weights = making.weights(&[7, 24], 0);
    let bias = making.bias(mean, weights);
    let op = FullyConnected { activation: Activation::None, keep_num_dims: false };
    let scores = making.apply("scores", Op::FullyConnected(op), &[mean, weights, bias], 0.2);
    making.build.output(scores);
    making.build.finish().unwrap()
}

/// Tensors as an engine shows them.
fn observed(engine: &dyn Engine, graph: &Arc<Graph>, watched: &[TensorId], input: &[f32]) -> Vec<(TensorId, Vec<f32>)> {
    let mut session = engine.prepare(Arc::clone(graph), watched).unwrap().session();
    let mut seen = vec![];
    session.run(&[&vec![1.0; input.len()]], &mut |_, _| {}).unwrap(); // what it leaves must not matter
    session.run(&[input], &mut |id, values| seen.push((id, values.to_vec()))).unwrap();
    seen
}

/// A node by itself, fed with what an engine gave it, its result in real numbers that nothing rounded.
fn unrounded(graph: &Graph, node: &Node, seen: &BTreeMap<TensorId, Vec<f32>>) -> Vec<f32> {
    let mut alone = graph.clone();
    alone.inputs = node.inputs.iter().copied().filter(|&id| graph[id].data.is_none()).collect();
    let output = node.outputs[0];
    let real = Tensor::new(graph[output].name.clone(), graph[output].shape.clone(), ElementType::F32);
    alone.tensors[output.index()] = real;
    alone.nodes = vec![node.clone()];
    let nearest = |&id| Elements::nearest(&graph[id], seen[&id].clone(), Ties::Even);
    let inputs: Vec<Elements> = alone.inputs.iter().map(nearest).collect();
    reference::evaluate(&alone, &inputs, Ties::Even).unwrap().real(&alone, output).unwrap()
}

/// Steps of the grid by which a sum in binary32 may miss the exact one.
const SLACK: f64 = 1e-3;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each layer, on the inputs it had: its codes are nearest to the exact result, ties to either side.
    #[test]
    fn layers_of_integers_round_to_the_nearest(seed: u32) {
        let graph = Arc::new(network(seed));
        let mut random = Random(seed ^ 1);
        let input: Vec<f32> =
            (0..graph[graph.inputs[0]].shape.elements()).map(|_| random.scale(4.0) - 4.0).collect();
        let all: Vec<TensorId> = graph.nodes.iter().map(|node| node.outputs[0]).collect();
        for kernels in Backend::ALL.into_iter().filter_map(Kernels::new) {
            let engine = Embedded::new(kernels);
            let mut seen: BTreeMap<_, _> = observed(&engine, &graph, &all, &input).into_iter().collect();
            let scores = seen.get(&graph.outputs[0]).cloned();
            seen.insert(graph.inputs[0], input.clone());
            for node in &graph.nodes {
                let output = &graph[node.outputs[0]];
                let (found, grid) = (&seen[&node.outputs[0]], Grid::of(output).unwrap());
                let (scale, zero) = grid.per_tensor().unwrap();
                let codes = grid.quantize_all(found, Ties::Even);
                prop_assert_eq!(&grid.dequantize_all(&codes), found, "{} is on its grid", output.name);
                for (&code, real) in codes.iter().zip(unrounded(&graph, node, &seen)) {
                    let exact = (f64::from(real) / f64::from(scale) + zero as f64).clamp(-128.0, 127.0);
                    let distance = (code as f64 - exact).abs();
                    prop_assert!(distance <= 0.5 + SLACK, "{code} for {exact}: {} on {:?}", output.name, kernels.backend());
                }
            }
            // Bytes between steps change nothing.
            prop_assert_eq!(observed(&engine, &graph, &[], &input).pop().map(|(_, values)| values), scores);
        }
    }
}

#[test]
fn the_reference_is_an_engine() {
    let graph = Arc::new(network(3));
    let input = vec![0.3; graph[graph.inputs[0]].shape.elements()];
    let seen = observed(&Reference, &graph, &[], &input);
    assert_eq!(seen.len(), 1 + graph.nodes.len());
    let mut session = Reference.prepare(Arc::clone(&graph), &[]).unwrap().session();
    session.run(&[&input], &mut |_, _| {}).unwrap();
    assert_eq!(session.output(0), seen.last().map(|(_, values)| values.as_slice()));
    assert!(session.run(&[&input[1..]], &mut |_, _| {}).is_err());
}
