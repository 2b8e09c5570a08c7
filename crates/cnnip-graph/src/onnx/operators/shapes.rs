//! Arithmetic of shapes: operators whose results are known before the network runs.

use super::super::call::{Call, axes, axis, extent};
use super::super::constant::{constant as read_constant, element};
use super::elementwise::rounded;
use crate::evaluate::{floats_of, integers, paired};
use crate::graph::TensorId;
use crate::infer::infer_shape;
use crate::op::{Activation, Op};
use crate::problem::Rule;
use crate::tensor::{ElementType, Shape, Tensor};

type Outputs = Result<Vec<TensorId>, Rule>;

/// Most elements of a constant that is made from its shape alone.
const MAX_MADE: usize = 1 << 24;

/// The numbers of a constant.
enum Values {
    Integers(Vec<i64>),
    Floats(Vec<f32>),
}

/// The constant operand in `slot`.
fn values(call: &Call<'_>, slot: usize, what: &'static str) -> Result<Values, Rule> {
    let (id, tensor) = (call.input(slot)?, call.tensor(slot)?);
    let Some(data) = &tensor.data else { return Err(Rule::NotConstant { what, index: id.index() }) };
    let wide = || {
        let values = data.bytes().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
        Values::Floats(values.map(narrowed).collect())
    };
    let values = match tensor.element {
        ElementType::F32 => floats_of(tensor).map(Values::Floats),
        ElementType::F64 => Some(wide()),
        _ => integers(tensor).map(Values::Integers),
    };
    values.ok_or(Rule::OperandType { what, element: tensor.element })
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest binary32 number")]
fn narrowed(value: f64) -> f32 {
    value as f32
}

fn made(call: &mut Call<'_>, dims: &[usize], element: ElementType, values: Values) -> Outputs {
    let name = format!("{}.constant", call.name);
    Ok(vec![match values {
        Values::Integers(values) => call.build.integers(&name, dims, values, element)?,
        Values::Floats(values) => call.build.floats(&name, dims, values)?,
    }])
}

pub(super) fn constant(call: &mut Call<'_>) -> Outputs {
    if let Some(tensor) = call.tensor_attribute("value") {
        let tensor = read_constant(tensor, &call.name, call.files)?;
        return Ok(vec![call.build.tensor(tensor)?]);
    }
    if let Some(list) = call.float_list("value_floats") {
        let list = list.to_vec();
        return made(call, &[list.len()], ElementType::F32, Values::Floats(list));
    }
    if let Some(list) = call.ints("value_ints")? {
        let list = list.to_vec();
        return made(call, &[list.len()], ElementType::I64, Values::Integers(list));
    }
    if call.has("value_int") {
        let value = call.int("value_int", 0);
        return made(call, &[], ElementType::I64, Values::Integers(vec![value]));
    }
    if call.has("value_float") {
        let value = call.float("value_float", 0.0)?;
        return made(call, &[], ElementType::F32, Values::Floats(vec![value]));
    }
    Err(Rule::Attribute { name: "value", value: 0 })
}

pub(super) fn constant_of_shape(call: &mut Call<'_>) -> Outputs {
    let dims = call.integers(0, "shape")?.unwrap_or_default();
    let dims = dims.into_iter().map(|dim| extent("shape", dim)).collect::<Result<Vec<_>, _>>()?;
    let shape = Shape::new(dims)?;
    if shape.elements() > MAX_MADE {
        return Err(Rule::Attribute { name: "shape", value: i64::try_from(shape.elements()).unwrap_or(i64::MAX) });
    }
    let (element, one) = match call.tensor_attribute("value") {
        None => (ElementType::F32, vec![0; 4]),
        Some(tensor) => {
            let tensor = read_constant(tensor, "value", call.files)?;
            let bytes = tensor.data.as_ref().map(|data| data.bytes().to_vec()).unwrap_or_default();
            (tensor.element, bytes)
        }
    };
    if one.len() != element.size() {
        return Err(Rule::DataSize { want: element.size(), found: one.len() });
    }
    let name = format!("{}.constant", call.name);
    call.build.budget.spend(shape.elements().saturating_mul(one.len()))?;
    let bytes = one.repeat(shape.elements());
    let tensor = Tensor::new(name, shape, element).constant(bytes);
    Ok(vec![call.build.tensor(tensor)?])
}

pub(super) fn shape(call: &mut Call<'_>) -> Outputs {
    let dims = call.dims(0)?;
    let rank = i64::try_from(dims.len()).unwrap_or(0);
    let bound = |value: i64| {
        let from_front = if value < 0 { value.saturating_add(rank) } else { value };
        usize::try_from(from_front.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (bound(call.int("start", 0)), bound(call.int("end", rank)));
    let part = dims.get(start..end).unwrap_or_default();
    let list: Vec<i64> = part.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
    made(call, &[list.len()], ElementType::I64, Values::Integers(list))
}

pub(super) fn size(call: &mut Call<'_>) -> Outputs {
    let elements = call.tensor(0)?.shape.elements();
    let elements = i64::try_from(elements).unwrap_or(i64::MAX);
    made(call, &[], ElementType::I64, Values::Integers(vec![elements]))
}

/// Conversions of constants, and of binary32 to itself.
pub(super) fn cast(call: &mut Call<'_>) -> Outputs {
    let code = call.int("to", 0);
    let to = element(i32::try_from(code).map_err(|_| Rule::Attribute { name: "to", value: code })?)?;
    let x = call.input(0)?;
    if call.build.get(x).element == to {
        return Ok(vec![x]);
    }
    if !call.build.get(x).is_constant() {
        return Err(Rule::OperandType { what: "input", element: call.build.get(x).element });
    }
    let dims = call.dims(0)?;
    let values = match (values(call, 0, "input")?, to) {
        (Values::Integers(list), ElementType::F32 | ElementType::F64 | ElementType::F16) => {
            Values::Floats(list.into_iter().map(rounded).collect())
        }
        (Values::Integers(list), ElementType::Bool) => {
            Values::Integers(list.into_iter().map(|value| i64::from(value != 0)).collect())
        }
        (Values::Floats(list), ElementType::Bool) => {
            Values::Integers(list.into_iter().map(|value| i64::from(value != 0.0)).collect())
        }
        (Values::Floats(list), to) if to.range().is_some() => {
            Values::Integers(list.into_iter().map(truncated).collect())
        }
        (values, _) => values,
    };
    // Numbers are kept in binary32 whatever width is asked for.
    made(call, &dims, to, values)
}

#[expect(clippy::cast_possible_truncation, reason = "towards zero, held to the type: what a cast gives")]
fn truncated(value: f32) -> i64 {
    value as i64
}

/// One number at a time.
fn one(call: &mut Call<'_>, integer: fn(i64) -> Option<i64>, float: fn(f32) -> f32) -> Outputs {
    let dims = call.dims(0)?;
    let element = call.tensor(0)?.element;
    let values = match values(call, 0, "input")? {
        Values::Integers(list) => {
            let results: Option<Vec<i64>> = list.into_iter().map(integer).collect();
            Values::Integers(results.ok_or(Rule::OperandType { what: "input", element })?)
        }
        Values::Floats(list) => Values::Floats(list.into_iter().map(float).collect()),
    };
    made(call, &dims, element, values)
}

pub(super) fn abs(call: &mut Call<'_>) -> Outputs {
    one(call, i64::checked_abs, f32::abs)
}

pub(super) fn ceil(call: &mut Call<'_>) -> Outputs {
    one(call, |_| None, f32::ceil)
}

pub(super) fn floor(call: &mut Call<'_>) -> Outputs {
    one(call, |_| None, f32::floor)
}

pub(super) fn not(call: &mut Call<'_>) -> Outputs {
    one(call, |value| Some(i64::from(value == 0)), |value| value)
}

/// The shape of the broadcast of two operands.
fn broadcast(a: &Tensor, b: &Tensor) -> Result<Shape, Rule> {
    Ok(infer_shape(&Op::Add { activation: Activation::None }, &[&a.shape, &b.shape])?)
}

/// Two numbers at a time; `to` is the type of the result, that of the operands if there is none.
fn two(
    call: &mut Call<'_>,
    to: Option<ElementType>,
    integer: fn(i64, i64) -> Option<i64>,
    float: fn(f32, f32) -> Option<i64>,
) -> Outputs {
    call.pair()?;
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let shape = broadcast(a, b)?;
    call_budget(&shape)?;
    let results = match (values(call, 0, "first operand")?, values(call, 1, "second operand")?) {
        (Values::Integers(x), Values::Integers(y)) => paired(a, b, &shape, |i, j| integer(x[i], y[j])),
        (Values::Floats(x), Values::Floats(y)) => paired(a, b, &shape, |i, j| float(x[i], y[j])),
        _ => None,
    };
    let element = a.element;
    let results = results.ok_or(Rule::OperandType { what: "operand", element })?;
    made(call, shape.dims(), to.unwrap_or(element), Values::Integers(results))
}

/// A broadcast may be far larger than its operands.
fn call_budget(shape: &Shape) -> Result<(), Rule> {
    if shape.elements() <= MAX_MADE {
        return Ok(());
    }
    Err(Rule::Attribute { name: "elements", value: i64::try_from(shape.elements()).unwrap_or(i64::MAX) })
}

const TRUTH: Option<ElementType> = Some(ElementType::Bool);

#[expect(clippy::float_cmp, reason = "the operator is equality")]
pub(super) fn equal(call: &mut Call<'_>) -> Outputs {
    two(call, TRUTH, |x, y| Some(i64::from(x == y)), |x, y| Some(i64::from(x == y)))
}

pub(super) fn greater(call: &mut Call<'_>) -> Outputs {
    two(call, TRUTH, |x, y| Some(i64::from(x > y)), |x, y| Some(i64::from(x > y)))
}

pub(super) fn less(call: &mut Call<'_>) -> Outputs {
    two(call, TRUTH, |x, y| Some(i64::from(x < y)), |x, y| Some(i64::from(x < y)))
}

pub(super) fn and(call: &mut Call<'_>) -> Outputs {
    two(call, TRUTH, |x, y| Some(x & y), |_, _| None)
}

pub(super) fn or(call: &mut Call<'_>) -> Outputs {
    two(call, TRUTH, |x, y| Some(x | y), |_, _| None)
}

/// The remainder has the sign of the divisor, or with `fmod` that of the dividend.
pub(super) fn modulo(call: &mut Call<'_>) -> Outputs {
    if call.int("fmod", 0) != 0 {
        return two(call, None, i64::checked_rem, |_, _| None);
    }
    let floored = |x: i64, y: i64| {
        let rest = x.checked_rem(y)?;
        Some(if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest })
    };
    two(call, None, floored, |_, _| None)
}

/// The second operand where the first is true, else the third.
pub(super) fn select(call: &mut Call<'_>) -> Outputs {
    let (a, b) = (call.input(1)?, call.input(2)?);
    call.same_type(a, b)?;
    let (truth, a, b) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (element, inner) = (a.element, broadcast(a, b)?);
    let whole = Tensor::new("", inner.clone(), element);
    let shape = broadcast(truth, &whole)?;
    call_budget(&shape)?;
    let places = paired(a, b, &inner, |i, j| Some((i, j))).unwrap_or_default();
    let Values::Integers(chosen) = values(call, 0, "condition")? else {
        return Err(Rule::OperandType { what: "condition", element: truth.element });
    };
    let wrong = || Rule::OperandType { what: "operand", element };
    let results = match (values(call, 1, "first operand")?, values(call, 2, "second operand")?) {
        (Values::Integers(x), Values::Integers(y)) => {
            let pick = |t: usize, at: usize| Some(if chosen[t] != 0 { x[places[at].0] } else { y[places[at].1] });
            Values::Integers(paired(truth, &whole, &shape, pick).ok_or_else(wrong)?)
        }
        (Values::Floats(x), Values::Floats(y)) => {
            let pick = |t: usize, at: usize| Some(if chosen[t] != 0 { x[places[at].0] } else { y[places[at].1] });
            Values::Floats(paired(truth, &whole, &shape, pick).ok_or_else(wrong)?)
        }
        _ => return Err(wrong()),
    };
    made(call, shape.dims(), element, results)
}

pub(super) fn range(call: &mut Call<'_>) -> Outputs {
    let element = call.tensor(0)?.element;
    let mut ends = Vec::new();
    for slot in 0..3 {
        match values(call, slot, "bound")? {
            Values::Integers(list) if list.len() == 1 => ends.extend(list),
            _ => return Err(Rule::OperandType { what: "bound", element }),
        }
    }
    let &[start, limit, delta] = ends.as_slice() else { return Ok(Vec::new()) };
    if delta == 0 {
        return Err(Rule::Attribute { name: "delta", value: 0 });
    }
    let mut list = Vec::new();
    let mut value = start;
    while (delta > 0 && value < limit) || (delta < 0 && value > limit) {
        if list.len() >= MAX_MADE {
            return Err(Rule::Attribute { name: "limit", value: limit });
        }
        list.push(value);
        let Some(next) = value.checked_add(delta) else { break };
        value = next;
    }
    call.build.budget.spend(8 * list.len())?;
    made(call, &[list.len()], element, Values::Integers(list))
}

/// The product of all elements along axes.
pub(super) fn product(call: &mut Call<'_>) -> Outputs {
    let shape = call.tensor(0)?.shape.clone();
    let element = call.tensor(0)?.element;
    let listed = call.list(1, "axes")?.unwrap_or_default();
    let over = if listed.is_empty() { (0..shape.rank()).collect() } else { axes("axes", &listed, shape.rank())? };
    if over.len() != shape.rank() {
        let value = i64::try_from(over.len()).unwrap_or(i64::MAX);
        axis("axes", value, shape.rank())?;
        return Err(Rule::Attribute { name: "axes", value });
    }
    let Values::Integers(list) = values(call, 0, "input")? else {
        return Err(Rule::OperandType { what: "input", element });
    };
    let product = list.into_iter().try_fold(1_i64, i64::checked_mul);
    let product = product.ok_or(Rule::OperandType { what: "input", element })?;
    let dims = if call.int("keepdims", 1) == 0 { vec![] } else { vec![1; shape.rank()] };
    made(call, &dims, element, Values::Integers(vec![product]))
}
