//! Model files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cnnip_graph::onnx::{OnnxOptions, import_onnx_in};
use cnnip_graph::tflite::import_tflite;
use cnnip_graph::{ElementType, Graph, passes};

use crate::error::Error;
use crate::files;

/// Largest model file: the formats' own limit.
const MAX_MODEL_BYTES: u64 = 2 << 30;
/// What ONNX files begin with: the key of the version of their format.
const ONNX_FIRST_BYTE: u8 = 0x08;

/// What an importer of ONNX models is told, and who watches the passes.
#[derive(Default)]
pub(crate) struct Reading {
    /// Numbers for extents with names.
    pub(crate) dims: BTreeMap<String, usize>,
    /// Folder for the graph after every pass.
    pub(crate) dump: Option<PathBuf>,
}

/// What a model file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Tflite,
    Onnx,
}

impl Format {
    /// ONNX if it is called so or begins so and has not the identifier of TFLite.
    fn of(path: &Path, bytes: &[u8]) -> Self {
        let named_onnx = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
        if !named_onnx && bytes.first() != Some(&ONNX_FIRST_BYTE) || bytes.get(4..8) == Some(b"TFL3") {
            return Self::Tflite;
        }
        Self::Onnx
    }
}

/// Reads a model. ONNX models and those of floats go through the standard passes.
pub(crate) fn read(path: &Path, reading: &Reading) -> Result<Graph, Error> {
    read_with_format(path, reading).map(|(graph, _)| graph)
}

/// Reads a model as [`read`] does, and says what it was.
pub(crate) fn read_with_format(path: &Path, reading: &Reading) -> Result<(Graph, Format), Error> {
    let bytes = files::read(path, MAX_MODEL_BYTES)?;
    let format = Format::of(path, &bytes);
    parse(path, reading, bytes, format).map(|graph| (graph, format))
}

fn parse(path: &Path, reading: &Reading, bytes: Vec<u8>, format: Format) -> Result<Graph, Error> {
    let failed = |problems| Error::Model { path: path.into(), problems };
    if format == Format::Tflite {
        let graph = import_tflite(&bytes).map_err(failed)?;
        return if is_float(&graph) { prepared(graph, reading) } else { dumped(graph, reading) };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let options = OnnxOptions { dims: reading.dims.clone(), ..OnnxOptions::default() };
    prepared(import_onnx_in(bytes.into(), folder, &options).map_err(failed)?, reading)
}

/// The graph after the standard passes.
fn prepared(graph: Graph, reading: &Reading) -> Result<Graph, Error> {
    let Some(folder) = &reading.dump else { return Ok(passes::standard(graph, |_, _| {})) };
    let mut number = 0;
    let mut result = dump(folder, number, "import", &graph);
    let graph = passes::standard(graph, |name, graph| {
        number += 1;
        if result.is_ok() {
            result = dump(folder, number, name, graph);
        }
    });
    result.map(|()| graph)
}

/// The graph as it was imported.
fn dumped(graph: Graph, reading: &Reading) -> Result<Graph, Error> {
    reading.dump.as_ref().map_or(Ok(()), |folder| dump(folder, 0, "import", &graph))?;
    Ok(graph)
}

/// Writes a graph as text and in the Graphviz language.
fn dump(folder: &Path, number: usize, name: &str, graph: &Graph) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|why| Error::Write { path: folder.into(), why })?;
    for (ending, text) in [("txt", graph.to_text()), ("dot", graph.to_dot())] {
        let path = folder.join(format!("{number}-{name}.{ending}"));
        files::write(&path, |out| out.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// Whether a model is to be quantized: nothing that it computes has a scale, and some of it are real numbers.
pub(crate) fn is_float(graph: &Graph) -> bool {
    let mut activations = graph.tensors.iter().filter(|tensor| !tensor.is_constant());
    let quantized = activations.clone().any(|tensor| tensor.quantization.is_some());
    !quantized && activations.any(|tensor| tensor.element == ElementType::F32)
}
