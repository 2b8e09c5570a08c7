//! `REDUCE`, block by block.

use std::num::NonZeroU32;
use std::ops::Range;

use cnnip_isa::ReduceFunction;
use cnnip_isa::operation::Reduce;
use cnnip_numerics::average;

use super::element::{at, coordinates, position, read, read_spill, write, write_spill};
use super::scales::of_stage;
use crate::FaultCause;

/// Start values of the block's accumulators.
pub(super) fn start(reduce: &Reduce, channels: Range<u32>, sram: &[u8], acc: &mut Vec<i64>) {
    acc.clear();
    acc.extend(channels.map(|channel| match reduce.function {
        ReduceFunction::Sum => {
            reduce.accumulators.load.map_or(0, |address| read_spill(sram, address, u64::from(channel)))
        }
        ReduceFunction::Min => i64::MAX,
        ReduceFunction::Max => i64::MIN,
    }));
}

/// Takes in the pixels (elements, when the channels are reduced too) of `part`.
pub(super) fn step(reduce: &Reduce, channels: Range<u32>, part: Range<u64>, sram: &[u8], acc: &mut [i64]) {
    let width = u64::from(reduce.input.width);
    for index in part {
        for (channel, acc) in channels.clone().zip(acc.iter_mut()) {
            let [row, column, channel] = if reduce.channels {
                coordinates(&reduce.input, index)
            } else {
                let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
                [small(index / width), small(index % width), channel]
            };
            let x = i64::from(read(sram, position(&reduce.input, row, column, channel), reduce.input.element));
            *acc = match reduce.function {
                ReduceFunction::Sum => acc.wrapping_add(x - i64::from(reduce.input_zero)),
                ReduceFunction::Min => (*acc).min(x),
                ReduceFunction::Max => (*acc).max(x),
            };
        }
    }
}

/// Writes the block's results.
pub(super) fn retire(reduce: &Reduce, channels: Range<u32>, sram: &mut [u8], acc: &[i64]) -> Result<(), FaultCause> {
    if let Some(address) = reduce.accumulators.store {
        for (channel, &value) in channels.zip(acc) {
            write_spill(sram, address, u64::from(channel), value);
        }
        return Ok(());
    }
    let results: Vec<i32> =
        channels.clone().zip(acc).map(|(c, &value)| finish(reduce, c, value)).collect::<Result<_, _>>()?;
    let element = reduce.output.element;
    for (channel, value) in channels.zip(results) {
        let offset = u64::from(channel) * u64::try_from(element.bytes()).unwrap_or(0);
        write(sram, at(reduce.output.address, offset), element, value);
    }
    Ok(())
}

fn finish(reduce: &Reduce, channel: u32, value: i64) -> Result<i32, FaultCause> {
    let output = &reduce.output;
    let activation = &output.activation;
    let clamp = |value| cnnip_numerics::finish(value, activation.zero, activation.min, activation.max);
    if reduce.function != ReduceFunction::Sum {
        return Ok(clamp(value));
    }
    let scale = of_stage(&output.stage).map_err(|why| FaultCause::Scale { channel: None, why })?;
    let value = scale.accumulator().check(value).map_err(|error| super::overflow(error, [0, 0, channel]))?;
    match NonZeroU32::new(output.divisor) {
        Some(divisor) if output.divisor > 1 => Ok(clamp(average::divide(scale.apply(value), divisor))),
        _ => Ok(scale.finish(value, activation.zero, activation.min, activation.max)),
    }
}
