//! What can be wrong with a model: one [`Problem`] per finding, all findings of a model at once.

use std::fmt;

use crate::infer::InferError;
use crate::tensor::{ElementType, Shape, ShapeError};

/// Most problems kept of one model; further ones are only counted.
pub const MAX_PROBLEMS: usize = 200;

/// Longest piece of a model's text, in characters, that a message repeats.
const MAX_QUOTE: usize = 80;

/// Where in a model a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The model as a whole.
    Model,
    /// A tensor.
    Tensor {
        /// Index in the source's list.
        index: usize,
        /// Its name, shortened if long.
        name: String,
    },
    /// A node.
    Node {
        /// Index in the source's list.
        index: usize,
        /// Name of its first output, shortened if long.
        name: String,
        /// The source's name of the operator.
        operator: String,
    },
}

impl Place {
    /// Tensor `index`.
    pub fn tensor(index: usize, name: &str) -> Self {
        Self::Tensor { index, name: quote(name) }
    }

    /// Node `index`.
    pub fn node(index: usize, name: &str, operator: &str) -> Self {
        Self::Node { index, name: quote(name), operator: quote(operator) }
    }
}

/// As `tensor 3 (conv1/weights)` or `node 2, CONV_2D (conv1)`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model => f.write_str("model"),
            Self::Tensor { index, name } => write!(f, "tensor {index} ({name})"),
            Self::Node { index, name, operator } => write!(f, "node {index}, {operator} ({name})"),
        }
    }
}

/// The text without control characters, cut to what a message can hold.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(MAX_QUOTE).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MAX_QUOTE).is_some() {
        quoted.push('…');
    }
    quoted
}

/// The rule a model breaks, with the offending value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// The file is not of the expected kind.
    #[error("the file identifier at byte 4 is {found:?}, not \"TFL3\"")]
    Identifier {
        /// The four bytes as text; fewer if the file is shorter.
        found: String,
    },
    /// The file's structure is damaged.
    #[error("damaged file: at byte {at:#x} there is not {what}")]
    Corrupt {
        /// Byte offset.
        at: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// The file is no protobuf message of the expected kind.
    #[error("the file is no ONNX model: {why}")]
    Protobuf {
        /// What the reader of the wire format says.
        why: String,
    },
    /// Operators of a version that is not read.
    #[error("operator set {found} of domain \"{domain}\" is not in {least} to {newest}")]
    OperatorSet {
        /// The domain.
        domain: String,
        /// Its version in the file.
        found: i64,
        /// Oldest that is read.
        least: i64,
        /// Newest that is read.
        newest: i64,
    },
    /// An extent that is only known when the network runs.
    #[error("extent `{name}` of axis {axis} is not a number")]
    SymbolicDimension {
        /// Axis, outermost first.
        axis: usize,
        /// Its name in the source; empty if it has none.
        name: String,
    },
    /// A value that is used but nothing before it defines.
    #[error("`{name}` is used before anything defines it")]
    Undefined {
        /// Name of the value.
        name: String,
    },
    /// A value that is defined twice.
    #[error("`{name}` is defined twice")]
    DefinedTwice {
        /// Name of the value.
        name: String,
    },
    /// An attribute that is not known.
    #[error("attribute {name} is not supported")]
    UnknownAttribute {
        /// Name of the attribute.
        name: String,
    },
    /// An attribute whose text is not one of those supported.
    #[error("{name} is \"{value}\"")]
    TextAttribute {
        /// The attribute's name in the source.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// A tensor of another element type than the operator works on here.
    #[error("the {what} is {element}")]
    OperandType {
        /// Which tensor.
        what: &'static str,
        /// Its element type.
        element: ElementType,
    },
    /// Operands whose element types differ.
    #[error("operands are {a} and {b}")]
    OperandTypes {
        /// Element type of the first.
        a: ElementType,
        /// Element type of another.
        b: ElementType,
    },
    /// An activation that its reader takes for another quantization than its writer gave it.
    #[error("the input is read with scale {scale} but has {found}")]
    OtherQuantization {
        /// First scale as read.
        scale: f32,
        /// First scale as written.
        found: f32,
    },
    /// A constant that is not a number, or infinite.
    #[error("element {index} of the constant `{name}` is {value}")]
    NotFinite {
        /// Name of the constant, shortened if long.
        name: String,
        /// Position of the first such element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A file that holds data of the model and cannot be read.
    #[error("the data in `{path}` cannot be read: {why}")]
    ExternalFile {
        /// The file, as the model names it.
        path: String,
        /// What went wrong.
        why: String,
    },
    /// The file format has another version.
    #[error("schema version {found}, not 3")]
    Version {
        /// The version.
        found: u32,
    },
    /// The model is not one graph.
    #[error("{found} subgraphs, not 1")]
    Subgraphs {
        /// Their number.
        found: usize,
    },
    /// Parts of the file are referred to again and again, so that the graph would be much larger.
    #[error("the graph would need more than {limit} bytes of memory")]
    Size {
        /// Bytes that the file's length justifies.
        limit: usize,
    },
    /// The graph has no input.
    #[error("the graph has no input")]
    NoInputs,
    /// The graph has no output.
    #[error("the graph has no output")]
    NoOutputs,
    /// An element type that is not known.
    #[error("element type {code} is not supported")]
    ElementType {
        /// The source's code.
        code: i64,
    },
    /// An extent that is negative, or 0 in an activation.
    #[error("extent {value} of axis {axis}")]
    Dimension {
        /// Axis, outermost first.
        axis: usize,
        /// Its extent.
        value: i64,
    },
    /// A shape beyond the limits.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A buffer that is not there.
    #[error("buffer {index} of {count}")]
    BufferIndex {
        /// Its index.
        index: u32,
        /// Buffers in the file.
        count: usize,
    },
    /// Constant data kept outside the model.
    #[error("the data is outside the model's own buffers")]
    ExternalData,
    /// Constant data of another length than the shape and type imply.
    #[error("{found} bytes of data for {want} bytes of elements")]
    DataSize {
        /// Bytes of all elements.
        want: usize,
        /// Bytes given.
        found: usize,
    },
    /// A tensor that keeps its value from run to run, and is not the state of a recurrent layer.
    #[error("variable tensors are not supported")]
    Variable,
    /// A recurrent layer with an input that is not supported, or without one that is needed.
    #[error("{what} {}", if *is_there { "is not supported" } else { "is missing" })]
    OptionalInput {
        /// What the input is for.
        what: &'static str,
        /// Whether it is there.
        is_there: bool,
    },
    /// A cell state of another type than int16.
    #[error("the cell state is {found}, not int16")]
    StateType {
        /// Its type.
        found: ElementType,
    },
    /// A cell state that is not symmetric around 0 with one scale.
    #[error("the cell state has zero point {zero_point}, or not one scale")]
    StateZero {
        /// Its first zero point.
        zero_point: i64,
    },
    /// A hidden state that is quantized otherwise than the output, which is all hidden states.
    #[error("the hidden state is not quantized as the output")]
    HiddenState,
    /// A constant in a sparse encoding.
    #[error("sparse tensors are not supported")]
    Sparse,
    /// Quantization that is not scales and zero points.
    #[error("quantization details of kind {kind} are not supported")]
    QuantizationDetails {
        /// The source's code.
        kind: u8,
    },
    /// A scale that is not a positive finite number.
    #[error("scale {value} of channel {channel}")]
    Scale {
        /// Index along the axis; 0 for one scale per tensor.
        channel: usize,
        /// The scale.
        value: f32,
    },
    /// A zero point that the element type cannot hold.
    #[error("zero point {value} of channel {channel} does not fit {element}")]
    ZeroPoint {
        /// Index along the axis; 0 for one zero point per tensor.
        channel: usize,
        /// The zero point.
        value: i64,
        /// The tensor's element type.
        element: ElementType,
    },
    /// As many zero points as scales are needed.
    #[error("{zero_points} zero points for {scales} scales")]
    ZeroPointCount {
        /// Scales given.
        scales: usize,
        /// Zero points given.
        zero_points: usize,
    },
    /// Per-channel quantization along an axis that is not there.
    #[error("quantized along axis {axis} of {rank}")]
    ChannelAxis {
        /// The axis.
        axis: i64,
        /// Dimensions of the tensor.
        rank: usize,
    },
    /// Per-channel quantization needs one scale per index along the axis.
    #[error("{scales} scales for {channels} channels along axis {axis}")]
    ChannelCount {
        /// Scales given.
        scales: usize,
        /// Extent of the axis.
        channels: usize,
        /// The axis.
        axis: usize,
    },
    /// Per-channel scales of weights that are not along the output channels.
    #[error("weights are quantized along axis {found}, the output channels are axis {want}")]
    WeightAxis {
        /// Axis of the output channels.
        want: usize,
        /// Axis of the scales.
        found: usize,
    },
    /// An operator that the importer does not know.
    #[error("operator {name} is not supported")]
    UnsupportedOperator {
        /// The source's name.
        name: String,
    },
    /// An operator code that is not there.
    #[error("operator code {index} of {count}")]
    OperatorCode {
        /// Its index.
        index: u32,
        /// Operator codes in the file.
        count: usize,
    },
    /// Attributes of another operator.
    #[error("operator options of kind {found}, not {want}")]
    Options {
        /// The kind that belongs to the operator.
        want: u8,
        /// The kind in the file.
        found: u8,
    },
    /// Attributes of a custom operator that cannot be read.
    #[error("the custom operator's attributes are no FlexBuffer with a map")]
    CustomOptions,
    /// An attribute outside its range.
    #[error("{name} is {value}")]
    Attribute {
        /// The attribute's name in the source.
        name: &'static str,
        /// Its value.
        value: i64,
    },
    /// An attribute, or a constant in its place, that must be a finite number in the operator's range.
    #[error("{name} is {value}")]
    FloatAttribute {
        /// The attribute's name in the source.
        name: &'static str,
        /// Its value.
        value: f32,
    },
    /// A tensor index that is not there.
    #[error("tensor {index} of {count}")]
    TensorIndex {
        /// The index; negative where no tensor may be missing.
        index: i64,
        /// Tensors in the graph.
        count: usize,
    },
    /// Fewer or more inputs than the operator takes.
    #[error("{found} inputs, not {least} to {most}")]
    InputCount {
        /// Inputs given.
        found: usize,
        /// Fewest it takes.
        least: usize,
        /// Most it takes.
        most: usize,
    },
    /// Other than one output.
    #[error("{found} outputs, not 1")]
    OutputCount {
        /// Outputs given.
        found: usize,
    },
    /// An input that must be known before the network runs.
    #[error("the {what}, tensor {index}, is not a constant")]
    NotConstant {
        /// What the input means.
        what: &'static str,
        /// Index of the tensor.
        index: usize,
    },
    /// A constant that gives an attribute, of the wrong type or number of elements.
    #[error("the {what}, tensor {index}, is {element} of shape {shape}")]
    AttributeTensor {
        /// What the input means.
        what: &'static str,
        /// Index of the tensor.
        index: usize,
        /// Its element type.
        element: ElementType,
        /// Its shape.
        shape: Shape,
    },
    /// Inputs and attributes that do not fit together.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The output has another shape than inputs and attributes imply.
    #[error("the output has shape {found}, inputs and attributes imply {want}")]
    OutputShape {
        /// The shape implied.
        want: Shape,
        /// The shape given.
        found: Shape,
    },
    /// A tensor that is read before, or in, the node that writes it.
    #[error("tensor {index} is used before node {producer} writes it")]
    UsedTooEarly {
        /// Index of the tensor.
        index: usize,
        /// Index of the node that writes it.
        producer: usize,
    },
    /// A tensor that nothing gives a value.
    #[error("tensor {index} is used but nothing produces it")]
    NeverProduced {
        /// Index of the tensor.
        index: usize,
    },
    /// A node that writes what already has a value.
    #[error("tensor {index} is written but is {already}")]
    Overwritten {
        /// Index of the tensor.
        index: usize,
        /// What gave it its value.
        already: &'static str,
    },
    /// A graph input that is a constant.
    #[error("the graph input, tensor {index}, is a constant")]
    InputIsConstant {
        /// Index of the tensor.
        index: usize,
    },
    /// A graph input that is listed twice.
    #[error("the graph input, tensor {index}, is listed twice")]
    RepeatedInput {
        /// Index of the tensor.
        index: usize,
    },
    /// Two tensors with the same name.
    #[error("the name is also that of tensor {other}")]
    RepeatedName {
        /// Index of the other tensor.
        other: usize,
    },
}

impl Rule {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Identifier { .. } => "is this a TFLite model?",
            Self::Corrupt { .. } | Self::BufferIndex { .. } | Self::TensorIndex { .. } | Self::OperatorCode { .. } => {
                "the file is incomplete or changed; get or convert it again"
            }
            Self::Protobuf { .. } => "is this an ONNX model, and complete?",
            Self::OperatorSet { .. } => "convert the model to an operator set in this range",
            Self::SymbolicDimension { .. } => "bind it to a number with `--dim NAME=NUMBER`, or export static shapes",
            Self::Undefined { .. } => "nodes must be listed in the order of execution, without cycles",
            Self::DefinedTwice { .. } => "a value is defined once",
            Self::UnknownAttribute { .. } => "export the model without it, or for an older operator set",
            Self::TextAttribute { .. } => "the operator is supported with other values",
            Self::OperandType { .. } | Self::OperandTypes { .. } => {
                "export the model in float32, or quantized to 8 or 16 bits"
            }
            Self::OtherQuantization { .. } => "quantize the tensor anew before it is read so",
            Self::NotFinite { .. } => "train or export the model again: weights must be finite",
            Self::ExternalFile { .. } => "data files belong into the folder of the model",
            Self::Version { .. } => "convert the model with a current converter",
            Self::Subgraphs { .. } => {
                "control flow and several signatures are not supported; convert a single function"
            }
            Self::Size { .. } => "entries of the file share their parts; no converter writes that",
            Self::NoInputs | Self::NoOutputs => "a network needs at least one of each",
            Self::ElementType { .. } => "supported are bool, integers of 8 to 64 bits and floats of 16 to 64 bits",
            Self::Dimension { .. } => "shapes must be static; convert with a fixed input shape and batch 1",
            Self::Shape(_) => "limits of this tool",
            Self::ExternalData => "store the weights in the model itself, below 2 GiB",
            Self::DataSize { .. } => "the data must fit the shape and type exactly",
            Self::Variable => "convert the model without state",
            Self::OptionalInput { .. } => "supported are layers of four gates, each with weights and a bias",
            Self::StateType { .. } | Self::StateZero { .. } | Self::HiddenState => {
                "quantize with the 16-bit cell state of the int8 and int16x8 kernels"
            }
            Self::Sparse => "convert the model with dense weights",
            Self::QuantizationDetails { .. } => "quantize per tensor or per channel",
            Self::Scale { .. } => "scales must be finite and above zero",
            Self::ZeroPoint { .. } => "zero points must lie in the range of the element type",
            Self::ZeroPointCount { .. } => "give one zero point per scale, or none for zero",
            Self::ChannelAxis { .. } | Self::ChannelCount { .. } | Self::WeightAxis { .. } => {
                "give one scale per output channel, or one for the tensor"
            }
            Self::UnsupportedOperator { .. } => "`cnnip operators` lists those that are",
            Self::Options { .. } => "the attributes belong to another operator",
            Self::CustomOptions => "the file is damaged, or this is another operator of the same name",
            Self::Attribute { .. } | Self::FloatAttribute { .. } => "the value is outside what the operator defines",
            Self::InputCount { .. } | Self::OutputCount { .. } => "the operator takes another number of tensors",
            Self::NotConstant { .. } => "it must be known at compile time; convert with static shapes",
            Self::AttributeTensor { .. } => "expected a short int32 or int64 list, or one value of the input's type",
            Self::Infer(_) | Self::OutputShape { .. } => "shapes must follow from the inputs and attributes",
            Self::UsedTooEarly { .. } => "nodes must be listed in the order of execution, without cycles",
            Self::NeverProduced { .. } => "make it a graph input, a constant or a node's output",
            Self::Overwritten { .. } => "a tensor gets its value once",
            Self::InputIsConstant { .. } | Self::RepeatedInput { .. } => {
                "list each tensor that the application provides once"
            }
            Self::RepeatedName { .. } => "names must be unique",
        }
    }
}

/// One finding: where, which rule with which value, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// The rule broken and the offending value.
    pub rule: Rule,
}

/// As `place: rule and value (hint)`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.rule, self.rule.hint())
    }
}

impl std::error::Error for Problem {}

/// All problems of a model, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problems {
    list: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// Notes that `rule` is broken at `place`. From the [`MAX_PROBLEMS`]th on they are only counted.
    pub fn push(&mut self, place: Place, rule: impl Into<Rule>) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(Problem { place, rule: rule.into() });
        } else {
            self.more += 1;
        }
    }

    /// The problems kept.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Problems found but not kept.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// `value` if nothing is wrong, else the problems.
    ///
    /// # Errors
    /// The problems themselves.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

/// One problem per line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_place_rule_value_and_hint() {
        let place = Place::node(2, "conv1", "CONV_2D");
        let problem = Problem { place, rule: Rule::Attribute { name: "stride_h", value: 0 } };
        assert_eq!(
            problem.to_string(),
            "node 2, CONV_2D (conv1): stride_h is 0 (the value is outside what the operator defines)"
        );
        let rule = Rule::ZeroPoint { channel: 0, value: 200, element: ElementType::I8 };
        assert_eq!(rule.to_string(), "zero point 200 of channel 0 does not fit int8");
    }

    #[test]
    fn a_flood_of_problems_is_counted_not_kept() {
        let mut problems = Problems::default();
        for _ in 0..MAX_PROBLEMS + 5 {
            problems.push(Place::Model, Rule::NoInputs);
        }
        assert_eq!((problems.list().len(), problems.more()), (MAX_PROBLEMS, 5));
        assert!(problems.to_string().ends_with("\nand 5 more"));
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        assert_eq!(quote("a\nb"), "a?b");
        assert_eq!(quote(&"x".repeat(1000)).chars().count(), MAX_QUOTE + 1);
    }
}
