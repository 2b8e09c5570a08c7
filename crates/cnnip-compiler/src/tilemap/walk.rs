//! Follows a command list as an engine would, and shows every operation with its registers, layer and loop counters.

use cnnip_isa::operation::Operation;
use cnnip_isa::{Command, EngineKind, RegisterFile, Target, decode_at};

/// A `RUN` in one loop iteration.
pub(super) struct Step {
    /// Word index.
    pub(super) pc: usize,
    /// Loop counters, outermost first.
    pub(super) iteration: Vec<u32>,
    /// Layer of the last `MARK`.
    pub(super) layer: Option<u32>,
    /// What is done.
    pub(super) operation: Operation,
}

/// An open call or loop.
enum Frame {
    Call { back: usize },
    Loop { body: usize, done: u32, count: u32 },
}

struct Walker<'a> {
    words: &'a [u32],
    registers: RegisterFile,
    stack: Vec<Frame>,
    layer: Option<u32>,
    pc: usize,
}

/// Calls `visit` with every operation of a list, in order.
///
/// # Errors
/// What the engine would fault at, or what `visit` returned.
pub(super) fn operations(
    words: &[u32],
    kind: EngineKind,
    target: &Target,
    mut visit: impl FnMut(Step) -> Result<(), String>,
) -> Result<(), String> {
    let mut walker = Walker { words, registers: RegisterFile::new(kind), stack: vec![], layer: None, pc: 0 };
    loop {
        let pc = walker.pc;
        let (command, length) = decode_at(walker.words, pc, kind).map_err(|why| format!("{why:?}"))?;
        walker.pc += length;
        match command {
            Command::End => return Ok(()),
            Command::Run(code) => {
                let operation = Operation::read(code, &walker.registers, target).map_err(|why| why.to_string())?;
                visit(Step { pc, iteration: walker.iteration(), layer: walker.layer, operation })?;
            }
            Command::Mark { layer } => walker.layer = Some(layer),
            Command::Set { first, values } => {
                walker.registers.write_burst(first, values).map_err(|why| format!("{why:?}"))?;
            }
            Command::Call { .. } | Command::Ret | Command::Loop { .. } | Command::Next { .. } => {
                walker.jump(&command).ok_or_else(|| format!("word {pc}: calls and loops do not match"))?;
            }
            Command::Nop
            | Command::Signal { .. }
            | Command::Wait { .. }
            | Command::Int { .. }
            | Command::Trap { .. } => {}
        }
    }
}

impl Walker<'_> {
    fn iteration(&self) -> Vec<u32> {
        let counter = |frame: &Frame| match frame {
            Frame::Call { .. } => None,
            Frame::Loop { done, .. } => Some(*done),
        };
        self.stack.iter().filter_map(counter).collect()
    }

    /// Calls, returns and loops; `None` where they do not match.
    fn jump(&mut self, command: &Command<'_>) -> Option<()> {
        match *command {
            Command::Call { target } => {
                self.stack.push(Frame::Call { back: self.pc });
                self.pc = usize::try_from(target).ok()?;
            }
            Command::Ret => match self.stack.pop()? {
                Frame::Call { back } => self.pc = back,
                Frame::Loop { .. } => return None,
            },
            Command::Loop { count } => {
                self.stack.push(Frame::Loop { body: self.pc, done: 0, count: count.into() });
            }
            Command::Next { pairs } => {
                let Frame::Loop { body, done, count } = self.stack.last_mut()? else { return None };
                *done += 1;
                if *done < *count {
                    self.pc = *body;
                    self.registers.add_pairs(pairs).ok()?;
                } else {
                    self.stack.pop();
                }
            }
            _ => {}
        }
        // The machine's own limit; a call without end stops here.
        (self.stack.len() <= 8).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_isa::asm;

    #[test]
    fn loops_and_calls_are_followed() {
        let text = "
            mark 3
            set DST_PLACE KIND=sram, DST_ADDR 0
            set FILL_BYTES 1
            set RUN_BYTES 4, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
            loop 2
            loop 2
            call fill
            next DST_ADDR=+16
            next DST_ADDR=+100
            end
        fill:
            run FILL
            ret
        ";
        let words = asm::assemble_str(text, EngineKind::Dma).unwrap();
        let mut seen = vec![];
        let target = Target::by_name("v3m").unwrap();
        operations(&words, EngineKind::Dma, target, |step| {
            let operands = step.operation.operands();
            let address = operands.iter().last().map_or(0, |operand| operand.bytes.extent().start);
            seen.push((step.iteration, step.layer, address));
            Ok(())
        })
        .unwrap();
        let want = [([0, 0], 0), ([0, 1], 16), ([1, 0], 116), ([1, 1], 132)];
        assert_eq!(seen, want.map(|(iteration, address)| (iteration.to_vec(), Some(3), address)));
    }
}
