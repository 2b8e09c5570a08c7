//! Layers → jobs: the operations of every piece, with their addresses.

mod conv;
mod eltwise;
mod mean;
mod pool;
mod region;
mod transfer;
mod weights;
mod windows;

use cnnip_graph::Place;
use cnnip_isa::Target;

use crate::constants::Constants;
use crate::error::{CompileErrors, Problem, Rule};
use crate::job::{Job, LayerJobs, Scratchpad};
use crate::layer::{Layer, Legalized, Origin, ValueId, Work};
use crate::memory::{MemoryMap, Role};

/// What lowering a layer needs to know and adds to.
pub(crate) struct Site<'a> {
    pub(crate) memory: &'a MemoryMap,
    pub(crate) target: &'static Target,
    pub(crate) constants: &'a mut Constants,
}

/// The jobs of a layer as its lowering makes them.
pub(crate) struct Lowered {
    pub(crate) plan: String,
    pub(crate) pad: Scratchpad,
    pub(crate) jobs: Vec<Job>,
}

impl Site<'_> {
    /// The error for a smallest piece of `bytes` that does not fit.
    pub(crate) fn too_small(&self, bytes: u64) -> Rule {
        Rule::Scratchpad { bytes, target: self.target.name, sram: self.target.sram_bytes }
    }
}

/// Lowers all device layers, and collects the constant region.
pub(crate) fn all(
    legalized: &Legalized,
    memory: &MemoryMap,
    target: &'static Target,
) -> Result<(Vec<LayerJobs>, Constants), CompileErrors> {
    let mut constants = operands(legalized, memory);
    let mut lowered = vec![];
    let mut problems = vec![];
    for (index, layer) in legalized.layers.iter().enumerate() {
        let mut site = Site { memory, target, constants: &mut constants };
        match one(&mut site, layer) {
            Ok(Some(Lowered { plan, pad, jobs })) => {
                lowered.push(LayerJobs { layer: index, plan, buffers: pad.buffers, jobs });
            }
            Ok(None) => {}
            Err(rule) => problems.push(Problem { place: Place::node(layer.node, &layer.name, ""), rule }),
        }
    }
    let bytes = crate::size::wide(constants.bytes().len());
    if bytes >= 1 << 32 {
        problems.push(Problem { place: Place::Model, rule: Rule::Region { what: Role::Constant.name(), bytes } });
    }
    CompileErrors::check(problems)?;
    Ok((lowered, constants))
}

/// The constant operands, which stand first in the region, as the memory map says.
fn operands(legalized: &Legalized, memory: &MemoryMap) -> Constants {
    let mut constants = Constants::default();
    for (index, value) in legalized.values.iter().enumerate() {
        if let (Origin::Constant(data), Some((Role::Constant, _))) = (&value.origin, memory.place(ValueId(index))) {
            constants.push(data.bytes());
        }
    }
    constants
}

fn one(site: &mut Site<'_>, layer: &Layer) -> Result<Option<Lowered>, Rule> {
    match &layer.work {
        Work::Conv(conv) => conv::lower(site, conv).map(Some),
        Work::Pool(pool) if pool::fits_target(pool, site.target) => pool::lower(site, pool).map(Some),
        Work::Pool(pool) => windows::lower(site, pool).map(Some),
        Work::Mean(mean) => mean::lower(site, mean).map(Some),
        Work::Eltwise(eltwise) => eltwise::lower(site, eltwise).map(Some),
        Work::Transfer(transfer) => Ok(Some(transfer::lower(site, transfer))),
        Work::Host(_) => Ok(None),
    }
}
