//! Races: unordered accesses to the same byte, found by vector clocks and exact footprints.
//!
//! Every engine counts its commands. An access is ordered before an engine's next command if that engine's clock, raised by the
//! tokens it waited for, has reached the access's count. Accesses that are ordered before every engine still running are
//! forgotten, so the lists stay as short as the program's own synchronisation is tight.

use cnnip_isa::operation::{Footprint, Operand, Role, Space};

use crate::{CommandId, EngineId, FaultCause};

/// For every engine, the number of its commands that happened before.
pub(crate) type Clock = Box<[u64]>;

#[derive(Clone, Debug, PartialEq)]
struct Access {
    epoch: u64,
    role: Role,
    bytes: Footprint,
    at: CommandId,
}

/// The clocks and the accesses that may still race.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Races {
    clocks: Vec<Clock>,
    /// Per engine, in program order.
    live: Vec<Vec<Access>>,
    /// Per engine, the length of its list at which old accesses are looked for.
    prune_at: Vec<usize>,
    ended: Vec<bool>,
}

/// Lists shorter than this are not worth pruning.
const PRUNE_MINIMUM: usize = 32;

impl Races {
    pub(crate) fn new(ended: Vec<bool>) -> Self {
        let engines = ended.len();
        Self {
            clocks: vec![vec![0; engines].into(); engines],
            live: vec![Vec::new(); engines],
            prune_at: vec![PRUNE_MINIMUM; engines],
            ended,
        }
    }

    /// Counts a command of `engine`.
    pub(crate) fn tick(&mut self, engine: EngineId) {
        let index = engine.index();
        self.clocks[index][index] += 1;
    }

    /// The engine will not access anything any more.
    pub(crate) fn end(&mut self, engine: EngineId) {
        self.ended[engine.index()] = true;
    }

    /// What happened before the engine's present command, that included.
    pub(crate) fn clock(&self, engine: EngineId) -> Clock {
        self.clocks[engine.index()].clone()
    }

    /// All that happened before `signal` happened before the engine's next commands.
    pub(crate) fn join(&mut self, engine: EngineId, signal: &Clock) {
        for (mine, theirs) in self.clocks[engine.index()].iter_mut().zip(signal) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// The race that an access of `engine` makes, if any.
    pub(crate) fn check(&self, engine: EngineId, operand: &Operand) -> Option<FaultCause> {
        let clock = &self.clocks[engine.index()];
        let others = self.live.iter().enumerate().filter(|(index, _)| *index != engine.index());
        for (index, accesses) in others {
            for other in accesses.iter().rev().take_while(|other| other.epoch > clock[index]) {
                if let Some(byte) = conflict(engine, operand, other) {
                    return Some(FaultCause::Race {
                        role: operand.role,
                        space: operand.bytes.space(),
                        byte,
                        other: other.at,
                        other_role: other.role,
                    });
                }
            }
        }
        None
    }

    /// Remembers an access of the command at `at`.
    pub(crate) fn record(&mut self, at: CommandId, operand: &Operand) {
        let index = at.engine.index();
        let epoch = self.clocks[index][index];
        self.live[index].push(Access { epoch, role: operand.role, bytes: operand.bytes, at });
        if self.live[index].len() >= self.prune_at[index] {
            self.prune(index);
        }
    }

    /// Forgets accesses of an engine that happened before everything the others can still do.
    fn prune(&mut self, index: usize) {
        let running = (0..self.ended.len()).filter(|&other| other != index && !self.ended[other]);
        let seen_by_all = running.map(|other| self.clocks[other][index]).min().unwrap_or(u64::MAX);
        self.live[index].retain(|access| access.epoch > seen_by_all);
        self.prune_at[index] = (self.live[index].len() * 2).max(PRUNE_MINIMUM);
    }
}

/// A byte that both accesses have, if one of them writes.
fn conflict(engine: EngineId, operand: &Operand, other: &Access) -> Option<u64> {
    let same_memory = operand.bytes.space() != Space::Sram || engine.core == other.at.engine.core;
    let writes = operand.role.is_write() || other.role.is_write();
    if same_memory && writes { operand.bytes.first_common_byte(&other.bytes) } else { None }
}
