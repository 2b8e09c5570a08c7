//! What can go wrong, before and during a run.

use std::fmt::Display;

use cnnip_hostops::HostError;
use cnnip_lowered::Problem;
use cnnip_numerics::IllegalParameter;
use cnnip_numerics::accumulator::AccumulatorWidth;

/// A network that there can be no simulator of.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulatorError {
    /// What is wrong with the network.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
    /// All layers that cannot be simulated.
    #[error("{}", lines(.0))]
    Unsupported(Vec<Unsupported>),
    /// Threads that the system does not give.
    #[error("{threads} threads cannot be had: {why}")]
    Threads {
        /// Threads in all.
        threads: usize,
        /// What the system says.
        why: String,
    },
    /// More memory than allowed.
    #[error("{needed} bytes of tensors are alive together, {limit} are allowed")]
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

fn lines(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A layer that cannot be simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("layer {layer} `{name}`: {why}")]
pub struct Unsupported {
    /// Index of the layer.
    pub layer: usize,
    /// Its name.
    pub name: String,
    /// What is in the way.
    pub why: Why,
}

/// Why a layer cannot be simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// A kind of layer that there is no arithmetic for.
    #[error("there is no arithmetic for {what}")]
    Kind {
        /// The kind.
        what: &'static str,
    },
    /// Elements of a type that the layer does not take.
    #[error("{what} of `{tensor}` cannot be {found}")]
    Element {
        /// Which operand.
        what: &'static str,
        /// Its tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A number that the arithmetic does not allow.
    #[error(transparent)]
    Scale(#[from] IllegalParameter),
    /// A host step that cannot be done.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// An input that does not fit its tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A position beyond the inputs.
    #[error("there is no input {index}, there are {count}")]
    Index {
        /// The position.
        index: usize,
        /// How many inputs there are.
        count: usize,
    },
    /// Another number of bytes.
    #[error("input `{tensor}` takes {needed} bytes, {given} are given")]
    Bytes {
        /// Name of the tensor.
        tensor: String,
        /// Bytes it has.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
}

/// An accumulator that left its range: the machine's fault `AccumulatorOverflow`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer} `{name}`, element {element:?}: accumulator {value} does not fit {} bits", width.bits())]
pub struct Fault {
    /// Index of the layer.
    pub layer: usize,
    /// Its name.
    pub name: String,
    /// Index of the element in the layer's own axes: batch, row, column, channel of a convolution.
    pub element: Vec<u32>,
    /// The accumulator.
    pub value: i64,
    /// The range it had to fit.
    pub width: AccumulatorWidth,
}
