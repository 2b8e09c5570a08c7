//! Positions and weights of resizing.

use crate::fixed::shift_right_away;

/// Two neighbouring samples along one axis and the weight of the second, in units of `2^-fraction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Index of the first sample.
    pub low: u32,
    /// Index of the second sample: `low + 1`, or `low` at the last sample.
    pub high: u32,
    /// Weight of the second sample; that of the first is `2^fraction - weight`.
    pub weight: u32,
}

/// The fixed-point position `origin + index * step`, held between the first and the last of `size` samples.
///
/// `fraction` is at most 16 and `size` at least 1; larger and smaller values are taken as these.
#[must_use]
pub fn position(index: u32, step: u32, origin: i32, fraction: u32, size: u32) -> u64 {
    let last = u64::from(size.saturating_sub(1)) << fraction.min(16);
    let moved = u64::from(index).saturating_mul(u64::from(step));
    moved.saturating_add_signed(i64::from(origin)).min(last)
}

/// The samples and weight at a [`position`].
///
/// ```
/// use cnnip_numerics::resize::{position, tap, Tap};
/// let p = position(3, 512, -256, 10, 8); // 1.25
/// assert_eq!(tap(p, 10, 8), Tap { low: 1, high: 2, weight: 256 });
/// ```
#[must_use]
pub fn tap(position: u64, fraction: u32, size: u32) -> Tap {
    let fraction = fraction.min(16);
    let low = u32::try_from(position >> fraction).unwrap_or(u32::MAX);
    let weight = u32::try_from(position & mask(fraction)).unwrap_or(0);
    Tap { low, high: low.saturating_add(1).min(size.saturating_sub(1)), weight }
}

/// Four samples weighted, halves away from zero. `samples[y][x]`. Oracle: TFLite's int8 and int16 RESIZE_BILINEAR (fraction 10).
///
/// ```
/// use cnnip_numerics::resize::{bilinear, Tap};
/// let half = Tap { low: 0, high: 1, weight: 512 };
/// assert_eq!(bilinear([[-1, -2], [-1, -2]], half, half, 10), -2); // -1.5
/// ```
#[must_use]
pub fn bilinear(samples: [[i16; 2]; 2], y: Tap, x: Tap, fraction: u32) -> i32 {
    let fraction = fraction.min(16);
    let top = blend(samples[0].map(i64::from), x.weight, fraction);
    let bottom = blend(samples[1].map(i64::from), x.weight, fraction);
    let sum = blend([top, bottom], y.weight, fraction);
    i32::try_from(shift_right_away(sum, fraction.wrapping_mul(2))).unwrap_or(0) // a weighted mean of 16-bit values
}

/// `a * (2^fraction - weight) + b * weight`; at most 17 fraction bits on values below 2^33, so it cannot overflow.
fn blend([a, b]: [i64; 2], weight: u32, fraction: u32) -> i64 {
    let weight = i64::from(weight).min(1_i64.wrapping_shl(fraction));
    let rest = 1_i64.wrapping_shl(fraction).wrapping_sub(weight);
    a.wrapping_mul(rest).wrapping_add(b.wrapping_mul(weight))
}

fn mask(fraction: u32) -> u64 {
    1_u64.wrapping_shl(fraction).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// TFLite's integer bilinear sampling, one axis after another, in its own words.
    fn slow(pixels: &[Vec<i16>], (y, x): (u32, u32), steps: (u32, u32), half_pixel: bool) -> i128 {
        let size = |n: usize| n as i128;
        let axis = |index: u32, step: u32, n: i128| {
            let step = i128::from(step);
            let p = i128::from(index) * step + if half_pixel { step / 2 - 512 } else { 0 };
            (p, (p / 1024).max(0), ((p + 1023) / 1024).min(n - 1))
        };
        let (py, y0, y1) = axis(y, steps.0, size(pixels.len()));
        let (px, x0, x1) = axis(x, steps.1, size(pixels[0].len()));
        let at = |y: i128, x: i128| i128::from(pixels[y as usize][x as usize]);
        let (fy, fx) = (py - 1024 * y0, px - 1024 * x0);
        let sum = at(y0, x0) * (1024 - fy) * (1024 - fx)
            + at(y1, x0) * fy * (1024 - fx)
            + at(y0, x1) * (1024 - fy) * fx
            + at(y1, x1) * fy * fx;
        (sum + if sum > 0 { 1 << 19 } else { -(1 << 19) }) / (1 << 20)
    }

    proptest! {
        #[test]
        fn bilinear_equals_tflite(
            pixels in (1_usize..9, 1_usize..9).prop_flat_map(|(h, w)| prop::collection::vec(prop::collection::vec(any::<i16>(), w), h)),
            out in (1_u32..40, 1_u32..40), corners: bool, half in any::<bool>(), pick in any::<(u32, u32)>(),
        ) {
            let half = half && !corners;
            let (h, w) = (pixels.len() as u32, pixels[0].len() as u32);
            let step = |n, out| crate::quantize::resize_step(n, out, corners).unwrap();
            let (sy, sx) = (step(h, out.0), step(w, out.1));
            let (y, x) = (pick.0 % out.0, pick.1 % out.1);
            let origin = |step: u32| if half { crate::quantize::half_pixel_origin(step) } else { 0 };
            let ty = tap(position(y, sy, origin(sy), 10, h), 10, h);
            let tx = tap(position(x, sx, origin(sx), 10, w), 10, w);
            let at = |y: u32, x: u32| pixels[y as usize][x as usize];
            let got = bilinear([[at(ty.low, tx.low), at(ty.low, tx.high)], [at(ty.high, tx.low), at(ty.high, tx.high)]], ty, tx, 10);
            // Where rounding of the step runs past the end, the oracle reads outside its input; we hold the last sample.
            let inside = |index: u32, step: u32, n: u32| (i64::from(index) * i64::from(step) + i64::from(origin(step))) >> 10 < i64::from(n);
            prop_assume!(inside(y, sy, h) && inside(x, sx, w));
            prop_assert_eq!(i128::from(got), slow(&pixels, (y, x), (sy, sx), half));
        }

        #[test]
        fn is_total(index: u32, step: u32, origin: i32, fraction: u32, size: u32, samples: [[i16; 2]; 2], weight: u32) {
            let t = tap(position(index, step, origin, fraction, size), fraction, size);
            prop_assert!(t.high < size.max(1) && t.low <= t.high);
            let _ = (bilinear(samples, t, t, fraction), bilinear(samples, Tap { weight, ..t }, t, fraction));
        }
    }
}
