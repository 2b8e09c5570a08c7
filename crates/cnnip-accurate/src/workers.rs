//! Threads that share the work of a layer.

use std::sync::{Mutex, PoisonError};

use cnnip_kernels::{Kernels, Team};

use crate::error::SimulatorError;
use crate::step::{Overflow, Tools};

/// What the work of a part should take at least, in nanoseconds: some times what it costs to hand it out.
const LEAST_NANOSECONDS: usize = 2_000;

/// The caller's thread and those that help it, each with tools of its own.
#[derive(Debug)]
pub(crate) struct Workers {
    /// `None` for the caller's thread alone.
    team: Option<Team>,
    tools: Vec<Mutex<Tools>>,
    /// Nanoseconds of a part of a layer at least.
    least: usize,
}

impl Workers {
    /// The caller's thread alone.
    pub(crate) fn one(kernels: Kernels) -> Self {
        Self { team: None, tools: vec![Mutex::new(Tools::new(kernels))], least: LEAST_NANOSECONDS }
    }

    /// With `threads` threads in all.
    pub(crate) fn many(kernels: Kernels, threads: usize) -> Result<Self, SimulatorError> {
        let team = if threads > 1 { Some(Team::new(threads)) } else { None };
        let team = team.transpose().map_err(|why| SimulatorError::Threads { threads, why: why.to_string() })?;
        let tools = (0..threads.max(1)).map(|_| Mutex::new(Tools::new(kernels))).collect();
        Ok(Self { team, tools, least: LEAST_NANOSECONDS })
    }

    /// The tools of the caller's thread.
    pub(crate) fn main(&mut self) -> &mut Tools {
        self.tools[0].get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parts that a layer is worth which takes about so many nanoseconds.
    pub(crate) fn parts(&self, nanoseconds: usize) -> usize {
        (nanoseconds / self.least.max(1)).clamp(1, self.tools.len())
    }

    /// Does all jobs, side by side if there are several.
    ///
    /// # Errors
    /// That of the first element, whichever is found first.
    pub(crate) fn run<J: Send>(
        &mut self,
        jobs: impl ExactSizeIterator<Item = J>,
        work: impl Fn(&mut Tools, J) -> Result<(), Overflow> + Sync,
    ) -> Result<(), Overflow> {
        let Some(team) = self.team.as_mut().filter(|_| jobs.len() > 1) else {
            let tools = self.main();
            return { jobs }.try_for_each(|job| work(tools, job)); // only one part
        };
        let jobs: Vec<Mutex<Option<J>>> = jobs.map(|job| Mutex::new(Some(job))).collect();
        let first: Mutex<Option<Overflow>> = Mutex::new(None);
        let tools = &self.tools;
        team.run(jobs.len(), &|member, at| {
            // Nobody else asks for these locks: a member does one job at a time, and a job is done once.
            let job = jobs[at].lock().unwrap_or_else(PoisonError::into_inner).take();
            let tools = &mut *tools[member].lock().unwrap_or_else(PoisonError::into_inner);
            let Some(Err(overflow)) = job.map(|job| work(tools, job)) else { return };
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            if first.as_ref().is_none_or(|before| overflow.element() < before.element()) {
                *first = Some(overflow);
            }
        });
        first.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Splits every layer, however small.
    #[cfg(test)]
    pub(crate) fn eager(mut self) -> Self {
        self.least = 1;
        self
    }
}
