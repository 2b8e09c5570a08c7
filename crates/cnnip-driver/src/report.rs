//! Fault reports: what went wrong, where, and what to look at.

use std::fmt;

use cnnip_core::{CommandId, EngineId, Fault, FaultCause};
use cnnip_isa::{Command, FaultCode, RegisterFile, decode_at, disassemble, encode};
use cnnip_package::List;

use crate::JobFault;
use crate::plan::Plan;

/// Lines of the list shown before and after the command.
const CONTEXT: usize = 3;

/// A fault with everything a person needs to find its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultReport {
    /// Name of the fault, as in `isa-spec/faults.toml`, or of the host's objection.
    pub name: &'static str,
    /// Its code; 0 for what the host found.
    pub code: u32,
    /// What is wrong, with the values.
    pub message: String,
    /// Step of the program.
    pub step: Option<usize>,
    /// The command that faulted.
    pub command: Option<CommandReport>,
    /// Lines of the list around it.
    pub context: Vec<ContextLine>,
    /// Other commands that have to do with it: the earlier access of a race, the waits of a deadlock.
    pub others: Vec<CommandReport>,
    /// Number of the layer, its name, and the model's nodes it carries out, as far as known.
    pub layer: Option<(u32, String, Vec<String>)>,
    /// Registers that the command looks at, with their values.
    pub registers: Vec<RegisterReport>,
    /// What to do about it.
    pub hint: &'static str,
}

/// A command as it was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandReport {
    /// The engine.
    pub engine: EngineId,
    /// Name of its list.
    pub list: String,
    /// Word index in the list.
    pub pc: usize,
    /// Cycle, estimated.
    pub cycle: u64,
    /// The command as assembly.
    pub text: String,
}

/// A line of a disassembled list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextLine {
    /// The line; its comment begins with the word index.
    pub text: String,
    /// Whether it is the command that faulted.
    pub here: bool,
}

/// A register and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterReport {
    /// Its name.
    pub name: &'static str,
    /// Its word.
    pub value: u32,
    /// Name and value as assembly has them.
    pub text: String,
}

impl FaultReport {
    pub(crate) fn new(plan: &Plan, fault: &JobFault) -> Self {
        match fault {
            JobFault::Device { step, fault } => Self::of_machine(plan, *step, fault),
            JobFault::Host { step, .. } => Self::of_host("HostStep", Some(*step), fault, "see isa-spec/package.md"),
            JobFault::OutputNotWritten { .. } => {
                let hint = "write the whole output in the last steps; --check none lets it pass, with zeros there";
                Self::of_host("OutputNotWritten", None, fault, hint)
            }
            JobFault::Stopped => Self::of_host("Stopped", None, fault, "the host wanted it so"),
        }
    }

    fn of_host(name: &'static str, step: Option<usize>, fault: &JobFault, hint: &'static str) -> Self {
        Self {
            name,
            code: 0,
            message: fault.to_string(),
            step,
            command: None,
            context: Vec::new(),
            others: Vec::new(),
            layer: None,
            registers: Vec::new(),
            hint,
        }
    }

    fn of_machine(plan: &Plan, step: usize, fault: &Fault) -> Self {
        let list = plan.list_of(step, fault.at.engine).and_then(|id| plan.package.list(id));
        let code = fault.cause.code();
        Self {
            name: code.name(),
            code: code.code(),
            message: fault.cause.to_string(),
            step: Some(step),
            command: list.map(|list| command_report(list, fault.at)),
            context: list.map_or_else(Vec::new, |list| context(list, fault.at)),
            others: others(plan, step, &fault.cause),
            layer: fault.layer.map(|mark| layer(plan, mark)),
            registers: list.map_or_else(Vec::new, |list| registers(list, fault)),
            hint: hint(code),
        }
    }
}

fn layer(plan: &Plan, mark: u32) -> (u32, String, Vec<String>) {
    let found = plan.package.layer(mark);
    (
        mark,
        found.map_or_else(String::new, |layer| layer.name.clone()),
        found.map_or_else(Vec::new, |layer| layer.sources.clone()),
    )
}

fn others(plan: &Plan, step: usize, cause: &FaultCause) -> Vec<CommandReport> {
    let commands: Vec<CommandId> = match cause {
        FaultCause::Race { other, .. } => vec![*other],
        FaultCause::Deadlock { waits } => waits.iter().map(|wait| wait.at).collect(),
        _ => Vec::new(),
    };
    let report = |at: CommandId| {
        let list = plan.package.list(plan.list_of(step, at.engine)?)?;
        Some(command_report(list, at))
    };
    commands.into_iter().filter_map(report).collect()
}

pub(crate) fn command_report(list: &List, at: CommandId) -> CommandReport {
    let CommandId { engine, pc, cycle } = at;
    CommandReport { engine, list: list.name.clone(), pc, cycle, text: command_text(list, at) }
}

/// The command as assembly, without label or comment.
fn command_text(list: &List, at: CommandId) -> String {
    let kind = at.engine.slot.kind();
    let words = list.words.get(at.pc..).unwrap_or(&[]);
    let length = decode_at(&list.words, at.pc, kind).map_or(1, |(_, length)| length);
    let text = disassemble(words.get(..length).unwrap_or(words), kind);
    text.lines()
        .next()
        .map_or_else(|| "(behind the end of the list)".to_owned(), |line| without_comment(line).to_owned())
}

fn without_comment(line: &str) -> &str {
    line.rsplit_once(" ; ").map_or(line, |(command, _)| command).trim()
}

/// Lines around a command; nothing if it is not the beginning of a line.
fn context(list: &List, at: CommandId) -> Vec<ContextLine> {
    let text = disassemble(&list.words, at.engine.slot.kind());
    let lines: Vec<&str> = text.lines().collect();
    let Some(here) = lines.iter().position(|line| word_index(line) == Some(at.pc)) else { return Vec::new() };
    let around =
        lines.iter().enumerate().skip(here.saturating_sub(CONTEXT)).take_while(|(index, _)| *index <= here + CONTEXT);
    around.map(|(index, line)| ContextLine { text: (*line).to_owned(), here: index == here }).collect()
}

/// The word index in the comment of a disassembled line.
fn word_index(line: &str) -> Option<usize> {
    let (_, comment) = line.rsplit_once(" ; ")?;
    comment.split(':').next()?.trim().parse().ok()
}

/// The registers that the command looks at.
fn registers(list: &List, fault: &Fault) -> Vec<RegisterReport> {
    let indices: Vec<u8> = match decode_at(&list.words, fault.at.pc, fault.at.engine.slot.kind()) {
        Ok((Command::Run(operation), _)) => operation.registers().to_vec(),
        Ok((Command::Next { pairs }, _)) => pairs.iter().map(|(index, _)| index).collect(),
        _ => Vec::new(),
    };
    indices.into_iter().filter_map(|index| register_report(&fault.registers, index)).collect()
}

fn register_report(registers: &RegisterFile, index: u8) -> Option<RegisterReport> {
    let value = registers.get(index)?;
    let mut words = Vec::new();
    encode(&Command::Set { first: index, values: &[value] }, &mut words).ok()?;
    let line = disassemble(&words, registers.kind());
    let text = without_comment(line.lines().next()?).trim_start_matches("set ").to_owned();
    Some(RegisterReport { name: cnnip_isa::spec_of(registers.kind(), index)?.name, value, text })
}

/// What to do about a fault.
fn hint(code: FaultCode) -> &'static str {
    match code {
        FaultCode::IllegalEncoding => "the list ran into words that are no command: look for a missing `end` or `ret`",
        FaultCode::ReservedBits | FaultCode::IllegalRegister => {
            "isa-spec/reference.md lists all registers with their bits"
        }
        FaultCode::IllegalParameter => "isa-spec/reference.md lists what the operation demands of its registers",
        FaultCode::SramRange => "check address, size and strides of this operand against the target's scratchpad",
        FaultCode::RegionBounds => "check region number, offset and steps against the package's regions (`cnnip info`)",
        FaultCode::Race => {
            "order the two commands: `signal` after the first, `wait` before the second, with a token of their own"
        }
        FaultCode::UninitialisedRead => {
            "something has to write these bytes first: a DMA copy or fill, ordered by a token"
        }
        FaultCode::AccumulatorOverflow => {
            "the weights and inputs sum up to more than the rounding mode takes: calibrate again"
        }
        FaultCode::TokenOwner => "name the engine in a `.token` line, or use the token that joins these two engines",
        FaultCode::TokenOverflow => "wait for the token once in a while, or signal less",
        FaultCode::Deadlock => {
            "one signal too few, or two engines wait for each other: compare signals and waits of each token"
        }
        FaultCode::ControlStack => "every `call` needs a `ret`, every `loop` its `next`, nested at most 8 deep",
        FaultCode::Budget => "if the program is not in an endless loop, allow more: --max-commands, --max-cycles",
        FaultCode::WeightStream => "the coded weights do not fit the blocks: encode them again",
        FaultCode::Trap => "the program itself found something wrong: its author knows the code",
        FaultCode::Unsupported => "this version of the machine does not have the operation yet",
    }
}

impl fmt::Display for CommandReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, list, pc, cycle, text } = self;
        write!(
            f,
            "`{text}` on core {} {engine}, list `{list}`, pc {pc:#x} = {pc}, cycle {cycle} (estimate)",
            engine.core
        )
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "fault {} (code {}): {}", self.name, self.code, self.message)?;
        if let Some(command) = &self.command {
            writeln!(f, "  at {command}, step {}", self.step.unwrap_or(0))?;
        }
        for other in &self.others {
            writeln!(f, "  with {other}")?;
        }
        if let Some((mark, name, sources)) = &self.layer {
            let sources = sources.join(", ");
            let from = if sources.is_empty() || sources == *name { String::new() } else { format!(", from {sources}") };
            writeln!(f, "  layer {mark} `{name}`{from}")?;
        }
        for line in &self.context {
            writeln!(f, "  {} {}", if line.here { '>' } else { '|' }, line.text)?;
        }
        for register in &self.registers {
            writeln!(f, "  register {}", register.text)?;
        }
        write!(f, "  hint: {}", self.hint)
    }
}
