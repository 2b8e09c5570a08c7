//! Non-maximum suppression.

use super::super::call::Call;
use crate::graph::TensorId;
use crate::op::{Op, Suppression};
use crate::problem::Rule;
use crate::tensor::ElementType;

/// Operands: boxes, scores, and three numbers that constants give. The number of results depends on the boxes, so the output has room for
/// as many as there can be.
pub(super) fn non_max_suppression(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    let (boxes, scores) = (call.real(0, "boxes")?, call.real(1, "scores")?);
    let center = match call.int("center_point_box", 0) {
        0 => false,
        1 => true,
        value => return Err(Rule::Attribute { name: "center_point_box", value }),
    };
    let most = call.integers(2, "max_output_boxes_per_class")?.map_or(Ok(0), |list| one(&list))?;
    // Without a limit the format keeps no box at all: a network that asks for nothing is a mistake.
    let none = Rule::Attribute { name: "max_output_boxes_per_class", value: most };
    let per_class = usize::try_from(most).ok().filter(|&most| most > 0).ok_or(none)?;
    let count = call.dims(0)?.get(1).copied().unwrap_or(1).max(1);
    let iou = threshold(call, 3, "iou_threshold")?.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&iou) {
        return Err(Rule::FloatAttribute { name: "iou_threshold", value: iou });
    }
    let score = threshold(call, 4, "score_threshold")?;
    if let Some(value) = score.filter(|score| score.is_nan() || *score == f32::INFINITY) {
        return Err(Rule::FloatAttribute { name: "score_threshold", value });
    }
    let score = score.filter(|score| score.is_finite());
    let op = Op::NonMaxSuppression(Suppression { center, per_class: per_class.min(count), iou, score });
    let name = format!("{}.selected", call.name);
    Ok(vec![call.build.emit_as(&name, op, &[boxes, scores], ElementType::I64, None)?])
}

/// The number that an operand is.
fn one(list: &[i64]) -> Result<i64, Rule> {
    match *list {
        [value] => Ok(value),
        _ => Err(Rule::Attribute {
            name: "elements of max_output_boxes_per_class",
            value: i64::try_from(list.len()).unwrap_or(i64::MAX),
        }),
    }
}

fn threshold(call: &Call<'_>, slot: usize, what: &'static str) -> Result<Option<f32>, Rule> {
    match call.numbers(slot, what)?.as_deref() {
        None => Ok(None),
        Some(&[value]) => Ok(Some(value)),
        Some(list) => Err(Rule::Attribute { name: what, value: i64::try_from(list.len()).unwrap_or(i64::MAX) }),
    }
}
