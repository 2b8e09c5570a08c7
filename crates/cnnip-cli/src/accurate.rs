//! `cnnip accurate`: a network layer by layer, and any of its tensors.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use cnnip_accurate::{Simulator, State, Tensor};
use cnnip_analysis::{NamedTensor, tensors};
use cnnip_driver::TensorView;
use cnnip_graph::Pattern;
use cnnip_package::{Place, Quantization, RegionId, SourceTensor};
use serde_json::{Value, json};

use crate::error::Error;
use crate::examples::{Examples, is_numbered, numbered};
use crate::iss_run::misfit_of;
use crate::level::{self, Feed, Level};
use crate::results::{self, Style};
use crate::stream::Streams;
use crate::{dump, files, names};

/// Largest file of labels.
const MAX_LABELS_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(crate) struct Accurate {
    /// Model, or package with a lowered network
    model: PathBuf,
    /// Input: picture (png, jpeg, bmp, pnm), .npy, or raw bytes, by the file's name
    file: Option<OsString>,
    #[command(flatten)]
    feed: Feed,
    #[command(flatten)]
    examples: Examples,
    /// Threads that share the work of a layer; as many as the machine has cores if left out
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write an output as .npy; without NAME the first that is not written yet
    #[arg(long = "output", value_name = "[NAME=]FILE.npy")]
    outputs: Vec<OsString>,
    /// Write the tensors between the layers as the model has them: to an archive, or to a folder with an index.json; `{}` stands for
    /// the number of the example
    #[arg(long, value_name = "DIR|FILE.npz")]
    dump: Option<PathBuf>,
    /// Which tensors to write: `*` is any text, `?` any character; may repeat [default: all]
    #[arg(long, value_name = "PATTERN", requires = "dump", value_parser = dump::pattern)]
    tensors: Vec<Pattern>,
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
    pub(crate) json: bool,
}

/// Runs the network and gives what is asked for.
pub(crate) fn run(arguments: &Accurate, streams: &mut Streams<'_>) -> Result<(), Error> {
    let labels = match &arguments.labels {
        Some(path) => files::read_text(path, MAX_LABELS_BYTES)?.lines().map(str::to_owned).collect(),
        None => Vec::new(),
    };
    let style = Style { top: arguments.top, labels, dequantize: arguments.dequantize };
    let inputs = arguments.file.iter().chain(&arguments.feed.inputs).cloned().collect();
    let feed = Feed { inputs, target: arguments.feed.target, threads: arguments.threads };
    if arguments.examples.are_given() {
        return many(arguments, &feed, streams);
    }
    let mut simulator = level::simulator(&arguments.model, &feed)?;
    let saves = saves(&simulator, arguments)?;
    let dumped = dumped(&mut simulator, arguments)?;
    if let Some(path) = &arguments.dump {
        write(path, &simulator, arguments, &dumped)?;
    }
    let outputs: Vec<_> = simulator.outputs().map(|view| (described(view.tensor()), view.found())).collect();
    for (index, path) in saves {
        if let Some((Some(tensor), bytes)) = outputs.get(index) {
            results::save(&TensorView::new(tensor, bytes), &path, arguments.dequantize)?;
        }
    }
    let views = || outputs.iter().filter_map(|(tensor, bytes)| Some(TensorView::new(tensor.as_ref()?, bytes)));
    if arguments.json {
        let outputs: Value = views().map(|view| style.data(&view)).collect();
        streams.data(&json!({
            "outputs": outputs,
            "layers": simulator.network().layers.len(),
            "memory_bytes": simulator.memory_bytes(),
            "dumped": dumped.len(),
        }));
        return Ok(());
    }
    views().for_each(|view| streams.say(style.text(&view)));
    let (layers, memory) = (simulator.network().layers.len(), simulator.memory_bytes());
    streams.say(format_args!("{layers} layers, {memory} bytes of tensors alive together at most"));
    Ok(())
}

/// Runs all examples of a data set, one after the other, and writes the tensors of each.
fn many(arguments: &Accurate, feed: &Feed, streams: &mut Streams<'_>) -> Result<(), Error> {
    let usage = |message: &str| Error::Analysis {
        kind: "usage",
        message: message.to_owned(),
        hint: "give --dump 'DIR/{}.npz': {} stands for the number of the example, from 0".to_owned(),
    };
    let dump = arguments.dump.as_deref().filter(|path| is_numbered(path));
    let dump = dump.ok_or_else(|| usage("many examples need a dump for each"))?;
    let mut ready = level::prepare(&Level::Accurate(arguments.model.clone()), feed)?;
    let Some(data) = arguments.examples.open(&[&ready])? else { return Ok(()) };
    let count = arguments.examples.count(&data);
    for example in 0..count {
        streams.progress("running", example, count);
        ready.give(&data.load(example).map_err(|why| Error::Examples { broken: vec![why], more: 0 })?.inputs)?;
        let set = ready.run(example)?.set;
        let mut wanted = vec![];
        for tensor in set.tensors.into_iter().filter(|tensor| is_named(arguments, &tensor.name)) {
            let missing = || Error::NoScale { name: tensor.name.clone() };
            wanted.push(if arguments.dequantize { tensor.dequantized().ok_or_else(missing)? } else { tensor });
        }
        dump::write_to(&numbered(dump, example), true, &wanted.iter().collect::<Vec<_>>())?;
    }
    streams.progress("running", count, count);
    if arguments.json {
        streams.data(&json!({ "examples": count }));
    } else {
        streams.say(format_args!("{count} examples"));
    }
    Ok(())
}

fn saves(simulator: &Simulator, arguments: &Accurate) -> Result<Vec<(usize, PathBuf)>, Error> {
    let names: Vec<&str> = simulator.outputs().map(|view| view.tensor().name.as_str()).collect();
    names::assign(&arguments.outputs, &names).map_err(|misfit| misfit_of("output", &names, misfit))
}

/// Runs, and keeps the tensors that are to be written.
fn dumped(simulator: &mut Simulator, arguments: &Accurate) -> Result<Vec<NamedTensor>, Error> {
    let mut kept = vec![];
    let mut missing = None;
    let result = simulator.run_with(|view| {
        if !is_wanted(arguments, view.tensor()) {
            return;
        }
        let Some(tensor) = tensors::of_view(&view) else { return };
        match (arguments.dequantize, tensor.dequantized()) {
            (false, _) => kept.push(tensor),
            (true, Some(real)) => kept.push(real),
            (true, None) => {
                missing.get_or_insert(tensor.name);
            }
        }
    });
    result.map_err(|fault| Error::Overflow { path: arguments.model.clone(), fault })?;
    match missing {
        Some(name) => Err(Error::NoScale { name }),
        None => Ok(kept),
    }
}

fn is_wanted(arguments: &Accurate, tensor: &Tensor) -> bool {
    arguments.dump.is_some() && is_named(arguments, &tensor.name)
}

fn is_named(arguments: &Accurate, name: &str) -> bool {
    dump::is_named(&arguments.tensors, name)
}

fn write(path: &Path, simulator: &Simulator, arguments: &Accurate, dumped: &[NamedTensor]) -> Result<(), Error> {
    dump::write_some(path, dumped)?;
    if dump::has_extension(path, "npz") {
        return Ok(());
    }
    let wanted = simulator.tensors().iter().filter(|tensor| tensor.state != State::Constant);
    let index: Value =
        wanted.filter(|tensor| is_wanted(arguments, tensor)).map(|tensor| entry(tensor, dumped)).collect();
    let text = format!("{index:#}\n");
    files::write(&path.join("index.json"), |out| out.write_all(text.as_bytes()))
}

/// A tensor in the index of a folder; one that was fused away has no file.
fn entry(tensor: &Tensor, dumped: &[NamedTensor]) -> Value {
    let file = dumped.iter().any(|found| found.name == tensor.name).then(|| dump::file_name(&tensor.name));
    let (node, operator) = match &tensor.state {
        State::Computed { node, operator, .. } => (Some(node), Some(operator)),
        State::Input | State::Constant | State::Fused => (None, None),
    };
    json!({
        "name": tensor.name,
        "file": file,
        "node": node,
        "operator": operator,
        "shape": tensor.source_shape(),
        "type": tensor.element.map(|element| element.name()),
        "scale": tensor.quantization.map(|(scale, _)| scale),
        "zero_point": tensor.quantization.map(|(_, zero)| zero),
        "added": tensor.model == SourceTensor::Added,
        "fused": tensor.state == State::Fused,
    })
}

/// A tensor as packages describe one; its place means nothing.
fn described(tensor: &Tensor) -> Option<cnnip_package::Tensor> {
    let quantization =
        tensor.quantization.map(|(scale, zero_point)| Quantization { scale: f64::from(scale), zero_point });
    Some(cnnip_package::Tensor {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        element: tensor.element?,
        quantization,
        place: Place { region: RegionId(0), offset: 0 },
    })
}
