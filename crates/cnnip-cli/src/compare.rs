//! `cnnip compare`.

use std::path::PathBuf;

use clap::Args;
use cnnip_analysis::masks::{self, Agreement, ClassPixels, Kind};
use cnnip_analysis::report::{self, Page};
use cnnip_analysis::verdict::DEFAULT_GOAL_DB;
use cnnip_analysis::{Comparer, Comparison, Incomparable, Measure, TensorSet, Verdict, verdicts};
use cnnip_data::Example;
use cnnip_graph::Pattern;
use serde_json::{Value, json};

use crate::error::Error;
use crate::examples::Examples;
use crate::files;
use crate::level::{self, Feed, Level, Ready, level};
use crate::stream::{DONE, Streams};

/// What is to be compared.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 equal, 1 unequal, 2 not comparable.")]
pub(crate) struct Compare {
    /// Reference: iss:PACKAGE, accurate:MODEL, float:MODEL, fast:MODEL, or a dump: .npz, or a folder of .npy; `{}` in the path of
    /// a dump stands for the number of the example
    #[arg(value_parser = level)]
    reference: Level,
    /// The other
    #[arg(value_parser = level)]
    other: Level,
    #[command(flatten)]
    feed: Feed,
    #[command(flatten)]
    examples: Examples,
    /// Compare only tensors with such a name; may have `*`
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Also run every layer by itself, with the reference's inputs; one side must be accurate:MODEL or iss:MODEL
    #[arg(long)]
    local: bool,
    /// Signal to noise in dB below which a tensor gets a verdict: range, bits, or from elsewhere
    #[arg(long, value_name = "DB", default_value_t = DEFAULT_GOAL_DB)]
    goal_db: f64,
    /// Take tensors with such a name for scores of classes per pixel; otherwise outputs of more than 4 channels, and of integers
    /// without a scale
    #[arg(long, value_name = "PATTERN")]
    mask: Vec<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Print it as comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Write a page with pictures, those of the first example
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

/// What all examples together gave.
struct Found {
    comparison: Comparison,
    local: Option<Comparison>,
    verdicts: Vec<Verdict>,
    masks: Vec<Agreement>,
}

fn compared(arguments: &Compare, streams: &mut Streams<'_>) -> Result<bool, Error> {
    let mut pair = Pair::prepare(arguments)?;
    let data = arguments.examples.open(&[&pair.reference, &pair.other])?;
    let count = data.as_ref().map_or(1, |data| arguments.examples.count(data));
    for example in 0..count {
        streams.progress("comparing", example, count);
        match &data {
            None => pair.give_files(&arguments.feed)?,
            Some(data) => {
                pair.give(&data.load(example).map_err(|why| Error::Examples { broken: vec![why], more: 0 })?)?
            }
        }
        pair.add(example)?;
    }
    if data.is_some() {
        streams.progress("comparing", count, count);
    }
    let first = pair.first.take();
    let found = pair.found();
    let Found { comparison, local, verdicts, masks } = &found;
    if let (Some(path), Some((reference, other))) = (&arguments.html, &first) {
        let page =
            Page { comparison, local: local.as_ref(), verdicts, masks, outputs: &pair.outputs, reference, other };
        files::write(path, |out| out.write_all(report::html(&page).as_bytes()))?;
    }
    if arguments.json {
        streams.data(&data_of(&found));
    } else if arguments.csv {
        streams.say(report::csv(comparison, local.as_ref(), verdicts).trim_end());
    } else {
        streams.say(report::table(comparison, local.as_ref(), verdicts).trim_end());
        masks.iter().for_each(|agreement| streams.say(report::mask(agreement)));
    }
    Ok(comparison.is_equal())
}

/// Two levels, and what their runs gave so far.
struct Pair<'a> {
    arguments: &'a Compare,
    reference: Ready,
    other: Ready,
    whole: Comparer,
    alone: Comparer,
    masks: Vec<Agreement>,
    /// Names of the outputs, of the side that knows them.
    outputs: Vec<String>,
    /// The tensors of the first example, for the page.
    first: Option<(TensorSet, TensorSet)>,
}

impl<'a> Pair<'a> {
    fn prepare(arguments: &'a Compare) -> Result<Self, Error> {
        let reference = level::prepare(&arguments.reference, &arguments.feed)?;
        let other = level::prepare(&arguments.other, &arguments.feed)?;
        let mut outputs = other.outputs();
        if outputs.is_empty() {
            outputs = reference.outputs();
        }
        let (whole, alone, masks, first) = (Comparer::default(), Comparer::default(), vec![], None);
        Ok(Self { arguments, reference, other, whole, alone, masks, outputs, first })
    }

    fn give_files(&mut self, feed: &Feed) -> Result<(), Error> {
        self.reference.give_files(feed)?;
        self.other.give_files(feed)
    }

    fn give(&mut self, example: &Example) -> Result<(), Error> {
        self.reference.give(&example.inputs)?;
        self.other.give(&example.inputs)
    }

    /// Runs both levels, and adds what their tensors say.
    fn add(&mut self, example: usize) -> Result<(), Error> {
        let reference = restricted(self.reference.run(example)?.set, &self.arguments.only);
        let other = restricted(self.other.run(example)?.set, &self.arguments.only);
        self.whole.add(&reference, &other).map_err(|problems| incomparable(&problems))?;
        if self.arguments.local {
            self.add_local(&reference)?;
        }
        let (wanted, outputs) = (&self.arguments.mask, &self.outputs);
        masks::add(&mut self.masks, &reference, &other, |tensor| match wanted.as_slice() {
            [] => outputs.contains(&tensor.name) && masks::kind(tensor) == Some(Kind::Mask),
            wanted => matches(wanted, &tensor.name),
        });
        if self.arguments.html.is_some() {
            self.first.get_or_insert((reference, other));
        }
        Ok(())
    }

    fn add_local(&mut self, reference: &TensorSet) -> Result<(), Error> {
        let layers = match self.other.layers()? {
            Some(layers) => Some(layers),
            None => self.reference.layers()?,
        };
        let layers = layers.ok_or_else(|| Error::Analysis {
            kind: "usage",
            message: "neither side has layers that could be run by themselves".to_owned(),
            hint: "give accurate:MODEL or iss:MODEL as one side".to_owned(),
        })?;
        self.alone.add_local(layers, reference).map_err(|why| Error::Analysis {
            kind: "compare",
            message: why.to_string(),
            hint: "leave --local out, or dump more tensors of the reference".to_owned(),
        })
    }

    fn found(&mut self) -> Found {
        let comparison = self.whole.comparison();
        let local = self.arguments.local.then(|| self.alone.comparison());
        let verdicts = verdicts(&comparison, local.as_ref(), self.arguments.goal_db);
        Found { comparison, local, verdicts, masks: std::mem::take(&mut self.masks) }
    }
}

/// The tensors that were asked for; all if none are.
fn restricted(mut set: TensorSet, only: &[String]) -> TensorSet {
    if !only.is_empty() {
        set.tensors.retain(|tensor| matches(only, &tensor.name));
    }
    set
}

fn matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| Pattern::new(pattern).matches(name))
}

/// What cannot be compared, as one error.
pub(crate) fn incomparable(problems: &[Incomparable]) -> Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let hint = problems.first().map_or("", Incomparable::hint).to_owned();
    Error::Analysis { kind: "incomparable", message: lines.join("\n"), hint }
}

fn data_of(found: &Found) -> Value {
    let Found { comparison, local, verdicts, masks } = found;
    let measures = |of: &Comparison| of.measures.iter().map(measure_data).collect::<Value>();
    json!({
        "reference": comparison.reference,
        "other": comparison.other,
        "inputs": comparison.inputs,
        "equal": comparison.is_equal(),
        "tensors": measures(comparison),
        "local": local.as_ref().map(measures),
        "verdicts": verdicts.iter().map(verdict_data).collect::<Value>(),
        "masks": masks.iter().map(mask_data).collect::<Value>(),
        "skipped": comparison.skipped,
    })
}

fn mask_data(found: &Agreement) -> Value {
    let class = |(class, pixels): (&i64, &ClassPixels)| {
        json!({
            "class": class, "iou": pixels.iou(), "reference": pixels.reference, "other": pixels.other, "both": pixels.both,
        })
    };
    json!({
        "name": found.name,
        "pixels": found.pixels,
        "same": found.same,
        "mean_iou": found.mean_iou(),
        "classes": found.classes.iter().map(class).collect::<Value>(),
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
        "first": first.map(|first| json!({ "input": first.input, "index": first.index, "reference": first.reference, "other": first.other })),
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
