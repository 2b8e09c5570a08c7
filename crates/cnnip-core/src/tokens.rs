//! Tokens: counters that join engines, each a queue of signals not yet consumed.

use std::collections::VecDeque;

use crate::race::Clock;

/// Largest count of a token.
const MAX_COUNT: usize = 65_535;

/// A signal that no wait has consumed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signal {
    /// First cycle in which it counts.
    pub(crate) available: u64,
    /// What happened before it.
    pub(crate) clock: Clock,
}

/// One token's signals, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Token {
    signals: VecDeque<Signal>,
}

impl Token {
    /// Signals not consumed.
    pub(crate) fn count(&self) -> usize {
        self.signals.len()
    }

    /// Adds a signal; false if the token is full.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        let room = self.signals.len() < MAX_COUNT;
        if room {
            self.signals.push_back(signal);
        }
        room
    }

    /// The cycle from which on `count` signals (at least one) are there.
    pub(crate) fn available(&self, count: u16) -> Option<u64> {
        let last = usize::from(count).checked_sub(1)?;
        self.signals.get(last).map(|signal| signal.available)
    }

    /// Removes the oldest `count` signals and gives the last of them.
    pub(crate) fn consume(&mut self, count: u16) -> Option<Signal> {
        let count = usize::from(count).min(self.signals.len());
        self.signals.drain(..count).next_back()
    }
}
