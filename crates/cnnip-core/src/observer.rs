//! Watching from outside: hooks that default to nothing.

use cnnip_isa::Command;
use cnnip_isa::operation::Operation;

use crate::{EngineId, Fault, State};

/// Called while a machine works. Every hook defaults to nothing.
pub trait Observer {
    /// A command starts at `cycle`, before its effect; `pc` is its word index.
    fn command(&mut self, _engine: EngineId, _pc: usize, _command: &Command<'_>, _cycle: u64) {}

    /// An operation passed its checks and will take the cycles `start..end`.
    fn operation(&mut self, _engine: EngineId, _pc: usize, _operation: &Operation, _start: u64, _end: u64) {}

    /// An operation has written its last result; `state` is the machine as it stands then.
    fn retired(&mut self, _engine: EngineId, _pc: usize, _operation: &Operation, _state: &State) {}

    /// `INT` was executed.
    fn interrupt(&mut self, _core: u8, _code: u32, _cycle: u64) {}

    /// The machine has stopped at a fault, and what was in flight has drained. Called once.
    fn fault(&mut self, _fault: &Fault) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
