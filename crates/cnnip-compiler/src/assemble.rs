//! Everything → the package.

mod lowered;
mod tensors;

use std::collections::HashSet;

use cnnip_graph::{Graph, Place};
use cnnip_isa::FieldRange;
use cnnip_package::{
    Budget, EngineId, HostStep, Layer, List, ListId, Package, Region, RegionId, RegionKind, Step, TokenOwner,
};

use crate::constants::Constants;
use crate::division::Division;
use crate::emit::{self, Course, Emitted};
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
    /// The whole network.
    pub(crate) legalized: &'a Network,
    pub(crate) division: &'a Division,
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
    package.tokens = tokens(parts);
    package.layers = layers(parts.legalized);
    program(parts, &table, &mut package)?;
    package.inputs = table.inputs(parts);
    package.outputs = parts.legalized.outputs.iter().filter_map(|&id| table.number(id)).collect();
    package.tile_map = Some(tilemap::tile_map(&tilemap::Parts {
        graph: parts.graph,
        network: parts.legalized,
        division: parts.division,
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
    let device = parts.division.network.layers.iter().filter(|layer| !layer.work.is_host());
    let mut values = device.flat_map(|layer| layer.work.reads().into_iter().chain([layer.work.writes()]));
    values.any(|value| parts.memory.place(value).is_some_and(|(of, _)| of == role))
}

/// The owners of the tokens that the programs use.
fn tokens(parts: &Parts<'_>) -> Vec<TokenOwner> {
    let lists = parts.programs.iter().flat_map(Program::lists);
    let signals = lists.flat_map(|(engine, items)| {
        items.iter().filter_map(move |item| match item {
            Item::Signal(token) => Some((*token, engine)),
            _ => None,
        })
    });
    let used: HashSet<(u8, EngineId)> = signals.collect();
    let owners = schedule::owners(parts.division.cores());
    let owners = owners.filter(|(token, signal, _)| used.contains(&(*token, *signal)));
    owners.map(|(token, signal, wait)| TokenOwner { token, signal, wait }).collect()
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
            let tensors = |value| -> Vec<_> { table.number(value).into_iter().collect() };
            let (inputs, outputs) = (host.inputs.iter().flat_map(|&id| tensors(id)).collect(), tensors(host.output));
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
    let mut lists = vec![];
    for (engine, items) in program.lists().filter(|(_, items)| !items.is_empty()) {
        let Emitted { words, course: Course { commands, cycles, .. } } =
            emit::list(emit::kind(engine.engine), items, parts.options.target).map_err(internal)?;
        lists.push(ListId(small(package.lists.len())));
        let name = match parts.division.cores() {
            1 => format!("step{step}.{}", engine.engine),
            _ => format!("step{step}.{engine}"),
        };
        package.lists.push(List { name, engine, words });
        // At any cycle some engine is at work, so the sum over the engines of all cores is enough.
        let Budget { commands: before, cycles: until } = package.budget;
        package.budget = Budget { commands: before + commands, cycles: until.saturating_add(cycles) };
    }
    package.program.push(Step::Device { lists });
    Ok(())
}

fn internal(range: FieldRange) -> CompileErrors {
    CompileErrors::one(Place::Model, Rule::Internal { what: range.to_string() })
}
