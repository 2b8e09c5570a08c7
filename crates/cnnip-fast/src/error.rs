//! What keeps a network from running.

use cnnip_float::FloatError;

/// A network, a name or an input that does not fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FastError {
    /// The engine does not run the network, or not on these inputs.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// No tensor of this name or position.
    #[error("there is no {what} `{key}`, only {}", known.join(", "))]
    Unknown {
        /// Input, output or tensor.
        what: &'static str,
        /// The name, or the position in decimal.
        key: String,
        /// Names that there are.
        known: Vec<String>,
    },
    /// An input that nothing has been bound to.
    #[error("input `{name}` has not been bound")]
    Unbound {
        /// Its name.
        name: String,
    },
    /// An integer that the tensor's type cannot hold.
    #[error("element {index} of input `{name}` is {value}, outside {least} to {greatest}")]
    Range {
        /// Name of the tensor.
        name: String,
        /// Position of the element.
        index: usize,
        /// Its value.
        value: i64,
        /// Least value of the type.
        least: i64,
        /// Greatest value of the type.
        greatest: i64,
    },
}
