//! `DECODE`, one block of the stream at a time.

use cnnip_isa::operation::{Codebook, Coding, Decode, OFFSET_BYTES, Operation};

use super::element::{at, bytes};
use crate::memory::{Memory, index};
use crate::{FaultCause, StreamError};

/// Checks that every block of a decode's stream decodes.
///
/// # Errors
/// The first block that does not.
pub(crate) fn check_stream(operation: &Operation, core: u8, memory: &Memory) -> Result<(), FaultCause> {
    let Operation::Decode(decode) = operation else { return Ok(()) };
    (0..u64::from(decode.blocks)).try_for_each(|block| decoded(decode, block, core, memory).map(drop))
}

/// Writes block `block` of those that the operation decodes.
pub(super) fn retire(decode: &Decode, block: u64, core: u8, memory: &mut Memory) -> Result<(), FaultCause> {
    let values = decoded(decode, block, core, memory)?;
    let start = at(decode.destination.address, block * u64::from(decode.block_bytes));
    let data = memory.data_mut(core, decode.destination.space);
    if let Some(place) = data.get_mut(start..start + values.len()) {
        place.copy_from_slice(&values);
    }
    Ok(())
}

fn decoded(decode: &Decode, block: u64, core: u8, memory: &Memory) -> Result<Vec<u8>, FaultCause> {
    let source = memory.data(core, decode.stream.space);
    let number = u64::from(decode.first) + block;
    let size = index(u64::from(decode.block_bytes));
    let values = coded(decode, number, source).and_then(|coded| match &decode.coding {
        Coding::Raw => raw(coded, size),
        Coding::ZeroRun => zero_run(coded, size),
        Coding::Cluster(codebook) => cluster(coded, size, codebook, source),
    });
    values.map_err(|why| FaultCause::WeightStream { block: u32::try_from(number).unwrap_or(u32::MAX), why })
}

/// The bytes of block `number` of the stream.
fn coded<'a>(decode: &Decode, number: u64, source: &'a [u8]) -> Result<&'a [u8], StreamError> {
    let offset = |entry: u64| u32::from_le_bytes(bytes(source, at(decode.offsets, entry * u64::from(OFFSET_BYTES))));
    let (start, end, size) = (offset(number), offset(number + 1), decode.stream_bytes);
    let outside = StreamError::Offsets { start, end, size };
    if start > end || end > size {
        return Err(outside);
    }
    let place = |offset: u32| at(decode.stream.address, u64::from(offset));
    source.get(place(start)..place(end)).ok_or(outside)
}

/// Whether `got` bytes are those of a block.
fn exactly(got: usize, size: usize) -> Result<(), StreamError> {
    match got.cmp(&size) {
        std::cmp::Ordering::Less => Err(StreamError::Short),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StreamError::Long),
    }
}

fn raw(coded: &[u8], size: usize) -> Result<Vec<u8>, StreamError> {
    exactly(coded.len(), size)?;
    Ok(coded.to_vec())
}

fn zero_run(coded: &[u8], size: usize) -> Result<Vec<u8>, StreamError> {
    let mut values = Vec::with_capacity(size);
    let mut rest = coded.iter();
    while let Some(&byte) = rest.next() {
        let count = if byte == 0 { usize::from(*rest.next().ok_or(StreamError::Short)?) + 1 } else { 1 };
        values.resize(values.len() + count, byte);
        if values.len() > size {
            return Err(StreamError::Long);
        }
    }
    exactly(values.len(), size)?;
    Ok(values)
}

fn cluster(coded: &[u8], size: usize, codebook: &Codebook, source: &[u8]) -> Result<Vec<u8>, StreamError> {
    let kernel_bytes = index(u64::from(codebook.kernel_bytes()));
    let element = index(u64::from(codebook.element_bytes));
    let positions = size / kernel_bytes;
    let bits = index(u64::from(codebook.index_bits));
    exactly(coded.len(), (positions * bits).div_ceil(8))?;
    let mut values = vec![0; size];
    for position in 0..positions {
        let kernel = index_at(coded, position * bits, codebook.index_bits);
        if kernel >= codebook.kernels {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            return Err(StreamError::Index { position, index: kernel, kernels: codebook.kernels });
        }
        let first = at(codebook.address, u64::from(kernel) * u64::from(codebook.kernel_bytes()));
        let kernel = source.get(first..first + kernel_bytes).unwrap_or_default();
        for (tap, value) in kernel.chunks_exact(element).enumerate() {
            let place = (tap * positions + position) * element;
            if let Some(place) = values.get_mut(place..place + element) {
                place.copy_from_slice(value);
            }
        }
    }
    let used = u32::try_from(positions * bits % 8).unwrap_or(0);
    let last = coded.last().copied().unwrap_or(0);
    if used > 0 && u32::from(last) >> used != 0 { Err(StreamError::Padding) } else { Ok(values) }
}

/// `bits` bits, at most 16, from bit `first` on, least significant bit first.
fn index_at(coded: &[u8], first: usize, bits: u32) -> u32 {
    let byte = |i: usize| u32::from(coded.get(first / 8 + i).copied().unwrap_or(0));
    let word = byte(0) | byte(1) << 8 | byte(2) << 16;
    word >> (first % 8) & ((1 << bits) - 1)
}
