//! Pieces of source lines that know where they are.

use super::diagnostic::Diagnostic;

/// One line of the source, with its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) text: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn whole(self) -> Piece<'a> {
        Piece { line: self, start: 0, text: self.text }
    }

    /// The line without its comment.
    pub(super) fn code(self) -> Piece<'a> {
        let whole = self.whole();
        whole.split_once(';').map_or(whole.trim(), |(code, _)| code)
    }
}

/// A part of a line, without blanks around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    line: Line<'a>,
    /// Offset in bytes within the line.
    start: usize,
    text: &'a str,
}

impl<'a> Piece<'a> {
    pub(super) fn text(self) -> &'a str {
        self.text
    }

    pub(super) fn line_number(self) -> usize {
        self.line.number
    }

    fn trim(self) -> Self {
        let text = self.text.trim_start();
        let start = self.start + self.text.len() - text.len();
        Self { start, text: text.trim_end(), ..self }
    }

    /// The parts before and after the first `separator`.
    pub(super) fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_once(separator)?;
        let start = self.start + self.text.len() - after.len();
        Some((Self { text: before, ..self }.trim(), Self { start, text: after, ..self }.trim()))
    }

    /// The first word and what follows it.
    pub(super) fn first_word(self) -> (Self, Self) {
        let length = self.text.find(char::is_whitespace).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(length);
        (Self { text: word, ..self }, Self { start: self.start + length, text: rest, ..self }.trim())
    }

    /// The parts between blanks.
    pub(super) fn words(self) -> impl Iterator<Item = Self> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let (word, after) = rest.first_word();
            rest = after;
            (!word.text.is_empty()).then_some(word)
        })
    }

    /// The parts between separators; none if there is nothing at all.
    pub(super) fn split(self, separator: char) -> impl Iterator<Item = Self> {
        let mut rest = (!self.text.is_empty()).then_some(self);
        std::iter::from_fn(move || {
            let piece = rest?;
            let (part, after) = piece.split_once(separator).map_or((piece, None), |(part, after)| (part, Some(after)));
            rest = after;
            Some(part)
        })
    }

    /// What is wrong here.
    pub(super) fn problem(self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::in_line(self.line, self.start, self.text, message.into())
    }
}
