//! Operators that only move elements: for every place of the output, the place it comes from.

use cnnip_graph::{Blocks, Gather, Slice, Take};

use super::ops::{At, flatten, unflatten};

/// The output, given the place in input 0 of each of its places; `None` reads as real 0.
fn moved(at: &At<'_>, source: impl Fn(&[usize]) -> Option<Vec<usize>>) -> Option<Vec<i64>> {
    let x = at.input(0)?;
    let (from, to) = (at.tensor(0).shape.dims(), at.output().shape.dims());
    let zero = at.zero(at.output());
    let element = |index: usize| source(&unflatten(index, to)).map_or(zero, |place| x[flatten(&place, from)]);
    Some((0..at.output().shape.elements()).map(element).collect())
}

pub(super) fn concat(at: &At<'_>, axis: usize) -> Option<Vec<i64>> {
    joined(at, axis, |place| place)
}

pub(super) fn pack(at: &At<'_>, axis: usize) -> Option<Vec<i64>> {
    joined(at, axis, |mut place| {
        place.remove(axis);
        place
    })
}

/// Finds the input whose turn it is along the axis; `own` makes a place of that input.
fn joined(at: &At<'_>, axis: usize, own: impl Fn(Vec<usize>) -> Vec<usize>) -> Option<Vec<i64>> {
    let to = at.output().shape.dims();
    let inputs = at.node.inputs.len();
    let packed = at.tensor(0).shape.rank() < to.len();
    let mut out = vec![];
    for index in 0..at.output().shape.elements() {
        let mut place = unflatten(index, to);
        let mut input = 0;
        loop {
            let extent = if packed { 1 } else { at.tensor(input).shape.dims()[axis] };
            if place[axis] < extent || input + 1 == inputs {
                break;
            }
            place[axis] -= extent;
            input += 1;
        }
        out.push(at.input(input)?[flatten(&own(place), at.tensor(input).shape.dims())]);
    }
    Some(out)
}

pub(super) fn slice(at: &At<'_>, op: &Slice) -> Option<Vec<i64>> {
    moved(at, |place| {
        let mut kept = place.iter();
        let index = |axis: usize| if op.dropped.contains(&axis) { 0 } else { kept.next().copied().unwrap_or(0) };
        let indices: Vec<usize> = (0..op.begin.len()).map(index).collect();
        Some(indices.iter().enumerate().map(|(axis, index)| op.begin[axis] + index * op.stride[axis]).collect())
    })
}

pub(super) fn gather(at: &At<'_>, op: &Gather) -> Option<Vec<i64>> {
    let rank = op.shape.rank();
    moved(at, |place| {
        let (before, rest) = place.split_at(op.axis);
        let (picked, after) = rest.split_at(rank);
        Some([before, &[op.indices[flatten(picked, op.shape.dims())]], after].concat())
    })
}

pub(super) fn take(at: &At<'_>, op: &Take) -> Option<Vec<i64>> {
    let x = at.input(0)?;
    let from = at.tensor(0).shape.dims();
    let taken: Vec<usize> = op.indices.iter().map(Vec::len).collect();
    let missing = taken.len() - from.len();
    let element = |index: usize| {
        let place = unflatten(index, &taken);
        let indices: Vec<usize> = place.iter().zip(&op.indices).map(|(&at, indices)| indices[at]).collect();
        x[flatten(&indices[missing..], from)]
    };
    Some((0..taken.iter().product()).map(element).collect())
}

pub(super) fn depth_to_space(at: &At<'_>, block: usize) -> Option<Vec<i64>> {
    let channels = *at.output().shape.dims().last()?;
    moved(at, |place| {
        let &[n, y, x, c] = place else { return None };
        Some(vec![n, y / block, x / block, (y % block * block + x % block) * channels + c])
    })
}

pub(super) fn space_to_depth(at: &At<'_>, block: usize) -> Option<Vec<i64>> {
    let channels = *at.tensor(0).shape.dims().last()?;
    moved(at, |place| {
        let &[n, y, x, c] = place else { return None };
        let within = c / channels;
        Some(vec![n, y * block + within / block, x * block + within % block, c % channels])
    })
}

pub(super) fn space_to_batch(at: &At<'_>, op: &Blocks) -> Option<Vec<i64>> {
    let from = at.tensor(0).shape.dims();
    moved(at, |place| {
        let mut source = place.to_vec();
        source[0] = place[0] % from[0];
        let mut within = place[0] / from[0];
        for (number, &block) in op.block.iter().enumerate().rev() {
            let axis = number + 1;
            let padded = place[axis] * block + within % block;
            within /= block;
            source[axis] = padded.checked_sub(op.before[number]).filter(|&index| index < from[axis])?;
        }
        Some(source)
    })
}

pub(super) fn batch_to_space(at: &At<'_>, op: &Blocks) -> Option<Vec<i64>> {
    let batch = at.output().shape.dims()[0];
    moved(at, |place| {
        let mut source = place.to_vec();
        let mut within = 0;
        for (number, &block) in op.block.iter().enumerate() {
            let whole = place[number + 1] + op.before[number];
            source[number + 1] = whole / block;
            within = within * block + whole % block;
        }
        source[0] = within * batch + place[0];
        Some(source)
    })
}
