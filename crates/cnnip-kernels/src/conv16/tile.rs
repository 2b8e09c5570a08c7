//! The 16-bit convolution over vectors: blocks of output channels, tiles of pixels, taps.
//!
//! A lane of a vector holds a pair of elements, and one instruction adds the two products of every lane in 32 bits. A weight
//! block becomes two such vectors: of int8 weights, the even and the odd input channels; of int16 weights, their low bytes
//! as unsigned numbers and their high bytes. So no sum of [`UNFLUSHED`] blocks leaves 32 bits, and then it moves to 64.

use super::{BLOCK_BYTES, Channel, Plan};
use crate::channel::BLOCK;
use crate::emit::Cursor;
use crate::operand16::{ELEMENT, int16};
use crate::scratch::sized;
use crate::simd::{Block, Simd, Task};
use crate::{Scratch, Target16, Weights16};

/// A checked convolution whose channels are filled in.
pub(super) struct Job<'j, 'a, 't> {
    pub(super) plan: &'j Plan<'a>,
    pub(super) channels: &'j [Channel],
    pub(super) scratch: &'j mut Scratch,
    pub(super) target: &'j mut Target16<'t>,
}

/// Pixels of a tile.
const PIXELS: usize = 4;

/// Blocks after which 32-bit sums are still exact: each adds two products of at most 2^15 and 255.
const UNFLUSHED: usize = 127;

/// 64-bit sums of a tile.
type TileSums = [[i64; BLOCK]; PIXELS];

/// 32-bit sums of a tile: of both vectors that a weight block becomes.
type Partial<S> = [[<S as Simd>::Vector; 2]; PIXELS];

impl Task for Job<'_, '_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, channels, scratch, target } = self;
        let packed = Packed::new(plan);
        packed.fill(&mut scratch.pairs);
        let per_group = plan.oc.div_ceil(BLOCK);
        let panel = plan.conv.window.taps() * plan.depth();
        let weights = plan.conv.weights.bytes().as_chunks::<BLOCK_BYTES>().0;
        for group in 0..plan.conv.groups {
            let input = &scratch.pairs[group * packed.group..][..packed.group];
            for block in 0..per_group {
                let weights = &weights[(group * per_group + block) * panel..][..panel];
                let first = group * plan.oc + block * BLOCK;
                let count = BLOCK.min(plan.oc - block * BLOCK);
                let part = Part { packed: &packed, input, weights, first, channels: &channels[first..][..count] };
                match plan.conv.weights {
                    Weights16::Int8(_) => part.run::<S, false>(s, target),
                    Weights16::Int16(_) => part.run::<S, true>(s, target),
                }
            }
        }
    }
}

/// The input as `[g][row][column][pair]`, padded all around; a pair is two elements of 16 bits.
struct Packed<'p, 'a> {
    plan: &'p Plan<'a>,
    /// Pairs of one pixel, from one row to the next, and from one group to the next.
    pixel: usize,
    row: usize,
    group: usize,
    columns: usize,
}

impl<'p, 'a> Packed<'p, 'a> {
    fn new(plan: &'p Plan<'a>) -> Self {
        let (rows, columns) = plan.conv.window.reach(plan.size[0], plan.size[1]);
        let pixel = plan.pixel_pairs();
        let row = columns * pixel;
        Self { plan, pixel, row, group: rows * row, columns }
    }

    #[inline(always)]
    fn fill(&self, pairs: &mut Vec<i32>) {
        let (conv, ic) = (&self.plan.conv, self.plan.ic);
        let (map, window) = (&conv.input.map, &conv.window);
        let padding = pair(conv.pad_value, conv.pad_value);
        let pairs = sized(pairs, self.group * conv.groups, 0);
        for (group, pairs) in pairs.chunks_exact_mut(self.group).enumerate() {
            for (row, pairs) in pairs.chunks_exact_mut(self.row).enumerate() {
                let y = row.checked_sub(window.top).filter(|&y| y < map.h);
                for (column, pairs) in pairs.chunks_exact_mut(self.pixel).enumerate() {
                    let x = column.checked_sub(window.left).filter(|&x| x < map.w);
                    match y.zip(x) {
                        Some((y, x)) => {
                            self.fill_pixel(conv.input.elements(map.at(y, x), group * ic, ic), pairs);
                        }
                        None => self.pad_pixel(padding, pairs),
                    }
                }
            }
        }
        debug_assert_eq!(self.columns * self.pixel, self.row);
    }

    /// Padding channels are zero, whatever weights stand there.
    #[inline(always)]
    fn fill_pixel(&self, elements: &[[u8; ELEMENT]], pairs: &mut [i32]) {
        let Weights16::Int8(_) = self.plan.conv.weights else {
            let (whole, rest) = elements.as_chunks::<2>();
            pairs.iter_mut().zip(whole).for_each(|(pair_out, &[a, b])| *pair_out = pair(int16(a), int16(b)));
            if let ([a], Some(last)) = (rest, pairs.last_mut()) {
                *last = pair(int16(*a), 0);
            }
            return;
        };
        let (whole, rest) = elements.as_chunks::<4>();
        let units = pairs.as_chunks_mut::<2>().0;
        units.iter_mut().zip(whole).for_each(|(unit, elements)| *unit = even_and_odd(*elements));
        if let (false, Some(last)) = (rest.is_empty(), units.last_mut()) {
            *last = even_and_odd(std::array::from_fn(|i| rest.get(i).copied().unwrap_or_default()));
        }
    }

    #[inline(always)]
    fn pad_pixel(&self, padding: i32, pairs: &mut [i32]) {
        pairs.fill(padding);
        let (ic, pad) = (self.plan.ic, self.plan.conv.pad_value);
        let per_block = self.plan.channels_per_block();
        if ic.is_multiple_of(per_block) {
            return;
        }
        let real = |channel: usize| if channel < ic { pad } else { 0 };
        let first = ic / per_block * per_block;
        let elements: [[u8; ELEMENT]; 4] = std::array::from_fn(|i| real(first + i).to_le_bytes());
        let at = pairs.len() - per_block / 2;
        let last = &mut pairs[at..];
        match self.plan.conv.weights {
            Weights16::Int8(_) => last.copy_from_slice(&even_and_odd(elements)),
            Weights16::Int16(_) => last.fill(pair(int16(elements[0]), int16(elements[1]))),
        }
    }

    /// Offset of what the first tap of an output pixel reads.
    fn base(&self, at: Cursor) -> usize {
        let window = &self.plan.conv.window;
        at.y * window.stride_y * self.row + at.x * window.stride_x * self.pixel
    }
}

/// Two elements as one lane.
#[inline(always)]
fn pair(a: i16, b: i16) -> i32 {
    let ([a0, a1], [b0, b1]) = (a.to_le_bytes(), b.to_le_bytes());
    i32::from_le_bytes([a0, a1, b0, b1])
}

/// Four channels as the pairs that the even and the odd weights of a block meet.
#[inline(always)]
fn even_and_odd([a, b, c, d]: [[u8; ELEMENT]; 4]) -> [i32; 2] {
    [pair(int16(a), int16(c)), pair(int16(b), int16(d))]
}

/// One block of output channels of one group.
struct Part<'p, 'a> {
    packed: &'p Packed<'p, 'a>,
    input: &'p [i32],
    weights: &'p [Block],
    /// The first channel.
    first: usize,
    channels: &'p [Channel],
}

impl Part<'_, '_> {
    /// All pixels; `WIDE` weights have 16 bits.
    #[inline(always)]
    fn run<S: Simd, const WIDE: bool>(&self, s: S, target: &mut Target16<'_>) {
        let [h, w] = self.packed.plan.size;
        let mut at = Cursor { y: 0, x: 0 };
        for first in (0..h * w).step_by(PIXELS) {
            let count = PIXELS.min(h * w - first);
            let mut places = [at; PIXELS];
            for place in &mut places[..count] {
                *place = at;
                at.step(w);
            }
            let sums = self.sums::<S, WIDE>(s, places.map(|at| self.packed.base(at)));
            for (place, sums) in places[..count].iter().zip(&sums) {
                target.deliver([place.y, place.x, self.first], &sums[..self.channels.len()], self.channels);
            }
        }
    }

    /// Sums of the pixels whose first taps are at `bases`.
    #[inline(always)]
    fn sums<S: Simd, const WIDE: bool>(&self, s: S, bases: [usize; PIXELS]) -> TileSums {
        let plan = self.packed.plan;
        let (window, depth) = (&plan.conv.window, plan.depth());
        let per_block = plan.channels_per_block() / 2;
        let mut sums = [[0; BLOCK]; PIXELS];
        let mut partial: Partial<S> = [[s.splat(0); 2]; PIXELS];
        let mut unflushed = 0;
        for tap in 0..window.taps() {
            let (ky, kx) = (tap / window.kw, tap % window.kw);
            let offset = ky * window.dilation_y * self.packed.row + kx * window.dilation_x * self.packed.pixel;
            let weights = &self.weights[tap * depth..][..depth];
            for (part, weights) in weights.chunks(UNFLUSHED).enumerate() {
                if unflushed + weights.len() > UNFLUSHED {
                    flush::<S, WIDE>(s, &mut partial, &mut sums);
                    unflushed = 0;
                }
                unflushed += weights.len();
                let first = part * UNFLUSHED * per_block;
                let inputs: [&[i32]; PIXELS] =
                    bases.map(|base| &self.input[base + offset + first..][..weights.len() * per_block]);
                add_products::<S, WIDE>(s, inputs, weights, &mut partial);
            }
        }
        flush::<S, WIDE>(s, &mut partial, &mut sums);
        sums
    }
}

#[inline(always)]
fn add_products<S: Simd, const WIDE: bool>(
    s: S,
    inputs: [&[i32]; PIXELS],
    weights: &[Block],
    partial: &mut Partial<S>,
) {
    for (index, block) in weights.iter().enumerate() {
        let [first, second] = if WIDE { s.low_and_high_bytes(block) } else { s.even_and_odd_bytes(block) };
        for (input, partial) in inputs.iter().zip(partial.iter_mut()) {
            let [x, y] = if WIDE { [input[index]; 2] } else { [input[2 * index], input[2 * index + 1]] };
            partial[0] = s.dot_pairs(partial[0], s.splat(x), first);
            partial[1] = s.dot_pairs(partial[1], s.splat(y), second);
        }
    }
}

/// Moves 32-bit sums to 64-bit ones.
#[inline(always)]
fn flush<S: Simd, const WIDE: bool>(s: S, partial: &mut Partial<S>, sums: &mut TileSums) {
    let weight = if WIDE { 1 << 8 } else { 1 };
    for (partial, sums) in partial.iter_mut().zip(sums) {
        let mut lanes = [[0; BLOCK]; 2];
        for (vector, lanes) in partial.iter_mut().zip(&mut lanes) {
            s.store(*vector, lanes);
            *vector = s.splat(0);
        }
        for (sum, (&first, &second)) in sums.iter_mut().zip(lanes[0].iter().zip(&lanes[1])) {
            *sum += i64::from(first) + weight * i64::from(second);
        }
    }
}
