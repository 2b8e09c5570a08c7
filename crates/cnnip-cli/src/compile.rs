//! `cnnip compile`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cnnip_compiler::{Options, PixelRule, Rounding, compile_stages};
use cnnip_isa::Target;

use crate::compress::{self, Compress};
use crate::error::Error;
use crate::model::{Format, Reading};
use crate::quantize::{self, Quantize};
use crate::stream::Streams;
use crate::tool::target;
use crate::{files, info, model};

#[derive(Debug, Args)]
pub(crate) struct Compile {
    /// Model: quantized TFLite or ONNX, or a float one together with --calib or --ranges; `cnnip operators` lists what it may consist of
    model: PathBuf,
    /// The package to write
    #[arg(short, long, value_name = "OUT.cnnip")]
    output: PathBuf,
    /// Machine to compile for
    #[arg(long, default_value = "v4h", value_parser = target)]
    target: &'static Target,
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
    /// Leave the lowered network out of the package, which `cnnip accurate` then cannot run
    #[arg(long)]
    no_lowered: bool,
    #[command(flatten)]
    quantize: Quantize,
    #[command(flatten)]
    compress: Compress,
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

/// Reads a model, quantizes it if it is float, compiles it and writes the package.
pub(crate) fn run(arguments: &Compile, streams: &mut Streams<'_>) -> Result<(), Error> {
    let path = &arguments.model;
    files::distinct(path, &arguments.output)?;
    let reading = Reading { dims: arguments.dims.iter().cloned().collect(), dump: arguments.dump_passes.clone() };
    let (mut graph, format) = model::read_with_format(path, &reading)?;
    let pruned = arguments.compress.prune(path, &mut graph)?;
    let mut graph = quantize::quantized(path, graph, &arguments.quantize, streams)?;
    let compressed: Vec<compress::Done> = pruned.into_iter().chain(arguments.compress.cluster(&mut graph)).collect();
    let stages = compile_stages(&graph, &options(arguments, format))
        .map_err(|errors| Error::Compile { path: path.clone(), errors })?;
    let report = stages.report(arguments.target);
    files::write_package(&arguments.output, &stages.package)?;
    if arguments.json {
        let mut data = info::data(&stages.package);
        data["report"] = info::report_data(&report);
        if !compressed.is_empty() {
            data["compression"] = compress::data(&compressed);
        }
        streams.data(&data);
    } else {
        let headline = info::headline(&stages.package.summary());
        let steps: String = compressed.iter().map(|done| compress::text(done) + "\n").collect();
        streams.say(format_args!("{}: {headline}\n{steps}{}", arguments.output.display(), info::report(&report)));
    }
    Ok(())
}

fn options(arguments: &Compile, format: Format) -> Options {
    let model = arguments.model.file_name().map(|name| name.to_string_lossy().into_owned());
    Options {
        rounding: arguments.rounding.of(format),
        keep: arguments.keep.clone(),
        chain: !arguments.no_chain,
        weights: arguments.compress.coding(),
        pixels: pixels(arguments),
        lowered: !arguments.no_lowered,
        provenance: model.map(|name| ("model".to_owned(), name)).into_iter().collect(),
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
