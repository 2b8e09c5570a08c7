//! `cnnip precision`: the fewest tensors of 16 bits.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use cnnip_accurate::Simulator;
use cnnip_compiler::{Options, compile_stages};
use cnnip_data::{Dataset, Normalize, PictureRule};
use cnnip_evaluate::level::{ACCURATE, Accurate, FLOAT, Float};
use cnnip_evaluate::{Evaluation, Level, LevelError, Task, evaluate, index_outputs};
use cnnip_float::{Embedded, Engine, Network};
use cnnip_isa::Target;
use cnnip_quant::mixed::{self, Candidate, Found, Score};
use serde_json::{Value, json};

use crate::error::Error;
use crate::files;
use crate::model::{self, Reading};
use crate::quantize::{self, Calibrated, Quantize};
use crate::stream::{DONE, Streams};
use crate::tool::target;

/// What is searched.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 the goal is reached, 1 it is not, 2 bad usage or bad input.")]
#[command(group(clap::ArgGroup::new("goal").required(true).args(["goal_db", "goal_top1"])))]
pub(crate) struct Precision {
    /// Float model
    model: PathBuf,
    /// Examples to measure with, which calibration should not have seen: as --calib, with classes for --goal-top1
    #[arg(long, value_name = "DIR|FILE")]
    data: PathBuf,
    /// Signal to noise in dB that the outputs are to have against the float model
    #[arg(long, value_name = "DB")]
    goal_db: Option<f64>,
    /// Share of examples in percent whose class is to be the best
    #[arg(long, value_name = "PERCENT")]
    goal_top1: Option<f64>,
    /// Take the first N examples only
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Networks that may be made to look for a set that is smaller still
    #[arg(long, value_name = "N", default_value_t = 100)]
    tries: usize,
    /// Threads; as many as the machine has cores if left out
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write what is to have 16 bits, for `--int16 @FILE.json`
    #[arg(short, long, value_name = "FILE.json")]
    output: Option<PathBuf>,
    /// Machine to compile for
    #[arg(long, default_value = "v4h", value_parser = target)]
    target: &'static Target,
    #[command(flatten)]
    quantize: Quantize,
    /// Print results and errors as JSON
    #[arg(long)]
    json: bool,
}

/// Searches; the exit status says whether the goal is reached.
pub(crate) fn run(arguments: &Precision, streams: &mut Streams<'_>) -> u8 {
    match searched(arguments, streams) {
        Ok(true) => DONE,
        Ok(false) => 1,
        Err(error) => streams.fail(&error, arguments.json),
    }
}

fn searched(arguments: &Precision, streams: &mut Streams<'_>) -> Result<bool, Error> {
    let path = &arguments.model;
    let graph = model::read(path, &Reading::default())?;
    if !model::is_float(&graph) {
        return Err(Error::AlreadyQuantized { path: path.clone() });
    }
    let calibrated = quantize::calibrate(path, graph, &arguments.quantize, streams)?;
    let rule = PictureRule {
        fit: arguments.quantize.fit(),
        normalize: arguments.quantize.normalize().unwrap_or_else(|| Normalize::all(0.0, 1.0)),
    };
    let data = Dataset::open(&arguments.data, quantize::specs(&calibrated.graph), rule);
    let data = data.map_err(|why| Error::Data { why })?;
    let float = Embedded::default().prepare(Arc::clone(&calibrated.graph), &[]);
    let float = float.map_err(|why| Error::Float { path: path.clone(), why })?;
    let candidates = mixed::candidates(&calibrated.graph);
    let judge = Judge { arguments, calibrated: &calibrated, candidates: &candidates, data: &data, float: &float };
    let mut made = 0;
    let found = mixed::fewest(candidates.len(), arguments.tries, |lifted| {
        streams.progress("networks tried", made, candidates.len() + arguments.tries);
        made += 1;
        judge.score(lifted)
    })?;
    if let Some(output) = &arguments.output {
        let text = format!("{:#}\n", json!({ "int16": names(&candidates, &found) }));
        files::write(output, |out| out.write_all(text.as_bytes()))?;
    }
    if arguments.json {
        streams.data(&as_data(&candidates, &found));
    } else {
        report(&candidates, &found, streams);
    }
    Ok(found.after.reached)
}

/// What scores a set of tensors.
struct Judge<'a> {
    arguments: &'a Precision,
    calibrated: &'a Calibrated,
    candidates: &'a [Candidate],
    data: &'a Dataset,
    float: &'a Arc<dyn Network>,
}

impl Judge<'_> {
    /// The score of the device's exact integers over all examples.
    fn score(&self, lifted: &[usize]) -> Result<Score, Error> {
        let Precision { model: path, target, count, threads, .. } = self.arguments;
        let names = lifted.iter().filter_map(|&at| self.candidates.get(at)?.tensors.first());
        let names: Vec<&str> = names.map(String::as_str).collect();
        let graph = self.calibrated.quantized(path, &names)?;
        let compiled = compile_stages(&graph, &Options::new(target));
        let network = compiled.map_err(|errors| Error::Compile { path: path.clone(), errors })?.legalized;
        let make = || -> Result<Vec<Box<dyn Level>>, LevelError> {
            let simulator = Simulator::new(network.clone());
            let simulator = simulator.map_err(|why| LevelError { level: ACCURATE, why: why.to_string() })?;
            Ok(vec![Box::new(Float::new(Arc::clone(self.float))), Box::new(Accurate::new(simulator))])
        };
        let evaluation = Evaluation {
            data: self.data,
            task: &Task::Classes,
            count: count.unwrap_or(usize::MAX).min(self.data.len()),
            levels: &[FLOAT, ACCURATE],
            indices: &index_outputs(&graph),
            make: &make,
            threads: threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            stop: true,
        };
        let mut broken = None;
        let totals = evaluate(&evaluation, &[], None, &mut |record, _| {
            broken = broken.take().or_else(|| Some(format!("{}: {}", record.name, record.result.as_ref().err()?)));
            broken.is_none()
        });
        let totals = totals.map_err(|why| Error::Evaluation { why })?;
        let useless = |message: String| Error::Analysis {
            kind: "data",
            message,
            hint: "every example must run, and have a class for --goal-top1".to_owned(),
        };
        if let Some(why) = broken {
            return Err(useless(why));
        }
        if totals.examples == 0 || self.arguments.goal_top1.is_some() && totals.labelled == 0 {
            return Err(useless(format!("{}: nothing to measure with", self.arguments.data.display())));
        }
        let found = totals.levels.get(1).cloned().unwrap_or_default();
        let sqnr_db = found.distance.sqnr();
        #[expect(clippy::cast_precision_loss, reason = "counts of examples")]
        let top1 = 100.0 * found.top1 as f64 / totals.labelled.max(1) as f64;
        let reached = self.arguments.goal_db.is_none_or(|goal| sqnr_db >= goal)
            && self.arguments.goal_top1.is_none_or(|goal| top1 >= goal);
        Ok(Score { sqnr_db, reached })
    }
}

/// One name per lifted candidate, which stands for all that are tied to it.
fn names<'c>(candidates: &'c [Candidate], found: &Found) -> Vec<&'c str> {
    let first = |&at: &usize| candidates.get(at)?.tensors.first().map(String::as_str);
    found.lifted.iter().filter_map(first).collect()
}

fn report(candidates: &[Candidate], found: &Found, streams: &mut Streams<'_>) {
    for &at in &found.lifted {
        let Some(candidate) = candidates.get(at) else { continue };
        let alone = found.alone.get(at).copied().flatten().map_or("-".to_owned(), |db| format!("{db:.2} dB"));
        streams.say(format_args!("int16: {} (lifted alone {alone})", candidate.tensors.join(" = ")));
    }
    let Found { before, after, lifted, is_smallest, tried, .. } = found;
    let words = match (after.reached, *is_smallest) {
        (false, _) => "the goal is not reached",
        (true, true) => "the goal is reached, by no smaller set",
        (true, false) => "the goal is reached; smaller sets were not all tried",
    };
    streams.say(format_args!(
        "{} of {} lifted: {:.2} dB, {:.2} dB without; {words}; {tried} networks",
        lifted.len(),
        candidates.len(),
        after.sqnr_db,
        before.sqnr_db
    ));
}

fn as_data(candidates: &[Candidate], found: &Found) -> Value {
    // JSON has no infinity: where nothing differs there is no ratio.
    let finite = |db: f64| Some(db).filter(|db| db.is_finite());
    let alone = candidates.iter().zip(&found.alone);
    json!({
        "int16": names(candidates, found),
        "reached": found.after.reached,
        "smallest": found.is_smallest,
        "sqnr_db": finite(found.after.sqnr_db),
        "int8_sqnr_db": finite(found.before.sqnr_db),
        "networks": found.tried,
        "candidates": alone
            .map(|(candidate, db)| json!({ "tensors": candidate.tensors, "sqnr_db": db.and_then(finite) }))
            .collect::<Value>(),
    })
}
