//! `cnnip compare`.

use std::path::PathBuf;

use clap::Args;
use cnnip_analysis::compare::compare;
use cnnip_analysis::local::local;
use cnnip_analysis::report::{self, Page};
use cnnip_analysis::verdict::DEFAULT_GOAL_DB;
use cnnip_analysis::{Comparison, Incomparable, Measure, Verdict, verdicts};
use cnnip_graph::Pattern;
use serde_json::{Value, json};

use crate::error::Error;
use crate::files;
use crate::level::{self, Feed, Level, Run, level};
use crate::stream::{DONE, Streams};

/// What is to be compared.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 equal, 1 unequal, 2 not comparable.")]
pub(crate) struct Compare {
    /// Reference: iss:PACKAGE, accurate:MODEL, float:MODEL, fast:MODEL, or a dump: .npz, or a folder of .npy
    #[arg(value_parser = level)]
    reference: Level,
    /// The other
    #[arg(value_parser = level)]
    other: Level,
    #[command(flatten)]
    feed: Feed,
    /// Compare only tensors with such a name; may have `*`
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Also run every layer by itself, with the reference's inputs; one side must be accurate:MODEL or iss:MODEL
    #[arg(long)]
    local: bool,
    /// Signal to noise in dB below which a tensor gets a verdict: range, bits, or from elsewhere
    #[arg(long, value_name = "DB", default_value_t = DEFAULT_GOAL_DB)]
    goal_db: f64,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Print it as comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Write a page with pictures
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
}

/// Compares two levels; gives the exit status.
pub(crate) fn run(arguments: &Compare, streams: &mut Streams<'_>) -> u8 {
    match compared(arguments, streams) {
        Ok(true) => DONE,
        Ok(false) => 1,
        Err(error) => streams.fail(&error, arguments.json),
    }
}

fn compared(arguments: &Compare, streams: &mut Streams<'_>) -> Result<bool, Error> {
    let mut reference = level::run(&arguments.reference, &arguments.feed)?;
    let mut other = level::run(&arguments.other, &arguments.feed)?;
    restrict(&mut reference, &arguments.only);
    restrict(&mut other, &arguments.only);
    let comparison = compare(&reference.set, &other.set).map_err(|problems| incomparable(&problems))?;
    let alone = if arguments.local { Some(alone(&reference, &other)?) } else { None };
    let verdicts = verdicts(&comparison, alone.as_ref(), &reference.set, &other.set, arguments.goal_db);
    if let Some(path) = &arguments.html {
        let (reference, other) = (&reference.set, &other.set);
        let page = Page { comparison: &comparison, local: alone.as_ref(), verdicts: &verdicts, reference, other };
        files::write(path, |out| out.write_all(report::html(&page).as_bytes()))?;
    }
    if arguments.json {
        streams.data(&data(&comparison, alone.as_ref(), &verdicts));
    } else if arguments.csv {
        streams.say(report::csv(&comparison, alone.as_ref(), &verdicts).trim_end());
    } else {
        streams.say(report::table(&comparison, alone.as_ref(), &verdicts).trim_end());
    }
    Ok(comparison.is_equal())
}

fn restrict(run: &mut Run, only: &[String]) {
    if !only.is_empty() {
        run.set.tensors.retain(|tensor| only.iter().any(|pattern| Pattern::new(pattern).matches(&tensor.name)));
    }
}

fn alone(reference: &Run, other: &Run) -> Result<Comparison, Error> {
    let network = other.network.as_ref().or(reference.network.as_ref()).ok_or_else(|| Error::Analysis {
        kind: "usage",
        message: "neither side has layers that could be run by themselves".to_owned(),
        hint: "give accurate:MODEL or iss:MODEL as one side".to_owned(),
    })?;
    local(network, &reference.set).map_err(|why| Error::Analysis {
        kind: "compare",
        message: why.to_string(),
        hint: "leave --local out, or dump more tensors of the reference".to_owned(),
    })
}

/// What cannot be compared, as one error.
pub(crate) fn incomparable(problems: &[Incomparable]) -> Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let hint = problems.first().map_or("", Incomparable::hint).to_owned();
    Error::Analysis { kind: "incomparable", message: lines.join("\n"), hint }
}

fn data(comparison: &Comparison, local: Option<&Comparison>, verdicts: &[Verdict]) -> Value {
    let measures = |of: &Comparison| of.measures.iter().map(measure_data).collect::<Value>();
    json!({
        "reference": comparison.reference,
        "other": comparison.other,
        "equal": comparison.is_equal(),
        "tensors": measures(comparison),
        "local": local.map(measures),
        "verdicts": verdicts.iter().map(verdict_data).collect::<Value>(),
        "skipped": comparison.skipped,
    })
}

fn verdict_data(verdict: &Verdict) -> Value {
    json!({
        "name": verdict.name,
        "cause": verdict.cause.name(),
        "advice": verdict.cause.advice(),
        "observed": [verdict.observed.0, verdict.observed.1],
        "covered": [verdict.covered.0, verdict.covered.1],
        "clipped": verdict.clipped,
        "measured_db": verdict.measured_db,
        "grid_db": verdict.grid_db,
        "channel_db": verdict.channel_db,
        "recalibrated_db": verdict.recalibrated_db,
        "int16_db": verdict.int16_db,
    })
}

/// A tensor's measure; an infinite ratio is null.
pub(crate) fn measure_data(measure: &Measure) -> Value {
    let first = measure.first.as_ref();
    json!({
        "name": measure.name,
        "shape": measure.shape,
        "elements": measure.elements,
        "equal": measure.equal,
        "different": measure.different,
        "first": first.map(|first| json!({ "index": first.index, "reference": first.reference, "other": first.other })),
        "max_abs": measure.max_abs,
        "max_lsb": measure.max_lsb,
        "histogram": measure.histogram.iter().map(|(lsb, count)| json!([lsb, count])).collect::<Value>(),
        "sqnr_db": measure.sqnr_db,
        "cosine": measure.cosine,
        "saturated": measure.saturated,
        "range": measure.range.map(|(low, high)| json!([low, high])),
        "step": measure.step,
    })
}
