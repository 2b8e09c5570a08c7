//! Tests of the importer, on models made here.

use prost::Message;

use super::proto::{self, data_type};
use super::{OnnxOptions, import_onnx};
use crate::graph::Graph;
use crate::op::{Op, Suppression};
use crate::problem::Problems;
use crate::tensor::ElementType;

/// A model by hand.
pub(crate) struct ModelBuilder {
    graph: proto::Graph,
    opset: i64,
}

/// An attribute's value.
pub(crate) enum Value<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'a str),
}

impl ModelBuilder {
    pub(crate) fn new(opset: i64) -> Self {
        Self { graph: proto::Graph { name: Some("test".to_owned()), ..Default::default() }, opset }
    }

    fn info(name: &str, element: i32, dims: &[i64]) -> proto::ValueInfo {
        let dim = |&value: &i64| match value {
            0 => proto::Dimension { dim_param: Some("N".to_owned()), ..Default::default() },
            value => proto::Dimension { dim_value: Some(value), ..Default::default() },
        };
        let shape = proto::TensorShape { dim: dims.iter().map(dim).collect() };
        let kind = proto::TensorType { elem_type: Some(element), shape: Some(shape) };
        proto::ValueInfo { name: Some(name.to_owned()), value_type: Some(proto::Type { tensor_type: Some(kind) }) }
    }

    /// A float input; an extent of 0 is the symbol `N`.
    pub(crate) fn input(self, name: &str, dims: &[i64]) -> Self {
        self.typed_input(name, data_type::FLOAT, dims)
    }

    pub(crate) fn typed_input(mut self, name: &str, element: i32, dims: &[i64]) -> Self {
        self.graph.input.push(Self::info(name, element, dims));
        self
    }

    pub(crate) fn output(mut self, name: &str) -> Self {
        self.graph.output.push(Self::info(name, data_type::FLOAT, &[]));
        self
    }

    /// A float constant that counts up in steps of 1/8.
    pub(crate) fn weights(self, name: &str, dims: &[i64]) -> Self {
        let count: i64 = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|value| f32::from(i16::try_from(value % 64).unwrap()) / 8.0).collect();
        self.floats(name, dims, &values)
    }

    pub(crate) fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.graph.initializer.push(proto::Tensor {
            name: Some(name.to_owned()),
            dims: dims.to_vec(),
            data_type: Some(data_type::FLOAT),
            raw_data: Some(raw.into()),
            ..Default::default()
        });
        self
    }

    pub(crate) fn integers(mut self, name: &str, dims: &[i64], values: &[i64]) -> Self {
        self.graph.initializer.push(proto::Tensor {
            name: Some(name.to_owned()),
            dims: dims.to_vec(),
            data_type: Some(data_type::INT64),
            int64_data: values.to_vec(),
            ..Default::default()
        });
        self
    }

    pub(crate) fn bytes(mut self, name: &str, element: i32, dims: &[i64], raw: &[u8]) -> Self {
        self.graph.initializer.push(proto::Tensor {
            name: Some(name.to_owned()),
            dims: dims.to_vec(),
            data_type: Some(element),
            raw_data: Some(raw.to_vec().into()),
            ..Default::default()
        });
        self
    }

    pub(crate) fn node(
        mut self,
        kind: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Value<'_>)],
    ) -> Self {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        let (domain, kind) = kind.rsplit_once('.').unwrap_or(("", kind));
        self.graph.node.push(proto::Node {
            input: names(inputs),
            output: names(outputs),
            op_type: Some(kind.to_owned()),
            domain: Some(domain.to_owned()),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            ..Default::default()
        });
        self
    }

    pub(crate) fn build(self) -> proto::Model {
        let sets = [("", self.opset), ("com.microsoft", 1)];
        proto::Model {
            ir_version: Some(8),
            graph: Some(Box::new(self.graph)),
            opset_import: sets
                .map(|(domain, version)| proto::OperatorSet { domain: Some(domain.to_owned()), version: Some(version) })
                .to_vec(),
            ..Default::default()
        }
    }

    pub(crate) fn import(self) -> Result<Graph, Problems> {
        import_onnx(&self.build().encode_to_vec(), &OnnxOptions::default())
    }
}

fn attribute(name: &str, value: &Value<'_>) -> proto::Attribute {
    let mut attribute = proto::Attribute { name: Some(name.to_owned()), ..Default::default() };
    match value {
        Value::Int(value) => attribute.i = Some(*value),
        Value::Float(value) => attribute.f = Some(*value),
        Value::Ints(list) => attribute.ints = list.to_vec(),
        Value::Text(text) => attribute.s = Some(text.as_bytes().to_vec().into()),
    }
    attribute
}

/// A block of ResNet as PyTorch exports it: convolutions with batch normalization, a shortcut, and the
/// head with its flattening computed from the shape.
pub(crate) fn resnet_block() -> ModelBuilder {
    let conv: &[(&str, Value<'_>)] = &[
        ("kernel_shape", Value::Ints(&[3, 3])),
        ("pads", Value::Ints(&[1, 1, 1, 1])),
        ("strides", Value::Ints(&[1, 1])),
    ];
    let mut model = ModelBuilder::new(17).input("image", &[0, 3, 8, 8]);
    for (name, from) in [("conv1", 3), ("conv2", 4)] {
        model = model.weights(&format!("{name}.w"), &[4, from, 3, 3]);
        for part in ["scale", "bias", "mean", "var"] {
            model = model.floats(&format!("{name}.{part}"), &[4], &[1.0, 2.0, 0.5, 0.25]);
        }
    }
    let bn = |name: &str| ["scale", "bias", "mean", "var"].map(|part| format!("{name}.{part}"));
    let (bn1, bn2) = (bn("conv1"), bn("conv2"));
    let with = |x: &'static str, list: &'static [String]| {
        [x].into_iter().chain(list.iter().map(String::as_str)).collect::<Vec<&str>>()
    };
    let (bn1, bn2): (&'static [String], &'static [String]) = (Vec::from(bn1).leak(), Vec::from(bn2).leak());
    model
        .node("Conv", &["image", "conv1.w"], &["c1"], conv)
        .node("BatchNormalization", &with("c1", bn1), &["b1"], &[])
        .node("Relu", &["b1"], &["r1"], &[])
        .node("Conv", &["r1", "conv2.w"], &["c2"], conv)
        .node("BatchNormalization", &with("c2", bn2), &["b2"], &[])
        .node("Add", &["b2", "r1"], &["sum"], &[])
        .node("Relu", &["sum"], &["r2"], &[])
        .node("GlobalAveragePool", &["r2"], &["pooled"], &[])
        .node("Shape", &["pooled"], &["shape"], &[])
        .integers("zero", &[], &[0])
        .integers("axis", &[1], &[0])
        .integers("rest", &[1], &[-1])
        .node("Gather", &["shape", "zero"], &["batch"], &[("axis", Value::Int(0))])
        .node("Unsqueeze", &["batch", "axis"], &["batches"], &[])
        .node("Concat", &["batches", "rest"], &["flat"], &[("axis", Value::Int(0))])
        .node("Reshape", &["pooled", "flat"], &["features"], &[])
        .weights("fc.w", &[10, 4])
        .weights("fc.b", &[10])
        .node("Gemm", &["features", "fc.w", "fc.b"], &["scores"], &[("transB", Value::Int(1))])
        .output("scores")
}

fn problems(model: ModelBuilder) -> String {
    model.import().unwrap_err().to_string()
}

#[test]
fn a_residual_block_is_imported_node_for_node() {
    let graph = resnet_block().import().unwrap();
    let ops: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    let block = ["Transpose", "Conv2d", "Transpose", "Mul", "Add"];
    let want = [&block[..], &["Relu"], &block, &["Add", "Relu", "Mean", "Reshape", "FullyConnected"]].concat();
    assert_eq!(ops, want);
    for name in ["image", "c1", "b1", "r1", "sum", "pooled", "features", "scores"] {
        assert!(graph.tensor_named(name).is_some(), "{name}");
    }
    assert_eq!(graph[graph.inputs[0]].shape.dims(), [1, 3, 8, 8], "the batch is 1");
}

#[test]
fn weights_share_the_file_and_are_put_in_order_otherwise() {
    let model = ModelBuilder::new(13)
        .input("x", &[1, 4])
        .weights("w", &[3, 4])
        .node("Gemm", &["x", "w"], &["y"], &[("transB", Value::Int(1))])
        .output("y");
    let graph = model.import().unwrap();
    let weights = &graph[graph.nodes[0].inputs[1]];
    assert_eq!((weights.name.as_str(), weights.shape.dims()), ("w", &[3, 4][..]));
}

#[test]
fn every_problem_is_listed_with_its_node() {
    let found = problems(
        ModelBuilder::new(13)
            .input("x", &[1, 3, 8, 8])
            .weights("w", &[4, 2, 3, 3])
            .weights("ok", &[4, 3, 3, 3])
            .node("Conv", &["x", "w"], &["a"], &[])
            .node("Unique", &["a"], &["b"], &[])
            .node("Conv", &["x", "ok"], &["c"], &[("colour", Value::Int(1))])
            .node("Conv", &["x", "ok"], &["d"], &[("auto_pad", Value::Text("MAYBE"))])
            .node("Relu", &["nothing"], &["e"], &[])
            .node("LeakyRelu", &["x"], &["f"], &[("alpha", Value::Float(f32::NAN))])
            .node("Loop", &["a"], &["g"], &[])
            .output("b"),
    );
    let want = [
        "node 0, Conv (a): weights of shape 4x3x3x2 do not fit 3 input channels in 1 groups",
        "node 1, Unique (b): operator Unique is not supported",
        "node 2, Conv (c): attribute colour is not supported",
        "node 3, Conv (d): auto_pad is \"MAYBE\"",
        "node 4, Relu (e): `nothing` is used before anything defines it",
        "node 5, LeakyRelu (f): alpha is NaN",
        "node 6, Loop (g): operator Loop is not supported",
    ];
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), want.len(), "{found}");
    for (line, want) in lines.iter().zip(want) {
        assert!(line.starts_with(want), "{line}\nnot {want}");
        assert!(line.ends_with(')'), "{line} has no hint");
    }
}

#[test]
fn weights_that_are_no_numbers_and_extents_that_are_no_numbers() {
    let nan = ModelBuilder::new(13)
        .input("x", &[1, 2])
        .floats("w", &[2, 2], &[1.0, f32::NAN, 0.0, 0.0])
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y");
    assert!(problems(nan).starts_with("node 0, MatMul (y): element 2 of the constant `y.transposed` is NaN"));
    let open = ModelBuilder::new(13).input("x", &[1, 0, 0]).node("Relu", &["x"], &["y"], &[]).output("y");
    let found = problems(open);
    assert!(found.contains("tensor 0 (x): extent `N` of axis 1 is not a number"), "{found}");
    assert!(found.contains("extent `N` of axis 2"), "{found}");
    let old = ModelBuilder::new(6).input("x", &[1]).node("Relu", &["x"], &["y"], &[]).output("y");
    assert!(problems(old).contains("operator set 6 of domain \"ai.onnx\" is not in 7 to 28"));
}

#[test]
fn operands_that_do_not_go_together() {
    let found = problems(
        ModelBuilder::new(13)
            .input("x", &[1, 4])
            .typed_input("q", data_type::INT8, &[1, 4])
            .floats("s", &[], &[0.5])
            .floats("t", &[], &[0.25])
            .bytes("z", data_type::INT8, &[], &[0])
            .node("Add", &["x", "q"], &["a"], &[])
            .node("Sigmoid", &["q"], &["b"], &[])
            .node("Relu", &["x"], &["x"], &[])
            .node("DequantizeLinear", &["q", "s", "z"], &["c"], &[])
            .node("DequantizeLinear", &["q", "t", "z"], &["d"], &[])
            .output("c"),
    );
    let want = [
        "node 0, Add (a): operands are float32 and int8",
        "node 1, Sigmoid (b): the input is int8",
        "node 2, Relu (x): `x` is defined twice",
        "node 4, DequantizeLinear (d): the input is read with scale 0.25 but has 0.5",
    ];
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), want.len(), "{found}");
    assert!(lines.iter().zip(want).all(|(line, want)| line.starts_with(want)), "{found}");
}

#[test]
fn extents_with_names_are_bound_by_options() {
    let model = ModelBuilder::new(13).input("x", &[0, 0]).node("Relu", &["x"], &["y"], &[]).output("y").build();
    let options = OnnxOptions { dims: [("N".to_owned(), 5)].into(), ..OnnxOptions::default() };
    let graph = import_onnx(&model.encode_to_vec(), &options).unwrap();
    assert_eq!(graph[graph.outputs[0]].shape.dims(), [5, 5]);
}

#[test]
fn cut_and_changed_files_are_refused_or_read() {
    let bytes = resnet_block().build().encode_to_vec();
    let options = OnnxOptions::default();
    for end in (0..bytes.len()).step_by(37) {
        assert!(import_onnx(&bytes[..end], &options).is_err(), "cut at {end}");
    }
    for at in (0..bytes.len()).step_by(11) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x5a;
        if let Ok(graph) = import_onnx(&changed, &options) {
            let graph = crate::passes::standard(graph, |_, _| {});
            graph.check().unwrap_or_else(|problems| panic!("byte {at}: {problems}"));
        }
    }
}

#[test]
fn a_small_file_cannot_ask_for_much_memory() {
    let huge = ModelBuilder::new(13)
        .input("x", &[1])
        .integers("shape", &[2], &[1 << 15, 1 << 15])
        .floats("one", &[1], &[1.0])
        .node("Expand", &["one", "shape"], &["y"], &[])
        .node("Mul", &["x", "y"], &["z"], &[])
        .output("z");
    assert!(problems(huge).contains("more than"));
}

#[test]
fn data_files_stay_in_the_folder_of_the_model() {
    let folder = std::env::temp_dir().join(format!("cnnip-onnx-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("weights.bin"), [0_u8; 20]).unwrap();
    let read = |location: &str, offset: &str| {
        let mut model = ModelBuilder::new(13).input("x", &[1, 2]).floats("w", &[2, 2], &[0.0; 4]);
        let tensor = &mut model.graph.initializer[0];
        tensor.raw_data = None;
        tensor.data_location = Some(1);
        let entry = |key: &str, value: &str| proto::Entry { key: Some(key.to_owned()), value: Some(value.to_owned()) };
        tensor.external_data = vec![entry("location", location), entry("offset", offset), entry("length", "16")];
        let bytes = model.node("MatMul", &["x", "w"], &["y"], &[]).output("y").build().encode_to_vec();
        super::import_onnx_in(bytes.into(), &folder, &OnnxOptions::default())
    };
    assert!(read("weights.bin", "4").is_ok());
    for (location, offset, want) in [
        ("weights.bin", "8", "bytes 8 to 24 of 20"),
        ("../weights.bin", "0", "leaves the folder"),
        ("/etc/passwd", "0", "leaves the folder"),
        ("nothing.bin", "0", "cannot be read"),
        ("weights.bin", "many", "no number"),
    ] {
        let found = read(location, offset).unwrap_err().to_string();
        assert!(found.contains(want), "{found}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A convolution with everything quantized, between quantization and dequantization.
pub(crate) fn qdq_conv() -> ModelBuilder {
    ModelBuilder::new(13)
        .input("x", &[1, 2, 4, 4])
        .floats("s", &[], &[0.5])
        .bytes("z", data_type::INT8, &[], &[3])
        .bytes("w", data_type::INT8, &[3, 2, 1, 1], &[1, 2, 3, 4, 5, 6])
        .floats("ws", &[3], &[0.25, 0.5, 1.0])
        .bytes("wz", data_type::INT8, &[3], &[0, 0, 0])
        .floats("bias", &[3], &[0.125, -0.25, 1.0])
        .node("QuantizeLinear", &["x", "s", "z"], &["xq"], &[])
        .node("DequantizeLinear", &["xq", "s", "z"], &["xr"], &[])
        .node("DequantizeLinear", &["w", "ws", "wz"], &["wr"], &[("axis", Value::Int(0))])
        .node("Conv", &["xr", "wr", "bias"], &["c"], &[])
        .node("Relu", &["c"], &["r"], &[])
        .node("QuantizeLinear", &["r", "s", "z"], &["rq"], &[])
        .node("DequantizeLinear", &["rq", "s", "z"], &["rr"], &[])
        .node("MaxPool", &["rr"], &["p"], &[("kernel_shape", Value::Ints(&[2, 2]))])
        .node("QuantizeLinear", &["p", "s", "z"], &["pq"], &[])
        .node("DequantizeLinear", &["pq", "s", "z"], &["y"], &[])
        .output("y")
}

#[test]
fn quantization_around_operators_becomes_their_own() {
    let graph = crate::passes::standard(qdq_conv().import().unwrap(), |_, _| {});
    graph.check().unwrap();
    let ops: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(ops, ["Quantize", "Transpose", "Conv2d", "MaxPool2d", "Transpose", "Dequantize"], "{graph}");
    let conv = &graph.nodes[2];
    let bias = &graph[conv.inputs[2]];
    assert_eq!(bias.data.as_ref().unwrap().integers(ElementType::I32), Some(vec![1, -1, 2]));
    assert_eq!(graph[conv.inputs[1]].quantization.as_ref().unwrap().scales(), [0.25, 0.5, 1.0]);
    assert_eq!(conv.name, "rq");
    assert_eq!(crate::passes::float_nodes(&graph).len(), 1);
}

#[test]
fn the_operators_of_the_runtime_are_quantized_at_once() {
    let quantized: &[&str] = &["s", "z"];
    let with = |list: &[&'static str]| [list, quantized].concat();
    let graph = ModelBuilder::new(13)
        .typed_input("x", data_type::INT8, &[1, 2, 4, 4])
        .floats("s", &[], &[0.5])
        .bytes("z", data_type::INT8, &[], &[3])
        .bytes("w", data_type::INT8, &[3, 2, 1, 1], &[1, 2, 3, 4, 5, 6])
        .bytes("wz", data_type::INT8, &[], &[0])
        .node("QLinearConv", &with(&["x", "s", "z", "w", "s", "wz"]), &["c"], &[])
        .node("com.microsoft.QLinearAdd", &with(&["c", "s", "z", "c", "s", "z"]), &["a"], &[])
        .node("com.microsoft.QLinearSigmoid", &with(&["a", "s", "z"]), &["y"], &[])
        .output("y")
        .import()
        .unwrap();
    let graph = crate::passes::standard(graph, |_, _| {});
    graph.check().unwrap();
    let ops: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(ops, ["Transpose", "Conv2d", "Add", "Logistic", "Transpose"], "{graph}");
    assert_eq!(graph[graph.outputs[0]].quantization, Some(crate::Quantization::per_tensor(0.5, 3)));
}

#[test]
fn what_is_written_reads_the_same() {
    let graph = crate::passes::standard(qdq_conv().import().unwrap(), |_, _| {});
    let bytes = super::export_onnx(&graph).unwrap();
    let again = crate::passes::standard(import_onnx(&bytes, &OnnxOptions::default()).unwrap(), |_, _| {});
    let ops = |graph: &Graph| graph.nodes.iter().map(|node| node.op.to_string()).collect::<Vec<_>>();
    assert_eq!(ops(&again), ops(&graph), "{again}");
    let float = crate::passes::standard(resnet_block().import().unwrap(), |_, _| {});
    let bytes = super::export_onnx(&float).unwrap();
    let again = crate::passes::standard(import_onnx(&bytes, &OnnxOptions::default()).unwrap(), |_, _| {});
    assert_eq!(ops(&again), ops(&float), "{again}");
}

/// ONNX Runtime, as it comes, refuses int8 networks of operator set 21, which 16 bits need.
#[test]
fn the_operator_set_is_the_one_that_the_types_need() {
    for (element, opset) in [(ElementType::I8, 20), (ElementType::I16, 21)] {
        let mut build = crate::GraphBuilder::new("one");
        let tensor = |name| {
            let tensor = crate::Tensor::new(name, crate::Shape::new([1, 4]).unwrap(), element);
            tensor.quantized(crate::Quantization::per_tensor(0.5, 0))
        };
        let x = build.input(tensor("x"));
        let y = build.node(Op::Relu, &[x], tensor("y"));
        build.output(y);
        let bytes = super::export_onnx(&build.finish().unwrap()).unwrap();
        let model = proto::Model::decode(bytes.as_slice()).unwrap();
        assert_eq!(model.opset_import[0].version, Some(opset), "{element}");
    }
}

#[test]
fn functions_between_conversions_work_on_integers() {
    let graph = ModelBuilder::new(13)
        .typed_input("x", data_type::INT8, &[1, 8])
        .floats("s", &[], &[0.5])
        .bytes("z", data_type::INT8, &[], &[3])
        .node("DequantizeLinear", &["x", "s", "z"], &["real"], &[])
        .node("HardSigmoid", &["real"], &["gate"], &[])
        .node("QuantizeLinear", &["gate", "s", "z"], &["y"], &[])
        .output("y")
        .import()
        .unwrap();
    let graph = crate::passes::standard(graph, |_, _| {});
    let ops: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(ops, ["HardSigmoid"], "{graph}");
}

#[test]
fn a_recurrent_layer_is_unrolled() {
    let graph = ModelBuilder::new(14)
        .input("x", &[3, 1, 2])
        .weights("w", &[1, 8, 2])
        .weights("r", &[1, 8, 2])
        .weights("b", &[1, 16])
        .node("LSTM", &["x", "w", "r", "b"], &["y", "h"], &[("hidden_size", Value::Int(2))])
        .output("y")
        .output("h")
        .import()
        .unwrap();
    let of = |name: &str| graph.nodes.iter().filter(|node| node.op.name() == name).count();
    assert_eq!(
        (of("FullyConnected"), of("Tanh"), of("Logistic")),
        (3, 6, 8),
        "nothing to multiply with before the first step, and nothing to forget in it"
    );
    assert_eq!(graph[graph.outputs[0]].shape.dims(), [3, 1, 1, 2]);
}

/// A model of NonMaxSuppression with these operands behind boxes and scores.
fn suppression(most: &[i64], iou: f32, score: f32, center: i64) -> ModelBuilder {
    let attributes = [("center_point_box", Value::Int(center))];
    ModelBuilder::new(11)
        .input("boxes", &[2, 6, 4])
        .input("scores", &[2, 3, 6])
        .integers("most", &[i64::try_from(most.len()).unwrap()], most)
        .floats("iou", &[], &[iou])
        .floats("score", &[1], &[score])
        .node("NonMaxSuppression", &["boxes", "scores", "most", "iou", "score"], &["kept"], &attributes)
        .output("kept")
}

#[test]
fn suppression_has_room_for_every_box_it_may_keep() {
    let rows = |most: i64| suppression(&[most], 0.5, 0.25, 1).import().unwrap();
    let graph = rows(2);
    let kept = &graph[graph.outputs[0]];
    assert_eq!((kept.shape.dims(), kept.element), (&[12, 3][..], ElementType::I64));
    let want = Suppression { center: true, per_class: 2, iou: 0.5, score: Some(0.25) };
    assert_eq!(graph.nodes[0].op, Op::NonMaxSuppression(want));
    let all = rows(i64::MAX);
    assert_eq!(all[all.outputs[0]].shape.dims(), [36, 3], "no more than there are boxes");
    let without = suppression(&[1], 1.0, f32::NEG_INFINITY, 0).import().unwrap();
    let want = Suppression { center: false, per_class: 1, iou: 1.0, score: None };
    assert_eq!(without.nodes[0].op, Op::NonMaxSuppression(want));
}

#[test]
fn suppression_of_nothing_is_a_problem() {
    let cases = [
        (suppression(&[0], 0.5, 0.0, 0), "max_output_boxes_per_class is 0"),
        (suppression(&[-3], 0.5, 0.0, 0), "max_output_boxes_per_class is -3"),
        (suppression(&[1, 2], 0.5, 0.0, 0), "elements of max_output_boxes_per_class is 2"),
        (suppression(&[1], 1.5, 0.0, 0), "iou_threshold is 1.5"),
        (suppression(&[1], f32::NAN, 0.0, 0), "iou_threshold is NaN"),
        (suppression(&[1], 0.5, f32::NAN, 0), "score_threshold is NaN"),
        (suppression(&[1], 0.5, 0.0, 2), "center_point_box is 2"),
    ];
    for (model, want) in cases {
        let found = problems(model);
        assert!(found.starts_with(&format!("node 0, NonMaxSuppression (kept): {want} (")), "{found}");
    }
    let of = |boxes: &[i64], scores: &[i64]| {
        let model = ModelBuilder::new(11).input("b", boxes).input("s", scores).integers("most", &[], &[9]);
        problems(model.node("NonMaxSuppression", &["b", "s", "most"], &["kept"], &[]).output("kept"))
    };
    assert!(of(&[6, 4], &[1, 2, 6]).contains("the boxes has shape 6x4, expected 3 dimensions"));
    assert!(of(&[1, 6, 4], &[2, 6]).contains("the scores has shape 2x6, expected 3 dimensions"));
    assert!(of(&[1, 6, 5], &[1, 2, 6]).contains("input 0 has shape 1x6x5, expected 1x6x4"));
    assert!(of(&[1, 6, 4], &[1, 2, 5]).contains("input 1 has shape 1x2x5, expected 1x2x6"));
    let computed = ModelBuilder::new(11).input("b", &[1, 6, 4]).input("s", &[1, 2, 6]);
    let computed = computed.typed_input("most", data_type::INT64, &[1]);
    let found = problems(computed.node("NonMaxSuppression", &["b", "s", "most"], &["kept"], &[]).output("kept"));
    assert!(found.contains("max_output_boxes_per_class") && found.contains("not a constant"), "{found}");
}
