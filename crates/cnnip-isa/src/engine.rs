//! The kinds of engines.

use std::fmt;

/// Which registers and operations an engine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineKind {
    /// Copies, fills and decodes between scratchpad and external memory.
    Dma,
    /// Works on feature maps in the scratchpad.
    Cnn,
}

impl EngineKind {
    /// The name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "dma",
            Self::Cnn => "cnn",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
