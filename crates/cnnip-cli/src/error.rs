//! Everything that makes a program end with another status than 0.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};

use cnnip_compiler::CompileErrors;
use cnnip_data::{DataError, ExampleError};
use cnnip_driver::{DeviceError, FaultReport, LoadError};
use cnnip_evaluate::run::RunError;
use cnnip_float::FloatError;
use cnnip_graph::{Place, Problems};
use cnnip_package::text::Diagnostic;
use cnnip_package::{FileError, PackageError};
use cnnip_quant::{QuantizeErrors, RangesError};
use serde_json::{Value, json};

use crate::fault;
use crate::inputs::InputError;

/// Why a program did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be read.
    #[error("{}: cannot be read: {why}", shown(.path))]
    Read { path: PathBuf, why: io::Error },
    /// A file cannot be written.
    #[error("{}: cannot be written: {why}", shown(.path))]
    Write { path: PathBuf, why: io::Error },
    /// A file is no package.
    #[error("{}: {why}", path.display())]
    Package { path: PathBuf, why: PackageError },
    /// A package made for a target nobody knows.
    #[error("{}: {why}", path.display())]
    Device { path: PathBuf, why: DeviceError },
    /// A package that cannot be loaded.
    #[error("{}: {why}", path.display())]
    Load { path: PathBuf, why: LoadError },
    /// A file that is no input.
    #[error("{}: {why}", path.display())]
    Input { path: PathBuf, why: InputError },
    /// More files than inputs or outputs.
    #[error("{}: there is no {what} left for it, of {count} each has a file", path.display())]
    TooManyFiles { path: PathBuf, what: &'static str, count: usize },
    /// Two files for the same input or output.
    #[error("{}: {what} `{name}` has another file already", path.display())]
    SecondFile { path: PathBuf, what: &'static str, name: String },
    /// What would be written is what was read.
    #[error("{}: would be written over itself", path.display())]
    Itself { path: PathBuf },
    /// An input without file.
    #[error("input `{name}` has no file")]
    NoFile { name: String },
    /// A tensor that has no real numbers to write.
    #[error("output `{name}` has no scale, so there are no real numbers to write")]
    NoScale { name: String },
    /// Text that does not assemble.
    #[error("{}", lines(.diagnostics, |found| format!("{}: {found}", path.display())))]
    Assembly { path: PathBuf, diagnostics: Vec<Diagnostic> },
    /// A model that cannot be imported.
    #[error("{}", findings(path, &model_findings(.problems), .problems.more()))]
    Model { path: PathBuf, problems: Problems },
    /// An accumulator that left its range in the Accurate Simulator.
    #[error("{}: {fault}", path.display())]
    Overflow { path: PathBuf, fault: cnnip_accurate::Fault },
    /// A model that cannot be compiled.
    #[error("{}", findings(path, &compile_findings(.errors), 0))]
    Compile { path: PathBuf, errors: CompileErrors },
    /// A float model without calibration.
    #[error("{}: this is a float model: the machine computes with integers", path.display())]
    NotCalibrated { path: PathBuf },
    /// Calibration or pruning for a model that takes none.
    #[error("{}: the model is quantized already, there is nothing to calibrate or prune", path.display())]
    AlreadyQuantized { path: PathBuf },
    /// A table of ranges that cannot be read.
    #[error("{}: {why}", path.display())]
    Ranges { path: PathBuf, why: RangesError },
    /// Examples that cannot be found.
    #[error("{why}")]
    Data { why: DataError },
    /// Examples that cannot be used.
    #[error("{}", examples(.broken, *.more))]
    Examples { broken: Vec<ExampleError>, more: usize },
    /// An evaluation that could not go on.
    #[error("{why}")]
    Evaluation { why: RunError },
    /// A model that cannot be run in floats.
    #[error("{}: {why}", path.display())]
    Float { path: PathBuf, why: FloatError },
    /// A model that cannot be quantized.
    #[error("{}", findings(path, &quantize_findings(.errors), 0))]
    Quantize { path: PathBuf, errors: QuantizeErrors },
    /// Something that cannot be looked at or compared.
    #[error("{message}")]
    Analysis { kind: &'static str, message: String, hint: String },
    /// A number of cores for several networks that is not theirs.
    #[error("{cores} cores asked for {models} networks, which have a core each")]
    CoresOfSeveral { cores: u32, models: usize },
    /// Networks of two formats with a rounding that means something else for each.
    #[error("--rounding float is another rounding for TFLite models than for ONNX models")]
    TwoFormats,
    /// Something that cannot be timed.
    #[error("{}: {why}", path.display())]
    Bench { path: PathBuf, why: String },
    /// A text file that is not UTF-8.
    #[error("{}: the text is not UTF-8 from byte {byte:#x} on", path.display())]
    Utf8 { path: PathBuf, byte: usize },
    /// A file larger than any of its kind.
    #[error("{}: the file is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    /// The program under test did something wrong.
    #[error("{report}")]
    Fault { report: Box<FaultReport>, registers: Vec<RegisterValue> },
}

/// A register of an engine, after a fault.
#[derive(Debug)]
pub(crate) struct RegisterValue {
    pub(crate) engine: String,
    pub(crate) name: &'static str,
    pub(crate) value: u32,
}

impl Display for RegisterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} = {:#010x}", self.engine, self.name, self.value)
    }
}

fn lines<T>(items: &[T], line: impl FnMut(&T) -> String) -> String {
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Package { path, source } => Self::Package { path, why: source },
            FileError::Io { path, source } => Self::Read { path, why: source },
            other => Self::Read { path: PathBuf::new(), why: io::Error::other(other) },
        }
    }
}

impl Error {
    /// 1 if the program under test is wrong, else 2.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Fault { .. } | Self::Overflow { .. } => 1,
            _ => 2,
        }
    }

    /// Its kind, for programs.
    fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Utf8 { .. } | Self::TooLarge { .. } => "read",
            Self::Write { .. } => "write",
            Self::Package { .. } => "package",
            Self::Device { .. } | Self::Load { .. } => "load",
            Self::Input { .. } | Self::NoFile { .. } => "input",
            Self::TooManyFiles { .. } | Self::SecondFile { .. } | Self::NoScale { .. } | Self::Itself { .. } => "usage",
            Self::Assembly { .. } => "assembly",
            Self::Model { .. } => "model",
            Self::Compile { .. } => "compile",
            Self::NotCalibrated { .. } | Self::AlreadyQuantized { .. } => "usage",
            Self::CoresOfSeveral { .. } | Self::TwoFormats => "usage",
            Self::Ranges { .. } | Self::Quantize { .. } | Self::Float { .. } => "quantize",
            Self::Data { .. } | Self::Examples { .. } | Self::Evaluation { .. } => "data",
            Self::Fault { .. } | Self::Overflow { .. } => "fault",
            Self::Bench { .. } => "bench",
            Self::Analysis { kind, .. } => kind,
        }
    }

    /// What to do about it, unless the message says so itself.
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { why, path } => read_hint(why, path).to_owned(),
            Self::Write { why, path } => write_hint(why, path).to_owned(),
            Self::Package { why: PackageError::Malformed(error), .. } => error.why.hint().to_owned(),
            Self::Package { .. } => "the tool that made the package breaks isa-spec/package.md".to_owned(),
            Self::Device { .. } => "compile the model for one of these".to_owned(),
            Self::Load { why: LoadError::Memory { .. }, .. } => "allow more with --max-memory".to_owned(),
            Self::Load { why, .. } => why.hint().to_owned(),
            Self::Input { why, .. } => why.hint(),
            Self::TooManyFiles { .. } => "`cnnip info` lists inputs and outputs".to_owned(),
            Self::NoFile { name } => format!("give one with --input {name}=FILE"),
            Self::Analysis { hint, .. } => hint.clone(),
            Self::NoScale { .. } => "leave --dequantize out".to_owned(),
            Self::NotCalibrated { .. } => "calibrate it with --calib DIR, or give --ranges FILE.json".to_owned(),
            Self::AlreadyQuantized { .. } => "leave --calib, --ranges and --prune out".to_owned(),
            Self::Ranges { .. } => r#"the form is {"ranges": {"NAME": {"min": -1.0, "max": 1.0}}}"#.to_owned(),
            Self::Data { why } => why.hint().to_owned(),
            Self::Examples { .. } => {
                "take them out, or say with --fit how pictures become the network's size".to_owned()
            }
            Self::Evaluation { why } => why.hint().to_owned(),
            Self::Float { .. } => "quantize the model with its own framework, and compile that".to_owned(),
            Self::Overflow { .. } => "the layer's weights and bias are larger than its accumulators".to_owned(),
            Self::CoresOfSeveral { .. } => "leave --cores out, or compile one model".to_owned(),
            Self::TwoFormats => "choose another rounding, or compile the models of each format apart".to_owned(),
            Self::SecondFile { .. } => "every tensor takes one file".to_owned(),
            Self::Itself { .. } => "name another file for the output".to_owned(),
            Self::Utf8 { .. } | Self::TooLarge { .. } => "is this the right file?".to_owned(),
            Self::Assembly { .. }
            | Self::Model { .. }
            | Self::Compile { .. }
            | Self::Quantize { .. }
            | Self::Bench { .. }
            | Self::Fault { .. } => return None,
        })
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Fault { report, registers } => {
                registers.iter().map(|register| format!("{register}\n")).chain([report.to_string()]).collect()
            }
            _ => match self.hint() {
                Some(hint) => format!("error: {self}\n  hint: {hint}"),
                None => format!("error: {self}"),
            },
        }
    }

    /// For a program.
    pub(crate) fn data(&self) -> Value {
        let mut data = json!({ "kind": self.kind(), "message": self.to_string() });
        if let (Value::Object(data), Some(hint)) = (&mut data, self.hint()) {
            data.insert("hint".to_owned(), hint.into());
        }
        if let (Value::Object(data), Some((key, value))) = (&mut data, self.details()) {
            data.insert(key.to_owned(), value);
        }
        if let Self::Fault { registers, .. } = self {
            for RegisterValue { engine, name, value } in registers {
                data["registers"][engine][name] = (*value).into();
            }
        }
        data
    }

    /// What the kind has beside the message.
    fn details(&self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::Fault { report, .. } => ("fault", fault::data(report)),
            Self::Assembly { diagnostics, .. } => ("problems", diagnostics.iter().map(diagnostic).collect()),
            Self::Model { problems, .. } => ("problems", model_findings(problems).iter().map(Finding::data).collect()),
            Self::Compile { errors, .. } => ("problems", compile_findings(errors).iter().map(Finding::data).collect()),
            Self::Quantize { errors, .. } => {
                ("problems", quantize_findings(errors).iter().map(Finding::data).collect())
            }
            Self::Examples { broken, .. } => ("problems", broken.iter().map(ToString::to_string).collect()),
            Self::Package { why: PackageError::Malformed(error), .. } => {
                ("place", json!({ "byte": error.offset, "part": error.part, "rule": error.why.rule() }))
            }
            _ => return None,
        })
    }
}

fn diagnostic(found: &Diagnostic) -> Value {
    let Diagnostic { line, column, length, message, hint, .. } = found;
    json!({ "line": line, "column": column, "length": length, "message": message, "hint": hint })
}

/// Something wrong with a model.
struct Finding<'a> {
    place: &'a Place,
    rule: &'a dyn Display,
    hint: &'static str,
}

impl Finding<'_> {
    fn data(&self) -> Value {
        json!({ "place": self.place.to_string(), "message": self.rule.to_string(), "hint": self.hint })
    }
}

fn model_findings(problems: &Problems) -> Vec<Finding<'_>> {
    let problems = problems.list().iter();
    problems.map(|cnnip_graph::Problem { place, rule }| Finding { place, rule, hint: rule.hint() }).collect()
}

fn compile_findings(errors: &CompileErrors) -> Vec<Finding<'_>> {
    let problems = errors.problems().iter();
    problems.map(|cnnip_compiler::Problem { place, rule }| Finding { place, rule, hint: rule.hint() }).collect()
}

fn quantize_findings(errors: &QuantizeErrors) -> Vec<Finding<'_>> {
    let problems = errors.problems().iter();
    problems.map(|cnnip_quant::QuantizeProblem { place, rule }| Finding { place, rule, hint: rule.hint() }).collect()
}

/// One line per example.
fn examples(broken: &[ExampleError], more: usize) -> String {
    let more = (more > 0).then(|| format!("and {more} more"));
    broken.iter().map(ToString::to_string).chain(more).collect::<Vec<_>>().join("\n")
}

/// One line per finding; a hint stands once below all that share it, where they follow each other.
fn findings(path: &Path, found: &[Finding<'_>], more: usize) -> String {
    let next = found.iter().skip(1).map(|finding| Some(finding.hint)).chain([None]);
    let block = |(Finding { place, rule, hint }, next): (&Finding<'_>, Option<&str>)| {
        let line = format!("{}: {place}: {rule}", path.display());
        if next == Some(hint) { line } else { format!("{line}\n  hint: {hint}") }
    };
    let more = (more > 0).then(|| format!("{}: and {more} more", path.display()));
    found.iter().zip(next).map(block).chain(more).collect::<Vec<_>>().join("\n")
}

/// A path in a message; one that is empty would not be seen.
fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { "an empty file name".to_owned() } else { path.display().to_string() }
}

fn write_hint(why: &io::Error, path: &Path) -> &'static str {
    match why.kind() {
        _ if path.as_os_str().is_empty() => "name a file",
        _ if path.is_dir() => "this is a folder: name a file in it",
        io::ErrorKind::NotFound => "make the folder first",
        io::ErrorKind::PermissionDenied => "you may not write there; what was there before is unchanged",
        io::ErrorKind::StorageFull => "make room; what was there before is unchanged",
        _ => "the folder must exist and be writable; what was there before is unchanged",
    }
}

fn read_hint(why: &io::Error, path: &Path) -> &'static str {
    match why.kind() {
        _ if path.as_os_str().is_empty() => "name a file",
        io::ErrorKind::NotFound if path.as_os_str().as_encoded_bytes().contains(&b'=') => {
            "what is before the `=` is no tensor's name, so this was taken for a file: `cnnip info` lists the names"
        }
        io::ErrorKind::NotFound => "check the spelling and the folder",
        _ if path.is_dir() => "this is a folder: name a file in it",
        io::ErrorKind::PermissionDenied => "you may not read it",
        _ => "is this the right file?",
    }
}
