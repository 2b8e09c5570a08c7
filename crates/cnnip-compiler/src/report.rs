//! What a compiled network takes, by the lists alone.

use std::collections::VecDeque;

use cnnip_isa::operation::{Location, Operation, Space};
use cnnip_isa::{EngineKind, Target};

use crate::Stages;
use crate::emit::{self, Step};
use crate::job::LayerJobs;
use crate::schedule::{Item, Program};

/// Figures of a compiled network: what its device steps take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes that DMA reads from external memory.
    pub loaded_bytes: u64,
    /// Bytes that DMA writes to external memory.
    pub stored_bytes: u64,
    /// Estimated cycles of all device steps, one after the other: as many as a run of the lists takes.
    pub cycles: u64,
    /// Most bytes of the scratchpad that a layer needs: values that stay there, and its buffers.
    pub scratchpad_bytes: u64,
    /// Multiply-accumulates of all layers.
    pub macs: u64,
    /// Multiply-accumulates that the target's array could do in that many cycles.
    pub capacity: u64,
}

impl Report {
    /// Bytes to and from external memory.
    pub const fn external_bytes(&self) -> u64 {
        self.loaded_bytes + self.stored_bytes
    }

    /// Of what the array could do, the part that the network needs, in per mille.
    pub fn array_use(&self) -> u64 {
        self.macs.saturating_mul(1000) / self.capacity.max(1)
    }

    pub(crate) fn of(stages: &Stages, target: &Target) -> Self {
        let mut report = Self { macs: stages.legalized.layers.iter().map(|layer| layer.macs).sum(), ..Self::default() };
        for program in &stages.programs {
            report.cycles += cycles(program, target);
            for operation in program.lists().into_iter().flatten().filter_map(run) {
                let (loaded, stored) = moved(operation);
                report.loaded_bytes += loaded;
                report.stored_bytes += stored;
            }
        }
        report.scratchpad_bytes = stages.jobs.iter().map(scratchpad).max().unwrap_or(0);
        let lanes = [target.mac_channels, target.mac_pixels, target.mac_depth];
        report.capacity = lanes.into_iter().fold(report.cycles, |product, lanes| product.saturating_mul(lanes.into()));
        report
    }
}

const fn run(item: &Item) -> Option<&Operation> {
    match item {
        Item::Run(operation) => Some(operation),
        _ => None,
    }
}

/// Bytes from and to external memory.
fn moved(operation: &Operation) -> (u64, u64) {
    let outside = |place: Location| u64::from(place.space != Space::Sram);
    match operation {
        Operation::Copy(copy) => {
            let bytes = copy.pattern.bytes();
            (bytes * outside(copy.source), bytes * outside(copy.destination))
        }
        Operation::Fill(fill) => (0, fill.pattern.bytes() * outside(fill.destination)),
        Operation::Decode(decode) => {
            (decode.coded_bytes() * outside(decode.stream), decode.bytes() * outside(decode.destination))
        }
        _ => (0, 0),
    }
}

fn scratchpad(layer: &LayerJobs) -> u64 {
    layer.resident + layer.buffers.iter().map(|buffer| u64::from(buffer.bytes)).sum::<u64>()
}

/// Cycles until all engines have ended.
fn cycles(program: &Program, target: &Target) -> u64 {
    let kinds = [EngineKind::Dma, EngineKind::Dma, EngineKind::Cnn];
    let steps = |(kind, items): (EngineKind, &Vec<Item>)| {
        if items.is_empty() { vec![] } else { emit::list(kind, items, target).unwrap_or_default().steps }
    };
    let mut engines = kinds.into_iter().zip(program.lists()).map(steps).map(Timeline::new).collect::<Vec<_>>();
    let mut tokens = vec![VecDeque::new(); usize::from(u8::MAX) + 1];
    while engines.iter_mut().any(|engine| engine.advance(&mut tokens)) {}
    engines.iter().map(|engine| engine.time).max().unwrap_or(0)
}

/// An engine on its way through its list.
struct Timeline {
    steps: std::vec::IntoIter<Step>,
    time: u64,
}

impl Timeline {
    fn new(steps: Vec<Step>) -> Self {
        Self { steps: steps.into_iter(), time: 0 }
    }

    /// Goes on until a signal is missing; `tokens` has the times of the signals that nobody has taken. Says whether there was a step.
    fn advance(&mut self, tokens: &mut [VecDeque<u64>]) -> bool {
        let mut moved = false;
        while let Some(step) = self.steps.as_slice().first() {
            match *step {
                Step::Busy(cycles) => self.time += cycles,
                Step::Signal(token) => {
                    self.time += 1;
                    tokens[usize::from(token)].push_back(self.time);
                }
                Step::Wait(token, count) => {
                    let open = &mut tokens[usize::from(token)];
                    if open.len() < usize::from(count) {
                        return moved;
                    }
                    let last = open.drain(..usize::from(count)).max().unwrap_or(0);
                    self.time = self.time.max(last) + 1;
                }
            }
            self.steps.next();
            moved = true;
        }
        moved
    }
}
