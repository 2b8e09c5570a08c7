//! `CONV` and `DEPTHWISE`.

use cnnip_isa::operation::{Conv, ConvKind, OutputStage, Sparse};
use cnnip_isa::{ElementType, Target};

use super::memory::{Write, width};
use super::{Memory, Place, TooWide, Work, array_blocks, array_step, scale, small};

/// Groups, input channels and output channels of a group.
fn grouping(conv: &Conv) -> [u32; 3] {
    match conv.kind {
        ConvKind::Grouped { groups } => [groups, conv.input.channels / groups, conv.output.channels / groups],
        // One tap sees one channel, and blocks of channels run over all of them.
        ConvKind::Depthwise { .. } => [1, 1, conv.output.channels],
    }
}

impl Work for Conv {
    fn blocks(&self, target: &Target) -> Vec<Vec<Place>> {
        let [groups, _, channels] = grouping(self);
        array_blocks(groups, channels, self.output.height, self.output.width, target)
    }

    fn depth(&self, target: &Target) -> (u64, u64) {
        let [_, inputs, _] = grouping(self);
        let taps = u64::from(self.window.kernel_h) * u64::from(self.window.kernel_w);
        let depth = match self.weights.sparse {
            Some(sparse) => u64::from(sparse.longest.max(1)) * u64::from(per(self)),
            None => taps * u64::from(inputs),
        };
        (depth, u64::from(target.mac_depth))
    }

    fn step_cycles(&self, target: &Target) -> u64 {
        array_step(self.input.element, target)
    }

    fn start(&self, place: Place, memory: &Memory) -> i128 {
        let load = self.accumulators.load;
        let loaded = load.map_or(0, |base| memory.signed(u64::from(base) + 8 * spill_number(self, place), 8));
        let bias = if self.accumulators.bias { memory.signed(record(self, place), 8) } else { 0 };
        loaded + bias
    }

    fn take(&self, place: Place, index: u64, memory: &Memory, acc: i128) -> i128 {
        if let Some(sparse) = &self.weights.sparse {
            return take_stored(self, sparse, place, small(index), memory, acc);
        }
        let [_, inputs, _] = grouping(self);
        let (tap, input) = (small(index / u64::from(inputs)), small(index % u64::from(inputs)));
        let tap = [tap / self.window.kernel_w, tap % self.window.kernel_w];
        let x = input_at(self, place, tap, input, memory) - i128::from(self.input_zero);
        let w = memory.signed(weight_at(self, place[2], tap, input), width(self.weights.element));
        acc + x * (w - i128::from(self.weights.zero))
    }

    fn retire(&self, place: Place, acc: i128, memory: &Memory) -> Result<Write, TooWide> {
        if let Some(base) = self.accumulators.store {
            return Ok(Write::spill(base, spill_number(self, place), acc));
        }
        let record = record(self, place);
        let low = |at| u32::try_from(memory.unsigned(at, 4)).expect("four bytes");
        let stage =
            OutputStage { mode: self.requant, multiplier: low(record + 8), shift: low(record + 12).cast_signed() };
        let value = scale::finish(&stage, &self.activation, acc, memory)?;
        Ok(Write::element(&self.output, place, value))
    }
}

/// Address of the record of an output's channel.
fn record(conv: &Conv, [.., channel]: Place) -> u64 {
    u64::from(conv.records) + 16 * u64::from(channel)
}

fn spill_number(conv: &Conv, [row, column, channel]: Place) -> u64 {
    let pixel = u64::from(row) * u64::from(conv.output.width) + u64::from(column);
    pixel * u64::from(conv.output.channels) + u64::from(channel)
}

fn input_at(conv: &Conv, [row, column, channel]: Place, [ky, kx]: [u32; 2], input: u32, memory: &Memory) -> i128 {
    let w = &conv.window;
    let y = i64::from(row * w.stride_y + ky * w.dilation_y) - i64::from(w.top);
    let x = i64::from(column * w.stride_x + kx * w.dilation_x) - i64::from(w.left);
    let inside = (0..i64::from(conv.input.height)).contains(&y) && (0..i64::from(conv.input.width)).contains(&x);
    if !inside {
        return i128::from(conv.pad_value);
    }
    let channel = match conv.kind {
        ConvKind::Grouped { .. } => {
            let [_, inputs, outputs] = grouping(conv);
            channel / outputs * inputs + input
        }
        ConvKind::Depthwise { multiplier } => channel / multiplier,
    };
    memory.element(&conv.input, [small(y.unsigned_abs()), small(x.unsigned_abs()), channel])
}

/// Address of the weight of a tap and input channel for an output channel.
fn weight_at(conv: &Conv, channel: u32, [ky, kx]: [u32; 2], input: u32) -> u64 {
    let (kh, kw) = (conv.window.kernel_h, conv.window.kernel_w);
    let [groups, inputs, outputs] = grouping(conv);
    let (group, oc) = (channel / outputs, channel % outputs);
    let shape_and_index: Vec<(u32, u32)> = match conv.kind {
        // [c/16][kh][kw][16]
        ConvKind::Depthwise { .. } => {
            vec![(outputs.div_ceil(16), channel / 16), (kh, ky), (kw, kx), (16, channel % 16)]
        }
        // [g][oc/16][kh][kw][ic/per][16][per]
        ConvKind::Grouped { .. } => {
            let per = per(conv);
            let outer = [(groups, group), (outputs.div_ceil(16), oc / 16), (kh, ky), (kw, kx)];
            let inner = [(inputs.div_ceil(per), input / per), (16, oc % 16), (per, input % per)];
            [&outer[..], &inner[..]].concat()
        }
    };
    let number = shape_and_index.iter().fold(0, |n, &(size, index)| n * u64::from(size) + u64::from(index));
    u64::from(conv.weights.address) + number * width(conv.weights.element)
}

/// Input channels of a weight block.
fn per(conv: &Conv) -> u32 {
    if conv.weights.element == ElementType::Int16 { 2 } else { 4 }
}

/// The accumulator after element `index` of the stored blocks of the place's channel; blocks are looked for from the first.
fn take_stored(conv: &Conv, sparse: &Sparse, place: Place, index: u32, memory: &Memory, acc: i128) -> i128 {
    let [_, inputs, outputs] = grouping(conv);
    let (per, kw) = (per(conv), conv.window.kernel_w);
    let deep = inputs.div_ceil(per);
    let channel = place[2];
    let row = channel / outputs * outputs.div_ceil(16) + channel % outputs / 16;
    let blocks = conv.window.kernel_h * kw * deep;
    let mut stored = 0;
    let mut of_row = 0;
    for bit in 0..(row + 1) * blocks {
        let byte = memory.unsigned(u64::from(sparse.bitmap) + u64::from(bit / 8), 1);
        if byte >> (bit % 8) & 1 == 0 {
            continue;
        }
        if bit >= row * blocks {
            if of_row == index / per {
                let (tap, input) = (bit % blocks / deep, bit % blocks % deep * per + index % per);
                if input >= inputs {
                    return acc;
                }
                let x = input_at(conv, place, [tap / kw, tap % kw], input, memory) - i128::from(conv.input_zero);
                let weight = u64::from(stored * 16 * per + channel % outputs % 16 * per + index % per);
                let bytes = width(conv.weights.element);
                let w = memory.signed(u64::from(conv.weights.address) + weight * bytes, bytes);
                return acc + x * (w - i128::from(conv.weights.zero));
            }
            of_row += 1;
        }
        stored += 1;
    }
    acc
}
