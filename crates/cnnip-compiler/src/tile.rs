//! Plans: how a layer is cut so that each piece fits the scratchpad and the limits of the target.

pub(crate) mod boxes;
pub(crate) mod conv;
pub(crate) mod taps;
