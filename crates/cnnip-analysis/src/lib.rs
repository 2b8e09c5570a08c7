//! Where two results of one network part, by how much, and why an element is what it is.
//!
//! | module | question |
//! |---|---|
//! | [`tensors`] | what is compared: tensors by the source model's names, quantized or real |
//! | [`mod@compare`] | how far apart are two of them; per tensor: difference, noise, saturation |
//! | [`local`] | what does each layer add, fed with the reference's inputs |
//! | [`verdict`] | is the range to blame, or the number of bits, and what would become of the error |
//! | [`masks`] | on which pixels do two segmentations agree |
//! | [`bisect`] | which element differs first, and which command wrote it |
//! | [`why`] | how is one element derived: every tap, accumulator, rounding |
//! | [`report`] | the same as a page and as CSV |
//! | [`report::cost`] | what does each layer take: cycles, bytes, scratchpad, and when |
//!
//! What cannot be compared is refused by name rather than compared wrongly. Nothing here prints or reads files.

#![forbid(unsafe_code)]

pub mod bisect;
pub mod compare;
pub mod local;
pub mod masks;
pub mod report;
pub mod tensors;
pub mod verdict;
pub mod why;

pub use compare::{Comparer, Comparison, Incomparable, Measure, compare};
pub use tensors::{Affine, NamedTensor, TensorSet};
pub use verdict::{Cause, Verdict, verdicts};
