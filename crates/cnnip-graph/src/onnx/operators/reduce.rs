//! Reductions over axes.

use super::super::call::{Call, axes, axis};
use crate::graph::TensorId;
use crate::op::{Activation, ArgExtremum, Mean, Op};
use crate::problem::Rule;
use crate::tensor::ElementType;

/// The axes and whether they stay; `None` if nothing is reduced.
pub(super) fn reduction(call: &Call<'_>) -> Result<Option<Mean>, Rule> {
    let rank = call.tensor(0)?.shape.rank();
    let keep_dims = call.int("keepdims", 1) != 0;
    let listed = call.list(1, "axes")?.unwrap_or_default();
    if !listed.is_empty() {
        return Ok(Some(Mean { axes: axes("axes", &listed, rank)?, keep_dims }));
    }
    let nothing = call.int("noop_with_empty_axes", 0) != 0;
    Ok((!nothing).then(|| Mean { axes: (0..rank).collect(), keep_dims }))
}

fn reduce(call: &mut Call<'_>, op: fn(Mean) -> Op) -> Result<Vec<TensorId>, Rule> {
    let x = call.input(0)?;
    over(call, x, op).map(|id| vec![id])
}

fn over(call: &mut Call<'_>, x: TensorId, op: fn(Mean) -> Op) -> Result<TensorId, Rule> {
    match reduction(call)? {
        Some(mean) => call.emit(op(mean), &[x]),
        None => Ok(x),
    }
}

pub(super) fn mean(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    call.real(0, "input")?;
    reduce(call, Op::Mean)
}

pub(super) fn sum(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    reduce(call, Op::Sum)
}

pub(super) fn max(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    reduce(call, Op::ReduceMax)
}

pub(super) fn min(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    reduce(call, Op::ReduceMin)
}

pub(super) fn sum_of_squares(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    let x = call.real(0, "input")?;
    let squares = call.emit(Op::Mul { activation: Activation::None }, &[x, x])?;
    over(call, squares, Op::Sum).map(|id| vec![id])
}

pub(super) fn l2(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    let sum = sum_of_squares(call)?;
    Ok(vec![call.emit(Op::Sqrt, &sum)?])
}

pub(super) fn global_average(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    call.real(0, "input")?;
    global(call, Op::Mean)
}

pub(super) fn global_max(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    global(call, Op::ReduceMax)
}

/// Over every axis behind the channels.
fn global(call: &mut Call<'_>, op: fn(Mean) -> Op) -> Result<Vec<TensorId>, Rule> {
    let x = call.input(0)?;
    let axes = (2..call.shape(x).rank()).collect();
    Ok(vec![call.emit(op(Mean { axes, keep_dims: true }), &[x])?])
}

/// The index of the largest element along an axis, the first of equals.
pub(super) fn arg_max(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    arg(call, Op::ArgMax)
}

/// The index of the smallest element along an axis, the first of equals.
pub(super) fn arg_min(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    arg(call, Op::ArgMin)
}

fn arg(call: &mut Call<'_>, op: fn(ArgExtremum) -> Op) -> Result<Vec<TensorId>, Rule> {
    call.only("select_last_index", 0)?;
    let x = call.input(0)?;
    let axis = axis("axis", call.int("axis", 0), call.shape(x).rank())?;
    let keep_dims = call.int("keepdims", 1) != 0;
    let name = format!("{}.index", call.name);
    Ok(vec![call.build.emit_as(&name, op(ArgExtremum { axis, keep_dims }), &[x], ElementType::I64, None)?])
}
