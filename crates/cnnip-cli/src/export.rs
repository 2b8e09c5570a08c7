//! `cnnip export`: the pseudo-quantized network as an ONNX model for other frameworks.

use std::path::PathBuf;

use clap::Args;
use cnnip_graph::onnx::export_onnx;
use serde_json::json;

use crate::error::Error;
use crate::files;
use crate::model::{self, Reading};
use crate::quantize::{self, Quantize};
use crate::stream::Streams;

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Model: quantized, or float; a float one is quantized with --calib or --ranges, else written as it is
    model: PathBuf,
    /// The ONNX model to write: float operators between QuantizeLinear and DequantizeLinear
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,
    #[command(flatten)]
    quantize: Quantize,
    /// Print results and errors as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads a model, quantizes it if that is asked for, and writes it.
pub(crate) fn run(arguments: &Export, streams: &mut Streams<'_>) -> Result<(), Error> {
    let path = &arguments.model;
    files::distinct(path, &arguments.output)?;
    let graph = model::read(path, &Reading::default())?;
    let as_it_is = model::is_float(&graph) && !arguments.quantize.is_given();
    let graph = if as_it_is { graph } else { quantize::quantized(path, graph, &arguments.quantize, streams)? };
    let model = export_onnx(&graph).map_err(|why| Error::Analysis {
        kind: "model",
        message: format!("{}: {why}", path.display()),
        hint: "a network without this operator can be written".to_owned(),
    })?;
    files::write(&arguments.output, |out| out.write_all(&model))?;
    if arguments.json {
        streams.data(&json!({ "nodes": graph.nodes.len(), "bytes": model.len() }));
    } else {
        let (nodes, bytes) = (graph.nodes.len(), model.len());
        streams
            .say(format_args!("{}: {nodes} nodes before pairs were added, {bytes} bytes", arguments.output.display()));
    }
    Ok(())
}
