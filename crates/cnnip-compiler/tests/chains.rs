//! Random networks of several layers: values that stay in the scratchpad, those that do not, and the buffers between them.

mod common;

use cnnip_compiler::{Axis, Options, Sharing, compile_stages};
use cnnip_graph::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, Graph, GraphBuilder, Hw, Op, Padding, Pool2d, Quantization,
    Shape, Tensor, TensorId,
};
use cnnip_isa::Target;
use cnnip_testkit::Rng;

/// Networks; raise it by the environment variable of the same name for a long run.
fn networks() -> u64 {
    std::env::var("NETWORKS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// A network in the making, and its tensors that later layers may read.
struct Build {
    graph: GraphBuilder,
    rng: Rng,
    count: usize,
    /// Tensors with rows, columns and channels.
    maps: Vec<(TensorId, [usize; 3])>,
}

impl Build {
    fn between(&mut self, least: u32, most: u32) -> usize {
        usize::try_from(self.rng.within(least..=most)).expect("32 bits")
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("t{}", self.count)
    }

    fn quantization(&mut self) -> Quantization {
        let zero = self.rng.signed(-20..=20);
        Quantization::per_tensor(
            0.02 + f32::from(u16::try_from(self.rng.within(0..=50)).expect("small")) / 1000.0,
            zero.into(),
        )
    }

    fn weights(&mut self, dims: &[usize]) -> TensorId {
        let bytes = (0..dims.iter().product()).map(|_| self.rng.bits().to_le_bytes()[0]).collect::<Vec<u8>>();
        let (name, shape) = (self.name(), Shape::new(dims).expect("small"));
        let tensor = Tensor::new(name, shape, ElementType::I8).quantized(Quantization::per_tensor(0.003, 0));
        self.graph.tensor(tensor.constant(bytes))
    }

    fn add(&mut self, op: Op, inputs: &[TensorId], map: [usize; 3]) {
        let (name, quantization) = (self.name(), self.quantization());
        let y = self.graph.apply_as(&name, op, inputs, ElementType::I8, Some(quantization));
        self.maps.push((y, map));
    }

    /// Appends a layer that reads some of the last maps.
    fn layer(&mut self) {
        let back = self.rng.index(self.maps.len().min(4));
        let (x, [h, w, c]) = self.maps[self.maps.len() - 1 - back];
        let side = if h.min(w) >= 3 { 3 } else { 1 };
        let kernel = Hw::new(side, side);
        let stride = if h.min(w) > 8 && self.rng.chance(40) { Hw::new(2, 2) } else { Hw::ONE };
        let padding = Padding::same(Hw::new(h, w), kernel, stride);
        let small = [h.div_ceil(stride.h), w.div_ceil(stride.w)];
        let same: Vec<TensorId> = self.maps.iter().filter(|(_, map)| *map == [h, w, c]).map(|(id, _)| *id).collect();
        match self.rng.index(5) {
            0 => {
                let outputs = self.between(1, 48);
                let weights = self.weights(&[outputs, side, side, c]);
                let conv = Conv2d { stride, dilation: Hw::ONE, padding, groups: 1, activation: Activation::Relu };
                self.add(Op::Conv2d(conv), &[x, weights], [small[0], small[1], outputs]);
            }
            1 => {
                let weights = self.weights(&[1, side, side, c]);
                let activation = Activation::None;
                let op = DepthwiseConv2d { stride, dilation: Hw::ONE, padding, multiplier: 1, activation };
                self.add(Op::DepthwiseConv2d(op), &[x, weights], [small[0], small[1], c]);
            }
            2 => {
                let name = self.name();
                let pool = Pool2d { window: kernel, stride, padding, activation: Activation::None };
                let op = if self.rng.chance(50) { Op::MaxPool2d(pool) } else { Op::AveragePool2d(pool) };
                let y = self.graph.apply(&name, op, &[x]);
                self.maps.push((y, [small[0], small[1], c]));
            }
            3 => {
                let other = self.rng.pick(&same);
                self.add(Op::Add { activation: Activation::None }, &[x, other], [h, w, c]);
            }
            _ => {
                let name = self.name();
                let y = self.graph.apply(&name, Op::Concat { axis: 3 }, &[x, x]);
                self.maps.push((y, [h, w, 2 * c]));
            }
        }
    }
}

fn network(seed: u64) -> (Graph, Rng) {
    let mut build =
        Build { graph: GraphBuilder::new(format!("seed {seed}")), rng: Rng::new(seed), count: 0, maps: vec![] };
    let map = [build.between(1, 30), build.between(1, 30), build.between(1, 12)];
    let shape = Shape::new([1, map[0], map[1], map[2]]).expect("small");
    let quantization = build.quantization();
    let x = build.graph.input(Tensor::new("x", shape, ElementType::I8).quantized(quantization));
    build.maps.push((x, map));
    for _ in 0..build.between(2, 9) {
        build.layer();
    }
    let outputs: Vec<TensorId> = build.maps.iter().rev().take(2).map(|(id, _)| *id).collect();
    outputs.into_iter().for_each(|id| build.graph.output(id));
    (build.graph.finish().expect("a legal network"), build.rng)
}

#[test]
fn random_networks_are_exact_whatever_stays() {
    let targets = [4, 10, 20, 50, 120, 300].map(|kib| common::tiny(kib * 1024));
    for seed in 0..networks() {
        let (graph, mut rng) = network(seed);
        let options = Options { chain: rng.chance(90), ..Options::new(rng.pick(&targets)) };
        let inputs = common::random_inputs(&graph, &mut rng);
        common::check(&graph, &options, &inputs);
    }
}

#[test]
fn random_networks_are_exact_however_cores_share_them() {
    let targets = [10, 20, 50, 120, 300].map(|kib| common::tiny_cores(kib * 1024));
    let mut shared = 0;
    for seed in 0..networks() {
        let (graph, mut rng) = network(seed);
        let sharing = rng.pick(&[Sharing::Faster, Sharing::Always(Axis::Rows), Sharing::Always(Axis::Channels)]);
        let (target, cores) = (rng.pick(&targets), rng.within(2..=3));
        let options = Options { cores, sharing, chain: rng.chance(90), ..Options::new(target) };
        let inputs = common::random_inputs(&graph, &mut rng);
        common::check(&graph, &options, &inputs);
        shared += compile_stages(&graph, &options).expect("it has just been compiled").report(target).splits.len();
    }
    assert!(shared > 0, "at least one network is shared");
}

#[test]
fn several_cores_are_never_slower() {
    let target = Target::by_name("v3u").unwrap();
    for seed in 0..networks() {
        let (graph, _) = network(seed);
        let report = |cores| compile_stages(&graph, &Options { cores, ..Options::new(target) }).unwrap().report(target);
        let (one, three) = (report(1), report(3));
        assert!(three.cycles <= one.cycles, "seed {seed}: {one:?}, {three:?}");
    }
}

#[test]
fn values_that_stay_are_not_moved() {
    let target = Target::by_name("v4h").unwrap();
    let (mut moved, mut saved) = (0, 0);
    for seed in 0..networks() {
        let (graph, _) = network(seed);
        let report = |chain| compile_stages(&graph, &Options { chain, ..Options::new(target) }).unwrap().report(target);
        let (with, without) = (report(true), report(false));
        assert!(with.external_bytes() <= without.external_bytes(), "seed {seed}: {with:?}, {without:?}");
        moved += without.external_bytes();
        saved += without.external_bytes() - with.external_bytes();
    }
    assert!(saved * 2 > moved, "{saved} of {moved} bytes");
}
