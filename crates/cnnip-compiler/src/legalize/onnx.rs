//! Operators of 8 bits by the formulas of ONNX Runtime's kernels, which scale in binary32; products are in `product`.

use std::collections::BTreeSet;

use cnnip_graph::{Activation, Mean, Op, Pool2d};
use cnnip_isa::operation::{Activation as Clamp, OutputStage};
use cnnip_isa::{ElementType as DeviceType, EltwiseFunction, RoundingMode};
use cnnip_numerics::ChannelRecord;
use cnnip_numerics::quantize::{QuantizeError, Ties, dequantize, real_table, sigmoid};

use super::context::{Affine, At, clamp, elements, extents, nhwc, relabelling};
use super::eltwise::{Layout, dense, lookup};
use super::product::sweep;
use super::{reduce, sampling};
use crate::error::Rule;
use crate::options::Rounding;
use crate::size::index;
use cnnip_lowered::{ConvLayer, Eltwise, EltwiseInput, Sweep, Table, WeightSource, Work};

/// Appends the layers of an operator that ONNX Runtime computes otherwise than TFLite; `None` for all others.
pub(super) fn legalize(at: &mut At<'_, '_>, op: &Op) -> Option<Result<(), Rule>> {
    if at.rounding() != Rounding::Onnx || !is_narrow(at) {
        return None;
    }
    Some(match op {
        Op::Add { activation } => add(at, *activation),
        Op::Mul { activation } => mul(at, *activation),
        Op::Mean(mean) => average_of_all(at, mean),
        Op::AveragePool2d(pool) => average(at, pool),
        Op::Quantize => table(at, |x| x),
        Op::Relu => table(at, |x| x.max(0.0)),
        Op::LeakyRelu { alpha } => table(at, |x| if x >= 0.0 { x } else { x * alpha }),
        Op::Logistic => table(at, sigmoid),
        Op::HardSigmoid { alpha, beta } => table(at, |x| (alpha * x + beta).clamp(0.0, 1.0)),
        Op::Clamp { min, max } => table(at, |x| x.max(*min).min(*max)),
        Op::Sqrt => table(at, f32::sqrt),
        Op::Abs => table(at, f32::abs),
        Op::ResizeBilinear(op) => sampling::resize_bilinear_onnx(at, op),
        _ => return None,
    })
}

/// Whether the first input and the output are 8-bit integers of one scale.
fn is_narrow(at: &At<'_, '_>) -> bool {
    at.inputs() > 0 && at.narrow_in(0).is_ok() && at.narrow_out().is_ok()
}

/// A binary32 number for the machine.
fn number(mode: RoundingMode, value: f32) -> Result<OutputStage, QuantizeError> {
    if !value.is_finite() {
        return Err(QuantizeError::NotFinite(value.into()));
    }
    Ok(OutputStage { mode, multiplier: value.to_bits(), shift: 0 })
}

/// `DequantizeLinear`, a function and `QuantizeLinear`.
fn table(at: &mut At<'_, '_>, function: impl Fn(f32) -> f32) -> Result<(), Rule> {
    let (input, output) = (at.narrow_in(0)?, at.narrow_out()?);
    let entries = real_table(function, (input.scale, input.zero), (output.scale, output.zero), Ties::Even);
    lookup(at, Table::Bytes(Box::new(entries)));
    Ok(())
}

/// `QLinearAdd`: one binary32 sum, in the integers of the model's own types.
///
/// The second operand counts first; where the first is one element along the innermost axis, the two change places.
fn add(at: &mut At<'_, '_>, fused: Activation) -> Result<(), Rule> {
    let ([a, b], output) = at.alike()?;
    let swapped = is_one_element(&extents(at.input(0)), &extents(at.output()));
    let [first, second] = if swapped { [(1, b), (0, a)] } else { [(0, a), (1, b)] };
    let layout = Layout::of(at);
    let summand = |(index, affine): (usize, Affine)| Summand::of(at, &layout, index, affine, output.scale);
    let (first, second) = (summand(first)?, summand(second)?);
    let beyond = relabelling(at.output().element);
    let shift = first.zero.mul_add(first.factor, second.factor * second.zero);
    let constant = exact(output.zero.saturating_add(beyond)) - shift;
    let last = (number(RoundingMode::Float, constant)?, Clamp { zero: -beyond, ..clamp(fused, output) });
    let inputs = vec![first.operand, second.operand];
    let work = layout.eltwise(EltwiseFunction::Affine, inputs, at.output_id(), last);
    at.push(0, Work::Eltwise(work));
    Ok(())
}

/// Whether a tensor has one element along the innermost axis of the output that has several, if there is such an axis.
fn is_one_element(tensor: &[u32], output: &[u32]) -> bool {
    let own = tensor.iter().rev().copied().chain(std::iter::repeat(1));
    output.iter().rev().zip(own).find(|&(&extent, _)| extent > 1).is_none_or(|(_, own)| own == 1)
}

/// An operand of a sum: its factor and zero point in the oracle's binary32, and as the machine reads it.
struct Summand {
    factor: f32,
    zero: f32,
    operand: EltwiseInput,
}

impl Summand {
    fn of(at: &At<'_, '_>, layout: &Layout, index: usize, affine: Affine, output: f32) -> Result<Self, Rule> {
        let beyond = relabelling(at.input(index).element);
        let factor = affine.scale / output;
        let stage = number(RoundingMode::Float, factor)?;
        let operand = EltwiseInput { stage, ..layout.operand(index, at.input_id(index), -beyond) };
        Ok(Self { factor, zero: exact(affine.zero.saturating_add(beyond)), operand })
    }
}

/// `QLinearMul`: the product of integers, scaled, and the zero point added, in binary32.
fn mul(at: &mut At<'_, '_>, fused: Activation) -> Result<(), Rule> {
    let ([a, b], output) = at.alike()?;
    let layout = Layout::of(at);
    let inputs = [(0, a), (1, b)].map(|(index, affine)| layout.operand(index, at.input_id(index), affine.zero));
    let scale = a.scale * b.scale / output.scale;
    let work = layout.eltwise(EltwiseFunction::Mul, inputs.to_vec(), at.output_id(), NOTHING);
    rounded_with_zero(at, work, scale, clamp(fused, output))
}

/// A stage and a clamp that are yet to be set.
const NOTHING: (OutputStage, Clamp) = (OutputStage::NONE, Clamp { zero: 0, min: 0, max: 0, table: None });

/// Appends an element-wise layer whose zero point is added before the rounding. A uint8 result passes through 16 bits: its own
/// zero point can be beyond int8, and another would round otherwise.
fn rounded_with_zero(at: &mut At<'_, '_>, work: Eltwise, scale: f32, last: Clamp) -> Result<(), Rule> {
    let stage = number(RoundingMode::FloatZero, scale)?;
    let beyond = relabelling(at.output().element);
    if beyond == 0 {
        at.push(0, Work::Eltwise(Eltwise { stage, activation: last, ..work }));
        return Ok(());
    }
    let shape = extents(at.output());
    let wide = at.temporary_wide("uint8", shape);
    let [zero, min, max] = [last.zero, last.min, last.max].map(|bound| bound.saturating_add(beyond));
    let activation = Clamp { zero, min, max, table: None };
    let narrow = Eltwise {
        function: EltwiseFunction::Pass,
        inputs: vec![dense(wide, &work.extents)],
        activation: Clamp::full_range(-beyond, DeviceType::Int8),
        ..work.clone()
    };
    at.push(0, Work::Eltwise(Eltwise { output: wide, stage, activation, ..work }));
    at.push(0, Work::Eltwise(narrow));
    Ok(())
}

/// `QLinearGlobalAveragePool`: the sum of integers, scaled by `x / (y * n)`.
fn average_of_all(at: &mut At<'_, '_>, mean: &Mean) -> Result<(), Rule> {
    let (input, output) = (at.narrow_in(0)?, at.narrow_out()?);
    reduce::summed(at, mean, |_, count| {
        let divisor = output.scale * exact(i32::try_from(count).unwrap_or(i32::MAX));
        Ok(number(RoundingMode::Float, input.scale / divisor)?)
    })
}

/// `QLinearAveragePool`: exact sums by a depthwise layer of ones, then `sum / n`, scaled, and the zero point added, in binary32.
///
/// The oracle sums de-quantized binary32 numbers instead, so that its halves may lie beside where they are.
fn average(at: &mut At<'_, '_>, pool: &Pool2d) -> Result<(), Rule> {
    let (input, output) = (at.narrow_in(0)?, at.narrow_out()?);
    let [batch, rows, columns, channels] = nhwc(at.input(0));
    let [_, out_rows, out_columns, _] = nhwc(at.output());
    let vertical = sweep(rows, out_rows, pool.window.h, pool.stride.h, 1, pool.padding.top);
    let horizontal = sweep(columns, out_columns, pool.window.w, pool.stride.w, 1, pool.padding.left);
    let shape = extents(at.output());
    let sums = at.temporary_wide("sums", shape);
    let area = index(vertical.kernel) * index(horizontal.kernel);
    let counts = Counts::of(&vertical, &horizontal);
    let unknown = || Rule::Unsupported { operator: "AVERAGE_POOL_2D", shape: at.input(0).shape.clone() };
    if area > MOST_SUMMED {
        return Err(unknown());
    }
    let factors = counts.factors().ok_or_else(unknown)?;
    let layer = ConvLayer {
        input: at.input_id(0),
        output: sums,
        batch,
        groups: channels,
        depth: 1,
        outputs: 1,
        depthwise: true,
        vertical,
        horizontal,
        weights: WeightSource { data: vec![1; area * index(channels)].into(), element: DeviceType::Int8, zero: 0 },
        input_zero: input.zero,
        records: vec![ONE; index(channels)],
        requant: RoundingMode::Double,
        activation: Clamp::full_range(0, DeviceType::Int16),
    };
    at.push(elements(at.output()) * u64::try_from(area).unwrap_or(u64::MAX), Work::Conv(layer));
    let scale = input.scale / (output.scale * exact(i32::from(counts.common)));
    let extents = vec![batch, out_rows, out_columns, channels];
    let mut inputs = vec![dense(sums, &extents)];
    if factors.iter().any(|&factor| factor != 1) {
        let map = at.constant_wide("factors", vec![1, out_rows, out_columns, 1], &factors);
        inputs.push(EltwiseInput { steps: vec![0, out_columns, 1, 0], ..dense(map, &extents) });
    }
    let function = if inputs.len() == 1 { EltwiseFunction::Pass } else { EltwiseFunction::Mul };
    let (stage, activation) = NOTHING;
    let output_id = at.output_id();
    let work = Eltwise { function, pre_shift: 0, inputs, output: output_id, extents, stage, activation, table: None };
    rounded_with_zero(at, work, scale, clamp(pool.activation, output))
}

/// The most differences of 8-bit integers whose sum is of 16 bits.
const MOST_SUMMED: usize = 128;

/// A record that scales by 1: `double` with a multiplier of one half, shifted left by one.
const ONE: ChannelRecord = ChannelRecord { bias: 0, multiplier: 1 << 30, shift: 1 };

/// Largest common multiple for which sums times factors are exact in binary32.
const MOST_COMMON: u32 = 32_767;

/// Elements in every window, and a common multiple of their numbers.
struct Counts {
    /// Row by row.
    windows: Vec<u32>,
    /// 0 if there is none within bounds.
    common: i16,
}

impl Counts {
    fn of(vertical: &Sweep, horizontal: &Sweep) -> Self {
        let valid = |sweep: &Sweep| -> Vec<u32> {
            let inside = |start: i64| {
                let end = (start + i64::from(sweep.kernel)).min(i64::from(sweep.input));
                u32::try_from(end - start.max(0)).unwrap_or(0)
            };
            (0..sweep.output).map(|index| inside(sweep.start(index))).collect()
        };
        let columns = valid(horizontal);
        let rows = valid(vertical);
        let windows: Vec<u32> = rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect();
        let distinct: BTreeSet<u32> = windows.iter().copied().collect();
        let common = distinct.into_iter().try_fold(1, multiple);
        Self { windows, common: common.and_then(|common| i16::try_from(common).ok()).unwrap_or(0) }
    }

    /// For every window what makes its sum one of the common number of elements.
    fn factors(&self) -> Option<Vec<i16>> {
        let factor = |&count: &u32| i16::try_from(u32::try_from(self.common).ok()?.checked_div(count)?).ok();
        if self.common == 0 { None } else { self.windows.iter().map(factor).collect() }
    }
}

/// The least common multiple, if it is small; there is none of 0.
fn multiple(a: u32, b: u32) -> Option<u32> {
    (1..=b).map(|k| a * k).find(|product| product.is_multiple_of(b)).filter(|&found| found <= MOST_COMMON)
}

/// An integer in binary32.
fn exact(value: i32) -> f32 {
    dequantize(value, 1.0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_element_is_seen_along_the_innermost_axis_of_several() {
        assert!(is_one_element(&[1, 8, 1, 1], &[1, 8, 3, 3]));
        assert!(is_one_element(&[1, 1], &[200, 1]));
        assert!(is_one_element(&[], &[1]), "there is no such axis");
        assert!(!is_one_element(&[1, 1, 1, 8], &[1, 3, 3, 8]));
        assert!(!is_one_element(&[8, 1], &[8, 1]));
    }

    #[test]
    fn windows_at_the_edge_have_fewer_elements() {
        let sweep = Sweep { kernel: 2, before: 1, output: 4, ..Sweep::plain(3) };
        let counts = Counts::of(&sweep, &Sweep::plain(1));
        assert_eq!((counts.windows.as_slice(), counts.common), ([1, 2, 2, 1].as_slice(), 2));
        assert_eq!(counts.factors(), Some(vec![2, 1, 1, 2]));
    }

    #[test]
    fn common_multiples_are_least_and_small() {
        assert_eq!((multiple(4, 6), multiple(1, 9), multiple(9, 3)), (Some(12), Some(9), Some(9)));
        assert_eq!((multiple(3, 0), multiple(32_749, 32_719)), (None, None));
    }
}
