//! Operators that only move elements.

use super::super::call::{Call, axes, axis, extent};
use super::ANY;
use crate::graph::TensorId;
use crate::infer::InferError;
use crate::op::{Gather, Op, Pad, PadValue, Slice};
use crate::problem::Rule;
use crate::tensor::{ElementType, Shape};

type Outputs = Result<Vec<TensorId>, Rule>;

pub(super) fn identity(call: &mut Call<'_>) -> Outputs {
    Ok(vec![call.input(0)?])
}

/// Nothing, when not training.
pub(super) fn dropout(call: &mut Call<'_>) -> Outputs {
    if let Some(training) = call.integers(2, "training_mode")?
        && training.iter().any(|&training| training != 0)
    {
        return Err(Rule::Attribute { name: "training_mode", value: 1 });
    }
    identity(call)
}

pub(super) fn concat(call: &mut Call<'_>) -> Outputs {
    let first = call.input(0)?;
    let axis = axis("axis", call.int("axis", 1), call.shape(first).rank())?;
    let mut inputs = Vec::new();
    for slot in 0..call.inputs.len() {
        let input = call.input(slot)?;
        call.same_type(first, input)?;
        inputs.push(input);
    }
    joined(call, inputs, axis).map(|id| vec![id])
}

/// Inputs one behind the other; the operator of the graph takes a limited number at once.
pub(super) fn joined(call: &mut Call<'_>, mut inputs: Vec<TensorId>, axis: usize) -> Result<TensorId, Rule> {
    while inputs.len() > 1 {
        let mut parts = Vec::new();
        for part in inputs.chunks(crate::op::MAX_JOINED) {
            parts.push(if let &[one] = part { one } else { call.emit(Op::Concat { axis }, part)? });
        }
        inputs = parts;
    }
    inputs.pop().ok_or(Rule::InputCount { found: 0, least: 1, most: ANY })
}

/// All of a tensor.
pub(super) fn whole(shape: &Shape) -> Slice {
    let rank = shape.rank();
    Slice { begin: vec![0; rank], stride: vec![1; rank], count: shape.dims().to_vec(), dropped: vec![] }
}

pub(super) fn split(call: &mut Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let axis = axis("axis", call.int("axis", 0), shape.rank())?;
    let extent_there = shape.dims()[axis];
    let parts = call.node.output.len();
    let sizes = match call.list(1, "split")? {
        Some(sizes) => sizes.into_iter().map(|size| extent("split", size)).collect::<Result<Vec<_>, _>>()?,
        None => {
            let stated = call.int("num_outputs", i64::try_from(parts).unwrap_or(i64::MAX));
            let parts = extent("num_outputs", stated)?.max(1);
            let size = extent_there.div_ceil(parts);
            (0..parts).map(|part| size.min(extent_there.saturating_sub(part * size))).collect()
        }
    };
    let total = sizes.iter().fold(0_usize, |sum, &size| sum.saturating_add(size));
    if sizes.len() != parts || total != extent_there {
        return Err(Rule::Attribute { name: "split", value: i64::try_from(sizes.len()).unwrap_or(i64::MAX) });
    }
    let mut begin = 0;
    let mut made = Vec::new();
    for size in sizes {
        let mut slice = whole(&shape);
        (slice.begin[axis], slice.count[axis]) = (begin, size);
        made.push(call.emit(Op::Slice(slice), &[x])?);
        begin += size;
    }
    Ok(made)
}

/// Steps forward are a slice; steps backward pick indices.
pub(super) fn slice(call: &mut Call<'_>) -> Outputs {
    let mut x = call.input(0)?;
    let shape = call.shape(x);
    let starts = call.list(1, "starts")?.unwrap_or_default();
    let ends = call.list(2, "ends")?.unwrap_or_default();
    let listed = match call.list(3, "axes")? {
        Some(axes) => axes,
        None => (0..i64::try_from(starts.len()).unwrap_or(0)).collect(),
    };
    let steps = call.integers(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), listed.len(), steps.len()] != [starts.len(); 3] {
        return Err(Rule::Attribute { name: "starts", value: i64::try_from(starts.len()).unwrap_or(i64::MAX) });
    }
    let mut slice = whole(&shape);
    for (at, &value) in listed.iter().enumerate() {
        let axis = axis("axes", value, shape.rank())?;
        let indices = indices(shape.dims()[axis], starts[at], ends[at], steps[at])?;
        match steps[at] {
            1.. => {
                slice.begin[axis] = indices.first;
                slice.stride[axis] = indices.step;
                slice.count[axis] = indices.count;
            }
            _ => {
                let picked = (0..indices.count).map(|nth| indices.first - nth * indices.step).collect();
                x = pick(call, x, axis, picked)?;
                // Further slices of this node see what is left.
                slice.count[axis] = call.shape(x).dims()[axis];
            }
        }
    }
    if slice.count.contains(&0) && call.build.get(x).is_constant() {
        return nothing(call, x, slice.count);
    }
    let all = slice == whole(&call.shape(x));
    Ok(vec![if all { x } else { call.emit(Op::Slice(slice), &[x])? }])
}

/// A constant without elements: lists of extents may be empty, activations may not.
fn nothing(call: &mut Call<'_>, like: TensorId, dims: Vec<usize>) -> Outputs {
    let element = call.build.get(like).element;
    Ok(vec![call.build.integers(&format!("{}.empty", call.name), &dims, [], element)?])
}

/// Indices of an axis, at a distance of `step`.
struct Indices {
    first: usize,
    step: usize,
    count: usize,
}

/// What `start`, `end` and `step` mean on an axis: beyond its ends they are held to it.
fn indices(whole: usize, start: i64, end: i64, step: i64) -> Result<Indices, Rule> {
    let extent_there = i64::try_from(whole).unwrap_or(i64::MAX);
    let from_front = |index: i64| if index < 0 { index.saturating_add(extent_there) } else { index };
    let (start, end) = (from_front(start), from_front(end));
    let distance = match step {
        0 => return Err(Rule::Attribute { name: "steps", value: 0 }),
        1.. => {
            let start = start.clamp(0, extent_there);
            (start, end.clamp(0, extent_there).saturating_sub(start))
        }
        _ => {
            let start = start.clamp(-1, extent_there - 1);
            (start, start.saturating_sub(end.clamp(-1, extent_there - 1)))
        }
    };
    let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    let count = usize::try_from(distance.1.max(0)).unwrap_or(0).div_ceil(step);
    Ok(Indices { first: usize::try_from(distance.0).unwrap_or(0), step, count })
}

/// The elements at these indices of an axis.
pub(super) fn pick(call: &mut Call<'_>, x: TensorId, axis: usize, indices: Vec<usize>) -> Result<TensorId, Rule> {
    call.build.budget.spend(indices.len().saturating_mul(size_of::<usize>()))?;
    let shape = Shape::new([indices.len()])?;
    call.emit(Op::Gather(Gather { axis, indices, shape }), &[x])
}

pub(super) fn gather(call: &mut Call<'_>) -> Outputs {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let shape = call.shape(x);
    let axis = axis("axis", call.int("axis", 0), shape.rank())?;
    let values = call.integers(1, "indices")?.unwrap_or_default();
    let index = |&value: &i64| self::axis("indices", value, shape.dims()[axis]);
    let indices =
        Gather { axis, indices: values.iter().map(index).collect::<Result<_, _>>()?, shape: call.shape(indices) };
    Ok(vec![call.emit(Op::Gather(indices), &[x])?])
}

/// Extents of 1 become as many copies as the shape asks for.
pub(super) fn expand(call: &mut Call<'_>) -> Outputs {
    let mut x = call.input(0)?;
    let wanted = call.integers(1, "shape")?.unwrap_or_default();
    let wanted = wanted.into_iter().map(|dim| extent("shape", dim)).collect::<Result<Vec<_>, _>>()?;
    let mut dims = call.shape(x).dims().to_vec();
    let missing = wanted.len().saturating_sub(dims.len());
    dims.splice(0..0, vec![1; missing]);
    x = call.reshape(x, &dims)?;
    let skip = dims.len() - wanted.len();
    for (at, &want) in wanted.iter().enumerate().filter(|&(_, &want)| want != 1) {
        let axis = at + skip;
        match dims[axis] {
            1 => x = pick(call, x, axis, repeats(1, want)?)?,
            same if same == want => {}
            _ => {
                let (a, b) = (call.shape(x), Shape::new(wanted)?);
                return Err(InferError::Broadcast { a, b }.into());
            }
        }
    }
    Ok(vec![x])
}

/// Indices `0 .. extent`, so many times.
fn repeats(extent: usize, times: usize) -> Result<Vec<usize>, Rule> {
    let count = Shape::new([extent, times])?.elements();
    // An index is kept for each; more than this is no network.
    if count > 1 << 20 {
        return Err(Rule::Attribute { name: "repeats", value: i64::try_from(times).unwrap_or(i64::MAX) });
    }
    Ok((0..count).map(|index| index % extent).collect())
}

pub(super) fn tile(call: &mut Call<'_>) -> Outputs {
    let mut x = call.input(0)?;
    let times = call.integers(1, "repeats")?.unwrap_or_default();
    let dims = call.shape(x).dims().to_vec();
    if times.len() != dims.len() {
        return Err(InferError::Rank { what: "input", want: times.len(), found: call.shape(x) }.into());
    }
    for (axis, &times) in times.iter().enumerate().filter(|&(_, &times)| times != 1) {
        x = pick(call, x, axis, repeats(dims[axis], extent("repeats", times)?)?)?;
    }
    Ok(vec![x])
}

pub(super) fn transpose(call: &mut Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let rank = call.shape(x).rank();
    let perm = match call.ints("perm")? {
        Some(perm) => perm.iter().map(|&value| axis("perm", value, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![call.transpose(x, &perm)?])
}

pub(super) fn reshape(call: &mut Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let wanted = call.integers(1, "shape")?.unwrap_or_default();
    let copies = call.int("allowzero", 0) == 0;
    let mut dims = Vec::new();
    let mut free = None;
    for (at, &value) in wanted.iter().enumerate() {
        dims.push(match value {
            0 if copies => *shape.dims().get(at).ok_or(Rule::Attribute { name: "shape", value })?,
            -1 if free.is_none() => {
                free = Some(at);
                1
            }
            value => extent("shape", value)?,
        });
    }
    if let Some(at) = free {
        let known = Shape::new(dims.clone())?.elements();
        dims[at] = shape.elements().checked_div(known).unwrap_or(0);
    }
    Ok(vec![call.reshape(x, &dims)?])
}

pub(super) fn flatten(call: &mut Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let shape = call.shape(x);
    // From the front the axis may be one behind the last.
    let value = call.int("axis", 1);
    let axis = axis("axis", value, if value < 0 { shape.rank() } else { shape.rank() + 1 })?;
    let flat = [shape.dims()[..axis].iter().product(), shape.dims()[axis..].iter().product()];
    Ok(vec![call.reshape(x, &flat)?])
}

pub(super) fn squeeze(call: &mut Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let listed = call.list(1, "axes")?;
    let gone = match &listed {
        Some(listed) => axes("axes", listed, shape.rank())?,
        None => (0..shape.rank()).filter(|&axis| shape.dims()[axis] == 1).collect(),
    };
    let kept = shape.dims().iter().enumerate().filter(|(axis, _)| !gone.contains(axis));
    let dims: Vec<usize> = kept.map(|(_, &dim)| dim).collect();
    Ok(vec![call.reshape(x, &dims)?])
}

pub(super) fn unsqueeze(call: &mut Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let listed = call.list(1, "axes")?.unwrap_or_default();
    let rank = shape.rank() + listed.len();
    let new = axes("axes", &listed, rank)?;
    if new.len() != listed.len() {
        return Err(InferError::Axes { axes: new, rank }.into());
    }
    let mut old = shape.dims().iter().copied();
    let dims: Vec<usize> =
        (0..rank).map(|axis| if new.contains(&axis) { 1 } else { old.next().unwrap_or(1) }).collect();
    Ok(vec![call.reshape(x, &dims)?])
}

/// Amounts below 0 take away. Other modes than a constant pick indices.
pub(super) fn pad(call: &mut Call<'_>) -> Outputs {
    let mut x = call.input(0)?;
    let rank = call.shape(x).rank();
    let listed = call.list(1, "pads")?.unwrap_or_default();
    let at = match call.integers(3, "axes")? {
        Some(listed) => listed.iter().map(|&value| axis("axes", value, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if listed.len() != 2 * at.len() {
        return Err(InferError::Rank { what: "input", want: listed.len() / 2, found: call.shape(x) }.into());
    }
    let (mut before, mut after) = (vec![0_i64; rank], vec![0_i64; rank]);
    for (nth, &axis) in at.iter().enumerate() {
        (before[axis], after[axis]) = (listed[nth], listed[nth + at.len()]);
    }
    x = cropped(call, x, &before, &after)?;
    let amounts =
        |list: &[i64]| list.iter().map(|&amount| extent("pads", amount.max(0))).collect::<Result<Vec<_>, _>>();
    let (before, after) = (amounts(&before)?, amounts(&after)?);
    if before.iter().chain(&after).all(|&amount| amount == 0) {
        return Ok(vec![x]);
    }
    match call.text("mode", "constant").as_str() {
        "constant" => {
            let value = fill(call, x)?;
            Ok(vec![call.emit(Op::Pad(Pad { before, after, value }), &[x])?])
        }
        mode @ ("edge" | "reflect" | "wrap") => {
            for axis in 0..rank {
                if before[axis] + after[axis] > 0 {
                    let whole = call.shape(x).dims()[axis];
                    x = pick(call, x, axis, around(mode, whole, before[axis], after[axis])?)?;
                }
            }
            Ok(vec![x])
        }
        other => Err(Rule::TextAttribute { name: "mode", value: other.to_owned() }),
    }
}

/// The indices of an axis and, before and behind it, of the elements that it is padded with.
fn around(mode: &str, whole: usize, before: usize, after: usize) -> Result<Vec<usize>, Rule> {
    let most = i64::try_from(before.max(after)).unwrap_or(i64::MAX);
    if whole == 0 || (mode == "reflect" && before.max(after) >= whole) || most > 1 << 20 {
        return Err(Rule::Attribute { name: "pads", value: most });
    }
    let index = |at: usize| match mode {
        "edge" => at.saturating_sub(before).min(whole - 1),
        "wrap" => (at + whole - before % whole) % whole,
        _ if at < before => before - at,
        _ if at - before < whole => at - before,
        _ => 2 * (whole - 1) - (at - before),
    };
    Ok((0..before + whole + after).map(index).collect())
}

fn cropped(call: &mut Call<'_>, x: TensorId, before: &[i64], after: &[i64]) -> Result<TensorId, Rule> {
    let shape = call.shape(x);
    let mut slice = whole(&shape);
    for axis in 0..shape.rank() {
        let gone = |amount: i64| extent("pads", amount.min(0).saturating_neg());
        let (front, back) = (gone(before[axis])?, gone(after[axis])?);
        slice.begin[axis] = front;
        slice.count[axis] = shape.dims()[axis].saturating_sub(front).saturating_sub(back);
    }
    if slice == whole(&shape) { Ok(x) } else { call.emit(Op::Slice(slice), &[x]) }
}

/// The value that is padded with: an attribute in old operator sets, an operand since 11.
fn fill(call: &Call<'_>, x: TensorId) -> Result<PadValue, Rule> {
    let element = call.build.get(x).element;
    if element == ElementType::F32 {
        let given = call.numbers(2, "value")?.and_then(|list| list.first().copied());
        let value = given.map_or_else(|| call.float("value", 0.0), Ok)?;
        return Ok(if value == 0.0 { PadValue::Zero } else { PadValue::Float(value) });
    }
    let given = call.integers(2, "value")?.and_then(|list| list.first().copied());
    Ok(given.map_or(PadValue::Zero, PadValue::Integer))
}

/// The block size, and the extents of a channels-first map.
fn blocks(call: &Call<'_>) -> Result<(usize, [usize; 4]), Rule> {
    let block = extent("blocksize", call.int("blocksize", 0))?;
    let shape = call.tensor(0)?.shape.clone();
    let dims = shape.nhwc().ok_or(InferError::Rank { what: "input", want: 4, found: shape })?;
    if block == 0 { Err(Rule::Attribute { name: "blocksize", value: 0 }) } else { Ok((block, dims)) }
}

/// Blocks outermost in the channels (`DCR`) as in the graph; innermost (`CRD`) after their exchange.
pub(super) fn depth_to_space(call: &mut Call<'_>) -> Outputs {
    let (block, [_, channels, _, _]) = blocks(call)?;
    let name = call.name.clone();
    let x = call.input(0)?;
    let mut x = call.build.nhwc(&name, x)?;
    let area = block.saturating_mul(block);
    match call.text("mode", "DCR").as_str() {
        "DCR" => {}
        "CRD" => {
            let depth = channels / area.max(1);
            let order = (0..channels).map(|to| (to % depth.max(1)) * area + to / depth.max(1)).collect();
            x = pick(call, x, 3, order)?;
        }
        other => return Err(Rule::TextAttribute { name: "mode", value: other.to_owned() }),
    }
    let made = call.emit(Op::DepthToSpace { block }, &[x])?;
    Ok(vec![call.build.nchw(&name, made)?])
}

pub(super) fn space_to_depth(call: &mut Call<'_>) -> Outputs {
    let (block, _) = blocks(call)?;
    let mode = call.text("mode", "DCR");
    if mode != "DCR" {
        return Err(Rule::TextAttribute { name: "mode", value: mode });
    }
    let name = call.name.clone();
    let x = call.input(0)?;
    let x = call.build.nhwc(&name, x)?;
    let made = call.emit(Op::SpaceToDepth { block }, &[x])?;
    Ok(vec![call.build.nchw(&name, made)?])
}
