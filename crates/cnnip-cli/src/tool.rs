//! `cnnip`: makes packages and looks into them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use cnnip_isa::{TARGETS, Target};
use cnnip_package::Package;
use cnnip_package::text::{from_text, to_text};
use serde_json::{Value, json};

use crate::accurate::{self, Accurate};
use crate::bench::{self, Bench};
use crate::bisect::{self, Bisect};
use crate::compare::{self, Compare};
use crate::compile::{self, Compile};
use crate::error::Error;
use crate::evaluate::{self, Evaluate};
use crate::export::{self, Export};
use crate::fast::{self, Fast};
use crate::files;
use crate::info;
use crate::precision::{self, Precision};
use crate::stream::{DONE, Streams};
use crate::why::{self, Why};

/// Largest assembly text.
const MAX_TEXT_BYTES: u64 = 1 << 30;

/// Makes packages for the CNN-IP and looks into them.
#[derive(Debug, Parser)]
#[command(
    name = "cnnip",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 done, 1 compared unequal, 2 bad usage or bad input."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile a model to a package, quantizing it before if need be
    Compile(Compile),
    /// Run a model in real numbers, on the grids of its scales if it is quantized
    Fast(Fast),
    /// Run a data set through levels of simulation: accuracy, and how far the levels are apart
    Evaluate(Evaluate),
    /// Write a network, pseudo-quantized, as an ONNX model that other frameworks run
    Export(Export),
    /// Run a model or package layer by layer, bit for bit as the device; write any tensor
    Accurate(Accurate),
    /// Compare two levels of a network, or dumps, tensor by tensor
    Compare(Compare),
    /// Find the first element in which two levels part, and the command that wrote it
    Bisect(Bisect),
    /// Derive one element of a tensor: every tap, the accumulator, every rounding
    Why(Why),
    /// Find the fewest tensors of 16 bits with which a float model, quantized, is good enough
    Precision(Precision),
    /// Time a model on every level there is, and on other runtimes
    Bench(Bench),
    /// Make a package from assembly text
    Asm {
        /// Assembly text: package directives and command lists
        text: PathBuf,
        /// The package to write
        #[arg(short, long, value_name = "OUT.cnnip")]
        output: PathBuf,
        /// Print results and errors as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a package as assembly text that makes the same bytes again
    Disasm {
        /// Package
        package: PathBuf,
        /// Write the text to a file
        #[arg(short, long, value_name = "OUT.s")]
        output: Option<PathBuf>,
    },
    /// Print what a package holds
    Info {
        /// Package
        package: PathBuf,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the operators of TFLite and ONNX models that are read
    Operators {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the targets
    Targets {
        /// Print them as JSON, with the basis of each value
        #[arg(long)]
        json: bool,
    },
}

/// The target of a name.
pub(crate) fn target(name: &str) -> Result<&'static Target, String> {
    Target::by_name(name).ok_or_else(|| {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        format!("there is no such target, only {}", known.join(", "))
    })
}

/// Runs the program; gives the exit status.
pub fn cnnip(arguments: Vec<OsString>, streams: &mut Streams<'_>) -> u8 {
    let Arguments { command } = match streams.parse(arguments) {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let (done, json) = match &command {
        Command::Evaluate(arguments) => return evaluate::run(arguments, streams),
        Command::Accurate(arguments) => (accurate::run(arguments, streams), arguments.json),
        Command::Compare(arguments) => return compare::run(arguments, streams),
        Command::Bisect(arguments) => return bisect::run(arguments, streams),
        Command::Precision(arguments) => return precision::run(arguments, streams),
        Command::Why(arguments) => (why::run(arguments, streams), arguments.json),
        Command::Fast(arguments) => (fast::run(arguments, streams), arguments.json),
        Command::Export(arguments) => (export::run(arguments, streams), arguments.json),
        Command::Compile(arguments) => (compile::run(arguments, streams), arguments.json),
        Command::Bench(arguments) => (bench::run(arguments, streams), arguments.json),
        Command::Asm { text, output, json } => (assemble(text, output, *json, streams), *json),
        Command::Disasm { package, output } => (disassemble(package, output.as_deref(), streams), false),
        Command::Info { package, json } => (info(package, *json, streams), *json),
        Command::Operators { json } => {
            operators(*json, streams);
            (Ok(()), *json)
        }
        Command::Targets { json } => {
            targets(*json, streams);
            (Ok(()), *json)
        }
    };
    match done {
        Ok(()) => DONE,
        Err(error) => streams.fail(&error, json),
    }
}

fn assemble(path: &Path, output: &Path, json: bool, streams: &mut Streams<'_>) -> Result<(), Error> {
    files::distinct(path, output)?;
    let text = files::read_text(path, MAX_TEXT_BYTES)?;
    let package = from_text(&text).map_err(|diagnostics| Error::Assembly { path: path.into(), diagnostics })?;
    written(output, &package, json, streams)
}

/// Writes a package and says what it is.
pub(crate) fn written(path: &Path, package: &Package, json: bool, streams: &mut Streams<'_>) -> Result<(), Error> {
    files::write_package(path, package)?;
    if json {
        streams.data(&info::data(package));
    } else {
        streams.say(format_args!("{}: {}", path.display(), info::headline(&package.summary())));
    }
    Ok(())
}

fn info(path: &Path, json: bool, streams: &mut Streams<'_>) -> Result<(), Error> {
    let package = files::open(path)?;
    if json {
        streams.data(&info::data(&package));
    } else {
        streams.say(format_args!("{}: {}", path.display(), info::text(&package)));
    }
    Ok(())
}

fn disassemble(path: &Path, output: Option<&Path>, streams: &mut Streams<'_>) -> Result<(), Error> {
    output.map_or(Ok(()), |output| files::distinct(path, output))?;
    let text = to_text(&files::open(path)?);
    match output {
        Some(output) => files::write(output, |out| out.write_all(text.as_bytes())),
        None => {
            streams.say(text.trim_end());
            Ok(())
        }
    }
}

fn operators(json: bool, streams: &mut Streams<'_>) {
    let (tflite, onnx): (Vec<String>, Vec<String>) =
        (cnnip_graph::tflite::operators().collect(), cnnip_graph::onnx::operators().collect());
    if json {
        streams.data(&serde_json::json!({ "tflite": tflite, "onnx": onnx }));
        return;
    }
    for (format, names) in [("TFLite", tflite), ("ONNX", onnx)] {
        streams.say(format!("{format}, {} operators:", names.len()));
        names.iter().for_each(|name| streams.say(format!("  {name}")));
    }
}

fn targets(json: bool, streams: &mut Streams<'_>) {
    if json {
        streams.data(&TARGETS.iter().map(target_data).collect());
        return;
    }
    for target in TARGETS {
        let clock = if target.is_assumed("clock_mhz") == Some(true) { " (assumed)" } else { "" };
        streams.say(format_args!("{}: {}; {} MHz{clock}", target.name, target.summary, target.clock_mhz));
    }
}

fn target_data(target: &Target) -> Value {
    json!({
        "name": target.name,
        "id": target.id,
        "summary": target.summary,
        "cores": target.cores,
        "clock_mhz": target.clock_mhz,
        "sram_bytes": target.sram_bytes,
        "macs_per_cycle": u64::from(target.mac_channels) * u64::from(target.mac_pixels) * u64::from(target.mac_depth),
        "basis": target.basis.iter().map(|&(name, basis)| (name.to_owned(), basis.into()))
            .collect::<serde_json::Map<_, Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_sound() {
        Arguments::command().debug_assert();
    }
}
