//! Sums over height and width.

use crate::{Declined, Kernels, Source8};

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
        for (c, sum) in sums.iter_mut().enumerate() {
            for y in 0..input.map.h {
                for x in 0..input.map.w {
                    let value = input.element.value(input.bytes[input.map.at(y, x) + c]);
                    *sum = sum.wrapping_add(i64::from(value - input.zero));
                }
            }
        }
        Ok(())
    }
}
