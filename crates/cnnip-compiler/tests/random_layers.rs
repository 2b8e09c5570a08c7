//! Random single layers on targets with little scratchpad: whatever the cut, every element is what the slow evaluator gives.

mod common;

use cnnip_compiler::{Options, Rounding};
use cnnip_graph::{
    Activation, Blocks, Conv2d, DepthwiseConv2d, ElementType, FullyConnected, Gather, Graph, GraphBuilder, Hw, Lstm,
    Mean, Op, Pad, PadValue, Padding, Pool2d, Quantization, Shape, Slice, Take, Tensor, TensorId,
};
use cnnip_isa::Target;
use cnnip_testkit::Rng;

/// Layers of each kind and type; raise it by the environment variable of the same name for a long run.
fn layers() -> u64 {
    std::env::var("LAYERS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Builds layers with random quantization.
struct Build {
    /// Type of activations.
    element: ElementType,
    graph: GraphBuilder,
    rng: Rng,
    tensors: usize,
    /// The layer stands between others, so that what it reads and writes may stay in the scratchpad.
    inner: bool,
}

impl Build {
    fn new(element: ElementType, seed: u64) -> Self {
        let graph = GraphBuilder::new(format!("seed {seed}"));
        Self { element, graph, rng: Rng::new(seed), tensors: 0, inner: seed.is_multiple_of(2) }
    }

    /// A number from 1 to `most`, small ones more often.
    fn size(&mut self, most: u32) -> usize {
        let limit = if self.rng.chance(50) { most } else { self.rng.within(1..=most) };
        self.between(1, limit)
    }

    fn between(&mut self, least: u32, most: u32) -> usize {
        usize::try_from(self.rng.within(least..=most)).expect("32 bits")
    }

    fn name(&mut self, what: &str) -> String {
        self.tensors += 1;
        format!("{what}{}", self.tensors)
    }

    fn scale(&mut self) -> f32 {
        f32::from(u16::try_from(self.rng.within(1..=999)).expect("small")) / 2000.0
    }

    fn quantization(&mut self) -> Quantization {
        let zero = match self.element {
            ElementType::I16 => 0,
            ElementType::U8 => self.rng.signed(0..=255),
            _ => self.rng.signed(-128..=127),
        };
        Quantization::per_tensor(self.scale(), zero.into())
    }

    fn activation(&mut self) -> Activation {
        self.rng.pick(&[Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1To1])
    }

    fn input(&mut self, dims: &[usize]) -> TensorId {
        let (name, quantization) = (self.name("x"), self.quantization());
        let shape = Shape::new(dims).expect("small");
        let x = self.graph.input(Tensor::new(name, shape, self.element).quantized(quantization));
        if self.inner { self.passed_on(x) } else { x }
    }

    /// The tensor in another quantization.
    fn passed_on(&mut self, x: TensorId) -> TensorId {
        let (name, quantization) = (self.name("passed"), self.quantization());
        self.graph.apply_as(&name, Op::Quantize, &[x], self.element, Some(quantization))
    }

    fn output(&mut self, y: TensorId) {
        let y = if self.inner { self.passed_on(y) } else { y };
        self.graph.output(y);
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.rng.bits().to_le_bytes()[0]).collect()
    }

    fn weights(&mut self, dims: &[usize], axis: usize) -> TensorId {
        let uint8 = self.element == ElementType::U8;
        let element = if uint8 { ElementType::U8 } else { ElementType::I8 };
        let quantization = if uint8 {
            Quantization::per_tensor(self.scale(), self.rng.signed(0..=255).into())
        } else if self.element == ElementType::I16 {
            Quantization::per_tensor(self.scale() / 16.0, 0) // the largest multiplier of sums of 64 bits is 128
        } else if self.rng.chance(50) {
            Quantization::per_tensor(self.scale(), 0)
        } else {
            let scales: Vec<f32> = (0..dims[axis]).map(|_| self.scale()).collect();
            Quantization::symmetric_per_channel(axis, scales)
        };
        let bytes = self.bytes(dims.iter().product());
        let (name, shape) = (self.name("w"), Shape::new(dims).expect("small"));
        self.graph.tensor(Tensor::new(name, shape, element).quantized(quantization).constant(bytes))
    }

    fn bias(&mut self, channels: usize) -> TensorId {
        let values: Vec<i32> = (0..channels).map(|_| self.rng.signed(-70_000..=70_000)).collect();
        let (name, shape) = (self.name("b"), Shape::new([channels]).expect("small"));
        let (element, bytes): (_, Vec<u8>) = if self.element == ElementType::I16 {
            (ElementType::I64, values.iter().flat_map(|&value| (i64::from(value) << 8).to_le_bytes()).collect())
        } else {
            (ElementType::I32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        };
        self.graph.tensor(Tensor::new(name, shape, element).constant(bytes))
    }

    /// Input, weights and perhaps a bias.
    fn operands(&mut self, x: TensorId, weights: TensorId, outputs: usize) -> Vec<TensorId> {
        let mut operands = vec![x, weights];
        if self.rng.chance(80) {
            operands.push(self.bias(outputs));
        }
        operands
    }

    /// Appends the node with a random output quantization.
    fn requantized(&mut self, op: Op, inputs: &[TensorId]) {
        let (name, quantization) = (self.name("y"), self.quantization());
        let y = self.graph.apply_as(&name, op, inputs, self.element, Some(quantization));
        self.output(y);
    }

    /// Appends the node with the input's quantization.
    fn kept(&mut self, op: Op, inputs: &[TensorId]) {
        let name = self.name("y");
        let y = self.graph.apply(&name, op, inputs);
        self.output(y);
    }

    fn padding(&mut self, most: usize) -> Padding {
        let most = u32::try_from(most).expect("small");
        let [top, bottom, left, right] = std::array::from_fn(|_| self.between(0, most));
        if self.rng.chance(30) { Padding::NONE } else { Padding { top, bottom, left, right } }
    }

    fn stride(&mut self) -> Hw {
        let most = if self.rng.chance(80) { 3 } else { 6 };
        Hw::new(self.size(most), self.size(most))
    }

    fn dilation(&mut self) -> Hw {
        let most = if self.rng.chance(50) { 1 } else { 6 };
        Hw::new(self.size(most), self.size(most))
    }
}

/// Maps large enough for a window with its dilation.
fn map(build: &mut Build, window: Hw) -> (usize, usize) {
    (window.h - 1 + build.size(20), window.w - 1 + build.size(24))
}

fn reach(kernel: Hw, dilation: Hw) -> Hw {
    Hw::new((kernel.h - 1) * dilation.h + 1, (kernel.w - 1) * dilation.w + 1)
}

fn conv(build: &mut Build) {
    let most = if build.rng.chance(70) { 5 } else { 9 };
    let (kernel, dilation, stride) = (Hw::new(build.size(most), build.size(most)), build.dilation(), build.stride());
    let padding = build.padding(4);
    let (h, w) = map(build, reach(kernel, dilation));
    let groups = if build.rng.chance(70) { 1 } else { build.size(6) };
    let (depth, outputs, batch) = (build.size(40), build.size(40), build.size(2));
    let (depth, outputs) = if groups > 1 { (depth.div_ceil(4), outputs.div_ceil(4)) } else { (depth, outputs) };
    let x = build.input(&[batch, h, w, depth * groups]);
    let weights = build.weights(&[outputs * groups, kernel.h, kernel.w, depth], 0);
    let operands = build.operands(x, weights, outputs * groups);
    let activation = build.activation();
    build.requantized(Op::Conv2d(Conv2d { stride, dilation, padding, groups, activation }), &operands);
}

/// A padding in front of convolutions, some of which can do it themselves.
fn padded(build: &mut Build) {
    let kernel = Hw::new(build.size(5), build.size(5));
    let (h, w) = map(build, kernel);
    let (depth, outputs) = (build.size(20), build.size(20));
    let x = build.input(&[1, h, w, depth]);
    let border = build.padding(3);
    let channels = if build.rng.chance(80) { 0 } else { 1 };
    let before = vec![0, border.top, border.left, channels];
    let after = vec![0, border.bottom, border.right, 0];
    let pad = build.graph.apply("pad", Op::Pad(Pad { before, after, value: PadValue::Zero }), &[x]);
    for _ in 0..build.between(1, 2) {
        let weights = build.weights(&[outputs, kernel.h, kernel.w, depth + channels], 0);
        let operands = build.operands(pad, weights, outputs);
        let (stride, padding, activation) = (build.stride(), build.padding(1), build.activation());
        let conv = Conv2d { stride, dilation: Hw::ONE, padding, groups: 1, activation };
        build.requantized(Op::Conv2d(conv), &operands);
    }
}

fn depthwise(build: &mut Build) {
    let most = if build.rng.chance(70) { 5 } else { 9 };
    let (kernel, dilation, stride) = (Hw::new(build.size(most), build.size(most)), build.dilation(), build.stride());
    let padding = build.padding(4);
    let (h, w) = map(build, reach(kernel, dilation));
    let (channels, multiplier, batch) = (build.size(40), build.size(3), build.size(2));
    let x = build.input(&[batch, h, w, channels]);
    let weights = build.weights(&[1, kernel.h, kernel.w, channels * multiplier], 3);
    let operands = build.operands(x, weights, channels * multiplier);
    let activation = build.activation();
    let op = DepthwiseConv2d { stride, dilation, padding, multiplier, activation };
    build.requantized(Op::DepthwiseConv2d(op), &operands);
}

fn fully_connected(build: &mut Build) {
    let (batch, depth, outputs) = (build.size(5), build.size(900), build.size(300));
    let x = build.input(&[batch, depth]);
    let weights = build.weights(&[outputs, depth], 0);
    let operands = build.operands(x, weights, outputs);
    let activation = build.activation();
    build.requantized(Op::FullyConnected(FullyConnected { activation, keep_num_dims: false }), &operands);
}

fn pool(build: &mut Build) {
    let most = if build.rng.chance(60) { 3 } else { 12 };
    let window = Hw::new(build.size(most), build.size(most));
    let stride = build.stride();
    let wide = build.rng.chance(10);
    let (h, w) = if wide { (build.size(200), build.size(200)) } else { map(build, window) };
    let window = if wide { Hw::new(h, w) } else { window };
    let (top, left) = (build.between(0, 11) % window.h, build.between(0, 11) % window.w);
    let (bottom, right) = (build.between(0, 11) % window.h, build.between(0, 11) % window.w);
    let padding = Padding { top, bottom, left, right };
    let (batch, channels) = (build.size(2), build.size(40));
    let x = build.input(&[batch, h, w, channels]);
    let pool = Pool2d { window, stride, padding, activation: build.activation() };
    let op = if build.rng.chance(50) { Op::MaxPool2d(pool) } else { Op::AveragePool2d(pool) };
    build.kept(op, &[x]);
}

fn mean(build: &mut Build) {
    let rank = build.between(1, 4);
    let most = if rank < 3 { 300 } else { 20 };
    let dims: Vec<usize> = (0..rank).map(|_| build.size(most)).collect();
    let mut axes: Vec<usize> = (0..rank).filter(|_| build.rng.chance(50)).collect();
    if axes.is_empty() {
        axes.push(build.rng.index(rank));
    }
    let x = build.input(&dims);
    let keep_dims = build.rng.chance(50);
    let over = Mean { axes, keep_dims };
    match build.rng.index(4) {
        0 => build.requantized(Op::Sum(over), &[x]),
        1 => build.kept(Op::ReduceMax(over), &[x]),
        2 => build.kept(Op::ReduceMin(over), &[x]),
        _ => build.requantized(Op::Mean(over), &[x]),
    }
}

fn binary(build: &mut Build) {
    let rank = build.between(1, 5);
    let dims: Vec<usize> = (0..rank).map(|_| build.size(if rank > 3 { 9 } else { 25 })).collect();
    let operand = |build: &mut Build| {
        let skip = if build.rng.chance(20) { build.rng.index(rank) } else { 0 };
        let own: Vec<usize> = dims.iter().map(|&dim| if build.rng.chance(25) { 1 } else { dim }).skip(skip).collect();
        build.input(&own)
    };
    let (a, b) = (operand(build), operand(build));
    let activation = build.activation();
    match build.rng.index(4) {
        3 => build.requantized(Op::SquaredDifference, &[a, b]),
        0 => build.requantized(Op::Add { activation }, &[a, b]),
        1 => build.requantized(Op::Sub { activation }, &[a, b]),
        _ => build.requantized(Op::Mul { activation }, &[a, b]),
    }
}

/// Inputs of one quantization: a tensor and what a clamp leaves of it along some axes.
fn extremum(build: &mut Build) {
    let rank = build.between(1, 4);
    let dims: Vec<usize> = (0..rank).map(|_| build.size(16)).collect();
    let x = build.input(&dims);
    let clamped = build.graph.apply("clamped", Op::Relu6, &[x]);
    let op = if build.rng.chance(50) { Op::Maximum } else { Op::Minimum };
    build.kept(op, &[x, clamped]);
}

fn prelu(build: &mut Build) {
    let dims = [build.size(2), build.size(12), build.size(12), build.size(20)];
    let mut own = dims[1..].to_vec();
    own[0] = if build.rng.chance(80) { 1 } else { own[0] };
    own[1] = if build.rng.chance(80) { 1 } else { own[1] };
    let (x, alpha) = (build.input(&dims), build.input(&own));
    // tflite-micro has no PRELU of 16 bit.
    let op = if build.element == ElementType::I16 { Op::Mul { activation: Activation::None } } else { Op::Prelu };
    build.requantized(op, &[x, alpha]);
}

fn unary(build: &mut Build) {
    let rank = build.between(1, 4);
    let dims: Vec<usize> = (0..rank).map(|_| build.size(if rank > 2 { 16 } else { 200 })).collect();
    let x = build.input(&dims);
    match build.rng.index(6) {
        0 => build.requantized(Op::Relu, &[x]),
        4 => build.requantized(Op::LeakyRelu { alpha: 0.3 }, &[x]),
        5 if build.element != ElementType::I16 => {
            let name = build.name("y");
            let quantization = Quantization::per_tensor(1.0, 7);
            let y = build.graph.apply_as(&name, Op::HardSwish, &[x], build.element, Some(quantization));
            build.output(y);
        }
        1 => build.requantized(Op::Quantize, &[x]),
        2 => build.kept(Op::Relu6, &[x]),
        _ => build.kept(Op::ReluN1To1, &[x]),
    }
}

/// Functions that the oracles have no integer kernel of.
fn function(build: &mut Build) {
    let dims = [build.size(2), build.size(30), build.size(40)];
    let x = build.input(&dims);
    let op = match build.rng.index(8) {
        4 => return build.requantized(Op::Abs, &[x]),
        5 => return build.kept(Op::Neg, &[x]),
        6 if build.element != ElementType::I16 => Op::Exp,
        7 if build.element != ElementType::I16 => {
            if build.rng.index(2) == 0 {
                Op::Log
            } else {
                Op::Elu
            }
        }
        0 if build.element != ElementType::I16 => Op::HardSigmoid { alpha: 0.2, beta: 0.5 },
        1 if build.element != ElementType::I16 => Op::Sqrt,
        2 => Op::Clamp { min: -0.3, max: 2.5 },
        _ => Op::Clamp { min: 0.0, max: f32::INFINITY },
    };
    build.requantized(op, &[x]);
}

fn movement(build: &mut Build) {
    let rank = build.between(1, 5);
    let dims: Vec<usize> = (0..rank).map(|_| build.size(if rank > 3 { 8 } else { 20 })).collect();
    let x = build.input(&dims);
    match build.rng.index(3) {
        0 => {
            let before = (0..rank).map(|_| build.between(0, 3)).collect();
            let after = (0..rank).map(|_| build.between(0, 3)).collect();
            build.requantized(Op::Pad(Pad { before, after, value: PadValue::Zero }), &[x]);
        }
        1 => {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.sort_by_key(|_| build.rng.bits());
            build.kept(Op::Transpose { perm }, &[x]);
        }
        _ => {
            let shape = Shape::new([dims.iter().product::<usize>()]).expect("small");
            build.kept(Op::Reshape { shape }, &[x]);
        }
    }
}

/// Parts of a tensor, joined again along the same axis.
fn joined(build: &mut Build) {
    let rank = build.between(1, 4);
    let dims: Vec<usize> = (0..rank).map(|_| build.size(16)).collect();
    let x = build.input(&dims);
    let axis = build.rng.index(rank);
    let parts: Vec<TensorId> = (0..build.between(1, 4)).map(|_| part(build, x, &dims, axis)).collect();
    build.kept(Op::Concat { axis }, &parts);
    let axis = build.rng.index(rank + 1);
    build.kept(Op::Pack { axis }, &[x, x, x]);
}

/// A random part along one axis.
fn part(build: &mut Build, x: TensorId, dims: &[usize], axis: usize) -> TensorId {
    let rank = dims.len();
    let (begin, stride) = (build.rng.index(dims[axis]), build.size(3));
    let most = u32::try_from((dims[axis] - begin).div_ceil(stride)).expect("small");
    let mut slice = Slice { begin: vec![0; rank], stride: vec![1; rank], count: dims.to_vec(), dropped: vec![] };
    (slice.begin[axis], slice.stride[axis], slice.count[axis]) = (begin, stride, build.between(1, most));
    let name = build.name("part");
    build.graph.apply(&name, Op::Slice(slice), &[x])
}

fn gather(build: &mut Build) {
    let dims: Vec<usize> = (0..build.between(1, 4)).map(|_| build.size(16)).collect();
    let axis = build.rng.index(dims.len());
    let indices: Vec<usize> = (0..build.between(1, 9)).map(|_| build.rng.index(dims[axis])).collect();
    let shape = Shape::new([indices.len()]).expect("small");
    let x = build.input(&dims);
    build.kept(Op::Gather(Gather { axis, indices, shape }), &[x]);
}

/// A gather along every axis, backwards along some, in another shape.
fn taken(build: &mut Build) {
    let dims: Vec<usize> = (0..build.between(1, 4)).map(|_| build.size(12)).collect();
    let along = |build: &mut Build, dim: usize| -> Vec<usize> {
        let step = build.size(3);
        let forward = (0..dim).step_by(step);
        if build.rng.chance(50) { forward.rev().collect() } else { forward.collect() }
    };
    let indices: Vec<Vec<usize>> = dims.iter().map(|&dim| along(build, dim)).collect();
    let elements = indices.iter().map(Vec::len).product();
    let shape = build.rng.chance(50).then(|| Shape::new([1, elements, 1]).expect("small"));
    let x = build.input(&dims);
    build.kept(Op::Take(Take { indices, shape }), &[x]);
}

/// A recurrent layer. The slow evaluator has no half tables: what is held is that all that can be rebuilt is what was computed.
fn recurrent(build: &mut Build) {
    if build.element == ElementType::U8 {
        return pool(build); // no oracle has it
    }
    let (batch, time, depth, units) = (build.size(3), build.size(5), build.size(40), build.size(40));
    let time_major = build.rng.chance(50);
    let x = build.input(&if time_major { [time, batch, depth] } else { [batch, time, depth] });
    let mut operands = vec![x];
    for inner in [depth, units] {
        operands.extend((0..4).map(|_| build.weights(&[units, inner], 0)));
    }
    operands.extend((0..4).map(|_| build.bias(units)));
    let cell_scale = Some(build.rng.pick(&[1.0 / 512.0, 1.0 / 2048.0, 1.0 / 32768.0]));
    let cell_clip = build.rng.pick(&[0.0, 0.25, 3.0]);
    build.requantized(Op::Lstm(Lstm { time_major, cell_scale, cell_clip }), &operands);
}

fn blocks(build: &mut Build) {
    let (block, [n, h, w, c]) = (build.between(1, 3), std::array::from_fn(|_| build.size(9)));
    if build.rng.chance(50) {
        let x = build.input(&[n, h, w, c * block * block]);
        build.kept(Op::DepthToSpace { block }, &[x]);
        let x = build.input(&[n, h * block, w * block, c]);
        build.kept(Op::SpaceToDepth { block }, &[x]);
        return;
    }
    let block = vec![block, build.between(1, 3)];
    let before = vec![build.between(0, 1), build.between(0, 1)];
    let sizes = [h, w].into_iter().zip(&block).zip(&before);
    let after = sizes.map(|((size, block), at)| (size + at).next_multiple_of(*block) - size - at);
    let op = Blocks { after: after.collect(), before, block };
    let x = build.input(&[n, h, w, c]);
    let name = build.name("batches");
    let batches = build.graph.apply(&name, Op::SpaceToBatch(op.clone()), &[x]);
    build.kept(Op::BatchToSpace(op), &[batches]);
}

fn run(kind: fn(&mut Build), first_seed: u64) {
    let small: Vec<&'static Target> = [3, 4, 6, 16].map(|kib| common::tiny(kib * 1024)).to_vec();
    let larger: Vec<&'static Target> = [8, 16, 40, 100].map(|kib| common::tiny(kib * 1024)).to_vec();
    for (element, first_seed) in [
        (ElementType::I8, first_seed),
        (ElementType::I16, first_seed + 300_000),
        (ElementType::U8, first_seed + 600_000),
    ] {
        for seed in first_seed..first_seed + layers() {
            let mut build = Build::new(element, seed);
            kind(&mut build);
            let Build { graph, mut rng, inner, .. } = build;
            let targets = if inner { &larger } else { &small };
            one(&graph.finish().expect("a legal layer"), targets, &mut rng);
        }
    }
}

fn one(graph: &Graph, targets: &[&'static Target], rng: &mut Rng) {
    let rounding = rng.pick(&[Rounding::Double, Rounding::Double, Rounding::Single, Rounding::Float]);
    let options = Options { rounding, ..Options::new(rng.pick(targets)) };
    let inputs = common::random_inputs(graph, rng);
    common::check(graph, &options, &inputs);
}

#[test]
fn convolutions() {
    run(conv, 1_000_000);
}

#[test]
fn padded_convolutions() {
    run(padded, 9_000_000);
}

#[test]
fn depthwise_convolutions() {
    run(depthwise, 2_000_000);
}

#[test]
fn fully_connected_layers() {
    run(fully_connected, 3_000_000);
}

#[test]
fn pools() {
    run(pool, 4_000_000);
}

#[test]
fn means() {
    run(mean, 5_000_000);
}

#[test]
fn functions_of_two_values() {
    run(binary, 6_000_000);
}

#[test]
fn larger_and_smaller() {
    run(extremum, 10_000_000);
}

#[test]
fn parametric_relu() {
    run(prelu, 11_000_000);
}

#[test]
fn functions_of_one_value() {
    run(unary, 7_000_000);
}

#[test]
fn functions_without_an_integer_kernel() {
    run(function, 7_500_000);
}

#[test]
fn parts_and_joins() {
    run(joined, 12_000_000);
}

#[test]
fn elements_at_indices() {
    run(gather, 13_000_000);
}

#[test]
fn gathers_along_every_axis() {
    run(taken, 15_000_000);
}

#[test]
fn recurrent_layers() {
    run(recurrent, 16_000_000);
}

#[test]
fn blocks_of_positions() {
    run(blocks, 14_000_000);
}

#[test]
fn data_movement() {
    run(movement, 8_000_000);
}
