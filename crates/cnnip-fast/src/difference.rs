//! How far fast results are from exact ones.

use std::collections::BTreeMap;
use std::fmt;

/// How many elements of two integer tensors differ, and by how many steps (LSB).
///
/// ```
/// use cnnip_fast::Difference;
/// let difference = Difference::between(&[1, 2, 3, 4], &[1, 3, 3, 2]).unwrap();
/// assert_eq!((difference.share(), difference.largest()), (0.5, 2));
/// assert_eq!(difference.to_string(), "2 of 4 elements differ (50.0000 %): -2 LSB 1, +1 LSB 1");
/// assert_eq!(Difference::between(&[1], &[]), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Elements compared.
    pub elements: u64,
    /// Elements that differ, by fast minus exact.
    pub by_steps: BTreeMap<i64, u64>,
}

impl Difference {
    /// Compares codes; `None` if there are not as many of both.
    pub fn between(exact: &[i64], fast: &[i64]) -> Option<Self> {
        if exact.len() != fast.len() {
            return None;
        }
        let mut by_steps = BTreeMap::new();
        for (exact, fast) in exact.iter().zip(fast).filter(|(exact, fast)| exact != fast) {
            *by_steps.entry(fast.saturating_sub(*exact)).or_insert(0) += 1;
        }
        Some(Self { elements: u64::try_from(exact.len()).unwrap_or(u64::MAX), by_steps })
    }

    /// Adds what was counted elsewhere, as for the next image.
    pub fn add(&mut self, other: &Self) {
        self.elements += other.elements;
        for (&steps, &count) in &other.by_steps {
            *self.by_steps.entry(steps).or_insert(0) += count;
        }
    }

    /// Elements that differ.
    pub fn differing(&self) -> u64 {
        self.by_steps.values().sum()
    }

    /// The share of elements that differ, 0 to 1; 0 of none.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn share(&self) -> f64 {
        self.differing() as f64 / self.elements.max(1) as f64
    }

    /// The largest difference, in steps.
    pub fn largest(&self) -> u64 {
        self.by_steps.keys().map(|steps| steps.unsigned_abs()).max().unwrap_or(0)
    }
}

/// The share and the histogram.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} elements differ ({:.4} %)", self.differing(), self.elements, 100.0 * self.share())?;
        for (number, (steps, count)) in self.by_steps.iter().enumerate() {
            write!(f, "{} {steps:+} LSB {count}", if number == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut sum = Difference::between(&[0, 0], &[1, 0]).unwrap();
        sum.add(&Difference::between(&[0, 5], &[1, 2]).unwrap());
        assert_eq!((sum.elements, sum.differing(), sum.largest()), (4, 3, 3));
        assert_eq!(sum.by_steps, BTreeMap::from([(1, 2), (-3, 1)]));
        assert_eq!(Difference::default().share(), 0.0);
    }
}
