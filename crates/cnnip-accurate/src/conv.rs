//! Convolution, depthwise convolution, fully connected.

use cnnip_isa::ElementType;
use cnnip_kernels::{Conv8, Depthwise8, Map, Source8, Target8};
use cnnip_lowered::ConvLayer;
use cnnip_lowered::weights::{WeightPiece, blocks, records};
use cnnip_numerics::Scale;

use crate::element::{index, source, widen, write};
use crate::error::Why;
use crate::numbers::{mode, output8, taps, window};
use crate::step::{Operands, Overflow, Tools};

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

    pub(crate) fn run(&self, tools: &mut Tools, operands: Operands<'_>) -> Result<(), Overflow> {
        let Operands { inputs: [input, _], output } = operands;
        let (from, to) =
            (self.input_elements() * self.elements[0].bytes(), self.output_elements() * self.elements[1].bytes());
        for batch in 0..self.layer.batch {
            let at = index(batch);
            let input = input.get(at * from..(at + 1) * from).unwrap_or_default();
            let output = output.get_mut(at * to..(at + 1) * to).unwrap_or_default();
            if !self.kernel(tools, input, output) {
                self.plain(tools, input, output).map_err(|overflow| overflow.within(batch))?;
            }
        }
        Ok(())
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

    /// Does the whole map, or nothing.
    fn kernel(&self, tools: &mut Tools, input: &[u8], output: &mut [u8]) -> bool {
        let layer = &self.layer;
        let narrow = self.elements[1] == ElementType::Int8 && layer.weights.element == ElementType::Int8;
        let [from, to] = self.maps();
        match source(input, from, self.elements[0], layer.input_zero) {
            Some(source) if narrow => self.kernel8(tools, source, output, to),
            _ => false,
        }
    }

    fn kernel8(&self, tools: &mut Tools, input: Source8<'_>, bytes: &mut [u8], map: Map) -> bool {
        let layer = &self.layer;
        let output = output8(&layer.activation, layer.requant);
        let target = Target8::Output { bytes, map, output, load: None };
        let (pad_value, window) = (layer.input_zero, window(&layer.vertical, &layer.horizontal));
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

    fn maps(&self) -> [Map; 2] {
        let ConvLayer { vertical, horizontal, groups, depth, outputs, .. } = &self.layer;
        let map = |rows: u32, columns: u32, channels: usize| Map::dense(index(rows), index(columns), channels);
        let groups = index(*groups);
        [
            map(vertical.input, horizontal.input, groups * index(*depth)),
            map(vertical.output, horizontal.output, groups * index(*outputs)),
        ]
    }

    /// The slow twin.
    fn plain(&self, tools: &mut Tools, input: &[u8], output: &mut [u8]) -> Result<(), Overflow> {
        let layer = &self.layer;
        let Tools { input: wide, weights, sums, .. } = tools;
        widen(input, self.elements[0], layer.input_zero, wide);
        widen(layer.weights.data.bytes(), layer.weights.element, layer.weights.zero, weights);
        let mut at = 0;
        for row in 0..layer.vertical.output {
            for column in 0..layer.horizontal.output {
                sums.clear();
                sums.extend(layer.records.iter().map(|record| record.bias));
                self.add_taps(wide, weights, sums, [row, column]);
                self.finish(sums, output, &mut at).map_err(|overflow| overflow.within(column).within(row))?;
            }
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
