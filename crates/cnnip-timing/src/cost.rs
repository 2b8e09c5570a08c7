//! What one operation costs.

use cnnip_isa::Target;
use cnnip_isa::operation::{Operation, Space};

use crate::Nest;

/// Estimated cost of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Length in cycles.
    pub cycles: u64,
    /// Multiply-accumulates, positions in the padding included.
    pub macs: u64,
    /// Bytes read from external memory.
    pub dram_read: u64,
    /// Bytes written to external memory.
    pub dram_written: u64,
}

impl Cost {
    /// The cost of `operation` on `target`.
    ///
    /// ```
    /// use cnnip_isa::{Target, operation::{Copy, Location, Operation}};
    /// let v4h = Target::by_name("v4h").unwrap();
    /// let copy = Operation::Copy(Copy::dense(Location::dram(0, 0), Location::sram(0), 130));
    /// let cost = cnnip_timing::Cost::of(&copy, v4h);
    /// assert_eq!((cost.cycles, cost.dram_read), (64 + 3, 130)); // 64 bytes per cycle
    /// ```
    pub fn of(operation: &Operation, target: &Target) -> Self {
        let macs = if let Operation::Conv(conv) = operation { conv.macs() } else { 0 };
        let (dram_read, dram_written) = traffic(operation);
        Self { cycles: Nest::of(operation, target).cycles(), macs, dram_read, dram_written }
    }
}

fn traffic(operation: &Operation) -> (u64, u64) {
    let outside = |space| matches!(space, Space::Dram(_));
    match operation {
        Operation::Copy(copy) => {
            let bytes = copy.pattern.bytes();
            let count = |space| if outside(space) { bytes } else { 0 };
            (count(copy.source.space), count(copy.destination.space))
        }
        Operation::Decode(decode) => {
            let count = |space, bytes| if outside(space) { bytes } else { 0 };
            (count(decode.stream.space, decode.coded_bytes()), count(decode.destination.space, decode.bytes()))
        }
        Operation::Fill(fill) if outside(fill.destination.space) => (0, fill.pattern.bytes()),
        _ => (0, 0),
    }
}
