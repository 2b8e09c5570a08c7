//! Who does what: layers, and parts of layers, on the cores.
//!
//! A part of a layer is a layer: it reads and writes views of values, has a geometry of its own, and goes through residency,
//! tiling and lowering like any other. So a network for several cores is a network whose layers have a core each.
//!
//! Cores share a *run* of neighbouring layers out along one axis ([`Axis`]). Values that exist within the run only are private:
//! each core makes what its own later layers need, in its own scratchpad if there is room, so that no core waits for another
//! one within the run. All other values are whole, in external memory, where every core writes its part.

mod axis;
mod plan;
mod runs;
mod slice;

use std::collections::BTreeMap;
use std::ops::Range;

pub use axis::Axis;
pub(crate) use plan::candidates;
use runs::{Run, Shares, Uses, shares};
pub(crate) use slice::{Slice, View};

use crate::size::{index, small};
use cnnip_lowered::{Layer, Network, Origin, Value, ValueId, Work};

/// What a layer of a divided network is: a layer of the whole network, or a part of it, on one core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The core that does it.
    pub core: u8,
    /// Index of the layer in the whole network.
    pub layer: usize,
    /// Axis and indices of the output, of a part.
    pub part: Option<(Axis, Range<u32>)>,
}

/// A value that one core has of a value of the whole network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The whole value.
    pub(crate) of: ValueId,
    /// Which elements.
    pub(crate) slice: Slice,
}

/// A network as the cores do it.
#[derive(Clone, Debug, PartialEq)]
pub struct Division {
    /// Begins with the values of the whole network; views and shares of them follow.
    pub network: Network,
    duties: Vec<Duty>,
    /// Per value.
    views: Vec<View>,
    /// The values that are shares.
    shares: BTreeMap<ValueId, Share>,
    cores: usize,
}

impl Division {
    /// Every layer as a whole, on the core that `core` gives for it.
    pub(crate) fn whole(network: &Network, core: impl Fn(&Layer) -> u8) -> Self {
        let duty = |(layer, of): (usize, &Layer)| Duty { core: core(of), layer, part: None };
        let duties: Vec<Duty> = network.layers.iter().enumerate().map(duty).collect();
        let cores = duties.iter().map(|duty| usize::from(duty.core) + 1).max().unwrap_or(1);
        let views = vec![View::default(); network.values.len()];
        Self { network: network.clone(), duties, views, shares: BTreeMap::new(), cores }
    }

    /// Runs shared out among `cores`; `None` if one of them cannot be as it says.
    fn of_runs(network: &Network, uses: &Uses, runs: &[Run], cores: usize) -> Option<Self> {
        let mut division = Self::whole(&Network { layers: vec![], ..network.clone() }, |_| 0);
        division.cores = cores;
        for Run { layers, axis } in runs {
            match axis {
                None => layers.clone().for_each(|layer| {
                    division.push(network.layers[layer].clone(), Duty { core: 0, layer, part: None });
                }),
                Some(axis) => {
                    let shares = shares(network, uses, (layers, *axis), cores)?;
                    let mut builder =
                        Builder { network, uses, run: layers, division: &mut division, held: BTreeMap::new() };
                    shares.iter().try_for_each(|share| builder.layer(share, *axis))?;
                }
            }
        }
        Some(division)
    }

    fn push(&mut self, layer: Layer, duty: Duty) {
        self.network.layers.push(layer);
        self.duties.push(duty);
    }

    fn value(&mut self, value: Value, view: View) -> ValueId {
        self.network.values.push(value);
        self.views.push(view);
        ValueId(self.network.values.len() - 1)
    }

    /// Number of cores that have something to do.
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// What a layer of the divided network is.
    pub fn duty(&self, layer: usize) -> &Duty {
        &self.duties[layer]
    }

    /// Core and part of every layer of the divided network.
    pub fn duties(&self) -> &[Duty] {
        &self.duties
    }

    /// How a value lies in the one whose bytes it shares.
    pub(crate) fn view(&self, value: ValueId) -> View {
        self.views[value.0]
    }

    /// What a value is a share of, if it is one.
    pub(crate) fn share(&self, value: ValueId) -> Option<&Share> {
        self.shares.get(&value)
    }

    /// The core that alone uses a value, counted by the value that owns the bytes; `None` if several do, or the host.
    pub(crate) fn users(&self) -> Vec<Option<u8>> {
        let mut users: Vec<Option<Option<u8>>> = vec![None; self.network.values.len()];
        for (layer, duty) in self.network.layers.iter().zip(&self.duties) {
            let core = (!layer.work.is_host()).then_some(duty.core);
            for value in layer.work.reads().into_iter().chain([layer.work.writes()]) {
                let user = &mut users[self.network.root(value).0];
                *user = Some(user.map_or(core, |known| known.filter(|_| known == core)));
            }
        }
        users.into_iter().map(Option::flatten).collect()
    }
}

/// Adds the parts of a run's layers to a division.
struct Builder<'a> {
    network: &'a Network,
    uses: &'a Uses,
    run: &'a Range<usize>,
    division: &'a mut Division,
    /// What a core has of a private value.
    held: BTreeMap<(ValueId, usize), (ValueId, Slice)>,
}

impl Builder<'_> {
    fn layer(&mut self, Shares { layer, cut, ranges }: &Shares<'_>, axis: Axis) -> Option<()> {
        let whole = &self.network.layers[*layer];
        for (core, range) in ranges.iter().enumerate() {
            let Some(range) = range else { continue };
            let reads = whole.work.reads().into_iter().zip(cut.reads(range)?);
            let reads: Vec<ValueId> =
                reads.map(|(value, slice)| self.view(value, slice, core)).collect::<Option<_>>()?;
            let written = cut.writes(range);
            let root = self.network.root(whole.work.writes());
            if self.uses.is_private(self.network, root, self.run) {
                self.hold(root, &written, core);
            }
            let output = self.view(whole.work.writes(), written, core)?;
            let views: Vec<View> = reads.iter().map(|&value| self.division.view(value)).collect();
            let mut work = cut.part(range, &views)?;
            rewire(&mut work, &reads, output);
            let duty = Duty { core: u8::try_from(core).ok()?, layer: *layer, part: Some((axis, range.clone())) };
            self.division.push(Layer { work, ..whole.clone() }, duty);
        }
        Some(())
    }

    /// Gives a core a value for its share of a private one.
    fn hold(&mut self, root: ValueId, slice: &Slice, core: usize) {
        let of = &self.network.values[root.0];
        let share = Value {
            name: format!("{} on core {core}", of.name),
            shape: vec![small(slice.elements())],
            origin: Origin::Computed,
            ..of.clone()
        };
        let id = self.division.value(share, View::default());
        self.division.shares.insert(id, Share { of: root, slice: slice.clone() });
        self.held.insert((root, core), (id, slice.clone()));
    }

    /// A value with some elements of a whole one, where the core finds them.
    fn view(&mut self, value: ValueId, slice: Slice, core: usize) -> Option<ValueId> {
        let root = self.network.root(value);
        let all = self.network.values[root.0].shape.iter().map(|&extent| u64::from(extent)).product();
        let (place, held) = self.held.get(&(root, core)).cloned().unwrap_or((root, Slice::Band(0..all)));
        let view = slice.within(&held)?;
        let of = &self.network.values[value.0];
        let value = Value { shape: vec![small(slice.elements())], origin: Origin::Alias(place), ..of.clone() };
        Some(self.division.value(value, view))
    }
}

/// Exchanges the values of a layer.
fn rewire(work: &mut Work, reads: &[ValueId], writes: ValueId) {
    let [first, ..] = *reads else { return };
    let (input, output) = match work {
        Work::Conv(conv) => (&mut conv.input, &mut conv.output),
        Work::Pool(pool) => (&mut pool.input, &mut pool.output),
        Work::Sum(sum) => (&mut sum.input, &mut sum.output),
        Work::Resize(resize) => (&mut resize.input, &mut resize.output),
        Work::ArgMax(argmax) => (&mut argmax.input, &mut argmax.output),
        Work::Transfer(transfer) => (&mut transfer.input, &mut transfer.output),
        Work::Host(host) => {
            host.inputs = reads.to_vec();
            host.output = writes;
            return;
        }
        Work::Eltwise(eltwise) => {
            for (input, &value) in eltwise.inputs.iter_mut().zip(reads) {
                input.value = value;
            }
            eltwise.output = writes;
            return;
        }
    };
    (*input, *output) = (first, writes);
}

/// Runs of the whole network, for people: which layers, how, on how many cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitRun {
    /// Layers of the whole network.
    pub layers: Range<usize>,
    /// The axis.
    pub axis: Axis,
    /// Cores that take part.
    pub cores: usize,
}

impl Division {
    /// The runs of layers that several cores share, in order; neighbours along the same axis are one.
    pub fn splits(&self) -> Vec<SplitRun> {
        let mut splits: Vec<SplitRun> = vec![];
        for Duty { core, layer, part } in &self.duties {
            let Some((axis, _)) = part else { continue };
            let cores = index(*core) + 1;
            match splits.last_mut() {
                Some(last) if last.axis == *axis && (last.layers.end == *layer || last.layers.contains(layer)) => {
                    last.layers.end = layer + 1;
                    last.cores = last.cores.max(cores);
                }
                _ => splits.push(SplitRun { layers: *layer..layer + 1, axis: *axis, cores }),
            }
        }
        splits
    }
}
