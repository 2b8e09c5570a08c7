//! The embedded engine against the reference, on random networks.

use std::sync::Arc;

use cnnip_float::{Elements, Embedded, Engine, Ties, reference};
use cnnip_graph::{
    Activation, Blocks, Conv2d, DepthwiseConv2d, ElementType, FullyConnected, Graph, GraphBuilder, Grid, Hw, Mean, Op,
    Pad, PadValue, Padding, Pool2d, Quantization, ResizeBilinear, Shape, Slice, Tensor, TensorId, TransposeConv2d,
};
use cnnip_kernels::{Backend, Kernels};
use proptest::prelude::*;

/// A source of choices.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// From -1 to 1.
    fn number(&mut self) -> f32 {
        f32::from(u16::try_from(self.below(0x1_0000)).unwrap()) / 32768.0 - 1.0
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
}

/// A network in the making; with `grids`, every activation is int8 or int16.
struct Making {
    build: GraphBuilder,
    random: Random,
    grids: bool,
    tensors: Vec<TensorId>,
}

impl Making {
    fn name(&self) -> String {
        format!("t{}", self.tensors.len())
    }

    fn constant(&mut self, dims: &[usize]) -> TensorId {
        let shape = Shape::new(dims).unwrap();
        let bytes: Vec<u8> =
            self.random.numbers(shape.elements()).iter().flat_map(|value| value.to_le_bytes()).collect();
        let name = format!("c{}_{}", self.tensors.len(), self.random.below(1 << 30));
        self.build.tensor(Tensor::new(name, shape, ElementType::F32).constant(bytes))
    }

    /// Scales grow with the values so that most do not saturate.
    fn element(&mut self) -> (ElementType, Option<Quantization>) {
        if !self.grids {
            return (ElementType::F32, None);
        }
        let scale = 0.02 + 0.03 * self.random.number().abs();
        match self.random.below(3) {
            0 => (ElementType::I16, Some(Quantization::per_tensor(scale / 256.0, 0))),
            _ => (ElementType::I8, Some(Quantization::per_tensor(scale, self.random.below(40) as i64 - 20))),
        }
    }

    fn apply(&mut self, op: Op, inputs: &[TensorId]) {
        let (name, (element, quantization)) = (self.name(), self.element());
        let id = self.build.apply_as(&name, op, inputs, element, quantization);
        self.tensors.push(id);
    }

    fn hw(&mut self, bound: usize) -> Hw {
        Hw::new(1 + self.random.below(bound), 1 + self.random.below(bound))
    }

    fn padding(&mut self) -> Padding {
        let mut one = || self.random.below(2);
        Padding { top: one(), bottom: one(), left: one(), right: one() }
    }

    fn activation(&mut self) -> Activation {
        [Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1To1][self.random.below(4)]
    }

    fn conv(&mut self, x: TensorId, [_, h, w, c]: [usize; 4]) {
        let (kernel, dilation, padding) = (self.hw(3), self.hw(2), self.padding());
        let (stride, activation) = (self.hw(2), self.activation());
        let fits = |kernel: usize, dilation: usize, size: usize| (kernel - 1) * dilation < size;
        if !fits(kernel.h, dilation.h, h) || !fits(kernel.w, dilation.w, w) {
            return;
        }
        let groups = if c % 2 == 0 { 1 + self.random.below(2) } else { 1 };
        let outputs = groups * (1 + self.random.below(36));
        let (weights, bias) = (self.constant(&[outputs, kernel.h, kernel.w, c / groups]), self.constant(&[outputs]));
        self.apply(Op::Conv2d(Conv2d { stride, dilation, padding, groups, activation }), &[x, weights, bias]);
    }

    fn upwards(&mut self, x: TensorId, [_, h, w, c]: [usize; 4]) {
        if self.random.below(2) == 0 {
            let grid = [Grid::Asymmetric, Grid::AlignCorners, Grid::HalfPixel][self.random.below(3)];
            let output = self.hw(9);
            return self.apply(Op::ResizeBilinear(ResizeBilinear { output, grid }), &[x]);
        }
        let (kernel, stride, dilation, crop) = (self.hw(3), self.hw(3), self.hw(2), Hw::new(self.random.below(2), 1));
        let groups = if c % 2 == 0 { 1 + self.random.below(2) } else { 1 };
        let outputs = groups * (1 + self.random.below(20));
        let (weights, bias) = (self.constant(&[outputs, kernel.h, kernel.w, c / groups]), self.constant(&[outputs]));
        let (output, activation) = (Hw::new((h - 1) * stride.h + 1, (w - 1) * stride.w + 2), self.activation());
        let op = TransposeConv2d { stride, dilation, crop, output, groups, activation };
        self.apply(Op::TransposeConv2d(op), &[x, weights, bias]);
    }

    fn depthwise(&mut self, x: TensorId, [_, h, w, c]: [usize; 4]) {
        let (kernel, dilation, padding) = (self.hw(h.min(w).min(3)), Hw::ONE, self.padding());
        let (stride, activation, multiplier) = (self.hw(2), self.activation(), 1 + self.random.below(2));
        let weights = self.constant(&[1, kernel.h, kernel.w, c * multiplier]);
        let op = DepthwiseConv2d { stride, dilation, padding, multiplier, activation };
        self.apply(Op::DepthwiseConv2d(op), &[x, weights]);
    }

    fn pool(&mut self, x: TensorId, [_, h, w, _]: [usize; 4]) {
        let window = self.hw(h.min(w).min(3));
        let keep = |padding: usize, window: usize| if window > 1 { padding } else { 0 };
        let Padding { top, bottom, left, right } = self.padding();
        let padding = Padding {
            top: keep(top, window.h),
            bottom: keep(bottom, window.h),
            left: keep(left, window.w),
            right: keep(right, window.w),
        };
        let op = Pool2d { window, stride: self.hw(2), padding, activation: self.activation() };
        let op = if self.random.below(2) == 0 { Op::MaxPool2d(op) } else { Op::AveragePool2d(op) };
        self.apply(op, &[x]);
    }

    fn movement(&mut self, x: TensorId, [n, h, w, c]: [usize; 4]) {
        let value = [PadValue::Zero, PadValue::Float(0.5)][self.random.below(2)];
        let pad = Pad { before: vec![0, 1, 0, 1], after: vec![0, 0, 2, 0], value };
        let slice = Slice {
            begin: vec![0, 0, w - 1, 0],
            stride: vec![1, 1, 1, 2],
            count: vec![n, h, 1, c.div_ceil(2)],
            dropped: vec![],
        };
        let blocks = Blocks { block: vec![1, 1], before: vec![1, 0], after: vec![0, 1] };
        let op = [
            Op::Pad(pad),
            Op::Slice(slice),
            Op::Transpose { perm: vec![0, 2, 1, 3] },
            Op::SpaceToBatch(blocks),
            Op::Reshape { shape: Shape::new([n, w, h, c]).unwrap() },
        ][self.random.below(5)]
        .clone();
        self.apply(op, &[x]);
    }

    fn two_inputs(&mut self, x: TensorId, [_, _, w, c]: [usize; 4]) {
        let activation = self.activation();
        let other = match self.random.below(4) {
            0 => self.constant(&[c]),
            1 => self.constant(&[w, 1]),
            2 => self.constant(&[]),
            _ => {
                let shape = self.build[x].shape.clone();
                let alike: Vec<TensorId> =
                    self.tensors.iter().copied().filter(|&id| self.build[id].shape == shape).collect();
                alike[self.random.below(alike.len())]
            }
        };
        let op = [
            Op::Add { activation },
            Op::Sub { activation },
            Op::Mul { activation },
            Op::Maximum,
            Op::Minimum,
            Op::Prelu,
        ];
        let op = op[self.random.below(6)].clone();
        let inputs = if op == Op::Prelu || self.random.below(2) == 0 { [x, other] } else { [other, x] };
        self.apply(op, &inputs);
    }

    fn one_input(&mut self, x: TensorId) {
        let op = [
            Op::Relu,
            Op::Relu6,
            Op::Clamp { min: -0.5, max: f32::INFINITY },
            Op::LeakyRelu { alpha: 0.25 },
            Op::HardSwish,
            Op::Logistic,
            Op::Tanh,
            Op::Softmax { beta: 1.0 },
            Op::HardSigmoid { alpha: 0.2, beta: 0.5 },
        ][self.random.below(9)]
        .clone();
        self.apply(op, &[x]);
    }

    fn step(&mut self) {
        let x = self.tensors[self.tensors.len() - 1 - self.random.below(self.tensors.len().min(3))];
        let Some(dims) = self.build[x].shape.nhwc() else { return };
        match self.random.below(10) {
            0 | 1 => self.conv(x, dims),
            2 => self.depthwise(x, dims),
            3 => self.pool(x, dims),
            4 => self.movement(x, dims),
            5 | 6 => self.two_inputs(x, dims),
            9 => self.upwards(x, dims),
            7 => self.apply(Op::Concat { axis: 3 }, &[x, x]),
            _ => self.one_input(x),
        }
    }

    fn finish(mut self) -> Graph {
        let &last = self.tensors.last().unwrap();
        let dims = self.build[last].shape.nhwc().unwrap();
        let axes = [vec![1, 2], vec![3], vec![0, 2]][self.random.below(3)].clone();
        let mean = Mean { axes, keep_dims: self.random.below(2) == 0 };
        let reduce = [Op::Mean(mean.clone()), Op::Sum(mean.clone()), Op::ReduceMax(mean)][self.random.below(3)].clone();
        self.apply(reduce, &[last]);
        let (weights, bias) = (self.constant(&[5, dims[3]]), self.constant(&[5]));
        let layer = FullyConnected { activation: Activation::None, keep_num_dims: false };
        self.apply(Op::FullyConnected(layer), &[last, weights, bias]);
        for &output in self.tensors.iter().rev().take(2) {
            self.build.output(output);
        }
        self.build.finish().unwrap()
    }
}

fn network(seed: u64, grids: bool) -> Graph {
    let mut making = Making { build: GraphBuilder::new("random"), random: Random(seed), grids, tensors: vec![] };
    let dims = [
        1 + making.random.below(2),
        3 + making.random.below(6),
        3 + making.random.below(6),
        1 + making.random.below(20),
    ];
    let (element, quantization) = making.element();
    let input = Tensor { quantization, ..Tensor::new("x", Shape::new(dims).unwrap(), element) };
    let input = making.build.input(input);
    making.tensors.push(input);
    (0..8).for_each(|_| making.step());
    making.finish()
}

/// All tensors that an engine shows, by id.
fn observed(graph: &Arc<Graph>, kernels: Kernels, watched: &[TensorId], input: &[f32]) -> Vec<(TensorId, Vec<f32>)> {
    let network = Embedded::new(kernels).prepare(Arc::clone(graph), watched).unwrap();
    let mut session = network.session();
    let mut seen = vec![];
    session.run(&[&vec![9.0; input.len()]], &mut |_, _| {}).unwrap(); // what it leaves must not matter
    session.run(&[input], &mut |id, values| seen.push((id, values.to_vec()))).unwrap();
    for (index, &id) in graph.outputs.iter().enumerate() {
        let shown = seen.iter().find(|(seen, _)| *seen == id).map(|(_, values)| values.as_slice());
        assert_eq!(session.output(index), shown);
    }
    seen
}

fn backends() -> impl Iterator<Item = Kernels> {
    Backend::ALL.into_iter().filter_map(Kernels::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every tensor within a relative error that random sums of this size do not reach.
    #[test]
    fn float_networks_equal_the_reference(seed: u64) {
        let graph = Arc::new(network(seed, false));
        let input = Random(seed ^ 1).numbers(graph[graph.inputs[0]].shape.elements());
        let values = reference::evaluate(&graph, &[Elements::Real(input.clone())], Ties::Even).unwrap();
        let all: Vec<TensorId> = graph.nodes.iter().map(|node| node.outputs[0]).collect();
        for kernels in backends() {
            for watched in [&all[..], &[]] {
                for (id, found) in observed(&graph, kernels, watched, &input) {
                    let want = values.real(&graph, id).unwrap();
                    let largest = want.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
                    let worst = want.iter().zip(&found).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max);
                    prop_assert!(worst < 2e-5, "{}: {worst} of {largest} on {:?}", graph[id].name, kernels.backend());
                }
            }
        }
    }

    /// Every tensor lies on its grid, and fusion changes nothing.
    #[test]
    fn networks_on_grids_stay_on_them(seed: u64) {
        let graph = Arc::new(network(seed, true));
        let input = Random(seed ^ 1).numbers(graph[graph.inputs[0]].shape.elements());
        let all: Vec<TensorId> = graph.nodes.iter().map(|node| node.outputs[0]).collect();
        for (id, found) in observed(&graph, Kernels::default(), &all, &input) {
            let grid = cnnip_float::Grid::of(&graph[id]).unwrap();
            let integers = grid.quantize_all(&found, Ties::Even);
            prop_assert_eq!(grid.dequantize_all(&integers), found, "{} is on its grid", graph[id].name);
        }
        let fused = observed(&graph, Kernels::default(), &[], &input);
        let watched = observed(&graph, Kernels::default(), &all, &input);
        for (id, found) in fused {
            let (_, want) = watched.iter().find(|(seen, _)| *seen == id).unwrap();
            prop_assert_eq!(&found, want, "fusion changed {}", graph[id].name);
        }
    }
}
