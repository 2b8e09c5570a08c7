//! Search for choices with which a network takes fewer cycles.
//!
//! A tuner begins with what the planners decide by themselves and goes from there by small changes: another plan for a
//! convolution, less scratchpad for a layer, a value that moves. Where cores can share the network in several ways, it does so for each
//! of them, and mostly for the best. A trial is a few changes at once, and is measured by the very lists that would be emitted, so a
//! better price is a shorter run. What is no better is forgotten, so the best is never worse than the beginning. Trials follow from
//! the seed and the prices of those before, whoever measured them.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use cnnip_graph::Graph;
use cnnip_lowered::{Network, Work};

use crate::choices::{Change, Choices};
use crate::division::Division;
use crate::error::CompileErrors;
use crate::options::{Options, Sharing};
use crate::report::{self, Compiled, LayerProfile, Profile};
use crate::tile::conv::Plans;
use crate::{Placed, Planned, assembled, placed, residency};

/// What a network takes; the less the better, cycles first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price {
    /// Estimated cycles.
    pub cycles: u64,
    /// Bytes to and from external memory.
    pub external_bytes: u64,
}

/// Changes to the best choices so far, of one way in which the cores do the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    way: usize,
    changes: Vec<Change>,
}

/// A search in progress.
///
/// ```
/// use cnnip_compiler::{Options, Tuner, compile_stages};
/// use cnnip_graph::{ElementType, GraphBuilder, Op, Quantization, Shape, Tensor};
/// use cnnip_isa::Target;
///
/// let mut build = GraphBuilder::new("clamp");
/// let image = Tensor::new("image", Shape::new([1, 64, 64, 16])?, ElementType::I8);
/// let image = build.input(image.quantized(Quantization::per_tensor(0.5, -128)));
/// let clamped = build.apply("clamped", Op::Relu6, &[image]);
/// build.output(clamped);
/// let target = Target::by_name("v4h").expect("v4h is a target");
/// let (graph, options) = (build.finish()?, Options::new(target));
///
/// let mut tuner = Tuner::new(&graph, &options, 1)?;
/// let before = tuner.price();
/// for _ in 0..10 {
///     let trial = tuner.propose();
///     let price = tuner.measure(&trial);
///     tuner.learn(&trial, price);
/// }
/// let tuned = compile_stages(&graph, &Options { choices: tuner.choices().clone(), ..options })?;
/// assert!(tuner.price() <= before && tuned.report(target).cycles == tuner.price().cycles);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tuner {
    graph: Graph,
    network: Network,
    options: Options,
    ways: Vec<Way>,
    /// Place in `ways` of the best.
    best: usize,
    random: Random,
}

/// A way in which the cores do the network, and the best choices there.
#[derive(Clone, Debug)]
struct Way {
    /// [`Choices::way`].
    number: usize,
    division: Division,
    plans: Plans,
    knobs: Vec<Knob>,
    /// Sum of the knobs' weights.
    weight: u64,
    choices: Choices,
    price: Price,
}

/// A layer that can be cut otherwise.
#[derive(Clone, Debug)]
struct Knob {
    layer: usize,
    /// Whether it has several plans.
    plans: bool,
    /// Values it reads or writes that may stay or move.
    values: Vec<usize>,
    /// How often it is tried, against others: its cycles.
    weight: u64,
}

/// Plans of a convolution that are tried.
const PLANS: u64 = 32;
/// Parts of the scratchpad that are tried.
const PARTS: [u32; 6] = [1, 2, 3, 4, 6, 8];
/// Changes of a trial at most.
const CHANGES: u64 = 3;
/// One trial of so many is of any way rather than of the best.
const OTHERS: u64 = 4;

impl Tuner {
    /// Begins with the options' own choices.
    ///
    /// # Errors
    /// Those of compiling the graph.
    pub fn new(graph: &Graph, options: &Options, seed: u64) -> Result<Self, CompileErrors> {
        let planned = Planned::of_graph(graph, options)?;
        Self::begin(graph.clone(), planned, options, seed)
    }

    /// As [`new`](Self::new), for networks that run at once, a core each.
    ///
    /// # Errors
    /// Those of compiling the graphs.
    pub fn of_networks(networks: &[(String, Graph)], options: &Options, seed: u64) -> Result<Self, CompileErrors> {
        let (graph, planned) = Planned::of_networks(networks, options)?;
        Self::begin(graph, planned, options, seed)
    }

    fn begin(graph: Graph, planned: Planned, options: &Options, seed: u64) -> Result<Self, CompileErrors> {
        let Planned { legalized: network, first, others } = planned;
        let mut ways = vec![];
        // As the compiler does: without sharing it must be possible, all else is left out if it is not.
        let first = Way::new(&network, (0, first), options)?;
        ways.push(first);
        for numbered in (1..).zip(others) {
            ways.extend(Way::new(&network, numbered, options));
        }
        let best = beginning(&ways, options);
        if options.choices.way().is_some() || options.sharing != Sharing::Faster {
            // Someone has decided already.
            ways = vec![ways.swap_remove(best)];
        }
        let best = if ways.len() > 1 { best } else { 0 };
        Ok(Self { graph, network, options: options.clone(), ways, best, random: Random(seed) })
    }

    fn best(&self) -> &Way {
        &self.ways[self.best]
    }

    /// The best choices so far.
    pub fn choices(&self) -> &Choices {
        &self.best().choices
    }

    /// What the network takes with them.
    pub fn price(&self) -> Price {
        self.best().price
    }

    /// The next trial. It changes nothing for a network without layers on the device.
    pub fn propose(&mut self) -> Trial {
        let any = self.random.below(OTHERS) == 0;
        let at =
            if any { crate::size::index(self.random.below(crate::size::wide(self.ways.len()))) } else { self.best };
        let count = 1 + self.random.below(CHANGES);
        let way = &self.ways[at];
        let changes = (0..count).filter_map(|_| way.change(&mut self.random)).collect();
        Trial { way: way.number, changes }
    }

    /// What the network would take; `None` if it cannot be compiled so.
    pub fn measure(&self, trial: &Trial) -> Option<Price> {
        let way = self.ways.iter().find(|way| way.number == trial.way)?;
        let options = Options { choices: way.changed(trial), ..self.options.clone() };
        let placed = placed(way.division.clone(), &options, &way.plans).ok()?;
        let price = report::price(&placed.programs, options.target)?;
        // What would be taken must become a package.
        let fits = || assembled(&self.graph, &options, self.network.clone(), placed).is_ok();
        (price >= way.price || fits()).then_some(price)
    }

    /// Takes what a trial has shown; says whether it is the best so far.
    pub fn learn(&mut self, trial: &Trial, price: Option<Price>) -> bool {
        let best = self.price();
        let found = (0..self.ways.len()).find(|&at| self.ways[at].number == trial.way);
        let Some((at, price)) = found.zip(price) else { return false };
        let way = &mut self.ways[at];
        if price >= way.price {
            return false;
        }
        way.choices = way.changed(trial);
        way.price = price;
        if price < best {
            self.best = at;
        }
        price < best
    }
}

/// Where the compiler would begin by itself.
fn beginning(ways: &[Way], options: &Options) -> usize {
    let all = 0..ways.len();
    let found = match (options.choices.way(), options.sharing) {
        (Some(chosen), _) => all.rev().find(|&at| ways[at].number <= chosen),
        (None, Sharing::Always(_)) => all.last(),
        (None, Sharing::Faster) => all.min_by_key(|&at| ways[at].price.cycles),
    };
    found.unwrap_or(0)
}

impl Way {
    /// A way with the options' choices, if they are its.
    fn new(network: &Network, (number, division): (usize, Division), options: &Options) -> Result<Self, CompileErrors> {
        let own = options.choices.way().is_none_or(|way| way == number);
        let choices = if own { options.choices.clone() } else { Choices::new() }.in_way(number);
        let options = Options { choices, ..options.clone() };
        let plans = Plans::default();
        let placed = placed(division, &options, &plans)?;
        let Placed { division, memory, jobs, programs, .. } = &placed;
        let profile = Compiled { network, division, memory, jobs, programs, target: options.target }.profile();
        let knobs = knobs(division, &profile, options.chain);
        Ok(Self {
            number,
            weight: knobs.iter().map(|knob| knob.weight).sum(),
            knobs,
            plans,
            choices: options.choices,
            price: Price { cycles: profile.total.cycles, external_bytes: profile.total.external_bytes() },
            division: placed.division,
        })
    }

    fn changed(&self, trial: &Trial) -> Choices {
        trial.changes.iter().fold(self.choices.clone(), |choices, &change| choices.with(change))
    }

    /// A random change of a random layer, long ones more often.
    fn change(&self, random: &mut Random) -> Option<Change> {
        let mut at = random.below(self.weight);
        let knob = self.knobs.iter().find(|knob| {
            let found = at < knob.weight;
            at = at.saturating_sub(knob.weight);
            found
        })?;
        let layer = knob.layer;
        let kinds = [knob.plans, true, !knob.values.is_empty()];
        let kinds: Vec<usize> = (0..kinds.len()).filter(|&kind| kinds[kind]).collect();
        Some(match random.pick(&kinds)? {
            0 => Change::Plan { layer, plan: crate::size::index(random.below(PLANS)) },
            1 => Change::Parts { layer, parts: NonZeroU32::new(random.pick(&PARTS)?).unwrap_or(NonZeroU32::MIN) },
            _ => {
                let value = random.pick(&knob.values)?;
                if self.choices.may_stay(value) { Change::Moves { value } } else { Change::MayStay { value } }
            }
        })
    }
}

fn knobs(division: &Division, profile: &Profile, chain: bool) -> Vec<Knob> {
    let network = &division.network;
    let mut may_stay = vec![false; network.values.len()];
    if chain {
        let users = division.users();
        let own = residency::candidates(network).into_iter().filter(|&(value, _)| users[value].is_some());
        own.for_each(|(value, _)| may_stay[value] = true);
    }
    let knob = |of: &LayerProfile| {
        let work = &network.layers.get(of.layer)?.work;
        let values = work.reads().into_iter().chain([work.writes()]).map(|value| network.root(value).0);
        Some(Knob {
            layer: of.layer,
            plans: matches!(work, Work::Conv(_)),
            values: values.filter(|&value| may_stay[value]).collect(),
            weight: of.elapsed.max(1),
        })
    };
    profile.layers.iter().filter_map(knob).collect()
}

/// As `way 0: layer 3 plan 2, value 7 moves`.
impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        write!(f, "way {}: {}", self.way, changes.join(", "))
    }
}

/// A text that is no trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a trial of changes to plans")]
pub struct NoTrial;

impl FromStr for Trial {
    type Err = NoTrial;

    fn from_str(text: &str) -> Result<Self, NoTrial> {
        let parts = text.strip_prefix("way ").and_then(|text| text.split_once(": "));
        let (way, changes) = parts.ok_or(NoTrial)?;
        let changes = changes.split(", ").filter(|text| !text.is_empty()).map(str::parse);
        let changes = changes.collect::<Result<_, _>>().map_err(|_| NoTrial)?;
        Ok(Self { way: way.parse().map_err(|_| NoTrial)?, changes })
    }
}

/// SplitMix64 of Steele, Lea and Flood (2014): small, and the same everywhere.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, or 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let at = self.below(crate::size::wide(of.len()));
        of.get(crate::size::index(at)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_are_read_as_they_are_written() {
        let changes = vec![Change::Plan { layer: 1, plan: 2 }, Change::Moves { value: 3 }];
        for trial in [Trial { way: 2, changes }, Trial { way: 0, changes: vec![] }] {
            assert_eq!(trial.to_string().parse(), Ok(trial));
        }
        for text in ["", "way 0", "way x: ", "layer 1 plan 2", "way 0: layer 1", "way 0: value 3 moves,value 4 moves"] {
            assert_eq!(text.parse::<Trial>(), Err(NoTrial), "{text}");
        }
    }
}
