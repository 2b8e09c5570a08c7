//! Words of one list → assembly text.

use crate::command::{Command, Pairs, decode_at};
use crate::engine::EngineKind;
use crate::registers::spec_of;
use crate::spec::{FieldSpec, RegisterKind, RegisterSpec};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Column of the comments with word indices.
const COMMENT_COLUMN: usize = 43;

/// The text of a list; assembling it gives the same words, whatever they are.
///
/// What cannot be decoded, or be written otherwise, becomes `.word`. Every line ends with a comment that tells the word
/// index of its command, as fault reports show it.
///
/// ```
/// use cnnip_isa::{EngineKind, disassemble};
///
/// let list = [0x1001_0002, 0x0004_0008, 0x0700_0000, 0x0200_0000];
/// let text = disassemble(&list, EngineKind::Cnn);
/// let lines: Vec<&str> = text.lines().collect();
/// assert_eq!(lines, [
///     "    set IN_SIZE W=8 H=4                     ; 0",
///     "    .word 0x07000000                        ; 2: unknown opcode 0x07",
///     "    end                                     ; 3",
/// ]);
/// ```
#[must_use]
pub fn disassemble(words: &[u32], engine: EngineKind) -> String {
    let lines = lines(words, engine);
    let labels = labels(&lines);
    let mut out = String::new();
    for line in &lines {
        if labels.contains(&line.pc) {
            out.push_str(&label(line.pc));
            out.push_str(":\n");
        }
        let text = format!("    {}", line.text(&labels));
        // Writing to a string does not fail.
        let _ = writeln!(out, "{text:COMMENT_COLUMN$} ; {}{}", line.pc, line.remark);
    }
    out
}

/// One line of text: a command, or a word that is none.
struct Line<'a> {
    pc: usize,
    what: What<'a>,
    /// Why it is not a command.
    remark: String,
}

enum What<'a> {
    Word(u32),
    Command(Command<'a>),
    Set(Vec<(&'static RegisterSpec, u32)>),
    Next(Vec<(&'static RegisterSpec, u32)>),
}

fn lines(words: &[u32], engine: EngineKind) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut pc = 0;
    while let Some(&word) = words.get(pc) {
        let length = match decode_at(words, pc, engine) {
            Ok((command, length)) => {
                lines.extend(command_lines(command, pc, words, engine));
                length
            }
            Err(error) => {
                lines.push(Line { pc, what: What::Word(word), remark: format!(": {}", error.why) });
                1
            }
        };
        pc += length;
    }
    lines
}

/// One line for a command that the assembler takes, else one for each of its words.
fn command_lines<'a>(command: Command<'a>, pc: usize, words: &'a [u32], engine: EngineKind) -> Vec<Line<'a>> {
    if let Some(what) = what(command, engine) {
        return vec![Line { pc, what, remark: String::new() }];
    }
    let own = words.iter().enumerate().skip(pc).take(command.words());
    own.map(|(pc, &word)| {
        let remark = format!(": {} of an unknown register or reserved bit", command.opcode().name());
        Line { pc, what: What::Word(word), remark }
    })
    .collect()
}

/// What is printed for a command; nothing if the assembler would not take it.
fn what(command: Command<'_>, engine: EngineKind) -> Option<What<'_>> {
    match command {
        Command::Set { first, values } => set(first, values, engine).map(What::Set),
        Command::Next { pairs } => next(pairs, engine).map(What::Next),
        other => Some(What::Command(other)),
    }
}

fn set(first: u8, values: &[u32], engine: EngineKind) -> Option<Vec<(&'static RegisterSpec, u32)>> {
    let indices = (first..=u8::MAX).map(Some).chain(std::iter::repeat(None));
    let pairs = indices.zip(values).map(|(index, &value)| {
        let register = spec_of(engine, index?)?;
        (value & !register.mask == 0).then_some((register, value))
    });
    pairs.collect()
}

fn next(pairs: Pairs<'_>, engine: EngineKind) -> Option<Vec<(&'static RegisterSpec, u32)>> {
    pairs.iter().map(|(index, increment)| Some((spec_of(engine, index)?, increment))).collect()
}

/// Word indices that CALL commands name and that begin a line.
fn labels(lines: &[Line<'_>]) -> BTreeSet<usize> {
    let targets = lines.iter().filter_map(|line| match line.what {
        What::Command(Command::Call { target }) => usize::try_from(target).ok(),
        _ => None,
    });
    targets.filter(|target| lines.binary_search_by_key(target, |line| line.pc).is_ok()).collect()
}

fn label(pc: usize) -> String {
    format!("at_{pc}")
}

impl Line<'_> {
    fn text(&self, labels: &BTreeSet<usize>) -> String {
        match &self.what {
            What::Word(word) => format!(".word {word:#010x}"),
            What::Command(command) => command_text(command, labels),
            What::Set(values) => format!("set {}", joined(values, element)),
            What::Next(pairs) => format!("next {}", joined(pairs, increment)).trim_end().to_owned(),
        }
    }
}

fn joined(pairs: &[(&'static RegisterSpec, u32)], print: impl Fn(&RegisterSpec, u32) -> String) -> String {
    let printed: Vec<String> = pairs.iter().map(|&(register, value)| print(register, value)).collect();
    printed.join(", ")
}

fn command_text(command: &Command<'_>, labels: &BTreeSet<usize>) -> String {
    let name = command.opcode().name().to_ascii_lowercase();
    match *command {
        Command::Call { target } => match usize::try_from(target).ok().filter(|target| labels.contains(target)) {
            Some(target) => format!("{name} {}", label(target)),
            None => format!("{name} {target}"),
        },
        Command::Run(operation) => format!("{name} {}", operation.name()),
        Command::Signal { token } => format!("{name} {token}"),
        Command::Wait { token, count } => format!("{name} {token} {count}"),
        Command::Loop { count } => format!("{name} {count}"),
        Command::Mark { layer: value } | Command::Int { code: value } | Command::Trap { code: value } => {
            format!("{name} {value}")
        }
        Command::Nop | Command::End | Command::Ret | Command::Set { .. } | Command::Next { .. } => name,
    }
}

fn element(register: &RegisterSpec, value: u32) -> String {
    let value = match register.kind {
        RegisterKind::Unsigned if register.name.ends_with("_ADDR") => format!("{value:#x}"),
        RegisterKind::Unsigned => value.to_string(),
        RegisterKind::Signed => value.cast_signed().to_string(),
        RegisterKind::Bits => format!("{value:#010x}"),
        RegisterKind::Fields => fields(register, value).unwrap_or_else(|| format!("{value:#010x}")),
    };
    format!("{} {value}", register.name)
}

/// The fields by name; nothing if one has a value that is not legal.
fn fields(register: &RegisterSpec, word: u32) -> Option<String> {
    let field = |spec: &FieldSpec| {
        let value = spec.field().get(word);
        let text = spec.value_name(value).map_or_else(|| value.to_string(), str::to_owned);
        (value >= spec.min && value <= spec.max).then(|| format!("{}={text}", spec.name))
    };
    let printed: Option<Vec<String>> = register.fields.iter().map(field).collect();
    printed.map(|fields| fields.join(" "))
}

fn increment(register: &RegisterSpec, value: u32) -> String {
    format!("{}={:+}", register.name, value.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::disassemble;
    use crate::asm::assemble_str;
    use crate::command::encode;
    use crate::command::tests::{any_command, any_engine};
    use crate::engine::EngineKind;
    use crate::generated::Opcode;
    use crate::spec::registers_of;
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use proptest::sample::select;

    #[test]
    fn a_list_reads_as_a_person_would_write_it() {
        let list = assemble_str(
            "set FORMAT IN=int8 OUT=int8, IN_ADDR 256\nset IN_ZERO -3\nset OUT_MULT 1.5f\nloop 4\ncall 11\n\
             next IN_ADDR=+64, OUT_ADDR=-1\nend\nback: ret",
            EngineKind::Cnn,
        );
        let text = list.map(|list| disassemble(&list, EngineKind::Cnn));
        assert_eq!(
            text.as_deref(),
            Ok("    set FORMAT IN=int8 IN2=none OUT=int8 WEIGHTS=none, IN_ADDR 0x100 ; 0\n    \
                set IN_ZERO -3                          ; 3\n    \
                set OUT_MULT 0x3fc00000                 ; 5\n    \
                loop 4                                  ; 7\n    \
                call 11                                 ; 8\n    \
                next IN_ADDR=+64, OUT_ADDR=-1           ; 9\n    \
                end                                     ; 14\n    \
                ret                                     ; 15\n")
        );
    }

    #[test]
    fn what_is_no_command_says_why() {
        let text = disassemble(&[0x1001_00ff, 5, 0x3000_0001], EngineKind::Dma);
        assert_eq!(
            text,
            "    .word 0x100100ff                        ; 0: SET of an unknown register or reserved bit\n\
             at_1:\n    \
             .word 0x00000005                        ; 1: SET of an unknown register or reserved bit\n    \
             call at_1                               ; 2\n"
        );
    }

    /// Words that often are commands, and registers that often exist.
    fn likely_word() -> impl Strategy<Value = u32> {
        let head = (select(Opcode::ALL), any::<u32>())
            .prop_map(|(opcode, bits)| u32::from(opcode.code()) << 24 | bits & opcode.mask() & 0x00ff_ffff);
        prop_oneof![head, 0..100_u32, any::<u32>()]
    }

    /// A SET of one known register.
    fn known_set(engine: EngineKind) -> impl Strategy<Value = Vec<u32>> {
        let head = u32::from(Opcode::Set.code()) << 24 | 1 << 16;
        (select(registers_of(engine)), any::<u32>())
            .prop_map(move |(register, value)| vec![head | u32::from(register.index), value & register.mask])
    }

    proptest! {
        #[test]
        fn assembling_inverts_disassembling_any_words(engine in any_engine(), words in vec(likely_word(), 0..64)) {
            let text = disassemble(&words, engine);
            prop_assert_eq!(assemble_str(&text, engine), Ok(words), "{}", text);
        }

        #[test]
        fn assembling_inverts_disassembling_commands(
            (engine, list) in any_engine().prop_flat_map(|engine| (Just(engine), vec(any_command(engine), 0..32)))
        ) {
            let mut words = Vec::new();
            for one in &list {
                prop_assert_eq!(encode(&one.command(), &mut words), Ok(()));
            }
            let text = disassemble(&words, engine);
            prop_assert_eq!(assemble_str(&text, engine), Ok(words), "{}", text);
        }

        #[test]
        fn a_set_of_a_known_register_is_no_raw_word(
            (engine, words) in any_engine().prop_flat_map(|engine| (Just(engine), known_set(engine)))
        ) {
            let text = disassemble(&words, engine);
            let legal = !text.contains(".word");
            prop_assert_eq!(assemble_str(&text, engine), Ok(words));
            proptest::prop_assert!(legal, "{}", text);
        }
    }
}
