//! The depthwise convolution over vectors.
//!
//! Sixteen channels of four vertical taps make one vector operation. So for every output row and block of channels, four
//! input rows at a time are interleaved, column by column; a column then serves every output that it is a tap of. Of windows
//! three rows high the four serve two output rows.

use super::Plan;
use crate::channel::BLOCK;
use crate::emit::{Channels, Cursor, emit};
use crate::scratch::sized;
use crate::simd::{Block, Lanes, Simd, Task, load_bytes};
use crate::{Scratch, Target8};

/// A checked convolution whose channels are filled in.
pub(super) struct Job<'j, 'a, 't> {
    pub(super) plan: &'j Plan<'a>,
    pub(super) scratch: &'j mut Scratch,
    pub(super) target: &'j mut Target8<'t>,
}

/// Vertical taps per interleaved group.
const GROUP: usize = 4;

/// Output pixels per call of the output stage.
const TILE: usize = 8;

impl Task for Job<'_, '_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, scratch, target } = self;
        let [h, w] = plan.size;
        let (_, columns) = plan.conv.window.reach(1, w);
        let groups = plan.conv.window.kh.div_ceil(GROUP);
        let channels = plan.records.channels;
        let block_taps = groups * plan.conv.window.kw;
        let rows = rows_at_once(plan);
        // Of every block the weights for the first of the rows, then those for the second.
        let taps = sized(&mut scratch.taps, rows * block_taps * channels.div_ceil(BLOCK), [0; 4 * BLOCK]);
        for (block, taps) in taps.chunks_exact_mut(rows * block_taps).enumerate() {
            for (row, taps) in taps.chunks_exact_mut(block_taps).enumerate() {
                interleave_weights(s, plan, block, row, taps);
            }
            compensate(s, plan, &taps[..block_taps], &mut scratch.channels[block].bias);
        }
        let lines = sized(&mut scratch.columns, groups * columns, [0; 4 * BLOCK]);
        for first_row in (0..h).step_by(rows) {
            let taps = taps.chunks_exact(rows * block_taps);
            for (block, (taps, channel)) in taps.zip(&scratch.channels).enumerate() {
                let first = block * BLOCK;
                let part = Channels { first, count: BLOCK.min(channels - first) };
                for (group, line) in lines.chunks_exact_mut(columns).enumerate() {
                    interleave_rows(s, plan, first_row, group * GROUP, part, line);
                }
                for (y, taps) in (first_row..h).zip(taps.chunks_exact(block_taps)) {
                    for x in (0..w).step_by(TILE) {
                        let mut sums = [[0; BLOCK]; TILE];
                        let sums = &mut sums[..TILE.min(w - x)];
                        sum_line(s, plan, lines, columns, taps, x, sums);
                        emit(s, target, Cursor { y, x }, part, channel, sums);
                    }
                }
            }
        }
    }
}

/// Output rows that one group of input rows serves: two, where the fourth row is the last tap of the second.
fn rows_at_once(plan: &Plan<'_>) -> usize {
    let window = &plan.conv.window;
    let is_next = [window.stride_y, window.dilation_y] == [1; 2] && window.kh == GROUP - 1;
    1 + usize::from(is_next)
}

/// The weights of one block of channels, four vertical taps together, for an output that is so many rows below; taps that are
/// not there weigh nothing.
#[inline(always)]
fn interleave_weights<S: Simd>(s: S, plan: &Plan<'_>, block: usize, below: usize, taps: &mut [Block]) {
    let (kh, kw) = (plan.conv.window.kh, plan.conv.window.kw);
    let weights = &plan.conv.weights.as_chunks::<BLOCK>().0[block * kh * kw..][..kh * kw];
    for (at, tap) in taps.iter_mut().enumerate() {
        let (ky, kx) = (at / kw * GROUP, at % kw);
        let at = |r: usize| Some((ky + r).checked_sub(below)? * kw + kx);
        let row = |r| at(r).and_then(|at| weights.get(at)).unwrap_or(&[0; BLOCK]);
        *tap = s.interleave([row(0), row(1), row(2), row(3)], 0);
    }
}

/// Takes off what inputs are larger than their differences to the zero point: its number times the sum of weights.
#[inline(always)]
fn compensate<S: Simd>(s: S, plan: &Plan<'_>, taps: &[Block], bias: &mut Lanes) {
    if plan.factors.zero == 0 {
        return;
    }
    let sums = taps.iter().fold(s.no_sums(), |sums, tap| s.dot_splat(sums, [1; GROUP], tap));
    let offset = s.mul(s.total(sums), s.splat(plan.factors.zero));
    s.store(s.sub(s.load(bias), offset), bias);
}

/// Columns of the four input rows under taps `ky` to `ky + 3` of output row `y`.
#[inline(always)]
fn interleave_rows<S: Simd>(s: S, plan: &Plan<'_>, y: usize, ky: usize, part: Channels, line: &mut [Block]) {
    let (map, window) = (&plan.conv.input.map, &plan.conv.window);
    let padding = [plan.pad; BLOCK];
    let flip = plan.factors.flip;
    // A row of padding is one pixel that repeats.
    let mut rows: [(&[u8], usize); GROUP] = [(&padding, 0); GROUP];
    for (r, row) in rows.iter_mut().enumerate().take(window.kh - ky + rows_at_once(plan) - 1) {
        if let Some(at) = window.row(y, ky + r, map.h) {
            *row = (&plan.conv.input.bytes[map.at(at, 0) + part.first..], map.pix);
        }
    }
    let first = window.left.min(line.len());
    let last = (window.left + map.w).min(line.len());
    let all_padding = s.interleave([&padding; GROUP], flip);
    line[..first].fill(all_padding);
    line[last..].fill(all_padding);
    for (column, out) in line[first..last].iter_mut().enumerate() {
        *out = interleave_column(s, &rows, column, part.count, flip);
    }
}

/// One column of four rows.
#[inline(always)]
fn interleave_column<S: Simd>(s: S, rows: &[(&[u8], usize); GROUP], column: usize, count: usize, flip: u8) -> Block {
    let whole = |r: usize| rows[r].0.get(column * rows[r].1..)?.first_chunk::<BLOCK>();
    if let (Some(a), Some(b), Some(c), Some(d)) = (whole(0), whole(1), whole(2), whole(3)) {
        return s.interleave([a, b, c, d], flip); // bytes after the last channel are somebody else's, and not used
    }
    let part = |r: usize| load_bytes(&rows[r].0[column * rows[r].1..][..count]);
    s.interleave([&part(0), &part(1), &part(2), &part(3)], flip)
}

/// Sums of consecutive output pixels from column `x` on, in tiles of powers of two.
#[inline(always)]
fn sum_line<S: Simd>(
    s: S,
    plan: &Plan<'_>,
    lines: &[Block],
    columns: usize,
    taps: &[Block],
    x: usize,
    out: &mut [Lanes],
) {
    let mut done = 0;
    while done < out.len() {
        let (x, out) = (x + done, &mut out[done..]);
        done += match out.len().min(S::TILE_PIXELS) {
            8.. => tile::<S, 8>(s, plan, lines, columns, taps, x, out),
            4..8 => tile::<S, 4>(s, plan, lines, columns, taps, x, out),
            2..4 => tile::<S, 2>(s, plan, lines, columns, taps, x, out),
            _ => tile::<S, 1>(s, plan, lines, columns, taps, x, out),
        };
    }
}

/// `P` output pixels in registers; returns their number.
#[inline(always)]
fn tile<S: Simd, const P: usize>(
    s: S,
    plan: &Plan<'_>,
    lines: &[Block],
    columns: usize,
    taps: &[Block],
    x: usize,
    out: &mut [Lanes],
) -> usize {
    if P > S::TILE_PIXELS {
        return P; // never: keeps unused code from being made
    }
    let window = &plan.conv.window;
    let mut sums = [s.no_sums(); P];
    for (at, tap) in taps.iter().enumerate() {
        let (group, kx) = if at < window.kw { (0, at) } else { (at / window.kw, at % window.kw) };
        let line =
            &lines[group * columns + x * window.stride_x + kx * window.dilation_x..][..(P - 1) * window.stride_x + 1];
        for (p, sums) in sums.iter_mut().enumerate() {
            *sums = s.dot(*sums, &line[p * window.stride_x], tap);
        }
    }
    sums.into_iter().zip(out).for_each(|(sums, out)| s.store(s.total(sums), out));
    P
}
