//! Words → commands. Runs once per executed command: no allocation, no copying.

use super::{Command, FieldRange, Pairs};
use crate::engine::EngineKind;
use crate::field::Field;
use crate::generated::{FaultCode, Opcode, OperationCode, command_field};
use nom::multi::many0;
use nom::number::complete::le_u32;
use nom::{IResult, Parser};

/// Bits 31:24 of a command's first word.
const OPCODE: Field = Field { shift: 24, width: 8 };

/// A list that does not say what to do, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at word {pc}: {why}")]
pub struct DecodeError {
    /// Word index of the command in its list.
    pub pc: usize,
    /// The rule that is broken.
    pub why: Why,
}

/// The rule that a malformed command breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// There is no word any more.
    #[error("the list ends without END")]
    EndOfList,
    /// The words that belong to a command are not all there.
    #[error("the list ends inside {}: {needed} words belong to it, {present} are left", command.name())]
    Truncated {
        /// The command.
        command: Opcode,
        /// Words of the command.
        needed: usize,
        /// Words from its first to the end of the list.
        present: usize,
    },
    /// The bytes are not words.
    #[error("the list ends at byte {:#x} inside a word, which has 4 bytes", offset + bytes)]
    PartialWord {
        /// Offset in bytes of the incomplete word.
        offset: usize,
        /// Bytes of it that are there, 1 to 3.
        bytes: usize,
    },
    /// No command has this opcode.
    #[error("unknown opcode {code:#04x}")]
    UnknownOpcode {
        /// The opcode.
        code: u8,
    },
    /// A bit that no field names is set.
    #[error("{} {word:#010x} sets reserved bits, only {mask:#010x} may be set", command.name())]
    ReservedBits {
        /// The command.
        command: Opcode,
        /// The word: the first one, or an index word of NEXT.
        word: u32,
        /// Bits that may be set.
        mask: u32,
    },
    /// A field has a value that is not allowed.
    #[error(transparent)]
    FieldRange(#[from] FieldRange),
    /// No operation has this code.
    #[error("unknown operation {code:#04x}")]
    UnknownOperation {
        /// The code.
        code: u32,
    },
    /// The operation is one of the other kind of engine.
    #[error("operation {} belongs to the {} engine, this is a list of a {engine} engine", operation.name(), operation.engine())]
    OtherEngine {
        /// The operation.
        operation: OperationCode,
        /// The engine whose list this is.
        engine: EngineKind,
    },
}

impl Why {
    /// The fault that the machine reports.
    #[must_use]
    pub const fn fault_code(&self) -> FaultCode {
        match self {
            Self::ReservedBits { .. } => FaultCode::ReservedBits,
            Self::EndOfList
            | Self::Truncated { .. }
            | Self::PartialWord { .. }
            | Self::UnknownOpcode { .. }
            | Self::FieldRange(_)
            | Self::UnknownOperation { .. }
            | Self::OtherEngine { .. } => FaultCode::IllegalEncoding,
        }
    }
}

/// Little-endian bytes → the words of a list.
///
/// ```
/// use cnnip_isa::decode_list_bytes;
///
/// assert_eq!(decode_list_bytes(&[0, 0, 0, 2]), Ok(vec![0x0200_0000]));
/// let error = decode_list_bytes(&[0, 0, 0, 2, 9]).unwrap_err();
/// assert_eq!(error.to_string(), "at word 1: the list ends at byte 0x5 inside a word, which has 4 bytes");
/// ```
///
/// # Errors
/// [`Why::PartialWord`] if the length is not a multiple of 4.
pub fn decode_list_bytes(bytes: &[u8]) -> Result<Vec<u32>, DecodeError> {
    let (rest, words) = whole_words(bytes).unwrap_or((bytes, Vec::new()));
    if rest.is_empty() {
        return Ok(words);
    }
    let why = Why::PartialWord { offset: 4 * words.len(), bytes: rest.len() };
    Err(DecodeError { pc: words.len(), why })
}

fn whole_words(bytes: &[u8]) -> IResult<&[u8], Vec<u32>> {
    many0(le_u32).parse(bytes)
}

/// Decodes the command at word `pc` of a list, and tells how many words it has.
///
/// Whether registers exist and their values are allowed is the register file's to say, when the command is executed.
///
/// ```
/// use cnnip_isa::{Command, EngineKind, decode_at};
///
/// let list = [0x2000_0007, 0x0200_0000];
/// assert_eq!(decode_at(&list, 0, EngineKind::Cnn), Ok((Command::Signal { token: 7 }, 1)));
/// assert_eq!(decode_at(&list, 1, EngineKind::Cnn), Ok((Command::End, 1)));
/// assert_eq!(decode_at(&list, 2, EngineKind::Cnn).unwrap_err().to_string(), "at word 2: the list ends without END");
/// ```
///
/// # Errors
/// If no complete, legal command of this kind of engine is there.
pub fn decode_at(list: &[u32], pc: usize, engine: EngineKind) -> Result<(Command<'_>, usize), DecodeError> {
    match decode(list.get(pc..).unwrap_or_default(), engine) {
        Ok(command) => Ok((command, command.words())),
        Err(why) => Err(DecodeError { pc, why }),
    }
}

/// Whether the command at word `pc` is `WAIT`, legal or not: what an issuer asks of every engine before every command.
pub fn is_wait(list: &[u32], pc: usize) -> bool {
    list.get(pc).is_some_and(|&head| opcode(head) == Ok(Opcode::Wait))
}

fn decode(words: &[u32], engine: EngineKind) -> Result<Command<'_>, Why> {
    let (&head, payload) = words.split_first().ok_or(Why::EndOfList)?;
    let opcode = opcode(head)?;
    check_fields(opcode, head)?;
    let command = match opcode {
        Opcode::Nop => Command::Nop,
        Opcode::End => Command::End,
        Opcode::Set => set(head, payload)?,
        Opcode::Run => Command::Run(operation(command_field::RUN_OPERATION.get(head), engine)?),
        Opcode::Signal => Command::Signal { token: byte(command_field::SIGNAL_TOKEN, head) },
        Opcode::Wait => {
            Command::Wait { token: byte(command_field::WAIT_TOKEN, head), count: half(command_field::WAIT_COUNT, head) }
        }
        Opcode::Call => Command::Call { target: command_field::CALL_TARGET.get(head) },
        Opcode::Ret => Command::Ret,
        Opcode::Loop => Command::Loop { count: half(command_field::LOOP_COUNT, head) },
        Opcode::Next => next(head, payload)?,
        Opcode::Mark => Command::Mark { layer: command_field::MARK_LAYER.get(head) },
        Opcode::Int => Command::Int { code: command_field::INT_CODE.get(head) },
        Opcode::Trap => Command::Trap { code: command_field::TRAP_CODE.get(head) },
    };
    Ok(command)
}

fn opcode(head: u32) -> Result<Opcode, Why> {
    let code = byte(OPCODE, head);
    Opcode::from_code(code).ok_or(Why::UnknownOpcode { code })
}

fn check_fields(command: Opcode, head: u32) -> Result<(), Why> {
    check_reserved(command, head, command.mask())?;
    for spec in command.fields() {
        FieldRange::check(command, spec, spec.field().get(head))?;
    }
    Ok(())
}

fn check_reserved(command: Opcode, word: u32, mask: u32) -> Result<(), Why> {
    if word & !mask == 0 { Ok(()) } else { Err(Why::ReservedBits { command, word, mask }) }
}

fn operation(code: u32, engine: EngineKind) -> Result<OperationCode, Why> {
    let operation = OperationCode::from_code(code).ok_or(Why::UnknownOperation { code })?;
    if operation.engine() == engine { Ok(operation) } else { Err(Why::OtherEngine { operation, engine }) }
}

fn set(head: u32, payload: &[u32]) -> Result<Command<'_>, Why> {
    let count = usize::from(byte(command_field::SET_COUNT, head));
    let values = take(Opcode::Set, payload, count)?;
    Ok(Command::Set { first: byte(command_field::SET_REG, head), values })
}

fn next(head: u32, payload: &[u32]) -> Result<Command<'_>, Why> {
    let count = 2 * usize::from(byte(command_field::NEXT_PAIRS, head));
    let (pairs, _) = take(Opcode::Next, payload, count)?.as_chunks();
    for &[index, _] in pairs {
        check_reserved(Opcode::Next, index, u32::from(u8::MAX))?;
    }
    Ok(Command::Next { pairs: Pairs(pairs) })
}

/// The first `count` words after a command's first.
fn take(command: Opcode, payload: &[u32], count: usize) -> Result<&[u32], Why> {
    payload.get(..count).ok_or(Why::Truncated { command, needed: 1 + count, present: 1 + payload.len() })
}

/// A field of at most 8 bits.
fn byte(field: Field, word: u32) -> u8 {
    let [byte, ..] = field.get(word).to_le_bytes();
    byte
}

/// A field of at most 16 bits.
fn half(field: Field, word: u32) -> u16 {
    let [low, high, ..] = field.get(word).to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::{Why, decode_at, decode_list_bytes};
    use crate::engine::EngineKind;
    use crate::generated::{FaultCode, Opcode, OperationCode};

    #[test]
    fn a_malformed_command_is_named_with_its_place() {
        struct Case {
            list: &'static [u32],
            fault: FaultCode,
            message: &'static str,
        }
        use FaultCode::{IllegalEncoding, ReservedBits};
        let cases = [
            Case { list: &[], fault: IllegalEncoding, message: "at word 0: the list ends without END" },
            Case { list: &[0], fault: IllegalEncoding, message: "at word 0: unknown opcode 0x00" },
            Case { list: &[0xffff_ffff], fault: IllegalEncoding, message: "at word 0: unknown opcode 0xff" },
            Case {
                list: &[0x0100_0001],
                fault: ReservedBits,
                message: "at word 0: NOP 0x01000001 sets reserved bits, only 0xff000000 may be set",
            },
            Case {
                list: &[0x1000_0000, 1],
                fault: IllegalEncoding,
                message: "at word 0: SET field COUNT = 0 is not within 1 to 255",
            },
            Case {
                list: &[0x1003_0000, 1, 2],
                fault: IllegalEncoding,
                message: "at word 0: the list ends inside SET: 4 words belong to it, 3 are left",
            },
            Case {
                list: &[0x2000_0080],
                fault: IllegalEncoding,
                message: "at word 0: SIGNAL field TOKEN = 128 is not within 0 to 127",
            },
            Case {
                list: &[0x3301_0000, 0x100, 4],
                fault: ReservedBits,
                message: "at word 0: NEXT 0x00000100 sets reserved bits, only 0x000000ff may be set",
            },
            Case {
                list: &[0x3301_0000, 1],
                fault: IllegalEncoding,
                message: "at word 0: the list ends inside NEXT: 3 words belong to it, 2 are left",
            },
            Case { list: &[0x1100_00aa], fault: IllegalEncoding, message: "at word 0: unknown operation 0xaa" },
            Case {
                list: &[0x1100_0040],
                fault: IllegalEncoding,
                message: "at word 0: operation COPY belongs to the dma engine, this is a list of a cnn engine",
            },
        ];
        for case in cases {
            let error = decode_at(case.list, 0, EngineKind::Cnn).unwrap_err();
            assert_eq!(error.to_string(), case.message);
            assert_eq!(error.why.fault_code(), case.fault, "{}", case.message);
        }
    }

    #[test]
    fn a_pc_far_outside_is_the_end_of_the_list() {
        let error = decode_at(&[0x0100_0000], usize::MAX, EngineKind::Dma).unwrap_err();
        assert_eq!((error.pc, error.why), (usize::MAX, Why::EndOfList));
    }

    #[test]
    fn bytes_that_are_not_words_are_counted() {
        let error = decode_list_bytes(&[1, 2, 3]).unwrap_err();
        assert_eq!((error.pc, error.why), (0, Why::PartialWord { offset: 0, bytes: 3 }));
        assert_eq!(decode_list_bytes(&[]), Ok(vec![]));
    }

    #[test]
    fn every_opcode_and_operation_has_a_command() {
        for &opcode in Opcode::ALL {
            let smallest = opcode.fields().iter().fold(0, |word, spec| word | spec.field().put(spec.min));
            let head = u32::from(opcode.code()) << 24 | smallest;
            let list = [head, 0, 0];
            let decoded = decode_at(&list, 0, EngineKind::Cnn);
            match opcode {
                Opcode::Run => assert!(decoded.is_err(), "operation 0 does not exist"),
                _ => assert_eq!(decoded.map(|(command, _)| command.opcode()), Ok(opcode)),
            }
        }
        for &operation in OperationCode::ALL {
            let head = 0x1100_0000 | operation.code();
            assert!(decode_at(&[head], 0, operation.engine()).is_ok(), "{}", operation.name());
        }
    }
}
