//! Races: unordered accesses to the same byte, found by vector clocks and exact footprints.
//!
//! Every engine counts its commands. An access is ordered before an engine's next command if that engine's clock, raised by the
//! tokens it waited for, has reached the access's count. Accesses that are ordered before every engine still running are
//! forgotten, and of equal accesses of one engine only the last is kept, so the lists stay as short as the program's own
//! synchronisation is tight. Long lists are looked up by page.

use std::collections::HashMap;
use std::ops::RangeInclusive;

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
    live: Vec<Live>,
    ended: Vec<bool>,
}

impl Races {
    pub(crate) fn new(ended: Vec<bool>) -> Self {
        let engines = ended.len();
        Self { clocks: vec![vec![0; engines].into(); engines], live: vec![Live::default(); engines], ended }
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
        let mut races =
            others.filter_map(|(index, live)| {
                live.find(&operand.bytes, |other| {
                    if other.epoch > clock[index] { conflict(engine, operand, other) } else { None }
                })
            });
        races.next().map(|(other, byte)| FaultCause::Race {
            role: operand.role,
            space: operand.bytes.space(),
            byte,
            other: other.at,
            other_role: other.role,
        })
    }

    /// Remembers an access of the command at `at`.
    pub(crate) fn record(&mut self, at: CommandId, operand: &Operand) {
        let index = at.engine.index();
        let epoch = self.clocks[index][index];
        self.live[index].record(Access { epoch, role: operand.role, bytes: operand.bytes, at });
        if self.live[index].is_due() {
            let seen_by_all = self.seen_by_all(index);
            self.live[index].prune(seen_by_all);
        }
    }

    /// The number of an engine's commands that happened before everything the others can still do.
    fn seen_by_all(&self, index: usize) -> u64 {
        let running = (0..self.ended.len()).filter(|&other| other != index && !self.ended[other]);
        running.map(|other| self.clocks[other][index]).min().unwrap_or(u64::MAX)
    }
}

/// A byte that both accesses have, if one of them writes.
fn conflict(engine: EngineId, operand: &Operand, other: &Access) -> Option<u64> {
    let same_memory = operand.bytes.space() != Space::Sram || engine.core == other.at.engine.core;
    let writes = operand.role.is_write() || other.role.is_write();
    if same_memory && writes { operand.bytes.first_common_byte(&other.bytes) } else { None }
}

/// One engine's accesses, with an index by page once there are many.
#[derive(Clone, Debug, Default, PartialEq)]
struct Live {
    accesses: Vec<Access>,
    /// Accesses that touch a page, by position; empty while there are few.
    pages: HashMap<(Space, u64), Vec<usize>>,
    /// Accesses that touch too many pages to be in `pages`.
    wide: Vec<usize>,
    /// Accesses left by the last pruning.
    kept: usize,
}

/// Below this many accesses a scan is as good as an index, and pruning is not worth it.
const FEW: usize = 64;
/// Bytes of a page.
const PAGE: u64 = 4096;
/// Pages an access may touch to be looked up by them.
const FEW_PAGES: u64 = 16;

fn pages(bytes: &Footprint) -> RangeInclusive<u64> {
    let extent = bytes.extent();
    extent.start / PAGE..=extent.end.saturating_sub(1) / PAGE
}

fn is_wide(bytes: &Footprint) -> bool {
    let pages = pages(bytes);
    pages.end() - pages.start() >= FEW_PAGES
}

impl Live {
    /// The first of `find`'s answers over all accesses that may share a byte with `bytes`.
    fn find(&self, bytes: &Footprint, find: impl Fn(&Access) -> Option<u64>) -> Option<(&Access, u64)> {
        if self.pages.is_empty() || is_wide(bytes) {
            return self.accesses.iter().find_map(|access| Some((access, find(access)?)));
        }
        let near = pages(bytes).filter_map(|page| self.pages.get(&(bytes.space(), page))).flatten();
        near.chain(&self.wide).find_map(|&position| {
            let access = &self.accesses[position];
            Some((access, find(access)?))
        })
    }

    /// Adds an access, or renews the equal one that is there.
    fn record(&mut self, access: Access) {
        match self.position_of(&access) {
            Some(position) => self.accesses[position] = access,
            None => {
                self.accesses.push(access);
                if self.accesses.len() > FEW {
                    self.index_from(if self.pages.is_empty() { 0 } else { self.accesses.len() - 1 });
                }
            }
        }
    }

    fn position_of(&self, access: &Access) -> Option<usize> {
        let equal = |other: &Access| other.role.is_write() == access.role.is_write() && other.bytes == access.bytes;
        if self.accesses.len() <= FEW {
            return self.accesses.iter().position(equal);
        }
        let near = if is_wide(&access.bytes) {
            Some(&self.wide)
        } else {
            self.pages.get(&(access.bytes.space(), *pages(&access.bytes).start()))
        };
        near?.iter().copied().find(|&position| equal(&self.accesses[position]))
    }

    fn index_from(&mut self, first: usize) {
        for (position, access) in self.accesses.iter().enumerate().skip(first) {
            if is_wide(&access.bytes) {
                self.wide.push(position);
                continue;
            }
            for page in pages(&access.bytes) {
                self.pages.entry((access.bytes.space(), page)).or_default().push(position);
            }
        }
    }

    /// True when the list has doubled since it was last pruned.
    fn is_due(&self) -> bool {
        self.accesses.len() >= FEW.max(2 * self.kept)
    }

    fn prune(&mut self, seen_by_all: u64) {
        self.accesses.retain(|access| access.epoch > seen_by_all);
        self.kept = self.accesses.len();
        self.pages.clear();
        self.wide.clear();
        if self.accesses.len() > FEW {
            self.index_from(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slot;
    use proptest::prelude::*;

    const ENGINES: [EngineId; 3] = [
        EngineId { core: 0, slot: Slot::Dma0 },
        EngineId { core: 0, slot: Slot::Dma1 },
        EngineId { core: 0, slot: Slot::Cnn },
    ];

    proptest! {
        /// However many accesses there are, a race is found exactly when a plain list of all of them has one.
        #[test]
        fn forgetting_and_indexing_lose_nothing(
            steps in proptest::collection::vec((0_usize..3, 0_u64..300_000, 1_u64..9000, any::<bool>(), 0_usize..12), 0..400)
        ) {
            let mut races = Races::new(vec![false; 3]);
            let mut all: Vec<Access> = Vec::new();
            for (pc, (engine, base, len, write, join)) in steps.into_iter().enumerate() {
                let engine = ENGINES[engine];
                races.tick(engine);
                if join < 3 {
                    let clock = races.clock(ENGINES[join]);
                    races.join(engine, &clock);
                }
                let role = if write { Role::Output } else { Role::Input };
                let operand = Operand { role, bytes: Footprint::dense(Space::Sram, base / 64 * 64, len * 16) };
                let clock = races.clock(engine);
                let plain = all.iter().any(|other| {
                    other.at.engine != engine
                        && other.epoch > clock[other.at.engine.index()]
                        && conflict(engine, &operand, other).is_some()
                });
                prop_assert_eq!(races.check(engine, &operand).is_some(), plain);
                let at = CommandId { engine, pc, cycle: 0 };
                races.record(at, &operand);
                all.push(Access { epoch: clock[engine.index()], role, bytes: operand.bytes, at });
            }
        }
    }
}
