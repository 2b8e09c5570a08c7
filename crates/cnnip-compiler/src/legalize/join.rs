//! Concatenation and packing: every input has its place in the output.

use super::context::{At, copy, extents, steps};
use crate::error::Rule;
use cnnip_lowered::{Stride, Transfer};

pub(super) fn concat(at: &mut At<'_, '_>, axis: usize) -> Result<(), Rule> {
    join(at, axis, |extents| extents)
}

/// Packing is concatenation of inputs with an axis of one index more.
pub(super) fn pack(at: &mut At<'_, '_>, axis: usize) -> Result<(), Rule> {
    join(at, axis, |mut extents| {
        extents.insert(axis, 1);
        extents
    })
}

fn join(at: &mut At<'_, '_>, axis: usize, shape: impl Fn(Vec<u32>) -> Vec<u32>) -> Result<(), Rule> {
    let output = at.activation_out()?;
    for index in 0..at.inputs() {
        at.same_quantization(index, output)?;
    }
    let to = steps(&extents(at.output()));
    let mut place = 0;
    for index in 0..at.inputs() {
        let own = shape(extents(at.input(index)));
        let loops = own.iter().zip(steps(&own)).zip(&to);
        let strides: Vec<Stride> = loops.map(|((&count, from), &to)| Stride { count, from, to }).collect();
        let transfer = copy(at.input_id(index), at.output_id(), &strides);
        at.transfer(Transfer { offset: place * to[axis], ..transfer });
        place += own[axis];
    }
    Ok(())
}
