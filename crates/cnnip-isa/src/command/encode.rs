//! Commands → words → bytes.

use super::{Command, FieldRange, Pairs};
use crate::generated::Opcode;
use byteorder::{ByteOrder, LittleEndian};

/// Appends the words of a command; none if it cannot be encoded.
///
/// # Errors
/// If a field's value is not allowed: a token above 127, a count of zero, more than 255 words to write, more than 24
/// bits of target, layer or code.
pub fn encode(command: &Command<'_>, words: &mut Vec<u32>) -> Result<(), FieldRange> {
    words.push(head(command)?);
    match *command {
        Command::Set { values, .. } => words.extend_from_slice(values),
        Command::Next { pairs } => words.extend_from_slice(pairs.0.as_flattened()),
        _ => {}
    }
    Ok(())
}

/// The words of a list as bytes.
#[must_use]
pub fn encode_bytes(words: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0; 4 * words.len()];
    LittleEndian::write_u32_into(words, &mut bytes);
    bytes
}

/// The first word.
fn head(command: &Command<'_>) -> Result<u32, FieldRange> {
    let values: [u32; 2] = match *command {
        Command::Nop | Command::End | Command::Ret => [0, 0],
        Command::Set { first, values } => [u32::from(first), count(values.len())],
        Command::Run(operation) => [operation.code(), 0],
        Command::Signal { token } => [u32::from(token), 0],
        Command::Wait { token, count } => [u32::from(token), u32::from(count)],
        Command::Call { target } => [target, 0],
        Command::Loop { count } => [u32::from(count), 0],
        Command::Next { pairs } => [count(pairs.len()), 0],
        Command::Mark { layer } => [layer, 0],
        Command::Int { code } | Command::Trap { code } => [code, 0],
    };
    put_fields(command.opcode(), &values)
}

/// A length as a field's value; what does not fit is refused as the largest value that any field refuses.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The first word of a command from the values of its fields, in the order of the specification.
pub(crate) fn put_fields(command: Opcode, values: &[u32]) -> Result<u32, FieldRange> {
    let opcode = u32::from(command.code()) << 24;
    command.fields().iter().zip(values).try_fold(opcode, |word, (spec, &value)| {
        FieldRange::check(command, spec, value)?;
        Ok(word | spec.field().put(value))
    })
}

/// Builds a list command by command.
///
/// ```
/// use cnnip_isa::{CnnRegister, Command, ListBuilder, OperationCode};
///
/// let mut list = ListBuilder::new();
/// list.set(CnnRegister::InAddr.index(), &[0x100])?;
/// list.push(&Command::Run(OperationCode::Table))?;
/// list.push(&Command::End)?;
/// assert_eq!(list.finish(), [0x1001_0001, 0x100, 0x1100_0021, 0x0200_0000]);
/// # Ok::<(), cnnip_isa::FieldRange>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ListBuilder {
    words: Vec<u32>,
}

impl ListBuilder {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// Word index of the next command: what CALL names, and what fault reports show.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.words.len()
    }

    /// Appends a command.
    ///
    /// # Errors
    /// As [`encode`]; the list is as before then.
    pub fn push(&mut self, command: &Command<'_>) -> Result<&mut Self, FieldRange> {
        encode(command, &mut self.words)?;
        Ok(self)
    }

    /// Appends a SET of consecutive registers.
    ///
    /// # Errors
    /// If there are no values, or more than 255.
    pub fn set(&mut self, first: u8, values: &[u32]) -> Result<&mut Self, FieldRange> {
        self.push(&Command::Set { first, values })
    }

    /// Appends a NEXT with register indices and increments.
    ///
    /// # Errors
    /// If there are more than 255 pairs.
    pub fn next(&mut self, pairs: &[(u8, u32)]) -> Result<&mut Self, FieldRange> {
        let pairs: Vec<[u32; 2]> = pairs.iter().map(|&(index, increment)| [u32::from(index), increment]).collect();
        self.push(&Command::Next { pairs: Pairs(&pairs) })
    }

    /// The words of the list.
    #[must_use]
    pub fn finish(self) -> Vec<u32> {
        self.words
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, ListBuilder, encode, encode_bytes};

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_nothing() {
        let many = [0; 256];
        let cases = [
            (Command::Signal { token: 128 }, "SIGNAL field TOKEN = 128 is not within 0 to 127"),
            (Command::Wait { token: 1, count: 0 }, "WAIT field COUNT = 0 is not within 1 to 65535"),
            (Command::Loop { count: 0 }, "LOOP field COUNT = 0 is not within 1 to 65535"),
            (Command::Call { target: 1 << 24 }, "CALL field TARGET = 16777216 is not within 0 to 16777215"),
            (Command::Set { first: 0, values: &[] }, "SET field COUNT = 0 is not within 1 to 255"),
            (Command::Set { first: 0, values: &many }, "SET field COUNT = 256 is not within 1 to 255"),
        ];
        for (command, message) in cases {
            let mut words = Vec::new();
            assert_eq!(encode(&command, &mut words).map_err(|error| error.to_string()), Err(message.to_owned()));
            assert!(words.is_empty());
        }
    }

    #[test]
    fn bytes_are_little_endian() {
        assert_eq!(encode_bytes(&[0x0102_0304, 5]), [4, 3, 2, 1, 5, 0, 0, 0]);
    }

    #[test]
    fn a_builder_knows_where_it_is() -> Result<(), super::FieldRange> {
        let mut list = ListBuilder::new();
        list.next(&[(1, 64), (16, 0xffff_ffc0)])?;
        assert_eq!(list.position(), 5);
        assert_eq!(list.finish(), [0x3302_0000, 1, 64, 16, 0xffff_ffc0]);
        Ok(())
    }
}
