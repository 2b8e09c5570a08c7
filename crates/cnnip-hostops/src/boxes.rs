//! Boxes: decoding, and non-maximum suppression. Oracles: ONNX's NonMaxSuppression as ONNX Runtime computes it, and LiteRT's
//! custom operator `TFLite_Detection_PostProcess`; kept boxes and their order are theirs, ties included.
//!
//! Everything is binary32 without fused operations, but for decoding, which is binary64 rounded once to binary32 per middle and per
//! half extent. Two boxes overlap by their intersection over union; a box without area overlaps nothing. Candidates are taken in the
//! order of their scores, of equal ones the first; a score that is not a number makes no candidate.

use std::cmp::Ordering;

use cnnip_package::{DetectionResult, Detections, Suppression};

/// A box by its edges.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Edges {
    top: f32,
    left: f32,
    bottom: f32,
    right: f32,
}

impl Edges {
    /// Of two opposite corners, `[y, x, y, x]`.
    fn of_corners([y, x, other_y, other_x]: [f32; 4]) -> Self {
        Self { top: y.min(other_y), left: x.min(other_x), bottom: y.max(other_y), right: x.max(other_x) }
    }

    /// Of the middle and the extents, `[x, y, w, h]`.
    fn of_center([x, y, w, h]: [f32; 4]) -> Self {
        let (w, h) = (w / 2.0, h / 2.0);
        Self { top: y - h, left: x - w, bottom: y + h, right: x + w }
    }

    /// The four numbers of a row, with their places.
    fn numbers(self, row: usize) -> [(usize, f32); 4] {
        let Self { top, left, bottom, right } = self;
        let first = row.saturating_mul(4);
        let place = |number: usize| first.saturating_add(number);
        [(place(0), top), (place(1), left), (place(2), bottom), (place(3), right)]
    }

    fn area(&self) -> f32 {
        (self.bottom - self.top) * (self.right - self.left)
    }

    /// Whether the intersection is more than `limit` of the union.
    fn overlaps(&self, other: &Self, limit: f32) -> bool {
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        let width = self.right.min(other.right) - self.left.max(other.left);
        let (own, others) = (self.area(), other.area());
        let both = height * width;
        height > 0.0 && width > 0.0 && own > 0.0 && others > 0.0 && both > 0.0 && both / (own + others - both) > limit
    }
}

/// Numbers in the order of their scores, the largest first; of equal ones the lowest first.
fn by_score(mut numbers: Vec<usize>, score: impl Fn(usize) -> f32) -> Vec<usize> {
    numbers.retain(|&number| !score(number).is_nan());
    numbers.sort_by(|&a, &b| score(b).partial_cmp(&score(a)).unwrap_or(Ordering::Equal)); // stable
    numbers
}

/// The first `most` candidates that overlap no earlier one of them by more than `limit`.
fn keep(boxes: &[Edges], candidates: &[usize], most: usize, limit: f32) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for &candidate in candidates {
        if kept.len() >= most {
            break;
        }
        if !kept.iter().any(|&other| boxes[other].overlaps(&boxes[candidate], limit)) {
            kept.push(candidate);
        }
    }
    kept
}

/// `[image, class, box]` of every box that non-maximum suppression keeps, by image, then class, then score.
///
/// `boxes` are `[image][box][4]`, `scores` are `[image][class][box]`, of `count` boxes and `classes`.
///
/// ```
/// use cnnip_hostops::boxes::suppress;
/// use cnnip_package::Suppression;
/// let two = [0.0, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1]; // they share 9/11 of their union
/// let rule = Suppression { center: false, per_class: 10, iou: 0.5, score: None };
/// assert_eq!(suppress(&two, &[0.3, 0.9], (1, 2), &rule), [[0, 0, 1]]);
/// ```
#[must_use]
pub fn suppress(
    boxes: &[f32],
    scores: &[f32],
    (classes, count): (usize, usize),
    rule: &Suppression,
) -> Vec<[usize; 3]> {
    let edges = if rule.center { Edges::of_center } else { Edges::of_corners };
    let per_image = classes.saturating_mul(count).max(1);
    let mut found = Vec::new();
    let images = boxes.chunks_exact(count.saturating_mul(4).max(1)).zip(scores.chunks_exact(per_image));
    for (image, (boxes, scores)) in images.enumerate() {
        let boxes: Vec<Edges> = boxes.as_chunks().0.iter().map(|&numbers| edges(numbers)).collect();
        for (class, scores) in scores.chunks_exact(count.max(1)).enumerate() {
            let above = |&at: &usize| rule.score.is_none_or(|limit| scores[at] > limit);
            let candidates = by_score((0..boxes.len()).filter(above).collect(), |at| scores[at]);
            let kept = keep(&boxes, &candidates, index(rule.per_class), rule.iou);
            found.extend(kept.into_iter().map(|at| [image, class, at]));
        }
    }
    found
}

/// One row of detections.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    edges: Edges,
    class: usize,
    score: f32,
}

/// What decoding and suppression find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Detections with the rows they are in.
    rows: Vec<(usize, Row)>,
    /// How many boxes there are; where classes are suppressed one by one, how many rows.
    count: usize,
}

impl Found {
    /// A result's numbers that are not of empty rows, each with its place; all others are 0.
    pub fn numbers(&self, result: DetectionResult) -> Vec<(usize, f32)> {
        let rows = self.rows.iter();
        match result {
            DetectionResult::Boxes => rows.flat_map(|&(at, Row { edges, .. })| edges.numbers(at)).collect(),
            DetectionResult::Classes => rows.map(|&(at, Row { class, .. })| (at, real(class))).collect(),
            DetectionResult::Scores => rows.map(|&(at, Row { score, .. })| (at, score)).collect(),
            DetectionResult::Count => vec![(0, real(self.count))],
        }
    }
}

/// Numbers of a tensor, and how many there are per box.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// All of them.
    pub numbers: &'a [f32],
    /// Per box.
    pub length: usize,
}

impl<'a> Rows<'a> {
    fn iter(&self) -> std::slice::ChunksExact<'a, f32> {
        self.numbers.chunks_exact(self.length.max(1))
    }
}

/// Decodes boxes and keeps the best.
///
/// `encodings` begin with `[y, x, height, width]`, `anchors` are that, `scores` have a number per class, or one more in front.
#[must_use]
pub fn detect(encodings: Rows<'_>, scores: Rows<'_>, anchors: &[f32], rule: &Detections) -> Found {
    let anchors = anchors.as_chunks::<4>().0;
    let boxes: Vec<Edges> = encodings.iter().zip(anchors).map(|(code, &anchor)| decode(code, anchor, rule)).collect();
    let background = scores.length.saturating_sub(index(rule.classes));
    let scores: Vec<&[f32]> = scores.iter().map(|row| row.get(background..).unwrap_or_default()).collect();
    let known = boxes.len().min(scores.len());
    let (boxes, scores) = (&boxes[..known], &scores[..known]);
    match rule.per_class {
        Some(most) => each_class(boxes, scores, index(most), rule),
        None => best_classes(boxes, scores, rule),
    }
}

fn decode(code: &[f32], [y, x, height, width]: [f32; 4], rule: &Detections) -> Edges {
    let at = |place: usize| f64::from(code.get(place).copied().unwrap_or(0.0));
    let [y_scale, x_scale, height_scale, width_scale] = rule.scales.all().map(f64::from);
    let middle =
        |code: f64, scale: f64, extent: f32, start: f32| nearest(code / scale * f64::from(extent) + f64::from(start));
    let half = |code: f64, scale: f64, extent: f32| nearest(0.5 * libm::exp(code / scale) * f64::from(extent));
    let (y, x) = (middle(at(0), y_scale, height, y), middle(at(1), x_scale, width, x));
    let (h, w) = (half(at(2), height_scale, height), half(at(3), width_scale, width));
    Edges { top: y - h, left: x - w, bottom: y + h, right: x + w }
}

/// The score of a class; no number for one that there is not.
fn of_class(scores: &[f32], class: usize) -> f32 {
    scores.get(class).copied().unwrap_or(f32::NAN)
}

/// Every class by itself; then the best of all.
fn each_class(boxes: &[Edges], scores: &[&[f32]], per_class: usize, rule: &Detections) -> Found {
    let most = index(rule.most);
    let mut rows: Vec<Row> = Vec::new();
    for class in 0..index(rule.classes) {
        let score = |at: usize| of_class(scores[at], class);
        let candidates = by_score((0..boxes.len()).filter(|&at| score(at) >= rule.score).collect(), score);
        let kept = keep(boxes, &candidates, per_class.min(most), rule.iou);
        rows.extend(kept.into_iter().map(|at| Row { edges: boxes[at], class, score: score(at) }));
    }
    let best = by_score((0..rows.len()).collect(), |at| rows[at].score);
    let rows: Vec<(usize, Row)> = best.into_iter().take(most).map(|at| rows[at]).enumerate().collect();
    Found { count: rows.len(), rows }
}

/// Boxes with the scores of their best classes.
fn best_classes(boxes: &[Edges], scores: &[&[f32]], rule: &Detections) -> Found {
    let (stride, classes) = (index(rule.classes_per_box), index(rule.classes));
    let order: Vec<Vec<usize>> =
        scores.iter().map(|row| by_score((0..classes).collect(), |at| of_class(row, at))).collect();
    let score = |at: usize| order[at].first().map_or(f32::NAN, |&class| of_class(scores[at], class));
    let candidates = by_score((0..boxes.len()).filter(|&at| score(at) >= rule.score).collect(), score);
    let mut found = Found::default();
    for (place, at) in keep(boxes, &candidates, index(rule.most), rule.iou).into_iter().enumerate() {
        for (column, &class) in order[at].iter().take(stride).enumerate() {
            let row = Row { edges: boxes[at], class, score: of_class(scores[at], class) };
            found.rows.push((place.saturating_mul(stride).saturating_add(column), row));
        }
        found.count = found.count.saturating_add(1);
    }
    found
}

/// A number of boxes or classes as the format has it.
#[expect(clippy::cast_precision_loss, reason = "as the oracle: exact below 2^24")]
fn real(number: usize) -> f32 {
    number as f32
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest binary32 number is meant")]
fn nearest(value: f64) -> f32 {
    value as f32
}

fn index(extent: u32) -> usize {
    usize::try_from(extent).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use cnnip_package::BoxScales;
    use proptest::prelude::*;

    use super::*;

    /// The same by looking at all boxes again for every one that is kept.
    fn slow(boxes: &[[f32; 4]], scores: &[f32], rule: &Suppression) -> Vec<usize> {
        let mut left: Vec<bool> =
            scores.iter().map(|&s| !s.is_nan() && rule.score.is_none_or(|limit| s > limit)).collect();
        let mut kept = vec![];
        while kept.len() < index(rule.per_class) {
            let mut best: Option<usize> = None;
            for at in 0..boxes.len() {
                if left[at] && best.is_none_or(|best| scores[at] > scores[best]) {
                    best = Some(at);
                }
            }
            let Some(best) = best else { break };
            kept.push(best);
            left[best] = false;
            for at in 0..boxes.len() {
                left[at] &= share(boxes[best], boxes[at], rule.center) <= rule.iou;
            }
        }
        kept
    }

    /// Intersection over union; 0 for what has no area.
    fn share(a: [f32; 4], b: [f32; 4], center: bool) -> f32 {
        let sorted = |p: f32, q: f32| if p < q { (p, q) } else { (q, p) };
        let sides = |[p, q, r, s]: [f32; 4]| {
            if center { ((q - s / 2.0, q + s / 2.0), (p - r / 2.0, p + r / 2.0)) } else { (sorted(p, r), sorted(q, s)) }
        };
        let ((ay, ax), (by, bx)) = (sides(a), sides(b));
        let long = |(p, q): (f32, f32)| q - p;
        let (a, b) = (long(ay) * long(ax), long(by) * long(bx));
        let (y, x) = (ay.1.min(by.1) - ay.0.max(by.0), ax.1.min(bx.1) - ax.0.max(bx.0));
        if y <= 0.0 || x <= 0.0 || a <= 0.0 || b <= 0.0 { 0.0 } else { y * x / (a + b - y * x) }
    }

    /// All numbers of a result.
    fn all(found: &Found, result: DetectionResult, count: usize) -> Vec<f32> {
        let mut numbers = vec![0.0; count];
        found.numbers(result).into_iter().for_each(|(at, number)| numbers[at] = number);
        numbers
    }

    fn coordinate() -> impl Strategy<Value = f32> {
        (-8_i8..24).prop_map(|eighths| f32::from(eighths) / 8.0)
    }

    proptest! {
        #[test]
        fn suppression_equals_its_slow_twin(
            numbers in prop::collection::vec((prop::array::uniform4(coordinate()), 0_u8..12), 0..40),
            center: bool, per_class in 1_u32..20, iou in 0.0_f32..1.0, limit in prop::option::of(0.0_f32..1.0),
        ) {
            let boxes: Vec<[f32; 4]> = numbers.iter().map(|&(numbers, _)| numbers).collect();
            let scores: Vec<f32> = numbers.iter().map(|&(_, s)| if s == 11 { f32::NAN } else { f32::from(s) / 10.0 }).collect();
            let rule = Suppression { center, per_class, iou, score: limit };
            let found = suppress(boxes.as_flattened(), &scores, (1, boxes.len()), &rule);
            let want: Vec<[usize; 3]> = slow(&boxes, &scores, &rule).into_iter().map(|at| [0, 0, at]).collect();
            prop_assert_eq!(found, want);
        }

        /// A class alone is found by both ways of suppression alike, and as suppression by itself does.
        #[test]
        fn one_class_is_found_either_way(
            numbers in prop::collection::vec((prop::array::uniform4(coordinate()), 0_u8..10), 1..30), most in 1_u32..12, iou in 0.01_f32..1.0,
        ) {
            let codes: Vec<f32> = numbers.iter().flat_map(|&(code, _)| code).collect();
            let scores: Vec<f32> = numbers.iter().map(|&(_, score)| f32::from(score) / 10.0).collect();
            let anchors: Vec<f32> = numbers.iter().flat_map(|_| [0.5, 0.5, 1.0, 1.0]).collect();
            let scales = BoxScales { y: 4.0, x: 4.0, height: 2.0, width: 2.0 };
            let best = Detections { result: DetectionResult::Boxes, most, classes_per_box: 1, per_class: None, classes: 1, score: 0.3, iou, scales };
            let each = Detections { per_class: Some(most), ..best };
            let run = |rule| detect(Rows { numbers: &codes, length: 4 }, Rows { numbers: &scores, length: 1 }, &anchors, rule);
            let found = run(&best);
            prop_assert_eq!(&found, &run(&each));
            let (with_area, boxes) = (Detections { iou: 1.0, score: -1.0, most: u32::MAX / 4, ..best }, numbers.len());
            let every: Vec<f32> = codes.as_chunks::<4>().0.iter().flat_map(|code| {
                let Edges { top, left, bottom, right } = decode(code, [0.5, 0.5, 1.0, 1.0], &with_area);
                [top, left, bottom, right]
            }).collect();
            let above: Vec<f32> = scores.iter().map(|&score| if score >= 0.3 { score } else { f32::NAN }).collect();
            let rule = Suppression { center: false, per_class: most, iou, score: None };
            let want = suppress(&every, &above, (1, boxes), &rule);
            prop_assert_eq!(found.count, want.len());
            for (row, [_, _, at]) in want.into_iter().enumerate() {
                let edges = found.rows[row].1.edges.numbers(0).map(|(_, number)| number);
                prop_assert_eq!(&edges[..], &every[4 * at..][..4]);
                prop_assert_eq!(found.rows[row].1.score, scores[at]);
            }
        }
    }

    #[test]
    fn classes_of_a_box_are_rows_side_by_side() {
        let (codes, anchors) = ([0.0; 8], [0.5, 0.5, 0.2, 0.2, 0.5, 2.5, 0.2, 0.2]);
        let scores = [0.9, 0.1, 0.2, 0.6, 0.0, 0.7, 0.8, 0.1]; // the first of four is the background
        let scales = BoxScales { y: 1.0, x: 1.0, height: 1.0, width: 1.0 };
        let rule = Detections {
            result: DetectionResult::Boxes,
            most: 3,
            classes_per_box: 2,
            per_class: None,
            classes: 3,
            score: 0.5,
            iou: 0.5,
            scales,
        };
        let found = detect(Rows { numbers: &codes, length: 4 }, Rows { numbers: &scores, length: 4 }, &anchors, &rule);
        assert_eq!(found.count, 2);
        assert_eq!(all(&found, DetectionResult::Classes, 6), [1.0, 0.0, 2.0, 1.0, 0.0, 0.0]);
        assert_eq!(all(&found, DetectionResult::Scores, 6), [0.8, 0.7, 0.6, 0.2, 0.0, 0.0]);
        assert_eq!(all(&found, DetectionResult::Boxes, 24)[..8], [0.4, 2.4, 0.6, 2.6, 0.4, 2.4, 0.6, 2.6]);
        assert_eq!(all(&found, DetectionResult::Count, 1), [2.0]);
        let each = Detections { per_class: Some(10), ..rule };
        let found = detect(Rows { numbers: &codes, length: 4 }, Rows { numbers: &scores, length: 4 }, &anchors, &each);
        assert_eq!((found.count, &all(&found, DetectionResult::Classes, 6)[..4]), (3, &[1.0, 0.0, 2.0, 0.0][..]));
    }
}
