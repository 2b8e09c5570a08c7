//! Passes: functions from a graph to a graph that computes the same.

mod dead;

pub use dead::dead_code;
