//! A brute-force check for races: every pair of operations, every byte, and order by search through the graph of events.

use cnnip_core::{EngineId, Observer};
use cnnip_isa::Command;
use cnnip_isa::operation::{Operation, Space};

use crate::touched::{Touched, touched};

/// A command as it started.
#[derive(Clone, Debug)]
pub struct Event {
    /// The engine.
    pub engine: EngineId,
    /// Word index in its list.
    pub pc: usize,
    /// Start cycle.
    pub cycle: u64,
    what: What,
}

impl Event {
    /// True if the command is an operation that touches this byte.
    pub fn touches(&self, space: Space, byte: u64) -> bool {
        let What::Run(operands) = &self.what else { return false };
        operands.iter().any(|operand| operand.space == space && operand.bytes.contains(&byte))
    }
}

#[derive(Clone, Debug)]
enum What {
    Signal(u8),
    Wait(u8, u16),
    /// What the operation touches; empty if it did not pass its checks.
    Run(Vec<Touched>),
    Other,
}

/// Records all commands in the order of their starts.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The commands.
    pub events: Vec<Event>,
}

impl Observer for Trace {
    fn command(&mut self, engine: EngineId, pc: usize, command: &Command<'_>, cycle: u64) {
        let what = match *command {
            Command::Signal { token } => What::Signal(token),
            Command::Wait { token, count } => What::Wait(token, count),
            Command::Run(_) => What::Run(Vec::new()),
            _ => What::Other,
        };
        self.events.push(Event { engine, pc, cycle, what });
    }

    fn operation(&mut self, _engine: EngineId, _pc: usize, operation: &Operation, _start: u64, _end: u64) {
        if let Some(event) = self.events.last_mut() {
            event.what = What::Run(touched(operation));
        }
    }
}

/// The first race of a trace.
#[derive(Clone, Debug)]
pub struct Race {
    /// Index of the event at whose start it is found.
    pub later: usize,
    /// Indices of all events that race with it.
    pub earlier: Vec<usize>,
}

impl Trace {
    /// The first event in the order of starts that touches a byte which an unordered earlier event touches too, one writing.
    pub fn first_race(&self) -> Option<Race> {
        let before = self.happens_before();
        (0..self.events.len()).find_map(|later| {
            let races = |&earlier: &usize| !before[later][earlier] && self.conflict(earlier, later);
            let earlier: Vec<usize> = (0..later).filter(races).collect();
            (!earlier.is_empty()).then_some(Race { later, earlier })
        })
    }

    fn conflict(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.events[a], &self.events[b]);
        let (What::Run(mine), What::Run(theirs)) = (&a.what, &b.what) else { return false };
        let reachable = |t: &Touched| t.space != Space::Sram || a.engine.core == b.engine.core;
        a.engine != b.engine
            && mine.iter().filter(|t| reachable(t)).any(|t| theirs.iter().any(|other| t.conflict(other).is_some()))
    }

    /// `[b][a]`: event a happened before event b.
    fn happens_before(&self) -> Vec<Vec<bool>> {
        let mut before: Vec<Vec<bool>> = Vec::new();
        for event in 0..self.events.len() {
            let mut mine = vec![false; self.events.len()];
            for cause in self.causes(event) {
                mine[cause] = true;
                mine.iter_mut().zip(&before[cause]).for_each(|(mine, &theirs)| *mine |= theirs);
            }
            before.push(mine);
        }
        before
    }

    /// The engine's previous event, and the signals that a wait consumes.
    fn causes(&self, event: usize) -> Vec<usize> {
        let this = &self.events[event];
        let previous = (0..event).rev().find(|&other| self.events[other].engine == this.engine);
        let signals = match this.what {
            What::Wait(token, count) => self.consumed(event, token, count),
            _ => Vec::new(),
        };
        previous.into_iter().chain(signals).collect()
    }

    /// The signals of `token` that the wait at `event` consumes: those after all that earlier waits consumed.
    fn consumed(&self, event: usize, token: u8, count: u16) -> Vec<usize> {
        let core = self.events[event].engine.core;
        let same = |other: &usize| token >= 64 || self.events[*other].engine.core == core;
        let earlier = (0..event).filter(same);
        let gone: usize = earlier.clone().filter_map(|i| self.waits(i, token)).map(usize::from).sum();
        let signals = earlier.filter(|&i| matches!(self.events[i].what, What::Signal(t) if t == token));
        signals.skip(gone).take(usize::from(count)).collect()
    }

    fn waits(&self, event: usize, token: u8) -> Option<u16> {
        match self.events[event].what {
            What::Wait(t, count) if t == token => Some(count),
            _ => None,
        }
    }
}
