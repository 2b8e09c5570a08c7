//! Calibration of a float model on a data set, and its journal.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cnnip_data::{Dataset, PictureRule};
use cnnip_float::{Embedded, Engine};
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

/// Runs a float model on examples, spread over all of a data set, and sees what values its tensors have.
///
/// With a journal, a run that was interrupted goes on after the examples that the journal knows of, with the same result.
pub(crate) fn observe(
    (path, graph): (&Path, &Arc<Graph>),
    (data, most): (&Dataset, usize),
    empty: Calibration,
    journal: Option<(&Path, String)>,
    streams: &mut Streams<'_>,
) -> Result<Calibration, Error> {
    let float = |why| Error::Float { path: path.into(), why };
    let mut session = Embedded::default().prepare(Arc::clone(graph), &watched(graph)).map_err(float)?.session();
    let chosen = spread(data.len(), most);
    let names: Vec<String> = chosen.iter().map(|&index| data.name(index)).collect();
    let mut journal = journal.map(|(path, key)| Journal::open(path, key, &names, &empty)).transpose()?;
    let mut calibration = journal.as_mut().and_then(|journal| journal.found.take()).unwrap_or(empty);
    let mut broken = vec![];
    let before = usize::try_from(calibration.inputs()).unwrap_or(usize::MAX);
    for (done, &index) in chosen.iter().enumerate().skip(before) {
        streams.progress("calibrating", done, chosen.len());
        match data.load(index) {
            Ok(example) => {
                let inputs: Vec<&[f32]> = example.inputs.iter().map(Vec::as_slice).collect();
                calibration.observe_run(session.as_mut(), graph, &inputs).map_err(float)?;
            }
            Err(why) => broken.push(why),
        }
        // After a broken example the numbers of examples and of inputs are not the same.
        if let Some(journal) = journal.as_mut().filter(|_| broken.is_empty()) {
            journal.write(&calibration, done + 1 == chosen.len())?;
        }
    }
    streams.progress("calibrating", chosen.len(), chosen.len());
    if broken.is_empty() {
        return Ok(calibration);
    }
    let more = broken.len().saturating_sub(MAX_LISTED);
    broken.truncate(MAX_LISTED);
    Err(Error::Examples { broken, more })
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
    written: Instant,
}

impl<'a> Journal<'a> {
    /// Reads a journal that is there; it must be of the same examples, method and network.
    fn open(path: &Path, key: String, names: &'a [String], empty: &Calibration) -> Result<Self, Error> {
        let mut journal = Self { path: path.into(), key, names, found: None, written: Instant::now() };
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

    /// Writes all of the state in place of what was there, if it is the last or if some time has passed.
    fn write(&mut self, calibration: &Calibration, last: bool) -> Result<(), Error> {
        if !last && self.written.elapsed() < PAUSE {
            return Ok(());
        }
        self.written = Instant::now();
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
        journal.write(&seen, true).unwrap();
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
