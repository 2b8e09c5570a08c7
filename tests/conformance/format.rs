//! The text in which vectors are written; `README.md` describes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cnnip_core::{EngineId, Region, RegionKind, Slot, TokenOwner};
use cnnip_isa::asm::assemble_str;
use cnnip_isa::{EngineKind, FaultCode, Target, registers_of};
use cnnip_testkit::Rng;

use crate::families;
use crate::vector::{Bound, End, Expected, Fact, Vector};

/// A statement of the specification with its vectors.
pub(crate) struct Statement {
    pub(crate) id: String,
    pub(crate) sentence: String,
    pub(crate) vectors: Vec<Vector>,
}

/// Lines of a program in the making.
type Lines = Vec<String>;

/// Where lines go that are not directives of their own.
enum Block {
    None,
    Base(String),
    Vector,
}

struct Reader {
    file: &'static str,
    bases: BTreeMap<String, Lines>,
    statements: Vec<Statement>,
    block: Block,
    /// Title and lines of the vector in the making.
    vector: (String, Lines),
}

/// Reads a file of statements.
///
/// # Panics
/// At text that is not as `README.md` describes it; the message names file and line.
pub(crate) fn read(file: &'static str, text: &str) -> Vec<Statement> {
    let mut reader = Reader {
        file,
        bases: BTreeMap::new(),
        statements: Vec::new(),
        block: Block::None,
        vector: (String::new(), Vec::new()),
    };
    for (number, line) in (1..).zip(include_str!("vectors/bases.txt").lines().chain(text.lines())) {
        reader.line(number, line.trim());
    }
    reader.close_vector();
    reader.statements
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let (word, rest) = split(line);
        match word {
            "base" => {
                self.close_vector();
                self.block = Block::Base(rest.to_owned());
            }
            "statement" => {
                self.close_vector();
                let (id, sentence) = split(rest);
                let known = self.statements.iter().any(|statement| statement.id == id);
                assert!(!known, "{}:{number}: a second statement {id}", self.file);
                let vectors = Vec::new();
                self.statements.push(Statement { id: id.to_owned(), sentence: sentence.to_owned(), vectors });
            }
            "vector" => {
                self.close_vector();
                self.block = Block::Vector;
                self.vector = (rest.to_owned(), Vec::new());
            }
            "family" => {
                self.close_vector();
                let statement = self.statements.last_mut().expect("a statement before its family");
                statement.vectors.extend(families::family(&format!("{}: {rest}", statement.id), rest));
            }
            _ => match &self.block {
                Block::Base(name) => self.bases.entry(name.clone()).or_default().push(line.to_owned()),
                Block::Vector => self.vector.1.push(line.to_owned()),
                Block::None => panic!("{}:{number}: `{line}` belongs to nothing", self.file),
            },
        }
    }

    fn close_vector(&mut self) {
        if !matches!(self.block, Block::Vector) {
            return;
        }
        self.block = Block::None;
        let (title, lines) = std::mem::take(&mut self.vector);
        let (each, lines): (Lines, Lines) = lines.into_iter().partition(|line| line.starts_with("each "));
        let id = self.statements.last().expect("a statement before its vectors").id.clone();
        let mut vectors = Vec::new();
        for values in combinations(&each) {
            let lines: Lines = lines.iter().flat_map(|line| self.expand(&substitute(line, &values), &values)).collect();
            let said: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
            let name = format!("{id}: {} {}", substitute(&title, &values), said.join(" "));
            vectors.push(build(name.trim().to_owned(), &lines));
        }
        self.statements.last_mut().expect("the same statement").vectors.extend(vectors);
    }
}

impl Reader {
    /// The line, or the lines of the base that it names.
    fn expand(&self, line: &str, values: &Values) -> Lines {
        match line.strip_prefix("from ") {
            Some(name) => {
                let base = self.bases.get(name.trim()).unwrap_or_else(|| panic!("{}: no base {name}", self.file));
                base.iter().map(|line| substitute(line, values)).collect()
            }
            None => vec![line.to_owned()],
        }
    }
}

fn split(line: &str) -> (&str, &str) {
    line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim()))
}

/// Names and their values.
type Values = Vec<(String, String)>;

/// Every combination of the values that `each` lines list.
fn combinations(each: &[String]) -> Vec<Values> {
    let mut all: Vec<Values> = vec![Vec::new()];
    for line in each {
        let (names, values) = split(line["each ".len()..].trim());
        let names: Vec<&str> = names.split(',').collect();
        let mut next = Vec::new();
        for before in &all {
            for value in listed(values) {
                let parts: Vec<&str> = if names.len() == 1 { vec![&value] } else { value.split(',').collect() };
                assert_eq!(parts.len(), names.len(), "`{line}`: `{value}`");
                let pairs = names.iter().zip(parts).map(|(name, part)| ((*name).to_owned(), part.trim().to_owned()));
                next.push(before.iter().cloned().chain(pairs).collect());
            }
        }
        all = next;
    }
    all
}

/// Values between `|`, or between blanks; `a..b` stands for all numbers from a to b.
fn listed(text: &str) -> Vec<String> {
    let parts: Vec<&str> =
        if text.contains('|') { text.split('|').collect() } else { text.split_whitespace().collect() };
    let mut values = Vec::new();
    for part in parts.into_iter().map(str::trim) {
        match part.split_once("..").filter(|_| !part.contains(',')) {
            Some((first, last)) => values.extend((number(first)..=number(last)).map(|value| value.to_string())),
            None => values.push(part.to_owned()),
        }
    }
    values
}

/// The line with every `{expression}` replaced.
fn substitute(line: &str, values: &Values) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('{') {
        let (expression, after) = after.split_once('}').unwrap_or_else(|| panic!("`{line}` lacks a brace"));
        text += before;
        text += &evaluate(expression.trim(), values);
        rest = after;
    }
    text + rest
}

/// A name alone stands for its text; else numbers and names joined by `+ - * <<`, from left to right.
fn evaluate(expression: &str, values: &Values) -> String {
    let value = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    if let Some(text) = value(expression) {
        return text;
    }
    let mut tokens = expression.split_whitespace();
    let term = |token: Option<&str>| {
        let token = token.unwrap_or_else(|| panic!("`{expression}` ends too early"));
        number(&value(token).unwrap_or_else(|| token.to_owned()))
    };
    let mut result = term(tokens.next());
    while let Some(operator) = tokens.next() {
        let right = term(tokens.next());
        result = match operator {
            "+" => result + right,
            "-" => result - right,
            "*" => result * right,
            "<<" => result << right,
            _ => panic!("`{expression}`: no operator {operator}"),
        };
    }
    result.to_string()
}

/// A number, decimal or hexadecimal.
pub(crate) fn number(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let value = digits.strip_prefix("0x").map_or_else(|| digits.parse(), |hex| i64::from_str_radix(hex, 16));
    sign * value.unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn small<T: TryFrom<i64>>(text: &str) -> T {
    T::try_from(number(text)).unwrap_or_else(|_| panic!("`{text}` is too large"))
}

/// The program that lines describe.
fn build(name: String, lines: &[String]) -> Vector {
    let mut vector = Vector::new(name, Target::by_name("v3m").expect("a target"));
    let mut lists: Vec<(EngineId, String)> = Vec::new();
    let mut in_list = false;
    for line in lines {
        let (word, rest) = split(line);
        if let Some(known) = directive(&mut vector, word, rest) {
            in_list = known;
        } else if word == "list" {
            lists.push((engine(rest), String::new()));
            in_list = true;
        } else if word == "with" {
            replace(&mut lists, rest);
        } else if let (true, Some((_, text))) = (in_list, lists.last_mut()) {
            text.push_str(line);
            text.push('\n');
        } else {
            panic!("{}: `{line}` is no directive", vector.name);
        }
    }
    for (engine, text) in lists {
        let words = assemble_str(&text, engine.slot.kind()).unwrap_or_else(|why| panic!("{}: {}", vector.name, why[0]));
        vector.lists.push((engine, words));
    }
    vector
}

/// Puts `set REGISTER VALUE` in place of the line that sets that register.
fn replace(lists: &mut [(EngineId, String)], set: &str) {
    let register = split(set).0;
    let mut found = 0;
    for (_, text) in lists {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for line in &mut lines {
            let (word, rest) = split(line);
            if word == "set" && split(rest).0 == register {
                *line = format!("set {set}");
                found += 1;
            }
        }
        *text = lines.join("\n") + "\n";
    }
    assert_eq!(found, 1, "`with {set}` replaces the one line that sets {register}");
}

/// Carries out a directive; `None` if the word is none.
fn directive(vector: &mut Vector, word: &str, rest: &str) -> Option<bool> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    match word {
        "target" => vector.target = Target::by_name(rest).unwrap_or_else(|| panic!("no target {rest}")),
        "token" => {
            let [token, signals, waits] = words[..] else { panic!("token NUMBER SIGNALS WAITS: `{rest}`") };
            let (signals, waits) = (engine(signals), engine(waits));
            vector.tokens.push(TokenOwner { token: small(token), signals, waits });
        }
        "region" => vector.regions.push(region(&words)),
        "sram" => {
            let (core, address) = (small(words[0]), small(words[1]));
            vector.sram.push((core, address, contents(&words[2..])));
        }
        "unchecked" => {
            for check in words {
                match check {
                    "race" => vector.checks.race = false,
                    "uninitialised" => vector.checks.uninitialised = false,
                    _ => panic!("no check {check}"),
                }
            }
        }
        "commands" => vector.max_commands = small(rest),
        "cycles" => vector.max_cycles = small(rest),
        "done" => vector.end = End::Done(words.first().map(|cycle| small(cycle))),
        "fault" => vector.end = End::Fault(fault(rest)),
        "expect" => vector.facts.push(fact(&words)),
        _ => return None,
    }
    Some(false)
}

/// `KIND SIZE [CONTENTS]`: input, constant, scratch, output, or `unbound`. Without contents a buffer is zero and not written.
fn region(words: &[&str]) -> Bound {
    let [kind, rest @ ..] = words else { panic!("region KIND SIZE [CONTENTS]") };
    if *kind == "unbound" {
        return Bound { region: Region::Unbound, written: false };
    }
    let [size, contents_words @ ..] = rest else { panic!("region KIND SIZE [CONTENTS]") };
    let mut bytes = contents(contents_words);
    let written = !bytes.is_empty();
    bytes.resize(small(size), 0);
    let kind = match *kind {
        "input" => RegionKind::Input,
        "scratch" => RegionKind::Scratch,
        "output" => RegionKind::Output,
        "constant" => return Bound { region: Region::Constant(Arc::new(bytes)), written: false },
        _ => panic!("no kind {kind} of region"),
    };
    Bound { region: Region::Buffer { kind, bytes }, written }
}

/// Bytes in hexadecimal; `COUNT of BYTE`; `COUNT random SEED`; `le8|le16|le32|le64 NUMBER ...`.
pub(crate) fn contents(words: &[&str]) -> Vec<u8> {
    match words {
        [count, "of", byte] => vec![small(byte); small(count)],
        [count, "random", seed] => Rng::new(small(seed)).bytes(small(count)),
        [width @ ("le8" | "le16" | "le32" | "le64"), numbers @ ..] => {
            let bytes = usize::try_from(number(&width[2..]) / 8).expect("a width");
            numbers.iter().flat_map(|text| number(text).to_le_bytes()[..bytes].to_vec()).collect()
        }
        _ => words.iter().map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("byte {byte}"))).collect(),
    }
}

/// `dma0`, `cnn`, `core1.dma0`.
fn engine(name: &str) -> EngineId {
    let (core, slot) = name.strip_prefix("core").and_then(|rest| rest.split_once('.')).unwrap_or(("0", name));
    let slot = match slot {
        "dma0" => Slot::Dma0,
        "dma1" => Slot::Dma1,
        "cnn" => Slot::Cnn,
        _ => panic!("no engine {name}"),
    };
    EngineId { core: small(core), slot }
}

/// `CODE ENGINE PC CYCLE [DETAIL]`.
fn fault(text: &str) -> Expected {
    let (code, rest) = split(text);
    let (engine_name, rest) = split(rest);
    let (pc, rest) = split(rest);
    let (cycle, detail) = split(rest);
    let known = FaultCode::ALL.iter().copied().find(|known| known.name() == code);
    Expected {
        code: known.unwrap_or_else(|| panic!("no fault {code}")),
        engine: engine(engine_name),
        pc: small(pc),
        cycle: small(cycle),
        detail: detail.to_owned(),
    }
}

fn fact(words: &[&str]) -> Fact {
    match words {
        ["sram", core, address, "=", bytes @ ..] => {
            Fact::Sram { core: small(core), address: small(address), bytes: contents(bytes) }
        }
        ["region", region, offset, "=", bytes @ ..] => {
            Fact::Region { region: small(region), offset: small(offset), bytes: contents(bytes) }
        }
        ["register", name, register, value] => {
            let engine = engine(name);
            let value = u32::from_le_bytes(number(value).to_le_bytes()[..4].try_into().expect("four bytes"));
            Fact::Register { engine, index: register_index(engine.slot.kind(), register), value }
        }
        ["token", token, core, count] => Fact::Token { token: small(token), core: small(core), count: small(count) },
        ["interrupts", codes @ ..] => Fact::Interrupts(codes.iter().map(|code| small(code)).collect()),
        ["layer", layer] => Fact::Layer(small(layer)),
        _ => panic!("`expect {}` is nothing to expect", words.join(" ")),
    }
}

fn register_index(engine: EngineKind, name: &str) -> u8 {
    let found = registers_of(engine).iter().find(|register| register.name == name);
    found.unwrap_or_else(|| panic!("no register {name}")).index
}
