//! The importer: constants, inputs, then nodes in their order; all problems are collected.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use bytes::Bytes;
use prost::Message;

use super::build::Build;
use super::call::Call;
use super::constant::{constant, element};
use super::external::Files;
use super::operators::{self, Operator};
use super::{proto, wire};
use crate::graph::{Graph, TensorId};
use crate::op::Op;
use crate::passes;
use crate::problem::{Place, Problems, Rule, quote};
use crate::tensor::{Shape, Source, Tensor};
use crate::unique::Budget;

/// Oldest and newest version of the standard operators.
const OPSETS: (i64, i64) = (7, 28);

/// How a model is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxOptions {
    /// What an unknown first extent of an input becomes.
    pub batch: usize,
    /// What extents with a name become.
    pub dims: BTreeMap<String, usize>,
}

impl Default for OnnxOptions {
    /// A batch of 1.
    fn default() -> Self {
        Self { batch: 1, dims: BTreeMap::new() }
    }
}

/// Reads an ONNX model. The bytes may come from anywhere; data in other files is a problem.
///
/// The graph is as the file has it, node for node: channels-last operators stand between
/// transpositions, which [`passes::standard`] removes.
///
/// ```
/// # use cnnip_graph::onnx::{import_onnx, OnnxOptions};
/// let problems = import_onnx(b"no model", &OnnxOptions::default()).unwrap_err();
/// assert!(problems.to_string().starts_with("model: the file is no ONNX model"));
/// ```
///
/// # Errors
/// All problems of the model at once. Nodes that depend on one with a problem are not examined,
/// but for whether their operators are supported.
pub fn import_onnx(bytes: &[u8], options: &OnnxOptions) -> Result<Graph, Problems> {
    read(Bytes::copy_from_slice(bytes), options, &Files { folder: None })
}

/// As [`import_onnx`]; constants share `bytes`, and data files are looked for in `folder`.
///
/// # Errors
/// As [`import_onnx`]; a data file outside `folder`, missing or too short is a problem.
pub fn import_onnx_in(bytes: Bytes, folder: &Path, options: &OnnxOptions) -> Result<Graph, Problems> {
    read(bytes, options, &Files { folder: Some(folder) })
}

fn read(bytes: Bytes, options: &OnnxOptions, files: &Files<'_>) -> Result<Graph, Problems> {
    let mut problems = Problems::default();
    let length = bytes.len();
    let graph = wire::check(&bytes)
        .and_then(|()| proto::Model::decode(bytes).map_err(|error| Rule::Protobuf { why: quote(&error.to_string()) }))
        .and_then(|model| Importer::new(&model, length, options, files).run(&mut problems));
    match graph {
        Ok(graph) if problems.is_empty() => {
            graph.check()?;
            Ok(graph)
        }
        Ok(_) => Err(problems),
        Err(rule) => {
            problems.push(Place::Model, rule);
            Err(problems)
        }
    }
}

/// What the length of the file justifies: constants are kept in a second order of their axes, and a
/// node becomes several.
fn budget(length: usize) -> Budget {
    Budget::new(length.saturating_mul(64).saturating_add(1 << 24))
}

struct Importer<'a> {
    model: &'a proto::Model,
    options: &'a OnnxOptions,
    files: &'a Files<'a>,
    build: Build,
    /// What every name stands for; `None` for a value with a problem.
    values: HashMap<&'a str, Option<TensorId>>,
}

impl<'a> Importer<'a> {
    fn new(model: &'a proto::Model, length: usize, options: &'a OnnxOptions, files: &'a Files<'a>) -> Self {
        let name = model.graph.as_ref().and_then(|graph| graph.name.clone()).unwrap_or_default();
        let build = Build::new(name, budget(length));
        Self { model, options, files, build, values: HashMap::new() }
    }

    /// Reads everything; an error is one that ends the import.
    fn run(mut self, problems: &mut Problems) -> Result<Graph, Rule> {
        let graph = self.model.graph.as_deref().ok_or(Rule::Protobuf { why: "it has no graph".to_owned() })?;
        self.opsets(problems);
        if !graph.sparse_initializer.is_empty() {
            problems.push(Place::Model, Rule::Sparse);
        }
        self.constants(graph, problems)?;
        self.inputs(graph, problems)?;
        for (index, node) in graph.node.iter().enumerate() {
            self.node(index, node, problems)?;
        }
        self.outputs(graph, problems)?;
        self.fused(graph);
        Ok(passes::dead_code(self.build.graph))
    }

    /// Results of nodes that another tensor stands for, and those that are constant.
    fn fused(&mut self, graph: &proto::Graph) {
        for name in graph.node.iter().flat_map(|node| &node.output) {
            let Some(&Some(id)) = self.values.get(name.as_str()) else { continue };
            let tensor = self.build.get(id);
            if tensor.name != *name {
                let fused = Tensor { name: name.clone(), data: None, source: Source::Same, ..tensor.clone() };
                self.build.graph.fused.push(fused);
            }
        }
    }

    /// The version of the operators of `domain`.
    fn opset(&self, domain: &str) -> i64 {
        let listed = self.model.opset_import.iter().find(|set| same_domain(set.domain.as_deref(), domain));
        listed.and_then(|set| set.version).unwrap_or(1)
    }

    fn opsets(&self, problems: &mut Problems) {
        let (found, (least, newest)) = (self.opset(""), OPSETS);
        if !(least..=newest).contains(&found) {
            problems.push(Place::Model, Rule::OperatorSet { domain: "ai.onnx".to_owned(), found, least, newest });
        }
    }

    fn define(&mut self, name: &'a str, value: Option<TensorId>) -> Result<(), Rule> {
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(Rule::DefinedTwice { name: quote(name) }),
        }
    }

    fn constants(&mut self, graph: &'a proto::Graph, problems: &mut Problems) -> Result<(), Rule> {
        for (index, source) in graph.initializer.iter().enumerate() {
            let name = source.name.as_deref().unwrap_or_default();
            let tensor = constant(source, name, self.files).and_then(|tensor| self.build.tensor(tensor));
            let value = kept(tensor, problems, || Place::tensor(index, name))?;
            kept(self.define(name, value), problems, || Place::tensor(index, name))?;
        }
        Ok(())
    }

    fn inputs(&mut self, graph: &'a proto::Graph, problems: &mut Problems) -> Result<(), Rule> {
        let constants: HashSet<&str> = graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
        let real = graph.input.iter().filter(|info| !constants.contains(info.name.as_deref().unwrap_or_default()));
        for (index, info) in real.enumerate() {
            let name = info.name.as_deref().unwrap_or_default();
            let place = || Place::tensor(index, name);
            let tensor = self.typed(info, problems, &place).and_then(|tensor| self.build.tensor(tensor));
            let value = kept(tensor, problems, place)?;
            kept(self.define(name, value), problems, place)?;
            self.build.graph.inputs.extend(value);
        }
        Ok(())
    }

    /// An input of the graph: all problems of its shape, and the last as the result.
    fn typed(
        &self,
        info: &proto::ValueInfo,
        problems: &mut Problems,
        place: &dyn Fn() -> Place,
    ) -> Result<Tensor, Rule> {
        let kind = info.value_type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
        let kind = kind.ok_or(Rule::ElementType { code: 0 })?;
        let element = element(kind.elem_type.unwrap_or(0))?;
        let shape = kind.shape.as_ref().ok_or(Rule::SymbolicDimension { axis: 0, name: String::new() })?;
        let mut dims = Vec::new();
        let mut wrong = None;
        for (axis, dim) in shape.dim.iter().enumerate() {
            match self.extent(axis, dim) {
                Ok(extent) => dims.push(extent),
                Err(rule) => {
                    wrong.replace(rule).into_iter().for_each(|rule| problems.push(place(), rule));
                }
            }
        }
        wrong.map_or(Ok(()), Err)?;
        Ok(Tensor::new(info.name.as_deref().unwrap_or_default(), Shape::new(dims)?, element))
    }

    fn extent(&self, axis: usize, dim: &proto::Dimension) -> Result<usize, Rule> {
        let name = dim.dim_param.as_deref().unwrap_or_default();
        let value = match (dim.dim_value, self.options.dims.get(name)) {
            (Some(value), _) => usize::try_from(value).ok().filter(|&value| value > 0),
            (None, Some(&bound)) => Some(bound),
            (None, None) if axis == 0 => Some(self.options.batch),
            (None, None) => return Err(Rule::SymbolicDimension { axis, name: quote(name) }),
        };
        value.ok_or(Rule::Dimension { axis, value: dim.dim_value.unwrap_or(0) })
    }

    fn node(&mut self, index: usize, node: &'a proto::Node, problems: &mut Problems) -> Result<(), Rule> {
        let kind = node.op_type.as_deref().unwrap_or_default();
        let first = node.output.first().map(String::as_str).unwrap_or_default();
        let shown = node.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(first);
        let place = || Place::node(index, shown, kind);
        let made = operators::find(node.domain.as_deref().unwrap_or_default(), kind)
            .ok_or_else(|| Rule::UnsupportedOperator { name: quote(&full_name(node)) })
            .and_then(|operator| self.translate(operator, node, first));
        let made = kept(made, problems, place)?.flatten();
        for (slot, name) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let value = made.as_ref().and_then(|made| made.get(slot).copied());
            kept(self.define(name, value), problems, place)?;
        }
        Ok(())
    }

    /// What a node gives; `None` if an operand has a problem of its own.
    fn translate(
        &mut self,
        operator: &Operator,
        node: &'a proto::Node,
        name: &str,
    ) -> Result<Option<Vec<TensorId>>, Rule> {
        let unknown = |attribute: &&proto::Attribute| {
            !operator.attributes.contains(&attribute.name.as_deref().unwrap_or_default())
        };
        if let Some(attribute) = node.attribute.iter().find(unknown) {
            return Err(Rule::UnknownAttribute { name: quote(attribute.name.as_deref().unwrap_or_default()) });
        }
        let Some(inputs) = self.operands(node)? else { return Ok(None) };
        let (least, most) = operator.inputs;
        if !(least..=most).contains(&inputs.len()) {
            return Err(Rule::InputCount { found: inputs.len(), least, most });
        }
        let opset = self.opset(operator.domain);
        let before = self.build.graph.tensors.len();
        let mut call = Call { build: &mut self.build, node, opset, inputs, name: name.to_owned(), files: self.files };
        let made = (operator.read)(&mut call)?;
        let asked = node.output.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        if asked > made.len() {
            return Err(Rule::OutputCount { found: asked });
        }
        self.name(node, &made, before);
        Ok(Some(made))
    }

    /// Tensors that a node has made get the names of its outputs.
    fn name(&mut self, node: &proto::Node, made: &[TensorId], before: usize) {
        for (id, name) in made.iter().zip(&node.output).filter(|(_, name)| !name.is_empty()) {
            if id.index() >= before {
                self.build.rename(*id, name);
            }
        }
    }

    /// The operands of a node without those left out at the end; `None` if one has a problem of its own.
    fn operands(&self, node: &proto::Node) -> Result<Option<Vec<Option<TensorId>>>, Rule> {
        let mut operands = Vec::new();
        let mut whole = true;
        for name in &node.input {
            match self.values.get(name.as_str()) {
                _ if name.is_empty() => operands.push(None),
                None => return Err(Rule::Undefined { name: quote(name) }),
                Some(None) => whole = false,
                Some(&id) => operands.push(id),
            }
        }
        while operands.last() == Some(&None) {
            operands.pop();
        }
        Ok(whole.then_some(operands))
    }

    /// Every output gets a tensor of its own, with its name.
    fn outputs(&mut self, graph: &'a proto::Graph, problems: &mut Problems) -> Result<(), Rule> {
        for (index, info) in graph.output.iter().enumerate() {
            let name = info.name.as_deref().unwrap_or_default();
            let value = match self.values.get(name) {
                None => Err(Rule::Undefined { name: quote(name) }),
                Some(None) => continue,
                Some(&Some(id)) => self.output(name, id),
            };
            let id = kept(value, problems, || Place::tensor(index, name))?;
            self.build.graph.outputs.extend(id);
        }
        for (rule, ends) in [
            (Rule::NoInputs, self.build.graph.inputs.is_empty() && graph.input.is_empty()),
            (Rule::NoOutputs, graph.output.is_empty()),
        ] {
            if ends {
                problems.push(Place::Model, rule);
            }
        }
        Ok(())
    }

    /// The tensor of an output. What has another name, as it is also a constant, an input or another
    /// output, is copied.
    fn output(&mut self, name: &str, id: TensorId) -> Result<TensorId, Rule> {
        let tensor = self.build.get(id);
        if tensor.name == name && self.build.producer(id).is_some() {
            return Ok(id);
        }
        if self.build.producer(id).is_some() && !self.build.graph.outputs.contains(&id) {
            self.build.rename(id, name);
            return Ok(id);
        }
        let (element, quantization) = (tensor.element, tensor.quantization.clone());
        let shape = tensor.shape.clone();
        self.build.copy(name, Op::Reshape { shape }, id, element, quantization)
    }
}

/// The value, or `None` for a problem, which is noted; the budget's end ends everything.
fn kept<T>(result: Result<T, Rule>, problems: &mut Problems, place: impl Fn() -> Place) -> Result<Option<T>, Rule> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rule @ Rule::Size { .. }) => Err(rule),
        Err(rule) => {
            problems.push(place(), rule);
            Ok(None)
        }
    }
}

/// Whether a file's name of a domain is `domain`; the standard one has two.
pub(super) fn same_domain(found: Option<&str>, domain: &str) -> bool {
    let plain = |name: &str| if name == "ai.onnx" { String::new() } else { name.to_owned() };
    plain(found.unwrap_or_default()) == plain(domain)
}

fn full_name(node: &proto::Node) -> String {
    let kind = node.op_type.as_deref().unwrap_or_default();
    match node.domain.as_deref() {
        None | Some("" | "ai.onnx") => kind.to_owned(),
        Some(domain) => format!("{domain}.{kind}"),
    }
}
