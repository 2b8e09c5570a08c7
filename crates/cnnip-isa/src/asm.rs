//! Assembly text of one list → words. The language is described in `isa-spec/commands.md`.

mod diagnostic;
mod nearest;
mod operand;
mod source;

pub use diagnostic::Diagnostic;

use crate::command::put_fields;
use crate::engine::EngineKind;
use crate::generated::{Opcode, OperationCode};
use crate::registers::spec_of;
use crate::spec::{RegisterSpec, registers_of};
use nearest::{did_you_mean, nearest};
use source::{Line, Piece};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Longest line in bytes. The longest command, a NEXT of 255 pairs, needs less.
const MAX_LINE: usize = 16 * 1024;

/// After so many problems nothing more is read.
const MAX_PROBLEMS: usize = 1000;

/// How many labels are looked at for the one that was meant.
const MAX_HINTS: usize = 1000;

/// What makes a raw word.
const WORD: &str = ".word";

/// Assembles one list, a whole text.
///
/// ```
/// use cnnip_isa::asm::assemble_str;
/// use cnnip_isa::EngineKind;
///
/// let list = assemble_str("set IN_SIZE W=8 H=4\nrun TABLE\nend", EngineKind::Cnn).unwrap();
/// assert_eq!(list, [0x1001_0002, 0x0004_0008, 0x1100_0021, 0x0200_0000]);
///
/// let problems = assemble_str("set IN_SIZ 8", EngineKind::Cnn).unwrap_err();
/// assert_eq!(problems[0].to_string(), "\
/// line 1, column 5: the cnn engine has no register `IN_SIZ`
///   1 | set IN_SIZ 8
///     |     ^^^^^^
///   hint: did you mean `IN_SIZE`?");
/// ```
///
/// # Errors
/// Everything that is wrong with the text, as [`assemble`].
pub fn assemble_str(text: &str, engine: EngineKind) -> Result<Vec<u32>, Vec<Diagnostic>> {
    assemble(text.lines().enumerate().map(|(before, line)| (before + 1, line)), engine)
}

/// Assembles one list from lines with their numbers, so that a list can be a part of a larger file.
///
/// # Errors
/// Everything that is wrong with the lines, up to about a thousand problems.
pub fn assemble<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    engine: EngineKind,
) -> Result<Vec<u32>, Vec<Diagnostic>> {
    let mut assembler = Assembler::new(engine);
    for (number, text) in lines {
        assembler.line(Line { number, text });
        if assembler.problems.len() >= MAX_PROBLEMS {
            return Err(assembler.problems);
        }
    }
    assembler.resolve_calls();
    if assembler.problems.is_empty() { Ok(assembler.words) } else { Err(assembler.problems) }
}

/// Something, or what is wrong with it.
type Parsed<T> = Result<T, Diagnostic>;

struct Assembler<'a> {
    engine: EngineKind,
    words: Vec<u32>,
    /// Word index and line number of each label.
    labels: BTreeMap<&'a str, (u32, usize)>,
    /// Places of CALL commands whose targets are labels.
    calls: Vec<(usize, Piece<'a>)>,
    problems: Vec<Diagnostic>,
}

impl<'a> Assembler<'a> {
    fn new(engine: EngineKind) -> Self {
        Self { engine, words: Vec::new(), labels: BTreeMap::new(), calls: Vec::new(), problems: Vec::new() }
    }

    fn line(&mut self, line: Line<'a>) {
        if line.text.len() > MAX_LINE {
            let message = format!("a line has at most {MAX_LINE} bytes, this one has {}", line.text.len());
            return self.problems.push(line.whole().problem(message));
        }
        let done = self.statement(line.code());
        self.note(done);
    }

    /// Keeps a problem for the end; there may be more.
    fn note<T>(&mut self, parsed: Parsed<T>) -> Option<T> {
        parsed.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// Labels and at most one command.
    fn statement(&mut self, code: Piece<'a>) -> Parsed<()> {
        let mut rest = code;
        while let Some((name, after)) = rest.split_once(':') {
            self.label(name)?;
            rest = after;
        }
        let (mnemonic, operands) = rest.first_word();
        match mnemonic.text() {
            "" => Ok(()),
            WORD => self.raw_word(operands),
            _ => self.command(opcode(mnemonic)?, mnemonic, operands),
        }
    }

    fn label(&mut self, name: Piece<'a>) -> Parsed<()> {
        if !is_name(name.text()) {
            return Err(name.problem("a label is a letter or `_`, then letters, digits and `_`"));
        }
        let place = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        match self.labels.entry(name.text()) {
            Entry::Vacant(entry) => {
                entry.insert((place, name.line_number()));
                Ok(())
            }
            Entry::Occupied(entry) => {
                let (_, line) = entry.get();
                Err(name.problem(format!("label `{}` is defined already, in line {line}", name.text())))
            }
        }
    }

    fn raw_word(&mut self, operands: Piece<'a>) -> Parsed<()> {
        let word = operand::number(operands)?.bits(operands)?;
        self.words.push(word);
        Ok(())
    }

    fn command(&mut self, opcode: Opcode, mnemonic: Piece<'a>, operands: Piece<'a>) -> Parsed<()> {
        match opcode {
            Opcode::Set => self.set(mnemonic, operands),
            Opcode::Next => self.next(mnemonic, operands),
            Opcode::Run => self.run(operands),
            Opcode::Call => self.call(mnemonic, operands),
            Opcode::Nop
            | Opcode::End
            | Opcode::Signal
            | Opcode::Wait
            | Opcode::Ret
            | Opcode::Loop
            | Opcode::Mark
            | Opcode::Int
            | Opcode::Trap => self.plain(opcode, mnemonic, operands),
        }
    }

    /// A command whose operands are its fields, in the order of the specification.
    fn plain(&mut self, opcode: Opcode, mnemonic: Piece<'a>, operands: Piece<'a>) -> Parsed<()> {
        let fields = opcode.fields();
        let pieces: Vec<Piece<'a>> = operands.words().collect();
        if let Some(extra) = pieces.get(fields.len()) {
            return Err(extra.problem(format!("too much, {}", usage(opcode))));
        }
        if pieces.len() < fields.len() {
            return Err(mnemonic.problem(format!("too little, {}", usage(opcode))));
        }
        let mut values = Vec::with_capacity(fields.len());
        for (piece, spec) in pieces.iter().zip(fields) {
            values.push(operand::in_range(*piece, spec)?);
        }
        self.head(opcode, &values, operands)
    }

    /// Appends the first word of a command.
    fn head(&mut self, opcode: Opcode, values: &[u32], at: Piece<'a>) -> Parsed<()> {
        let head = put_fields(opcode, values).map_err(|error| at.problem(error.to_string()))?;
        self.words.push(head);
        Ok(())
    }

    fn run(&mut self, name: Piece<'a>) -> Parsed<()> {
        let operation = operation(name, self.engine)?;
        self.head(Opcode::Run, &[operation.code()], name)
    }

    fn call(&mut self, mnemonic: Piece<'a>, target: Piece<'a>) -> Parsed<()> {
        if !is_name(target.text()) {
            return self.plain(Opcode::Call, mnemonic, target);
        }
        self.calls.push((self.words.len(), target));
        self.head(Opcode::Call, &[0], target)
    }

    fn resolve_calls(&mut self) {
        for (place, name) in std::mem::take(&mut self.calls) {
            let resolved = self.target(name);
            if let (Some(head), Some(word)) = (self.note(resolved), self.words.get_mut(place)) {
                *word = head;
            }
        }
    }

    /// The word of a CALL of a label.
    fn target(&self, name: Piece<'a>) -> Parsed<u32> {
        let Some(&(place, _)) = self.labels.get(name.text()) else {
            let problem = name.problem(format!("no label `{}`", name.text()));
            return Err(
                problem.with_hint(nearest(name.text(), self.labels.keys().copied().take(MAX_HINTS)).map(did_you_mean))
            );
        };
        put_fields(Opcode::Call, &[place]).map_err(|error| name.problem(error.to_string()))
    }

    /// `set REGISTER VALUE, VALUE, ...`: the head is mended when the number of values is known.
    fn set(&mut self, mnemonic: Piece<'a>, operands: Piece<'a>) -> Parsed<()> {
        let mut values = Vec::new();
        let mut first = None;
        let mut expected: Option<&'static RegisterSpec> = None;
        for element in operands.split(',') {
            let (register, value) = self.set_target(element, expected)?;
            first.get_or_insert(register.index);
            expected = Some(register);
            let value = operand::register_value(value, register, element);
            values.push(self.note(value).unwrap_or_default());
        }
        let Some(first) = first else { return Err(mnemonic.problem("too little, `set REGISTER VALUE`")) };
        let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
        self.head(Opcode::Set, &[u32::from(first), count], operands)?;
        self.words.extend(values);
        Ok(())
    }

    /// Which register an element of a SET writes, and the rest of the element.
    fn set_target(
        &self,
        element: Piece<'a>,
        before: Option<&RegisterSpec>,
    ) -> Parsed<(&'static RegisterSpec, Piece<'a>)> {
        let (name, value) = element.first_word();
        match before {
            None => Ok((register(name, self.engine)?, value)),
            Some(before) if is_name(name.text()) => Ok((self.next_named(name, before)?, value)),
            Some(before) => Ok((self.after(element, before)?, element)),
        }
    }

    /// The register after `before`, which `name` must name.
    fn next_named(&self, name: Piece<'a>, before: &RegisterSpec) -> Parsed<&'static RegisterSpec> {
        let register = register(name, self.engine)?;
        if before.index.checked_add(1) == Some(register.index) {
            return Ok(register);
        }
        let message = format!("{} does not follow {} in the register file", register.name, before.name);
        Err(name.problem(message).hint("begin another `set` line"))
    }

    fn after(&self, element: Piece<'a>, before: &RegisterSpec) -> Parsed<&'static RegisterSpec> {
        let next = before.index.checked_add(1).and_then(|index| spec_of(self.engine, index));
        next.ok_or_else(|| element.problem(format!("no register follows {}", before.name)))
    }

    /// `next REGISTER=INCREMENT, ...`
    fn next(&mut self, mnemonic: Piece<'a>, operands: Piece<'a>) -> Parsed<()> {
        let mut pairs = Vec::new();
        for element in operands.split(',') {
            let pair = self.increment(element);
            pairs.extend(self.note(pair).unwrap_or_default());
        }
        let count = u32::try_from(pairs.len() / 2).unwrap_or(u32::MAX);
        self.head(Opcode::Next, &[count], mnemonic)?;
        self.words.extend(pairs);
        Ok(())
    }

    fn increment(&self, element: Piece<'a>) -> Parsed<[u32; 2]> {
        let (name, value) = element.split_once('=').ok_or_else(|| element.problem("not `REGISTER=INCREMENT`"))?;
        let register = register(name, self.engine)?;
        Ok([u32::from(register.index), operand::number(value)?.bits(value)?])
    }
}

/// Whether this is a name: of a label or register, not a number or `FIELD=VALUE`.
fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
    first && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// How a command is written.
fn usage(opcode: Opcode) -> String {
    let fields: String = opcode.fields().iter().map(|spec| format!(" {}", spec.name)).collect();
    format!("`{}{fields}`", opcode.name().to_ascii_lowercase())
}

fn opcode(mnemonic: Piece<'_>) -> Parsed<Opcode> {
    let upper = mnemonic.text().to_ascii_uppercase();
    let found = Opcode::ALL.iter().find(|opcode| opcode.name() == upper);
    match found {
        Some(&opcode) if mnemonic.text() != upper => Ok(opcode),
        _ => {
            let names = Opcode::ALL.iter().map(|opcode| opcode.name());
            let hint = nearest(&upper, names).map(|name| did_you_mean(&name.to_ascii_lowercase()));
            Err(mnemonic.problem(format!("no command `{}`", mnemonic.text())).with_hint(hint))
        }
    }
}

fn register(name: Piece<'_>, engine: EngineKind) -> Parsed<&'static RegisterSpec> {
    let registers = registers_of(engine);
    registers.iter().find(|register| register.name == name.text()).ok_or_else(|| {
        let problem = name.problem(format!("the {engine} engine has no register `{}`", name.text()));
        let names = registers.iter().map(|register| register.name);
        problem.with_hint(nearest(name.text(), names).map(did_you_mean))
    })
}

fn operation(name: Piece<'_>, engine: EngineKind) -> Parsed<OperationCode> {
    let found = OperationCode::ALL.iter().find(|operation| operation.name() == name.text());
    match found {
        Some(&operation) if operation.engine() == engine => Ok(operation),
        Some(operation) => {
            let message = format!("{} is an operation of the {} engine", operation.name(), operation.engine());
            Err(name.problem(message).hint(format!("this is a list of a {engine} engine")))
        }
        None => {
            let names = OperationCode::ALL.iter().map(|operation| operation.name());
            let problem = name.problem(format!("no operation `{}`", name.text()));
            Err(problem.with_hint(nearest(name.text(), names).map(did_you_mean)))
        }
    }
}

#[cfg(test)]
mod tests;
