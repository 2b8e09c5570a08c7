//! The rules of a network: what whoever computes it may rely on.

use std::fmt;

use cnnip_graph::ElementType;
use cnnip_isa::ElementType as DeviceType;
use cnnip_isa::operation::{Activation, OutputStage};
use cnnip_isa::{EltwiseFunction, RoundingMode};
use cnnip_numerics::{IllegalParameter, Scale};

use crate::weights::WeightPiece;
use crate::{
    ArgMax, ConvLayer, Eltwise, HostLayer, Network, Origin, Pool, Resize, Sampling, Sum, Sweep, Table, Transfer, Value,
    ValueId, Work,
};

/// Most problems that [`Network::check`] lists; the rest of a hopeless network is not worth reading.
pub const MAX_PROBLEMS: usize = 50;

/// Largest number of bytes of a value, and of positions that a window reaches over: sums and products of a few such numbers
/// fit 64 bits.
const MAX_BYTES: u64 = 1 << 31;

/// Most samples along an axis of a resize: positions fit 32 bits.
const MAX_SAMPLES: i64 = 0xffff;

/// Most loops of a transfer and axes of an element-wise layer.
const MAX_AXES: usize = 16;

/// Something in a network that breaks a rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {rule} [{}]", rule.name())]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub rule: Rule,
}

/// A part of a network, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Inputs, outputs, kept values.
    Network,
    /// A value.
    Value {
        /// Its index.
        index: usize,
        /// Its name, shortened if long.
        name: String,
    },
    /// A layer.
    Layer {
        /// Its index.
        index: usize,
        /// Its name, shortened if long.
        name: String,
    },
}

impl Place {
    fn value(index: usize, name: &str) -> Self {
        Self::Value { index, name: name.chars().take(100).collect() }
    }

    fn layer(index: usize, name: &str) -> Self {
        Self::Layer { index, name: name.chars().take(100).collect() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("network"),
            Self::Value { index, name } => write!(f, "value {index} `{name}`"),
            Self::Layer { index, name } => write!(f, "layer {index} `{name}`"),
        }
    }
}

/// A broken rule, with the offending number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// A number that stands for no value.
    #[error("{what} {index} does not exist, there are {count} values")]
    Reference {
        /// What names it.
        what: &'static str,
        /// The number.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A value without elements or with too many.
    #[error("the shape {shape:?} has no elements or more than {MAX_BYTES} bytes")]
    Shape {
        /// The shape.
        shape: Vec<u32>,
    },
    /// A view of a source tensor that names not every axis once.
    #[error("the axes of the source's tensor are not its {rank} in some order")]
    Axes {
        /// Axes of the value.
        rank: usize,
    },
    /// A scale or zero point that is none.
    #[error("scale {scale} and zero point {zero} are no quantization of {element}")]
    Quantization {
        /// The scale.
        scale: f32,
        /// The zero point.
        zero: i32,
        /// Type of the elements.
        element: ElementType,
    },
    /// An alias of an alias, or of a value with other bytes.
    #[error("shares the bytes of value {of}, which {why}")]
    Alias {
        /// The other value.
        of: usize,
        /// Why it cannot.
        why: &'static str,
    },
    /// A value in the wrong role.
    #[error("{what} {index} {why}")]
    Role {
        /// What names it.
        what: &'static str,
        /// The value.
        index: usize,
        /// What it is or is not.
        why: &'static str,
    },
    /// An operand of another size than the layer's geometry says.
    #[error("{what} has {found} bytes, the layer's geometry takes {needed}")]
    Size {
        /// Which operand.
        what: &'static str,
        /// Bytes it has.
        found: u64,
        /// Bytes it must have.
        needed: u64,
    },
    /// A number outside its range.
    #[error("{what} {value} is not in {least}..={most}")]
    Range {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: i64,
        /// Least it may be.
        least: i64,
        /// Most it may be.
        most: i64,
    },
    /// A multiplier or shift that its mode does not allow.
    #[error("{0}")]
    Scale(IllegalParameter),
}

impl Rule {
    /// Name of the rule in `isa-spec/package.md`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reference { .. } => "lowered-reference",
            Self::Shape { .. } => "lowered-shape",
            Self::Axes { .. } => "lowered-axes",
            Self::Quantization { .. } => "lowered-quantization",
            Self::Alias { .. } => "lowered-alias",
            Self::Role { .. } => "lowered-role",
            Self::Size { .. } => "lowered-size",
            Self::Range { .. } => "lowered-range",
            Self::Scale(_) => "lowered-scale",
        }
    }
}

impl Network {
    /// The value with this number.
    pub fn value(&self, id: ValueId) -> Option<&Value> {
        self.values.get(id.0)
    }

    /// Everything in the network that breaks a rule, [`MAX_PROBLEMS`] at most: values first, then layers in their order.
    ///
    /// A network without problems can be computed without looking at any bound again.
    pub fn check(&self) -> Vec<Problem> {
        let mut check = Check { network: self, problems: Vec::new(), place: Place::Network };
        check.values();
        if check.problems.is_empty() {
            check.ends();
            check.layers();
        }
        check.problems
    }
}

struct Check<'a> {
    network: &'a Network,
    problems: Vec<Problem>,
    place: Place,
}

impl Check<'_> {
    fn report(&mut self, rule: Rule) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { place: self.place.clone(), rule });
        }
    }

    fn require(&mut self, holds: bool, rule: impl FnOnce() -> Rule) {
        if !holds {
            self.report(rule());
        }
    }

    fn range(&mut self, what: &'static str, value: impl Into<i64>, (least, most): (i64, i64)) {
        let value = value.into();
        self.require((least..=most).contains(&value), || Rule::Range { what, value, least, most });
    }

    fn exists(&mut self, what: &'static str, id: ValueId) -> bool {
        let count = self.network.values.len();
        self.require(id.0 < count, || Rule::Reference { what, index: id.0, count });
        id.0 < count
    }

    fn values(&mut self) {
        for (index, value) in self.network.values.iter().enumerate() {
            self.place = Place::value(index, &value.name);
            let size = value.element.size();
            let bytes = value.shape.iter().try_fold(wide(size), |bytes, &extent| bytes.checked_mul(extent.into()));
            let fits = bytes.is_some_and(|bytes| (1..=MAX_BYTES).contains(&bytes));
            self.require(fits, || Rule::Shape { shape: value.shape.iter().copied().take(8).collect() });
            let rank = value.shape.len();
            self.require(value.model.fits(rank), || Rule::Axes { rank });
            if let Some((scale, zero)) = value.quantization {
                let usable = scale.is_finite() && scale > 0.0 && holds(value.element, zero.into());
                self.require(usable, || Rule::Quantization { scale, zero, element: value.element });
            }
            match &value.origin {
                Origin::Input | Origin::Computed => {}
                Origin::Constant(data) => {
                    let (found, needed) = (wide(data.bytes().len()), bytes.unwrap_or(u64::MAX));
                    self.require(found == needed || found == 0, || Rule::Size { what: "the constant", found, needed });
                }
                Origin::Alias(of) => self.alias(*of, bytes),
            }
        }
    }

    fn alias(&mut self, of: ValueId, bytes: Option<u64>) {
        if !self.exists("the shared value", of) {
            return;
        }
        let value = &self.network.values[of.0];
        let of = of.0;
        self.require(!matches!(value.origin, Origin::Alias(_)), || Rule::Alias { of, why: "shares bytes itself" });
        let same =
            value.shape.iter().try_fold(wide(value.element.size()), |bytes, &extent| bytes.checked_mul(extent.into()));
        self.require(same == bytes, || Rule::Alias { of, why: "has another number of bytes" });
    }

    fn ends(&mut self) {
        self.place = Place::Network;
        let network = self.network;
        let mut seen = vec![false; network.values.len()];
        for &id in &network.inputs {
            if self.exists("input", id) {
                let (index, twice) = (id.0, std::mem::replace(&mut seen[id.0], true));
                self.require(!twice, || Rule::Role { what: "input", index, why: "is there twice" });
                let is_input = network.values[index].origin == Origin::Input;
                self.require(is_input, || Rule::Role { what: "input", index, why: "is not given by the application" });
            }
        }
        let given = network.values.iter().enumerate().filter(|(_, value)| value.origin == Origin::Input);
        for (index, _) in given.filter(|&(index, _)| !seen[index]) {
            self.report(Rule::Role { what: "value", index, why: "is given by the application and no input" });
        }
        for (what, ids) in [("output", &network.outputs), ("kept value", &network.kept)] {
            for &id in ids {
                self.exists(what, id);
            }
        }
    }

    /// Layers in order: what a layer reads is there before, what it writes is neither given nor read by itself.
    fn layers(&mut self) {
        let network = self.network;
        let mut written = vec![false; network.values.len()];
        for (index, layer) in network.layers.iter().enumerate() {
            self.place = Place::layer(index, &layer.name);
            let (reads, output) = (layer.work.reads(), layer.work.writes());
            let known = reads.iter().chain([&output]).map(|&id| self.exists("value", id)).collect::<Vec<_>>();
            if known.contains(&false) {
                continue;
            }
            for &id in &reads {
                self.reads(id, network.root(output), &written);
            }
            let computed = network.values[output.0].origin == Origin::Computed;
            self.require(computed, || Rule::Role {
                what: "output",
                index: output.0,
                why: "is not one that a layer computes",
            });
            written[output.0] = true;
            self.work(&layer.work);
        }
        self.place = Place::Network;
        for &id in network.outputs.iter().filter(|id| id.0 < written.len()) {
            let root = network.root(id);
            let there = written[root.0] || network.values[root.0].origin == Origin::Input;
            self.require(there, || Rule::Role { what: "output", index: id.0, why: "is computed by no layer" });
        }
    }

    fn reads(&mut self, id: ValueId, output: ValueId, written: &[bool]) {
        let root = self.network.root(id);
        let index = id.0;
        self.require(root != output, || Rule::Role { what: "input", index, why: "is the layer's output too" });
        let there = match &self.network.values[root.0].origin {
            Origin::Constant(data) => !data.bytes().is_empty(),
            Origin::Computed => written[root.0],
            Origin::Input | Origin::Alias(_) => true,
        };
        self.require(there, || Rule::Role { what: "input", index, why: "has no bytes yet" });
    }

    fn work(&mut self, work: &Work) {
        match work {
            Work::Conv(conv) => self.conv(conv),
            Work::Pool(pool) => self.pool(pool),
            Work::Sum(sum) => self.sum(sum),
            Work::Resize(resize) => self.resize(resize),
            Work::ArgMax(argmax) => self.argmax(argmax),
            Work::Eltwise(eltwise) => self.eltwise(eltwise),
            Work::Transfer(transfer) => self.transfer(transfer),
            Work::Host(host) => self.host(host),
        }
    }

    /// That a value has as many elements as the product of `extents`.
    fn elements(&mut self, what: &'static str, id: ValueId, extents: &[u32]) {
        let value = &self.network.values[id.0];
        let size = wide(value.element.size());
        let product = extents.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent.into()));
        let (found, needed) = (value.bytes(), product.unwrap_or(u64::MAX));
        self.require(found == needed, || Rule::Size { what, found, needed });
    }

    fn sweep(&mut self, sweep: &Sweep) {
        let most = i64::try_from(MAX_BYTES).unwrap_or(i64::MAX);
        let Sweep { input, output, kernel, stride, dilation, before } = *sweep;
        let positive =
            [("extent", input), ("extent", output), ("kernel", kernel), ("stride", stride), ("dilation", dilation)];
        for (what, value) in positive {
            self.range(what, value, (1, most));
        }
        self.range("padding", before, (0, most));
        if kernel > 0 {
            self.range("reach", i64::try_from(sweep.reach()).unwrap_or(i64::MAX), (1, most));
        }
    }

    fn activation(&mut self, activation: &Activation, output: ValueId) {
        let (low, high) = bounds(self.network.element(output));
        self.range("output zero point", activation.zero, (low, high));
        self.range("lower clamp", activation.min, (low, high));
        self.range("upper clamp", activation.max, (activation.min.into(), high));
    }

    fn scale(&mut self, mode: RoundingMode, multiplier: u32, shift: i32) {
        if let Err(why) = Scale::new(numeric(mode), multiplier, shift) {
            self.report(Rule::Scale(why));
        }
    }

    fn stage(&mut self, stage: &OutputStage) {
        self.scale(stage.mode, stage.multiplier, stage.shift);
    }

    fn conv(&mut self, conv: &ConvLayer) {
        let ConvLayer { batch, groups, depth, outputs, vertical, horizontal, .. } = conv;
        self.sweep(vertical);
        self.sweep(horizontal);
        self.elements("input", conv.input, &[*batch, vertical.input, horizontal.input, *groups, *depth]);
        self.elements("output", conv.output, &[*batch, vertical.output, horizontal.output, *groups, *outputs]);
        self.range("depth", *depth, (1, if conv.depthwise { 1 } else { i64::from(u32::MAX) }));
        let weights = WeightPiece::whole(conv).weights().saturating_mul(wide(conv.weights.element.bytes()));
        let found = wide(conv.weights.data.bytes().len());
        self.require(found == weights, || Rule::Size { what: "weights", found, needed: weights });
        self.range("weight zero point", conv.weights.zero, bounds(conv.weights.element));
        self.range("input zero point", conv.input_zero, bounds(self.network.element(conv.input)));
        let (records, channels) = (wide(conv.records.len()), u64::from(*groups).saturating_mul((*outputs).into()));
        self.require(records == channels, || Rule::Size { what: "records", found: records, needed: channels });
        for record in &conv.records {
            self.scale(conv.requant, record.multiplier, record.shift);
        }
        self.activation(&conv.activation, conv.output);
    }

    fn pool(&mut self, pool: &Pool) {
        let Pool { batch, channels, vertical, horizontal, clamp, .. } = pool;
        self.sweep(vertical);
        self.sweep(horizontal);
        self.elements("input", pool.input, &[*batch, vertical.input, horizontal.input, *channels]);
        self.elements("output", pool.output, &[*batch, vertical.output, horizontal.output, *channels]);
        let (low, high) = bounds(self.network.element(pool.output));
        self.range("zero point", pool.zero, (low, high));
        self.range("lower clamp", clamp.0, (low, high));
        self.range("upper clamp", clamp.1, (clamp.0.into(), high));
    }

    fn sum(&mut self, sum: &Sum) {
        self.elements("input", sum.input, &[sum.outer, sum.count, sum.channels]);
        self.elements("output", sum.output, &[sum.outer, sum.channels]);
        self.range("input zero point", sum.input_zero, bounds(self.network.element(sum.input)));
        self.stage(&sum.stage);
        self.activation(&sum.activation, sum.output);
    }

    fn resize(&mut self, resize: &Resize) {
        let Resize { batch, channels, vertical, horizontal, .. } = resize;
        for Sampling { input, output, .. } in [vertical, horizontal] {
            self.range("extent", *input, (1, MAX_SAMPLES));
            self.range("extent", *output, (1, MAX_SAMPLES));
        }
        self.range("fraction bits", resize.fraction, (0, 16));
        self.elements("input", resize.input, &[*batch, vertical.input, horizontal.input, *channels]);
        self.elements("output", resize.output, &[*batch, vertical.output, horizontal.output, *channels]);
        let types = [resize.input, resize.output].map(|id| self.network.element(id));
        let alike = types[0] == types[1] && matches!(types[0], DeviceType::Int8 | DeviceType::Int16);
        let index = resize.output.0;
        self.require(alike, || Rule::Role { what: "output", index, why: "is not int8 or int16 as the input" });
    }

    fn argmax(&mut self, argmax: &ArgMax) {
        self.range("channels", argmax.channels, (1, i64::from(i32::MAX)));
        self.elements("input", argmax.input, &[argmax.pixels, argmax.channels]);
        self.elements("output", argmax.output, &[argmax.pixels]);
        let index = argmax.output.0;
        let fits = self.network.element(argmax.output) == DeviceType::Int32;
        self.require(fits, || Rule::Role { what: "output", index, why: "is not int32" });
    }

    fn eltwise(&mut self, eltwise: &Eltwise) {
        let axes = eltwise.extents.len();
        self.range("number of axes", signed(axes), (1, signed(MAX_AXES)));
        self.elements("output", eltwise.output, &eltwise.extents);
        let inputs = if eltwise.function == EltwiseFunction::Pass { 1 } else { 2 };
        self.range("number of inputs", signed(eltwise.inputs.len()), (inputs, inputs));
        for input in &eltwise.inputs {
            self.range("number of steps", signed(input.steps.len()), (signed(axes), signed(axes)));
            self.range("input zero point", input.zero, bounds(self.network.element(input.value)));
            self.stage(&input.stage);
            let steps = input.steps.iter().zip(&eltwise.extents);
            let loops = steps.map(|(&step, &extent)| (extent, step));
            let size = self.network.values[input.value.0].element.size();
            self.reach("input", input.value, (0, 1), loops, wide(size));
        }
        let (least, most) = (0, i64::from(cnnip_numerics::eltwise::MAX_PRE_SHIFT));
        self.range("pre-shift", eltwise.pre_shift, (least, most));
        self.stage(&eltwise.stage);
        self.activation(&eltwise.activation, eltwise.output);
        if let Some(table) = &eltwise.table {
            self.table(eltwise, table);
        }
    }

    fn table(&mut self, eltwise: &Eltwise, table: &Table) {
        let wide = !matches!(table, Table::Bytes(_));
        let element = if wide { DeviceType::Int16 } else { DeviceType::Int8 };
        let operands = eltwise.inputs.iter().map(|input| input.value);
        // The bytes of a table may be called uint8.
        let relabels = !wide && self.network.element(eltwise.output) == DeviceType::Uint8;
        let operands = operands.chain((!relabels).then_some(eltwise.output));
        for id in operands {
            let index = id.0;
            let fits = self.network.element(id) == element;
            self.require(fits, || Rule::Role { what: "operand", index, why: "is not of the table's type" });
        }
        if let Table::Half { multiplier, shift, .. } = table {
            self.range("table multiplier", *multiplier, (0, cnnip_numerics::table::MAX_INPUT_MULTIPLIER.into()));
            self.range("table shift", *shift, (0, cnnip_numerics::table::MAX_INPUT_SHIFT.into()));
        }
    }

    fn transfer(&mut self, transfer: &Transfer) {
        self.range("number of loops", signed(transfer.strides.len()), (0, signed(MAX_AXES)));
        self.range("run", transfer.run, (1, i64::from(u32::MAX)));
        let found = self.network.values[transfer.output.0].bytes();
        let needed = u64::from(transfer.output_bytes);
        self.require(transfer.fill.is_none() || found == needed, || Rule::Size { what: "output", found, needed });
        for stride in &transfer.strides {
            self.range("count", stride.count, (1, i64::from(u32::MAX)));
        }
        let loops = transfer.strides.iter();
        self.reach(
            "input",
            transfer.input,
            (transfer.start, transfer.run),
            loops.clone().map(|s| (s.count, s.from)),
            1,
        );
        self.reach("output", transfer.output, (transfer.offset, transfer.run), loops.map(|s| (s.count, s.to)), 1);
    }

    /// That the last run of nested loops ends within a value; all but `unit`, the bytes of one, counts in units.
    fn reach(
        &mut self,
        what: &'static str,
        id: ValueId,
        (start, run): (u32, u32),
        mut loops: impl Iterator<Item = (u32, u32)>,
        unit: u64,
    ) {
        let first = Some(u64::from(start) + u64::from(run));
        let end = loops.try_fold(first, |end, (count, step)| {
            let moved = u64::from(count.saturating_sub(1)).checked_mul(step.into())?;
            end?.checked_add(moved).map(Some)
        });
        let needed = end.flatten().and_then(|end| end.checked_mul(unit)).unwrap_or(u64::MAX);
        let found = self.network.values[id.0].bytes();
        self.require(needed <= found, || Rule::Size { what, found, needed });
    }

    fn host(&mut self, host: &HostLayer) {
        let shape = |id: &ValueId| self.network.values[id.0].shape.as_slice();
        let output = shape(&host.output);
        let inputs: Vec<&[u32]> = host.inputs.iter().map(shape).collect();
        let elements = |shape: &[u32]| shape.iter().map(|&extent| u64::from(extent)).product::<u64>();
        let fits = match (&inputs[..], host.operator.axis()) {
            (&[input], None) if host.operator.inputs() == 1 => input == output,
            (&[input], Some(axis)) => {
                let extent = usize::try_from(axis).ok().and_then(|axis| input.get(axis)).copied();
                extent.map(|extent| elements(output) * u64::from(extent)) == Some(elements(input))
            }
            _ => host.operator.found(&inputs).is_ok_and(|found| found == output),
        };
        let why = "has not the shape that its inputs give";
        self.require(fits, || Rule::Role { what: "output", index: host.output.0, why });
        self.require(host.inputs.len() == host.operator.inputs(), || Rule::Role {
            what: "output",
            index: host.output.0,
            why: "is of an operator with another number of inputs",
        });
    }
}

/// The arithmetic's name for a mode of the encoding.
const fn numeric(mode: RoundingMode) -> cnnip_numerics::RoundingMode {
    match mode {
        RoundingMode::None => cnnip_numerics::RoundingMode::None,
        RoundingMode::Double => cnnip_numerics::RoundingMode::Double,
        RoundingMode::Single => cnnip_numerics::RoundingMode::Single,
        RoundingMode::Reduced => cnnip_numerics::RoundingMode::Reduced,
        RoundingMode::Float => cnnip_numerics::RoundingMode::Float,
        RoundingMode::FloatZero => cnnip_numerics::RoundingMode::FloatZero,
    }
}

/// Whether `zero` is a value of an integer type.
fn holds(element: ElementType, zero: i64) -> bool {
    element.range().is_some_and(|(least, most)| (least..=most).contains(&zero))
}

/// Least and greatest number of a type.
const fn bounds(element: DeviceType) -> (i64, i64) {
    match element {
        DeviceType::None => (0, 0),
        DeviceType::Int8 => (-0x80, 0x7f),
        DeviceType::Uint8 => (0, 0xff),
        DeviceType::Int16 => (-0x8000, 0x7fff),
        DeviceType::Int32 => (-0x8000_0000, 0x7fff_ffff),
    }
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
