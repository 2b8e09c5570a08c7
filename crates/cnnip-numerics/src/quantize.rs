//! Compiler side: real numbers to multipliers, shifts, ranges and steps, as TFLite's *prepare* code computes them.
//!
//! The machine never runs these. They decide what is written into registers and records, so they must equal the oracle too.

mod activation;
mod affine;
mod curve;
mod function;
mod inverse_root;
mod multiplier;
mod real;
mod resize;
mod sampled;

pub use activation::Activation;
pub use affine::{Ties, dequantize, quantize};
pub use curve::{Curve, curve_table, half_table, half_table_scale};
pub use function::{function_table, function_words};
pub use inverse_root::inverse_square_root;
pub use multiplier::{
    EltwiseScales, QuantizedMultiplier, add_scales, float_conv_scale, mean_multiplier, narrow_product_scale,
    product_scale, quantize_multiplier, requantize_scale, significand_and_shift,
};
pub use real::{Quantized, elu, exponential, gelu, hyperbolic_tangent, logarithm, real_table, scaled_table, sigmoid};
pub use resize::{RESIZE_FRACTION, half_pixel_origin, resize_step};
pub use sampled::{sampled_table, sampled_words};

/// A number that no quantization parameter can be made of.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// Infinite or not a number.
    #[error("scale {0} is not finite")]
    NotFinite(f64),
    /// A tensor's scale that is not above zero.
    #[error("scale {0} is not positive")]
    NotPositive(f64),
    /// A size of zero, or too large for a fixed-point step.
    #[error("cannot resize {from} samples to {to}")]
    Resize {
        /// Input samples.
        from: u32,
        /// Output samples.
        to: u32,
    },
}

/// A tensor's scale, if it is one.
fn positive(scale: f32) -> Result<f32, QuantizeError> {
    match scale {
        s if !s.is_finite() => Err(QuantizeError::NotFinite(s.into())),
        s if s <= 0.0 => Err(QuantizeError::NotPositive(s.into())),
        s => Ok(s),
    }
}

#[cfg(test)]
mod tests;
