//! Engines: which there are, and the state of one.

use std::fmt;

use cnnip_isa::{EngineKind, RegisterFile};

use crate::execute::InFlight;

/// An engine within its core, in the order that decides ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// First DMA engine.
    Dma0,
    /// Second DMA engine.
    Dma1,
    /// CNN engine.
    Cnn,
}

impl Slot {
    /// All engines of a core, in order.
    pub const ALL: [Self; 3] = [Self::Dma0, Self::Dma1, Self::Cnn];

    /// Number of the engine as packages and host registers give it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Dma0 => 0,
            Self::Dma1 => 1,
            Self::Cnn => 2,
        }
    }

    /// The engine with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Dma0),
            1 => Some(Self::Dma1),
            2 => Some(Self::Cnn),
            _ => None,
        }
    }

    /// Which registers and operations it has.
    pub const fn kind(self) -> EngineKind {
        match self {
            Self::Dma0 | Self::Dma1 => EngineKind::Dma,
            Self::Cnn => EngineKind::Cnn,
        }
    }
}

/// An engine of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineId {
    /// Core number.
    pub core: u8,
    /// Engine within the core.
    pub slot: Slot,
}

impl EngineId {
    /// The engine's position in the order of the whole machine.
    pub fn index(self) -> usize {
        usize::from(self.core) * Slot::ALL.len() + usize::from(self.slot.number())
    }

    /// The engine at a position.
    pub fn from_index(index: usize) -> Option<Self> {
        let core = u8::try_from(index / Slot::ALL.len()).ok()?;
        Some(Self { core, slot: Slot::ALL[index % Slot::ALL.len()] })
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.slot {
            Slot::Dma0 => "dma0",
            Slot::Dma1 => "dma1",
            Slot::Cnn => "cnn",
        };
        if self.core == 0 { f.write_str(name) } else { write!(f, "core{}.{name}", self.core) }
    }
}

/// An open call or loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `CALL`: `RET` goes on at this word.
    Call {
        /// Word index.
        back: usize,
    },
    /// `LOOP`: `NEXT` goes back to this word while iterations remain.
    Loop {
        /// Word index of the body.
        body: usize,
        /// Iterations left, the present one included.
        left: u16,
    },
}

/// Calls and loops that may be open at once.
pub(crate) const STACK_FRAMES: usize = 8;

/// The state of one engine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Engine {
    /// Sticky registers.
    pub(crate) registers: RegisterFile,
    /// Word index of the next command.
    pub(crate) pc: usize,
    /// Open calls and loops, innermost last.
    pub(crate) stack: Vec<Frame>,
    /// Layer of the last `MARK`.
    pub(crate) layer: Option<u32>,
    /// First cycle in which the next command may start.
    pub(crate) ready: u64,
    /// `END` was executed, or there is no list.
    pub(crate) ended: bool,
    /// The operation in work.
    pub(crate) in_flight: Option<InFlight>,
}

impl Engine {
    pub(crate) fn new(slot: Slot, has_list: bool) -> Self {
        Self {
            registers: RegisterFile::new(slot.kind()),
            pc: 0,
            stack: Vec::with_capacity(STACK_FRAMES),
            layer: None,
            ready: 0,
            ended: !has_list,
            in_flight: None,
        }
    }
}
