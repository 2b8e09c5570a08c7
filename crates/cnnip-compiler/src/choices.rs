//! What planners are told to decide otherwise than by their own estimates. Results are the same with all choices; only time
//! and traffic differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Decisions by position in the network as the cores do it ([`Division::network`](crate::Division::network)); what is not named is
/// decided by estimates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    way: Option<usize>,
    layers: BTreeMap<usize, LayerChoice>,
    moved: BTreeSet<usize>,
}

/// How a layer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerChoice {
    /// Which of a convolution's plans is taken, in the order of their estimated cycles; beyond the last, the last.
    pub plan: usize,
    /// The layer takes one part of so many of the scratchpad that is free, so that loads of the next can begin in another.
    pub parts: NonZeroU32,
}

impl Default for LayerChoice {
    fn default() -> Self {
        Self { plan: 0, parts: NonZeroU32::MIN }
    }
}

/// One step from choices to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A layer takes another plan.
    Plan {
        /// Index of the layer.
        layer: usize,
        /// [`LayerChoice::plan`].
        plan: usize,
    },
    /// A layer takes another part of the scratchpad.
    Parts {
        /// Index of the layer.
        layer: usize,
        /// [`LayerChoice::parts`].
        parts: NonZeroU32,
    },
    /// A value goes through external memory although it might stay in the scratchpad.
    Moves {
        /// Index of the value.
        value: usize,
    },
    /// A value may stay in the scratchpad.
    MayStay {
        /// Index of the value.
        value: usize,
    },
}

impl Choices {
    /// Everything is decided by estimates.
    pub const fn new() -> Self {
        Self { way: None, layers: BTreeMap::new(), moved: BTreeSet::new() }
    }

    /// The same choices, and the cores do the network in one of the ways that the compiler has: 0 is that without sharing, beyond the
    /// last is the last.
    #[must_use]
    pub fn in_way(self, way: usize) -> Self {
        Self { way: Some(way), ..self }
    }

    /// The way in which the cores do the network; without one, that which takes fewest cycles.
    pub const fn way(&self) -> Option<usize> {
        self.way
    }

    /// How a layer is cut.
    pub fn layer(&self, layer: usize) -> LayerChoice {
        self.layers.get(&layer).copied().unwrap_or_default()
    }

    /// Whether a value may stay in the scratchpad between layers.
    pub fn may_stay(&self, value: usize) -> bool {
        !self.moved.contains(&value)
    }

    /// The same choices after a change.
    #[must_use]
    pub fn with(mut self, change: Change) -> Self {
        match change {
            Change::Plan { layer, plan } => self.layers.entry(layer).or_default().plan = plan,
            Change::Parts { layer, parts } => self.layers.entry(layer).or_default().parts = parts,
            Change::Moves { value } => {
                self.moved.insert(value);
            }
            Change::MayStay { value } => {
                self.moved.remove(&value);
            }
        }
        self
    }
}

/// As `layer 3 plan 2`, `layer 3 parts 4`, `value 7 moves`, `value 7 may-stay`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan { layer, plan } => write!(f, "layer {layer} plan {plan}"),
            Self::Parts { layer, parts } => write!(f, "layer {layer} parts {parts}"),
            Self::Moves { value } => write!(f, "value {value} moves"),
            Self::MayStay { value } => write!(f, "value {value} may-stay"),
        }
    }
}

/// A text that is no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a change of a plan")]
pub struct NoChange;

impl FromStr for Change {
    type Err = NoChange;

    fn from_str(text: &str) -> Result<Self, NoChange> {
        let number = |text: &str| text.parse().map_err(|_| NoChange);
        match *text.split(' ').collect::<Vec<_>>().as_slice() {
            ["layer", layer, "plan", plan] => Ok(Self::Plan { layer: number(layer)?, plan: number(plan)? }),
            ["layer", layer, "parts", parts] => {
                Ok(Self::Parts { layer: number(layer)?, parts: parts.parse().map_err(|_| NoChange)? })
            }
            ["value", value, "moves"] => Ok(Self::Moves { value: number(value)? }),
            ["value", value, "may-stay"] => Ok(Self::MayStay { value: number(value)? }),
            _ => Err(NoChange),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_are_written() {
        let parts = NonZeroU32::new(4).unwrap();
        let all = [
            Change::Plan { layer: 3, plan: 2 },
            Change::Parts { layer: 3, parts },
            Change::Moves { value: 7 },
            Change::MayStay { value: 7 },
        ];
        for change in all {
            assert_eq!(change.to_string().parse(), Ok(change));
        }
        for text in ["", "layer 3", "layer x plan 2", "layer 3 parts 0", "value 7 stays", "value -1 moves"] {
            assert_eq!(text.parse::<Change>(), Err(NoChange), "{text}");
        }
    }

    #[test]
    fn a_change_replaces_what_was_chosen_before() {
        let moved = Choices::new().with(Change::Moves { value: 1 }).with(Change::Plan { layer: 2, plan: 5 });
        assert!(!moved.may_stay(1) && moved.may_stay(2));
        assert_eq!((moved.layer(2).plan, moved.layer(1)), (5, LayerChoice::default()));
        assert!(moved.with(Change::MayStay { value: 1 }).may_stay(1));
    }
}
