//! What is kept of a tensor's values, and the range that follows.

use cnnip_kernels::Kernels;
use cnnip_kernels::float::Extremes;
use serde::{Deserialize, Serialize};

use crate::histogram::{Histogram, share};
use crate::parameters::{Affine, Width};
use crate::ranges::Range;

/// How a range follows from values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The smallest and the largest value.
    #[default]
    MinMax,
    /// The mean of the inputs' smallest and largest values, where every input counts `1 - momentum` against those before.
    MovingAverage {
        /// From 0 (only the last) to below 1.
        momentum: f32,
    },
    /// Without the outermost values: a share `keep` of all remains, the same number left out on both sides.
    Percentile {
        /// From above 0 to 1.
        keep: f64,
    },
    /// The range with the least Kullback-Leibler divergence between the values and their int8 representation.
    Entropy,
    /// The range with the least mean squared error of the int8 representation.
    Mse,
}

/// What is kept of a tensor's values: as much for a million inputs as for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observer {
    method: Method,
    seen: Seen,
    /// Values that were infinite or no number.
    invalid: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Seen {
    Range(Option<Range>),
    Histogram(Box<Histogram>),
}

impl Observer {
    /// Nothing seen yet.
    pub fn new(method: Method) -> Self {
        let seen = match method {
            Method::MinMax | Method::MovingAverage { .. } => Seen::Range(None),
            Method::Percentile { .. } | Method::Entropy | Method::Mse => Seen::Histogram(Box::default()),
        };
        Self { method, seen, invalid: 0 }
    }

    /// Takes the values of one input.
    pub fn observe(&mut self, values: &[f32]) {
        match &mut self.seen {
            Seen::Histogram(histogram) => self.invalid += histogram.count(values),
            Seen::Range(before) => {
                let Extremes { min, max, finite } = Kernels::default().extremes_f32(values);
                if !finite {
                    self.invalid += invalid(values);
                    return;
                }
                if values.is_empty() {
                    return;
                }
                let range = Range { min, max };
                *before = Some(match (*before, self.method) {
                    (Some(before), Method::MovingAverage { momentum }) => blend(before, range, momentum),
                    (Some(before), _) => before.union(range),
                    (None, _) => range,
                });
            }
        }
    }

    /// Adds what another observer of the same method has seen. A moving average goes on with the other's result as one input.
    pub fn merge(&mut self, other: &Self) {
        self.invalid += other.invalid;
        match (&mut self.seen, &other.seen) {
            (Seen::Histogram(to), Seen::Histogram(from)) => to.merge(from),
            (Seen::Range(to), Seen::Range(from)) => {
                *to = match (*to, *from, self.method) {
                    (Some(a), Some(b), Method::MovingAverage { momentum }) => Some(blend(a, b, momentum)),
                    (Some(a), Some(b), _) => Some(a.union(b)),
                    (a, b, _) => a.or(b),
                }
            }
            (Seen::Histogram(_), Seen::Range(_)) | (Seen::Range(_), Seen::Histogram(_)) => {}
        }
    }

    /// Values that were infinite or no number.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }

    /// The range by the method; `None` if no finite value was seen.
    pub fn range(&self) -> Option<Range> {
        match (&self.seen, self.method) {
            (Seen::Range(range), _) => *range,
            (Seen::Histogram(histogram), Method::Percentile { keep }) => percentile(histogram, keep),
            (Seen::Histogram(histogram), Method::Entropy) => best(histogram, divergence),
            (Seen::Histogram(histogram), _) => best(histogram, squared_error),
        }
    }

    /// The histogram, if the method keeps one.
    pub fn histogram(&self) -> Option<&Histogram> {
        match &self.seen {
            Seen::Histogram(histogram) => Some(histogram),
            Seen::Range(_) => None,
        }
    }
}

fn blend(before: Range, range: Range, momentum: f32) -> Range {
    let mix = |a: f32, b: f32| a * momentum + b * (1.0 - momentum);
    Range { min: mix(before.min, range.min), max: mix(before.max, range.max) }
}

/// How many are infinite or no number.
pub(crate) fn invalid(values: &[f32]) -> u64 {
    values.iter().map(|value| u64::from(!value.is_finite())).sum()
}

fn percentile(histogram: &Histogram, keep: f64) -> Option<Range> {
    let cut = (1.0 - keep) / 2.0;
    let (min, max) = (histogram.quantile(cut)?, histogram.quantile(1.0 - cut)?);
    Some(Range { min: min.min(max), max })
}

/// Parts of the whole range that are tried, in 128ths.
const PARTS: std::ops::RangeInclusive<u8> = 16..=128;

/// The part of the range with the least `error`; of equal ones the larger.
fn best(histogram: &Histogram, error: fn(&Histogram, Range) -> f64) -> Option<Range> {
    let whole = histogram.range()?.with_zero();
    let part = |part: u8| {
        let scale = f32::from(part) / 128.0;
        Range { min: whole.min * scale, max: whole.max * scale }
    };
    let scored = PARTS.rev().map(|at| (error(histogram, part(at)), part(at)));
    scored.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, range)| range)
}

/// Mean squared error of values represented as int8 over `range`.
fn squared_error(histogram: &Histogram, range: Range) -> f64 {
    let affine = Affine::of(range, Width::Int8);
    let total = histogram.total();
    let error = |(value, count): (f64, u64)| {
        let difference = affine.round_trip(value) - value;
        difference * difference * share(count, total)
    };
    histogram.bins().map(error).sum()
}

/// Kullback-Leibler divergence of the int8 representation over `range` from the values clipped to it.
///
/// As in the usual calibration by entropy: values outside of the range count in the outermost bins of the one distribution and not
/// at all in the other, in which the bins of one integer share their values evenly.
fn divergence(histogram: &Histogram, range: Range) -> f64 {
    let (min, max) = (f64::from(range.min), f64::from(range.max));
    let (inside, outside): (Vec<_>, Vec<_>) = histogram.bins().partition(|(value, _)| (min..=max).contains(value));
    let (Some(&first), Some(&last)) = (inside.first(), inside.last()) else { return f64::INFINITY };
    let count = |bins: &[(f64, u64)]| bins.iter().map(|(_, count)| count).sum::<u64>();
    let (total, represented) = (histogram.total(), count(&inside));
    let below = outside.iter().filter(|(value, _)| *value < min).map(|(_, count)| count).sum::<u64>();
    let above = count(&outside) - below;
    let clipped = |(value, count): (f64, u64)| {
        let more = if value == first.0 { below } else { 0 } + if value == last.0 { above } else { 0 };
        share(count + more, total)
    };
    let affine = Affine::of(range, Width::Int8);
    let of_group = |group: &[(f64, u64)]| {
        let even = share(count(group), represented) / share(u64::try_from(group.len()).unwrap_or(u64::MAX), 1);
        group.iter().map(|&bin| clipped(bin) * (clipped(bin) / even).ln()).sum::<f64>()
    };
    inside.chunk_by(|a, b| affine.code(a.0) == affine.code(b.0)).map(of_group).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ramp from -1 to 1, and one value far outside.
    fn outlier() -> Vec<f32> {
        let ramp = (-1000..=1000_i16).map(|value| f32::from(value) / 1000.0);
        ramp.chain([100.0]).collect()
    }

    fn range(method: Method, values: &[f32]) -> Range {
        let mut observer = Observer::new(method);
        observer.observe(values);
        observer.range().unwrap()
    }

    #[test]
    fn methods_differ_in_what_an_outlier_does() {
        assert_eq!(range(Method::MinMax, &outlier()), Range { min: -1.0, max: 100.0 });
        let percentile = range(Method::Percentile { keep: 0.99 }, &outlier());
        assert!(percentile.max < 1.1 && percentile.min > -1.1, "{percentile:?}");
        for method in [Method::Entropy, Method::Mse] {
            assert!(range(method, &outlier()).max <= 100.0, "{method:?}");
        }
        let tail: Vec<f32> = (0..20).flat_map(|_| outlier()).chain([1000.0]).collect();
        assert!(range(Method::Entropy, &tail).max < 1000.0);
    }

    #[test]
    fn an_average_forgets() {
        let mut observer = Observer::new(Method::MovingAverage { momentum: 0.5 });
        observer.observe(&[0.0, 4.0]);
        observer.observe(&[0.0, 2.0]);
        assert_eq!(observer.range(), Some(Range { min: 0.0, max: 3.0 }));
    }

    #[test]
    fn what_is_no_number_is_counted() {
        for method in [Method::MinMax, Method::Mse] {
            let mut observer = Observer::new(method);
            let mut values = vec![1.0; 40];
            values[3] = f32::NAN;
            values[33] = f32::INFINITY;
            observer.observe(&values);
            assert_eq!(observer.invalid(), 2, "{method:?}");
        }
        assert_eq!(Observer::new(Method::Entropy).range(), None);
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(values in proptest::collection::vec(-10_f32..10.0, 2..50), cut in 1_usize..50) {
            let (first, second) = values.split_at(cut.min(values.len() - 1));
            for method in [Method::MinMax, Method::Percentile { keep: 0.9 }, Method::Entropy, Method::Mse] {
                let mut whole = Observer::new(method);
                whole.observe(&values);
                let mut part = Observer::new(method);
                part.observe(second);
                let mut other = Observer::new(method);
                other.observe(first);
                part.merge(&other);
                prop_assert_eq!(part, whole);
            }
        }
    }
}
