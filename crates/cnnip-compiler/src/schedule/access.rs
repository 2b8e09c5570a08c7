//! Which operations last touched which bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use cnnip_isa::operation::{Operand, Operation, Space};

use super::{Clock, ENGINES};

/// The last accesses to a range of bytes, per engine the number of the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Segment {
    end: u64,
    writes: Clock,
    reads: Clock,
}

/// The last accesses to all bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Accesses {
    /// By memory and first byte.
    spaces: BTreeMap<Memory, BTreeMap<u64, Segment>>,
}

/// A space, and whose: external memory is that of all cores.
type Memory = (Space, Option<usize>);

fn memory(operand: &Operand, core: usize) -> Memory {
    let space = operand.bytes.space();
    (space, (space == Space::Sram).then_some(core))
}

/// An operand in external memory of more runs counts as all bytes from its first to its last one, and so does every one in a
/// scratchpad. Channels of a small map that cores write side by side are runs of their own.
const MAX_RUNS: u64 = 256;

/// The bytes that an operand counts as.
fn extents(operand: &Operand) -> Vec<Range<u64>> {
    let bytes = &operand.bytes;
    if bytes.space() == Space::Sram || bytes.is_dense() || bytes.runs() > MAX_RUNS {
        return vec![bytes.extent()];
    }
    let mut runs = vec![];
    bytes.for_each_run_in(&bytes.extent(), |run| runs.push(run));
    runs
}

impl Accesses {
    /// The operations that must have ended before `operation` begins on a core.
    pub(super) fn needed(&self, operation: &Operation, core: usize) -> Clock {
        let mut needed = Clock::default();
        for operand in operation.operands().iter() {
            let Some(segments) = self.spaces.get(&memory(operand, core)) else { continue };
            for extent in extents(operand) {
                let met = meeting(segments, &extent);
                needed = met.fold(needed, |sum, segment| latest(sum, segment.before(operand)));
            }
        }
        needed
    }

    /// Records that `operation` is number `count` of `engine`, counted over all cores.
    pub(super) fn record(&mut self, operation: &Operation, engine: usize, count: usize) {
        for operand in operation.operands().iter() {
            let segments = self.spaces.entry(memory(operand, engine / ENGINES.len())).or_default();
            for extent in extents(operand) {
                cut(segments, extent.start);
                cut(segments, extent.end);
                if operand.role.is_write() {
                    write(segments, &extent, engine, count);
                } else {
                    read(segments, &extent, engine, count);
                }
            }
        }
    }
}

impl Segment {
    /// What must come before an operand that meets the segment.
    fn before(&self, operand: &Operand) -> Clock {
        if operand.role.is_write() { latest(self.writes, self.reads) } else { self.writes }
    }
}

fn latest(a: Clock, b: Clock) -> Clock {
    std::array::from_fn(|at| a[at].max(b[at]))
}

fn meeting<'a>(
    segments: &'a BTreeMap<u64, Segment>,
    extent: &Range<u64>,
) -> impl Iterator<Item = &'a Segment> + use<'a> {
    let before = segments.range(..extent.start).next_back();
    let first = before.filter(|(_, segment)| segment.end > extent.start).map(|(_, segment)| segment);
    first.into_iter().chain(segments.range(extent.clone()).map(|(_, segment)| segment))
}

/// Makes sure that no segment reaches over `at`.
fn cut(segments: &mut BTreeMap<u64, Segment>, at: u64) {
    let Some((_, segment)) = segments.range_mut(..at).next_back() else { return };
    if segment.end > at {
        let rest = *segment;
        segment.end = at;
        segments.insert(at, rest);
    }
}

/// All that was before is before the write: only the write counts from now on.
fn write(segments: &mut BTreeMap<u64, Segment>, extent: &Range<u64>, engine: usize, count: usize) {
    let old: Vec<u64> = segments.range(extent.clone()).map(|(&start, _)| start).collect();
    for start in old {
        segments.remove(&start);
    }
    let mut segment = Segment { end: extent.end, ..Segment::default() };
    segment.writes[engine] = count;
    segments.insert(extent.start, segment);
}

fn read(segments: &mut BTreeMap<u64, Segment>, extent: &Range<u64>, engine: usize, count: usize) {
    let mut gaps = vec![];
    let mut at = extent.start;
    for (&start, segment) in segments.range_mut(extent.clone()) {
        segment.reads[engine] = count;
        if start > at {
            gaps.push((at, start));
        }
        at = segment.end;
    }
    if extent.end > at {
        gaps.push((at, extent.end));
    }
    for (start, end) in gaps {
        let mut segment = Segment { end, ..Segment::default() };
        segment.reads[engine] = count;
        segments.insert(start, segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_isa::operation::{Copy, DmaPattern, Location};

    fn copy(from: u32, to: u32, bytes: u32) -> Operation {
        Operation::Copy(Copy::dense(Location::sram(from), Location::sram(to), bytes))
    }

    #[test]
    fn reads_come_after_the_write_and_a_write_after_all() {
        let mut accesses = Accesses::default();
        let needed = |accesses: &Accesses, operation: Operation| {
            let found = accesses.needed(&operation, 0);
            [found[0], found[1], found[2]]
        };
        accesses.record(&copy(1000, 0, 100), 0, 1);
        assert_eq!(needed(&accesses, copy(99, 500, 1)), [1, 0, 0]);
        assert_eq!(needed(&accesses, copy(100, 500, 1)), [0, 0, 0]);
        assert_eq!(accesses.needed(&copy(99, 500, 1), 1), Clock::default(), "another core's scratchpad");
        accesses.record(&copy(50, 500, 100), 1, 1);
        assert_eq!(needed(&accesses, copy(60, 700, 1)), [1, 0, 0], "two reads in any order");
        assert_eq!(needed(&accesses, copy(700, 60, 1)), [1, 1, 0]);
        assert_eq!(needed(&accesses, copy(700, 120, 1)), [0, 1, 0], "bytes that were only read");
        accesses.record(&copy(700, 60, 10), 2, 1);
        assert_eq!(needed(&accesses, copy(60, 800, 10)), [0, 0, 1], "the write is after all before");
        assert_eq!(needed(&accesses, copy(55, 800, 10)), [1, 0, 1]);
    }

    #[test]
    fn channels_side_by_side_in_external_memory_are_apart() {
        let pattern = DmaPattern { run: 8, counts: [16, 1, 1, 1] };
        let channels = |first: u32| {
            let (source, destination) = (Location::sram(0), Location::dram(1, first));
            let (source_steps, destination_steps) = ([8, 0, 0, 0], [24, 0, 0, 0]);
            Operation::Copy(Copy { source, destination, pattern, source_steps, destination_steps })
        };
        let mut accesses = Accesses::default();
        accesses.record(&channels(0), 1, 1);
        assert_eq!(accesses.needed(&channels(8), 1), Clock::default());
        assert_eq!(accesses.needed(&channels(7), 1)[1], 1);
    }
}
