//! `COPY` and `FILL`.

use super::reader::{Reader, illegal, within};
use super::{Footprint, Operands, OperationError, Role, Rule, Space};
use crate::{DmaRegister, Field, Place, RegisterFile, dma_field};

/// A place in SRAM or external memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Which memory.
    pub space: Space,
    /// Byte address in SRAM, or byte offset in the region.
    pub address: u32,
}

impl Location {
    /// A byte address in SRAM.
    pub fn sram(address: u32) -> Self {
        Self { space: Space::Sram, address }
    }

    /// A byte offset in a region.
    pub fn dram(region: u8, address: u32) -> Self {
        Self { space: Space::Dram(region), address }
    }

    pub(super) fn read(reader: &Reader<'_>, names: &LocationNames) -> Result<Self, OperationError> {
        let word = reader.dma(names.place);
        let kind = reader.choice(names.kind_name, "Place", names.kind.get(word), Place::from_code)?;
        let region = names.region.get(word);
        let space = match kind {
            Place::Sram => {
                within(names.region_name, region, 0, 0)?;
                Space::Sram
            }
            Place::Dram => {
                let region = within(names.region_name, region, 0, MAX_REGION)?;
                Space::Dram(u8::try_from(region).unwrap_or(u8::MAX))
            }
        };
        Ok(Self { space, address: reader.dma(names.address) })
    }

    pub(super) fn store(&self, names: &LocationNames, registers: &mut RegisterFile) {
        let word = match self.space {
            Space::Sram => names.kind.put(Place::Sram.code()),
            Space::Dram(region) => names.kind.put(Place::Dram.code()) | names.region.put(u32::from(region)),
        };
        registers.set_dma(names.place, word);
        registers.set_dma(names.address, self.address);
    }
}

/// Highest region number.
const MAX_REGION: u32 = 31;

pub(super) struct LocationNames {
    place: DmaRegister,
    address: DmaRegister,
    kind: Field,
    region: Field,
    kind_name: &'static str,
    region_name: &'static str,
}

pub(super) const SOURCE: LocationNames = LocationNames {
    place: DmaRegister::SrcPlace,
    address: DmaRegister::SrcAddr,
    kind: dma_field::SRC_PLACE_KIND,
    region: dma_field::SRC_PLACE_REGION,
    kind_name: "SRC_PLACE.KIND",
    region_name: "SRC_PLACE.REGION",
};

pub(super) const DESTINATION: LocationNames = LocationNames {
    place: DmaRegister::DstPlace,
    address: DmaRegister::DstAddr,
    kind: dma_field::DST_PLACE_KIND,
    region: dma_field::DST_PLACE_REGION,
    kind_name: "DST_PLACE.KIND",
    region_name: "DST_PLACE.REGION",
};

const COUNTS: [DmaRegister; 4] = [DmaRegister::Count0, DmaRegister::Count1, DmaRegister::Count2, DmaRegister::Count3];
const SRC_STEPS: [DmaRegister; 4] =
    [DmaRegister::SrcStep0, DmaRegister::SrcStep1, DmaRegister::SrcStep2, DmaRegister::SrcStep3];
const DST_STEPS: [DmaRegister; 4] =
    [DmaRegister::DstStep0, DmaRegister::DstStep1, DmaRegister::DstStep2, DmaRegister::DstStep3];

/// Runs of bytes over four nested counts, the first innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaPattern {
    /// Bytes of one contiguous run.
    pub run: u32,
    /// Counts of the loops around a run, innermost first; 1 where unused.
    pub counts: [u32; 4],
}

impl DmaPattern {
    /// One run of `bytes`.
    pub fn dense(bytes: u32) -> Self {
        Self { run: bytes, counts: [1; 4] }
    }

    /// Bytes moved.
    pub fn bytes(&self) -> u64 {
        self.counts.iter().fold(u64::from(self.run), |product, &count| product.saturating_mul(u64::from(count)))
    }

    fn footprint(&self, at: Location, steps: &[u32; 4]) -> Footprint {
        let dims: [(u32, u32); 4] = std::array::from_fn(|i| (self.counts[i], steps[i]));
        Footprint::new(at.space, u64::from(at.address), u64::from(self.run), &dims)
    }

    fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let limit = reader.target.max_extent;
        let run = within("RUN_BYTES", reader.dma(DmaRegister::RunBytes), 1, u32::MAX)?;
        let mut counts = [1; 4];
        for (count, register) in counts.iter_mut().zip(COUNTS) {
            *count = within(register.name(), reader.dma(register), 1, limit)?;
        }
        let pattern = Self { run, counts };
        if pattern.bytes() > u64::from(u32::MAX) {
            return Err(illegal("RUN_BYTES", run, Rule::TooLarge));
        }
        Ok(pattern)
    }

    /// Steps of loops that count only once are not looked at, so they read as 0.
    fn read_steps(&self, reader: &Reader<'_>, registers: [DmaRegister; 4]) -> [u32; 4] {
        std::array::from_fn(|i| if self.counts[i] > 1 { reader.dma(registers[i]) } else { 0 })
    }

    /// Ordered by size, each step must reach over all runs of the smaller ones.
    fn check_no_alias(&self, steps: &[u32; 4]) -> Result<(), OperationError> {
        let mut order = [0, 1, 2, 3];
        order.sort_unstable_by_key(|&i| steps[i]);
        let mut least = u64::from(self.run);
        for i in order.into_iter().filter(|&i| self.counts[i] > 1) {
            if u64::from(steps[i]) < least {
                return Err(illegal(DST_STEPS[i].name(), steps[i], Rule::Alias { least }));
            }
            least = least.saturating_add(u64::from(self.counts[i] - 1).saturating_mul(u64::from(steps[i])));
        }
        Ok(())
    }

    fn store(&self, registers: &mut RegisterFile) {
        registers.set_dma(DmaRegister::RunBytes, self.run);
        for (register, count) in COUNTS.into_iter().zip(self.counts) {
            registers.set_dma(register, count);
        }
    }

    fn store_steps(&self, registers: &mut RegisterFile, names: [DmaRegister; 4], steps: &[u32; 4]) {
        for i in (0..4).filter(|&i| self.counts[i] > 1) {
            registers.set_dma(names[i], steps[i]);
        }
    }
}

/// A strided copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// First byte read.
    pub source: Location,
    /// First byte written.
    pub destination: Location,
    /// Runs and counts.
    pub pattern: DmaPattern,
    /// Bytes the source moves per step of each loop; 0 repeats.
    pub source_steps: [u32; 4],
    /// Bytes the destination moves per step of each loop.
    pub destination_steps: [u32; 4],
}

impl Copy {
    /// One contiguous run.
    pub fn dense(source: Location, destination: Location, bytes: u32) -> Self {
        let pattern = DmaPattern::dense(bytes);
        Self { source, destination, pattern, source_steps: [0; 4], destination_steps: [0; 4] }
    }

    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let pattern = DmaPattern::read(reader)?;
        let destination_steps = pattern.read_steps(reader, DST_STEPS);
        pattern.check_no_alias(&destination_steps)?;
        Ok(Self {
            source: Location::read(reader, &SOURCE)?,
            destination: Location::read(reader, &DESTINATION)?,
            pattern,
            source_steps: pattern.read_steps(reader, SRC_STEPS),
            destination_steps,
        })
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        self.source.store(&SOURCE, registers);
        self.destination.store(&DESTINATION, registers);
        self.pattern.store(registers);
        self.pattern.store_steps(registers, SRC_STEPS, &self.source_steps);
        self.pattern.store_steps(registers, DST_STEPS, &self.destination_steps);
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        operands.push(Role::Source, self.pattern.footprint(self.source, &self.source_steps));
        operands.push(Role::Destination, self.pattern.footprint(self.destination, &self.destination_steps));
    }
}

/// A strided fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// First byte written.
    pub destination: Location,
    /// Runs and counts.
    pub pattern: DmaPattern,
    /// Bytes the destination moves per step of each loop.
    pub destination_steps: [u32; 4],
    /// What is written, little-endian.
    pub value: u32,
    /// Bytes of `value` that repeat: 1, 2 or 4.
    pub value_bytes: u32,
}

impl Fill {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let pattern = DmaPattern::read(reader)?;
        let destination_steps = pattern.read_steps(reader, DST_STEPS);
        pattern.check_no_alias(&destination_steps)?;
        let value_bytes = within("FILL_BYTES", reader.dma(DmaRegister::FillBytes), 1, 4)?;
        if value_bytes == 3 {
            return Err(illegal("FILL_BYTES", value_bytes, Rule::NotLegalHere { here: "FILL" }));
        }
        super::reader::aligned("RUN_BYTES", pattern.run, value_bytes)?;
        Ok(Self {
            destination: Location::read(reader, &DESTINATION)?,
            pattern,
            destination_steps,
            value: reader.dma(DmaRegister::FillValue),
            value_bytes,
        })
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        self.destination.store(&DESTINATION, registers);
        self.pattern.store(registers);
        self.pattern.store_steps(registers, DST_STEPS, &self.destination_steps);
        registers.set_dma(DmaRegister::FillValue, self.value);
        registers.set_dma(DmaRegister::FillBytes, self.value_bytes);
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        operands.push(Role::Destination, self.pattern.footprint(self.destination, &self.destination_steps));
    }
}
