//! `POOL_MAX` and `POOL_AVERAGE`, block by block.

use std::num::NonZeroU32;
use std::ops::Range;

use cnnip_isa::RoundingMode;
use cnnip_isa::operation::{Pool, PoolKind, Window};
use cnnip_numerics::average;
use cnnip_timing::ArrayBlock;

use super::element::{position, read, write};
use super::outputs;
use super::scales::of_stage;
use crate::FaultCause;

/// Start values: nothing seen, or zero.
pub(super) fn start(pool: &Pool, block: &ArrayBlock, acc: &mut Vec<i64>) {
    let start = if pool.kind == PoolKind::Max { i64::MIN } else { 0 };
    acc.clear();
    acc.extend(outputs(block).map(|_| start));
}

/// Takes in the window positions `taps`.
pub(super) fn step(pool: &Pool, block: &ArrayBlock, taps: Range<u32>, sram: &[u8], acc: &mut [i64]) {
    for tap in taps {
        let tap = [tap / pool.window.kernel_w, tap % pool.window.kernel_w];
        for (column, acc) in block.columns.clone().zip(acc.chunks_exact_mut(block.channels.len())) {
            let Some([row, column]) = input_pixel(pool, block.row, column, tap) else { continue };
            for (channel, acc) in block.channels.clone().zip(acc) {
                let value = read(sram, position(&pool.input, row, column, channel), pool.input.element);
                *acc = match pool.kind {
                    PoolKind::Max => (*acc).max(i64::from(value)),
                    PoolKind::Average { input_zero, .. } => *acc + i64::from(value - input_zero),
                };
            }
        }
    }
}

/// Row and column under a tap, or `None` in the padding.
fn input_pixel(pool: &Pool, row: u32, column: u32, [ky, kx]: [u32; 2]) -> Option<[u32; 2]> {
    let (window, input) = (&pool.window, &pool.input);
    let row = (row * window.stride_y + ky).checked_sub(window.top)?;
    let column = (column * window.stride_x + kx).checked_sub(window.left)?;
    (row < input.height && column < input.width).then_some([row, column])
}

/// Writes the block's results.
pub(super) fn retire(pool: &Pool, block: &ArrayBlock, sram: &mut [u8], acc: &[i64]) -> Result<(), FaultCause> {
    let results: Vec<i32> = outputs(block)
        .zip(acc)
        .map(|((column, channel), &value)| finish(pool, [block.row, column, channel], value))
        .collect::<Result<_, _>>()?;
    for ((column, channel), value) in outputs(block).zip(results) {
        write(sram, position(&pool.output, block.row, column, channel), pool.output.element, value);
    }
    Ok(())
}

fn finish(pool: &Pool, place: [u32; 3], value: i64) -> Result<i32, FaultCause> {
    let activation = &pool.activation;
    let clamp = |value| cnnip_numerics::finish(value, activation.zero, activation.min, activation.max);
    match &pool.kind {
        PoolKind::Max => Ok(clamp(value)),
        PoolKind::Average { count_pad, stage, .. } if stage.mode == RoundingMode::None => {
            Ok(clamp(average::divide(value, count(pool, place, *count_pad))))
        }
        PoolKind::Average { stage, .. } => {
            let scale = of_stage(stage).map_err(|why| FaultCause::Scale { channel: None, why })?;
            let value = scale.accumulator().check(value).map_err(|error| super::overflow(error, place))?;
            Ok(scale.finish(value, activation.zero, activation.min, activation.max))
        }
    }
}

/// What the sum of an output is divided by; `Operation::read` refuses empty windows.
fn count(pool: &Pool, [row, column, _]: [u32; 3], count_pad: bool) -> NonZeroU32 {
    let (w, input) = (&pool.window, &pool.input);
    let length = |range: Range<u32>| range.end - range.start;
    let rows = length(Window::covered(row, w.stride_y, w.kernel_h, w.top, input.height));
    let columns = length(Window::covered(column, w.stride_x, w.kernel_w, w.left, input.width));
    let count = if count_pad { w.taps() } else { rows * columns };
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}
