//! What is wrong with a text, shown as a compiler shows it.

use std::fmt;

/// Characters of a line shown before and after the place.
const AROUND: usize = 60;

/// One thing that is wrong with the text of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Number of the line, from 1.
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

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

impl Span {
    /// From the first character of `self` to the last of `end`, in the same line.
    pub(super) fn to(self, end: Self) -> Self {
        Self { length: (end.column + end.length).saturating_sub(self.column), ..self }
    }

    pub(super) fn error(self, message: impl Into<String>) -> Diagnostic {
        let Self { line, column, length } = self;
        Diagnostic { line, column, length, message: message.into(), hint: None, excerpt: String::new() }
    }
}

impl Diagnostic {
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds the line it is about.
    pub(super) fn quoting(self, line: &str) -> Self {
        let shown = line.chars().skip(self.skipped()).take(2 * AROUND);
        Self { excerpt: shown.map(|letter| if letter.is_control() { ' ' } else { letter }).collect(), ..self }
    }

    /// Characters of the line before the excerpt.
    fn skipped(&self) -> usize {
        self.column.saturating_sub(1 + AROUND)
    }
}

impl From<cnnip_isa::asm::Diagnostic> for Diagnostic {
    fn from(found: cnnip_isa::asm::Diagnostic) -> Self {
        let span = Span { line: found.line, column: found.column, length: found.length };
        Self { hint: found.hint, ..span.error(found.message) }
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
