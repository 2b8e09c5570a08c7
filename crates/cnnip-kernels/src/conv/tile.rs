//! The convolution's loops over vectors: blocks of output channels, tiles of pixels, taps.

use super::pack::Layout;
use super::{BLOCK_BYTES, DEPTH, Plan};
use crate::channel::{BLOCK, Channel16};
use crate::emit::{Channels, Cursor, emit};
use crate::simd::{Block, Lanes, Simd, Task};
use crate::{Scratch, Target8};

/// A checked convolution whose channels are filled in.
pub(super) struct Job<'j, 'a, 't> {
    pub(super) plan: &'j Plan<'a>,
    pub(super) layout: Layout,
    pub(super) scratch: &'j mut Scratch,
    pub(super) target: &'j mut Target8<'t>,
}

/// Most blocks and pixels that any backend's tile has.
const MOST_BLOCKS: usize = 3;
const MOST_PIXELS: usize = 8;

/// Sums of a tile, block by block.
type TileSums = [[Lanes; MOST_PIXELS]; MOST_BLOCKS];

impl Task for Job<'_, '_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, layout, scratch, target } = self;
        layout.pack(plan, scratch);
        let panel = plan.conv.window.taps() * layout.depth;
        let weights = plan.conv.weights.as_chunks::<BLOCK_BYTES>().0;
        let per_group = plan.oc_blocks();
        compensate(s, plan, weights, panel, &mut scratch.channels);
        for group in 0..plan.conv.groups {
            let input = &scratch.input[group * layout.group..][..layout.group];
            let mut block = 0;
            // As even as can be: a tile of a single block takes nearly as long as one of two.
            for left in (1..=per_group.div_ceil(S::TILE_BLOCKS)).rev() {
                let count = (per_group - block).div_ceil(left);
                let first = group * per_group + block;
                let blocks = Blocks {
                    weights: &weights[first * panel..][..count * panel],
                    panel,
                    channels: &scratch.channels[first..][..count],
                    first: group * plan.oc + block * BLOCK,
                    end: (group + 1) * plan.oc,
                };
                blocks.run(s, plan, &layout, input, &scratch.runs, target);
                block += count;
            }
        }
    }
}

/// Takes from every bias what inputs are larger than their differences to the zero point: its number times the sum of weights.
#[inline(always)]
pub(super) fn compensate<S: Simd>(s: S, plan: &Plan<'_>, weights: &[Block], panel: usize, channels: &mut [Channel16]) {
    if plan.factors.zero == 0 {
        return;
    }
    let neutral = s.splat(plan.factors.zero);
    for (weights, channel) in weights.chunks_exact(panel).zip(channels) {
        let sums = weights.iter().fold(s.no_sums(), |sums, block| s.dot_splat(sums, [1; DEPTH], block));
        let offset = s.mul(s.total(sums), neutral);
        let bias = s.sub(s.load(&channel.bias), offset);
        s.store(bias, &mut channel.bias);
    }
}

/// A few blocks of output channels of one group.
struct Blocks<'a> {
    weights: &'a [Block],
    /// Weight blocks per block of output channels.
    panel: usize,
    channels: &'a [Channel16],
    /// First channel of the first block, and the end of the group.
    first: usize,
    end: usize,
}

impl Blocks<'_> {
    /// All pixels, in tiles of nearly equal size.
    #[inline(always)]
    fn run<S: Simd>(
        &self,
        s: S,
        plan: &Plan<'_>,
        layout: &Layout,
        input: &[[u8; DEPTH]],
        runs: &[usize],
        target: &mut Target8<'_>,
    ) {
        let [h, w] = plan.size;
        let tiles = (h * w).div_ceil(S::TILE_PIXELS);
        let (size, larger) = (h * w / tiles, h * w % tiles);
        let mut at = Cursor { y: 0, x: 0 };
        let mut sums: TileSums = [[[0; BLOCK]; MOST_PIXELS]; MOST_BLOCKS];
        for tile in 0..tiles {
            let pixels = size + usize::from(tile < larger);
            let start = at;
            let bases: [usize; MOST_PIXELS] = std::array::from_fn(|i| {
                let window = &plan.conv.window;
                let base = at.y * window.stride_y * layout.row + at.x * window.stride_x * layout.depth;
                if i < pixels {
                    at.step(w);
                }
                base
            });
            self.sums(s, input, runs, layout.run, &bases[..pixels], &mut sums);
            for (block, (channel, sums)) in self.channels.iter().zip(&mut sums).enumerate() {
                let first = self.first + block * BLOCK;
                let channels = Channels { first, count: BLOCK.min(self.end - first) };
                emit(s, target, start, channels, channel, &mut sums[..pixels]);
            }
        }
    }

    /// The sums of one tile; the size of the tile picks the code.
    #[inline(always)]
    fn sums<S: Simd>(
        &self,
        s: S,
        input: &[[u8; DEPTH]],
        runs: &[usize],
        run: usize,
        bases: &[usize],
        out: &mut TileSums,
    ) {
        match self.channels.len() {
            1 => self.sums_of::<S, 1>(s, input, runs, run, bases, out),
            2 => self.sums_of::<S, 2>(s, input, runs, run, bases, out),
            _ => self.sums_of::<S, 3>(s, input, runs, run, bases, out),
        }
    }

    #[inline(always)]
    fn sums_of<S: Simd, const B: usize>(
        &self,
        s: S,
        input: &[[u8; DEPTH]],
        runs: &[usize],
        run: usize,
        bases: &[usize],
        out: &mut TileSums,
    ) {
        if B > S::TILE_BLOCKS {
            return; // never: keeps unused code from being made
        }
        match bases.len() {
            1 => self.tile::<S, B, 1>(s, input, runs, run, bases, out),
            2 => self.tile::<S, B, 2>(s, input, runs, run, bases, out),
            3 => self.tile::<S, B, 3>(s, input, runs, run, bases, out),
            4 => self.tile::<S, B, 4>(s, input, runs, run, bases, out),
            5 => self.tile::<S, B, 5>(s, input, runs, run, bases, out),
            6 => self.tile::<S, B, 6>(s, input, runs, run, bases, out),
            7 => self.tile::<S, B, 7>(s, input, runs, run, bases, out),
            _ => self.tile::<S, B, 8>(s, input, runs, run, bases, out),
        }
    }

    /// `B` blocks of channels of `P` pixels in registers.
    #[inline(always)]
    fn tile<S: Simd, const B: usize, const P: usize>(
        &self,
        s: S,
        input: &[[u8; DEPTH]],
        runs: &[usize],
        run: usize,
        bases: &[usize],
        out: &mut TileSums,
    ) {
        if P > S::TILE_PIXELS {
            return; // never: keeps unused code from being made
        }
        let mut sums = [[s.no_sums(); P]; B];
        for (index, offset) in runs.iter().enumerate() {
            let pixels: [&[[u8; DEPTH]]; P] = std::array::from_fn(|p| &input[bases[p] + offset..][..run]);
            let panels: [&[Block]; B] = std::array::from_fn(|b| &self.weights[b * self.panel + index * run..][..run]);
            for k in 0..run {
                for p in 0..P {
                    for b in 0..B {
                        sums[b][p] = s.dot_splat(sums[b][p], pixels[p][k], &panels[b][k]);
                    }
                }
            }
        }
        for (sums, out) in sums.into_iter().zip(out) {
            sums.into_iter().zip(out).for_each(|(sums, out)| s.store(s.total(sums), out));
        }
    }
}
