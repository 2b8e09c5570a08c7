//! Reads an ONNX model, runs the standard passes, prints the graph and, with a second name, writes it again.
//!
//! `cargo run -p cnnip-graph --example onnx_passes -- MODEL.onnx [OUT.onnx]`

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::path::Path;

use cnnip_graph::onnx::{OnnxOptions, export_onnx, import_onnx_in};
use cnnip_graph::passes;

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [model, outputs @ ..] = names.as_slice() else { return Err("name a model".into()) };
    let folder = Path::new(model).parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let graph = import_onnx_in(std::fs::read(model)?.into(), folder, &OnnxOptions::default())?;
    let graph = passes::standard(graph, |_, _| {});
    graph.check()?;
    print!("{graph}");
    for id in passes::float_nodes(&graph) {
        println!("  floats: {}", graph[id].name);
    }
    if let Some(output) = outputs.first() {
        std::fs::write(output, export_onnx(&graph)?)?;
    }
    Ok(())
}
