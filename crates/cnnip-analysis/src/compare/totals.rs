//! Sums over the elements of a tensor, from which every figure of a comparison is made.

use std::collections::BTreeMap;

use super::{FirstDifference, HISTOGRAM_LIMIT, Incomparable, Measure};
use crate::tensors::NamedTensor;
use crate::verdict::Spread;

/// Bars of the histogram.
const BARS: usize = 129;

/// Sums over the elements of one tensor with any number of inputs.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    pub(crate) name: String,
    shape: Vec<u64>,
    elements: usize,
    different: usize,
    meaning_differs: bool,
    pub(super) first: Option<FirstDifference>,
    /// Largest difference in steps, if there are steps.
    max_lsb: Option<f64>,
    histogram: BTreeMap<i64, u64>,
    noise: Option<Noise>,
    /// The other's integers at the ends of their type, and all.
    saturated: Option<(usize, usize)>,
    step: Option<f64>,
    spread: Option<Spread>,
}

impl Totals {
    /// The sums of one tensor with one input. `integers` are those that the other's values are made of.
    pub(crate) fn of(
        reference: &NamedTensor,
        other: &NamedTensor,
        integers: Option<&NamedTensor>,
        sets: [&str; 2],
    ) -> Result<Self, Incomparable> {
        let name = || reference.name.clone();
        if reference.shape != other.shape || reference.elements() != other.elements() {
            let (reference, other) = (reference.shape.clone(), other.shape.clone());
            return Err(Incomparable::Shape { name: name(), reference, other });
        }
        // A dump does not say its scale: integers of the same type then mean the same.
        let same_type = reference.element == other.element;
        let shared = if same_type { reference.affine.or(other.affine) } else { None };
        let real = (reference.real(shared), other.real(shared));
        for (values, set) in [(&real.0, sets[0]), (&real.1, sets[1])] {
            finite(values.as_deref().unwrap_or_default(), &reference.name, set)?;
        }
        let stored = reference.integers().zip(other.integers()).filter(|_| same_type);
        if stored.is_none() && (real.0.is_none() || real.1.is_none()) {
            return Err(Incomparable::Type { name: name(), reference: reference.element, other: other.element });
        }
        let spread = integers.and_then(|integers| Spread::of(reference, real.0.as_deref()?, integers));
        let meaning_differs = reference.affine.zip(other.affine).is_some_and(|(a, b)| a != b);
        let affine = other.affine.or(reference.affine);
        let mut totals = Self {
            name: name(),
            shape: reference.shape.clone(),
            elements: 0,
            different: 0,
            meaning_differs,
            first: None,
            max_lsb: None,
            histogram: BTreeMap::new(),
            noise: real.0.as_ref().zip(real.1.as_ref()).map(|(a, b)| Noise::of(a, b)),
            saturated: saturated(other),
            step: affine.map(|affine| affine.scale),
            spread,
        };
        match (stored.filter(|_| !meaning_differs), real) {
            (Some((a, b)), _) => {
                let pairs = a.into_iter().zip(b).map(|(a, b)| (number(a), number(b)));
                totals.count(reference, pairs, Some(1.0));
            }
            (None, (Some(a), Some(b))) => totals.count(reference, a.into_iter().zip(b), totals.step),
            (None, _) => {}
        }
        Ok(totals)
    }

    /// Counts what differs among pairs; `unit` is a step.
    fn count(&mut self, tensor: &NamedTensor, pairs: impl Iterator<Item = (f64, f64)>, unit: Option<f64>) {
        // Most differences are small: an array is faster than a map.
        let mut bars = [0_u64; BARS];
        let mut max_lsb = 0.0_f64;
        for (element, (a, b)) in pairs.enumerate() {
            self.elements += 1;
            let lsb = unit.map_or(0.0, |unit| (b - a) / unit);
            max_lsb = max_lsb.max(lsb.abs());
            if let Some(bar) = usize::try_from(bar(lsb) + HISTOGRAM_LIMIT).ok().and_then(|at| bars.get_mut(at)) {
                *bar += 1;
            }
            if a != b {
                self.different += 1;
                let index = || tensor.index(element);
                self.first.get_or_insert_with(|| FirstDifference {
                    input: 0,
                    element,
                    index: index(),
                    reference: a,
                    other: b,
                });
            }
        }
        if unit.is_some() {
            self.max_lsb = Some(max_lsb);
            let bars = (-HISTOGRAM_LIMIT..).zip(bars).filter(|&(_, count)| count > 0);
            self.histogram = bars.collect();
        }
    }

    /// Adds the sums of the same tensor with a later input.
    pub(super) fn merge(&mut self, later: Self) -> Result<(), Incomparable> {
        if self.shape != later.shape {
            let (reference, other) = (self.shape.clone(), later.shape);
            return Err(Incomparable::Shape { name: later.name, reference, other });
        }
        self.elements += later.elements;
        self.different += later.different;
        self.meaning_differs |= later.meaning_differs;
        self.first = self.first.take().or(later.first);
        self.max_lsb = self.max_lsb.zip(later.max_lsb).map(|(a, b)| a.max(b));
        later.histogram.into_iter().for_each(|(lsb, count)| *self.histogram.entry(lsb).or_insert(0) += count);
        self.noise = self.noise.zip(later.noise).map(|(a, b)| a.with(b));
        self.saturated = self.saturated.zip(later.saturated).map(|(a, b)| (a.0 + b.0, a.1 + b.1));
        self.spread = self.spread.take().zip(later.spread).and_then(|(a, b)| a.with(b));
        Ok(())
    }

    /// What the sums amount to.
    pub(super) fn measure(&self) -> Measure {
        let wide = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX));
        Measure {
            name: self.name.clone(),
            shape: self.shape.clone(),
            elements: self.elements,
            equal: self.different == 0 && !self.meaning_differs,
            different: self.different,
            first: self.first.clone(),
            max_abs: self.noise.map(|noise| noise.max_abs),
            max_lsb: self.max_lsb,
            histogram: self.histogram.clone(),
            sqnr_db: self.noise.map(|noise| noise.sqnr_db()),
            cosine: self.noise.map(|noise| noise.cosine()),
            saturated: self.saturated.map(|(part, whole)| wide(part) / wide(whole.max(1))),
            range: self.noise.map(|noise| noise.range),
            step: self.step,
            spread: self.spread.clone(),
        }
    }
}

fn finite(values: &[f64], name: &str, set: &str) -> Result<(), Incomparable> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(element) => {
            Err(Incomparable::NotFinite { name: name.to_owned(), set: set.to_owned(), element, value: values[element] })
        }
        None => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "elements of activations have at most 32 bits")]
fn number(integer: i64) -> f64 {
    integer as f64
}

/// The bar of the histogram for a difference in steps.
fn bar(lsb: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
    let bar = lsb.round().clamp(number(-HISTOGRAM_LIMIT), number(HISTOGRAM_LIMIT)) as i64;
    bar
}

/// Integers at the ends of their type, and all.
fn saturated(tensor: &NamedTensor) -> Option<(usize, usize)> {
    let ((low, high), integers) = tensor.element.range().zip(tensor.integers())?;
    let at_end = integers.iter().filter(|&&value| value == low || value == high).count();
    Some((at_end, integers.len()))
}

/// Sums over real numbers, in the order of the elements.
#[derive(Clone, Copy, Debug)]
struct Noise {
    reference_power: f64,
    other_power: f64,
    product: f64,
    noise_power: f64,
    max_abs: f64,
    range: (f64, f64),
}

impl Noise {
    fn of(reference: &[f64], other: &[f64]) -> Self {
        let (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
        let zero = 0.0;
        let mut sums = Self {
            reference_power: zero,
            other_power: zero,
            product: zero,
            noise_power: zero,
            max_abs: zero,
            range: (low, high),
        };
        for (&a, &b) in reference.iter().zip(other) {
            sums.reference_power += a * a;
            sums.other_power += b * b;
            sums.product += a * b;
            sums.noise_power += (a - b) * (a - b);
            sums.max_abs = sums.max_abs.max((a - b).abs());
            sums.range = (sums.range.0.min(a), sums.range.1.max(a));
        }
        sums
    }

    /// The sums over both.
    fn with(self, later: Self) -> Self {
        Self {
            reference_power: self.reference_power + later.reference_power,
            other_power: self.other_power + later.other_power,
            product: self.product + later.product,
            noise_power: self.noise_power + later.noise_power,
            max_abs: self.max_abs.max(later.max_abs),
            range: (self.range.0.min(later.range.0), self.range.1.max(later.range.1)),
        }
    }

    fn sqnr_db(&self) -> f64 {
        if self.noise_power == 0.0 { f64::INFINITY } else { 10.0 * (self.reference_power / self.noise_power).log10() }
    }

    fn cosine(&self) -> f64 {
        let lengths = self.reference_power.sqrt() * self.other_power.sqrt();
        match (self.reference_power == 0.0, self.other_power == 0.0) {
            (true, true) => 1.0,
            _ if lengths == 0.0 => 0.0,
            _ => (self.product / lengths).clamp(-1.0, 1.0),
        }
    }
}
