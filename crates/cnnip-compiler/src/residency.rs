//! Values that stay in the scratchpad from the layer that writes them to the last one that reads them.
//!
//! A value that stays is neither stored nor loaded, and layers work on it where it lies. But it takes room from all layers
//! that run meanwhile, which then are cut finer and may load their weights or inputs more often. So values are tried one
//! after the other, those with most accesses per layer of their life first, and a value stays if fewer bytes move then.
//! Inputs and outputs of the network, kept values, and what the host touches are always in external memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use cnnip_isa::Target;

use crate::choices::Choices;
use crate::division::Division;
use crate::lower::{Setting, traffic};
use crate::memory::{Life, Role, first_fit, lives, roles};
use crate::size::{aligned, small};
use crate::tile::conv::Plans;
use cnnip_lowered::{Network, ValueId};

/// Addresses of resident values, and of the buffers of a layer, are multiples of this.
const ALIGNMENT: u64 = 64;

/// Where a value stays, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stay {
    core: u8,
    bytes: Range<u64>,
    life: Life,
}

/// The values that stay in the scratchpads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Residency {
    /// By value.
    stays: Vec<Option<Stay>>,
    /// By layer, the core that does it.
    cores: Vec<u8>,
    /// Bytes of a scratchpad.
    sram: u64,
}

impl Residency {
    /// No value stays.
    pub(crate) fn none(division: &Division, target: &Target) -> Self {
        let cores = division.duties().iter().map(|duty| duty.core).collect();
        Self { stays: vec![None; division.network.values.len()], cores, sram: target.sram_bytes.into() }
    }

    /// The address of a value that stays; for one that has bytes of its own.
    pub(crate) fn address(&self, value: ValueId) -> Option<u32> {
        self.stays[value.0].as_ref().map(|stay| small(stay.bytes.start))
    }

    /// The blocks that are free during a layer on its core, in order of addresses.
    pub(crate) fn free(&self, layer: usize) -> Vec<Range<u64>> {
        let stays = self.during(self.cores[layer], layer..=layer);
        let mut taken: Vec<&Range<u64>> = stays.map(|stay| &stay.bytes).collect();
        taken.sort_unstable_by_key(|bytes| bytes.start);
        let mut free = vec![];
        let mut at = 0;
        for bytes in taken {
            free.push(at..bytes.start);
            at = aligned(bytes.end, ALIGNMENT);
        }
        free.push(at..self.sram);
        free.retain(|block| !block.is_empty());
        free
    }

    /// Bytes of the largest block that is free during a layer.
    pub(crate) fn room(&self, layer: usize) -> u64 {
        self.free(layer).iter().map(|block| block.end - block.start).max().unwrap_or(0)
    }

    /// Where values on a layer's core lay that were last read before the layer, and by which layer.
    pub(crate) fn ended(&self, layer: usize) -> impl Iterator<Item = (&Range<u64>, usize)> {
        let core = self.cores[layer];
        let stays = self.stays.iter().flatten().filter(move |stay| stay.core == core);
        let stays = stays.map(|stay| (&stay.bytes, *stay.life.end()));
        stays.filter(move |&(_, last)| last < layer)
    }

    /// Bytes of the values that stay during a layer.
    pub(crate) fn bytes(&self, layer: usize) -> u64 {
        let stays = self.during(self.cores[layer], layer..=layer);
        stays.map(|stay| stay.bytes.end - stay.bytes.start).sum()
    }

    /// The values that stay on a core during a time.
    fn during(&self, core: u8, life: Life) -> impl Iterator<Item = &Stay> {
        let stays = self.stays.iter().flatten().filter(move |stay| stay.core == core);
        stays.filter(move |stay| stay.life.start() <= life.end() && life.start() <= stay.life.end())
    }

    /// The layers of a time that a core does.
    fn layers(&self, core: u8, life: &Life) -> impl Iterator<Item = usize> + use<'_> {
        life.clone().filter(move |&layer| self.cores[layer] == core)
    }

    /// The lowest and the highest place that is free on a core for `bytes` all `life` long.
    fn places(&self, core: u8, bytes: u64, life: &Life) -> Vec<Range<u64>> {
        let bytes = aligned(bytes, ALIGNMENT);
        let sram = self.sram / ALIGNMENT * ALIGNMENT;
        let taken =
            || self.during(core, life.clone()).map(|stay| (stay.bytes.start, aligned(stay.bytes.end, ALIGNMENT)));
        let lowest = |mut taken: Vec<(u64, u64)>| {
            taken.sort_unstable();
            let start = first_fit(taken.into_iter(), bytes);
            (start + bytes <= sram).then_some(start)
        };
        let low = lowest(taken().collect());
        let mirrored = taken().map(|(start, end)| (sram.saturating_sub(end), sram - start)).collect();
        let high = lowest(mirrored).map(|start| sram - start - bytes);
        let mut places: Vec<Range<u64>> = low.into_iter().chain(high).map(|start| start..start + bytes).collect();
        places.dedup();
        places
    }
}

/// Layers planned to choose the values, at most: beyond that, what has not been tried does not stay. It is several times what a
/// network of a thousand layers takes, unless its values live long.
const MAX_PLANS: usize = 1 << 14;

/// Chooses the values that stay: only values that one core has to itself.
pub(crate) fn choose(division: &Division, target: &'static Target, (choices, plans): (&Choices, &Plans)) -> Residency {
    let mut choice = Choice::new(division, target, (choices, plans));
    let users = division.users();
    let mut plans = 0;
    for (value, life) in candidates(&division.network).into_iter().filter(|&(value, _)| choices.may_stay(value)) {
        let Some(core) = users[value] else { continue };
        plans += 2 * choice.residency.layers(core, &life).count();
        if plans > MAX_PLANS {
            break;
        }
        choice.consider(value, core, &life);
    }
    choice.residency
}

struct Choice<'a> {
    division: &'a Division,
    target: &'static Target,
    choices: &'a Choices,
    plans: &'a Plans,
    residency: Residency,
    /// Per layer, bytes moved as things stand; `None` where it has too little room.
    moved: Vec<Option<u64>>,
}

/// A place for a value, and what its layers move then.
struct Trial {
    stay: Stay,
    moved: Vec<u64>,
    /// Bytes that the layer with least room has.
    room: u64,
}

impl<'a> Choice<'a> {
    fn new(division: &'a Division, target: &'static Target, (choices, plans): (&'a Choices, &'a Plans)) -> Self {
        let residency = Residency::none(division, target);
        let mut choice = Self { division, target, choices, plans, residency, moved: vec![] };
        choice.moved = (0..division.network.layers.len()).map(|layer| choice.bytes_moved(layer)).collect();
        choice
    }

    /// Bytes that a layer moves to and from external memory; `None` if it has too little room.
    fn bytes_moved(&self, layer: usize) -> Option<u64> {
        let Self { division, target, choices, plans, residency, .. } = self;
        traffic(&Setting { division, residency, target, choices, plans, layer })
    }

    /// Lets a value stay at the better of two places, if its layers move fewer bytes then.
    fn consider(&mut self, value: usize, core: u8, life: &Life) {
        let before: Option<u64> = self.residency.layers(core, life).map(|layer| self.moved[layer]).sum();
        let places = self.residency.places(core, self.division.network.values[value].bytes(), life);
        let stays = places.into_iter().map(|bytes| Stay { core, bytes, life: life.clone() });
        let trials: Vec<Trial> = stays.filter_map(|stay| self.trial(value, stay)).collect();
        let best = trials.into_iter().min_by_key(|trial| (trial.moved.iter().sum::<u64>(), Reverse(trial.room)));
        let saves = |trial: &Trial| before.is_none_or(|before| trial.moved.iter().sum::<u64>() < before);
        if let Some(Trial { stay, moved, .. }) = best.filter(saves) {
            let layers: Vec<usize> = self.residency.layers(core, life).collect();
            layers.into_iter().zip(moved).for_each(|(layer, bytes)| self.moved[layer] = Some(bytes));
            self.residency.stays[value] = Some(stay);
        }
    }

    /// What happens if a value stays at a place; `None` if a layer has too little room then.
    fn trial(&mut self, value: usize, stay: Stay) -> Option<Trial> {
        self.residency.stays[value] = Some(stay.clone());
        let layers = || self.residency.layers(stay.core, &stay.life);
        let moved: Option<Vec<u64>> = layers().map(|layer| self.bytes_moved(layer)).collect();
        let room = layers().map(|layer| self.residency.room(layer)).min().unwrap_or(0);
        self.residency.stays[value] = None;
        Some(Trial { stay, moved: moved?, room })
    }
}

/// Values that may stay, best first, each with its life.
pub(crate) fn candidates(network: &Network) -> Vec<(usize, Life)> {
    let mut accesses = vec![0_u64; network.values.len()];
    for layer in &network.layers {
        for value in layer.work.reads().into_iter().chain([layer.work.writes()]) {
            accesses[network.root(value).0] += 1;
        }
    }
    let roles = roles(network);
    let mut found: Vec<(usize, Life)> = vec![];
    for (value, life) in lives(network).into_iter().enumerate() {
        let Some(life) = life.filter(|_| roles[value] == Some(Role::Scratch)) else { continue };
        let with_host = network.layers[life.clone()].iter().any(|layer| layer.work.is_host());
        if !with_host && network.values[value].bytes() > 0 {
            found.push((value, life));
        }
    }
    // Accesses per layer, as a fraction of integers.
    let rate = |&(value, ref life): &(usize, Life)| {
        let layers = crate::size::wide(life.end() - life.start() + 1);
        accesses[value].saturating_mul(1 << 20) / layers
    };
    found.sort_by_key(|one| (Reverse(rate(one)), Reverse(network.values[one.0].bytes()), one.0));
    found
}

/// Where layers had their buffers, so that a layer takes what has not been used for longest: its loads can begin earliest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// By core: places, and the layers that had them.
    uses: BTreeMap<u8, Vec<(Range<u64>, usize)>>,
}

/// Layers that are looked back at.
const MEMORY: usize = 32;

impl Recent {
    /// Takes `bytes` for a layer; gives their address. What does not fit is placed at the start of the largest block.
    pub(crate) fn take(&mut self, residency: &Residency, layer: usize, bytes: u64) -> u64 {
        let bytes = aligned(bytes, ALIGNMENT);
        let free = residency.free(layer);
        let uses = self.uses.entry(residency.cores[layer]).or_default();
        let mut used: Vec<(&Range<u64>, usize)> = uses.iter().map(|(range, by)| (range, *by)).collect();
        used.extend(residency.ended(layer).filter(|&(_, by)| by + MEMORY > layer));
        let last_use = |start: u64| {
            let met = used.iter().filter(|(range, _)| range.start < start + bytes && start < range.end);
            met.map(|&(_, by)| by + 1).max().unwrap_or(0)
        };
        let mut starts: Vec<u64> = vec![];
        for block in &free {
            let ends = used
                .iter()
                .flat_map(|(range, _)| [Some(aligned(range.end, ALIGNMENT)), range.start.checked_sub(bytes)]);
            let fits = |start: &u64| *start >= block.start && start + bytes <= block.end;
            starts.extend(ends.flatten().chain([block.start]).filter(fits));
        }
        let largest = free.iter().max_by_key(|block| (block.end - block.start, Reverse(block.start)));
        let fallback = largest.map_or(0, |block| block.start);
        let address = starts.into_iter().min_by_key(|&start| (last_use(start), start)).unwrap_or(fallback);
        uses.push((address..address + bytes, layer));
        uses.retain(|&(_, by)| by + MEMORY > layer);
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn residency(sram: u64, stays: &[(Range<u64>, Life)]) -> Residency {
        let stays = stays.iter().map(|(bytes, life)| Some(Stay { core: 0, bytes: bytes.clone(), life: life.clone() }));
        Residency { stays: stays.collect(), cores: vec![0; 5], sram }
    }

    #[test]
    fn values_are_placed_at_both_ends() {
        let found = residency(1024, &[(0..128, 0..=2), (896..1024, 2..=3)]);
        assert_eq!(found.places(0, 100, &(2..=2)), [128..256, 768..896]);
        assert_eq!(found.places(0, 100, &(3..=3)), [0..128, 768..896]);
        assert_eq!(found.places(0, 896, &(0..=1)).as_slice(), std::slice::from_ref(&(128..1024)));
        assert_eq!(found.places(0, 897, &(0..=1)), []);
    }

    #[test]
    fn what_no_value_takes_is_free() {
        let found = residency(1024, &[(0..128, 0..=2), (500..600, 2..=3)]);
        assert_eq!(found.free(2), [128..500, 640..1024]);
        assert_eq!(found.free(1).as_slice(), std::slice::from_ref(&(128..1024)));
        assert_eq!((found.room(3), found.bytes(2)), (500, 228));
    }

    #[test]
    fn cores_have_scratchpads_of_their_own() {
        let found = Residency { cores: vec![0, 1, 0], ..residency(1024, &[(0..128, 0..=2)]) };
        assert_eq!([0, 1, 2].map(|layer| found.room(layer)), [896, 1024, 896]);
        assert_eq!(found.places(1, 1024, &(0..=2)).as_slice(), std::slice::from_ref(&(0..1024)));
    }

    #[test]
    fn buffers_go_where_nothing_was_for_longest() {
        let found = residency(1024, &[(0..128, 0..=2)]);
        let mut recent = Recent::default();
        let taken: Vec<u64> = (0..4).map(|layer| recent.take(&found, layer, 300)).collect();
        assert_eq!(taken, [128, 448, 128, 448]);
    }
}
