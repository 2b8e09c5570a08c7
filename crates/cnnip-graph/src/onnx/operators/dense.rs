//! Matrix products.

use super::super::call::Call;
use crate::graph::TensorId;
use crate::infer::InferError;
use crate::op::{Activation, FullyConnected, Op};
use crate::problem::Rule;

const PLAIN: Op = Op::FullyConnected(FullyConnected { activation: Activation::None, keep_num_dims: true });

/// A product with a constant matrix is a fully connected layer.
pub(super) fn mat_mul(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    call.pair()?;
    let (a, b) = (call.real(0, "first matrix")?, call.real(1, "second matrix")?);
    product(call, a, b).map(|id| vec![id])
}

/// The matrix product as NumPy has it: a list is a row on the left, a column on the right.
pub(super) fn product(call: &mut Call<'_>, a: TensorId, b: TensorId) -> Result<TensorId, Rule> {
    let (left, right) = (call.shape(a).dims().to_vec(), call.shape(b).dims().to_vec());
    let mut a = a;
    if let &[depth] = left.as_slice() {
        a = call.reshape(a, &[1, depth])?;
    }
    let mut b = b;
    if let &[depth] = right.as_slice() {
        b = call.reshape(b, &[depth, 1])?;
    }
    let made = if call.build.is_weight(b) && call.shape(b).rank() == 2 {
        let weights = call.transpose(b, &[1, 0])?;
        call.emit(PLAIN, &[a, weights])?
    } else {
        call.emit(Op::MatMul, &[a, b])?
    };
    let mut dims = call.shape(made).dims().to_vec();
    if right.len() == 1 {
        dims.pop();
    }
    if left.len() == 1 {
        dims.remove(dims.len() - if right.len() == 1 { 1 } else { 2 });
    }
    call.reshape(made, &dims)
}

pub(super) fn gemm(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    let (mut a, mut b) = (call.real(0, "first matrix")?, call.real(1, "second matrix")?);
    for id in [a, b] {
        let found = call.shape(id);
        if found.rank() != 2 {
            return Err(InferError::Rank { what: "matrix", want: 2, found }.into());
        }
    }
    if call.int("transA", 0) != 0 {
        a = call.transpose(a, &[1, 0])?;
    }
    b = scaled(call, b, "alpha")?;
    let transposed = call.int("transB", 0) != 0;
    let added = match call.optional(2) {
        Some(added) => Some(scaled(call, added, "beta")?),
        None => None,
    };
    let add = Op::Add { activation: Activation::None };
    if !call.build.is_weight(b) {
        let b = if transposed { call.transpose(b, &[1, 0])? } else { b };
        let made = product(call, a, b)?;
        return Ok(vec![added.map_or(Ok(made), |added| call.emit(add, &[made, added]))?]);
    }
    let weights = if transposed { b } else { call.transpose(b, &[1, 0])? };
    let outputs = call.shape(weights).dims()[0];
    let is_bias = |id: &TensorId| {
        let shape = call.shape(*id);
        call.build.is_weight(*id) && shape.elements() == outputs && shape.dims().last() == Some(&outputs)
    };
    if let Some(bias) = added.filter(is_bias) {
        let bias = call.reshape(bias, &[outputs])?;
        return Ok(vec![call.emit(PLAIN, &[a, weights, bias])?]);
    }
    let made = call.emit(PLAIN, &[a, weights])?;
    Ok(vec![added.map_or(Ok(made), |added| call.emit(add, &[made, added]))?])
}

/// A matrix times the attribute `name`.
fn scaled(call: &mut Call<'_>, id: TensorId, name: &'static str) -> Result<TensorId, Rule> {
    let factor = call.float(name, 1.0)?;
    if factor == 1.0 {
        return Ok(id);
    }
    let factor = call.number(factor)?;
    call.emit(Op::Mul { activation: Activation::None }, &[id, factor])
}
