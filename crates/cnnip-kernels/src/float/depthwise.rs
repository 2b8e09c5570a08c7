//! Depthwise convolution of NHWC maps: every channel with its own kernel.

use super::lines::padded;
use super::simd::{Simd, Task};
use super::{BLOCK, Finish, Finisher, Lanes};
use crate::{Declined, Kernels, Window};

/// Extents of a dense map `[h][w][c]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapF32<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

/// Weights and biases, as the kernel wants them: `[c/16][tap][16]`.
#[derive(Clone, Debug)]
pub struct DepthwiseWeights {
    taps: Vec<Lanes>,
    bias: Vec<Lanes>,
    channels: usize,
    window: Window,
}

impl DepthwiseWeights {
    /// Packs weights `[kh][kw][channel]` and one bias per channel; an empty slice means biases of 0.
    ///
    /// # Errors
    /// [`Declined::Shape`] and [`Declined::Extent`] if numbers of elements do not fit.
    pub fn new(weights: &[f32], channels: usize, bias: &[f32], window: Window) -> Result<Self, Declined> {
        window.check()?;
        let need =
            window.taps().checked_mul(channels).filter(|&need| need > 0).ok_or(Declined::Shape { what: "weights" })?;
        if weights.len() != need {
            return Err(Declined::Extent { what: "weights", have: weights.len(), need });
        }
        if !bias.is_empty() && bias.len() != channels {
            return Err(Declined::Extent { what: "biases", have: bias.len(), need: channels });
        }
        let block_of = |line: &[f32], first: usize| padded(line.get(first..).unwrap_or_default());
        let firsts = || (0..channels).step_by(BLOCK);
        let taps = firsts().flat_map(|first| weights.chunks_exact(channels).map(move |line| block_of(line, first)));
        Ok(Self { taps: taps.collect(), bias: firsts().map(|first| block_of(bias, first)).collect(), channels, window })
    }
}

impl Kernels {
    /// Convolves one image; `output` is `[h][w][c]` with `size` rows and columns.
    ///
    /// # Errors
    /// [`Declined::Extent`] if a slice does not have the elements of its map.
    pub fn depthwise_f32(
        &self,
        input: MapF32<'_>,
        weights: &DepthwiseWeights,
        finish: &Finish,
        size: [usize; 2],
        output: &mut [f32],
    ) -> Result<(), Declined> {
        let elements = |h: usize, w: usize| h.checked_mul(w)?.checked_mul(weights.channels);
        for (what, have, need) in [
            ("input", input.values.len(), elements(input.h, input.w)),
            ("output", output.len(), elements(size[0], size[1])),
        ] {
            if Some(have) != need {
                return Err(Declined::Extent { what, have, need: need.unwrap_or(usize::MAX) });
            }
        }
        self.with_floats(Depthwise { input, weights, finish, size, output });
        Ok(())
    }
}

struct Depthwise<'a> {
    input: MapF32<'a>,
    weights: &'a DepthwiseWeights,
    finish: &'a Finish,
    size: [usize; 2],
    output: &'a mut [f32],
}

/// Pixels that share a load of the weights.
const PIXELS: usize = 4;

impl Task for Depthwise<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let finisher = Finisher::new(s, self.finish);
        let window = &self.weights.window;
        let [height, width] = self.size;
        let inner = inside(self.input.w, window.kw, window.stride_x, window.dilation_x, window.left, width);
        for y in 0..height {
            let mut x = 0;
            while x < width {
                let whole = x >= inner.0 && x + PIXELS <= inner.1;
                if whole {
                    self.pixels::<S, PIXELS>(s, y, x, &finisher);
                    x += PIXELS;
                } else {
                    self.pixels::<S, 1>(s, y, x, &finisher);
                    x += 1;
                }
            }
        }
    }
}

/// Output positions, first and behind the last, all of whose taps lie inside.
fn inside(input: usize, taps: usize, stride: usize, dilation: usize, before: usize, output: usize) -> (usize, usize) {
    let first = before.div_ceil(stride);
    let reach = (taps - 1) * dilation;
    let behind = (input + before).checked_sub(reach + 1).map_or(0, |last| last / stride + 1);
    (first, behind.min(output))
}

impl Depthwise<'_> {
    /// `P` neighbouring pixels, all channels. Several pixels have all their columns inside.
    #[inline(always)]
    fn pixels<S: Simd, const P: usize>(&mut self, s: S, y: usize, x: usize, finisher: &Finisher<S>) {
        let channels = self.weights.channels;
        for block in 0..self.weights.bias.len() {
            let first = block * BLOCK;
            let width = (channels - first).min(BLOCK);
            let sums = if width == BLOCK {
                self.sums::<S, P, true>(s, y, x, block)
            } else {
                self.sums::<S, P, false>(s, y, x, block)
            };
            for (p, sum) in sums.iter().enumerate() {
                let at = (y * self.size[1] + x + p) * channels + first;
                let value = finisher.apply(s, s.load(sum));
                let output = &mut self.output[at..at + width];
                match output.first_chunk_mut() {
                    Some(lanes) => s.store(value, lanes),
                    None => {
                        let mut lanes = [0.0; BLOCK];
                        s.store(value, &mut lanes);
                        output.copy_from_slice(&lanes[..width]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn sums<S: Simd, const P: usize, const WHOLE: bool>(&self, s: S, y: usize, x: usize, block: usize) -> [Lanes; P] {
        let Self { input, weights, .. } = self;
        let (window, channels, first) = (&weights.window, weights.channels, block * BLOCK);
        let taps = &weights.taps[block * window.taps()..][..window.taps()];
        let mut sums = [s.load(&weights.bias[block]); P];
        for ky in 0..window.kh {
            let row = (y * window.stride_y + ky * window.dilation_y).wrapping_sub(window.top);
            if row >= input.h {
                continue;
            }
            for kx in 0..window.kw {
                let column = (x * window.stride_x + kx * window.dilation_x).wrapping_sub(window.left);
                if column >= input.w {
                    continue;
                }
                let w = s.load(&taps[ky * window.kw + kx]);
                let at = (row * input.w + column) * channels + first;
                for (p, sum) in sums.iter_mut().enumerate() {
                    let values = &input.values[at + p * window.stride_x * channels..];
                    let lanes = match values.first_chunk() {
                        Some(lanes) if WHOLE => s.load(lanes),
                        _ => s.load(&padded(&values[..values.len().min(channels - first)])),
                    };
                    *sum = s.mul_add(lanes, w, *sum);
                }
            }
        }
        let mut tile = [[0.0; BLOCK]; P];
        for (lanes, &sum) in tile.iter_mut().zip(&sums) {
            s.store(sum, lanes);
        }
        tile
    }
}
