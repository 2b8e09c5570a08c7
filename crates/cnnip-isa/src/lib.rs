//! Commands, registers, operations and targets of the open CNN-IP: decode, encode, assemble, disassemble.
//!
//! The tables come from `isa-spec/`, which says what everything here means; `cargo xtask codegen` writes them.
//!
//! ```
//! use cnnip_isa::asm::assemble_str;
//! use cnnip_isa::{CnnRegister, Command, EngineKind, RegisterFile, cnn_field, decode_at};
//!
//! let list = assemble_str("set KERNEL W=3 H=5", EngineKind::Cnn).unwrap();
//! let mut registers = RegisterFile::new(EngineKind::Cnn);
//! let (Command::Set { first, values }, 2) = decode_at(&list, 0, EngineKind::Cnn)? else { panic!("not a SET") };
//! registers.write(first, values[0])?;
//! assert_eq!(cnn_field::KERNEL_H.get(registers.read_cnn(CnnRegister::Kernel)), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod asm;
mod command;
mod disasm;
mod engine;
mod field;
mod generated;
pub mod operation;
mod registers;
mod spec;
mod target;

pub use command::{
    Command, DecodeError, FieldRange, ListBuilder, Pairs, Why, decode_at, decode_list_bytes, encode, encode_bytes,
    is_wait,
};
pub use disasm::disassemble;
pub use engine::EngineKind;
pub use field::Field;
pub use generated::{
    CNN_REGISTERS, CnnRegister, Codec, DMA_REGISTERS, DmaRegister, ElementType, EltwiseFunction, FaultCode,
    HostControl, HostStatus, Opcode, OperationCode, Place, ReduceFunction, ResizeMode, RoundingMode, SPEC_VERSION,
    TARGETS, TableKind, Target, WeightLayout, cnn_field, command_field, dma_field, host,
};
pub use registers::{RegisterError, RegisterFile, spec_of};
pub use spec::{FieldSpec, RegisterKind, RegisterSpec, registers_of};
