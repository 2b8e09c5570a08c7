//! Which layers the cores share, and how.
//!
//! A network is cut into runs so that the sum of their estimated cycles is least. What a run takes is estimated layer by layer:
//! the slower of its computation and its traffic on the core that takes longest, and a price for every run that several cores
//! share, as they wait for each other there. What the price is depends on what overlaps, so there are several candidates with
//! different prices, and who asks schedules them all and takes the one that is done first.

use std::ops::Range;

use super::axis::{Axis, cycles, weight_bytes};
use super::runs::{Run, Uses, shares};
use super::{Division, Slice};
use crate::options::{Options, Sharing};
use crate::size::{index, wide, width};
use cnnip_isa::Target;
use cnnip_lowered::{Network, ValueId};

/// Longest run.
const MAX_LAYERS: usize = 12;

/// Cycles that cores lose where a run begins: the first loads and the last stores, which nothing overlaps.
const PRICES: [u64; 3] = [150, 600, 2400];

/// Cycles of the commands around a layer's operations on a core, about.
const LAYER_CYCLES: u64 = 120;

/// Ways for several cores to share a network; none for one core.
pub(crate) fn candidates(network: &Network, options: &Options) -> Vec<Division> {
    let (cores, sharing) = (index(options.cores), options.sharing);
    let mut found = vec![];
    if cores < 2 {
        return found;
    }
    let uses = Uses::of(network);
    let mut tried = vec![];
    for price in PRICES {
        let runs = Planner { network, uses: &uses, target: options.target, cores, sharing, price }.runs();
        let shared = runs.iter().any(|run| run.axis.is_some());
        if shared && !tried.contains(&runs) {
            found.extend(Division::of_runs(network, &uses, &runs, cores));
            tried.push(runs);
        }
    }
    found
}

struct Planner<'a> {
    network: &'a Network,
    uses: &'a Uses,
    target: &'a Target,
    cores: usize,
    sharing: Sharing,
    price: u64,
}

/// The cheapest way to do all layers up to one.
#[derive(Clone, Debug)]
struct Best {
    cycles: u64,
    last: Run,
}

impl Planner<'_> {
    /// The runs with least estimated cycles.
    fn runs(&self) -> Vec<Run> {
        let mut best: Vec<Best> = vec![];
        for end in 1..=self.network.layers.len() {
            let before = |start: usize| start.checked_sub(1).and_then(|at| best.get(at)).map_or(0, |best| best.cycles);
            let starts = (end.saturating_sub(MAX_LAYERS)..end).rev();
            let runs = starts.flat_map(|start| {
                [None, Some(Axis::Rows), Some(Axis::Channels)].map(|axis| Run { layers: start..end, axis })
            });
            let found = runs.filter_map(|run| {
                let cycles = before(run.layers.start).saturating_add(self.cycles(&run)?);
                Some(Best { cycles, last: run })
            });
            best.extend(found.min_by_key(|best| best.cycles));
        }
        let mut runs = vec![];
        let mut end = self.network.layers.len();
        while let Some(Best { last, .. }) = end.checked_sub(1).and_then(|at| best.get(at)) {
            runs.push(last.clone());
            end = last.layers.start;
        }
        runs.reverse();
        runs
    }

    /// Estimated cycles of a run; `None` if there is no such run.
    fn cycles(&self, run: &Run) -> Option<u64> {
        let Run { layers, axis } = run;
        let on_host = self.network.layers[layers.clone()].iter().any(|layer| layer.work.is_host());
        let cycles = match axis {
            _ if on_host => return (layers.len() == 1 && axis.is_none()).then_some(0),
            None => layers.clone().map(|layer| self.on_one(layer, layers)).sum(),
            Some(axis) => self.price + self.shared(layers, *axis)?,
        };
        Some(cycles.saturating_add(self.avoided(run)))
    }

    /// Cycles that no plan is worth, for every layer that is not done as the caller wants.
    fn avoided(&self, Run { layers, axis }: &Run) -> u64 {
        match self.sharing {
            Sharing::Always(wanted) if *axis != Some(wanted) => wide(layers.len()) << 40,
            _ => 0,
        }
    }

    /// Cycles of a layer that one core does.
    fn on_one(&self, layer: usize, run: &Range<usize>) -> u64 {
        let work = &self.network.layers[layer].work;
        let values = work.reads().into_iter().chain([work.writes()]);
        let moved = values.filter(|&value| !self.is_private(value, run));
        let bytes: u64 = moved.map(|value| self.network.values[value.0].bytes()).sum();
        self.slower(cycles(work, self.network, self.target), bytes + weight_bytes(work))
    }

    /// Cycles of the core that takes longest for its part of a run.
    fn shared(&self, run: &Range<usize>, axis: Axis) -> Option<u64> {
        let mut of_core = vec![0; self.cores];
        for share in shares(self.network, self.uses, (run, axis), self.cores)? {
            let work = &self.network.layers[share.layer].work;
            let (all, weights) = (cycles(work, self.network, self.target), weight_bytes(work));
            for (sum, range) in of_core.iter_mut().zip(&share.ranges) {
                let Some(range) = range else { continue };
                let part = |amount: u64| amount.saturating_mul(wide_len(range)).div_ceil(share.cut.extent.into());
                let weights = if axis == Axis::Channels { part(weights) } else { weights };
                let reads = work.reads().into_iter().zip(share.cut.reads(range)?);
                let slices = reads.chain([(work.writes(), share.cut.writes(range))]);
                let moved: u64 = slices.map(|(value, slice)| self.bytes(value, &slice, run)).sum();
                *sum += self.slower(part(all), moved + weights);
            }
        }
        of_core.into_iter().max()
    }

    /// Bytes of a slice, if it goes through external memory.
    fn bytes(&self, value: ValueId, slice: &Slice, run: &Range<usize>) -> u64 {
        let bytes = slice.elements() * u64::from(width(self.network.element(value)));
        if self.is_private(value, run) { 0 } else { bytes }
    }

    fn is_private(&self, value: ValueId, run: &Range<usize>) -> bool {
        self.uses.is_private(self.network, self.network.root(value), run)
    }

    /// The slower of computation and traffic, with the commands around them.
    fn slower(&self, computing: u64, bytes: u64) -> u64 {
        let bandwidth = u64::from(self.target.dma_engines) * u64::from(self.target.dma_bytes_per_cycle);
        computing.max(bytes / bandwidth.max(1)) + LAYER_CYCLES
    }
}

fn wide_len(range: &Range<u32>) -> u64 {
    wide(range.len())
}
