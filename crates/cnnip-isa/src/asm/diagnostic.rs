//! What is wrong with a text, shown as a compiler shows it.

use std::fmt;

use super::source::Line;

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
    /// The line, or the part of a long one around the place.
    excerpt: String,
}

impl Diagnostic {
    /// A problem with `length` characters from `column` on in a line that [`quoting`](Self::quoting) may add.
    #[must_use]
    pub fn new(line: usize, column: usize, length: usize, message: impl Into<String>) -> Self {
        Self { line, column, length, message: message.into(), hint: None, excerpt: String::new() }
    }

    /// A problem with `text`, which begins `start` bytes into `line`.
    pub(super) fn in_line(line: Line<'_>, start: usize, text: &str, message: String) -> Self {
        let column = line.text.get(..start).map_or(0, |before| before.chars().count());
        Self::new(line.number, column + 1, text.chars().count(), message).quoting(line.text)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// Adds the line it is about.
    #[must_use]
    pub fn quoting(self, line: &str) -> Self {
        // Control characters, tabs above all, would move the place.
        let shown = line.chars().skip(self.skipped()).take(2 * AROUND);
        Self { excerpt: shown.map(|letter| if letter.is_control() { ' ' } else { letter }).collect(), ..self }
    }

    /// Characters of the line before the excerpt.
    fn skipped(&self) -> usize {
        self.column.saturating_sub(1 + AROUND)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let (margin, marks) = (number.len(), self.length.clamp(1, AROUND));
        let before = self.column.saturating_sub(1 + self.skipped());
        writeln!(f, "line {number}, column {}: {}", self.column, self.message)?;
        writeln!(f, "  {number} | {}", self.excerpt.trim_end())?;
        write!(f, "  {:margin$} | {:before$}{:^>marks$}", "", "", "")?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}
