//! Operations as types: what `RUN` does with the registers as they stand.
//!
//! [`Operation::read`] turns a register file into a typed operation and checks every parameter that can be checked without
//! memory; [`Operation::store`] is its inverse and what a compiler uses. So the meaning of a register is stated here once,
//! for the machine, the timing model and the compiler.

mod argmax;
mod conv;
mod decode;
mod dma;
mod eltwise;
mod footprint;
mod map;
mod pool;
mod reader;
mod reduce;
mod resize;
mod rule;

pub use argmax::ArgMax;
pub use conv::{Accumulators, BLOCK_BYTES, Conv, ConvKind, RECORD_BYTES, SPILL_BYTES, Sparse, Weights};
pub use decode::{Codebook, Coding, Decode, OFFSET_BYTES};
pub use dma::{Copy, DmaPattern, Fill, Location};
pub use eltwise::{Eltwise, Lookup, Stage, TableScale};
pub use footprint::{Footprint, Space};
pub use map::{Activation, FeatureMap, OutputStage, Table, Window};
pub use pool::{Pool, PoolKind};
pub use reduce::{Reduce, ReduceOutput};
pub use resize::{Resize, ResizeAxis};
pub use rule::{OperationError, Rule};

use crate::{OperationCode, RegisterFile, Target};
use reader::Reader;

/// One operation with all its parameters, checked against a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `CONV` and `DEPTHWISE`.
    Conv(Conv),
    /// `POOL_MAX` and `POOL_AVERAGE`.
    Pool(Pool),
    /// `ELTWISE`.
    Eltwise(Eltwise),
    /// `TABLE`.
    Lookup(Lookup),
    /// `RESIZE`.
    Resize(Resize),
    /// `REDUCE`.
    Reduce(Reduce),
    /// `ARGMAX`.
    ArgMax(ArgMax),
    /// `COPY`.
    Copy(Copy),
    /// `FILL`.
    Fill(Fill),
    /// `DECODE`.
    Decode(Decode),
}

/// What an operand is to its operation, for fault reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of operations.toml")]
pub enum Role {
    Input,
    SecondInput,
    Weights,
    Bitmap,
    Records,
    AccumulatorsIn,
    AccumulatorsOut,
    Table,
    Output,
    Source,
    Stream,
    Offsets,
    Codebook,
    Destination,
}

impl Role {
    /// True for operands that the operation writes.
    pub const fn is_write(self) -> bool {
        matches!(self, Self::AccumulatorsOut | Self::Output | Self::Destination)
    }

    /// The operand's name in messages, as in `operations.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::SecondInput => "second input",
            Self::Weights => "weights",
            Self::Bitmap => "bitmap",
            Self::Records => "records",
            Self::AccumulatorsIn => "accumulators in",
            Self::AccumulatorsOut => "accumulators out",
            Self::Table => "table",
            Self::Output => "output",
            Self::Source => "source",
            Self::Stream => "stream",
            Self::Offsets => "offsets",
            Self::Codebook => "codebook",
            Self::Destination => "destination",
        }
    }
}

/// One operand of an operation: the bytes it reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// What the operand is.
    pub role: Role,
    /// Its bytes.
    pub bytes: Footprint,
}

/// The operands of one operation, at most seven.
#[derive(Clone, Copy, Debug, Default)]
pub struct Operands {
    items: [Option<Operand>; 7],
    len: usize,
}

impl Operands {
    fn push(&mut self, role: Role, bytes: Footprint) {
        self.items[self.len] = Some(Operand { role, bytes });
        self.len += 1;
    }

    /// The operands, reads before writes.
    pub fn iter(&self) -> impl Iterator<Item = &Operand> {
        self.items.iter().flatten()
    }
}

impl Operation {
    /// Reads the operation that `RUN code` means with these registers.
    ///
    /// # Errors
    /// A parameter that the operation or the target does not allow, or an operation that is specified but not built.
    pub fn read(code: OperationCode, registers: &RegisterFile, target: &Target) -> Result<Self, OperationError> {
        let reader = Reader { registers, target };
        match code {
            OperationCode::Conv | OperationCode::Depthwise => Conv::read(code, &reader).map(Self::Conv),
            OperationCode::PoolMax | OperationCode::PoolAverage => Pool::read(code, &reader).map(Self::Pool),
            OperationCode::Eltwise => Eltwise::read(&reader).map(Self::Eltwise),
            OperationCode::Table => Lookup::read(&reader).map(Self::Lookup),
            OperationCode::Reduce => Reduce::read(&reader).map(Self::Reduce),
            OperationCode::Copy => Copy::read(&reader).map(Self::Copy),
            OperationCode::Fill => Fill::read(&reader).map(Self::Fill),
            OperationCode::Resize => Resize::read(&reader).map(Self::Resize),
            OperationCode::Argmax => ArgMax::read(&reader).map(Self::ArgMax),
            OperationCode::Decode => Decode::read(&reader).map(Self::Decode),
        }
    }

    /// The code that `RUN` needs for this operation.
    pub fn code(&self) -> OperationCode {
        match self {
            Self::Conv(conv) => conv.code(),
            Self::Pool(pool) => pool.code(),
            Self::Eltwise(_) => OperationCode::Eltwise,
            Self::Lookup(_) => OperationCode::Table,
            Self::Resize(_) => OperationCode::Resize,
            Self::Reduce(_) => OperationCode::Reduce,
            Self::ArgMax(_) => OperationCode::Argmax,
            Self::Copy(_) => OperationCode::Copy,
            Self::Fill(_) => OperationCode::Fill,
            Self::Decode(_) => OperationCode::Decode,
        }
    }

    /// Writes every register the operation looks at, so that [`Operation::read`] gives it back.
    pub fn store(&self, registers: &mut RegisterFile) {
        match self {
            Self::Conv(conv) => conv.store(registers),
            Self::Pool(pool) => pool.store(registers),
            Self::Eltwise(eltwise) => eltwise.store(registers),
            Self::Lookup(lookup) => lookup.store(registers),
            Self::Resize(resize) => resize.store(registers),
            Self::Reduce(reduce) => reduce.store(registers),
            Self::ArgMax(argmax) => argmax.store(registers),
            Self::Copy(copy) => copy.store(registers),
            Self::Fill(fill) => fill.store(registers),
            Self::Decode(decode) => decode.store(registers),
        }
    }

    /// The bytes the operation reads and writes, reads first.
    pub fn operands(&self) -> Operands {
        let mut operands = Operands::default();
        match self {
            Self::Conv(conv) => conv.operands(&mut operands),
            Self::Pool(pool) => pool.operands(&mut operands),
            Self::Eltwise(eltwise) => eltwise.operands(&mut operands),
            Self::Lookup(lookup) => lookup.operands(&mut operands),
            Self::Resize(resize) => resize.operands(&mut operands),
            Self::Reduce(reduce) => reduce.operands(&mut operands),
            Self::ArgMax(argmax) => argmax.operands(&mut operands),
            Self::Copy(copy) => copy.operands(&mut operands),
            Self::Fill(fill) => fill.operands(&mut operands),
            Self::Decode(decode) => decode.operands(&mut operands),
        }
        operands
    }

    /// Whether an operand may be the very bytes of the result: element-wise operations and accumulators work in place, each
    /// element on its own.
    fn in_place(&self, read: &Operand, write: &Operand) -> bool {
        match (self, read.role) {
            (Self::Eltwise(op), Role::Input) => op.first.is_at(&op.output),
            (Self::Eltwise(op), Role::SecondInput) => op.second.is_some_and(|second| second.is_at(&op.output)),
            (Self::Lookup(op), Role::Input) => op.input.is_at(&op.output),
            (Self::Conv(_) | Self::Reduce(_), Role::AccumulatorsIn) => read.bytes == write.bytes,
            _ => false,
        }
    }

    /// Checks that nothing the operation writes overlaps what it reads, except in place.
    ///
    /// # Errors
    /// [`OperationError::Overlap`] with the two operands and the first shared byte.
    pub fn check_overlap(&self) -> Result<(), OperationError> {
        let operands = self.operands();
        for write in operands.iter().filter(|o| o.role.is_write()) {
            for read in operands.iter().filter(|o| !o.role.is_write()) {
                if self.in_place(read, write) {
                    continue;
                }
                if let Some(byte) = read.bytes.first_common_byte(&write.bytes) {
                    return Err(OperationError::Overlap { read: read.role, write: write.role, byte });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
