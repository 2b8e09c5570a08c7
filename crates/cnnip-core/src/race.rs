//! Races: unordered accesses to the same byte, found by vector clocks and exact footprints.
//!
//! Every engine counts its commands. An access is ordered before an engine's next command if that engine's clock, raised by the
//! tokens it waited for, has reached the access's count. What an engine accessed is kept by page (module `live`).

mod live;
mod page;

use std::sync::Arc;

use cnnip_isa::operation::{Operand, Space};

use crate::{CommandId, EngineId, FaultCause};
use live::{Access, Live};

/// How much of every engine's list happened before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Clock {
    /// The engine whose clock it is.
    engine: usize,
    /// Commands of this engine, the present one included.
    own: u64,
    /// For every other engine, the number of its commands; shared by all signals between two waits.
    others: Arc<[u64]>,
}

impl Clock {
    /// Number of commands of engine `index` that happened before.
    fn of(&self, index: usize) -> u64 {
        if index == self.engine { self.own } else { self.others[index] }
    }
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
        let others: Arc<[u64]> = vec![0; engines].into();
        let clocks = (0..engines).map(|engine| Clock { engine, own: 0, others: Arc::clone(&others) }).collect();
        Self { clocks, live: vec![Live::default(); engines], ended }
    }

    /// Counts a command of `engine`.
    pub(crate) fn tick(&mut self, engine: EngineId) {
        self.clocks[engine.index()].own += 1;
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
        let mine = Arc::make_mut(&mut self.clocks[engine.index()].others);
        for (index, mine) in mine.iter_mut().enumerate() {
            *mine = (*mine).max(signal.of(index));
        }
    }

    /// The race that an access of `engine` makes, if any.
    pub(crate) fn check(&mut self, engine: EngineId, operand: &Operand) -> Option<FaultCause> {
        let clock = &self.clocks[engine.index()];
        let mut races = self.live.iter_mut().enumerate().filter_map(|(index, live)| {
            let same_memory = operand.bytes.space() != Space::Sram || EngineId::from_index(index)?.core == engine.core;
            let unordered = index != engine.index() && same_memory;
            if unordered { live.find(operand, clock.of(index)) } else { None }
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
        let epoch = self.clocks[index].own;
        self.live[index].record(Access { epoch, role: operand.role, bytes: operand.bytes, at });
        if self.live[index].is_due() {
            let seen_by_all = self.seen_by_all(index);
            self.live[index].prune(seen_by_all);
        }
    }

    /// The number of an engine's commands that happened before everything the others can still do.
    fn seen_by_all(&self, index: usize) -> u64 {
        let running = (0..self.ended.len()).filter(|&other| other != index && !self.ended[other]);
        running.map(|other| self.clocks[other].of(index)).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slot;
    use cnnip_isa::operation::{Footprint, Role};
    use proptest::prelude::*;

    const ENGINES: [EngineId; 3] = [
        EngineId { core: 0, slot: Slot::Dma0 },
        EngineId { core: 0, slot: Slot::Dma1 },
        EngineId { core: 0, slot: Slot::Cnn },
    ];

    /// A command: engine, whose clock it joins if that exists, and what it accesses.
    type Step = (usize, usize, bool, Footprint);

    /// Mostly a few runs in a small memory, so that many accesses meet and pages fill up.
    fn any_step(joins: usize) -> impl Strategy<Value = Step> {
        let dense = (0_u64..5000, 1_u64..9000).prop_map(|(base, len)| Footprint::dense(Space::Sram, base * 4, len));
        let strided = (0_u64..9000, 1_u64..40, 1_u32..30, 1_u32..700, 1_u32..4, 0_u32..5000).prop_map(
            |(base, run, inner, step, outer, far)| {
                Footprint::new(Space::Dram(1), base, run, &[(inner, step), (outer, far)])
            },
        );
        (0_usize..3, 0..joins, any::<bool>(), prop_oneof![dense, strided])
    }

    /// However many accesses there are, a race is found exactly when a plain list of all of them has one.
    fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let mut races = Races::new(vec![false; 3]);
        let mut all: Vec<Access> = Vec::new();
        for (pc, (engine, join, write, bytes)) in steps.into_iter().enumerate() {
            let engine = ENGINES[engine];
            races.tick(engine);
            if let Some(&other) = ENGINES.get(join) {
                let clock = races.clock(other);
                races.join(engine, &clock);
            }
            let operand = Operand { role: if write { Role::Output } else { Role::Input }, bytes };
            let clock = races.clock(engine);
            let racing = |other: &&Access| {
                let unordered = other.at.engine != engine && other.epoch > clock.of(other.at.engine.index());
                unordered && (write || other.role.is_write()) && bytes.first_common_byte(&other.bytes).is_some()
            };
            let plain: Vec<CommandId> = all.iter().filter(racing).map(|other| other.at).collect();
            match races.check(engine, &operand) {
                Some(FaultCause::Race { other, byte, .. }) => {
                    prop_assert!(plain.contains(&other));
                    prop_assert!(bytes.first_in(&(byte..byte + 1)).is_some());
                }
                _ => prop_assert_eq!(plain, vec![]),
            }
            let at = CommandId { engine, pc, cycle: 0 };
            races.record(at, &operand);
            all.push(Access { epoch: clock.of(engine.index()), role: operand.role, bytes, at });
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn with_little_order_nothing_is_lost(steps in proptest::collection::vec(any_step(40), 0..400)) {
            check(steps)?;
        }

        #[test]
        fn with_much_order_nothing_is_lost(steps in proptest::collection::vec(any_step(6), 0..400)) {
            check(steps)?;
        }
    }
}
