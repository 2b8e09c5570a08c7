//! Calibration and quantization of float models.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use cnnip_data::{Dataset, Fit, InputSpec, Normalize, PictureRule};
use cnnip_graph::{Graph, Op, Pattern, Quantization, TensorId};
use cnnip_quant::{Calibration, Method, Options, Ranges};
use serde_json::Value;

use crate::error::Error;
use crate::stream::Streams;
use crate::{calibration, files, model};

/// Largest table of ranges.
const MAX_RANGES_BYTES: u64 = 64 << 20;

/// How a float model becomes integers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Quantization of a float model")]
pub(crate) struct Quantize {
    /// Examples to calibrate with: a folder of pictures, a .csv list of files, or an .npy or .npz file
    #[arg(long, value_name = "DIR|FILE")]
    calib: Option<PathBuf>,
    /// Take at most this many examples, spread over all
    #[arg(long, value_name = "N", requires = "calib")]
    calib_count: Option<usize>,
    /// Keep what the examples have shown in a file, and go on after those it knows of: for calibrations that may be interrupted
    #[arg(long, value_name = "FILE.json", requires = "calib")]
    calib_journal: Option<PathBuf>,
    /// How a range follows from values
    #[arg(long, value_enum, default_value_t = MethodName::MinMax)]
    calib_method: MethodName,
    /// Share of all values within the range, for `percentile`
    #[arg(long, value_name = "SHARE", default_value_t = 0.9999, value_parser = share)]
    calib_keep: f64,
    /// Ranges of tensors, as JSON; they go before those of the calibration
    #[arg(long, value_name = "FILE.json")]
    ranges: Option<PathBuf>,
    /// Write the ranges that were used
    #[arg(long, value_name = "FILE.json")]
    save_ranges: Option<PathBuf>,
    /// Give tensors of this name 16 bits, weights too; `*` stands for any characters; `@FILE` names what `cnnip precision`
    /// wrote; may repeat
    #[arg(long, value_name = "PATTERN|@FILE")]
    int16: Vec<String>,
    /// Make the ranges of weights even across layers before
    #[arg(long)]
    equalize: bool,
    /// Correct biases for what rounding the weights does to the means
    #[arg(long, requires = "calib")]
    correct_bias: bool,
    /// Inputs and outputs are integers, not real numbers
    #[arg(long)]
    integer_ends: bool,
    /// Subtracted from the pixels of a picture: one number, or one per channel
    #[arg(long, value_name = "M,..", value_delimiter = ',', requires = "std", allow_negative_numbers = true)]
    mean: Vec<f32>,
    /// Pixels are divided by it afterwards: one number, or one per channel
    #[arg(long, value_name = "S,..", value_delimiter = ',', requires = "mean", value_parser = divisor)]
    std: Vec<f32>,
    /// What is done with pictures of another size
    #[arg(long, value_enum, default_value_t = FitName::Exact)]
    fit: FitName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// The smallest and the largest value
    MinMax,
    /// A moving average of each example's
    Average,
    /// Without the outermost values
    Percentile,
    /// Least Kullback-Leibler divergence
    Entropy,
    /// Least mean squared error
    Mse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FitName {
    /// They are refused
    Exact,
    /// Both sides are scaled
    Stretch,
    /// Scaled to cover, then the middle is taken
    Crop,
}

/// What an example of a moving average counts against those before.
const MOMENTUM: f32 = 0.9;

impl Quantize {
    /// The rule for pixels, if one is given.
    pub(crate) fn normalize(&self) -> Option<Normalize> {
        (!self.std.is_empty()).then(|| Normalize { mean: self.mean.clone(), std: self.std.clone() })
    }

    /// Whether the calibration is to be kept in a file.
    pub(crate) fn has_journal(&self) -> bool {
        self.calib_journal.is_some()
    }

    /// Whether it says how to quantize a float model.
    pub(crate) fn is_given(&self) -> bool {
        self.calib.is_some() || self.ranges.is_some()
    }

    fn method(&self) -> Method {
        match self.calib_method {
            MethodName::MinMax => Method::MinMax,
            MethodName::Average => Method::MovingAverage { momentum: MOMENTUM },
            MethodName::Percentile => Method::Percentile { keep: self.calib_keep },
            MethodName::Entropy => Method::Entropy,
            MethodName::Mse => Method::Mse,
        }
    }

    /// What is done about the size of pictures.
    pub(crate) fn fit(&self) -> Fit {
        match self.fit {
            FitName::Exact => Fit::Exact,
            FitName::Stretch => Fit::Stretch,
            FitName::Crop => Fit::Crop,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value > 0.0 && value <= 1.0 { Ok(value) } else { Err("a share is above 0 and at most 1".to_owned()) }
}

pub(crate) fn divisor(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value.is_finite() && value != 0.0 { Ok(value) } else { Err("a finite number, not 0".to_owned()) }
}

/// The model in integers: as it is, or quantized as the arguments say.
pub(crate) fn quantized(
    path: &Path,
    graph: Graph,
    arguments: &Quantize,
    streams: &mut Streams<'_>,
) -> Result<Graph, Error> {
    with_float(path, graph, arguments, streams).map(|(graph, _)| graph)
}

/// As [`quantized`], with the float model that was calibrated, if there was one.
pub(crate) fn with_float(
    path: &Path,
    graph: Graph,
    arguments: &Quantize,
    streams: &mut Streams<'_>,
) -> Result<(Graph, Option<Arc<Graph>>), Error> {
    if !model::is_float(&graph) {
        return match (&arguments.calib, &arguments.ranges) {
            (None, None) => Ok((graph, None)),
            _ => Err(Error::AlreadyQuantized { path: path.into() }),
        };
    }
    let calibrated = calibrate(path, graph, arguments, streams)?;
    Ok((calibrated.quantized(path, &[])?, Some(calibrated.graph)))
}

/// A float model with all that its quantization needs.
pub(crate) struct Calibrated {
    /// The model, its weights evened out if that was asked for.
    pub(crate) graph: Arc<Graph>,
    ranges: Ranges,
    options: Options,
}

impl Calibrated {
    /// The model in integers, with tensors of these names in 16 bits beside those that the arguments say.
    pub(crate) fn quantized(&self, path: &Path, wide: &[&str]) -> Result<Graph, Error> {
        let mut options = self.options.clone();
        options.wide.extend(wide.iter().map(|name| Pattern::new(name)));
        cnnip_quant::quantize(&self.graph, &self.ranges, &options)
            .map_err(|errors| Error::Quantize { path: path.into(), errors })
    }
}

/// Calibrates a float model as the arguments say.
pub(crate) fn calibrate(
    path: &Path,
    graph: Graph,
    arguments: &Quantize,
    streams: &mut Streams<'_>,
) -> Result<Calibrated, Error> {
    let mut graph = graph;
    if arguments.equalize {
        cnnip_quant::equalize(&mut graph);
    }
    let graph = Arc::new(graph);
    let calibration = calibrated(path, &graph, arguments, streams)?;
    if calibration.is_none() && arguments.ranges.is_none() {
        return Err(Error::NotCalibrated { path: path.into() });
    }
    let mut ranges = calibration.as_ref().map(Calibration::ranges).unwrap_or_default();
    if let Some(file) = &arguments.ranges {
        let text = files::read_text(file, MAX_RANGES_BYTES)?;
        ranges.update(Ranges::from_json(&text).map_err(|why| Error::Ranges { path: file.clone(), why })?);
    }
    if let Some(file) = &arguments.save_ranges {
        files::write(file, |out| out.write_all(ranges.to_json().as_bytes()))?;
    }
    let options = Options {
        wide: wide(&arguments.int16)?,
        integer_ends: arguments.integer_ends,
        means: calibration.and_then(|calibration| calibration.means().cloned()),
    };
    Ok(Calibrated { graph, ranges, options })
}

/// Patterns as they stand, and those of files.
fn wide(given: &[String]) -> Result<Vec<Pattern>, Error> {
    let mut patterns = vec![];
    for text in given {
        match text.strip_prefix('@') {
            Some(file) => patterns.extend(listed(Path::new(file))?.iter().map(|name| Pattern::new(name))),
            None => patterns.push(Pattern::new(text)),
        }
    }
    Ok(patterns)
}

/// The names under `int16` in a JSON file.
fn listed(path: &Path) -> Result<Vec<String>, Error> {
    let text = files::read_text(path, MAX_RANGES_BYTES)?;
    let read: Option<Value> = serde_json::from_str(&text).ok();
    let names = read.as_ref().and_then(|read| read.get("int16")?.as_array());
    let names = names.and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    names.ok_or_else(|| Error::Analysis {
        kind: "usage",
        message: format!("{}: not a list of tensors", path.display()),
        hint: r#"the form is {"int16": ["NAME", ...]}"#.to_owned(),
    })
}

/// The examples of the calibration, if there are any.
pub(crate) fn examples(graph: &Graph, arguments: &Quantize) -> Result<Option<Dataset>, Error> {
    let Some(data) = &arguments.calib else { return Ok(None) };
    Dataset::open(data, specs(graph), pictures(arguments)).map(Some).map_err(|why| Error::Data { why })
}

/// What becomes of the pictures of a calibration.
fn pictures(arguments: &Quantize) -> PictureRule {
    let normalize = arguments.normalize().unwrap_or_else(|| Normalize::all(0.0, 1.0));
    PictureRule { fit: arguments.fit(), normalize }
}

fn calibrated(
    path: &Path,
    graph: &Arc<Graph>,
    arguments: &Quantize,
    streams: &mut Streams<'_>,
) -> Result<Option<Calibration>, Error> {
    let Some(data) = examples(graph, arguments)? else { return Ok(None) };
    let empty = Calibration::new(arguments.method());
    let empty = if arguments.correct_bias { empty.with_means() } else { empty };
    let most = arguments.calib_count.unwrap_or(usize::MAX);
    let journal = arguments.calib_journal.as_deref().map(|file| (file, calibration::key(graph, &pictures(arguments))));
    calibration::observe((path, graph), (&data, most), empty, journal, streams).map(Some)
}

/// The inputs of a network as a data set sees them.
pub(crate) fn specs(graph: &Graph) -> Vec<InputSpec> {
    let spec = |&id: &TensorId| InputSpec {
        name: graph[id].name.clone(),
        shape: graph[id].shape.dims().to_vec(),
        planar: is_planar(graph, id),
    };
    graph.inputs.iter().map(spec).collect()
}

/// What pixels usually stand for: for an int8 input the byte minus 128, else the byte.
pub(crate) fn usual_pixels(graph: &Graph) -> Normalize {
    let input = graph.inputs.first().and_then(|&id| graph[id].quantization.as_ref());
    match input {
        Some(Quantization::PerTensor { scale, zero_point }) => {
            let zero = f32::from(i16::try_from(*zero_point).unwrap_or(0));
            Normalize::all(128.0 + zero, 1.0 / scale)
        }
        _ => Normalize::all(0.0, 1.0),
    }
}

/// Whether all that reads an input makes NHWC of it.
fn is_planar(graph: &Graph, id: TensorId) -> bool {
    let mut readers = graph.consumers(id).peekable();
    readers.peek().is_some()
        && readers.all(|node| matches!(&graph[node].op, Op::Transpose { perm } if perm == &[0, 2, 3, 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_come_from_the_command_line_and_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("int16.json");
        std::fs::write(&path, r#"{"int16": ["a", "b/*"], "reached": true}"#).unwrap();
        let given = ["x".to_owned(), format!("@{}", path.display())];
        assert_eq!(wide(&given).unwrap(), ["x", "a", "b/*"].map(Pattern::new));
        for text in ["", "{}", r#"{"int16": [1]}"#, "[]"] {
            std::fs::write(&path, text).unwrap();
            assert!(wide(&given).unwrap_err().text().contains("the form is"), "{text}");
        }
    }
}
