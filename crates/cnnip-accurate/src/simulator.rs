//! The simulator: a network with its memory.

use std::ops::Range;
use std::sync::Arc;

use cnnip_kernels::Kernels;
use cnnip_lowered::{Layer, Network, Origin, ValueId};

use crate::arena::Arena;
use crate::error::{Fault, InputError, SimulatorError, Unsupported};
use crate::lines::Lines;
use crate::step::{Operands, Overflow, Step};
use crate::tensor::{State, Tensor, TensorView, element};
use crate::workers::Workers;

/// Most bytes of tensors that are alive together, unless the caller says otherwise.
pub const DEFAULT_MEMORY_BYTES: u64 = 4 << 30;

/// A network ready to run, with memory for its tensors. One run after the other reuses it.
///
/// ```
/// # use cnnip_graph::{ElementType, GraphBuilder, Op, Quantization, Shape, Tensor};
/// # let mut build = GraphBuilder::new("clamp");
/// # let image = Tensor::new("image", Shape::new([1, 1, 1, 4])?, ElementType::I8);
/// # let image = build.input(image.quantized(Quantization::per_tensor(0.5, 0)));
/// # let clamped = build.apply("clamped", Op::Relu6, &[image]);
/// # build.output(clamped);
/// # let target = cnnip_isa::Target::by_name("v4h").unwrap();
/// # let stages = cnnip_compiler::compile_stages(&build.finish()?, &cnnip_compiler::Options::new(target))?;
/// # let network = stages.legalized;
/// use cnnip_accurate::Simulator;
///
/// let mut simulator = Simulator::new(network)?;
/// simulator.set_input(0, &[0x80, 1, 12, 13])?;
/// let mut names = vec![];
/// simulator.run_with(|tensor| names.push(tensor.tensor().name.clone()))?;
/// assert_eq!(names, ["image", "clamped"]);
/// assert_eq!(simulator.outputs().next().unwrap().bytes(), [0, 1, 12, 12]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Simulator {
    network: Network,
    steps: Vec<Step>,
    /// Inputs, each with its aliases.
    given: Arc<[Vec<ValueId>]>,
    /// Values that are complete after each layer: what it writes last, and the aliases of that.
    completed: Vec<Vec<ValueId>>,
    tensors: Vec<Tensor>,
    arena: Arena,
    memory: Lines,
    kernels: Kernels,
    workers: Workers,
}

impl Simulator {
    /// Checks a network and prepares it: weights are packed, memory is planned.
    ///
    /// # Errors
    /// All problems of the network, or else all layers that cannot be simulated, or more than [`DEFAULT_MEMORY_BYTES`].
    pub fn new(network: Network) -> Result<Self, SimulatorError> {
        Self::with_kernels(network, Kernels::from_env(), DEFAULT_MEMORY_BYTES)
    }

    /// As [`new`](Self::new), with kernels of the caller's choice and a limit of its own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_kernels(network: Network, kernels: Kernels, limit: u64) -> Result<Self, SimulatorError> {
        let problems = network.check();
        if !problems.is_empty() {
            return Err(SimulatorError::Invalid(problems));
        }
        let steps = steps(&network, kernels)?;
        let arena = Arena::plan(&network);
        let memory = usize::try_from(arena.bytes).ok().filter(|_| arena.bytes <= limit);
        let Some(bytes) = memory else { return Err(SimulatorError::Memory { needed: arena.bytes, limit }) };
        let tensors = tensors(&network);
        let completed = completed(&network, &tensors);
        let given = given(&network);
        Ok(Self {
            steps,
            given,
            completed,
            tensors,
            memory: Lines::zeros(bytes),
            arena,
            workers: Workers::one(kernels),
            kernels,
            network,
        })
    }

    /// The same simulator with this many threads, the caller's included, that share the work of large layers. Results do not
    /// depend on it.
    ///
    /// # Errors
    /// If the system does not give them.
    pub fn with_threads(self, threads: usize) -> Result<Self, SimulatorError> {
        Ok(Self { workers: Workers::many(self.kernels, threads)?, ..self })
    }

    /// The network.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// All tensors of the network, those that do not exist included, in the order of the network's values.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The inputs, in the model's order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.network.inputs.iter().map(|id| &self.tensors[id.0])
    }

    /// Bytes of all tensors that are alive together at most.
    pub const fn memory_bytes(&self) -> u64 {
        self.arena.bytes
    }

    /// Gives input `index` its elements: dense, row-major, little-endian. They stay for further runs.
    ///
    /// # Errors
    /// If there is no such input, or it has another number of bytes.
    pub fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<(), InputError> {
        let count = self.network.inputs.len();
        let id = *self.network.inputs.get(index).ok_or(InputError::Index { index, count })?;
        let place = self.arena.place(id).unwrap_or_default();
        if place.len() != bytes.len() {
            let tensor = self.tensors[id.0].name.clone();
            return Err(InputError::Bytes { tensor, needed: place.len(), given: bytes.len() });
        }
        self.memory[place].copy_from_slice(bytes);
        Ok(())
    }

    /// Computes all layers. An input that was never set is zero.
    ///
    /// # Errors
    /// The first accumulator that leaves its range.
    pub fn run(&mut self) -> Result<(), Fault> {
        self.run_with(|_| {})
    }

    /// As [`run`](Self::run), handing out every tensor that exists as soon as it is complete, in the order of execution:
    /// inputs, then what each layer completes. Constants are not among them.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with(&mut self, mut tensor: impl FnMut(TensorView<'_>)) -> Result<(), Fault> {
        self.run_replacing(|view| {
            tensor(view);
            None
        })
    }

    /// As [`run_with`](Self::run_with), and where `tensor` gives bytes, in the layers' own order, all that comes later reads these
    /// instead of what was computed. Bytes of another number than the tensor's change nothing.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_replacing(&mut self, mut tensor: impl FnMut(TensorView<'_>) -> Option<Vec<u8>>) -> Result<(), Fault> {
        let given = self.given.clone();
        given.iter().for_each(|ids| self.hand_out(ids, &mut tensor));
        for at in 0..self.steps.len() {
            self.step(at).map_err(|overflow| fault(&self.network.layers[at], at, &overflow))?;
            let completed = std::mem::take(&mut self.completed[at]);
            self.hand_out(&completed, &mut tensor);
            self.completed[at] = completed;
        }
        Ok(())
    }

    /// Shows values that share bytes, and then puts others in their place.
    fn hand_out(&mut self, ids: &[ValueId], tensor: &mut impl FnMut(TensorView<'_>) -> Option<Vec<u8>>) {
        let replacements: Vec<Vec<u8>> = ids.iter().filter_map(|&id| tensor(self.view(id))).collect();
        let place = ids.first().and_then(|&id| self.arena.place(self.network.root(id))).unwrap_or_default();
        let bytes = self.memory.get_mut(place);
        if let (Some(bytes), Some(new)) = (bytes, replacements.first())
            && bytes.len() == new.len()
        {
            bytes.copy_from_slice(new);
        }
    }

    /// The outputs of the last run, in the model's order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.network.outputs.iter().map(|&id| self.view(id))
    }

    fn view(&self, id: ValueId) -> TensorView<'_> {
        let place = self.arena.place(self.network.root(id)).unwrap_or_default();
        TensorView { tensor: &self.tensors[id.0], bytes: &self.memory[place] }
    }

    fn step(&mut self, at: usize) -> Result<(), Overflow> {
        let Self { network, steps, arena, memory, workers, .. } = self;
        let work = &network.layers[at].work;
        let output = arena.place(network.root(work.writes())).unwrap_or_default();
        let (before, rest) = memory.split_at_mut(output.start);
        let (out, after) = rest.split_at_mut(output.len());
        let read = |id: ValueId| -> &[u8] {
            let root = network.root(id);
            if let Origin::Constant(data) = &network.values[root.0].origin {
                return data.bytes();
            }
            beside(before, after, &output, arena.place(root))
        };
        let mut reads = work.reads().into_iter().map(read);
        let inputs = std::array::from_fn(|_| reads.next().unwrap_or_default());
        drop(reads);
        steps[at].run(workers, Operands { inputs, output: out })
    }
}

/// A tensor's bytes, which are before or after those of the output.
fn beside<'a>(before: &'a [u8], after: &'a [u8], output: &Range<usize>, place: Option<Range<usize>>) -> &'a [u8] {
    let found = place.and_then(|place| {
        if place.end <= output.start {
            before.get(place)
        } else {
            after.get(place.start.checked_sub(output.end)?..place.end - output.end)
        }
    });
    found.unwrap_or_default()
}

fn steps(network: &Network, kernels: Kernels) -> Result<Vec<Step>, SimulatorError> {
    let mut problems = Vec::new();
    let mut steps = Vec::with_capacity(network.layers.len());
    for (index, layer) in network.layers.iter().enumerate() {
        match Step::new(network, &layer.work, kernels) {
            Ok(step) => steps.push(step),
            Err(why) => problems.push(Unsupported { layer: index, name: layer.name.clone(), why }),
        }
    }
    if problems.is_empty() { Ok(steps) } else { Err(SimulatorError::Unsupported(problems)) }
}

/// Every value as a tensor; an alias is in the state of the value it shares bytes with.
fn tensors(network: &Network) -> Vec<Tensor> {
    let mut states = vec![State::Fused; network.values.len()];
    for (state, value) in states.iter_mut().zip(&network.values) {
        match value.origin {
            Origin::Input => *state = State::Input,
            Origin::Constant(_) => *state = State::Constant,
            Origin::Computed | Origin::Alias(_) => {}
        }
    }
    for (layer, Layer { name, operator, work, .. }) in network.layers.iter().enumerate() {
        let (node, operator) = (name.clone(), operator.to_string());
        states[work.writes().0] = State::Computed { layer, node, operator };
    }
    let lists = network.layers.iter().filter(|layer| layer.work.gives_list());
    let lists: Vec<ValueId> = lists.map(|layer| layer.work.writes()).collect();
    let tensor = |(at, value): (usize, &cnnip_lowered::Value)| Tensor {
        name: value.name.clone(),
        shape: value.shape.clone(),
        element: element(value.element),
        quantization: value.quantization,
        model: value.model.clone(),
        state: states[network.root(ValueId(at)).0].clone(),
        is_list: lists.contains(&ValueId(at)),
    };
    network.values.iter().enumerate().map(tensor).collect()
}

/// Values that the application gives, those that share bytes together.
fn given(network: &Network) -> Arc<[Vec<ValueId>]> {
    let ids = || (0..network.values.len()).map(ValueId);
    let of = |input: ValueId| ids().filter(|&id| network.root(id) == input).collect();
    ids().filter(|id| network.values[id.0].origin == Origin::Input).map(of).collect()
}

fn completed(network: &Network, tensors: &[Tensor]) -> Vec<Vec<ValueId>> {
    let mut completed = vec![Vec::new(); network.layers.len()];
    for (at, tensor) in tensors.iter().enumerate() {
        if let State::Computed { layer, .. } = tensor.state {
            completed[layer].push(ValueId(at));
        }
    }
    completed
}

fn fault(layer: &Layer, index: usize, overflow: &Overflow) -> Fault {
    let (value, width) = (overflow.value, overflow.width);
    Fault { layer: index, name: layer.name.clone(), element: overflow.element(), value, width }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_compiler::{Options, compile_stages};
    use cnnip_graph::{
        Activation, Conv2d, DepthwiseConv2d, ElementType, GraphBuilder, Hw, Op, Padding, Pool2d, Quantization, Shape,
    };
    use cnnip_testkit::Rng;

    /// Layers of every kind that threads share, tall enough for five of them.
    fn network(rng: &mut Rng) -> Network {
        let mut build = GraphBuilder::new("shared");
        let tensor = |name: &str, dims: [usize; 4], scale: f32, zero: i64| {
            let shape = Shape::new(dims).unwrap();
            cnnip_graph::Tensor::new(name, shape, ElementType::I8).quantized(Quantization::per_tensor(scale, zero))
        };
        let mut constant =
            |name: &str, dims: [usize; 4]| tensor(name, dims, 0.01, 0).constant(rng.bytes(dims.iter().product()));
        let (w, v, u) = (constant("w", [20, 3, 3, 5]), constant("v", [1, 3, 3, 20]), constant("u", [70, 1, 1, 20]));
        let x = build.input(tensor("x", [2, 17, 9, 5], 0.05, -3));
        let (w, v, u) = (build.tensor(w), build.tensor(v), build.tensor(u));
        let padding = Padding { top: 1, bottom: 1, left: 1, right: 1 };
        let (stride, dilation, activation) = (Hw::ONE, Hw::ONE, Activation::Relu);
        let c = build.apply("c", Op::Conv2d(Conv2d { stride, dilation, padding, groups: 1, activation }), &[x, w]);
        let depthwise = DepthwiseConv2d { stride, dilation, padding, multiplier: 1, activation };
        let d = build.apply("d", Op::DepthwiseConv2d(depthwise), &[c, v]);
        let a = build.apply("a", Op::Add { activation: Activation::None }, &[c, d]);
        let pool = Pool2d { window: Hw::new(3, 3), stride: Hw::new(2, 2), padding, activation: Activation::None };
        let m = build.apply("m", Op::MaxPool2d(pool.clone()), &[a]);
        let p = build.apply("p", Op::AveragePool2d(pool), &[m]);
        let none = Padding::NONE;
        let y =
            build.apply("y", Op::Conv2d(Conv2d { stride, dilation, padding: none, groups: 1, activation }), &[p, u]);
        build.output(y);
        let options = Options::new(cnnip_isa::Target::by_name("v4h").unwrap());
        compile_stages(&build.finish().unwrap(), &options).unwrap().legalized
    }

    #[test]
    fn any_number_of_threads_gives_the_same_tensors() {
        let mut rng = Rng::new(11);
        let network = network(&mut rng);
        let image = rng.bytes(2 * 17 * 9 * 5);
        let run = |kernels: Kernels, threads: usize| {
            let mut simulator = Simulator::with_kernels(network.clone(), kernels, DEFAULT_MEMORY_BYTES).unwrap();
            simulator.workers = Workers::many(kernels, threads).unwrap().eager();
            simulator.set_input(0, &image).unwrap();
            let mut tensors = vec![];
            simulator.run_with(|view| tensors.push((view.tensor().name.clone(), view.bytes().to_vec()))).unwrap();
            tensors
        };
        let one = run(Kernels::scalar(), 1);
        for threads in [1, 2, 3, 5] {
            for kernels in [Kernels::scalar(), Kernels::from_env()] {
                for ((name, want), (_, found)) in one.iter().zip(run(kernels, threads)) {
                    assert_eq!(&found, want, "{name}, {threads} threads");
                }
            }
        }
    }
}
