//! One element, derived from the lowered network so that a person can check it by hand.

mod scaling;

use std::fmt;

use cnnip_lowered::{
    ConvLayer, Eltwise, Layer, Network, Origin, Pool, PoolFunction, Sum, Sweep, Transfer, ValueId, Work,
};

use crate::tensors::{NamedTensor, TensorSet, extents, index_at, position};
use scaling::{finish, scaled};

/// One term of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// What it is: `ky 0 kx 2`.
    pub place: String,
    /// Index of the input element; `None` in the padding.
    pub index: Option<Vec<u64>>,
    /// The stored input.
    pub input: i64,
    /// The input less its zero point.
    pub centred: i64,
    /// The stored weight, if there is one.
    pub weight: Option<i64>,
    /// What is added: the product, or the input.
    pub term: i64,
}

/// How an element comes about.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivation {
    /// The tensor.
    pub tensor: String,
    /// The element.
    pub index: Vec<u64>,
    /// The layer that makes it, and what that is; `None` for what the application gives.
    pub layer: Option<(String, String)>,
    /// Tensor that the taps are of.
    pub input: Option<String>,
    /// Every term.
    pub taps: Vec<Tap>,
    /// What follows from the terms, in order.
    pub steps: Vec<String>,
    /// What the derivation gives; `None` where there is nothing to compute.
    pub derived: Option<i64>,
    /// What the simulator stored.
    pub stored: Option<i64>,
}

impl Derivation {
    /// Whether derivation and simulator agree; true where there is nothing to compute.
    pub fn agrees(&self) -> bool {
        self.derived.is_none() || self.derived == self.stored
    }
}

/// An element that cannot be derived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyError {
    /// No such tensor.
    #[error("the network makes no tensor `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// An index outside of the tensor.
    #[error("`{name}` has shape {shape:?}, there is no element {index:?}")]
    Index {
        /// The tensor.
        name: String,
        /// The index.
        index: Vec<u64>,
        /// Its extents.
        shape: Vec<u64>,
    },
}

/// Derives the element of a tensor; `tensors` are those of the run it belongs to. Indices are in the source model's order of axes.
///
/// # Errors
/// If there is no such element.
pub fn why(network: &Network, tensors: &TensorSet, name: &str, index: &[u64]) -> Result<Derivation, WhyError> {
    let unknown = || WhyError::Unknown { name: name.to_owned() };
    let tensor = tensors.get(name).ok_or_else(unknown)?;
    let element = position(index, &tensor.shape).ok_or_else(|| WhyError::Index {
        name: name.to_owned(),
        index: index.to_vec(),
        shape: tensor.shape.clone(),
    })?;
    let id = (0..network.values.len()).map(ValueId).find(|id| network.values[id.0].name == name).ok_or_else(unknown)?;
    let value = &network.values[id.0];
    let own = position(&value.model.per_own_axis(index), &extents(&value.shape)).ok_or_else(unknown)?;
    let mut derivation = Derivation {
        tensor: name.to_owned(),
        index: index.to_vec(),
        layer: None,
        input: None,
        taps: vec![],
        steps: vec![],
        derived: None,
        stored: tensor.integers().and_then(|integers| integers.get(element).copied()),
    };
    let root = network.root(id);
    if root != id {
        derivation.steps.push(format!("`{name}` has the elements of `{}`", network.values[root.0].name));
    }
    Deriver { network, tensors, element: own, out: &mut derivation }.value(root);
    Ok(derivation)
}

struct Deriver<'a> {
    network: &'a Network,
    tensors: &'a TensorSet,
    element: usize,
    out: &'a mut Derivation,
}

impl Deriver<'_> {
    fn value(&mut self, id: ValueId) {
        let writes = |layer: &&Layer| self.network.root(layer.work.writes()) == id;
        let layers: Vec<&Layer> = self.network.layers.iter().filter(writes).collect();
        // Of several that write parts of a value, the last that writes this element.
        let layer = layers.iter().rev().copied().find(|layer| match &layer.work {
            Work::Transfer(transfer) => self.moved_from(transfer).is_some() || transfer.fill.is_some(),
            _ => true,
        });
        let Some(layer) = layer else {
            self.step("the application gives it");
            return;
        };
        self.out.layer = Some((layer.name.clone(), layer.work.to_string()));
        match &layer.work {
            Work::Conv(conv) => self.conv(conv),
            Work::Pool(pool) => self.pool(pool),
            Work::Sum(sum) => self.sum(sum),
            Work::Eltwise(eltwise) => self.eltwise(eltwise),
            Work::Transfer(transfer) => self.transfer(transfer),
            other => self.step(format!("{other}: computed by the arithmetic of isa-spec/numerics.md")),
        }
    }

    fn step(&mut self, text: impl Into<String>) {
        self.out.steps.push(text.into());
    }

    /// The stored integers of a value, in the order that layers read them.
    fn stored(&self, id: ValueId) -> Vec<i64> {
        let root = &self.network.values[self.network.root(id).0];
        let size = root.element.size();
        if let Origin::Constant(data) = &root.origin {
            return integers(data.bytes(), size);
        }
        let Some(tensor) = self.tensors.get(&root.name) else { return vec![] };
        let bytes = root.model.from_source(&tensor.bytes, &root.shape, size);
        NamedTensor { bytes, ..tensor.clone() }.integers().unwrap_or_default()
    }

    /// The index of an element in the source's order, by its position in the order that layers read.
    fn index_in(&self, id: ValueId, element: usize) -> Vec<u64> {
        let value = &self.network.values[id.0];
        value.model.per_axis(&index_at(&extents(&value.shape), element))
    }

    fn name(&self, id: ValueId) -> String {
        self.network.values[id.0].name.clone()
    }

    fn conv(&mut self, conv: &ConvLayer) {
        let channels = conv.groups * conv.outputs;
        let [batch, y, x, channel] = split(self.element, [conv.vertical.output, conv.horizontal.output, channels]);
        let input = self.stored(conv.input);
        let weights = integers(conv.weights.data.bytes(), conv.weights.element.bytes());
        let group = channel / conv.outputs.max(1);
        self.out.input = Some(self.name(conv.input));
        let record = usize::try_from(channel).ok().and_then(|channel| conv.records.get(channel)).copied();
        let mut sum = record.map_or(0, |record| record.bias);
        for (ky, row) in positions(&conv.vertical, y) {
            for (kx, column) in positions(&conv.horizontal, x) {
                for depth in 0..conv.depth {
                    let at = row.zip(column).map(|(row, column)| {
                        let pixel = (batch * conv.vertical.input + row) * conv.horizontal.input + column;
                        wide(pixel) * wide(conv.groups * conv.depth) + wide(group * conv.depth + depth)
                    });
                    let tap = wide(ky * conv.horizontal.kernel + kx);
                    let weight = if conv.depthwise {
                        tap * wide(channels) + wide(channel)
                    } else {
                        let taps = wide(conv.vertical.kernel * conv.horizontal.kernel);
                        (wide(channel) * taps + tap) * wide(conv.depth) + wide(depth)
                    };
                    let weight = weights.get(weight).copied().unwrap_or(0);
                    let stored = at.map_or(i64::from(conv.input_zero), |at| input.get(at).copied().unwrap_or(0));
                    let centred = stored - i64::from(conv.input_zero);
                    let term = centred * (weight - i64::from(conv.weights.zero));
                    sum += term;
                    let place = format!("ky {ky} kx {kx} ic {depth}");
                    let index = at.map(|at| self.index_in(conv.input, at));
                    self.out.taps.push(Tap { place, index, input: stored, centred, weight: Some(weight), term });
                }
            }
        }
        let Some(record) = record else { return };
        if conv.weights.zero != 0 {
            self.step(format!("the weights' zero point {} is subtracted from each weight", conv.weights.zero));
        }
        self.step(format!("sum of the products = {}", sum - record.bias));
        self.step(format!("+ bias {} of channel {channel} = accumulator {sum}", record.bias));
        let stage = (conv.requant, record.multiplier, record.shift);
        self.out.derived = finish(&mut self.out.steps, sum, stage, &conv.activation);
    }

    fn pool(&mut self, pool: &Pool) {
        let [batch, y, x, channel] = split(self.element, [pool.vertical.output, pool.horizontal.output, pool.channels]);
        let input = self.stored(pool.input);
        self.out.input = Some(self.name(pool.input));
        let mut terms = vec![];
        for (ky, row) in positions(&pool.vertical, y) {
            for (kx, column) in positions(&pool.horizontal, x) {
                let Some((row, column)) = row.zip(column) else { continue };
                let pixel = (batch * pool.vertical.input + row) * pool.horizontal.input + column;
                let at = wide(pixel) * wide(pool.channels) + wide(channel);
                let stored = input.get(at).copied().unwrap_or(0);
                terms.push(stored);
                let (place, index) = (format!("ky {ky} kx {kx}"), Some(self.index_in(pool.input, at)));
                self.out.taps.push(Tap { place, index, input: stored, centred: stored, weight: None, term: stored });
            }
        }
        let (low, high) = pool.clamp;
        let value = match pool.function {
            PoolFunction::Max => {
                self.step("the largest; padding does not count");
                terms.iter().copied().max()
            }
            PoolFunction::Min => {
                self.step("the smallest; padding does not count");
                terms.iter().copied().min()
            }
            PoolFunction::Average => self.average(&terms, pool.zero.into()),
        };
        let Some(value) = value else { return };
        let clamped = value.clamp(low.into(), high.into());
        self.step(format!("clamped to {low}..={high} = {clamped}"));
        self.out.derived = Some(clamped);
    }

    fn average(&mut self, terms: &[i64], zero: i64) -> Option<i64> {
        let count = i64::try_from(terms.len()).ok().filter(|&count| count > 0)?;
        let sum: i64 = terms.iter().map(|term| term - zero).sum();
        let half = if sum < 0 { -(count / 2) } else { count / 2 };
        let mean = (sum + half) / count;
        self.step(format!("sum less zero points = {sum}, of {count} elements"));
        self.step(format!("divided, halves away from zero = {mean}; + zero point {zero} = {}", mean + zero));
        Some(mean + zero)
    }

    fn sum(&mut self, sum: &Sum) {
        let (outer, channel) = (self.element / wide(sum.channels).max(1), self.element % wide(sum.channels).max(1));
        let input = self.stored(sum.input);
        self.out.input = Some(self.name(sum.input));
        let mut total = 0;
        for count in 0..wide(sum.count) {
            let at = (outer * wide(sum.count) + count) * wide(sum.channels) + channel;
            let stored = input.get(at).copied().unwrap_or(0);
            let centred = stored - i64::from(sum.input_zero);
            total += centred;
            let (place, index) = (format!("element {count}"), Some(self.index_in(sum.input, at)));
            self.out.taps.push(Tap { place, index, input: stored, centred, weight: None, term: centred });
        }
        self.step(format!("sum less zero points = accumulator {total}"));
        let stage = (sum.stage.mode, sum.stage.multiplier, sum.stage.shift);
        self.out.derived = finish(&mut self.out.steps, total, stage, &sum.activation);
    }

    fn eltwise(&mut self, eltwise: &Eltwise) {
        let mut rest = self.element;
        let mut place: Vec<usize> = eltwise
            .extents
            .iter()
            .rev()
            .map(|&extent| {
                let extent = wide(extent).max(1);
                let here = rest % extent;
                rest /= extent;
                here
            })
            .collect();
        place.reverse();
        let mut values = vec![];
        for input in &eltwise.inputs {
            let at: usize = place.iter().zip(&input.steps).map(|(&at, &step)| at * wide(step)).sum();
            let stored = self.stored(input.value);
            let stored = stored.get(at).copied().unwrap_or(0);
            let centred = stored - i64::from(input.zero);
            let name = self.name(input.value);
            let index = Some(self.index_in(input.value, at));
            self.out.taps.push(Tap {
                place: format!("`{name}`"),
                index,
                input: stored,
                centred,
                weight: None,
                term: centred,
            });
            if eltwise.table.is_some() {
                values.push(stored);
                continue;
            }
            let shifted = centred << eltwise.pre_shift.min(32);
            if eltwise.pre_shift > 0 {
                self.step(format!("`{name}`: {centred} << {} = {shifted}", eltwise.pre_shift));
            }
            let stage = (input.stage.mode, input.stage.multiplier, input.stage.shift);
            values.push(scaled(&mut self.out.steps, shifted, stage).unwrap_or(shifted));
        }
        if let Some(table) = &eltwise.table {
            self.table(table, values.first().copied().unwrap_or(0));
            return;
        }
        let (a, b) = (values.first().copied().unwrap_or(0), values.get(1).copied().unwrap_or(0));
        let Some(value) = scaling::combine(eltwise.function, a, b) else { return };
        self.step(format!("{:?} of {values:?} = {value}", eltwise.function));
        let stage = (eltwise.stage.mode, eltwise.stage.multiplier, eltwise.stage.shift);
        self.out.derived = finish(&mut self.out.steps, value, stage, &eltwise.activation);
    }

    fn table(&mut self, table: &cnnip_lowered::Table, stored: i64) {
        let cnnip_lowered::Table::Bytes(entries) = table else {
            self.step("looked up in a table with interpolation, as isa-spec/numerics.md has it");
            return;
        };
        let entry = usize::try_from(stored + 128).ok().and_then(|at| entries.get(at)).copied().map(i64::from);
        if let Some(value) = entry {
            self.step(format!("entry {} of the table = {value}", stored + 128));
        }
        self.out.derived = entry;
    }

    fn transfer(&mut self, transfer: &Transfer) {
        let size = self.network.values[transfer.output.0].element.size().max(1);
        match self.moved_from(transfer) {
            Some(byte) => {
                let at = byte / size;
                let input = self.stored(transfer.input);
                let stored = input.get(at).copied().unwrap_or(0);
                let (name, index) = (self.name(transfer.input), self.index_in(transfer.input, at));
                self.out.input = Some(name.clone());
                let place = "moved".to_owned();
                let tap = Tap { place, index: Some(index), input: stored, centred: stored, weight: None, term: stored };
                self.out.taps.push(tap);
                self.step(format!("the same as its element of `{name}`"));
                self.out.derived = Some(stored);
            }
            None => {
                let value = transfer.fill.map_or(0, i64::from);
                self.step(format!("not reached by the copy: filled with {value}"));
                self.out.derived = Some(value);
            }
        }
    }

    /// The byte of the source that a transfer moves to the element, if it does.
    fn moved_from(&self, transfer: &Transfer) -> Option<usize> {
        let size = self.network.values[transfer.output.0].element.size();
        let mut left = (self.element * size).checked_sub(wide(transfer.offset))?;
        let mut source = wide(transfer.start);
        let mut strides: Vec<_> = transfer.strides.iter().filter(|stride| stride.count > 1).collect();
        strides.sort_by_key(|stride| std::cmp::Reverse(stride.to));
        for stride in strides {
            let times = if stride.to == 0 { 0 } else { (left / wide(stride.to)).min(wide(stride.count - 1)) };
            left -= times * wide(stride.to);
            source += times * wide(stride.from);
        }
        (left < wide(transfer.run)).then_some(source + left)
    }
}

/// Outermost index and those of three inner extents.
fn split(element: usize, [rows, columns, channels]: [u32; 3]) -> [u32; 4] {
    let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let (rows, columns, channels) = (wide(rows).max(1), wide(columns).max(1), wide(channels).max(1));
    let pixel = element / channels;
    let row = pixel / columns;
    [small(row / rows), small(row % rows), small(pixel % columns), small(element % channels)]
}

/// The taps of an output and the positions they read; `None` in the padding.
fn positions(sweep: &Sweep, at: u32) -> impl Iterator<Item = (u32, Option<u32>)> + use<> {
    let (start, dilation, input) = (sweep.start(at), i64::from(sweep.dilation), sweep.input);
    (0..sweep.kernel).map(move |tap| {
        let position = u32::try_from(start + i64::from(tap) * dilation).ok();
        (tap, position.filter(|&position| position < input))
    })
}

fn wide(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Little-endian two's complement integers of a size in bytes.
fn integers(bytes: &[u8], size: usize) -> Vec<i64> {
    let one = |bytes: &[u8]| {
        let negative = bytes.last().is_some_and(|&top| top >= 0x80);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        i64::from_le_bytes(wide)
    };
    bytes.chunks_exact(size.clamp(1, 8)).map(one).collect()
}

/// The terms as a table, then what follows from them.
impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.tensor, self.index)?;
        if let Some(stored) = self.stored {
            write!(f, " = {stored}")?;
        }
        writeln!(f)?;
        if let Some((name, what)) = &self.layer {
            writeln!(f, "layer `{name}`: {what}")?;
        }
        if !self.taps.is_empty() {
            let input = self.input.as_ref().map_or(String::new(), |name| format!(" of `{name}`"));
            writeln!(
                f,
                "  {:<22} {:<20} {:>7} {:>7} {:>7} {:>11}",
                "tap",
                format!("element{input}"),
                "input",
                "-zero",
                "weight",
                "term"
            )?;
        }
        for tap in &self.taps {
            let index = tap.index.as_ref().map_or("padding".to_owned(), |index| format!("{index:?}"));
            let weight = tap.weight.map_or(String::new(), |weight| weight.to_string());
            writeln!(
                f,
                "  {:<22} {index:<20} {:>7} {:>7} {weight:>7} {:>11}",
                tap.place, tap.input, tap.centred, tap.term
            )?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        match (self.derived, self.stored) {
            (Some(derived), Some(stored)) if derived != stored => {
                write!(f, "  by hand {derived}, but the simulator has {stored}")
            }
            (Some(derived), _) => write!(f, "  result {derived}"),
            (None, _) => Ok(()),
        }
    }
}
