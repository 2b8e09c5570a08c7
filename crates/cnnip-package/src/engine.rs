//! Engines, the command lists they run, and the tokens that join them.

/// Number of a list: its index in [`Package::lists`](crate::Package::lists).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId(pub u32);

/// One of the three engines of a core, in the order in which the machine issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// The first DMA engine.
    Dma0,
    /// The second DMA engine.
    Dma1,
    /// The CNN engine.
    Cnn,
}

/// One engine of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineId {
    /// Core number, from 0.
    pub core: u8,
    /// Which of its engines.
    pub engine: Engine,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dma0 => "dma0",
            Self::Dma1 => "dma1",
            Self::Cnn => "cnn",
        })
    }
}

impl std::fmt::Display for EngineId {
    /// `core0.dma1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "core{}.{}", self.core, self.engine)
    }
}

/// A command list: words for one engine. The package does not look into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Name, unique among the lists.
    pub name: String,
    /// The engine that runs it.
    pub engine: EngineId,
    /// Commands as the device fetches them.
    pub words: Vec<u32>,
}

/// First token that joins cores; those below belong to one core, and every core has its own.
pub const FIRST_SYSTEM_TOKEN: u8 = 64;

/// Tokens 0 to 127 exist.
pub const TOKENS: u8 = 128;

/// Who signals a token and who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOwner {
    /// Token number, below [`TOKENS`].
    pub token: u8,
    /// The engine that may signal it.
    pub signal: EngineId,
    /// The engine that may wait for it.
    pub wait: EngineId,
}
