//! The command line: what `iss-run` and `cnnip` share.
//!
//! Flags, files and printing; everything else is in the libraries. A program is a function from arguments to an exit
//! status that writes to the streams it is given, so that nothing here prints on its own.

#![forbid(unsafe_code)]

mod error;
mod fault;
mod files;
mod inputs;
mod iss_run;
mod names;
mod npy;
mod results;
mod stream;
mod tool;
mod trace;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

pub use iss_run::iss_run;
pub use stream::Streams;
pub use tool::cnnip;

/// Runs a program on the process's arguments and streams.
pub fn main(program: fn(Vec<OsString>, &mut Streams<'_>) -> u8) -> ExitCode {
    let (mut out, mut err) = (BufWriter::new(io::stdout()), io::stderr());
    let mut streams = Streams { out: &mut out, err: &mut err };
    let status = program(std::env::args_os().collect(), &mut streams);
    // A reader that has gone away needs no more output.
    let _ = out.flush();
    ExitCode::from(status)
}
