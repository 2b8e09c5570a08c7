//! What a compiled network takes, by the lists alone.

use std::collections::{HashMap, VecDeque};

use cnnip_isa::Target;
use cnnip_isa::operation::{Location, Operation, Space};
use cnnip_package::FIRST_SYSTEM_TOKEN;

use crate::emit::{self, Step};
use crate::job::LayerJobs;
use crate::schedule::{ENGINES, Item, Program};
use crate::{SplitRun, Stages};

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

    pub(crate) fn of(stages: &Stages, target: &Target) -> Self {
        let mut report = Self {
            macs: stages.legalized.layers.iter().map(|layer| layer.macs).sum(),
            cores: vec![CoreReport::default(); stages.division.cores()],
            splits: stages.division.splits(),
            ..Self::default()
        };
        for program in &stages.programs {
            report.add(program, target);
        }
        report.scratchpad_bytes = stages.jobs.iter().map(scratchpad).max().unwrap_or(0);
        let lanes = [target.mac_channels, target.mac_pixels, target.mac_depth];
        let arrays = report.cycles.saturating_mul(crate::size::wide(report.cores.len()));
        report.capacity = lanes.into_iter().fold(arrays, |product, lanes| product.saturating_mul(lanes.into()));
        report
    }

    fn add(&mut self, program: &Program, target: &Target) {
        let cores = of_cores(program, target);
        self.cycles += cores.iter().map(|core| core.cycles).max().unwrap_or(0);
        for (sum, core) in self.cores.iter_mut().zip(cores) {
            sum.cycles += core.cycles;
            sum.busy += core.busy;
        }
        for operation in program.lists().flat_map(|(_, items)| items).filter_map(run) {
            let (loaded, stored) = moved(operation);
            self.loaded_bytes += loaded;
            self.stored_bytes += stored;
        }
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

/// Estimated cycles until all engines of all cores have ended, summed over the programs.
pub(crate) fn cycles(programs: &[Program], target: &Target) -> u64 {
    let cores = programs.iter().map(|program| of_cores(program, target));
    cores.map(|cores| cores.iter().map(|core| core.cycles).max().unwrap_or(0)).sum()
}

/// What each core takes for a program.
fn of_cores(program: &Program, target: &Target) -> Vec<CoreReport> {
    let mut engines: Vec<Timeline> = program
        .lists()
        .map(|(engine, items)| {
            let kind = emit::kind(engine.engine);
            // An engine without items has no list, so not even its END.
            let list = (!items.is_empty()).then(|| emit::list(kind, items, target).unwrap_or_default());
            Timeline::new(list.unwrap_or_default().course.steps)
        })
        .collect();
    let mut tokens = Tokens::default();
    let mut moved = true;
    while moved {
        moved = false;
        for (engine, timeline) in engines.iter_mut().enumerate() {
            moved |= timeline.advance(engine / ENGINES.len(), &mut tokens);
        }
    }
    let core = |engines: &[Timeline]| CoreReport {
        cycles: engines.iter().map(|engine| engine.time).max().unwrap_or(0),
        busy: engines.last().map_or(0, |cnn| cnn.busy),
    };
    engines.chunks(ENGINES.len()).map(core).collect()
}

/// Times of the signals that nobody has taken, by token and, of those that exist once per core, core.
#[derive(Debug, Default)]
struct Tokens(HashMap<(u8, usize), VecDeque<u64>>);

impl Tokens {
    fn of(&mut self, token: u8, core: usize) -> &mut VecDeque<u64> {
        let core = if token < FIRST_SYSTEM_TOKEN { core } else { usize::MAX };
        self.0.entry((token, core)).or_default()
    }
}

/// An engine on its way through its list.
struct Timeline {
    steps: std::vec::IntoIter<Step>,
    time: u64,
    /// Cycles of its commands, waits aside.
    busy: u64,
}

impl Timeline {
    fn new(steps: Vec<Step>) -> Self {
        Self { steps: steps.into_iter(), time: 0, busy: 0 }
    }

    /// Goes on until a signal is missing. Says whether there was a step.
    fn advance(&mut self, core: usize, tokens: &mut Tokens) -> bool {
        let mut moved = false;
        while let Some(step) = self.steps.as_slice().first() {
            match *step {
                Step::Busy(cycles) => {
                    self.time += cycles;
                    self.busy += cycles;
                }
                Step::Signal(token) => {
                    self.time += 1;
                    tokens.of(token, core).push_back(self.time);
                }
                Step::Wait(token, count) => {
                    let open = tokens.of(token, core);
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
