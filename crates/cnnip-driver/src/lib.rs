//! The host's side of the machine: devices, sessions, jobs, host registers, interrupts.
//!
//! The calls are those that a real device would take. A [`Device`] loads a package into a [`Session`]; inputs are bound to the
//! session; [`Session::submit`] moves it into a [`Job`]; the job is polled, waited for, stepped or spawned; and only a job
//! that is done gives [`Outputs`] and, from them, the session back. So nobody can read an output, or change an input, while
//! the device works on it: the compiler sees to that.
//!
//! ```
//! use cnnip_driver::{Device, Package};
//!
//! let package = cnnip_package::text::from_text("
//! .region image input
//! .region copy output
//! .tensor image int8 [4]
//! .tensor copy int8 [4]
//! .list dma0
//!     set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=dram REGION=1, DST_ADDR 0
//!     set RUN_BYTES 4, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
//!     run COPY
//!     end
//! .endlist
//! ").unwrap();
//!
//! let mut session = Device::open("v4h")?.load(package)?;
//! session.bind("image", &[1, 2, 3, 4])?;
//! let outputs = session.submit()?.wait()?;
//! assert_eq!(outputs.get("copy")?.to_vec::<i8>()?, [1, 2, 3, 4]);
//! assert_eq!(outputs.totals().commands, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/digits.rs` of this crate is a whole test harness: pictures in, every output bit compared, the report of a fault.
//! For more than the result, [`Job::step_command`] and [`Job::step_cycle`] advance as far as one wants, [`Job::state`] shows
//! registers, scratchpads and tokens at that point, and an [`Observer`] sees every command as it starts.
//!
//! [`Session::record`] asks for intermediate tensors: [`Outputs::recording`] then has each in the model's own shape, wherever its
//! bytes were, with the command that wrote every element.
//!
//! What happens between the steps of a job: each device step starts on engines whose registers are zero, with all tokens at
//! zero and scratchpads that nothing has written (they hold zeros, in checked mode reading them is a fault). External memory
//! is what joins steps. Host steps take no cycle and no command. At submission all output and scratch regions are zeroed and
//! count as not written; inputs keep what was bound.
//!
//! The library starts no thread but the one of [`Job::spawn`], and has no global state: any number of devices, sessions and
//! jobs live side by side.

#![forbid(unsafe_code)]

mod budget;
mod device;
mod error;
mod event;
mod host_step;
mod job;
mod outputs;
mod picture;
mod plan;
mod recording;
mod registers;
mod report;
mod session;
mod spawn;
mod tensor;

pub use budget::{Allowance, MAX_COMMANDS, RunOptions, max_cycles};
pub use device::{DEFAULT_MEMORY_BYTES, Device};
pub use error::{BindError, DeviceError, HostPlanError, HostStepError, JobFault, LoadError};
pub use event::Event;
pub use job::{Failed, Job, Saved, Status};
pub use outputs::{Outputs, Totals};
pub use picture::{Picture, PictureError};
pub use recording::{RecordError, RecordedTensor, Recording, Write};
pub use registers::HostRegisterError;
pub use report::{CommandReport, ContextLine, FaultReport, RegisterReport};
pub use session::{Key, NotReady, Session};
pub use spawn::RunningJob;
pub use tensor::{Element, TensorView, TypeMismatch};

pub use cnnip_core::{Checks, EngineId, Fault, FaultCause, NoObserver, Observer, State};
pub use cnnip_isa::Target;
pub use cnnip_package::{Color, ElementType, Package, Tensor};
