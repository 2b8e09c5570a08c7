//! `ELTWISE` and `TABLE`, block by block.

use std::ops::Range;

use cnnip_isa::EltwiseFunction;
use cnnip_isa::operation::{Eltwise, Lookup, Stage};
use cnnip_numerics::eltwise::{Function, Input, Output, affine};
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
            .map_or_else(|| Ok(Self::Affine(Affine::of(op))), |function| staged(op, function).map(Self::Staged))
    }

    fn apply(&self, a: i32, b: i32) -> Result<i32, AccumulatorOverflow> {
        match self {
            Self::Staged(staged) => staged.apply(a, b),
            Self::Affine(affine) => Ok(affine.apply(a, b)),
        }
    }
}

/// The factors of `affine`, its constant and clamp.
struct Affine {
    first: f32,
    second: f32,
    constant: f32,
    min: i32,
    max: i32,
}

impl Affine {
    fn of(op: &Eltwise) -> Self {
        Self {
            first: f32::from_bits(op.first.scale.multiplier),
            second: f32::from_bits(op.second.as_ref().map_or(0, |second| second.scale.multiplier)),
            constant: f32::from_bits(op.stage.multiplier),
            min: op.activation.min,
            max: op.activation.max,
        }
    }

    fn apply(&self, a: i32, b: i32) -> i32 {
        // Elements of 8 bits.
        let [a, b] = [a, b].map(|x| i16::try_from(x).unwrap_or(i16::MAX));
        affine(a, self.first, b, self.second, self.constant, self.min, self.max)
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
