//! How fast the processor multiplies at best: what measured speeds are compared with.

use crate::channel::BLOCK;
use crate::simd::amx::{Aligned, Left, ROW_BYTES, ROWS, Right, Sums, Tiles};
use crate::simd::{Block, Simd, Task};
use crate::{Backend, Kernels};

/// Tiles of depth of one product: operands that stay in the first-level cache.
const DEPTH: usize = 4;

/// Sums in progress of one round of vectors: enough to hide the latency of an instruction.
const CHAINS: usize = 12;

/// Products of one vector instruction.
const VECTOR_MACS: u64 = 64;

impl Kernels {
    /// Does nothing but 8-bit products on operands that are near, `rounds` times, and gives how many products that were. To be
    /// timed by the caller.
    ///
    /// ```
    /// assert!(cnnip_kernels::Kernels::default().multiply_only(10) > 0);
    /// ```
    pub fn multiply_only(&self, rounds: u64) -> u64 {
        if let Some(mut tiles) = self.tiles() {
            return multiply_tiles(&mut tiles, rounds);
        }
        if self.backend() == Backend::Scalar {
            return multiply_plainly(rounds);
        }
        self.vectorize(Vectors { rounds });
        rounds * VECTOR_MACS * 16 * u64::try_from(CHAINS).unwrap_or(0)
    }
}

fn multiply_tiles(tiles: &mut Tiles, rounds: u64) -> u64 {
    let left = Aligned([3; 2 * ROWS * DEPTH * ROW_BYTES]);
    let blocks = Aligned([[5; ROW_BYTES]; DEPTH * ROWS]);
    let right = [Right { blocks: &blocks.0, rest: None }; 2];
    let mut sums = Sums::NONE;
    for _ in 0..rounds {
        tiles.product(Left { bytes: &left.0, stride: DEPTH * ROW_BYTES }, right, &mut sums);
    }
    std::hint::black_box(&sums);
    let per_round = 2 * ROWS * 2 * BLOCK * DEPTH * ROW_BYTES;
    rounds * u64::try_from(per_round).unwrap_or(0)
}

fn multiply_plainly(rounds: u64) -> u64 {
    let factors = std::hint::black_box([(3_i8, 5_i8); 64]);
    let mut sum = 0_i32;
    for _ in 0..rounds {
        sum = std::hint::black_box(factors)
            .iter()
            .fold(sum, |sum, &(x, w)| sum.wrapping_add(i32::from(x) * i32::from(w)));
    }
    std::hint::black_box(sum);
    rounds * 64
}

/// Products of vectors in registers.
struct Vectors {
    rounds: u64,
}

impl Task for Vectors {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let weights: Block = std::hint::black_box([5; 4 * BLOCK]);
        let x: [u8; 4] = std::hint::black_box([3; 4]);
        let mut sums = [s.no_sums(); CHAINS];
        for _ in 0..self.rounds {
            for _ in 0..16 {
                for sums in &mut sums {
                    *sums = s.dot_splat(*sums, x, &weights);
                }
            }
        }
        let mut lanes = [0; BLOCK];
        for sums in sums {
            s.store(s.total(sums), &mut lanes);
            std::hint::black_box(&lanes);
        }
    }
}
