//! `ELTWISE` and `TABLE`.

use cnnip_isa::operation::{Eltwise, FeatureMap, Lookup, Stage, TableScale};
use cnnip_isa::{ElementType, EltwiseFunction, Target};

use super::memory::Write;
use super::{Memory, Place, TooWide, Work, scale, size};

/// Elements in memory order, a vector at a time.
pub(super) fn vectors(output: &FeatureMap, target: &Target) -> Vec<Vec<Place>> {
    let mut places = Vec::new();
    for row in 0..output.height {
        for column in 0..output.width {
            places.extend((0..output.channels).map(|channel| [row, column, channel]));
        }
    }
    places.chunks(size(target.vector_elements)).map(<[Place]>::to_vec).collect()
}

pub(super) fn vector_step(input: ElementType) -> u64 {
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
        if self.function == EltwiseFunction::Affine {
            return Ok(Write::element(&self.output, place, affine(self, place, memory)));
        }
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

/// The sum of two scaled inputs, each step in binary32.
fn affine(op: &Eltwise, place: Place, memory: &Memory) -> i128 {
    let [first, second] = [Some(&op.first), op.second.as_ref()].map(|stage| {
        stage.map_or((0, 0.0), |stage| {
            let difference = element(stage, place, memory) - i128::from(stage.zero);
            (difference, f32::from_bits(stage.scale.multiplier))
        })
    });
    let sum = scale::fused(second, f32::from_bits(op.stage.multiplier));
    let value = scale::clamp(&op.activation, scale::even(scale::fused(first, sum)) + i128::from(op.activation.zero));
    op.activation.table.map_or(value, |table| memory.look_up(table, value))
}

/// The element an input has for an output.
fn element(stage: &Stage, [row, column, channel]: Place, memory: &Memory) -> i128 {
    memory.element(&stage.map, [row, column, if stage.broadcast { 0 } else { channel }])
}

/// An input after its stage.
fn input(stage: &Stage, pre_shift: u32, place: Place, memory: &Memory) -> Result<i128, TooWide> {
    let x = element(stage, place, memory);
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
        let x = memory.element(&self.input, place);
        let value = match self.scale {
            Some(TableScale { multiplier, shift }) => {
                let twice = (x * i128::from(multiplier) * 2).div_euclid(1 << shift);
                memory.look_up_half(self.table, (twice + 1).div_euclid(2))
            }
            None => memory.look_up(self.table, x),
        };
        Ok(Write::element(&self.output, place, value))
    }
}
