//! What kernels read and write.

use crate::channel::Records;
use crate::{Declined, Map, accumulators};
use cnnip_numerics::{ChannelRecord, RoundingMode, Scale};

/// Type of one 8-bit element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element8 {
    /// Two's complement.
    Int8,
    /// Unsigned.
    Uint8,
}

impl Element8 {
    /// The number a byte stands for.
    pub(crate) fn value(self, byte: u8) -> i32 {
        match self {
            Self::Int8 => i32::from(byte.cast_signed()),
            Self::Uint8 => i32::from(byte),
        }
    }

    /// What turns a byte into an unsigned number that orders the same way, 128 larger for int8.
    pub(crate) const fn flip(self) -> u8 {
        match self {
            Self::Int8 => 0x80,
            Self::Uint8 => 0,
        }
    }

    /// Smallest and largest number.
    pub(crate) const fn range(self) -> (i32, i32) {
        match self {
            Self::Int8 => (-128, 127),
            Self::Uint8 => (0, 255),
        }
    }

    /// The byte of a number in range.
    pub(crate) fn byte(self, what: &'static str, value: i32) -> Result<u8, Declined> {
        let (min, max) = self.range();
        if (min..=max).contains(&value) { Ok(low8(value)) } else { Err(Declined::Range { what, value }) }
    }
}

/// What a backend multiplies for the bytes of an input: unsigned numbers, or signed ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    /// What turns an element's byte into the number's: the top bit, where they differ in sign.
    pub(crate) flip: u8,
    /// The byte of the zero point's number.
    pub(crate) neutral: u8,
    /// The zero point's number.
    pub(crate) zero: i32,
}

impl Factors {
    pub(crate) fn new(input: &Source8<'_>, signed: bool) -> Self {
        let element = if signed { Element8::Int8 } else { Element8::Uint8 };
        let flip = input.element.flip() ^ element.flip();
        let neutral = low8(input.zero) ^ flip;
        Self { flip, neutral, zero: element.value(neutral) }
    }
}

/// The low 8 bits.
pub(crate) fn low8(value: i32) -> u8 {
    value.to_le_bytes()[0]
}

/// A feature map that is read.
#[derive(Clone, Copy, Debug)]
pub struct Source8<'a> {
    /// Memory from element (0, 0, 0) on.
    pub bytes: &'a [u8],
    /// Size and strides.
    pub map: Map,
    /// Type of the elements.
    pub element: Element8,
    /// Subtracted from every element; in the range of the type.
    pub zero: i32,
}

impl Source8<'_> {
    pub(crate) fn check(&self) -> Result<(), Declined> {
        self.map.check("input", self.bytes.len())?;
        self.element.byte("input zero point", self.zero).map(|_| ())
    }

    /// Largest magnitude of (element - zero).
    pub(crate) fn magnitude(&self) -> u64 {
        let (min, max) = self.element.range();
        u64::from((max - self.zero).max(self.zero - min).unsigned_abs())
    }
}

/// Last stage of an operation: scale in `mode`, add `zero`, clamp to `min..=max`, store as int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output8 {
    /// Zero point of the output.
    pub zero: i32,
    /// Lower clamp.
    pub min: i32,
    /// Upper clamp.
    pub max: i32,
    /// How values are scaled.
    pub mode: RoundingMode,
}

impl Output8 {
    pub(crate) fn check(&self) -> Result<(), Declined> {
        let fields = [("output zero point", self.zero), ("output minimum", self.min), ("output maximum", self.max)];
        fields.into_iter().try_for_each(|(what, value)| Element8::Int8.byte(what, value).map(|_| ()))?;
        match self.mode {
            RoundingMode::Reduced => Err(Declined::Mode(self.mode)),
            _ => Ok(()),
        }
    }

    /// Scales with a record that was checked, adds the zero point, clamps.
    pub(crate) fn finish(&self, value: i64, record: &ChannelRecord) -> i32 {
        let scale = record.scale(self.mode).unwrap_or(Scale::NONE);
        scale.finish(value, self.zero, self.min, self.max)
    }
}

/// Where a convolution's accumulators go.
#[derive(Debug)]
pub enum Target8<'a> {
    /// Through requantization into an int8 map.
    Output {
        /// Memory from element (0, 0, 0) on; bytes outside the map's elements are not touched.
        bytes: &'a mut [u8],
        /// Size and strides of the output.
        map: Map,
        /// Scaling and clamp.
        output: Output8,
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

/// What accumulators that are left in memory start from.
#[derive(Clone, Copy, Debug)]
pub enum Load<'a> {
    /// Zero.
    Zero,
    /// Other accumulators.
    From(&'a [u8]),
    /// What is there already.
    InPlace,
}

/// Bytes of one spilled accumulator.
pub(crate) const ACCUMULATOR: usize = 8;

impl Target8<'_> {
    /// Height, width and channels.
    pub(crate) fn size(&self) -> [usize; 3] {
        match self {
            Self::Output { map, .. } => [map.h, map.w, map.c],
            Self::Accumulators { size, .. } => *size,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Declined> {
        let need = accumulator_bytes(self.size())?;
        let holds = |what, have| if have < need { Err(Declined::Extent { what, have, need }) } else { Ok(()) };
        match self {
            Self::Output { bytes, map, output, load } => {
                output.check()?;
                load.map_or(Ok(()), |load| holds("accumulators in", load.len()))?;
                map.check_destination(bytes.len())
            }
            Self::Accumulators { bytes, load, .. } => {
                if let Load::From(load) = load {
                    holds("accumulators in", load.len())?;
                }
                holds("accumulators out", bytes.len())
            }
        }
    }
}

fn accumulator_bytes([h, w, c]: [usize; 3]) -> Result<usize, Declined> {
    let bytes = h.checked_mul(w).and_then(|n| n.checked_mul(c)).and_then(|n| n.checked_mul(ACCUMULATOR));
    bytes.filter(|&bytes| bytes > 0 && isize::try_from(bytes).is_ok()).ok_or(Declined::Shape { what: "output size" })
}

/// Finishes one element with plain arithmetic: `sum` of products at (y, x, channel), start and bias still missing.
pub(crate) fn deliver(target: &mut Target8<'_>, records: &Records<'_>, [y, x, channel]: [usize; 3], sum: i64) {
    let [_, w, c] = target.size();
    let index = (y * w + x) * c + channel;
    let value = sum.wrapping_add(records.bias(channel));
    match target {
        Target8::Output { bytes, map, output, load } => {
            let value = value.wrapping_add(load.map_or(0, |load| accumulators::read(load, index)));
            bytes[map.at(y, x) + channel] = low8(output.finish(value, &records.get(channel)));
        }
        Target8::Accumulators { bytes, load, .. } => {
            let start = match load {
                Load::Zero => 0,
                Load::From(load) => accumulators::read(load, index),
                Load::InPlace => accumulators::read(bytes, index),
            };
            accumulators::write(bytes, index, value.wrapping_add(start));
        }
    }
}
