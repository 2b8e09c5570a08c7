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
//! | `residency` | [`Network`] → values that stay | which tensors stay in the scratchpad, and where |
//! | `memory` | [`Network`] → [`MemoryMap`] | where each other tensor lies in external memory |
//! | `tile` | layer → plan | how a layer is cut so that a piece fits the scratchpad |
//! | `lower` | layer and plan → [`LayerJobs`] | the operations of each piece |
//! | `schedule` | jobs → [`Program`] | the order of operations per engine, and the tokens that join them |
//! | `emit` | program → words | register writes and commands |
//! | `tilemap` | words → [`cnnip_package::TileMap`] | which command completes which part of which tensor |
//! | `assemble` | everything → [`cnnip_package::Package`] | regions, tensors, steps, budget, provenance |
//!
//! What is deliberately absent: loops in command lists, and fusion of layers whose maps do not fit the scratchpad. Each would
//! be a pass between those above.
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
mod codec;
mod constants;
mod emit;
mod error;
mod fold;
mod job;
mod legalize;
mod lower;
mod memory;
mod options;
mod report;
mod residency;
mod schedule;
mod size;
mod strided;
mod tile;
mod tilemap;

pub use error::{CompileErrors, Problem, Rule};
pub use job::{Buffer, Job, LayerJobs};
pub use memory::{MemoryMap, Role};
pub use options::{Options, PixelRule, Rounding, WeightCoding};
pub use report::Report;
pub use schedule::{EngineItems, Item, Program};

use cnnip_graph::Graph;
use cnnip_isa::Target;
use cnnip_lowered::Network;
use cnnip_package::Package;

/// What every pass made of a graph, for dumps and tests.
#[derive(Clone, Debug)]
pub struct Stages {
    /// Layers with all their numbers.
    pub legalized: Network,
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
        Report::of(self, target)
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
    graph.check().map_err(|problems| CompileErrors::of_graph(&problems))?;
    let mut legalized = legalize::legalize(graph, options)?;
    fold::paddings(graph, &mut legalized);
    cascade::pools(&mut legalized, options.target);
    let Placed { memory, jobs, constants } = placed(&legalized, options)?;
    let programs = schedule::programs(&legalized, &jobs, options.target);
    let package = assemble::package(&assemble::Parts {
        graph,
        options,
        legalized: &legalized,
        memory: &memory,
        programs: &programs,
        constants: &constants,
    })?;
    Ok(Stages { legalized, memory, jobs, programs, package })
}

/// Layers with places for their values.
struct Placed {
    memory: MemoryMap,
    jobs: Vec<LayerJobs>,
    constants: constants::Constants,
}

/// Places all values and lowers all layers. Where a layer does not fit beside values that stay in the scratchpad, none does.
fn placed(legalized: &Network, options: &Options) -> Result<Placed, CompileErrors> {
    let target = options.target;
    let with = |residency: &residency::Residency| {
        let memory = memory::plan(legalized, residency)?;
        let (jobs, constants) = lower::all(legalized, &memory, residency, options)?;
        Ok(Placed { memory, jobs, constants })
    };
    let none = residency::Residency::none(legalized, target);
    if !options.chain {
        return with(&none);
    }
    with(&residency::choose(legalized, target)).or_else(|_: CompileErrors| with(&none))
}
