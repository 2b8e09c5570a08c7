//! `cnnip bisect`.

use clap::Args;
use cnnip_analysis::bisect::{Parting, Writer, bisect};
use serde_json::{Value, json};

use crate::compare::incomparable;
use crate::error::Error;
use crate::level::{self, Feed, Level, level};
use crate::stream::{DONE, Streams};

/// What is to be bisected.
#[derive(Debug, Args)]
pub(crate) struct Bisect {
    /// What is right: accurate:MODEL, or a dump
    #[arg(value_parser = level)]
    reference: Level,
    /// What is in doubt: iss:PACKAGE, iss:MODEL, or a dump
    #[arg(value_parser = level)]
    other: Level,
    #[command(flatten)]
    feed: Feed,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Finds where two levels part; gives the exit status: 1 if they do.
pub(crate) fn run(arguments: &Bisect, streams: &mut Streams<'_>) -> u8 {
    match find(arguments) {
        Err(error) => streams.fail(&error, arguments.json),
        Ok(parting) => {
            if arguments.json {
                streams.data(&json!({ "parting": parting.as_ref().map(data) }));
            } else {
                streams.say(parting.as_ref().map_or_else(|| "equal in every tensor".to_owned(), text));
            }
            if parting.is_some() { 1 } else { DONE }
        }
    }
}

fn find(arguments: &Bisect) -> Result<Option<Parting>, Error> {
    let reference = level::run(&arguments.reference, &arguments.feed)?;
    let other = level::run(&arguments.other, &arguments.feed)?;
    bisect(&reference.set, &other.set, other.recording.as_ref()).map_err(|problems| incomparable(&problems))
}

fn text(parting: &Parting) -> String {
    let measure = &parting.measure;
    let mut lines = vec![format!(
        "first tensor that differs: `{}` {:?}, {} of {} elements",
        measure.name, measure.shape, measure.different, measure.elements
    )];
    match &measure.first {
        Some(first) => {
            lines.push(format!("first element {:?}: {} instead of {}", first.index, first.other, first.reference));
        }
        None => lines.push("its integers are the same, its scale or zero point is another".to_owned()),
    }
    if let Some(Writer { ran, command, step, end, layer, start, size }) = &parting.writer {
        let layer = layer.as_ref().map_or(String::new(), |layer| format!(", layer `{layer}`"));
        let done = if *ran { "written by" } else { "never written; it should be by" };
        lines.push(format!("{done} `{}` word {}: {}{layer}", command.list, command.pc, command.text));
        let cycles = if *ran { format!(", cycles {}..{end} (estimate)", command.cycle) } else { String::new() };
        lines.push(format!("  step {step}, {}{cycles}, the tile {start:?} + {size:?}", command.engine));
    }
    if !parting.later.is_empty() {
        lines.push(format!("{} later tensors differ too: {}", parting.later.len(), parting.later.join(", ")));
    }
    lines.join("\n")
}

fn data(parting: &Parting) -> Value {
    let writer = parting.writer.as_ref().map(|Writer { ran, command, step, end, layer, start, size }| {
        json!({
            "ran": ran, "list": command.list, "pc": command.pc, "command": command.text, "engine": command.engine.to_string(),
            "step": step, "start_estimate": command.cycle, "end_estimate": end, "layer": layer,
            "tile": { "start": start, "size": size },
        })
    });
    json!({ "tensor": crate::compare::measure_data(&parting.measure), "writer": writer, "later": parting.later })
}
