//! What a tensor's values are like: their ends, and which bin of a histogram each falls into.

use super::simd::{Simd, Task};
use super::{BLOCK, Lanes};
use crate::{Declined, Kernels};

/// Ends of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    /// The smallest number; infinity if there is none.
    pub min: f32,
    /// The largest number; minus infinity if there is none.
    pub max: f32,
    /// Whether no value is infinite or no number.
    pub finite: bool,
}

/// Vectors of each kind that are kept, so that one comparison need not wait for the one before.
const KEPT: usize = 4;

impl Kernels {
    /// The smallest and the largest of some values, those that are no numbers left out.
    ///
    /// ```
    /// let ends = cnnip_kernels::Kernels::default().extremes_f32(&[2.0, f32::NAN, -1.0]);
    /// assert_eq!((ends.min, ends.max, ends.finite), (-1.0, 2.0, false));
    /// ```
    #[must_use]
    pub fn extremes_f32(&self, values: &[f32]) -> Extremes {
        let mut found = Extremes { min: f32::INFINITY, max: f32::NEG_INFINITY, finite: true };
        self.with_floats(Ends { values, found: &mut found });
        found
    }

    /// Copies the values that are neither 0 nor -0, in their order, and gives how many; behind them `kept` holds anything.
    ///
    /// ```
    /// let mut kept = [0.0; 4];
    /// let count = cnnip_kernels::Kernels::default().without_zeros_f32(&[0.0, 2.0, -0.0, -1.0], &mut kept);
    /// assert_eq!((count, &kept[..2]), (Ok(2), &[2.0, -1.0][..]));
    /// ```
    ///
    /// # Errors
    /// [`Declined::Extent`] if there is no room for all values.
    pub fn without_zeros_f32(&self, values: &[f32], kept: &mut [f32]) -> Result<usize, Declined> {
        if kept.len() < values.len() {
            return Err(Declined::Extent { what: "values", have: kept.len(), need: values.len() });
        }
        let mut count = 0;
        self.with_floats(WithoutZeros { values, kept, count: &mut count });
        Ok(count)
    }

    /// For every value the bin it falls into, of bins `1 / inverse` wide of which `below` are for numbers below 0: a value at the end of
    /// the last of `2 * below` bins, or beyond, is in that.
    ///
    /// `inverse` is a power of two, and values are not infinite; of those that are no numbers the bin says nothing.
    ///
    /// # Errors
    /// [`Declined::Extent`] if there are not as many bins as values.
    pub fn bins_f32(&self, values: &[f32], inverse: f32, below: u16, bins: &mut [u16]) -> Result<(), Declined> {
        if bins.len() != values.len() {
            return Err(Declined::Extent { what: "bins", have: bins.len(), need: values.len() });
        }
        self.with_floats(Bins { values, inverse, below, bins });
        Ok(())
    }
}

struct Ends<'a> {
    values: &'a [f32],
    found: &'a mut Extremes,
}

impl Task for Ends<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nothing = s.splat(0.0);
        let mut low = [s.splat(f32::INFINITY); KEPT];
        let mut high = [s.splat(f32::NEG_INFINITY); KEPT];
        let mut zeros = [nothing; KEPT];
        let (groups, rest) = self.values.as_chunks::<{ KEPT * BLOCK }>();
        for group in groups {
            let (vectors, _) = group.as_chunks::<BLOCK>();
            for (at, lanes) in vectors.iter().enumerate() {
                let vector = s.load(lanes);
                low[at] = s.min(vector, low[at]);
                high[at] = s.max(vector, high[at]);
                // 0 times a finite number is 0, times any other not a number.
                zeros[at] = s.mul_add(vector, nothing, zeros[at]);
            }
        }
        let mut all = [[0.0; BLOCK]; 3];
        let lower = s.min(s.min(low[0], low[1]), s.min(low[2], low[3]));
        let upper = s.max(s.max(high[0], high[1]), s.max(high[2], high[3]));
        let zero = s.add(s.add(zeros[0], zeros[1]), s.add(zeros[2], zeros[3]));
        for (lanes, vector) in all.iter_mut().zip([lower, upper, zero]) {
            s.store(vector, lanes);
        }
        let [lower, upper, zero]: [Lanes; 3] = all;
        let found = self.found;
        for (&low, &high) in lower.iter().chain(rest).zip(upper.iter().chain(rest)) {
            found.min = if low < found.min { low } else { found.min };
            found.max = if high > found.max { high } else { found.max };
        }
        found.finite = zero.iter().all(|&zero| zero == 0.0) && rest.iter().all(|value| value.is_finite());
    }
}

struct WithoutZeros<'a> {
    values: &'a [f32],
    /// At least as long.
    kept: &'a mut [f32],
    count: &'a mut usize,
}

impl Task for WithoutZeros<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (blocks, rest) = self.values.as_chunks::<BLOCK>();
        let mut count = 0;
        for block in blocks {
            // As many are kept as were looked at, at most, so there is room for all of the block.
            let Some(to) = self.kept[count..].first_chunk_mut() else { break };
            count += s.without_zeros(s.load(block), to);
        }
        for &value in rest {
            self.kept[count] = value;
            count += usize::from(value != 0.0);
        }
        *self.count = count;
    }
}

/// Adding this leaves a whole number in the low bits, as binary32 has no fraction there.
const WHOLE: f32 = 12_582_912.0; // 1.5 * 2^23

struct Bins<'a> {
    values: &'a [f32],
    inverse: f32,
    below: u16,
    bins: &'a mut [u16],
}

impl Task for Bins<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (below, last) = (i32::from(self.below), f32::from(self.below));
        for (bin, &value) in self.bins.iter_mut().zip(self.values) {
            // Exact, as `inverse` is a power of two, but for numbers too small for the type, which become 0.
            let scaled = value * self.inverse;
            let scaled = if scaled < last { scaled } else { last };
            let near = scaled + WHOLE;
            let after = near - WHOLE > scaled || (scaled == 0.0 && value < 0.0);
            let whole = near.to_bits().wrapping_sub(WHOLE.to_bits()).cast_signed() - i32::from(after);
            let [low, high, ..] = (whole + below - i32::from(whole == below)).to_le_bytes();
            *bin = u16::from_le_bytes([low, high]);
        }
    }
}
