//! The `.cnnip` container: command lists, constants and tables, read and written.
//!
//! A [`Package`] is everything a device and its host need to run a network. [`Package::read`] takes bytes of any origin;
//! [`Package::open_mapped`] leaves the constants in the file; [`Package::write_file`] writes all or nothing.
//! The format is described in `isa-spec/package.md`; this crate has nothing of the machine itself and does not look into
//! command lists.
//!
//! ```
//! use cnnip_package::{Package, Region, RegionId, RegionKind};
//!
//! let mut package = Package::new("v4h");
//! package.regions.push(Region { name: "weights".into(), kind: RegionKind::Constant, bytes: 3, core_visible: true });
//! package.constants.insert(RegionId(0), &[1, 2, 3][..]);
//!
//! let read = Package::read(&package.to_bytes())?;
//! assert_eq!(read.constant(RegionId(0)).unwrap()[..], [1, 2, 3]);
//! # Ok::<(), cnnip_package::PackageError>(())
//! ```

#![deny(unsafe_code)]

mod atomic;
mod check;
mod constants;
mod container;
mod engine;
mod error;
mod layout;
#[allow(unsafe_code, reason = "mapping a file is unsafe; the module is the fence around it")]
mod mapped;
mod package;
mod preprocess;
mod problem;
mod program;
mod read;
mod region;
mod source;
mod summary;
mod tensor;
pub mod text;
mod tile;
pub mod wire;
mod write;

pub use atomic::atomic_write;
pub use constants::{CONSTANT_ALIGNMENT, ConstantBytes, Constants};
pub use container::{FORMAT_VERSION, SIGNATURE};
pub use engine::{Engine, EngineId, FIRST_SYSTEM_TOKEN, List, ListId, TOKENS, TokenOwner};
pub use error::{FileError, FormatError, PackageError, Why};
pub use package::{Budget, Layer, Package, SPEC_VERSION};
pub use preprocess::{Color, Input, Layout, Pixels, Preprocess};
pub use problem::{Defect, Item, MAX_PROBLEMS, Problem};
pub use program::{BoxScales, DetectionResult, Detections, HostOperator, HostStep, Step, Suppression};
pub use region::{MAX_REGION_BYTES, MAX_REGIONS, Region, RegionId, RegionKind};
pub use source::SourceTensor;
pub use summary::Summary;
pub use tensor::{ElementType, Place, Quantization, Tensor, TensorId};
pub use tile::{Memory, Tile, TileMap, TraceSource, Traced, TracedId};
