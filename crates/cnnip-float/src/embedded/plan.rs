//! Which nodes become one step, and which buffers tensors live in.

use std::collections::{HashMap, HashSet};

use cnnip_graph::{Graph, NodeId, Op, TensorId};
use cnnip_kernels::Kernels;
use cnnip_kernels::float::Finish;

use super::layer::{At, Layer, clamp, clamp_of, layer};
use super::product::{After, activation, finish, product};
use super::whole::Whole;
use crate::{Elements, FloatError};

/// Where the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In the first `len` elements of a buffer.
    Buffer { index: usize, len: usize },
    /// In a constant.
    Constant(usize),
}

impl Source {
    pub(super) fn values<'a>(&self, buffers: &'a [Vec<f32>], constants: &'a [Vec<f32>]) -> Option<&'a [f32]> {
        match *self {
            Self::Buffer { index, len } => buffers.get(index)?.get(..len),
            Self::Constant(index) => constants.get(index).map(Vec::as_slice),
        }
    }
}

/// One step with its places.
pub(super) struct Step {
    pub(super) layer: Box<dyn Layer>,
    pub(super) inputs: Vec<Source>,
    /// What it computes.
    pub(super) tensor: TensorId,
    pub(super) buffer: usize,
    pub(super) len: usize,
    pub(super) codes: CodePlaces,
}

/// In which forms a step takes its first input and gives its output.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodePlaces {
    /// The buffer whose bytes it takes, and how many.
    pub(super) input: Option<(usize, usize)>,
    /// Whether it gives bytes.
    pub(super) output: bool,
    /// Whether it gives real numbers.
    pub(super) real: bool,
}

/// A network, ready to run.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Lengths of the buffers.
    pub(super) buffers: Vec<usize>,
    /// Bytes beside each buffer.
    pub(super) codes: Vec<usize>,
    pub(super) constants: Vec<Vec<f32>>,
    /// Buffer and grid of each graph input.
    pub(super) inputs: Vec<(usize, Finish)>,
    /// Where each graph output is.
    pub(super) outputs: Vec<Source>,
}

impl Plan {
    pub(super) fn new(graph: &Graph, watched: &[TensorId], kernels: Kernels) -> Result<Self, FloatError> {
        let drafts = drafts(graph, watched, kernels)?;
        let forms = Forms::new(graph, watched, &drafts);
        let mut places = Places::new(graph, &drafts);
        let inputs = graph.inputs.iter().map(|&id| {
            let finish = super::finish_of(&graph[id], Finish::NONE).ok_or_else(|| FloatError::InputKind {
                name: graph[id].name.clone(),
                found: "integers without one scale of at most 16 bits",
                want: "real numbers",
            })?;
            Ok((places.claim(id), finish))
        });
        let inputs = inputs.collect::<Result<_, _>>()?;
        let mut steps = vec![];
        for (position, draft) in drafts.into_iter().enumerate() {
            let buffer = places.claim(draft.output);
            let sources = draft.inputs.iter().map(|&id| places.source(id)).collect::<Option<_>>();
            let inputs: Vec<Source> =
                sources.ok_or_else(|| FloatError::Malformed { node: graph[draft.output].name.clone() })?;
            places.release_after(position);
            let len = graph[draft.output].shape.elements();
            let codes = forms.places(&draft, &inputs);
            steps.push(Step { layer: draft.layer, inputs, tensor: draft.output, buffer, len, codes });
        }
        let mut codes = vec![0; places.buffers.len()];
        for step in steps.iter().filter(|step| step.codes.output) {
            codes[step.buffer] = step.len.max(codes[step.buffer]);
        }
        let outputs = graph.outputs.iter().map(|&id| places.source(id)).collect::<Option<_>>();
        let outputs = outputs.ok_or_else(|| FloatError::Malformed { node: graph.name.clone() })?;
        Ok(Self { steps, buffers: places.buffers, codes, constants: places.constants, inputs, outputs })
    }
}

/// A step before its tensors have places.
struct Draft {
    layer: Box<dyn Layer>,
    inputs: Vec<TensorId>,
    output: TensorId,
}

/// In which forms tensors are wanted.
struct Forms {
    /// Given and taken as bytes.
    coded: HashSet<TensorId>,
    /// Wanted as real numbers.
    real: HashSet<TensorId>,
}

impl Forms {
    fn new(graph: &Graph, watched: &[TensorId], drafts: &[Draft]) -> Self {
        let taken = drafts.iter().filter(|draft| draft.layer.takes_codes()).filter_map(|draft| draft.inputs.first());
        let taken: HashSet<TensorId> = taken.copied().collect();
        let given = drafts.iter().filter(|draft| draft.layer.gives_codes()).map(|draft| draft.output);
        let coded: HashSet<TensorId> = given.filter(|id| taken.contains(id)).collect();
        let mut real: HashSet<TensorId> = graph.outputs.iter().chain(watched).copied().collect();
        for draft in drafts {
            let as_bytes =
                |(position, id): (usize, &TensorId)| position == 0 && draft.layer.takes_codes() && coded.contains(id);
            let others = draft.inputs.iter().enumerate().filter(|&input| !as_bytes(input));
            real.extend(others.map(|(_, &id)| id));
        }
        // A result that nobody reads is shown to observers all the same.
        real.extend(drafts.iter().map(|draft| draft.output).filter(|id| !coded.contains(id)));
        Self { coded, real }
    }

    fn places(&self, draft: &Draft, inputs: &[Source]) -> CodePlaces {
        let coded = |id: &&TensorId| draft.layer.takes_codes() && self.coded.contains(id);
        let input = draft.inputs.first().filter(coded).and_then(|_| match inputs.first() {
            Some(&Source::Buffer { index, len }) => Some((index, len)),
            _ => None,
        });
        CodePlaces { input, output: self.coded.contains(&draft.output), real: self.real.contains(&draft.output) }
    }
}

/// Steps in the order of execution: each stands where the last of its nodes stood.
fn drafts(graph: &Graph, watched: &[TensorId], kernels: Kernels) -> Result<Vec<Draft>, FloatError> {
    let consumers = graph.all_consumers();
    let mut drafts: Vec<Option<Draft>> = graph.nodes.iter().map(|_| None).collect();
    let mut absorbed = vec![false; graph.nodes.len()];
    for id in graph.node_ids() {
        let node = &graph[id];
        if node.outputs.len() != 1 {
            return Err(FloatError::malformed(node));
        }
        if absorbed[id.index()] {
            continue;
        }
        let at = At { graph, node };
        if activation(&node.op).is_none() {
            let (inputs, output) = (node.inputs.clone(), node.outputs[0]);
            drafts[id.index()] = Some(Draft { layer: layer(at)?, inputs, output });
            continue;
        }
        let mut chain = Chain::new(at, id)?;
        while let Some(next) = chain.next(graph, watched, &consumers).filter(|next| !absorbed[next.index()]) {
            if !chain.absorb(graph, next) {
                break;
            }
            absorbed[next.index()] = true;
        }
        let last = chain.last;
        let output = graph[last].outputs[0];
        let layer = match Whole::new(at, chain.after, &graph[output], kernels) {
            Some(whole) => Box::new(whole),
            None => product(at, chain.after)?,
        };
        drafts[last.index()] = Some(Draft { layer, inputs: chain.inputs, output });
    }
    Ok(drafts.into_iter().flatten().collect())
}

/// A product and the nodes fused behind it.
struct Chain {
    after: After,
    inputs: Vec<TensorId>,
    last: NodeId,
}

impl Chain {
    fn new(at: At<'_>, id: NodeId) -> Result<Self, FloatError> {
        let inputs = at.node.inputs.iter().take(1).copied().collect(); // weights and bias are packed
        Ok(Self { after: After { finish: finish(at)?, residual: None }, inputs, last: id })
    }

    /// The only reader of the chain's result, if no one else wants it.
    fn next(&self, graph: &Graph, watched: &[TensorId], consumers: &[Vec<NodeId>]) -> Option<NodeId> {
        let result = graph[self.last].outputs[0];
        let wanted = watched.contains(&result) || graph.outputs.contains(&result);
        match consumers.get(result.index())?.as_slice() {
            &[next] if !wanted => Some(next),
            _ => None,
        }
    }

    /// Fuses a node, if it is a clamp, a rounding, or a sum with a tensor of the same shape.
    fn absorb(&mut self, graph: &Graph, id: NodeId) -> bool {
        let at = At { graph, node: &graph[id] };
        let grown = match (&at.node.op, self.after.residual) {
            (Op::Add { activation }, None) => self.residual(at, clamp(*activation)),
            (op, _) => clamp_of(op).and_then(|clamp| self.finished(at, clamp)),
        };
        let Some(after) = grown else { return false };
        if matches!(at.node.op, Op::Add { .. }) {
            let other = at.node.inputs.iter().find(|&&input| input != graph[self.last].outputs[0]);
            self.inputs.extend(other);
        }
        (self.after, self.last) = (after, id);
        true
    }

    /// With one more clamp and grid at the end.
    fn finished(&self, at: At<'_>, clamp: Finish) -> Option<After> {
        let more = at.finish(clamp).ok()?;
        Some(match self.after.residual {
            Some((input, finish)) => After { residual: Some((input, finish.then(&more)?)), ..self.after },
            None => After { finish: self.after.finish.then(&more)?, residual: None },
        })
    }

    /// With a sum at the end.
    fn residual(&self, at: At<'_>, clamp: Finish) -> Option<After> {
        let &[a, b] = at.node.inputs.as_slice() else { return None };
        let same = a != b && at.graph[a].shape == at.graph[b].shape;
        same.then_some(After { residual: Some((self.inputs.len(), at.finish(clamp).ok()?)), ..self.after })
    }
}

/// Tensors to buffers: a buffer is free again after the last step that reads its tensor.
struct Places<'a> {
    graph: &'a Graph,
    buffers: Vec<usize>,
    free: Vec<usize>,
    constants: Vec<Vec<f32>>,
    sources: HashMap<TensorId, Source>,
    /// For every step, the tensors that no later step reads.
    last_reads: Vec<Vec<TensorId>>,
}

impl<'a> Places<'a> {
    fn new(graph: &'a Graph, drafts: &[Draft]) -> Self {
        let mut last: HashMap<TensorId, usize> = HashMap::new();
        for (position, draft) in drafts.iter().enumerate() {
            last.entry(draft.output).or_insert(position);
            last.extend(draft.inputs.iter().map(|&id| (id, position)));
        }
        let mut last_reads = vec![vec![]; drafts.len()];
        for (&id, &position) in last.iter().filter(|(id, _)| !graph.outputs.contains(id)) {
            last_reads[position].push(id);
        }
        last_reads.iter_mut().for_each(|ids| ids.sort_unstable());
        Self { graph, buffers: vec![], free: vec![], constants: vec![], sources: HashMap::new(), last_reads }
    }

    /// Gives a tensor the free buffer that fits best: the smallest that is large enough, else the largest, grown.
    fn claim(&mut self, id: TensorId) -> usize {
        let len = self.graph[id].shape.elements();
        let fit = |&&index: &&usize| {
            let size = self.buffers[index];
            if size >= len { (0, size) } else { (1, usize::MAX - size) }
        };
        let index = self.free.iter().min_by_key(fit).copied().unwrap_or(self.buffers.len());
        self.free.retain(|&free| free != index);
        match self.buffers.get_mut(index) {
            Some(size) => *size = len.max(*size),
            None => self.buffers.push(len),
        }
        self.sources.insert(id, Source::Buffer { index, len });
        index
    }

    /// Where a tensor is; constants are taken in when they are first asked for.
    fn source(&mut self, id: TensorId) -> Option<Source> {
        if let Some(&source) = self.sources.get(&id) {
            return Some(source);
        }
        let tensor = self.graph.tensors.get(id.index())?;
        self.constants.push(Elements::constant(tensor)?.real(tensor));
        let source = Source::Constant(self.constants.len() - 1);
        self.sources.insert(id, source);
        Some(source)
    }

    fn release_after(&mut self, position: usize) {
        for id in &self.last_reads[position] {
            if let Some(&Source::Buffer { index, .. }) = self.sources.get(id) {
                self.free.push(index);
            }
        }
    }
}
