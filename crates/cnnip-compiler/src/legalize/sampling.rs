//! Bilinear resize, and indices of extrema.

use cnnip_graph::{ArgExtremum, ElementType, Grid, ResizeBilinear};
use cnnip_isa::EltwiseFunction;
use cnnip_isa::operation::{Activation, OutputStage};
use cnnip_numerics::quantize::{RESIZE_FRACTION, half_pixel_origin, resize_step};

use super::context::{At, copy, extents, nhwc};
use crate::error::Rule;
use cnnip_lowered::{ArgMax, Eltwise, EltwiseInput, Resize, Sampling, Stride, Table, ValueId, Work};

/// By TFLite's integer kernels: positions of 10 fraction bits.
pub(super) fn resize_bilinear(at: &mut At<'_, '_>, op: &ResizeBilinear) -> Result<(), Rule> {
    at.moves()?;
    let [batch, rows, columns, channels] = nhwc(at.input(0));
    let [_, out_rows, out_columns, _] = nhwc(at.output());
    let resize = Resize {
        input: at.input_id(0),
        output: at.output_id(),
        batch,
        channels,
        fraction: RESIZE_FRACTION,
        vertical: sampling(rows, out_rows, op.grid)?,
        horizontal: sampling(columns, out_columns, op.grid)?,
    };
    at.push(0, Work::Resize(resize));
    Ok(())
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
    let input = last_axis(at, op)?;
    index_of_largest(at, op, input)
}

/// The smallest x has the largest -1 - x.
pub(super) fn arg_min(at: &mut At<'_, '_>, op: &ArgExtremum) -> Result<(), Rule> {
    let tensor = at.input(0);
    if !matches!(tensor.element, ElementType::I8 | ElementType::U8) {
        let (tensor, found) = (tensor.name.clone(), tensor.element);
        return Err(Rule::Element { what: "input", tensor, found, want: "int8 or uint8" });
    }
    let input = last_axis(at, op)?;
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
        activation: Activation::full_range(0, cnnip_isa::ElementType::Int8),
        table: Some(Table::Bytes(entries)),
    };
    at.push(0, Work::Eltwise(work));
    index_of_largest(at, op, output)
}

/// The input with the axis behind all others.
fn last_axis(at: &mut At<'_, '_>, op: &ArgExtremum) -> Result<ValueId, Rule> {
    at.device_input()?;
    let [outer, count, inner] = around(at, op);
    if inner == 1 {
        return Ok(at.input_id(0));
    }
    let moved = at.temporary("axis last", vec![outer, inner, count]);
    let loops = [
        Stride { count: outer, from: count * inner, to: count * inner },
        Stride { count: inner, from: 1, to: count },
        Stride { count, from: inner, to: 1 },
    ];
    let transfer = copy(at.input_id(0), moved, &loops);
    at.transfer(transfer);
    Ok(moved)
}

/// Elements in front of the axis, along it, and behind it.
fn around(at: &At<'_, '_>, op: &ArgExtremum) -> [u32; 3] {
    let extents = extents(at.input(0));
    [extents[..op.axis].iter().product(), extents[op.axis], extents[op.axis + 1..].iter().product()]
}

/// Finds the indices, as int32.
fn index_of_largest(at: &mut At<'_, '_>, op: &ArgExtremum, input: ValueId) -> Result<(), Rule> {
    let [outer, channels, inner] = around(at, op);
    let (output, pixels) = (at.output_id(), outer * inner);
    if at.output().element != ElementType::I32 {
        let (tensor, found) = (at.output().name.clone(), at.output().element);
        return Err(Rule::Element { what: "output", tensor, found, want: "int32" });
    }
    at.push(0, Work::ArgMax(ArgMax { input, output, pixels, channels }));
    Ok(())
}
