//! Lookup of every element in a table of 256.

use crate::{Declined, Kernels, Map};

impl Kernels {
    /// Replaces every int8 element `x` of `input` by `table[x + 128]`.
    ///
    /// # Errors
    /// [`Declined`], with nothing written.
    pub fn table8(
        &self,
        input: &[u8],
        in_map: Map,
        table: &[u8; 256],
        out: &mut [u8],
        map: Map,
    ) -> Result<(), Declined> {
        in_map.check("input", input.len())?;
        map.check_destination(out.len())?;
        if (in_map.h, in_map.w, in_map.c) != (map.h, map.w, map.c) {
            return Err(Declined::Shape { what: "table sizes" });
        }
        for (y, x) in pixels(map) {
            let source = &input[in_map.at(y, x)..][..map.c];
            let target = &mut out[map.at(y, x)..][..map.c];
            target.iter_mut().zip(source).for_each(|(out, &x)| *out = entry(table, x));
        }
        Ok(())
    }

    /// As [`Kernels::table8`], each element replaced where it lies.
    ///
    /// # Errors
    /// [`Declined`], with nothing written.
    pub fn table8_in_place(&self, bytes: &mut [u8], map: Map, table: &[u8; 256]) -> Result<(), Declined> {
        map.check_destination(bytes.len())?;
        for (y, x) in pixels(map) {
            bytes[map.at(y, x)..][..map.c].iter_mut().for_each(|x| *x = entry(table, *x));
        }
        Ok(())
    }
}

fn pixels(map: Map) -> impl Iterator<Item = (usize, usize)> {
    (0..map.h).flat_map(move |y| (0..map.w).map(move |x| (y, x)))
}

fn entry(table: &[u8; 256], x: u8) -> u8 {
    table[usize::from(x ^ 0x80)] // x + 128
}
