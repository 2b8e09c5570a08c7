//! Random networks of several layers: values that stay in the scratchpad, those that do not, and the buffers between them.

mod common;

use std::num::NonZeroU32;

use cnnip_compiler::{Axis, Change, Choices, Options, Price, Sharing, Stages, Tuner, compile_networks, compile_stages};
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

/// Random choices, most of them legal.
fn choices(graph: &Graph, rng: &mut Rng) -> Choices {
    let mut some = |limit: usize| rng.index(limit);
    let parts = [1, 2, 3, 5].map(|parts| NonZeroU32::new(parts).expect("above 0"));
    let mut choices = Choices::new();
    for layer in 0..graph.nodes.len() {
        choices = choices.with(Change::Plan { layer, plan: some(40) });
        choices = choices.with(Change::Parts { layer, parts: parts[some(parts.len())] });
    }
    (0..3).fold(choices, |choices, _| choices.with(Change::Moves { value: some(graph.tensors.len()) }))
}

#[test]
fn random_networks_are_exact_whatever_is_chosen() {
    let target = common::tiny_cores(60 * 1024);
    for seed in 0..networks() {
        let (graph, mut rng) = network(seed);
        let choices = choices(&graph, &mut rng).in_way(rng.index(4));
        let options = Options { choices, cores: rng.within(1..=3), ..Options::new(target) };
        if compile_stages(&graph, &options).is_ok() {
            let inputs = common::random_inputs(&graph, &mut rng);
            common::check(&graph, &options, &inputs);
        }
    }
}

fn price(stages: &Stages, options: &Options) -> Price {
    let report = stages.report(options.target);
    Price { cycles: report.cycles, external_bytes: report.external_bytes() }
}

/// Tries some choices; gives the price before, that after, and the choices.
fn tuned(mut tuner: Tuner, trials: usize) -> (Price, Price, Choices) {
    let before = tuner.price();
    for _ in 0..trials {
        let trial = tuner.propose();
        let last = tuner.price();
        let price = tuner.measure(&trial);
        let is_best = tuner.learn(&trial, price);
        assert_eq!(is_best, tuner.price() < last, "the best so far never gets worse");
    }
    (before, tuner.price(), tuner.choices().clone())
}

#[test]
fn tuning_never_makes_worse_and_goes_the_same_way_again() {
    let targets = [10, 20, 40].map(|kib| common::tiny_cores(kib * 1024));
    let mut better = 0;
    for seed in 0..networks().min(16) {
        let (graph, mut rng) = network(seed);
        let sharing = rng.pick(&[Sharing::Faster, Sharing::Faster, Sharing::Always(Axis::Rows)]);
        let (target, cores) = (rng.pick(&targets), rng.within(1..=3));
        let options = Options { cores, sharing, chain: rng.chance(80), ..Options::new(target) };
        let search = || tuned(Tuner::new(&graph, &options, seed).expect("a legal network"), 30);
        let (before, after, choices) = search();
        assert_eq!(search(), (before, after, choices.clone()), "seed {seed}");
        let stages =
            |choices| compile_stages(&graph, &Options { choices, ..options.clone() }).expect("it was measured");
        let by_itself = price(&stages(Choices::new()), &options);
        assert_eq!(by_itself, before, "seed {seed}: the search begins with what the compiler does by itself");
        assert_eq!(price(&stages(choices.clone()), &options), after, "seed {seed}: the price is that of the lists");
        assert!(after <= before, "seed {seed}");
        let inputs = common::random_inputs(&graph, &mut rng);
        common::check(&graph, &Options { choices, ..options.clone() }, &inputs);
        better += u32::from(after < before);
    }
    assert!(better > 0, "at least one of 16 becomes faster");
}

#[test]
fn what_is_measured_elsewhere_is_learned_alike() {
    let target = common::tiny_cores(40 * 1024);
    let (graph, _) = network(3);
    let options = Options { cores: 2, ..Options::new(target) };
    let new = || Tuner::new(&graph, &options, 5).expect("a legal network");
    let (mut one, mut other) = (new(), new());
    for _ in 0..20 {
        let trial = one.propose();
        assert_eq!(other.propose(), trial);
        let price = one.measure(&trial);
        let read = trial.to_string().parse().expect("a trial");
        assert_eq!(other.learn(&read, price), one.learn(&trial, price));
    }
    assert_eq!((one.price(), one.choices()), (other.price(), other.choices()));
}

#[test]
fn networks_side_by_side_are_tuned_together() {
    let target = common::tiny_cores(60 * 1024);
    for seed in 0..6 {
        let networks = [0, 1].map(|more| (format!("n{more}"), network(2 * seed + more).0));
        let options = Options::new(target);
        let (before, after, choices) = tuned(Tuner::of_networks(&networks, &options, seed).expect("legal"), 15);
        let stages =
            |choices| compile_networks(&networks, &Options { choices, ..options.clone() }).expect("it was measured");
        assert_eq!(price(&stages(Choices::new()), &options), before, "seed {seed}");
        assert_eq!(price(&stages(choices), &options), after, "seed {seed}");
        assert!(after <= before, "seed {seed}");
    }
}

#[test]
fn a_profile_adds_up() {
    let target = common::tiny_cores(60 * 1024);
    for seed in 0..networks() {
        let (graph, mut rng) = network(seed);
        let sharing = rng.pick(&[Sharing::Faster, Sharing::Always(Axis::Rows), Sharing::Always(Axis::Channels)]);
        let options = Options { cores: rng.within(1..=3), sharing, ..Options::new(target) };
        let profile = compile_stages(&graph, &options).expect("a legal network").profile(target);
        for (core, report) in (0..=u8::MAX).zip(&profile.total.cores) {
            let layers = || profile.layers.iter().filter(|layer| layer.core == core);
            assert_eq!(layers().map(|layer| layer.elapsed).sum::<u64>(), report.cycles, "seed {seed}, core {core}");
            assert!(layers().all(|layer| layer.start <= layer.end && layer.end <= profile.total.cycles), "seed {seed}");
        }
        let macs: u64 = profile.layers.iter().map(|layer| layer.macs).sum();
        // What several cores make is there for each of them.
        assert!(macs >= profile.total.macs, "seed {seed}: {macs} of {}", profile.total.macs);
        let inside = |part: &cnnip_compiler::Occupied| part.address + part.bytes <= u64::from(target.sram_bytes);
        assert!(profile.scratchpad.iter().all(inside), "seed {seed}");
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
