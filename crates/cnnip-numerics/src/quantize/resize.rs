//! Sizes to fixed-point steps.

use super::QuantizeError;

/// Fraction bits of TFLite's integer bilinear resize.
pub const RESIZE_FRACTION: u32 = 10;

/// Input samples per output sample with [`RESIZE_FRACTION`] bits, rounded to nearest. Oracle: TFLite's RESIZE_BILINEAR.
///
/// # Errors
/// [`QuantizeError::Resize`] if a size is zero or the step does not fit.
pub fn resize_step(from: u32, to: u32, align_corners: bool) -> Result<u32, QuantizeError> {
    let error = QuantizeError::Resize { from, to };
    if from == 0 || to == 0 {
        return Err(error);
    }
    let less = u32::from(align_corners && to > 1);
    let (from, to) = (u64::from(from.saturating_sub(less)), u64::from(to.saturating_sub(less)));
    let step = (from << RESIZE_FRACTION).wrapping_add(to >> 1).checked_div(to);
    step.and_then(|step| u32::try_from(step).ok()).ok_or(error)
}

/// Origin that puts samples at pixel centres: `step / 2 - 1/2`, truncated.
#[must_use]
pub fn half_pixel_origin(step: u32) -> i32 {
    i32::try_from(step >> 1).unwrap_or(i32::MAX).saturating_sub(1 << (RESIZE_FRACTION - 1))
}
