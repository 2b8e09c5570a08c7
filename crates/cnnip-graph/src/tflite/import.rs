//! The importer: tensors, then operators, then the flow between them; all problems are collected.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::names::builtin_name;
use super::operators::{BUILTINS, Builtin, CUSTOM, Call, DETECTION_NAME, detection_shapes};
use super::schema::{
    IDENTIFIER, VERSION, buffer, code, model, operator, operator_code, quantization, subgraph, tensor,
};
use crate::check::{self, Origin};
use crate::flatbuffer::{Corrupt, Field, List, Scalars, Table, Tables, root};
use crate::graph::{Graph, Node, TensorId};
use crate::op::Op;
use crate::problem::{Place, Problems, Rule, quote};
use crate::tensor::{Data, ElementType, MAX_RANK, Quantization, Shape, ShapeError, Tensor};
use crate::unique::{Budget, Names};

/// Everything that keeps a model from being imported.
pub type ImportErrors = Problems;

impl From<Corrupt> for Rule {
    fn from(Corrupt { at, what }: Corrupt) -> Self {
        Self::Corrupt { at, what }
    }
}

/// Reads a TFLite model. The bytes may come from anywhere.
///
/// ```
/// # use cnnip_graph::tflite::import_tflite;
/// let problems = import_tflite(b"no model").unwrap_err();
/// assert_eq!(
///     problems.to_string(),
///     "model: the file identifier at byte 4 is \"odel\", not \"TFL3\" (is this a TFLite model?)"
/// );
/// ```
///
/// # Errors
/// All problems of the model at once. Where the file's structure is damaged, what depends on the
/// damaged part is not examined.
pub fn import_tflite(bytes: &[u8]) -> Result<Graph, ImportErrors> {
    identifier(bytes)?;
    import_tflite_shared(&Arc::from(bytes))
}

/// As [`import_tflite`]; the graph's constants share `file` instead of a copy.
///
/// # Errors
/// As [`import_tflite`].
pub fn import_tflite_shared(file: &Arc<[u8]>) -> Result<Graph, ImportErrors> {
    identifier(file)?;
    let mut problems = Problems::default();
    let graph = Importer::open(file).and_then(|importer| importer.run(&mut problems));
    match graph {
        Ok(graph) => problems.into_result(graph),
        Err(rule) => {
            problems.push(Place::Model, rule);
            Err(problems)
        }
    }
}

fn identifier(file: &[u8]) -> Result<(), Problems> {
    let found = file.get(4..).unwrap_or_default();
    let found = &found[..found.len().min(4)];
    let mut problems = Problems::default();
    if found != IDENTIFIER {
        problems.push(Place::Model, Rule::Identifier { found: quote(&String::from_utf8_lossy(found)) });
    }
    problems.into_result(())
}

/// The parts of the file that tensors and operators refer to.
struct Importer<'a> {
    file: &'a Arc<[u8]>,
    buffers: Tables<'a>,
    codes: Tables<'a>,
    graph: Table<'a>,
    /// The tensors that are states of recurrent layers.
    states: HashSet<usize>,
    /// The tensors that only give scales inside of operators; they have no elements.
    intermediates: HashSet<usize>,
    /// Shapes of results that follow from attributes, by tensor.
    found: HashMap<usize, Shape>,
    budget: Budget,
}

/// What the length of the file justifies: parts of a flatbuffer may be shared.
fn budget(file: &[u8]) -> Budget {
    Budget::new(file.len().saturating_mul(16).saturating_add(0x1_0000))
}

/// Bytes that the texts of a [`Place`] may take.
const PLACE_TEXT: usize = 256;

/// What stands for an optional input that is absent.
const ABSENT: i32 = -1;

/// An operator of the file, its tensors by index.
#[derive(Default)]
struct Step {
    name: String,
    /// Its inputs in the operator's order; `None` for an optional one that is absent.
    slots: Vec<Option<TensorId>>,
    /// The inputs that must have a value before: all but its states.
    inputs: Vec<TensorId>,
    outputs: Vec<TensorId>,
    /// What it computes for each output, unless it has a problem.
    ops: Vec<Op>,
    /// The inputs that are not attributes.
    data: Vec<TensorId>,
}

impl Step {
    /// A node per output; it has the name of its output.
    fn nodes(self, tensors: &[Option<Tensor>]) -> impl Iterator<Item = Node> {
        let Self { ops, outputs, data, .. } = self;
        let node = move |(op, output): (Op, TensorId)| {
            let name = tensors[output.index()].as_ref().map(|tensor| tensor.name.clone()).unwrap_or_default();
            Node { name, op, inputs: data.clone(), outputs: vec![output] }
        };
        ops.into_iter().zip(outputs).map(node)
    }
}

impl<'a> Importer<'a> {
    fn open(file: &'a Arc<[u8]>) -> Result<Self, Rule> {
        let model = root(file)?;
        let version = model.scalar(model::VERSION)?;
        if version != VERSION {
            return Err(Rule::Version { found: version });
        }
        let subgraphs = model.tables(model::SUBGRAPHS)?;
        if subgraphs.len() != 1 {
            return Err(Rule::Subgraphs { found: subgraphs.len() });
        }
        Ok(Self {
            file,
            buffers: model.tables(model::BUFFERS)?,
            codes: model.tables(model::OPERATOR_CODES)?,
            graph: subgraphs.get(0)?,
            states: HashSet::new(),
            intermediates: HashSet::new(),
            found: HashMap::new(),
            budget: budget(file),
        })
    }

    /// Reads everything; an error is one that ends the import.
    fn run(mut self, problems: &mut Problems) -> Result<Graph, Rule> {
        self.states = self.states()?;
        self.intermediates = self.intermediates()?;
        self.found = self.found()?;
        let tensors = self.tensors(problems)?;
        let inputs = self.ends(subgraph::INPUTS, tensors.len(), problems)?;
        let outputs = self.ends(subgraph::OUTPUTS, tensors.len(), problems)?;
        let (steps, places) = self.steps(&tensors, problems)?;
        let wires: Vec<check::Wires<'_>> =
            steps.iter().map(|step| (step.inputs.as_slice(), step.outputs.as_slice())).collect();
        let origins = tensors.iter().map(|tensor| tensor.as_ref().map_or(Origin::Unknown, Origin::of)).collect();
        check::flow(origins, (&inputs, &outputs), &wires, &mut |at, rule| {
            problems.push(at.map_or(Place::Model, |index| places[index].clone()), rule);
        });
        let nodes = steps.into_iter().flat_map(|step| step.nodes(&tensors)).collect();
        Ok(Graph {
            name: self.graph.text(subgraph::NAME)?.into_owned(),
            tensors: tensors.into_iter().flatten().collect(),
            nodes,
            inputs,
            outputs,
            fused: vec![],
        })
    }

    /// The tensors that operators read and write as their states.
    fn states(&mut self) -> Result<HashSet<usize>, Rule> {
        let tables = self.graph.tables(subgraph::OPERATORS)?;
        let mut states = HashSet::new();
        for index in 0..tables.len() {
            // An operator that cannot be read is reported when its turn comes.
            let Ok(table) = tables.get(index) else { continue };
            let (Some(builtin), Ok(inputs)) = (self.builtin(table), table.list(operator::INPUTS)) else { continue };
            let ids = inputs.iter().enumerate().filter(|(slot, _)| builtin.states().contains(slot));
            states.extend(ids.filter_map(|(_, id)| usize::try_from(id).ok()));
            self.budget.spend(builtin.states().len().saturating_mul(size_of::<usize>()))?;
        }
        Ok(states)
    }

    /// The tensors that operators name as their intermediates, and nothing reads or writes.
    fn intermediates(&mut self) -> Result<HashSet<usize>, Rule> {
        let tables = self.graph.tables(subgraph::OPERATORS)?;
        let mut found = HashSet::new();
        let mut used: HashSet<usize> = HashSet::new();
        for field in [subgraph::INPUTS, subgraph::OUTPUTS] {
            used.extend(self.graph.list(field)?.iter().filter_map(|id| usize::try_from(id).ok()));
        }
        for index in 0..tables.len() {
            let Ok(table) = tables.get(index) else { continue };
            let lists = [(operator::INTERMEDIATES, true), (operator::INPUTS, false), (operator::OUTPUTS, false)];
            for (field, is_intermediate) in lists {
                let Ok(ids) = table.list(field) else { continue };
                self.budget.spend(ids.len().saturating_mul(size_of::<usize>()))?;
                let set = if is_intermediate { &mut found } else { &mut used };
                set.extend(ids.iter().filter_map(|id| usize::try_from(id).ok()));
            }
        }
        Ok(found.difference(&used).copied().collect())
    }

    /// Shapes of what box decoding finds: converters leave them out.
    fn found(&mut self) -> Result<HashMap<usize, Shape>, Rule> {
        let tables = self.graph.tables(subgraph::OPERATORS)?;
        let mut found = HashMap::new();
        for index in 0..tables.len() {
            let Ok(table) = tables.get(index) else { continue };
            let is_detection = self.code(table).is_ok_and(|code| custom_name(code) == Some(DETECTION_NAME.into()));
            let (true, Ok(bytes), Ok(outputs)) = (is_detection, self.custom(table), table.list(operator::OUTPUTS))
            else {
                continue;
            };
            let Some(shapes) = detection_shapes(bytes) else { continue };
            self.budget.spend(size_of_val(&shapes))?;
            let ids = outputs.iter().map(|id| usize::try_from(id).unwrap_or(usize::MAX));
            found.extend(ids.zip(shapes));
        }
        Ok(found)
    }

    /// The attributes of a custom operator.
    fn custom(&self, table: Table<'a>) -> Result<&'a [u8], Rule> {
        let range = table.list(operator::CUSTOM_OPTIONS)?.range();
        Ok(self.file.get(range).unwrap_or_default())
    }

    /// How an operator is read, if it can be.
    fn builtin(&self, table: Table<'_>) -> Option<&'static Builtin> {
        let table = self.code(table).ok()?;
        let code = builtin_code(table).ok()?;
        if code == code::CUSTOM {
            return (custom_name(table)? == CUSTOM.0).then_some(&CUSTOM.1);
        }
        BUILTINS.iter().find(|builtin| builtin.code == code)
    }

    /// All tensors; `None` for those with a problem.
    fn tensors(&mut self, problems: &mut Problems) -> Result<Vec<Option<Tensor>>, Rule> {
        let tables = self.graph.tables(subgraph::TENSORS)?;
        let mut names = Names::default();
        let mut tensors = Vec::new();
        for index in 0..tables.len() {
            self.budget.spend(size_of::<Tensor>())?;
            let mut name = String::new();
            let mut rules = Vec::new();
            let tensor = tables.get(index).map_err(Rule::from).and_then(|table| {
                name = self.name(table, index, &mut names)?;
                self.tensor(table, (index, &name), &mut rules)
            });
            match tensor {
                Ok(tensor) => tensors.push(tensor),
                Err(rule @ Rule::Size { .. }) => return Err(rule),
                Err(rule) => {
                    rules.push(rule);
                    tensors.push(None);
                }
            }
            rules.into_iter().for_each(|rule| problems.push(Place::tensor(index, &name), rule));
        }
        Ok(tensors)
    }

    fn name(&mut self, table: Table<'_>, index: usize, names: &mut Names) -> Result<String, Rule> {
        let name = table.text(tensor::NAME)?;
        self.budget.spend(3 * name.len())?;
        Ok(names.unique(if name.is_empty() { format!("tensor_{index}") } else { name.into_owned() }))
    }

    /// One tensor; `None` if it breaks `rules`. An error is one that keeps the rest from being read.
    fn tensor(
        &mut self,
        table: Table<'_>,
        (index, name): (usize, &str),
        rules: &mut Vec<Rule>,
    ) -> Result<Option<Tensor>, Rule> {
        if self.intermediates.contains(&index) {
            // It keeps its number, and has no elements to have a shape of.
            return Ok(Shape::new([1]).ok().map(|shape| Tensor::new(name, shape, ElementType::F32)));
        }
        if table.scalar(tensor::IS_VARIABLE)? && !self.states.contains(&index) {
            rules.push(Rule::Variable);
        }
        if table.has(tensor::SPARSITY) {
            rules.push(Rule::Sparse);
        }
        if table.scalar(tensor::EXTERNAL_BUFFER)? != 0 {
            rules.push(Rule::ExternalData);
        }
        let shape = match self.found.get(&index) {
            Some(found) => Ok(found.clone()),
            None => shape(table.list(tensor::SHAPE)?),
        };
        let shape = shape.map_err(|rule| rules.push(rule)).ok();
        let element = element(table.scalar(tensor::TYPE)?).map_err(|rule| rules.push(rule)).ok();
        let (Some(shape), Some(element)) = (shape, element) else { return Ok(None) };
        let quantization = self.quantization(table, shape.rank())?;
        let data = self.data(table.scalar(tensor::BUFFER)?, shape.elements() == 0)?;
        let tensor = Tensor { quantization, data, ..Tensor::new(name, shape, element) };
        check::tensor(&tensor, &mut |rule| rules.push(rule));
        Ok(rules.is_empty().then_some(tensor))
    }

    /// Scales and zero points of a tensor of this rank; `None` where there is no scale.
    fn quantization(&mut self, table: Table<'_>, rank: usize) -> Result<Option<Quantization>, Rule> {
        let Some(table) = table.table(tensor::QUANTIZATION)? else { return Ok(None) };
        if let Some((kind, _)) = table.union(quantization::DETAILS)? {
            return Err(Rule::QuantizationDetails { kind });
        }
        let (scales, zero_points) = (table.list(quantization::SCALE)?, table.list(quantization::ZERO_POINT)?);
        self.budget.spend(scales.len().saturating_mul(size_of::<f32>() + size_of::<i64>()))?;
        let zero_points: Arc<[i64]> = match zero_points.len() {
            0 => vec![0; scales.len()].into(),
            count if count == scales.len() => zero_points.iter().collect(),
            count => return Err(Rule::ZeroPointCount { scales: scales.len(), zero_points: count }),
        };
        let scales: Arc<[f32]> = scales.iter().collect();
        match (&*scales, &*zero_points) {
            ([], _) => Ok(None),
            (&[scale], &[zero_point]) => Ok(Some(Quantization::per_tensor(scale, zero_point))),
            _ => {
                let axis = channel_axis(table.scalar(quantization::DIMENSION)?, rank)?;
                Ok(Some(Quantization::PerChannel { axis, scales, zero_points }))
            }
        }
    }

    /// The constant in buffer `index`; `None` for an activation. An empty buffer is the constant of
    /// a tensor without elements.
    fn data(&self, index: u32, no_elements: bool) -> Result<Option<Data>, Rule> {
        let count = self.buffers.len();
        let position = usize::try_from(index).ok().filter(|&position| position < count);
        if index == 0 {
            return Ok(None);
        }
        let table = self.buffers.get(position.ok_or(Rule::BufferIndex { index, count })?)?;
        if table.scalar(buffer::OFFSET)? > 1 {
            return Err(Rule::ExternalData);
        }
        let list = table.list(buffer::DATA)?;
        if list.is_empty() {
            return Ok(no_elements.then(|| Data::from(Vec::new())));
        }
        Ok(Data::part_of(self.file, list.range()))
    }

    /// The graph's inputs or outputs; indices that are out of range are reported and left out.
    fn ends(
        &mut self,
        field: Field<Scalars<i32>>,
        tensors: usize,
        problems: &mut Problems,
    ) -> Result<Vec<TensorId>, Rule> {
        let list = self.graph.list(field)?;
        self.budget.spend(list.len().saturating_mul(size_of::<TensorId>()))?;
        let mut ids = Vec::new();
        for index in list.iter() {
            match tensor_id(index, tensors) {
                Ok(id) => ids.push(id),
                Err(rule) => problems.push(Place::Model, rule),
            }
        }
        Ok(ids)
    }

    /// All operators, and where they are for messages.
    fn steps(&mut self, tensors: &[Option<Tensor>], problems: &mut Problems) -> Result<(Vec<Step>, Vec<Place>), Rule> {
        let tables = self.graph.tables(subgraph::OPERATORS)?;
        let (mut steps, mut places) = (Vec::new(), Vec::new());
        for index in 0..tables.len() {
            self.budget.spend(size_of::<Step>() + size_of::<Place>() + PLACE_TEXT)?;
            let mut step = Step::default();
            let mut operator = String::from("?");
            let done = tables.get(index).map_err(Rule::from).and_then(|table| {
                let wired = self.wire(table, tensors, &mut step);
                operator = self.operator_name(table)?;
                wired?;
                // Every output becomes a node.
                self.budget.spend(step.outputs.len().saturating_mul(step.name.len() + size_of::<Node>()))?;
                self.operator(table, tensors, &mut step)?;
                self.budget.spend(step.ops.iter().map(Op::indices).sum::<usize>().saturating_mul(size_of::<usize>()))
            });
            let place = Place::node(index, &step.name, &operator);
            match done {
                Ok(()) => {}
                Err(rule @ Rule::Size { .. }) => return Err(rule),
                Err(rule) => problems.push(place.clone(), rule),
            }
            steps.push(step);
            places.push(place);
        }
        Ok((steps, places))
    }

    /// The tensors of an operator, and its name. An absent input at the end is left out.
    fn wire(&mut self, table: Table<'_>, tensors: &[Option<Tensor>], step: &mut Step) -> Result<(), Rule> {
        let (inputs, outputs) = (table.list(operator::INPUTS)?, table.list(operator::OUTPUTS)?);
        self.budget.spend(inputs.len().saturating_add(outputs.len()).saturating_mul(2 * size_of::<TensorId>()))?;
        for index in outputs.iter() {
            step.outputs.push(tensor_id(index, tensors.len())?);
        }
        let first = step.outputs.first().and_then(|id| tensors[id.index()].as_ref());
        step.name = first.map(|tensor| tensor.name.clone()).unwrap_or_default();
        let mut inputs: Vec<i32> = inputs.iter().collect();
        while inputs.last() == Some(&ABSENT) {
            inputs.pop();
        }
        let states = self.builtin(table).map_or(&[][..], Builtin::states);
        for (slot, index) in inputs.into_iter().enumerate() {
            if index == ABSENT && !states.is_empty() {
                step.slots.push(None);
                continue;
            }
            let id = tensor_id(index, tensors.len())?;
            step.slots.push(Some(id));
            if !states.contains(&slot) {
                step.inputs.push(id);
            }
        }
        Ok(())
    }

    fn code(&self, table: Table<'_>) -> Result<Table<'a>, Rule> {
        let index = table.scalar(operator::CODE_INDEX)?;
        let count = self.codes.len();
        let position = usize::try_from(index).ok().filter(|&position| position < count);
        Ok(self.codes.get(position.ok_or(Rule::OperatorCode { index, count })?)?)
    }

    /// The format's name of an operator; a custom operator's own.
    fn operator_name(&self, table: Table<'_>) -> Result<String, Rule> {
        let table = self.code(table)?;
        match builtin_code(table)? {
            code::CUSTOM => Ok(quote(&format!("CUSTOM {}", table.text(operator_code::CUSTOM_NAME)?))),
            code => Ok(builtin_name(code)),
        }
    }

    /// What an operator computes.
    fn operator(&self, table: Table<'a>, tensors: &[Option<Tensor>], step: &mut Step) -> Result<(), Rule> {
        let Some(builtin) = self.builtin(table) else {
            return Err(Rule::UnsupportedOperator { name: self.operator_name(table)? });
        };
        let (least, most) = builtin.inputs;
        if !(least..=most).contains(&step.slots.len()) {
            return Err(Rule::InputCount { found: step.slots.len(), least, most });
        }
        let options = options(table, builtin)?;
        let find = |id: &TensorId| tensors[id.index()].as_ref();
        let slot = |id: &Option<TensorId>| match id {
            Some(id) => find(id).map(|tensor| Some((id.index(), tensor))),
            None => Some(None),
        };
        let inputs = step.slots.iter().map(slot).collect::<Option<Vec<_>>>();
        let outputs = step.outputs.iter().map(find).collect::<Option<Vec<_>>>();
        // A tensor with a problem of its own has been reported; nothing can be said about its nodes.
        let (Some(inputs), Some(outputs)) = (inputs, outputs) else { return Ok(()) };
        if outputs.is_empty() || outputs.len() > 1 && !builtin.splits() {
            return Err(Rule::OutputCount { found: outputs.len() });
        }
        step.data = builtin.data.iter().filter_map(|&slot| step.slots.get(slot).copied().flatten()).collect();
        let kept: Vec<&Tensor> = step.data.iter().filter_map(find).collect();
        let custom = self.custom(table)?;
        let mut call = Call { inputs, options, custom, output: (0, outputs.len()) };
        let mut ops = vec![];
        for (number, &output) in outputs.iter().enumerate() {
            call.output.0 = number;
            let op = (builtin.read)(&call)?;
            check::node(&op, &kept, &[output])?;
            hidden_state(builtin, &call, output)?;
            ops.push(op);
        }
        step.ops = ops;
        Ok(())
    }
}

/// The first state of a recurrent layer is what it last put out.
fn hidden_state(builtin: &Builtin, call: &Call<'_>, output: &Tensor) -> Result<(), Rule> {
    let state = builtin.states().first().and_then(|&slot| call.inputs.get(slot).copied().flatten());
    let alike = |tensor: &Tensor| (tensor.element, &tensor.quantization) == (output.element, &output.quantization);
    if state.is_none_or(|(_, tensor)| alike(tensor)) { Ok(()) } else { Err(Rule::HiddenState) }
}

/// The attributes of an operator, if they are there and of the right kind.
fn options<'a>(table: Table<'a>, builtin: &Builtin) -> Result<Option<Table<'a>>, Rule> {
    match table.union(operator::OPTIONS)? {
        None => Ok(None),
        Some((tag, options)) if tag == builtin.options => Ok(Some(options)),
        Some((found, _)) => Err(Rule::Options { want: builtin.options, found }),
    }
}

/// The code of an operator: old files have it in the short field only.
fn builtin_code(table: Table<'_>) -> Result<i32, Rule> {
    Ok(i32::from(table.scalar(operator_code::SHORT_CODE)?).max(table.scalar(operator_code::CODE)?))
}

/// The name of a custom operator.
fn custom_name(table: Table<'_>) -> Option<Cow<'_, str>> {
    let is_custom = builtin_code(table).is_ok_and(|code| code == code::CUSTOM);
    table.text(operator_code::CUSTOM_NAME).ok().filter(|_| is_custom)
}

fn tensor_id(index: i32, count: usize) -> Result<TensorId, Rule> {
    let position = usize::try_from(index).ok().filter(|&position| position < count);
    position.map(TensorId::new).ok_or(Rule::TensorIndex { index: index.into(), count })
}

fn shape(list: List<'_, i32>) -> Result<Shape, Rule> {
    if list.len() > MAX_RANK {
        return Err(ShapeError::Rank { found: list.len() }.into());
    }
    let extent =
        |(axis, dim): (usize, i32)| usize::try_from(dim).map_err(|_| Rule::Dimension { axis, value: dim.into() });
    let dims = list.iter().enumerate().map(extent).collect::<Result<Vec<_>, _>>()?;
    Ok(Shape::new(dims)?)
}

/// The axis of per-channel scales. A list has one axis only, whatever the file says: converters give
/// a bias the dimension of its weights.
fn channel_axis(dimension: i32, rank: usize) -> Result<usize, Rule> {
    let axis = if rank == 1 { Some(0) } else { usize::try_from(dimension).ok() };
    axis.filter(|&axis| axis < rank).ok_or(Rule::ChannelAxis { axis: dimension.into(), rank })
}

fn element(code: i8) -> Result<ElementType, Rule> {
    let known = super::names::ELEMENTS.iter().find(|(known, _)| *known == code);
    known.map(|(_, element)| *element).ok_or(Rule::ElementType { code: code.into() })
}
