//! `ELTWISE` and `TABLE`.

use cnnip_isa::operation::{Eltwise, FeatureMap, Lookup, Stage};
use cnnip_isa::{ElementType, EltwiseFunction, Target};

use super::memory::Write;
use super::{Memory, Place, TooWide, Work, scale, size};

/// Elements in memory order, a vector at a time.
fn vectors(output: &FeatureMap, target: &Target) -> Vec<Vec<Place>> {
    let mut places = Vec::new();
    for row in 0..output.height {
        for column in 0..output.width {
            places.extend((0..output.channels).map(|channel| [row, column, channel]));
        }
    }
    places.chunks(size(target.vector_elements)).map(<[Place]>::to_vec).collect()
}

fn vector_step(input: ElementType) -> u64 {
    if input == ElementType::Int16 { 2 } else { 1 }
}

impl Work for Eltwise {
    fn blocks(&self, target: &Target) -> Vec<Vec<Place>> {
        vectors(&self.output, target)
    }

    fn depth(&self, _target: &Target) -> (u64, u64) {
        (1, 1)
    }

    fn step_cycles(&self, _target: &Target) -> u64 {
        vector_step(self.first.map.element)
    }

    fn start(&self, _place: Place, _memory: &Memory) -> i128 {
        0
    }

    fn take(&self, _place: Place, _index: u64, _memory: &Memory, acc: i128) -> i128 {
        acc
    }

    fn retire(&self, place: Place, _acc: i128, memory: &Memory) -> Result<Write, TooWide> {
        let a = input(&self.first, self.pre_shift, place, memory)?;
        let b = self.second.as_ref().map_or(Ok(0), |second| input(second, self.pre_shift, place, memory))?;
        let value = match self.function {
            EltwiseFunction::Add => a + b,
            EltwiseFunction::Sub => a - b,
            EltwiseFunction::Mul => a * b,
            EltwiseFunction::Min => a.min(b),
            EltwiseFunction::Max => a.max(b),
            EltwiseFunction::Pass | EltwiseFunction::Affine => a,
        };
        let value = scale::finish(&self.stage, &self.activation, value, memory)?;
        Ok(Write::element(&self.output, place, value))
    }
}

/// An input after its stage.
fn input(stage: &Stage, pre_shift: u32, [row, column, channel]: Place, memory: &Memory) -> Result<i128, TooWide> {
    let channel = if stage.broadcast { 0 } else { channel };
    let x = memory.element(&stage.map, [row, column, channel]);
    scale::scaled(&stage.scale, (x - i128::from(stage.zero)) << pre_shift)
}

impl Work for Lookup {
    fn blocks(&self, target: &Target) -> Vec<Vec<Place>> {
        vectors(&self.output, target)
    }

    fn depth(&self, _target: &Target) -> (u64, u64) {
        (1, 1)
    }

    fn step_cycles(&self, _target: &Target) -> u64 {
        vector_step(self.input.element)
    }

    fn start(&self, _place: Place, _memory: &Memory) -> i128 {
        0
    }

    fn take(&self, _place: Place, _index: u64, _memory: &Memory, acc: i128) -> i128 {
        acc
    }

    fn retire(&self, place: Place, _acc: i128, memory: &Memory) -> Result<Write, TooWide> {
        let value = memory.look_up(self.table, memory.element(&self.input, place));
        Ok(Write::element(&self.output, place, value))
    }
}
