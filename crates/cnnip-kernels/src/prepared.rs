//! What of a convolution is the same for every input, found once.

use std::ops::Range;

use crate::channel::Channel16;
use crate::{Conv8, Declined, Depthwise8, Kernels, Map, Output8, Scratch, Source8, Target8};

/// Channels of a convolution, checked and laid out: biases with the zero point's part in them, and scales.
///
/// They belong to the weights, the records, the window, the type and zero point of the input and the last stage that they were
/// made for, and to the kernels that made them; with others, results mean nothing.
#[derive(Debug)]
pub struct Prepared8 {
    blocks: Vec<Channel16>,
}

impl Prepared8 {
    /// Some blocks of 16 channels.
    ///
    /// # Errors
    /// [`Declined`] if there are fewer.
    pub(crate) fn blocks(&self, blocks: Range<usize>) -> Result<&[Channel16], Declined> {
        let (have, need) = (self.blocks.len(), blocks.end);
        self.blocks.get(blocks).ok_or(Declined::Extent { what: "prepared channels", have, need })
    }
}

/// What a convolution of one pixel leaves behind.
fn prepare<'a>(
    scratch: &mut Scratch,
    input: &Source8<'a>,
    (output, channels): (Output8, usize),
    pixel: &'a [u8],
    run: impl FnOnce(&mut Scratch, Source8<'a>, Target8<'_>) -> Result<(), Declined>,
) -> Result<Prepared8, Declined> {
    let source = Source8 { bytes: pixel, map: Map::dense(1, 1, pixel.len()), ..*input };
    let mut bytes = vec![0; channels];
    scratch.channels.clear();
    let target = Target8::Output { bytes: &mut bytes, map: Map::dense(1, 1, channels), output, load: None };
    run(scratch, source, target)?;
    Ok(Prepared8 { blocks: scratch.channels.clone() })
}

impl Kernels {
    /// Prepares a convolution to `channels` output channels; where its input lies and how large it is does not matter.
    ///
    /// # Errors
    /// As [`conv8`](Self::conv8).
    pub fn prepare_conv8(
        &self,
        scratch: &mut Scratch,
        conv: &Conv8<'_>,
        output: Output8,
        channels: usize,
    ) -> Result<Prepared8, Declined> {
        let pixel = vec![0; conv.input.map.c];
        prepare(scratch, &conv.input, (output, channels), &pixel, |scratch, input, target| {
            self.conv8(scratch, &Conv8 { input, ..*conv }, target)
        })
    }

    /// As [`prepare_conv8`](Self::prepare_conv8), channel by channel.
    ///
    /// # Errors
    /// As [`depthwise8`](Self::depthwise8).
    pub fn prepare_depthwise8(
        &self,
        scratch: &mut Scratch,
        conv: &Depthwise8<'_>,
        output: Output8,
        channels: usize,
    ) -> Result<Prepared8, Declined> {
        let pixel = vec![0; conv.input.map.c];
        prepare(scratch, &conv.input, (output, channels), &pixel, |scratch, input, target| {
            self.depthwise8(scratch, &Depthwise8 { input, ..*conv }, target)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bytes, output, records, vector_kernels};
    use crate::{Element8, Window};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prepared_convolutions_equal_the_scalar_twin(
            seed: u64, (h, w) in (1..9_usize, 1..9_usize), ic in 1..70_usize, oc in 1..70_usize, kernel in 1..4_usize, pad in 0..2_usize,
            zero in -128..128, output in output(), depthwise: bool, first in 0..3_usize,
        ) {
            prop_assume!(h + 2 * pad >= kernel && w + 2 * pad >= kernel);
            let oc = if depthwise { ic } else { oc };
            let size = [h + 2 * pad + 1 - kernel, w + 2 * pad + 1 - kernel];
            let (map, out) = (Map::dense(h, w, ic), Map::dense(size[0], size[1], oc));
            let pixels = bytes(seed, h * w * ic);
            let input = Source8 { bytes: &pixels, map, element: Element8::Int8, zero };
            let panel = kernel * kernel * ic.next_multiple_of(4) * 16;
            let weights = bytes(seed ^ 1, oc.div_ceil(16) * panel);
            let records = records(seed ^ 2, oc, output.mode, kernel * kernel * ic);
            let (window, pad_value, w_zero, use_bias) = (Window::square(kernel, 1, pad), zero, 0, true);
            let conv =
                Conv8 { input, pad_value, window, groups: 1, weights: &weights, w_zero, records: &records, use_bias };
            let each =
                Depthwise8 { input, pad_value, window, multiplier: 1, weights: &weights, w_zero, records: &records, use_bias };
            let mut want = vec![0; size[0] * size[1] * oc];
            let target = Target8::Output { bytes: &mut want, map: out, output, load: None };
            let scratch = &mut Scratch::new();
            let plain = Kernels::scalar();
            let result = if depthwise { plain.depthwise8(scratch, &each, target) } else { plain.conv8(scratch, &conv, target) };
            for kernels in vector_kernels().chain([plain]) {
                let prepared = if depthwise {
                    kernels.prepare_depthwise8(scratch, &each, output, oc)
                } else {
                    kernels.prepare_conv8(scratch, &conv, output, oc)
                };
                prop_assert_eq!(prepared.as_ref().err(), result.as_ref().err());
                let Ok(prepared) = prepared else { continue };
                let mut found = vec![0; want.len()];
                let target = Target8::Output { bytes: &mut found, map: out, output, load: None };
                if depthwise {
                    kernels.depthwise8_prepared(scratch, &each, target, &prepared).unwrap();
                    prop_assert_eq!(&found, &want);
                    continue;
                }
                kernels.conv8_prepared(scratch, &conv, target, &prepared, 0).unwrap();
                prop_assert_eq!(&found, &want);
                // Some of the blocks alone.
                let skipped = first.min(oc.div_ceil(16) - 1);
                let part = Map::dense(size[0], size[1], oc - 16 * skipped);
                let mut found = vec![0; size[0] * size[1] * part.c];
                let target = Target8::Output { bytes: &mut found, map: part, output, load: None };
                let conv = Conv8 { weights: &weights[skipped * panel..], records: &conv.records[256 * skipped..], ..conv };
                kernels.conv8_prepared(scratch, &conv, target, &prepared, skipped).unwrap();
                for (found, want) in found.chunks(part.c).zip(want.chunks(oc)) {
                    prop_assert_eq!(found, &want[16 * skipped..]);
                }
            }
        }
    }
}
