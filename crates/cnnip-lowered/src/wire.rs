//! The lowered graph of a package: `isa-spec/package.md` has every byte of it.
//!
//! Weights, records and constant operands are not in it: it says where they lie in the package's constant regions.

use std::collections::HashMap;
use std::ops::Range;

use cnnip_graph::{Data, ElementType};
use cnnip_isa::operation::{Activation, OutputStage};
use cnnip_isa::{ElementType as DeviceType, EltwiseFunction, RoundingMode};
use cnnip_numerics::ChannelRecord;
use cnnip_numerics::quantize::Curve;
use cnnip_package::wire::{Parsed, Wire, exactly, fail};
use cnnip_package::{FormatError, HostOperator, Package, Place, RegionId, SourceTensor, Why, codes, number_of, record};

use crate::weights::{WeightPiece, unblock};
use crate::{
    ArgMax, ConvLayer, Eltwise, EltwiseInput, HostLayer, Layer, Network, Origin, Pool, PoolFunction, Problem, Resize,
    Sampling, Stride, Sum, Sweep, Table, Transfer, Value, ValueId, WeightSource, Work,
};

/// Where in the constant regions the weights of a piece lie, in the layout of the layer's operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPiece {
    /// Which of the layer's weights.
    pub piece: WeightPiece,
    /// The weights.
    pub place: Place,
    /// Offset of the records of the piece's output channels in the same region; `None` where another piece has them.
    pub records: Option<u64>,
}

/// Where a network's constants lie in the constant regions of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Constant operands, by value.
    pub values: HashMap<ValueId, Place>,
    /// Weights and records, by index of the layer. All pieces of a layer together have every weight and every record once.
    pub pieces: HashMap<usize, Vec<StoredPiece>>,
}

/// A lowered graph that cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoweredError {
    /// The package has none.
    #[error("the package has no lowered graph")]
    Missing,
    /// The first break of the format; the offset counts from the section's first byte.
    #[error("{0}")]
    Malformed(FormatError),
    /// Constants that are not where the graph says.
    #[error("{what} {index}: {why} [lowered-constants]")]
    Constants {
        /// `value` or `layer`.
        what: &'static str,
        /// Its index.
        index: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// Everything that breaks a rule of networks.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

impl LoweredError {
    /// What the reader of the message can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "compile the model again, without --no-lowered",
            Self::Malformed(_) | Self::Constants { .. } | Self::Invalid(_) => {
                "the tool that made the package breaks isa-spec/package.md"
            }
        }
    }
}

/// What records are before they are read.
const NO_RECORD: ChannelRecord = ChannelRecord { bias: 0, multiplier: 0, shift: 0 };

/// All constants that a graph refers to are at most this many times the constants of its package: layers that share weights
/// are few.
const MOST_SHARED: u64 = 4;

impl Network {
    /// The lowered graph of a package, checked: whoever computes it need not look at any bound again.
    ///
    /// Takes time and memory in proportion to the package's bytes at most.
    ///
    /// # Errors
    /// There is none, or the first break of its format, or a place without its constants, or else all its problems.
    pub fn of_package(package: &Package) -> Result<Self, LoweredError> {
        let bytes = package.lowered.as_ref().ok_or(LoweredError::Missing)?;
        let stored: Stored = exactly(bytes, 0, "lowered graph").map_err(LoweredError::Malformed)?;
        let network = Resolve::new(package).network(stored)?;
        let problems = network.check();
        if problems.is_empty() { Ok(network) } else { Err(LoweredError::Invalid(problems)) }
    }

    /// The bytes of the package's section, its constants being where `places` says.
    pub fn to_bytes(&self, places: &Places) -> Vec<u8> {
        let mut bytes = Vec::new();
        Stored::of(self, places).put(&mut bytes);
        bytes
    }
}

/// The section.
#[derive(Debug)]
struct Stored {
    values: Vec<StoredValue>,
    layers: Vec<StoredLayer>,
    inputs: Vec<Index>,
    outputs: Vec<Index>,
    kept: Vec<Index>,
}

/// The number of a value.
#[derive(Clone, Copy, Debug)]
struct Index(u32);

#[derive(Debug)]
struct StoredValue {
    name: String,
    shape: Vec<u32>,
    element: StoredElement,
    quantization: Option<(f32, i32)>,
    model: SourceTensor,
    origin: StoredOrigin,
}

/// Types of the host's elements, those that only constants have included.
#[derive(Clone, Copy, Debug)]
struct StoredElement(ElementType);

#[derive(Debug)]
enum StoredOrigin {
    Input,
    Constant(Option<Place>),
    Computed,
    Alias(Index),
}

#[derive(Debug)]
struct StoredLayer {
    name: String,
    node: u32,
    operator: String,
    sources: Vec<String>,
    macs: u64,
    work: StoredWork,
}

#[derive(Debug)]
enum StoredWork {
    Conv(StoredConv),
    Pool(StoredPool),
    Sum(StoredSum),
    Resize(StoredResize),
    ArgMax(StoredArgMax),
    Eltwise(StoredEltwise),
    Transfer(StoredTransfer),
    Host(StoredHost),
    Joint(StoredJoint),
}

#[derive(Debug)]
struct StoredConv {
    input: Index,
    output: Index,
    batch: u32,
    groups: u32,
    depth: u32,
    outputs: u32,
    depthwise: bool,
    vertical: Sweep,
    horizontal: Sweep,
    weights: DeviceType,
    weight_zero: i32,
    input_zero: i32,
    requant: RoundingMode,
    activation: Clamp,
    pieces: Vec<StoredPiece>,
}

#[derive(Debug)]
struct StoredPool {
    function: PoolFunction,
    input: Index,
    output: Index,
    batch: u32,
    channels: u32,
    vertical: Sweep,
    horizontal: Sweep,
    activation: Clamp,
}

#[derive(Debug)]
struct StoredResize {
    input: Index,
    output: Index,
    batch: u32,
    channels: u32,
    fraction: u32,
    vertical: Sampling,
    horizontal: Sampling,
}

#[derive(Debug)]
struct StoredArgMax {
    input: Index,
    output: Index,
    pixels: u32,
    channels: u32,
}

#[derive(Debug)]
struct StoredSum {
    input: Index,
    output: Index,
    outer: u32,
    count: u32,
    channels: u32,
    input_zero: i32,
    stage: OutputStage,
    activation: Clamp,
}

#[derive(Debug)]
struct StoredEltwise {
    function: EltwiseFunction,
    pre_shift: u32,
    inputs: Vec<StoredInput>,
    output: Index,
    extents: Vec<u32>,
    stage: OutputStage,
    activation: Clamp,
    table: Option<StoredTable>,
}

#[derive(Debug)]
struct StoredInput {
    value: Index,
    steps: Vec<u32>,
    zero: i32,
    stage: OutputStage,
}

#[derive(Debug)]
struct StoredTable(Table);

#[derive(Debug)]
struct StoredTransfer {
    input: Index,
    output: Index,
    output_bytes: u32,
    fill: Option<i32>,
    start: u32,
    offset: u32,
    run: u32,
    strides: Vec<Stride>,
}

#[derive(Debug)]
struct StoredHost {
    operator: HostOperator,
    input: Index,
    output: Index,
}

/// A step of the host with several inputs.
#[derive(Debug)]
struct StoredJoint {
    operator: HostOperator,
    inputs: Vec<Index>,
    output: Index,
}

/// Zero point and clamp of an output.
#[derive(Debug)]
struct Clamp {
    zero: i32,
    min: i32,
    max: i32,
}

/// `start..end`.
#[derive(Debug)]
struct Span {
    start: u32,
    end: u32,
}

record!(Stored {
    values: Vec<StoredValue>,
    layers: Vec<StoredLayer>,
    inputs: Vec<Index>,
    outputs: Vec<Index>,
    kept: Vec<Index>,
});
number_of!(Index(u32));
record!(StoredValue {
    name: String,
    shape: Vec<u32>,
    element: StoredElement,
    quantization: Option<(f32, i32)>,
    model: SourceTensor,
    origin: StoredOrigin,
});
record!(StoredLayer {
    name: String,
    node: u32,
    operator: String,
    sources: Vec<String>,
    macs: u64,
    work: StoredWork,
});
record!(Sweep { input: u32, output: u32, kernel: u32, stride: u32, dilation: u32, before: u32 });
record!(Clamp { zero: i32, min: i32, max: i32 });
record!(Span { start: u32, end: u32 });
record!(StoredConv {
    input: Index,
    output: Index,
    batch: u32,
    groups: u32,
    depth: u32,
    outputs: u32,
    depthwise: bool,
    vertical: Sweep,
    horizontal: Sweep,
    weights: DeviceType,
    weight_zero: i32,
    input_zero: i32,
    requant: RoundingMode,
    activation: Clamp,
    pieces: Vec<StoredPiece>,
});
record!(StoredPiece { piece: WeightPiece, place: Place, records: Option<u64> });
codes!(PoolFunction, "pool function" { 0 = Max, 1 = Min, 2 = Average });
record!(StoredPool {
    function: PoolFunction,
    input: Index,
    output: Index,
    batch: u32,
    channels: u32,
    vertical: Sweep,
    horizontal: Sweep,
    activation: Clamp,
});
record!(Sampling { input: u32, output: u32, origin: i32, step: u32 });
record!(StoredResize {
    input: Index,
    output: Index,
    batch: u32,
    channels: u32,
    fraction: u32,
    vertical: Sampling,
    horizontal: Sampling,
});
record!(StoredArgMax { input: Index, output: Index, pixels: u32, channels: u32 });
record!(StoredSum {
    input: Index,
    output: Index,
    outer: u32,
    count: u32,
    channels: u32,
    input_zero: i32,
    stage: OutputStage,
    activation: Clamp,
});
record!(StoredInput { value: Index, steps: Vec<u32>, zero: i32, stage: OutputStage });
record!(StoredEltwise {
    function: EltwiseFunction,
    pre_shift: u32,
    inputs: Vec<StoredInput>,
    output: Index,
    extents: Vec<u32>,
    stage: OutputStage,
    activation: Clamp,
    table: Option<StoredTable>,
});
record!(Stride { count: u32, from: u32, to: u32 });
record!(StoredTransfer {
    input: Index,
    output: Index,
    output_bytes: u32,
    fill: Option<i32>,
    start: u32,
    offset: u32,
    run: u32,
    strides: Vec<Stride>,
});
record!(StoredHost { operator: HostOperator, input: Index, output: Index });
record!(StoredJoint { operator: HostOperator, inputs: Vec<Index>, output: Index });

/// Codes of element types: a package's own, then those it does not know.
const ELEMENTS: [(u8, ElementType); 12] = [
    (0x01, ElementType::I8),
    (0x02, ElementType::U8),
    (0x03, ElementType::I16),
    (0x04, ElementType::I32),
    (0x10, ElementType::I64),
    (0x11, ElementType::F32),
    (0x12, ElementType::Bool),
    (0x13, ElementType::U16),
    (0x14, ElementType::U32),
    (0x15, ElementType::U64),
    (0x16, ElementType::F16),
    (0x17, ElementType::F64),
];

impl Wire for StoredElement {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(ELEMENTS.iter().find(|(_, element)| *element == self.0).map_or(0, |&(code, _)| code));
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        let (rest, code) = u8::take(at)?;
        match ELEMENTS.iter().find(|(known, _)| *known == code) {
            Some(&(_, element)) => Ok((rest, Self(element))),
            None => fail(at, Why::Code { what: "element type", code: code.into() }),
        }
    }
}

impl Wire for StoredOrigin {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Input => out.push(0),
            Self::Constant(place) => {
                out.push(1);
                place.put(out);
            }
            Self::Computed => out.push(2),
            Self::Alias(of) => {
                out.push(3);
                of.put(out);
            }
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match u8::take(at)? {
            (rest, 0) => Ok((rest, Self::Input)),
            (rest, 1) => Wire::take(rest).map(|(rest, place)| (rest, Self::Constant(place))),
            (rest, 2) => Ok((rest, Self::Computed)),
            (rest, 3) => Wire::take(rest).map(|(rest, of)| (rest, Self::Alias(of))),
            (_, code) => fail(at, Why::Code { what: "origin", code: code.into() }),
        }
    }
}

impl Wire for StoredWork {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Conv(conv) => {
                out.push(0);
                conv.put(out);
            }
            Self::Pool(pool) => {
                out.push(1);
                pool.put(out);
            }
            Self::Sum(sum) => {
                out.push(2);
                sum.put(out);
            }
            Self::Eltwise(eltwise) => {
                out.push(3);
                eltwise.put(out);
            }
            Self::Transfer(transfer) => {
                out.push(4);
                transfer.put(out);
            }
            Self::Host(host) => {
                out.push(5);
                host.put(out);
            }
            Self::Resize(resize) => {
                out.push(6);
                resize.put(out);
            }
            Self::ArgMax(argmax) => {
                out.push(7);
                argmax.put(out);
            }
            Self::Joint(joint) => {
                out.push(8);
                joint.put(out);
            }
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match u8::take(at)? {
            (rest, 0) => Wire::take(rest).map(|(rest, conv)| (rest, Self::Conv(conv))),
            (rest, 1) => Wire::take(rest).map(|(rest, pool)| (rest, Self::Pool(pool))),
            (rest, 2) => Wire::take(rest).map(|(rest, sum)| (rest, Self::Sum(sum))),
            (rest, 3) => Wire::take(rest).map(|(rest, eltwise)| (rest, Self::Eltwise(eltwise))),
            (rest, 4) => Wire::take(rest).map(|(rest, transfer)| (rest, Self::Transfer(transfer))),
            (rest, 5) => Wire::take(rest).map(|(rest, host)| (rest, Self::Host(host))),
            (rest, 6) => Wire::take(rest).map(|(rest, resize)| (rest, Self::Resize(resize))),
            (rest, 7) => Wire::take(rest).map(|(rest, argmax)| (rest, Self::ArgMax(argmax))),
            (rest, 8) => {
                let (after, joint): (_, StoredJoint) = Wire::take(rest)?;
                // One input has an encoding of its own, and there is but one of everything.
                match joint.inputs.len() {
                    1 => fail(at, Why::Code { what: "kind of layer", code: 8 }),
                    _ => Ok((after, Self::Joint(joint))),
                }
            }
            (_, code) => fail(at, Why::Code { what: "kind of layer", code: code.into() }),
        }
    }
}

impl Wire for WeightPiece {
    const MIN_BYTES: usize = 5 * Span::MIN_BYTES;

    fn put(&self, out: &mut Vec<u8>) {
        for Range { start, end } in [&self.groups, &self.outputs, &self.depth, &self.rows, &self.columns] {
            Span { start: *start, end: *end }.put(out);
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        let (at, groups) = Span::take(at)?;
        let (at, outputs) = Span::take(at)?;
        let (at, depth) = Span::take(at)?;
        let (at, rows) = Span::take(at)?;
        let (at, columns) = Span::take(at)?;
        let range = |span: Span| span.start..span.end;
        let [groups, outputs, depth, rows, columns] = [groups, outputs, depth, rows, columns].map(range);
        Ok((at, Self { groups, outputs, depth, rows, columns }))
    }
}

impl Wire for StoredTable {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match &self.0 {
            table @ Table::Bytes(_) => {
                out.push(0);
                out.extend(table.bytes());
            }
            table @ Table::Words(_) => {
                out.push(1);
                out.extend(table.bytes());
            }
            Table::Half { curve, multiplier, shift } => {
                out.push(if *curve == Curve::Sigmoid { 2 } else { 3 });
                multiplier.put(out);
                shift.put(out);
            }
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        let (rest, code) = u8::take(at)?;
        let half = |curve| {
            let parsed = <(u32, u32)>::take(rest);
            parsed.map(|(rest, (multiplier, shift))| (rest, Self(Table::Half { curve, multiplier, shift })))
        };
        match code {
            0 => entries(rest, i8::from_le_bytes).map(|(rest, entries)| (rest, Self(Table::Bytes(entries)))),
            1 => entries(rest, i16::from_le_bytes).map(|(rest, entries)| (rest, Self(Table::Words(entries)))),
            2 => half(Curve::Sigmoid),
            3 => half(Curve::Tanh),
            _ => fail(at, Why::Code { what: "table", code: code.into() }),
        }
    }
}

/// All entries of a table.
fn entries<T: Copy + Default, const N: usize, const SIZE: usize>(
    at: &[u8],
    from: fn([u8; SIZE]) -> T,
) -> Parsed<'_, Box<[T; N]>> {
    let Some((bytes, rest)) = at.split_at_checked(N * SIZE) else { return fail(at, Why::Truncated) };
    let mut entries = Box::new([T::default(); N]);
    entries.iter_mut().zip(bytes.as_chunks().0).for_each(|(entry, &bytes)| *entry = from(bytes));
    Ok((rest, entries))
}

impl From<ValueId> for Index {
    /// Networks have fewer than 2^32 values: their graph has.
    fn from(id: ValueId) -> Self {
        Self(u32::try_from(id.0).unwrap_or(u32::MAX))
    }
}

impl From<Index> for ValueId {
    fn from(index: Index) -> Self {
        Self(usize::try_from(index.0).unwrap_or(usize::MAX))
    }
}

impl From<&Activation> for Clamp {
    /// Tables are layers of their own in a lowered network.
    fn from(activation: &Activation) -> Self {
        Self { zero: activation.zero, min: activation.min, max: activation.max }
    }
}

impl From<Clamp> for Activation {
    fn from(Clamp { zero, min, max }: Clamp) -> Self {
        Self { zero, min, max, table: None }
    }
}

impl Stored {
    fn of(network: &Network, places: &Places) -> Self {
        let ids = |ids: &[ValueId]| ids.iter().copied().map(Index::from).collect();
        let values = network.values.iter().enumerate();
        let layers = network.layers.iter().enumerate();
        Self {
            values: values.map(|(at, value)| StoredValue::of(value, places.values.get(&ValueId(at)))).collect(),
            layers: layers.map(|(at, layer)| StoredLayer::of(layer, places.pieces.get(&at))).collect(),
            inputs: ids(&network.inputs),
            outputs: ids(&network.outputs),
            kept: ids(&network.kept),
        }
    }
}

impl StoredValue {
    fn of(value: &Value, place: Option<&Place>) -> Self {
        Self {
            name: value.name.clone(),
            shape: value.shape.clone(),
            element: StoredElement(value.element),
            quantization: value.quantization,
            model: value.model.clone(),
            origin: match value.origin {
                Origin::Input => StoredOrigin::Input,
                Origin::Constant(_) => StoredOrigin::Constant(place.copied()),
                Origin::Computed => StoredOrigin::Computed,
                Origin::Alias(of) => StoredOrigin::Alias(of.into()),
            },
        }
    }
}

impl StoredLayer {
    fn of(layer: &Layer, pieces: Option<&Vec<StoredPiece>>) -> Self {
        Self {
            name: layer.name.clone(),
            node: u32::try_from(layer.node).unwrap_or(u32::MAX),
            operator: layer.operator.to_string(),
            sources: layer.sources.clone(),
            macs: layer.macs,
            work: StoredWork::of(&layer.work, pieces),
        }
    }
}

impl StoredWork {
    fn of(work: &Work, pieces: Option<&Vec<StoredPiece>>) -> Self {
        match work {
            Work::Conv(conv) => Self::Conv(StoredConv {
                input: conv.input.into(),
                output: conv.output.into(),
                batch: conv.batch,
                groups: conv.groups,
                depth: conv.depth,
                outputs: conv.outputs,
                depthwise: conv.depthwise,
                vertical: conv.vertical,
                horizontal: conv.horizontal,
                weights: conv.weights.element,
                weight_zero: conv.weights.zero,
                input_zero: conv.input_zero,
                requant: conv.requant,
                activation: Clamp::from(&conv.activation),
                pieces: pieces.cloned().unwrap_or_default(),
            }),
            Work::Pool(pool) => Self::Pool(StoredPool {
                function: pool.function,
                input: pool.input.into(),
                output: pool.output.into(),
                batch: pool.batch,
                channels: pool.channels,
                vertical: pool.vertical,
                horizontal: pool.horizontal,
                activation: Clamp { zero: pool.zero, min: pool.clamp.0, max: pool.clamp.1 },
            }),
            Work::Sum(sum) => Self::Sum(StoredSum {
                input: sum.input.into(),
                output: sum.output.into(),
                outer: sum.outer,
                count: sum.count,
                channels: sum.channels,
                input_zero: sum.input_zero,
                stage: sum.stage,
                activation: Clamp::from(&sum.activation),
            }),
            Work::Resize(resize) => Self::Resize(StoredResize {
                input: resize.input.into(),
                output: resize.output.into(),
                batch: resize.batch,
                channels: resize.channels,
                fraction: resize.fraction,
                vertical: resize.vertical,
                horizontal: resize.horizontal,
            }),
            Work::ArgMax(argmax) => Self::ArgMax(StoredArgMax {
                input: argmax.input.into(),
                output: argmax.output.into(),
                pixels: argmax.pixels,
                channels: argmax.channels,
            }),
            Work::Eltwise(eltwise) => Self::Eltwise(StoredEltwise {
                function: eltwise.function,
                pre_shift: eltwise.pre_shift,
                inputs: eltwise.inputs.iter().map(StoredInput::of).collect(),
                output: eltwise.output.into(),
                extents: eltwise.extents.clone(),
                stage: eltwise.stage,
                activation: Clamp::from(&eltwise.activation),
                table: eltwise.table.clone().map(StoredTable),
            }),
            Work::Transfer(transfer) => Self::Transfer(StoredTransfer {
                input: transfer.input.into(),
                output: transfer.output.into(),
                output_bytes: transfer.output_bytes,
                fill: transfer.fill,
                start: transfer.start,
                offset: transfer.offset,
                run: transfer.run,
                strides: transfer.strides.clone(),
            }),
            Work::Host(host) => {
                let (operator, output) = (host.operator, host.output.into());
                match host.inputs[..] {
                    [input] => Self::Host(StoredHost { operator, input: input.into(), output }),
                    _ => {
                        let inputs = host.inputs.iter().map(|&input| input.into()).collect();
                        Self::Joint(StoredJoint { operator, inputs, output })
                    }
                }
            }
        }
    }
}

impl StoredInput {
    fn of(input: &EltwiseInput) -> Self {
        Self { value: input.value.into(), steps: input.steps.clone(), zero: input.zero, stage: input.stage }
    }
}

/// Puts constants where their places are.
struct Resolve<'a> {
    package: &'a Package,
    /// Bytes that may still be referred to.
    left: u64,
}

impl<'a> Resolve<'a> {
    fn new(package: &'a Package) -> Self {
        let all: u64 = package.constants.iter().map(|(_, bytes)| wide(bytes.len())).sum();
        Self { package, left: all.saturating_mul(MOST_SHARED) }
    }

    fn network(mut self, stored: Stored) -> Result<Network, LoweredError> {
        let ids = |ids: Vec<Index>| ids.into_iter().map(ValueId::from).collect();
        let values = stored.values.into_iter().enumerate();
        let values = values.map(|(at, value)| {
            self.value(value).map_err(|why| LoweredError::Constants { what: "value", index: at, why })
        });
        let values = values.collect::<Result<_, _>>()?;
        let layers = stored.layers.into_iter().enumerate();
        let layers = layers.map(|(at, layer)| {
            self.layer(layer).map_err(|why| LoweredError::Constants { what: "layer", index: at, why })
        });
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Network { values, layers, inputs: ids(stored.inputs), outputs: ids(stored.outputs), kept: ids(stored.kept) })
    }

    /// Constant bytes from an offset on.
    fn bytes(&mut self, region: RegionId, offset: u64, bytes: u64) -> Result<&'a [u8], &'static str> {
        let constants = self.package.constant(region).ok_or("the region is not constant")?;
        let range =
            offset.checked_add(bytes).and_then(|end| Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?));
        let found = range.and_then(|range| constants.get(range)).ok_or("the constants end before")?;
        self.left = self.left.checked_sub(bytes).ok_or("constants are shared by too many")?;
        Ok(found)
    }

    fn value(&mut self, stored: StoredValue) -> Result<Value, &'static str> {
        let StoredValue { name, shape, element: StoredElement(element), quantization, model, origin } = stored;
        let origin = match origin {
            StoredOrigin::Input => Origin::Input,
            StoredOrigin::Constant(None) => Origin::Constant(Data::from(Vec::new())),
            StoredOrigin::Constant(Some(place)) => {
                let size = wide(element.size());
                let bytes = shape.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent.into()));
                let bytes = self.bytes(place.region, place.offset, bytes.ok_or("the constants end before")?)?;
                Origin::Constant(Data::from(bytes.to_vec()))
            }
            StoredOrigin::Computed => Origin::Computed,
            StoredOrigin::Alias(of) => Origin::Alias(of.into()),
        };
        Ok(Value { name, shape, element, quantization, model, origin })
    }

    fn layer(&mut self, stored: StoredLayer) -> Result<Layer, &'static str> {
        let StoredLayer { name, node, operator, sources, macs, work } = stored;
        let node = usize::try_from(node).unwrap_or(usize::MAX);
        Ok(Layer { name, node, operator: operator.into(), sources, macs, work: self.work(work)? })
    }

    fn work(&mut self, stored: StoredWork) -> Result<Work, &'static str> {
        Ok(match stored {
            StoredWork::Conv(conv) => Work::Conv(self.conv(conv)?),
            StoredWork::Pool(pool) => {
                let Clamp { zero, min, max } = pool.activation;
                Work::Pool(Pool {
                    function: pool.function,
                    input: pool.input.into(),
                    output: pool.output.into(),
                    batch: pool.batch,
                    channels: pool.channels,
                    vertical: pool.vertical,
                    horizontal: pool.horizontal,
                    zero,
                    clamp: (min, max),
                })
            }
            StoredWork::Sum(sum) => Work::Sum(Sum {
                input: sum.input.into(),
                output: sum.output.into(),
                outer: sum.outer,
                count: sum.count,
                channels: sum.channels,
                input_zero: sum.input_zero,
                stage: sum.stage,
                activation: sum.activation.into(),
            }),
            StoredWork::Resize(resize) => Work::Resize(Resize {
                input: resize.input.into(),
                output: resize.output.into(),
                batch: resize.batch,
                channels: resize.channels,
                fraction: resize.fraction,
                vertical: resize.vertical,
                horizontal: resize.horizontal,
            }),
            StoredWork::ArgMax(argmax) => Work::ArgMax(ArgMax {
                input: argmax.input.into(),
                output: argmax.output.into(),
                pixels: argmax.pixels,
                channels: argmax.channels,
            }),
            StoredWork::Eltwise(eltwise) => Work::Eltwise(Eltwise {
                function: eltwise.function,
                pre_shift: eltwise.pre_shift,
                inputs: eltwise.inputs.into_iter().map(EltwiseInput::from).collect(),
                output: eltwise.output.into(),
                extents: eltwise.extents,
                stage: eltwise.stage,
                activation: eltwise.activation.into(),
                table: eltwise.table.map(|StoredTable(table)| table),
            }),
            StoredWork::Transfer(transfer) => Work::Transfer(Transfer {
                input: transfer.input.into(),
                output: transfer.output.into(),
                output_bytes: transfer.output_bytes,
                fill: transfer.fill,
                start: transfer.start,
                offset: transfer.offset,
                run: transfer.run,
                strides: transfer.strides,
            }),
            StoredWork::Host(StoredHost { operator, input, output }) => {
                Work::Host(HostLayer { operator, inputs: vec![input.into()], output: output.into() })
            }
            StoredWork::Joint(StoredJoint { operator, inputs, output }) => {
                let inputs = inputs.into_iter().map(ValueId::from).collect();
                Work::Host(HostLayer { operator, inputs, output: output.into() })
            }
        })
    }

    /// A convolution with its weights as a graph has them.
    fn conv(&mut self, stored: StoredConv) -> Result<ConvLayer, &'static str> {
        let pieces = stored.pieces;
        let mut conv = ConvLayer {
            input: stored.input.into(),
            output: stored.output.into(),
            batch: stored.batch,
            groups: stored.groups,
            depth: stored.depth,
            outputs: stored.outputs,
            depthwise: stored.depthwise,
            vertical: stored.vertical,
            horizontal: stored.horizontal,
            weights: WeightSource { data: Data::from(Vec::new()), element: stored.weights, zero: stored.weight_zero },
            input_zero: stored.input_zero,
            records: Vec::new(),
            requant: stored.requant,
            activation: stored.activation.into(),
        };
        if ![DeviceType::Int8, DeviceType::Int16].contains(&conv.weights.element) {
            return Err("weights are int8 or int16");
        }
        let blocked = self.blocked(&conv, &pieces)?;
        let weights = WeightPiece::whole(&conv).weights().saturating_mul(wide(conv.weights.element.bytes()));
        let mut plain = vec![0; usize::try_from(weights).map_err(|_| "too many weights")?];
        for (piece, bytes) in pieces.iter().zip(blocked) {
            unblock(&conv, &piece.piece, bytes, &mut plain);
        }
        conv.records = self.records(&conv, &pieces)?;
        conv.weights.data = Data::from(plain);
        Ok(conv)
    }

    /// The bytes of every piece; together they are the layer's weights.
    fn blocked(&mut self, conv: &ConvLayer, pieces: &[StoredPiece]) -> Result<Vec<&'a [u8]>, &'static str> {
        let mut weights = 0_u64;
        let mut blocked = Vec::with_capacity(pieces.len());
        for StoredPiece { piece, place, .. } in pieces {
            if !piece.is_within(conv) {
                return Err("a piece leaves the layer");
            }
            blocked.push(self.bytes(place.region, place.offset, piece.bytes(conv))?);
            weights = weights.saturating_add(piece.weights());
        }
        if weights == WeightPiece::whole(conv).weights() {
            Ok(blocked)
        } else {
            Err("the pieces are not the layer's weights")
        }
    }

    fn records(&mut self, conv: &ConvLayer, pieces: &[StoredPiece]) -> Result<Vec<ChannelRecord>, &'static str> {
        let all = u64::from(conv.groups) * u64::from(conv.outputs);
        let of = |piece: &WeightPiece| u64::from(len(&piece.groups)) * u64::from(len(&piece.outputs));
        let with = || pieces.iter().filter(|piece| piece.records.is_some());
        if with().map(|stored| of(&stored.piece)).sum::<u64>() != all {
            return Err("the pieces have not one record for each channel");
        }
        let mut records = vec![NO_RECORD; usize::try_from(all).map_err(|_| "too many channels")?];
        for StoredPiece { piece, place, records: offset } in with() {
            let count = of(piece).saturating_mul(wide(ChannelRecord::BYTES));
            let bytes = self.bytes(place.region, offset.unwrap_or(0), count)?;
            for (channel, &bytes) in piece.channels(conv).zip(bytes.as_chunks().0) {
                if let Some(record) = usize::try_from(channel).ok().and_then(|channel| records.get_mut(channel)) {
                    *record = ChannelRecord::from_le_bytes(bytes);
                }
            }
        }
        Ok(records)
    }
}

impl From<StoredInput> for EltwiseInput {
    fn from(StoredInput { value, steps, zero, stage }: StoredInput) -> Self {
        Self { value: value.into(), steps, zero, stage }
    }
}

fn len(range: &Range<u32>) -> u32 {
    range.end.saturating_sub(range.start)
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
