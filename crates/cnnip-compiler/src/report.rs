//! What a compiled network takes, by the lists alone.

mod timeline;

use std::collections::HashMap;
use std::ops::Range;

use cnnip_isa::Target;
use cnnip_isa::operation::Operation;
use cnnip_lowered::weights::WeightPiece;
use cnnip_lowered::{Layer, Network, ValueId, Work};
use cnnip_package::Engine;
use cnnip_timing::Cost;

use crate::division::{Axis, Division, Duty, SplitRun};
use crate::job::LayerJobs;
use crate::memory::{MemoryMap, lives};
use crate::schedule::Program;
use crate::tune::Price;

pub use timeline::Span;

/// Figures of a compiled network: what its device steps take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes that DMA reads from external memory.
    pub loaded_bytes: u64,
    /// Bytes that DMA writes to external memory.
    pub stored_bytes: u64,
    /// Estimated cycles of all device steps, one after the other: as many as a run of the lists takes.
    pub cycles: u64,
    /// Most bytes of a scratchpad that a layer needs: values that stay there, and its buffers.
    pub scratchpad_bytes: u64,
    /// Multiply-accumulates of all layers.
    pub macs: u64,
    /// Those of layers that the host does.
    pub host_macs: u64,
    /// Multiply-accumulates that the arrays of the cores at work could do in that many cycles.
    pub capacity: u64,
    /// By core at work, what it takes.
    pub cores: Vec<CoreReport>,
    /// Layers that several cores share.
    pub splits: Vec<SplitRun>,
}

/// Figures of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreReport {
    /// Estimated cycles until its last engine has ended, summed over the device steps.
    pub cycles: u64,
    /// Of these, the cycles in which its CNN engine carries out commands rather than waits.
    pub busy: u64,
}

impl Report {
    /// Bytes to and from external memory.
    pub const fn external_bytes(&self) -> u64 {
        self.loaded_bytes + self.stored_bytes
    }

    /// Of what the arrays could do, the part that the network needs, in per mille.
    pub fn array_use(&self) -> u64 {
        self.macs.saturating_mul(1000) / self.capacity.max(1)
    }
}

/// A compiled network over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// All device steps together.
    pub total: Report,
    /// The device's layers as the cores do them, in order: a layer that several cores share is there once for each of them.
    pub layers: Vec<LayerProfile>,
    /// All operations; those of an engine in order.
    pub spans: Vec<Span>,
    /// Who has which bytes of the scratchpads, and when.
    pub scratchpad: Vec<Occupied>,
    /// Weights and biases of the network.
    pub parameters: u64,
    /// Multiply-accumulates of a core's array in a cycle.
    pub lanes: u64,
}

/// What a layer takes, or a core's part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerProfile {
    /// Its index in the network of [`Division`].
    pub layer: usize,
    /// The core that does it.
    pub core: u8,
    /// Axis and indices of the output, of a part.
    pub part: Option<(Axis, Range<u32>)>,
    /// How it was cut.
    pub plan: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Weights and biases.
    pub parameters: u64,
    /// Cycle in which the first of its operations begins; its loads may begin while other layers are computed.
    pub start: u64,
    /// Cycle after its last operation.
    pub end: u64,
    /// Cycles from the end of all layers before it on its core to its own end: over all layers of a core, those of the core.
    pub elapsed: u64,
    /// Cycles of its operations on the two DMA engines.
    pub dma_cycles: [u64; 2],
    /// Cycles of its operations on the CNN engine.
    pub cnn_cycles: u64,
    /// Bytes read from external memory.
    pub loaded_bytes: u64,
    /// Bytes written to external memory.
    pub stored_bytes: u64,
    /// Bytes of values that stay in the scratchpad meanwhile, and of its buffers.
    pub scratchpad_bytes: u64,
}

/// Which engine sets the pace of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The CNN engine is at work longest.
    Compute,
    /// A DMA engine is.
    Dma,
}

impl Bound {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Dma => "DMA",
        }
    }
}

impl LayerProfile {
    /// Which engine has the most work for the layer.
    pub fn bound(&self) -> Bound {
        let dma = self.dma_cycles.into_iter().max().unwrap_or(0);
        if self.cnn_cycles >= dma { Bound::Compute } else { Bound::Dma }
    }

    /// Bytes to and from external memory.
    pub const fn external_bytes(&self) -> u64 {
        self.loaded_bytes + self.stored_bytes
    }

    /// Of what an array of so many lanes could do while the CNN engine works on the layer, the part that it needs, in per mille.
    pub fn array_use(&self, lanes: u64) -> u64 {
        self.macs.saturating_mul(1000) / self.cnn_cycles.saturating_mul(lanes).max(1)
    }
}

/// Bytes of a scratchpad for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// The core whose scratchpad it is.
    pub core: u8,
    /// A buffer's kind, or the name of a value that stays.
    pub name: String,
    /// The layer whose buffer it is; `None` for a value that stays.
    pub layer: Option<usize>,
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
    /// First cycle.
    pub start: u64,
    /// Cycle after the last one.
    pub end: u64,
}

/// A compiled network as far as a profile needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compiled<'a> {
    /// The whole network.
    pub(crate) network: &'a Network,
    pub(crate) division: &'a Division,
    pub(crate) memory: &'a MemoryMap,
    pub(crate) jobs: &'a [LayerJobs],
    pub(crate) programs: &'a [Program],
    pub(crate) target: &'a Target,
}

/// What the lists of some programs take; nothing if one cannot be emitted.
pub(crate) fn price(programs: &[Program], target: &Target) -> Option<Price> {
    let mut price = Price { cycles: 0, external_bytes: 0 };
    for program in programs {
        let mut bytes = 0;
        let cores = timeline::run(program, target, price.cycles, &mut |_, operation| {
            let Cost { dram_read, dram_written, .. } = Cost::of(operation, target);
            bytes += dram_read + dram_written;
        })?;
        price.cycles += longest(&cores);
        price.external_bytes += bytes;
    }
    Some(price)
}

/// Estimated cycles until all engines of all cores have ended, summed over the programs.
pub(crate) fn cycles(programs: &[Program], target: &Target) -> u64 {
    price(programs, target).map_or(u64::MAX, |price| price.cycles)
}

fn longest(cores: &[CoreReport]) -> u64 {
    cores.iter().map(|core| core.cycles).max().unwrap_or(0)
}

impl Compiled<'_> {
    pub(crate) fn profile(&self) -> Profile {
        let mut layers: Vec<LayerProfile> = self.jobs.iter().map(|jobs| self.planned(jobs)).collect();
        // A core has one part of a layer at most.
        let key = |layer: &LayerProfile| (layer.core, self.division.duty(layer.layer).layer);
        let at: HashMap<_, usize> = layers.iter().enumerate().map(|(place, layer)| (key(layer), place)).collect();
        let mut spans = vec![];
        let mut cores = vec![CoreReport::default(); self.division.cores()];
        let mut cycles = 0;
        for program in self.programs {
            let mut visit = |span: Span, operation: &Operation| {
                let place = at.get(&(span.engine.core, span.layer)).copied();
                let Some(layer) = place.and_then(|place| layers.get_mut(place)) else { return };
                spans.push(Span { layer: layer.layer, ..span });
                layer.add(span, Cost::of(operation, self.target));
            };
            let ran = timeline::run(program, self.target, cycles, &mut visit).unwrap_or_default();
            for ((core, sum), ran) in (0..=u8::MAX).zip(&mut cores).zip(&ran) {
                share_out(&mut layers, core, cycles..cycles + ran.cycles);
                sum.cycles += ran.cycles;
                sum.busy += ran.busy;
            }
            cycles += longest(&ran);
        }
        layers.iter_mut().for_each(|layer| layer.start = layer.start.min(layer.end));
        Profile {
            total: self.total(&layers, cycles, cores),
            parameters: self.network.layers.iter().map(parameters).sum(),
            lanes: self.lanes(),
            scratchpad: self.scratchpad(&layers),
            layers,
            spans,
        }
    }

    /// What is known of a layer without running it.
    fn planned(&self, jobs: &LayerJobs) -> LayerProfile {
        let layer = self.division.network.layers.get(jobs.layer);
        let Duty { core, layer: whole, part } = self.division.duty(jobs.layer).clone();
        LayerProfile {
            layer: jobs.layer,
            core,
            part,
            plan: jobs.plan.clone(),
            macs: layer.map_or(0, |layer| self.macs(layer, whole)),
            parameters: layer.map_or(0, parameters),
            start: u64::MAX,
            scratchpad_bytes: scratchpad(jobs),
            ..LayerProfile::default()
        }
    }

    /// Multiply-accumulates of a part of a layer: they go with the elements that it writes.
    fn macs(&self, part: &Layer, whole: usize) -> u64 {
        let elements = |network: &Network, layer: &Layer| {
            let value = network.values.get(layer.work.writes().0);
            value.map_or(1, |value| value.shape.iter().map(|&extent| u128::from(extent)).product())
        };
        let of = self.network.layers.get(whole).map_or(1, |whole| elements(self.network, whole));
        let part_of = u128::from(part.macs) * elements(&self.division.network, part) / of.max(1);
        u64::try_from(part_of).unwrap_or(u64::MAX)
    }

    fn lanes(&self) -> u64 {
        let Target { mac_channels, mac_pixels, mac_depth, .. } = *self.target;
        u64::from(mac_channels) * u64::from(mac_pixels) * u64::from(mac_depth)
    }

    fn total(&self, layers: &[LayerProfile], cycles: u64, cores: Vec<CoreReport>) -> Report {
        let macs = |host: bool| self.network.layers.iter().filter(move |layer| !host || layer.work.is_host());
        let arrays = cycles.saturating_mul(crate::size::wide(cores.len()));
        Report {
            loaded_bytes: layers.iter().map(|layer| layer.loaded_bytes).sum(),
            stored_bytes: layers.iter().map(|layer| layer.stored_bytes).sum(),
            cycles,
            scratchpad_bytes: layers.iter().map(|layer| layer.scratchpad_bytes).max().unwrap_or(0),
            macs: macs(false).map(|layer| layer.macs).sum(),
            host_macs: macs(true).map(|layer| layer.macs).sum(),
            capacity: arrays.saturating_mul(self.lanes()),
            cores,
            splits: self.division.splits(),
        }
    }

    /// Buffers from a layer's first operation to its last, and values from the layer that writes them to the last that reads them.
    fn scratchpad(&self, layers: &[LayerProfile]) -> Vec<Occupied> {
        let buffers = self.jobs.iter().zip(layers).flat_map(|(jobs, layer)| {
            jobs.buffers.iter().map(|buffer| Occupied {
                core: layer.core,
                name: buffer.name.to_owned(),
                layer: Some(jobs.layer),
                address: buffer.address.into(),
                bytes: buffer.bytes.into(),
                start: layer.start,
                end: layer.end,
            })
        });
        buffers.chain(self.stays(layers)).collect()
    }

    /// Values that stay in a scratchpad.
    fn stays<'a>(&'a self, layers: &'a [LayerProfile]) -> impl Iterator<Item = Occupied> + 'a {
        let network = &self.division.network;
        let lives = lives(network).into_iter().zip(self.division.users());
        lives.zip(&network.values).enumerate().filter_map(move |(index, ((life, core), value))| {
            let (address, life, core) = (self.memory.resident(ValueId(index))?, life?, core?);
            let during = || layers.iter().filter(|layer| layer.core == core && life.contains(&layer.layer));
            Some(Occupied {
                core,
                name: value.name.clone(),
                layer: None,
                address: address.into(),
                bytes: value.bytes(),
                start: during().map(|layer| layer.start).min().unwrap_or(0),
                end: during().map(|layer| layer.end).max().unwrap_or(0),
            })
        })
    }
}

impl LayerProfile {
    fn add(&mut self, span: Span, cost: Cost) {
        self.start = self.start.min(span.start);
        self.end = self.end.max(span.end);
        match span.engine.engine {
            Engine::Dma0 => self.dma_cycles[0] += cost.cycles,
            Engine::Dma1 => self.dma_cycles[1] += cost.cycles,
            Engine::Cnn => self.cnn_cycles += cost.cycles,
        }
        self.loaded_bytes += cost.dram_read;
        self.stored_bytes += cost.dram_written;
    }
}

/// Shares the cycles of a program on a core out: a layer has those by which it ends later than all before it there; the last one also
/// those of the lists' ends.
fn share_out(layers: &mut [LayerProfile], core: u8, cycles: Range<u64>) {
    let mut before = cycles.start;
    let mut last = None;
    // A layer without an operation has no time.
    for layer in layers.iter_mut().filter(|layer| layer.core == core && cycles.contains(&layer.start)) {
        layer.elapsed = layer.end.saturating_sub(before);
        before = before.max(layer.end);
        last = Some(layer);
    }
    if let Some(last) = last {
        last.elapsed += cycles.end - before;
    }
}

fn scratchpad(layer: &LayerJobs) -> u64 {
    layer.resident + layer.buffers.iter().map(|buffer| u64::from(buffer.bytes)).sum::<u64>()
}

/// Weights and biases of a layer.
fn parameters(layer: &Layer) -> u64 {
    let Work::Conv(conv) = &layer.work else { return 0 };
    WeightPiece::whole(conv).weights() + u64::from(conv.groups) * u64::from(conv.outputs)
}
