//! `REDUCE`.

use cnnip_isa::operation::{FeatureMap, Reduce, ReduceOutput};
use cnnip_isa::{ReduceFunction, Target};

use super::memory::Write;
use super::{Memory, Place, TooWide, Work, array_step, scale, size, small};

impl Work for Reduce {
    fn blocks(&self, target: &Target) -> Vec<Vec<Place>> {
        let channels = if self.channels { 1 } else { self.input.channels };
        let places: Vec<Place> = (0..channels).map(|channel| [0, 0, channel]).collect();
        places.chunks(size(target.mac_channels)).map(<[Place]>::to_vec).collect()
    }

    fn depth(&self, target: &Target) -> (u64, u64) {
        let pixels = u64::from(self.input.height) * u64::from(self.input.width);
        let elements = if self.channels { pixels * u64::from(self.input.channels) } else { pixels };
        (elements, u64::from(target.mac_pixels))
    }

    fn step_cycles(&self, target: &Target) -> u64 {
        array_step(self.input.element, target)
    }

    fn start(&self, [.., channel]: Place, memory: &Memory) -> i128 {
        let load = self.accumulators.load;
        match self.function {
            ReduceFunction::Sum => load.map_or(0, |base| memory.signed(u64::from(base) + 8 * u64::from(channel), 8)),
            ReduceFunction::Min => i128::from(i64::MAX),
            ReduceFunction::Max => i128::from(i64::MIN),
        }
    }

    fn take(&self, [.., channel]: Place, index: u64, memory: &Memory, acc: i128) -> i128 {
        let channels = u64::from(self.input.channels);
        let (pixel, channel) =
            if self.channels { (index / channels, small(index % channels)) } else { (index, channel) };
        let width = u64::from(self.input.width);
        let x = memory.element(&self.input, [small(pixel / width), small(pixel % width), channel]);
        match self.function {
            ReduceFunction::Sum => acc + x - i128::from(self.input_zero),
            ReduceFunction::Min => acc.min(x),
            ReduceFunction::Max => acc.max(x),
        }
    }

    fn retire(&self, place: Place, acc: i128, memory: &Memory) -> Result<Write, TooWide> {
        if let Some(base) = self.accumulators.store {
            return Ok(Write::spill(base, u64::from(place[2]), acc));
        }
        let value = match self.function {
            ReduceFunction::Sum => sum(&self.output, acc, memory)?,
            ReduceFunction::Min | ReduceFunction::Max => scale::clamp(&self.output.activation, acc),
        };
        Ok(Write::element(&pixel(&self.output), place, value))
    }
}

fn sum(output: &ReduceOutput, acc: i128, memory: &Memory) -> Result<i128, TooWide> {
    if output.divisor == 1 {
        return scale::finish(&output.stage, &output.activation, acc, memory);
    }
    let scaled = scale::halves_away(scale::scaled(&output.stage, acc)?, i128::from(output.divisor));
    Ok(scale::clamp(&output.activation, scaled + i128::from(output.activation.zero)))
}

/// The one output pixel as a map.
fn pixel(output: &ReduceOutput) -> FeatureMap {
    let (address, element) = (output.address, output.element);
    FeatureMap { address, width: 1, height: 1, channels: 0, row: 0, pixel: 0, element }
}
