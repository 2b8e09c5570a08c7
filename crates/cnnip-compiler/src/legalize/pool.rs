//! Maximum and average pools.

use cnnip_graph::Pool2d;

use super::context::{At, nhwc, range, signed_zero};
use super::product::sweep;
use crate::error::Rule;
use cnnip_lowered::{Pool, PoolFunction, Sweep, Work};

/// Scales nearer than this count as equal, as the oracle has it.
const SCALE_TOLERANCE: f32 = 1e-6;

pub(super) fn max(at: &mut At<'_, '_>, pool: &Pool2d) -> Result<(), Rule> {
    legalize(at, pool, PoolFunction::Max)
}

/// The average divides raw integers, zero point and all: those of the model's type.
pub(super) fn average(at: &mut At<'_, '_>, pool: &Pool2d) -> Result<(), Rule> {
    legalize(at, pool, PoolFunction::Average)
}

fn legalize(at: &mut At<'_, '_>, pool: &Pool2d, function: PoolFunction) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    if (input.scale - output.scale).abs() > SCALE_TOLERANCE || input.zero != output.zero {
        return Err(Rule::DifferentQuantization {
            input: input.scale,
            input_zero: input.zero,
            output: output.scale,
            output_zero: output.zero,
        });
    }
    let [batch, rows, columns, channels] = nhwc(at.input(0));
    let [_, out_rows, out_columns, _] = nhwc(at.output());
    let vertical = sweep(rows, out_rows, pool.window.h, pool.stride.h, 1, pool.padding.top);
    let horizontal = sweep(columns, out_columns, pool.window.w, pool.stride.w, 1, pool.padding.left);
    check_windows(&vertical)?;
    check_windows(&horizontal)?;
    let clamp = range(pool.activation, output);
    let zero = if function == PoolFunction::Average { signed_zero(at.output().element, 0) } else { 0 };
    let (input, output) = (at.input_id(0), at.output_id());
    at.push(0, Work::Pool(Pool { function, input, output, batch, channels, vertical, horizontal, zero, clamp }));
    Ok(())
}

/// No window may lie in the padding altogether.
fn check_windows(sweep: &Sweep) -> Result<(), Rule> {
    let empty = |index: u32| {
        let start = sweep.start(index);
        start + i64::from(sweep.kernel) <= 0 || start >= i64::from(sweep.input)
    };
    match [0, sweep.output - 1].into_iter().find(|&index| empty(index)) {
        Some(output) => Err(Rule::EmptyWindow { output, input: sweep.input }),
        None => Ok(()),
    }
}
