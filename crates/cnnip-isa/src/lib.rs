//! Commands, registers, operations and targets of the open CNN-IP: decode, encode, assemble, disassemble.
//!
//! The tables come from `isa-spec/`, which says what everything here means; `cargo xtask codegen` writes them.

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
