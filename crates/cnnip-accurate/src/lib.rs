//! The Accurate Simulator: a lowered network, one layer at a time, with the bits of the device.
//!
//! It gives what the instruction set simulator gives, faster, and every tensor between the layers. A layer runs on the kernels
//! that the machine's own simulation uses, over the whole tensor at once; what a kernel declines is computed by plain loops over
//! `cnnip-numerics`, which are also what the kernels are tested against.
//!
//! [`Simulator::with_threads`] lets several threads share large layers; the bits are the same.
//!
//! Memory is planned when the simulator is made: a tensor has bytes only from its first write to its last use, and a run
//! allocates nothing once it is warm, lists of parts for several threads aside. What is deliberately absent: command lists,
//! scratchpads, cycles.
//!
//! ```
//! use cnnip_accurate::Simulator;
//! use cnnip_lowered::Network;
//!
//! let mut simulator = Simulator::new(Network::default())?;
//! simulator.run()?;
//! assert_eq!(simulator.outputs().count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod arena;
mod conv;
mod element;
mod eltwise;
mod error;
mod host;
mod lines;
mod numbers;
mod pool;
mod sampling;
mod simulator;
mod split;
mod step;
mod sum;
mod tensor;
mod transfer;
mod workers;

pub use error::{Fault, InputError, SimulatorError, Unsupported, Why};
pub use simulator::{DEFAULT_MEMORY_BYTES, Simulator};
pub use tensor::{State, Tensor, TensorView};
