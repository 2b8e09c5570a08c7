//! `cnnip compile`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use cnnip_compiler::{Choices, Options, PixelRule, Rounding, Stages, Tuner, compile_networks, compile_stages};
use cnnip_graph::Graph;
use cnnip_isa::Target;

use crate::compress::{self, Compress};
use crate::error::Error;
use crate::model::{Format, Reading};
use crate::quantize::{self, Quantize};
use crate::stream::Streams;
use crate::tool::target;
use crate::tune::{Tune, Tuned};
use crate::{files, info, model, quality, report};

#[derive(Debug, Args)]
pub(crate) struct Compile {
    /// Model: quantized TFLite or ONNX, or a float one together with --calib or --ranges; `cnnip operators` lists what it may consist of.
    /// Several become one package that runs them at once, a core each; their tensors have the file's name and `/` before their own
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// The package to write
    #[arg(short, long, value_name = "OUT.cnnip")]
    output: PathBuf,
    /// Machine to compile for
    #[arg(long, default_value = "v4h", value_parser = target)]
    target: &'static Target,
    /// Cores that share the network, where that takes fewer estimated cycles
    #[arg(long, value_name = "N", default_value_t = 1)]
    cores: u32,
    /// Rounding of accumulators: as TFLite Micro, with one rounding, or in binary32 as XNNPACK, and of ONNX models as ONNX Runtime
    #[arg(long, value_enum, default_value_t = RoundingName::Double)]
    rounding: RoundingName,
    /// Keep a tensor in memory to the end of a job; may repeat
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,
    /// Move every tensor through external memory, rather than keep it in the scratchpad between layers
    #[arg(long)]
    no_chain: bool,
    /// What of a picture becomes an int8 input: `auto` takes the pixel minus 128, `raw` its byte as it stands, `none`
    /// refuses pictures. A model does not say which it was trained with. --mean and --std go before
    #[arg(long, value_enum, default_value_t = PixelName::Auto)]
    preprocess: PixelName,
    /// A number for an extent with a name in an ONNX model; an unknown first extent is 1 by itself. May repeat
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dimension)]
    dims: Vec<(String, usize)>,
    /// Write the network after every graph pass into a folder, as text and for Graphviz
    #[arg(long, value_name = "DIR")]
    dump_passes: Option<PathBuf>,
    /// Write what every layer takes, and how near to float it is where examples calibrate it: a page, JSON or a table, as the
    /// name ends in .html, .json or .txt; may repeat
    #[arg(long, value_name = "FILE", value_parser = report::file)]
    report: Vec<PathBuf>,
    /// Leave the lowered network out of the package, which `cnnip accurate` then cannot run
    #[arg(long)]
    no_lowered: bool,
    #[command(flatten)]
    quantize: Quantize,
    #[command(flatten)]
    compress: Compress,
    #[command(flatten)]
    tune: Tune,
    /// Print results and errors as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoundingName {
    Double,
    Single,
    Float,
}

impl RoundingName {
    /// The rounding for a model of a format.
    pub(crate) fn of(self, format: Format) -> Rounding {
        match (self, format) {
            (Self::Double, _) => Rounding::Double,
            (Self::Single, _) => Rounding::Single,
            (Self::Float, Format::Tflite) => Rounding::Float,
            (Self::Float, Format::Onnx) => Rounding::Onnx,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PixelName {
    Auto,
    Raw,
    None,
}

/// `NAME=N`, an extent of at least 1.
fn dimension(text: &str) -> Result<(String, usize), String> {
    let parsed = text.split_once('=').and_then(|(name, extent)| Some((name, extent.parse().ok()?)));
    match parsed {
        Some((name, extent)) if extent > 0 && !name.is_empty() => Ok((name.to_owned(), extent)),
        _ => Err("expected NAME=N with N of at least 1".to_owned()),
    }
}

/// Reads models, quantizes those that are float, compiles them and writes the package.
pub(crate) fn run(arguments: &Compile, streams: &mut Streams<'_>) -> Result<(), Error> {
    let models = Models::read(arguments, streams)?;
    let mut stages = models.compiled(&Choices::new())?;
    let quality = models.quality(&stages)?;
    let name = models.names.join(", ");
    let write = |stages: &Stages| {
        files::write_package(&arguments.output, &stages.package)?;
        report::write(&arguments.report, &arguments.output, (&name, arguments.target), stages, &quality)
    };
    write(&stages)?;
    let begin = |seed| models.tuner(seed);
    let tuned = arguments.tune.run(&begin, streams, &mut |choices| write(&models.compiled(choices)?))?;
    if let Some(tuned) = &tuned {
        stages = models.compiled(&tuned.choices)?;
        write(&stages)?;
    }
    let compressed: Vec<&compress::Done> = models.ready.iter().flat_map(|ready| &ready.compressed).collect();
    say(arguments, &stages, &compressed, tuned.as_ref(), streams);
    Ok(())
}

/// Tells what was made.
fn say(
    arguments: &Compile,
    stages: &Stages,
    compressed: &[&compress::Done],
    tuned: Option<&Tuned>,
    streams: &mut Streams<'_>,
) {
    let report = stages.report(arguments.target);
    let layer = |index: usize| stages.legalized.layers[index].name.as_str();
    if arguments.json {
        let mut data = info::data(&stages.package);
        data["report"] = info::report_data(&report, layer);
        if !compressed.is_empty() {
            data["compression"] = compress::data(compressed.iter().copied());
        }
        if let Some(tuned) = tuned {
            data["tuning"] = tuned.data();
        }
        streams.data(&data);
        return;
    }
    let headline = info::headline(&stages.package.summary());
    let steps = compressed.iter().map(|done| compress::text(done)).chain(tuned.map(Tuned::text));
    let steps: String = steps.map(|line| line + "\n").collect();
    let report = info::report(&report, layer);
    streams.say(format_args!("{}: {headline}\n{steps}{report}", arguments.output.display()));
}

/// What a model was before it was compiled.
struct Ready {
    /// The float model that was calibrated, if there was one.
    float: Option<Arc<Graph>>,
    format: Format,
    compressed: Vec<compress::Done>,
}

/// What is compiled.
struct Models<'a> {
    arguments: &'a Compile,
    names: Vec<String>,
    ready: Vec<Ready>,
    /// The models in integers, with their names.
    networks: Vec<(String, Graph)>,
    options: Options,
}

impl<'a> Models<'a> {
    fn read(arguments: &'a Compile, streams: &mut Streams<'_>) -> Result<Self, Error> {
        let names = names(&arguments.models);
        if names.len() > 1 && arguments.quantize.has_journal() {
            return Err(Error::Analysis {
                kind: "usage",
                message: format!("--calib-journal is of one model, and these are {}", names.len()),
                hint: "calibrate them one by one with --save-ranges, and compile them with --ranges".to_owned(),
            });
        }
        let (mut ready, mut networks) = (vec![], vec![]);
        for (path, name) in arguments.models.iter().zip(&names) {
            let (one, graph) = read(arguments, path, name, streams)?;
            ready.push(one);
            networks.push((name.clone(), graph));
        }
        if ready.len() > 1 {
            check_several(arguments, &ready)?;
        }
        let format = ready.first().map_or(Format::Tflite, |ready| ready.format);
        Ok(Self { options: options(arguments, format), arguments, names, ready, networks })
    }

    fn compiled(&self, choices: &Choices) -> Result<Stages, Error> {
        let options = Options { choices: choices.clone(), ..self.options.clone() };
        let stages = match self.networks.as_slice() {
            [(_, graph)] => compile_stages(graph, &options),
            networks => compile_networks(networks, &options),
        };
        stages.map_err(|errors| Error::Compile { path: self.path(), errors })
    }

    fn tuner(&self, seed: u64) -> Result<Tuner, Error> {
        let tuner = match self.networks.as_slice() {
            [(_, graph)] => Tuner::new(graph, &self.options, seed),
            networks => Tuner::of_networks(networks, &self.options, seed),
        };
        tuner.map_err(|errors| Error::Compile { path: self.path(), errors })
    }

    /// All models, for messages.
    fn path(&self) -> PathBuf {
        let paths: Vec<String> = self.arguments.models.iter().map(|path| path.display().to_string()).collect();
        PathBuf::from(paths.join(", "))
    }

    /// Signal to noise of tensors, where a report wants it and examples have calibrated a model.
    fn quality(&self, stages: &Stages) -> Result<BTreeMap<String, f64>, Error> {
        let mut quality = BTreeMap::new();
        let models = self.arguments.models.iter().zip(&self.ready).zip(&self.networks);
        for ((path, Ready { float, .. }), (name, graph)) in models.filter(|_| !self.arguments.report.is_empty()) {
            let Some(float) = float else { continue };
            let Some(data) = quantize::examples(float, &self.arguments.quantize)? else { continue };
            if self.networks.len() == 1 {
                return quality::of_tensors(path, float, &stages.legalized, &data);
            }
            let alone = compile_stages(graph, &Options { cores: 1, ..self.options.clone() });
            let alone = alone.map_err(|errors| Error::Compile { path: path.clone(), errors })?;
            let found = quality::of_tensors(path, float, &alone.legalized, &data)?;
            quality.extend(found.into_iter().map(|(tensor, found)| (format!("{name}/{tensor}"), found)));
        }
        Ok(quality)
    }
}

/// Names of the models: their files' without the ending, and a number behind one that has been before.
fn names(models: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for path in models {
        let stem = path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned());
        let numbered = (2..).map(|number: u32| format!("{stem}.{number}"));
        let free = std::iter::once(stem.clone()).chain(numbered).find(|name| !names.contains(name));
        names.push(free.unwrap_or(stem));
    }
    names
}

fn read(arguments: &Compile, path: &Path, name: &str, streams: &mut Streams<'_>) -> Result<(Ready, Graph), Error> {
    for written in std::iter::once(&arguments.output).chain(&arguments.report) {
        files::distinct(path, written)?;
    }
    let alone = arguments.models.len() == 1;
    let dump = arguments.dump_passes.as_ref().map(|dir| if alone { dir.clone() } else { dir.join(name) });
    let reading = Reading { dims: arguments.dims.iter().cloned().collect(), dump };
    let (mut graph, format) = model::read_with_format(path, &reading)?;
    let pruned = arguments.compress.prune(path, &mut graph)?;
    let (mut graph, float) = quantize::with_float(path, graph, &arguments.quantize, streams)?;
    let compressed = pruned.into_iter().chain(arguments.compress.cluster(&mut graph)).collect();
    Ok((Ready { float, format, compressed }, graph))
}

/// Several networks have a core each and one rounding.
fn check_several(arguments: &Compile, ready: &[Ready]) -> Result<(), Error> {
    let given = arguments.cores;
    if given != 1 && usize::try_from(given) != Ok(ready.len()) {
        return Err(Error::CoresOfSeveral { cores: given, models: ready.len() });
    }
    let mixed = ready.windows(2).any(|two| two[0].format != two[1].format);
    if mixed && arguments.rounding == RoundingName::Float {
        return Err(Error::TwoFormats);
    }
    Ok(())
}

fn options(arguments: &Compile, format: Format) -> Options {
    let models = arguments.models.iter().filter_map(|path| path.file_name());
    let models: Vec<String> = models.map(|name| name.to_string_lossy().into_owned()).collect();
    Options {
        cores: arguments.cores,
        rounding: arguments.rounding.of(format),
        keep: arguments.keep.clone(),
        chain: !arguments.no_chain,
        weights: arguments.compress.coding(),
        pixels: pixels(arguments),
        lowered: !arguments.no_lowered,
        provenance: vec![("model".to_owned(), models.join(", "))],
        ..Options::new(arguments.target)
    }
}

fn pixels(arguments: &Compile) -> PixelRule {
    match (arguments.quantize.normalize(), arguments.preprocess) {
        (Some(rule), _) => PixelRule::Normalize { mean: rule.mean, std: rule.std },
        (None, PixelName::Auto) => PixelRule::Auto,
        (None, PixelName::Raw) => PixelRule::Raw,
        (None, PixelName::None) => PixelRule::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_has_been_gets_a_number() {
        let models = ["a.tflite", "x/b.onnx", "y/a.onnx", "a.tflite"].map(PathBuf::from);
        assert_eq!(names(&models), ["a", "b", "a.2", "a.3"]);
    }
}
