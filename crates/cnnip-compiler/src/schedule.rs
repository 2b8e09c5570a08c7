//! Jobs → programs: what each engine does in which order, and the tokens that join the engines.
//!
//! Every operation goes to an engine of its job's core: computations to cnn, stores to dma1, loads to the DMA engine that is
//! estimated to end them first. An engine takes its operations in the order of the jobs. Between engines, of one core or of
//! several, only the bytes they touch make an order: whoever writes bytes comes after all earlier accesses to them, and whoever
//! reads them comes after the last write ([`Accesses`]). Such an order is kept by a token per pair of engines, unless it follows
//! from tokens there already are ([`Clock`]). So the loads of a layer begin as soon as their buffers are free, whatever layer is
//! computed, and a core waits for another one only for the bytes it needs. As every wait is for an operation of an earlier job,
//! no engines wait for each other in a circle.

mod access;
mod tokens;

use std::fmt;

use cnnip_isa::Target;
use cnnip_isa::operation::Operation;
use cnnip_package::{Engine, EngineId};
use cnnip_timing::Cost;

use crate::division::Division;
use crate::job::LayerJobs;
use crate::size::small;
use access::Accesses;
use tokens::token;
pub(crate) use tokens::{MAX_CORES, owners};

/// The engines of a core, in the order of their lists.
pub(crate) const ENGINES: [Engine; 3] = [Engine::Dma0, Engine::Dma1, Engine::Cnn];
const DMA0: usize = 0;
const DMA1: usize = 1;
const CNN: usize = 2;

/// Engines of all cores: engine `e` of core `c` is number `c * ENGINES.len() + e`.
const ALL: usize = MAX_CORES * ENGINES.len();

/// Per engine, how many of its operations have ended.
type Clock = [usize; ALL];

/// Cycles of the commands around an operation, about.
const COMMAND_CYCLES: u64 = 8;

/// Signals of a token that may be open at once, well below the most that a token counts.
const MAX_OPEN: usize = 1 << 14;

/// One entry of an engine's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A layer begins.
    Mark(u32),
    /// Carries out an operation.
    Run(Operation),
    /// Adds one to a token.
    Signal(u8),
    /// Takes a number from a token.
    Wait(u8, u16),
}

/// What one engine does.
pub type EngineItems = Vec<Item>;

/// What the engines of one core do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreProgram {
    /// First DMA engine: loads.
    pub dma0: EngineItems,
    /// Second DMA engine: stores, copies, and loads that the first has no time for.
    pub dma1: EngineItems,
    /// CNN engine.
    pub cnn: EngineItems,
}

/// A run of device layers: one list per engine of each core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// By core.
    pub cores: Vec<CoreProgram>,
}

impl Program {
    /// The engines' lists, core by core in the order of `ENGINES`.
    pub fn lists(&self) -> impl Iterator<Item = (EngineId, &EngineItems)> {
        self.cores.iter().zip(0..=u8::MAX).flat_map(|(CoreProgram { dma0, dma1, cnn }, core)| {
            ENGINES.into_iter().zip([dma0, dma1, cnn]).map(move |(engine, items)| (EngineId { core, engine }, items))
        })
    }
}

/// One program per run of device layers between host steps, in order.
pub(crate) fn programs(division: &Division, layers: &[LayerJobs], target: &Target) -> Vec<Program> {
    let mut programs = vec![];
    let new = || Scheduler::new(target, division.cores());
    let mut open = new();
    let mut jobs = layers.iter().peekable();
    for (index, layer) in division.network.layers.iter().enumerate() {
        if layer.work.is_host() {
            programs.extend(std::mem::replace(&mut open, new()).finish());
            continue;
        }
        while let Some(of_layer) = jobs.next_if(|one| one.layer == index) {
            let duty = division.duty(index);
            open.layer(of_layer, usize::from(duty.core), small(duty.layer));
        }
    }
    programs.extend(open.finish());
    programs
}

/// An operation in its engine's list.
#[derive(Clone, Debug)]
struct Entry {
    operation: Operation,
    layer: u32,
    /// Tokens it waits for.
    waits: Vec<u8>,
    /// Tokens it signals when it has ended.
    signals: Vec<u8>,
    /// What is known to have ended when it has.
    known: Clock,
    /// Estimated cycle of its end.
    end: u64,
}

/// An engine's operations so far.
#[derive(Clone, Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    /// What is known to have ended before the next one.
    known: Clock,
    /// Per engine, signals to it since it was last waited for.
    open: Clock,
}

struct Scheduler<'t> {
    target: &'t Target,
    /// By number of the engine.
    queues: Vec<Queue>,
    accesses: Accesses,
}

impl<'t> Scheduler<'t> {
    fn new(target: &'t Target, cores: usize) -> Self {
        let queues = vec![Queue::default(); cores * ENGINES.len()];
        Self { target, queues, accesses: Accesses::default() }
    }

    /// Adds the jobs of a layer, or of a core's part of one, under the number of its mark.
    fn layer(&mut self, layer: &LayerJobs, core: usize, mark: u32) {
        let first = core * ENGINES.len();
        for job in &layer.jobs {
            for load in &job.loads {
                let needed = self.accesses.needed(load, core);
                self.add(self.loader(first, load, &needed), load, needed, mark);
            }
            for (engine, operations) in [(CNN, &job.computes), (DMA1, &job.stores)] {
                for operation in operations {
                    let needed = self.accesses.needed(operation, core);
                    self.add(first + engine, operation, needed, mark);
                }
            }
        }
    }

    /// The DMA engine that ends a load first, of the core whose engines begin at `first`; its first one if both do.
    fn loader(&self, first: usize, load: &Operation, needed: &Clock) -> usize {
        let end = |engine| self.end(first + engine, load, needed);
        first + if end(DMA1) < end(DMA0) { DMA1 } else { DMA0 }
    }

    /// Estimated cycle in which an operation ends.
    fn end(&self, engine: usize, operation: &Operation, needed: &Clock) -> u64 {
        let free = self.queues[engine].entries.last().map_or(0, |last| last.end);
        let ends = needed.iter().zip(&self.queues).filter_map(|(&count, queue)| queue.nth(count));
        let ready = ends.map(|entry| entry.end).max().unwrap_or(0);
        free.max(ready) + Cost::of(operation, self.target).cycles + COMMAND_CYCLES
    }

    /// Appends an operation that comes after those `needed`.
    fn add(&mut self, engine: usize, operation: &Operation, mut needed: Clock, layer: u32) {
        for (to, &open) in self.queues[engine].open.iter().enumerate() {
            if open >= MAX_OPEN {
                needed[to] = self.queues[to].entries.len();
            }
        }
        let end = self.end(engine, operation, &needed);
        let waits = self.wait(engine, &needed);
        let queue = &mut self.queues[engine];
        queue.known[engine] = queue.entries.len() + 1;
        let known = queue.known;
        queue.entries.push(Entry { operation: *operation, layer, waits, signals: vec![], known, end });
        self.accesses.record(operation, engine, known[engine]);
    }

    /// Makes an engine know that what is `needed` has ended; gives the tokens it must wait for.
    fn wait(&mut self, engine: usize, needed: &Clock) -> Vec<u8> {
        let missing = |from: usize| needed[from] > self.queues[engine].known[from];
        // What another missing operation knows need not be waited for.
        let implied = |from: usize| {
            let mut others = (0..self.queues.len()).filter(|&other| other != from && missing(other));
            others.any(|other| {
                self.queues[other].nth(needed[other]).is_some_and(|entry| entry.known[from] >= needed[from])
            })
        };
        let waited: Vec<usize> =
            (0..self.queues.len()).filter(|&from| from != engine && missing(from) && !implied(from)).collect();
        for &from in &waited {
            let queue = &mut self.queues[from];
            queue.open[engine] += 1;
            let Some(entry) = queue.nth_mut(needed[from]) else { continue };
            entry.signals.push(token(from, engine));
            let learned = entry.known;
            let queue = &mut self.queues[engine];
            queue.known = std::array::from_fn(|at| queue.known[at].max(learned[at]));
            queue.open[from] = 0;
        }
        waited.into_iter().map(|from| token(from, engine)).collect()
    }

    fn finish(self) -> Option<Program> {
        let used = self.queues.iter().any(|queue| !queue.entries.is_empty());
        let mut lists = self.queues.into_iter().map(Queue::items);
        let mut core = || Some(CoreProgram { dma0: lists.next()?, dma1: lists.next()?, cnn: lists.next()? });
        used.then(|| Program { cores: std::iter::from_fn(&mut core).collect() })
    }
}

impl Queue {
    /// The last of `count` operations.
    fn nth(&self, count: usize) -> Option<&Entry> {
        self.entries.get(count.checked_sub(1)?)
    }

    fn nth_mut(&mut self, count: usize) -> Option<&mut Entry> {
        self.entries.get_mut(count.checked_sub(1)?)
    }

    fn items(self) -> EngineItems {
        let mut items = vec![];
        let mut layer = None;
        for entry in self.entries {
            if layer.replace(entry.layer) != Some(entry.layer) {
                items.push(Item::Mark(entry.layer));
            }
            items.extend(entry.waits.into_iter().map(|token| Item::Wait(token, 1)));
            items.push(Item::Run(entry.operation));
            items.extend(entry.signals.into_iter().map(Item::Signal));
        }
        items
    }
}

/// One line per entry, engine by engine.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (engine, items) in self.lists() {
            writeln!(f, "{engine}")?;
            items.iter().try_for_each(|item| writeln!(f, "  {item:?}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use cnnip_isa::operation::{Copy, Location};

    fn load(address: u32) -> Operation {
        Operation::Copy(Copy::dense(Location::dram(0, 0), Location::sram(address), 64))
    }

    fn store(address: u32) -> Operation {
        Operation::Copy(Copy::dense(Location::sram(address), Location::dram(1, address), 64))
    }

    fn layer(jobs: Vec<Job>) -> LayerJobs {
        LayerJobs { layer: 7, plan: String::new(), resident: 0, buffers: vec![], jobs }
    }

    fn program(jobs: Vec<Job>) -> CoreProgram {
        let target = Target::by_name("v4h").unwrap();
        let mut scheduler = Scheduler::new(target, 1);
        scheduler.layer(&layer(jobs), 0, 7);
        scheduler.finish().unwrap().cores.remove(0)
    }

    fn job(loads: &[u32], stores: &[u32]) -> Job {
        Job {
            loads: loads.iter().map(|&at| load(at)).collect(),
            stores: stores.iter().map(|&at| store(at)).collect(),
            ..Job::default()
        }
    }

    #[test]
    fn a_store_waits_for_the_load_and_the_next_load_of_the_buffer_for_the_store() {
        let program = program(vec![job(&[0], &[0]), job(&[0], &[])]);
        let [there, back] = [token(DMA0, DMA1), token(DMA1, DMA0)];
        let (first, then) = (Item::Run(load(0)), Item::Run(store(0)));
        assert_eq!(program.dma0, [Item::Mark(7), first, Item::Signal(there), Item::Wait(back, 1), first]);
        assert_eq!(program.dma1, [Item::Mark(7), Item::Wait(there, 1), then, Item::Signal(back)]);
    }

    #[test]
    fn what_follows_from_another_token_is_not_waited_for() {
        let program = program(vec![job(&[0], &[0, 0])]);
        let waits = program.dma1.iter().filter(|item| matches!(item, Item::Wait(..))).count();
        assert_eq!(waits, 1, "{program:?}");
    }

    #[test]
    fn loads_use_both_engines_while_the_second_has_nothing_else_to_do() {
        let program = program(vec![job(&[0, 64, 128, 192], &[])]);
        let runs = |items: &EngineItems| items.iter().filter(|item| matches!(item, Item::Run(_))).count();
        assert_eq!((runs(&program.dma0), runs(&program.dma1)), (2, 2));
    }

    #[test]
    fn cores_have_scratchpads_of_their_own_and_share_external_memory() {
        let target = Target::by_name("v3u").unwrap();
        let mut scheduler = Scheduler::new(target, 2);
        let there = Operation::Copy(Copy::dense(Location::sram(0), Location::dram(1, 0), 64));
        let back = Operation::Copy(Copy::dense(Location::dram(1, 0), Location::sram(0), 64));
        scheduler.layer(&layer(vec![Job { stores: vec![there], ..Job::default() }]), 0, 0);
        scheduler.layer(&layer(vec![Job { loads: vec![back], ..Job::default() }]), 1, 0);
        let program = scheduler.finish().unwrap();
        let system = token(DMA1, ENGINES.len() + DMA0);
        assert!(system >= cnnip_package::FIRST_SYSTEM_TOKEN);
        assert_eq!(program.cores[0].dma1, [Item::Mark(0), Item::Run(there), Item::Signal(system)]);
        assert_eq!(program.cores[1].dma0, [Item::Mark(0), Item::Wait(system, 1), Item::Run(back)]);
    }

    #[test]
    fn a_token_never_counts_too_far() {
        let loads = u32::try_from(3 * MAX_OPEN).unwrap();
        let jobs =
            (0..loads).map(|at| Job { loads: vec![load(64 * at)], stores: vec![store(64 * at)], ..Job::default() });
        let program = program(jobs.collect());
        assert!(program.dma0.iter().any(|item| matches!(item, Item::Wait(..))), "dma0 waits for dma1 now and then");
    }
}
