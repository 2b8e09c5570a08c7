//! Operators that only move elements.

use super::{Call, axis, extent};
use crate::infer::InferError;
use crate::op::{Blocks, Gather, Op, Slice, Take};
use crate::problem::Rule;
use crate::tensor::{Shape, Tensor};
use crate::tflite::schema::{
    concatenation, gather as gathering, mirror_pad as mirroring, pack as packing, single, strided_slice as masks,
};

/// Most indices of a gather.
const MAX_INDICES: usize = 4096;

pub(super) fn concatenation(call: &Call<'_>) -> Result<Op, Rule> {
    let activation = call.get(concatenation::ACTIVATION)?;
    if activation != 0 {
        return Err(Rule::Attribute { name: "fused_activation_function", value: activation.into() });
    }
    let value = call.get(concatenation::AXIS)?;
    Ok(Op::Concat { axis: axis("axis", value.into(), call.input()?.shape.rank())? })
}

pub(super) fn pack(call: &Call<'_>) -> Result<Op, Rule> {
    let value = call.get(packing::AXIS)?;
    Ok(Op::Pack { axis: axis("axis", value.into(), call.input()?.shape.rank() + 1)? })
}

/// One index of an axis, which goes.
pub(super) fn unpack(call: &Call<'_>) -> Result<Op, Rule> {
    let shape = &call.input()?.shape;
    let (output, outputs) = call.output;
    let axis = axis("axis", call.get(packing::AXIS)?.into(), shape.rank())?;
    if shape.dims()[axis] != outputs {
        return Err(count_of_parts(outputs));
    }
    Ok(Op::Slice(Slice { dropped: vec![axis], ..part(shape, axis, output, 1) }))
}

/// Equal parts; the axis comes before the tensor.
pub(super) fn split(call: &Call<'_>) -> Result<Op, Rule> {
    let shape = &tensor(call, 1)?.shape;
    let (output, outputs) = call.output;
    let axis = axis("axis", one("axis", &call.required(0, "axis")?)?, shape.rank())?;
    let extent = shape.dims()[axis];
    if !extent.is_multiple_of(outputs) {
        return Err(count_of_parts(outputs));
    }
    let size = extent / outputs;
    Ok(Op::Slice(part(shape, axis, output * size, size)))
}

/// Parts of given sizes, one of which may be whatever is left.
pub(super) fn split_v(call: &Call<'_>) -> Result<Op, Rule> {
    let shape = &call.input()?.shape;
    let (output, outputs) = call.output;
    let axis = axis("axis", one("axis", &call.required(2, "axis")?)?, shape.rank())?;
    let given = call.required(1, "sizes")?;
    if given.len() != outputs {
        return Err(count_of_parts(outputs));
    }
    let known = given.iter().filter(|&&size| size != -1).fold(0, |sum: i64, &size| sum.saturating_add(size));
    let whole = i64::try_from(shape.dims()[axis]).unwrap_or(i64::MAX);
    let size = |&size: &i64| extent("size_splits", if size == -1 { whole.saturating_sub(known) } else { size });
    let sizes = given.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let begin = sizes[..output].iter().fold(0_usize, |sum, &size| sum.saturating_add(size));
    Ok(Op::Slice(part(shape, axis, begin, sizes[output])))
}

fn count_of_parts(outputs: usize) -> Rule {
    Rule::Attribute { name: "num_splits", value: i64::try_from(outputs).unwrap_or(i64::MAX) }
}

/// Indices `begin .. begin + count` of one axis, all of the others.
fn part(shape: &Shape, axis: usize, begin: usize, count: usize) -> Slice {
    let mut part = part_of_all(shape);
    (part.begin[axis], part.count[axis]) = (begin, count);
    part
}

/// A size of -1 reaches to the end.
pub(super) fn slice(call: &Call<'_>) -> Result<Op, Rule> {
    let shape = &call.input()?.shape;
    let (begin, sizes) = (per_axis(call, 1, "begin")?, per_axis(call, 2, "size")?);
    let mut slice = part_of_all(shape);
    for (axis, (&begin, &size)) in begin.iter().zip(&sizes).enumerate() {
        slice.begin[axis] = extent("begin", begin)?;
        slice.count[axis] = match size {
            -1 => shape.dims()[axis].saturating_sub(slice.begin[axis]),
            size => extent("size", size)?,
        };
    }
    Ok(Op::Slice(slice))
}

/// Negative begins and ends count from the end; bits of the masks say where they are not looked at, which axes go, which entry
/// stands for all axes that no other names, and which for a new axis of one index.
pub(super) fn strided_slice(call: &Call<'_>) -> Result<Op, Rule> {
    if call.get(masks::OFFSET)? {
        return Err(Rule::Attribute { name: "offset", value: 1 });
    }
    Boxes::of(call)?.read(&call.input()?.shape)
}

/// The entries of a strided slice.
struct Boxes {
    begins: Vec<i64>,
    ends: Vec<i64>,
    strides: Vec<i64>,
    no_begin: i32,
    no_end: i32,
    ellipsis: i32,
    new_axis: i32,
    shrink: i32,
}

/// What an axis of the input, or a new one, is.
enum Place {
    /// An axis of the input; all of it without an entry.
    Axis {
        entry: Option<usize>,
    },
    New,
}

/// Indices `begin`, `begin + stride`, .. of an axis.
struct Part {
    begin: usize,
    stride: isize,
    count: usize,
}

fn bit(mask: i32, entry: usize) -> bool {
    u32::try_from(entry).ok().and_then(|entry| mask.checked_shr(entry)).is_some_and(|bits| bits & 1 != 0)
}

impl Boxes {
    fn of(call: &Call<'_>) -> Result<Self, Rule> {
        let boxes = Self {
            begins: call.required(1, "begin")?,
            ends: call.required(2, "end")?,
            strides: call.required(3, "strides")?,
            no_begin: call.get(masks::BEGIN_MASK)?,
            no_end: call.get(masks::END_MASK)?,
            ellipsis: call.get(masks::ELLIPSIS_MASK)?,
            new_axis: call.get(masks::NEW_AXIS_MASK)?,
            shrink: call.get(masks::SHRINK_AXIS_MASK)?,
        };
        for list in [&boxes.ends, &boxes.strides] {
            if list.len() != boxes.begins.len() {
                return Err(Rule::Attribute { name: "end", value: i64::try_from(list.len()).unwrap_or(i64::MAX) });
            }
        }
        Ok(boxes)
    }

    /// A slice, or a gather where indices run backwards or axes are new.
    fn read(&self, shape: &Shape) -> Result<Op, Rule> {
        let (mut parts, mut dims, mut dropped) = (vec![], vec![], vec![]);
        for place in self.places(shape)? {
            let Place::Axis { entry } = place else {
                dims.push(1);
                continue;
            };
            let axis = parts.len();
            let part = self.part(entry, shape.dims()[axis])?;
            if entry.is_some_and(|entry| bit(self.shrink, entry)) {
                dropped.push(axis);
            } else {
                dims.push(part.count);
            }
            parts.push(part);
        }
        if parts.iter().all(|part| part.stride > 0) && dims.len() + dropped.len() == parts.len() {
            let begin = parts.iter().map(|part| part.begin).collect();
            let stride = parts.iter().map(|part| part.stride.unsigned_abs()).collect();
            return Ok(Op::Slice(Slice {
                begin,
                stride,
                count: parts.iter().map(|part| part.count).collect(),
                dropped,
            }));
        }
        let indices = parts.iter().map(Part::indices).collect::<Result<_, _>>()?;
        Ok(Op::Take(Take { indices, shape: Some(Shape::new(dims)?) }))
    }

    /// What the entries stand for, in order; axes that none names are taken whole, where the ellipsis is or else at the end.
    fn places(&self, shape: &Shape) -> Result<Vec<Place>, Rule> {
        let entries = 0..self.begins.len();
        let named = entries.clone().filter(|&entry| !bit(self.ellipsis | self.new_axis, entry)).count();
        let wrong = || InferError::Rank { what: "input", want: named, found: shape.clone() };
        let mut rest = shape.rank().checked_sub(named).ok_or_else(wrong)?;
        let whole = |count: usize| std::iter::repeat_with(|| Place::Axis { entry: None }).take(count);
        let mut places = vec![];
        for entry in entries {
            if bit(self.ellipsis, entry) {
                places.extend(whole(std::mem::take(&mut rest)));
            } else if bit(self.new_axis, entry) {
                places.push(Place::New);
            } else {
                places.push(Place::Axis { entry: Some(entry) });
            }
        }
        places.extend(whole(rest));
        Ok(places)
    }

    /// The indices that an entry takes of an axis of extent `whole`.
    fn part(&self, entry: Option<usize>, whole: usize) -> Result<Part, Rule> {
        let Some(entry) = entry else { return Ok(Part { begin: 0, stride: 1, count: whole }) };
        let value = self.strides[entry];
        let wrong = Rule::Attribute { name: "strides", value };
        let stride = isize::try_from(value).ok().filter(|&stride| stride != 0).ok_or(wrong)?;
        if bit(self.shrink, entry) {
            let begin = if bit(self.no_begin, entry) { 0 } else { bound(self.begins[entry], whole) };
            return Ok(Part { begin, stride: 1, count: 1 });
        }
        let forward = stride > 0;
        // Backwards an end may be in front of index 0, so that all counts from one further on.
        let bound = |index: i64| if forward { bound(index, whole) } else { last(index, whole) };
        let (first, past) = if forward { (0, whole) } else { (whole, 0) };
        let begin = if bit(self.no_begin, entry) { first } else { bound(self.begins[entry]) };
        let end = if bit(self.no_end, entry) { past } else { bound(self.ends[entry]) };
        let distance = if forward { end.saturating_sub(begin) } else { begin.saturating_sub(end) };
        let begin = if forward { begin } else { begin.saturating_sub(1) };
        Ok(Part { begin, stride, count: distance.div_ceil(stride.unsigned_abs()) })
    }
}

impl Part {
    fn indices(&self) -> Result<Vec<usize>, Rule> {
        let index = |k: usize| {
            let distance = k * self.stride.unsigned_abs();
            if self.stride > 0 { self.begin + distance } else { self.begin.saturating_sub(distance) }
        };
        Ok((0..bounded("strides", self.count)?).map(index).collect())
    }
}

/// One more than an index from the front or, if negative, from the end; 0 for one in front of the first.
fn last(index: i64, whole: usize) -> usize {
    let extent = i64::try_from(whole).unwrap_or(i64::MAX);
    let from_front = if index < 0 { index.saturating_add(extent) } else { index };
    usize::try_from(from_front.saturating_add(1).clamp(0, extent)).unwrap_or(whole)
}

/// All elements, `multiples` times along each axis.
pub(super) fn tile(call: &Call<'_>) -> Result<Op, Rule> {
    let multiples = per_axis(call, 1, "multiples")?;
    taken(call, |axis, whole| {
        let count = extent("multiples", multiples[axis])?.saturating_mul(whole);
        Ok((bounded("multiples", count)?, Box::new(move |k| k % whole)))
    })
}

/// Extents of 1 repeated to a shape, which may have more axes in front.
pub(super) fn broadcast_to(call: &Call<'_>) -> Result<Op, Rule> {
    let wanted = call.required(1, "shape")?;
    let shape = &call.input()?.shape;
    let Some(added) = wanted.len().checked_sub(shape.rank()) else {
        return Err(InferError::Rank { what: "input", want: wanted.len(), found: shape.clone() }.into());
    };
    let mut indices = vec![];
    for (axis, &want) in wanted.iter().enumerate() {
        let whole = axis.checked_sub(added).map_or(1, |axis| shape.dims()[axis]);
        let count = bounded("shape", extent("shape", want)?)?;
        if whole != 1 && whole != count {
            return Err(Rule::Attribute { name: "shape", value: want });
        }
        indices.push((0..count).map(|k| if whole == 1 { 0 } else { k }).collect());
    }
    Ok(Op::Take(Take::new(indices)))
}

/// Padding with the elements mirrored at each end, without the edge or with it.
pub(super) fn mirror_pad(call: &Call<'_>) -> Result<Op, Rule> {
    let amounts = call.required(1, "paddings")?;
    let shape = &call.input()?.shape;
    let (pairs, rest) = amounts.as_chunks::<2>();
    if pairs.len() != shape.rank() || !rest.is_empty() {
        return Err(InferError::Rank { what: "input", want: pairs.len(), found: shape.clone() }.into());
    }
    let edge = match call.get(mirroring::MODE)? {
        0 => 0,
        1 => 1,
        other => return Err(Rule::Attribute { name: "mode", value: other.into() }),
    };
    taken(call, |axis, whole| {
        let amount = |value: i64| {
            let amount = extent("paddings", value)?;
            // The mirror has no more elements than the input.
            if amount + 1 > whole + edge { Err(Rule::Attribute { name: "paddings", value }) } else { Ok(amount) }
        };
        let (before, after) = (amount(pairs[axis][0])?, amount(pairs[axis][1])?);
        let index = move |k: usize| match k.checked_sub(before) {
            None => before - k - edge,
            Some(at) if at < whole => at,
            Some(at) => 2 * whole - 2 + edge - at,
        };
        Ok((bounded("paddings", before + whole + after)?, Box::new(index)))
    })
}

/// Some axes from the last index to the first.
pub(super) fn reverse(call: &Call<'_>) -> Result<Op, Rule> {
    let rank = call.input()?.shape.rank();
    let axes = call.required(1, "axes")?;
    let axes = axes.into_iter().map(|value| axis("axis", value, rank)).collect::<Result<Vec<_>, _>>()?;
    taken(call, |axis, whole| {
        let backward = axes.contains(&axis);
        Ok((bounded("axis", whole)?, Box::new(move |k| if backward { whole - 1 - k } else { k })))
    })
}

/// Number of indices along an axis of the output, and the input's index for each.
type Indices = (usize, Box<dyn Fn(usize) -> usize>);

/// A gather along every axis of the first input; `along` is told the axis and its extent.
fn taken(call: &Call<'_>, along: impl Fn(usize, usize) -> Result<Indices, Rule>) -> Result<Op, Rule> {
    let dims = call.input()?.shape.dims();
    let axis = |(axis, &whole): (usize, &usize)| {
        along(axis, whole).map(|(count, index)| (0..count).map(index).collect::<Vec<usize>>())
    };
    Ok(Op::Take(Take::new(dims.iter().enumerate().map(axis).collect::<Result<_, Rule>>()?)))
}

/// A number of indices that may become a list.
fn bounded(name: &'static str, count: usize) -> Result<usize, Rule> {
    if count <= MAX_INDICES {
        Ok(count)
    } else {
        Err(Rule::Attribute { name, value: i64::try_from(count).unwrap_or(i64::MAX) })
    }
}

fn part_of_all(shape: &Shape) -> Slice {
    let rank = shape.rank();
    Slice { begin: vec![0; rank], stride: vec![1; rank], count: shape.dims().to_vec(), dropped: vec![] }
}

/// An index from the front or, if negative, from the end, held to `0 ..= whole`.
fn bound(index: i64, whole: usize) -> usize {
    let extent = i64::try_from(whole).unwrap_or(i64::MAX);
    let from_front = if index < 0 { index.saturating_add(extent) } else { index };
    usize::try_from(from_front.clamp(0, extent)).unwrap_or(whole)
}

pub(super) fn gather(call: &Call<'_>) -> Result<Op, Rule> {
    let batch_dims = call.get(gathering::BATCH_DIMS)?;
    if batch_dims != 0 {
        return Err(Rule::Attribute { name: "batch_dims", value: batch_dims.into() });
    }
    let indices = call.integers(1, "indices", MAX_INDICES)?.unwrap_or_default();
    Ok(Op::Gather(Gather {
        axis: axis("axis", call.get(gathering::AXIS)?.into(), call.input()?.shape.rank())?,
        indices: indices.into_iter().map(|index| extent("indices", index)).collect::<Result<_, _>>()?,
        shape: tensor(call, 1)?.shape.clone(),
    }))
}

pub(super) fn depth_to_space(call: &Call<'_>) -> Result<Op, Rule> {
    Ok(Op::DepthToSpace { block: call.step("block_size", single::BLOCK_SIZE)? })
}

pub(super) fn space_to_depth(call: &Call<'_>) -> Result<Op, Rule> {
    Ok(Op::SpaceToDepth { block: call.step("block_size", single::BLOCK_SIZE)? })
}

pub(super) fn space_to_batch(call: &Call<'_>) -> Result<Op, Rule> {
    blocks(call, "paddings").map(Op::SpaceToBatch)
}

pub(super) fn batch_to_space(call: &Call<'_>) -> Result<Op, Rule> {
    blocks(call, "crops").map(Op::BatchToSpace)
}

/// Block extents and, as pairs, what surrounds the positions.
fn blocks(call: &Call<'_>, around: &'static str) -> Result<Blocks, Rule> {
    let extents = |name, values: Vec<i64>| {
        values.into_iter().map(|value| extent(name, value)).collect::<Result<Vec<usize>, Rule>>()
    };
    let block = extents("block_shape", call.required(1, "block shape")?)?;
    let around = extents(around, call.required(2, around)?)?;
    let (pairs, _) = around.as_chunks::<2>();
    let (before, after) = pairs.iter().map(|&[before, after]| (before, after)).unzip();
    Ok(Blocks { block, before, after })
}

fn tensor<'a>(call: &Call<'a>, slot: usize) -> Result<&'a Tensor, Rule> {
    let (least, most) = (slot + 1, slot + 1);
    call.slot(slot).map(|input| input.1).ok_or(Rule::InputCount { found: call.inputs.len(), least, most })
}

/// The one element of a list.
fn one(name: &'static str, values: &[i64]) -> Result<i64, Rule> {
    match *values {
        [value] => Ok(value),
        _ => Err(Rule::Attribute { name, value: i64::try_from(values.len()).unwrap_or(i64::MAX) }),
    }
}

/// A list with an element per axis of the first input.
fn per_axis(call: &Call<'_>, slot: usize, what: &'static str) -> Result<Vec<i64>, Rule> {
    let values = call.required(slot, what)?;
    let shape = &call.input()?.shape;
    if values.len() != shape.rank() {
        return Err(InferError::Rank { what: "input", want: values.len(), found: shape.clone() }.into());
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ElementType;

    fn list(values: &[i32]) -> Tensor {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor::new("list", Shape::new([values.len()]).unwrap(), ElementType::I32).constant(bytes)
    }

    /// What a reader makes of a tensor of shape `dims` among lists; `None` stands for the tensor.
    fn read(
        reader: fn(&Call<'_>) -> Result<Op, Rule>,
        dims: &[usize],
        operands: &[Option<&[i32]>],
        output: (usize, usize),
    ) -> Result<Slice, Rule> {
        let value = Tensor::new("value", Shape::new(dims).unwrap(), ElementType::I8);
        let tensors: Vec<Tensor> = operands.iter().map(|values| values.map_or(value.clone(), list)).collect();
        let call = Call { inputs: tensors.iter().enumerate().map(Some).collect(), options: None, custom: &[], output };
        match reader(&call)? {
            Op::Slice(slice) => Ok(slice),
            other => panic!("{other} is no slice"),
        }
    }

    fn part_of(begin: &[usize], stride: &[usize], count: &[usize], dropped: &[usize]) -> Slice {
        let [begin, stride, count, dropped] = [begin, stride, count, dropped].map(<[usize]>::to_vec);
        Slice { begin, stride, count, dropped }
    }

    #[test]
    fn every_output_of_a_split_is_a_slice() {
        let halves = |output, outputs| read(split, &[4, 6], &[Some(&[-1]), None], (output, outputs));
        assert_eq!(halves(1, 2), Ok(part_of(&[0, 3], &[1, 1], &[4, 3], &[])));
        assert!(matches!(halves(0, 4), Err(Rule::Attribute { name: "num_splits", value: 4 })));
        let sizes = |output, sizes| read(split_v, &[4, 6], &[None, Some(sizes), Some(&[1])], (output, 3));
        assert_eq!(sizes(2, &[1, -1, 2]), Ok(part_of(&[0, 4], &[1, 1], &[4, 2], &[])));
        assert_eq!(sizes(1, &[1, -1, 2]), Ok(part_of(&[0, 1], &[1, 1], &[4, 3], &[])));
        assert!(matches!(sizes(1, &[5, -1, 2]), Err(Rule::Attribute { name: "size_splits", value: -1 })));
        assert_eq!(read(unpack, &[4, 6], &[None], (2, 4)), Ok(part_of(&[2, 0], &[1, 1], &[1, 6], &[0])));
        assert!(matches!(read(unpack, &[4, 6], &[None], (2, 5)), Err(Rule::Attribute { .. })));
    }

    fn indices(
        reader: fn(&Call<'_>) -> Result<Op, Rule>,
        dims: &[usize],
        list: &[i32],
    ) -> Result<Vec<Vec<usize>>, Rule> {
        let value = Tensor::new("value", Shape::new(dims).unwrap(), ElementType::I8);
        let tensors = [value, self::list(list)];
        let call =
            Call { inputs: tensors.iter().enumerate().map(Some).collect(), options: None, custom: &[], output: (0, 1) };
        match reader(&call)? {
            Op::Take(take) => Ok(take.indices),
            other => panic!("{other} takes no indices"),
        }
    }

    #[test]
    fn repeated_mirrored_and_reversed_axes() {
        assert_eq!(indices(tile, &[2, 3], &[2, 1]), Ok(vec![vec![0, 1, 0, 1], vec![0, 1, 2]]));
        assert_eq!(indices(broadcast_to, &[1, 3], &[2, 2, 3]), Ok(vec![vec![0, 0], vec![0, 0], vec![0, 1, 2]]));
        assert!(indices(broadcast_to, &[2, 3], &[4, 3]).is_err());
        assert_eq!(indices(mirror_pad, &[3], &[2, 1]), Ok(vec![vec![2, 1, 0, 1, 2, 1]]));
        assert!(indices(mirror_pad, &[3], &[3, 0]).is_err());
        assert_eq!(indices(reverse, &[2, 3], &[-1]), Ok(vec![vec![0, 1], vec![2, 1, 0]]));
        assert!(matches!(indices(tile, &[2, 3], &[2000, 3000]), Err(Rule::Attribute { value: 9000, .. })));
    }

    #[test]
    fn slices_run_backwards_and_name_their_axes() {
        #[derive(Debug)]
        struct Case {
            why: &'static str,
            entries: [Vec<i64>; 3],
            masks: [i32; 5],
            want: (Vec<Vec<usize>>, Vec<usize>),
        }
        let case = |why, entries: [&[i64]; 3], masks, indices: &[&[usize]], dims: &[usize]| {
            let indices = indices.iter().map(|axis| axis.to_vec()).collect();
            Case { why, entries: entries.map(<[i64]>::to_vec), masks, want: (indices, dims.to_vec()) }
        };
        // The masks: begin, end, ellipsis, new axis, shrink.
        let cases = [
            case("all backwards", [&[0, 0], &[0, 0], &[-1, -2]], [3, 3, 0, 0, 0], &[&[2, 1, 0], &[3, 1]], &[3, 2]),
            case("an end", [&[-1, 9], &[0, -9], &[-1, -3]], [0; 5], &[&[2, 1], &[3, 0]], &[2, 2]),
            case("a new axis", [&[0, 1], &[9, 3], &[1, 1]], [0, 0, 0, 1, 0], &[&[1, 2], &[0, 1, 2, 3]], &[1, 2, 4]),
            case("an ellipsis", [&[0, 3], &[0, 0], &[1, -2]], [0, 2, 1, 0, 0], &[&[0, 1, 2], &[3, 1]], &[3, 2]),
            case("one goes", [&[-1, 3], &[0, 0], &[1, -1]], [0, 0, 0, 0, 1], &[&[2], &[3, 2, 1]], &[3]),
            case("the first goes", [&[2, 3], &[0, 0], &[1, -1]], [1, 0, 0, 0, 1], &[&[0], &[3, 2, 1]], &[3]),
        ];
        let shape = Shape::new([3, 4]).unwrap();
        for Case { why, entries: [begins, ends, strides], masks, want } in cases {
            let [no_begin, no_end, ellipsis, new_axis, shrink] = masks;
            let boxes = Boxes { begins, ends, strides, no_begin, no_end, ellipsis, new_axis, shrink };
            let Ok(Op::Take(take)) = boxes.read(&shape) else { panic!("{why}: no gather") };
            assert_eq!((take.indices, take.shape), (want.0, Some(Shape::new(want.1).unwrap())), "{why}");
        }
    }

    #[test]
    fn slices_reach_to_the_end_or_count_from_it() {
        let rest = read(slice, &[4, 6], &[None, Some(&[1, 2]), Some(&[-1, 3])], (0, 1));
        assert_eq!(rest, Ok(part_of(&[1, 2], &[1, 1], &[3, 3], &[])));
        let steps = |begin: &[i32], end: &[i32], strides: &[i32]| {
            read(strided_slice, &[4, 6], &[None, Some(begin), Some(end), Some(strides)], (0, 1))
        };
        assert_eq!(steps(&[-3, 0], &[9, -1], &[1, 2]), Ok(part_of(&[1, 0], &[1, 2], &[3, 3], &[])));
        assert!(matches!(steps(&[3, 0], &[0, 6], &[0, 1]), Err(Rule::Attribute { name: "strides", value: 0 })));
        assert!(matches!(steps(&[0; 3], &[4; 3], &[1; 3]), Err(Rule::Infer(InferError::Rank { .. }))));
        assert_eq!(steps(&[1], &[4], &[1]), Ok(part_of(&[1, 0], &[1, 1], &[3, 6], &[])), "what is not named is whole");
    }
}
