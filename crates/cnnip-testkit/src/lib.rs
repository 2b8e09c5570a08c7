//! Generators, slow obvious oracles and golden helpers for the tests.

pub mod fuzzing;
