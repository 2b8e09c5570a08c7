//! A network that 8 bits break on purpose: the verdict names the layer, and the search for 16 bits restores it.

use std::sync::Arc;

use cnnip_accurate::Simulator;
use cnnip_analysis::verdict::{Cause, DEFAULT_GOAL_DB, verdicts};
use cnnip_analysis::{TensorSet, compare, tensors};
use cnnip_compiler::compile_stages;
use cnnip_float::{Embedded, Engine, Session};
use cnnip_graph::{Activation, Conv2d, ElementType, Graph, GraphBuilder, Hw, Op, Padding, Pattern, Shape, Tensor};
use cnnip_isa::Target;
use cnnip_lowered::Network;
use cnnip_quant::mixed::{Score, candidates, fewest};
use cnnip_quant::{Calibration, Method, Options, Ranges, quantize};
use cnnip_testkit::Rng;

const CHANNELS: usize = 6;
const PIXELS: usize = 64;
/// The layer whose first channel is `WIDE` times the others, and which the layer behind does not use.
const BROKEN: usize = 2;
const WIDE: f32 = 400.0;
const GOAL_DB: f64 = 25.0;

fn uniform(rng: &mut Rng) -> f32 {
    f32::from(i16::try_from(rng.signed(-1000..=1000)).unwrap()) / 1000.0
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Four convolutions 1x1 one after the other.
fn network(seed: u64) -> Graph {
    let mut rng = Rng::new(seed);
    let mut build = GraphBuilder::new("wide");
    let float = |name: String, dims: &[usize]| Tensor::new(name, Shape::new(dims).unwrap(), ElementType::F32);
    let mut x = build.input(float("image".into(), &[1, 8, 8, CHANNELS]));
    for layer in 1..=4 {
        let mut weights: Vec<f32> = (0..CHANNELS * CHANNELS).map(|_| uniform(&mut rng)).collect();
        for (at, weight) in weights.iter_mut().enumerate() {
            if layer == BROKEN && at / CHANNELS == 0 {
                *weight *= WIDE;
            } else if layer == BROKEN + 1 && at % CHANNELS == 0 {
                *weight = 0.0;
            }
        }
        let bias = vec![0.0; CHANNELS];
        let dims = [CHANNELS, 1, 1, CHANNELS];
        let weights = build.tensor(float(format!("w{layer}"), &dims).constant(bytes(&weights)));
        let bias = build.tensor(float(format!("b{layer}"), &[CHANNELS]).constant(bytes(&bias)));
        let activation = if layer < 4 { Activation::Relu } else { Activation::None };
        let conv = Conv2d { stride: Hw::ONE, dilation: Hw::ONE, padding: Padding::NONE, groups: 1, activation };
        x = build.apply(&format!("conv{layer}"), Op::Conv2d(conv), &[x, weights, bias]);
    }
    build.output(x);
    build.finish().unwrap()
}

fn image(seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..PIXELS * CHANNELS).map(|_| uniform(&mut rng)).collect()
}

struct Float {
    graph: Arc<Graph>,
    session: Box<dyn Session>,
}

impl Float {
    fn new(graph: Graph) -> Self {
        let graph = Arc::new(graph);
        let watched = cnnip_quant::calibrate::watched(&graph);
        let session = Embedded::default().prepare(Arc::clone(&graph), &watched).unwrap().session();
        Self { graph, session }
    }

    fn ranges(&mut self) -> Ranges {
        let mut calibration = Calibration::new(Method::MinMax);
        for seed in 0..8 {
            calibration.observe_run(self.session.as_mut(), &self.graph, &[&image(seed)]).unwrap();
        }
        calibration.ranges()
    }

    fn run(&mut self, image: &[f32]) -> TensorSet {
        let mut found = vec![];
        let graph = &self.graph;
        self.session.run(&[image], &mut |id, values| found.push(tensors::of_values(graph, id, values))).unwrap();
        TensorSet { name: "float".into(), tensors: found, absent: vec!["image".into()] }
    }
}

fn lowered(graph: &Graph, ranges: &Ranges, wide: &[&str]) -> Network {
    let wide = wide.iter().map(|name| Pattern::new(name)).collect();
    let quantized = quantize(graph, ranges, &Options { wide, ..Options::default() }).unwrap();
    let options = cnnip_compiler::Options::new(Target::by_name("v4h").unwrap());
    compile_stages(&quantized, &options).unwrap().legalized
}

fn exact(network: &Network, image: &[f32]) -> TensorSet {
    let mut simulator = Simulator::new(network.clone()).unwrap();
    simulator.set_input(0, &bytes(image)).unwrap();
    tensors::of_simulator("accurate", &mut simulator).unwrap()
}

/// Signal to noise of the output over images that calibration has not seen.
fn sqnr(network: &Network, float: &mut Float) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for seed in 100..104 {
        let image = image(seed);
        let (a, b) = (float.run(&image), exact(network, &image));
        let (a, b) = (a.get("conv4").unwrap().real(None).unwrap(), b.get("conv4").unwrap().real(None).unwrap());
        signal += a.iter().map(|a| a * a).sum::<f64>();
        noise += a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    }
    10.0 * (signal / noise).log10()
}

#[test]
fn the_layer_that_is_too_wide_for_8_bits_is_named_and_lifted() {
    for seed in 0..3 {
        let graph = network(seed);
        let mut float = Float::new(graph.clone());
        let ranges = float.ranges();
        let narrow = lowered(&graph, &ranges, &[]);
        let (reference, other) = (float.run(&image(100)), exact(&narrow, &image(100)));
        let comparison = compare(&reference, &other).unwrap();
        let judged = verdicts(&comparison, None, DEFAULT_GOAL_DB);
        let first = judged.iter().find(|verdict| verdict.cause != Cause::Good).unwrap();
        assert_eq!((first.name.as_str(), first.cause), ("conv2", Cause::TooFewBits), "seed {seed}: {judged:?}");

        let candidates = candidates(&graph);
        let mut all = vec![];
        let mut score = |lifted: &[usize]| {
            let names: Vec<&str> = lifted.iter().map(|&at| candidates[at].tensors[0].as_str()).collect();
            let sqnr_db = sqnr(&lowered(&graph, &ranges, &names), &mut float);
            Ok::<_, ()>(Score { sqnr_db, reached: sqnr_db >= GOAL_DB })
        };
        for set in 0..1_usize << candidates.len() {
            let lifted: Vec<usize> = (0..candidates.len()).filter(|at| set >> at & 1 == 1).collect();
            if score(&lifted).unwrap().reached {
                all.push(lifted.len());
            }
        }
        let found = fewest(candidates.len(), 0, &mut score).unwrap();
        assert!(found.before.sqnr_db < GOAL_DB && found.after.sqnr_db >= GOAL_DB, "seed {seed}: {found:?}");
        assert_eq!(Some(found.lifted.len()), all.into_iter().min(), "seed {seed}: {found:?}");
        let names: Vec<&str> = found.lifted.iter().map(|&at| candidates[at].tensors[0].as_str()).collect();
        assert_eq!(names, ["conv2"], "seed {seed}: {found:?}");
    }
}

#[test]
fn a_range_that_is_too_wide_or_too_narrow_is_told_from_too_few_bits() {
    for seed in 0..3 {
        let graph = network(seed);
        let mut float = Float::new(graph.clone());
        for (factor, cause) in [(16.0, Cause::TooWide), (1.0 / 16.0, Cause::TooNarrow)] {
            let mut ranges = float.ranges();
            let range = ranges.get("conv1").unwrap();
            ranges.set("conv1", cnnip_quant::Range { min: range.min * factor, max: range.max * factor });
            let (reference, other) = (float.run(&image(100)), exact(&lowered(&graph, &ranges, &[]), &image(100)));
            let judged = verdicts(&compare(&reference, &other).unwrap(), None, DEFAULT_GOAL_DB);
            let first = judged.iter().find(|verdict| verdict.cause != Cause::Good).unwrap();
            assert_eq!((first.name.as_str(), first.cause), ("conv1", cause), "seed {seed}: {first:?}");
        }
    }
}
