//! Models made by others: they import, and say what they are known to be.
//!
//! They are kept outside the project, in `../shared/data` as seen from its root.

use std::path::{Path, PathBuf};

use cnnip_graph::onnx::{OnnxOptions, export_onnx, import_onnx};
use cnnip_graph::passes;
use cnnip_graph::tflite::{export_tflite, import_tflite};
use cnnip_graph::{ElementType, Graph, Op, Padding, Quantization, TensorId};

/// The folder with the models; says so where there is none.
#[expect(clippy::print_stderr, reason = "a skipped test must show")]
fn data() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|above| above.join("shared/data")).find(|data| data.is_dir());
    if found.is_none() {
        eprintln!("skipped: ../shared/data not found");
    }
    found
}

fn import(path: &Path) -> Graph {
    let bytes = std::fs::read(path).unwrap();
    import_tflite(&bytes).unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()))
}

/// What is known of a model: file, nodes, input and output as text.
const KNOWN: [(&str, usize, &str, &str); 5] = [
    ("pretrainedResnet_quant.tflite", 16, "int8 1x32x32x3", "int8 1x10"),
    ("vww_96_int8.tflite", 31, "int8 1x96x96x3", "int8 1x2"),
    ("kws_ref_model.tflite", 13, "int8 1x49x10x1", "int8 1x12"),
    ("ad01_int8.tflite", 10, "int8 1x640", "int8 1x640"),
    ("mobilenet_v2_quantized_1x3x224x224.tflite", 84, "int8 1x3x224x224", "int8 1x1000"),
];

#[test]
fn known_models_are_what_they_are_known_to_be() {
    let Some(data) = data() else { return };
    for (file, nodes, input, output) in KNOWN {
        let graph = import(&data.join(file));
        let text = |id: TensorId| format!("{} {}", graph[id].element, graph[id].shape);
        assert_eq!(graph.nodes.len(), nodes, "{file}:\n{graph}");
        assert_eq!(text(graph.inputs[0]), input, "{file}");
        assert_eq!(text(graph.outputs[0]), output, "{file}");
    }
}

#[test]
fn passes_keep_models_well_formed_and_what_is_written_as_onnx_is_read() {
    let Some(data) = data() else { return };
    let float = ["vww_96_float", "pretrainedResnet_float", "kws_ref_model_float32", "ad01_fp32"].map(|name| (name, 0));
    for (name, exchanges) in float.into_iter().chain([("mobilenet_v2_quantized_1x3x224x224", 1)]) {
        let graph = passes::standard(import(&data.join(name).with_extension("tflite")), |pass, graph| {
            assert_eq!(graph.check(), Ok(()), "{name} after {pass}");
        });
        let again = import_onnx(&export_onnx(&graph).unwrap(), &OnnxOptions::default()).unwrap();
        let again = passes::standard(again, |_, _| {});
        let found = again.nodes.iter().filter(|node| matches!(node.op, Op::Transpose { .. })).count();
        assert_eq!(found, exchanges, "{name}:\n{again}");
    }
}

#[test]
fn every_model_imports_checks_and_survives_a_round_trip() {
    let Some(data) = data() else { return };
    let files = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let mut models = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "tflite")) {
        let graph = import(&path);
        assert_eq!(graph.check(), Ok(()), "{}", path.display());
        assert!(graph.to_dot().ends_with("}\n"));
        let mut again = import_tflite(&export_tflite(&graph).unwrap()).unwrap();
        again.tensors.truncate(graph.tensors.len());
        assert_eq!(again, graph, "{}", path.display());
        models += 1;
    }
    assert!(models > 0, "the folder holds no model");
}

/// Its per-tensor quantization names dimensions that the tensors do not have.
#[test]
fn a_quantized_dimension_without_channels_is_ignored() {
    let Some(data) = data() else { return };
    let graph = import(&data.join("person_detect.tflite"));
    let input = &graph[graph.inputs[0]];
    assert_eq!((input.element, input.shape.dims()), (ElementType::I8, &[1, 96, 96, 1][..]));
    assert!(matches!(input.quantization, Some(Quantization::PerTensor { .. })));
}

#[test]
fn padding_is_explicit_and_weights_keep_their_layout() {
    let Some(data) = data() else { return };
    let graph = import(&data.join("vww_96_int8.tflite"));
    let first = graph.nodes.iter().find(|node| matches!(node.op, Op::Conv2d(_))).unwrap();
    let Op::Conv2d(conv) = &first.op else { unreachable!("found as a convolution") };
    // 96 rows, stride 2, kernel 3: one row of padding, below.
    assert_eq!(conv.padding, Padding { top: 0, bottom: 1, left: 0, right: 1 });
    let weights = &graph[first.inputs[1]];
    assert_eq!(weights.shape.dims(), [8, 3, 3, 3]);
    assert_eq!(weights.quantization.as_ref().and_then(Quantization::axis), Some(0));
}
