//! The command line: what `iss-run` and `cnnip` share.
//!
//! Flags, files and printing; everything else is in the libraries. A program is a function from arguments to an exit
//! status that writes to the streams it is given, so that nothing here prints on its own.

#![forbid(unsafe_code)]

mod accurate;
mod bench;
mod bisect;
mod calibration;
mod compare;
mod compile;
mod compress;
mod dump;
mod engine;
mod error;
mod evaluate;
mod examples;
mod export;
mod fast;
mod fault;
mod files;
mod info;
mod inputs;
mod iss_run;
mod level;
mod model;
mod names;
mod precision;
mod quality;
mod quantize;
mod report;
mod results;
mod stream;
mod tool;
mod trace;
mod tune;
mod why;

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

pub use iss_run::iss_run;
pub use stream::Streams;
pub use tool::cnnip;

use stream::{BAD_INPUT, DONE, Remembering};

/// Runs a program on the process's arguments and streams. Results that cannot be written are an error, unless their reader
/// has gone away.
pub fn main(program: fn(Vec<OsString>, &mut Streams<'_>) -> u8) -> ExitCode {
    let (mut out, mut err) = (Remembering::new(io::stdout()), io::stderr());
    let mut buffered = BufWriter::new(&mut out);
    let terminal = err.is_terminal();
    let mut streams = Streams { out: &mut buffered, err: &mut err, terminal };
    let status = program(std::env::args_os().collect(), &mut streams);
    let _ = buffered.flush(); // `out` remembers a failure
    drop(buffered);
    let Some(why) = out.failure() else { return ExitCode::from(status) };
    let _ = writeln!(err, "error: standard output cannot be written: {why}");
    ExitCode::from(if status == DONE { BAD_INPUT } else { status })
}
