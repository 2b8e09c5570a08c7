//! The convolution as a product of matrices, for tile registers.
//!
//! A row of the left matrix is what one output pixel reads, in the order of the weights: `[kh][kw][ic/4][4]`. Where pixels lie
//! in memory as such rows, they are read there; else rows are made for as many pixels as stay near. The right matrix is the
//! weights as they stand: 16 of their blocks are one tile.

use super::pack::Layout;
use super::{BLOCK_BYTES, DEPTH, Plan, tile};
use crate::channel::BLOCK;
use crate::emit::{Channels, Cursor, emit};
use crate::scratch::sized;
use crate::simd::amx::{Aligned, Left, ROW_BYTES, ROWS, Right, Sums, Tiles};
use crate::simd::{Block, Simd, Task};
use crate::{Scratch, Source8, Target8};

/// A checked convolution whose channels are filled in.
pub(super) struct Job<'j, 'a, 't> {
    pub(super) plan: &'j Plan<'a>,
    pub(super) layout: Layout,
    pub(super) scratch: &'j mut Scratch,
    pub(super) target: &'j mut Target8<'t>,
    pub(super) tiles: Tiles,
}

/// Bytes of the left matrix that are made at a time; they and the weights of two blocks should fit the second-level cache.
const NEAR: usize = 1 << 18;

/// Rows and blocks of channels of one product.
const PAIR: usize = 2;

impl Task for Job<'_, '_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, layout, scratch, target, mut tiles } = self;
        let rows = Rows::new(plan, layout);
        if !rows.are_direct {
            layout.pack(plan, scratch);
        }
        if rows.are_in_place {
            let weights = plan.conv.weights.as_chunks::<BLOCK_BYTES>().0;
            tile::compensate(s, plan, weights, layout.depth, &mut scratch.channels);
        }
        let mut matrix = std::mem::take(&mut scratch.matrix);
        let at_once = rows.at_once();
        for group in 0..plan.conv.groups {
            for first in (0..rows.count).step_by(at_once) {
                let count = at_once.min(rows.count - first);
                let in_place = if rows.are_in_place { count - count % (PAIR * ROWS) } else { 0 };
                let made = rows.fill(s, group, first + in_place..first + count, scratch, &mut matrix);
                let part = Part { rows: &rows, group, first, count, in_place, made };
                part.multiply(s, &mut tiles, scratch, target);
            }
        }
        scratch.matrix = matrix;
    }
}

/// The left matrix.
struct Rows<'p, 'a> {
    plan: &'p Plan<'a>,
    layout: Layout,
    /// Rows in all: one per output pixel, after the row of ones.
    count: usize,
    /// 1 if the first row is all ones: its products are the sums of the weights, which the zero point is multiplied by.
    ones: usize,
    /// Bytes of a row that count.
    depth: usize,
    /// Bytes from one row to the next: an odd number of tile rows, so that the rows of a tile do not share a cache set.
    stride: usize,
    /// Whether a row is a pixel of the input as it lies in memory, top bits aside.
    are_direct: bool,
    /// Whether all of them are there already, one step apart, as tiles take them.
    are_in_place: bool,
}

impl<'p, 'a> Rows<'p, 'a> {
    fn new(plan: &'p Plan<'a>, layout: Layout) -> Self {
        let depth = plan.conv.window.taps() * layout.depth * DEPTH;
        let (are_direct, map) = (plan.reads_whole_pixels(), &plan.conv.input.map);
        let one_step = plan.has_every_pixel() && (map.h == 1 || map.row == map.w * map.pix);
        let are_in_place = are_direct && one_step && depth.is_multiple_of(ROW_BYTES) && plan.factors.flip == 0;
        let ones = usize::from(plan.factors.zero != 0 && !are_in_place);
        Self {
            plan,
            layout,
            count: plan.size[0] * plan.size[1] + ones,
            ones,
            depth,
            stride: (depth.div_ceil(ROW_BYTES) | 1) * ROW_BYTES,
            are_direct,
            are_in_place,
        }
    }

    /// Rows that are made at a time: whole pairs of tiles.
    fn at_once(&self) -> usize {
        (NEAR / self.stride).next_multiple_of(PAIR * ROWS)
    }

    /// Makes some rows; what follows them up to whole pairs of tiles holds anything.
    #[inline(always)]
    fn fill<'m, S: Simd>(
        &self,
        s: S,
        group: usize,
        range: std::ops::Range<usize>,
        scratch: &Scratch,
        matrix: &'m mut Vec<u8>,
    ) -> &'m [u8] {
        let len = range.len().next_multiple_of(PAIR * ROWS) * self.stride;
        // Room to align, and for the copies of the last row to be whole.
        let matrix = sized(matrix, len + 2 * ROW_BYTES, 0);
        let aligned = matrix.as_ptr().align_offset(ROW_BYTES).min(ROW_BYTES);
        let matrix = &mut matrix[aligned..];
        let mut at = 0;
        if range.start < self.ones {
            matrix[..self.depth].fill(1);
            self.end_row(matrix);
            at = 1;
        }
        let w = self.plan.size[1];
        let pixel = range.start + at - self.ones;
        let mut cursor = Cursor { y: pixel / w, x: pixel % w };
        for row in at..range.len() {
            let matrix = &mut matrix[row * self.stride..];
            self.fill_row(s, group, cursor, scratch, matrix);
            self.end_row(matrix);
            cursor.step(w);
        }
        &matrix[..len]
    }

    #[inline(always)]
    fn fill_row<S: Simd>(&self, s: S, group: usize, at: Cursor, scratch: &Scratch, row: &mut [u8]) {
        let Self { plan, layout, .. } = self;
        let (input, window) = (&plan.conv.input, &plan.conv.window);
        if self.are_direct {
            let pixel = input.map.at(at.y * window.stride_y, at.x * window.stride_x) + group * plan.ic;
            return copy_whole(s, row, &input.bytes[pixel..], plan.ic, plan.factors.flip);
        }
        let base = at.y * window.stride_y * layout.row + at.x * window.stride_x * layout.depth;
        let packed = &scratch.input[group * layout.group..];
        for (index, offset) in scratch.runs.iter().enumerate() {
            let run = packed[base + offset..].as_flattened();
            copy_whole(s, &mut row[index * layout.run * DEPTH..], run, layout.run * DEPTH, 0);
        }
    }

    /// Zeroes what follows the row up to a whole tile.
    #[inline(always)]
    fn end_row(&self, row: &mut [u8]) {
        row[self.depth..self.depth.next_multiple_of(ROW_BYTES)].fill(0);
    }
}

/// Copies `bytes` bytes, flipping the bits of `flip`. Where there is room it goes on to a multiple of 64: what follows in a row
/// is written afterwards.
#[inline(always)]
fn copy_whole<S: Simd>(s: S, row: &mut [u8], source: &[u8], bytes: usize, flip: u8) {
    let whole = bytes.next_multiple_of(ROW_BYTES);
    if source.len() < whole {
        return row.iter_mut().zip(&source[..bytes]).for_each(|(to, from)| *to = from ^ flip);
    }
    let (to, from) = (row[..whole].as_chunks_mut::<ROW_BYTES>().0, source[..whole].as_chunks::<ROW_BYTES>().0);
    to.iter_mut().zip(from).for_each(|(to, from)| *to = s.flipped(from, flip));
}

/// A product whose sums wait to be delivered: its first row within the part, and its blocks of channels.
#[derive(Clone, Copy)]
struct Product {
    row: usize,
    blocks: [usize; PAIR],
}

/// Some rows of one group.
struct Part<'p, 'a> {
    rows: &'p Rows<'p, 'a>,
    group: usize,
    first: usize,
    count: usize,
    /// How many of them are read where the input lies; the others were made.
    in_place: usize,
    made: &'p [u8],
}

impl Part<'_, '_> {
    /// The rows of a pair of tiles from `row` on.
    #[inline(always)]
    fn left(&self, row: usize) -> Left<'_> {
        let Rows { plan, stride, .. } = *self.rows;
        if row >= self.in_place {
            return Left { bytes: &self.made[(row - self.in_place) * stride..], stride };
        }
        let Source8 { bytes, map, .. } = plan.conv.input;
        Left { bytes: &bytes[(self.first + row) * map.pix + self.group * plan.ic..], stride: map.pix }
    }

    /// All channels of the group for these rows.
    #[inline(always)]
    fn multiply<S: Simd>(&self, s: S, tiles: &mut Tiles, scratch: &mut Scratch, target: &mut Target8<'_>) {
        let plan = self.rows.plan;
        let per_group = plan.oc_blocks();
        // While one product is computed, the one before is delivered.
        let mut sums = [Sums::NONE; 2];
        let (mut previous, mut turn): (Option<Product>, bool) = (None, false);
        for block in (0..per_group).step_by(PAIR) {
            let blocks = [block, (block + 1).min(per_group - 1)].map(|block| self.group * per_group + block);
            let mut ends = Aligned([[[0; ROW_BYTES]; ROWS]; PAIR]);
            let [first, second] = &mut ends.0;
            let right = [self.right(blocks[0], first), self.right(blocks[1], second)];
            for row in (0..self.count).step_by(PAIR * ROWS) {
                let [now, before] = {
                    let [a, b] = &mut sums;
                    if turn { [a, b] } else { [b, a] }
                };
                turn = !turn;
                tiles.product(self.left(row), right, now);
                if self.first + row < self.rows.ones {
                    self.compensate(s, blocks, now, scratch);
                }
                if let Some(product) = previous {
                    self.emit(s, product, before, scratch, target);
                }
                previous = Some(Product { row, blocks });
            }
        }
        if let Some(product) = previous {
            self.emit(s, product, &mut sums[usize::from(turn)], scratch, target);
        }
    }

    /// The weights of a block of channels; `end` is for the last tile where it would reach beyond the weights.
    #[inline(always)]
    fn right<'w>(&self, block: usize, end: &'w mut [Block; ROWS]) -> Right<'w>
    where
        Self: 'w,
    {
        let panel = self.rows.depth / DEPTH;
        let weights = &self.rows.plan.conv.weights.as_chunks::<ROW_BYTES>().0[block * panel..];
        let (blocks, rest) = weights.split_at(panel - panel % ROWS);
        let rest = (!panel.is_multiple_of(ROWS)).then(|| match rest.first_chunk() {
            Some(rest) => rest,
            None => {
                end[..rest.len()].copy_from_slice(rest);
                &*end
            }
        });
        Right { blocks, rest }
    }

    /// Takes from every bias what inputs are larger than their differences to the zero point: its number times the sum of weights.
    #[inline(always)]
    fn compensate<S: Simd>(&self, s: S, blocks: [usize; PAIR], sums: &Sums, scratch: &mut Scratch) {
        let neutral = s.splat(self.rows.plan.factors.zero);
        let distinct = if blocks[0] == blocks[1] { 1 } else { PAIR };
        for (&block, sums) in blocks[..distinct].iter().zip(&sums.0[0]) {
            let bias = &mut scratch.channels[block].bias;
            s.store(s.sub(s.load(bias), s.mul(s.load(&sums[0]), neutral)), bias);
        }
    }

    /// Delivers a product.
    #[inline(always)]
    fn emit<S: Simd>(&self, s: S, product: Product, sums: &mut Sums, scratch: &Scratch, target: &mut Target8<'_>) {
        let Rows { plan, ones, .. } = *self.rows;
        let w = plan.size[1];
        let blocks = if product.blocks[0] == product.blocks[1] { &product.blocks[..1] } else { &product.blocks };
        for (tile, sums) in sums.0.iter_mut().enumerate() {
            let row = product.row + tile * ROWS;
            let count = ROWS.min(self.count.saturating_sub(row));
            let skipped = ones.saturating_sub(self.first + row).min(count);
            if skipped == count {
                continue;
            }
            let pixel = self.first + row + skipped - ones;
            let at = Cursor { y: pixel / w, x: pixel % w };
            for (&block, sums) in blocks.iter().zip(sums) {
                let in_group = (block - self.group * plan.oc_blocks()) * BLOCK;
                let channels =
                    Channels { first: self.group * plan.oc + in_group, count: BLOCK.min(plan.oc - in_group) };
                emit(s, target, at, channels, &scratch.channels[block], &mut sums[skipped..count]);
            }
        }
    }
}
