//! `DECODE`.

use super::dma::{DESTINATION, SOURCE};
use super::reader::{Reader, aligned, illegal, within};
use super::{Footprint, Location, Operands, OperationError, Role, Rule};
use crate::{Codec, DmaRegister, Field, RegisterFile, dma_field};

/// Bytes of an entry of the table of offsets.
pub const OFFSET_BYTES: u32 = 4;

/// Blocks of a coded weight stream, decoded one after the other to the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decode {
    /// First byte of the stream.
    pub stream: Location,
    /// Bytes of the whole stream.
    pub stream_bytes: u32,
    /// Where, in the stream's memory, the table of offsets lies; a multiple of 4.
    pub offsets: u32,
    /// First byte written.
    pub destination: Location,
    /// How the stream is coded.
    pub coding: Coding,
    /// First block to decode.
    pub first: u32,
    /// Blocks to decode.
    pub blocks: u32,
    /// Bytes of one decoded block.
    pub block_bytes: u32,
}

/// How a weight stream is coded, see `numerics.md`, weight streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The bytes as they are.
    Raw,
    /// Zero bytes as runs.
    ZeroRun,
    /// Indices into a codebook of kernels.
    Cluster(Codebook),
}

/// Kernels that a stream's indices mean, `[kernel][tap]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codebook {
    /// Where, in the stream's memory, it lies.
    pub address: u32,
    /// Kernels, at most as many as an index can name.
    pub kernels: u32,
    /// Elements of a kernel: height times width, 1 to 255.
    pub taps: u32,
    /// Bytes of an element, 1 or 2.
    pub element_bytes: u32,
    /// Bits of an index, 1 to 16.
    pub index_bits: u32,
}

impl Codebook {
    /// Bytes of a kernel.
    pub fn kernel_bytes(&self) -> u32 {
        self.taps * self.element_bytes
    }

    /// Bytes of all kernels.
    pub fn bytes(&self) -> u64 {
        u64::from(self.kernels) * u64::from(self.kernel_bytes())
    }

    fn read(reader: &Reader<'_>, block_bytes: u32) -> Result<Self, OperationError> {
        let index_bits =
            within("CODEC.INDEX_BITS", field(reader, DmaRegister::Codec, dma_field::CODEC_INDEX_BITS), 1, 16)?;
        let shape = |part| field(reader, DmaRegister::CodebookShape, part);
        let codebook = Self {
            address: reader.dma(DmaRegister::CodebookAddr),
            kernels: within("CODEBOOK_KERNELS", reader.dma(DmaRegister::CodebookKernels), 1, 1 << index_bits)?,
            taps: within("CODEBOOK_SHAPE.TAPS", shape(dma_field::CODEBOOK_SHAPE_TAPS), 1, 255)?,
            element_bytes: within("CODEBOOK_SHAPE.BYTES", shape(dma_field::CODEBOOK_SHAPE_BYTES), 1, 2)?,
            index_bits,
        };
        aligned("BLOCK_BYTES", block_bytes, codebook.kernel_bytes())?;
        Ok(codebook)
    }

    fn store(&self, registers: &mut RegisterFile) {
        let shape =
            dma_field::CODEBOOK_SHAPE_TAPS.put(self.taps) | dma_field::CODEBOOK_SHAPE_BYTES.put(self.element_bytes);
        registers.set_dma(DmaRegister::CodebookAddr, self.address);
        registers.set_dma(DmaRegister::CodebookKernels, self.kernels);
        registers.set_dma(DmaRegister::CodebookShape, shape);
    }
}

fn field(reader: &Reader<'_>, register: DmaRegister, field: Field) -> u32 {
    field.get(reader.dma(register))
}

impl Coding {
    /// Bytes of the codebook; 0 without one.
    pub fn codebook_bytes(&self) -> u64 {
        match self {
            Self::Raw | Self::ZeroRun => 0,
            Self::Cluster(codebook) => codebook.bytes(),
        }
    }

    fn read(reader: &Reader<'_>, block_bytes: u32) -> Result<Self, OperationError> {
        let code = field(reader, DmaRegister::Codec, dma_field::CODEC_CODEC);
        let codec = reader.choice("CODEC.CODEC", "Codec", code, Codec::from_code)?;
        if codec == Codec::Cluster {
            return Codebook::read(reader, block_bytes).map(Self::Cluster);
        }
        within("CODEC.INDEX_BITS", field(reader, DmaRegister::Codec, dma_field::CODEC_INDEX_BITS), 0, 0)?;
        Ok(if codec == Codec::Raw { Self::Raw } else { Self::ZeroRun })
    }

    fn store(&self, registers: &mut RegisterFile) {
        let (codec, index_bits) = match self {
            Self::Raw => (Codec::Raw, 0),
            Self::ZeroRun => (Codec::ZeroRun, 0),
            Self::Cluster(codebook) => {
                codebook.store(registers);
                (Codec::Cluster, codebook.index_bits)
            }
        };
        let word = dma_field::CODEC_CODEC.put(codec.code()) | dma_field::CODEC_INDEX_BITS.put(index_bits);
        registers.set_dma(DmaRegister::Codec, word);
    }
}

impl Decode {
    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        u64::from(self.blocks) * u64::from(self.block_bytes)
    }

    /// Bytes of the offsets that are read: one more than blocks.
    pub fn offsets_bytes(&self) -> u64 {
        (u64::from(self.blocks) + 1) * u64::from(OFFSET_BYTES)
    }

    /// Bytes read: stream, offsets and codebook.
    pub fn coded_bytes(&self) -> u64 {
        u64::from(self.stream_bytes) + self.offsets_bytes() + self.coding.codebook_bytes()
    }

    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let count = |register: DmaRegister| within(register.name(), reader.dma(register), 1, u32::MAX);
        let block_bytes = count(DmaRegister::BlockBytes)?;
        let decode = Self {
            stream: Location::read(reader, &SOURCE)?,
            stream_bytes: count(DmaRegister::StreamBytes)?,
            offsets: aligned("OFFSETS_ADDR", reader.dma(DmaRegister::OffsetsAddr), OFFSET_BYTES)?,
            destination: Location::read(reader, &DESTINATION)?,
            coding: Coding::read(reader, block_bytes)?,
            first: reader.dma(DmaRegister::FirstBlock),
            blocks: count(DmaRegister::Blocks)?,
            block_bytes,
        };
        let last_offset = u64::from(decode.first) * u64::from(OFFSET_BYTES) + decode.offsets_bytes();
        if decode.bytes().max(last_offset) > u64::from(u32::MAX) {
            return Err(illegal("BLOCKS", decode.blocks, Rule::TooLarge));
        }
        Ok(decode)
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        self.stream.store(&SOURCE, registers);
        self.destination.store(&DESTINATION, registers);
        self.coding.store(registers);
        registers.set_dma(DmaRegister::StreamBytes, self.stream_bytes);
        registers.set_dma(DmaRegister::OffsetsAddr, self.offsets);
        registers.set_dma(DmaRegister::FirstBlock, self.first);
        registers.set_dma(DmaRegister::Blocks, self.blocks);
        registers.set_dma(DmaRegister::BlockBytes, self.block_bytes);
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        let source = |address: u64, bytes: u64| Footprint::dense(self.stream.space, address, bytes);
        operands.push(Role::Stream, source(u64::from(self.stream.address), u64::from(self.stream_bytes)));
        let offsets = u64::from(self.offsets) + u64::from(self.first) * u64::from(OFFSET_BYTES);
        operands.push(Role::Offsets, source(offsets, self.offsets_bytes()));
        if let Coding::Cluster(codebook) = self.coding {
            operands.push(Role::Codebook, source(u64::from(codebook.address), codebook.bytes()));
        }
        let Location { space, address } = self.destination;
        operands.push(Role::Destination, Footprint::dense(space, u64::from(address), self.bytes()));
    }
}
