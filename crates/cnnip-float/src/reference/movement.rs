//! Operators that only move elements: for every place of the output, where its element comes from.

use cnnip_graph::{Blocks, Gather, Pad, PadValue, ResizeNearest, Slice, Take, Tensor};

use super::At;
use super::index::{flat, place, places};
use crate::elements::narrow;
use crate::{Elements, Grid};

/// Where an element of the output comes from.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    /// Element `index` of input `input`.
    Element { input: usize, index: usize },
    /// A constant.
    Fill(PadValue),
}

/// The output's elements: integers as they are if all inputs have the output's grid, else by way of real numbers.
pub(super) fn gathered(at: &At<'_>, origins: &[Origin]) -> Option<Elements> {
    let output = at.output();
    let inputs = 0..at.node.inputs.len();
    let alike = |input| at.tensor(input).is_some_and(|tensor| same_grid(tensor, output));
    let integers: Option<Vec<&[i64]>> = inputs.clone().map(|input| at.elements(input)?.integers()).collect();
    if let Some(sources) = integers.filter(|_| inputs.clone().all(alike)) {
        return origins
            .iter()
            .map(|&origin| integer(at, &sources, origin))
            .collect::<Option<_>>()
            .map(Elements::Integer);
    }
    let sources: Vec<Vec<f32>> =
        inputs.map(|input| Some(at.elements(input)?.real(at.tensor(input)?))).collect::<Option<_>>()?;
    let real: Option<Vec<f32>> = origins.iter().map(|&origin| number(at, &sources, origin)).collect();
    Some(Elements::nearest(output, real?, at.ties))
}

/// Whether elements of one tensor mean the same in another.
fn same_grid(a: &Tensor, b: &Tensor) -> bool {
    a.element == b.element && a.quantization == b.quantization
}

fn integer(at: &At<'_>, sources: &[&[i64]], origin: Origin) -> Option<i64> {
    let grid = Grid::of(at.output());
    match origin {
        Origin::Element { input, index } => sources.get(input)?.get(index).copied(),
        Origin::Fill(PadValue::Integer(value)) => Some(value),
        Origin::Fill(PadValue::Zero) => Some(grid.map_or(0, |grid| grid.quantize(0, 0.0, at.ties))),
        Origin::Fill(PadValue::Float(value)) => Some(grid?.quantize(0, value, at.ties)),
    }
}

fn number(at: &At<'_>, sources: &[Vec<f32>], origin: Origin) -> Option<f32> {
    match origin {
        Origin::Element { input, index } => sources.get(input)?.get(index).copied(),
        Origin::Fill(value) => Some(filled(value, Grid::of(at.tensor(0)?).as_ref())),
    }
}

/// The real number that a tensor with this grid is padded with.
pub(crate) fn filled(value: PadValue, grid: Option<&Grid<'_>>) -> f32 {
    match value {
        PadValue::Zero => 0.0,
        PadValue::Float(value) => value,
        PadValue::Integer(value) => grid.map_or(narrow(value), |grid| grid.dequantize(0, value)),
    }
}

/// The origins, given the place in input 0 of each place of the output; `None` reads as `fill`.
fn moved(at: &At<'_>, fill: PadValue, source: impl Fn(&[usize]) -> Option<Vec<usize>>) -> Option<Vec<Origin>> {
    let from = at.tensor(0)?.shape.dims();
    let origin = |place: Vec<usize>| match source(&place) {
        Some(place) => Origin::Element { input: 0, index: flat(&place, from) },
        None => Origin::Fill(fill),
    };
    Some(places(at.output().shape.dims()).map(origin).collect())
}

pub(super) fn reshape(at: &At<'_>) -> Option<Vec<Origin>> {
    Some((0..at.output().shape.elements()).map(|index| Origin::Element { input: 0, index }).collect())
}

pub(super) fn transpose(at: &At<'_>, perm: &[usize]) -> Option<Vec<Origin>> {
    moved(at, PadValue::Zero, |place| {
        let mut source = vec![0; perm.len()];
        perm.iter().zip(place).for_each(|(&axis, &at)| source[axis] = at);
        Some(source)
    })
}

pub(super) fn pad(at: &At<'_>, op: &Pad) -> Option<Vec<Origin>> {
    let from = at.tensor(0)?.shape.dims();
    moved(at, op.value, |place| {
        let inside = |((&at, &before), &dim): ((&usize, &usize), &usize)| at.checked_sub(before).filter(|&at| at < dim);
        place.iter().zip(&op.before).zip(from).map(inside).collect()
    })
}

pub(super) fn slice(at: &At<'_>, op: &Slice) -> Option<Vec<Origin>> {
    moved(at, PadValue::Zero, |place| {
        let mut kept = place.iter();
        let indices =
            (0..op.begin.len()).map(|axis| if op.dropped.contains(&axis) { Some(0) } else { kept.next().copied() });
        indices.enumerate().map(|(axis, index)| Some(op.begin[axis] + index? * op.stride[axis])).collect()
    })
}

pub(super) fn gather(at: &At<'_>, op: &Gather) -> Option<Vec<Origin>> {
    moved(at, PadValue::Zero, |place| {
        let (before, rest) = place.split_at(op.axis);
        let (picked, after) = rest.split_at(op.shape.rank());
        Some([before, &[op.indices[flat(picked, op.shape.dims())]], after].concat())
    })
}

pub(super) fn take(at: &At<'_>, op: &Take) -> Option<Vec<Origin>> {
    let missing = op.indices.len() - at.tensor(0)?.shape.rank();
    let (taken, out): (Vec<usize>, _) = (op.indices.iter().map(Vec::len).collect(), at.output().shape.dims());
    moved(at, PadValue::Zero, |at| {
        let place = place(flat(at, out), &taken);
        Some(place.iter().zip(&op.indices).skip(missing).map(|(&at, indices)| indices[at]).collect())
    })
}

pub(super) fn resize_nearest(at: &At<'_>, op: &ResizeNearest) -> Option<Vec<Origin>> {
    moved(at, PadValue::Zero, |place| {
        let &[n, y, x, c] = place else { return None };
        Some(vec![n, op.rows[y], op.columns[x], c])
    })
}

pub(super) fn concat(at: &At<'_>, axis: usize) -> Option<Vec<Origin>> {
    let extents: Vec<usize> =
        (0..at.node.inputs.len()).map(|input| Some(at.tensor(input)?.shape.dims()[axis])).collect::<Option<_>>()?;
    let origin = |mut place: Vec<usize>| {
        let mut input = 0;
        while place[axis] >= *extents.get(input)? {
            place[axis] -= extents[input];
            input += 1;
        }
        Some(Origin::Element { input, index: flat(&place, at.tensor(input)?.shape.dims()) })
    };
    places(at.output().shape.dims()).map(origin).collect()
}

pub(super) fn pack(at: &At<'_>, axis: usize) -> Option<Vec<Origin>> {
    let dims = at.tensor(0)?.shape.dims();
    let origin = |mut place: Vec<usize>| {
        let input = place.remove(axis);
        Origin::Element { input, index: flat(&place, dims) }
    };
    Some(places(at.output().shape.dims()).map(origin).collect())
}

pub(super) fn depth_to_space(at: &At<'_>, block: usize) -> Option<Vec<Origin>> {
    let channels = *at.output().shape.dims().last()?;
    moved(at, PadValue::Zero, |place| {
        let &[n, y, x, c] = place else { return None };
        Some(vec![n, y / block, x / block, (y % block * block + x % block) * channels + c])
    })
}

pub(super) fn space_to_depth(at: &At<'_>, block: usize) -> Option<Vec<Origin>> {
    let channels = *at.tensor(0)?.shape.dims().last()?;
    moved(at, PadValue::Zero, |place| {
        let &[n, y, x, c] = place else { return None };
        let within = c / channels;
        Some(vec![n, y * block + within / block, x * block + within % block, c % channels])
    })
}

/// Number `block` of the batch holds every `block`-th padded position, from its own start.
pub(super) fn space_to_batch(at: &At<'_>, op: &Blocks) -> Option<Vec<Origin>> {
    let from = at.tensor(0)?.shape.dims();
    moved(at, PadValue::Zero, |place_in_output| {
        let starts = place(place_in_output[0] / from[0], &op.block);
        let mut source = place_in_output.to_vec();
        source[0] %= from[0];
        for (number, (&block, &start)) in op.block.iter().zip(&starts).enumerate() {
            let padded = source[number + 1] * block + start;
            source[number + 1] = padded.checked_sub(op.before[number]).filter(|&at| at < from[number + 1])?;
        }
        Some(source)
    })
}

pub(super) fn batch_to_space(at: &At<'_>, op: &Blocks) -> Option<Vec<Origin>> {
    let batch = at.output().shape.dims()[0];
    moved(at, PadValue::Zero, |place| {
        let mut source = place.to_vec();
        let mut starts = vec![];
        for (number, &block) in op.block.iter().enumerate() {
            let uncropped = place[number + 1] + op.before[number];
            source[number + 1] = uncropped / block;
            starts.push(uncropped % block);
        }
        source[0] = flat(&starts, &op.block) * batch + place[0];
        Some(source)
    })
}
