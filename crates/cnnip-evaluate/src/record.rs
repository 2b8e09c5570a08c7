//! What is kept of one example.

use std::collections::BTreeMap;

use crate::task::Evidence;

/// What one level made of an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The largest elements of the first output, the largest first, at most five; of equal ones the first.
    pub best: Vec<usize>,
    /// How far the outputs are from those of the first level.
    pub distance: Distance,
    /// How right it is about objects or pixels.
    pub evidence: Evidence,
}

/// How far the outputs of two levels are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    /// Elements of all outputs.
    pub elements: u64,
    /// Elements that differ.
    pub different: u64,
    /// Largest difference.
    pub largest: f64,
    /// Sum of the squares of the first level's elements.
    pub signal: f64,
    /// Sum of the squares of the differences.
    pub noise: f64,
}

impl Distance {
    /// Of the outputs of two levels. Of those at the positions `indices`, which are numbers of something, elements only differ or do
    /// not: how far has no meaning; rows that only one of the lists has differ.
    pub fn between(first: &[Vec<f32>], other: &[Vec<f32>], indices: &[usize]) -> Self {
        let mut distance = Self::default();
        for position in indices {
            let [a, b] = [first, other].map(|outputs| outputs.get(*position).map_or(&[][..], Vec::as_slice));
            let pairs = || (0..a.len().max(b.len())).map(|at| (a.get(at), b.get(at)));
            distance.elements += pairs().map(|_| 1).sum::<u64>();
            distance.different += pairs().map(|(a, b)| u64::from(a != b)).sum::<u64>();
        }
        let outputs = first.iter().zip(other).enumerate().filter(|(position, _)| !indices.contains(position));
        for (a, b) in outputs.flat_map(|(_, (a, b))| a.iter().zip(b)) {
            let (a, difference) = (f64::from(*a), f64::from(*a) - f64::from(*b));
            distance.elements += 1;
            distance.different += u64::from(difference != 0.0);
            distance.largest = distance.largest.max(difference.abs());
            distance.signal += a * a;
            distance.noise += difference * difference;
        }
        distance
    }

    /// The distance over both.
    #[must_use]
    pub fn sum(self, other: Self) -> Self {
        Self {
            elements: self.elements + other.elements,
            different: self.different + other.different,
            largest: self.largest.max(other.largest),
            signal: self.signal + other.signal,
            noise: self.noise + other.noise,
        }
    }

    /// Signal to noise in dB; infinite where nothing differs.
    pub fn sqnr(&self) -> f64 {
        10.0 * (self.signal / self.noise).log10()
    }
}

/// What an evaluation found for one example.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Position in the data set.
    pub index: usize,
    /// Name of the example.
    pub name: String,
    /// Its class, if it is known.
    pub label: Option<usize>,
    /// Objects there are, per class.
    pub objects: BTreeMap<usize, u64>,
    /// One per level, in order; or why there are none.
    pub result: Result<Vec<Outcome>, String>,
}

/// Positions of the largest elements, the largest first, at most `count`; of equal ones the first.
pub fn best(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_elements_the_first_is_best() {
        assert_eq!(best(&[1.0, 3.0, 3.0, -1.0], 3), [1, 2, 0]);
    }

    #[test]
    fn distances_add_up() {
        let one = Distance::between(&[vec![3.0, 4.0]], &[vec![3.0, 3.0]], &[]);
        assert_eq!(one, Distance { elements: 2, different: 1, largest: 1.0, signal: 25.0, noise: 1.0 });
        assert_eq!(one.sum(one).sqnr(), one.sqnr());
        assert_eq!(Distance::between(&[vec![1.0]], &[vec![1.0]], &[]).sqnr(), f64::INFINITY);
        let lists = Distance::between(&[vec![1.0], vec![0.0, 5.0]], &[vec![1.0], vec![0.0, 6.0, 7.0]], &[1]);
        assert_eq!(lists, Distance { elements: 4, different: 2, largest: 0.0, signal: 1.0, noise: 0.0 });
    }
}
