//! Runs of layers that the cores share out along one axis, and who does what of them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::axis::{Axis, Cut};
use super::slice::Slice;
use crate::memory::{Role, roles};
use crate::size::small;
use cnnip_lowered::{Network, Origin, ValueId};

/// Neighbouring layers that are done alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) layers: Range<usize>,
    /// How the cores share the layers out; `None` if one core does them.
    pub(crate) axis: Option<Axis>,
}

/// Who uses the values of a network: by value that owns bytes.
pub(crate) struct Uses {
    roles: Vec<Option<Role>>,
    writers: Vec<Vec<usize>>,
    readers: Vec<Vec<usize>>,
}

impl Uses {
    pub(crate) fn of(network: &Network) -> Self {
        let none = vec![vec![]; network.values.len()];
        let mut uses = Self { roles: roles(network), writers: none.clone(), readers: none };
        for (index, layer) in network.layers.iter().enumerate() {
            uses.writers[network.root(layer.work.writes()).0].push(index);
            for value in layer.work.reads() {
                uses.readers[network.root(value).0].push(index);
            }
        }
        uses
    }

    /// Whether a value exists within a run only, so that every core can have what it needs of it to itself.
    pub(crate) fn is_private(&self, network: &Network, value: ValueId, run: &Range<usize>) -> bool {
        let inside = |layers: &[usize]| layers.iter().all(|layer| run.contains(layer));
        self.roles[value.0] == Some(Role::Scratch)
            && network.values[value.0].origin == Origin::Computed
            && self.writers[value.0].len() == 1
            && !self.readers[value.0].is_empty()
            && inside(&self.writers[value.0])
            && inside(&self.readers[value.0])
    }
}

/// What the cores do of one layer of a run.
#[derive(Clone, Debug)]
pub(crate) struct Shares<'a> {
    pub(crate) layer: usize,
    pub(crate) cut: Cut<'a>,
    /// By core; `None` for one that has nothing to do.
    pub(crate) ranges: Vec<Option<Range<u32>>>,
}

/// Slices of private values that cores need, by value and core.
type Needs = BTreeMap<(ValueId, usize), Slice>;

/// Shares the layers of a run out among `cores`; `None` if they cannot be along this axis.
///
/// What the run gives to others is shared evenly. Of what is private to it, a core makes what its own later layers need; where
/// windows overlap, several make the same elements. What no layer needs is made too, so that every value exists whole.
pub(crate) fn shares<'a>(
    network: &'a Network,
    uses: &Uses,
    (run, axis): (&Range<usize>, Axis),
    cores: usize,
) -> Option<Vec<Shares<'a>>> {
    let mut needs = Needs::new();
    let mut shares = vec![];
    for layer in run.clone().rev() {
        let work = &network.layers[layer].work;
        let cut = Cut::new(network, work, axis)?;
        let output = network.root(work.writes());
        let ranges = if uses.is_private(network, output, run) {
            let needed = (0..cores)
                .map(|core| needs.get(&(output, core)).map_or(Some(None), |slice| cut.around(slice).map(Some)));
            complete(needed.collect::<Option<_>>()?, cut.extent)
        } else {
            (0..cores).map(|core| even(cut.extent, cut.unit, core, cores)).collect()
        };
        for (core, range) in ranges.iter().enumerate() {
            let Some(range) = range else { continue };
            for (value, slice) in work.reads().into_iter().zip(cut.reads(range)?) {
                need(&mut needs, (network.root(value), core), slice)?;
            }
        }
        shares.push(Shares { layer, cut, ranges });
    }
    shares.reverse();
    Some(shares)
}

/// Ranges, in ascending order, that cover all of `0..extent`: each reaches to the next one.
fn complete(mut ranges: Vec<Option<Range<u32>>>, extent: u32) -> Vec<Option<Range<u32>>> {
    let mut next = extent;
    for range in ranges.iter_mut().rev().flatten() {
        range.end = range.end.max(next);
        next = next.min(range.start);
    }
    if let Some(first) = ranges.iter_mut().flatten().next() {
        first.start = 0;
    }
    ranges
}

fn need(needs: &mut Needs, key: (ValueId, usize), slice: Slice) -> Option<()> {
    let slice = match needs.get(&key) {
        Some(other) => other.around(&slice)?,
        None => slice,
    };
    needs.insert(key, slice);
    Some(())
}

/// The indices that a core has of evenly shared ones, in whole units; `None` if there are fewer units than cores.
fn even(extent: u32, unit: u32, core: usize, cores: usize) -> Option<Range<u32>> {
    let units = u64::from(extent.div_ceil(unit));
    let cores = crate::size::wide(cores);
    let start = |core: u64| small(units * core / cores * u64::from(unit)).min(extent);
    let core = crate::size::wide(core);
    let range = start(core)..start(core + 1);
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_core_needs_is_made_too() {
        let ranges = vec![Some(1..4), None, Some(3..6), Some(8..9)];
        assert_eq!(complete(ranges, 10), [Some(0..4), None, Some(3..8), Some(8..10)]);
    }

    #[test]
    fn all_indices_are_shared_out_once() {
        for (extent, unit, cores) in [(7, 1, 3), (100, 16, 3), (2, 1, 3), (1, 1, 3), (33, 16, 2)] {
            let ranges: Vec<_> = (0..cores).filter_map(|core| even(extent, unit, core, cores)).collect();
            let all: Vec<u32> = ranges.iter().cloned().flatten().collect();
            assert_eq!(all, (0..extent).collect::<Vec<_>>());
            assert!(ranges.iter().all(|range| range.start % unit == 0));
        }
    }
}
