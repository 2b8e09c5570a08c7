//! `cnnip fast`: a model in real numbers, every quantized tensor rounded to its grid.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use cnnip_analysis::{Affine, NamedTensor, tensors};
use cnnip_driver::TensorView;
use cnnip_fast::{Elements, Fast as Simulator, FastError, TensorView as FastView};
use cnnip_graph::{ElementType as GraphElement, Graph, Pattern, TensorId};
use cnnip_package::{ElementType, Place, Quantization, RegionId, Tensor};
use serde_json::{Value, json};

use crate::engine::EngineChoice;
use crate::error::Error;
use crate::iss_run::misfit_of;
use crate::level::{Feed, real_inputs};
use crate::results::{self, Style};
use crate::stream::Streams;
use crate::{dump, files, model, names};

/// Largest file of labels.
const MAX_LABELS_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(crate) struct Fast {
    /// Model: TFLite or ONNX. A quantized one runs in real numbers on the grids of its scales, one of floats as it is
    model: PathBuf,
    /// Input: picture (png, jpeg, bmp, pnm), .npy, or raw bytes, by the file's name
    file: Option<OsString>,
    #[command(flatten)]
    feed: Feed,
    #[command(flatten)]
    engine: EngineChoice,
    /// Write an output as .npy; without NAME the first that is not written yet
    #[arg(long = "output", value_name = "[NAME=]FILE.npy")]
    outputs: Vec<OsString>,
    /// Write the tensors between the layers as the model has them: to an archive, or to a folder
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

/// An output as packages describe tensors, with its bytes.
struct Output {
    tensor: Tensor,
    bytes: Vec<u8>,
}

/// Runs the model once.
pub(crate) fn run(arguments: &Fast, streams: &mut Streams<'_>) -> Result<(), Error> {
    let graph = Arc::new(model::read(&arguments.model, &model::Reading::default())?);
    let saves = saves(arguments, &graph)?;
    let labels = match &arguments.labels {
        Some(path) => files::read_text(path, MAX_LABELS_BYTES)?.lines().map(str::to_owned).collect(),
        None => vec![],
    };
    let style = Style { top: arguments.top, labels, dequantize: arguments.dequantize };
    let (outputs, dumped) = results_of(arguments, graph)?;
    if let Some(path) = &arguments.dump {
        dump::write_some(path, &dumped)?;
    }
    let views: Vec<TensorView<'_>> =
        outputs.iter().map(|output| TensorView::new(&output.tensor, &output.bytes)).collect();
    for (index, path) in saves {
        if let Some(view) = views.get(index) {
            results::save(view, &path, arguments.dequantize)?;
        }
    }
    if arguments.json {
        streams.data(&json!({ "outputs": views.iter().map(|view| style.data(view)).collect::<Value>() }));
    } else {
        views.iter().for_each(|view| streams.say(style.text(view)));
    }
    Ok(())
}

fn saves(arguments: &Fast, graph: &Graph) -> Result<Vec<(usize, PathBuf)>, Error> {
    let known: Vec<&str> = graph.outputs.iter().map(|&id| graph[id].name.as_str()).collect();
    names::assign(&arguments.outputs, &known).map_err(|misfit| misfit_of("output", &known, misfit))
}

/// Runs; gives the outputs, and the tensors to write.
fn results_of(arguments: &Fast, graph: Arc<Graph>) -> Result<(Vec<Output>, Vec<NamedTensor>), Error> {
    let feed = Feed {
        inputs: arguments.file.iter().chain(&arguments.feed.inputs).cloned().collect(),
        target: arguments.feed.target,
        threads: None,
    };
    let inputs = real_inputs(&arguments.model, &graph, &feed)?;
    let failed = |why: FastError| match why {
        FastError::Float(why) => Error::Float { path: arguments.model.clone(), why },
        why => Error::Analysis {
            kind: "input",
            message: format!("{}: {why}", arguments.model.display()),
            hint: "`cnnip fast --help` shows how inputs are given".to_owned(),
        },
    };
    let watched = watched(arguments, &graph);
    let simulator = Simulator::with_engine(&*arguments.engine.engine()?, Arc::clone(&graph), &watched)
        .map_err(|why| failed(why.into()))?;
    let mut session = simulator.session();
    for (index, input) in inputs.into_iter().enumerate() {
        session.bind(index, &Elements::Real(input)).map_err(failed)?;
    }
    let mut dumped = vec![];
    let outputs = session.run_with(&mut |id, view| {
        if watched.contains(&id) {
            dumped.push(named(&graph, id, &view, arguments.dequantize));
        }
    });
    let outputs = outputs.map_err(failed)?;
    let described = outputs.iter().filter_map(|view| {
        let coded = view
            .codes()
            .or_else(|| view.whole())
            .and_then(|_| described(view.tensor(), element(view.tensor().element)?));
        let tensor = coded.or_else(|| described(view.tensor(), ElementType::Float32))?;
        Some(Output { tensor, bytes: view.bytes() })
    });
    Ok((described.collect(), dumped))
}

/// The tensors to write.
fn watched(arguments: &Fast, graph: &Graph) -> Vec<TensorId> {
    let computed = graph.nodes.iter().flat_map(|node| &node.outputs).chain(&graph.inputs);
    let wanted = |id: &&TensorId| arguments.dump.is_some() && dump::is_named(&arguments.tensors, &graph[**id].name);
    computed.filter(wanted).copied().collect()
}

/// A tensor as the model has it: its integers, unless it has none or real numbers are asked for.
fn named(graph: &Graph, id: TensorId, view: &FastView<'_>, real: bool) -> NamedTensor {
    let found = tensors::of_values(graph, id, view.real());
    let tensor = view.codes().filter(|_| !real).and_then(|_| described(view.tensor(), element(view.tensor().element)?));
    let Some((tensor, Quantization { scale, zero_point })) = tensor.and_then(|it| Some((it.clone(), it.quantization?)))
    else {
        return found;
    };
    let size = usize::try_from(tensor.element.bytes()).unwrap_or(1);
    let bytes = found.model.to_source(&view.bytes(), &tensor.shape, size);
    let affine = Some(Affine { scale, zero: zero_point.into() });
    NamedTensor { element: tensor.element, affine, bytes, ..found }
}

/// A tensor of the graph as packages describe it; its place has no meaning.
fn described(tensor: &cnnip_graph::Tensor, element: ElementType) -> Option<Tensor> {
    let shape = tensor.shape.dims().iter().map(|&extent| u32::try_from(extent).ok()).collect::<Option<_>>()?;
    let affine = tensor.quantization.as_ref().filter(|_| element != ElementType::Float32);
    let quantization = match affine.map(|found| (found.scales(), found.zero_points())) {
        Some((&[scale], &[zero])) => Some(Quantization { scale: scale.into(), zero_point: i32::try_from(zero).ok()? }),
        _ => None,
    };
    let place = Place { region: RegionId(0), offset: 0 };
    Some(Tensor { name: tensor.name.clone(), shape, element, quantization, place })
}

fn element(element: GraphElement) -> Option<ElementType> {
    match element {
        GraphElement::I8 => Some(ElementType::Int8),
        GraphElement::U8 => Some(ElementType::Uint8),
        GraphElement::I16 => Some(ElementType::Int16),
        GraphElement::I32 => Some(ElementType::Int32),
        GraphElement::I64 => Some(ElementType::Int64),
        _ => None,
    }
}
