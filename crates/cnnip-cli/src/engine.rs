//! `--engine`: what computes in real numbers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cnnip_float::{Embedded, Engine, Reference};

use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct EngineChoice {
    /// What computes in real numbers
    #[arg(long, value_enum, default_value_t = EngineName::Embedded)]
    engine: EngineName,
    /// Shared library of ONNX Runtime, for `--engine ort`; else $ORT_DYLIB_PATH, else where the system looks
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineName {
    /// The engine that is always there
    Embedded,
    /// Slow, obvious loops: what the others are checked against
    Reference,
    /// ONNX Runtime, in builds with the feature `ort`
    Ort,
}

impl EngineChoice {
    /// The engine.
    pub(crate) fn engine(&self) -> Result<Box<dyn Engine>, Error> {
        match self.engine {
            EngineName::Embedded => Ok(Box::new(Embedded::default())),
            EngineName::Reference => Ok(Box::new(Reference)),
            EngineName::Ort => self.ort(),
        }
    }

    #[cfg(feature = "ort")]
    fn ort(&self) -> Result<Box<dyn Engine>, Error> {
        let engine = cnnip_float::Ort::load(self.ort_library.as_deref()).map_err(|why| Error::Analysis {
            kind: "engine",
            message: why.to_string(),
            hint: "the Python package onnxruntime has it as onnxruntime/capi/libonnxruntime.so.*: name it with --ort-library"
                .to_owned(),
        })?;
        Ok(Box::new(engine))
    }

    #[cfg(not(feature = "ort"))]
    fn ort(&self) -> Result<Box<dyn Engine>, Error> {
        Err(Error::Analysis {
            kind: "engine",
            message: "this build has no engine `ort`".to_owned(),
            hint: "build it with `cargo build --release -p cnnip-cli --features ort`".to_owned(),
        })
    }
}
