//! What is wrong with a line, shown as a compiler shows it.

use super::source::Line;
use std::fmt;

/// Characters of the line shown before and after the place.
const AROUND: usize = 60;

/// One thing that is wrong with assembly text: place, rule, and perhaps a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Number of the line, as it was given.
    pub line: usize,
    /// Number of the first wrong character in the line, from 1.
    pub column: usize,
    /// How many characters are wrong; 0 if something is missing.
    pub length: usize,
    /// The rule, with the offending text.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line, or the part of a long one that is around the place.
    excerpt: String,
    /// Characters of the excerpt before the place.
    before: usize,
}

impl Diagnostic {
    /// `start` is the offset in bytes of `text` in the line.
    pub(super) fn new(line: Line<'_>, start: usize, text: &str, message: String) -> Self {
        let column = line.text.get(..start).map_or(0, |before| before.chars().count());
        let skipped = column.saturating_sub(AROUND);
        // Tabs would move the place.
        let shown = line.text.chars().skip(skipped).take(2 * AROUND);
        Self {
            line: line.number,
            column: column + 1,
            length: text.chars().count(),
            message,
            hint: None,
            excerpt: shown.map(|letter| if letter.is_control() { ' ' } else { letter }).collect(),
            before: column - skipped,
        }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let marks = self.length.clamp(1, AROUND);
        writeln!(f, "line {number}, column {}: {}", self.column, self.message)?;
        writeln!(f, "  {number} | {}", self.excerpt.trim_end())?;
        write!(f, "  {:margin$} | {:before$}{:^>marks$}", "", "", "", margin = number.len(), before = self.before)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}
