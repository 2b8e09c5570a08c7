//! Scratchpads and regions of external memory.

use std::convert::Infallible;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use cnnip_isa::operation::{Footprint, Operand, Space};

use crate::bits::{Bits, WORD};
use crate::{FaultCause, RegionError};

/// Bytes that several machines may share, such as a mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What the device may do with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// Written by the host before the job, read by the device.
    Input,
    /// Written by the device.
    Output,
    /// Written and read by the device.
    Scratch,
}

/// A region of external memory as the host binds it.
#[derive(Clone)]
pub enum Region {
    /// Nothing is bound.
    Unbound,
    /// Constants; never written.
    Constant(SharedBytes),
    /// A buffer of the host.
    Buffer {
        /// What the device may do.
        kind: RegionKind,
        /// Its bytes. Those of an input count as written.
        bytes: Vec<u8>,
    },
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbound => f.write_str("Unbound"),
            Self::Constant(bytes) => write!(f, "Constant({} bytes)", (**bytes).as_ref().len()),
            Self::Buffer { kind, bytes } => write!(f, "{kind:?}({} bytes)", bytes.len()),
        }
    }
}

/// An access from the host side that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes {start:#x}..{end:#x} do not lie in the {size:#x} bytes of this memory")]
pub struct MemoryError {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Size of the memory.
    pub size: u64,
}

/// Bytes in one piece.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Where they begin: what comes before is there to align them.
    start: usize,
}

/// Alignment of scratchpads: a cache line, so that weight blocks of 64 bytes lie in one.
const LINE: usize = 64;

impl Buffer {
    /// Zeros that begin at a cache line; a copy need not.
    fn aligned(size: usize) -> Self {
        let bytes = vec![0; size + LINE];
        let start = bytes.as_ptr().align_offset(LINE).min(LINE);
        let mut buffer = Self { bytes, start };
        buffer.bytes.truncate(start + size);
        buffer
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// Bytes with a note of which have been written.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    pub(crate) data: Buffer,
    pub(crate) written: Bits,
    /// Whether what is not written is zero; the host's own buffers may hold anything.
    zero: bool,
}

impl Bytes {
    fn new(data: Buffer, initialised: bool) -> Self {
        let mut written = Bits::new(data.len());
        if initialised {
            written.set(0..data.len());
        }
        Self { data, written, zero: false }
    }

    /// A scratchpad: zeros, none of them written.
    fn scratchpad(size: usize) -> Self {
        Self { zero: true, ..Self::new(Buffer::aligned(size), false) }
    }

    /// Zeroes all bytes; none counts as written.
    pub(crate) fn forget(&mut self) {
        let Self { data, written, zero } = self;
        if std::mem::replace(zero, true) {
            let size = data.len();
            written.take(|part| data[part.start..part.end.min(size)].fill(0));
        } else {
            data.fill(0);
            written.take(|_| ());
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        (&self.data, &self.written) == (&other.data, &other.written)
    }
}

/// One bound region.
#[derive(Clone)]
pub(crate) enum Bound {
    Unbound,
    Constant(SharedBytes),
    Buffer { kind: RegionKind, bytes: Bytes },
}

impl From<Region> for Bound {
    fn from(region: Region) -> Self {
        match region {
            Region::Unbound => Self::Unbound,
            Region::Constant(bytes) => Self::Constant(bytes),
            Region::Buffer { kind, bytes } => {
                Self::Buffer { kind, bytes: Bytes::new(bytes.into(), kind == RegionKind::Input) }
            }
        }
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unbound, Self::Unbound) => true,
            (Self::Constant(a), Self::Constant(b)) => Arc::ptr_eq(a, b) || (**a).as_ref() == (**b).as_ref(),
            (Self::Buffer { kind: a, bytes: x }, Self::Buffer { kind: b, bytes: y }) => a == b && x == y,
            _ => false,
        }
    }
}

impl Bound {
    pub(crate) fn data(&self) -> &[u8] {
        match self {
            Self::Unbound => &[],
            Self::Constant(bytes) => (**bytes).as_ref(),
            Self::Buffer { bytes, .. } => &bytes.data,
        }
    }

    /// The buffer of a region that has one.
    pub(crate) fn into_buffer(self) -> Option<Vec<u8>> {
        match self {
            Self::Buffer { bytes, .. } => Some(bytes.data.bytes),
            Self::Unbound | Self::Constant(_) => None,
        }
    }

    fn check(&self, write: bool, extent: &Range<u64>) -> Result<(), RegionError> {
        let size = length(self.data());
        match self {
            Self::Unbound => Err(RegionError::Unbound),
            Self::Constant(_) | Self::Buffer { kind: RegionKind::Input, .. } if write => Err(RegionError::ReadOnly),
            _ if extent.end > size => Err(RegionError::Outside { size }),
            _ => Ok(()),
        }
    }
}

/// All memory of a machine.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) srams: Vec<Bytes>,
    pub(crate) regions: Vec<Bound>,
}

impl Memory {
    pub(crate) fn new(cores: usize, sram_bytes: u32, regions: Vec<Region>) -> Self {
        let mut memory = Self { srams: Vec::new(), regions: regions.into_iter().map(Bound::from).collect() };
        memory.reset_srams(cores, sram_bytes);
        memory
    }

    /// As many scratchpads as cores, zero and never written.
    pub(crate) fn reset_srams(&mut self, cores: usize, sram_bytes: u32) {
        self.srams.truncate(cores);
        self.srams.iter_mut().for_each(Bytes::forget);
        let size = usize::try_from(sram_bytes).unwrap_or(0);
        self.srams.resize_with(cores, || Bytes::scratchpad(size));
    }

    /// Checks that an operand of an engine of `core` lies in its memory.
    pub(crate) fn check_bounds(&self, core: u8, operand: &Operand) -> Result<(), FaultCause> {
        let extent = operand.bytes.extent();
        let (role, start, end) = (operand.role, extent.start, extent.end);
        match operand.bytes.space() {
            Space::Sram => {
                let size = length(&self.srams[usize::from(core)].data);
                if end <= size { Ok(()) } else { Err(FaultCause::SramRange { role, start, end, size }) }
            }
            Space::Dram(region) => {
                let bound = self.regions.get(usize::from(region)).unwrap_or(&Bound::Unbound);
                bound.check(role.is_write(), &extent).map_err(|why| FaultCause::RegionBounds {
                    role,
                    region,
                    start,
                    end,
                    why,
                })
            }
        }
    }

    fn written(&self, core: u8, space: Space) -> Option<&Bits> {
        match space {
            Space::Sram => Some(&self.srams[usize::from(core)].written),
            Space::Dram(region) => match &self.regions[usize::from(region)] {
                Bound::Buffer { bytes, .. } => Some(&bytes.written),
                Bound::Constant(_) | Bound::Unbound => None,
            },
        }
    }

    /// The first byte of a footprint within bounds that nothing has written.
    pub(crate) fn first_unwritten(&self, core: u8, bytes: &Footprint) -> Option<u64> {
        let written = self.written(core, bytes.space())?;
        if has_all_between(written, bytes) {
            return None;
        }
        bytes
            .try_for_each_run(|run| match written.first_clear(index(run.start)..index(run.end)) {
                None => Ok(()),
                Some(byte) => Err(length_of(byte)),
            })
            .err()
    }

    /// Notes that a footprint within bounds is written.
    pub(crate) fn mark_written(&mut self, core: u8, bytes: &Footprint) {
        let written = match bytes.space() {
            Space::Sram => &mut self.srams[usize::from(core)].written,
            Space::Dram(region) => match &mut self.regions[usize::from(region)] {
                Bound::Buffer { bytes, .. } => &mut bytes.written,
                Bound::Constant(_) | Bound::Unbound => return,
            },
        };
        if has_all_between(written, bytes) {
            return;
        }
        if let Some((count, step)) =
            bytes.loops().next().filter(|&(count, step)| count >= MANY_RUNS && step <= length_of(WORD))
        {
            let run = index(bytes.run_bytes());
            return bytes.for_each_line(|start| written.set_runs(index(start), run, index(count), index(step)));
        }
        let Ok(()) = bytes.try_for_each_run::<Infallible>(|run| {
            written.set(index(run.start)..index(run.end));
            Ok(())
        });
    }

    /// Bytes of a space, for reading.
    pub(crate) fn data(&self, core: u8, space: Space) -> &[u8] {
        match space {
            Space::Sram => &self.srams[usize::from(core)].data,
            Space::Dram(region) => self.regions.get(usize::from(region)).map_or(&[], Bound::data),
        }
    }

    /// Bytes of a space, for writing; empty where the device may not write.
    pub(crate) fn data_mut(&mut self, core: u8, space: Space) -> &mut [u8] {
        match space {
            Space::Sram => &mut self.srams[usize::from(core)].data,
            Space::Dram(region) => match self.regions.get_mut(usize::from(region)) {
                Some(Bound::Buffer { bytes, .. }) => &mut bytes.data,
                _ => &mut [],
            },
        }
    }
}

/// Runs from which the patterns of words are worth making.
const MANY_RUNS: u64 = 256;

/// Bytes whose bits are looked at in the time that a run takes.
const BYTES_PER_RUN: u64 = 1024;

/// Whether all bytes from a footprint's first to its last are written: mostly so, as memory is used again and again, and faster
/// to see than run by run. `false` says nothing.
fn has_all_between(written: &Bits, bytes: &Footprint) -> bool {
    let Range { start, end } = bytes.extent();
    !bytes.is_dense()
        && (end - start) / BYTES_PER_RUN <= bytes.runs()
        && written.first_clear(index(start)..index(end)).is_none()
}

/// A byte position within memory that exists, so it fits.
pub(crate) fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn length(data: &[u8]) -> u64 {
    length_of(data.len())
}

fn length_of(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
