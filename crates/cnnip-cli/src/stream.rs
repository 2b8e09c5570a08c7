//! The streams of a program, and how it ends.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;

use clap::Parser;
use serde_json::Value;

use crate::error::Error;

/// Exit status: done.
pub(crate) const DONE: u8 = 0;
/// Exit status: bad usage or bad input.
const BAD_INPUT: u8 = 2;

/// Where a program writes. Errors of writing are of no interest: a reader that has gone away needs no more output.
pub struct Streams<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Errors and progress.
    pub err: &'a mut dyn Write,
}

impl Streams<'_> {
    /// Writes a line of results.
    pub(crate) fn say(&mut self, line: impl Display) {
        let _ = writeln!(self.out, "{line}");
    }

    /// Writes data as JSON.
    pub(crate) fn data(&mut self, value: &Value) {
        self.say(format_args!("{value:#}"));
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
