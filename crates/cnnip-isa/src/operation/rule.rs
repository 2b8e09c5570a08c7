//! Why a parameter is illegal.

use super::Role;

/// An operation that cannot be carried out, found before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// A register value breaks a rule.
    #[error("{register} = {value} ({value:#x}): {rule}", value = *.value, rule = .rule)]
    IllegalParameter {
        /// Register, or `REGISTER.FIELD`.
        register: &'static str,
        /// The offending value.
        value: u32,
        /// The rule it breaks.
        rule: Rule,
    },
    /// The operation reads what it writes.
    #[error("{} and {} share the byte at {byte:#x}", .read.name(), .write.name())]
    Overlap {
        /// Operand that is read.
        read: Role,
        /// Operand that is written.
        write: Role,
        /// First common byte: SRAM address or region offset.
        byte: u64,
    },
    /// Specified, but this version does not have it.
    #[error("{what} is specified but not built")]
    Unsupported {
        /// Operation or feature.
        what: &'static str,
    },
}

/// A rule that a parameter must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Within limits, in the register's own signedness.
    #[error("must lie in {min}..={max}")]
    Range {
        /// Smallest legal value.
        min: i64,
        /// Largest legal value.
        max: i64,
    },
    /// Divisible, for alignment.
    #[error("must be a multiple of {of}")]
    Multiple {
        /// Divisor.
        of: u32,
    },
    /// Equal to what other registers imply.
    #[error("must be {expected}, as {because} implies")]
    Equal {
        /// The only legal value.
        expected: u64,
        /// The registers that imply it.
        because: &'static str,
    },
    /// A code that the enumeration does not have.
    #[error("is not a {name}")]
    NotA {
        /// Enumeration in `types.toml`.
        name: &'static str,
    },
    /// A code that exists but is not legal here.
    #[error("is not legal for {here}")]
    NotLegalHere {
        /// The operation, type or mode that forbids it.
        here: &'static str,
    },
    /// A stride under which elements of the destination coincide.
    #[error("lets destination elements alias: it must be at least {least}")]
    Alias {
        /// Smallest legal stride.
        least: u64,
    },
    /// A window that covers padding only.
    #[error("leaves the window of output {output} without a valid position")]
    EmptyWindow {
        /// Output row or column.
        output: u32,
    },
    /// The last window reaches further beyond the input than the target allows.
    #[error("makes the last window reach {reach} beyond the input, more than {limit}")]
    FarPadding {
        /// Positions beyond the input.
        reach: u64,
        /// The target's limit.
        limit: u32,
    },
    /// A bytes count that leaves 32 bits.
    #[error("makes the operand larger than 2^32 bytes")]
    TooLarge,
}
