//! Transposed convolution: an ordinary convolution per output phase, and a copy that interleaves them (ADR 6).

use cnnip_graph::{Data, TransposeConv2d};

use super::context::{At, copy, elements, extents, nhwc, steps};
use super::product::{ConvShape, Grouping, Numbers, symmetric};
use crate::error::Rule;
use crate::size::{index, small};
use cnnip_lowered::{ConvLayer, Stride, Sweep, Transfer, WeightSource, Work};

pub(super) fn transposed(at: &mut At<'_, '_>, conv: &TransposeConv2d) -> Result<(), Rule> {
    let [_, rows, columns, channels] = nhwc(at.input(0));
    let [_, kernel_h, kernel_w, _] = nhwc(at.input(1));
    let [_, out_rows, out_columns, out_channels] = nhwc(at.output());
    symmetric(at.input(1))?;
    let groups = small(conv.groups);
    let numbers = Numbers::of(at, out_channels, conv.activation)?;
    let vertical = Axis { input: rows, output: out_rows, kernel: kernel_h, ..Axis::of(conv, |pair| pair.h) };
    let horizontal = Axis { input: columns, output: out_columns, kernel: kernel_w, ..Axis::of(conv, |pair| pair.w) };
    let kernel = Kernel { rows: kernel_h, columns: kernel_w, depth: channels / groups };
    let grouping = Grouping { groups, outputs: out_channels / groups, depthwise: false };
    for y in vertical.phases() {
        for x in horizontal.phases() {
            let weights = kernel.part(&numbers.weights, &y.taps, &x.taps);
            let shape = ConvShape {
                batch: nhwc(at.input(0))[0],
                grouping,
                depth: kernel.depth,
                vertical: y.sweep,
                horizontal: x.sweep,
            };
            let layer = numbers.clone().into_layer(at, shape);
            phase(at, ConvLayer { weights, ..layer }, [&y, &x], [vertical.stride, horizontal.stride]);
        }
    }
    Ok(())
}

/// Appends the convolution of one phase; unless it is the only one, it goes to a value of its own and then to its places.
fn phase(at: &mut At<'_, '_>, layer: ConvLayer, [y, x]: [&Phase; 2], [stride_y, stride_x]: [u32; 2]) {
    let [batch, _, _, channels] = nhwc(at.output());
    let (rows, columns) = (y.sweep.output, x.sweep.output);
    let pixels = u64::from(batch) * u64::from(rows) * u64::from(columns);
    let macs = pixels * u64::from(channels) * u64::from(y.products() * x.products()) * u64::from(layer.depth);
    if pixels * u64::from(channels) == elements(at.output()) {
        at.push(macs, Work::Conv(layer));
        return;
    }
    let part = at.temporary_output(&format!("phase {},{}", y.first, x.first), vec![batch, rows, columns, channels]);
    at.push(macs, Work::Conv(ConvLayer { output: part, ..layer }));
    let to = steps(&extents(at.output()));
    let from = steps(&[batch, rows, columns, channels]);
    let places = [
        Stride { count: batch, from: from[0], to: to[0] },
        Stride { count: rows, from: from[1], to: to[1] * stride_y },
        Stride { count: columns, from: from[2], to: to[2] * stride_x },
        Stride { count: channels, from: 1, to: 1 },
    ];
    let transfer = copy(part, at.output_id(), &places);
    at.transfer(Transfer { offset: y.first * to[1] + x.first * to[2], ..transfer });
}

/// One direction of a transposed convolution: input i times kernel element k goes to output `i * stride + k * dilation - crop`.
#[derive(Clone, Copy, Debug)]
struct Axis {
    input: u32,
    output: u32,
    kernel: u32,
    stride: u32,
    dilation: u32,
    crop: u32,
}

/// The outputs `first`, `first + stride`, ..: a convolution with these kernel elements, `None` being one of zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Phase {
    first: u32,
    sweep: Sweep,
    taps: Vec<Option<u32>>,
}

impl Phase {
    /// Kernel elements that are not zeros by construction.
    fn products(&self) -> u32 {
        small(self.taps.iter().flatten().count())
    }
}

impl Axis {
    /// The attributes along one direction; the extents are to follow.
    fn of(conv: &TransposeConv2d, along: impl Fn(cnnip_graph::Hw) -> usize) -> Self {
        let [stride, dilation, crop] = [conv.stride, conv.dilation, conv.crop].map(|pair| small(along(pair)));
        Self { input: 0, output: 0, kernel: 0, stride, dilation, crop }
    }

    fn phases(&self) -> Vec<Phase> {
        (0..self.stride.min(self.output)).map(|first| self.phase(first)).collect()
    }

    /// The phase of outputs `first`, `first + stride`, ..: output number j reads input `reach + j - (k * dilation - rest) / stride`
    /// for every kernel element k with `k * dilation = rest` modulo the stride.
    fn phase(&self, first: u32) -> Phase {
        let Self { stride, dilation, .. } = *self;
        let (reach, rest) = ((first + self.crop) / stride, (first + self.crop) % stride);
        let taken: Vec<u32> = (0..self.kernel).rev().filter(|k| k * dilation % stride == rest).collect();
        let back = |k: u32| (k * dilation - rest) / stride;
        let apart = match taken.as_slice() {
            [last, next, ..] => back(*last) - back(*next),
            _ => 1,
        };
        let furthest = taken.first().map_or(reach, |&k| back(k));
        // A window that would begin inside the input begins with zeros at its start instead.
        let zeros = reach.saturating_sub(furthest).div_ceil(apart);
        let mut taps = vec![None; index(zeros)];
        taps.extend(taken.into_iter().map(Some));
        if taps.is_empty() {
            taps.push(None);
        }
        let sweep = Sweep {
            input: self.input,
            output: (self.output - first).div_ceil(stride),
            kernel: small(taps.len()),
            stride: 1,
            dilation: if taps.len() == 1 { 1 } else { apart },
            before: furthest + zeros * apart - reach,
        };
        Phase { first, sweep, taps }
    }
}

/// Extents of the weights of one output channel.
#[derive(Clone, Copy)]
struct Kernel {
    rows: u32,
    columns: u32,
    depth: u32,
}

impl Kernel {
    /// The elements at these rows and columns of every output channel; zeros where there is none.
    fn part(self, whole: &WeightSource, rows: &[Option<u32>], columns: &[Option<u32>]) -> WeightSource {
        let bytes = whole.data.bytes();
        let element = whole.element.bytes();
        let run = index(self.depth) * element;
        let zeros: Vec<u8> = whole.zero.to_le_bytes()[..element].repeat(index(self.depth));
        let mut part = vec![];
        let row = index(self.columns) * run;
        for output in bytes.chunks_exact((index(self.rows) * row).max(1)) {
            for y in rows {
                for x in columns {
                    let place = y.zip(*x).map(|(y, x)| index(y) * row + index(x) * run);
                    part.extend(place.and_then(|place| output.get(place..place + run)).unwrap_or(&zeros));
                }
            }
        }
        WeightSource { data: Data::from(part), ..*whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The phases together have every product of the definition, once.
        #[test]
        fn phases_are_the_definition(
            input in 1_u32..9, output in 1_u32..30, kernel in 1_u32..7,
            stride in 1_u32..6, dilation in 1_u32..5, crop in 0_u32..9,
        ) {
            let axis = Axis { input, output, kernel, stride, dilation, crop };
            let mut found = vec![];
            let mut outputs = vec![];
            for Phase { first, sweep, taps } in axis.phases() {
                for j in 0..sweep.output {
                    outputs.push(first + j * stride);
                    for (tap, k) in (0..).zip(&taps) {
                        let i = sweep.start(j) + i64::from(tap * sweep.dilation);
                        if let Some(k) = k && (0..i64::from(input)).contains(&i) {
                            found.push((first + j * stride, i, *k));
                        }
                    }
                }
            }
            outputs.sort_unstable();
            prop_assert_eq!(outputs, (0..output).collect::<Vec<_>>());
            let mut want = vec![];
            for i in 0..input {
                for k in 0..kernel {
                    if let Some(o) = (i * stride + k * dilation).checked_sub(crop).filter(|&o| o < output) {
                        want.push((o, i64::from(i), k));
                    }
                }
            }
            found.sort_unstable();
            want.sort_unstable();
            prop_assert_eq!(found, want);
        }
    }
}
