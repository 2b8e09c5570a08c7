//! Graph → layers: what each node computes on this machine, with every numeric parameter derived.
//!
//! One function per operator family, in a module of its own. A rule that a node breaks is reported and
//! the next node is looked at, so a caller sees all problems at once.

mod blocks;
mod context;
mod eltwise;
mod host;
mod join;
mod movement;
mod onnx;
mod pool;
mod product;
mod recurrent;
mod reduce;
mod sampling;
mod table;
mod take;
mod transposed;

use cnnip_graph::{Graph, Node, Op, Place};
use cnnip_isa::EltwiseFunction;
use cnnip_numerics::quantize::{Curve, elu, exponential, gelu, logarithm};

use crate::error::{CompileErrors, Problem, Rule};
use crate::options::Options;
use cnnip_lowered::{Network, PoolFunction};
use context::Context;

/// Turns a well-formed graph into layers of the machine and steps of the host.
///
/// # Errors
/// All problems of the model.
pub(crate) fn legalize(graph: &Graph, options: &Options) -> Result<Network, CompileErrors> {
    let mut context = Context::new(graph, options);
    let mut problems = context.start();
    for (index, node) in graph.nodes.iter().enumerate() {
        if let Err(rule) = legalize_node(&mut context, index, node) {
            problems.push(Problem { place: Place::node(index, &node.name, node.op.name()), rule });
        }
    }
    problems.extend(context.keep(&options.keep));
    context.separate_outputs();
    context.finish_uint8();
    CompileErrors::check(problems)?;
    Ok(context.legalized)
}

fn legalize_node<'a>(context: &mut Context<'a>, index: usize, node: &'a Node) -> Result<(), Rule> {
    let mut at = context.at(index, node);
    if let Some(done) = onnx::legalize(&mut at, &node.op) {
        return done;
    }
    match &node.op {
        Op::Conv2d(conv) => product::conv(&mut at, conv),
        Op::TransposeConv2d(conv) => transposed::transposed(&mut at, conv),
        Op::DepthwiseConv2d(conv) => product::depthwise(&mut at, conv),
        Op::FullyConnected(layer) => product::fully_connected(&mut at, layer),
        Op::MaxPool2d(pool) => pool::max(&mut at, pool),
        Op::AveragePool2d(pool) => pool::average(&mut at, pool),
        Op::Mean(mean) => reduce::mean(&mut at, mean),
        Op::Sum(mean) => reduce::sum(&mut at, mean),
        Op::ReduceMax(mean) => reduce::extremum(&mut at, mean, PoolFunction::Max),
        Op::ReduceMin(mean) => reduce::extremum(&mut at, mean, PoolFunction::Min),
        Op::Concat { axis } => join::concat(&mut at, *axis),
        Op::Pack { axis } => join::pack(&mut at, *axis),
        Op::Slice(slice) => movement::slice(&mut at, slice),
        Op::Gather(gather) => movement::gather(&mut at, gather),
        Op::Take(op) => take::take(&mut at, op),
        Op::ResizeBilinear(op) => sampling::resize_bilinear(&mut at, op),
        Op::ArgMax(op) => sampling::arg_max(&mut at, op),
        Op::ArgMin(op) => sampling::arg_min(&mut at, op),
        Op::ResizeNearest(op) => take::resize_nearest(&mut at, op),
        Op::DepthToSpace { block } => blocks::depth_to_space(&mut at, *block),
        Op::SpaceToDepth { block } => blocks::space_to_depth(&mut at, *block),
        Op::SpaceToBatch(op) => blocks::space_to_batch(&mut at, op),
        Op::BatchToSpace(op) => blocks::batch_to_space(&mut at, op),
        Op::Pad(pad) => movement::pad(&mut at, pad),
        Op::Reshape { .. } => movement::reshape(&mut at),
        Op::Transpose { perm } => movement::transpose(&mut at, perm),
        Op::Add { activation } => eltwise::add(&mut at, *activation),
        Op::Sub { activation } => eltwise::sub(&mut at, *activation),
        Op::Mul { activation } => eltwise::mul(&mut at, *activation),
        Op::Maximum => eltwise::choose(&mut at, EltwiseFunction::Max),
        Op::Minimum => eltwise::choose(&mut at, EltwiseFunction::Min),
        Op::Prelu => eltwise::prelu(&mut at),
        Op::Relu => eltwise::relu(&mut at),
        Op::Relu6 => eltwise::clamp(&mut at, cnnip_graph::Activation::Relu6),
        Op::ReluN1To1 => eltwise::clamp(&mut at, cnnip_graph::Activation::ReluN1To1),
        Op::LeakyRelu { alpha } => table::leaky_relu(&mut at, *alpha),
        Op::HardSwish => table::hard_swish(&mut at),
        Op::HardSigmoid { alpha, beta } => table::hard_sigmoid(&mut at, *alpha, *beta),
        Op::Exp => table::sampled(&mut at, exponential),
        Op::Log => table::narrow(&mut at, logarithm),
        Op::Sqrt => table::sqrt(&mut at),
        Op::Rsqrt => table::rsqrt(&mut at),
        Op::Abs => table::abs(&mut at),
        Op::Neg => table::neg(&mut at),
        Op::Elu => table::narrow(&mut at, elu),
        Op::Gelu { approximate } => table::narrow(&mut at, |x| gelu(x, *approximate)),
        Op::SquaredDifference => eltwise::squared_difference(&mut at),
        Op::Lstm(op) => recurrent::lstm(&mut at, op),
        Op::Clamp { min, max } => eltwise::bounded(&mut at, *min, *max),
        Op::Logistic => table::curve(&mut at, Curve::Sigmoid),
        Op::Tanh => table::curve(&mut at, Curve::Tanh),
        Op::Quantize => host::quantize(&mut at),
        Op::Dequantize => host::dequantize(&mut at),
        Op::NonMaxSuppression(_) | Op::Detections(_) => host::boxes(&mut at),
        Op::Softmax { beta } => host::softmax(&mut at, *beta),
        other => Err(Rule::Unsupported { operator: other.name(), shape: at.input(0).shape.clone() }),
    }
}
