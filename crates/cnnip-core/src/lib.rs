//! The machine: engines, register files, scratchpad, external memory, tokens and faults.
//!
//! A [`Machine`] executes a [`Program`] (command lists, token owners, regions) on a target. It can be stepped by cycle, by
//! command, or run; all three give the same registers, memory, tokens, fault and cycle count. What a program does wrong is a
//! [`Fault`], a value returned to the caller: nothing here panics, prints or reads files.
//!
//! `isa-spec/` says what every command means. Each operation is written down once in a slow, obvious form that works block by
//! block (module `execute`); where a fast kernel is proven equal, whole operations use it.

#![forbid(unsafe_code)]

mod bits;
mod engine;
mod execute;
mod fault;
mod host;
mod machine;
mod memory;
mod observer;
mod program;
mod race;
mod schedule;
mod state;
mod tokens;

pub use engine::{EngineId, Frame, Slot};
pub use execute::Accumulating;
pub use fault::{CommandId, Fault, FaultCause, Limit, RegionError, StackError, StreamError, Waiting};
pub use machine::{Checks, Machine, Options, Stop};
pub use memory::{MemoryError, Region, RegionKind, SharedBytes};
pub use observer::{NoObserver, Observer};
pub use program::{Program, ProgramError, TokenOwner};
pub use state::{Difference, State};
