//! Examples over all threads, in order into the journal.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use cnnip_data::{Dataset, Example, Truth};
use cnnip_graph::{Graph, Tensor};

use crate::boxes;
use crate::journal::{Journal, JournalError, LINE_ENDS};
use crate::level::{Level, LevelError};
use crate::record::{Distance, Outcome, Record, best};
use crate::task::Task;
use crate::totals::Totals;

/// Classes of an example that are kept.
const BEST: usize = 5;

/// What is evaluated, and how.
pub struct Evaluation<'a> {
    /// The examples.
    pub data: &'a Dataset,
    /// How many of them, from the first.
    pub count: usize,
    /// Names of the levels.
    pub levels: &'a [&'a str],
    /// Positions of the outputs that are numbers of something, such as of boxes.
    pub indices: &'a [usize],
    /// What the outputs mean.
    pub task: &'a Task,
    /// Makes the levels of a thread, in the order of their names.
    pub make: &'a (dyn Fn() -> Result<Vec<Box<dyn Level>>, LevelError> + Sync),
    /// Threads; at least one is used.
    pub threads: usize,
    /// Ends at the first example without outcomes.
    pub stop: bool,
}

/// Positions of the outputs of a graph that are numbers of something, such as of classes or boxes.
pub fn index_outputs(graph: &Graph) -> Vec<usize> {
    let is_index = |tensor: &Tensor| tensor.element.range().is_some() && tensor.quantization.is_none();
    let outputs = graph.outputs.iter().enumerate().filter(|&(_, &id)| is_index(&graph[id]));
    outputs.map(|(position, _)| position).collect()
}

/// Why an evaluation ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A level that cannot be made.
    #[error("{0}")]
    Level(#[from] LevelError),
    /// A journal that cannot be written.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// A journal of other examples.
    #[error("example {index} is `{found}` in the journal, `{wanted}` in the data set")]
    Other {
        /// Position of the example.
        index: usize,
        /// Its name in the journal.
        found: String,
        /// Its name in the data set; empty if there are not as many.
        wanted: String,
    },
}

impl RunError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Level(_) => {
                "the level `float` needs a float model, all others integers: calibrate it, or give --float"
            }
            Self::Journal(JournalError::File { .. }) => "the folder must exist and be writable",
            Self::Other { .. } => "resume with the data set it was begun with, or begin another journal",
            Self::Journal(_) => "resume with the levels it was begun with, or begin another journal",
        }
    }
}

/// Runs what `before` does not have; gives the totals of all.
///
/// Records come to the journal and to `progress` in the order of the examples, whatever the number of threads, so the journal of two
/// runs is the same. `progress` says with `false` that it has had enough; what is in the journal then stays.
///
/// # Errors
/// Levels that cannot be made, a journal that cannot be written or of other examples. Examples that fail are counted.
pub fn evaluate(
    evaluation: &Evaluation<'_>,
    before: &[Record],
    journal: Option<&mut Journal>,
    progress: &mut dyn FnMut(&Record, &Totals) -> bool,
) -> Result<Totals, RunError> {
    for Record { index, name, .. } in before {
        let wanted = evaluation.data.name(*index).replace(LINE_ENDS, " ");
        if wanted != *name {
            return Err(RunError::Other { index: *index, found: name.clone(), wanted });
        }
    }
    let done: HashSet<usize> = before.iter().map(|record| record.index).collect();
    let todo: Vec<usize> = (0..evaluation.count.min(evaluation.data.len())).filter(|at| !done.contains(at)).collect();
    let mut totals = Totals::new(evaluation.levels.len());
    before.iter().for_each(|record| totals.add(record));
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let threads = evaluation.threads.clamp(1, todo.len().max(1));
    let mut sets = Vec::with_capacity(threads);
    for _ in 0..threads {
        sets.push((evaluation.make)()?);
    }
    thread::scope(|scope| {
        // Bounded, so that threads do not run ahead of a slow example.
        let (send, receive) = mpsc::sync_channel(4 * threads);
        for mut levels in sets {
            let (send, todo, next, stopped) = (send.clone(), &todo, &next, &stopped);
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&index) = todo.get(place).filter(|_| !stopped.load(Ordering::Relaxed)) else { return };
                    let record = one(evaluation, index, &mut levels);
                    // The receiver has gone after a journal error: nothing is left to do.
                    if send.send((place, record)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        collect(evaluation, &receive, journal, &mut totals, progress, &stopped)
    })?;
    Ok(totals)
}

/// Takes records in any order and passes them on in the right one.
fn collect(
    evaluation: &Evaluation<'_>,
    receive: &mpsc::Receiver<(usize, Record)>,
    mut journal: Option<&mut Journal>,
    totals: &mut Totals,
    progress: &mut dyn FnMut(&Record, &Totals) -> bool,
    stopped: &AtomicBool,
) -> Result<(), RunError> {
    let (mut waiting, mut next) = (BTreeMap::new(), 0);
    for (place, record) in receive {
        waiting.insert(place, record);
        while let Some(record) = waiting.remove(&next) {
            next += 1;
            if stopped.load(Ordering::Relaxed) {
                continue;
            }
            if let Some(journal) = journal.as_deref_mut() {
                journal.append(&record).inspect_err(|_| stopped.store(true, Ordering::Relaxed))?;
            }
            totals.add(&record);
            let enough = !progress(&record, totals) || evaluation.stop && record.result.is_err();
            stopped.store(enough, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn one(evaluation: &Evaluation<'_>, index: usize, levels: &mut [Box<dyn Level>]) -> Record {
    let Evaluation { data, task, .. } = evaluation;
    let (name, label) = (data.name(index), data.label(index));
    let mut objects = BTreeMap::new();
    let loaded = data.load(index).map_err(|error| error.why.to_string());
    let result = loaded.and_then(|example| {
        let outcomes = outcomes((task, evaluation.indices), &example, label, levels)?;
        if let Truth::Objects(truth) = &example.truth {
            objects = boxes::objects(truth);
        }
        Ok(outcomes)
    });
    Record { index, name, label, objects, result }
}

fn outcomes(
    (task, indices): (&Task, &[usize]),
    example: &Example,
    label: Option<usize>,
    levels: &mut [Box<dyn Level>],
) -> Result<Vec<Outcome>, String> {
    let mut first: Option<Vec<Vec<f32>>> = None;
    let mut outcomes = Vec::with_capacity(levels.len());
    for level in levels {
        let outputs = level.run(&example.inputs).map_err(|error| error.to_string())?;
        let scores = outputs.first().filter(|_| *task == Task::Classes).map_or(&[][..], Vec::as_slice);
        // One score alone is no score per class.
        if let Some(label) = label.filter(|&label| scores.len() > 1 && label >= scores.len()) {
            return Err(format!("its class is {label}, the network has {} from 0 on", scores.len()));
        }
        let best = best(scores, BEST);
        let distance = Distance::between(first.as_deref().unwrap_or(&outputs), &outputs, indices);
        outcomes.push(Outcome { best, distance, evidence: task.evidence(&example.truth, &outputs) });
        first.get_or_insert(outputs);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests;
