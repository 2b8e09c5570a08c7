//! Shapes of operators that find boxes.

use super::InferError;
use crate::op::{DetectionResult, Detections, Suppression};
use crate::tensor::{Shape, ShapeError};

/// Room for every box that may be kept.
pub(super) fn suppressed(op: &Suppression, boxes: &Shape, rest: &[&Shape]) -> Result<Shape, InferError> {
    let &[images, count, _] = boxes.dims() else { return Err(rank("boxes", 3, boxes)) };
    operand(0, &[images, count, 4], boxes)?;
    let scores = rest.first().copied().cloned().unwrap_or_default();
    let &[_, classes, _] = scores.dims() else { return Err(rank("scores", 3, &scores)) };
    operand(1, &[images, classes, count], &scores)?;
    nonzero("number of boxes per class", op.per_class)?;
    Ok(Shape::new([product(&[images, classes, count.min(op.per_class)])?, 3])?)
}

pub(super) fn detected(op: &Detections, codes: &Shape, rest: &[&Shape]) -> Result<Shape, InferError> {
    let &[_, count, length] = codes.dims() else { return Err(rank("box encodings", 3, codes)) };
    operand(0, &[1, count, length.max(4)], codes)?;
    let [scores, anchors] = [0, 1].map(|at| rest.get(at).copied().cloned().unwrap_or_default());
    let with_background = scores.dims() == [1, count, op.classes.saturating_add(1)];
    if !with_background {
        operand(1, &[1, count, op.classes], &scores)?;
    }
    operand(2, &[count, 4], &anchors)?;
    for (what, number) in [("number of boxes", op.most), ("number of classes per box", op.classes_per_box)] {
        nonzero(what, number)?;
    }
    nonzero("number of classes", op.classes)?;
    nonzero("number of boxes per class", op.per_class.unwrap_or(1))?;
    let rows = product(&[op.most, op.classes_per_box])?;
    Ok(match op.result {
        DetectionResult::Boxes => Shape::new([1, rows, 4])?,
        DetectionResult::Classes | DetectionResult::Scores => Shape::new([1, rows])?,
        DetectionResult::Count => Shape::new([1])?,
    })
}

fn rank(what: &'static str, want: usize, found: &Shape) -> InferError {
    InferError::Rank { what, want, found: found.clone() }
}

fn operand(operand: usize, want: &[usize], found: &Shape) -> Result<(), InferError> {
    if found.dims() == want {
        return Ok(());
    }
    Err(InferError::Operand { operand, want: Shape::new(want)?, found: found.clone() })
}

fn nonzero(what: &'static str, number: usize) -> Result<(), InferError> {
    if number == 0 { Err(InferError::Zero { what }) } else { Ok(()) }
}

/// A number of rows, which is an extent of a shape if it is not too large.
fn product(extents: &[usize]) -> Result<usize, ShapeError> {
    Shape::new(extents).map(|shape| shape.elements())
}
