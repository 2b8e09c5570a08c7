//! Jobs: one run of a package's program, advanced by whoever holds it.

use std::fmt;
use std::sync::Arc;

use cnnip_core::{Fault, FaultCause, Machine, NoObserver, Observer, State, Stop};
use cnnip_isa::operation::Operation;
use cnnip_isa::{Command, HostStatus};

use crate::budget::Allowance;
use crate::host_step::HostPlan;
use crate::plan::{DeviceStep, Plan, PlannedStep, bytes_of};
use crate::registers::Window;
use crate::{EngineId, Event, FaultReport, HostStepError, JobFault, Outputs, Recording, Session, Totals};

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// There is more to do.
    Running,
    /// All steps have ended; [`Job::wait`] gives the outputs.
    Done,
    /// The program did something wrong; [`Job::fault`] says what.
    Fault,
}

/// A session at work. Dropping it frees everything; [`abandon`](Self::abandon) keeps the session.
pub struct Job {
    pub(crate) session: Session,
    pub(crate) progress: Progress,
}

/// How far a job has come, beside the machine and its memory.
#[derive(Clone)]
pub(crate) struct Progress {
    /// Index of the step at work, or next.
    pub(crate) step: usize,
    /// Whether the device step at work has started.
    pub(crate) started: bool,
    /// What the steps before took.
    spent: Totals,
    end: Option<Result<(), JobFault>>,
    /// Host registers of each core.
    pub(crate) windows: Vec<Window>,
}

impl Progress {
    fn new(plan: &Plan) -> Self {
        let cores = usize::try_from(plan.target.cores).unwrap_or(0);
        Self { step: 0, started: false, spent: Totals::default(), end: None, windows: vec![Window::default(); cores] }
    }
}

/// A moment of a job, to go back to: see [`Job::save`].
#[derive(Clone)]
pub struct Saved {
    progress: Progress,
    state: State,
    host: Vec<Option<Vec<u8>>>,
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved").field("step", &self.progress.step).field("cycle", &self.state.cycle()).finish()
    }
}

/// A job that ended with a fault, given back by [`Job::wait`] for a look at the machine.
#[derive(thiserror::Error)]
#[error("{fault}")]
pub struct Failed {
    /// What went wrong.
    pub fault: JobFault,
    /// The job as it stands.
    pub job: Job,
}

impl Failed {
    /// The fault with everything a person needs to find its cause.
    pub fn report(&self) -> FaultReport {
        FaultReport::new(&self.job.session.plan, &self.fault)
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, totals) = (self.progress.step, self.totals());
        f.debug_struct("Job").field("status", &self.status()).field("step", &step).field("totals", &totals).finish()
    }
}

impl Job {
    pub(crate) fn new(mut session: Session) -> Self {
        session.forget();
        let progress = Progress::new(&session.plan);
        Self { session, progress }
    }

    /// How the job stands.
    pub fn status(&self) -> Status {
        match self.progress.end {
            None => Status::Running,
            Some(Ok(())) => Status::Done,
            Some(Err(_)) => Status::Fault,
        }
    }

    /// Why the job did not come to its end, if so.
    pub fn fault(&self) -> Option<&JobFault> {
        self.progress.end.as_ref()?.as_ref().err()
    }

    /// The fault with everything a person needs to find its cause: place, command, neighbours, registers, layer, hint.
    pub fn report(&self) -> Option<FaultReport> {
        self.fault().map(|fault| FaultReport::new(&self.session.plan, fault))
    }

    /// Commands and estimated cycles so far.
    pub fn totals(&self) -> Totals {
        let Totals { commands, cycles } = self.progress.spent;
        let state = self.session.machine.state();
        match self.progress.started {
            true => Totals { commands: commands + state.commands(), cycles: cycles + state.cycle() },
            false => Totals { commands, cycles },
        }
    }

    /// Advances the job by `max_cycles` at most, host steps taking none. Between polls the memory of an operation in work may
    /// be ahead of the cycle; [`step_cycle`](Self::step_cycle) never is.
    pub fn poll(&mut self, max_cycles: u64) -> Status {
        self.poll_with(max_cycles, &mut NoObserver)
    }

    /// As [`poll`](Self::poll), watched by an observer.
    pub fn poll_with(&mut self, max_cycles: u64, observer: &mut dyn Observer) -> Status {
        let goal = self.totals().cycles.saturating_add(max_cycles);
        while self.status() == Status::Running && self.totals().cycles < goal {
            let limit = goal - self.progress.spent.cycles;
            self.advance(observer, |machine, observer| machine.run_ahead(limit, observer));
        }
        self.status()
    }

    /// Does one cycle of the device, or one host step.
    pub fn step_cycle(&mut self, observer: &mut dyn Observer) -> Status {
        self.advance(observer, |machine, observer| machine.step_cycle(observer));
        self.status()
    }

    /// Starts the next command of the device in the order of starts, and lets time pass up to the start of the one after it;
    /// or does one host step.
    pub fn step_command(&mut self, observer: &mut dyn Observer) -> Status {
        self.advance(observer, |machine, observer| machine.step_command(observer));
        self.status()
    }

    /// Runs the job to its end.
    ///
    /// # Errors
    /// [`Failed`], with the job, if the program did something wrong.
    pub fn wait(self) -> Result<Outputs, Box<Failed>> {
        self.wait_with(&mut NoObserver)
    }

    /// As [`wait`](Self::wait), watched by an observer.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_with(mut self, observer: &mut dyn Observer) -> Result<Outputs, Box<Failed>> {
        while self.poll_with(u64::MAX, observer) == Status::Running {}
        match self.fault().cloned() {
            None => {
                let totals = self.totals();
                Ok(Outputs::new(self.session, totals))
            }
            Some(fault) => Err(Box::new(Failed { fault, job: self })),
        }
    }

    /// Back to the moment of submission: status registers clear, memory but constants and inputs as new.
    pub fn reset(&mut self) {
        self.session.forget();
        self.session.machine.restart(self.session.plan.idle.clone(), cnnip_core::Options::default());
        self.progress = Progress::new(&self.session.plan);
    }

    /// Ends the job where it stands; the outputs are lost, inputs stay bound.
    pub fn abandon(self) -> Session {
        self.session
    }

    /// The machine as it stands: registers, scratchpads, external memory that the cores see, tokens. Outside of a device step,
    /// as the last one left it.
    pub fn state(&self) -> &State {
        self.session.machine.state()
    }

    /// The intermediate tensors so far that [`Session::record`] asked for.
    pub fn recording(&self) -> Option<&Recording> {
        self.session.recording.as_ref()
    }

    /// The package.
    pub fn package(&self) -> &crate::Package {
        &self.session.plan.package
    }

    /// Index of the step at work, or next.
    pub fn step(&self) -> usize {
        self.progress.step
    }

    /// The list that an engine runs in the step at work.
    pub fn list(&self, engine: EngineId) -> Option<&cnnip_package::List> {
        let id = self.session.plan.list_of(self.progress.step, engine)?;
        self.package().list(id)
    }

    /// Remembers this moment.
    pub fn save(&self) -> Saved {
        let state = self.session.machine.state().clone();
        Saved { progress: self.progress.clone(), state, host: self.session.host.clone() }
    }

    /// Goes back to a moment of this job.
    pub fn restore(&mut self, saved: &Saved) {
        let plan = Arc::clone(&self.session.plan);
        let program = match plan.steps.get(saved.progress.step) {
            Some(PlannedStep::Device(step)) if saved.progress.started => &step.program,
            _ => &plan.idle,
        };
        self.progress = saved.progress.clone();
        self.session.host.clone_from(&saved.host);
        self.session.machine.restart(program.clone(), self.left());
        self.session.machine.restore(&saved.state);
    }

    /// What the steps before have left of the allowance.
    fn left(&self) -> cnnip_core::Options {
        let Session { plan, options, .. } = &self.session;
        let allowance = Allowance::new(options, plan.package.budget, plan.target);
        let Totals { commands, cycles } = self.progress.spent;
        allowance.left(commands, cycles, options.checks)
    }

    /// One host step, or a part of a device step.
    fn advance(&mut self, observer: &mut dyn Observer, run: impl FnOnce(&mut Machine, &mut dyn Observer) -> Stop) {
        if self.status() != Status::Running {
            return;
        }
        let plan = Arc::clone(&self.session.plan);
        match plan.steps.get(self.progress.step) {
            Some(PlannedStep::Device(step)) => {
                self.start(step);
                let stop = self.drive(observer, run);
                self.stopped(stop);
            }
            Some(PlannedStep::Host(step)) => match self.host_step(step) {
                Ok(()) => self.next_step(),
                Err(why) => {
                    let (step, operator) = (self.progress.step, step.operator);
                    self.progress.end = Some(Err(JobFault::Host { step, operator, why }));
                }
            },
            None => self.finish(),
        }
    }

    /// Starts a device step, unless it has started.
    pub(crate) fn start(&mut self, step: &DeviceStep) {
        if self.progress.started {
            return;
        }
        let options = self.left();
        self.session.machine.restart(step.program.clone(), options);
        self.progress.started = true;
        for (core, window) in (0..=u8::MAX).zip(&mut self.progress.windows) {
            window.status.remove(HostStatus::DONE);
            window.raise(HostStatus::RUNNING, Event::Started { core }, &mut self.session.handler);
        }
    }

    fn drive(
        &mut self,
        observer: &mut dyn Observer,
        run: impl FnOnce(&mut Machine, &mut dyn Observer) -> Stop,
    ) -> Stop {
        let Session { machine, handler, plan, recording, .. } = &mut self.session;
        let step = self.progress.step;
        let recorder = recording.as_mut().map(|recording| Recorder { plan, step, recording });
        run(machine, &mut Relay { observer, windows: &mut self.progress.windows, handler, recorder })
    }

    fn stopped(&mut self, stop: Stop) {
        match stop {
            Stop::Paused => {}
            Stop::Done => {
                for window in &mut self.progress.windows {
                    window.status.insert(HostStatus::DONE);
                }
                self.next_step();
            }
            Stop::Fault(fault) => self.faulted(fault),
        }
    }

    fn faulted(&mut self, fault: Box<Fault>) {
        for window in &mut self.progress.windows {
            window.status.insert(HostStatus::FAULT);
        }
        let core = fault.at.engine.core;
        if let (FaultCause::Trap { code }, Some(window)) =
            (&fault.cause, self.progress.windows.get_mut(usize::from(core)))
        {
            window.code = *code;
            window.raise(HostStatus::TRAP, Event::Trap { core, code: *code }, &mut self.session.handler);
        }
        self.progress.end = Some(Err(JobFault::Device { step: self.progress.step, fault }));
    }

    fn next_step(&mut self) {
        self.progress.spent = self.totals();
        self.progress.started = false;
        self.progress.step += 1;
        if self.progress.step >= self.session.plan.steps.len() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.progress.end = Some(self.check_outputs());
    }

    fn check_outputs(&self) -> Result<(), JobFault> {
        let package = &self.session.plan.package;
        let outputs = package.outputs.iter().filter_map(|&id| package.tensor(id));
        for tensor in outputs {
            if let Some(byte) = self.first_unwritten(tensor) {
                return Err(JobFault::OutputNotWritten { tensor: tensor.name.clone(), byte });
            }
        }
        Ok(())
    }

    /// The first byte of a tensor that nothing has written, in checked mode and where the cores can see it.
    fn first_unwritten(&self, tensor: &cnnip_package::Tensor) -> Option<u64> {
        let region = tensor.place.region;
        let checked = self.session.options.checks.uninitialised && self.session.plan.is_visible(region);
        let byte = checked.then(|| self.session.machine.first_unwritten(region.0, bytes_of(tensor))).flatten()?;
        Some(byte - tensor.place.offset)
    }

    fn host_step(&mut self, step: &HostPlan) -> Result<(), HostStepError> {
        for input in &step.inputs {
            if let Some(byte) = self.first_unwritten(input) {
                return Err(HostStepError::Uninitialised { tensor: input.name.clone(), byte });
            }
        }
        let inputs: Vec<&[u8]> = step.inputs.iter().map(|input| self.session.read(input)).collect();
        let output = step.run(&inputs)?;
        self.session.write(&step.output, &output);
        let package = &self.session.plan.package;
        if let (Some(recording), Some(id)) = (&mut self.session.recording, package.tensor_named(&step.output.name)) {
            recording.on_host(id, &output);
        }
        Ok(())
    }
}

/// Between the machine and the caller's observer: notes interrupts and calls the handler.
struct Relay<'a> {
    observer: &'a mut dyn Observer,
    windows: &'a mut [Window],
    handler: &'a mut Option<crate::event::Handler>,
    recorder: Option<Recorder<'a>>,
}

/// What records intermediate tensors of a step.
struct Recorder<'a> {
    plan: &'a Plan,
    step: usize,
    recording: &'a mut Recording,
}

impl Observer for Relay<'_> {
    fn command(&mut self, engine: EngineId, pc: usize, command: &Command<'_>, cycle: u64) {
        self.observer.command(engine, pc, command, cycle);
    }

    fn operation(&mut self, engine: EngineId, pc: usize, operation: &Operation, start: u64, end: u64) {
        if let Some(recorder) = &mut self.recorder {
            recorder.recording.started(engine, start, end);
        }
        self.observer.operation(engine, pc, operation, start, end);
    }

    fn retired(&mut self, engine: EngineId, pc: usize, operation: &Operation, state: &State) {
        if let Some(Recorder { plan, step, recording }) = &mut self.recorder
            && let Some(list) = plan.list_of(*step, engine)
        {
            recording.retired(*step, list, engine, pc, state);
        }
        self.observer.retired(engine, pc, operation, state);
    }

    fn interrupt(&mut self, core: u8, code: u32, cycle: u64) {
        if let Some(window) = self.windows.get_mut(usize::from(core)) {
            window.code = code;
            window.raise(HostStatus::INTERRUPT, Event::Interrupt { core, code }, self.handler);
        }
        self.observer.interrupt(core, code, cycle);
    }

    fn fault(&mut self, fault: &Fault) {
        self.observer.fault(fault);
    }
}
