//! Blocks of positions: to and from channels, to and from the batch.

use cnnip_graph::Blocks;

use super::context::{At, copy, extents, nhwc, quantization, steps};
use crate::error::Rule;
use crate::size::small;
use cnnip_lowered::{Stride, Transfer, ValueId};

pub(super) fn space_to_depth(at: &mut At<'_, '_>, block: usize) -> Result<(), Rule> {
    at.moves()?;
    let loops = channel_blocks(nhwc(at.output()), nhwc(at.input(0)), small(block));
    push(at, (at.input_id(0), at.output_id()), &loops);
    Ok(())
}

pub(super) fn depth_to_space(at: &mut At<'_, '_>, block: usize) -> Result<(), Rule> {
    at.moves()?;
    let loops = channel_blocks(nhwc(at.input(0)), nhwc(at.output()), small(block)).map(reversed);
    push(at, (at.input_id(0), at.output_id()), &loops);
    Ok(())
}

/// The loops from a map with rows and columns to the one that has its blocks as channels.
fn channel_blocks(deep: [u32; 4], flat: [u32; 4], block: u32) -> [Stride; 6] {
    let ([n, h, w, wide], [_, rows, columns, c]) = (deep, flat);
    [
        Stride { count: n, from: rows * columns * c, to: h * w * wide },
        Stride { count: h, from: block * columns * c, to: w * wide },
        Stride { count: block, from: columns * c, to: block * c },
        Stride { count: w, from: block * c, to: wide },
        Stride { count: block, from: c, to: c },
        Stride { count: c, from: 1, to: 1 },
    ]
}

fn reversed(Stride { count, from, to }: Stride) -> Stride {
    Stride { count, from: to, to: from }
}

/// Pads into a value of its own where there is padding, then moves.
pub(super) fn space_to_batch(at: &mut At<'_, '_>, op: &Blocks) -> Result<(), Rule> {
    at.moves()?;
    let (extents, batches) = (extents(at.input(0)), extents(at.output()));
    let padded = grown(&extents, op);
    let value = if padded == extents { at.input_id(0) } else { pad(at, op, &extents, &padded)? };
    let loops = batch_blocks(&padded, &batches, op);
    push(at, (value, at.output_id()), &loops);
    Ok(())
}

/// Moves into a value of its own where something is cropped, then crops.
pub(super) fn batch_to_space(at: &mut At<'_, '_>, op: &Blocks) -> Result<(), Rule> {
    at.moves()?;
    let (batches, extents) = (extents(at.input(0)), extents(at.output()));
    let whole = grown(&extents, op);
    let loops: Vec<Stride> = batch_blocks(&whole, &batches, op).into_iter().map(reversed).collect();
    if whole == extents {
        push(at, (at.input_id(0), at.output_id()), &loops);
        return Ok(());
    }
    let value = at.temporary("uncropped", whole.clone());
    push(at, (at.input_id(0), value), &loops);
    let cropped: Vec<Stride> = window(&extents, &whole).into_iter().map(reversed).collect();
    let transfer = copy(value, at.output_id(), &cropped);
    at.transfer(Transfer { start: corner(&whole, op), ..transfer });
    Ok(())
}

/// Extents with what surrounds the positions.
fn grown(extents: &[u32], op: &Blocks) -> Vec<u32> {
    let mut grown = extents.to_vec();
    for (at, (&before, &after)) in op.before.iter().zip(&op.after).enumerate() {
        grown[at + 1] += small(before) + small(after);
    }
    grown
}

/// The input with real 0 around it.
fn pad(at: &mut At<'_, '_>, op: &Blocks, extents: &[u32], padded: &[u32]) -> Result<ValueId, Rule> {
    let zero = quantization("output", at.output())?.zero;
    let value = at.temporary("padded", padded.to_vec());
    let transfer = copy(at.input_id(0), value, &window(extents, padded));
    let output_bytes = padded.iter().product();
    let (fill, offset) = (Some(zero), corner(padded, op));
    at.transfer(Transfer { output_bytes, fill, offset, ..transfer });
    Ok(value)
}

/// The loops from a dense tensor to a part of a larger one.
fn window(extents: &[u32], larger: &[u32]) -> Vec<Stride> {
    let loops = extents.iter().copied().zip(steps(extents)).zip(steps(larger));
    loops.map(|((count, from), to)| Stride { count, from, to }).collect()
}

/// Elements from the start of the larger tensor to the part.
fn corner(larger: &[u32], op: &Blocks) -> u32 {
    op.before.iter().zip(steps(larger).into_iter().skip(1)).map(|(&before, step)| small(before) * step).sum()
}

/// The loops from `whole` to `batches`, where the positions within a block are the first axis' outer part.
fn batch_blocks(whole: &[u32], batches: &[u32], op: &Blocks) -> Vec<Stride> {
    let (from, to) = (steps(whole), steps(batches));
    let mut inner = vec![];
    let mut outer = vec![];
    let mut batch = to[0] * whole[0];
    for (axis, &block) in op.block.iter().enumerate().rev().map(|(at, block)| (at + 1, block)) {
        let block = small(block);
        outer.insert(0, Stride { count: block, from: from[axis], to: batch });
        batch *= block;
    }
    outer.push(Stride { count: whole[0], from: from[0], to: to[0] });
    for axis in 1..whole.len() {
        let block = op.block.get(axis - 1).map_or(1, |&block| small(block));
        inner.push(Stride { count: batches[axis], from: from[axis] * block, to: to[axis] });
    }
    [outer, inner].concat()
}

fn push(at: &mut At<'_, '_>, (input, output): (ValueId, ValueId), loops: &[Stride]) {
    at.transfer(copy(input, output, loops));
}
