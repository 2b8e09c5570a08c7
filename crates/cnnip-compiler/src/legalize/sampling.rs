//! Bilinear resize, and indices of extrema.

use cnnip_graph::{ArgExtremum, ElementType, Grid, ResizeBilinear};
use cnnip_isa::operation::{Activation, OutputStage};
use cnnip_isa::{ElementType as DeviceType, EltwiseFunction, RoundingMode};
use cnnip_numerics::quantize::{RESIZE_FRACTION, dequantize, half_pixel_origin, resize_step};
use cnnip_package::HostOperator;

use super::context::{At, copy, extents, nhwc, steps};
use super::eltwise::dense;
use super::host;
use crate::error::Rule;
use crate::options::Rounding;
use crate::size::small;
use cnnip_lowered::{ArgMax, Eltwise, EltwiseInput, Resize, Sampling, Stride, Table, Transfer, ValueId, Work};

/// By TFLite's integer kernels: positions of 10 fraction bits. The oracle computes uint8 in floats, all else in integers as the
/// machine does.
pub(super) fn resize_bilinear(at: &mut At<'_, '_>, op: &ResizeBilinear) -> Result<(), Rule> {
    at.moves()?;
    if at.input(0).element == ElementType::U8 && at.rounding() != Rounding::Onnx {
        let tensor = at.input(0).name.clone();
        return Err(Rule::Element { what: "input", tensor, found: ElementType::U8, want: "int8 or int16" });
    }
    let whole = bilinear(at, op)?;
    push_parts(at, &whole, At::temporary_output);
    Ok(())
}

/// By ONNX's real numbers, ties to even, where 8 more bits hold every weighted sum whole: 8 bits become 16, without rounding, and are
/// rounded once at the end. Other positions and sums as TFLite has them.
pub(super) fn resize_bilinear_onnx(at: &mut At<'_, '_>, op: &ResizeBilinear) -> Result<(), Rule> {
    at.moves()?;
    let whole = bilinear(at, op)?;
    let parts = [(&whole.vertical, op.grid), (&whole.horizontal, op.grid)].map(|(axis, grid)| weight_parts(axis, grid));
    if !matches!(parts, [Some(y), Some(x)] if y * x <= WIDENED) {
        return resize_bilinear(at, op);
    }
    let (from, to) = (extents(at.input(0)), extents(at.output()));
    let (input, output) = (at.temporary_wide("wide", from.clone()), at.temporary_wide("resized", to.clone()));
    let factor = dequantize(small_signed(WIDENED), 1.0, 0);
    scaled(at, (whole.input, input), from, factor, Activation::full_range(0, DeviceType::Int16));
    push_parts(at, &Resize { input, output, ..whole }, At::temporary_wide);
    scaled(at, (output, whole.output), to, factor.recip(), Activation::full_range(0, DeviceType::Int8));
    Ok(())
}

/// What 8 bits are multiplied by: the most that 16 bits hold.
const WIDENED: u32 = 256;

fn small_signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// In how many parts of a step the weights along an axis are counted, if the positions are those of real numbers.
fn weight_parts(axis: &Sampling, grid: Grid) -> Option<u32> {
    let one = 1 << RESIZE_FRACTION;
    if axis.input == 1 {
        return Some(1);
    }
    let less = u32::from(grid == Grid::AlignCorners && axis.output > 1);
    let whole = ((axis.input - less) << RESIZE_FRACTION).is_multiple_of(axis.output - less);
    let centred = grid != Grid::HalfPixel || axis.step.is_multiple_of(2);
    (whole && centred).then(|| one / [axis.step, axis.origin.unsigned_abs()].into_iter().fold(one, common))
}

/// The greatest common divisor.
fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}

/// Appends a product by a power of two, rounded to even and held to the type.
fn scaled(at: &mut At<'_, '_>, (from, to): (ValueId, ValueId), extents: Vec<u32>, factor: f32, last: Activation) {
    let stage = OutputStage { mode: RoundingMode::Float, multiplier: factor.to_bits(), shift: 0 };
    let inputs = vec![dense(from, &extents)];
    let function = EltwiseFunction::Pass;
    let work = Eltwise { function, pre_shift: 0, inputs, output: to, extents, stage, activation: last, table: None };
    at.push(0, Work::Eltwise(work));
}

/// The whole of a resize.
fn bilinear(at: &At<'_, '_>, op: &ResizeBilinear) -> Result<Resize, Rule> {
    let [batch, rows, columns, channels] = nhwc(at.input(0));
    let [_, out_rows, out_columns, _] = nhwc(at.output());
    let (vertical, horizontal) = (sampling(rows, out_rows, op.grid)?, sampling(columns, out_columns, op.grid)?);
    let (input, output, fraction) = (at.input_id(0), at.output_id(), RESIZE_FRACTION);
    Ok(Resize { input, output, batch, channels, fraction, vertical, horizontal })
}

/// Makes a value beside the output.
type Temporary<'c, 'a> = fn(&mut At<'c, 'a>, &str, Vec<u32>) -> ValueId;

/// Appends a resize. A magnification beyond the target's is cut into parts of which each computes every n-th row and column: the
/// positions and weights stay those of the whole.
fn push_parts<'c, 'a>(at: &mut At<'c, 'a>, whole: &Resize, temporary: Temporary<'c, 'a>) {
    let most = at.max_magnification();
    let (y_parts, x_parts) = (parts(&whole.vertical, most), parts(&whole.horizontal, most));
    if let ([_], [_]) = (y_parts.as_slice(), x_parts.as_slice()) {
        at.push(0, Work::Resize(whole.clone()));
        return;
    }
    for (y, vertical) in (0_u32..).zip(&y_parts) {
        for (x, horizontal) in (0_u32..).zip(&x_parts) {
            let part = Resize { vertical: *vertical, horizontal: *horizontal, ..whole.clone() };
            scattered(at, part, temporary, [(y, small(y_parts.len())), (x, small(x_parts.len()))]);
        }
    }
}

/// Every n-th position by itself, n being the least with which the magnification of each part is at most `most`.
fn parts(whole: &Sampling, most: u32) -> Vec<Sampling> {
    let least = (1_u32 << RESIZE_FRACTION) / most.max(1);
    let count = least.div_ceil(whole.step.max(1)).clamp(1, whole.output);
    let step = whole.step.saturating_mul(count);
    let origin = |first: u32| whole.origin.saturating_add_unsigned(first.saturating_mul(whole.step));
    let part =
        |first: u32| Sampling { output: (whole.output - first).div_ceil(count), origin: origin(first), step, ..*whole };
    (0..count).map(part).collect()
}

/// Appends a resize to a value of its own, whose rows and columns then go to every `apart`-th from `first` on.
fn scattered<'c, 'a>(
    at: &mut At<'c, 'a>,
    part: Resize,
    temporary: Temporary<'c, 'a>,
    [(first_y, apart_y), (first_x, apart_x)]: [(u32, u32); 2],
) {
    let Resize { batch, channels, output, .. } = part;
    let (rows, columns) = (part.vertical.output, part.horizontal.output);
    let shape = vec![batch, rows, columns, channels];
    let (to, from) = (steps(&extents(at.output())), steps(&shape));
    let value = temporary(at, &format!("part {first_y},{first_x}"), shape);
    at.push(0, Work::Resize(Resize { output: value, ..part }));
    let places = [
        Stride { count: batch, from: from[0], to: to[0] },
        Stride { count: rows, from: from[1], to: to[1] * apart_y },
        Stride { count: columns, from: from[2], to: to[2] * apart_x },
        Stride { count: channels, from: 1, to: 1 },
    ];
    let transfer = copy(value, output, &places);
    at.transfer(Transfer { offset: first_y * to[1] + first_x * to[2], ..transfer });
}

/// The one sample of an axis is everywhere, whatever the step.
fn sampling(input: u32, output: u32, grid: Grid) -> Result<Sampling, Rule> {
    if input == 1 {
        return Ok(Sampling { input, output, origin: 0, step: 1 << RESIZE_FRACTION });
    }
    let step = resize_step(input, output, grid == Grid::AlignCorners)?;
    let origin = if grid == Grid::HalfPixel { half_pixel_origin(step) } else { 0 };
    Ok(Sampling { input, output, origin, step })
}

pub(super) fn arg_max(at: &mut At<'_, '_>, op: &ArgExtremum) -> Result<(), Rule> {
    if is_for_host(at, op)? {
        host::arg_extremum(at, HostOperator::ArgMax { axis: small(op.axis) });
        return Ok(());
    }
    let input = last_axis(at, op);
    index_of_largest(at, op, input);
    Ok(())
}

/// The smallest x has the largest -1 - x.
pub(super) fn arg_min(at: &mut At<'_, '_>, op: &ArgExtremum) -> Result<(), Rule> {
    if is_for_host(at, op)? || at.input(0).element == ElementType::I16 {
        host::arg_extremum(at, HostOperator::ArgMin { axis: small(op.axis) });
        return Ok(());
    }
    let input = last_axis(at, op);
    let elements = extents(at.input(0)).iter().product();
    let output = at.temporary("complement", vec![elements]);
    let mut entries = Box::new([0; 256]);
    for (entry, x) in entries.iter_mut().zip(i8::MIN..=i8::MAX) {
        *entry = !x;
    }
    let operand = EltwiseInput { value: input, steps: vec![0, 0, 1], zero: 0, stage: OutputStage::NONE };
    let work = Eltwise {
        function: EltwiseFunction::Pass,
        pre_shift: 0,
        inputs: vec![operand],
        output,
        extents: vec![1, 1, elements],
        stage: OutputStage::NONE,
        activation: Activation::full_range(0, DeviceType::Int8),
        table: Some(Table::Bytes(entries)),
    };
    at.push(0, Work::Eltwise(work));
    index_of_largest(at, op, output);
    Ok(())
}

/// Whether the search is beyond the machine: over too many elements, or with indices of 64 bits.
fn is_for_host(at: &At<'_, '_>, op: &ArgExtremum) -> Result<bool, Rule> {
    at.device_input()?;
    let [_, count, _] = around(at, op);
    match at.output().element {
        ElementType::I32 => Ok(count > at.max_argmax_channels()),
        ElementType::I64 => Ok(true),
        found => {
            let tensor = at.output().name.clone();
            Err(Rule::Element { what: "output", tensor, found, want: "int32 or int64" })
        }
    }
}

/// The input with the axis behind all others.
fn last_axis(at: &mut At<'_, '_>, op: &ArgExtremum) -> ValueId {
    let [outer, count, inner] = around(at, op);
    if inner == 1 {
        return at.input_id(0);
    }
    let moved = at.temporary("axis last", vec![outer, inner, count]);
    let loops = [
        Stride { count: outer, from: count * inner, to: count * inner },
        Stride { count: inner, from: 1, to: count },
        Stride { count, from: inner, to: 1 },
    ];
    let transfer = copy(at.input_id(0), moved, &loops);
    at.transfer(transfer);
    moved
}

/// Elements in front of the axis, along it, and behind it.
fn around(at: &At<'_, '_>, op: &ArgExtremum) -> [u32; 3] {
    let extents = extents(at.input(0));
    [extents[..op.axis].iter().product(), extents[op.axis], extents[op.axis + 1..].iter().product()]
}

/// Finds the indices, as int32.
fn index_of_largest(at: &mut At<'_, '_>, op: &ArgExtremum, input: ValueId) {
    let [outer, channels, inner] = around(at, op);
    let (output, pixels) = (at.output_id(), outer * inner);
    at.push(0, Work::ArgMax(ArgMax { input, output, pixels, channels }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_every_nth_position_and_keep_to_the_magnification() {
        for (input, output, most) in [(4, 64, 5), (4, 20, 5), (3, 50, 5), (2, 3, 1), (1, 9, 5), (16, 256, 4)] {
            for grid in [Grid::Asymmetric, Grid::AlignCorners, Grid::HalfPixel] {
                let whole = sampling(input, output, grid).unwrap();
                let parts = parts(&whole, most);
                let step = i64::from(whole.step);
                for k in 0..output {
                    let count = small(parts.len());
                    let part = parts[crate::size::index(k % count)];
                    let found = i64::from(part.origin) + i64::from(k / count) * i64::from(part.step);
                    assert_eq!(found, i64::from(whole.origin) + i64::from(k) * step, "{k} of {whole:?}");
                    assert!(k / count < part.output && part.step >= (1 << RESIZE_FRACTION) / most);
                }
                assert_eq!(parts.iter().map(|part| part.output).sum::<u32>(), output);
            }
        }
    }
}
