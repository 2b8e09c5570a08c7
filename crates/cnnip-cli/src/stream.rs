//! The streams of a program, and how it ends.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};

use clap::Parser;
use serde_json::Value;

use crate::error::Error;

/// Exit status: done.
pub(crate) const DONE: u8 = 0;
/// Exit status: bad usage or bad input.
pub(crate) const BAD_INPUT: u8 = 2;

/// A writer that remembers its first failure, so that those who write need not care.
pub(crate) struct Remembering<W> {
    out: W,
    failure: Option<io::Error>,
}

impl<W: Write> Remembering<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, failure: None }
    }

    /// What kept results from their reader; that he has gone away is no failure.
    pub(crate) fn failure(self) -> Option<io::Error> {
        self.failure.filter(|why| why.kind() != io::ErrorKind::BrokenPipe)
    }

    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|why| {
            let kind = why.kind();
            self.failure.get_or_insert(why);
            kind.into()
        })
    }
}

impl<W: Write> Write for Remembering<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.out.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.note(done)
    }
}

/// Where a program writes. It does not look at errors of writing: who gives it the streams does, as [`main`](crate::main)
/// does for standard output.
pub struct Streams<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Errors and progress.
    pub err: &'a mut dyn Write,
    /// Whether a person looks at `err`: progress is shown to nobody else.
    pub terminal: bool,
}

impl Streams<'_> {
    /// Writes a line of results.
    pub(crate) fn say(&mut self, line: impl Display) {
        let _ = writeln!(self.out, "{line}");
    }

    /// Writes a line for the person who looks on.
    pub(crate) fn note(&mut self, line: impl Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// Writes data as JSON.
    pub(crate) fn data(&mut self, value: &Value) {
        self.say(format_args!("{value:#}"));
    }

    /// Shows how much of a long work is done, as a bar on one line that is written over.
    pub(crate) fn progress(&mut self, what: &str, done: usize, of: usize) {
        const WIDTH: usize = 24;
        if self.terminal {
            let full = "#".repeat(WIDTH * done.min(of) / of.max(1));
            let end = if done == of { "\n" } else { "" };
            let _ = write!(self.err, "\r{what} [{full:.<WIDTH$}] {done}/{of}{end}").and_then(|()| self.err.flush());
        }
    }

    /// Tells an error, as data or as text, and gives the exit status.
    pub(crate) fn fail(&mut self, error: &Error, json: bool) -> u8 {
        if json {
            self.data(&serde_json::json!({ "error": error.data() }));
        } else {
            let _ = writeln!(self.err, "{}", error.text());
        }
        error.status()
    }

    /// The arguments, or the exit status after help, version, or a complaint.
    pub(crate) fn parse<A: Parser>(&mut self, arguments: Vec<OsString>) -> Result<A, u8> {
        let json = arguments.iter().any(|argument| argument == "--json");
        A::try_parse_from(arguments).map_err(|error| {
            if !error.use_stderr() {
                self.say(error.render().to_string().trim_end());
                return DONE;
            }
            let text = error.render().to_string();
            if json {
                let message = text.trim_end().trim_start_matches("error: ");
                self.data(&serde_json::json!({ "error": { "kind": "usage", "message": message } }));
            } else {
                let _ = writeln!(self.err, "{}", text.trim_end());
            }
            BAD_INPUT
        })
    }
}
