//! `iss-run`: a package, its inputs, its outputs.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use cnnip_driver::{Checks, Device, Failed, Job, Observer, Outputs, RunOptions, Session, Status};
use cnnip_isa::registers_of;

use crate::error::{Error, RegisterValue};
use crate::names::Misfit;
use crate::results::{self, Style};
use crate::stream::{DONE, Streams};
use crate::trace::Trace;
use crate::{dump, files, inputs, names};

/// Largest file of labels.
const MAX_LABELS_BYTES: u64 = 16 << 20;

/// Runs a package on the instruction set simulator and prints its outputs, bit for bit as the specified device gives them.
#[derive(Debug, Parser)]
#[command(name = "iss-run", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Arguments {
    /// Package, as `cnnip compile` or `cnnip asm` writes it
    package: PathBuf,
    /// Input: picture (png, jpeg, bmp, pnm), .npy, or raw bytes, by the file's name
    file: Option<OsString>,
    /// Input of a tensor; without NAME of the first that has none
    #[arg(long = "input", value_name = "[NAME=]FILE")]
    inputs: Vec<OsString>,
    /// Write an output as .npy; without NAME the first that is not written yet
    #[arg(long = "output", value_name = "[NAME=]FILE.npy")]
    outputs: Vec<OsString>,
    /// Write a tensor between the layers; NAME may have `*`: then FILE is an .npz file or a folder
    #[arg(long = "dump", value_name = "NAME=FILE.npy")]
    dumps: Vec<OsString>,
    /// Write all tensors of the network to an .npz file or a folder
    #[arg(long, value_name = "DIR")]
    dump_all: Option<PathBuf>,
    /// Give real numbers instead of integers
    #[arg(long)]
    dequantize: bool,
    /// Name the K largest elements of every output vector
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Names of a vector's elements, one per line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Print everything as JSON, errors included
    #[arg(long)]
    json: bool,
    /// Advance the machine whole, command by command, or cycle by cycle; the results are the same
    #[arg(long, value_enum, default_value_t = Step::Run)]
    step: Step,
    /// Checks beside bounds and parameters: all, none, or some of race, uninit
    #[arg(long, value_name = "CHECKS", default_value = "all", value_parser = checks)]
    check: Checks,
    /// Commands the program may start [default: twice what the package declares, at most 5000000]
    #[arg(long, value_name = "N")]
    max_commands: Option<u64>,
    /// Cycles the program may take [default: twice what the package declares, at most about 5 s of host time]
    #[arg(long, value_name = "N")]
    max_cycles: Option<u64>,
    /// External memory of the device for inputs, outputs and scratch, in MiB
    #[arg(long, value_name = "MIB", default_value_t = cnnip_driver::DEFAULT_MEMORY_BYTES >> 20)]
    max_memory: u64,
    /// Write commands as they start: cycle, engine, word index, assembly; to standard error or a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    trace: Option<Option<PathBuf>>,
    /// After a fault, print all registers of all engines
    #[arg(long)]
    registers: bool,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 the program under test faulted, 2 bad usage or bad input.
Cycles are an estimate; results are exact.

Example: iss-run digits.cnnip 7.png --top 1 --output probabilities=out.npy";

/// How the machine is advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    Run,
    Command,
    Cycle,
}

fn checks(text: &str) -> Result<Checks, String> {
    match text {
        "all" => return Ok(Checks::ALL),
        "none" => return Ok(Checks::NONE),
        _ => {}
    }
    text.split(',').try_fold(Checks::NONE, |checks, name| match name {
        "race" => Ok(Checks { race: true, ..checks }),
        "uninit" => Ok(Checks { uninitialised: true, ..checks }),
        other => Err(format!("there is no check `{other}`: all, none, or some of race, uninit, separated by commas")),
    })
}

/// Runs the program; gives the exit status.
pub fn iss_run(arguments: Vec<OsString>, streams: &mut Streams<'_>) -> u8 {
    let arguments: Arguments = match streams.parse(arguments) {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    match run(&arguments, streams) {
        Ok(()) => DONE,
        Err(error) => streams.fail(&error, arguments.json),
    }
}

fn run(arguments: &Arguments, streams: &mut Streams<'_>) -> Result<(), Error> {
    let style = style(arguments)?;
    let mut session = load(arguments)?;
    bind(&mut session, arguments)?;
    let saves = saves(&session, arguments)?;
    let dumps = dump::record(&mut session, &arguments.dumps, arguments.dump_all.as_deref())?;
    let job = submit(session)?;
    let target = cnnip_isa::Target::by_name(&job.package().target);
    let outputs = match traced(job, arguments, streams)? {
        Ok(outputs) => outputs,
        Err(failed) => return Err(fault(&failed, arguments)),
    };
    for (index, path) in saves {
        if let Ok(view) = outputs.get(index) {
            results::save(&view, &path, arguments.dequantize)?;
        }
    }
    dump::write(&dumps, outputs.recording())?;
    let Some(target) = target else { return Ok(()) };
    if arguments.json {
        streams.data(&results::data(&outputs, target, &style));
        return Ok(());
    }
    for view in outputs.iter() {
        streams.say(style.text(&view));
    }
    streams.say(results::totals_text(&outputs, target));
    Ok(())
}

fn style(arguments: &Arguments) -> Result<Style, Error> {
    let labels = match &arguments.labels {
        Some(path) => files::read_text(path, MAX_LABELS_BYTES)?.lines().map(str::to_owned).collect(),
        None => Vec::new(),
    };
    Ok(Style { top: arguments.top, labels, dequantize: arguments.dequantize })
}

fn load(arguments: &Arguments) -> Result<Session, Error> {
    let path = &arguments.package;
    let package = files::open(path)?;
    let device = Device::open(&package.target).map_err(|why| Error::Device { path: path.clone(), why })?;
    let device = device.with_memory(arguments.max_memory.saturating_mul(1 << 20));
    let mut session = device.load(package).map_err(|why| Error::Load { path: path.clone(), why })?;
    let Arguments { check: checks, max_commands, max_cycles, .. } = *arguments;
    session.set_options(RunOptions { checks, max_commands, max_cycles });
    Ok(session)
}

fn bind(session: &mut Session, arguments: &Arguments) -> Result<(), Error> {
    let package = session.package().clone();
    let tensors = package.inputs.iter().filter_map(|input| package.tensor(input.tensor));
    let names: Vec<&str> = tensors.map(|tensor| tensor.name.as_str()).collect();
    let given: Vec<OsString> = arguments.file.iter().chain(&arguments.inputs).cloned().collect();
    let assigned = names::assign(&given, &names).map_err(|misfit| misfit_of("input", &names, misfit))?;
    assigned.iter().try_for_each(|(index, path)| inputs::bind(session, *index, path))
}

fn saves(session: &Session, arguments: &Arguments) -> Result<Vec<(usize, PathBuf)>, Error> {
    let package = session.package();
    let tensors = package.outputs.iter().filter_map(|&id| package.tensor(id));
    let names: Vec<&str> = tensors.map(|tensor| tensor.name.as_str()).collect();
    names::assign(&arguments.outputs, &names).map_err(|misfit| misfit_of("output", &names, misfit))
}

pub(crate) fn misfit_of(what: &'static str, names: &[&str], misfit: Misfit) -> Error {
    match misfit {
        Misfit::NoneLeft(path) => Error::TooManyFiles { path, what, count: names.len() },
        Misfit::Twice { tensor, path } => Error::SecondFile { path, what, name: names[tensor].to_owned() },
    }
}

fn submit(session: Session) -> Result<Job, Error> {
    session.submit().map_err(|not_ready| Error::NoFile { name: not_ready.input })
}

/// Runs the job, with a trace where one is asked for.
fn traced(job: Job, arguments: &Arguments, streams: &mut Streams<'_>) -> Result<Result<Outputs, Box<Failed>>, Error> {
    match &arguments.trace {
        None => Ok(advance(job, arguments.step, &mut Trace::new(None))),
        Some(None) => Ok(advance(job, arguments.step, &mut Trace::new(Some(streams.err)))),
        Some(Some(path)) => trace_to(path, job, arguments.step),
    }
}

fn trace_to(path: &Path, job: Job, step: Step) -> Result<Result<Outputs, Box<Failed>>, Error> {
    let file = std::fs::File::create(path).map_err(|why| Error::Write { path: path.into(), why })?;
    let mut out = BufWriter::new(file);
    let result = advance(job, step, &mut Trace::new(Some(&mut out)));
    out.flush().map_err(|why| Error::Write { path: path.into(), why })?;
    Ok(result)
}

fn advance(mut job: Job, step: Step, observer: &mut dyn Observer) -> Result<Outputs, Box<Failed>> {
    match step {
        Step::Run => {}
        Step::Command => while job.step_command(observer) == Status::Running {},
        Step::Cycle => while job.step_cycle(observer) == Status::Running {},
    }
    job.wait_with(observer)
}

/// The error of a faulted job, with all registers if they are asked for.
fn fault(failed: &Failed, arguments: &Arguments) -> Error {
    let registers = if arguments.registers { registers(&failed.job) } else { Vec::new() };
    Error::Fault { report: Box::new(failed.report()), registers }
}

/// Every register of every engine that is not zero.
fn registers(job: &Job) -> Vec<RegisterValue> {
    let files = (0..).map_while(|index| {
        let engine = cnnip_driver::EngineId::from_index(index)?;
        Some((engine.to_string(), job.state().registers(engine)?))
    });
    let values = files.flat_map(|(engine, registers)| {
        registers_of(registers.kind()).iter().filter_map(move |spec| {
            let value = registers.get(spec.index).filter(|&value| value != 0)?;
            Some(RegisterValue { engine: engine.clone(), name: spec.name, value })
        })
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn checks_are_a_list() {
        assert_eq!(checks("race,uninit"), Ok(Checks::ALL));
        assert_eq!(checks("race"), Ok(Checks { race: true, uninitialised: false }));
        assert!(checks("races").is_err());
    }
}
