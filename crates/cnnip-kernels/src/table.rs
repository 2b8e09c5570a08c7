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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::vector_kernels;

    #[test]
    fn every_value_is_replaced_by_its_entry_and_nothing_else_is_touched() {
        let table: [u8; 256] = std::array::from_fn(|i| u8::try_from(i).unwrap().wrapping_mul(7));
        let input: Vec<u8> = (0..=u8::MAX).collect();
        let (in_map, map) = (Map::dense(4, 16, 4), Map { h: 4, w: 16, c: 4, row: 100, pix: 6 });
        let entry = |x: u8| table[usize::from(x.wrapping_add(128))];
        for kernels in vector_kernels().chain([Kernels::scalar()]) {
            let mut out = vec![0xee; map.extent().unwrap() + 2];
            kernels.table8(&input, in_map, &table, &mut out, map).unwrap();
            let mut want = vec![0xee; out.len()];
            for (i, &x) in input.iter().enumerate() {
                want[map.at(i / 64, i / 4 % 16) + i % 4] = entry(x);
            }
            assert_eq!(out, want, "{:?}", kernels.backend());
            let mut bytes = input.clone();
            kernels.table8_in_place(&mut bytes, in_map, &table).unwrap();
            assert_eq!(bytes, input.iter().map(|&x| entry(x)).collect::<Vec<_>>(), "{:?}", kernels.backend());
        }
    }

    #[test]
    fn maps_of_different_sizes_are_declined() {
        let declined =
            Kernels::scalar().table8(&[0; 4], Map::dense(1, 1, 4), &[0; 256], &mut [0; 4], Map::dense(1, 2, 2));
        assert_eq!(declined, Err(Declined::Shape { what: "table sizes" }));
    }
}
