//! What can keep a model from being compiled.

use std::fmt;

use cnnip_graph::{ElementType, Place, Shape};
use cnnip_numerics::quantize::QuantizeError;

/// All problems of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileErrors {
    problems: Vec<Problem>,
}

impl CompileErrors {
    pub(crate) fn one(place: Place, rule: Rule) -> Self {
        Self { problems: vec![Problem { place, rule }] }
    }

    /// `Err` with the problems, if there are any.
    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// The problems of a graph that is not well-formed.
    pub(crate) fn of_graph(problems: &cnnip_graph::Problems) -> Self {
        let problem =
            |found: &cnnip_graph::Problem| Problem { place: found.place.clone(), rule: found.rule.clone().into() };
        Self { problems: problems.list().iter().map(problem).collect() }
    }

    /// The problems, in the order of the model; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for CompileErrors {}

/// One line per problem, and one per hint.
impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// One problem: where, and which rule with the offending value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {rule}\n  hint: {}", rule.hint())]
pub struct Problem {
    /// Node or tensor.
    pub place: Place,
    /// The rule it breaks.
    pub rule: Rule,
}

/// A rule that the compiler needs a model to keep.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// The graph is not well-formed.
    #[error(transparent)]
    Graph(#[from] cnnip_graph::Rule),
    /// An element type the operator cannot have on this machine.
    #[error("the {what} `{tensor}` is {found}, not {want}")]
    Element {
        /// Which operand.
        what: &'static str,
        /// Its name.
        tensor: String,
        /// Its type.
        found: ElementType,
        /// Types that would do.
        want: &'static str,
    },
    /// A quantized tensor without scale and zero point.
    #[error("the {what} `{tensor}` has no scale and zero point")]
    NoQuantization {
        /// Which operand.
        what: &'static str,
        /// Its name.
        tensor: String,
    },
    /// An activation quantized per channel.
    #[error("the activation `{tensor}` has {scales} scales, not 1")]
    PerChannelActivation {
        /// Its name.
        tensor: String,
        /// Number of scales.
        scales: usize,
    },
    /// A 16-bit activation with a zero point.
    #[error("the {what} `{tensor}` is int16 with zero point {zero_point}, not 0")]
    NotSymmetric {
        /// Which operand.
        what: &'static str,
        /// Its name.
        tensor: String,
        /// Its zero point.
        zero_point: i32,
    },
    /// Weights or a bias that are computed by the network.
    #[error("the {what} `{tensor}` is not a constant")]
    NotConstant {
        /// Which operand.
        what: &'static str,
        /// Its name.
        tensor: String,
    },
    /// Weights with a zero point where the operator has none.
    #[error("weight zero point {value} of channel {channel} is not 0")]
    WeightZero {
        /// Channel, or 0.
        channel: usize,
        /// The zero point.
        value: i64,
    },
    /// Input and output of a pool must be quantized alike.
    #[error("input scale {input} zero point {input_zero} differs from output scale {output} zero point {output_zero}")]
    DifferentQuantization {
        /// Scale of the input.
        input: f32,
        /// Zero point of the input.
        input_zero: i32,
        /// Scale of the output.
        output: f32,
        /// Zero point of the output.
        output_zero: i32,
    },
    /// Scales that no multiplier can be made of.
    #[error("{0}")]
    Scale(#[from] QuantizeError),
    /// A ratio of scales outside what the operator's arithmetic takes.
    #[error("the ratio of scales {ratio:e} is outside {least:e} to {most:e}")]
    ScaleRatio {
        /// The ratio.
        ratio: f64,
        /// Smallest allowed.
        least: f64,
        /// Largest allowed.
        most: f64,
    },
    /// A softmax output must have the scale 1/256 and zero point -128.
    #[error("the output's scale {scale} and zero point {zero_point} are not 1/256 and -128")]
    SoftmaxOutput {
        /// The scale.
        scale: f32,
        /// The zero point.
        zero_point: i32,
    },
    /// The cell state of a recurrent layer has another scale than the integer kernels take.
    #[error("the cell state's scale {scale} is no power of two")]
    CellScale {
        /// The scale.
        scale: f32,
    },
    /// A pooling window without any position inside the input.
    #[error("the pooling window of output {output} lies outside the input of extent {input}")]
    EmptyWindow {
        /// Output row or column.
        output: u32,
        /// Extent of the input.
        input: u32,
    },
    /// The operator has no program for this machine.
    #[error("operator {operator} is not supported on tensors of shape {shape}")]
    Unsupported {
        /// Its name.
        operator: &'static str,
        /// Shape of its first input.
        shape: Shape,
    },
    /// A padding value that the element type cannot hold.
    #[error("the padding value {value} does not fit the tensor's type")]
    PadValue {
        /// The value.
        value: i64,
    },
    /// Even the smallest piece does not fit the scratchpad.
    #[error("the smallest piece needs {bytes} bytes of scratchpad, {target} has {sram}")]
    Scratchpad {
        /// Bytes needed.
        bytes: u64,
        /// Name of the target.
        target: &'static str,
        /// Bytes there are.
        sram: u32,
    },
    /// External memory that 32-bit addresses cannot reach.
    #[error("the {what} need {bytes} bytes, more than 2^32")]
    Region {
        /// What they hold.
        what: &'static str,
        /// Bytes needed.
        bytes: u64,
    },
    /// More of something than a list or the package can number.
    #[error("{found} {what}, more than {most}")]
    TooMany {
        /// What.
        what: &'static str,
        /// Number found.
        found: usize,
        /// Largest number.
        most: usize,
    },
    /// More cores than the target has, or none.
    #[error("{cores} cores asked for; {target} has {most}")]
    Cores {
        /// Cores asked for.
        cores: usize,
        /// Name of the target.
        target: &'static str,
        /// Cores that a program for it can have.
        most: usize,
    },
    /// A tensor to keep that the model does not have.
    #[error("the model has no tensor `{name}` to keep")]
    UnknownTensor {
        /// The name.
        name: String,
    },
    /// The compiler made a command that cannot be encoded, or a package that breaks a rule.
    #[error("internal error: {what}")]
    Internal {
        /// What is wrong.
        what: String,
    },
}

impl Rule {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Graph(rule) => rule.hint(),
            Self::Element { .. } => "quantize the whole model to int8, uint8 or int16 with int8 weights",
            Self::NoQuantization { .. } => "convert the model with full integer quantization",
            Self::NotSymmetric { .. } => "quantize int16 activations symmetrically",
            Self::PerChannelActivation { .. } => "only weights may have a scale per channel",
            Self::NotConstant { .. } => "freeze the model's variables before converting it",
            Self::WeightZero { .. } => "quantize weights symmetrically",
            Self::DifferentQuantization { .. } => {
                "give both tensors the same scale and zero point, or quantize in between"
            }
            Self::Scale(_) | Self::ScaleRatio { .. } => "calibrate again: a tensor's scale is not plausible",
            Self::SoftmaxOutput { .. } => "the integer softmax has this one output quantization",
            Self::CellScale { .. } => "quantize with the 16-bit cell state of the int8 and int16x8 kernels",
            Self::EmptyWindow { .. } => "use less padding than the window is wide",
            Self::Unsupported { .. } => "rewrite the operator with supported ones, or run it on the host",
            Self::PadValue { .. } => "give a value in the input's quantization",
            Self::Scratchpad { .. } => "choose a target with a larger scratchpad",
            Self::Region { .. } | Self::TooMany { .. } => "split the model into smaller ones",
            Self::Cores { .. } => "choose a target with as many cores, or fewer cores",
            Self::UnknownTensor { .. } => "`cnnip info` lists the names of the tensors",
            Self::Internal { .. } => "please report this with the model",
        }
    }
}
