//! From a quantized graph to a package of command lists.
//!
//! The compiler is a chain of passes with a type between each two; every type prints itself as text
//! ([`Stages`] keeps them all).
//!
//! | pass | from → to | decides |
//! |---|---|---|
//! | `legalize` | [`cnnip_graph::Graph`] → [`Network`] | what each layer computes, with all numeric parameters |
//! | `fold` | [`Network`] → [`Network`] | which paddings convolutions do themselves |
//! | `cascade` | [`Network`] → [`Network`] | which large maxima become chains of small ones |
//! | `division` | [`Network`] → [`Division`] | which core does which part of which layer |
//! | `residency` | [`Division`] → values that stay | which tensors stay in a core's scratchpad, and where |
//! | `memory` | [`Division`] → [`MemoryMap`] | where each other tensor lies in external memory |
//! | `tile` | layer → plan | how a layer is cut so that a piece fits the scratchpad |
//! | `lower` | layer and plan → [`LayerJobs`] | the operations of each piece |
//! | `schedule` | jobs → [`Program`] | the order of operations per engine, and the tokens that join them |
//! | `emit`, `roll` | program → words | register writes and commands; loops where they repeat |
//! | `tilemap` | words → [`cnnip_package::TileMap`] | which command completes which part of which tensor |
//! | `assemble` | everything → [`cnnip_package::Package`] | regions, tensors, steps, budget, provenance |
//!
//! What planners decide by estimates can be decided otherwise by [`Choices`]; a [`Tuner`] searches for better ones, and
//! [`Stages::profile`] says what each layer takes, and when.
//!
//! What is deliberately absent: fusion of layers whose maps do not fit the scratchpad. It would be a pass between those above.
//!
//! ```
//! use cnnip_compiler::{Options, compile};
//! use cnnip_graph::{ElementType, GraphBuilder, Op, Quantization, Shape, Tensor};
//! use cnnip_isa::Target;
//!
//! let mut build = GraphBuilder::new("clamp");
//! let image = Tensor::new("image", Shape::new([1, 4, 4, 3])?, ElementType::I8);
//! let image = build.input(image.quantized(Quantization::per_tensor(0.5, -128)));
//! let clamped = build.apply("clamped", Op::Relu6, &[image]);
//! build.output(clamped);
//!
//! let target = Target::by_name("v4h").expect("v4h is a target");
//! let package = compile(&build.finish()?, &Options::new(target))?;
//! assert_eq!(package.layers[0].sources, ["clamped"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod assemble;
mod cascade;
mod choices;
mod codec;
mod constants;
mod division;
mod emit;
mod error;
mod fold;
mod job;
mod legalize;
mod lower;
mod memory;
mod networks;
mod options;
mod report;
mod residency;
mod roll;
mod schedule;
mod size;
mod strided;
mod tile;
mod tilemap;
mod tune;

pub use choices::{Change, Choices, LayerChoice, NoChange};
pub use division::{Axis, Division, Duty, SplitRun};
pub use error::{CompileErrors, Problem, Rule};
pub use job::{Buffer, Job, LayerJobs};
pub use memory::{MemoryMap, Role};
pub use options::{Options, PixelRule, Rounding, Sharing, WeightCoding};
pub use report::{Bound, CoreReport, LayerProfile, Occupied, Profile, Report, Span};
pub use schedule::{CoreProgram, EngineItems, Item, Program};
pub use tune::{NoTrial, Price, Trial, Tuner};

use cnnip_graph::Graph;
use cnnip_isa::Target;
use cnnip_lowered::Network;
use cnnip_package::Package;
use tile::conv::Plans;

/// What every pass made of a graph, for dumps and tests.
#[derive(Clone, Debug)]
pub struct Stages {
    /// Layers with all their numbers.
    pub legalized: Network,
    /// The layers as the cores do them.
    pub division: Division,
    /// Places in external memory.
    pub memory: MemoryMap,
    /// Pieces and operations of each device layer.
    pub jobs: Vec<LayerJobs>,
    /// One program per run of device layers between host steps.
    pub programs: Vec<Program>,
    /// The result.
    pub package: Package,
}

impl Stages {
    /// What the network takes on the target it was compiled for.
    pub fn report(&self, target: &Target) -> Report {
        self.profile(target).total
    }

    /// What each layer takes on the target the network was compiled for, and when.
    pub fn profile(&self, target: &Target) -> Profile {
        let Self { legalized: network, division, memory, jobs, programs, .. } = self;
        report::Compiled { network, division, memory, jobs, programs, target }.profile()
    }
}

/// Compiles a quantized graph.
///
/// The same graph and options give the same package, byte for byte.
///
/// # Errors
/// All problems of the model at once.
pub fn compile(graph: &Graph, options: &Options) -> Result<Package, CompileErrors> {
    compile_stages(graph, options).map(|stages| stages.package)
}

/// As [`compile`], keeping what is between the passes.
///
/// # Errors
/// As [`compile`].
pub fn compile_stages(graph: &Graph, options: &Options) -> Result<Stages, CompileErrors> {
    let Planned { legalized, first, others } = Planned::of_graph(graph, options)?;
    let best = fastest(first, others, options)?;
    assembled(graph, options, legalized, best)
}

/// Compiles several quantized graphs into one package that runs them at once, a core each: the first on core 0.
///
/// The tensors and layers of a network have its name and `/` before their own.
///
/// # Errors
/// All problems of the models at once.
pub fn compile_networks(networks: &[(String, Graph)], options: &Options) -> Result<Stages, CompileErrors> {
    let (graph, Planned { legalized, first, others }) = Planned::of_networks(networks, options)?;
    let best = fastest(first, others, options)?;
    assembled(&graph, options, legalized, best)
}

/// A network, and the ways in which cores may do it.
struct Planned {
    legalized: Network,
    /// One core does all, or a core per network.
    first: Division,
    /// Several cores share it.
    others: Vec<Division>,
}

impl Planned {
    fn of_graph(graph: &Graph, options: &Options) -> Result<Self, CompileErrors> {
        check_cores(options.cores, options.target)?;
        let legalized = lowered(graph, options)?;
        let first = Division::whole(&legalized, |_| 0);
        let others = division::candidates(&legalized, options);
        Ok(Self { legalized, first, others })
    }

    /// Several networks, and all of them as one graph.
    fn of_networks(networks: &[(String, Graph)], options: &Options) -> Result<(Graph, Self), CompileErrors> {
        check_cores(size::small(networks.len()), options.target)?;
        let (graph, owners) = networks::side_by_side(networks);
        let legalized = networks::in_step(lowered(&graph, options)?, &owners);
        let first = Division::whole(&legalized, |layer| owners[layer.node]);
        Ok((graph, Self { legalized, first, others: vec![] }))
    }
}

/// The network's layers for the target.
fn lowered(graph: &Graph, options: &Options) -> Result<Network, CompileErrors> {
    graph.check().map_err(|problems| CompileErrors::of_graph(&problems))?;
    let mut legalized = legalize::legalize(graph, options)?;
    fold::paddings(graph, &mut legalized);
    cascade::pools(&mut legalized, options.target);
    Ok(legalized)
}

/// The way that is chosen, or the one that takes fewest cycles: the first if no other is faster.
fn fastest(first: Division, others: Vec<Division>, options: &Options) -> Result<Placed, CompileErrors> {
    if let Some(way) = options.choices.way() {
        return placed(others.into_iter().take(way).last().unwrap_or(first), options, &Plans::default());
    }
    let mut best = placed(first, options, &Plans::default())?;
    for way in others {
        let always = options.sharing != Sharing::Faster;
        match placed(way, options, &Plans::default()) {
            Ok(placed) if always || placed.cycles(options.target) < best.cycles(options.target) => best = placed,
            _ => {}
        }
    }
    Ok(best)
}

fn check_cores(cores: u32, target: &'static Target) -> Result<(), CompileErrors> {
    let most = target.cores.min(size::small(schedule::MAX_CORES));
    if (1..=most).contains(&cores) {
        return Ok(());
    }
    let rule = Rule::Cores { cores: size::index(cores), target: target.name, most: size::index(most) };
    Err(CompileErrors::one(cnnip_graph::Place::Model, rule))
}

fn assembled(graph: &Graph, options: &Options, legalized: Network, placed: Placed) -> Result<Stages, CompileErrors> {
    let Placed { division, memory, jobs, constants, programs } = placed;
    let package = assemble::package(&assemble::Parts {
        graph,
        options,
        legalized: &legalized,
        division: &division,
        memory: &memory,
        programs: &programs,
        constants: &constants,
    })?;
    Ok(Stages { legalized, division, memory, jobs, programs, package })
}

/// Layers with places for their values, and what the engines do.
struct Placed {
    division: Division,
    memory: MemoryMap,
    jobs: Vec<LayerJobs>,
    constants: constants::Constants,
    programs: Vec<Program>,
}

impl Placed {
    fn cycles(&self, target: &Target) -> u64 {
        report::cycles(&self.programs, target)
    }
}

/// Places all values and lowers all layers. Where a layer does not fit beside values that stay in the scratchpad, none does.
/// `plans` are those of the division that are known.
fn placed(division: Division, options: &Options, plans: &Plans) -> Result<Placed, CompileErrors> {
    let target = options.target;
    let with = |residency: &residency::Residency| {
        let memory = memory::plan(&division, residency)?;
        let (jobs, constants) = lower::all(&division, &memory, residency, (options, plans))?;
        Ok((memory, jobs, constants))
    };
    let none = residency::Residency::none(&division, target);
    let (memory, jobs, constants) = match options.chain {
        false => with(&none),
        true => with(&residency::choose(&division, target, (&options.choices, plans)))
            .or_else(|_: CompileErrors| with(&none)),
    }?;
    let programs = schedule::programs(&division, &jobs, target);
    Ok(Placed { division, memory, jobs, constants, programs })
}
