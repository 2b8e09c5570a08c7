//! Operators on elements, one by one or in pairs.

use super::super::call::{Call, axis};
use crate::graph::TensorId;
use crate::infer::InferError;
use crate::op::{Activation, Op};
use crate::problem::Rule;
use crate::tensor::ElementType;

type Outputs = Result<Vec<TensorId>, Rule>;

const ADD: Op = Op::Add { activation: Activation::None };
const SUB: Op = Op::Sub { activation: Activation::None };
const MUL: Op = Op::Mul { activation: Activation::None };
const DIV: Op = Op::Div { activation: Activation::None };

fn pair(call: &mut Call<'_>, op: Op) -> Outputs {
    let operands = call.pair()?;
    Ok(vec![call.emit(op, &operands)?])
}

pub(super) fn add(call: &mut Call<'_>) -> Outputs {
    pair(call, ADD)
}

pub(super) fn sub(call: &mut Call<'_>) -> Outputs {
    pair(call, SUB)
}

pub(super) fn mul(call: &mut Call<'_>) -> Outputs {
    pair(call, MUL)
}

pub(super) fn div(call: &mut Call<'_>) -> Outputs {
    pair(call, DIV)
}

/// Powers that are products or roots become these; an exponent of another type is converted.
pub(super) fn pow(call: &mut Call<'_>) -> Outputs {
    let (x, y) = (call.real(0, "base")?, call.input(1)?);
    let exponent = call.build.get(y);
    let numbers = match exponent.element {
        ElementType::F32 => call.numbers(1, "exponent").unwrap_or_default(),
        _ => Some(call.build.constant_integers(y, "exponent")?.into_iter().map(rounded).collect()),
    };
    let all = |want: f32| numbers.as_deref().is_some_and(|list| !list.is_empty() && list.iter().all(|&is| is == want));
    let fits = call.shape(x).rank() >= call.shape(y).rank() && call.shape(y).elements() == 1;
    if fits && all(1.0) {
        return Ok(vec![x]);
    }
    if fits && all(2.0) {
        return Ok(vec![call.emit(MUL, &[x, x])?]);
    }
    if fits && all(0.5) {
        return Ok(vec![call.emit(Op::Sqrt, &[x])?]);
    }
    let y = match (call.build.get(y).element, numbers) {
        (ElementType::F32, _) | (_, None) => y,
        (_, Some(numbers)) => {
            let dims = call.shape(y);
            call.build.floats(&format!("{}.exponent", call.name), dims.dims(), numbers)?
        }
    };
    Ok(vec![call.emit(Op::Pow, &[x, y])?])
}

/// The nearest binary32 number: what a cast gives.
#[expect(clippy::cast_precision_loss, reason = "casts between these types round, as the format says")]
pub(super) fn rounded(value: i64) -> f32 {
    value as f32
}

fn one(call: &mut Call<'_>, op: Op) -> Outputs {
    let x = call.real(0, "input")?;
    Ok(vec![call.emit(op, &[x])?])
}

pub(super) fn exp(call: &mut Call<'_>) -> Outputs {
    one(call, Op::Exp)
}

pub(super) fn sqrt(call: &mut Call<'_>) -> Outputs {
    one(call, Op::Sqrt)
}

pub(super) fn relu(call: &mut Call<'_>) -> Outputs {
    one(call, Op::Relu)
}

pub(super) fn sigmoid(call: &mut Call<'_>) -> Outputs {
    one(call, Op::Logistic)
}

pub(super) fn tanh(call: &mut Call<'_>) -> Outputs {
    one(call, Op::Tanh)
}

pub(super) fn hard_swish(call: &mut Call<'_>) -> Outputs {
    one(call, Op::HardSwish)
}

pub(super) fn leaky_relu(call: &mut Call<'_>) -> Outputs {
    let alpha = call.float("alpha", 0.01)?;
    one(call, Op::LeakyRelu { alpha })
}

pub(super) fn hard_sigmoid(call: &mut Call<'_>) -> Outputs {
    let (alpha, beta) = (call.float("alpha", 0.2)?, call.float("beta", 0.5)?);
    one(call, Op::HardSigmoid { alpha, beta })
}

pub(super) fn prelu(call: &mut Call<'_>) -> Outputs {
    pair(call, Op::Prelu)
}

pub(super) fn neg(call: &mut Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let element = call.build.get(x).element;
    let minus = match element {
        ElementType::F32 => call.number(-1.0)?,
        _ => call.build.integers(&format!("{}.constant", call.name), &[], [-1], element)?,
    };
    Ok(vec![call.emit(MUL, &[x, minus])?])
}

pub(super) fn reciprocal(call: &mut Call<'_>) -> Outputs {
    let x = call.real(0, "input")?;
    let one = call.number(1.0)?;
    Ok(vec![call.emit(DIV, &[one, x])?])
}

/// Any number of operands, in pairs from the left.
fn chain(call: &mut Call<'_>, op: &Op) -> Result<TensorId, Rule> {
    let mut result = call.input(0)?;
    for slot in 1..call.inputs.len() {
        let next = call.input(slot)?;
        call.same_type(result, next)?;
        result = call.emit(op.clone(), &[result, next])?;
    }
    Ok(result)
}

pub(super) fn sum(call: &mut Call<'_>) -> Outputs {
    Ok(vec![chain(call, &ADD)?])
}

pub(super) fn max(call: &mut Call<'_>) -> Outputs {
    Ok(vec![chain(call, &Op::Maximum)?])
}

pub(super) fn min(call: &mut Call<'_>) -> Outputs {
    Ok(vec![chain(call, &Op::Minimum)?])
}

pub(super) fn mean(call: &mut Call<'_>) -> Outputs {
    call.real(0, "input")?;
    let sum = chain(call, &ADD)?;
    let count = i64::try_from(call.inputs.len()).unwrap_or(i64::MAX);
    let count = call.number(rounded(count))?;
    Ok(vec![call.emit(DIV, &[sum, count])?])
}

/// Bounds are attributes in old operator sets, operands since 11; bounds that are not constant are a
/// maximum and a minimum.
pub(super) fn clip(call: &mut Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let known = |slot| call.optional(slot).is_none_or(|id| call.build.get(id).is_constant());
    if call.build.get(x).element != ElementType::F32 || !(known(1) && known(2)) {
        let mut result = x;
        for (slot, op) in [(1, Op::Maximum), (2, Op::Minimum)] {
            if let Some(bound) = call.optional(slot) {
                call.same_type(x, bound)?;
                result = call.emit(op, &[result, bound])?;
            }
        }
        return Ok(vec![result]);
    }
    let bound = |slot, name, open: f32| -> Result<f32, Rule> {
        let given = call.numbers(slot, name)?.and_then(|list| list.first().copied());
        let value = match given {
            Some(value) => value,
            None if call.has(name) => call.float(name, open)?,
            None => open,
        };
        if value.is_nan() { Err(Rule::FloatAttribute { name, value }) } else { Ok(value) }
    };
    let min = bound(1, "min", f32::NEG_INFINITY)?;
    let max = bound(2, "max", f32::INFINITY)?;
    // A range that is empty is its upper end, as in the definition by minimum and maximum.
    let min = min.min(max);
    Ok(vec![call.emit(clamp(min, max), &[x])?])
}

/// A clamp by the name it has.
fn clamp(min: f32, max: f32) -> Op {
    let max = if max == f32::MAX { f32::INFINITY } else { max };
    match (min, max) {
        (0.0, f32::INFINITY) => Op::Relu,
        (0.0, 6.0) => Op::Relu6,
        (-1.0, 1.0) => Op::ReluN1To1,
        (min, max) => Op::Clamp { min, max },
    }
}

/// Along the last axis after a flattening to two axes before operator set 13, along one axis since.
pub(super) fn softmax(call: &mut Call<'_>) -> Outputs {
    let x = call.real(0, "input")?;
    let shape = call.shape(x);
    let dims = shape.dims();
    if dims.is_empty() {
        return Err(InferError::Rank { what: "input", want: 1, found: shape }.into());
    }
    let axis = axis("axis", call.int("axis", if call.opset < 13 { 1 } else { -1 }), dims.len())?;
    let softmax = Op::Softmax { beta: 1.0 };
    if axis + 1 == dims.len() {
        return Ok(vec![call.emit(softmax, &[x])?]);
    }
    if call.opset < 13 {
        let flat = [dims[..axis].iter().product(), dims[axis..].iter().product()];
        let flat = call.reshape(x, &flat)?;
        let made = call.emit(softmax, &[flat])?;
        return Ok(vec![call.reshape(made, dims)?]);
    }
    let mut perm: Vec<usize> = (0..dims.len()).collect();
    perm.swap(axis, dims.len() - 1);
    let last = call.transpose(x, &perm)?;
    let made = call.emit(softmax, &[last])?;
    Ok(vec![call.transpose(made, &perm)?])
}

/// A factor and a summand per channel. Where they are constant they are computed in binary64.
pub(super) fn batch_normalization(call: &mut Call<'_>) -> Outputs {
    call.only("training_mode", 0)?;
    call.only("spatial", 1)?;
    let x = call.real(0, "input")?;
    let epsilon = call.float("epsilon", 1e-5)?;
    let shape = call.shape(x);
    let &[_, channels, ref rest @ ..] = shape.dims() else {
        return Err(InferError::Rank { what: "input", want: 2, found: shape }.into());
    };
    let dims: Vec<usize> = [channels].into_iter().chain(rest.iter().map(|_| 1)).collect();
    let parameters = [(1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")];
    let mut operands = Vec::new();
    for (slot, what) in parameters {
        let id = call.real(slot, what)?;
        operands.push(call.reshape(id, &dims)?);
    }
    let &[scale, bias, mean, variance] = operands.as_slice() else { return Ok(Vec::new()) };
    let constant = operands.iter().all(|&id| call.build.get(id).is_constant());
    let (factor, summand) = if constant {
        let list = |slot, what| call.numbers(slot, what).map(Option::unwrap_or_default);
        let (scale, bias) = (list(1, "scale")?, list(2, "bias")?);
        let (mean, variance) = (list(3, "mean")?, list(4, "variance")?);
        let (factors, summands) = affine([&scale, &bias, &mean, &variance], epsilon);
        let name = call.name.clone();
        (
            call.build.floats(&format!("{name}.factor"), &dims, factors)?,
            call.build.floats(&format!("{name}.summand"), &dims, summands)?,
        )
    } else {
        let epsilon = call.number(epsilon)?;
        let variance = call.emit(ADD, &[variance, epsilon])?;
        let deviation = call.emit(Op::Sqrt, &[variance])?;
        let factor = call.emit(DIV, &[scale, deviation])?;
        let shift = call.emit(MUL, &[mean, factor])?;
        (factor, call.emit(SUB, &[bias, shift])?)
    };
    let product = call.emit(MUL, &[x, factor])?;
    Ok(vec![call.emit(ADD, &[product, summand])?])
}

/// `scale / sqrt(variance + epsilon)` and `bias - mean * factor` per channel.
#[expect(clippy::cast_possible_truncation, reason = "rounds once, to the type of the parameters")]
fn affine([scale, bias, mean, variance]: [&[f32]; 4], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let factor =
        |(&scale, &variance): (&f32, &f32)| f64::from(scale) / (f64::from(variance) + f64::from(epsilon)).sqrt();
    let factors: Vec<f64> = scale.iter().zip(variance).map(factor).collect();
    let shifts = bias.iter().zip(mean).zip(&factors);
    let summands = shifts.map(|((&bias, &mean), factor)| (f64::from(bias) - f64::from(mean) * factor) as f32).collect();
    (factors.into_iter().map(|factor| factor as f32).collect(), summands)
}
