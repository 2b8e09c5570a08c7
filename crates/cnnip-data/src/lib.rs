//! Arrays, pictures and data sets in files.
//!
//! | module | concern |
//! |---|---|
//! | [`npy`], [`npz`] | numpy's files: one array, several by name |
//! | [`picture`] | pictures of any size as pixels of the size a network takes |
//! | [`dataset`] | many examples, each loaded when it is asked for |
//!
//! Files may hold anything: what is read is bounded by limits that the caller gives or the network's input implies.

#![forbid(unsafe_code)]

pub mod dataset;
pub mod npy;
pub mod npz;
pub mod picture;

pub use dataset::{DataError, Dataset, Example, ExampleError, ExampleProblem, InputSpec, PictureRule};
pub use picture::{Fit, Normalize, Pixels, PixelsError};
