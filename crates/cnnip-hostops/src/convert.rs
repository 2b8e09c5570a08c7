//! Float to integer and back at a model's ends.
//!
//! Quantize: `zero_point + x / scale`, divided in binary32, rounded ([`Ties`]), clamped to the type; NaN gives the zero point.
//! Oracles: TFLite's QUANTIZE (ties away from zero), ONNX's QuantizeLinear (ties to even). Dequantize: `scale * (q - zero_point)`
//! in binary32. Oracles: TFLite's DEQUANTIZE, ONNX's DequantizeLinear.

use crate::HostError;
use cnnip_numerics::quantize;
pub use cnnip_numerics::quantize::Ties;

/// An integer element of a tensor.
pub trait Element: Copy + TryFrom<i32> + Into<i32> {
    /// Smallest value.
    const MIN: Self;
    /// Largest value.
    const MAX: Self;
}

macro_rules! element {
    ($($type:ty),*) => { $(impl Element for $type { const MIN: Self = <$type>::MIN; const MAX: Self = <$type>::MAX; })* };
}
element!(i8, u8, i16);

/// The affine map between integers and real numbers: `real = scale * (q - zero_point)`.
///
/// ```
/// use cnnip_hostops::{Affine, Ties};
/// let affine = Affine::new::<i8>(0.5, -1)?;
/// let mut q = [0_i8; 3];
/// affine.quantize(&[0.25, -100.0, 1.0], Ties::Away, &mut q)?;
/// assert_eq!(q, [0, -128, 1]);
/// let mut real = [0.0; 3];
/// affine.dequantize(&q, &mut real)?;
/// assert_eq!(real, [0.5, -63.5, 1.0]);
/// # Ok::<(), cnnip_hostops::HostError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    scale: f32,
    zero_point: i32,
}

impl Affine {
    /// Checks scale and zero point for the type `T`.
    ///
    /// # Errors
    /// [`HostError::Scale`] unless the scale is positive and finite, [`HostError::ZeroPoint`] if `T` cannot hold it.
    pub fn new<T: Element>(scale: f32, zero_point: i32) -> Result<Self, HostError> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(HostError::Scale { scale });
        }
        let (min, max) = (T::MIN.into(), T::MAX.into());
        if !(min..=max).contains(&zero_point) {
            return Err(HostError::ZeroPoint { zero_point, min, max });
        }
        Ok(Self { scale, zero_point })
    }

    /// Quantizes element by element.
    ///
    /// # Errors
    /// [`HostError::Length`] if the slices differ in length.
    pub fn quantize<T: Element>(&self, real: &[f32], ties: Ties, output: &mut [T]) -> Result<(), HostError> {
        same_length(real.len(), output.len())?;
        let range = (T::MIN.into(), T::MAX.into());
        for (out, &x) in output.iter_mut().zip(real) {
            let q = quantize::quantize(x, self.scale, self.zero_point, range, ties);
            *out = T::try_from(q).unwrap_or(T::MAX); // clamped to T
        }
        Ok(())
    }

    /// Dequantizes element by element.
    ///
    /// # Errors
    /// [`HostError::Length`] if the slices differ in length.
    pub fn dequantize<T: Element>(&self, q: &[T], output: &mut [f32]) -> Result<(), HostError> {
        same_length(q.len(), output.len())?;
        for (out, &q) in output.iter_mut().zip(q) {
            *out = quantize::dequantize(q.into(), self.scale, self.zero_point);
        }
        Ok(())
    }
}

fn same_length(input: usize, output: usize) -> Result<(), HostError> {
    if input == output { Ok(()) } else { Err(HostError::Length { input, output }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Real quotients are exact in binary64 up to one rounding to binary32: the twin rounds that by bits.
        #[test]
        fn quantize_equals_its_slow_twin(steps in -4000_i32..4000, zero in -128_i32..128, power in -12_i32..4) {
            let scale = 2_f32.powi(power);
            let x = steps as f32 / 8.0 * scale; // exact: eighths of a step
            let affine = Affine::new::<i8>(scale, zero).unwrap();
            let (whole, rest) = (steps.div_euclid(8), steps.rem_euclid(8));
            let away = whole + i32::from(rest > 4 || rest == 4 && steps > 0);
            let even = whole + i32::from(rest > 4 || rest == 4 && whole % 2 != 0);
            for (ties, want) in [(Ties::Away, away), (Ties::Even, even)] {
                let mut q = [0_i8];
                affine.quantize(&[x], ties, &mut q).unwrap();
                prop_assert_eq!(i32::from(q[0]), (want + zero).clamp(-128, 127));
            }
        }

        #[test]
        fn quantize_inverts_dequantize(q: i16, zero: i16, scale in 1e-6_f32..1e3) {
            let affine = Affine::new::<i16>(scale, zero.into()).unwrap();
            let (mut real, mut back) = ([0.0], [0_i16]);
            affine.dequantize(&[q], &mut real).unwrap();
            affine.quantize(&real, Ties::Even, &mut back).unwrap();
            prop_assert_eq!(back[0], q);
        }

        #[test]
        fn any_float_is_accepted(x: f32, scale in 1e-30_f32..1e30) {
            let mut q = [0_u8];
            Affine::new::<u8>(scale, 7).unwrap().quantize(&[x], Ties::Away, &mut q).unwrap();
            prop_assert!(!x.is_nan() || q[0] == 7);
        }
    }

    #[test]
    fn bad_parameters_are_errors() {
        assert_eq!(Affine::new::<i8>(0.0, 0), Err(HostError::Scale { scale: 0.0 }));
        assert_eq!(Affine::new::<i8>(1.0, 128), Err(HostError::ZeroPoint { zero_point: 128, min: -128, max: 127 }));
        let affine = Affine::new::<u8>(1.0, 128).unwrap();
        assert_eq!(affine.quantize(&[1.0], Ties::Away, &mut [0_u8; 2]), Err(HostError::Length { input: 1, output: 2 }));
    }
}
