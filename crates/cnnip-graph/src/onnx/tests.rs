//! Tests of the importer, on models made here.

use prost::Message;

use super::proto::{self, data_type};
use super::{OnnxOptions, import_onnx};
use crate::graph::Graph;
use crate::problem::Problems;

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

#[test]
fn a_residual_block_is_imported_with_its_names() {
    let graph = resnet_block().import().unwrap();
    println!("{graph}");
}
