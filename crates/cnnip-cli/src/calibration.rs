//! Calibration of a float model on a data set, and its journal.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cnnip_data::{Dataset, ExampleError, PictureRule};
use cnnip_float::{Embedded, Engine, FloatError, Session};
use cnnip_graph::Graph;
use cnnip_quant::Calibration;
use cnnip_quant::calibrate::watched;
use serde_json::{Value, json};

use crate::error::Error;
use crate::files;
use crate::stream::Streams;

/// Most broken examples that are listed.
const MAX_LISTED: usize = 50;
/// Largest journal.
const MAX_JOURNAL_BYTES: u64 = 1 << 30;
/// How often a journal is written.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a round of the threads is to take at least, for starting them not to count.
const LEAST_ROUND: Duration = Duration::from_millis(50);
/// Most examples of a thread in a round.
const MOST_IN_ROUND: usize = 256;

/// Runs a float model on examples, spread over all of a data set, and sees what values its tensors have.
///
/// With a journal, a run that was interrupted goes on after the examples that the journal knows of, with the same result. All threads of
/// the machine work, where the order of the examples does not matter.
pub(crate) fn observe(
    (path, graph): (&Path, &Arc<Graph>),
    (data, most): (&Dataset, usize),
    empty: Calibration,
    journal: Option<(&Path, String)>,
    streams: &mut Streams<'_>,
) -> Result<Calibration, Error> {
    let float = |why| Error::Float { path: path.into(), why };
    let network = Embedded::default().prepare(Arc::clone(graph), &watched(graph)).map_err(float)?;
    let chosen = spread(data.len(), most);
    let names: Vec<String> = chosen.iter().map(|&index| data.name(index)).collect();
    let mut journal = journal.map(|(path, key)| Journal::open(path, key, &names, &empty)).transpose()?;
    let known = journal.as_mut().and_then(|journal| journal.found.take()).unwrap_or_else(|| empty.clone());
    let (mut done, mut each) = (usize::try_from(known.inputs()).unwrap_or(usize::MAX), 1);
    let threads = if empty.has_order() { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    let worker = |found: Calibration| Worker { session: Arc::clone(&network).session(), found };
    let mut workers: Vec<Worker> =
        std::iter::once(known).chain((1..threads).map(|_| empty.clone())).map(worker).collect();
    let mut broken = vec![];
    while let Some(rest) = chosen.get(done..).filter(|rest| !rest.is_empty()) {
        streams.progress("calibrating", done, chosen.len());
        let begun = Instant::now();
        let round = &rest[..rest.len().min(threads * each)];
        broken.extend(round_of(&mut workers, data, graph, round).map_err(float)?);
        done += round.len();
        if begun.elapsed() < LEAST_ROUND {
            each = (each * 2).min(MOST_IN_ROUND);
        }
        // After a broken example the numbers of examples and of inputs are not the same.
        if let Some(journal) = journal.as_mut().filter(|journal| broken.is_empty() && journal.is_due(done))
            && let Some(calibration) = gather(&mut workers, &empty)
        {
            journal.write(calibration)?;
        }
    }
    streams.progress("calibrating", chosen.len(), chosen.len());
    if broken.is_empty() {
        return Ok(gather(&mut workers, &empty).cloned().unwrap_or(empty));
    }
    let more = broken.len().saturating_sub(MAX_LISTED);
    broken.truncate(MAX_LISTED);
    Err(Error::Examples { broken, more })
}

/// A thread's part of a calibration.
struct Worker {
    session: Box<dyn Session>,
    found: Calibration,
}

impl Worker {
    /// Runs some examples; gives the positions of those that are broken, and why.
    fn run(
        &mut self,
        data: &Dataset,
        graph: &Graph,
        examples: impl Iterator<Item = (usize, usize)>,
    ) -> Result<Vec<(usize, ExampleError)>, FloatError> {
        let mut broken = vec![];
        for (position, index) in examples {
            match data.load(index) {
                Ok(example) => {
                    let inputs: Vec<&[f32]> = example.inputs.iter().map(Vec::as_slice).collect();
                    self.found.observe_run(self.session.as_mut(), graph, &inputs)?;
                }
                Err(why) => broken.push((position, why)),
            }
        }
        Ok(broken)
    }
}

/// Runs examples, each worker a part of them; gives the broken ones in order.
fn round_of(
    workers: &mut [Worker],
    data: &Dataset,
    graph: &Graph,
    round: &[usize],
) -> Result<Vec<ExampleError>, FloatError> {
    let apart = workers.len();
    let part = |worker| round.iter().copied().enumerate().skip(worker).step_by(apart);
    let found: Vec<_> = match workers {
        [worker] => vec![worker.run(data, graph, part(0))],
        workers => thread::scope(|scope| {
            let mut threads = vec![];
            for (number, worker) in workers.iter_mut().enumerate() {
                let part = part(number);
                threads.push(scope.spawn(move || worker.run(data, graph, part)));
            }
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        }),
    };
    let mut broken: Vec<(usize, ExampleError)> = vec![];
    for part in found {
        broken.extend(part?);
    }
    broken.sort_by_key(|&(position, _)| position);
    Ok(broken.into_iter().map(|(_, why)| why).collect())
}

/// Adds to what the first worker has seen what the others have, who begin anew.
fn gather<'a>(workers: &'a mut [Worker], empty: &Calibration) -> Option<&'a Calibration> {
    let (first, others) = workers.split_first_mut()?;
    for other in others {
        first.found.merge(&std::mem::replace(&mut other.found, empty.clone()));
    }
    Some(&first.found)
}

/// Indices of `most` of `count` examples, evenly spread.
pub(crate) fn spread(count: usize, most: usize) -> Vec<usize> {
    let chosen = count.min(most);
    (0..chosen).map(|at| at * count / chosen).collect()
}

/// What a calibration depends on beside its examples and its method: the network and what becomes of pictures.
pub(crate) fn key(graph: &Graph, pictures: &PictureRule) -> String {
    let mut hasher = DefaultHasher::new();
    for tensor in &graph.tensors {
        (&tensor.name, tensor.shape.dims(), tensor.data.as_ref().map(|data| data.bytes())).hash(&mut hasher);
    }
    for node in &graph.nodes {
        let ids = node.inputs.iter().chain(&node.outputs).map(|id| id.index()).collect::<Vec<_>>();
        (format!("{:?}", node.op), ids).hash(&mut hasher);
    }
    format!("{pictures:?}").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What has been seen, in a file: `{"of": key, "examples": [names], "calibration": state}`.
struct Journal<'a> {
    path: PathBuf,
    key: String,
    /// Names of all examples in their order.
    names: &'a [String],
    found: Option<Calibration>,
    /// When this run wrote it last: its first write is at once, as a path that cannot be written is better known early.
    written: Option<Instant>,
}

impl<'a> Journal<'a> {
    /// Reads a journal that is there; it must be of the same examples, method and network.
    fn open(path: &Path, key: String, names: &'a [String], empty: &Calibration) -> Result<Self, Error> {
        let mut journal = Self { path: path.into(), key, names, found: None, written: None };
        if path.exists() {
            let text = files::read_text(path, MAX_JOURNAL_BYTES)?;
            let (key, examples, found) =
                parse(&text).ok_or_else(|| journal.refused("this is no journal of a calibration"))?;
            if key != journal.key {
                return Err(journal.refused("it is of another network, or of pictures that become inputs otherwise"));
            }
            let inputs = u64::try_from(examples.len()).unwrap_or(u64::MAX);
            if found.inputs() != inputs || !names.starts_with(&examples) {
                return Err(journal.refused("it knows other examples"));
            }
            if found.method() != empty.method() || found.means().is_some() != empty.means().is_some() {
                return Err(journal.refused("it was begun with another method"));
            }
            journal.found = Some(found);
        }
        Ok(journal)
    }

    fn refused(&self, why: &str) -> Error {
        Error::Analysis {
            kind: "data",
            message: format!("{}: {why}", self.path.display()),
            hint: "name another file, or delete this one".to_owned(),
        }
    }

    /// Whether it is to be written after so many examples: they are the last, or some time has passed.
    fn is_due(&self, done: usize) -> bool {
        done == self.names.len() || self.written.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    /// Writes all of the state in place of what was there.
    fn write(&mut self, calibration: &Calibration) -> Result<(), Error> {
        self.written = Some(Instant::now());
        let done = usize::try_from(calibration.inputs()).unwrap_or(usize::MAX);
        let examples = self.names.get(..done).unwrap_or(self.names);
        let text = json!({ "of": self.key, "examples": examples, "calibration": calibration }).to_string();
        files::write(&self.path, |out| out.write_all(text.as_bytes()))
    }
}

/// Key, names of examples, and what they have shown.
fn parse(text: &str) -> Option<(String, Vec<String>, Calibration)> {
    let mut read: Value = serde_json::from_str(text).ok()?;
    let mut part = |name: &str| read.get_mut(name).map(Value::take);
    let (key, examples, calibration) = (part("of")?, part("examples")?, part("calibration")?);
    let of = serde_json::from_value(key).ok()?;
    Some((of, serde_json::from_value(examples).ok()?, serde_json::from_value(calibration).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_data::{Fit, Normalize};
    use cnnip_graph::{ElementType, GraphBuilder, Op, Shape, Tensor};
    use cnnip_quant::Method;

    #[test]
    fn examples_are_spread_over_all() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 9), [0, 1, 2]);
        assert_eq!(spread(3, 0), [0_usize; 0]);
    }

    #[test]
    fn a_journal_gives_back_what_was_seen_and_refuses_others() {
        let mut build = GraphBuilder::new("one");
        let x = build.input(Tensor::new("x", Shape::new([1, 2]).unwrap(), ElementType::F32));
        let y = build.apply("y", Op::Relu, &[x]);
        build.output(y);
        let graph = build.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.json");
        let names = ["a", "b", "c"].map(str::to_owned);
        let empty = Calibration::new(Method::Mse).with_means();
        let mut seen = empty.clone();
        for values in [[0.1, -1e-7], [f32::MIN_POSITIVE, 3.3e9]] {
            seen.observe("x", &values);
            seen.observe("y", &values);
            seen.end_input();
        }
        let rule = PictureRule { fit: Fit::Exact, normalize: Normalize::all(0.0, 1.0) };
        let of = key(&graph, &rule);
        let mut journal = Journal::open(&path, of.clone(), &names, &empty).unwrap();
        assert_eq!(journal.found, None);
        journal.write(&seen).unwrap();
        let open_of =
            |of: &str, names: &[String], empty: &Calibration| match Journal::open(&path, of.into(), names, empty) {
                Ok(journal) => Ok(journal.found),
                Err(error) => Err(error.text()),
            };
        let open = |names: &[String], empty: &Calibration| open_of(&of, names, empty);
        assert_eq!(open(&names, &empty).unwrap(), Some(seen));
        let other = key(&graph, &PictureRule { fit: Fit::Crop, ..rule });
        assert!(open_of(&other, &names, &empty).unwrap_err().contains("another network"));
        assert!(open(&names[1..], &empty).unwrap_err().contains("other examples"));
        assert!(open(&names, &Calibration::new(Method::Mse)).unwrap_err().contains("another method"));
        std::fs::write(&path, "{}").unwrap();
        assert!(open(&names, &empty).unwrap_err().contains("no journal"));
    }
}
