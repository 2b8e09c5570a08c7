//! `cnnip evaluate`.

mod data;
mod report;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use cnnip_accurate::Simulator;
use cnnip_compiler::{Options, Rounding, Stages, compile_stages};
use cnnip_data::{Dataset, PictureRule, npy};
use cnnip_evaluate::layers::Layers;
use cnnip_evaluate::level::{Accurate, Float, Iss, Pseudo};
use cnnip_evaluate::table::Table;
use cnnip_evaluate::{Evaluation, Journal, Level, LevelError, Record, Task, Totals, evaluate, index_outputs};
use cnnip_fast::{Difference, Fast};
use cnnip_float::{Engine, Network};
use cnnip_graph::{Graph, TensorId};
use cnnip_isa::Target;
use cnnip_package::{ElementType, Package};

use crate::compile::RoundingName;
use crate::engine::EngineChoice;
use crate::error::Error;
use crate::files;
use crate::model::{self, Reading};
use crate::quantize::{self, Quantize};
use crate::stream::{BAD_INPUT, DONE, Streams};
use crate::tool::target;
use data::Examples;
use report::{Findings, report};

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// Model: quantized, or float together with --calib or --ranges
    model: PathBuf,
    /// Levels to run; the first is what the others are compared with
    #[arg(long, value_enum, value_delimiter = ',', default_value = "fast,accurate")]
    levels: Vec<LevelName>,
    /// Float model for the level `float`, if MODEL is quantized
    #[arg(long, value_name = "MODEL")]
    float: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineChoice,
    /// Threads; as many as the machine has cores if left out
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write a line per example into a file of comma-separated values
    #[arg(long, value_name = "FILE.csv")]
    journal: Option<PathBuf>,
    /// Go on with the journal of an interrupted evaluation
    #[arg(long, requires = "journal")]
    resume: bool,
    /// Write a row per example into a Parquet file
    #[arg(long, value_name = "FILE.parquet")]
    parquet: Option<PathBuf>,
    /// Write the inputs of the examples that are worst into a folder, as .npy that `cnnip compare --input` takes
    #[arg(long, value_name = "DIR")]
    save_worst: Option<PathBuf>,
    /// Tell for the first N examples by how many steps fast and accurate differ, tensor by tensor
    #[arg(long, value_name = "N")]
    layers: Option<usize>,
    /// Machine of the level `iss`
    #[arg(long, default_value = "v4h", value_parser = target)]
    target: &'static Target,
    /// Rounding of the levels `accurate` and `iss`
    #[arg(long, value_enum, default_value_t = RoundingName::Double)]
    rounding: RoundingName,
    /// Print results and errors as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    examples: Examples,
    #[command(flatten)]
    quantize: Quantize,
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
    let Prepared { engine, models, data, task, graph } = prepare(arguments, streams)?;
    let names: Vec<&str> = arguments.levels.iter().map(|level| level.name()).collect();
    let journal = arguments.journal.as_deref().map(|path| Journal::open(path, &names, arguments.resume));
    let (mut journal, before) = match journal.transpose().map_err(|why| Error::Evaluation { why: why.into() })? {
        Some((journal, before)) => (Some(journal), before),
        None => (None, vec![]),
    };
    let count = arguments.examples.count.unwrap_or(usize::MAX).min(data.len());
    let make = || models.levels(&arguments.levels);
    let evaluation = Evaluation {
        data: &data,
        count,
        levels: &names,
        indices: &index_outputs(&graph),
        task: &task,
        make: &make,
        threads: arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        stop: arguments.examples.stop_on_error,
    };
    let mut output = Output::new(arguments, &names)?;
    before.iter().for_each(|record| output.take(record));
    let (start, resumed) = (Instant::now(), before.len());
    let mut done = resumed;
    let totals = evaluate(&evaluation, &before, journal.as_mut(), &mut |record, _| {
        done += 1;
        streams.progress(&rate(done - resumed, count.saturating_sub(done), start), done, count);
        output.take(record);
        true
    })
    .map_err(|why| Error::Evaluation { why })?;
    let broken = output.finish(arguments)?;
    let layers = layers(arguments, &*engine, &models, &data, &graph)?;
    report(
        arguments,
        &Findings { data: &data, task: &task, totals: &totals, broken: &broken, layers: &layers },
        streams,
    );
    if let Some(folder) = &arguments.save_worst {
        save_worst(folder, &data, &graph, &totals)?;
    }
    Ok(totals)
}

/// Where records go beside the journal.
struct Output {
    table: Option<Table<BufWriter<File>>>,
    broken: Vec<String>,
    failure: Option<std::io::Error>,
}

impl Output {
    fn new(arguments: &Evaluate, levels: &[&str]) -> Result<Self, Error> {
        let table = arguments.parquet.as_ref().map(|path| {
            let table = File::create(path).and_then(|file| Table::new(BufWriter::new(file), levels));
            table.map_err(|why| Error::Write { path: path.clone(), why })
        });
        Ok(Self { table: table.transpose()?, broken: vec![], failure: None })
    }

    fn take(&mut self, record: &Record) {
        if let Err(why) = &record.result {
            self.broken.push(format!("{}: {why}", record.name));
        }
        if let Some(table) = self.table.as_mut().filter(|_| self.failure.is_none()) {
            self.failure = table.row(record).err();
        }
    }

    /// The examples that could not be used.
    fn finish(self, arguments: &Evaluate) -> Result<Vec<String>, Error> {
        let finished = match (self.failure, self.table) {
            (Some(why), _) => Err(why),
            (None, Some(table)) => table.finish().map(|_| ()),
            (None, None) => Ok(()),
        };
        let path = arguments.parquet.clone().unwrap_or_default();
        finished.map(|()| self.broken).map_err(|why| Error::Write { path, why })
    }
}

/// Fast against accurate over the first examples, where that is asked for.
fn layers(
    arguments: &Evaluate,
    engine: &dyn Engine,
    models: &Models,
    data: &Dataset,
    graph: &Arc<Graph>,
) -> Result<Vec<(String, Difference)>, Error> {
    let Some((count, (network, _))) = arguments.layers.zip(models.exact.as_ref()) else { return Ok(vec![]) };
    let failed = |why: LevelError| Error::Evaluation { why: why.into() };
    let all: Vec<TensorId> = graph.nodes.iter().flat_map(|node| node.outputs.iter().copied()).collect();
    let fast = Fast::with_engine(engine, Arc::clone(graph), &all)
        .map_err(|why| Error::Float { path: arguments.model.clone(), why })?;
    let simulator = Simulator::new(network.clone())
        .map_err(|why| failed(LevelError { level: LevelName::Accurate.name(), why: why.to_string() }))?;
    let mut layers = Layers::new(&fast, simulator);
    // Examples that cannot be loaded were told before.
    for example in (0..count.min(data.len())).filter_map(|index| data.load(index).ok()) {
        layers.add(&example.inputs).map_err(failed)?;
    }
    Ok(layers.rows().to_vec())
}

/// Writes the inputs of the worst examples: `RANK-NAME.npy`, with the input's name where there are several.
fn save_worst(folder: &Path, data: &Dataset, graph: &Graph, totals: &Totals) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|why| Error::Write { path: folder.into(), why })?;
    let plain = |text: &str| text.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    for (rank, worst) in totals.worst().iter().enumerate() {
        // It was loaded before; a file that has gone since is no result.
        let Ok(example) = data.load(worst.index) else { continue };
        for (&id, values) in graph.inputs.iter().zip(&example.inputs) {
            let of = if graph.inputs.len() > 1 { format!("-{}", plain(&graph[id].name)) } else { String::new() };
            let path = folder.join(format!("{rank:02}-{}{of}.npy", plain(&worst.name)));
            let shape: Vec<u32> = graph[id].shape.dims().iter().filter_map(|&dim| u32::try_from(dim).ok()).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            files::write(&path, |out| npy::write(out, ElementType::Float32, &shape, &bytes))?;
        }
    }
    Ok(())
}

/// As `120.3 examples/s, 4 s left`.
fn rate(done: usize, left: usize, start: Instant) -> String {
    let real = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let rate = real(done) / start.elapsed().as_secs_f64().max(1e-9);
    format!("{rate:.1} examples/s, {:.0} s left", real(left) / rate)
}

/// All that an evaluation needs.
struct Prepared {
    engine: Box<dyn Engine>,
    models: Models,
    data: Dataset,
    task: Task,
    /// The network in integers, or of floats if that is the only level.
    graph: Arc<Graph>,
}

/// Reads and quantizes the model, and makes of it what the levels need.
fn prepare(arguments: &Evaluate, streams: &mut Streams<'_>) -> Result<Prepared, Error> {
    let path = &arguments.model;
    let wants = |level| arguments.levels.contains(&level);
    let engine = arguments.engine.engine()?;
    let (graph, format) = model::read_with_format(path, &Reading::default())?;
    let float = match &arguments.float {
        Some(path) => Some((path, model::read(path, &Reading::default())?)),
        None if model::is_float(&graph) => Some((path, graph.clone())),
        None => None,
    };
    let float = float
        .filter(|_| wants(LevelName::Float))
        .map(|(path, graph)| prepare_float(&*engine, path, graph))
        .transpose()?;
    let only_float = arguments.levels.iter().all(|&level| level == LevelName::Float);
    let graph = if only_float { graph } else { quantize::quantized(path, graph, &arguments.quantize, streams)? };
    let normalize = arguments.quantize.normalize().unwrap_or_else(|| quantize::usual_pixels(&graph));
    let rule = PictureRule { fit: arguments.quantize.fit(), normalize };
    let data = arguments.examples.open(&graph, rule)?;
    let task = arguments.examples.task(&graph)?;
    let exact = wants(LevelName::Accurate) || wants(LevelName::Iss) || arguments.layers.is_some() && !only_float;
    let exact = exact.then(|| self::exact(path, &graph, arguments.target, arguments.rounding.of(format)));
    let graph = Arc::new(graph);
    let fast = wants(LevelName::Fast).then(|| Fast::with_engine(&*engine, Arc::clone(&graph), &[]));
    let fast = fast.transpose().map_err(|why| Error::Float { path: path.clone(), why })?;
    Ok(Prepared { engine, models: Models { float, fast, exact: exact.transpose()? }, data, task, graph })
}

fn prepare_float(engine: &dyn Engine, path: &Path, graph: Graph) -> Result<Arc<dyn Network>, Error> {
    engine.prepare(Arc::new(graph), &[]).map_err(|why| Error::Float { path: path.into(), why })
}

fn exact(
    path: &Path,
    graph: &Graph,
    target: &'static Target,
    rounding: Rounding,
) -> Result<(cnnip_lowered::Network, Arc<Package>), Error> {
    let compiled = compile_stages(graph, &Options { rounding, ..Options::new(target) });
    let Stages { legalized, package, .. } = compiled.map_err(|errors| Error::Compile { path: path.into(), errors })?;
    Ok((legalized, Arc::new(package)))
}
