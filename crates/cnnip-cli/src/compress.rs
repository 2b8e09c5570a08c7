//! Weights in less room, as arguments of `cnnip compile`.

use std::path::Path;

use clap::{Args, ValueEnum};
use cnnip_compiler::WeightCoding;
use cnnip_graph::Graph;
use cnnip_quant::compress::{self, Compressed, Unit};
use serde_json::{Value, json};

use crate::error::Error;
use crate::model;

/// How weights are made smaller.
#[derive(Debug, Args)]
#[command(next_help_heading = "Compression of weights")]
pub(crate) struct Compress {
    /// How weights are stored, piece by piece where that takes fewer bytes; results are the same
    #[arg(long, value_enum, default_value_t = CodingName::Raw)]
    weights: CodingName,
    /// Make this share of the weights of a float model 0, the smallest of each layer
    #[arg(long, value_name = "SHARE", value_parser = share)]
    prune: Option<f64>,
    /// Prune whole weight blocks of the machine, which `--weights sparse` then neither stores nor computes
    #[arg(long, requires = "prune")]
    prune_blocks: bool,
    /// Let the kernels of each layer share 2^BITS, for `--weights cluster`
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(1..=16))]
    cluster: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CodingName {
    /// As the machine's layout has them
    Raw,
    /// Runs of zeros in two bytes
    ZeroRun,
    /// Indices into the distinct kernels
    Cluster,
    /// Without blocks that are all zero, which then take no time
    Sparse,
    /// The smallest of these
    Smallest,
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..1.0).contains(&value) { Ok(value) } else { Err("a share is at least 0 and below 1".to_owned()) }
}

/// What was done, by the word for it.
pub(crate) type Done = (&'static str, Compressed);

impl Compress {
    /// How the compiler stores weights.
    pub(crate) fn coding(&self) -> WeightCoding {
        match self.weights {
            CodingName::Raw => WeightCoding::Raw,
            CodingName::ZeroRun => WeightCoding::ZeroRun,
            CodingName::Cluster => WeightCoding::Cluster,
            CodingName::Sparse => WeightCoding::Sparse,
            CodingName::Smallest => WeightCoding::Smallest,
        }
    }

    /// Prunes a float model, if that is asked for.
    pub(crate) fn prune(&self, path: &Path, graph: &mut Graph) -> Result<Option<Done>, Error> {
        let Some(share) = self.prune else { return Ok(None) };
        if !model::is_float(graph) {
            return Err(Error::AlreadyQuantized { path: path.into() });
        }
        let unit = if self.prune_blocks { Unit::Block } else { Unit::Weight };
        Ok(Some(("pruned", compress::prune(graph, share, unit))))
    }

    /// Clusters the kernels of a quantized model, if that is asked for.
    pub(crate) fn cluster(&self, graph: &mut Graph) -> Option<Done> {
        self.cluster.map(|bits| ("clustered", compress::cluster(graph, bits)))
    }
}

/// For people.
pub(crate) fn text((what, done): &Done) -> String {
    let Compressed { layers, weights, zeros, error } = done;
    format!(
        "  {what} {layers} layers: {zeros} of {weights} weights are 0; squared error {error:.6} of the weights' squares"
    )
}

/// For programs.
pub(crate) fn data<'a>(all: impl IntoIterator<Item = &'a Done>) -> Value {
    let one = |(what, done): &Done| {
        let Compressed { layers, weights, zeros, error } = done;
        json!({ "step": what, "layers": layers, "weights": weights, "zeros": zeros, "squared_error": error })
    };
    all.into_iter().map(one).collect()
}
