//! `cnnip bench`.

mod contender;
mod oracles;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use cnnip_accurate::{InputError, Simulator};
use cnnip_compiler::{Options, compile, compile_stages};
use cnnip_driver::{Device, Package, Session};
use cnnip_graph::onnx::export_onnx;
use cnnip_isa::Target;
use cnnip_kernels::Kernels;
use serde_json::{Value, json};

use crate::error::Error;
use crate::files;
use crate::model::{self, Reading};
use crate::stream::Streams;
use crate::tool::target;
use contender::{Times, accurate, interleave, iss, products};
use oracles::Oracles;

/// A model is timed by all that can run it, in turns, one thread each but where it says two.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Quantized model, or a package
    file: PathBuf,
    /// Timed runs of each
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    images: u32,
    /// Machine to compile a model for
    #[arg(long, default_value = "v4h", value_parser = target)]
    target: &'static Target,
    /// Python that has ai_edge_litert, tflite_micro or onnxruntime, to time these in the same turns: a TFLite model with the first two,
    /// any model as what `cnnip export` makes of it with the last
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Times of what happens once.
#[derive(Debug, Default)]
struct Preparations {
    compile: Option<Duration>,
    open: Duration,
    /// One run that advances cycle by cycle.
    cycles: Duration,
}

/// Threads that the Accurate Simulator is timed with.
const THREADS: [usize; 2] = [1, 2];

/// Times everything and prints it.
pub(crate) fn run(arguments: &Bench, streams: &mut Streams<'_>) -> Result<(), Error> {
    let path = &arguments.file;
    let (session, mut preparations) = session(arguments)?;
    let products = products(path, session)?;
    preparations.cycles = contender::stepped(self::session(arguments)?.0)?;
    let (session, _) = self::session(arguments)?;
    let oracles = match &arguments.python {
        Some(python) if !is_package(path) => Some(oracles(python, path)?),
        _ => None,
    };
    let mut contenders = vec![iss(session)];
    for threads in THREADS {
        contenders.extend(simulator(arguments, threads)?.map(|simulator| accurate(simulator, threads)));
    }
    contenders.extend(oracles.iter().flat_map(Oracles::contenders));
    let rows = interleave(&mut contenders, arguments.images, |done, of| streams.progress("run", done, of))?;
    let peak = peak();
    if arguments.json {
        streams.data(&data(path, products, peak, &preparations, &rows));
    } else {
        print(streams, products, peak, &preparations, &rows);
    }
    Ok(())
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("cnnip"))
}

/// Other runtimes, on the model and on its pseudo-quantized form for those that read ONNX.
fn oracles(python: &Path, path: &Path) -> Result<Oracles, Error> {
    let graph = model::read(path, &Reading::default())?;
    let exported = std::env::temp_dir().join(format!("cnnip-bench-{}.onnx", std::process::id()));
    let mut models = vec![path];
    // Networks that cannot be written are timed without these runtimes.
    if let Ok(bytes) = export_onnx(&graph) {
        files::write(&exported, |out| out.write_all(&bytes))?;
        models.push(&exported);
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        models.remove(0);
    }
    let oracles = Oracles::start(python, &models);
    if exported.exists() {
        std::fs::remove_file(&exported).map_err(|why| Error::Write { path: exported, why })?; // it was read
    }
    oracles
}

/// A session with inputs bound, and how long it took to come by.
fn session(arguments: &Bench) -> Result<(Session, Preparations), Error> {
    let path = &arguments.file;
    let mut preparations = Preparations::default();
    let scratch = std::env::temp_dir().join(format!("cnnip-bench-{}.cnnip", std::process::id()));
    let package = if is_package(path) {
        let start = Instant::now();
        let package = files::open(path)?;
        preparations.open = start.elapsed();
        package
    } else {
        let start = Instant::now();
        let graph = model::read(path, &Reading::default())?;
        let package = compile(&graph, &Options::new(arguments.target))
            .map_err(|errors| Error::Compile { path: path.clone(), errors })?;
        preparations.compile = Some(start.elapsed());
        files::write_package(&scratch, &package)?;
        let start = Instant::now();
        let opened = files::open(&scratch);
        let removed = std::fs::remove_file(&scratch); // the mapping stays
        preparations.open = start.elapsed();
        removed.map_err(|why| Error::Write { path: scratch, why })?;
        opened?
    };
    let start = Instant::now();
    let session = loaded(path, package)?;
    preparations.open += start.elapsed();
    Ok((session, preparations))
}

fn loaded(path: &Path, package: Package) -> Result<Session, Error> {
    let device = Device::open(&package.target).map_err(|why| Error::Device { path: path.into(), why })?;
    let mut session = device.load(package).map_err(|why| Error::Load { path: path.into(), why })?;
    let inputs = std::sync::Arc::clone(session.package());
    for (index, input) in inputs.inputs.iter().enumerate() {
        let bytes = inputs.tensor(input.tensor).and_then(|tensor| tensor.bytes()).unwrap_or(0);
        let pattern: Vec<u8> = contender::pattern().take(usize::try_from(bytes).unwrap_or(0)).collect();
        session.bind(index, &pattern).map_err(|why| Error::Bench { path: path.into(), why: why.to_string() })?;
    }
    Ok(session)
}

/// The Accurate Simulator of a model with so many threads; a package is not needed for it.
fn simulator(arguments: &Bench, threads: usize) -> Result<Option<Simulator>, Error> {
    let path = &arguments.file;
    if is_package(path) {
        return Ok(None);
    }
    let graph = model::read(path, &Reading::default())?;
    let stages = compile_stages(&graph, &Options::new(arguments.target))
        .map_err(|errors| Error::Compile { path: path.clone(), errors })?;
    let failed = |why: String| Error::Bench { path: path.clone(), why };
    let simulator = Simulator::new(stages.legalized).and_then(|simulator| simulator.with_threads(threads));
    let mut simulator = simulator.map_err(|why| failed(why.to_string()))?;
    let inputs = simulator.inputs().len();
    for index in 0..inputs {
        // An input's size is told where it is missed.
        let Err(InputError::Bytes { needed, .. }) = simulator.set_input(index, &[]) else { continue };
        let pattern: Vec<u8> = contender::pattern().take(needed).collect();
        simulator.set_input(index, &pattern).map_err(|why| failed(why.to_string()))?;
    }
    Ok(Some(simulator))
}

/// Products per second of the kernels' instructions at best: the largest of a few short measurements.
fn peak() -> f64 {
    let kernels = Kernels::from_env();
    let measure = || {
        let start = Instant::now();
        let products = kernels.multiply_only(2_000);
        number(products) / start.elapsed().as_secs_f64()
    };
    (0..20).map(|_| measure()).fold(0.0, f64::max)
}

/// A count as a real number; those here are far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "for ratios that are printed")]
fn number(count: u64) -> f64 {
    count as f64
}

fn print(streams: &mut Streams<'_>, products: u64, peak: f64, preparations: &Preparations, rows: &[Times]) {
    if let Some(compile) = preparations.compile {
        streams.say(format_args!("compile {:>21.2} ms", milliseconds(compile)));
    }
    streams.say(format_args!("open {:>24.2} ms", milliseconds(preparations.open)));
    streams.say(format_args!("products {:>20.3} million", number(products) / 1e6));
    let speed = number(products) / preparations.cycles.as_secs_f64() / 1e9;
    streams.say(format_args!("cycle by cycle {speed:>14.1} GMAC/s"));
    let backend = Kernels::from_env().backend().name();
    streams.say(format_args!("peak ({backend}) {:>w$.0} GMAC/s", peak / 1e9, w = 18 - backend.len()));
    streams.say(format_args!("{:18} {:>10} {:>10} {:>9} {:>9}", "", "median ms", "least ms", "GMAC/s", "to XNNPACK"));
    for row in rows {
        let speed = number(products) / row.median().as_secs_f64() / 1e9;
        let ratio = ratio(row, rows).map_or_else(String::new, |ratio| format!("{ratio:.2}x"));
        let (median, least) = (milliseconds(row.median()), milliseconds(row.least()));
        streams.say(format_args!("{:18} {median:>10.3} {least:>10.3} {speed:>9.1} {ratio:>9}", row.name));
    }
}

fn data(path: &Path, products: u64, peak: f64, preparations: &Preparations, rows: &[Times]) -> Value {
    let rows = rows.iter().map(|row| {
        json!({
            "name": row.name,
            "milliseconds": milliseconds(row.median()),
            "least_milliseconds": milliseconds(row.least()),
            "gmac_per_second": number(products) / row.median().as_secs_f64() / 1e9,
            "ratio_to_xnnpack": ratio(row, rows),
        })
    });
    json!({
        "file": path.file_name().map(|name| name.to_string_lossy()),
        "kernels": Kernels::from_env().backend().name(),
        "products": products,
        "peak_gmac_per_second": peak / 1e9,
        "cycle_gmac_per_second": number(products) / preparations.cycles.as_secs_f64() / 1e9,
        "compile_milliseconds": preparations.compile.map(milliseconds),
        "open_milliseconds": milliseconds(preparations.open),
        "rows": rows.collect::<Vec<_>>(),
    })
}

/// A row's median against that of XNNPACK in the same turns.
fn ratio(row: &Times, rows: &[Times]) -> Option<f64> {
    let xnnpack = rows.iter().find(|row| row.name == oracles::XNNPACK)?;
    Some(row.median().as_secs_f64() / xnnpack.median().as_secs_f64())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
