//! Fused activations to clamps.

use crate::cast::saturated_i64;

/// A fused activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// No clamp but that of the type.
    None,
    /// At least 0.
    Relu,
    /// 0 to 6.
    Relu6,
    /// -1 to 1.
    ReluN1To1,
}

impl Activation {
    /// The clamp in the output's integers, within the type's range. Oracle: TFLite's `CalculateActivationRangeQuantized`.
    ///
    /// Bounds are `zero_point + real / scale`, divided in binary32, halves away from zero.
    ///
    /// ```
    /// use cnnip_numerics::quantize::Activation;
    /// assert_eq!(Activation::Relu6.range(0.05, -100, (-128, 127)), (-100, 20));
    /// ```
    #[must_use]
    pub fn range(self, scale: f32, zero_point: i32, (min, max): (i32, i32)) -> (i32, i32) {
        let at = |real: f32| quantized(real, scale, zero_point);
        match self {
            Self::None => (min, max),
            Self::Relu => (min.max(at(0.0)), max),
            Self::Relu6 => (min.max(at(0.0)), max.min(at(6.0))),
            Self::ReluN1To1 => (min.max(at(-1.0)), max.min(at(1.0))),
        }
    }
}

/// `zero_point + real / scale`, halves away from zero, saturated to 32 bits.
fn quantized(real: f32, scale: f32, zero_point: i32) -> i32 {
    crate::finish(saturated_i64((real / scale).round()), zero_point, i32::MIN, i32::MAX)
}
