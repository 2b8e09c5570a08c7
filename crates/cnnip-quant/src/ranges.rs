//! Ranges of activations: what calibration finds, and what a person may edit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Smallest and largest value that a tensor is to represent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
}

impl Range {
    /// The smallest range that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// The range with zero in it: integers must represent zero exactly, as padding and sparse activations are full of it.
    #[must_use]
    pub fn with_zero(self) -> Self {
        Self { min: self.min.min(0.0), max: self.max.max(0.0) }
    }

    /// Largest magnitude.
    pub fn magnitude(self) -> f32 {
        self.max.max(-self.min)
    }

    fn is_usable(self) -> bool {
        self.min.is_finite() && self.max.is_finite() && self.min <= self.max
    }
}

/// A range per tensor, by the tensor's name.
///
/// The JSON form is `{"ranges": {"NAME": {"min": -1.5, "max": 2.0}, ...}}`.
///
/// ```
/// use cnnip_quant::{Range, Ranges};
///
/// let ranges = Ranges::from_json(r#"{"ranges": {"image": {"min": 0.0, "max": 1.0}}}"#)?;
/// assert_eq!(ranges.get("image"), Some(Range { min: 0.0, max: 1.0 }));
/// assert_eq!(Ranges::from_json(&ranges.to_json())?, ranges);
/// # Ok::<(), cnnip_quant::RangesError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    ranges: BTreeMap<String, Range>,
}

/// Why a text is no table of ranges.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// Not JSON, or not of the form.
    #[error("not a table of ranges: {0}")]
    Form(#[from] serde_json::Error),
    /// A range that is none.
    #[error("the range of `{name}`, {min} to {max}, is not two finite numbers in order")]
    Range {
        /// The tensor.
        name: String,
        /// Its smallest value.
        min: f32,
        /// Its largest value.
        max: f32,
    },
}

impl Ranges {
    /// The range of a tensor.
    pub fn get(&self, name: &str) -> Option<Range> {
        self.ranges.get(name).copied()
    }

    /// Sets the range of a tensor.
    pub fn set(&mut self, name: impl Into<String>, range: Range) {
        self.ranges.insert(name.into(), range);
    }

    /// Takes every range of `other`, over those that are here.
    pub fn update(&mut self, other: Self) {
        self.ranges.extend(other.ranges);
    }

    /// All ranges, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Range)> {
        self.ranges.iter().map(|(name, &range)| (name.as_str(), range))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether no tensor has a range.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The table as JSON, a tensor per line.
    pub fn to_json(&self) -> String {
        let line = |(name, range): (&String, &Range)| {
            let name = serde_json::Value::from(name.as_str());
            format!("    {name}: {{\"min\": {:?}, \"max\": {:?}}}", range.min, range.max)
        };
        let lines: Vec<String> = self.ranges.iter().map(line).collect();
        format!("{{\n  \"ranges\": {{\n{}\n  }}\n}}\n", lines.join(",\n"))
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// Text of another form, or a range whose ends are not finite or not in order.
    pub fn from_json(text: &str) -> Result<Self, RangesError> {
        let read: Self = serde_json::from_str(text)?;
        match read.ranges.iter().find(|(_, range)| !range.is_usable()) {
            Some((name, &Range { min, max })) => Err(RangesError::Range { name: name.clone(), min, max }),
            None => Ok(read),
        }
    }
}

impl FromIterator<(String, Range)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (String, Range)>>(ranges: I) -> Self {
        Self { ranges: ranges.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_tables_are_refused() {
        assert!(matches!(Ranges::from_json("{"), Err(RangesError::Form(_))));
        let turned = r#"{"ranges": {"x": {"min": 1.0, "max": 0.0}}}"#;
        assert!(matches!(Ranges::from_json(turned), Err(RangesError::Range { .. })));
        assert!(Ranges::from_json(r#"{"ranges": {"x": {"min": 0, "max": 1, "scale": 2}}}"#).is_err());
    }

    #[test]
    fn names_are_escaped() {
        let mut ranges = Ranges::default();
        ranges.set("a\"b\\\n", Range { min: -0.1, max: 1e-30 });
        ranges.set("b", Range { min: -3.0, max: 3e38 });
        assert_eq!(Ranges::from_json(&ranges.to_json()).unwrap(), ranges);
    }
}
