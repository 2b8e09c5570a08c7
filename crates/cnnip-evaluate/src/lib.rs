//! Accuracy over data sets, at any levels of simulation at once.
//!
//! | module | concern |
//! |---|---|
//! | [`level`] | what gives a network's outputs: float, fast, accurate, ISS |
//! | [`task`] | what a network's outputs mean: classes, objects in boxes, pixels |
//! | [`boxes`], [`areas`] | average precision of objects, intersection over union of pixels |
//! | [`record`] | what is kept of one example: the best classes, and how far each level is from the first |
//! | [`journal`] | records on disk, one line each, so that an interrupted evaluation goes on where it was |
//! | [`totals`] | accuracies and agreement over records |
//! | [`run`] | examples over all threads, in order into the journal |
//! | [`layers`] | fast against accurate, tensor by tensor, in steps |
//! | [`table`] | records as a Parquet file |
//!
//! Totals are always made of the records in the journal, of new ones and of those that were there: nothing is lost and nothing
//! counts twice. Memory does not grow with the number of examples, but by 24 bytes for every object that a network finds: average
//! precision orders all their scores.

#![forbid(unsafe_code)]

pub mod areas;
pub mod boxes;
pub mod journal;
pub mod layers;
pub mod level;
pub mod record;
pub mod run;
pub mod table;
pub mod task;
pub mod totals;

pub use journal::{Journal, JournalError};
pub use level::{Level, LevelError};
pub use record::{Outcome, Record};
pub use run::{Evaluation, evaluate, index_outputs};
pub use task::Task;
pub use totals::{LevelTotals, Totals, Worst};
