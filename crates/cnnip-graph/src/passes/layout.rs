//! Layout: exchanges of axes move behind the operators that do not mind them, and cancel.

use std::collections::{HashMap, HashSet};

use super::edit::{Edit, remove};
use super::{dead_code, fold_constants};
use crate::evaluate::{evaluate, moved_quantization};
use crate::graph::{Graph, Node, TensorId};
use crate::op::{Gather, Mean, Op, Pad, Slice};
use crate::tensor::{Quantization, Shape, Source, Tensor};

/// A tensor as an exchange of the axes of another: its axis `i` is axis `perm[i]` of `base`.
#[derive(Clone, Debug)]
struct View {
    base: TensorId,
    perm: Vec<usize>,
}

/// Moves exchanges of axes towards the outputs, through every operator that can work in another
/// order, and removes those that cancel. A network of channels-last operators between exchanges
/// keeps one at an input and one at an output at most, where it has that many axes there.
///
/// A tensor whose axes change says so in [`Tensor::source`].
#[must_use]
pub fn channels_last(graph: Graph) -> Graph {
    let (edit, nodes) = Edit::open(graph);
    let mut views = Vec::new();
    views.resize_with(edit.graph.tensors.len(), || None);
    let mut layout = Layout { edit, views, flat: HashMap::new() };
    nodes.into_iter().for_each(|node| layout.node(node));
    let mut graph = layout.edit.graph;
    graph.nodes.iter_mut().for_each(|node| free(node, &graph.tensors));
    named(dead_code(fold_constants(written_directly(graph))))
}

/// An output that is a copy of what a node gives is given by that node.
fn written_directly(mut graph: Graph) -> Graph {
    let mut gone = vec![false; graph.nodes.len()];
    for (index, gone) in gone.iter_mut().enumerate() {
        let node = &graph.nodes[index];
        let (Op::Reshape { .. }, &[input], &[output]) = (&node.op, node.inputs.as_slice(), node.outputs.as_slice())
        else {
            continue;
        };
        let (from, to) = (&graph[input], &graph[output]);
        let copy = from.shape == to.shape && from.quantization == to.quantization && from.element == to.element;
        let free = !from.is_constant() && !graph.inputs.contains(&input) && !graph.outputs.contains(&input);
        if copy && free && graph.outputs.contains(&output) {
            let lists = graph.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().chain(&mut node.outputs));
            lists.filter(|id| **id == input).for_each(|id| *id = output);
            *gone = true;
        }
    }
    remove(&mut graph, &gone);
    graph
}

/// The graph that is written, and what is known of its tensors.
struct Layout {
    edit: Edit,
    /// By tensor; tensors added later may lack an entry.
    views: Vec<Option<View>>,
    /// Views that were flattened behind the batch, by the flat tensor.
    flat: HashMap<TensorId, View>,
}

impl Layout {
    fn view(&self, id: TensorId) -> Option<&View> {
        self.views.get(id.index())?.as_ref()
    }

    fn set_view(&mut self, id: TensorId, view: View) {
        if self.views.len() <= id.index() {
            self.views.resize_with(id.index() + 1, || None);
        }
        self.views[id.index()] = Some(view);
    }

    fn node(&mut self, mut node: Node) {
        // A tensor that is another one in the same order is that one.
        for input in &mut node.inputs {
            if let Some(view) = self.views.get(input.index()).and_then(Option::as_ref)
                && is_identity(&view.perm)
            {
                *input = view.base;
            }
        }
        let moved = match &node.op {
            Op::Transpose { perm } => self.exchanged(&node, perm.clone()),
            Op::Reshape { .. } => self.reshaped(&node),
            Op::FullyConnected(_) => self.flat_layer(&node),
            Op::Quantize | Op::Dequantize => {
                self.flat_conversion(&node);
                self.sunk(&node)
            }
            _ => self.sunk(&node),
        };
        if moved.is_none() {
            self.edit.graph.nodes.push(node);
        }
    }

    /// An exchange of axes, together with those before it.
    fn exchanged(&mut self, node: &Node, perm: Vec<usize>) -> Option<()> {
        let (&[input], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return None };
        let view = match self.view(input) {
            Some(View { base, perm: before }) => {
                View { base: *base, perm: perm.iter().map(|&axis| before[axis]).collect() }
            }
            None => View { base: input, perm },
        };
        self.write_view(output, view);
        Some(())
    }

    /// Writes `output` as a view of another tensor.
    fn write_view(&mut self, output: TensorId, view: View) {
        self.edit.push(Op::Transpose { perm: view.perm.clone() }, vec![view.base], output);
        self.set_view(output, view);
    }

    /// Does the node on what its inputs are views of, if that needs no more exchanges than there are.
    fn sunk(&mut self, node: &Node) -> Option<()> {
        let &[output] = node.outputs.as_slice() else { return None };
        let perm = self.common_order(node)?;
        let inverse = inverse(&perm);
        let (op, order) = reordered(&node.op, &perm)?;
        let mut inputs = Vec::new();
        for &input in &node.inputs {
            inputs.push(self.in_order(input, &perm, &inverse)?);
        }
        let target = self.edit.graph[output].clone();
        if target.quantization.as_ref().is_some_and(|quantization| quantization.axis().is_some()) {
            return None;
        }
        let name = format!("{}.nhwc", target.name);
        let made = self.edit.apply(&name, op, &inputs, target.quantization.clone())?;
        let axes = self::inverse(&order);
        let tensor = &mut self.edit.graph.tensors[made.index()];
        tensor.element = target.element;
        tensor.source = target.seen_as(&axes);
        self.write_view(output, View { base: made, perm: order });
        Some(())
    }

    /// The order that most inputs of a node are views in.
    fn common_order(&self, node: &Node) -> Option<Vec<usize>> {
        let rank = self.edit.graph[*node.outputs.first()?].shape.rank();
        let first = node.inputs.iter().find_map(|&id| self.view(id))?;
        let perm = first.perm.clone();
        if is_identity(&perm)
            || (perm.len() != rank
                && !matches!(node.op, Op::Mean(_) | Op::Sum(_) | Op::ReduceMax(_) | Op::ReduceMin(_)))
        {
            return None;
        }
        let (mut there, mut missing) = (0, 0);
        for &id in &node.inputs {
            let tensor = &self.edit.graph[id];
            match self.view(id) {
                _ if tensor.is_constant() => {}
                Some(view) if view.perm == perm => there += 1,
                _ if tensor.shape.elements() == 1 => {}
                _ => missing += 1,
            }
        }
        (there >= missing).then_some(perm)
    }

    /// What `input` is a view of, in this order; a constant or another tensor is put into it.
    fn in_order(&mut self, input: TensorId, perm: &[usize], inverse: &[usize]) -> Option<TensorId> {
        if let Some(view) = self.view(input)
            && view.perm == perm
        {
            return Some(view.base);
        }
        let mut tensor = self.edit.graph[input].clone();
        let mut input = input;
        if tensor.shape.rank() > perm.len() {
            return None;
        }
        if tensor.shape.rank() == 0 || tensor.shape.elements() == 1 && tensor.is_constant() {
            return Some(input);
        }
        if tensor.shape.rank() < perm.len() {
            let missing = vec![1; perm.len() - tensor.shape.rank()];
            let shape = Shape::new([&missing, tensor.shape.dims()].concat()).ok()?;
            input = self.moved(input, &tensor, Op::Reshape { shape })?;
            tensor = self.edit.graph[input].clone();
        }
        self.moved(input, &tensor, Op::Transpose { perm: inverse.to_vec() })
    }

    /// A movement of a tensor: a constant if it is one.
    fn moved(&mut self, id: TensorId, tensor: &Tensor, op: Op) -> Option<TensorId> {
        let quantization = moved_quantization(&op, tensor)?;
        let name = format!("{}.moved", tensor.name);
        if !tensor.is_constant() {
            return self.edit.apply(&name, op, &[id], quantization);
        }
        let shape = crate::infer::infer_shape(&op, &[&tensor.shape]).ok()?;
        let data = evaluate(&op, &[tensor], &shape)?;
        let moved = Tensor { quantization, ..Tensor::new(name, shape, tensor.element) };
        Some(self.edit.tensor(moved.constant(data)))
    }

    /// A reshape of a view: of what it is a view of, where the elements are in the same order, or
    /// where axes are only split, and joined.
    fn reshaped(&mut self, node: &Node) -> Option<()> {
        let (&[input], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return None };
        let view = self.view(input)?.clone();
        let shape = self.edit.graph[output].shape.clone();
        if keeps_elements(&view.perm, &self.edit.graph[view.base].shape) {
            self.edit.push(Op::Reshape { shape }, vec![view.base], output);
            return Some(());
        }
        self.flattened(input, output, &view);
        let groups = groups(self.edit.graph[input].shape.dims(), shape.dims())?;
        let target = self.edit.graph[output].clone();
        // The groups in the order of the base, each with its axes of the base.
        let mut order: Vec<usize> = (0..groups.len()).collect();
        let of_base = |group: &Group| group.from.clone().map(|axis| view.perm[axis]).collect::<Vec<usize>>();
        order.sort_by_key(|&group| of_base(&groups[group]).first().copied().unwrap_or(usize::MAX));
        if order.is_sorted() {
            return None;
        }
        let exchange: Vec<usize> = order.iter().flat_map(|&group| of_base(&groups[group])).collect();
        let mut base = view.base;
        if !is_identity(&exchange) {
            let quantization = self.edit.graph[base].quantization.clone();
            let name = format!("{}.moved", target.name);
            base = self.edit.apply(&name, Op::Transpose { perm: exchange }, &[base], quantization)?;
        }
        let axes: Vec<usize> = order.iter().flat_map(|&group| groups[group].to.clone()).collect();
        let dims: Vec<usize> = axes.iter().map(|&axis| shape.dims()[axis]).collect();
        let name = format!("{}.nhwc", target.name);
        let op = Op::Reshape { shape: Shape::new(dims).ok()? };
        let made = self.edit.apply(&name, op, &[base], target.quantization.clone())?;
        self.edit.graph.tensors[made.index()].source = target.seen_as(&axes);
        self.write_view(output, View { base: made, perm: inverse(&axes) });
        Some(())
    }
}

impl Layout {
    /// Notes a flattening of all axes of a view but the batch.
    fn flattened(&mut self, input: TensorId, output: TensorId, view: &View) {
        let (from, to) = (self.edit.graph[input].shape.dims(), self.edit.graph[output].shape.dims());
        if view.perm.first() == Some(&0) && to.len() == 2 && from.first() == to.first() {
            self.flat.insert(output, view.clone());
        }
    }

    /// A conversion of a flattened view is the flattening of a conversion.
    fn flat_conversion(&mut self, node: &Node) -> Option<()> {
        let (&[input], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return None };
        let View { base, perm } = self.flat.get(&input)?.clone();
        let target = self.edit.graph[output].clone();
        if target.quantization.as_ref().and_then(Quantization::axis).is_some() {
            return None;
        }
        let name = format!("{}.map", target.name);
        let made = self.edit.apply(&name, node.op.clone(), &[base], target.quantization)?;
        self.edit.graph.tensors[made.index()].element = target.element;
        self.flat.insert(output, View { base: made, perm });
        Some(())
    }

    /// A layer on a flattened view is a layer on what it is a view of, with the weights of its inputs in
    /// that order.
    fn flat_layer(&mut self, node: &Node) -> Option<()> {
        let (&[x, weights, ref rest @ ..], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else {
            return None;
        };
        let View { base, perm } = self.flat.get(&x)?.clone();
        let weights = self.columns(weights, base, &perm)?;
        let flat = self.edit.graph[x].clone();
        let op = Op::Reshape { shape: flat.shape };
        let name = format!("{}.nhwc", flat.name);
        let x = self.edit.apply(&name, op, &[base], self.edit.graph[base].quantization.clone())?;
        self.edit.push(node.op.clone(), [x, weights].into_iter().chain(rest.iter().copied()).collect(), output);
        Some(())
    }

    /// Constant weights, or the real values of one, with the columns in the order of `base`.
    fn columns(&mut self, weights: TensorId, base: TensorId, perm: &[usize]) -> Option<TensorId> {
        let tensor = self.edit.graph[weights].clone();
        if !tensor.is_constant() {
            let real = self.edit.graph.nodes.iter().find(|node| node.outputs.contains(&weights))?;
            let integers = real.inputs.first().copied().filter(|_| real.op == Op::Dequantize)?;
            self.edit.graph[integers].data.as_ref()?;
            let moved = self.columns(integers, base, perm)?;
            let real = self.edit.tensor(Tensor { name: format!("{}.moved", tensor.name), ..tensor });
            self.edit.push(Op::Dequantize, vec![moved], real);
            return Some(real);
        }
        let dims = self.edit.graph[base].shape.dims().to_vec();
        let &[outputs, columns] = tensor.shape.dims() else { return None };
        let inner = perm.get(1..)?.iter().map(|&axis| dims[axis]);
        let split = Shape::new([outputs].into_iter().chain(inner).collect::<Vec<_>>()).ok()?;
        let order = [0].into_iter().chain(inverse(perm).get(1..)?.iter().copied()).collect();
        let split = self.moved(weights, &tensor, Op::Reshape { shape: split })?;
        let split_tensor = self.edit.graph[split].clone();
        let ordered = self.moved(split, &split_tensor, Op::Transpose { perm: order })?;
        let ordered_tensor = self.edit.graph[ordered].clone();
        let shape = Shape::new([outputs, columns]).ok()?;
        self.moved(ordered, &ordered_tensor, Op::Reshape { shape })
    }
}

/// Axes of the input and of the output of a reshape that hold the same elements.
struct Group {
    from: std::ops::Range<usize>,
    to: std::ops::Range<usize>,
}

/// The smallest groups of neighbouring axes that a reshape maps to each other.
fn groups(from: &[usize], to: &[usize]) -> Option<Vec<Group>> {
    let mut groups = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (start_i, start_j) = (i, j);
        let mut a = *from.get(i)?;
        let mut b = *to.get(j)?;
        (i, j) = (i + 1, j + 1);
        while a != b {
            if a < b {
                a *= from.get(i)?;
                i += 1;
            } else {
                b *= to.get(j)?;
                j += 1;
            }
        }
        groups.push(Group { from: start_i..i, to: start_j..j });
    }
    Some(groups)
}

fn is_identity(perm: &[usize]) -> bool {
    perm.iter().copied().eq(0..perm.len())
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
    inverse
}

/// Whether an exchange of the axes of `shape` leaves the elements in their order.
fn keeps_elements(perm: &[usize], shape: &Shape) -> bool {
    perm.iter().filter(|&&axis| shape.dims()[axis] != 1).is_sorted()
}

/// An exchange that moves no element is a reshape.
fn free(node: &mut Node, tensors: &[Tensor]) {
    let (Op::Transpose { perm }, &[input], &[output]) = (&node.op, node.inputs.as_slice(), node.outputs.as_slice())
    else {
        return;
    };
    let per_channel = tensors[input.index()].quantization.as_ref().and_then(Quantization::axis).is_some();
    if keeps_elements(perm, &tensors[input.index()].shape) && !per_channel {
        node.op = Op::Reshape { shape: tensors[output.index()].shape.clone() };
    }
}

/// A tensor takes the name of the source's value that it holds, if nothing else has it.
pub(super) fn named(mut graph: Graph) -> Graph {
    let mut taken: HashSet<String> = graph.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    for tensor in &mut graph.tensors {
        let Source::View { name, axes } = &tensor.source else { continue };
        if taken.insert(name.clone()) {
            taken.remove(&std::mem::replace(&mut tensor.name, name.clone()));
        }
        if tensor.name == *name && is_identity(axes) {
            tensor.source = Source::Same;
        }
    }
    for node in &mut graph.nodes {
        if let Some(output) = node.outputs.first() {
            node.name.clone_from(&graph.tensors[output.index()].name);
        }
    }
    graph
}

/// The operator on inputs whose axis `perm[i]` is axis `i` of what the operator has now, and the order
/// of its output: axis `i` now is axis `order[i]` then. `None` if it minds the order.
fn reordered(op: &Op, perm: &[usize]) -> Option<(Op, Vec<usize>)> {
    let rank = perm.len();
    let per_axis = |list: &[usize]| {
        let mut moved = vec![0; rank];
        list.iter().zip(perm).for_each(|(&value, &axis)| moved[axis] = value);
        moved
    };
    let same = |op: Op| Some((op, perm.to_vec()));
    match op {
        Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } | Op::Div { .. } | Op::Pow | Op::Maximum | Op::Minimum => {
            same(op.clone())
        }
        Op::SquaredDifference | Op::Abs | Op::Neg | Op::Elu | Op::Gelu { .. } => same(op.clone()),
        Op::Prelu | Op::Quantize | Op::Dequantize | Op::Relu | Op::Relu6 | Op::ReluN1To1 => same(op.clone()),
        Op::Clamp { .. } | Op::LeakyRelu { .. } | Op::HardSwish | Op::HardSigmoid { .. } => same(op.clone()),
        Op::Logistic | Op::Tanh | Op::Exp | Op::Log | Op::Sqrt | Op::Rsqrt => same(op.clone()),
        Op::Softmax { .. } => (perm.last() == Some(&(rank - 1))).then(|| same(op.clone()))?,
        Op::Concat { axis } => same(Op::Concat { axis: perm[*axis] }),
        Op::Pad(pad) => {
            let (before, after) = (per_axis(&pad.before), per_axis(&pad.after));
            same(Op::Pad(Pad { before, after, value: pad.value }))
        }
        Op::Slice(slice) if slice.dropped.is_empty() => same(Op::Slice(Slice {
            begin: per_axis(&slice.begin),
            stride: per_axis(&slice.stride),
            count: per_axis(&slice.count),
            dropped: vec![],
        })),
        Op::Gather(gather) if gather.shape.rank() == 1 => {
            same(Op::Gather(Gather { axis: perm[gather.axis], ..gather.clone() }))
        }
        Op::Mean(mean) => reduction(mean, perm).map(|(mean, order)| (Op::Mean(mean), order)),
        Op::Sum(mean) => reduction(mean, perm).map(|(mean, order)| (Op::Sum(mean), order)),
        Op::ReduceMax(mean) => reduction(mean, perm).map(|(mean, order)| (Op::ReduceMax(mean), order)),
        Op::ReduceMin(mean) => reduction(mean, perm).map(|(mean, order)| (Op::ReduceMin(mean), order)),
        _ => None,
    }
}

/// A reduction over the axes where they are now; axes that go leave a smaller order.
fn reduction(mean: &Mean, perm: &[usize]) -> Option<(Mean, Vec<usize>)> {
    let mut axes: Vec<usize> = mean.axes.iter().map(|&axis| perm[axis]).collect();
    axes.sort_unstable();
    let mut order = perm.to_vec();
    if !mean.keep_dims {
        let left: Vec<usize> = (0..perm.len()).filter(|axis| !axes.contains(axis)).collect();
        let kept = perm.iter().filter(|axis| !axes.contains(axis));
        order = kept.map(|axis| left.iter().position(|is| is == axis)).collect::<Option<Vec<_>>>()?;
    }
    Some((Mean { axes, keep_dims: mean.keep_dims }, order))
}
