//! Real factors and summands per channel between quantized tensors, such as a normalization that no product stands before, as a
//! depthwise layer of one position.
//!
//! A weight of 8 bits, a bias of whole steps and a scale per channel come as near as the best of some hundred of them: all values of the
//! input are tried. Of a channel there is nearly always one that gives the exact result for each of them.

use crate::op::Activation;
use crate::tensor::Tensor;

/// What the integers of a tensor stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) scale: f32,
    pub(super) zero: i64,
    /// Least and greatest integer.
    pub(super) range: (i64, i64),
}

impl Grid {
    /// That of a tensor of 8 bits with one scale.
    pub(super) fn narrow(tensor: &Tensor) -> Option<Self> {
        let quantization = tensor.quantization.as_ref().filter(|found| found.axis().is_none())?;
        let range = tensor.element.range().filter(|(least, greatest)| greatest - least == 255)?;
        let (&[scale], &[zero]) = (quantization.scales(), quantization.zero_points()) else { return None };
        Some(Self { scale, zero, range })
    }
}

/// Weights, their scales, and biases.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Depthwise {
    pub(super) weights: Vec<i8>,
    pub(super) scales: Vec<f32>,
    pub(super) biases: Vec<i32>,
}

impl Depthwise {
    /// The layer for `factor * x + summand`, per channel, between two grids; `None` where a channel is beyond their reach.
    pub(super) fn of(factors: &[f32], summands: &[f32], grids: [Grid; 2], activation: Activation) -> Option<Self> {
        let mut layer = Self::default();
        for (&factor, &summand) in factors.iter().zip(summands) {
            let channel = Channel { factor: factor.into(), summand: summand.into(), grids, activation };
            let found = channel.best()?;
            layer.weights.push(found.weight);
            layer.scales.push(found.scale);
            layer.biases.push(found.bias);
        }
        Some(layer)
    }
}

/// One channel.
struct Channel {
    factor: f64,
    summand: f64,
    grids: [Grid; 2],
    activation: Activation,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    weight: i8,
    scale: f32,
    bias: i32,
}

/// Largest bias: sums with it stay within 31 bits.
const MOST_BIAS: f64 = 1_073_741_824.0; // 2^30
/// Neighbouring scales that are tried of a weight.
const NEIGHBOURS: [i32; 5] = [0, 1, -1, 2, -2];

impl Channel {
    /// The first candidate that is right for every input, else the one that is wrong for the fewest.
    fn best(&self) -> Option<Candidate> {
        let mut best: Option<(usize, Candidate)> = None;
        for away in NEIGHBOURS {
            for weight in (1..=i8::MAX).rev() {
                let Some(candidate) = self.candidate(weight, away) else { continue };
                let wrong = self.wrong(candidate);
                if wrong == 0 {
                    return Some(candidate);
                }
                if best.is_none_or(|(least, _)| wrong < least) {
                    best = Some((wrong, candidate));
                }
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// The weight with the scale that makes the factor of it, some steps of binary32 away, and the nearest bias.
    fn candidate(&self, magnitude: i8, away: i32) -> Option<Candidate> {
        let from = f64::from(self.grids[0].scale);
        // Without factor the summand alone is to be had.
        let size = if self.factor == 0.0 { self.summand.abs() / from } else { self.factor.abs() };
        let size = if size == 0.0 { 1.0 } else { size };
        let scale = narrow(size / f64::from(magnitude));
        let scale = f32::from_bits(scale.to_bits().checked_add_signed(away)?);
        let bias = (self.summand / (from * f64::from(scale))).round_ties_even();
        if !scale.is_normal() || !(-MOST_BIAS..=MOST_BIAS).contains(&bias) {
            return None;
        }
        let weight = match self.factor {
            0.0 => 0,
            factor if factor < 0.0 => -magnitude,
            _ => magnitude,
        };
        Some(Candidate { weight, scale, bias: whole(bias) })
    }

    /// How many integers of the input do not give the nearest to the exact result, ties to even.
    fn wrong(&self, candidate: Candidate) -> usize {
        let [from, to] = self.grids;
        let multiplier = from.scale * candidate.scale / to.scale;
        let differs = |&q: &i64| {
            let x = small(q - from.zero);
            let exact = (self.factor * x * f64::from(from.scale) + self.summand) / f64::from(to.scale);
            let sum = x * f64::from(candidate.weight) + f64::from(candidate.bias);
            let found = f64::from(narrow(sum) * multiplier);
            self.rounded(exact) != self.rounded(found)
        };
        (from.range.0..=from.range.1).filter(differs).count()
    }

    /// Steps of the output, within the activation and the type.
    fn rounded(&self, steps: f64) -> i64 {
        let to = self.grids[1];
        let bound = |bound: f32| f64::from(bound) / f64::from(to.scale);
        let (low, high) = self.activation.bounds();
        let steps = steps.max(low.map_or(f64::MIN, bound)).min(high.map_or(f64::MAX, bound));
        let held = steps.clamp(-1e6, 1e6).round_ties_even();
        (i64::from(whole(held)) + to.zero).clamp(to.range.0, to.range.1)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to binary32 is what is asked for")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_possible_truncation, reason = "the value is whole and within 31 bits")]
fn whole(value: f64) -> i32 {
    value as i32
}

/// A difference of 8-bit integers.
fn small(value: i64) -> f64 {
    f64::from(i32::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(scale: f32, zero: i64) -> Grid {
        Grid { scale, zero, range: (-128, 127) }
    }

    #[test]
    fn channels_without_factor_or_summand_are_whole() {
        let layer =
            Depthwise::of(&[0.0, 0.0, -2.0], &[0.0, 3.0, 0.0], [grid(0.5, 3), grid(0.25, -7)], Activation::None);
        let layer = layer.unwrap();
        assert_eq!((layer.weights[0], layer.biases[0]), (0, 0));
        assert_eq!(layer.weights[1], 0);
        assert!(layer.biases[1] > 0 && layer.weights[2] < 0, "{layer:?}");
    }

    proptest! {
        /// Of some thousand channels the odd one is wrong for one of 256 inputs, by a step: none by more.
        #[test]
        fn hardly_a_channel_is_not_exact(
            scales in (0.005_f32..0.1, 0.005_f32..0.1), zeros in (-128_i64..128, -128_i64..128), factor in -3_f32..3.0, summand in -3_f32..3.0
        ) {
            let grids = [grid(scales.0, zeros.0), grid(scales.1, zeros.1)];
            let channel = Channel { factor: factor.into(), summand: summand.into(), grids, activation: Activation::Relu };
            let best = channel.best().unwrap();
            prop_assert!(channel.wrong(best) <= 1, "{:?}", best);
        }
    }
}
