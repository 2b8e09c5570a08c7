//! Reshape, transpose, pad, slice, gather: bytes move, values stay.

use cnnip_graph::{Gather, Pad, PadValue, Slice};

use super::context::{At, copy, extents, quantization, signed_zero, steps};
use crate::error::Rule;
use crate::size::small;
use cnnip_lowered::{Stride, Transfer};

/// A reshape has the bytes of its input.
pub(super) fn reshape(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let (input, output) = (at.input(0), at.output());
    if input.element != output.element {
        return Err(Rule::Element {
            what: "output",
            tensor: output.name.clone(),
            found: output.element,
            want: "the input's type",
        });
    }
    at.alias();
    Ok(())
}

pub(super) fn transpose(at: &mut At<'_, '_>, perm: &[usize]) -> Result<(), Rule> {
    at.moves()?;
    let extents = extents(at.input(0));
    if keeps_order(&extents, perm) {
        at.alias();
        return Ok(());
    }
    let from = steps(&extents);
    let moved: Vec<u32> = perm.iter().map(|&axis| extents[axis]).collect();
    let to = steps(&moved);
    let strides: Vec<Stride> =
        perm.iter().zip(&to).map(|(&axis, &to)| Stride { count: extents[axis], from: from[axis], to }).collect();
    let transfer = copy(at.input_id(0), at.output_id(), &strides);
    at.transfer(transfer);
    Ok(())
}

/// Whether axes that have more than one index stay in order, so that no byte moves.
fn keeps_order(extents: &[u32], perm: &[usize]) -> bool {
    perm.iter().filter(|&&axis| extents[axis] > 1).is_sorted()
}

pub(super) fn pad(at: &mut At<'_, '_>, pad: &Pad) -> Result<(), Rule> {
    at.moves()?;
    let value = fill(at, pad)?;
    let (input, output) = (extents(at.input(0)), extents(at.output()));
    let (from, to) = (steps(&input), steps(&output));
    let loops = input.iter().zip(from).zip(&to).map(|((&count, from), &to)| Stride { count, from, to });
    let strides: Vec<Stride> = loops.collect();
    let before = pad.before.iter().zip(&to).map(|(&before, &to)| small(before) * to).sum();
    let transfer = copy(at.input_id(0), at.output_id(), &strides);
    let output_bytes = output.iter().product();
    at.transfer(Transfer { output_bytes, fill: Some(value), offset: before, ..transfer });
    Ok(())
}

/// A part of the input.
pub(super) fn slice(at: &mut At<'_, '_>, op: &Slice) -> Result<(), Rule> {
    at.moves()?;
    let from = steps(&extents(at.input(0)));
    let count: Vec<u32> = op.count.iter().map(|&count| small(count)).collect();
    let to = steps(&count);
    // One index has no distance, and its stride may be any number.
    let distance = |axis: usize| if count[axis] == 1 { 0 } else { from[axis] * small(op.stride[axis]) };
    let strides: Vec<Stride> =
        (0..count.len()).map(|axis| Stride { count: count[axis], from: distance(axis), to: to[axis] }).collect();
    let start = op.begin.iter().zip(&from).map(|(&begin, step)| small(begin) * step).sum();
    let transfer = copy(at.input_id(0), at.output_id(), &strides);
    at.transfer(Transfer { start, ..transfer });
    Ok(())
}

/// Elements at constant indices: a transfer per run of equally spaced ones.
pub(super) fn gather(at: &mut At<'_, '_>, op: &Gather) -> Result<(), Rule> {
    at.moves()?;
    let extents = extents(at.input(0));
    let outer = extents[..op.axis].iter().product();
    let inner: u32 = extents[op.axis + 1..].iter().product();
    let (row, picked) = (extents[op.axis] * inner, small(op.indices.len()) * inner);
    let mut done = 0;
    for run in runs(&op.indices) {
        let strides = [
            Stride { count: outer, from: row, to: picked },
            Stride { count: run.count, from: run.stride * inner, to: inner },
            Stride { count: inner, from: 1, to: 1 },
        ];
        let transfer = copy(at.input_id(0), at.output_id(), &strides);
        let (start, offset) = (run.first * inner, done * inner);
        at.transfer(Transfer { start, offset, ..transfer });
        done += run.count;
    }
    Ok(())
}

/// Equally spaced indices, from the first upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) stride: u32,
    pub(super) count: u32,
}

/// Cuts a list of indices into runs, each as long as it goes.
pub(super) fn runs(indices: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = vec![];
    for &index in indices {
        let index = small(index);
        match runs.last_mut() {
            Some(run) if run.count == 1 && index >= run.first => {
                (run.stride, run.count) = (index - run.first, 2);
            }
            Some(run) if run.count > 1 && index == run.first + run.stride * run.count => run.count += 1,
            _ => runs.push(Run { first: index, stride: 0, count: 1 }),
        }
    }
    runs
}

/// The element that stands around the input: the value given, else the output's zero point.
fn fill(at: &At<'_, '_>, pad: &Pad) -> Result<i32, Rule> {
    let output = at.output();
    let value = match pad.value {
        PadValue::Integer(value) => value,
        PadValue::Zero => return Ok(quantization("output", output)?.zero),
        PadValue::Float(_) => {
            let found = cnnip_graph::ElementType::F32;
            return Err(Rule::Element {
                what: "padding value",
                tensor: output.name.clone(),
                found,
                want: "the tensor's type",
            });
        }
    };
    let fits = |(least, greatest): (i64, i64)| (least..=greatest).contains(&value);
    if output.element.range().is_some_and(fits) {
        Ok(signed_zero(output.element, value))
    } else {
        Err(Rule::PadValue { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_moved_in_runs() {
        let run = |first, stride, count| Run { first, stride, count };
        assert_eq!(runs(&[3, 5, 7, 9, 2, 2, 2, 1]), [run(3, 2, 4), run(2, 0, 3), run(1, 0, 1)]);
        assert_eq!(runs(&[]), []);
    }

    #[test]
    fn moving_axes_of_one_index_moves_no_byte() {
        assert!(keeps_order(&[1, 1, 8, 9], &[0, 2, 3, 1]));
        assert!(!keeps_order(&[1, 3, 8, 9], &[0, 2, 3, 1]));
    }
}
