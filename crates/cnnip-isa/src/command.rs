//! Commands, and the words they are made of.

mod decode;
mod encode;

pub use decode::{DecodeError, Why, decode_at, decode_list_bytes, is_wait};
pub(crate) use encode::put_fields;
pub use encode::{ListBuilder, encode, encode_bytes};

use crate::generated::{Opcode, OperationCode};
use crate::spec::FieldSpec;

/// One command of a list. The words of SET and NEXT are borrowed from the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command<'a> {
    /// Does nothing.
    Nop,
    /// Ends the list.
    End,
    /// Writes consecutive registers.
    Set {
        /// Index of the first register.
        first: u8,
        /// One word per register, 1 to 255 of them.
        values: &'a [u32],
    },
    /// Carries out an operation with the current registers.
    Run(OperationCode),
    /// Adds one to a token.
    Signal {
        /// Token, 0 to 127.
        token: u8,
    },
    /// Waits for a token, then subtracts.
    Wait {
        /// Token, 0 to 127.
        token: u8,
        /// Signals to consume, at least 1.
        count: u16,
    },
    /// Goes on elsewhere until RET.
    Call {
        /// Word index from the start of the list, 24 bits.
        target: u32,
    },
    /// Returns from the innermost call.
    Ret,
    /// Opens a loop.
    Loop {
        /// Times the body runs, at least 1.
        count: u16,
    },
    /// Closes the innermost loop; adds to registers before each further iteration.
    Next {
        /// What is added to which register.
        pairs: Pairs<'a>,
    },
    /// Says that a layer begins.
    Mark {
        /// Layer number, 24 bits.
        layer: u32,
    },
    /// Raises an interrupt and goes on.
    Int {
        /// Code for the host, 24 bits.
        code: u32,
    },
    /// Reports a wrong program and stops.
    Trap {
        /// Code for the host, 24 bits.
        code: u32,
    },
}

impl Command<'_> {
    /// The opcode.
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        match self {
            Self::Nop => Opcode::Nop,
            Self::End => Opcode::End,
            Self::Set { .. } => Opcode::Set,
            Self::Run(_) => Opcode::Run,
            Self::Signal { .. } => Opcode::Signal,
            Self::Wait { .. } => Opcode::Wait,
            Self::Call { .. } => Opcode::Call,
            Self::Ret => Opcode::Ret,
            Self::Loop { .. } => Opcode::Loop,
            Self::Next { .. } => Opcode::Next,
            Self::Mark { .. } => Opcode::Mark,
            Self::Int { .. } => Opcode::Int,
            Self::Trap { .. } => Opcode::Trap,
        }
    }

    /// Words of the command, with those that follow the first.
    #[must_use]
    pub const fn words(&self) -> usize {
        match self {
            Self::Set { values, .. } => 1 + values.len(),
            Self::Next { pairs } => 1 + 2 * pairs.0.len(),
            _ => 1,
        }
    }
}

/// Register increments of NEXT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pairs<'a>(&'a [[u32; 2]]);

impl<'a> Pairs<'a> {
    /// Pairs of register index and increment. `None` if an index does not fit into 8 bits.
    #[must_use]
    pub fn new(pairs: &'a [[u32; 2]]) -> Option<Self> {
        pairs.iter().all(|&[index, _]| index <= u32::from(u8::MAX)).then_some(Self(pairs))
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Index of the register and what is added to it, modulo 2^32.
    pub fn iter(self) -> impl Iterator<Item = (u8, u32)> + 'a {
        self.0.iter().map(|&[index, increment]| (index.to_le_bytes()[0], increment))
    }
}

/// A value that a field of a command must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} field {field} = {value} is not within {min} to {max}", command.name())]
pub struct FieldRange {
    /// The command.
    pub command: Opcode,
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: u32,
    /// Smallest legal value.
    pub min: u32,
    /// Largest legal value.
    pub max: u32,
}

impl FieldRange {
    /// Refuses a value that `spec`, a field of `command`, must not have.
    pub(crate) fn check(command: Opcode, spec: &FieldSpec, value: u32) -> Result<(), Self> {
        let (field, min, max) = (spec.name, spec.min, spec.max);
        if (min..=max).contains(&value) { Ok(()) } else { Err(Self { command, field, value, min, max }) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Command, Pairs, decode_at, decode_list_bytes, encode, encode_bytes};
    use crate::engine::EngineKind;
    use crate::generated::OperationCode;
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use proptest::sample::select;

    /// A command that owns its words.
    #[derive(Clone, Debug)]
    pub(crate) enum Owned {
        Plain(Command<'static>),
        Set(u8, Vec<u32>),
        Next(Vec<[u32; 2]>),
    }

    impl Owned {
        pub(crate) fn command(&self) -> Command<'_> {
            match self {
                Self::Plain(command) => *command,
                Self::Set(first, values) => Command::Set { first: *first, values },
                Self::Next(pairs) => Command::Next { pairs: Pairs::new(pairs).expect("indices are bytes") },
            }
        }
    }

    fn any_plain(engine: EngineKind) -> impl Strategy<Value = Command<'static>> {
        let operations: Vec<OperationCode> =
            OperationCode::ALL.iter().copied().filter(|operation| operation.engine() == engine).collect();
        let wide = 0..1_u32 << 24;
        prop_oneof![
            Just(Command::Nop),
            Just(Command::End),
            Just(Command::Ret),
            select(operations).prop_map(Command::Run),
            (0..128_u8).prop_map(|token| Command::Signal { token }),
            (0..128_u8, 1..=u16::MAX).prop_map(|(token, count)| Command::Wait { token, count }),
            wide.clone().prop_map(|target| Command::Call { target }),
            (1..=u16::MAX).prop_map(|count| Command::Loop { count }),
            wide.clone().prop_map(|layer| Command::Mark { layer }),
            wide.clone().prop_map(|code| Command::Int { code }),
            wide.prop_map(|code| Command::Trap { code }),
        ]
    }

    /// Any command that an engine of this kind can decode.
    pub(crate) fn any_command(engine: EngineKind) -> impl Strategy<Value = Owned> {
        let set = (any::<u8>(), vec(any::<u32>(), 1..12)).prop_map(|(first, values)| Owned::Set(first, values));
        let pair = (any::<u8>(), any::<u32>()).prop_map(|(index, increment)| [u32::from(index), increment]);
        prop_oneof![any_plain(engine).prop_map(Owned::Plain), set, vec(pair, 0..5).prop_map(Owned::Next),]
    }

    pub(crate) fn any_engine() -> impl Strategy<Value = EngineKind> {
        select(vec![EngineKind::Dma, EngineKind::Cnn])
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(
            (engine, list) in any_engine().prop_flat_map(|engine| (Just(engine), vec(any_command(engine), 0..32)))
        ) {
            let mut words = Vec::new();
            for one in &list {
                prop_assert_eq!(encode(&one.command(), &mut words), Ok(()));
            }
            let mut pc = 0;
            for one in &list {
                let command = one.command();
                prop_assert_eq!(decode_at(&words, pc, engine), Ok((command, command.words())));
                pc += command.words();
            }
            prop_assert_eq!(pc, words.len());
        }

        #[test]
        fn encode_inverts_decode(engine in any_engine(), head in any::<u32>(), rest in vec(any::<u32>(), 0..6)) {
            // The opcodes are few: give them a chance.
            let heads = [head, head & 0x71ff_00ff | 0x1000_0000, head & 0x5300_00ff, head & 0x3303_0000];
            for head in heads {
                let list: Vec<u32> = std::iter::once(head).chain(rest.iter().copied()).collect();
                if let Ok((command, words)) = decode_at(&list, 0, engine) {
                    let mut again = Vec::new();
                    prop_assert_eq!(encode(&command, &mut again), Ok(()));
                    prop_assert_eq!(&again[..], &list[..words]);
                }
            }
        }

        #[test]
        fn bytes_and_words_are_the_same_list(words in vec(any::<u32>(), 0..64)) {
            prop_assert_eq!(decode_list_bytes(&encode_bytes(&words)), Ok(words));
        }
    }
}
