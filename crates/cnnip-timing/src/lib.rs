//! Estimated cycles of one operation on one target, and the loop nest they come from.
//!
//! `isa-spec/timing.md` is the source; this crate is its only statement in code. [`Nest`] gives the cycles, and
//! [`Nest::progress`] what has been done after some of them; [`ArrayNest`], [`VectorNest`] and [`DmaNest`] say which
//! elements a block holds.

#![forbid(unsafe_code)]

mod cost;
mod nest;

pub use cost::Cost;
pub use nest::{ArrayBlock, ArrayNest, DmaBlock, DmaNest, Nest, Progress, ReduceNest, VectorNest};

/// Cycles that a command other than `RUN` takes: one per word fetched.
///
/// ```
/// assert_eq!(cnnip_timing::control_cycles(4), 4); // SET of three registers
/// ```
pub fn control_cycles(words: usize) -> u64 {
    u64::try_from(words).unwrap_or(u64::MAX)
}
