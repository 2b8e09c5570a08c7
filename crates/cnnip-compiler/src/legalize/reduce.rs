//! Mean, sum and extrema over any axes: the reduced axes are brought together, then reduced.

use cnnip_graph::Mean as MeanOp;
use cnnip_isa::operation::OutputStage;
use cnnip_numerics::quantize::{QuantizedMultiplier, mean_multiplier, quantize_multiplier, requantize_scale};

use super::context::{At, copy, extents, steps};
use crate::error::Rule;
use crate::size::small;
use cnnip_lowered::{Pool, PoolFunction, Stride, Sum, Sweep, ValueId, Work};

pub(super) fn mean(at: &mut At<'_, '_>, op: &MeanOp) -> Result<(), Rule> {
    scaled(at, op, mean_multiplier)
}

/// SUM: as the mean, without the division.
pub(super) fn sum(at: &mut At<'_, '_>, op: &MeanOp) -> Result<(), Rule> {
    scaled(at, op, |scale, _| scale)
}

fn scaled(
    at: &mut At<'_, '_>,
    op: &MeanOp,
    by: fn(QuantizedMultiplier, u32) -> QuantizedMultiplier,
) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    let scale = quantize_multiplier(requantize_scale(input.scale, output.scale))?;
    summed(at, op, |at, count| Ok(at.stage(by(scale, count))))
}

/// A sum that is scaled by the stage for its number of elements.
pub(super) fn summed(
    at: &mut At<'_, '_>,
    op: &MeanOp,
    stage: impl FnOnce(&At<'_, '_>, u32) -> Result<OutputStage, Rule>,
) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    let (value, view) = together(at, op);
    let stage = stage(at, view.count)?;
    let activation = output.full_range();
    let work = Sum {
        input: value,
        output: at.output_id(),
        outer: view.outer,
        count: view.count,
        channels: view.channels,
        input_zero: input.zero,
        stage,
        activation,
    };
    at.push(0, Work::Sum(work));
    Ok(())
}

/// REDUCE_MAX and REDUCE_MIN: a pool with one window per outer index. Integers are compared as they are.
pub(super) fn extremum(at: &mut At<'_, '_>, op: &MeanOp, function: PoolFunction) -> Result<(), Rule> {
    let output = at.activation_out()?;
    at.same_quantization(0, output)?;
    let (input, view) = together(at, op);
    let vertical = Sweep { output: 1, kernel: view.count, ..Sweep::plain(view.count) };
    let work = Pool {
        function,
        input,
        output: at.output_id(),
        batch: view.outer,
        channels: view.channels,
        vertical,
        horizontal: Sweep::plain(1),
        clamp: output.limits(),
        zero: 0,
    };
    at.push(0, Work::Pool(work));
    Ok(())
}

/// A tensor as `[outer, count, channels]`, the middle axis being reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    outer: u32,
    count: u32,
    channels: u32,
}

/// The view of input 0; reduced axes that do not lie together, or end in the last axis, are moved to the front.
fn together(at: &mut At<'_, '_>, op: &MeanOp) -> (ValueId, View) {
    let extents = extents(at.input(0));
    if let Some(view) = direct(&extents, &op.axes) {
        return (at.input_id(0), view);
    }
    let kept = (0..extents.len()).filter(|axis| !op.axes.contains(axis));
    let order: Vec<usize> = op.axes.iter().copied().chain(kept).collect();
    let moved: Vec<u32> = order.iter().map(|&axis| extents[axis]).collect();
    let (from, to) = (steps(&extents), steps(&moved));
    let strides: Vec<Stride> =
        order.iter().zip(&to).map(|(&axis, &to)| Stride { count: extents[axis], from: from[axis], to }).collect();
    let count = product(op.axes.iter().map(|&axis| extents[axis]));
    let channels = product(extents.iter().copied()) / count;
    let value = at.temporary("moved", moved);
    let transfer = copy(at.input_id(0), value, &strides);
    at.transfer(transfer);
    (value, View { outer: 1, count, channels })
}

/// The view without moving anything, if the reduced axes are neighbours and channels follow them.
fn direct(extents: &[u32], axes: &[usize]) -> Option<View> {
    let whole: Vec<usize> = axes.iter().copied().filter(|&axis| extents[axis] > 1).collect();
    let (Some(&first), Some(&last)) = (whole.first(), whole.last()) else {
        let channels = product(extents.iter().copied());
        return Some(View { outer: 1, count: 1, channels });
    };
    let neighbours = (first..=last).all(|axis| whole.contains(&axis) || extents[axis] == 1);
    let outer = product(extents[..first].iter().copied());
    let channels = product(extents[last + 1..].iter().copied());
    let count = product(extents[first..=last].iter().copied());
    (neighbours && (channels > 1 || outer == 1)).then_some(View { outer, count, channels })
}

fn product(extents: impl Iterator<Item = u32>) -> u32 {
    small(extents.map(u64::from).product::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_lie_together_need_no_move() {
        let spatial = direct(&[2, 7, 5, 16], &[1, 2]);
        assert_eq!(spatial, Some(View { outer: 2, count: 35, channels: 16 }));
        assert_eq!(direct(&[1, 7, 1, 16], &[1, 2]), Some(View { outer: 1, count: 7, channels: 16 }));
        assert_eq!(direct(&[1, 40], &[1]), Some(View { outer: 1, count: 40, channels: 1 }));
        assert_eq!(direct(&[4, 40], &[1]), None, "a sum per row would be an operation per row");
        assert_eq!(direct(&[4, 5, 6], &[0, 2]), None);
        assert_eq!(direct(&[4, 1, 6], &[1]), Some(View { outer: 1, count: 1, channels: 24 }));
    }
}
