//! Lookup tables and their interpolation. Contents are loaded by the program;
//! [`crate::quantize::half_table`] and [`crate::q31`] help make them.

use crate::cast::low32;
use crate::fixed::shift_right_up;

/// The entry of a 256-entry table: entry 0 belongs to -128.
///
/// ```
/// let table = std::array::from_fn(|i| i8::try_from(127 - i as i32).unwrap());
/// assert_eq!(cnnip_numerics::table::lookup_256(&table, -128), 127);
/// ```
#[must_use]
pub fn lookup_256(table: &[i8; 256], value: i8) -> i8 {
    table[usize::from(value.cast_unsigned() ^ 0x80)]
}

/// Linear interpolation in a 513-entry table: entry 0 belongs to -32768, entry i to `-32768 + 128 * i`.
///
/// `base + floor((slope * (value mod 128) + 64) / 128)`, where the slope to the next entry is 16 bits wide and wraps, as does
/// the result. Oracle: TFLite's int16 table lookup.
#[must_use]
pub fn lookup_513(table: &[i16; 513], value: i16) -> i16 {
    let position = value.cast_unsigned() ^ 0x8000;
    let index = usize::from(position >> 7);
    let (base, next) = (table[index], table[index.wrapping_add(1)]);
    let slope = i64::from(next.wrapping_sub(base));
    let delta = shift_right_up(slope.wrapping_mul(i64::from(position & 0x7f)), 7);
    low16(i64::from(base).wrapping_add(delta))
}

/// Largest input multiplier of the half tables: `value * multiplier` then stays within 32 bits.
pub const MAX_INPUT_MULTIPLIER: u32 = 65_535;

/// Largest right shift of the half tables' input.
pub const MAX_INPUT_SHIFT: u32 = 31;

/// The input scaling of the half tables: `floor(value * multiplier / 2^shift + 1/2)`.
///
/// Registers: `IN_MULT` up to [`MAX_INPUT_MULTIPLIER`], `IN_SHIFT` as a right shift up to [`MAX_INPUT_SHIFT`].
#[must_use]
pub fn half_table_input(value: i16, multiplier: u32, shift: u32) -> i32 {
    low32(shift_right_up(i64::from(value).wrapping_mul(i64::from(multiplier)), shift))
}

/// The logistic function by its half table: input scaled to 1/24 per 512, output Q0.15.
///
/// `input` comes from [`half_table_input`]. Oracle: TFLite's int16 LOGISTIC.
#[must_use]
pub fn sigmoid_i16(table: &[u16; 256], input: i32) -> i16 {
    let result = half_lookup(table, input.unsigned_abs(), 9).unwrap_or(0x7fff << 10);
    let result = if input >= 0 { result } else { !result & 0x1ff_ffff };
    low16(result.wrapping_add(1 << 9) >> 10)
}

/// The hyperbolic tangent by the same half table: `tanh(x) = 2 * sigmoid(2x) - 1`, input scaled to 1/48 per 256.
///
/// `input` comes from [`half_table_input`]. Oracle: TFLite's int16 TANH.
#[must_use]
pub fn tanh_i16(table: &[u16; 256], input: i32) -> i16 {
    let result = half_lookup(table, input.unsigned_abs(), 8).unwrap_or(0xffff << 8);
    let centred = result.wrapping_sub(1 << 23);
    let signed = if input >= 0 { centred } else { !centred };
    low16(signed.wrapping_add(1 << 7) >> 8)
}

/// `table[m >> bits]` interpolated with the low `bits`, scaled by `2^bits`; `None` from entry 255 on.
fn half_lookup(table: &[u16; 256], magnitude: u32, bits: u32) -> Option<i64> {
    let index = usize::try_from(magnitude >> bits).ok().filter(|&index| index < 255)?;
    let (base, next) = (i64::from(table[index]), i64::from(table[index.wrapping_add(1)]));
    let rest = i64::from(magnitude & !(u32::MAX << bits));
    Some((base << bits).wrapping_add(rest.wrapping_mul(next.wrapping_sub(base))))
}

fn low16(value: i64) -> i16 {
    let [low, high, ..] = value.to_le_bytes();
    i16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests;
