//! Functions of two inputs, standalone activations, and requantization.

use cnnip_graph::Activation;
use cnnip_isa::operation::{Activation as Clamp, OutputStage};
use cnnip_isa::{ElementType, EltwiseFunction};
use cnnip_numerics::quantize::{
    QuantizedMultiplier, Ties, add_scales, product_scale, quantize, quantize_multiplier, requantize_scale,
};

use super::context::{Affine, At, clamp as clamp_of, extents, range, steps};
use crate::error::Rule;
use cnnip_lowered::{Eltwise, EltwiseInput, Table, ValueId, Work};

/// Left shift of the inputs of ADD and SUB for 8 and for 16 bit.
const ADD_SHIFTS: [u32; 2] = [20, 15];

pub(super) fn add(at: &mut At<'_, '_>, fused: Activation) -> Result<(), Rule> {
    sum(at, EltwiseFunction::Add, fused)
}

pub(super) fn sub(at: &mut At<'_, '_>, fused: Activation) -> Result<(), Rule> {
    sum(at, EltwiseFunction::Sub, fused)
}

/// A sum or difference of scaled inputs.
fn sum(at: &mut At<'_, '_>, function: EltwiseFunction, fused: Activation) -> Result<(), Rule> {
    let ([a, b], output) = at.alike()?;
    let pre_shift = ADD_SHIFTS[usize::from(output.is_wide())];
    check_add(a.scale, b.scale, output.scale, pre_shift)?;
    let scales = add_scales(a.scale, b.scale, output.scale, pre_shift)?;
    let layout = Layout::of(at);
    let operand = |index: usize, affine: Affine, scale| EltwiseInput {
        value: at.input_id(index),
        steps: layout.steps[index].clone(),
        zero: affine.zero,
        stage: at.stage(scale),
    };
    let work = Eltwise {
        function,
        pre_shift,
        inputs: vec![operand(0, a, scales.a), operand(1, b, scales.b)],
        output: at.output_id(),
        extents: layout.extents.clone(),
        stage: at.stage(scales.output),
        activation: clamp_of(fused, output),
        table: None,
    };
    at.push(0, Work::Eltwise(work));
    Ok(())
}

/// MUL: the product of the integers, scaled once.
pub(super) fn mul(at: &mut At<'_, '_>, fused: Activation) -> Result<(), Rule> {
    let ([a, b], output) = at.alike()?;
    let stage = at.stage(quantize_multiplier(product_scale(a.scale, b.scale, output.scale))?);
    unscaled(at, EltwiseFunction::Mul, [a.zero, b.zero], stage, clamp_of(fused, output));
    Ok(())
}

/// Left shift of the inputs of SQUARED_DIFFERENCE for 8 and for 16 bit.
const DIFFERENCE_SHIFTS: [u32; 2] = [7, 0];

/// SQUARED_DIFFERENCE: inputs scaled to twice the larger scale, their difference in 16 bits, its square scaled.
pub(super) fn squared_difference(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let ([a, b], output) = at.alike()?;
    let pre_shift = DIFFERENCE_SHIFTS[usize::from(output.is_wide())];
    let scales = add_scales(a.scale, b.scale, output.scale, pre_shift)?;
    let twice = 2.0 * f64::from(a.scale.max(b.scale));
    let ratio = twice * twice / (f64::from(1_u32 << (2 * pre_shift)) * f64::from(output.scale));
    let stage = at.stage(quantize_multiplier(ratio)?);
    let layout = Layout::of(at);
    let operand = |index, affine: Affine, scale| EltwiseInput {
        stage: at.stage(scale),
        ..layout.operand(index, at.input_id(index), affine.zero)
    };
    let inputs = vec![operand(0, a, scales.a), operand(1, b, scales.b)];
    let full = (OutputStage::NONE, Clamp::full_range(0, ElementType::Int16));
    let shape = extents(at.output());
    let wide = |at: &mut At<'_, '_>, name| at.temporary_wide(name, shape.clone());
    let mut difference = wide(at, "difference");
    let first = layout.eltwise(EltwiseFunction::Sub, inputs.clone(), difference, full);
    at.push(0, Work::Eltwise(Eltwise { pre_shift, ..first }));
    let dense = |value| dense(value, &layout.extents);
    if output.is_wide() {
        // A difference of 32768 does not fit 16 bits, its opposite does: the smaller of the two always fits.
        let [opposite, smaller] = ["opposite", "smaller"].map(|name| wide(at, name));
        let swapped = inputs.into_iter().rev().collect();
        at.push(0, Work::Eltwise(layout.eltwise(EltwiseFunction::Sub, swapped, opposite, full)));
        let both = vec![dense(difference), dense(opposite)];
        at.push(0, Work::Eltwise(layout.eltwise(EltwiseFunction::Min, both, smaller, full)));
        difference = smaller;
    }
    let square = vec![dense(difference), dense(difference)];
    let last = (stage, output.full_range());
    at.push(0, Work::Eltwise(layout.eltwise(EltwiseFunction::Mul, square, at.output_id(), last)));
    Ok(())
}

/// An element-wise layer without pre-shift and table.
pub(super) fn plain(
    function: EltwiseFunction,
    inputs: Vec<EltwiseInput>,
    (output, extents): (ValueId, Vec<u32>),
    (stage, activation): (OutputStage, Clamp),
) -> Eltwise {
    Eltwise { function, pre_shift: 0, inputs, output, extents, stage, activation, table: None }
}

/// An unscaled operand that lies as the output does.
pub(super) fn dense(value: ValueId, extents: &[u32]) -> EltwiseInput {
    EltwiseInput { value, steps: steps(extents), zero: 0, stage: OutputStage::NONE }
}

/// MAXIMUM and MINIMUM compare integers: all three quantizations are one.
pub(super) fn choose(at: &mut At<'_, '_>, function: EltwiseFunction) -> Result<(), Rule> {
    let output = at.activation_out()?;
    for index in 0..2 {
        at.same_quantization(index, output)?;
    }
    unscaled(at, function, [0, 0], OutputStage::NONE, Clamp::full_range(0, output.element));
    Ok(())
}

/// A function of both inputs less their zero points.
fn unscaled(at: &mut At<'_, '_>, function: EltwiseFunction, zeros: [i32; 2], stage: OutputStage, activation: Clamp) {
    let layout = Layout::of(at);
    let inputs = (0..2).zip(zeros).map(|(index, zero)| layout.operand(index, at.input_id(index), zero)).collect();
    let work = layout.eltwise(function, inputs, at.output_id(), (stage, activation));
    at.push(0, Work::Eltwise(work));
}

/// Beyond this a scaled difference of int8 values leaves 32 bits, and with it loses its sign.
const MOST_PRELU_RATIO: f64 = 4_194_304.0;

/// PRELU as a sum of its two branches, each of which is 0 where the other counts.
pub(super) fn prelu(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let (input, alpha, output) = (at.narrow_in(0)?, at.narrow_in(1)?, at.narrow_out()?);
    let ratio = requantize_scale(input.scale, output.scale);
    if ratio > MOST_PRELU_RATIO {
        return Err(Rule::ScaleRatio { ratio, least: 0.0, most: MOST_PRELU_RATIO });
    }
    let above = at.stage(quantize_multiplier(ratio)?);
    let below = at.stage(quantize_multiplier(product_scale(input.scale, alpha.scale, output.scale))?);
    let layout = Layout::of(at);
    let (x, slope) = (at.input_id(0), layout.operand(1, at.input_id(1), alpha.zero));
    let shape = extents(at.output());
    let [negative, branch, positive] = ["negative", "branch", "positive"].map(|name| at.temporary(name, shape.clone()));
    let of = |value, zero| layout.operand(0, value, zero);
    let full = |zero| Clamp::full_range(zero, output.element);
    let at_most_zero = (OutputStage::NONE, Clamp { max: input.zero, ..full(0) });
    let at_least_zero = (above, Clamp { min: output.zero, ..full(output.zero) });
    let sum = (OutputStage::NONE, full(0));
    let layers = [
        layout.eltwise(EltwiseFunction::Pass, vec![of(x, 0)], negative, at_most_zero),
        layout.eltwise(EltwiseFunction::Mul, vec![of(negative, input.zero), slope], branch, (below, full(output.zero))),
        layout.eltwise(EltwiseFunction::Pass, vec![of(x, input.zero)], positive, at_least_zero),
        layout.eltwise(EltwiseFunction::Add, vec![of(branch, output.zero), of(positive, 0)], at.output_id(), sum),
    ];
    layers.into_iter().for_each(|layer| at.push(0, Work::Eltwise(layer)));
    Ok(())
}

/// The output's multiplier must be below 1: the oracle refuses others.
fn check_add(a: f32, b: f32, output: f32, pre_shift: u32) -> Result<(), Rule> {
    let ratio = 2.0 * f64::from(a.max(b)) / (f64::from(1_u32 << pre_shift) * f64::from(output));
    if ratio < 1.0 { Ok(()) } else { Err(Rule::ScaleRatio { ratio, least: 0.0, most: 1.0 }) }
}

/// RELU: requantized, at least the output's zero point.
pub(super) fn relu(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let ([_], output) = at.alike()?;
    scaled(at, Clamp { min: output.zero, ..output.full_range() })
}

/// A clamp to real bounds: requantized, within the bounds' integers in the output's quantization, halves away from zero.
pub(super) fn bounded(at: &mut At<'_, '_>, min: f32, max: f32) -> Result<(), Rule> {
    let ([_], output) = at.alike()?;
    let full = output.full_range();
    let bound = |real: f32| quantize(real, output.scale, output.zero, output.limits(), Ties::Away);
    scaled(at, Clamp { min: bound(min), max: bound(max), ..full })
}

/// QUANTIZE between integers.
pub(super) fn requantize(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let output = at.activation_out()?;
    scaled(at, output.full_range())
}

fn scaled(at: &mut At<'_, '_>, activation: Clamp) -> Result<(), Rule> {
    let (input, output) = (at.activation_in(0)?, at.activation_out()?);
    let scale = quantize_multiplier(requantize_scale(input.scale, output.scale))?;
    let stage = at.stage(scale);
    pass(at, input.zero, stage, activation);
    Ok(())
}

/// RELU6 and RELU_N1_TO_1: a clamp in the input's quantization; the output's is not looked at.
pub(super) fn clamp(at: &mut At<'_, '_>, bounds: Activation) -> Result<(), Rule> {
    let ([input], _) = at.alike()?;
    let (min, max) = range(bounds, input);
    pass(at, 0, OutputStage::NONE, Clamp { zero: 0, min, max, table: None });
    Ok(())
}

fn pass(at: &mut At<'_, '_>, zero: i32, stage: OutputStage, activation: Clamp) {
    let layout = Layout::of(at);
    let input = layout.operand(0, at.input_id(0), zero);
    let work = layout.eltwise(EltwiseFunction::Pass, vec![input], at.output_id(), (stage, activation));
    at.push(0, Work::Eltwise(work));
}

/// A function of two branches of input 0, each with a scale of its own.
pub(super) fn branches(at: &mut At<'_, '_>, function: EltwiseFunction, scales: [QuantizedMultiplier; 2]) {
    let layout = Layout::of(at);
    let branch = |scale| EltwiseInput { stage: at.stage(scale), ..layout.operand(0, at.input_id(0), 0) };
    let activation = Clamp::full_range(0, ElementType::Int16);
    let inputs = scales.map(branch).to_vec();
    let work = layout.eltwise(function, inputs, at.output_id(), (OutputStage::NONE, activation));
    at.push(0, Work::Eltwise(work));
}

/// A table applied to every element.
pub(super) fn lookup(at: &mut At<'_, '_>, table: Table) {
    let layout = Layout::of(at);
    let input = layout.operand(0, at.input_id(0), 0);
    let plain = (OutputStage::NONE, Clamp { zero: 0, min: 0, max: 0, table: None });
    let work = layout.eltwise(EltwiseFunction::Pass, vec![input], at.output_id(), plain);
    at.push(0, Work::Eltwise(Eltwise { table: Some(table), ..work }));
}

/// The axes of an element-wise layer: neighbours that all inputs treat alike are one axis.
pub(super) struct Layout {
    pub(super) extents: Vec<u32>,
    /// Per input, elements from one index to the next.
    steps: Vec<Vec<u32>>,
}

impl Layout {
    pub(super) fn of(at: &At<'_, '_>) -> Self {
        let output = extents(at.output());
        let inputs = (0..2).filter_map(|index| at.optional(index));
        let steps = inputs.map(|input| broadcast_steps(&extents(input), &output)).collect();
        Self { extents: output, steps }.merged().at_least(3)
    }

    /// A value that is laid out as input `index`, less its zero point.
    pub(super) fn operand(&self, index: usize, value: ValueId, zero: i32) -> EltwiseInput {
        EltwiseInput { value, steps: self.steps[index].clone(), zero, stage: OutputStage::NONE }
    }

    /// A layer without pre-shift and table.
    pub(super) fn eltwise(
        &self,
        function: EltwiseFunction,
        inputs: Vec<EltwiseInput>,
        output: ValueId,
        stages: (OutputStage, Clamp),
    ) -> Eltwise {
        plain(function, inputs, (output, self.extents.clone()), stages)
    }

    /// Merges outer axes; the last one stays, as the channels.
    fn merged(mut self) -> Self {
        let mut axis = self.extents.len().saturating_sub(2);
        while axis > 0 {
            let next = self.extents[axis];
            let alike = |steps: &Vec<u32>| steps[axis - 1] == steps[axis].saturating_mul(next);
            if next == 1 || self.extents[axis - 1] == 1 || self.steps.iter().all(alike) {
                self.merge(axis);
            }
            axis -= 1;
        }
        self
    }

    /// Makes axes `axis - 1` and `axis` one.
    fn merge(&mut self, axis: usize) {
        let (outer, inner) = (self.extents[axis - 1], self.extents.remove(axis));
        self.extents[axis - 1] = outer * inner;
        for steps in &mut self.steps {
            let inner_step = steps.remove(axis);
            if inner > 1 {
                steps[axis - 1] = inner_step;
            }
        }
    }

    /// Adds axes of one index in front.
    fn at_least(mut self, rank: usize) -> Self {
        while self.extents.len() < rank {
            self.extents.insert(0, 1);
            self.steps.iter_mut().for_each(|steps| steps.insert(0, 0));
        }
        self
    }
}

/// Steps of an input along the output's axes; 0 where it is repeated.
fn broadcast_steps(input: &[u32], output: &[u32]) -> Vec<u32> {
    let dense = steps(input);
    let missing = output.len().saturating_sub(input.len());
    let own = input.iter().zip(dense).map(|(&extent, step)| if extent == 1 { 0 } else { step });
    std::iter::repeat_n(0, missing).chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(output: &[u32], inputs: &[&[u32]]) -> (Vec<u32>, Vec<Vec<u32>>) {
        let steps = inputs.iter().map(|input| broadcast_steps(input, output)).collect();
        let layout = Layout { extents: output.to_vec(), steps }.merged().at_least(3);
        (layout.extents, layout.steps)
    }

    #[test]
    fn axes_merge_where_all_inputs_agree() {
        assert_eq!(layout(&[2, 3, 4, 5], &[&[2, 3, 4, 5]]), (vec![1, 24, 5], vec![vec![0, 5, 1]]));
        let row = layout(&[2, 3, 4, 5], &[&[2, 3, 4, 5], &[4, 1]]);
        assert_eq!(row, (vec![6, 4, 5], vec![vec![20, 5, 1], vec![0, 1, 0]]));
        let scalar = layout(&[7], &[&[7], &[1]]);
        assert_eq!(scalar, (vec![1, 1, 7], vec![vec![0, 0, 1], vec![0, 0, 0]]));
        let channel = layout(&[1, 8, 8, 3], &[&[1, 8, 8, 3], &[3]]);
        assert_eq!(channel, (vec![1, 64, 3], vec![vec![0, 3, 1], vec![0, 0, 1]]));
    }
}
