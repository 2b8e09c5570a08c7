//! What the caller decides.

use cnnip_isa::{RoundingMode, Target};

use crate::choices::Choices;
use crate::division::Axis;

/// How scaled accumulators are rounded; the table in `numerics.md` says which operator uses what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// As TensorFlow Lite Micro: two roundings.
    #[default]
    Double,
    /// One rounding of a 64-bit product.
    Single,
    /// Convolutions and fully connected layers scale in binary32, as XNNPACK does; all else as `Double`.
    Float,
    /// As `Float`, and the other operators of 8 bits as ONNX Runtime's kernels: `float` of an ONNX model.
    Onnx,
}

impl Rounding {
    /// Mode of convolutions, depthwise convolutions and fully connected layers.
    pub const fn of_products(self) -> RoundingMode {
        match self {
            Self::Double => RoundingMode::Double,
            Self::Single => RoundingMode::Single,
            Self::Float | Self::Onnx => RoundingMode::Float,
        }
    }

    /// Mode of all other scaled operators.
    pub const fn of_others(self) -> RoundingMode {
        match self {
            Self::Double | Self::Float | Self::Onnx => RoundingMode::Double,
            Self::Single => RoundingMode::Single,
        }
    }

    /// The name that `--rounding` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Single => "single",
            Self::Float | Self::Onnx => "float",
        }
    }
}

/// How the pixels of a picture become an input.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PixelRule {
    /// Pixel minus 128 for every int8 input that has the shape of a picture. This is right for the usual
    /// training with pixels in 0 to 1 or -1 to 1; a model cannot say that it wants something else.
    #[default]
    Auto,
    /// The byte as it stands, taken for an int8.
    Raw,
    /// `(pixel - mean) / std` for every float32, int8 or int16 input that has the shape of a picture; integers are quantized from that.
    Normalize {
        /// One per channel, or one for all.
        mean: Vec<f32>,
        /// One per channel, or one for all; none is 0.
        std: Vec<f32>,
    },
    /// No rule: the application gives tensors.
    None,
}

/// How weights are stored in external memory; results are the same with all. A piece of weights that would not get smaller
/// stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightCoding {
    /// As the machine's layout has them.
    #[default]
    Raw,
    /// Runs of zero bytes in two.
    ZeroRun,
    /// Indices into the distinct kernels, where they are few.
    Cluster,
    /// Without the blocks of 64 bytes that are all zero point: these cost no cycles either.
    Sparse,
    /// Whatever of these is smallest, piece by piece.
    Smallest,
}

/// When several cores share a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Where fewer cycles are estimated than for one core.
    #[default]
    Faster,
    /// Wherever it is possible, along this axis where that is: to try it out.
    Always(Axis),
}

/// What the caller decides about a compilation.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Machine to compile for.
    pub target: &'static Target,
    /// Cores that share the network, at most as many as the target has.
    pub cores: u32,
    /// When they do.
    pub sharing: Sharing,
    /// Rounding profile.
    pub rounding: Rounding,
    /// Names of tensors that are still to be there when a job has ended.
    pub keep: Vec<String>,
    /// Values stay in the scratchpad between layers where that moves fewer bytes; otherwise all go through external memory.
    pub chain: bool,
    /// How weights are stored.
    pub weights: WeightCoding,
    /// Rule for pictures.
    pub pixels: PixelRule,
    /// Further provenance, such as the model file's hash; keys must be unique.
    pub provenance: Vec<(String, String)>,
    /// Keep the lowered network in the package.
    pub lowered: bool,
    /// What planners are told to decide otherwise than by their own estimates; [`Tuner`](crate::Tuner) finds such choices.
    pub choices: Choices,
}

impl Options {
    /// The defaults for a target.
    pub const fn new(target: &'static Target) -> Self {
        Self {
            target,
            cores: 1,
            sharing: Sharing::Faster,
            rounding: Rounding::Double,
            keep: Vec::new(),
            chain: true,
            weights: WeightCoding::Raw,
            pixels: PixelRule::Auto,
            provenance: Vec::new(),
            lowered: true,
            choices: Choices::new(),
        }
    }
}
