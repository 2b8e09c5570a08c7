//! Operators that find boxes, as host steps.

use cnnip_graph::{DetectionResult, Detections, Op, Suppression};
use cnnip_package::{BoxScales, HostOperator};

/// The host step that an operator which finds boxes is; `None` for other operators.
pub fn boxes_operator(op: &Op) -> Option<HostOperator> {
    match op {
        Op::NonMaxSuppression(op) => Some(suppression(op)),
        Op::Detections(op) => Some(detections(op)),
        _ => None,
    }
}

fn suppression(&Suppression { center, per_class, iou, score }: &Suppression) -> HostOperator {
    HostOperator::NonMaxSuppression(cnnip_package::Suppression { center, per_class: small(per_class), iou, score })
}

fn detections(op: &Detections) -> HostOperator {
    let result = match op.result {
        DetectionResult::Boxes => cnnip_package::DetectionResult::Boxes,
        DetectionResult::Classes => cnnip_package::DetectionResult::Classes,
        DetectionResult::Scores => cnnip_package::DetectionResult::Scores,
        DetectionResult::Count => cnnip_package::DetectionResult::Count,
    };
    let [y, x, height, width] = op.scales;
    HostOperator::Detections(cnnip_package::Detections {
        result,
        most: small(op.most),
        classes_per_box: small(op.classes_per_box),
        per_class: op.per_class.map(small),
        classes: small(op.classes),
        score: op.score,
        iou: op.iou,
        scales: BoxScales { y, x, height, width },
    })
}

/// There are not as many boxes.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
