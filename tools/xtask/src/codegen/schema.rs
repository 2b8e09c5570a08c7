//! What the files of `isa-spec/` may hold. Unknown keys are errors.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole specification.
pub(crate) struct Spec {
    pub(crate) version: Version,
    pub(crate) types: Types,
    pub(crate) faults: Faults,
    pub(crate) commands: Commands,
    pub(crate) operations: Operations,
    pub(crate) cnn: RegisterFile,
    pub(crate) dma: RegisterFile,
    pub(crate) host: HostWindow,
    pub(crate) target_keys: TargetKeys,
    /// The target files with their names, in the order of their ids.
    pub(crate) targets: Vec<(String, Target)>,
}

impl Spec {
    pub(crate) fn registers(&self, engine: Engine) -> &RegisterFile {
        match engine {
            Engine::Cnn => &self.cnn,
            Engine::Dma => &self.dma,
        }
    }

    pub(crate) fn enumeration(&self, name: &str) -> Option<&Enumeration> {
        self.types.enumerations.iter().find(|one| one.name == name)
    }
}

/// `version.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version {
    pub(crate) major: u16,
    pub(crate) minor: u16,
}

/// `types.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Types {
    #[serde(rename = "enum")]
    pub(crate) enumerations: Vec<Enumeration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enumeration {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) values: Vec<EnumValue>,
    /// Values kept for later; they are illegal now.
    #[serde(default)]
    pub(crate) reserved: Vec<EnumValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnumValue {
    pub(crate) name: String,
    pub(crate) value: u32,
    /// Bytes of one element; only in element types.
    pub(crate) bytes: Option<usize>,
    pub(crate) doc: String,
}

/// `faults.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Faults {
    #[serde(rename = "fault")]
    pub(crate) faults: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) code: u32,
    pub(crate) summary: String,
}

/// `commands.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Commands {
    #[serde(rename = "command")]
    pub(crate) commands: Vec<Command>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) opcode: u8,
    pub(crate) summary: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) payload: Option<String>,
    pub(crate) faults: Vec<String>,
    pub(crate) basis: String,
}

/// Some bits of a command or register.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) bits: Bits,
    #[serde(rename = "enum")]
    pub(crate) enumeration: Option<String>,
    min: Option<u32>,
    max: Option<u32>,
    pub(crate) doc: String,
}

impl Field {
    /// Smallest legal value.
    pub(crate) fn min(&self) -> u32 {
        self.min.unwrap_or(0)
    }

    /// Largest legal value.
    pub(crate) fn max(&self) -> u32 {
        self.max.unwrap_or(self.bits.largest())
    }
}

/// A range of bits, written `HIGH:LOW` or `BIT`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Bits {
    pub(crate) high: u32,
    pub(crate) low: u32,
}

impl Bits {
    pub(crate) fn width(self) -> u32 {
        self.high - self.low + 1
    }

    pub(crate) fn largest(self) -> u32 {
        u32::MAX >> (32 - self.width())
    }

    pub(crate) fn mask(self) -> u32 {
        self.largest() << self.low
    }
}

impl TryFrom<String> for Bits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (high, low) = text.split_once(':').unwrap_or((&text, &text));
        let parsed = high.parse().ok().zip(low.parse().ok());
        match parsed {
            Some((high, low)) if low <= high && high < 32 => Ok(Self { high, low }),
            _ => Err(format!("bits `{text}` are not `HIGH:LOW` or `BIT` within 31:0")),
        }
    }
}

impl std::fmt::Display for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.high == self.low { write!(f, "{}", self.low) } else { write!(f, "{}:{}", self.high, self.low) }
    }
}

/// `operations.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operations {
    #[serde(rename = "operation")]
    pub(crate) operations: Vec<Operation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) engine: Engine,
    pub(crate) code: u8,
    pub(crate) summary: String,
    pub(crate) registers: Vec<String>,
    pub(crate) reads: Vec<String>,
    pub(crate) writes: Vec<String>,
    pub(crate) status: Status,
    pub(crate) basis: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Cnn,
    Dma,
}

impl Engine {
    pub(crate) const ALL: [Self; 2] = [Self::Cnn, Self::Dma];

    /// The name in the files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Dma => "dma",
        }
    }

    /// The name in Rust.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Cnn => "Cnn",
            Self::Dma => "Dma",
        }
    }
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Built,
    Later,
}

/// `registers/cnn.toml`, `registers/dma.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterFile {
    pub(crate) engine: Engine,
    #[serde(rename = "register")]
    pub(crate) registers: Vec<Register>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    pub(crate) index: u8,
    pub(crate) name: String,
    /// How a register without fields is read.
    pub(crate) kind: Option<Kind>,
    #[serde(default)]
    pub(crate) fields: Vec<Field>,
    pub(crate) doc: String,
}

impl Register {
    /// Bits that may be set.
    pub(crate) fn mask(&self) -> u32 {
        if self.fields.is_empty() { u32::MAX } else { mask(&self.fields) }
    }
}

/// Bits that the fields name.
pub(crate) fn mask(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |mask, field| mask | field.bits.mask())
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Unsigned,
    Signed,
    Bits,
}

/// `registers/host.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostWindow {
    pub(crate) stride: u32,
    #[serde(rename = "register")]
    pub(crate) registers: Vec<HostRegister>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostRegister {
    pub(crate) offset: u32,
    pub(crate) name: String,
    pub(crate) access: Access,
    #[serde(default = "one")]
    pub(crate) count: u32,
    /// The type that the fields, one bit each, make in code.
    pub(crate) flags: Option<String>,
    #[serde(default)]
    pub(crate) fields: Vec<Field>,
    /// The register whose fields these are.
    pub(crate) fields_of: Option<String>,
    pub(crate) doc: String,
}

fn one() -> u32 {
    1
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    Read,
    Write,
    ReadWrite,
}

/// `targets.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetKeys {
    #[serde(rename = "value")]
    pub(crate) keys: Vec<TargetKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetKey {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) min: Option<u32>,
    pub(crate) max: Option<u32>,
}

/// `targets/*.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) id: u32,
    pub(crate) summary: String,
    pub(crate) values: BTreeMap<String, TargetValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetValue {
    pub(crate) value: u32,
    pub(crate) basis: String,
}
