//! Sums over height and width.

use crate::simd::{Simd, Task};
use crate::{Backend, Declined, Kernels, Source8};

impl Kernels {
    /// Adds the sum of (x - zero) over all pixels of each channel to `sums`, one per channel.
    ///
    /// # Errors
    /// [`Declined`], with nothing written.
    pub fn reduce_sum8(&self, input: &Source8<'_>, sums: &mut [i64]) -> Result<(), Declined> {
        input.check()?;
        if sums.len() != input.map.c {
            return Err(Declined::Extent { what: "sums", have: sums.len(), need: input.map.c });
        }
        if input.map.h.checked_mul(input.map.w).is_none_or(|pixels| pixels > MOST_PIXELS) {
            return Err(Declined::Shape { what: "number of pixels" });
        }
        if self.backend() == Backend::Scalar {
            plain(input, sums);
        } else {
            self.vectorize(Sum { input, sums });
        }
        Ok(())
    }
}

/// Pixels whose sum is sure to fit 32 bits.
const MOST_PIXELS: usize = 1 << 22;

/// The slow twin.
fn plain(input: &Source8<'_>, sums: &mut [i64]) {
    for (c, sum) in sums.iter_mut().enumerate() {
        for y in 0..input.map.h {
            for x in 0..input.map.w {
                let value = input.element.value(input.bytes[input.map.at(y, x) + c]);
                *sum = sum.wrapping_add(i64::from(value - input.zero));
            }
        }
    }
}

struct Sum<'j, 'a> {
    input: &'j Source8<'a>,
    sums: &'j mut [i64],
}

/// Channels that are summed together.
const PART: usize = 64;

impl Task for Sum<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let map = self.input.map;
        for (part, sums) in self.sums.chunks_mut(PART).enumerate() {
            let mut totals = [0_i32; PART];
            for y in 0..map.h {
                for x in 0..map.w {
                    let pixel = &self.input.bytes[map.at(y, x) + part * PART..][..sums.len()];
                    match pixel.first_chunk::<PART>() {
                        Some(pixel) => add(self.input, &mut totals, pixel),
                        None => add(self.input, &mut totals, pixel),
                    }
                }
            }
            for (sum, total) in sums.iter_mut().zip(totals) {
                *sum = sum.wrapping_add(i64::from(total));
            }
        }
    }
}

#[inline(always)]
fn add(input: &Source8<'_>, totals: &mut [i32; PART], pixel: &[u8]) {
    let flip = input.element.flip();
    let neutral = input.zero + i32::from(flip);
    totals.iter_mut().zip(pixel).for_each(|(total, x)| *total += i32::from(x ^ flip) - neutral);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bytes, vector_kernels};
    use crate::{Element8, Map};
    use proptest::prelude::*;

    #[test]
    fn sums_add_to_what_is_there() {
        let source = Source8 { bytes: &[1, 0xff, 3, 4], map: Map::dense(1, 2, 2), element: Element8::Int8, zero: 1 };
        let mut sums = [10, 20];
        Kernels::scalar().reduce_sum8(&source, &mut sums).unwrap();
        assert_eq!(sums, [12, 21]);
    }

    proptest! {
        #[test]
        fn every_backend_equals_the_scalar_twin(
            seed: u64, h in 1..6_usize, w in 1..6_usize, c in 1..150_usize, gap in 0..3_usize, unsigned: bool, zero in 0..128,
        ) {
            let map = Map { h, w, c, pix: c + gap, row: w * (c + gap) };
            let element = if unsigned { Element8::Uint8 } else { Element8::Int8 };
            let source = Source8 { bytes: &bytes(seed, map.extent().unwrap()), map, element, zero };
            let run = |kernels: Kernels| {
                let mut sums = vec![i64::MAX - 5; c];
                (kernels.reduce_sum8(&source, &mut sums), sums)
            };
            let want = run(Kernels::scalar());
            for kernels in vector_kernels() {
                prop_assert_eq!(&want, &run(kernels));
            }
        }
    }
}
