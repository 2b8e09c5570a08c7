//! What a machine executes: lists and token owners.

use std::collections::BTreeMap;
use std::sync::Arc;

use cnnip_isa::Target;

use crate::{EngineId, Slot};

/// First token that joins cores.
pub(crate) const FIRST_SYSTEM_TOKEN: u8 = 64;
/// Number of tokens.
pub(crate) const TOKENS: u8 = 128;

/// The two engines of a token. Tokens below 64 exist once per core and join engines of that core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOwner {
    /// The token.
    pub token: u8,
    /// The engine that signals.
    pub signals: EngineId,
    /// The engine that waits.
    pub waits: EngineId,
}

/// A program that no machine of this target can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// A list for an engine that the target does not have.
    #[error("a list for {engine}, but the target has {cores} core(s)")]
    NoSuchEngine {
        /// The engine.
        engine: EngineId,
        /// Cores of the target.
        cores: u32,
    },
    /// Two lists for one engine.
    #[error("a second list for {engine}")]
    TwoLists {
        /// The engine.
        engine: EngineId,
    },
    /// A token number above 127, or a core-local token that leaves its core.
    #[error("token {token} cannot join {signals} and {waits}")]
    TokenReach {
        /// The token.
        token: u8,
        /// Signalling engine.
        signals: EngineId,
        /// Waiting engine.
        waits: EngineId,
    },
    /// A token assigned twice.
    #[error("token {token} is assigned twice")]
    TokenTwice {
        /// The token.
        token: u8,
    },
}

/// Command lists and token owners, checked against a target. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Program {
    lists: Vec<Option<Arc<[u32]>>>,
    owners: BTreeMap<(u8, u8), TokenOwner>,
}

impl Program {
    /// Checks that engines exist and tokens are assigned once.
    ///
    /// # Errors
    /// The first list or token that does not fit.
    pub fn new(
        target: &Target,
        lists: impl IntoIterator<Item = (EngineId, Arc<[u32]>)>,
        owners: impl IntoIterator<Item = TokenOwner>,
    ) -> Result<Self, ProgramError> {
        let engines = usize::try_from(target.cores).unwrap_or(0) * Slot::ALL.len();
        let mut program = Self { lists: vec![None; engines], owners: BTreeMap::new() };
        for (engine, words) in lists {
            let no_engine = ProgramError::NoSuchEngine { engine, cores: target.cores };
            let list = program.lists.get_mut(engine.index()).ok_or(no_engine)?;
            if list.replace(words).is_some() {
                return Err(ProgramError::TwoLists { engine });
            }
        }
        for owner in owners {
            program.assign(owner, target.cores)?;
        }
        Ok(program)
    }

    fn assign(&mut self, owner: TokenOwner, cores: u32) -> Result<(), ProgramError> {
        let TokenOwner { token, signals, waits } = owner;
        for engine in [signals, waits] {
            if engine.index() >= self.lists.len() {
                return Err(ProgramError::NoSuchEngine { engine, cores });
            }
        }
        let local_leaves = token < FIRST_SYSTEM_TOKEN && signals.core != waits.core;
        if token >= TOKENS || local_leaves || signals == waits {
            return Err(ProgramError::TokenReach { token, signals, waits });
        }
        match self.owners.insert(token_key(token, signals.core), owner) {
            None => Ok(()),
            Some(_) => Err(ProgramError::TokenTwice { token }),
        }
    }

    /// Number of cores of the target it was checked against.
    pub(crate) fn cores(&self) -> usize {
        self.lists.len() / Slot::ALL.len()
    }

    /// Number of engines of the machine.
    pub(crate) fn engines(&self) -> usize {
        self.lists.len()
    }

    /// The list of an engine.
    pub fn list(&self, engine: EngineId) -> Option<&Arc<[u32]>> {
        self.lists.get(engine.index())?.as_ref()
    }

    /// The owner of the token that `engine` means by `token`.
    pub fn owner(&self, token: u8, engine: EngineId) -> Option<&TokenOwner> {
        self.owners.get(&token_key(token, engine.core))
    }

    /// Keys of all assigned tokens.
    pub(crate) fn token_keys(&self) -> impl Iterator<Item = (u8, u8)> {
        self.owners.keys().copied()
    }
}

/// Core-local tokens exist once per core, system tokens once.
pub(crate) fn token_key(token: u8, core: u8) -> (u8, u8) {
    if token < FIRST_SYSTEM_TOKEN { (core, token) } else { (u8::MAX, token) }
}
