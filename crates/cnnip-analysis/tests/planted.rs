//! Faults planted in a network, its lowered layers or its command lists: every time the right layer is named.

use cnnip_accurate::Simulator;
use cnnip_analysis::bisect::{Parting, bisect};
use cnnip_analysis::local::local;
use cnnip_analysis::{TensorSet, compare, tensors};
use cnnip_compiler::{Options, Stages, compile_stages};
use cnnip_driver::{Checks, Device, Recording, RunOptions};
use cnnip_graph::{
    Activation, Conv2d, Data, DepthwiseConv2d, ElementType, FullyConnected, Graph, GraphBuilder, Hw, Op, Padding,
    Pool2d, Quantization, Shape, Tensor, TensorId,
};
use cnnip_isa::{CnnRegister, Command, EngineKind, RoundingMode, Target, decode_at, encode};
use cnnip_lowered::{Eltwise, Network, PoolFunction, Table, Work};
use cnnip_package::{Engine, Package, TraceSource};
use cnnip_testkit::Rng;

/// Times that a fault is planted elsewhere if it does not change any bit.
const TRIES: u64 = 20;

/// Names of the layers' tensors, in the order of execution.
const LAYERS: [&str; 7] = ["conv1", "depthwise2", "pool3", "conv4", "sum5", "scores6", "sigmoid7"];

/// Layers whose result's scale is not free: that of what they read or what reads them, or the only one of the function.
const FIXED: [&str; 3] = ["pool3", "depthwise2", "sigmoid7"];

struct Build {
    graph: GraphBuilder,
    rng: Rng,
}

impl Build {
    fn quantization(&mut self, zero: i32) -> Quantization {
        Quantization::per_tensor(0.02 + 0.01 * f32::from(u8::try_from(self.rng.within(0..=9)).unwrap()), zero.into())
    }

    fn constant(&mut self, name: &str, dims: &[usize], element: ElementType) -> TensorId {
        let count: usize = dims.iter().product();
        let bytes: Vec<u8> = match element {
            ElementType::I8 => (0..count).map(|_| byte(self.rng.signed(-60..=60))).collect(),
            _ => (0..count).flat_map(|_| self.rng.signed(-2000..=2000).to_le_bytes()).collect(),
        };
        let tensor = Tensor::new(name, Shape::new(dims).unwrap(), element).constant(bytes);
        let quantized = element == ElementType::I8;
        self.graph.tensor(if quantized { tensor.quantized(Quantization::per_tensor(0.01, 0)) } else { tensor })
    }

    fn layer(&mut self, name: &str, op: Op, x: TensorId, weights: &[usize], outputs: usize) -> TensorId {
        let w = self.constant(&format!("{name}/w"), weights, ElementType::I8);
        let b = self.constant(&format!("{name}/b"), &[outputs], ElementType::I32);
        let zero = self.rng.signed(-20..=20);
        let quantization = self.quantization(zero);
        self.graph.apply_as(name, op, &[x, w, b], ElementType::I8, Some(quantization))
    }
}

fn byte(value: i32) -> u8 {
    i8::try_from(value).unwrap().cast_unsigned()
}

/// Seven layers of six kinds, with a branch.
fn network(seed: u64) -> Graph {
    let mut build = Build { graph: GraphBuilder::new("planted"), rng: Rng::new(seed) };
    let quantization = build.quantization(3);
    let image = Tensor::new("image", Shape::new([1, 12, 12, 5]).unwrap(), ElementType::I8).quantized(quantization);
    let image = build.graph.input(image);
    let (stride, dilation, activation) = (Hw::ONE, Hw::ONE, Activation::None);
    let padding = Padding { top: 1, bottom: 1, left: 1, right: 1 };
    let conv = Conv2d { stride, dilation, padding, groups: 1, activation };
    let conv1 = build.layer("conv1", Op::Conv2d(conv.clone()), image, &[8, 3, 3, 5], 8);
    let depthwise = DepthwiseConv2d { stride, dilation, padding, multiplier: 1, activation };
    let depthwise2 = build.layer("depthwise2", Op::DepthwiseConv2d(depthwise), conv1, &[1, 3, 3, 8], 8);
    let pool = Pool2d { window: Hw::new(2, 2), stride: Hw::new(2, 2), padding: Padding::NONE, activation };
    let pool3 = build.graph.apply("pool3", Op::AveragePool2d(pool), &[depthwise2]);
    let conv4 = build.layer("conv4", Op::Conv2d(conv), pool3, &[8, 3, 3, 8], 8);
    let quantization = build.quantization(-5);
    let sum5 =
        build.graph.apply_as("sum5", Op::Add { activation }, &[pool3, conv4], ElementType::I8, Some(quantization));
    let scores = Op::FullyConnected(FullyConnected { activation, keep_num_dims: false });
    let scores6 = build.layer("scores6", scores, sum5, &[10, 288], 10);
    let unit = Quantization::per_tensor(1.0 / 256.0, -128);
    let sigmoid7 = build.graph.apply_as("sigmoid7", Op::Logistic, &[scores6], ElementType::I8, Some(unit));
    build.graph.output(sigmoid7);
    build.graph.finish().unwrap()
}

fn target() -> &'static Target {
    Target::by_name("v3m").unwrap()
}

fn compiled(graph: &Graph) -> Stages {
    compile_stages(graph, &Options::new(target())).unwrap()
}

fn image(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed ^ 0x5eed);
    (0..12 * 12 * 5).map(|_| rng.bits().to_le_bytes()[0]).collect()
}

fn simulated(network: &Network, image: &[u8]) -> TensorSet {
    let mut simulator = Simulator::new(network.clone()).unwrap();
    simulator.set_input(0, image).unwrap();
    tensors::of_simulator("accurate", &mut simulator).unwrap()
}

/// The device's tensors; `None` if the lists fault.
fn executed(package: &Package, image: &[u8]) -> Option<(TensorSet, Recording)> {
    let mut session = Device::open("v3m").unwrap().load(package.clone()).unwrap();
    session.set_options(RunOptions { checks: Checks::NONE, ..RunOptions::default() });
    session.bind(0, image).unwrap();
    session.record(&Recording::names(package)).unwrap();
    let outputs = session.submit().unwrap().wait().ok()?;
    let recording = outputs.recording().unwrap().clone();
    Some((tensors::of_recording("iss", &recording), recording))
}

/// Plants one fault in a layer; `None` where that is not possible.
type Plant<T> = fn(&mut T, &str, &mut Rng) -> Option<()>;

fn constant<'g>(graph: &'g mut Graph, name: &str) -> Option<&'g mut Tensor> {
    graph.tensors.iter_mut().find(|tensor| tensor.name == name)
}

fn weight_byte(graph: &mut Graph, layer: &str, rng: &mut Rng) -> Option<()> {
    let tensor = constant(graph, &format!("{layer}/w"))?;
    let mut bytes = tensor.data.as_ref()?.bytes().to_vec();
    let at = rng.index(bytes.len());
    bytes[at] ^= 0x40;
    tensor.data = Some(Data::from(bytes));
    Some(())
}

fn bias(graph: &mut Graph, layer: &str, rng: &mut Rng) -> Option<()> {
    let tensor = constant(graph, &format!("{layer}/b"))?;
    let mut bytes = tensor.data.as_ref()?.bytes().to_vec();
    let at = rng.index(bytes.len() / 4) * 4 + 1;
    bytes[at] ^= 0x10;
    tensor.data = Some(Data::from(bytes));
    Some(())
}

fn scale(graph: &mut Graph, layer: &str, _: &mut Rng) -> Option<()> {
    let tensor = constant(graph, layer).filter(|_| !FIXED.contains(&layer))?;
    let Some(Quantization::PerTensor { scale, .. }) = &mut tensor.quantization else { return None };
    *scale *= 1.5;
    Some(())
}

fn zero_point(graph: &mut Graph, layer: &str, _: &mut Rng) -> Option<()> {
    let tensor = constant(graph, layer).filter(|_| !FIXED.contains(&layer))?;
    let Some(Quantization::PerTensor { zero_point, .. }) = &mut tensor.quantization else { return None };
    *zero_point += 1;
    Some(())
}

fn padding(graph: &mut Graph, layer: &str, _: &mut Rng) -> Option<()> {
    let id = graph.tensors.iter().position(|tensor| tensor.name == layer)?;
    let node = graph.nodes.iter_mut().find(|node| node.outputs[0].index() == id)?;
    let padding = match &mut node.op {
        Op::Conv2d(conv) => &mut conv.padding,
        Op::DepthwiseConv2d(conv) => &mut conv.padding,
        _ => return None,
    };
    (padding.top, padding.bottom) = (padding.top - 1, padding.bottom + 1);
    Some(())
}

fn clamp(graph: &mut Graph, layer: &str, _: &mut Rng) -> Option<()> {
    let id = graph.tensors.iter().position(|tensor| tensor.name == layer)?;
    let node = graph.nodes.iter_mut().find(|node| node.outputs[0].index() == id)?;
    *match &mut node.op {
        Op::Conv2d(conv) => &mut conv.activation,
        Op::DepthwiseConv2d(conv) => &mut conv.activation,
        Op::AveragePool2d(pool) => &mut pool.activation,
        Op::Add { activation } => activation,
        Op::FullyConnected(layer) => &mut layer.activation,
        _ => return None,
    } = Activation::Relu;
    Some(())
}

fn work<'n>(network: &'n mut Network, layer: &str) -> Option<&'n mut Work> {
    network.layers.iter_mut().find(|found| found.name == layer).map(|found| &mut found.work)
}

fn multiplier(network: &mut Network, layer: &str, rng: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Conv(conv) => {
            let at = rng.index(conv.records.len());
            conv.records[at].multiplier ^= 1 << 28;
        }
        Work::Eltwise(eltwise) if eltwise.table.is_none() => eltwise.stage.multiplier ^= 1 << 28,
        _ => return None,
    }
    Some(())
}

fn shift(network: &mut Network, layer: &str, rng: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Conv(conv) => {
            let at = rng.index(conv.records.len());
            conv.records[at].shift -= 1;
        }
        Work::Eltwise(eltwise) if eltwise.table.is_none() => eltwise.stage.shift -= 1,
        _ => return None,
    }
    Some(())
}

fn input_zero(network: &mut Network, layer: &str, _: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Conv(conv) => conv.input_zero += 1,
        Work::Eltwise(eltwise) if eltwise.table.is_none() => eltwise.inputs[0].zero += 1,
        _ => return None,
    }
    Some(())
}

fn sweep(network: &mut Network, layer: &str, _: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Conv(conv) if conv.horizontal.before > 0 => conv.horizontal.before -= 1,
        _ => return None,
    }
    Some(())
}

/// Exchanges the weights of the first two output channels.
fn swapped_channels(graph: &mut Graph, layer: &str, _: &mut Rng) -> Option<()> {
    let tensor = constant(graph, &format!("{layer}/w"))?;
    let mut bytes = tensor.data.as_ref()?.bytes().to_vec();
    if layer == "depthwise2" {
        bytes.chunks_exact_mut(8).for_each(|taps| taps.swap(0, 1));
    } else {
        let each = bytes.len() / tensor.shape.dims()[0];
        let (first, rest) = bytes.split_at_mut(each);
        first.swap_with_slice(&mut rest[..each]);
    }
    tensor.data = Some(Data::from(bytes));
    Some(())
}

/// Turns the taps of every row around.
fn mirrored(graph: &mut Graph, layer: &str, _: &mut Rng) -> Option<()> {
    let tensor = constant(graph, &format!("{layer}/w")).filter(|tensor| tensor.shape.dims().len() == 4)?;
    let (columns, depth) = (tensor.shape.dims()[2], tensor.shape.dims()[3]);
    let rows = tensor.data.as_ref()?.bytes().chunks_exact(columns * depth);
    let bytes: Vec<u8> = rows.flat_map(|row| row.chunks_exact(depth).rev().flatten().copied()).collect();
    tensor.data = Some(Data::from(bytes));
    Some(())
}

/// Biases and scales belong to the channel before.
fn records(network: &mut Network, layer: &str, _: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Conv(conv) => conv.records.rotate_left(1),
        _ => return None,
    }
    Some(())
}

fn rounding(network: &mut Network, layer: &str, _: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Conv(conv) => conv.requant = RoundingMode::Single,
        _ => return None,
    }
    Some(())
}

fn output_zero(network: &mut Network, layer: &str, _: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Conv(conv) => conv.activation.zero += 1,
        Work::Eltwise(eltwise) if eltwise.table.is_none() => eltwise.activation.zero += 1,
        _ => return None,
    }
    Some(())
}

fn upper_clamp(network: &mut Network, layer: &str, _: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Conv(conv) => conv.activation.max -= 64,
        Work::Eltwise(eltwise) if eltwise.table.is_none() => eltwise.activation.max -= 64,
        Work::Pool(pool) => pool.clamp.1 -= 64,
        _ => return None,
    }
    Some(())
}

/// The sum's inputs have each other's scale.
fn swapped_scales(network: &mut Network, layer: &str, _: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Eltwise(eltwise) if eltwise.inputs.len() == 2 => {
            let (first, rest) = eltwise.inputs.split_at_mut(1);
            std::mem::swap(&mut first[0].stage, &mut rest[0].stage);
        }
        _ => return None,
    }
    Some(())
}

fn maximum(network: &mut Network, layer: &str, _: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Pool(pool) => (pool.function, pool.zero) = (PoolFunction::Max, 0),
        _ => return None,
    }
    Some(())
}

/// The entry of one integer is another.
fn table_entry(network: &mut Network, layer: &str, rng: &mut Rng) -> Option<()> {
    match work(network, layer)? {
        Work::Eltwise(Eltwise { table: Some(Table::Bytes(entries)), .. }) => entries[rng.index(256)] ^= 0x10,
        _ => return None,
    }
    Some(())
}

/// A command that completes part of the layer's tensor does nothing.
fn stale_tile(package: &mut Package, layer: &str, rng: &mut Rng) -> Option<()> {
    let map = package.tile_map.as_ref()?;
    let id = map.named(layer)?;
    let tiles: Vec<_> = map.tiles.iter().filter(|tile| tile.tensor == id).collect();
    assert_eq!(map.tensor(id)?.source, TraceSource::Tiles);
    let tile = tiles[rng.index(tiles.len())];
    let (list, pc) = (usize::try_from(tile.list.0).ok()?, usize::try_from(tile.pc).ok()?);
    let mut nop = vec![];
    encode(&Command::Nop, &mut nop).ok()?;
    package.lists[list].words[pc] = nop[0];
    Some(())
}

/// Adds one to a register that the layer's part of the cnn list sets.
fn register(package: &mut Package, layer: &str, register: CnnRegister) -> Option<()> {
    let mark = package.layers.iter().find(|found| found.name == layer)?.mark;
    let list = package.lists.iter_mut().find(|list| list.engine.engine == Engine::Cnn)?;
    let (mut pc, mut inside) = (0, false);
    while pc < list.words.len() {
        let (command, length) = decode_at(&list.words, pc, EngineKind::Cnn).ok()?;
        match command {
            Command::Mark { layer } => inside = layer == mark,
            Command::Set { first, values } if inside => {
                let at = usize::from(register.index()).checked_sub(usize::from(first)).filter(|&at| at < values.len());
                if let Some(at) = at {
                    list.words[pc + 1 + at] = list.words[pc + 1 + at].wrapping_add(1);
                    return Some(());
                }
            }
            _ => {}
        }
        pc += length;
    }
    None
}

fn out_zero(package: &mut Package, layer: &str, _: &mut Rng) -> Option<()> {
    register(package, layer, CnnRegister::OutZero)
}

fn pad_value(package: &mut Package, layer: &str, _: &mut Rng) -> Option<()> {
    register(package, layer, CnnRegister::PadValue)
}

fn out_min(package: &mut Package, layer: &str, _: &mut Rng) -> Option<()> {
    register(package, layer, CnnRegister::OutMin)
}

fn in_zero(package: &mut Package, layer: &str, _: &mut Rng) -> Option<()> {
    register(package, layer, CnnRegister::InZero)
}

fn in_address(package: &mut Package, layer: &str, _: &mut Rng) -> Option<()> {
    register(package, layer, CnnRegister::InAddr)
}

/// A kind of fault, and where it is planted.
enum Fault {
    Graph(Plant<Graph>),
    Network(Plant<Network>),
    Package(Plant<Package>),
}

const FAULTS: [(&str, Fault); 25] = [
    ("weight byte", Fault::Graph(weight_byte)),
    ("bias", Fault::Graph(bias)),
    ("scale", Fault::Graph(scale)),
    ("zero point", Fault::Graph(zero_point)),
    ("padding a row off", Fault::Graph(padding)),
    ("activation", Fault::Graph(clamp)),
    ("weights of two channels swapped", Fault::Graph(swapped_channels)),
    ("taps mirrored", Fault::Graph(mirrored)),
    ("multiplier", Fault::Network(multiplier)),
    ("shift off by one", Fault::Network(shift)),
    ("input zero point", Fault::Network(input_zero)),
    ("window a column off", Fault::Network(sweep)),
    ("biases and scales a channel off", Fault::Network(records)),
    ("rounding once, not twice", Fault::Network(rounding)),
    ("output zero point", Fault::Network(output_zero)),
    ("upper clamp", Fault::Network(upper_clamp)),
    ("scales of a sum's inputs swapped", Fault::Network(swapped_scales)),
    ("maximum instead of average", Fault::Network(maximum)),
    ("table entry", Fault::Network(table_entry)),
    ("stale tile", Fault::Package(stale_tile)),
    ("OUT_ZERO register", Fault::Package(out_zero)),
    ("PAD_VALUE register", Fault::Package(pad_value)),
    ("OUT_MIN register", Fault::Package(out_min)),
    ("IN_ZERO register", Fault::Package(in_zero)),
    ("IN_ADDR register", Fault::Package(in_address)),
];

/// Plants a fault and bisects; `None` if it cannot be planted there or changes no bit.
fn planted(fault: &Fault, layer: &str, seed: u64) -> Option<Parting> {
    let mut rng = Rng::new(seed);
    let (mut graph, image) = (network(seed), image(seed));
    let good = compiled(&graph);
    let reference = simulated(&good.legalized, &image);
    let (set, recording) = match fault {
        Fault::Graph(plant) => {
            plant(&mut graph, layer, &mut rng)?;
            executed(&compiled(&graph).package, &image)?
        }
        Fault::Package(plant) => {
            let mut package = good.package.clone();
            plant(&mut package, layer, &mut rng)?;
            executed(&package, &image)?
        }
        Fault::Network(plant) => {
            let mut network = good.legalized.clone();
            plant(&mut network, layer, &mut rng)?;
            let (device, recording) = executed(&good.package, &image)?;
            return bisect(&simulated(&network, &image), &device, Some(&recording)).unwrap();
        }
    };
    bisect(&reference, &set, Some(&recording)).unwrap()
}

#[test]
fn without_a_fault_every_tensor_is_equal() {
    for seed in 0..10 {
        let good = compiled(&network(seed));
        let (set, recording) = executed(&good.package, &image(seed)).expect("runs");
        assert_eq!(bisect(&simulated(&good.legalized, &image(seed)), &set, Some(&recording)), Ok(None));
        let names: Vec<&str> = set.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let found: Vec<&str> = names.into_iter().filter(|name| LAYERS.contains(name)).collect();
        assert_eq!(found, LAYERS, "in the order of execution");
    }
}

/// Plants a kind of fault in every layer; gives those that can have it.
fn found(kind: &str, fault: &Fault) -> Vec<&'static str> {
    let mut layers = vec![];
    for layer in LAYERS {
        let parting = (0..TRIES).find_map(|seed| planted(fault, layer, seed).map(|parting| (seed, parting)));
        let Some((seed, parting)) = parting else { continue };
        assert_eq!(parting.measure.name, layer, "{kind}, seed {seed}");
        let writer = parting.writer.expect("the device wrote it");
        assert_eq!(writer.layer.as_deref(), Some(layer), "{kind}, seed {seed}: {writer:?}");
        let command = if writer.ran { "run" } else { "nop" };
        assert!(writer.command.text.starts_with(command), "{kind}: {writer:?}");
        layers.push(layer);
    }
    layers
}

/// The faults found, as a table in Markdown.
fn table() -> String {
    let mut lines = vec!["| fault | planted in | found in | layers |".to_owned(), "|---|---|---|---|".to_owned()];
    let mut total = 0;
    for (kind, fault) in &FAULTS {
        let place = match fault {
            Fault::Graph(_) => "model",
            Fault::Network(_) => "lowered network",
            Fault::Package(_) => "command list",
        };
        let layers = found(kind, fault);
        assert!(!layers.is_empty(), "{kind} changes nothing anywhere");
        total += layers.len();
        lines.push(format!("| {kind} | {place} | {} | {} |", layers.len(), layers.join(", ")));
    }
    lines.push(format!("| {} kinds | | {total} | |", FAULTS.len()));
    lines.join("\n")
}

/// The table of docs/analysis.md; `SNAPSHOTS=overwrite` writes it anew.
#[test]
fn every_planted_fault_is_found_in_its_layer() {
    let (begin, end) = ("<!-- planted -->\n\n", "\n\n<!-- end of planted -->");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/analysis.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(begin).unwrap();
    let (stored, after) = rest.split_once(end).unwrap();
    let table = table();
    if std::env::var_os("SNAPSHOTS").is_some_and(|how| how == "overwrite") {
        std::fs::write(path, [before, begin, &table, end, after].concat()).unwrap();
        return;
    }
    assert_eq!(stored, table, "docs/analysis.md");
}

/// The network with another scale of a layer's output.
fn scaled(graph: &Graph, layer: &str, factor: f32) -> Graph {
    let mut graph = graph.clone();
    let tensor = constant(&mut graph, layer).unwrap();
    let Some(Quantization::PerTensor { scale, .. }) = &mut tensor.quantization else { unreachable!() };
    *scale *= factor;
    graph
}

/// The output range of one layer does not fit its values.
fn misfit(layer: &str, factor: f32, seed: u64) -> (String, f64) {
    let image = image(seed);
    let graph = network(seed);
    let reference = simulated(&compiled(&graph).legalized, &image);
    let bad = scaled(&graph, layer, factor);
    let bad = compiled(&bad).legalized;
    let alone = local(&bad, &reference).unwrap();
    // The layers behind it take its grid for their input, so they differ too; those elsewhere do not.
    let first_alone = alone.measures.iter().find(|measure| measure.sqnr_db.is_some_and(f64::is_finite)).unwrap();
    let other = simulated(&bad, &image);
    let whole = compare(&reference, &other).unwrap();
    let first = whole.first_difference().unwrap().name.clone();
    assert_eq!(first, layer, "seed {seed}: in the order of execution it is the first");
    (first_alone.name.clone(), first_alone.sqnr_db.unwrap())
}

#[test]
fn the_layer_with_a_wrong_range_is_the_first_that_errs_by_itself() {
    for layer in ["conv1", "conv4", "scores6"] {
        for seed in 0..3 {
            for factor in [16.0, 1.0 / 16.0] {
                let (found, noise) = misfit(layer, factor, seed);
                assert_eq!(found.as_str(), layer, "seed {seed}, {noise} dB");
                assert!(noise < 30.0, "seed {seed}: {noise} dB");
            }
        }
    }
}
