//! Weights that a device stores in less: small ones made 0 before calibration, kernels made alike after quantization.
//!
//! Pruning takes the weights of least magnitude (Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks");
//! by blocks, it takes those that the machine then neither stores nor computes. Clustering replaces the kernels of a layer, one per
//! pair of input and output channel, by few that they share (Son, Nah and Lee 2018, "Clustering Convolutional Kernels to Compress
//! Deep Neural Networks"). Both change what a network computes; storing the result does not.

use std::collections::{BTreeMap, HashSet};

use cnnip_graph::{Data, ElementType, Graph, NodeId, Op, TensorId};

/// What is made 0 together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Single weights, the smallest of each layer.
    Weight,
    /// Weight blocks of the machine: 16 output channels by 4 input channels at a tap. Equally many of each 16 output channels, since
    /// a convolution takes as long as the fullest needs. Depthwise layers have none.
    Block,
}

/// What compression did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Compressed {
    /// Layers whose weights could be changed.
    pub layers: usize,
    /// Weights of these.
    pub weights: usize,
    /// Weights that are 0 afterwards.
    pub zeros: usize,
    /// Sum of the squares of all changes, by that of all weights before.
    pub error: f64,
}

/// Outputs and inputs of a weight block.
const BLOCK: [usize; 2] = [16, 4];

/// Makes the share `share` (0 to 1) of the weights of every convolution and fully connected layer of a float graph 0.
pub fn prune(graph: &mut Graph, share: f64, unit: Unit) -> Compressed {
    let mut total = Totals::default();
    for (tensor, shape) in layers(graph, &[ElementType::F32]) {
        let before = floats(graph, tensor);
        let mut values = before.clone();
        for pool in shape.pools(unit) {
            let norm = |unit: &Vec<usize>| unit.iter().map(|&at| f64::from(before[at].abs())).sum::<f64>();
            let mut order: Vec<(f64, Vec<usize>)> = pool.into_iter().map(|unit| (norm(&unit), unit)).collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            let count = portion(order.len(), share);
            order.iter().take(count).flat_map(|(_, unit)| unit).for_each(|&at| values[at] = 0.0);
        }
        total.add(before.iter().zip(&values).map(|(&a, &b)| (f64::from(a), f64::from(b))));
        graph.tensors[tensor.index()].data =
            Some(values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into());
    }
    total.compressed()
}

/// The whole number of `count` units that are at most the share.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn portion(count: usize, share: f64) -> usize {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    (f64::from(count) * share.clamp(0.0, 1.0)) as usize
}

/// Replaces the kernels of every layer of a quantized graph with symmetric weights by at most `2^bits` that they share, 1 to 16 bits;
/// a kernel of zeros is always among them. The same graph gives the same result.
pub fn cluster(graph: &mut Graph, bits: u32) -> Compressed {
    let mut total = Totals::default();
    for (tensor, shape) in layers(graph, &[ElementType::I8, ElementType::I16]) {
        let element = graph[tensor].element;
        let before: Vec<i32> = integers(graph, tensor);
        let kernels = shape.kernels();
        let of = |kernel: &Vec<usize>| kernel.iter().map(|&at| before[at]).collect::<Vec<i32>>();
        let mut distinct: BTreeMap<Vec<i32>, u32> = BTreeMap::new();
        kernels.iter().for_each(|kernel| *distinct.entry(of(kernel)).or_default() += 1);
        let shared = shared_kernels(&distinct, 1 << bits.clamp(1, 16));
        let mut values = before.clone();
        for kernel in &kernels {
            let new = shared.get(&of(kernel)).into_iter().flatten();
            kernel.iter().zip(new).for_each(|(&at, &value)| values[at] = value);
        }
        total.add(before.iter().zip(&values).map(|(&a, &b)| (f64::from(a), f64::from(b))));
        let bytes: Vec<u8> =
            values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(element.size())).collect();
        graph.tensors[tensor.index()].data = Some(bytes.into());
    }
    total.compressed()
}

/// Rounds of k-means; it settles sooner or changes little.
const ROUNDS: usize = 10;

/// The kernel that stands for each: its own where they are at most `most`, else the nearest of the means.
fn shared_kernels(kernels: &BTreeMap<Vec<i32>, u32>, most: usize) -> BTreeMap<Vec<i32>, Vec<i32>> {
    if kernels.len() <= most {
        return kernels.keys().map(|kernel| (kernel.clone(), kernel.clone())).collect();
    }
    let mut means = seeds(kernels, most);
    for _ in 0..ROUNDS {
        let next = moved(kernels, &means);
        if next == means {
            break;
        }
        means = next;
    }
    kernels.keys().map(|kernel| (kernel.clone(), means[nearest(kernel, &means)].clone())).collect()
}

/// Zeros, and kernels spread evenly over all in the order of their sums.
fn seeds(kernels: &BTreeMap<Vec<i32>, u32>, most: usize) -> Vec<Vec<i32>> {
    let mut order: Vec<&Vec<i32>> = kernels.keys().collect();
    order.sort_by_key(|kernel| kernel.iter().map(|&value| i64::from(value)).sum::<i64>());
    let taps = order.first().map_or(0, |kernel| kernel.len());
    let others = most - 1;
    let spread = (0..others).map(|at| order[at * order.len() / others].clone());
    std::iter::once(vec![0; taps]).chain(spread).collect()
}

/// The mean of the kernels nearest to each mean, rounded; zeros stay, and so does what is nearest to none.
fn moved(kernels: &BTreeMap<Vec<i32>, u32>, means: &[Vec<i32>]) -> Vec<Vec<i32>> {
    let mut sums: Vec<(i64, Vec<i64>)> = means.iter().map(|mean| (0, vec![0; mean.len()])).collect();
    for (kernel, &count) in kernels {
        let (weight, sum) = &mut sums[nearest(kernel, means)];
        *weight += i64::from(count);
        sum.iter_mut().zip(kernel).for_each(|(sum, &value)| *sum += i64::from(value) * i64::from(count));
    }
    let mean = |(at, (weight, sum)): (usize, (i64, Vec<i64>))| match (at, weight) {
        (0, _) | (_, 0) => means[at].clone(),
        _ => sum.into_iter().map(|sum| i32::try_from((2 * sum + weight).div_euclid(2 * weight)).unwrap_or(0)).collect(),
    };
    sums.into_iter().enumerate().map(mean).collect()
}

/// The mean at the least squared distance, the first of several.
fn nearest(kernel: &[i32], means: &[Vec<i32>]) -> usize {
    let distance =
        |mean: &Vec<i32>| -> i64 { kernel.iter().zip(mean).map(|(&a, &b)| i64::from(a - b) * i64::from(a - b)).sum() };
    means.iter().enumerate().min_by_key(|(_, mean)| distance(mean)).map_or(0, |(at, _)| at)
}

/// Sums over all layers.
#[derive(Debug, Default)]
struct Totals {
    done: Compressed,
    changes: f64,
    squares: f64,
}

impl Totals {
    /// Adds a layer's weights before and after.
    fn add(&mut self, pairs: impl Iterator<Item = (f64, f64)>) {
        self.done.layers += 1;
        for (before, after) in pairs {
            self.done.weights += 1;
            self.done.zeros += usize::from(after == 0.0);
            self.changes += (before - after) * (before - after);
            self.squares += before * before;
        }
    }

    fn compressed(self) -> Compressed {
        Compressed { error: if self.squares > 0.0 { self.changes / self.squares } else { 0.0 }, ..self.done }
    }
}

/// How the weights of a layer lie: `[outputs][taps][inputs]`.
#[derive(Clone, Copy, Debug)]
struct Layout {
    groups: usize,
    /// Of a group.
    outputs: usize,
    taps: usize,
    inputs: usize,
    depthwise: bool,
}

/// Weights of the graph with one of some types that a constant of their own has, and how they lie.
fn layers(graph: &Graph, types: &[ElementType]) -> Vec<(TensorId, Layout)> {
    let mut seen = HashSet::new();
    let layer = |id: NodeId| {
        let node = &graph[id];
        let &tensor = node.inputs.get(1)?;
        let weights = &graph[tensor];
        let symmetric = weights.quantization.as_ref().is_none_or(|q| q.zero_points().iter().all(|&zero| zero == 0));
        let is_ours = types.contains(&weights.element) && weights.is_constant() && symmetric;
        let layout = Layout::of(&node.op, weights.shape.dims()).filter(|_| is_ours)?;
        seen.insert(tensor).then_some((tensor, layout))
    };
    graph.node_ids().filter_map(layer).collect()
}

impl Layout {
    fn of(op: &Op, dims: &[usize]) -> Option<Self> {
        match (op, dims) {
            (Op::Conv2d(conv), &[outputs, rows, columns, inputs]) => {
                let groups = conv.groups.max(1);
                Some(Self { groups, outputs: outputs / groups, taps: rows * columns, inputs, depthwise: false })
            }
            (Op::FullyConnected(_), &[outputs, inputs]) => {
                Some(Self { groups: 1, outputs, taps: 1, inputs, depthwise: false })
            }
            (Op::DepthwiseConv2d(_), &[_, rows, columns, channels]) => {
                Some(Self { groups: 1, outputs: 1, taps: rows * columns, inputs: channels, depthwise: true })
            }
            _ => None,
        }
    }

    fn at(&self, output: usize, tap: usize, input: usize) -> usize {
        (output * self.taps + tap) * self.inputs + input
    }

    /// What is compared with one another: pools of units of weights.
    fn pools(&self, unit: Unit) -> Vec<Vec<Vec<usize>>> {
        if unit == Unit::Weight {
            let count = self.groups * self.outputs * self.taps * self.inputs;
            return vec![(0..count).map(|at| vec![at]).collect()];
        }
        if self.depthwise {
            return vec![];
        }
        let [lanes, depth] = BLOCK;
        let mut pools = vec![];
        for group in 0..self.groups {
            for first in (0..self.outputs).step_by(lanes) {
                let outputs = group * self.outputs + first..group * self.outputs + self.outputs.min(first + lanes);
                let block = |tap: usize, start: usize| -> Vec<usize> {
                    let inputs = start..self.inputs.min(start + depth);
                    outputs
                        .clone()
                        .flat_map(|output| inputs.clone().map(move |input| self.at(output, tap, input)))
                        .collect()
                };
                let starts = (0..self.inputs).step_by(depth);
                pools.push(
                    (0..self.taps)
                        .flat_map(|tap| starts.clone().map(move |start| (tap, start)))
                        .map(|(tap, start)| block(tap, start))
                        .collect(),
                );
            }
        }
        pools
    }

    /// The weights of every pair of channels, tap by tap.
    fn kernels(&self) -> Vec<Vec<usize>> {
        let outputs = 0..self.groups * self.outputs;
        let pairs = outputs.flat_map(|output| (0..self.inputs).map(move |input| (output, input)));
        pairs.map(|(output, input)| (0..self.taps).map(|tap| self.at(output, tap, input)).collect()).collect()
    }
}

fn floats(graph: &Graph, tensor: TensorId) -> Vec<f32> {
    let bytes = graph[tensor].data.as_ref().map_or(&[][..], Data::bytes);
    bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
}

fn integers(graph: &Graph, tensor: TensorId) -> Vec<i32> {
    let values = graph[tensor].data.as_ref().and_then(|data| data.integers(graph[tensor].element));
    values.unwrap_or_default().into_iter().map(|value| i32::try_from(value).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use cnnip_graph::{Activation, Conv2d, GraphBuilder, Hw, Padding, Quantization, Shape, Tensor};

    use super::*;

    fn conv() -> Op {
        Op::Conv2d(Conv2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::NONE,
            groups: 1,
            activation: Activation::None,
        })
    }

    /// One 3x3 convolution of 8 inputs and 20 outputs.
    fn graph(element: ElementType, bytes: Vec<u8>) -> (Graph, TensorId) {
        let mut build = GraphBuilder::new("one");
        let tensor = |name: &str, shape: &[usize]| {
            let tensor = Tensor::new(name, Shape::new(shape).unwrap(), element);
            if element == ElementType::F32 { tensor } else { tensor.quantized(Quantization::per_tensor(0.5, 0)) }
        };
        let image = build.input(tensor("image", &[1, 3, 3, 8]));
        let weights = build.tensor(tensor("weights", &[20, 3, 3, 8]).constant(bytes));
        let output = build.apply("output", conv(), &[image, weights]);
        build.output(output);
        (build.finish().unwrap(), weights)
    }

    const WEIGHTS: u32 = 20 * 9 * 8;

    /// Numbers without an order.
    fn mixed() -> impl Iterator<Item = i8> {
        (0..WEIGHTS).map(|at| i8::from_le_bytes([at.wrapping_mul(2_654_435_761).to_le_bytes()[3]]))
    }

    fn float() -> (Graph, TensorId) {
        graph(ElementType::F32, mixed().flat_map(|value| (f32::from(value) + 0.5).to_le_bytes()).collect())
    }

    #[test]
    fn the_smallest_weights_become_zero() {
        let (mut graph, weights) = float();
        let before = floats(&graph, weights);
        let done = prune(&mut graph, 0.5, Unit::Weight);
        assert_eq!((done.layers, done.weights, done.zeros), (1, 1440, 720));
        let pairs: Vec<(f32, f32)> = before.into_iter().zip(floats(&graph, weights)).collect();
        let gone = pairs.iter().filter(|pair| pair.1 == 0.0).map(|pair| pair.0.abs()).fold(0.0, f32::max);
        assert!(pairs.iter().all(|&(before, after)| after == before || after == 0.0));
        assert!(pairs.iter().filter(|pair| pair.1 != 0.0).all(|pair| pair.0.abs() >= gone));
        assert!(done.error > 0.0 && done.error < 0.25, "{done:?}");
    }

    #[test]
    fn blocks_go_evenly_from_each_sixteen_outputs() {
        let (mut graph, weights) = float();
        // 18 blocks of each row of blocks: 9 taps by 2 parts of the inputs.
        assert_eq!(prune(&mut graph, 0.5, Unit::Block).zeros, 9 * 4 * 20);
        let values = floats(&graph, weights);
        for outputs in [0..16, 16..20] {
            let empty = |block: &usize| {
                let (tap, part) = (block / 2, block % 2 * 4);
                outputs.clone().all(|o: usize| (part..part + 4).all(|i| values[(o * 9 + tap) * 8 + i] == 0.0))
            };
            assert_eq!((0..18).filter(empty).count(), 9);
        }
    }

    #[test]
    fn few_kernels_are_shared_and_the_result_is_always_the_same() {
        let bytes: Vec<u8> = mixed().flat_map(i8::to_le_bytes).collect();
        let (mut first, weights) = graph(ElementType::I8, bytes.clone());
        let mut coarse = first.clone();
        let done = cluster(&mut first, 5);
        let worse = cluster(&mut coarse, 2);
        assert!(done.error < worse.error && worse.error < 1.0, "{done:?} {worse:?}");
        let values = integers(&first, weights);
        let kernels: HashSet<Vec<i32>> = Layout::of(&conv(), &[20, 3, 3, 8])
            .unwrap()
            .kernels()
            .iter()
            .map(|kernel| kernel.iter().map(|&at| values[at]).collect())
            .collect();
        assert!(kernels.len() <= 32, "{}", kernels.len());
        let (mut again, _) = graph(ElementType::I8, bytes);
        cluster(&mut again, 5);
        assert_eq!(integers(&again, weights), values);
        assert_eq!(cluster(&mut again, 5).error, 0.0, "what is clustered already stays");
    }
}
