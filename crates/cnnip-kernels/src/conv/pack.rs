//! The input as vector backends want it: `[g][row][column][ic/4][4]`, padded all around, every byte as they multiply it.
//!
//! Where that is unsigned, an int8 `x` becomes `x + 128`. Padding channels hold the zero point, so that whatever weights stand there add nothing.

use super::{DEPTH, Plan};
use crate::operand::Factors;
use crate::scratch::sized;
use crate::{Declined, Scratch};

/// Sizes of the rearranged input, in units of four channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    columns: usize,
    /// Units of one pixel.
    pub(super) depth: usize,
    /// Units from one row to the next.
    pub(super) row: usize,
    /// Units from one group to the next.
    pub(super) group: usize,
    /// Length of a contiguous run of taps, in units.
    pub(super) run: usize,
}

/// Units of a rearranged input above which the slow path takes over: 16 MiB, far more than a scratchpad's maps need.
const LARGEST: usize = 1 << 22;

impl Layout {
    pub(super) fn new(plan: &Plan<'_>) -> Result<Self, Declined> {
        let (window, depth) = (&plan.conv.window, plan.ic_blocks());
        let (rows, columns) = window.reach(plan.size[0], plan.size[1]);
        let product = |a: Option<usize>, b: usize| a.and_then(|a| a.checked_mul(b)).filter(|&n| n <= LARGEST);
        let row = product(Some(columns), depth);
        let group = product(row, rows);
        let fits = product(group, plan.conv.groups).is_some();
        let run = if window.dilation_x == 1 { window.kw * depth } else { depth };
        match (row, group) {
            (Some(row), Some(group)) if fits => Ok(Self { columns, depth, row, group, run }),
            _ => Err(Declined::Shape { what: "size of the padded input" }),
        }
    }

    /// Fills the scratch's input and runs.
    pub(super) fn pack(&self, plan: &Plan<'_>, scratch: &mut Scratch) {
        self.fill_runs(plan, &mut scratch.runs);
        let packed = sized(&mut scratch.input, self.group * plan.conv.groups, [0; DEPTH]);
        for (group, packed) in packed.chunks_exact_mut(self.group).enumerate() {
            for (row, packed) in packed.chunks_exact_mut(self.row).enumerate() {
                self.pack_row(plan, group * plan.ic, row, packed);
            }
        }
    }

    /// Offsets of the taps' runs, in the order of the weights.
    fn fill_runs(&self, plan: &Plan<'_>, runs: &mut Vec<usize>) {
        let window = &plan.conv.window;
        let per_row = window.kw * self.depth / self.run;
        runs.clear();
        for ky in 0..window.kh {
            let row = ky * window.dilation_y * self.row;
            runs.extend((0..per_row).map(|kx| row + kx * window.dilation_x * self.depth));
        }
    }

    fn pack_row(&self, plan: &Plan<'_>, channel: usize, row: usize, packed: &mut [[u8; DEPTH]]) {
        let (map, window) = (&plan.conv.input.map, &plan.conv.window);
        let Some(y) = row.checked_sub(window.top).filter(|&y| y < map.h) else {
            return self.pad(plan, packed);
        };
        let first = window.left.min(self.columns);
        let last = (window.left + map.w).min(self.columns);
        let (before, rest) = packed.split_at_mut(first * self.depth);
        let (inside, after) = rest.split_at_mut((last - first) * self.depth);
        self.pad(plan, before);
        self.pad(plan, after);
        let source = &plan.conv.input.bytes[map.at(y, 0) + channel..];
        self.pack_pixels(plan, source, inside);
    }

    /// Pixels of padding: the pad value in real channels.
    fn pad(&self, plan: &Plan<'_>, packed: &mut [[u8; DEPTH]]) {
        packed.as_flattened_mut().fill(plan.pad ^ plan.factors.flip);
        for pixel in packed.chunks_exact_mut(self.depth) {
            pixel.as_flattened_mut()[plan.ic..].fill(plan.factors.neutral);
        }
    }

    /// Pixels of one row.
    fn pack_pixels(&self, plan: &Plan<'_>, source: &[u8], packed: &mut [[u8; DEPTH]]) {
        let (pix, flip) = (plan.conv.input.map.pix, plan.factors.flip);
        if plan.ic == self.depth * DEPTH && pix == plan.ic {
            return flip_into(source, packed.as_flattened_mut(), flip);
        }
        match self.depth {
            1 => return pack_words::<1>(plan, source, packed),
            2 => return pack_words::<2>(plan, source, packed),
            _ => {}
        }
        for (at, pixel) in packed.chunks_exact_mut(self.depth).enumerate() {
            let (real, padding) = pixel.as_flattened_mut().split_at_mut(plan.ic);
            flip_into(&source[at * pix..], real, flip);
            padding.fill(plan.factors.neutral);
        }
    }
}

/// Pixels of `UNITS` units, eight bytes at most, a word at a time: the first layers of networks have few channels.
fn pack_words<const UNITS: usize>(plan: &Plan<'_>, source: &[u8], packed: &mut [[u8; DEPTH]]) {
    let Factors { flip, neutral, .. } = plan.factors;
    let pix = plan.conv.input.map.pix;
    let real = u64::MAX >> (u64::BITS as usize - 8 * plan.ic);
    let [flips, neutrals] = [flip, neutral].map(|byte| u64::from_le_bytes([byte; 8]));
    for (at, pixel) in packed.as_chunks_mut::<UNITS>().0.iter_mut().enumerate() {
        let source = &source[at * pix..];
        // The last pixels may have fewer than eight bytes behind their first.
        let word = source
            .first_chunk()
            .copied()
            .unwrap_or_else(|| std::array::from_fn(|i| source.get(i).copied().unwrap_or(0)));
        let word = ((u64::from_le_bytes(word) ^ flips) & real | neutrals & !real).to_le_bytes();
        pixel.as_flattened_mut().copy_from_slice(&word[..UNITS * DEPTH]);
    }
}

fn flip_into(source: &[u8], packed: &mut [u8], flip: u8) {
    packed.iter_mut().zip(source).for_each(|(packed, x)| *packed = x ^ flip);
}
