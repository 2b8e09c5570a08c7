//! The levels that can be compared: simulators of one network, and dumps of anything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use cnnip_accurate::Simulator;
use cnnip_analysis::{NamedTensor, TensorSet, tensors};
use cnnip_compiler::{Options, compile_stages};
use cnnip_data::npy;
use cnnip_driver::{Device, Recording, Session, TensorView};
use cnnip_float::{Embedded, Engine};
use cnnip_graph::{Graph, TensorId};
use cnnip_isa::Target;
use cnnip_lowered::Network;
use cnnip_package::{ElementType, Package};

use crate::error::Error;
use crate::iss_run::misfit_of;
use crate::tool::target;
use crate::{dump, files, inputs, model, names};

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
}

/// A run of a level.
pub(crate) struct Run {
    /// Its tensors.
    pub(crate) set: TensorSet,
    /// Who wrote them, on the instruction set simulator.
    pub(crate) recording: Option<Recording>,
    /// The layers, where a model was given.
    pub(crate) network: Option<Network>,
}

/// Runs a level, or reads a dump.
pub(crate) fn run(level: &Level, feed: &Feed) -> Result<Run, Error> {
    match level {
        Level::Dump(path) => Ok(Run { set: dump::read(path)?, recording: None, network: None }),
        Level::Iss(path) => iss(path, feed),
        Level::Accurate(path) => accurate(path, feed),
        Level::Float(path) => float(path, feed),
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

/// A session with its inputs.
fn bound(path: &Path, package: Package, feed: &Feed) -> Result<Session, Error> {
    let device = Device::open(&package.target).map_err(|why| Error::Device { path: path.into(), why })?;
    let mut session = device.load(package).map_err(|why| Error::Load { path: path.into(), why })?;
    let package = session.package().clone();
    let tensors = package.inputs.iter().filter_map(|input| package.tensor(input.tensor));
    let known: Vec<&str> = tensors.map(|tensor| tensor.name.as_str()).collect();
    let assigned = names::assign(&feed.inputs, &known).map_err(|misfit| misfit_of("input", &known, misfit))?;
    assigned.iter().try_for_each(|(index, path)| inputs::bind(&mut session, *index, path))?;
    match session.first_unbound() {
        Some(name) => Err(Error::NoFile { name: name.to_owned() }),
        None => Ok(session),
    }
}

fn iss(path: &Path, feed: &Feed) -> Result<Run, Error> {
    let (package, network) = compiled(path, feed)?;
    let mut session = bound(path, package, feed)?;
    let package = session.package().clone();
    session.record(&Recording::names(&package)).map_err(|why| Error::Analysis {
        kind: "load",
        message: format!("{}: {why}", path.display()),
        hint: why.hint(),
    })?;
    let job = session.submit().map_err(|not_ready| Error::NoFile { name: not_ready.input })?;
    let outputs = job.wait().map_err(|failed| Error::Fault { report: Box::new(failed.report()), registers: vec![] })?;
    let recording = outputs.recording().cloned();
    let set = recording.as_ref().map(|found| tensors::of_recording(&format!("iss:{}", path.display()), found));
    Ok(Run { set: set.unwrap_or_default(), recording, network })
}

/// The network of a model with its inputs' bytes.
pub(crate) fn simulator(path: &Path, feed: &Feed) -> Result<Simulator, Error> {
    let (package, network) = compiled(path, feed)?;
    let session = bound(path, package, feed)?;
    let failed = |message: String, hint: &str| Error::Analysis {
        kind: "load",
        message: format!("{}: {message}", path.display()),
        hint: hint.to_owned(),
    };
    let network = network.ok_or_else(|| failed("the package has no lowered network".to_owned(), "give the model"))?;
    let mut simulator = Simulator::new(network).map_err(|why| failed(why.to_string(), "use iss:"))?;
    for index in 0..session.package().inputs.len() {
        let bytes = session.input(index).map(|view| view.bytes().to_vec()).unwrap_or_default();
        simulator.set_input(index, &bytes).map_err(|why| failed(why.to_string(), "is this the right input?"))?;
    }
    Ok(simulator)
}

fn accurate(path: &Path, feed: &Feed) -> Result<Run, Error> {
    let mut simulator = simulator(path, feed)?;
    let set = tensors::of_simulator(&format!("accurate:{}", path.display()), &mut simulator);
    let set = set.map_err(|why| Error::Analysis {
        kind: "fault",
        message: format!("{}: {why}", path.display()),
        hint: "the layer's weights and bias are larger than its accumulators".to_owned(),
    })?;
    Ok(Run { set, recording: None, network: Some(simulator.network().clone()) })
}

fn float(path: &Path, feed: &Feed) -> Result<Run, Error> {
    let graph = Arc::new(model::read(path, &model::Reading::default())?);
    let failed = |why| Error::Float { path: path.into(), why };
    let watched: Vec<TensorId> = graph.nodes.iter().flat_map(|node| node.outputs.iter().copied()).collect();
    let mut session = Embedded::default().prepare(Arc::clone(&graph), &watched).map_err(failed)?.session();
    let inputs = real_inputs(path, &graph, feed)?;
    let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut tensors: Vec<NamedTensor> =
        graph.inputs.iter().zip(&inputs).map(|(&id, values)| real(&graph, id, values)).collect();
    session
        .run(&slices, &mut |id, values| {
            if !graph.inputs.contains(&id) {
                tensors.push(real(&graph, id, values));
            }
        })
        .map_err(failed)?;
    let set = TensorSet { name: format!("float:{}", path.display()), tensors, absent: vec![] };
    Ok(Run { set, recording: None, network: None })
}

fn real(graph: &Graph, id: TensorId, values: &[f32]) -> NamedTensor {
    let shape = graph[id].shape.dims().iter().map(|&extent| u64::try_from(extent).unwrap_or(u64::MAX));
    NamedTensor {
        name: graph[id].name.clone(),
        shape: shape.collect(),
        element: ElementType::Float32,
        affine: None,
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        internal: false,
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
    let (package, _) = compiled(path, feed)?;
    let session = bound(path, package, feed)?;
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
