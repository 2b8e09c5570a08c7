//! Commands as they start, one per line.

use std::io::Write;

use cnnip_driver::{EngineId, Observer};
use cnnip_isa::{Command, disassemble, encode};

/// Writes a line per command: cycle, engine, word index, assembly.
pub(crate) struct Trace<'a> {
    out: Option<&'a mut dyn Write>,
}

impl<'a> Trace<'a> {
    /// A trace to a stream, or none.
    pub(crate) fn new(out: Option<&'a mut dyn Write>) -> Self {
        Self { out }
    }
}

impl Observer for Trace<'_> {
    fn command(&mut self, engine: EngineId, pc: usize, command: &Command<'_>, cycle: u64) {
        let Some(out) = self.out.as_mut() else { return };
        let mut words = Vec::new();
        if encode(command, &mut words).is_err() {
            return;
        }
        let text = disassemble(&words, engine.slot.kind());
        let line = text.lines().map(|line| line.rsplit_once(" ; ").map_or(line, |(command, _)| command).trim());
        let engine = engine.to_string();
        let _ = writeln!(out, "{cycle:>10} {engine:<10} {pc:>6} {}", line.collect::<Vec<_>>().join(" / "));
    }
}
