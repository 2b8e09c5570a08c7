//! Shapes of operators that only move elements.

use super::{InferError, nhwc};
use crate::op::{Blocks, Gather, ResizeNearest, Slice, Take};
use crate::tensor::Shape;

pub(super) fn concat(axis: usize, inputs: &[&Shape]) -> Result<Shape, InferError> {
    let Some((&first, rest)) = inputs.split_first() else { return Err(InferError::Zero { what: "number of inputs" }) };
    let mut dims = axis_of(axis, first)?.to_vec();
    for &other in rest {
        let fits = other.rank() == first.rank()
            && first.dims().iter().zip(other.dims()).enumerate().all(|(at, (a, b))| at == axis || a == b);
        if !fits {
            return Err(InferError::Broadcast { a: first.clone(), b: other.clone() });
        }
        dims[axis] = dims[axis].saturating_add(other.dims()[axis]);
    }
    Ok(Shape::new(dims)?)
}

pub(super) fn pack(axis: usize, inputs: &[&Shape]) -> Result<Shape, InferError> {
    let Some((&first, rest)) = inputs.split_first() else { return Err(InferError::Zero { what: "number of inputs" }) };
    if axis > first.rank() {
        return Err(InferError::Axes { axes: vec![axis], rank: first.rank() });
    }
    if let Some(&other) = rest.iter().find(|&&other| other != first) {
        return Err(InferError::Broadcast { a: first.clone(), b: other.clone() });
    }
    let mut dims = first.dims().to_vec();
    dims.insert(axis, inputs.len());
    Ok(Shape::new(dims)?)
}

pub(super) fn slice(op: &Slice, x: &Shape) -> Result<Shape, InferError> {
    for list in [&op.begin, &op.stride, &op.count] {
        if list.len() != x.rank() {
            return Err(InferError::Rank { what: "input", want: list.len(), found: x.clone() });
        }
    }
    let mut dims = vec![];
    for (axis, &extent) in x.dims().iter().enumerate() {
        let (begin, stride, count) = (op.begin[axis], op.stride[axis], op.count[axis]);
        if stride == 0 || count == 0 {
            return Err(InferError::Zero { what: "stride or count" });
        }
        let index = (count - 1).saturating_mul(stride).saturating_add(begin);
        if index >= extent {
            return Err(InferError::Index { index, axis, shape: x.clone() });
        }
        if !op.dropped.contains(&axis) {
            dims.push(count);
        } else if count != 1 {
            return Err(InferError::Axes { axes: op.dropped.clone(), rank: x.rank() });
        }
    }
    if !op.dropped.is_sorted_by(|a, b| a < b) || dims.len() + op.dropped.len() != x.rank() {
        return Err(InferError::Axes { axes: op.dropped.clone(), rank: x.rank() });
    }
    Ok(Shape::new(dims)?)
}

pub(super) fn gather(op: &Gather, x: &Shape) -> Result<Shape, InferError> {
    let dims = axis_of(op.axis, x)?;
    if op.shape.elements() != op.indices.len() {
        let from = Shape::new([op.indices.len()])?;
        return Err(InferError::Elements { from, to: op.shape.clone() });
    }
    if let Some(&index) = op.indices.iter().find(|&&index| index >= dims[op.axis]) {
        return Err(InferError::Index { index, axis: op.axis, shape: x.clone() });
    }
    Ok(Shape::new([&dims[..op.axis], op.shape.dims(), &dims[op.axis + 1..]].concat())?)
}

pub(super) fn take(op: &Take, x: &Shape) -> Result<Shape, InferError> {
    let Some(added) = op.indices.len().checked_sub(x.rank()) else {
        return Err(InferError::Rank { what: "input", want: op.indices.len(), found: x.clone() });
    };
    for (at, indices) in op.indices.iter().enumerate() {
        let extent = at.checked_sub(added).map_or(1, |axis| x.dims()[axis]);
        if let Some(&index) = indices.iter().find(|&&index| index >= extent) {
            return Err(InferError::Index { index, axis: at, shape: x.clone() });
        }
    }
    let taken = Shape::new(op.indices.iter().map(Vec::len).collect::<Vec<_>>())?;
    match &op.shape {
        Some(shape) if shape.elements() == taken.elements() => Ok(shape.clone()),
        Some(shape) => Err(InferError::Elements { from: taken, to: shape.clone() }),
        None => Ok(taken),
    }
}

pub(super) fn resize_nearest(op: &ResizeNearest, x: &Shape) -> Result<Shape, InferError> {
    let [n, h, w, c] = nhwc("input", x)?;
    for (axis, extent, indices) in [(1, h, &op.rows), (2, w, &op.columns)] {
        if let Some(&index) = indices.iter().find(|&&index| index >= extent) {
            return Err(InferError::Index { index, axis, shape: x.clone() });
        }
    }
    Ok(Shape::new([n, op.rows.len(), op.columns.len(), c])?)
}

pub(super) fn depth_to_space(block: usize, x: &Shape) -> Result<Shape, InferError> {
    let [n, h, w, c] = nhwc("input", x)?;
    let channels = parts(c, block.saturating_mul(block))?;
    Ok(Shape::new([n, h.saturating_mul(block), w.saturating_mul(block), channels])?)
}

pub(super) fn space_to_depth(block: usize, x: &Shape) -> Result<Shape, InferError> {
    let [n, h, w, c] = nhwc("input", x)?;
    let channels = c.saturating_mul(block.saturating_mul(block));
    Ok(Shape::new([n, parts(h, block)?, parts(w, block)?, channels])?)
}

pub(super) fn space_to_batch(op: &Blocks, x: &Shape) -> Result<Shape, InferError> {
    let mut dims = blocked(op, x)?;
    for (at, &block) in op.block.iter().enumerate() {
        let padded = dims[at + 1].saturating_add(op.before[at]).saturating_add(op.after[at]);
        dims[at + 1] = parts(padded, block)?;
        dims[0] = dims[0].saturating_mul(block);
    }
    Ok(Shape::new(dims)?)
}

pub(super) fn batch_to_space(op: &Blocks, x: &Shape) -> Result<Shape, InferError> {
    let mut dims = blocked(op, x)?;
    for (at, &block) in op.block.iter().enumerate() {
        let whole = dims[at + 1].saturating_mul(block);
        let crops = op.before[at].saturating_add(op.after[at]);
        dims[at + 1] = whole.checked_sub(crops).filter(|&left| left > 0).ok_or(InferError::Zero { what: "extent" })?;
        dims[0] = parts(dims[0], block)?;
    }
    Ok(Shape::new(dims)?)
}

/// The extents of an input that has an axis for every block, behind the first.
fn blocked(op: &Blocks, x: &Shape) -> Result<Vec<usize>, InferError> {
    let want = op.block.len() + 1;
    if x.rank() < want || op.before.len() + 1 != want || op.after.len() + 1 != want {
        return Err(InferError::Rank { what: "input", want, found: x.clone() });
    }
    Ok(x.dims().to_vec())
}

fn parts(extent: usize, blocks: usize) -> Result<usize, InferError> {
    if blocks == 0 || !extent.is_multiple_of(blocks) {
        return Err(InferError::Blocks { extent, blocks });
    }
    Ok(extent / blocks)
}

/// The extents of a shape that has this axis.
fn axis_of(axis: usize, x: &Shape) -> Result<&[usize], InferError> {
    if axis < x.rank() { Ok(x.dims()) } else { Err(InferError::Axes { axes: vec![axis], rank: x.rank() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    #[test]
    fn joined_inputs() {
        let (a, b) = (shape(&[2, 3, 4]), shape(&[2, 5, 4]));
        assert_eq!(concat(1, &[&a, &b, &a]), Ok(shape(&[2, 11, 4])));
        assert!(matches!(concat(0, &[&a, &b]), Err(InferError::Broadcast { .. })));
        assert!(matches!(concat(3, &[&a]), Err(InferError::Axes { .. })));
        assert_eq!(pack(3, &[&a, &a]), Ok(shape(&[2, 3, 4, 2])));
        assert!(matches!(pack(0, &[&a, &b]), Err(InferError::Broadcast { .. })));
    }

    #[test]
    fn parts_of_a_tensor() {
        let whole = Slice { begin: vec![1, 0], stride: vec![2, 1], count: vec![3, 1], dropped: vec![1] };
        assert_eq!(slice(&whole, &shape(&[6, 4])), Ok(shape(&[3])));
        assert!(matches!(slice(&whole, &shape(&[5, 4])), Err(InferError::Index { index: 5, axis: 0, .. })));
        let kept = Slice { dropped: vec![0], ..whole };
        assert!(matches!(slice(&kept, &shape(&[6, 4])), Err(InferError::Axes { .. })));
        let picked = |indices: &[usize]| Gather { axis: 1, indices: indices.to_vec(), shape: shape(&[2, 1]) };
        assert_eq!(gather(&picked(&[3, 0]), &shape(&[6, 4, 5])), Ok(shape(&[6, 2, 1, 5])));
        assert!(matches!(gather(&picked(&[4, 0]), &shape(&[6, 4])), Err(InferError::Index { .. })));
        assert!(matches!(gather(&picked(&[0]), &shape(&[6, 4])), Err(InferError::Elements { .. })));
    }

    #[test]
    fn indices_along_every_axis() {
        let op = Take::new(vec![vec![0, 0], vec![1, 0, 1], vec![3]]);
        assert_eq!(take(&op, &shape(&[2, 4])), Ok(shape(&[2, 3, 1])));
        assert!(matches!(take(&op, &shape(&[2, 3])), Err(InferError::Index { index: 3, axis: 2, .. })));
        assert!(matches!(take(&op, &shape(&[1, 1, 2, 4])), Err(InferError::Rank { .. })));
        let nearest = ResizeNearest { rows: vec![0, 0, 1], columns: vec![2] };
        assert_eq!(resize_nearest(&nearest, &shape(&[5, 2, 3, 4])), Ok(shape(&[5, 3, 1, 4])));
        assert!(matches!(resize_nearest(&nearest, &shape(&[5, 2, 2, 4])), Err(InferError::Index { axis: 2, .. })));
    }

    #[test]
    fn blocks_there_and_back() {
        assert_eq!(depth_to_space(2, &shape(&[1, 3, 5, 8])), Ok(shape(&[1, 6, 10, 2])));
        assert_eq!(space_to_depth(2, &shape(&[1, 6, 10, 2])), Ok(shape(&[1, 3, 5, 8])));
        assert!(matches!(space_to_depth(0, &shape(&[1, 6, 10, 2])), Err(InferError::Blocks { .. })));
        let blocks = Blocks { block: vec![2, 3], before: vec![1, 0], after: vec![0, 1] };
        assert_eq!(space_to_batch(&blocks, &shape(&[2, 5, 8, 4])), Ok(shape(&[12, 3, 3, 4])));
        assert_eq!(batch_to_space(&blocks, &shape(&[12, 3, 3, 4])), Ok(shape(&[2, 5, 8, 4])));
        assert!(matches!(batch_to_space(&blocks, &shape(&[11, 3, 3, 4])), Err(InferError::Blocks { .. })));
    }
}
