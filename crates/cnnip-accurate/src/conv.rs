//! Convolution, depthwise convolution, fully connected.

use std::ops::Range;

use cnnip_isa::ElementType;
use cnnip_kernels::{Conv8, Depthwise8, Kernels, Map, Output8, Prepared8, Scratch, Source8, Target8};
use cnnip_lowered::weights::{WeightPiece, blocks, records};
use cnnip_lowered::{ConvLayer, Sweep};
use cnnip_numerics::{ChannelRecord, Scale};

use crate::element::{index, source, widen, write};
use crate::error::Why;
use crate::lines::Lines;
use crate::numbers::{mode, output8, taps, window};
use crate::split::{self, spans};
use crate::step::{Operands, Overflow, Tools};
use crate::workers::Workers;

/// Output channels of a block of weights, and input channels.
const BLOCK: usize = 16;
const DEPTH: usize = 4;

/// A convolution ready to run.
#[derive(Debug)]
pub(crate) struct Conv {
    layer: ConvLayer,
    elements: [ElementType; 2],
    /// Weights in the layout of the layer's operation.
    blocks: Lines,
    /// The records as bytes, and as arithmetic.
    records: Vec<u8>,
    scales: Vec<Scale>,
    /// What kernels need not find again for every input, if they take the layer.
    prepared: Option<Prepared8>,
}

/// A part of an output map, and how it is computed from a part of the input as if these were all.
#[derive(Clone, Debug)]
struct Part {
    /// Pixels of the output, row by row.
    pixels: Range<usize>,
    /// Their channels, in whole blocks; all of them if there are groups.
    channels: Range<usize>,
    /// Elements of the input.
    input: Range<usize>,
    vertical: Sweep,
    horizontal: Sweep,
}

/// A part as kernels take it.
enum Operation<'a> {
    Dense(Conv8<'a>),
    Depthwise(Depthwise8<'a>),
}

/// Where a part goes: all its pixels as one, or each of them.
type Places<'a> = Vec<&'a mut [u8]>;

impl Conv {
    pub(crate) fn new(layer: ConvLayer, elements: [ElementType; 2], kernels: Kernels) -> Result<Self, Why> {
        let whole = WeightPiece::whole(&layer);
        let scales = layer.records.iter().map(|record| record.scale(mode(layer.requant)));
        let mut conv = Self {
            scales: scales.collect::<Result<_, _>>()?,
            blocks: Lines::of(&blocks(&layer, &whole)),
            records: records(&layer, &whole),
            prepared: None,
            elements,
            layer,
        };
        conv.prepared = conv.prepared(kernels);
        Ok(conv)
    }

    fn prepared(&self, kernels: Kernels) -> Option<Prepared8> {
        let (part, output, scratch) = (self.whole(), self.output8(), &mut Scratch::new());
        let channels = part.channels.len();
        let input = source(&[], self.maps(&part)[0], self.elements[0], self.layer.input_zero);
        match self.operation(&part, input.filter(|_| self.is_narrow())?) {
            Operation::Dense(conv) => kernels.prepare_conv8(scratch, &conv, output, channels).ok(),
            Operation::Depthwise(conv) => kernels.prepare_depthwise8(scratch, &conv, output, channels).ok(),
        }
    }

    /// Whether kernels of 8 bits may take it.
    fn is_narrow(&self) -> bool {
        self.elements[1] == ElementType::Int8 && self.layer.weights.element == ElementType::Int8
    }

    fn output8(&self) -> Output8 {
        output8(&self.layer.activation, self.layer.requant)
    }

    pub(crate) fn run(&self, workers: &mut Workers, operands: Operands<'_>) -> Result<(), Overflow> {
        let Operands { inputs: [input, ..], output } = operands;
        let (from, to) =
            (self.input_elements() * self.elements[0].bytes(), self.output_elements() * self.elements[1].bytes());
        let parts = self.parts(workers.parts(self.nanoseconds()));
        for batch in 0..self.layer.batch {
            let at = index(batch);
            let input = input.get(at * from..(at + 1) * from).unwrap_or_default();
            let output = output.get_mut(at * to..(at + 1) * to).unwrap_or_default();
            let jobs = parts.iter().zip(self.places(&parts, output));
            let work = |tools: &mut Tools, (part, places)| self.part(tools, part, input, places);
            workers.run(jobs, work).map_err(|overflow| overflow.within(batch))?;
        }
        Ok(())
    }

    /// The output map in the places of the parts.
    fn places<'o>(&self, parts: &[Part], output: &'o mut [u8]) -> Vec<Places<'o>> {
        let bytes = self.elements[1].bytes();
        let all = self.output_channels();
        if parts.iter().all(|part| part.channels.len() == all) {
            let pieces = split::cut(output, parts.iter().map(|part| part.pixels.len() * all * bytes));
            return pieces.into_iter().map(|piece| vec![piece]).collect();
        }
        let mut places: Vec<Places<'_>> = parts.iter().map(|part| Vec::with_capacity(part.pixels.len())).collect();
        for pixel in output.chunks_exact_mut((all * bytes).max(1)) {
            let pieces = split::cut(pixel, parts.iter().map(|part| part.channels.len() * bytes));
            places.iter_mut().zip(pieces).for_each(|(places, piece)| places.push(piece));
        }
        places
    }

    /// Computes a part where it goes, or beside it and then puts it there.
    fn part(&self, tools: &mut Tools, part: &Part, input: &[u8], mut places: Places<'_>) -> Result<(), Overflow> {
        if let [output] = &mut places[..] {
            return self.whole_part(tools, part, input, output);
        }
        let pixel = part.channels.len() * self.elements[1].bytes();
        let mut output = std::mem::take(&mut tools.output);
        output.resize(part.pixels.len() * pixel, 0);
        let done = self.whole_part(tools, part, input, &mut output);
        places.iter_mut().zip(output.chunks_exact(pixel.max(1))).for_each(|(place, from)| place.copy_from_slice(from));
        tools.output = output;
        done
    }

    fn whole_part(&self, tools: &mut Tools, part: &Part, input: &[u8], output: &mut [u8]) -> Result<(), Overflow> {
        if self.kernel(tools, part, input, output) { Ok(()) } else { self.plain(tools, part, input, output) }
    }

    /// About what one map takes on one thread: products, what is done with every sum, and bringing the weights.
    fn nanoseconds(&self) -> usize {
        let products = self.output_elements() * self.taps() * index(self.layer.depth);
        let products = if self.layer.depthwise { products / 8 } else { products / 1024 };
        products + self.output_elements() / 8 + self.blocks.len() / 16
    }

    fn taps(&self) -> usize {
        index(self.layer.vertical.kernel) * index(self.layer.horizontal.kernel)
    }

    fn output_channels(&self) -> usize {
        index(self.layer.groups) * index(self.layer.outputs)
    }

    /// The output map in so many parts, or fewer: channels where there are more weights than anything else, pixels where each
    /// reads its own input pixel, else rows.
    fn parts(&self, count: usize) -> Vec<Part> {
        let ConvLayer { vertical, horizontal, .. } = &self.layer;
        if count <= 1 {
            return vec![self.whole()];
        }
        let (rows, columns) = (index(vertical.output), index(horizontal.output));
        if self.is_mostly_weights() {
            return spans(index(self.layer.outputs).div_ceil(BLOCK), count)
                .map(|blocks| self.channels(blocks))
                .collect();
        }
        if vertical.is_plain() && horizontal.is_plain() {
            return spans(rows * columns, count).map(|pixels| self.pixels(pixels)).collect();
        }
        let parts: Option<Vec<Part>> = spans(rows, count).map(|rows| self.rows(rows)).collect();
        parts.unwrap_or_else(|| vec![self.whole()])
    }

    /// Whether reading all weights once more costs more than reading all pixels once more and moving the results.
    fn is_mostly_weights(&self) -> bool {
        let ConvLayer { groups, depth, outputs, depthwise, .. } = self.layer;
        let read = self.taps() * index(depth);
        let pixels = index(self.layer.vertical.output) * index(self.layer.horizontal.output);
        groups == 1 && !depthwise && index(outputs) * read >= 2 * pixels * (read + index(outputs))
    }

    fn whole(&self) -> Part {
        let ConvLayer { vertical, horizontal, .. } = self.layer;
        let pixels = 0..index(vertical.output) * index(horizontal.output);
        Part { pixels, channels: 0..self.output_channels(), input: 0..self.input_elements(), vertical, horizontal }
    }

    /// Some blocks of channels.
    fn channels(&self, blocks: Range<usize>) -> Part {
        let channels = blocks.start * BLOCK..(blocks.end * BLOCK).min(index(self.layer.outputs));
        Part { channels, ..self.whole() }
    }

    /// A row of pixels that each read the input pixel in their own place.
    fn pixels(&self, pixels: Range<usize>) -> Part {
        let channels = index(self.layer.groups) * index(self.layer.depth);
        let columns = u32::try_from(pixels.len()).unwrap_or(u32::MAX);
        let input = pixels.start * channels..pixels.end * channels;
        Part { pixels, input, vertical: Sweep::plain(1), horizontal: Sweep::plain(columns), ..self.whole() }
    }

    /// Rows of the output with the rows of the input that they read; `None` if they read none.
    fn rows(&self, rows: Range<usize>) -> Option<Part> {
        let ConvLayer { horizontal, groups, depth, .. } = self.layer;
        let (input, vertical) = split::rows(&self.layer.vertical, &rows)?;
        let row = index(horizontal.input) * index(groups) * index(depth);
        let columns = index(horizontal.output);
        Some(Part {
            pixels: rows.start * columns..rows.end * columns,
            input: index(input.start) * row..index(input.end) * row,
            vertical,
            ..self.whole()
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
    fn kernel(&self, tools: &mut Tools, part: &Part, input: &[u8], bytes: &mut [u8]) -> bool {
        let Some(prepared) = &self.prepared else { return false };
        let [from, map] = self.maps(part);
        let size = self.elements[0].bytes();
        let input = input.get(part.input.start * size..part.input.end * size).unwrap_or_default();
        let Some(input) = source(input, from, self.elements[0], self.layer.input_zero) else { return false };
        let target = Target8::Output { bytes, map, output: self.output8(), load: None };
        let Tools { kernels, scratch, .. } = tools;
        let done = match self.operation(part, input) {
            Operation::Dense(conv) => {
                kernels.conv8_prepared(scratch, &conv, target, prepared, part.channels.start / BLOCK)
            }
            Operation::Depthwise(conv) => kernels.depthwise8_prepared(scratch, &conv, target, prepared),
        };
        done.is_ok()
    }

    /// The part as kernels take it.
    fn operation<'a>(&'a self, part: &Part, input: Source8<'a>) -> Operation<'a> {
        let layer = &self.layer;
        let (pad_value, window) = (layer.input_zero, window(&part.vertical, &part.horizontal));
        let (weights, records) = (self.weights(&part.channels), self.records(&part.channels));
        let (w_zero, use_bias) = (layer.weights.zero, true);
        if layer.depthwise {
            let multiplier = index(layer.outputs);
            return Operation::Depthwise(Depthwise8 {
                input,
                pad_value,
                window,
                multiplier,
                weights,
                w_zero,
                records,
                use_bias,
            });
        }
        let groups = index(layer.groups);
        Operation::Dense(Conv8 { input, pad_value, window, groups, weights, w_zero, records, use_bias })
    }

    /// Blocks from the first of the channels on.
    fn weights(&self, channels: &Range<usize>) -> &[u8] {
        let per_block = self.taps() * index(self.layer.depth).next_multiple_of(DEPTH) * BLOCK;
        self.blocks.get(channels.start / BLOCK * per_block..).unwrap_or_default()
    }

    /// Records from the first of the channels on.
    fn records(&self, channels: &Range<usize>) -> &[u8] {
        self.records.get(channels.start * ChannelRecord::BYTES..).unwrap_or_default()
    }

    fn maps(&self, part: &Part) -> [Map; 2] {
        let ConvLayer { groups, depth, .. } = &self.layer;
        let Part { vertical, horizontal, .. } = part;
        let map = |rows: u32, columns: u32, channels: usize| Map::dense(index(rows), index(columns), channels);
        [
            map(vertical.input, horizontal.input, index(*groups) * index(*depth)),
            map(vertical.output, horizontal.output, part.channels.len()),
        ]
    }

    /// The slow twin. It reads the whole input and computes all channels.
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
            self.finish(sums, &part.channels, output, &mut at)
                .map_err(|overflow| overflow.within(column).within(row))?;
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

    /// Requantizes some channels of one pixel into the next elements of the output.
    fn finish(&self, sums: &[i64], channels: &Range<usize>, output: &mut [u8], at: &mut usize) -> Result<(), Overflow> {
        let activation = &self.layer.activation;
        let all = (0..).zip(sums.iter().zip(&self.scales));
        for (channel, (&sum, scale)) in all.skip(channels.start).take(channels.len()) {
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
            // Mostly weights: channels are divided.
            (plain(2), plain(1), [1, 40, 70]),
            (sweep(3, 3, 1, 1, 1), sweep(3, 3, 1, 1, 1), [1, 9, 33]),
        ];
        for (case, (vertical, horizontal, channels)) in cases.into_iter().enumerate() {
            let layer = layer(vertical, horizontal, channels, &mut rng);
            let new = |kernels| Conv::new(layer.clone(), [ElementType::Int8; 2], kernels).unwrap();
            let input = rng.bytes(2 * new(Kernels::scalar()).input_elements());
            let run = |kernels: Kernels, mut workers: Workers| {
                let conv = new(kernels);
                let mut output = vec![0; 2 * conv.output_elements()];
                conv.run(&mut workers, Operands { inputs: [&input, &[], &[]], output: &mut output }).unwrap();
                output
            };
            let one = run(Kernels::scalar(), Workers::one(Kernels::scalar()));
            for threads in [1, 2, 3, 5] {
                for kernels in [Kernels::scalar(), Kernels::from_env()] {
                    let found = run(kernels, Workers::many(kernels, threads).unwrap().eager());
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
        let conv = Conv::new(layer, [ElementType::Int8; 2], Kernels::scalar()).unwrap();
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
