//! `ELTWISE` and `TABLE`, block by block.

use std::ops::Range;

use cnnip_isa::EltwiseFunction;
use cnnip_isa::operation::{Eltwise, Lookup, Stage};
use cnnip_numerics::eltwise::{Affine, Function, Input, Output};
use cnnip_numerics::{AccumulatorOverflow, IllegalParameter, Scale};

use super::element::{coordinates, look_up, look_up_half, position, read, write};
use super::scales::of_stage;
use crate::FaultCause;

/// The arithmetic's name for a function of the encoding; `None` for `affine`, which has no stages.
pub(super) fn function(function: EltwiseFunction) -> Option<Function> {
    match function {
        EltwiseFunction::Add => Some(Function::Add),
        EltwiseFunction::Sub => Some(Function::Sub),
        EltwiseFunction::Mul => Some(Function::Mul),
        EltwiseFunction::Min => Some(Function::Min),
        EltwiseFunction::Max => Some(Function::Max),
        EltwiseFunction::Pass => Some(Function::Pass),
        EltwiseFunction::Affine => None,
    }
}

fn input(stage: &Stage) -> Result<Input, IllegalParameter> {
    Ok(Input { zero_point: stage.zero, scale: of_stage(&stage.scale)? })
}

/// What an operation computes from two elements.
enum Arithmetic {
    Staged(cnnip_numerics::Eltwise),
    Affine(Affine),
}

impl Arithmetic {
    fn of(op: &Eltwise) -> Result<Self, IllegalParameter> {
        function(op.function)
            .map_or_else(|| Ok(Self::Affine(affine(op))), |function| staged(op, function).map(Self::Staged))
    }

    fn apply(&self, a: i32, b: i32) -> Result<i32, AccumulatorOverflow> {
        match self {
            Self::Staged(staged) => staged.apply(a, b),
            Self::Affine(affine) => Ok(affine.apply(a, b)),
        }
    }
}

/// The numbers of `affine`.
fn affine(op: &Eltwise) -> Affine {
    let factor = |stage: &Stage| f32::from_bits(stage.scale.multiplier);
    let second = op.second.as_ref();
    Affine {
        scales: [factor(&op.first), second.map_or(0.0, factor)],
        zero_points: [op.first.zero, second.map_or(0, |second| second.zero)],
        offset: f32::from_bits(op.stage.multiplier),
        zero_point: op.activation.zero,
        min: op.activation.min,
        max: op.activation.max,
    }
}

fn staged(op: &Eltwise, function: Function) -> Result<cnnip_numerics::Eltwise, IllegalParameter> {
    let unused = Input { zero_point: 0, scale: Scale::NONE };
    let second = op.second.as_ref().map_or(Ok(unused), input)?;
    let activation = &op.activation;
    let output =
        Output { scale: of_stage(&op.stage)?, zero_point: activation.zero, min: activation.min, max: activation.max };
    cnnip_numerics::Eltwise::new(function, op.pre_shift, input(&op.first)?, second, output)
}

fn operand(stage: &Stage, [row, column, channel]: [u32; 3], sram: &[u8]) -> i32 {
    let channel = if stage.broadcast { 0 } else { channel };
    read(sram, position(&stage.map, row, column, channel), stage.map.element)
}

/// Computes and writes the output elements `block`.
pub(super) fn retire(op: &Eltwise, block: Range<u64>, sram: &mut [u8]) -> Result<(), FaultCause> {
    let arithmetic = Arithmetic::of(op).map_err(|why| FaultCause::Scale { channel: None, why })?;
    let results: Vec<i32> = block
        .clone()
        .map(|index| {
            let place = coordinates(&op.output, index);
            let a = operand(&op.first, place, sram);
            let b = op.second.as_ref().map_or(0, |second| operand(second, place, sram));
            let value = arithmetic.apply(a, b).map_err(|error| super::overflow(error, place))?;
            Ok(op.activation.table.map_or(value, |table| look_up(sram, table, value)))
        })
        .collect::<Result<_, FaultCause>>()?;
    for (index, value) in block.zip(results) {
        let [row, column, channel] = coordinates(&op.output, index);
        write(sram, position(&op.output, row, column, channel), op.output.element, value);
    }
    Ok(())
}

/// Looks up and writes the output elements `block`.
pub(super) fn retire_lookup(op: &Lookup, block: Range<u64>, sram: &mut [u8]) {
    for index in block {
        let [row, column, channel] = coordinates(&op.output, index);
        let value = read(sram, position(&op.input, row, column, channel), op.input.element);
        let result = match op.scale {
            Some(scale) => look_up_half(sram, op.table, scale, value),
            None => look_up(sram, op.table, value),
        };
        write(sram, position(&op.output, row, column, channel), op.output.element, result);
    }
}
