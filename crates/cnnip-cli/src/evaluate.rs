//! `cnnip evaluate`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use cnnip_accurate::Simulator;
use cnnip_compiler::{Options, Stages, compile_stages};
use cnnip_data::{Dataset, Normalize, PictureRule};
use cnnip_evaluate::level::{Accurate, Float, Iss, Pseudo};
use cnnip_evaluate::{Evaluation, Journal, Level, LevelError, LevelTotals, Totals, evaluate};
use cnnip_fast::Fast;
use cnnip_float::{Embedded, Engine, Network};
use cnnip_graph::{Graph, Quantization};
use cnnip_isa::Target;
use cnnip_package::Package;
use serde_json::{Value, json};

use crate::error::Error;
use crate::model::{self, Reading};
use crate::quantize::{self, Quantize};
use crate::stream::{BAD_INPUT, DONE, Streams};
use crate::tool::target;

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// Model: quantized, or float together with --calib or --ranges
    model: PathBuf,
    /// Examples: a folder of pictures by class, a .csv list of files and classes, or an .npy or .npz file with `labels`
    #[arg(long, value_name = "DIR|FILE")]
    data: PathBuf,
    /// Levels to run; the first is what the others are compared with
    #[arg(long, value_enum, value_delimiter = ',', default_value = "fast,accurate")]
    levels: Vec<LevelName>,
    /// Float model for the level `float`, if MODEL is quantized
    #[arg(long, value_name = "MODEL")]
    float: Option<PathBuf>,
    /// Take the first N examples only
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Threads; as many as the machine has cores if left out
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write a line per example into a file of comma-separated values
    #[arg(long, value_name = "FILE.csv")]
    journal: Option<PathBuf>,
    /// Go on with the journal of an interrupted evaluation
    #[arg(long, requires = "journal")]
    resume: bool,
    /// End at the first example that cannot be used
    #[arg(long)]
    stop_on_error: bool,
    /// Machine of the level `iss`
    #[arg(long, default_value = "v4h", value_parser = target)]
    target: &'static Target,
    #[command(flatten)]
    quantize: Quantize,
    /// Print results and errors as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LevelName {
    /// The float model
    Float,
    /// Float with every tensor rounded to its integers
    Fast,
    /// The device's bits, layer by layer
    Accurate,
    /// The device's bits, command by command
    Iss,
}

impl LevelName {
    const fn name(self) -> &'static str {
        match self {
            Self::Float => cnnip_evaluate::level::FLOAT,
            Self::Fast => cnnip_evaluate::level::FAST,
            Self::Accurate => cnnip_evaluate::level::ACCURATE,
            Self::Iss => cnnip_evaluate::level::ISS,
        }
    }
}

/// What levels are made of, shared by all threads.
struct Models {
    float: Option<Arc<dyn Network>>,
    fast: Option<Fast>,
    exact: Option<(cnnip_lowered::Network, Arc<Package>)>,
}

impl Models {
    fn levels(&self, names: &[LevelName]) -> Result<Vec<Box<dyn Level>>, LevelError> {
        names.iter().map(|&name| self.level(name)).collect()
    }

    fn level(&self, name: LevelName) -> Result<Box<dyn Level>, LevelError> {
        let absent = || LevelError { level: name.name(), why: "the model has no such level".to_owned() };
        let wrong = |why: &dyn ToString| LevelError { level: name.name(), why: why.to_string() };
        match name {
            LevelName::Float => Ok(Box::new(Float::new(Arc::clone(self.float.as_ref().ok_or_else(absent)?)))),
            LevelName::Fast => Ok(Box::new(Pseudo::new(self.fast.as_ref().ok_or_else(absent)?))),
            LevelName::Accurate => {
                let (network, _) = self.exact.as_ref().ok_or_else(absent)?;
                Ok(Box::new(Accurate::new(Simulator::new(network.clone()).map_err(|why| wrong(&why))?)))
            }
            LevelName::Iss => Ok(Box::new(Iss::new(&self.exact.as_ref().ok_or_else(absent)?.1)?)),
        }
    }
}

/// Evaluates; the exit status says whether every example could be used.
pub(crate) fn run(arguments: &Evaluate, streams: &mut Streams<'_>) -> u8 {
    match totals(arguments, streams) {
        Ok(totals) if totals.failed == 0 => DONE,
        Ok(_) => BAD_INPUT,
        Err(error) => streams.fail(&error, arguments.json),
    }
}

fn totals(arguments: &Evaluate, streams: &mut Streams<'_>) -> Result<Totals, Error> {
    let (models, data) = prepare(arguments, streams)?;
    let names: Vec<&str> = arguments.levels.iter().map(|level| level.name()).collect();
    let journal = arguments.journal.as_deref().map(|path| Journal::open(path, &names, arguments.resume));
    let (mut journal, before) = match journal.transpose().map_err(|why| Error::Evaluation { why: why.into() })? {
        Some((journal, before)) => (Some(journal), before),
        None => (None, vec![]),
    };
    let count = arguments.count.unwrap_or(usize::MAX).min(data.len());
    let make = || models.levels(&arguments.levels);
    let evaluation = Evaluation {
        data: &data,
        count,
        levels: &names,
        make: &make,
        threads: arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        stop: arguments.stop_on_error,
    };
    let mut broken = vec![];
    let (start, resumed) = (Instant::now(), before.len());
    let mut done = resumed;
    let totals = evaluate(&evaluation, &before, journal.as_mut(), &mut |record, _| {
        done += 1;
        streams.progress(&rate(done - resumed, start), done, count);
        if let Err(why) = &record.result {
            broken.push(format!("{}: {why}", record.name));
        }
        true
    })
    .map_err(|why| Error::Evaluation { why })?;
    report(arguments, &data, &totals, &broken, streams);
    Ok(totals)
}

/// As `120.3 examples/s`.
fn rate(done: usize, start: Instant) -> String {
    let seconds = start.elapsed().as_secs_f64().max(1e-9);
    let done = f64::from(u32::try_from(done).unwrap_or(u32::MAX));
    format!("{:.1} examples/s", done / seconds)
}

/// Reads and quantizes the model, and makes of it what the levels need.
fn prepare(arguments: &Evaluate, streams: &mut Streams<'_>) -> Result<(Models, Dataset), Error> {
    let path = &arguments.model;
    let wants = |level| arguments.levels.contains(&level);
    let graph = model::read(path, &Reading::default())?;
    let float = match &arguments.float {
        Some(path) => Some((path, model::read(path, &Reading::default())?)),
        None if model::is_float(&graph) => Some((path, graph.clone())),
        None => None,
    };
    let float =
        float.filter(|_| wants(LevelName::Float)).map(|(path, graph)| prepare_float(path, graph)).transpose()?;
    let only_float = arguments.levels.iter().all(|&level| level == LevelName::Float);
    let graph = if only_float { graph } else { quantize::quantized(path, graph, &arguments.quantize, streams)? };
    let normalize = arguments.quantize.normalize().unwrap_or_else(|| usual_pixels(&graph));
    let rule = PictureRule { fit: arguments.quantize.fit(), normalize };
    let data = Dataset::open(&arguments.data, quantize::specs(&graph), rule).map_err(|why| Error::Data { why })?;
    let exact = (wants(LevelName::Accurate) || wants(LevelName::Iss)).then(|| exact(path, &graph, arguments.target));
    let fast = wants(LevelName::Fast).then(|| Fast::new(Arc::new(graph.clone()), &[]));
    let fast = fast.transpose().map_err(|why| Error::Float { path: path.clone(), why })?;
    Ok((Models { float, fast, exact: exact.transpose()? }, data))
}

fn prepare_float(path: &Path, graph: Graph) -> Result<Arc<dyn Network>, Error> {
    Embedded::default().prepare(Arc::new(graph), &[]).map_err(|why| Error::Float { path: path.into(), why })
}

fn exact(path: &Path, graph: &Graph, target: &'static Target) -> Result<(cnnip_lowered::Network, Arc<Package>), Error> {
    let compiled = compile_stages(graph, &Options::new(target));
    let Stages { legalized, package, .. } = compiled.map_err(|errors| Error::Compile { path: path.into(), errors })?;
    Ok((legalized, Arc::new(package)))
}

/// What pixels usually stand for: for an int8 input the byte minus 128, else the byte.
fn usual_pixels(graph: &Graph) -> Normalize {
    let input = graph.inputs.first().and_then(|&id| graph[id].quantization.as_ref());
    match input {
        Some(Quantization::PerTensor { scale, zero_point }) => {
            let zero = f32::from(i16::try_from(*zero_point).unwrap_or(0));
            Normalize::all(128.0 + zero, 1.0 / scale)
        }
        _ => Normalize::all(0.0, 1.0),
    }
}

fn report(arguments: &Evaluate, data: &Dataset, totals: &Totals, broken: &[String], streams: &mut Streams<'_>) {
    if arguments.json {
        streams.data(&as_data(arguments, data, totals, broken));
        return;
    }
    broken.iter().for_each(|line| streams.note(line));
    let Totals { examples, labelled, failed, .. } = totals;
    streams.say(format_args!("{examples} examples, {labelled} with a class, {failed} could not be used"));
    streams.say(format_args!(
        "{:9} {:>8} {:>8} {:>8} {:>10} {:>12} {:>9}",
        "level", "top-1 %", "top-5 %", "agree %", "differ %", "largest", "SQNR dB"
    ));
    for (level, found) in arguments.levels.iter().zip(&totals.levels) {
        let LevelTotals { top1, top5, agree, distance } = found;
        let class =
            |count: u64| if *labelled > 0 { format!("{:.2}", percent(count, *labelled)) } else { "-".to_owned() };
        streams.say(format_args!(
            "{:9} {:>8} {:>8} {:>8.2} {:>10.4} {:>12.5} {:>9.2}",
            level.name(),
            class(*top1),
            class(*top5),
            percent(*agree, *examples),
            percent(distance.different, distance.elements),
            distance.largest,
            distance.sqnr()
        ));
    }
    for (name, sqnr) in totals.worst().iter().take(5) {
        streams.say(format_args!("worst: {name} {sqnr:.2} dB"));
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "two digits behind the point are shown")]
    let ratio = part as f64 / whole.max(1) as f64;
    100.0 * ratio
}

fn as_data(arguments: &Evaluate, data: &Dataset, totals: &Totals, broken: &[String]) -> Value {
    let level = |(level, found): (&LevelName, &LevelTotals)| {
        let LevelTotals { top1, top5, agree, distance } = found;
        // JSON has no infinity: where nothing differs there is no ratio.
        let sqnr = Some(distance.sqnr()).filter(|ratio| ratio.is_finite());
        json!({
            "level": level.name(), "top1": top1, "top5": top5, "agree": agree,
            "elements": distance.elements, "different": distance.different, "largest": distance.largest, "sqnr_db": sqnr,
        })
    };
    let worst: Vec<Value> =
        totals.worst().iter().map(|(name, sqnr)| json!({ "example": name, "sqnr_db": sqnr })).collect();
    json!({
        "examples": totals.examples, "labelled": totals.labelled, "failed": totals.failed, "classes": data.classes(),
        "levels": arguments.levels.iter().zip(&totals.levels).map(level).collect::<Vec<Value>>(),
        "worst": worst, "broken": broken,
    })
}
