//! Jobs on a thread of their own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use crate::{Failed, Job, JobFault, Outputs, Status};

/// Cycles between two looks at whether the host wants the job to stop.
const SLICE: u64 = 100_000;

/// A job on its own thread. Dropping this makes the thread end soon, without waiting for it.
#[derive(Debug)]
pub struct RunningJob {
    guard: StopOnDrop,
    thread: JoinHandle<Result<Outputs, Box<Failed>>>,
}

impl Job {
    /// Runs the job on a new thread; its event handler is called there.
    ///
    /// # Errors
    /// The operating system's, if there are no more threads.
    pub fn spawn(self) -> io::Result<RunningJob> {
        let stop = Arc::new(AtomicBool::new(false));
        let (guard, seen) = (StopOnDrop(Arc::clone(&stop)), Arc::clone(&stop));
        let thread = Builder::new().name("cnnip-job".to_owned()).spawn(move || run(self, &seen))?;
        Ok(RunningJob { guard, thread })
    }
}

fn run(mut job: Job, stop: &AtomicBool) -> Result<Outputs, Box<Failed>> {
    while !stop.load(Ordering::Relaxed) {
        if job.poll(SLICE) != Status::Running {
            return job.wait();
        }
    }
    Err(Box::new(Failed { fault: JobFault::Stopped, job }))
}

impl RunningJob {
    /// Whether the job is over, so that [`join`](Self::join) does not wait.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Tells the job to stop; it does so between two commands.
    pub fn stop(&self) {
        self.guard.0.store(true, Ordering::Relaxed);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`Failed`], with the job, if the program did something wrong, or [`stop`](Self::stop) came first.
    ///
    /// # Panics
    /// If the job's event handler panicked: the panic goes on here.
    pub fn join(self) -> Result<Outputs, Box<Failed>> {
        let Self { thread, guard } = self;
        let result = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        drop(guard); // not before: dropping it stops the job
        result
    }
}

/// Stops the job when the last one who can wait for it has gone.
#[derive(Debug)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
