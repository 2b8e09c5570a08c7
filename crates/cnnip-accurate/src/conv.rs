//! Convolution, depthwise convolution, fully connected.

use std::ops::Range;

use cnnip_isa::ElementType;
use cnnip_kernels::{Conv8, Depthwise8, Map, Source8, Target8};
use cnnip_lowered::weights::{WeightPiece, blocks, records};
use cnnip_lowered::{ConvLayer, Sweep};
use cnnip_numerics::Scale;

use crate::element::{index, source, widen, write};
use crate::error::Why;
use crate::numbers::{mode, output8, taps, window};
use crate::step::{Operands, Overflow, Tools};
use crate::workers::Workers;

/// A convolution ready to run.
#[derive(Debug)]
pub(crate) struct Conv {
    layer: ConvLayer,
    elements: [ElementType; 2],
    /// Weights in the layout of the layer's operation.
    blocks: Vec<u8>,
    /// The records as bytes, and as arithmetic.
    records: Vec<u8>,
    scales: Vec<Scale>,
}

/// A part of an output map, and how it is computed from a part of the input as if these were all.
#[derive(Clone, Debug)]
struct Part {
    /// Pixels of the output, row by row.
    pixels: Range<usize>,
    /// Elements of the input.
    input: Range<usize>,
    vertical: Sweep,
    horizontal: Sweep,
}

/// `0..length` in `count` parts that differ by one at most; fewer if some would be empty.
fn spans(length: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    let count = count.min(length).max(1);
    (0..count).map(move |at| at * length / count..(at + 1) * length / count)
}

impl Conv {
    pub(crate) fn new(layer: ConvLayer, elements: [ElementType; 2]) -> Result<Self, Why> {
        let whole = WeightPiece::whole(&layer);
        let scales = layer.records.iter().map(|record| record.scale(mode(layer.requant)));
        Ok(Self {
            scales: scales.collect::<Result<_, _>>()?,
            blocks: blocks(&layer, &whole),
            records: records(&layer, &whole),
            elements,
            layer,
        })
    }

    pub(crate) fn run(&self, workers: &mut Workers, operands: Operands<'_>) -> Result<(), Overflow> {
        let Operands { inputs: [input, ..], output } = operands;
        let (from, to) =
            (self.input_elements() * self.elements[0].bytes(), self.output_elements() * self.elements[1].bytes());
        let parts = self.parts(workers.parts(self.products()));
        for batch in 0..self.layer.batch {
            let at = index(batch);
            let input = input.get(at * from..(at + 1) * from).unwrap_or_default();
            let mut rest = output.get_mut(at * to..(at + 1) * to).unwrap_or_default();
            let mut jobs = Vec::with_capacity(parts.len());
            for part in &parts {
                let bytes =
                    part.pixels.len() * index(self.layer.groups) * index(self.layer.outputs) * self.elements[1].bytes();
                let (own, others) = rest.split_at_mut(bytes.min(rest.len()));
                jobs.push((part, own));
                rest = others;
            }
            let work = |tools: &mut Tools, (part, output): (&Part, &mut [u8])| {
                if self.kernel(tools, part, input, output) { Ok(()) } else { self.plain(tools, part, input, output) }
            };
            workers.run(jobs, work).map_err(|overflow| overflow.within(batch))?;
        }
        Ok(())
    }

    /// Products of one map.
    fn products(&self) -> usize {
        let ConvLayer { vertical, horizontal, depth, .. } = &self.layer;
        self.output_elements() * index(vertical.kernel) * index(horizontal.kernel) * index(*depth)
    }

    /// The output map in so many parts, or fewer: pixels where each reads its own input pixel, else rows.
    fn parts(&self, count: usize) -> Vec<Part> {
        let ConvLayer { vertical, horizontal, .. } = &self.layer;
        if count <= 1 {
            return vec![self.whole()];
        }
        let (rows, columns) = (index(vertical.output), index(horizontal.output));
        if vertical.is_plain() && horizontal.is_plain() {
            return spans(rows * columns, count).map(|pixels| self.pixels(pixels)).collect();
        }
        let parts: Option<Vec<Part>> = spans(rows, count).map(|rows| self.rows(rows)).collect();
        parts.unwrap_or_else(|| vec![self.whole()])
    }

    fn whole(&self) -> Part {
        let ConvLayer { vertical, horizontal, .. } = self.layer;
        let pixels = 0..index(vertical.output) * index(horizontal.output);
        Part { pixels, input: 0..self.input_elements(), vertical, horizontal }
    }

    /// A row of pixels that each read the input pixel in their own place.
    fn pixels(&self, pixels: Range<usize>) -> Part {
        let channels = index(self.layer.groups) * index(self.layer.depth);
        let columns = u32::try_from(pixels.len()).unwrap_or(u32::MAX);
        let input = pixels.start * channels..pixels.end * channels;
        Part { pixels, input, vertical: Sweep::plain(1), horizontal: Sweep::plain(columns) }
    }

    /// Rows of the output with the rows of the input that they read; `None` if they read none.
    fn rows(&self, rows: Range<usize>) -> Option<Part> {
        let ConvLayer { vertical, horizontal, groups, depth, .. } = self.layer;
        let small = |row: usize| u32::try_from(row).ok();
        let (first, last) = (small(rows.start)?, small(rows.end.checked_sub(1)?)?);
        let start = vertical.start(first);
        let end = vertical.start(last).checked_add(i64::try_from(vertical.reach()).ok()?)?;
        let top = u32::try_from(start.max(0)).ok()?;
        let bottom = u32::try_from(end.min(vertical.input.into())).ok()?;
        let sweep = Sweep {
            input: bottom.checked_sub(top).filter(|&input| input > 0)?,
            output: small(rows.len())?,
            before: u32::try_from(i64::from(top) - start).ok()?,
            ..vertical
        };
        let row = index(horizontal.input) * index(groups) * index(depth);
        let columns = index(horizontal.output);
        Some(Part {
            pixels: rows.start * columns..rows.end * columns,
            input: index(top) * row..index(bottom) * row,
            vertical: sweep,
            horizontal,
        })
    }

    /// Elements of one input map.
    fn input_elements(&self) -> usize {
        let ConvLayer { vertical, horizontal, groups, depth, .. } = &self.layer;
        index(vertical.input) * index(horizontal.input) * index(*groups) * index(*depth)
    }

    /// Elements of one output map.
    fn output_elements(&self) -> usize {
        let ConvLayer { vertical, horizontal, groups, outputs, .. } = &self.layer;
        index(vertical.output) * index(horizontal.output) * index(*groups) * index(*outputs)
    }

    /// Does the whole part, or nothing.
    fn kernel(&self, tools: &mut Tools, part: &Part, input: &[u8], output: &mut [u8]) -> bool {
        let layer = &self.layer;
        let narrow = self.elements[1] == ElementType::Int8 && layer.weights.element == ElementType::Int8;
        let [from, to] = self.maps(part);
        let bytes = self.elements[0].bytes();
        let input = input.get(part.input.start * bytes..part.input.end * bytes).unwrap_or_default();
        match source(input, from, self.elements[0], layer.input_zero) {
            Some(source) if narrow => self.kernel8(tools, part, source, output, to),
            _ => false,
        }
    }

    fn kernel8(&self, tools: &mut Tools, part: &Part, input: Source8<'_>, bytes: &mut [u8], map: Map) -> bool {
        let layer = &self.layer;
        let output = output8(&layer.activation, layer.requant);
        let target = Target8::Output { bytes, map, output, load: None };
        let (pad_value, window) = (layer.input_zero, window(&part.vertical, &part.horizontal));
        let (weights, w_zero, records, use_bias) = (&self.blocks, layer.weights.zero, &self.records, true);
        let Tools { kernels, scratch, .. } = tools;
        if layer.depthwise {
            let multiplier = index(layer.outputs);
            let conv = Depthwise8 { input, pad_value, window, multiplier, weights, w_zero, records, use_bias };
            return kernels.depthwise8(scratch, &conv, target).is_ok();
        }
        let groups = index(layer.groups);
        let conv = Conv8 { input, pad_value, window, groups, weights, w_zero, records, use_bias };
        kernels.conv8(scratch, &conv, target).is_ok()
    }

    fn maps(&self, part: &Part) -> [Map; 2] {
        let ConvLayer { groups, depth, outputs, .. } = &self.layer;
        let Part { vertical, horizontal, .. } = part;
        let map = |rows: u32, columns: u32, channels: usize| Map::dense(index(rows), index(columns), channels);
        let groups = index(*groups);
        [
            map(vertical.input, horizontal.input, groups * index(*depth)),
            map(vertical.output, horizontal.output, groups * index(*outputs)),
        ]
    }

    /// The slow twin. It reads the whole input.
    fn plain(&self, tools: &mut Tools, part: &Part, input: &[u8], output: &mut [u8]) -> Result<(), Overflow> {
        let layer = &self.layer;
        let Tools { input: wide, weights, sums, .. } = tools;
        widen(input, self.elements[0], layer.input_zero, wide);
        widen(layer.weights.data.bytes(), layer.weights.element, layer.weights.zero, weights);
        let columns = index(layer.horizontal.output).max(1);
        let mut at = 0;
        for pixel in part.pixels.clone() {
            let [row, column] = [pixel / columns, pixel % columns].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
            sums.clear();
            sums.extend(layer.records.iter().map(|record| record.bias));
            self.add_taps(wide, weights, sums, [row, column]);
            self.finish(sums, output, &mut at).map_err(|overflow| overflow.within(column).within(row))?;
        }
        Ok(())
    }

    /// Adds all products of an output pixel; padding reads as the zero point and adds nothing.
    fn add_taps(&self, input: &[i32], weights: &[i32], sums: &mut [i64], [row, column]: [u32; 2]) {
        let layer = &self.layer;
        let (depth, outputs) = (index(layer.depth), index(layer.outputs));
        let channels = index(layer.groups) * depth;
        let taps_in_row = index(layer.horizontal.kernel);
        let across = taps(&layer.horizontal, column);
        for (ky, y) in taps(&layer.vertical, row) {
            for (kx, x) in across.clone() {
                let pixel = (y * index(layer.horizontal.input) + x) * channels;
                let Some(pixel) = input.get(pixel..pixel + channels) else { continue };
                let tap = ky * taps_in_row + kx;
                if layer.depthwise {
                    let Some(weights) = weights.get(tap * sums.len()..(tap + 1) * sums.len()) else { continue };
                    let inputs = pixel.iter().flat_map(|&x| std::iter::repeat_n(x, outputs));
                    let terms = sums.iter_mut().zip(weights).zip(inputs);
                    terms.for_each(|((sum, &w), x)| *sum = sum.wrapping_add(i64::from(x) * i64::from(w)));
                    continue;
                }
                let taps = index(layer.vertical.kernel) * taps_in_row;
                for (channel, sum) in sums.iter_mut().enumerate() {
                    let start = (channel * taps + tap) * depth;
                    let group = channel / outputs * depth;
                    let pairs =
                        pixel[group..group + depth].iter().zip(weights.get(start..start + depth).unwrap_or_default());
                    let products: i64 = pairs.map(|(&x, &w)| i64::from(x) * i64::from(w)).sum();
                    *sum = sum.wrapping_add(products);
                }
            }
        }
    }

    /// Requantizes one pixel into the next elements of the output.
    fn finish(&self, sums: &[i64], output: &mut [u8], at: &mut usize) -> Result<(), Overflow> {
        let activation = &self.layer.activation;
        for (channel, (&sum, scale)) in (0..).zip(sums.iter().zip(&self.scales)) {
            let sum = scale.accumulator().check(sum).map_err(|overflow| Overflow::new(overflow, channel))?;
            let value = scale.finish(sum, activation.zero, activation.min, activation.max);
            write(output, *at, self.elements[1], value);
            *at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_isa::RoundingMode;
    use cnnip_isa::operation::Activation;
    use cnnip_kernels::Kernels;
    use cnnip_lowered::{ValueId, WeightSource};
    use cnnip_numerics::ChannelRecord;
    use cnnip_testkit::Rng;

    fn sweep(input: u32, kernel: u32, stride: u32, dilation: u32, before: u32) -> Sweep {
        let reach = (kernel - 1) * dilation + 1;
        Sweep { input, output: (input + 2 * before - reach) / stride + 1, kernel, stride, dilation, before }
    }

    fn layer(vertical: Sweep, horizontal: Sweep, [groups, depth, outputs]: [u32; 3], rng: &mut Rng) -> ConvLayer {
        let depthwise = groups > 1 && depth == 1;
        let weights = vertical.kernel * horizontal.kernel * groups * depth * outputs;
        let bytes = rng.bytes(index(weights));
        let record = |_| ChannelRecord { bias: rng.wide(-1000..=1000), multiplier: 1 << 30, shift: -9 };
        ConvLayer {
            input: ValueId(0),
            output: ValueId(1),
            batch: 2,
            groups,
            depth,
            outputs,
            depthwise,
            vertical,
            horizontal,
            weights: WeightSource { data: bytes.into(), element: ElementType::Int8, zero: 0 },
            input_zero: -3,
            records: (0..groups * outputs).map(record).collect(),
            requant: RoundingMode::Double,
            activation: Activation::full_range(5, ElementType::Int8),
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let mut rng = Rng::new(7);
        let plain = Sweep::plain;
        let cases = [
            (plain(7), plain(7), [1, 8, 20]),
            (plain(1), plain(1), [1, 40, 16]),
            (sweep(9, 3, 1, 1, 1), sweep(5, 3, 1, 1, 1), [1, 3, 17]),
            (sweep(11, 3, 2, 1, 1), sweep(6, 3, 2, 1, 0), [1, 4, 8]),
            (sweep(12, 3, 1, 4, 4), sweep(8, 2, 1, 1, 0), [2, 3, 5]),
            (sweep(8, 1, 2, 1, 0), sweep(8, 1, 2, 1, 0), [1, 16, 16]),
            (sweep(10, 5, 1, 1, 2), sweep(10, 5, 1, 1, 2), [20, 1, 1]),
            (sweep(7, 3, 2, 1, 1), sweep(7, 3, 2, 1, 1), [6, 1, 2]),
            // The first and the last rows read padding only.
            (sweep(1, 1, 1, 1, 3), sweep(4, 1, 1, 1, 0), [1, 4, 4]),
        ];
        for (case, (vertical, horizontal, channels)) in cases.into_iter().enumerate() {
            let conv = Conv::new(layer(vertical, horizontal, channels, &mut rng), [ElementType::Int8; 2]).unwrap();
            let input = rng.bytes(2 * conv.input_elements());
            let run = |mut workers: Workers| {
                let mut output = vec![0; 2 * conv.output_elements()];
                conv.run(&mut workers, Operands { inputs: [&input, &[], &[]], output: &mut output }).unwrap();
                output
            };
            let one = run(Workers::one(Kernels::scalar()));
            for threads in 1..5 {
                for kernels in [Kernels::scalar(), Kernels::from_env()] {
                    let found = run(Workers::many(kernels, threads).unwrap().eager());
                    assert_eq!(found, one, "case {case}, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn the_first_overflow_is_the_same() {
        let mut rng = Rng::new(1);
        let mut layer = layer(Sweep::plain(6), Sweep::plain(2), [1, 4, 4], &mut rng);
        layer.records[2].bias = i64::from(i32::MAX);
        let conv = Conv::new(layer, [ElementType::Int8; 2]).unwrap();
        let input = vec![0x7f; 2 * conv.input_elements()];
        let run = |workers: &mut Workers| {
            let mut output = vec![0; 2 * conv.output_elements()];
            let found = conv.run(workers, Operands { inputs: [&input, &[], &[]], output: &mut output });
            found.map_err(|overflow| (overflow.element(), overflow.value))
        };
        let one = run(&mut Workers::one(Kernels::scalar()));
        assert_eq!(run(&mut Workers::many(Kernels::scalar(), 3).unwrap().eager()), one);
    }
}
