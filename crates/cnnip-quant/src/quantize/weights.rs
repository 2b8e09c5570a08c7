//! Constants: weights, biases, operands.

use cnnip_graph::{Data, ElementType, Node, Op, Quantization, Tensor, TensorId};

use super::{Broken, QuantizeRule, Rewrite, element};
use crate::histogram::narrow;
use crate::parameters::{Affine, Width, integer, usable};
use crate::ranges::Range;

/// Largest magnitude of a weight: -128 and -32768 are not used, so that weights are symmetric.
const fn largest_weight(width: Width) -> i32 {
    match width {
        Width::Int8 => 127,
        Width::Int16 => 32767,
    }
}

/// Largest magnitude of a bias: half of what an accumulator of 32 bits holds, or 2^46 of its 48 bits. Where a bias would be larger,
/// its channel's weights take coarser steps.
const fn largest_bias(width: Width) -> f64 {
    match width {
        Width::Int8 => (1_u64 << 30) as f64,
        Width::Int16 => (1_u64 << 46) as f64,
    }
}

/// The real numbers of a constant: float32 elements, or what the integers of a model with quantized weights only stand for.
pub(super) fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    let data = tensor.data.as_ref()?;
    if tensor.element == ElementType::F32 {
        return Some(data.bytes().as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect());
    }
    let quantization = tensor.quantization.as_ref()?;
    let channels = Channels::of(tensor, quantization.axis().unwrap_or(0));
    let (scales, zeros) = (quantization.scales(), quantization.zero_points());
    let real = |(at, value): (usize, i64)| {
        let channel = if scales.len() > 1 { channels.channel(at) } else { 0 };
        let steps = i32::try_from(value - zeros.get(channel)?).ok()?;
        Some(narrow(f64::from(steps) * f64::from(*scales.get(channel)?)))
    };
    data.integers(tensor.element)?.into_iter().enumerate().map(real).collect()
}

/// Smallest and largest element.
pub(super) fn constant_range(values: &[f32]) -> Result<Range, QuantizeRule> {
    finite(values)?;
    let min = values.iter().copied().fold(f32::INFINITY, f32::min);
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    Ok(if min <= max { Range { min, max } } else { Range { min: 0.0, max: 0.0 } })
}

fn finite(values: &[f32]) -> Result<(), QuantizeRule> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(first) => {
            Err(QuantizeRule::NotFinite { count: values.iter().filter(|value| !value.is_finite()).count(), first })
        }
    }
}

/// A constant operand as integers of `width`.
pub(super) fn operand(rewrite: &mut Rewrite<'_>, id: TensorId, width: Width) -> Result<TensorId, Broken> {
    let old = &rewrite.old[id];
    let values = floats(old).unwrap_or_default();
    let own = rewrite.plan.affine(id).filter(|affine| affine.width() == width);
    let affine = own.unwrap_or_else(|| rewrite.plan.in_width(id, width));
    let integers = values.iter().map(|&value| affine.code(value.into()));
    let tensor = Tensor { element: element(width), ..old.clone() }
        .constant(bytes(integers, element(width)))
        .quantized(Quantization::per_tensor(affine.scale, affine.zero));
    Ok(rewrite.replace(id, tensor))
}

/// The weights of a node that works in `width`: integers with a scale per output channel, int8 unless 16 bits are wanted for them
/// and the node has 16-bit activations.
pub(super) fn weights(rewrite: &mut Rewrite<'_>, node: &Node, width: Width) -> Result<TensorId, Broken> {
    let id = node.inputs[1];
    let old = &rewrite.old[id];
    let values = constant("weights", old)?;
    finite(&values).map_err(|rule| (Some(id), rule))?;
    let axis = node.op.weight_axis().unwrap_or(0);
    let channels = Channels::of(old, axis);
    let bias = bias_values(rewrite, node, channels.count)?;
    let input = rewrite.plan.affine(node.inputs[0]);
    let width = width.min(rewrite.plan.weight_width(id));
    let limit = largest_weight(width);
    let step = |channel: usize, largest: f32| {
        let (largest, bias) = (f64::from(largest), f64::from(bias[channel].abs()));
        channel_scale(largest, f64::from(limit), bias, input)
    };
    let scales: Vec<f32> =
        channels.magnitudes(&values).into_iter().enumerate().map(|(channel, largest)| step(channel, largest)).collect();
    let code = |(at, &value): (usize, &f32)| {
        let steps = f64::from(value) / f64::from(scales[channels.channel(at)]);
        integer(steps).clamp((-limit).into(), limit.into())
    };
    let data = bytes(values.iter().enumerate().map(code), element(width));
    let tensor = Tensor { element: element(width), ..old.clone() }
        .constant(data)
        .quantized(Quantization::symmetric_per_channel(axis, scales));
    Ok(rewrite.replace(id, tensor))
}

/// The step of a channel's weights: the finest that holds the weights, and with which the bias is not too large.
///
/// A channel without weights takes a step that makes the bias a number of 24 bits, so that it is not lost.
fn channel_scale(largest: f64, integers: f64, bias: f64, input: Option<Affine>) -> f32 {
    let Some(input) = input else { return usable(largest / integers) };
    let bits = if largest > 0.0 { largest_bias(input.width()) } else { f64::from(1 << 24) };
    usable((largest / integers).max(bias / f64::from(input.scale) / bits))
}

/// The bias of a node, in the scale of input times weights; `inputs` are those of the new node so far.
pub(super) fn bias(
    rewrite: &mut Rewrite<'_>,
    node: &Node,
    inputs: &[TensorId],
    width: Width,
) -> Result<TensorId, Broken> {
    let old = &rewrite.old[node.inputs[2]];
    let (input, weights) = (&rewrite.new[inputs[0]], &rewrite.new[inputs[1]]);
    let scale = |tensor: &Tensor| tensor.quantization.as_ref().map(|q| q.scales().to_vec()).unwrap_or_default();
    let input = scale(input).first().copied().unwrap_or(1.0);
    let scales: Vec<f64> = scale(weights).iter().map(|&weight| f64::from(input) * f64::from(weight)).collect();
    let mut values = bias_values(rewrite, node, scales.len())?;
    if let Some(shift) = correction(rewrite, node, inputs[1]) {
        values.iter_mut().zip(shift).for_each(|(bias, shift)| *bias -= narrow(shift));
    }
    let element = if width == Width::Int16 { ElementType::I64 } else { ElementType::I32 };
    let limit = integer(largest_bias(width));
    let integers =
        values.iter().zip(&scales).map(|(&bias, &scale)| integer(f64::from(bias) / scale).clamp(-limit, limit));
    let data = bytes(integers, element);
    let scales: Vec<f32> = scales.iter().map(|&scale| narrow(scale)).collect();
    let tensor =
        Tensor { element, ..old.clone() }.constant(data).quantized(Quantization::symmetric_per_channel(0, scales));
    Ok(rewrite.replace(node.inputs[2], tensor))
}

/// By how much the mean of every output channel grows when the weights are rounded: the sum over taps and input channels of
/// the weight's error times the mean of its input. `None` where the means are not known, or not by the weights' input channels.
///
/// Padding counts as if it were like the rest (Nagel et al. 2019, section 4.2, with measured means).
fn correction(rewrite: &Rewrite<'_>, node: &Node, weights: TensorId) -> Option<Vec<f64>> {
    let means = rewrite.means?.of(&rewrite.old[node.inputs[0]].name)?;
    let (exact, rounded) = (floats(&rewrite.old[node.inputs[1]])?, floats(&rewrite.new[weights])?);
    let input_channel = input_channels(node, &rewrite.new[weights], means.len())?;
    let axis = node.op.weight_axis()?;
    let outputs = Channels::of(&rewrite.new[weights], axis);
    let mut shifts = vec![0.0; outputs.count];
    for (at, (exact, rounded)) in exact.iter().zip(&rounded).enumerate() {
        let error = f64::from(*rounded) - f64::from(*exact);
        shifts[outputs.channel(at)] += error * means.get(input_channel(at))?;
    }
    Some(shifts)
}

/// The input channel of every weight, by its position.
fn input_channels(node: &Node, weights: &Tensor, channels: usize) -> Option<Box<dyn Fn(usize) -> usize>> {
    let &last = weights.shape.dims().last()?;
    let per_output: usize = weights.shape.dims().iter().skip(1).product();
    match &node.op {
        Op::Conv2d(conv) => {
            let outputs = *weights.shape.dims().first()? / conv.groups;
            (last * conv.groups == channels).then_some(())?;
            Some(Box::new(move |at| at / per_output / outputs * last + at % last))
        }
        Op::DepthwiseConv2d(conv) => {
            let multiplier = conv.multiplier;
            (last == channels * multiplier)
                .then(|| Box::new(move |at| at % last / multiplier) as Box<dyn Fn(usize) -> usize>)
        }
        Op::FullyConnected(_) => {
            (last == channels).then(|| Box::new(move |at| at % last) as Box<dyn Fn(usize) -> usize>)
        }
        _ => None,
    }
}

/// The biases of `count` channels, zeros if there are none.
fn bias_values(rewrite: &Rewrite<'_>, node: &Node, count: usize) -> Result<Vec<f32>, Broken> {
    let Some(&id) = node.inputs.get(2) else { return Ok(vec![0.0; count]) };
    let values = constant("bias", &rewrite.old[id])?;
    finite(&values).map_err(|rule| (Some(id), rule))?;
    let channel = |at: usize| values.get(at).copied().unwrap_or(0.0);
    Ok((0..count).map(channel).collect())
}

fn constant(what: &'static str, tensor: &Tensor) -> Result<Vec<f32>, Broken> {
    floats(tensor).ok_or_else(|| (None, QuantizeRule::NotConstant { what, tensor: tensor.name.clone() }))
}

/// How the elements of a tensor belong to the channels along an axis.
#[derive(Clone, Copy, Debug)]
struct Channels {
    count: usize,
    /// Elements from one channel to the next.
    step: usize,
}

impl Channels {
    fn of(tensor: &Tensor, axis: usize) -> Self {
        let dims = tensor.shape.dims();
        let count = dims.get(axis).copied().unwrap_or(1).max(1);
        let step = dims.iter().skip(axis + 1).product::<usize>().max(1);
        Self { count, step }
    }

    fn channel(&self, element: usize) -> usize {
        element / self.step % self.count
    }

    /// Largest magnitude of each channel.
    fn magnitudes(&self, values: &[f32]) -> Vec<f32> {
        let mut largest = vec![0.0_f32; self.count];
        for (at, value) in values.iter().enumerate() {
            let channel = &mut largest[self.channel(at)];
            *channel = channel.max(value.abs());
        }
        largest
    }
}

/// Little-endian bytes of integers that fit.
fn bytes(integers: impl Iterator<Item = i64>, element: ElementType) -> Data {
    let size = element.size();
    integers.flat_map(|value| value.to_le_bytes().into_iter().take(size)).collect::<Vec<u8>>().into()
}
