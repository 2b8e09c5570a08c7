//! Quantized operators: conversions, and the operators on integers of both domains.

use super::super::call::{Call, axis};
use super::super::constant::element;
use super::{conv, movement, pool};
use crate::evaluate::{floats_of, integer_data};
use crate::graph::TensorId;
use crate::infer::infer_shape;
use crate::op::{Activation, FullyConnected, Mean, Op};
use crate::passes::{bias_quantization, quantized_elements};
use crate::problem::Rule;
use crate::tensor::{ElementType, Quantization, Tensor};

type Outputs = Result<Vec<TensorId>, Rule>;

/// What an operator writes: the type and what its integers stand for.
pub(super) type Format = (ElementType, Option<Quantization>);

/// Scale and zero point in these slots, for a tensor of `element` quantized along `axis` if there are
/// several. Without zero point it is 0.
fn parameters(
    call: &Call<'_>,
    (scale, zero_point): (usize, usize),
    element: ElementType,
    along: Option<usize>,
) -> Result<Quantization, Rule> {
    let scales = call.numbers(scale, "scale")?.unwrap_or_default();
    let zero_points = match call.optional(zero_point) {
        None => vec![0; scales.len()],
        Some(id) => {
            let found = call.build.get(id).element;
            if found != element {
                return Err(Rule::OperandTypes { a: element, b: found });
            }
            call.build.constant_integers(id, "zero point")?
        }
    };
    if zero_points.len() != scales.len() {
        return Err(Rule::ZeroPointCount { scales: scales.len(), zero_points: zero_points.len() });
    }
    if let Some((channel, &value)) = scales.iter().enumerate().find(|(_, scale)| !(scale.is_finite() && **scale > 0.0))
    {
        return Err(Rule::Scale { channel, value });
    }
    match (scales.as_slice(), zero_points.as_slice(), along) {
        (&[scale], &[zero_point], _) => Ok(Quantization::per_tensor(scale, zero_point)),
        (_, _, Some(axis)) => {
            Ok(Quantization::PerChannel { axis, scales: scales.into(), zero_points: zero_points.into() })
        }
        _ => Err(Rule::ChannelCount { scales: scales.len(), channels: 1, axis: 0 }),
    }
}

/// The tensor with this quantization: a constant gets it anew, an activation has it or gets it once.
fn with_quantization(call: &mut Call<'_>, id: TensorId, quantization: Quantization) -> Result<TensorId, Rule> {
    let tensor = call.build.get(id);
    if let (Some(axis), Some(extent)) =
        (quantization.axis(), quantization.axis().map(|axis| tensor.shape.dims().get(axis).copied().unwrap_or(0)))
        && extent != quantization.scales().len()
    {
        return Err(Rule::ChannelCount { scales: quantization.scales().len(), channels: extent, axis });
    }
    match &tensor.quantization {
        Some(found) if *found == quantization => Ok(id),
        _ if tensor.is_constant() => {
            let constant = Tensor { quantization: Some(quantization), ..tensor.clone() };
            call.build.tensor(constant)
        }
        None => {
            call.build.graph.tensors[id.index()].quantization = Some(quantization);
            Ok(id)
        }
        Some(found) => Err(Rule::OtherQuantization {
            scale: quantization.scales().first().copied().unwrap_or(0.0),
            found: found.scales().first().copied().unwrap_or(0.0),
        }),
    }
}

/// The integers in `slot` with scale and zero point in the two slots behind it.
fn operand(call: &mut Call<'_>, slot: usize, along: Option<usize>) -> Result<TensorId, Rule> {
    let id = call.input(slot)?;
    let quantization = parameters(call, (slot + 1, slot + 2), call.build.get(id).element, along)?;
    with_quantization(call, id, quantization)
}

/// Type and quantization of the output, from scale and zero point in these slots.
fn result(call: &Call<'_>, (scale, zero_point): (usize, usize), default: ElementType) -> Result<Format, Rule> {
    let element = call.optional(zero_point).map_or(default, |id| call.build.get(id).element);
    Ok((element, Some(parameters(call, (scale, zero_point), element, None)?)))
}

/// Adds a node whose output has this format.
pub(super) fn emit_as(call: &mut Call<'_>, op: Op, inputs: &[TensorId], format: &Format) -> Result<TensorId, Rule> {
    let name = format!("{}.{}", call.name, op.name().to_lowercase());
    call.build.emit_as(&name, op, inputs, format.0, format.1.clone())
}

fn plain_attributes(call: &Call<'_>) -> Result<(), Rule> {
    call.only("block_size", 0)?;
    call.only("precision", 0)?;
    call.only("saturate", 1)
}

/// The axis of the scales; only where there are several does it matter.
fn scale_axis(call: &Call<'_>, id: TensorId) -> Option<usize> {
    axis("axis", call.int("axis", 1), call.build.get(id).shape.rank()).ok()
}

pub(super) fn quantize(call: &mut Call<'_>) -> Outputs {
    plain_attributes(call)?;
    let x = call.real(0, "input")?;
    let stated = call.int("output_dtype", 0);
    let default = match i32::try_from(stated) {
        Ok(0) => ElementType::U8,
        Ok(code) => element(code)?,
        Err(_) => return Err(Rule::Attribute { name: "output_dtype", value: stated }),
    };
    let to = call.optional(2).map_or(default, |id| call.build.get(id).element);
    let along = scale_axis(call, x);
    let quantization = parameters(call, (1, 2), to, along)?;
    if !matches!(to, ElementType::I8 | ElementType::U8 | ElementType::I16 | ElementType::U16) {
        return Err(Rule::OperandType { what: "output", element: to });
    }
    let tensor = call.build.get(x);
    if let Some(values) = floats_of(tensor).filter(|_| tensor.is_constant()) {
        let shape = tensor.shape.clone();
        let fits = quantization.axis().is_none_or(|axis| shape.dims().get(axis) == Some(&quantization.scales().len()));
        let elements = fits.then(|| quantized_elements(&values, &shape, &quantization, to)).flatten();
        let data = elements.and_then(|elements| integer_data(elements, to));
        let data = data.ok_or(Rule::OperandType { what: "output", element: to })?;
        call.build.budget.spend(data.bytes().len())?;
        let name = format!("{}.quantized", call.name);
        let constant = Tensor::new(name, shape, to).quantized(quantization).constant(data);
        return Ok(vec![call.build.tensor(constant)?]);
    }
    Ok(vec![emit_as(call, Op::Quantize, &[x], &(to, Some(quantization)))?])
}

pub(super) fn dequantize(call: &mut Call<'_>) -> Outputs {
    plain_attributes(call)?;
    let stated = call.int("output_dtype", 0);
    if ![0, 1].contains(&stated) {
        return Err(Rule::Attribute { name: "output_dtype", value: stated });
    }
    let x = call.input(0)?;
    let along = scale_axis(call, x);
    let quantization = parameters(call, (1, 2), call.build.get(x).element, along)?;
    let x = with_quantization(call, x, quantization)?;
    Ok(vec![emit_as(call, Op::Dequantize, &[x], &(ElementType::F32, None))?])
}

pub(super) fn conv(call: &mut Call<'_>) -> Outputs {
    let x = operand(call, 0, None)?;
    let weights = operand(call, 3, Some(0))?;
    let format = result(call, (6, 7), call.build.get(x).element)?;
    let bias = match call.optional(8) {
        Some(id) => Some(quantized_bias(call, id, x, weights)?),
        None => None,
    };
    Ok(vec![conv::convolution(call, x, weights, bias, Some(&format))?])
}

/// An int32 bias in multiples of input scale times weight scale.
fn quantized_bias(call: &mut Call<'_>, id: TensorId, x: TensorId, weights: TensorId) -> Result<TensorId, Rule> {
    let element = call.build.get(id).element;
    if element != ElementType::I32 {
        return Err(Rule::OperandType { what: "bias", element });
    }
    let quantization = bias_quantization(call.build.get(x), call.build.get(weights));
    with_quantization(call, id, quantization.ok_or(Rule::OperandType { what: "bias", element })?)
}

const LAYER: Op = Op::FullyConnected(FullyConnected { activation: Activation::None, keep_num_dims: true });

pub(super) fn mat_mul(call: &mut Call<'_>) -> Outputs {
    let a = operand(call, 0, None)?;
    let along = call.dims(3)?.len().saturating_sub(1);
    let b = operand(call, 3, Some(along))?;
    let format = result(call, (6, 7), call.build.get(a).element)?;
    if !call.build.get(b).is_constant() || call.shape(b).rank() != 2 {
        return Ok(vec![emit_as(call, Op::MatMul, &[a, b], &format)?]);
    }
    let weights = call.transpose(b, &[1, 0])?;
    Ok(vec![emit_as(call, LAYER, &[a, weights], &format)?])
}

pub(super) fn gemm(call: &mut Call<'_>) -> Outputs {
    let alpha = call.float("alpha", 1.0)?;
    if alpha != 1.0 {
        return Err(Rule::FloatAttribute { name: "alpha", value: alpha });
    }
    call.only("transA", 0)?;
    let a = operand(call, 0, None)?;
    let transposed = call.int("transB", 0) != 0;
    let mut b = operand(call, 3, Some(usize::from(!transposed)))?;
    if call.optional(7).is_none() {
        return Err(Rule::OperandType { what: "output", element: ElementType::F32 });
    }
    let format = result(call, (7, 8), call.build.get(a).element)?;
    if !transposed {
        b = call.transpose(b, &[1, 0])?;
    }
    let mut inputs = vec![a, b];
    if let Some(bias) = call.optional(6) {
        let elements = call.shape(bias).elements();
        let bias = call.reshape(bias, &[elements])?;
        inputs.push(quantized_bias(call, bias, a, b)?);
    }
    Ok(vec![emit_as(call, LAYER, &inputs, &format)?])
}

fn pair(call: &mut Call<'_>, op: Op) -> Outputs {
    let (a, b) = (operand(call, 0, None)?, operand(call, 3, None)?);
    call.same_type(a, b)?;
    let format = result(call, (6, 7), call.build.get(a).element)?;
    Ok(vec![emit_as(call, op, &[a, b], &format)?])
}

pub(super) fn add(call: &mut Call<'_>) -> Outputs {
    pair(call, Op::Add { activation: Activation::None })
}

pub(super) fn mul(call: &mut Call<'_>) -> Outputs {
    pair(call, Op::Mul { activation: Activation::None })
}

fn one(call: &mut Call<'_>, op: Op) -> Outputs {
    let x = operand(call, 0, None)?;
    let format = result(call, (3, 4), call.build.get(x).element)?;
    Ok(vec![emit_as(call, op, &[x], &format)?])
}

pub(super) fn leaky_relu(call: &mut Call<'_>) -> Outputs {
    let alpha = call.float("alpha", 0.01)?;
    one(call, Op::LeakyRelu { alpha })
}

pub(super) fn sigmoid(call: &mut Call<'_>) -> Outputs {
    one(call, Op::Logistic)
}

/// Along the last axis, which for two axes is what old operator sets do too.
pub(super) fn softmax(call: &mut Call<'_>) -> Outputs {
    let rank = call.dims(0)?.len();
    let value = call.int("axis", -1);
    if axis("axis", value, rank)? + 1 != rank {
        return Err(Rule::Attribute { name: "axis", value });
    }
    one(call, Op::Softmax { beta: 1.0 })
}

pub(super) fn average_pool(call: &mut Call<'_>) -> Outputs {
    call.only("channels_last", 0)?;
    let x = operand(call, 0, None)?;
    let format = result(call, (3, 4), call.build.get(x).element)?;
    pool::average_of(call, x, Some(&format)).map(|id| vec![id])
}

pub(super) fn global_average_pool(call: &mut Call<'_>) -> Outputs {
    call.only("channels_last", 0)?;
    let rank = call.dims(0)?.len();
    one(call, Op::Mean(Mean { axes: (2..rank).collect(), keep_dims: true }))
}

/// Inputs of another quantization than the output are quantized anew first.
pub(super) fn concat(call: &mut Call<'_>) -> Outputs {
    let first = call.input(2)?;
    let format = result(call, (0, 1), call.build.get(first).element)?;
    let mut inputs = Vec::new();
    for slot in (2..call.inputs.len()).step_by(3) {
        let id = operand(call, slot, None)?;
        let tensor = call.build.get(id);
        let same = tensor.quantization == format.1 && tensor.element == format.0;
        inputs.push(if same { id } else { emit_as(call, Op::Quantize, &[id], &format)? });
    }
    let axis = axis("axis", call.int("axis", 0), call.shape(first).rank())?;
    let shapes: Vec<_> = inputs.iter().map(|&id| call.shape(id)).collect();
    infer_shape(&Op::Concat { axis }, &shapes.iter().collect::<Vec<_>>())?;
    movement::joined(call, inputs, axis).map(|id| vec![id])
}
