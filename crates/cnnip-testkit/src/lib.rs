//! Generators, slow obvious oracles and golden helpers for the tests.

#![forbid(unsafe_code)]

mod each;
pub mod fuzzing;
pub mod generate;
pub mod oracle;
mod order;
pub mod reference;
mod rng;
mod touched;

pub use each::each;
pub use order::{Event, Race, Trace};
pub use rng::Rng;
pub use touched::{Touched, touched};
