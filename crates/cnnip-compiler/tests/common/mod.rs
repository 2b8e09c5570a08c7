//! Compiling a graph, running the package's device steps on the core, and comparing every tensor with the slow evaluator.

mod accurate;

use std::collections::BTreeMap;
use std::sync::Arc;

use cnnip_compiler::{Item, Options, Program as CompiledProgram, Rounding, Stages, compile_stages};
use cnnip_core::{
    EngineId, Machine, Observer, Options as RunOptions, Program, Region, RegionKind, Slot, State, Stop, TokenOwner,
};
use cnnip_graph::{ElementType, Graph, TensorId};
use cnnip_isa::operation::Operation;
use cnnip_isa::{EngineKind, RegisterFile, Target};
use cnnip_package::{
    Engine, ListId, Memory, Package, RegionKind as PackageKind, Step, Tensor, Tile, TileMap, TraceSource, TracedId,
};
use cnnip_testkit::Rng;
use cnnip_testkit::reference::{Profile, evaluate};

/// A target with little scratchpad, so that small layers are cut in every way.
#[allow(dead_code, reason = "not every test file needs a target of its own")]
pub(crate) fn tiny(sram_bytes: u32) -> &'static Target {
    let v3m = Target::by_name("v3m").expect("v3m is a target");
    Box::leak(Box::new(Target { sram_bytes, ..v3m.clone() }))
}

/// As [`tiny`], with three cores.
#[allow(dead_code, reason = "not every test file has several cores")]
pub(crate) fn tiny_cores(sram_bytes: u32) -> &'static Target {
    Box::leak(Box::new(Target { cores: 3, ..tiny(sram_bytes).clone() }))
}

/// Random bytes for every input of the graph.
#[allow(dead_code, reason = "not every test file has random inputs")]
pub(crate) fn random_inputs(graph: &Graph, rng: &mut Rng) -> Vec<Vec<i8>> {
    let bytes = |count: usize| (0..count).map(|_| rng_byte(rng)).collect::<Vec<i8>>();
    let size = |tensor: &cnnip_graph::Tensor| tensor.shape.elements() * tensor.element.size();
    let counts: Vec<usize> = graph.inputs.iter().map(|&id| size(&graph[id])).collect();
    counts.into_iter().map(bytes).collect()
}

fn rng_byte(rng: &mut Rng) -> i8 {
    i8::try_from(rng.signed(-128..=127)).expect("in range")
}

/// Compiles and runs a graph, and compares all tensors that survive a job with the slow evaluator.
///
/// # Panics
/// If anything is not as it must be.
#[allow(dead_code, reason = "not every test file asks the evaluator")]
pub(crate) fn check(graph: &Graph, options: &Options, inputs: &[Vec<i8>]) {
    let profile = match options.rounding {
        Rounding::Double => Profile::Double,
        Rounding::Single => Profile::Single,
        Rounding::Float | Rounding::Onnx => Profile::Float,
    };
    check_against(graph, options, inputs, evaluate(graph, inputs, profile));
}

/// Compiles and runs a graph twice, once keeping every tensor and once only what must be kept, and compares all tensors
/// that survive a job with what is expected, by tensor of the graph.
///
/// # Panics
/// If anything is not as it must be.
pub(crate) fn check_against(graph: &Graph, options: &Options, inputs: &[Vec<i8>], mut expected: Vec<Option<Vec<i8>>>) {
    let computed = graph.nodes.iter().flat_map(|node| &node.outputs);
    let keep: Vec<String> = computed.map(|&id| graph[id].name.clone()).collect();
    let outputs: Vec<String> = graph.outputs.iter().map(|&id| graph[id].name.clone()).collect();
    relabel(graph, &mut expected);
    for kept in [keep.clone(), vec![]] {
        let options = Options { keep: kept.clone(), ..options.clone() };
        let stages = compile_stages(graph, &options).unwrap_or_else(|errors| panic!("{errors}\n{graph}"));
        stages.programs.iter().for_each(|program| check_operations(program, options.target));
        accurate::check(graph, &stages, inputs, &expected);
        let (regions, traces) = run(&stages, options.target, inputs);
        check_traces(graph, &stages, &traces, &expected);
        for (tensor, values) in graph.tensors.iter().zip(&expected) {
            let place = stages.package.tensors.iter().find(|known| known.name == tensor.name);
            let survives = kept.contains(&tensor.name) || outputs.contains(&tensor.name);
            if let (Some(values), Some(place), true) = (values, place, survives) {
                compare(graph, &stages, &read(place, &regions), values, &tensor.name);
            }
        }
    }
}

/// uint8 tensors between layers are int8 values: their bytes exclusive-or 0x80.
fn relabel(graph: &Graph, expected: &mut [Option<Vec<i8>>]) {
    for node in &graph.nodes {
        let between = |id: &&TensorId| graph[**id].element == ElementType::U8 && !graph.outputs.contains(id);
        for id in node.outputs.iter().filter(between) {
            expected[id.index()].iter_mut().flatten().for_each(|byte| *byte ^= i8::MIN);
        }
    }
}

/// Every tensor that commands write is completely rebuilt from its tiles, and is what the evaluator says; and every tensor of
/// the graph is traced.
fn check_traces(graph: &Graph, stages: &Stages, traces: &Traces<'_>, expected: &[Option<Vec<i8>>]) {
    let map = traces.map;
    for (index, traced) in map.tensors.iter().enumerate() {
        let id = TracedId(u32::try_from(index).expect("small"));
        let root = map.root(id);
        if map.tensor(root).expect("the root exists").source != TraceSource::Tiles {
            continue;
        }
        let found: Option<Vec<i8>> = traces.elements.get(&root).and_then(|found| found.iter().copied().collect());
        let Some(found) = found else { panic!("not all of `{}` is in tiles\n{graph}", traced.name) };
        let named = graph.tensors.iter().position(|tensor| tensor.name == traced.name);
        if let Some(values) = named.and_then(|at| expected[at].as_ref()) {
            compare(graph, stages, &found, values, &traced.name);
        }
    }
    let missing = graph.nodes.iter().flat_map(|node| &node.outputs).find(|&&id| map.named(&graph[id].name).is_none());
    assert_eq!(missing, None, "every tensor is traced, or said to be fused away\n{graph}");
}

/// Rebuilds the bytes of tensors, an element at a time, when commands end.
struct Traces<'a> {
    map: &'a TileMap,
    /// The list of each engine.
    lists: BTreeMap<EngineId, ListId>,
    elements: BTreeMap<TracedId, Vec<Option<i8>>>,
}

impl Traces<'_> {
    fn take(&mut self, tile: &Tile, memory: &[u8]) {
        let traced = self.map.tensor(tile.tensor).expect("the tensor exists");
        let (shape, width) = (&traced.shape, usize::try_from(traced.element.bytes()).expect("small"));
        let count: u32 = shape.iter().product();
        let count = usize::try_from(count).expect("small");
        let elements = self.elements.entry(tile.tensor).or_insert_with(|| vec![None; count * width]);
        let boxed: u32 = tile.size.iter().product();
        for number in 0..boxed {
            let (mut rest, mut element, mut extent, mut address) = (number, 0, 1, tile.address);
            for d in (0..shape.len()).rev() {
                let i = rest % tile.size[d];
                rest /= tile.size[d];
                element += (tile.start[d] + i * tile.step[d]) * extent;
                extent *= shape[d];
                address += u64::from(i) * tile.strides[d];
            }
            let (address, element) =
                (usize::try_from(address).expect("small"), usize::try_from(element).expect("small"));
            for byte in 0..width {
                elements[element * width + byte] = Some(memory[address + byte].cast_signed());
            }
        }
    }
}

impl Observer for Traces<'_> {
    fn retired(&mut self, engine: EngineId, pc: usize, _operation: &Operation, state: &State) {
        let (map, list) = (self.map, self.lists[&engine]);
        let here = |tile: &&Tile| tile.list == list && usize::try_from(tile.pc) == Ok(pc);
        for tile in map.tiles.iter().filter(here) {
            let memory = match tile.memory {
                Memory::Sram => state.sram(engine.core),
                Memory::Dram(region) => state.region(region.0),
            };
            self.take(tile, memory.expect("the memory exists"));
        }
    }
}

/// Every operation is what the machine reads back from the registers.
fn check_operations(program: &CompiledProgram, target: &Target) {
    for (engine, item) in program.lists().flat_map(|(engine, items)| items.iter().map(move |item| (engine, item))) {
        let Item::Run(operation) = item else { continue };
        let kind = if engine.engine == Engine::Cnn { EngineKind::Cnn } else { EngineKind::Dma };
        let mut registers = RegisterFile::new(kind);
        operation.store(&mut registers);
        assert_eq!(Operation::read(operation.code(), &registers, target).as_ref(), Ok(operation));
        assert_eq!(operation.check_overlap(), Ok(()), "{operation:?}");
    }
}

fn compare(graph: &Graph, stages: &Stages, found: &[i8], want: &[i8], name: &str) {
    if let Some(at) = (0..want.len()).find(|&at| found[at] != want[at]) {
        let wrong = (0..want.len()).filter(|&at| found[at] != want[at]).count();
        panic!(
            "`{name}`: {wrong} of {} elements differ, the first at {at}: {} instead of {}\n{graph}\n{}\n{}",
            want.len(),
            found[at],
            want[at],
            stages.legalized,
            stages.jobs.iter().map(|jobs| jobs.plan.clone() + "\n").collect::<String>()
        );
    }
}

fn read(tensor: &Tensor, regions: &[Vec<u8>]) -> Vec<i8> {
    let start = usize::try_from(tensor.place.offset).expect("small");
    let bytes = usize::try_from(tensor.bytes().expect("small")).expect("small");
    regions[usize::from(tensor.place.region.0)][start..start + bytes].iter().map(|byte| byte.cast_signed()).collect()
}

/// Runs the device steps before the first host step; gives all regions' bytes, and the tensors as they were made.
fn run<'s>(stages: &'s Stages, target: &'static Target, inputs: &[Vec<i8>]) -> (Vec<Vec<u8>>, Traces<'s>) {
    let package = &stages.package;
    let map = package.tile_map.as_ref().expect("every package has a tile map");
    let mut traces = Traces { map, lists: BTreeMap::new(), elements: BTreeMap::new() };
    let mut regions: Vec<Vec<u8>> =
        package.regions.iter().map(|region| vec![0; usize::try_from(region.bytes).expect("small")]).collect();
    for (id, bytes) in package.constants.iter() {
        regions[usize::from(id.0)].copy_from_slice(bytes);
    }
    for (input, values) in package.inputs.iter().zip(inputs) {
        let place = package.tensor(input.tensor).expect("the input exists").place;
        let start = usize::try_from(place.offset).expect("small");
        let bytes: Vec<u8> = values.iter().map(|value| value.cast_unsigned()).collect();
        regions[usize::from(place.region.0)][start..start + bytes.len()].copy_from_slice(&bytes);
    }
    let device = package.program.iter().map_while(|step| match step {
        Step::Device { lists } => Some(lists),
        Step::Host(_) => None,
    });
    let mut cycles = 0;
    for lists in device {
        regions = run_lists(package, (lists, &mut cycles), target, regions, &mut traces);
    }
    if !package.program.iter().any(|step| matches!(step, Step::Host(_))) {
        assert_eq!(stages.report(target).cycles, cycles, "the reported cycles are those of a run");
    }
    (regions, traces)
}

/// Runs the lists of a step; adds its cycles.
fn run_lists(
    package: &Package,
    (lists, cycles): (&[ListId], &mut u64),
    target: &'static Target,
    regions: Vec<Vec<u8>>,
    traces: &mut Traces<'_>,
) -> Vec<Vec<u8>> {
    let slot = |engine: Engine| match engine {
        Engine::Dma0 => Slot::Dma0,
        Engine::Dma1 => Slot::Dma1,
        Engine::Cnn => Slot::Cnn,
    };
    let id = |engine: cnnip_package::EngineId| EngineId { core: engine.core, slot: slot(engine.engine) };
    let engine = |list: ListId| package.list(list).expect("the list exists").engine;
    traces.lists = lists.iter().map(|&list| (id(engine(list)), list)).collect();
    let lists = lists.iter().map(|&list| {
        let list = package.list(list).expect("the list exists");
        (id(list.engine), Arc::from(list.words.as_slice()))
    });
    let owners = package.tokens.iter().map(|owner| TokenOwner {
        token: owner.token,
        signals: id(owner.signal),
        waits: id(owner.wait),
    });
    let program = Program::new(target, lists, owners).expect("the program fits the target");
    let bound = package.regions.iter().zip(&regions).map(|(region, bytes)| bind(region.kind, bytes.clone()));
    let options = RunOptions {
        max_commands: package.budget.commands,
        max_cycles: package.budget.cycles,
        ..RunOptions::default()
    };
    let mut machine = Machine::new(target, program, bound.collect(), options);
    let stop = machine.run(traces);
    assert_eq!(stop, Stop::Done, "{stop:#?}");
    assert_eq!(machine.state().commands(), package.budget.commands, "the budget of commands is exact");
    *cycles += machine.state().cycle();
    machine.into_regions().into_iter().zip(regions).map(|(after, before)| after.unwrap_or(before)).collect()
}

fn bind(kind: PackageKind, bytes: Vec<u8>) -> Region {
    let buffer = |kind| Region::Buffer { kind, bytes: bytes.clone() };
    match kind {
        PackageKind::Constant => Region::Constant(Arc::new(bytes)),
        PackageKind::Input => buffer(RegionKind::Input),
        PackageKind::Output => buffer(RegionKind::Output),
        PackageKind::Scratch => buffer(RegionKind::Scratch),
    }
}
