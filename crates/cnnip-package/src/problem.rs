//! What can be wrong with a package whose format is right.

use crate::{ElementType, EngineId, RegionKind};

/// Most problems that [`Package::check`](crate::Package::check) lists; the rest of a hopeless package is not worth reading.
pub const MAX_PROBLEMS: usize = 50;

/// Something in a package that breaks a rule of `isa-spec/package.md`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{item}: {defect} [{}]", defect.rule())]
pub struct Problem {
    /// The part of the package.
    pub item: Item,
    /// What is wrong with it.
    pub defect: Defect,
}

/// A part of a package, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its kind: `target`, `region`, `list`, `tensor`, `step`, ...
    pub kind: &'static str,
    /// Its index in the table of its kind; 0 where there is but one.
    pub index: usize,
    /// Its name, empty for kinds without names.
    pub name: String,
}

impl std::fmt::Display for Item {
    /// ``tensor `conv1` ``, or `step 3`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.is_empty() {
            write!(f, "{} {}", self.kind, self.index)
        } else {
            write!(f, "{} `{}`", self.kind, self.name)
        }
    }
}

/// A broken rule, with the offending value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// Made for a version of the machine that this crate does not know.
    #[error("specification version {} is not {}", version(*found), version(crate::SPEC_VERSION))]
    SpecVersion {
        /// The package's version.
        found: u32,
    },
    /// A target nobody knows.
    #[error("the target is unknown")]
    Target,
    /// An engine of a core that the target does not have.
    #[error("{engine} does not exist, the target has {cores} cores")]
    Core {
        /// The engine.
        engine: EngineId,
        /// Cores of the target.
        cores: u32,
    },
    /// A name that is empty or has control characters.
    #[error("the name is empty or has control characters")]
    Name,
    /// A name, key or number given twice.
    #[error("{what} is there already")]
    Duplicate {
        /// What is there twice.
        what: &'static str,
    },
    /// More regions than the device can name.
    #[error("{count} regions are more than {}", crate::MAX_REGIONS)]
    RegionCount {
        /// How many.
        count: usize,
    },
    /// More bytes than the device can address.
    #[error("{bytes} bytes are more than {}", crate::MAX_REGION_BYTES)]
    RegionBytes {
        /// How many.
        bytes: u64,
    },
    /// A constant region whose bytes are absent or have another length, or bytes of a region that is not constant.
    #[error("the region has {expected} constant bytes, {found} are given")]
    ConstantBytes {
        /// Length that the region declares, 0 if it is not constant.
        expected: u64,
        /// Length of the bytes.
        found: u64,
    },
    /// A number that stands for nothing.
    #[error("{what} {index} does not exist, there are {count}")]
    Reference {
        /// What the number is of.
        what: &'static str,
        /// The number.
        index: u32,
        /// How many there are.
        count: usize,
    },
    /// A dimension of size 0.
    #[error("dimension {dimension} is 0")]
    EmptyDimension {
        /// Which one, from 0.
        dimension: usize,
    },
    /// A view of a source tensor that names not every axis once.
    #[error("the axes of the source's tensor are not its own in some order")]
    Axes,
    /// A tensor or tile that leaves its region.
    #[error("bytes {start} to {end} leave the region's {bytes}")]
    OutsideRegion {
        /// First byte.
        start: u64,
        /// Byte behind the last; 2^64 - 1 if it is larger.
        end: u64,
        /// Bytes of the region.
        bytes: u64,
    },
    /// A scale that is not a positive number.
    #[error("scale {scale} is not finite and above 0")]
    Scale {
        /// The scale.
        scale: f64,
    },
    /// A zero point that the element type cannot hold.
    #[error("zero point {zero_point} is not a value of {element}")]
    ZeroPoint {
        /// The zero point.
        zero_point: i32,
        /// The element type.
        element: ElementType,
    },
    /// A token number above 127.
    #[error("token {token} does not exist, the last is {}", crate::TOKENS - 1)]
    Token {
        /// The number.
        token: u8,
    },
    /// A core-local token between two cores.
    #[error("a token below {} cannot join {signal} and {wait}", crate::FIRST_SYSTEM_TOKEN)]
    TokenScope {
        /// Who signals.
        signal: EngineId,
        /// Who waits.
        wait: EngineId,
    },
    /// A list without a command.
    #[error("the list is empty")]
    EmptyList,
    /// Two lists for one engine in a step.
    #[error("{engine} has two lists")]
    EngineTwice {
        /// The engine.
        engine: EngineId,
    },
    /// A step that does nothing.
    #[error("the step starts no list")]
    EmptyStep,
    /// A host operator with the wrong number of tensors.
    #[error("{operator} takes {inputs} inputs and {outputs} outputs")]
    Arity {
        /// The operator.
        operator: &'static str,
        /// Inputs it takes.
        inputs: usize,
        /// Outputs it takes.
        outputs: usize,
    },
    /// A host operator whose tensors do not fit it.
    #[error("{operator} needs {needs}")]
    OperatorTensors {
        /// The operator.
        operator: &'static str,
        /// What its tensors must be.
        needs: &'static str,
    },
    /// A number that must be finite, or not 0.
    #[error("{what} {value} is not usable")]
    Number {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: f32,
    },
    /// A tensor in a region of the wrong kind.
    #[error("the tensor is in {found:?} region, not in {expected:?} region")]
    RegionKind {
        /// Kind of its region.
        found: RegionKind,
        /// Kind that it must have.
        expected: RegionKind,
    },
    /// Preprocessing that does not make this tensor.
    #[error("a picture does not become the tensor: {why}")]
    Preprocess {
        /// What does not fit.
        why: &'static str,
    },
    /// A tile whose box, strides or command do not fit.
    #[error("the tile does not fit: {why}")]
    Tile {
        /// What does not fit.
        why: &'static str,
    },
}

/// `major.minor`.
pub(crate) fn version(version: u32) -> String {
    format!("{}.{}", version >> 16, version & 0xffff)
}

impl Defect {
    /// Name of the rule in `isa-spec/package.md`.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::SpecVersion { .. } => "spec-version",
            Self::Target => "target",
            Self::Core { .. } => "core",
            Self::Name => "name",
            Self::Duplicate { .. } => "duplicate",
            Self::RegionCount { .. } => "region-count",
            Self::RegionBytes { .. } => "region-bytes",
            Self::ConstantBytes { .. } => "constant-bytes",
            Self::Reference { .. } => "reference",
            Self::EmptyDimension { .. } => "empty-dimension",
            Self::Axes => "axes",
            Self::OutsideRegion { .. } => "outside-region",
            Self::Scale { .. } => "scale",
            Self::ZeroPoint { .. } => "zero-point",
            Self::Token { .. } => "token",
            Self::TokenScope { .. } => "token-scope",
            Self::EmptyList => "empty-list",
            Self::EngineTwice { .. } => "engine-twice",
            Self::EmptyStep => "empty-step",
            Self::Arity { .. } => "arity",
            Self::OperatorTensors { .. } => "operator-tensors",
            Self::Number { .. } => "number",
            Self::RegionKind { .. } => "region-kind",
            Self::Preprocess { .. } => "preprocess",
            Self::Tile { .. } => "tile",
        }
    }

    /// What the reader of the message can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::SpecVersion { .. } => "compile the model again with these tools",
            Self::Target | Self::Core { .. } => "the targets are in isa-spec/targets",
            Self::Name | Self::Duplicate { .. } => "give every item of a kind a name or number of its own",
            Self::RegionCount { .. } => "put several tensors into one region",
            Self::RegionBytes { .. } => "split the region",
            Self::ConstantBytes { .. } => "a constant region is as long as its bytes, other regions have none",
            Self::Reference { .. } => "numbers count from 0, in the order of the table",
            Self::EmptyDimension { .. } => "leave tensors without elements out",
            Self::Axes => "list every axis of the tensor once, from 0",
            Self::OutsideRegion { .. } => "enlarge the region or move the tensor",
            Self::Scale { .. } | Self::ZeroPoint { .. } => "leave the quantization out if the tensor has none",
            Self::Token { .. } | Self::TokenScope { .. } => "tokens 0 to 63 stay in one core, 64 to 127 join cores",
            Self::EmptyList => "end every list with END",
            Self::EngineTwice { .. } => "join the lists or make two steps of them",
            Self::EmptyStep => "name the lists to start, or leave the step out",
            Self::Arity { .. } | Self::OperatorTensors { .. } | Self::Number { .. } => {
                "the host operators are described in isa-spec/package.md"
            }
            Self::RegionKind { .. } => "inputs are in input regions, outputs in output regions",
            Self::Preprocess { .. } => "describe the picture as the model takes it, or leave the preprocessing out",
            Self::Tile { .. } => "the tile map is described in isa-spec/package.md",
        }
    }
}
