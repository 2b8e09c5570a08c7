//! What a program under test did wrong.

use std::fmt;

use cnnip_isa::operation::{OperationError, Role, Space};
use cnnip_isa::{DecodeError, FaultCode, RegisterError, RegisterFile};
use cnnip_numerics::IllegalParameter;

use crate::EngineId;

/// A fault: why the machine stopped, where, and the registers of the engine at that moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What went wrong.
    pub cause: FaultCause,
    /// The command that faulted.
    pub at: CommandId,
    /// Layer of the last `MARK` the engine executed.
    pub layer: Option<u32>,
    /// Registers of the engine.
    pub registers: Box<RegisterFile>,
}

/// A command as executed: engine, place in its list, start cycle (for an overflow: the cycle of the fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandId {
    /// The engine.
    pub engine: EngineId,
    /// Word index in the engine's list.
    pub pc: usize,
    /// Cycle, estimated.
    pub cycle: u64,
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pc {:#x} cycle {}", self.engine, self.pc, self.cycle)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.cause.code().name(), self.at)?;
        if let Some(layer) = self.layer {
            write!(f, " layer {layer}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl std::error::Error for Fault {}

/// An engine that waits, in the report of a deadlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The waiting command.
    pub at: CommandId,
    /// The token it waits for.
    pub token: u8,
    /// The count it needs.
    pub needs: u16,
    /// The count there is.
    pub has: usize,
    /// The engine that could signal, and whether it has ended.
    pub signaller: EngineId,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, token, needs, has, signaller } = self;
        write!(f, "{at} waits for {needs} of token {token}, which {signaller} has signalled {has} more times")
    }
}

/// A budget that ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Commands executed by all engines.
    Commands,
    /// Cycles since the start.
    Cycles,
}

/// Why an operand in external memory is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// No buffer is bound.
    #[error("is not bound")]
    Unbound,
    /// Constants and inputs are not written by the device.
    #[error("is read-only")]
    ReadOnly,
    /// The operand leaves the buffer.
    #[error("has {size} bytes")]
    Outside {
        /// Size of the region.
        size: u64,
    },
}

/// A misuse of calls and loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// A ninth frame.
    #[error("more than 8 calls and loops are open")]
    Overflow,
    /// `RET` without a call on top.
    #[error("RET without an open CALL on top")]
    NoCall,
    /// `NEXT` without a loop on top.
    #[error("NEXT without an open LOOP on top")]
    NoLoop,
}

/// What is wrong with a block of a weight stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Its offsets do not name a part of the stream.
    #[error("lies at bytes {start:#x}..{end:#x} of a stream of {size:#x} bytes")]
    Offsets {
        /// The block's offset.
        start: u32,
        /// The next block's offset.
        end: u32,
        /// Bytes of the stream.
        size: u32,
    },
    /// Its bytes end too early.
    #[error("ends before it is full")]
    Short,
    /// It has more bytes than it needs, or they decode to more than a block.
    #[error("goes on after it is full")]
    Long,
    /// An index beyond the codebook.
    #[error("has index {index} at position {position}, the codebook has {kernels} kernels")]
    Index {
        /// Number of the index in the block.
        position: u32,
        /// Its value.
        index: u32,
        /// Kernels in the codebook.
        kernels: u32,
    },
    /// Bits that are set after the last index.
    #[error("has bits set after its last index")]
    Padding,
}

/// What went wrong. Codes and meanings are those of `isa-spec/faults.toml`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultCause {
    /// A command that cannot be decoded.
    #[error("{}", .0.why)]
    Encoding(DecodeError),
    /// A register that does not exist, or a reserved bit of one.
    #[error("{0}")]
    Register(RegisterError),
    /// A parameter that operation or target does not allow.
    #[error("{0}")]
    Operation(OperationError),
    /// A multiplier or shift that the rounding mode does not allow.
    #[error("scale of {place}: {why}", place = ScalePlace(*.channel))]
    Scale {
        /// Channel of the record, or `None` for a scale in registers.
        channel: Option<u32>,
        /// The rule.
        why: IllegalParameter,
    },
    /// An operand leaves the scratchpad.
    #[error("{} covers bytes {start:#x}..{end:#x}, the scratchpad has {size:#x}", .role.name())]
    SramRange {
        /// The operand.
        role: Role,
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// Size of the scratchpad.
        size: u64,
    },
    /// An operand does not fit its region.
    #[error("{} covers bytes {start:#x}..{end:#x} of region {region}, which {why}", .role.name())]
    RegionBounds {
        /// The operand.
        role: Role,
        /// The region.
        region: u8,
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// The rule.
        why: RegionError,
    },
    /// Two unordered accesses.
    #[error("{} and {} of {other} share byte {byte:#x} of {space} and no token orders them", .role.name(), .other_role.name(), space = SpaceName(*.space))]
    Race {
        /// The operand of the later command.
        role: Role,
        /// The memory.
        space: Space,
        /// A shared byte.
        byte: u64,
        /// The earlier command.
        other: CommandId,
        /// Its operand.
        other_role: Role,
    },
    /// A read of a byte that nothing has written.
    #[error("{} reads byte {byte:#x} of {space}, which nothing has written", .role.name(), space = SpaceName(*.space))]
    Uninitialised {
        /// The operand.
        role: Role,
        /// The memory.
        space: Space,
        /// The first such byte.
        byte: u64,
    },
    /// An accumulator that requantization does not accept.
    #[error("accumulator {value} of output row {row} column {column} channel {channel} does not fit {bits} bits")]
    AccumulatorOverflow {
        /// Output row.
        row: u32,
        /// Output column.
        column: u32,
        /// Output channel.
        channel: u32,
        /// The accumulator.
        value: i64,
        /// Bits that the mode accepts.
        bits: u32,
    },
    /// Signal or wait by an engine that does not own that side of the token.
    #[error("token {token} {}", TokenRule(*.owner))]
    TokenOwner {
        /// The token.
        token: u8,
        /// The engine that may do this, if the token is assigned at all.
        owner: Option<EngineId>,
    },
    /// A 65,536th signal.
    #[error("token {token} counts 65535 already")]
    TokenOverflow {
        /// The token.
        token: u8,
    },
    /// Nobody can go on.
    #[error("{}", Waits(.waits))]
    Deadlock {
        /// Every engine that waits.
        waits: Vec<Waiting>,
    },
    /// A misuse of calls and loops.
    #[error("{0}")]
    ControlStack(StackError),
    /// The next command would exceed the budget.
    #[error("needs {needed} {}, the budget is {budget}", match .limit { Limit::Commands => "commands", Limit::Cycles => "cycles" })]
    Budget {
        /// Which budget.
        limit: Limit,
        /// The total the command would bring.
        needed: u64,
        /// What was granted.
        budget: u64,
    },
    /// A coded weight stream that does not decode.
    #[error("block {block} of the stream {why}")]
    WeightStream {
        /// Number of the block in the stream.
        block: u32,
        /// The rule.
        why: StreamError,
    },
    /// `TRAP` was executed.
    #[error("the program reports code {code}")]
    Trap {
        /// The trap's code.
        code: u32,
    },
}

impl FaultCause {
    /// The code that the host register `FAULT` shows.
    pub fn code(&self) -> FaultCode {
        match self {
            Self::Encoding(error) => error.why.fault_code(),
            Self::Register(error) => error.fault_code(),
            Self::Operation(OperationError::Unsupported { .. }) => FaultCode::Unsupported,
            Self::Operation(_) | Self::Scale { .. } => FaultCode::IllegalParameter,
            Self::SramRange { .. } => FaultCode::SramRange,
            Self::RegionBounds { .. } => FaultCode::RegionBounds,
            Self::Race { .. } => FaultCode::Race,
            Self::Uninitialised { .. } => FaultCode::UninitialisedRead,
            Self::AccumulatorOverflow { .. } => FaultCode::AccumulatorOverflow,
            Self::TokenOwner { .. } => FaultCode::TokenOwner,
            Self::TokenOverflow { .. } => FaultCode::TokenOverflow,
            Self::Deadlock { .. } => FaultCode::Deadlock,
            Self::ControlStack(_) => FaultCode::ControlStack,
            Self::Budget { .. } => FaultCode::Budget,
            Self::WeightStream { .. } => FaultCode::WeightStream,
            Self::Trap { .. } => FaultCode::Trap,
        }
    }
}

struct SpaceName(Space);

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Space::Sram => f.write_str("SRAM"),
            Space::Dram(region) => write!(f, "region {region}"),
        }
    }
}

struct ScalePlace(Option<u32>);

impl fmt::Display for ScalePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(channel) => write!(f, "the record of channel {channel}"),
            None => f.write_str("the registers"),
        }
    }
}

struct TokenRule(Option<EngineId>);

impl fmt::Display for TokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(owner) => write!(f, "belongs to {owner}"),
            None => f.write_str("is not assigned in the package"),
        }
    }
}

struct Waits<'a>(&'a [Waiting]);

impl fmt::Display for Waits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, wait) in self.0.iter().enumerate() {
            write!(f, "{}{wait}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
