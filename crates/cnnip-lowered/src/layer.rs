//! The lowered network: device-level layers with every number derived, and the values between them.

use std::borrow::Cow;
use std::fmt;

use cnnip_graph::{Data, ElementType, Source};
use cnnip_isa::operation::{Activation, OutputStage};
use cnnip_isa::{ElementType as DeviceType, EltwiseFunction, RoundingMode};
use cnnip_numerics::ChannelRecord;
use cnnip_package::{HostOperator, SourceTensor};

use crate::table::Table;

/// A value of the network: its position in [`Network::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// What gives a value its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The application.
    Input,
    /// The model.
    Constant(Data),
    /// A layer.
    Computed,
    /// The same bytes as another value, in another shape.
    Alias(ValueId),
}

/// A tensor that exists in external memory, dense and row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name; the source's where there is one.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<u32>,
    /// Type of one element.
    pub element: ElementType,
    /// Scale and zero point.
    pub quantization: Option<(f32, i32)>,
    /// What it is in the source model.
    pub model: SourceTensor,
    /// Where the bytes come from.
    pub origin: Origin,
}

/// What a tensor of a graph is in the source model, as packages say it.
pub fn source_tensor(source: &Source) -> SourceTensor {
    match source {
        Source::Same => SourceTensor::Same,
        Source::View { name, axes } => {
            let axes = axes.iter().map(|&axis| u32::try_from(axis).unwrap_or(u32::MAX));
            SourceTensor::View { name: name.clone(), axes: axes.collect() }
        }
        Source::Added => SourceTensor::Added,
    }
}

impl Value {
    /// Bytes of all elements.
    pub fn bytes(&self) -> u64 {
        let elements: u64 = self.shape.iter().map(|&extent| u64::from(extent)).product();
        elements * u64::try_from(self.element.size()).unwrap_or(u64::MAX)
    }
}

/// A network of device-level layers and host steps, in the order of execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// All values.
    pub values: Vec<Value>,
    /// All layers.
    pub layers: Vec<Layer>,
    /// What the application provides.
    pub inputs: Vec<ValueId>,
    /// What the application gets.
    pub outputs: Vec<ValueId>,
    /// What else must be there at the end.
    pub kept: Vec<ValueId>,
}

impl Network {
    /// The value that owns the bytes of `id`.
    pub fn root(&self, id: ValueId) -> ValueId {
        match self.values[id.0].origin {
            Origin::Alias(of) => self.root(of),
            Origin::Input | Origin::Constant(_) | Origin::Computed => id,
        }
    }

    /// The device's type of a value's elements; `None` for one that only the host can read.
    pub fn element(&self, id: ValueId) -> DeviceType {
        match self.values[id.0].element {
            ElementType::I8 => DeviceType::Int8,
            ElementType::U8 => DeviceType::Uint8,
            ElementType::I16 => DeviceType::Int16,
            ElementType::I32 => DeviceType::Int32,
            _ => DeviceType::None,
        }
    }
}

/// One step of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Name for reports: that of the source node.
    pub name: String,
    /// Index of the source node in the graph.
    pub node: usize,
    /// Name of its operator.
    pub operator: Cow<'static, str>,
    /// Source nodes it carries out.
    pub sources: Vec<String>,
    /// Multiply-accumulates as the network defines them.
    pub macs: u64,
    /// What is computed.
    pub work: Work,
}

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Convolution, depthwise convolution, fully connected.
    Conv(ConvLayer),
    /// Maximum or average of windows.
    Pool(Pool),
    /// Scaled sum over one axis.
    Sum(Sum),
    /// Bilinear resize.
    Resize(Resize),
    /// Index of the largest of the last axis.
    ArgMax(ArgMax),
    /// Element-wise function of one or two values.
    Eltwise(Eltwise),
    /// Data movement.
    Transfer(Transfer),
    /// What the host computes.
    Host(HostLayer),
}

impl Work {
    /// Values the layer reads.
    pub fn reads(&self) -> Vec<ValueId> {
        match self {
            Self::Conv(conv) => vec![conv.input],
            Self::Pool(pool) => vec![pool.input],
            Self::Sum(sum) => vec![sum.input],
            Self::Resize(resize) => vec![resize.input],
            Self::ArgMax(argmax) => vec![argmax.input],
            Self::Eltwise(eltwise) => eltwise.inputs.iter().map(|input| input.value).collect(),
            Self::Transfer(transfer) => vec![transfer.input],
            Self::Host(host) => host.inputs.clone(),
        }
    }

    /// The value the layer writes.
    pub fn writes(&self) -> ValueId {
        match self {
            Self::Conv(conv) => conv.output,
            Self::Pool(pool) => pool.output,
            Self::Sum(sum) => sum.output,
            Self::Resize(resize) => resize.output,
            Self::ArgMax(argmax) => argmax.output,
            Self::Eltwise(eltwise) => eltwise.output,
            Self::Transfer(transfer) => transfer.output,
            Self::Host(host) => host.output,
        }
    }

    /// Whether it writes a list, of which only some rows mean something.
    pub const fn gives_list(&self) -> bool {
        matches!(self, Self::Host(host) if host.operator.is_list())
    }

    /// Whether the host does it.
    pub const fn is_host(&self) -> bool {
        matches!(self, Self::Host(_))
    }
}

/// How a window moves along one axis: tap k of output i is at input `i * stride + k * dilation - before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Extent of the input.
    pub input: u32,
    /// Extent of the output.
    pub output: u32,
    /// Taps.
    pub kernel: u32,
    /// Input positions from one output to the next.
    pub stride: u32,
    /// Input positions from one tap to the next.
    pub dilation: u32,
    /// Positions before the input.
    pub before: u32,
}

impl Sweep {
    /// One tap, over an axis of `extent`.
    pub const fn plain(extent: u32) -> Self {
        Self { input: extent, output: extent, kernel: 1, stride: 1, dilation: 1, before: 0 }
    }

    /// Positions from the first to one past the last tap.
    pub fn reach(&self) -> u64 {
        u64::from(self.kernel - 1) * u64::from(self.dilation) + 1
    }

    /// Input position of tap 0 of output `index`; negative in the padding.
    pub fn start(&self, index: u32) -> i64 {
        i64::from(index) * i64::from(self.stride) - i64::from(self.before)
    }

    /// Positions that the last window reaches beyond the input.
    pub fn after(&self) -> u64 {
        let end = u64::from(self.output - 1) * u64::from(self.stride) + self.reach();
        end.saturating_sub(u64::from(self.before) + u64::from(self.input))
    }

    /// Whether output i reads input i only.
    pub fn is_plain(&self) -> bool {
        *self == Self::plain(self.input)
    }
}

/// As `8->4 k3 s2 d1 p1`.
impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, output, kernel, stride, dilation, before } = self;
        write!(f, "{input}->{output} k{kernel} s{stride} d{dilation} p{before}")
    }
}

/// As `8->16 from -256 by 512`.
impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, output, origin, step } = self;
        write!(f, "{input}->{output} from {origin} by {step}")
    }
}

/// Weights as the graph has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSource {
    /// `[output][ky][kx][depth]`, or `[ky][kx][output]` of a depthwise layer.
    pub data: Data,
    /// Type of a weight: `Int8` or `Int16`.
    pub element: DeviceType,
    /// Zero point.
    pub zero: i32,
}

/// A convolution with `groups` groups of `depth` input and `outputs` output channels each.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvLayer {
    /// `[batch, rows, columns, groups * depth]`.
    pub input: ValueId,
    /// `[batch, rows, columns, groups * outputs]`.
    pub output: ValueId,
    /// Maps, one after the other.
    pub batch: u32,
    /// Groups; one per input channel in a depthwise layer.
    pub groups: u32,
    /// Input channels of a group.
    pub depth: u32,
    /// Output channels of a group.
    pub outputs: u32,
    /// Uses the depthwise operation; `depth` is 1.
    pub depthwise: bool,
    /// Rows.
    pub vertical: Sweep,
    /// Columns.
    pub horizontal: Sweep,
    /// Weights.
    pub weights: WeightSource,
    /// Zero point of the input, also what padding reads as.
    pub input_zero: i32,
    /// Bias and scale of every output channel.
    pub records: Vec<ChannelRecord>,
    /// Mode of the scales.
    pub requant: RoundingMode,
    /// Zero point and clamp of the output.
    pub activation: Activation,
}

/// What a pool yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolFunction {
    /// Largest element.
    Max,
    /// Smallest element.
    Min,
    /// Sum of the valid elements divided by their number.
    Average,
}

/// A pool over `[batch, rows, columns, channels]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Maximum, minimum or average.
    pub function: PoolFunction,
    /// Input.
    pub input: ValueId,
    /// Output.
    pub output: ValueId,
    /// Maps, one after the other.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// Rows.
    pub vertical: Sweep,
    /// Columns.
    pub horizontal: Sweep,
    /// Subtracted from every element of an average, and added to it; 0 of others.
    pub zero: i32,
    /// Smallest and largest result.
    pub clamp: (i32, i32),
}

/// Scaled sum over the middle axis of `[outer, count, channels]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Input.
    pub input: ValueId,
    /// Output, `[outer, channels]`.
    pub output: ValueId,
    /// Sums per channel.
    pub outer: u32,
    /// Elements of a sum.
    pub count: u32,
    /// Channels.
    pub channels: u32,
    /// Zero point of the input.
    pub input_zero: i32,
    /// Scale of the sum.
    pub stage: OutputStage,
    /// Zero point and clamp of the output.
    pub activation: Activation,
}

/// Where the outputs of a resize lie along one axis: output k is at `origin + k * step`, held to the input's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Extent of the input.
    pub input: u32,
    /// Extent of the output.
    pub output: u32,
    /// Position of output 0.
    pub origin: i32,
    /// From one output to the next.
    pub step: u32,
}

/// A bilinear resize of `[batch, rows, columns, channels]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Input.
    pub input: ValueId,
    /// Output, of the input's type.
    pub output: ValueId,
    /// Maps, one after the other.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// Fraction bits of positions, at most 16.
    pub fraction: u32,
    /// Rows.
    pub vertical: Sampling,
    /// Columns.
    pub horizontal: Sampling,
}

/// The index of the largest of the last axis of `[pixels, channels]`, the lowest on a tie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgMax {
    /// Input.
    pub input: ValueId,
    /// Output, int32.
    pub output: ValueId,
    /// Indices found.
    pub pixels: u32,
    /// Elements that each is one of.
    pub channels: u32,
}

/// One input of an element-wise layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EltwiseInput {
    /// The value.
    pub value: ValueId,
    /// Elements from one index to the next along each axis of the layer; 0 repeats.
    pub steps: Vec<u32>,
    /// Subtracted from every element.
    pub zero: i32,
    /// Scale of the input.
    pub stage: OutputStage,
}

/// An element-wise layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eltwise {
    /// What is computed.
    pub function: EltwiseFunction,
    /// Left shift before the inputs' scales.
    pub pre_shift: u32,
    /// One or two inputs.
    pub inputs: Vec<EltwiseInput>,
    /// The output, dense.
    pub output: ValueId,
    /// Extents, outermost first; at least rows, columns, channels.
    pub extents: Vec<u32>,
    /// Scale of the output.
    pub stage: OutputStage,
    /// Zero point and clamp of the output.
    pub activation: Activation,
    /// Looked up instead of computing anything; the function is `pass`.
    pub table: Option<Table>,
}

/// One loop of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stride {
    /// Times.
    pub count: u32,
    /// Bytes from one to the next in the source.
    pub from: u32,
    /// Bytes from one to the next in the destination.
    pub to: u32,
}

/// Data movement: fills the destination if asked, then copies runs over nested loops. Several may write parts of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Source.
    pub input: ValueId,
    /// Destination.
    pub output: ValueId,
    /// Bytes of the destination.
    pub output_bytes: u32,
    /// Element of the destination's type that all of it holds first.
    pub fill: Option<i32>,
    /// Bytes from the source's start to the first run.
    pub start: u32,
    /// Bytes from the destination's start to the first run.
    pub offset: u32,
    /// Bytes of a run.
    pub run: u32,
    /// Loops around the run, innermost first.
    pub strides: Vec<Stride>,
}

/// A step of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostLayer {
    /// What is computed.
    pub operator: HostOperator,
    /// Read, in the operator's order.
    pub inputs: Vec<ValueId>,
    /// Written.
    pub output: ValueId,
}

/// As `v3`.
impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// One line per value and layer.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.values.iter().enumerate() {
            writeln!(f, "v{index} {value}")?;
        }
        self.layers.iter().enumerate().try_for_each(|(index, layer)| writeln!(f, "layer {index} {layer}"))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {} {:?} ", self.name, self.element, self.shape)?;
        match &self.origin {
            Origin::Input => f.write_str("input"),
            Origin::Constant(_) => f.write_str("constant"),
            Origin::Computed => f.write_str("computed"),
            Origin::Alias(of) => write!(f, "= {of}"),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {} = {}", self.name, self.work.writes(), self.work)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv(conv) => write!(f, "{conv}"),
            Self::Pool(Pool { function, input, batch, channels, vertical, horizontal, clamp, .. }) => {
                write!(f, "pool {function:?} {input} n{batch} c{channels} [{vertical}] [{horizontal}] clamp {clamp:?}")
            }
            Self::Sum(Sum { input, outer, count, channels, stage, .. }) => {
                write!(f, "sum {input} {outer}x{count}x{channels} * {:#x} << {}", stage.multiplier, stage.shift)
            }
            Self::Resize(Resize { input, batch, channels, fraction, vertical, horizontal, .. }) => {
                write!(f, "resize {input} n{batch} c{channels} [{vertical}] [{horizontal}] in 2^-{fraction}")
            }
            Self::ArgMax(ArgMax { input, pixels, channels, .. }) => write!(f, "arg-max {input} {pixels}x{channels}"),
            Self::Eltwise(Eltwise { function, inputs, extents, .. }) => {
                let inputs: Vec<String> = inputs.iter().map(|input| input.value.to_string()).collect();
                write!(f, "eltwise {function:?} ({}) {extents:?}", inputs.join(", "))
            }
            Self::Transfer(Transfer { input, fill, run, strides, .. }) => {
                write!(f, "transfer {input} fill {fill:?} run {run} {strides:?}")
            }
            Self::Host(host) => {
                let inputs: Vec<String> = host.inputs.iter().map(ValueId::to_string).collect();
                write!(f, "host {} ({})", host.operator.name(), inputs.join(", "))
            }
        }
    }
}

impl fmt::Display for ConvLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, batch, groups, depth, outputs, vertical, horizontal, requant, .. } = self;
        let name = if self.depthwise { "depthwise" } else { "conv" };
        write!(f, "{name} {input} n{batch} g{groups} {depth}->{outputs} [{vertical}] [{horizontal}] {requant:?}")
    }
}
