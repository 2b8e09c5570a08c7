//! Runs ONNX models through importer, passes and reference evaluator, for `tools/onnx_backend_tests.py`.
//!
//! Each line of standard input is `MODEL PASSES FOLDER`: a model, `raw` or `standard`, and a folder with the inputs as
//! `input_0.bin`, … in the model's order, little-endian float64 whatever the type. The outputs are written beside them as
//! `output_0.bin`, …, and one line answers: `ok`, then per output its type, or `error` and why. With `--operators` it lists
//! the operators that are read.

#![expect(clippy::print_stdout, reason = "the answers are for the tool that started it")]

use std::error::Error;
use std::io::BufRead;
use std::path::Path;

use cnnip_float::{Elements, Ties, found, reference};
use cnnip_graph::Shape;
use cnnip_graph::onnx::{OnnxOptions, import_onnx};
use cnnip_graph::passes;

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--operators") {
        cnnip_graph::onnx::operators().for_each(|name| println!("{name}"));
        return Ok(());
    }
    for line in std::io::stdin().lock().lines() {
        match answer(&line?) {
            Ok(types) => println!("ok {}", types.join(" ")),
            Err(why) => println!("error {}", why.to_string().replace('\n', "; ")),
        }
    }
    Ok(())
}

fn answer(line: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let [model, how, folder] = line.split('\t').collect::<Vec<_>>()[..] else { return Err("three words".into()) };
    let mut graph = import_onnx(&std::fs::read(model)?, &OnnxOptions::default())?;
    if how == "standard" {
        graph = passes::standard(graph, |_, _| {});
        graph.check()?;
    }
    let folder = Path::new(folder);
    let mut inputs = Vec::new();
    for (number, &id) in graph.inputs.iter().enumerate() {
        let bytes = std::fs::read(folder.join(format!("input_{number}.bin")))?;
        let values = bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
        let whole = graph[id].element.range().is_some();
        inputs.push(if whole {
            Elements::Integer(values.map(integer).collect())
        } else {
            Elements::Real(values.map(real).collect())
        });
    }
    let values = reference::evaluate(&graph, &inputs, Ties::Even)?;
    let mut types = Vec::new();
    for (number, &id) in graph.outputs.iter().enumerate() {
        let mut values: Vec<f64> = match values.get(id).ok_or("no value")? {
            Elements::Real(values) => values.iter().map(|&value| value.into()).collect(),
            Elements::Integer(values) => values.iter().map(|&value| wide(value)).collect(),
        };
        // A list has the rows that were found.
        let count = found(&graph, id, &values.iter().map(|&value| real(value)).collect::<Vec<f32>>()).len();
        let mut dims = graph[id].shape.dims().to_vec();
        if let Some(rows) = dims.first_mut().filter(|_| count != values.len()) {
            *rows = *rows * count / values.len();
        }
        values.truncate(count);
        let bytes: Vec<u8> = values.into_iter().flat_map(f64::to_le_bytes).collect();
        std::fs::write(folder.join(format!("output_{number}.bin")), bytes)?;
        types.push(format!("{}:{}", graph[id].element, Shape::new(dims)?));
    }
    Ok(types)
}

#[expect(clippy::cast_possible_truncation, reason = "whole numbers as they were written")]
fn integer(value: f64) -> i64 {
    value as i64
}

#[expect(clippy::cast_possible_truncation, reason = "binary32 numbers as they were written")]
fn real(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_precision_loss, reason = "the tests' integers are far below 2^53")]
fn wide(value: i64) -> f64 {
    value as f64
}
