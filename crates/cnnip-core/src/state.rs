//! The state of a machine: saved, restored and compared as a whole.

use std::collections::BTreeMap;

use cnnip_isa::{RegisterFile, registers_of};

use crate::engine::Engine;
use crate::execute::Accumulating;
use crate::memory::Memory;
use crate::race::Races;
use crate::tokens::Token;
use crate::{EngineId, Fault, Frame};

/// Everything that execution changes. A clone restores the machine exactly.
#[derive(Clone, PartialEq)]
pub struct State {
    pub(crate) now: u64,
    pub(crate) commands: u64,
    pub(crate) engines: Vec<Engine>,
    pub(crate) memory: Memory,
    pub(crate) tokens: BTreeMap<(u8, u8), Token>,
    pub(crate) races: Races,
    pub(crate) fault: Option<Fault>,
    /// The observer has heard of the fault.
    pub(crate) told: bool,
}

/// The first place of one kind in which two states differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// Cycle or command count.
    #[error("{what}: {left} and {right}")]
    Count {
        /// Which count.
        what: &'static str,
        /// Left value.
        left: u64,
        /// Right value.
        right: u64,
    },
    /// A register.
    #[error("{engine} {register}: {left:#x} and {right:#x}")]
    Register {
        /// The engine.
        engine: EngineId,
        /// The register.
        register: &'static str,
        /// Left value.
        left: u32,
        /// Right value.
        right: u32,
    },
    /// A byte of memory.
    #[error("{memory} byte {byte:#x}: {left:#04x} and {right:#04x}")]
    Byte {
        /// `SRAM of core n` or `region n`.
        memory: String,
        /// Address or offset.
        byte: usize,
        /// Left value.
        left: u8,
        /// Right value.
        right: u8,
    },
    /// Anything else: program counters, stacks, tokens, progress of operations, faults, which bytes count as written.
    #[error("{what} differ")]
    Other {
        /// What differs.
        what: String,
    },
}

impl State {
    /// The cycle up to which everything has been done.
    pub fn cycle(&self) -> u64 {
        self.now
    }

    /// Commands started so far, of all engines.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Registers of an engine.
    pub fn registers(&self, engine: EngineId) -> Option<&RegisterFile> {
        self.engines.get(engine.index()).map(|engine| &engine.registers)
    }

    /// Word index of an engine's next command.
    pub fn pc(&self, engine: EngineId) -> Option<usize> {
        self.engines.get(engine.index()).map(|engine| engine.pc)
    }

    /// Open calls and loops of an engine, innermost last.
    pub fn frames(&self, engine: EngineId) -> &[Frame] {
        self.engines.get(engine.index()).map_or(&[], |engine| &engine.stack)
    }

    /// Accumulators of the block that an engine works on.
    pub fn accumulating(&self, engine: EngineId) -> Option<Accumulating<'_>> {
        self.engines.get(engine.index())?.in_flight.as_ref()?.accumulating()
    }

    /// Signals of a token that no wait has consumed yet; the core matters for tokens below 64.
    pub fn token(&self, token: u8, core: u8) -> Option<usize> {
        self.tokens.get(&crate::program::token_key(token, core)).map(Token::count)
    }

    /// Bytes of a core's scratchpad.
    pub fn sram(&self, core: u8) -> Option<&[u8]> {
        self.memory.srams.get(usize::from(core)).map(|sram| &*sram.data)
    }

    /// Bytes of a region, empty if nothing is bound.
    pub fn region(&self, region: u8) -> Option<&[u8]> {
        self.memory.regions.get(usize::from(region)).map(|bound| bound.data())
    }

    /// The fault that stopped, or is stopping, the machine.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Where two states differ: at most one entry per count, engine, memory and kind. Empty if and only if they are equal.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for (what, left, right) in [("cycle", self.now, other.now), ("commands", self.commands, other.commands)] {
            if left != right {
                found.push(Difference::Count { what, left, right });
            }
        }
        self.compare_engines(other, &mut found);
        self.compare_memory(other, &mut found);
        for (what, equal) in [
            ("tokens", self.tokens == other.tokens),
            ("clocks and accesses", self.races == other.races),
            ("faults", (&self.fault, self.told) == (&other.fault, other.told)),
        ] {
            if !equal {
                found.push(Difference::Other { what: what.to_owned() });
            }
        }
        found
    }

    fn compare_engines(&self, other: &Self, found: &mut Vec<Difference>) {
        for (index, (left, right)) in self.engines.iter().zip(&other.engines).enumerate() {
            let Some(engine) = EngineId::from_index(index) else { continue };
            if let Some((register, left, right)) = first_register(&left.registers, &right.registers) {
                found.push(Difference::Register { engine, register, left, right });
            } else if left != right {
                found.push(Difference::Other { what: format!("program counter, stack or progress of {engine}") });
            }
        }
        if self.engines.len() != other.engines.len() {
            found.push(Difference::Other { what: "numbers of engines".to_owned() });
        }
    }

    fn compare_memory(&self, other: &Self, found: &mut Vec<Difference>) {
        if self.memory == other.memory {
            return;
        }
        let before = found.len();
        let srams = self.memory.srams.iter().zip(&other.memory.srams).enumerate();
        for (core, (left, right)) in srams {
            found.extend(first_byte(&format!("SRAM of core {core}"), &left.data, &right.data));
        }
        let regions = self.memory.regions.iter().zip(&other.memory.regions).enumerate();
        for (region, (left, right)) in regions {
            found.extend(first_byte(&format!("region {region}"), left.data(), right.data()));
        }
        if found.len() == before {
            found.push(Difference::Other { what: "memories or which of their bytes count as written".to_owned() });
        }
    }
}

fn first_register(left: &RegisterFile, right: &RegisterFile) -> Option<(&'static str, u32, u32)> {
    registers_of(left.kind()).iter().find_map(|spec| {
        let (a, b) = (left.get(spec.index)?, right.get(spec.index)?);
        (a != b).then_some((spec.name, a, b))
    })
}

fn first_byte(memory: &str, left: &[u8], right: &[u8]) -> Option<Difference> {
    let byte = left.iter().zip(right).position(|(a, b)| a != b)?;
    Some(Difference::Byte { memory: memory.to_owned(), byte, left: left[byte], right: right[byte] })
}
