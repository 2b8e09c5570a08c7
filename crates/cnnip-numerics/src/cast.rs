//! The few conversions that std offers only as `as`, each with a name that says what it does.
#![allow(clippy::as_conversions, reason = "std has no other spelling; every use is named and documented here")]

/// The low 32 bits, as two's complement.
pub(crate) const fn low32(value: i64) -> i32 {
    value as i32
}

/// The nearest binary32 number, ties to even.
pub(crate) const fn nearest_f32(value: i64) -> f32 {
    value as f32
}

/// The nearest binary32 number, ties to even.
pub(crate) const fn narrowed(value: f64) -> f32 {
    value as f32
}

/// The binary64 number; exact for all values this crate passes (below 2^53).
pub(crate) const fn exact_f64(value: i64) -> f64 {
    value as f64
}

/// An integral binary32 number as an integer, saturated; NaN gives 0.
pub(crate) const fn saturated_i64(value: f32) -> i64 {
    value as i64
}

/// An integral binary64 number as an integer, saturated; NaN gives 0.
pub(crate) const fn saturated_i64_from_f64(value: f64) -> i64 {
    value as i64
}
