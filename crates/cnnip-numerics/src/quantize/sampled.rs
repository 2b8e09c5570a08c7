//! Contents of 513-entry tables.

use crate::cast::saturated_i64_from_f64;

/// Intervals of a table.
const INTERVALS: u16 = 512;

/// Entries of an `int16_513` table of a function from -1 to 1: it goes over `low` to `high`, and its values become Q0.15.
///
/// All steps are binary32, each rounded, halves away from zero. An entry is the function's value less half the error that the line
/// to the next entry has half way; the last entry is the value itself. Oracle: tflite-micro's tables of exponential and reciprocal.
///
/// ```
/// let line = cnnip_numerics::quantize::sampled_table(-1.0, 1.0, |x| x);
/// assert_eq!((line[0], line[256], line[512]), (-32768, 0, 32767));
/// ```
#[must_use]
pub fn sampled_table(low: f32, high: f32, function: impl Fn(f32) -> f32) -> [i16; 513] {
    sampled((low, high), |x| function(x) * 32768.0)
}

/// Entries of an `int16_513` table of any function between symmetric int16 quantizations of these scales.
///
/// As [`sampled_table`]; values become integers by a product with `65536 / (scale * 65535)`, a binary32 number. What is no number
/// becomes the smallest. Oracle: LiteRT's int16 table of EXP.
///
/// ```
/// let line = cnnip_numerics::quantize::sampled_words(0.5, 0.5, |x| x);
/// // The middle is half a step below 0.
/// assert_eq!((line[0], line[256], line[512]), (-32768, -1, 32767));
/// ```
#[must_use]
pub fn sampled_words(input: f32, output: f32, function: impl Fn(f32) -> f32) -> [i16; 513] {
    let ends = |scale: f32| (scale * -32768.0, scale * 32767.0);
    let (least, greatest) = ends(output);
    let inverse = 65536.0 / (greatest - least);
    sampled(ends(input), |x| function(x) * inverse)
}

fn sampled((low, high): (f32, f32), value: impl Fn(f32) -> f32) -> [i16; 513] {
    let step = (high - low) / f32::from(INTERVALS);
    let mut table = [clamped(value(high).round()); 513];
    for (entry, i) in table.iter_mut().zip(0..INTERVALS) {
        let start = low + f32::from(i) * step;
        let next = value(low + f32::from(i.saturating_add(1)) * step);
        let sample = value(start).round();
        let on_line = ((next + sample) / 2.0).round();
        let error = on_line - value(start + step / 2.0).round();
        *entry = clamped(sample - (error / 2.0).round());
    }
    table
}

/// An integral number in the range of int16; the smallest for none.
fn clamped(value: f32) -> i16 {
    if value.is_nan() {
        return i16::MIN;
    }
    let value = saturated_i64_from_f64(value.into());
    i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX })
}

#[cfg(test)]
mod tests {
    use super::sampled_table;

    /// Sums with the position as weight, of tables printed by a description of the oracle that equals it on every entry.
    #[test]
    fn the_tables_of_softmax_are_the_oracles() {
        let sum = |table: [i16; 513]| table.iter().zip(1_i64..).map(|(&entry, i)| i64::from(entry) * i).sum::<i64>();
        assert_eq!(sum(sampled_table(-10.0, 0.0, libm::expf)), 783_178_612);
        assert_eq!(sum(sampled_table(0.0, 1.0, |x| 1.0 / (1.0 + x))), 2_651_685_971);
    }
}
