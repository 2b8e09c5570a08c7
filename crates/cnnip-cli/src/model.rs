//! Model files.

use std::path::{Path, PathBuf};

use cnnip_graph::tflite::import_tflite;
use cnnip_graph::{ElementType, Graph};

use crate::error::Error;
use crate::files;

/// Largest model file: the formats' own limit.
const MAX_MODEL_BYTES: u64 = 2 << 30;

/// Reads a model.
pub(crate) fn read(path: &Path) -> Result<Graph, Error> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        return Err(Error::ModelFormat { path: PathBuf::from(path) });
    }
    let bytes = files::read(path, MAX_MODEL_BYTES)?;
    import_tflite(&bytes).map_err(|problems| Error::Model { path: path.into(), problems })
}

/// Whether a model is to be quantized: no activation has a scale, and some are real numbers.
pub(crate) fn is_float(graph: &Graph) -> bool {
    let mut activations = graph.tensors.iter().filter(|tensor| !tensor.is_constant());
    let quantized = graph.tensors.iter().any(|tensor| tensor.quantization.is_some() && !tensor.is_constant());
    !quantized && activations.any(|tensor| tensor.element == ElementType::F32)
}
