//! The levels that can be compared: simulators of one network, and dumps of anything.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use cnnip_accurate::{Fault, Simulator};
use cnnip_analysis::{NamedTensor, TensorSet, tensors};
use cnnip_compiler::{Options, compile_stages};
use cnnip_data::{InputSpec, Normalize, npy};
use cnnip_driver::{Device, Recording, Session, TensorView};
use cnnip_float::{Embedded, Engine};
use cnnip_graph::{Graph, TensorId};
use cnnip_isa::Target;
use cnnip_lowered::Network;
use cnnip_package::{ElementType, Input, Layout, Package, Pixels, Tensor};

use crate::error::Error;
use crate::examples::{is_numbered, numbered};
use crate::iss_run::misfit_of;
use crate::tool::target;
use crate::{dump, files, inputs, model, names, quantize};

/// What is run, on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Tensors in files.
    Dump(PathBuf),
    /// Command lists, of a package or of a model compiled for it.
    Iss(PathBuf),
    /// The lowered network of a package or a model, layer by layer.
    Accurate(PathBuf),
    /// A model in real numbers; one that is quantized on the grids of its scales.
    Float(PathBuf),
}

/// A level as text: `iss:PACKAGE`, `accurate:MODEL`, `float:MODEL`, `fast:MODEL`, or the path of a dump.
pub(crate) fn level(text: &str) -> Result<Level, String> {
    Ok(match text.split_once(':') {
        Some(("iss", path)) => Level::Iss(path.into()),
        Some(("accurate", path)) => Level::Accurate(path.into()),
        Some(("float" | "fast", path)) => Level::Float(path.into()),
        _ => Level::Dump(text.into()),
    })
}

/// Input of the levels that run.
#[derive(Debug, Args)]
pub(crate) struct Feed {
    /// Input of the levels that run: picture, .npy, raw bytes; without NAME the first that has none
    #[arg(long = "input", value_name = "[NAME=]FILE")]
    pub(crate) inputs: Vec<OsString>,
    /// Machine to compile models for
    #[arg(long, default_value = "v4h", value_parser = target)]
    pub(crate) target: &'static Target,
    /// Threads that share the work of a layer; all cores if it is not said.
    #[arg(skip)]
    pub(crate) threads: Option<usize>,
}

impl Feed {
    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// A level that is ready to run, with one input after the other.
pub(crate) struct Ready {
    name: String,
    what: What,
}

enum What {
    Dump(PathBuf),
    Iss(Box<Machine>),
    Accurate(Box<Machine>),
    Float(Box<Real>),
}

/// A package, and the network it was lowered from where that is known.
struct Machine {
    path: PathBuf,
    /// Has the inputs; away while it runs.
    session: Option<Session>,
    network: Option<Network>,
    simulator: Option<Simulator>,
    threads: usize,
}

/// A model in real numbers.
struct Real {
    path: PathBuf,
    graph: Arc<Graph>,
    session: Box<dyn cnnip_float::Session>,
    inputs: Vec<Vec<f32>>,
}

/// A run of a level.
pub(crate) struct Run {
    /// Its tensors.
    pub(crate) set: TensorSet,
    /// Who wrote them, on the instruction set simulator.
    pub(crate) recording: Option<Recording>,
}

/// Runs a level once with the inputs of files, or reads a dump.
pub(crate) fn run(level: &Level, feed: &Feed) -> Result<Run, Error> {
    let mut ready = prepare(level, feed)?;
    ready.give_files(feed)?;
    ready.run(0)
}

/// Reads what a level needs.
pub(crate) fn prepare(level: &Level, feed: &Feed) -> Result<Ready, Error> {
    let named = |level: &str, path: &Path| format!("{level}:{}", path.display());
    Ok(match level {
        Level::Dump(path) => Ready { name: path.display().to_string(), what: What::Dump(path.clone()) },
        Level::Iss(path) => {
            let mut machine = machine(path, feed)?;
            machine.record()?;
            Ready { name: named("iss", path), what: What::Iss(Box::new(machine)) }
        }
        Level::Accurate(path) => {
            let machine = machine(path, feed)?;
            Ready { name: named("accurate", path), what: What::Accurate(Box::new(machine)) }
        }
        Level::Float(path) => Ready { name: named("float", path), what: What::Float(Box::new(real(path)?)) },
    })
}

impl Ready {
    /// Gives every input the file it is assigned.
    pub(crate) fn give_files(&mut self, feed: &Feed) -> Result<(), Error> {
        match &mut self.what {
            What::Dump(_) => Ok(()),
            What::Iss(machine) | What::Accurate(machine) => machine.give_files(feed),
            What::Float(real) => {
                real.inputs = real_inputs(&real.path, &real.graph, feed)?;
                Ok(())
            }
        }
    }

    /// Gives every input real numbers.
    pub(crate) fn give(&mut self, inputs: &[Vec<f32>]) -> Result<(), Error> {
        match &mut self.what {
            What::Dump(_) => Ok(()),
            What::Iss(machine) | What::Accurate(machine) => machine.give(inputs),
            What::Float(real) => {
                real.inputs = inputs.to_vec();
                Ok(())
            }
        }
    }

    /// What a data set has to give, if the level runs.
    pub(crate) fn examples(&self) -> Option<(Vec<InputSpec>, Normalize)> {
        match &self.what {
            What::Dump(_) => None,
            What::Iss(machine) | What::Accurate(machine) => Some(machine.examples()),
            What::Float(real) => Some((quantize::specs(&real.graph), quantize::usual_pixels(&real.graph))),
        }
    }

    /// Whether it knows what pixels stand for.
    pub(crate) fn is_package(&self) -> bool {
        matches!(&self.what, What::Iss(_) | What::Accurate(_))
    }

    /// Runs, or reads the dump of an example.
    pub(crate) fn run(&mut self, example: usize) -> Result<Run, Error> {
        match &mut self.what {
            What::Dump(path) => Ok(Run { set: dump::read(&numbered(path, example))?, recording: None }),
            What::Iss(machine) => machine.execute(&self.name),
            What::Accurate(machine) => {
                let failed = overflow(&machine.path);
                let set = tensors::of_simulator(&self.name, machine.simulator()?).map_err(|why| failed(&why))?;
                Ok(Run { set, recording: None })
            }
            What::Float(real) => real.run(&self.name),
        }
    }

    /// Whether a dump is one of many.
    pub(crate) fn is_one_dump(&self) -> bool {
        matches!(&self.what, What::Dump(path) if !is_numbered(path))
    }

    /// The layers, to run each by itself, with the inputs that were given; `None` where there are none.
    pub(crate) fn layers(&mut self) -> Result<Option<&mut Simulator>, Error> {
        match &mut self.what {
            What::Iss(machine) | What::Accurate(machine) if machine.network.is_some() => machine.simulator().map(Some),
            _ => Ok(None),
        }
    }

    /// Names of the outputs, where the level knows them.
    pub(crate) fn outputs(&self) -> Vec<String> {
        match &self.what {
            What::Dump(_) => vec![],
            What::Iss(machine) | What::Accurate(machine) => machine.outputs(),
            What::Float(real) => real.graph.outputs.iter().map(|&id| real.graph[id].name.clone()).collect(),
        }
    }
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("cnnip"))
}

/// A package, and the network it was lowered from where that is known.
fn compiled(path: &Path, feed: &Feed) -> Result<(Package, Option<Network>), Error> {
    if is_package(path) {
        let package = files::open(path)?;
        let network = Network::of_package(&package).ok();
        return Ok((package, network));
    }
    let graph = model::read(path, &model::Reading::default())?;
    let stages = compile_stages(&graph, &Options::new(feed.target));
    let stages = stages.map_err(|errors| Error::Compile { path: path.into(), errors })?;
    Ok((stages.package, Some(stages.legalized)))
}

/// A device with the package of a file loaded, or of a model compiled for it.
fn machine(path: &Path, feed: &Feed) -> Result<Machine, Error> {
    let (package, network) = compiled(path, feed)?;
    let device = Device::open(&package.target).map_err(|why| Error::Device { path: path.into(), why })?;
    let session = device.load(package).map_err(|why| Error::Load { path: path.into(), why })?;
    Ok(Machine { path: path.into(), session: Some(session), network, simulator: None, threads: feed.threads() })
}

impl Machine {
    fn session(&mut self) -> Result<&mut Session, Error> {
        self.session.as_mut().ok_or_else(|| Error::Analysis {
            kind: "fault",
            message: format!("{}: the run before this one failed", self.path.display()),
            hint: "look at its message".to_owned(),
        })
    }

    fn failed(&self, why: &dyn Display, hint: &str) -> Error {
        Error::Analysis { kind: "load", message: format!("{}: {why}", self.path.display()), hint: hint.to_owned() }
    }

    /// Records every tensor of the runs to come.
    fn record(&mut self) -> Result<(), Error> {
        let session = self.session()?;
        let package = session.package().clone();
        let recorded = session.record(&Recording::names(&package));
        recorded.map_err(|why| self.failed(&why, &why.hint()))
    }

    fn give_files(&mut self, feed: &Feed) -> Result<(), Error> {
        let session = self.session()?;
        let package = session.package().clone();
        let tensors = package.inputs.iter().filter_map(|input| package.tensor(input.tensor));
        let known: Vec<&str> = tensors.map(|tensor| tensor.name.as_str()).collect();
        let assigned = names::assign(&feed.inputs, &known).map_err(|misfit| misfit_of("input", &known, misfit))?;
        assigned.iter().try_for_each(|(index, path)| inputs::bind(session, *index, path))?;
        match session.first_unbound() {
            Some(name) => Err(Error::NoFile { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    fn give(&mut self, inputs: &[Vec<f32>]) -> Result<(), Error> {
        let session = self.session()?;
        let package = session.package().clone();
        for (index, (input, values)) in package.inputs.iter().zip(inputs).enumerate() {
            let Some(tensor) = package.tensor(input.tensor) else { continue };
            let bytes = stored(tensor, values).ok_or_else(|| Error::NoScale { name: tensor.name.clone() })?;
            session.bind(index, &bytes).map_err(|why| Error::Analysis {
                kind: "input",
                message: why.to_string(),
                hint: why.hint().to_owned(),
            })?;
        }
        Ok(())
    }

    fn examples(&self) -> (Vec<InputSpec>, Normalize) {
        let Some(session) = &self.session else { return (vec![], Normalize::all(0.0, 1.0)) };
        let package = session.package();
        let inputs = || package.inputs.iter().filter_map(|input| Some((input, package.tensor(input.tensor)?)));
        let spec = |(input, tensor): (&Input, &Tensor)| InputSpec {
            name: tensor.name.clone(),
            shape: tensor.shape.iter().map(|&extent| usize::try_from(extent).unwrap_or(usize::MAX)).collect(),
            planar: input.preprocess.as_ref().is_some_and(|rule| rule.layout == Layout::Nchw),
        };
        let normalize = inputs().next().map_or(Normalize::all(0.0, 1.0), |(input, tensor)| pixels(input, tensor));
        (inputs().map(spec).collect(), normalize)
    }

    fn outputs(&self) -> Vec<String> {
        let package = self.session.iter().map(Session::package);
        let names = package.flat_map(|package| package.outputs.iter().filter_map(|&id| package.tensor(id)));
        names.map(|tensor| tensor.name.clone()).collect()
    }

    /// The layers with the inputs that were given.
    fn simulator(&mut self) -> Result<&mut Simulator, Error> {
        let mut simulator = match self.simulator.take() {
            Some(simulator) => simulator,
            None => {
                let network = self.network.clone();
                let network =
                    network.ok_or_else(|| self.failed(&"the package has no lowered network", "give the model"))?;
                let simulator = Simulator::new(network).and_then(|simulator| simulator.with_threads(self.threads));
                simulator.map_err(|why| self.failed(&why, "use iss:"))?
            }
        };
        let session = self.session()?;
        let mut inputs = (0..session.package().inputs.len()).filter_map(|index| session.input(index)).enumerate();
        let given = inputs.try_for_each(|(index, view)| simulator.set_input(index, view.bytes()));
        given.map_err(|why| self.failed(&why, "is this the right input?"))?;
        Ok(self.simulator.insert(simulator))
    }

    /// Runs the command lists.
    fn execute(&mut self, name: &str) -> Result<Run, Error> {
        self.session()?;
        let Some(session) = self.session.take() else { return Ok(Run { set: TensorSet::default(), recording: None }) };
        let job = session.submit().map_err(|not_ready| Error::NoFile { name: not_ready.input })?;
        let outputs =
            job.wait().map_err(|failed| Error::Fault { report: Box::new(failed.report()), registers: vec![] })?;
        let recording = outputs.recording().cloned();
        self.session = Some(outputs.into_session());
        let set = recording.as_ref().map(|found| tensors::of_recording(name, found)).unwrap_or_default();
        Ok(Run { set, recording })
    }
}

/// What pixels of a picture stand for, as real numbers, by the package's rule.
fn pixels(input: &Input, tensor: &Tensor) -> Normalize {
    let affine = tensor.quantization.map_or((1.0, 0.0), |found| (found.scale, f64::from(found.zero_point)));
    #[expect(clippy::cast_possible_truncation, reason = "scales and zero points of 8 bits are binary32 numbers")]
    let offset = |offset: i32| Normalize::all((affine.1 - f64::from(offset)) as f32, (1.0 / affine.0) as f32);
    match input.preprocess.as_ref().map(|rule| &rule.pixels) {
        Some(Pixels::Float { mean, std }) => Normalize { mean: mean.clone(), std: std.clone() },
        Some(Pixels::Offset(by)) => offset(*by),
        Some(Pixels::Raw) | None => offset(0),
    }
}

/// Real numbers as an input stores them, as the host operator quantize does: halves away from zero.
fn stored(tensor: &Tensor, values: &[f32]) -> Option<Vec<u8>> {
    #[expect(clippy::cast_possible_truncation, reason = "it was a binary32 number before it was stored")]
    let quantization = tensor.quantization.map(|found| (found.scale as f32, found.zero_point));
    cnnip_evaluate::level::elements(tensor.element, quantization, values).ok()
}

/// The network of a model with its inputs' bytes.
pub(crate) fn simulator(path: &Path, feed: &Feed) -> Result<Simulator, Error> {
    let mut machine = machine(path, feed)?;
    machine.give_files(feed)?;
    machine.simulator()?;
    let missing = || Error::NoFile { name: String::new() };
    machine.simulator.ok_or_else(missing)
}

fn overflow(path: &Path) -> impl Fn(&Fault) -> Error + use<> {
    let path = path.display().to_string();
    move |why| Error::Analysis {
        kind: "fault",
        message: format!("{path}: {why}"),
        hint: "the layer's weights and bias are larger than its accumulators".to_owned(),
    }
}

/// A model in real numbers, without inputs.
fn real(path: &Path) -> Result<Real, Error> {
    let graph = Arc::new(model::read(path, &model::Reading::default())?);
    let failed = |why| Error::Float { path: path.into(), why };
    let watched: Vec<TensorId> = graph.nodes.iter().flat_map(|node| node.outputs.iter().copied()).collect();
    let session = Embedded::default().prepare(Arc::clone(&graph), &watched).map_err(failed)?.session();
    Ok(Real { path: path.into(), graph, session, inputs: vec![] })
}

impl Real {
    fn run(&mut self, name: &str) -> Result<Run, Error> {
        let Self { path, graph, session, inputs } = self;
        let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let given = graph.inputs.iter().zip(inputs.iter());
        let mut found: Vec<NamedTensor> = given.map(|(&id, values)| tensors::of_values(graph, id, values)).collect();
        let run = session.run(&slices, &mut |id, values| {
            if !graph.inputs.contains(&id) {
                found.push(tensors::of_values(graph, id, values));
            }
        });
        run.map_err(|why| Error::Float { path: path.clone(), why })?;
        let constants = graph.tensors.iter().filter(|tensor| tensor.is_constant());
        let absent = constants.chain(&graph.fused).map(|tensor| tensor.name.clone()).collect();
        let set = TensorSet::of_network(name, found, absent);
        Ok(Run { set, recording: None })
    }
}

/// Real inputs: binary32 as it stands, all else as a quantized model takes it.
pub(crate) fn real_inputs(path: &Path, graph: &Graph, feed: &Feed) -> Result<Vec<Vec<f32>>, Error> {
    let known: Vec<&str> = graph.inputs.iter().map(|&id| graph[id].name.as_str()).collect();
    let assigned = names::assign(&feed.inputs, &known).map_err(|misfit| misfit_of("input", &known, misfit))?;
    let mut inputs: Vec<Option<Vec<f32>>> = vec![None; known.len()];
    for (index, file) in assigned {
        if let Some(place) = inputs.get_mut(index) {
            *place = real_elements(&file, &graph[graph.inputs[index]])?;
        }
    }
    if let Some(inputs) = inputs.into_iter().collect() {
        return Ok(inputs);
    }
    if model::is_float(graph) {
        return Err(Error::Analysis {
            kind: "input",
            message: format!(
                "{}: a float model takes as many binary32 numbers as each input has elements",
                path.display()
            ),
            hint: "give .npy of float32 or raw bytes; how a picture is normalized only `cnnip compile` is told"
                .to_owned(),
        });
    }
    let mut machine = machine(path, feed)?;
    machine.give_files(feed)?;
    let session = machine.session()?;
    let views = (0..known.len()).map(|index| session.input(index).and_then(|view: TensorView<'_>| view.real()));
    let missing = || Error::Analysis {
        kind: "input",
        message: format!("{}: an input has no scale", path.display()),
        hint: "give it as .npy of float32".to_owned(),
    };
    views.collect::<Option<_>>().ok_or_else(missing)
}

/// The elements of a file of binary32, `.npy` or raw, with as many as the tensor has; `None` for other files.
fn real_elements(path: &Path, tensor: &cnnip_graph::Tensor) -> Result<Option<Vec<f32>>, Error> {
    let needed = tensor.shape.elements();
    let limit = u64::try_from(needed).unwrap_or(u64::MAX).saturating_mul(8).saturating_add(npy::MAX_OVERHEAD);
    let real = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect::<Vec<f32>>();
    let values = if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
        let file = files::read(path, limit)?;
        let array = npy::read(&file).ok().filter(|array| array.element == ElementType::Float32);
        array.map(|array| real(array.bytes))
    } else if tensor.element == cnnip_graph::ElementType::F32 {
        let file = files::read_some(path, limit).map_err(|why| Error::Read { path: path.into(), why })?;
        (file.len() == needed * 4).then(|| real(&file))
    } else {
        None
    };
    Ok(values.filter(|values| values.len() == needed))
}
