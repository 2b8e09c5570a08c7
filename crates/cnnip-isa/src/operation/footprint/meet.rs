//! Whether two footprints share a byte, without walking their runs.
//!
//! Runs `a..a + m` and `b..b + n` share a byte where `a - b` lies between `1 - m` and `n - 1`. Both starts are sums of steps, and
//! a step that counts down is one that counts up from the other end. So the question is whether a sum of up to eight terms
//! `step * (0..count)` can fall into a window: [`Sums::reach`].

use super::{Dimensions, Footprint};

/// Windows looked at before the answer is given up. Footprints of maps and tiles need one or two.
const EFFORT: u32 = 4096;

/// Whether the footprints, of one space, share a byte. `None` if that takes too much effort to tell.
pub(super) fn meet(a: &Footprint, b: &Footprint) -> Option<bool> {
    let (down, from) = (reach_of(&b.dims), i128::from(b.base) - i128::from(a.base));
    let window = Window { low: from + down + 1 - i128::from(a.run), high: from + down + i128::from(b.run) - 1 };
    let mut sums = Sums::default();
    for &(count, step) in a.dims.iter().chain(&b.dims) {
        sums.add(Term { step: i128::from(step), count: i128::from(count) });
    }
    let window = sums.widen(window);
    sums.reach(window, &mut EFFORT.clone())
}

/// The sum of all steps, each as often as it counts.
fn reach_of(dims: &Dimensions) -> i128 {
    dims.iter().map(|&(count, step)| i128::from(count - 1) * i128::from(step)).sum()
}

/// Numbers from `low` to `high`, both included.
#[derive(Clone, Copy, Debug)]
struct Window {
    low: i128,
    high: i128,
}

/// The multiples of `step`, `count` of them, from 0 on.
#[derive(Clone, Copy, Debug)]
struct Term {
    step: i128,
    count: i128,
}

impl Term {
    fn last(self) -> i128 {
        (self.count - 1) * self.step
    }

    /// The sums of two terms as one term, if they leave no gap: `other` goes on where this one ends, or before.
    fn joined(self, other: Self) -> Option<Self> {
        let joins = other.step % self.step == 0 && other.step / self.step <= self.count;
        joins.then(|| Self { count: (self.last() + other.last()) / self.step + 1, ..self })
    }
}

/// All sums of one multiple of each term.
#[derive(Clone, Debug, Default)]
struct Sums {
    /// By ascending step.
    terms: Vec<Term>,
}

impl Sums {
    fn add(&mut self, mut new: Term) {
        if new.count == 1 {
            return;
        }
        while let Some((index, joined)) = self.join(new) {
            self.terms.remove(index);
            new = joined;
        }
        let place = self.terms.partition_point(|term| term.step < new.step);
        self.terms.insert(place, new);
    }

    fn join(&self, new: Term) -> Option<(usize, Term)> {
        let joined = |term: Term| if term.step <= new.step { term.joined(new) } else { new.joined(term) };
        self.terms.iter().enumerate().find_map(|(index, &term)| Some((index, joined(term)?)))
    }

    /// Drops the terms whose steps are no wider than the window: shifted by all their multiples, it has no gaps.
    fn widen(&mut self, mut window: Window) -> Window {
        while let Some(&first) = self.terms.first().filter(|term| term.step <= window.high - window.low + 1) {
            window.low -= first.last();
            self.terms.remove(0);
        }
        window
    }

    fn reach(&self, window: Window, effort: &mut u32) -> Option<bool> {
        reach(&self.terms, window, effort)
    }
}

/// Whether a sum of the terms lies in the window.
fn reach(terms: &[Term], window: Window, effort: &mut u32) -> Option<bool> {
    *effort = effort.checked_sub(1)?;
    let last = terms.iter().map(|term| term.last()).sum();
    let window = Window { low: window.low.max(0), high: window.high.min(last) };
    let Window { low, high } = window;
    let divisor = terms.iter().fold(0, |divisor, term| gcd(divisor, term.step));
    if low > high || divisor > 0 && high / divisor * divisor < low {
        return Some(false);
    }
    match *terms {
        [] | [_] => Some(true),
        [small, large] => Some(two_reach(small, large, window)),
        [ref rest @ .., large] => {
            let first = (low - (last - large.last())).max(0).div_ceil_by(large.step);
            for times in first..=(high / large.step).min(large.count - 1) {
                let by = times * large.step;
                if reach(rest, Window { low: low - by, high: high - by }, effort)? {
                    return Some(true);
                }
            }
            Some(false)
        }
    }
}

/// As [`reach`] for two terms, in closed form. The window lies within `0..=small.last() + large.last()`.
fn two_reach(small: Term, large: Term, Window { low, high }: Window) -> bool {
    let first = (low - small.last()).max(0).div_ceil_by(large.step);
    let last = (high / large.step).min(large.count - 1);
    // In the middle the window, moved down by multiples of `large`, lies within the span of `small`.
    let middle_first = (high - small.last()).max(0).div_ceil_by(large.step).max(first);
    let middle_last = (low / large.step).min(last);
    let fits = |times: i128| {
        let (low, high) = ((low - times * large.step).max(0), (high - times * large.step).min(small.last()));
        low <= high && high / small.step * small.step >= low
    };
    if middle_first > middle_last {
        return (first..=last).any(fits);
    }
    (first..middle_first).chain(middle_last + 1..=last).any(fits)
        || remainder_reaches(small.step, large.step, high - middle_first * large.step, high - low)
            .is_some_and(|times| times <= middle_last - middle_first)
}

/// The smallest `times` for which `(start - times * step) mod modulus` is at most `most`.
fn remainder_reaches(modulus: i128, step: i128, start: i128, most: i128) -> Option<i128> {
    let low = (start - most).rem_euclid(modulus);
    let high = start.rem_euclid(modulus);
    if most >= modulus || low > high { Some(0) } else { least_multiple(step % modulus, modulus, low, high) }
}

/// The smallest `times` for which `times * step mod modulus` lies in `low..=high`, as Euclid would find it: `step < modulus`,
/// `0 <= low <= high < modulus`.
fn least_multiple(step: i128, modulus: i128, low: i128, high: i128) -> Option<i128> {
    if low == 0 {
        return Some(0);
    }
    if step == 0 {
        return None;
    }
    let times = low.div_ceil_by(step);
    if times * step <= high {
        return Some(times);
    }
    // No multiple of `step` lies in low..=high, so neither does -high..=-low wrap around modulo `step`.
    let rounds = least_multiple(modulus % step, step, (-high).rem_euclid(step), (-low).rem_euclid(step))?;
    Some((low + modulus * rounds).div_ceil_by(step))
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Division that rounds up, of numbers that are not negative.
trait DivCeil {
    fn div_ceil_by(self, by: Self) -> Self;
}

impl DivCeil for i128 {
    fn div_ceil_by(self, by: Self) -> Self {
        (self + by - 1) / by
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn least_multiple_is_the_least(modulus in 1_i128..60, step in 0_i128..60, low in 0_i128..60, width in 0_i128..9) {
            let (step, low) = (step % modulus, low % modulus);
            let high = (low + width).min(modulus - 1);
            let want = (0..modulus).find(|times| (low..=high).contains(&(times * step % modulus)));
            prop_assert_eq!(least_multiple(step, modulus, low, high), want);
        }

        #[test]
        fn reach_is_exact(
            terms in proptest::collection::vec((1_i128..40, 2_i128..7), 0..5), low in -30_i128..300, width in 0_i128..12
        ) {
            let mut all = vec![0];
            for &(step, count) in &terms {
                all = all.iter().flat_map(|sum| (0..count).map(move |times| sum + times * step)).collect();
            }
            let window = Window { low, high: low + width };
            let mut sums = Sums::default();
            terms.iter().for_each(|&(step, count)| sums.add(Term { step, count }));
            let widened = sums.widen(window);
            let want = all.iter().any(|sum| (low..=window.high).contains(sum));
            prop_assert_eq!(sums.reach(widened, &mut u32::MAX.clone()), Some(want));
        }
    }
}
