//! Where in a text something is wrong.

pub use cnnip_isa::asm::Diagnostic;

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
        Diagnostic::new(self.line, self.column, self.length, message)
    }
}
