//! The machine: what a caller makes, steps, runs and looks at.

use std::collections::BTreeMap;

use cnnip_isa::Target;
use cnnip_kernels::Kernels;

use crate::engine::Engine;
use crate::execute::Fast;
use crate::memory::{Memory, index};
use crate::race::Races;
use crate::{EngineId, Fault, MemoryError, Observer, Program, Region, State};

/// Which checks a machine makes beside those that memory safety of the device needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Unordered accesses to the same byte.
    pub race: bool,
    /// Reads of bytes that nothing has written.
    pub uninitialised: bool,
}

impl Checks {
    /// Everything.
    pub const ALL: Self = Self { race: true, uninitialised: true };
    /// Nothing. The result of a program with races then depends on the mode of execution.
    pub const NONE: Self = Self { race: false, uninitialised: false };
}

/// How a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Checks beside bounds and parameters.
    pub checks: Checks,
    /// Commands that all engines together may start.
    pub max_commands: u64,
    /// Cycles that may pass.
    pub max_cycles: u64,
    /// Kernels for whole operations; the results do not depend on them.
    pub kernels: Kernels,
}

impl Default for Options {
    /// All checks; a million commands and 10^10 cycles, about ten seconds of the device; the kernels that
    /// `CNNIP_KERNELS` names, else the best of this processor.
    fn default() -> Self {
        Self { checks: Checks::ALL, max_commands: 1_000_000, max_cycles: 10_000_000_000, kernels: Kernels::from_env() }
    }
}

/// Why execution came back to the caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The asked-for cycle or command is done; there is more to do.
    Paused,
    /// Every engine has ended.
    Done,
    /// The program did something illegal; commands in flight have drained.
    Fault(Box<Fault>),
}

/// A machine with a program, ready to be stepped or run.
pub struct Machine {
    pub(crate) target: &'static Target,
    pub(crate) program: Program,
    pub(crate) options: Options,
    pub(crate) state: State,
    pub(crate) fast: Fast,
}

impl Machine {
    /// A machine at cycle 0: registers zero, scratchpads never written, `regions[i]` bound as region `i`.
    pub fn new(target: &'static Target, program: Program, regions: Vec<Region>, options: Options) -> Self {
        let memory = Memory::new(program.cores(), target.sram_bytes, regions);
        let state = fresh_state(&program, memory);
        Self { target, program, options, state, fast: Fast::new(options.kernels) }
    }

    /// The target.
    pub fn target(&self) -> &'static Target {
        self.target
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The state as it stands after the last cycle.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Goes back to a saved state of this machine.
    pub fn restore(&mut self, state: &State) {
        self.state.clone_from(state);
    }

    /// Takes the buffers of the regions out, in order; constants and unbound regions give none.
    pub fn into_regions(self) -> Vec<Option<Vec<u8>>> {
        self.state.memory.regions.into_iter().map(crate::memory::Bound::into_buffer).collect()
    }

    /// Writes scratchpad bytes from outside, as a debugger does; they count as written and as ordered before everything.
    ///
    /// # Errors
    /// If the core does not exist or the bytes do not fit.
    pub fn write_sram(&mut self, core: u8, address: u32, bytes: &[u8]) -> Result<(), MemoryError> {
        let start = u64::from(address);
        let end = start + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(sram) = self.state.memory.srams.get_mut(usize::from(core)) else {
            return Err(MemoryError { start, end, size: 0 });
        };
        let size = u64::try_from(sram.data.len()).unwrap_or(0);
        if end > size {
            return Err(MemoryError { start, end, size });
        }
        sram.data[index(start)..index(end)].copy_from_slice(bytes);
        sram.written.set(index(start)..index(end));
        Ok(())
    }

    /// Does one cycle.
    pub fn step_cycle(&mut self, observer: &mut dyn Observer) -> Stop {
        self.run_until(self.state.now.saturating_add(1), observer)
    }

    /// Starts the next command in the order of starts, and lets time pass up to the start of the one after it.
    pub fn step_command(&mut self, observer: &mut dyn Observer) -> Stop {
        self.advance_one_command(observer)
    }

    /// Runs to the end.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Stop {
        self.run_until(u64::MAX, observer)
    }

    /// Runs until the end or until cycle `limit`, whichever comes first: what happens before `limit` has happened then.
    pub fn run_until(&mut self, limit: u64, observer: &mut dyn Observer) -> Stop {
        self.advance_until(limit, false, observer)
    }

    /// As [`run_until`](Self::run_until), but carries out every operation that starts before `limit` to its end, on the fast
    /// kernels. For a host that only wants control back: memory may be ahead of the cycle when this pauses.
    pub fn run_ahead(&mut self, limit: u64, observer: &mut dyn Observer) -> Stop {
        self.advance_until(limit, true, observer)
    }

    /// Engines of the machine, in order.
    pub fn engines(&self) -> impl Iterator<Item = EngineId> + use<> {
        (0..self.program.engines()).filter_map(EngineId::from_index)
    }

    /// True if the engine has executed `END` or never had a list.
    pub fn has_ended(&self, engine: EngineId) -> bool {
        self.state.engines.get(engine.index()).is_none_or(|engine| engine.ended)
    }
}

/// The state at cycle 0, with this memory.
pub(crate) fn fresh_state(program: &Program, memory: Memory) -> State {
    let ids = (0..program.engines()).filter_map(EngineId::from_index);
    let engines: Vec<Engine> = ids.map(|id| Engine::new(id.slot, program.list(id).is_some())).collect();
    State {
        now: 0,
        commands: 0,
        races: Races::new(engines.iter().map(|engine| engine.ended).collect()),
        engines,
        memory,
        tokens: program.token_keys().map(|key| (key, Default::default())).collect::<BTreeMap<_, _>>(),
        fault: None,
        told: false,
    }
}
