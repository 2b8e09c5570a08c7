//! Programs → words: a `SET` for registers that change, then the command; loops where commands repeat.

use cnnip_isa::operation::Operation;
use cnnip_isa::{Command, EngineKind, FieldRange, Pairs, RegisterFile, encode, registers_of};
use cnnip_package::Engine;

use crate::roll::{self, Part, Repeat};
use crate::schedule::Item;

/// What kind of commands an engine takes.
pub(crate) const fn kind(engine: Engine) -> EngineKind {
    match engine {
        Engine::Dma0 | Engine::Dma1 => EngineKind::Dma,
        Engine::Cnn => EngineKind::Cnn,
    }
}

/// A command list, what is in it, and what it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Emitted {
    pub(crate) words: Vec<u32>,
    pub(crate) course: Course,
}

/// How a list passes its time, every iteration of its loops counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) steps: Vec<Step>,
    pub(crate) commands: u64,
    /// Estimated cycles of all commands, without waiting.
    pub(crate) cycles: u64,
}

impl Course {
    fn busy(&mut self, cycles: u64) {
        match self.steps.last_mut() {
            Some(Step::Busy(sum)) => *sum += cycles,
            _ => self.steps.push(Step::Busy(cycles)),
        }
    }

    /// One command.
    fn command(&mut self, cycles: u64, step: Step) {
        self.commands += 1;
        self.cycles += cycles;
        self.step(step);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Busy(cycles) => self.busy(cycles),
            _ => self.steps.push(step),
        }
    }

    fn append(&mut self, other: &Self) {
        self.commands += other.commands;
        self.cycles += other.cycles;
        other.steps.iter().for_each(|&step| self.step(step));
    }
}

/// A part of a list's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many cycles of commands that are not `RUN`.
    Busy(u64),
    /// So many cycles of the next operation.
    Run(u64),
    /// A `SIGNAL`.
    Signal(u8),
    /// A `WAIT`.
    Wait(u8, u16),
}

/// Emits the list of one engine, with an `END`.
///
/// Nothing is assumed about the registers at the start, so lists run after one another in any order.
///
/// # Errors
/// A field that cannot be encoded.
pub(crate) fn list(kind: EngineKind, items: &[Item], target: &cnnip_isa::Target) -> Result<Emitted, FieldRange> {
    let mut emitter = Emitter { kind, target, known: Known::new(kind), list: Emitted::default() };
    for part in roll::parts(kind, items, target) {
        match part {
            Part::Plain(range) => emitter.items(&items[range])?,
            Part::Repeated(repeat) => emitter.repeated(items, &repeat)?,
        }
    }
    emitter.control(&Command::End)?;
    Ok(emitter.list)
}

struct Emitter<'t> {
    kind: EngineKind,
    target: &'t cnnip_isa::Target,
    known: Known,
    list: Emitted,
}

impl Emitter<'_> {
    fn items(&mut self, items: &[Item]) -> Result<(), FieldRange> {
        items.iter().try_for_each(|item| self.item(item))
    }

    fn item(&mut self, item: &Item) -> Result<(), FieldRange> {
        match *item {
            Item::Mark(layer) => self.control(&Command::Mark { layer }),
            Item::Signal(token) => self.control(&Command::Signal { token }),
            Item::Wait(token, count) => self.control(&Command::Wait { token, count }),
            Item::Run(operation) => self.run(&operation),
        }
    }

    /// A loop, or one within another. What a register holds throughout an iteration it is given before.
    fn repeated(&mut self, items: &[Item], repeat: &Repeat) -> Result<(), FieldRange> {
        let body = &items[repeat.body.clone()];
        self.known.forget(&repeat.varied);
        let mut first = self.registers(body);
        first.retain(|(index, _)| !repeat.varied.contains(index));
        self.set(&first)?;
        self.looped(repeat.outer, &repeat.outer_steps, |emitter| {
            if repeat.inner == 1 {
                return emitter.items(body);
            }
            emitter.looped(repeat.inner, &repeat.inner_steps, |emitter| emitter.items(body))
        })?;
        let last = self.registers(&items[repeat.last()]);
        self.known.changes(&last);
        Ok(())
    }

    /// What operations need, in the order of the registers, the last value of each.
    fn registers(&self, items: &[Item]) -> Vec<(u8, u32)> {
        let mut words = std::collections::BTreeMap::new();
        for item in items {
            if let Item::Run(operation) = item {
                words.extend(needed(self.kind, operation));
            }
        }
        words.into_iter().collect()
    }

    fn looped(
        &mut self,
        count: u16,
        steps: &[(u8, u32)],
        body: impl FnOnce(&mut Self) -> Result<(), FieldRange>,
    ) -> Result<(), FieldRange> {
        self.control(&Command::Loop { count })?;
        let before = std::mem::take(&mut self.list.course);
        body(self)?;
        let pairs: Vec<[u32; 2]> = steps.iter().map(|&(index, step)| [index.into(), step]).collect();
        self.control(&Command::Next { pairs: Pairs::new(&pairs).unwrap_or_default() })?;
        let once = std::mem::replace(&mut self.list.course, before);
        (0..count).for_each(|_| self.list.course.append(&once));
        Ok(())
    }

    fn run(&mut self, operation: &Operation) -> Result<(), FieldRange> {
        self.set(&needed(self.kind, operation))?;
        encode(&Command::Run(operation.code()), &mut self.list.words)?;
        let cycles = cnnip_timing::Cost::of(operation, self.target).cycles;
        self.list.course.command(cycles, Step::Run(cycles));
        Ok(())
    }

    /// Gives registers their values, where they have others.
    fn set(&mut self, words: &[(u8, u32)]) -> Result<(), FieldRange> {
        for (first, values) in self.known.changes(words) {
            self.control(&Command::Set { first, values: &values })?;
        }
        Ok(())
    }

    fn control(&mut self, command: &Command<'_>) -> Result<(), FieldRange> {
        encode(command, &mut self.list.words)?;
        let cycles = cnnip_timing::control_cycles(command.words());
        let step = match *command {
            Command::Signal { token } => Step::Signal(token),
            Command::Wait { token, count } => Step::Wait(token, count),
            _ => Step::Busy(cycles),
        };
        self.list.course.command(cycles, step);
        Ok(())
    }
}

/// The registers' words as far as the list has set them.
struct Known {
    words: Vec<Option<u32>>,
}

impl Known {
    fn new(kind: EngineKind) -> Self {
        Self { words: vec![None; RegisterFile::new(kind).words().len()] }
    }

    /// Nothing is known of some registers any more.
    fn forget(&mut self, registers: &[u8]) {
        registers.iter().for_each(|&index| self.words[usize::from(index)] = None);
    }

    /// Takes over values, in the order of the registers; returns runs of consecutive ones that change.
    fn changes(&mut self, words: &[(u8, u32)]) -> Vec<(u8, Vec<u32>)> {
        let mut runs: Vec<(u8, Vec<u32>)> = vec![];
        for &(index, word) in words {
            let known = &mut self.words[usize::from(index)];
            if *known == Some(word) {
                continue;
            }
            *known = Some(word);
            match runs.last_mut() {
                Some((first, values)) if usize::from(*first) + values.len() == usize::from(index) => values.push(word),
                _ => runs.push((index, vec![word])),
            }
        }
        runs
    }
}

/// Every register that the operation sets, in order: those that come out alike from two files that differ everywhere.
pub(crate) fn needed(kind: EngineKind, operation: &Operation) -> Vec<(u8, u32)> {
    let mut zeros = RegisterFile::new(kind);
    let mut ones = RegisterFile::new(kind);
    for spec in registers_of(kind) {
        // A mask is what may be written.
        ones.write(spec.index, spec.mask).unwrap_or_default();
    }
    operation.store(&mut zeros);
    operation.store(&mut ones);
    let words = registers_of(kind)
        .iter()
        .filter_map(|spec| zeros.get(spec.index).zip(ones.get(spec.index)).map(|words| (spec.index, words)));
    words.filter(|(_, (zero, one))| zero == one).map(|(index, (word, _))| (index, word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_isa::operation::{Copy, Location};
    use cnnip_isa::{DmaRegister, Target, decode_at};

    fn copy(from: u32) -> Item {
        Item::Run(Operation::Copy(Copy::dense(Location::dram(3, from), Location::sram(64), 100)))
    }

    fn sets(words: &[u32]) -> Vec<(u8, Vec<u32>)> {
        let (mut pc, mut sets) = (0, vec![]);
        while pc < words.len() {
            let (command, length) = decode_at(words, pc, EngineKind::Dma).unwrap();
            if let Command::Set { first, values } = command {
                sets.push((first, values.to_vec()));
            }
            pc += length;
        }
        sets
    }

    #[test]
    fn only_registers_that_change_are_set() {
        let target = Target::by_name("v3m").unwrap();
        let list = list(EngineKind::Dma, &[copy(0), copy(0), copy(8)], target).unwrap();
        let sets = sets(&list.words);
        assert_eq!(sets.len(), 2, "all at first, nothing for the same again, then one");
        assert_eq!(sets[0].1.len(), 9, "places, addresses, run and counts; no steps");
        assert_eq!(sets[1], (DmaRegister::SrcAddr.index(), vec![8]));
        assert_eq!(list.course.commands, 3 + 2 + 1);
    }
}
