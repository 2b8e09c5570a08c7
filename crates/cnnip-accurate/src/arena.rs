//! Where tensors live: a place in one block of memory from the first write to the last use.

use std::ops::Range;

use cnnip_lowered::{Network, Origin, ValueId};

use crate::element::index;

/// Alignment of every tensor, in bytes.
const ALIGNMENT: u64 = 64;

/// The bytes of every value that has any, by value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arena {
    places: Vec<Option<Range<usize>>>,
    /// Bytes of the whole block.
    pub(crate) bytes: u64,
}

impl Arena {
    /// Plans memory for a network without problems: values that are not alive together may share bytes.
    pub(crate) fn plan(network: &Network) -> Self {
        let last = last_uses(network);
        let mut plan = Plan { network, places: vec![None; network.values.len()], free: Free::default(), bytes: 0 };
        network.inputs.iter().for_each(|&id| plan.take(id));
        for (at, layer) in network.layers.iter().enumerate() {
            let output = network.root(layer.work.writes());
            plan.take(output);
            for id in layer.work.reads().into_iter().map(|id| network.root(id)).chain([output]) {
                if last[id.0] == Some(at) {
                    plan.release(id);
                }
            }
        }
        let Plan { places, bytes, .. } = plan;
        let places = places.into_iter().map(|place| place.map(|(range, _)| range));
        Self { places: places.collect(), bytes }
    }

    /// The place of a value that is no alias and no constant, and alive at some time.
    pub(crate) fn place(&self, root: ValueId) -> Option<Range<usize>> {
        self.places.get(root.0)?.clone()
    }
}

/// The last layer that reads or writes each value; `None` for those that stay to the end.
fn last_uses(network: &Network) -> Vec<Option<usize>> {
    let mut last = vec![None; network.values.len()];
    for (at, layer) in network.layers.iter().enumerate() {
        for id in layer.work.reads().into_iter().chain([layer.work.writes()]) {
            last[network.root(id).0] = Some(at);
        }
    }
    network.outputs.iter().chain(&network.inputs).for_each(|&id| last[network.root(id).0] = None);
    last
}

struct Plan<'a> {
    network: &'a Network,
    /// Places, and whether they are taken now.
    places: Vec<Option<(Range<usize>, bool)>>,
    free: Free,
    bytes: u64,
}

impl Plan<'_> {
    fn take(&mut self, id: ValueId) {
        let value = &self.network.values[id.0];
        if self.places[id.0].is_some() || matches!(value.origin, Origin::Constant(_) | Origin::Alias(_)) {
            return;
        }
        let bytes = value.bytes();
        let start = self.free.take(bytes.next_multiple_of(ALIGNMENT)).unwrap_or(self.bytes);
        let end = start + bytes;
        self.bytes = self.bytes.max(end.next_multiple_of(ALIGNMENT));
        self.places[id.0] = Some((index(start)..index(end), true));
    }

    fn release(&mut self, id: ValueId) {
        if let Some((range, taken @ true)) = &mut self.places[id.0] {
            *taken = false;
            let (start, bytes) = (range.start, range.len().next_multiple_of(index(ALIGNMENT)));
            self.free.give(u64::try_from(start).unwrap_or(u64::MAX), u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }
}

/// Gaps between values that are alive: start and bytes, by start, none touching another.
#[derive(Debug, Default)]
struct Free(Vec<(u64, u64)>);

impl Free {
    /// Takes bytes from the smallest gap that has them.
    fn take(&mut self, bytes: u64) -> Option<u64> {
        let fitting = self.0.iter().enumerate().filter(|(_, gap)| gap.1 >= bytes);
        let (at, _) = fitting.min_by_key(|(_, gap)| gap.1)?;
        let (start, left) = self.0[at];
        if left == bytes {
            self.0.remove(at);
        } else {
            self.0[at] = (start + bytes, left - bytes);
        }
        Some(start)
    }

    /// Gives bytes back, and joins what touches.
    fn give(&mut self, start: u64, bytes: u64) {
        let at = self.0.partition_point(|gap| gap.0 < start);
        self.0.insert(at, (start, bytes));
        for at in [at + 1, at] {
            let Some(before) = at.checked_sub(1) else { continue };
            if let (Some(&(low, size)), Some(&(high, more))) = (self.0.get(before), self.0.get(at))
                && low + size == high
            {
                self.0[before] = (low, size + more);
                self.0.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_used_again_and_join() {
        let mut free = Free::default();
        assert_eq!(free.take(64), None);
        free.give(0, 64);
        free.give(128, 128);
        free.give(64, 64);
        assert_eq!(free.0, [(0, 256)]);
        assert_eq!((free.take(64), free.take(192), free.take(1)), (Some(0), Some(64), None));
        free.give(0, 128);
        free.give(192, 64);
        assert_eq!(free.take(64), Some(192), "the smallest gap");
    }
}
