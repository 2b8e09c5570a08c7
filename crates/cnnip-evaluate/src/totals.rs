//! Accuracies and agreement over records.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use crate::areas::{self, Areas};
use crate::boxes::{self, Hit, Precision};
use crate::record::{Distance, Record};
use crate::task::Evidence;

/// Examples of which the worst are kept.
const WORST: usize = 20;

/// What all records together say.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Examples with outcomes.
    pub examples: u64,
    /// Of these, those whose class, objects or pixels are known.
    pub labelled: u64,
    /// Examples without outcomes.
    pub failed: u64,
    /// Objects there are, per class.
    pub objects: BTreeMap<usize, u64>,
    /// One per level.
    pub levels: Vec<LevelTotals>,
    worst: BinaryHeap<Worst>,
}

/// What all records say about one level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LevelTotals {
    /// Examples whose class is the best.
    pub top1: u64,
    /// Examples whose class is among the five best.
    pub top5: u64,
    /// Examples with the same best class as at the first level.
    pub agree: u64,
    /// Distance from the first level over all outputs.
    pub distance: Distance,
    /// What became of the objects it found, in the order of the examples. The one thing that grows with them: average precision
    /// orders all scores.
    pub hits: Vec<Hit>,
    /// Its pixels by class.
    pub areas: Areas,
}

/// An example far from the first level, ordered by how near it is: a heap of these has the nearest on top, to be thrown out.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Signal to noise in dB, of the level where it is least.
    pub sqnr: f64,
    /// Position in the data set.
    pub index: usize,
    /// Name of the example.
    pub name: String,
}

impl Eq for Worst {}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sqnr.total_cmp(&other.sqnr).then(self.index.cmp(&other.index))
    }
}

impl Totals {
    /// Nothing yet, of `levels` levels.
    pub fn new(levels: usize) -> Self {
        Self { levels: vec![LevelTotals::default(); levels], ..Self::default() }
    }

    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        let Ok(outcomes) = &record.result else {
            self.failed += 1;
            return;
        };
        self.examples += 1;
        let told = outcomes.iter().any(|outcome| outcome.evidence != Evidence::None);
        self.labelled += u64::from(record.label.is_some() || told);
        for (&class, count) in &record.objects {
            *self.objects.entry(class).or_default() += count;
        }
        let first = outcomes.first().and_then(|outcome| outcome.best.first().copied());
        for (totals, outcome) in self.levels.iter_mut().zip(outcomes) {
            let is_label = |class: &usize| Some(*class) == record.label;
            totals.top1 += u64::from(outcome.best.first().is_some_and(is_label));
            totals.top5 += u64::from(outcome.best.iter().take(5).any(is_label));
            totals.agree += u64::from(outcome.best.first().copied() == first);
            totals.distance = totals.distance.sum(outcome.distance);
            match &outcome.evidence {
                Evidence::None => {}
                Evidence::Hits(hits) => totals.hits.extend(hits),
                Evidence::Areas(found) => areas::add(&mut totals.areas, found),
            }
        }
        let worst = outcomes.iter().skip(1).map(|outcome| outcome.distance.sqnr()).min_by(f64::total_cmp);
        if let Some(sqnr) = worst {
            self.worst.push(Worst { sqnr, index: record.index, name: record.name.clone() });
            if self.worst.len() > WORST {
                self.worst.pop();
            }
        }
    }

    /// Mean average precision of a level; `None` if no example has objects.
    pub fn precision(&self, level: usize) -> Option<Precision> {
        boxes::precision(&self.objects, &self.levels.get(level)?.hits)
    }

    /// The examples whose outputs are farthest from the first level's, the worst first.
    pub fn worst(&self) -> Vec<Worst> {
        self.worst.clone().into_sorted_vec().into_iter().filter(|worst| worst.sqnr.is_finite()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;

    fn record(index: usize, best: [usize; 2], noise: f64) -> Record {
        let distance = Distance { elements: 1, different: 1, largest: 1.0, signal: 1.0, noise };
        let outcome = |best, distance| Outcome { best, distance, evidence: Evidence::None };
        let result = Ok(vec![outcome(vec![best[0]], Distance::default()), outcome(vec![best[1], 9], distance)]);
        Record { index, name: format!("n{index}"), label: Some(1), objects: BTreeMap::new(), result }
    }

    #[test]
    fn accuracy_and_agreement() {
        let mut totals = Totals::new(2);
        totals.add(&record(0, [1, 1], 0.5));
        totals.add(&record(1, [1, 2], 0.1));
        totals.add(&Record { result: Err("x".to_owned()), ..record(2, [0, 0], 0.0) });
        assert_eq!((totals.examples, totals.labelled, totals.failed), (2, 2, 1));
        assert_eq!((totals.levels[0].top1, totals.levels[1].top1, totals.levels[1].agree), (2, 1, 1));
        assert_eq!(totals.worst().first().map(|worst| (worst.index, worst.name.as_str())), Some((0, "n0")));
    }

    #[test]
    fn only_the_worst_are_kept() {
        let mut totals = Totals::new(2);
        (0..100_u8).for_each(|at| totals.add(&record(at.into(), [1, 1], f64::from(at + 1))));
        assert_eq!(totals.worst().len(), WORST);
        assert_eq!(totals.worst()[0].name, "n99");
    }
}
