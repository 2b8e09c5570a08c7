//! Matrix products: rows of inputs times packed weights.
//!
//! Weights lie in blocks of sixteen output channels, `[o/16][k][16]`; a tile of rows by one or two blocks of sums stays in
//! registers over all of `k`.

use super::lines::padded;
use super::simd::{Simd, Task};
use super::{BLOCK, Finish, Finisher, Lanes};
use crate::{Declined, Kernels};

/// Weights and biases, as products want them.
#[derive(Clone, Debug)]
pub struct PackedWeights {
    blocks: Vec<Lanes>,
    bias: Vec<Lanes>,
    depth: usize,
    outputs: usize,
}

impl PackedWeights {
    /// Packs weights `[output][depth]` and one bias per output; an empty slice means biases of 0.
    ///
    /// # Errors
    /// [`Declined::Shape`] for a depth of 0 or weights that are no multiple of it; [`Declined::Extent`] for another number of
    /// biases.
    pub fn new(weights: &[f32], depth: usize, bias: &[f32]) -> Result<Self, Declined> {
        if depth == 0 || weights.is_empty() || !weights.len().is_multiple_of(depth) {
            return Err(Declined::Shape { what: "weights" });
        }
        let outputs = weights.len() / depth;
        if !bias.is_empty() && bias.len() != outputs {
            return Err(Declined::Extent { what: "biases", have: bias.len(), need: outputs });
        }
        let mut blocks = vec![[0.0; BLOCK]; outputs.div_ceil(BLOCK) * depth];
        for (output, row) in weights.chunks_exact(depth).enumerate() {
            let block = &mut blocks[output / BLOCK * depth..][..depth];
            block.iter_mut().zip(row).for_each(|(lanes, &weight)| lanes[output % BLOCK] = weight);
        }
        let biases = (0..outputs.div_ceil(BLOCK)).map(|block| padded(bias.get(block * BLOCK..).unwrap_or_default()));
        Ok(Self { blocks, bias: biases.collect(), depth, outputs })
    }

    /// Products per output.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

/// The distance of rows that keeps them apart in a cache: at least `depth`, and no multiple of 4096 bytes.
///
/// Rows a page apart share a set of a first-level cache, which has fewer ways than a tile has rows.
#[must_use]
pub const fn row_stride(depth: usize) -> usize {
    let whole = depth.next_multiple_of(BLOCK);
    if whole.is_multiple_of(8 * BLOCK) { whole + BLOCK } else { whole }
}

/// Rows of a matrix: row `i` is `values[i * stride..][..depth]`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
    /// Number of rows.
    pub count: usize,
}

/// What is added to finished products, and how the sum is finished.
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a> {
    /// As many elements as the output, in the same places.
    pub values: &'a [f32],
    /// What happens to the sum.
    pub finish: Finish,
}

/// What happens to products and bias.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// First.
    pub finish: Finish,
    /// Then.
    pub residual: Option<Residual<'a>>,
}

impl Kernels {
    /// Row `i` of the output, `output[i * stride..][..outputs]`, becomes the products of row `i` with the weights, plus bias.
    ///
    /// # Errors
    /// [`Declined::Extent`] if a slice is too short, [`Declined::Shape`] if rows of the output overlap.
    pub fn product_f32(
        &self,
        rows: Rows<'_>,
        weights: &PackedWeights,
        epilogue: &Epilogue<'_>,
        output: &mut [f32],
        stride: usize,
    ) -> Result<(), Declined> {
        if rows.count == 0 {
            return Ok(());
        }
        long_enough("rows", rows.values.len(), rows.count, rows.stride, weights.depth)?;
        long_enough("output", output.len(), rows.count, stride, weights.outputs)?;
        if let Some(residual) = &epilogue.residual {
            long_enough("residual", residual.values.len(), rows.count, stride, weights.outputs)?;
        }
        if stride < weights.outputs {
            return Err(Declined::Shape { what: "output stride" });
        }
        self.with_floats(Product { rows, weights, epilogue, output, stride });
        Ok(())
    }
}

fn long_enough(what: &'static str, have: usize, count: usize, stride: usize, last: usize) -> Result<(), Declined> {
    let need = (count - 1).checked_mul(stride).and_then(|before| before.checked_add(last));
    match need {
        Some(need) if need <= have => Ok(()),
        need => Err(Declined::Extent { what, have, need: need.unwrap_or(usize::MAX) }),
    }
}

struct Product<'a> {
    rows: Rows<'a>,
    weights: &'a PackedWeights,
    epilogue: &'a Epilogue<'a>,
    output: &'a mut [f32],
    stride: usize,
}

impl Task for Product<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let after = After {
            finisher: Finisher::new(s, &self.epilogue.finish),
            residual: match &self.epilogue.residual {
                Some(residual) => Some((residual.values, Finisher::new(s, &residual.finish))),
                None => None,
            },
        };
        let blocks = self.weights.bias.len();
        let mut block = 0;
        while S::WIDE && block + 2 <= blocks {
            self.column::<S, 2>(s, block, &after);
            block += 2;
        }
        while block < blocks {
            self.column::<S, 1>(s, block, &after);
            block += 1;
        }
    }
}

/// [`Epilogue`] in registers.
struct After<'a, S: Simd> {
    finisher: Finisher<S>,
    residual: Option<(&'a [f32], Finisher<S>)>,
}

impl Product<'_> {
    /// All rows of `N` blocks of outputs.
    #[inline(always)]
    fn column<S: Simd, const N: usize>(&mut self, s: S, block: usize, after: &After<'_, S>) {
        let count = self.rows.count;
        let mut row = 0;
        while S::WIDE && row + 14 <= count {
            self.tile::<S, 14, N>(s, row, block, after);
            row += 14;
        }
        while S::WIDE && row + 7 <= count {
            self.tile::<S, 7, N>(s, row, block, after);
            row += 7;
        }
        while !S::WIDE && row + 6 <= count {
            self.tile::<S, 6, N>(s, row, block, after);
            row += 6;
        }
        while row + 2 <= count {
            self.tile::<S, 2, N>(s, row, block, after);
            row += 2;
        }
        if row < count {
            self.tile::<S, 1, N>(s, row, block, after);
        }
    }

    /// `M` rows of `N` blocks of outputs.
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(&mut self, s: S, row: usize, block: usize, after: &After<'_, S>) {
        let sums = self.sums::<S, M, N>(s, row, block);
        for (m, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                self.finish(s, s.load(sum), row + m, block + n, after);
            }
        }
    }

    /// Bias and products of a tile. They go through memory to what follows, whose loops are not unrolled: sums that are
    /// indexed there would live in memory here as well.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "the indices go together through several arrays")]
    fn sums<S: Simd, const M: usize, const N: usize>(&self, s: S, row: usize, block: usize) -> [[Lanes; N]; M] {
        let depth = self.weights.depth;
        let mut rows: [&[f32]; M] = [&[]; M];
        for m in 0..M {
            rows[m] = &self.rows.values[(row + m) * self.rows.stride..][..depth];
        }
        let mut weights: [&[Lanes]; N] = [&[]; N];
        let mut sums = [[s.splat(0.0); N]; M];
        for n in 0..N {
            weights[n] = &self.weights.blocks[(block + n) * depth..][..depth];
            let bias = s.load(&self.weights.bias[block + n]);
            for m in 0..M {
                sums[m][n] = bias;
            }
        }
        for k in 0..depth {
            let mut w = [s.splat(0.0); N];
            for n in 0..N {
                w[n] = s.load(&weights[n][k]);
            }
            for m in 0..M {
                let x = s.splat(rows[m][k]);
                for n in 0..N {
                    sums[m][n] = s.mul_add(x, w[n], sums[m][n]);
                }
            }
        }
        let mut tile = [[[0.0; BLOCK]; N]; M];
        for m in 0..M {
            for n in 0..N {
                s.store(sums[m][n], &mut tile[m][n]);
            }
        }
        tile
    }

    /// Finishes and stores one vector of sums.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, sum: S::Vector, row: usize, block: usize, after: &After<'_, S>) {
        let mut value = after.finisher.apply(s, sum);
        let at = row * self.stride + block * BLOCK;
        let width = (self.weights.outputs - block * BLOCK).min(BLOCK);
        if let Some((values, finisher)) = &after.residual {
            let other = match values.get(at..at + BLOCK).and_then(|values| values.first_chunk()) {
                Some(lanes) => s.load(lanes),
                None => s.load(&padded(&values[at..at + width])),
            };
            value = finisher.apply(s, s.add(value, other));
        }
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
