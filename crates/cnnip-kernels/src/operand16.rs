//! What 16-bit kernels read and write. Strides of maps are in bytes; elements are little-endian and need no alignment.

use crate::channel::Records;
use crate::operand::ACCUMULATOR;
use crate::{Declined, Load, Map, accumulators};
use cnnip_numerics::{AccumulatorWidth, RoundingMode, Scale};

/// Bytes of one 16-bit element.
pub(crate) const ELEMENT: usize = 2;

/// An int16 feature map that is read. Its zero point is 0.
#[derive(Clone, Copy, Debug)]
pub struct Source16<'a> {
    /// Memory from element (0, 0, 0) on.
    pub bytes: &'a [u8],
    /// Size in elements, strides in bytes.
    pub map: Map,
}

impl Source16<'_> {
    pub(crate) fn check(&self) -> Result<(), Declined> {
        wide(&self.map)?.check("input", self.bytes.len())
    }

    /// The elements of `channels` from `first` on of the pixel at byte `pixel`.
    #[inline(always)]
    pub(crate) fn elements(&self, pixel: usize, first: usize, channels: usize) -> &[[u8; ELEMENT]] {
        self.bytes[pixel + first * ELEMENT..][..channels * ELEMENT].as_chunks().0
    }

    /// Largest magnitude of an element that is read, or of `pad`.
    pub(crate) fn magnitude(&self, pad: i16) -> u64 {
        let Map { h, w, c, .. } = self.map;
        let pixels = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
        let largest =
            pixels.flat_map(|(y, x)| self.elements(self.map.at(y, x), 0, c)).map(|x| int16(*x).unsigned_abs());
        u64::from(largest.fold(pad.unsigned_abs(), u16::max))
    }
}

/// Weights of a 16-bit layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights16<'a> {
    /// int8; a dense convolution's in layout `dense8`.
    Int8(&'a [u8]),
    /// int16; a dense convolution's in layout `dense16`.
    Int16(&'a [u8]),
}

impl<'a> Weights16<'a> {
    /// Their memory.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Int8(bytes) | Self::Int16(bytes) => bytes,
        }
    }

    /// Bytes of one weight.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Int8(_) => 1,
            Self::Int16(_) => ELEMENT,
        }
    }

    /// Largest magnitude of a weight.
    pub(crate) fn magnitude(&self) -> u64 {
        match self {
            Self::Int8(_) => 1 << 7,
            Self::Int16(_) => 1 << 15,
        }
    }

    /// The weight at element `index`.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> i16 {
        match self {
            Self::Int8(bytes) => i16::from(bytes[index].cast_signed()),
            Self::Int16(bytes) => int16(bytes[index * ELEMENT..].first_chunk().copied().unwrap_or_default()),
        }
    }
}

/// Last stage of a 16-bit operation: scale in `mode`, add `zero`, clamp to `min..=max`, store as int16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output16 {
    /// Zero point of the output.
    pub zero: i16,
    /// Lower clamp.
    pub min: i16,
    /// Upper clamp.
    pub max: i16,
    /// How values are scaled.
    pub mode: RoundingMode,
}

/// Where a 16-bit convolution's accumulators go.
#[derive(Debug)]
pub enum Target16<'a> {
    /// Through requantization into an int16 map.
    Output {
        /// Memory from element (0, 0, 0) on; bytes outside the map's elements are not touched.
        bytes: &'a mut [u8],
        /// Size of the output in elements, strides in bytes.
        map: Map,
        /// Scaling and clamp.
        output: Output16,
        /// 64-bit accumulators `[h][w][c]` to start from.
        load: Option<&'a [u8]>,
    },
    /// Into 64-bit little-endian accumulators `[h][w][c]`.
    Accumulators {
        /// The accumulators.
        bytes: &'a mut [u8],
        /// Height, width and channels of the output.
        size: [usize; 3],
        /// What to start from.
        load: Load<'a>,
    },
}

impl Target16<'_> {
    /// Height, width and channels.
    pub(crate) fn size(&self) -> [usize; 3] {
        match self {
            Self::Output { map, .. } => [map.h, map.w, map.c],
            Self::Accumulators { size, .. } => *size,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Declined> {
        let [h, w, c] = self.size();
        let need = h.checked_mul(w).and_then(|n| n.checked_mul(c)).and_then(|n| n.checked_mul(ACCUMULATOR));
        let need = need.filter(|&bytes| bytes > 0).ok_or(Declined::Shape { what: "output size" })?;
        let holds = |what, have| if have < need { Err(Declined::Extent { what, have, need }) } else { Ok(()) };
        match self {
            Self::Output { bytes, map, load, .. } => {
                load.map_or(Ok(()), |load| holds("accumulators in", load.len()))?;
                wide(map)?.check_destination(bytes.len())
            }
            Self::Accumulators { bytes, load, .. } => {
                if let Load::From(load) = load {
                    holds("accumulators in", load.len())?;
                }
                holds("accumulators out", bytes.len())
            }
        }
    }

    /// Checks the records, and that accumulators stay in the range of the output's mode where sums of products stay within
    /// `sum(channel)`.
    pub(crate) fn check_records(&self, records: &Records<'_>, sum: impl Fn(usize) -> u64) -> Result<(), Declined> {
        let need = records.channels.checked_mul(cnnip_numerics::ChannelRecord::BYTES);
        let need = need.ok_or(Declined::Shape { what: "channels" })?;
        let are_used = records.use_bias || matches!(self, Self::Output { .. });
        if are_used && records.bytes.len() < need {
            return Err(Declined::Extent { what: "records", have: records.bytes.len(), need });
        }
        let Self::Output { output, load, map, .. } = self else { return Ok(()) };
        let loaded = load.map_or(0, |load| accumulators::magnitude(load, map.h * map.w * map.c));
        let limit = match output.mode.accumulator() {
            AccumulatorWidth::Bits32 => (1 << 31) - 1,
            AccumulatorWidth::Bits48 => (1 << 47) - 1,
        };
        (0..records.channels).try_for_each(|channel| {
            let record = records.get(channel);
            record.scale(output.mode)?;
            let bound = sum(channel).saturating_add(loaded).saturating_add(record.bias.unsigned_abs());
            if bound <= limit { Ok(()) } else { Err(Declined::AccumulatorBound { bound }) }
        })
    }

    /// Finishes consecutive channels of one output pixel: `sums` of products, start and bias still missing; `scales` are those
    /// of the channels.
    #[inline(always)]
    pub(crate) fn deliver(&mut self, [y, x, first]: [usize; 3], sums: &[i64], channels: &[Channel]) {
        let [_, w, c] = self.size();
        let index = (y * w + x) * c + first;
        match self {
            Self::Output { bytes, map, output, load } => {
                let at = map.at(y, x) + first * ELEMENT;
                let out = bytes[at..at + sums.len() * ELEMENT].as_chunks_mut::<ELEMENT>().0;
                let [zero, min, max] = [output.zero, output.min, output.max].map(i32::from);
                for (lane, ((out, &sum), channel)) in out.iter_mut().zip(sums).zip(channels).enumerate() {
                    let start = load.map_or(0, |load| accumulators::read(load, index + lane));
                    let value = sum.wrapping_add(channel.bias).wrapping_add(start);
                    *out = low16(channel.scale.finish(value, zero, min, max));
                }
            }
            Self::Accumulators { bytes, load, .. } => {
                for (lane, (&sum, channel)) in sums.iter().zip(channels).enumerate() {
                    let start = match load {
                        Load::Zero => 0,
                        Load::From(load) => accumulators::read(load, index + lane),
                        Load::InPlace => accumulators::read(bytes, index + lane),
                    };
                    let value = sum.wrapping_add(channel.bias).wrapping_add(start);
                    accumulators::write(bytes, index + lane, value);
                }
            }
        }
    }

    /// Bias and scale of every channel; the records were checked.
    pub(crate) fn fill_channels(&self, records: &Records<'_>, channels: &mut Vec<Channel>) {
        channels.clear();
        channels.extend((0..records.channels).map(|channel| match self {
            Self::Output { output, .. } => {
                let record = records.get(channel);
                Channel { bias: record.bias, scale: record.scale(output.mode).unwrap_or(Scale::NONE) }
            }
            Self::Accumulators { .. } => Channel { bias: records.bias(channel), scale: Scale::NONE },
        }));
    }
}

/// What a channel's accumulators start from and how they are scaled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    bias: i64,
    scale: Scale,
}

/// The number of two bytes.
#[inline(always)]
pub(crate) fn int16(bytes: [u8; ELEMENT]) -> i16 {
    i16::from_le_bytes(bytes)
}

/// The low 16 bits.
#[inline(always)]
fn low16(value: i32) -> [u8; ELEMENT] {
    let [a, b, ..] = value.to_le_bytes();
    [a, b]
}

/// The map in bytes: as many channels as a pixel has bytes.
fn wide(map: &Map) -> Result<Map, Declined> {
    let c = map.c.checked_mul(ELEMENT).ok_or(Declined::Shape { what: "channels" })?;
    Ok(Map { c, ..*map })
}
