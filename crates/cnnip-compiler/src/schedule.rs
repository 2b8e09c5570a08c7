//! Jobs → programs: what each engine does in which order, and the tokens that join the engines.
//!
//! A job passes dma0, cnn, dma1, and each hands it on with a token:
//!
//! | token | from → to | says |
//! |---|---|---|
//! | [`LOADED`] | dma0 → cnn | a job's inputs are in the scratchpad |
//! | [`COMPUTED`] | cnn → dma1 | a job's outputs are in the scratchpad |
//! | [`DONE`] | dma1 → dma0 | a job is done: its buffers are free, its results are in external memory |
//!
//! All three engines take the jobs in one order, so the k-th signal of a token is about the k-th job. Before it
//! overwrites buffers, dma0 waits until the last job that used them is done; before the first load of a layer,
//! until all earlier jobs are done. Then every two accesses to a byte of which one writes are ordered: within an
//! engine by its list; dma0 → cnn → dma1 within a job by the tokens; a later load after an earlier store by `DONE`;
//! and dma1's stores after earlier loads, as it has waited for the `COMPUTED` of those jobs. Only dma1 writes
//! external memory.

use std::fmt;

use cnnip_graph::Place;
use cnnip_isa::operation::Operation;

use crate::error::{CompileErrors, Rule};
use crate::job::{Job, LayerJobs};
use cnnip_lowered::Network;

/// Token from dma0 to cnn.
pub(crate) const LOADED: u8 = 0;
/// Token from cnn to dma1.
pub(crate) const COMPUTED: u8 = 1;
/// Token from dma1 to dma0.
pub(crate) const DONE: u8 = 2;

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

/// A run of device layers: one list per engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// First DMA engine: loads.
    pub dma0: EngineItems,
    /// Second DMA engine: stores and copies.
    pub dma1: EngineItems,
    /// CNN engine.
    pub cnn: EngineItems,
}

/// One program per run of device layers between host steps, in order.
pub(crate) fn programs(legalized: &Network, layers: &[LayerJobs]) -> Result<Vec<Program>, CompileErrors> {
    let mut programs = vec![];
    let mut open = Scheduler::default();
    let mut jobs = layers.iter().peekable();
    for (index, layer) in legalized.layers.iter().enumerate() {
        if layer.work.is_host() {
            programs.extend(std::mem::take(&mut open).finish()?);
            continue;
        }
        while let Some(of_layer) = jobs.next_if(|one| one.layer == index) {
            open.layer(of_layer)?;
        }
    }
    programs.extend(open.finish()?);
    Ok(programs)
}

#[derive(Default)]
struct Scheduler {
    program: Program,
    /// Jobs so far.
    jobs: usize,
    /// `DONE` signals that dma0 has consumed.
    consumed: usize,
}

impl Scheduler {
    fn layer(&mut self, layer: &LayerJobs) -> Result<(), CompileErrors> {
        let mark = Item::Mark(crate::size::small(layer.layer));
        self.program.dma1.push(mark);
        if layer.jobs.iter().any(Job::is_computed) {
            self.program.dma0.push(mark);
            self.program.cnn.push(mark);
        }
        let start = self.jobs;
        // Per buffer: how many jobs must be done before it may be overwritten.
        let mut free = vec![start; layer.buffers.len()];
        for job in &layer.jobs {
            let needed = job.claims.iter().map(|&buffer| free[buffer]).fold(start, usize::max);
            self.job(job, needed)?;
            job.uses.iter().for_each(|&buffer| free[buffer] = self.jobs);
        }
        Ok(())
    }

    /// Appends a job whose loads may begin when `needed` jobs are done.
    fn job(&mut self, job: &Job, needed: usize) -> Result<(), CompileErrors> {
        let runs = |operations: &[Operation]| operations.iter().map(|&one| Item::Run(one)).collect::<Vec<_>>();
        if job.is_computed() {
            self.wait_done(needed)?;
            self.program.dma0.extend(runs(&job.loads));
            self.program.dma0.push(Item::Signal(LOADED));
            self.program.cnn.push(Item::Wait(LOADED, 1));
            self.program.cnn.extend(runs(&job.computes));
            self.program.cnn.push(Item::Signal(COMPUTED));
            self.program.dma1.push(Item::Wait(COMPUTED, 1));
        }
        self.program.dma1.extend(runs(&job.stores));
        self.program.dma1.push(Item::Signal(DONE));
        self.jobs += 1;
        Ok(())
    }

    /// Makes dma0 wait until `needed` jobs are done.
    fn wait_done(&mut self, needed: usize) -> Result<(), CompileErrors> {
        let missing = needed.saturating_sub(self.consumed);
        let most = usize::from(u16::MAX);
        let too_many =
            || CompileErrors::one(Place::Model, Rule::TooMany { what: "jobs in a row", found: missing, most });
        if missing > 0 {
            let count = u16::try_from(missing).map_err(|_| too_many())?;
            self.program.dma0.push(Item::Wait(DONE, count));
            self.consumed = needed;
        }
        Ok(())
    }

    /// Takes the remaining signals, so that all tokens are zero again.
    fn finish(mut self) -> Result<Option<Program>, CompileErrors> {
        self.wait_done(self.jobs)?;
        Ok((self.jobs > 0).then_some(self.program))
    }
}

/// One line per entry, engine by engine.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, items) in [("dma0", &self.dma0), ("dma1", &self.dma1), ("cnn", &self.cnn)] {
            writeln!(f, "{name}")?;
            items.iter().try_for_each(|item| writeln!(f, "  {item:?}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Buffer;

    fn computed(claims: &[usize]) -> Job {
        let load = crate::strided::fill(cnnip_isa::operation::Location::sram(0), 1, 0, 1);
        Job { claims: claims.to_vec(), uses: claims.to_vec(), loads: vec![load], ..Job::default() }
    }

    fn waits(layers: &[LayerJobs]) -> Vec<u16> {
        let mut scheduler = Scheduler::default();
        layers.iter().for_each(|layer| scheduler.layer(layer).unwrap());
        let program = scheduler.finish().unwrap().unwrap();
        let count = |item: &Item| if let Item::Wait(DONE, count) = item { Some(*count) } else { None };
        program.dma0.iter().filter_map(count).collect()
    }

    #[test]
    fn loads_wait_for_their_buffers_and_for_the_layer_before() {
        let buffer = Buffer { name: "input", address: 0, bytes: 64 };
        let layer = |layer, jobs| LayerJobs { layer, plan: String::new(), buffers: vec![buffer.clone(); 2], jobs };
        let turns = || vec![computed(&[0]), computed(&[1]), computed(&[0]), computed(&[1])];
        assert_eq!(waits(&[layer(0, turns())]), [1, 1, 2], "third and fourth job, and the end");
        assert_eq!(waits(&[layer(0, turns()), layer(1, vec![computed(&[0])])]), [1, 1, 2, 1]);
        assert_eq!(waits(&[layer(0, vec![Job::default()]), layer(1, vec![computed(&[0])])]), [1, 1]);
    }
}
