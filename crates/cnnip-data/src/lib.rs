//! Arrays, pictures and data sets in files.
//!
//! | module | concern |
//! |---|---|
//! | [`npy`], [`npz`] | numpy's files: one array, several by name |
//! | [`picture`] | pictures of any size as pixels of the size a network takes |
//! | [`dataset`] | many examples, each loaded when it is asked for |
//! | [`truth`] | what is known about an example: its objects, a class per pixel |
//! | [`parquet`] | tables as Parquet files |
//!
//! Files may hold anything: what is read is bounded by limits that the caller gives or the network's input implies.

#![forbid(unsafe_code)]

pub mod dataset;
pub mod npy;
pub mod npz;
pub mod parquet;
pub mod picture;
mod stored;
pub mod truth;

pub use dataset::{Classes, DataError, Dataset, Example, ExampleError, ExampleProblem, InputSpec, PictureRule};
pub use picture::{Fit, Normalize, Pixels, PixelsError};
pub use truth::{Mask, Object, Objects, Truth, View};
