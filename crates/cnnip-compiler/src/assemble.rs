//! Everything → the package.

mod lowered;
mod tensors;

use cnnip_graph::{Graph, Place};
use cnnip_isa::{EngineKind, FieldRange};
use cnnip_package::{
    Budget, Engine, EngineId, HostStep, Layer, List, ListId, Package, Region, RegionId, RegionKind, Step, TokenOwner,
};

use crate::constants::Constants;
use crate::emit::{self, Emitted};
use crate::error::{CompileErrors, Problem, Rule};
use crate::memory::{MemoryMap, Role};
use crate::options::{Options, PixelRule};
use crate::schedule::{self, Item, Program};
use crate::size::{small, wide};
use crate::tilemap;
use cnnip_lowered::{Network, Work};
use tensors::TensorTable;
pub(crate) use tensors::{element, quantization};

/// What a package is made of.
pub(crate) struct Parts<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) options: &'a Options,
    pub(crate) legalized: &'a Network,
    pub(crate) memory: &'a MemoryMap,
    pub(crate) programs: &'a [Program],
    pub(crate) constants: &'a Constants,
}

/// Puts the package together and checks it.
pub(crate) fn package(parts: &Parts<'_>) -> Result<Package, CompileErrors> {
    let mut package = Package::new(parts.options.target.name);
    let table = TensorTable::of(parts.legalized, parts.memory);
    package.provenance = provenance(parts.options);
    regions(parts, &mut package);
    package.tokens = tokens(parts.programs);
    package.layers = layers(parts.legalized);
    program(parts, &table, &mut package)?;
    package.inputs = table.inputs(parts);
    package.outputs = parts.legalized.outputs.iter().filter_map(|&id| table.number(id)).collect();
    package.tile_map = Some(tilemap::tile_map(&tilemap::Parts {
        graph: parts.graph,
        network: parts.legalized,
        memory: parts.memory,
        target: parts.options.target,
        package: &package,
        tensors: &|value| table.number(value),
    })?);
    package.tensors = table.tensors;
    if parts.options.lowered {
        lowered::put(parts, &mut package);
    }
    check(&package)?;
    Ok(package)
}

fn check(package: &Package) -> Result<(), CompileErrors> {
    let problem = |found: &cnnip_package::Problem| Problem {
        place: Place::Model,
        rule: Rule::Internal { what: found.to_string() },
    };
    CompileErrors::check(package.check().iter().map(problem).collect())
}

fn provenance(options: &Options) -> Vec<(String, String)> {
    let pixels = match &options.pixels {
        PixelRule::Auto => "auto",
        PixelRule::Raw => "raw",
        PixelRule::Normalize { .. } => "normalize",
        PixelRule::None => "none",
    };
    let own = [
        ("tool", concat!("cnnip-compiler ", env!("CARGO_PKG_VERSION"))),
        ("rounding", options.rounding.name()),
        ("pixels", pixels),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    own.into_iter().chain(options.provenance.iter().cloned()).collect()
}

fn regions(parts: &Parts<'_>, package: &mut Package) {
    let constants = parts.constants.bytes();
    for role in Role::ALL {
        let bytes = if role == Role::Constant { wide(constants.len()) } else { parts.memory.bytes(role) };
        if bytes == 0 {
            continue;
        }
        if role == Role::Constant {
            package.constants.insert(RegionId(parts.memory.region(role)), constants);
        }
        let core_visible = role == Role::Constant || device_uses(parts, role);
        package.regions.push(Region { name: role.name().to_owned(), kind: kind(role), bytes, core_visible });
    }
}

const fn kind(role: Role) -> RegionKind {
    match role {
        Role::Input => RegionKind::Input,
        Role::Output => RegionKind::Output,
        Role::Scratch => RegionKind::Scratch,
        Role::Constant => RegionKind::Constant,
    }
}

/// Whether a device layer reads or writes a value in a region.
fn device_uses(parts: &Parts<'_>, role: Role) -> bool {
    let device = parts.legalized.layers.iter().filter(|layer| !layer.work.is_host());
    let mut values = device.flat_map(|layer| layer.work.reads().into_iter().chain([layer.work.writes()]));
    values.any(|value| parts.memory.place(value).is_some_and(|(of, _)| of == role))
}

fn on_core(engine: Engine) -> EngineId {
    EngineId { core: 0, engine }
}

/// The owners of the tokens that the programs use.
fn tokens(programs: &[Program]) -> Vec<TokenOwner> {
    let owner = |(token, signal, wait)| TokenOwner { token, signal: on_core(signal), wait: on_core(wait) };
    let items = || programs.iter().flat_map(Program::lists).flatten();
    let used = |owner: &TokenOwner| items().any(|item| *item == Item::Signal(owner.token));
    schedule::tokens().map(owner).filter(used).collect()
}

/// The device layers, by the number in their marks.
fn layers(legalized: &Network) -> Vec<Layer> {
    let device = legalized.layers.iter().enumerate().filter(|(_, layer)| !layer.work.is_host());
    let layer = |(index, layer): (usize, &cnnip_lowered::Layer)| Layer {
        mark: small(index),
        name: layer.name.clone(),
        sources: layer.sources.clone(),
        macs: layer.macs,
    };
    device.map(layer).collect()
}

/// Steps, lists and budget.
fn program(parts: &Parts<'_>, table: &TensorTable, package: &mut Package) -> Result<(), CompileErrors> {
    let mut programs = parts.programs.iter();
    let mut on_device = false;
    for layer in &parts.legalized.layers {
        if let Work::Host(host) = &layer.work {
            let tensors = |value| table.number(value).into_iter().collect();
            let (inputs, outputs) = (tensors(host.input), tensors(host.output));
            package.program.push(Step::Host(HostStep { operator: host.operator, inputs, outputs }));
            on_device = false;
        } else if !on_device {
            on_device = true;
            if let Some(program) = programs.next() {
                device_step(parts, program, package)?;
            }
        }
    }
    Ok(())
}

fn device_step(parts: &Parts<'_>, program: &Program, package: &mut Package) -> Result<(), CompileErrors> {
    let step = package.program.len();
    let engines = [
        (Engine::Dma0, EngineKind::Dma, &program.dma0),
        (Engine::Dma1, EngineKind::Dma, &program.dma1),
        (Engine::Cnn, EngineKind::Cnn, &program.cnn),
    ];
    let mut lists = vec![];
    for (engine, kind, items) in engines.into_iter().filter(|(_, _, items)| !items.is_empty()) {
        let Emitted { words, commands, cycles, .. } =
            emit::list(kind, items, parts.options.target).map_err(internal)?;
        lists.push(ListId(small(package.lists.len())));
        package.lists.push(List { name: format!("step{step}.{engine}"), engine: on_core(engine), words });
        // At any cycle some engine is at work, so the sum over the engines is enough.
        let Budget { commands: before, cycles: until } = package.budget;
        package.budget = Budget { commands: before + commands, cycles: until.saturating_add(cycles) };
    }
    package.program.push(Step::Device { lists });
    Ok(())
}

fn internal(range: FieldRange) -> CompileErrors {
    CompileErrors::one(Place::Model, Rule::Internal { what: range.to_string() })
}
