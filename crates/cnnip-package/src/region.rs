//! Regions: the pieces of external memory a package asks for.

/// Number of a region: its index in [`Package::regions`](crate::Package::regions), and the number that command lists put in
/// a `REGION` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u8);

/// Most regions a package may have: the device's `REGION` fields hold five bits.
pub const MAX_REGIONS: usize = 32;

/// Most bytes a region may have: device addresses are 32-bit offsets into a region.
pub const MAX_REGION_BYTES: u64 = 1 << 32;

/// One piece of external memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Name, unique among the regions.
    pub name: String,
    /// Who fills it and who reads it.
    pub kind: RegionKind,
    /// Size in bytes; for a constant region the length of its bytes in the file.
    pub bytes: u64,
    /// Whether the device's cores may address it. A region that only host steps touch is not bound to the device.
    pub core_visible: bool,
}

/// Who fills a region and who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegionKind {
    /// Filled from the package, never written: weights, records, tables.
    Constant,
    /// Filled by the application before a job.
    Input,
    /// Read by the application after a job.
    Output,
    /// Everything between: contents before and after a job mean nothing.
    Scratch,
}

impl RegionKind {
    /// The name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Input => "input",
            Self::Output => "output",
            Self::Scratch => "scratch",
        }
    }
}
