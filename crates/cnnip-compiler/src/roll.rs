//! Which stretches of a list are loops: the same commands again and again, registers moving by constant steps.
//!
//! A stretch of `period` items that repeats becomes the body of a `LOOP`. What `NEXT` adds to a register is the same in each
//! iteration, so a register must either step by a constant, with one value per iteration, or take the same values in
//! every iteration. A loop within a loop serves what goes round, as the addresses of two buffers in turn do: there a register
//! steps by `inner` within a round and by `outer` from one round to the next.

use std::collections::HashMap;
use std::ops::Range;

use cnnip_isa::{EngineKind, OperationCode, Target};
use cnnip_timing::Cost;

use crate::emit::needed;
use crate::schedule::Item;

/// Longest body, in items. A tile's loads, tokens and computation are fewer.
const MOST_ITEMS: usize = 48;

/// Fewest words that a loop must save: below, an unrolled list is easier to read.
const LEAST_SAVED: usize = 16;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Items one after the other.
    Plain(Range<usize>),
    /// Items that repeat.
    Repeated(Repeat),
}

/// A stretch of items that stands for `inner * outer` stretches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repeat {
    /// Items of the first iteration.
    pub(crate) body: Range<usize>,
    /// Iterations of the inner loop; 1: there is none.
    pub(crate) inner: u16,
    /// Iterations of the outer loop.
    pub(crate) outer: u16,
    /// What the inner `NEXT` adds to registers.
    pub(crate) inner_steps: Vec<(u8, u32)>,
    /// What the outer `NEXT` adds to registers.
    pub(crate) outer_steps: Vec<(u8, u32)>,
    /// Registers that take several values in an iteration.
    pub(crate) varied: Vec<u8>,
}

impl Repeat {
    fn iterations(&self) -> usize {
        usize::from(self.inner) * usize::from(self.outer)
    }

    /// The items of the last iteration.
    pub(crate) fn last(&self) -> Range<usize> {
        let skipped = (self.iterations() - 1) * self.body.len();
        self.body.start + skipped..self.body.end + skipped
    }

    /// Where the items after it begin.
    fn end(&self) -> usize {
        self.last().end
    }
}

/// What must be alike for items to be iterations of one command.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Mark(u32),
    Signal(u8),
    Wait(u8, u16),
    /// An operation and its cycles, so that an iteration takes as long as the next.
    Run(OperationCode, u64),
}

/// An item, and the registers that it needs.
struct Unit {
    /// Alike items have one number.
    key: usize,
    registers: Vec<(u8, u32)>,
}

/// Divides a list into parts.
pub(crate) fn parts(kind: EngineKind, items: &[Item], target: &Target) -> Vec<Part> {
    let units = units(kind, items, target);
    let (mut parts, mut plain, mut at) = (vec![], 0, 0);
    while at < units.len() {
        let Some(repeat) = best(&units, at) else {
            at += 1;
            continue;
        };
        if plain < at {
            parts.push(Part::Plain(plain..at));
        }
        at = repeat.end();
        plain = at;
        parts.push(Part::Repeated(repeat));
    }
    if plain < at {
        parts.push(Part::Plain(plain..at));
    }
    parts
}

fn units(kind: EngineKind, items: &[Item], target: &Target) -> Vec<Unit> {
    let mut keys = HashMap::new();
    let unit = |item: &Item| {
        let (key, registers) = match *item {
            Item::Mark(layer) => (Key::Mark(layer), vec![]),
            Item::Signal(token) => (Key::Signal(token), vec![]),
            Item::Wait(token, count) => (Key::Wait(token, count), vec![]),
            Item::Run(operation) => {
                (Key::Run(operation.code(), Cost::of(&operation, target).cycles), needed(kind, &operation))
            }
        };
        let next = keys.len();
        let indices: Vec<u8> = registers.iter().map(|&(index, _)| index).collect();
        Unit { key: *keys.entry((key, indices)).or_insert(next), registers }
    };
    items.iter().map(unit).collect()
}

/// The loop from an item on that saves most words.
fn best(units: &[Unit], at: usize) -> Option<Repeat> {
    let most = MOST_ITEMS.min((units.len() - at) / 2);
    let repeats = (1..=most).filter(|&period| alike(units, at, at + period, period));
    let loops = repeats.flat_map(|period| Stretch::new(units, at, period).loops());
    let (saved, repeat) = loops.max_by_key(|(saved, repeat)| (*saved, std::cmp::Reverse(repeat.body.len())))?;
    (saved >= LEAST_SAVED).then_some(repeat)
}

/// Whether two stretches have the same commands.
fn alike(units: &[Unit], a: usize, b: usize, length: usize) -> bool {
    let keys = |from: usize| units.get(from..from + length).map(|units| units.iter().map(|unit| unit.key));
    keys(a).zip(keys(b)).is_some_and(|(a, b)| a.eq(b))
}

/// Stretches of the same commands.
struct Stretch<'u> {
    units: &'u [Unit],
    start: usize,
    period: usize,
    /// How many there are.
    count: usize,
    /// Registers of the body, in order.
    registers: Vec<u8>,
}

impl<'u> Stretch<'u> {
    fn new(units: &'u [Unit], start: usize, period: usize) -> Self {
        let more = (1..).take_while(|n| alike(units, start, start + n * period, period)).count();
        let body = &units[start..start + period];
        let mut registers: Vec<u8> = body.iter().flat_map(|unit| &unit.registers).map(|&(index, _)| index).collect();
        registers.sort_unstable();
        registers.dedup();
        Self { units, start, period, count: more + 1, registers }
    }

    /// The values of a register in an iteration, in order.
    fn values(&self, register: u8, iteration: usize) -> impl Iterator<Item = u32> + '_ {
        let start = self.start + iteration * self.period;
        let all = self.units[start..start + self.period].iter().flat_map(|unit| &unit.registers);
        all.filter(move |(index, _)| *index == register).map(|&(_, word)| word)
    }

    /// Its value in an iteration, if it has only one.
    fn value(&self, register: u8, iteration: usize) -> Option<u32> {
        let mut values = self.values(register, iteration);
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }

    /// Iterations from the first on in which a register moves as a loop of `inner` iterations within another moves it.
    fn regular(&self, register: u8, inner: usize) -> usize {
        let Some(first) = self.value(register, 0) else {
            let again = |n: &usize| self.values(register, *n).eq(self.values(register, 0));
            return 1 + (1..self.count).take_while(again).count();
        };
        let step = |from: usize| Some(self.value(register, from)?.wrapping_sub(first));
        let within = if inner > 1 { step(1) } else { Some(0) };
        let (Some(within), Some(round)) = (within, if inner < self.count { step(inner) } else { Some(0) }) else {
            return 1;
        };
        let expected = |n: usize| {
            let rounds = round.wrapping_mul(low(n / inner));
            first.wrapping_add(within.wrapping_mul(low(n % inner))).wrapping_add(rounds)
        };
        1 + (1..self.count).take_while(|&n| self.value(register, n) == Some(expected(n))).count()
    }

    /// Iterations in which every register is regular.
    fn all_regular(&self, inner: usize) -> usize {
        self.registers.iter().map(|&register| self.regular(register, inner)).min().unwrap_or(self.count)
    }

    /// A plain loop, and one within another whose round is as long as the first goes; with the words they save.
    fn loops(&self) -> Vec<(usize, Repeat)> {
        let straight = self.all_regular(1);
        let mut loops = vec![self.repeat(1, straight)];
        if (2..self.count).contains(&straight) {
            loops.push(self.repeat(straight, self.all_regular(straight) / straight));
        }
        loops.into_iter().flatten().collect()
    }

    fn repeat(&self, inner: usize, outer: usize) -> Option<(usize, Repeat)> {
        let (inner_count, outer_count) = (u16::try_from(inner).ok()?, u16::try_from(outer.min(0xffff)).ok()?);
        if outer_count < 2 {
            return None;
        }
        let varied: Vec<u8> = self.registers.iter().copied().filter(|&r| self.value(r, 0).is_none()).collect();
        let steps = |inner_loop: bool| {
            let step = |&register: &u8| {
                let value = |n: usize| self.value(register, n);
                let end_of_round = if inner_loop { 0 } else { inner - 1 };
                let step = value(if inner_loop { 1 } else { inner })?.wrapping_sub(value(end_of_round)?);
                (step != 0).then_some((register, step))
            };
            self.registers.iter().filter_map(step).collect::<Vec<_>>()
        };
        let inner_steps = if inner > 1 { steps(true) } else { vec![] };
        let body = self.start..self.start + self.period;
        let repeat =
            Repeat { body, inner: inner_count, outer: outer_count, inner_steps, outer_steps: steps(false), varied };
        Some((self.saved(&repeat), repeat))
    }

    /// Words less than without loops, about.
    fn saved(&self, repeat: &Repeat) -> usize {
        let body = &self.units[repeat.body.clone()];
        let varied = |register: &u8| repeat.varied.contains(register);
        let varying: usize = 2 * body.iter().flat_map(|unit| &unit.registers).filter(|(r, _)| varied(r)).count();
        let changing = |(_, register): &(usize, u8)| !varied(register);
        let steps = [&repeat.inner_steps, &repeat.outer_steps].map(|steps| steps.len());
        let moved = (0..).zip(self.registers.iter().copied()).filter(changing);
        let stepping = moved.filter(|(_, r)| repeat.outer_steps.iter().chain(&repeat.inner_steps).any(|(s, _)| s == r));
        let unrolled = (body.len() + 2 * stepping.count() + varying) * (repeat.iterations() - 1);
        let frames = if repeat.inner > 1 { 4 } else { 2 };
        unrolled.saturating_sub(frames + varying + 2 * (steps[0] + steps[1]))
    }
}

/// An iteration's number, for arithmetic modulo 2^32.
fn low(iteration: usize) -> u32 {
    u32::try_from(iteration).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::list;
    use cnnip_isa::operation::{Copy, Location, Operation};
    use cnnip_isa::{Command, RegisterFile, decode_at};
    use proptest::prelude::*;

    fn copy(from: u32, to: u32) -> Item {
        Item::Run(Operation::Copy(Copy::dense(Location::dram(3, from), Location::sram(to), 100)))
    }

    fn words(items: &[Item]) -> Vec<u32> {
        list(EngineKind::Dma, items, Target::by_name("v4h").unwrap()).unwrap().words
    }

    /// What a list does, its loops carried out.
    fn carried_out(words: &[u32]) -> Vec<Item> {
        let (mut pc, mut items, mut open) = (0, vec![], vec![]);
        let mut registers = RegisterFile::new(EngineKind::Dma);
        loop {
            let (command, length) = decode_at(words, pc, EngineKind::Dma).unwrap();
            pc += length;
            match command {
                Command::Set { first, values } => registers.write_burst(first, values).unwrap(),
                Command::Run(code) => {
                    let operation = Operation::read(code, &registers, Target::by_name("v4h").unwrap()).unwrap();
                    items.push(Item::Run(operation));
                }
                Command::Signal { token } => items.push(Item::Signal(token)),
                Command::Wait { token, count } => items.push(Item::Wait(token, count)),
                Command::Mark { layer } => items.push(Item::Mark(layer)),
                Command::Loop { count } => open.push((pc, count)),
                Command::Next { pairs } => match open.pop().unwrap() {
                    (_, 1) => {}
                    (body, left) => {
                        registers.add_pairs(pairs).unwrap();
                        open.push((body, left - 1));
                        pc = body;
                    }
                },
                Command::End => return items,
                _ => panic!("{command:?}"),
            }
        }
    }

    fn repeats(items: &[Item]) -> Vec<(u16, u16)> {
        let repeat = |part| match part {
            Part::Repeated(repeat) => Some((repeat.inner, repeat.outer)),
            Part::Plain(_) => None,
        };
        parts(EngineKind::Dma, items, Target::by_name("v4h").unwrap()).into_iter().filter_map(repeat).collect()
    }

    #[test]
    fn rows_are_a_loop() {
        let items: Vec<Item> =
            (0..40).flat_map(|n| [Item::Wait(1, 1), copy(1000 + 300 * n, 64 * n), Item::Signal(2)]).collect();
        assert_eq!(repeats(&items), [(1, 40)]);
        assert_eq!(carried_out(&words(&items)), items);
        assert!(words(&items).len() < 30, "registers once, then a body of three commands");
    }

    #[test]
    fn two_buffers_in_turn_are_a_loop_in_a_loop() {
        let items: Vec<Item> = (0..40).flat_map(|n| [copy(1000 + 300 * n, 4096 * (n % 2)), Item::Signal(2)]).collect();
        assert_eq!(repeats(&items), [(2, 20)]);
        assert_eq!(carried_out(&words(&items)), items);
    }

    #[test]
    fn values_that_return_are_set_in_the_body() {
        let items: Vec<Item> = (0..40).flat_map(|_| [copy(7, 64), copy(9, 128), Item::Signal(2)]).collect();
        assert_eq!(repeats(&items), [(1, 40)]);
        assert_eq!(carried_out(&words(&items)), items);
    }

    #[test]
    fn what_saves_little_stays() {
        let items: Vec<Item> = (0..4).map(|n| copy(300 * n, 64 * n)).collect();
        assert_eq!(repeats(&items), []);
    }

    fn item() -> impl Strategy<Value = Item> {
        prop_oneof![
            4 => (0_u32..4, 0_u32..3).prop_map(|(from, to)| copy(from, 64 * to)),
            1 => (1_u8..3).prop_map(Item::Signal),
            1 => (1_u8..3).prop_map(|token| Item::Wait(token, 1)),
            1 => (0_u32..2).prop_map(Item::Mark),
        ]
    }

    proptest! {
        /// Stretches that repeat with steps, one after the other, some of them nearly alike.
        #[test]
        fn loops_do_what_the_items_say(
            stretches in proptest::collection::vec(
                (proptest::collection::vec(item(), 1..5), 1_u32..12, 1_u32..4, 0_u32..3, 0_u32..3), 1..6)
        ) {
            let mut items = vec![];
            for (body, count, inner, step, round) in stretches {
                for n in 0..count * inner {
                    for item in &body {
                        items.push(match *item {
                            Item::Run(Operation::Copy(mut copy)) => {
                                copy.source.address += step * (n % inner) + round * (n / inner);
                                Item::Run(Operation::Copy(copy))
                            }
                            other => other,
                        });
                    }
                }
            }
            prop_assert_eq!(carried_out(&words(&items)), items);
        }
    }
}
