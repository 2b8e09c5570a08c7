//! Boxes, each looked at again for every one that is kept.

use cnnip_graph::{DetectionResult, Detections, Suppression};

use super::At;
use crate::elements::nearest;

/// Top, left, bottom, right.
type Edges = [f32; 4];

fn numbers(at: &At<'_>, input: usize) -> Option<Vec<f32>> {
    Some(at.real(input)?.into_iter().map(nearest).collect())
}

/// Intersection over union; 0 where there is no area.
fn overlap(a: Edges, b: Edges) -> f32 {
    let area = |[top, left, bottom, right]: Edges| (bottom - top) * (right - left);
    let both = [a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])];
    let is_apart = both[2] <= both[0] || both[3] <= both[1];
    if is_apart || area(a) <= 0.0 || area(b) <= 0.0 { 0.0 } else { area(both) / (area(a) + area(b) - area(both)) }
}

/// The best that is left, again and again; `None` is a box that cannot be kept.
fn kept(boxes: &[Edges], mut scores: Vec<Option<f32>>, most: usize, limit: f32) -> Vec<usize> {
    let mut kept = vec![];
    while kept.len() < most {
        let mut best: Option<usize> = None;
        for (index, score) in scores.iter().enumerate().filter(|(_, score)| score.is_some_and(|score| !score.is_nan()))
        {
            best = best.filter(|&best| scores[best] >= *score).or(Some(index));
        }
        let Some(best) = best else { break };
        kept.push(best);
        scores[best] = None;
        for (score, &other) in scores.iter_mut().zip(boxes) {
            *score = score.filter(|_| overlap(boxes[best], other) <= limit);
        }
    }
    kept
}

pub(super) fn suppressed(at: &At<'_>, op: &Suppression) -> Option<Vec<f64>> {
    let (boxes, scores) = (numbers(at, 0)?, numbers(at, 1)?);
    let &[_, classes, count] = at.tensor(1)?.shape.dims() else { return None };
    let mut list = vec![];
    for (image, boxes) in boxes.chunks_exact(4 * count).enumerate() {
        let edges = boxes.as_chunks().0.iter().map(|&[a, b, c, d]| match op.center {
            true => [b - d / 2.0, a - c / 2.0, b + d / 2.0, a + c / 2.0],
            false => [a.min(c), b.min(d), a.max(c), b.max(d)],
        });
        let edges: Vec<Edges> = edges.collect();
        for class in 0..classes {
            let start = (image * classes + class) * count;
            let above = |score: f32| op.score.is_none_or(|limit| score > limit).then_some(score);
            let row = scores[start..start + count].iter().map(|&score| above(score)).collect();
            let found = kept(&edges, row, op.per_class, op.iou);
            list.extend(found.into_iter().flat_map(|index| [image, class, index]));
        }
    }
    let mut output: Vec<f64> = list.into_iter().map(real).collect();
    output.resize(at.output().shape.elements(), -1.0);
    Some(output)
}

pub(super) fn detected(at: &At<'_>, op: &Detections) -> Option<Vec<f64>> {
    let (codes, scores, anchors) = (numbers(at, 0)?, numbers(at, 1)?, numbers(at, 2)?);
    let (&[_, count, length], &[_, _, width]) = (at.tensor(0)?.shape.dims(), at.tensor(1)?.shape.dims()) else {
        return None;
    };
    let edges: Vec<Edges> =
        (0..count).map(|index| decoded(&codes[index * length..], &anchors[index * 4..], op.scales)).collect();
    let score = |index: usize, class: usize| scores[index * width + width - op.classes + class];
    // Rows with their places: box, class, score.
    let mut rows: Vec<(usize, usize, usize)> = vec![];
    let mut found = 0;
    match op.per_class {
        Some(most) => {
            let mut all = vec![];
            for class in 0..op.classes {
                let row =
                    (0..count).map(|index| Some(score(index, class)).filter(|&score| score >= op.score)).collect();
                all.extend(kept(&edges, row, most.min(op.most), op.iou).into_iter().map(|index| (index, class)));
            }
            all.sort_by(|a, b| score(b.0, b.1).total_cmp(&score(a.0, a.1)));
            rows.extend(all.into_iter().take(op.most).enumerate().map(|(place, (index, class))| (place, index, class)));
            found = rows.len();
        }
        None => {
            let order = |index: usize| {
                let mut classes: Vec<usize> = (0..op.classes).collect();
                classes.sort_by(|&a, &b| score(index, b).total_cmp(&score(index, a)));
                classes
            };
            let best = (0..count).map(|index| Some(score(index, order(index)[0])).filter(|&score| score >= op.score));
            for index in kept(&edges, best.collect(), op.most, op.iou) {
                let classes = order(index).into_iter().take(op.classes_per_box).enumerate();
                rows.extend(classes.map(|(column, class)| (found * op.classes_per_box + column, index, class)));
                found += 1;
            }
        }
    }
    let mut output = vec![0.0; at.output().shape.elements()];
    for (place, index, class) in rows {
        match op.result {
            DetectionResult::Boxes => {
                output[4 * place..][..4].iter_mut().zip(edges[index]).for_each(|(place, edge)| *place = edge.into());
            }
            DetectionResult::Classes => output[place] = real(class),
            DetectionResult::Scores => output[place] = score(index, class).into(),
            DetectionResult::Count => {}
        }
    }
    if op.result == DetectionResult::Count {
        output = vec![real(found)];
    }
    Some(output)
}

fn decoded(code: &[f32], anchor: &[f32], scales: [f32; 4]) -> Edges {
    let share = |place: usize| f64::from(code[place]) / f64::from(scales[place]);
    let middle = |axis: usize| nearest(share(axis) * f64::from(anchor[axis + 2]) + f64::from(anchor[axis]));
    let half = |axis: usize| nearest(share(axis + 2).exp() * 0.5 * f64::from(anchor[axis + 2]));
    [middle(0) - half(0), middle(1) - half(1), middle(0) + half(0), middle(1) + half(1)]
}

#[expect(clippy::cast_precision_loss, reason = "numbers of boxes are far below 2^53")]
fn real(number: usize) -> f64 {
    number as f64
}
