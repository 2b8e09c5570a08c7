//! The Fast Simulator.
#![forbid(unsafe_code)]
