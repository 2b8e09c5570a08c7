//! Layers → jobs: the operations of every piece, with their addresses.

mod argmax;
mod columns;
mod conv;
mod eltwise;
mod pool;
mod region;
mod resize;
mod sum;
mod transfer;
mod transpose;
mod windows;

pub(crate) use pool::fits_target as fits_pool;
pub(crate) use resize::between as samples;

use cnnip_graph::Place;
use cnnip_isa::{ElementType, Target};

use crate::choices::{Choices, LayerChoice};
use crate::constants::Constants;
use crate::division::Division;
use crate::error::{CompileErrors, Problem, Rule};
use crate::job::{Job, LayerJobs, Scratchpad};
use crate::memory::{MemoryMap, Role};
use crate::options::{Options, WeightCoding};
use crate::residency::{Recent, Residency};
use crate::tile::conv::Plans;
use cnnip_lowered::{Layer, Network, Origin, ValueId, Work};
use region::StoredMap;

/// A layer among the values that stay in the scratchpad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) division: &'a Division,
    pub(crate) residency: &'a Residency,
    pub(crate) target: &'static Target,
    pub(crate) choices: &'a Choices,
    /// Plans that are known.
    pub(crate) plans: &'a Plans,
    /// The layer's index.
    pub(crate) layer: usize,
}

impl Setting<'_> {
    /// How the layer is to be cut.
    pub(crate) fn choice(&self) -> LayerChoice {
        self.choices.layer(self.layer)
    }

    /// Bytes of scratchpad that the layer may use for buffers.
    pub(crate) fn room(&self) -> u64 {
        self.residency.room(self.layer) / u64::from(self.choice().parts.get())
    }

    /// Whether the layer works on a value where it lies.
    pub(crate) fn is_resident(&self, value: ValueId) -> bool {
        self.residency.address(self.division.network.root(value)).is_some()
    }

    /// Type of a value's elements.
    pub(crate) fn element(&self, value: ValueId) -> ElementType {
        self.division.network.element(value)
    }
}

/// What lowering a layer needs to know and adds to.
pub(crate) struct Site<'a> {
    pub(crate) setting: Setting<'a>,
    pub(crate) memory: &'a MemoryMap,
    pub(crate) target: &'static Target,
    pub(crate) weights: WeightCoding,
    pub(crate) constants: &'a mut Constants,
    /// Where earlier layers had their buffers.
    pub(crate) recent: &'a mut Recent,
    /// Operations that may still be made.
    pub(crate) room: u64,
}

/// Most operations of a model: what its file does not justify must not take its size in lists.
const MAX_OPERATIONS: u64 = 1 << 21;

/// The jobs of a layer as its lowering makes them.
pub(crate) struct Lowered {
    pub(crate) plan: String,
    pub(crate) pad: Scratchpad,
    pub(crate) jobs: Vec<Job>,
}

impl Site<'_> {
    /// Type of a value's elements.
    pub(crate) fn element(&self, value: ValueId) -> ElementType {
        self.setting.element(value)
    }

    /// Bytes of scratchpad that the layer may use for buffers.
    pub(crate) fn room(&self) -> u64 {
        self.setting.room()
    }

    /// A map of a value, whose pixels have `channels`, rows are `columns` pixels, and elements `width` bytes.
    pub(crate) fn map(&self, value: ValueId, columns: u32, channels: u32, width: u32) -> StoredMap {
        let channels = self.memory.pixel(value).unwrap_or(channels);
        StoredMap { at: self.memory.location(value), columns, channels, width }
    }

    /// A part of the scratchpad for `bytes` of buffers.
    pub(crate) fn scratchpad(&mut self, bytes: u64) -> Scratchpad {
        Scratchpad::at(self.recent.take(self.setting.residency, self.setting.layer, bytes))
    }

    /// Takes room for `count` operations, about.
    pub(crate) fn reserve(&mut self, count: u64) -> Result<(), Rule> {
        let found = crate::size::index(MAX_OPERATIONS.saturating_sub(self.room).saturating_add(count));
        let most = crate::size::index(MAX_OPERATIONS);
        self.room = self.room.checked_sub(count).ok_or(Rule::TooMany { what: "operations", found, most })?;
        Ok(())
    }

    /// The error for a smallest piece of `bytes` that does not fit.
    pub(crate) fn too_small(&self, bytes: u64) -> Rule {
        Rule::Scratchpad { bytes, target: self.target.name, sram: self.target.sram_bytes }
    }
}

/// Lowers all device layers and parts of layers, and collects the constant region.
pub(crate) fn all(
    division: &Division,
    memory: &MemoryMap,
    residency: &Residency,
    (options, plans): (&Options, &Plans),
) -> Result<(Vec<LayerJobs>, Constants), CompileErrors> {
    let (target, weights) = (options.target, options.weights);
    let network = &division.network;
    let mut constants = operands(network, memory);
    let mut lowered = vec![];
    let mut problems = vec![];
    let mut room = MAX_OPERATIONS;
    let mut recent = Recent::default();
    for (index, layer) in network.layers.iter().enumerate() {
        constants.begin(index);
        let setting = Setting { division, residency, target, choices: &options.choices, plans, layer: index };
        let mut site = Site { setting, memory, target, weights, constants: &mut constants, recent: &mut recent, room };
        match one(&mut site, layer) {
            Ok(Some(Lowered { plan, pad, jobs })) => {
                room = site.room;
                let resident = residency.bytes(index);
                lowered.push(LayerJobs { layer: index, plan, resident, buffers: pad.buffers, jobs });
            }
            Ok(None) => {}
            Err(rule) => problems.push(Problem { place: Place::node(layer.node, &layer.name, &layer.operator), rule }),
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
fn operands(network: &Network, memory: &MemoryMap) -> Constants {
    let mut constants = Constants::default();
    for (index, value) in network.values.iter().enumerate() {
        if let (Origin::Constant(data), Some((Role::Constant, _))) = (&value.origin, memory.place(ValueId(index))) {
            constants.append(data.bytes());
        }
    }
    constants
}

fn one(site: &mut Site<'_>, layer: &Layer) -> Result<Option<Lowered>, Rule> {
    match &layer.work {
        Work::Conv(conv) => conv::lower(site, conv).map(Some),
        Work::Pool(pool) if pool::fits_target(pool, site.target) => pool::lower(site, pool).map(Some),
        Work::Pool(pool) => windows::lower(site, pool).map(Some),
        Work::Sum(sum) => sum::lower(site, sum).map(Some),
        Work::Resize(resize) => resize::lower(site, resize).map(Some),
        Work::ArgMax(argmax) => argmax::lower(site, argmax).map(Some),
        Work::Eltwise(eltwise) => eltwise::lower(site, eltwise).map(Some),
        Work::Transfer(transfer) => transfer::lower(site, transfer).map(Some),
        Work::Host(_) => Ok(None),
    }
}

/// Bytes that a layer moves to and from external memory, about; `None` if it has too little room.
pub(crate) fn traffic(setting: &Setting<'_>) -> Option<u64> {
    let layer = &setting.division.network.layers[setting.layer];
    if let Work::Conv(conv) = &layer.work {
        return conv::traffic(setting, conv);
    }
    let values = layer.work.reads().into_iter().chain([layer.work.writes()]);
    let moved = values.filter(|&value| !setting.is_resident(value));
    let moved: u64 = moved.map(|value| setting.division.network.values[value.0].bytes()).sum();
    let fixed = FIXED_ROOM.min(u64::from(setting.target.sram_bytes) / 8);
    let least = (2 * moved).min(MOVING_ROOM) + fixed;
    (layer.work.is_host() || least <= setting.room()).then_some(moved)
}

/// Enough scratchpad for a layer that moves what it works on piece by piece.
const MOVING_ROOM: u64 = 128 << 10;

/// Enough scratchpad for tables and accumulators of a layer that is not a convolution.
const FIXED_ROOM: u64 = 16 << 10;
