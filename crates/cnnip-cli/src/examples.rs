//! One input after the other, of a data set.

use std::path::{Path, PathBuf};

use clap::Args;
use cnnip_data::{Dataset, Fit, Normalize, PictureRule};

use crate::error::Error;
use crate::level::Ready;
use crate::quantize::divisor;

/// What stands for the number of the example, from 0, in the path of a dump.
const NUMBER: &str = "{}";

/// Whether a path has a place for the number of the example.
pub(crate) fn is_numbered(path: &Path) -> bool {
    path.to_string_lossy().contains(NUMBER)
}

/// The path with the number of an example.
pub(crate) fn numbered(path: &Path, example: usize) -> PathBuf {
    path.to_string_lossy().replace(NUMBER, &example.to_string()).into()
}

/// Many inputs instead of one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Many inputs")]
pub(crate) struct Examples {
    /// Run all examples of a data set, one after the other: a folder of pictures, a .csv list of files, or an .npy or .npz file
    #[arg(long, value_name = "DIR|FILE", conflicts_with = "inputs")]
    data: Option<PathBuf>,
    /// Take the first N examples only
    #[arg(long, value_name = "N", requires = "data")]
    count: Option<usize>,
    /// Subtracted from the pixels of a picture, where no package says it: one number, or one per channel
    #[arg(
        long,
        value_name = "M,..",
        value_delimiter = ',',
        requires_all = ["data", "std"],
        allow_negative_numbers = true
    )]
    mean: Vec<f32>,
    /// Pixels are divided by it afterwards: one number, or one per channel
    #[arg(long, value_name = "S,..", value_delimiter = ',', requires_all = ["data", "mean"], value_parser = divisor)]
    std: Vec<f32>,
}

impl Examples {
    /// The data set, if there is one, for levels that run; a package knows best what pixels stand for.
    pub(crate) fn open(&self, levels: &[&Ready]) -> Result<Option<Dataset>, Error> {
        let Some(path) = &self.data else { return Ok(None) };
        let usage = |message: &str, hint: &str| Error::Analysis {
            kind: "usage",
            message: message.to_owned(),
            hint: hint.to_owned(),
        };
        if levels.iter().any(|level| level.is_one_dump()) {
            let hint = "write {} in its path where the number of the example stands, from 0";
            return Err(usage("a dump has the tensors of one input", hint));
        }
        let mut running: Vec<&&Ready> = levels.iter().filter(|level| level.examples().is_some()).collect();
        running.sort_by_key(|level| !level.is_package());
        let known = running.first().and_then(|level| level.examples());
        let (specs, usual) = known.ok_or_else(|| usage("neither side runs", "leave --data out"))?;
        let given = Normalize { mean: self.mean.clone(), std: self.std.clone() };
        let normalize = if self.std.is_empty() { usual } else { given };
        let data = Dataset::open(path, specs, PictureRule { fit: Fit::Exact, normalize });
        data.map(Some).map_err(|why| Error::Data { why })
    }

    /// Whether there are many.
    pub(crate) fn are_given(&self) -> bool {
        self.data.is_some()
    }

    /// Examples to take.
    pub(crate) fn count(&self, data: &Dataset) -> usize {
        self.count.unwrap_or(usize::MAX).min(data.len())
    }
}
