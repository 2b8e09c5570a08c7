//! Named inputs in, named outputs out.

use std::sync::Arc;

use cnnip_float::{Elements, Embedded, Engine, FloatError, Grid, Network, found};
use cnnip_graph::{Graph, Tensor, TensorId};

use crate::{FastError, TensorView};

/// A tensor by name or by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// Its name.
    Name(&'a str),
    /// Its position among the inputs or outputs.
    Position(usize),
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for Key<'_> {
    fn from(position: usize) -> Self {
        Self::Position(position)
    }
}

/// A quantized network as a pseudo-quantized one; a float network as it is. Sessions share it.
#[derive(Clone)]
pub struct Fast {
    network: Arc<dyn Network>,
}

impl Fast {
    /// Prepares a checked graph for the embedded engine. Tensors in `watched` can be looked at during runs.
    ///
    /// # Errors
    /// An operator, or a case of one, that the engine does not have.
    pub fn new(graph: Arc<Graph>, watched: &[TensorId]) -> Result<Self, FloatError> {
        Self::with_engine(&Embedded::default(), graph, watched)
    }

    /// As [`Fast::new`] with an engine.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn with_engine(engine: &dyn Engine, graph: Arc<Graph>, watched: &[TensorId]) -> Result<Self, FloatError> {
        Ok(Self { network: engine.prepare(graph, watched)? })
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        self.network.graph()
    }

    /// Memory for one run at a time; one per thread.
    pub fn session(&self) -> Session {
        let inputs = vec![None; self.graph().inputs.len()];
        Session { network: Arc::clone(&self.network), running: Arc::clone(&self.network).session(), inputs }
    }
}

/// Inputs, and the memory of one run.
pub struct Session {
    network: Arc<dyn Network>,
    running: Box<dyn cnnip_float::Session>,
    inputs: Vec<Option<Vec<f32>>>,
}

impl Session {
    /// The network.
    pub fn graph(&self) -> &Graph {
        self.network.graph()
    }

    /// Copies an input: integers of the tensor's own type, or real numbers, which a quantized tensor rounds to its grid, ties to
    /// even. It stays bound for all runs to come.
    ///
    /// # Errors
    /// If there is no such input, or the elements do not fit it.
    pub fn bind<'k>(&mut self, input: impl Into<Key<'k>>, elements: &Elements) -> Result<(), FastError> {
        let position = find("input", input.into(), self.graph(), &self.graph().inputs)?;
        let tensor = &self.graph()[self.graph().inputs[position]];
        let (found, want) = (elements.len(), tensor.shape.elements());
        if found != want {
            return Err(FloatError::InputLength { name: tensor.name.clone(), found, want }.into());
        }
        let real = match elements {
            Elements::Real(values) => values.clone(),
            Elements::Integer(codes) => from_codes(tensor, codes)?,
        };
        self.inputs[position] = Some(real);
        Ok(())
    }

    /// Runs the network.
    ///
    /// # Errors
    /// [`FastError::Unbound`] if an input is missing.
    pub fn run(&mut self) -> Result<Outputs<'_>, FastError> {
        self.run_with(&mut |_, _| {})
    }

    /// As [`Session::run`]; `observer` sees every tensor that is computed, at least the watched ones, in the order of execution.
    ///
    /// # Errors
    /// [`FastError::Unbound`] if an input is missing.
    pub fn run_with(&mut self, observer: &mut dyn FnMut(TensorId, TensorView<'_>)) -> Result<Outputs<'_>, FastError> {
        let Self { network, running, inputs } = self;
        let graph = network.graph();
        let bound =
            graph.inputs.iter().zip(inputs.iter()).map(|(&id, input)| {
                input.as_deref().ok_or_else(|| FastError::Unbound { name: graph[id].name.clone() })
            });
        let bound: Vec<&[f32]> = bound.collect::<Result<_, _>>()?;
        running.run(&bound, &mut |id, real| observer(id, TensorView::new(&graph[id], real)))?;
        Ok(Outputs { graph, running: &**running })
    }
}

/// The real numbers of codes, which must be of the tensor's type.
fn from_codes(tensor: &Tensor, codes: &[i64]) -> Result<Vec<f32>, FastError> {
    let name = || tensor.name.clone();
    let grid = Grid::of(tensor).ok_or_else(|| FloatError::InputKind {
        name: name(),
        found: "integers",
        want: "real numbers",
    })?;
    let (least, greatest) = grid.range();
    let outside = codes.iter().enumerate().find(|(_, code)| !(least..=greatest).contains(*code));
    match outside {
        Some((index, &value)) => Err(FastError::Range { name: name(), index, value, least, greatest }),
        None => Ok(grid.dequantize_all(codes)),
    }
}

/// The outputs of a run, until the next.
pub struct Outputs<'a> {
    graph: &'a Graph,
    running: &'a dyn cnnip_float::Session,
}

impl<'a> Outputs<'a> {
    /// An output, by name or position.
    ///
    /// # Errors
    /// [`FastError::Unknown`].
    pub fn get<'k>(&self, output: impl Into<Key<'k>>) -> Result<TensorView<'a>, FastError> {
        let key = output.into();
        let position = find("output", key, self.graph, &self.graph.outputs)?;
        self.iter().nth(position).ok_or_else(|| unknown("output", key, self.graph, &self.graph.outputs))
    }

    /// All outputs, in the network's order; of lists the rows that were found.
    pub fn iter(&self) -> impl Iterator<Item = TensorView<'a>> + use<'a> {
        let Self { graph, running } = *self;
        let view = move |(position, &id): (usize, &TensorId)| {
            let numbers = running.output(position)?;
            Some(TensorView::new(graph.tensors.get(id.index())?, found(graph, id, numbers)))
        };
        graph.outputs.iter().enumerate().filter_map(view)
    }
}

fn find(what: &'static str, key: Key<'_>, graph: &Graph, ids: &[TensorId]) -> Result<usize, FastError> {
    let position = match key {
        Key::Name(name) => ids.iter().position(|&id| graph[id].name == name),
        Key::Position(position) => (position < ids.len()).then_some(position),
    };
    position.ok_or_else(|| unknown(what, key, graph, ids))
}

fn unknown(what: &'static str, key: Key<'_>, graph: &Graph, ids: &[TensorId]) -> FastError {
    let key = match key {
        Key::Name(name) => name.to_owned(),
        Key::Position(position) => position.to_string(),
    };
    FastError::Unknown { what, key, known: ids.iter().map(|&id| graph[id].name.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_graph::{ElementType, GraphBuilder, Op, Quantization, Shape};

    fn clamp() -> Fast {
        let mut build = GraphBuilder::new("clamp");
        let x = Tensor::new("x", Shape::new([2]).unwrap(), ElementType::I8);
        let x = build.input(x.quantized(Quantization::per_tensor(0.5, 1)));
        let y = build.apply("y", Op::Relu, &[x]);
        build.output(y);
        Fast::new(Arc::new(build.finish().unwrap()), &[]).unwrap()
    }

    #[test]
    fn inputs_are_real_numbers_or_codes() {
        let fast = clamp();
        let mut session = fast.session();
        session.bind(0, &Elements::Real(vec![1.2, -3.0])).unwrap();
        assert_eq!(session.run().unwrap().get(0).unwrap().real(), [1.0, 0.0]);
        session.bind("x", &Elements::Integer(vec![127, -128])).unwrap();
        let mut seen = vec![];
        session.run_with(&mut |_, view| seen.push((view.tensor().name.clone(), view.codes()))).unwrap();
        assert_eq!(seen, [("x".to_owned(), Some(vec![127, -128])), ("y".to_owned(), Some(vec![127, 1]))]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let fast = clamp();
        let mut session = fast.session();
        let unbound = session.run().err().map(|error| error.to_string());
        assert_eq!(unbound.as_deref(), Some("input `x` has not been bound"));
        let mut refused = |elements: Elements| session.bind("x", &elements).unwrap_err().to_string();
        assert_eq!(refused(Elements::Real(vec![1.0])), "input `x` has 1 elements, its shape has 2");
        let outside = "element 1 of input `x` is 128, outside -128 to 127";
        assert_eq!(refused(Elements::Integer(vec![0, 128])), outside);
        let other = session.bind("z", &Elements::Integer(vec![])).unwrap_err();
        assert_eq!(other.to_string(), "there is no input `z`, only x");
    }
}
