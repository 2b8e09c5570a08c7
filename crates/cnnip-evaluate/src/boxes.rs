//! Objects that a network found, held against those that there are, as the evaluation of COCO does it.
//!
//! What is found is taken in order of its score, of a picture's class at most [`MOST`]. Each takes the object of its class with which it
//! shares most, of those that nothing before took, if that is at least the threshold; objects that stand for many are taken last, any
//! number of times, and count neither for nor against (`cocodataset.org/#detection-eval`, over all areas).

use std::collections::BTreeMap;

use cnnip_data::{Object, Objects};

/// Findings of one class in one picture that count.
pub const MOST: usize = 100;
/// Thresholds of intersection over union: 0.5, 0.55, .. 0.95.
pub const THRESHOLDS: usize = 10;
/// Recalls at which precision is read: 0, 0.01, .. 1.
const RECALLS: u32 = 100;

/// What a network found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Its class.
    pub class: usize,
    /// How sure the network is.
    pub score: f32,
    /// Left, top, right, bottom, in pixels of the picture.
    pub corners: [f32; 4],
}

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its class.
    pub class: usize,
    /// Its score.
    pub score: f32,
    /// A bit per threshold, the lowest first: whether it took an object.
    pub matched: u16,
    /// The same: whether that stands for many.
    pub ignored: u16,
}

/// Objects per class; those that stand for many are not counted.
pub fn objects(truth: &Objects) -> BTreeMap<usize, u64> {
    let mut counts = BTreeMap::new();
    for object in truth.list.iter().filter(|object| !object.crowd) {
        *counts.entry(object.class).or_default() += 1;
    }
    counts
}

/// What becomes of the findings in one picture, class by class, each in order of scores.
pub fn hits(objects: &[Object], found: &[Found]) -> Vec<Hit> {
    let mut classes: BTreeMap<usize, Vec<&Found>> = BTreeMap::new();
    found.iter().for_each(|found| classes.entry(found.class).or_default().push(found));
    let mut hits = vec![];
    for (class, mut found) in classes {
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MOST);
        let mut objects: Vec<&Object> = objects.iter().filter(|object| object.class == class).collect();
        objects.sort_by_key(|object| object.crowd);
        let first = hits.len();
        hits.extend(found.iter().map(|found| Hit { class, score: found.score, matched: 0, ignored: 0 }));
        let shares: Vec<Vec<f64>> =
            found.iter().map(|found| objects.iter().map(|object| share(found, object)).collect()).collect();
        for (bit, threshold) in thresholds().enumerate() {
            for (hit, object) in hits[first..].iter_mut().zip(matches(&objects, &shares, threshold)) {
                let Some(object) = object else { continue };
                hit.matched |= 1 << bit;
                hit.ignored |= u16::from(objects[object].crowd) << bit;
            }
        }
    }
    hits
}

fn thresholds() -> impl Iterator<Item = f64> {
    [50, 55, 60, 65, 70, 75, 80, 85, 90, 95_u8].into_iter().map(|percent| f64::from(percent) / 100.0)
}

/// The object that each finding takes. Objects that stand for many come last.
fn matches(objects: &[&Object], shares: &[Vec<f64>], threshold: f64) -> Vec<Option<usize>> {
    let mut taken = vec![false; objects.len()];
    let choose = |shares: &Vec<f64>| {
        let (mut least, mut chosen): (f64, Option<usize>) = (threshold, None);
        for (at, (object, &share)) in objects.iter().zip(shares).enumerate() {
            // One object is better than any share of many.
            if object.crowd && chosen.is_some_and(|chosen| !objects[chosen].crowd) {
                break;
            }
            if share >= least && (object.crowd || !taken[at]) {
                (least, chosen) = (share, Some(at));
            }
        }
        chosen.inspect(|&chosen| taken[chosen] = true)
    };
    shares.iter().map(choose).collect()
}

/// Intersection over union; of an object that stands for many, over the finding alone.
fn share(found: &Found, object: &Object) -> f64 {
    let [a, b] = [found.corners, object.corners].map(|corners| corners.map(f64::from));
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let area = |box_: &[f64; 4]| (box_[2] - box_[0]).max(0.0) * (box_[3] - box_[1]).max(0.0);
    let both = side(0) * side(1);
    let whole = if object.crowd { area(&a) } else { area(&a) + area(&b) - both };
    if whole > 0.0 { both / whole } else { 0.0 }
}

/// Mean average precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// At a threshold of 0.5.
    pub half: f64,
    /// Mean over the thresholds 0.5 to 0.95.
    pub mean: f64,
}

/// Precision over all pictures, from their hits in the order of the pictures; the mean over the classes that have objects.
/// `None` if none has.
pub fn precision(objects: &BTreeMap<usize, u64>, hits: &[Hit]) -> Option<Precision> {
    let mut classes: BTreeMap<usize, Vec<&Hit>> =
        objects.iter().filter(|(_, count)| **count > 0).map(|(&class, _)| (class, vec![])).collect();
    hits.iter().for_each(|hit| {
        if let Some(class) = classes.get_mut(&hit.class) {
            class.push(hit);
        }
    });
    let (mut half, mut sum) = (0.0, 0.0);
    for (class, hits) in &mut classes {
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        let count = objects.get(class).copied().unwrap_or(0);
        let each: Vec<f64> = (0..THRESHOLDS).map(|bit| average(count, hits, bit)).collect();
        half += each[0];
        sum += each.iter().sum::<f64>() / ratio(u64::try_from(THRESHOLDS).unwrap_or(1), 1);
    }
    let count = ratio(u64::try_from(classes.len()).unwrap_or(0), 1);
    (count > 0.0).then(|| Precision { half: half / count, mean: sum / count })
}

/// Average precision of a class at one threshold: the largest precision at each recall or beyond, 0 where it is not reached.
fn average(objects: u64, hits: &[&Hit], bit: usize) -> f64 {
    let (mut right, mut wrong) = (0_u64, 0_u64);
    let mut curve: Vec<(f64, f64)> = vec![];
    for hit in hits {
        let (matched, ignored) = (hit.matched >> bit & 1, hit.ignored >> bit & 1);
        right += u64::from(matched & !ignored);
        wrong += u64::from(1 - matched);
        curve.push((ratio(right, objects), if right == 0 { 0.0 } else { ratio(right, right + wrong) }));
    }
    let mut best = 0.0_f64;
    for (_, precision) in curve.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let at = |recall: f64| curve.get(curve.partition_point(|&(reached, _)| reached < recall)).map_or(0.0, |at| at.1);
    let sum: f64 = (0..=RECALLS).map(|hundredth| at(f64::from(hundredth) / 100.0)).sum();
    sum / f64::from(RECALLS + 1)
}

#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(class: usize, corners: [f32; 4], crowd: bool) -> Object {
        Object { class, corners, crowd }
    }

    fn found(class: usize, score: f32, corners: [f32; 4]) -> Found {
        Found { class, score, corners }
    }

    const UNIT: [f32; 4] = [0.0, 0.0, 10.0, 10.0];

    fn of(pictures: &[(&[Object], &[Found])]) -> Option<Precision> {
        let (mut counts, mut all) = (BTreeMap::new(), vec![]);
        for (objects, found) in pictures {
            for object in objects.iter().filter(|object| !object.crowd) {
                *counts.entry(object.class).or_default() += 1;
            }
            all.extend(hits(objects, found));
        }
        precision(&counts, &all)
    }

    #[test]
    fn a_box_is_right_up_to_what_it_shares() {
        // 6 of 10 columns: 0.6, so three of ten thresholds.
        let hit = hits(&[object(1, UNIT, false)], &[found(1, 0.9, [0.0, 0.0, 6.0, 10.0])]);
        assert_eq!(hit, [Hit { class: 1, score: 0.9, matched: 0b111, ignored: 0 }]);
        let precise = of(&[(&[object(1, UNIT, false)], &[found(1, 0.9, [0.0, 0.0, 6.0, 10.0])])]).unwrap();
        assert_eq!((precise.half, (precise.mean * 10.0).round()), (1.0, 3.0));
    }

    #[test]
    fn an_object_is_taken_once_by_the_surest() {
        let twice = [found(0, 0.4, UNIT), found(0, 0.8, [0.0, 0.0, 10.0, 9.0])];
        let hit = hits(&[object(0, UNIT, false)], &twice);
        assert_eq!(hit.iter().map(|hit| hit.matched).collect::<Vec<_>>(), [0b1_1111_1111, 0b10_0000_0000]);
    }

    #[test]
    fn what_stands_for_many_is_ignored() {
        let crowd = object(0, [0.0, 0.0, 100.0, 100.0], true);
        let hit = hits(&[crowd], &[found(0, 0.9, UNIT), found(0, 0.8, UNIT)]);
        assert!(hit.iter().all(|hit| (hit.matched, hit.ignored) == (0x3ff, 0x3ff)), "{hit:?}");
        assert_eq!(of(&[(&[crowd], &[found(0, 0.9, UNIT)])]), None);
        // One object goes before any share of many.
        let both = hits(&[crowd, object(0, UNIT, false)], &[found(0, 0.9, [0.0, 0.0, 10.0, 8.0])]);
        assert_eq!((both[0].matched, both[0].ignored), (0x3ff, 0b11_1000_0000));
    }

    #[test]
    fn precision_is_read_at_101_recalls() {
        // Two objects; surest first: right, wrong, right. Precision 1 up to recall 0.5, then 2/3.
        let far = [50.0, 50.0, 60.0, 60.0];
        let objects = [object(0, UNIT, false), object(0, far, false)];
        let list = [found(0, 0.9, UNIT), found(0, 0.8, [80.0, 80.0, 90.0, 90.0]), found(0, 0.7, far)];
        let want = (51.0 + 50.0 * 2.0 / 3.0) / 101.0;
        let precise = of(&[(&objects, &list)]).unwrap();
        assert!((precise.half - want).abs() < 1e-12 && (precise.mean - want).abs() < 1e-12, "{precise:?}");
        // Over two pictures it is the same: scores order all of them.
        let split = of(&[(&objects[..1], &list[..1]), (&objects[1..], &list[1..])]).unwrap();
        assert_eq!(split, precise);
    }

    #[test]
    fn classes_count_alike_and_those_without_objects_do_not() {
        let objects = [object(0, UNIT, false), object(1, UNIT, false)];
        let precise = of(&[(&objects, &[found(0, 0.9, UNIT), found(7, 0.9, UNIT)])]).unwrap();
        assert_eq!((precise.half, precise.mean), (0.5, 0.5));
        assert_eq!(of(&[(&[], &[found(0, 0.9, UNIT)])]), None);
    }

    #[test]
    fn of_a_class_a_hundred_count() {
        let hit = hits(&[object(0, UNIT, false)], &vec![found(0, 0.5, UNIT); 150]);
        assert_eq!(hit.len(), MOST);
    }
}
