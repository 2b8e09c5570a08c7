//! When each engine works on what, by the lists alone: operations take the cycles of `timing.md`, and tokens join the engines.

use std::collections::{HashMap, VecDeque};

use cnnip_isa::Target;
use cnnip_isa::operation::Operation;
use cnnip_package::{EngineId, FIRST_SYSTEM_TOKEN};

use super::CoreReport;
use crate::emit::{self, Step};
use crate::schedule::{ENGINES, Item, Program};

/// An operation on an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Who does it.
    pub engine: EngineId,
    /// Index of the layer it is for, in the network of [`Division`](crate::Division).
    pub layer: usize,
    /// First cycle.
    pub start: u64,
    /// Cycle after the last one.
    pub end: u64,
}

/// Lets a program begin in a cycle, and shows every operation with its time, [`Span::layer`] being the number in its mark; gives what
/// each core takes, or nothing if a list cannot be emitted or waits for ever.
///
/// An engine's operations come in its order; those of different engines in none.
pub(super) fn run(
    program: &Program,
    target: &Target,
    start: u64,
    visit: &mut dyn FnMut(Span, &Operation),
) -> Option<Vec<CoreReport>> {
    let walkers = program.lists().map(|(engine, items)| Walker::new(engine, items, target, start));
    let mut engines: Vec<Walker<'_>> = walkers.collect::<Option<_>>()?;
    let mut tokens = Tokens::default();
    let mut moved = true;
    while moved {
        moved = false;
        for engine in &mut engines {
            moved |= engine.advance(&mut tokens, visit);
        }
    }
    let ended = engines.iter().all(|engine| engine.steps.as_slice().is_empty());
    let core = |engines: &[Walker<'_>]| CoreReport {
        cycles: engines.iter().map(|engine| engine.time - start).max().unwrap_or(0),
        busy: engines.last().map_or(0, |cnn| cnn.busy),
    };
    ended.then(|| engines.chunks(ENGINES.len()).map(core).collect())
}

/// Times of the signals that nobody has taken, by token and, of those that exist once per core, core.
#[derive(Debug, Default)]
struct Tokens(HashMap<(u8, Option<u8>), VecDeque<u64>>);

impl Tokens {
    fn of(&mut self, token: u8, core: u8) -> &mut VecDeque<u64> {
        self.0.entry((token, (token < FIRST_SYSTEM_TOKEN).then_some(core))).or_default()
    }
}

/// An engine on its way through its list.
struct Walker<'a> {
    engine: EngineId,
    items: &'a [Item],
    steps: std::vec::IntoIter<Step>,
    time: u64,
    /// Cycles of its commands, waits aside.
    busy: u64,
    layer: usize,
}

impl<'a> Walker<'a> {
    fn new(engine: EngineId, items: &'a [Item], target: &Target, time: u64) -> Option<Self> {
        // An engine without items has no list, so not even its END.
        let steps = match items {
            [] => vec![],
            _ => emit::list(emit::kind(engine.engine), items, target).ok()?.course.steps,
        };
        Some(Self { engine, items, steps: steps.into_iter(), time, busy: 0, layer: 0 })
    }

    /// Goes on until a signal is missing. Says whether there was a step.
    fn advance(&mut self, tokens: &mut Tokens, visit: &mut dyn FnMut(Span, &Operation)) -> bool {
        let mut moved = false;
        while let Some(step) = self.steps.as_slice().first() {
            match *step {
                Step::Busy(cycles) => self.work(cycles),
                Step::Run(cycles) => self.operate(cycles, visit),
                Step::Signal(token) => {
                    self.time += 1;
                    tokens.of(token, self.engine.core).push_back(self.time);
                }
                Step::Wait(token, count) => {
                    let open = tokens.of(token, self.engine.core);
                    if open.len() < usize::from(count) {
                        return moved;
                    }
                    let last = open.drain(..usize::from(count)).max().unwrap_or(0);
                    self.time = self.time.max(last) + 1;
                }
            }
            self.steps.next();
            moved = true;
        }
        moved
    }

    fn work(&mut self, cycles: u64) {
        self.time += cycles;
        self.busy += cycles;
    }

    /// Carries out the next operation of the list.
    fn operate(&mut self, cycles: u64, visit: &mut dyn FnMut(Span, &Operation)) {
        let start = self.time;
        self.work(cycles);
        while let Some((item, rest)) = self.items.split_first() {
            self.items = rest;
            match item {
                Item::Mark(layer) => self.layer = crate::size::index(*layer),
                Item::Run(operation) => {
                    visit(Span { engine: self.engine, layer: self.layer, start, end: self.time }, operation);
                    return;
                }
                Item::Signal(_) | Item::Wait(..) => {}
            }
        }
    }
}
