//! ONNX Runtime as an engine against the embedded one. Needs its library: `ORT_DYLIB_PATH=FILE cargo test -p cnnip-float --features ort`.
#![cfg(feature = "ort")]

use std::path::Path;
use std::sync::Arc;

use cnnip_float::{Embedded, Engine, Grid, Ort, Ties};
use cnnip_graph::tflite::import_tflite;
use cnnip_graph::{Graph, TensorId};

/// The engine; says so where there is no library.
#[expect(clippy::print_stderr, reason = "a skipped test must show")]
fn engine() -> Option<Ort> {
    let engine = Ort::load(None);
    if let Err(why) = &engine {
        eprintln!("skipped: {why}");
    }
    engine.ok()
}

fn model(name: &str) -> Arc<Graph> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits").join(name);
    Arc::new(import_tflite(&std::fs::read(path).unwrap()).unwrap())
}

/// What an engine shows of some tensors, and its first output.
fn run(engine: &dyn Engine, graph: &Arc<Graph>, watched: &[TensorId]) -> (Vec<(TensorId, Vec<f32>)>, Vec<f32>) {
    let mut session = engine.prepare(Arc::clone(graph), watched).unwrap().session();
    let input: Vec<f32> = (0..64_u8).map(|at| f32::from(at % 9) / 9.0).collect();
    let mut seen = vec![];
    session.run(&[&input], &mut |id, values| seen.push((id, values.to_vec()))).unwrap();
    (seen, session.output(0).unwrap().to_vec())
}

#[test]
fn every_tensor_is_shown_and_near() {
    let Some(ort) = engine() else { return };
    for name in ["digits.tflite", "digits_float.tflite"] {
        let graph = model(name);
        let all: Vec<TensorId> = graph.nodes.iter().map(|node| node.outputs[0]).collect();
        let (found, output) = run(&ort, &graph, &all);
        let (want, embedded) = run(&Embedded::default(), &graph, &all);
        assert_eq!(found.len(), all.len() + 1, "{name}: the input as well");
        for (id, values) in &found {
            let (_, want) = want.iter().find(|(shown, _)| shown == id).unwrap();
            match Grid::of(&graph[*id]) {
                Some(grid) => {
                    let codes = |values: &[f32]| grid.quantize_all(values, Ties::Even);
                    let steps = codes(values).iter().zip(codes(want)).map(|(a, b)| (a - b).abs()).max();
                    assert!(steps <= Some(1), "{name}, {}: {steps:?} steps", graph[*id].name);
                }
                None => {
                    assert!(values.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4), "{name}, {}", graph[*id].name)
                }
            }
        }
        let (_, alone) = run(&ort, &graph, &[]);
        assert_eq!(alone.len(), embedded.len());
        assert!(alone.iter().zip(&output).all(|(a, b)| (a - b).abs() < 0.01), "{name}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let Some(ort) = engine() else { return };
    let mut session = ort.prepare(model("digits.tflite"), &[]).unwrap().session();
    assert!(session.run(&[&[0.0; 3]], &mut |_, _| {}).is_err());
    assert!(session.output(0).unwrap().is_empty(), "nothing has run");
}
