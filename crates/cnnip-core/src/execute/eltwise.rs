//! `ELTWISE` and `TABLE`, block by block.

use std::ops::Range;

use cnnip_isa::EltwiseFunction;
use cnnip_isa::operation::{Eltwise, Lookup, Stage};
use cnnip_numerics::eltwise::{Function, Input, Output};
use cnnip_numerics::{IllegalParameter, Scale};

use super::element::{coordinates, look_up, position, read, write};
use super::scales::of_stage;
use crate::FaultCause;

/// The arithmetic's name for a function of the encoding.
pub(super) fn function(function: EltwiseFunction) -> Function {
    match function {
        EltwiseFunction::Add => Function::Add,
        EltwiseFunction::Sub => Function::Sub,
        EltwiseFunction::Mul => Function::Mul,
        EltwiseFunction::Min => Function::Min,
        EltwiseFunction::Max => Function::Max,
        // `Operation::read` refuses `affine`.
        EltwiseFunction::Pass | EltwiseFunction::Affine => Function::Pass,
    }
}

fn input(stage: &Stage) -> Result<Input, IllegalParameter> {
    Ok(Input { zero_point: stage.zero, scale: of_stage(&stage.scale)? })
}

/// The operation's arithmetic.
pub(super) fn arithmetic(op: &Eltwise) -> Result<cnnip_numerics::Eltwise, IllegalParameter> {
    let unused = Input { zero_point: 0, scale: Scale::NONE };
    let second = op.second.as_ref().map_or(Ok(unused), input)?;
    let activation = &op.activation;
    let output =
        Output { scale: of_stage(&op.stage)?, zero_point: activation.zero, min: activation.min, max: activation.max };
    cnnip_numerics::Eltwise::new(function(op.function), op.pre_shift, input(&op.first)?, second, output)
}

fn operand(stage: &Stage, [row, column, channel]: [u32; 3], sram: &[u8]) -> i32 {
    let channel = if stage.broadcast { 0 } else { channel };
    read(sram, position(&stage.map, row, column, channel), stage.map.element)
}

/// Computes and writes the output elements `block`.
pub(super) fn retire(op: &Eltwise, block: Range<u64>, sram: &mut [u8]) -> Result<(), FaultCause> {
    let arithmetic = arithmetic(op).map_err(|why| FaultCause::Scale { channel: None, why })?;
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
        let result = look_up(sram, op.table, value);
        write(sram, position(&op.output, row, column, channel), op.output.element, result);
    }
}
