//! Functions of one value, by the formulas of TFLite's kernels: int8 by a table with an entry for each value, int16 by half tables;
//! functions that have no such kernel by tables of the function itself.

use cnnip_graph::ElementType;
use cnnip_isa::EltwiseFunction;
use cnnip_numerics::fixed::rounding_divide_by_power_of_two;
use cnnip_numerics::quantize::{
    Curve, QuantizeError, QuantizedMultiplier, curve_table, exponential, function_table, function_words,
    half_table_scale, hyperbolic_tangent, inverse_square_root, quantize_multiplier, requantize_scale, sampled_words,
    scaled_table,
};

use super::context::At;
use super::eltwise::{branches, lookup};
use crate::error::Rule;
use cnnip_lowered::Table;

/// Any function of one real number, where the oracle has no integer kernel.
pub(super) fn function(at: &mut At<'_, '_>, function: impl Fn(f64) -> f64) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    let table = if output.is_wide() {
        Table::Words(Box::new(function_words(input.scale, output.scale, function)?))
    } else {
        Table::Bytes(Box::new(function_table((input.scale, input.zero), (output.scale, output.zero), function)?))
    };
    lookup(at, table);
    Ok(())
}

/// `alpha * x + beta`, held to 0 ..= 1.
pub(super) fn hard_sigmoid(at: &mut At<'_, '_>, alpha: f32, beta: f32) -> Result<(), Rule> {
    function(at, |x| (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0))
}

/// A function whose table the oracle makes in binary32.
pub(super) fn sampled(at: &mut At<'_, '_>, function: impl Fn(f32) -> f32) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    if !input.is_wide() {
        return narrow(at, function);
    }
    lookup(at, Table::Words(Box::new(sampled_words(input.scale, output.scale, function))));
    Ok(())
}

/// As [`sampled`], for 8 bits only: for 16 the oracle's table depends on the last bit of its mathematical library, or it has none.
pub(super) fn narrow(at: &mut At<'_, '_>, function: impl Fn(f32) -> f32) -> Result<(), Rule> {
    let (input, output) = (at.narrow_in(0)?, at.narrow_out()?);
    let table = scaled_table(function, (input.scale, input.zero), (output.scale, output.zero));
    lookup(at, Table::Bytes(Box::new(table)));
    Ok(())
}

/// RSQRT: fixed point with 20 more fraction bits. What has no root, which the oracle refuses, counts as 0.
pub(super) fn rsqrt(at: &mut At<'_, '_>) -> Result<(), Rule> {
    const FRACTION: i32 = 20;
    let (input, output) = (at.narrow_in(0)?, at.narrow_out()?);
    let ratio = 1.0 / f64::from(input.scale.sqrt() * output.scale);
    let scale = quantize_multiplier(ratio)?;
    let shift = scale.shift - FRACTION;
    if shift < -31 {
        return Err(Rule::ScaleRatio { ratio, least: LEAST_ROOT_RATIO, most: f64::MAX });
    }
    let table = entries(|x| {
        let value = x - input.zero;
        if value <= 0 {
            return i32::MAX;
        }
        let root = inverse_square_root(value);
        let data = QuantizedMultiplier { shift: root.shift + FRACTION, ..root }.times(1);
        QuantizedMultiplier { shift, ..scale }.times(data.into()).saturating_add(output.zero)
    });
    lookup(at, table);
    Ok(())
}

/// Below this the oracle's last shift is more than 31 bits.
const LEAST_ROOT_RATIO: f64 = 1.0 / 4096.0;

/// ABS: a difference from the zero point, rescaled only if the scales differ.
pub(super) fn abs(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    let scale = quantize_multiplier(requantize_scale(input.scale, output.scale))?;
    if input.is_wide() {
        // The larger of the value and its opposite; both are rounded alike, as the products are one number.
        let opposite = QuantizedMultiplier { multiplier: -scale.multiplier, ..scale };
        branches(at, EltwiseFunction::Max, [scale, opposite]);
        return Ok(());
    }
    let rescaled = |value: i32| if input.scale == output.scale { value } else { scale.times(value.into()) };
    lookup(at, entries(|x| rescaled((x - input.zero).abs()).saturating_add(output.zero)));
    Ok(())
}

/// NEG of one quantization around 0 by the oracle's kernel, whose smallest number stays as it is; any other as a function.
pub(super) fn neg(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    if input != output || output.zero != 0 || at.input(0).element == ElementType::U8 {
        return function(at, |x| -x);
    }
    let table = if output.is_wide() {
        let mut words = Box::new([0_i16; 513]);
        for (entry, x) in words.iter_mut().zip((i16::MIN..=i16::MAX).step_by(128)) {
            *entry = x.wrapping_neg();
        }
        words[512] = i16::MIN; // -32768 once more, behind the last interval, in 16 bits
        Table::Words(words)
    } else {
        entries(|x| i32::from(i8::try_from(-x).unwrap_or(i8::MIN)))
    };
    lookup(at, table);
    Ok(())
}

pub(super) fn sqrt(at: &mut At<'_, '_>) -> Result<(), Rule> {
    function(at, libm::sqrt)
}

/// LOGISTIC and TANH: by tflite-micro's kernels if the output's quantization is theirs, else as any function. uint8 by LiteRT's
/// tables, whose sums and quotients are binary32: halves near the middle of the curve fall otherwise than in its fixed point.
pub(super) fn curve(at: &mut At<'_, '_>, curve: Curve) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    if at.input(0).element == ElementType::U8 {
        return match curve {
            Curve::Sigmoid => narrow(at, |x| 1.0 / (1.0 + exponential(-x))),
            Curve::Tanh => narrow(at, hyperbolic_tangent),
        };
    }
    let want = match curve {
        _ if output.is_wide() => (1.0 / 32768.0, 0),
        Curve::Sigmoid => (1.0 / 256.0, -128),
        Curve::Tanh => (1.0 / 128.0, 0),
    };
    if (output.scale, output.zero) != want {
        return match curve {
            Curve::Sigmoid => function(at, |x| 1.0 / (1.0 + libm::exp(-x))),
            Curve::Tanh => function(at, libm::tanh),
        };
    }
    if input.is_wide() {
        let (multiplier, shift) = half_table_scale(input.scale, curve)?;
        lookup(at, Table::Half { curve, multiplier, shift });
        return Ok(());
    }
    lookup(at, Table::Bytes(Box::new(curve_table(curve, input.scale, input.zero)?)));
    Ok(())
}

/// LEAKY_RELU: one multiplier from 0 on, another below.
pub(super) fn leaky_relu(at: &mut At<'_, '_>, alpha: f32) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    let [above, below] = leaky_scales(at.input(0).element, [input.scale, output.scale], alpha)?;
    if input.is_wide() {
        return wide_leaky_relu(at, alpha, [above, below]);
    }
    lookup(
        at,
        entries(|x| {
            let difference = x - input.zero;
            let by = if difference >= 0 { above } else { below };
            by.times(difference.into()).saturating_add(output.zero)
        }),
    );
    Ok(())
}

/// Multipliers from 0 on and below. The quotients are binary64 in tflite-micro, and binary32 in LiteRT, the oracle of uint8.
fn leaky_scales(
    element: ElementType,
    [input, output]: [f32; 2],
    alpha: f32,
) -> Result<[QuantizedMultiplier; 2], QuantizeError> {
    let reals = if element == ElementType::U8 {
        [(input / output).into(), (input * alpha / output).into()]
    } else {
        [1.0, f64::from(alpha)].map(|slope| f64::from(input) * slope / f64::from(output))
    };
    Ok([quantize_multiplier(reals[0])?, quantize_multiplier(reals[1])?])
}

/// LEAKY_RELU of 16 bit: the branches are monotone in the scale, so that the larger one counts; above a slope of 1, the smaller.
fn wide_leaky_relu(at: &mut At<'_, '_>, alpha: f32, scales: [QuantizedMultiplier; 2]) -> Result<(), Rule> {
    if alpha.is_nan() || alpha < 0.0 {
        return Err(Rule::ScaleRatio { ratio: alpha.into(), least: 0.0, most: f64::MAX });
    }
    let function = if alpha <= 1.0 { EltwiseFunction::Max } else { EltwiseFunction::Min };
    branches(at, function, scales);
    Ok(())
}

/// HARD_SWISH of int8 in 16-bit fixed point; what the oracle has no kernel for as any function.
pub(super) fn hard_swish(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    let fine = input.scale / 128.0;
    let to_output = quantize_multiplier((fine / output.scale).into())?;
    let to_gate = quantize_multiplier((fine / (3.0 / 32768.0)).into())?;
    if output.is_wide() || to_output.shift > 0 {
        return function(at, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0));
    }
    lookup(
        at,
        entries(|x| {
            let value = (x - input.zero) << 7;
            let product = high_product(gate(value, to_gate), rounded_product(value, half(to_output)));
            rounding_divide_by_power_of_two(product, to_output.shift.unsigned_abs()) + output.zero
        }),
    );
    Ok(())
}

/// `(x / 3 + 1) / 2` of the value, held to 0 ..= 1, as a fraction of 2^15.
fn gate(value: i32, scale: QuantizedMultiplier) -> i32 {
    let left = scale.shift.max(0).unsigned_abs();
    let early = saturated(i64::from(value) << left.saturating_sub(1).min(31));
    let scaled = rounded_product(early, half(scale));
    let late = if left > 0 { saturated(i64::from(scaled) << 1) } else { scaled };
    let bounded = rounding_divide_by_power_of_two(late, scale.shift.min(0).unsigned_abs());
    (bounded + (1 << 15)) >> 1
}

/// The upper 16 bits of a multiplier, rounded.
fn half(scale: QuantizedMultiplier) -> i32 {
    (scale.multiplier.saturating_add(1 << 15) >> 16).min(0x7fff)
}

fn saturated(value: i64) -> i32 {
    i32::from(i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX }))
}

/// `a * b / 2^15` of 16-bit numbers, halves away from zero below and up above it.
fn rounded_product(a: i32, b: i32) -> i32 {
    let product = a * b;
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    saturated(((product + nudge) / (1 << 15)).into())
}

/// `a * b / 2^15` of 16-bit numbers, towards zero.
fn high_product(a: i32, b: i32) -> i32 {
    saturated((a * b / (1 << 15)).into())
}

/// A table of `function`, clamped to int8.
fn entries(function: impl Fn(i32) -> i32) -> Table {
    let mut table = Box::new([0; 256]);
    for (entry, x) in table.iter_mut().zip(-128..) {
        *entry = i8::try_from(function(x).clamp(-128, 127)).unwrap_or(0);
    }
    Table::Bytes(table)
}
