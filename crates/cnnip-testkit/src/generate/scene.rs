//! Where random operations put their operands.

use std::ops::Range;

use cnnip_isa::operation::{FeatureMap, Operation, OutputStage, Space};
use cnnip_isa::{ElementType, RoundingMode, Target};

use crate::Rng;
use crate::touched::touched;

/// Channels that each table of records and spills has entries for, times pixels for spills.
pub(super) const RECORDS: u32 = 96;
const SPILLS: u32 = 1024;
const RECORD_BYTES: u32 = 16 * RECORDS;

/// A part of the scratchpad: bytes that anything may read and write, then records and accumulators that nothing writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// First byte, a multiple of 64.
    pub base: u32,
    /// Bytes that operations read and write, a multiple of 64.
    pub data: u32,
}

impl Zone {
    /// Bytes of the whole zone.
    pub fn bytes(&self) -> u32 {
        self.data + 3 * RECORD_BYTES + 8 * SPILLS
    }

    pub(super) fn data(&self) -> Range<u32> {
        self.base..self.base + self.data
    }

    /// The table of records that are legal in `mode`.
    pub(super) fn records(&self, mode: RoundingMode) -> u32 {
        let table = match mode {
            RoundingMode::None | RoundingMode::Double | RoundingMode::Single => 0,
            RoundingMode::Reduced => 1,
            RoundingMode::Float | RoundingMode::FloatZero => 2,
        };
        self.base + self.data + table * RECORD_BYTES
    }

    /// Accumulators to start from.
    pub(super) fn spills(&self) -> u32 {
        self.base + self.data + 3 * RECORD_BYTES
    }

    /// Random contents: `bytes()` of them. With `overflows` a few biases make every mode's range too small.
    pub fn image(&self, rng: &mut Rng, overflows: bool) -> Vec<u8> {
        let mut image = rng.bytes(usize::try_from(self.data).unwrap_or(0));
        for mode in [RoundingMode::Double, RoundingMode::Reduced, RoundingMode::Float] {
            for _ in 0..RECORDS {
                let scale = scale(mode, rng);
                let largest = if overflows && rng.chance(2) { 1 << 49 } else { 1_000_000 };
                image.extend(rng.wide(-largest..=largest).to_le_bytes());
                image.extend(scale.multiplier.to_le_bytes());
                image.extend(scale.shift.to_le_bytes());
            }
        }
        image.extend((0..SPILLS).flat_map(|_| rng.wide(-10_000_000..=10_000_000).to_le_bytes()));
        image
    }
}

/// A random scale that `mode` takes; mostly one that maps accumulators of small layers to values within int8.
pub(super) fn scale(mode: RoundingMode, rng: &mut Rng) -> OutputStage {
    let likely = rng.chance(80);
    let positive = rng.within(1 << 30..=(1 << 31) - 1);
    let (multiplier, shift) = match mode {
        RoundingMode::None => return OutputStage::NONE,
        RoundingMode::Float | RoundingMode::FloatZero => {
            // Between 2^-12 and 2^-1, or any finite number below 2^31.
            let exponent = if likely { rng.within(115..=126) } else { rng.within(0..=157) };
            (exponent << 23 | rng.within(0..=(1 << 23) - 1) | rng.within(0..=1) << 31, 0)
        }
        _ if likely => (positive, rng.signed(-10..=-2)),
        RoundingMode::Reduced => (rng.within(0..=(1 << 31) - 1), rng.signed(-31..=7)),
        RoundingMode::Double | RoundingMode::Single => (rng.word(), rng.signed(-31..=30)),
    };
    OutputStage { mode, multiplier, shift }
}

/// A random generator with the target and the memory its operations may use.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Source of randomness.
    pub rng: &'a mut Rng,
    /// The target.
    pub target: &'static Target,
    /// The scratchpad's part.
    pub zone: Zone,
    /// Bytes of each region: regions 0 and 1 are read, 2 and 3 written.
    pub region_bytes: u32,
    /// Largest width and height of a map.
    pub max_side: u32,
    /// Operations that overflow now and then.
    pub overflows: bool,
}

impl Scene<'_> {
    /// A random place for `bytes` bytes, if they fit.
    pub(super) fn place(&mut self, bytes: u64, alignment: u32) -> Option<u32> {
        let data = self.zone.data();
        let room = u64::from(self.zone.data).checked_sub(bytes)?;
        let first = u64::from(data.start.next_multiple_of(alignment));
        let last = u64::from(data.start) + room;
        let slots = u32::try_from(last.checked_sub(first)? / u64::from(alignment)).ok()?;
        Some(u32::try_from(first).ok()? + self.rng.within(0..=slots) * alignment)
    }

    /// A map to read: dense, with gaps, repeating, or overlapping itself.
    pub(super) fn source(&mut self, [height, width, channels]: [u32; 3], element: ElementType) -> Option<FeatureMap> {
        let bytes = element_bytes(element);
        let dense = channels * bytes;
        let pixel = match self.rng.within(0..=9) {
            0 => 0,
            1 => self.rng.within(0..=channels) * bytes,
            2 | 3 => dense + self.rng.within(0..=5) * bytes,
            _ => dense,
        };
        let row = match self.rng.within(0..=9) {
            0 => 0,
            1 => self.rng.within(0..=width) * pixel,
            2 | 3 => width * pixel + self.rng.within(0..=9) * bytes,
            _ => width * pixel,
        };
        self.placed(FeatureMap { address: 0, width, height, channels, row, pixel, element })
    }

    /// A map to write: dense or with gaps.
    pub(super) fn destination(
        &mut self,
        [height, width, channels]: [u32; 3],
        element: ElementType,
    ) -> Option<FeatureMap> {
        let bytes = element_bytes(element);
        let pixel = channels * bytes + if self.rng.chance(30) { self.rng.within(0..=20) * bytes } else { 0 };
        let row = width * pixel + if self.rng.chance(30) { self.rng.within(0..=20) * bytes } else { 0 };
        self.placed(FeatureMap { address: 0, width, height, channels, row, pixel, element })
    }

    fn placed(&mut self, map: FeatureMap) -> Option<FeatureMap> {
        let far = u64::from(map.height - 1) * u64::from(map.row) + u64::from(map.width - 1) * u64::from(map.pixel);
        let bytes = element_bytes(map.element);
        let address = self.place(far + u64::from(map.channels * bytes), bytes)?;
        Some(FeatureMap { address, ..map })
    }

    /// True if every operand lies in the zone or in its region, and nothing writes records, spills or read-only regions.
    pub(super) fn holds(&self, operation: &Operation) -> bool {
        touched(operation).iter().all(|operand| {
            let range = match operand.space {
                Space::Sram if operand.write => self.zone.data(),
                Space::Sram => self.zone.base..self.zone.base + self.zone.bytes(),
                Space::Dram(region) if operand.write == (region < 2) => 0..0,
                Space::Dram(_) => 0..self.region_bytes,
            };
            let range = u64::from(range.start)..u64::from(range.end);
            operand.bytes.first().is_some_and(|b| range.contains(b))
                && operand.bytes.last().is_some_and(|b| range.contains(b))
        })
    }
}

pub(super) fn element_bytes(element: ElementType) -> u32 {
    match element {
        ElementType::None => 0,
        ElementType::Int8 | ElementType::Uint8 => 1,
        ElementType::Int16 => 2,
        ElementType::Int32 => 4,
    }
}
