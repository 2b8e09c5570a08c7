//! Threads that share the work of a layer.

use rayon::ThreadPool;

use cnnip_kernels::Kernels;

use crate::error::SimulatorError;
use crate::step::{Overflow, Tools};

/// Products of a layer below which another thread costs more than it gains: some microseconds of a fast kernel.
const LEAST_PRODUCTS: usize = 1 << 21;

/// The caller's thread and those that help it, each with tools of its own.
#[derive(Debug)]
pub(crate) struct Workers {
    /// One thread less than there are tools; `None` for the caller's alone.
    pool: Option<ThreadPool>,
    tools: Vec<Tools>,
    /// Products that a part of a layer has at least.
    least: usize,
}

impl Workers {
    /// The caller's thread alone.
    pub(crate) fn one(kernels: Kernels) -> Self {
        Self { pool: None, tools: vec![Tools::new(kernels)], least: LEAST_PRODUCTS }
    }

    /// With `threads` threads in all.
    pub(crate) fn many(kernels: Kernels, threads: usize) -> Result<Self, SimulatorError> {
        let helpers = threads.saturating_sub(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(helpers).thread_name(|at| format!("accurate {at}"));
        let pool = if helpers == 0 { None } else { Some(pool.build()) };
        let pool = pool.transpose().map_err(|why| SimulatorError::Threads { threads, why: why.to_string() })?;
        let tools = (0..threads.max(1)).map(|_| Tools::new(kernels)).collect();
        Ok(Self { pool, tools, least: LEAST_PRODUCTS })
    }

    /// The tools of the caller's thread.
    pub(crate) fn main(&mut self) -> &mut Tools {
        &mut self.tools[0]
    }

    /// Parts that a layer of so many products is worth.
    pub(crate) fn parts(&self, products: usize) -> usize {
        (products / self.least.max(1)).clamp(1, self.tools.len())
    }

    /// Does at most as many jobs as there are threads, side by side.
    ///
    /// # Errors
    /// That of the first job in their order, whichever is done first.
    pub(crate) fn run<J: Send>(
        &mut self,
        jobs: Vec<J>,
        work: impl Fn(&mut Tools, J) -> Result<(), Overflow> + Sync,
    ) -> Result<(), Overflow> {
        let Some(pool) = self.pool.as_ref().filter(|_| jobs.len() > 1) else {
            let tools = self.main();
            return jobs.into_iter().try_for_each(|job| work(tools, job));
        };
        let mut results: Vec<Result<(), Overflow>> = jobs.iter().map(|_| Ok(())).collect();
        let work = &work;
        pool.in_place_scope(|scope| {
            let mut all = jobs.into_iter().zip(&mut self.tools).zip(&mut results);
            let own = all.next();
            for ((job, tools), result) in all {
                scope.spawn(move |_| *result = work(tools, job));
            }
            if let Some(((job, tools), result)) = own {
                *result = work(tools, job);
            }
        });
        results.into_iter().collect()
    }

    /// Splits every layer, however small.
    #[cfg(test)]
    pub(crate) fn eager(mut self) -> Self {
        self.least = 1;
        self
    }
}
