//! Histograms of values whose range is not known beforehand.

use cnnip_kernels::Kernels;
use serde::{Deserialize, Serialize};

use crate::ranges::Range;

/// Bins on each side of zero.
const SIDE: i32 = 2048;

/// Smallest exponent of a bin's width: values below 2^-126 are all the same.
const LEAST_EXPONENT: i32 = -126;

/// Counts of values in bins of equal width around zero.
///
/// The width is a power of two, the smallest with which [`SIDE`](Self::BINS) bins on either side hold every value seen. When a larger
/// value comes, neighbours are merged. So the counts depend on the values alone, not on their order: histograms of parts, merged, are
/// the histogram of the whole.
///
/// ```
/// use cnnip_quant::Histogram;
///
/// let mut parts = [Histogram::default(), Histogram::default()];
/// parts[0].count(&[0.1, 0.2]);
/// parts[1].count(&[-100.0, 3.0]);
/// let mut whole = Histogram::default();
/// whole.count(&[3.0, 0.2, 0.1, -100.0]);
/// let [mut sum, other] = parts;
/// sum.merge(&other);
/// assert_eq!(sum, whole);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Bin `i` holds values from `(i - SIDE) * 2^exponent` to below the next; the last one includes its end.
    counts: Vec<u64>,
    exponent: i32,
    range: Option<Range>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; Self::BINS], exponent: LEAST_EXPONENT, range: None }
    }
}

impl Histogram {
    /// Number of bins.
    pub const BINS: usize = 2 * 2048;

    /// Counts values. Those that are not finite are left out; gives their number.
    pub fn count(&mut self, values: &[f32]) -> u64 {
        let kernels = Kernels::default();
        let ends = kernels.extremes_f32(values);
        if ends.finite {
            if let Some(range) = (ends.min <= ends.max).then_some(Range { min: ends.min, max: ends.max }) {
                self.take(kernels, values, range);
            }
            return 0;
        }
        let finite: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
        self.count(&finite);
        u64::try_from(values.len() - finite.len()).unwrap_or(u64::MAX)
    }

    /// Counts values, all of which are finite and in the range.
    fn take(&mut self, kernels: Kernels, values: &[f32], range: Range) {
        self.widen(exponent_for(range.magnitude()));
        self.range = Some(self.range.map_or(range, |before| before.union(range)));
        let inverse = exp2(-self.exponent);
        for some in values.chunks(MOST_TALLIED) {
            let mut tally = Tally::new();
            for part in some.chunks(PART) {
                tally.count(kernels, part, narrow(inverse));
            }
            tally.add_to(&mut self.counts);
        }
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        self.widen(other.exponent);
        other.widen(self.exponent);
        self.counts.iter_mut().zip(&other.counts).for_each(|(to, from)| *to += from);
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (a, b) => a.or(b),
        };
    }

    /// Smallest and largest value counted.
    pub fn range(&self) -> Option<Range> {
        self.range
    }

    /// Values counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Width of a bin.
    pub fn width(&self) -> f64 {
        exp2(self.exponent)
    }

    /// Every bin that is not empty, in order: its middle, and how many values it has.
    pub fn bins(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> + '_ {
        let middle = |index: i32| (f64::from(index - SIDE) + 0.5) * self.width();
        let bins = (0..).zip(&self.counts).map(move |(index, &count)| (middle(index), count));
        bins.collect::<Vec<_>>().into_iter().filter(|&(_, count)| count > 0)
    }

    /// The value below which a share `quantile` of all values lies, to the accuracy of a bin, within the range of the values.
    pub fn quantile(&self, quantile: f64) -> Option<f32> {
        let range = self.range?;
        let total = self.total();
        let mut below = 0;
        for (middle, count) in self.bins() {
            below += count;
            if share(below, total) >= quantile {
                let end = middle + if quantile < 0.5 { -0.5 } else { 0.5 } * self.width();
                return Some(narrow(end).clamp(range.min, range.max));
            }
        }
        Some(range.max)
    }

    /// Makes bins at least `2^exponent` wide.
    fn widen(&mut self, exponent: i32) {
        while self.exponent < exponent {
            if self.range.is_none() {
                self.exponent = exponent;
                return;
            }
            self.double();
        }
    }

    /// Merges neighbours: bin `i` of one side goes to bin `i / 2` of that side.
    fn double(&mut self) {
        let mut merged = vec![0; Self::BINS];
        let half = Self::BINS / 4;
        for (index, pair) in self.counts.chunks_exact(2).enumerate() {
            merged[half + index] = pair.iter().sum();
        }
        self.counts = merged;
        self.exponent += 1;
    }
}

/// Values whose bins are found at a time.
const PART: usize = 1024;
/// Counters per bin: many values are alike, as zeros behind a ReLU are, and one counter would wait for itself.
const WAYS: usize = 4;
/// Values that cannot overflow a counter.
const MOST_TALLIED: usize = 1 << 30;

/// Counts of some values of one tensor.
struct Tally {
    counts: Vec<[u32; WAYS]>,
    /// Zeros, which are counted apart: behind a ReLU they are half of all values.
    zeros: u64,
    others: [f32; PART],
    bins: [u16; PART],
}

impl Tally {
    fn new() -> Self {
        Self { counts: vec![[0; WAYS]; Histogram::BINS], zeros: 0, others: [0.0; PART], bins: [0; PART] }
    }

    /// Counts [`PART`] values at most.
    fn count(&mut self, kernels: Kernels, values: &[f32], inverse: f32) {
        let Ok(count) = kernels.without_zeros_f32(values, &mut self.others) else { return };
        self.zeros += u64::try_from(values.len() - count).unwrap_or(0);
        let (values, bins) = (&self.others[..count], &mut self.bins[..count]);
        let below = u16::try_from(SIDE).unwrap_or(u16::MAX);
        if kernels.bins_f32(values, inverse, below, bins).is_err() {
            return; // there are as many bins as values
        }
        // An array and a remainder need no check of bounds.
        let Some((counts, _)) = self.counts.split_first_chunk_mut::<{ Histogram::BINS }>() else { return };
        let at = |bin: u16| usize::from(bin) % Histogram::BINS;
        let (groups, rest) = bins.as_chunks::<WAYS>();
        for &[a, b, c, d] in groups {
            counts[at(a)][0] += 1;
            counts[at(b)][1] += 1;
            counts[at(c)][2] += 1;
            counts[at(d)][3] += 1;
        }
        for &bin in rest {
            counts[at(bin)][0] += 1;
        }
    }

    /// Adds them to the counts of all bins.
    fn add_to(&self, counts: &mut [u64]) {
        for (count, counters) in counts.iter_mut().zip(&self.counts) {
            *count += counters.iter().copied().map(u64::from).sum::<u64>();
        }
        counts[Histogram::BINS / 2] += self.zeros;
    }
}

/// The smallest exponent whose bins reach `magnitude`.
fn exponent_for(magnitude: f32) -> i32 {
    let mut exponent = LEAST_EXPONENT;
    let reach = f64::from(magnitude) / f64::from(SIDE);
    while exp2(exponent) < reach {
        exponent += 1;
    }
    exponent
}

fn exp2(exponent: i32) -> f64 {
    f64::powi(2.0, exponent)
}

/// A share of counts.
pub(crate) fn share(part: u64, total: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than the 53 bits of f64")]
    let ratio = part as f64 / total.max(1) as f64;
    ratio
}

/// The nearest f32.
pub(crate) fn narrow(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is asked for")]
    let value = value as f32;
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_a_ramp() {
        let ramp: Vec<f32> = (0..=1000_u16).map(f32::from).collect();
        let mut histogram = Histogram::default();
        histogram.count(&ramp);
        assert_eq!(histogram.range(), Some(Range { min: 0.0, max: 1000.0 }));
        assert_eq!(histogram.total(), 1001);
        let median = histogram.quantile(0.5).unwrap();
        assert!((499.0..=502.0).contains(&median), "{median}");
        assert_eq!(histogram.quantile(1.0), Some(1000.0));
    }

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.count(&[f32::NAN, f32::INFINITY]), 2);
        assert_eq!((histogram.range(), histogram.total(), histogram.quantile(0.5)), (None, 0, None));
        histogram.count(&[0.0, f32::NAN]);
        assert_eq!(histogram.total(), 1);
        histogram.count(&[f32::MAX, f32::MIN]);
        assert_eq!(histogram.total(), 3);
    }

    /// The bin of a value within reach.
    fn bin(value: f32, inverse: f64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the value is within reach of 2048 bins on either side")]
        let index = (f64::from(value) * inverse).floor() as i32 + SIDE;
        usize::try_from(index.clamp(0, 2 * SIDE - 1)).unwrap_or(0)
    }

    /// As [`Histogram::count`], value by value in binary64.
    fn counted(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        for &value in values.iter().filter(|value| value.is_finite()) {
            let range = Range { min: value, max: value };
            histogram.widen(exponent_for(value.abs()));
            histogram.range = Some(histogram.range.map_or(range, |before| before.union(range)));
            histogram.counts[bin(value, exp2(-histogram.exponent))] += 1;
        }
        histogram
    }

    proptest! {
        #[test]
        fn counting_is_that_of_a_loop(values in proptest::collection::vec(any::<f32>(), 0..60), many in proptest::collection::vec(-3_f32..9.0, 0..3000)) {
            for values in [&values, &many] {
                let mut histogram = Histogram::default();
                let left_out = histogram.count(values);
                prop_assert_eq!(&histogram, &counted(values));
                prop_assert_eq!(histogram.total() + left_out, u64::try_from(values.len()).unwrap());
            }
        }

        #[test]
        fn order_and_grouping_do_not_matter(values in proptest::collection::vec(-1e6_f32..1e6, 1..60), cut in 0_usize..60, small in 1e-9_f32..1.0) {
            let values: Vec<f32> = values.iter().enumerate().map(|(at, value)| if at % 3 == 0 { value * small } else { *value }).collect();
            let mut whole = Histogram::default();
            whole.count(&values);
            let (first, second) = values.split_at(cut.min(values.len()));
            let mut one_by_one = Histogram::default();
            for &value in second {
                one_by_one.count(&[value]);
            }
            let mut part = Histogram::default();
            part.count(first);
            one_by_one.merge(&part);
            prop_assert_eq!(one_by_one, whole);
        }
    }
}
