//! Whole-system tests: one file per law under `tests/`, and here what they share.
//!
//! A law belongs here if it needs more than one of package, driver, compiler and machine; laws of one crate stay beside it.

#![forbid(unsafe_code)]

mod packed;

pub use packed::packed;
