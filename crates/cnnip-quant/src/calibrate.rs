//! Calibration: one pass over example inputs.

use std::collections::BTreeMap;

use cnnip_float::{FloatError, Session};
use cnnip_graph::{ElementType, Graph, Tensor, TensorId};
use serde::{Deserialize, Serialize};

use crate::means::Means;
use crate::observe::{Method, Observer};
use crate::ranges::{Range, Ranges};

/// The tensors whose values calibration needs: all that are computed or provided as float32.
pub fn watched(graph: &Graph) -> Vec<TensorId> {
    let is_watched = |&id: &TensorId| graph[id].element == ElementType::F32 && !graph[id].is_constant();
    graph.tensor_ids().filter(is_watched).collect()
}

/// What example inputs have shown so far: small, and complete in itself, so that a pass can be interrupted, stored and resumed.
///
/// ```
/// use cnnip_quant::{Calibration, Method, Range};
///
/// let mut calibration = Calibration::new(Method::MinMax);
/// calibration.observe("image", &[0.0, 0.5]);
/// calibration.end_input();
/// let mut resumed = Calibration::from_json(&calibration.to_json()?)?;
/// resumed.observe("image", &[1.0]);
/// resumed.end_input();
/// assert_eq!((resumed.inputs(), resumed.ranges().get("image")), (2, Some(Range { min: 0.0, max: 1.0 })));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    method: Method,
    inputs: u64,
    observers: BTreeMap<String, Observer>,
    means: Option<Means>,
}

impl Calibration {
    /// Nothing seen yet.
    pub fn new(method: Method) -> Self {
        Self { method, inputs: 0, observers: BTreeMap::new(), means: None }
    }

    /// The same, with the means of all channels; it takes another pass over the values.
    #[must_use]
    pub fn with_means(self) -> Self {
        Self { means: Some(Means::default()), ..self }
    }

    /// The method of all ranges.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether the order of the inputs matters: in averages the last count most, and sums of means are rounded one after the other.
    /// Otherwise parts, merged, are the whole.
    pub fn has_order(&self) -> bool {
        self.means.is_some() || matches!(self.method, Method::MovingAverage { .. })
    }

    /// Takes the values that a tensor has for the current input.
    pub fn observe(&mut self, tensor: &str, values: &[f32]) {
        match self.observers.get_mut(tensor) {
            Some(observer) => observer.observe(values),
            None => {
                let mut observer = Observer::new(self.method);
                observer.observe(values);
                self.observers.insert(tensor.to_owned(), observer);
            }
        }
    }

    /// Runs a network on one input, with everything [`watched`], and takes all values.
    ///
    /// # Errors
    /// Those of the session.
    pub fn observe_run(
        &mut self,
        session: &mut dyn Session,
        graph: &Graph,
        inputs: &[&[f32]],
    ) -> Result<(), FloatError> {
        session.run(inputs, &mut |id, values| {
            if graph[id].element == ElementType::F32 && !graph[id].is_constant() {
                self.observe(&graph[id].name, values);
                self.observe_means(&graph[id], values);
            }
        })?;
        for (&id, values) in graph.inputs.iter().zip(inputs) {
            self.observe(&graph[id].name, values);
            self.observe_means(&graph[id], values);
        }
        self.end_input();
        Ok(())
    }

    fn observe_means(&mut self, tensor: &Tensor, values: &[f32]) {
        if let Some(means) = &mut self.means {
            means.observe(tensor, values);
        }
    }

    /// The current input is done.
    pub fn end_input(&mut self) {
        self.inputs += 1;
    }

    /// Number of inputs that are done: where a resumed pass goes on.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Adds what another pass over other inputs has shown.
    pub fn merge(&mut self, other: &Self) {
        self.inputs += other.inputs;
        if let (Some(ours), Some(theirs)) = (&mut self.means, &other.means) {
            ours.merge(theirs);
        }
        for (name, theirs) in &other.observers {
            match self.observers.get_mut(name) {
                Some(ours) => ours.merge(theirs),
                None => {
                    self.observers.insert(name.clone(), theirs.clone());
                }
            }
        }
    }

    /// The range of every tensor that had a finite value.
    pub fn ranges(&self) -> Ranges {
        let range = |(name, observer): (&String, &Observer)| observer.range().map(|range| (name.clone(), range));
        self.observers.iter().filter_map(range).collect::<Vec<(String, Range)>>().into_iter().collect()
    }

    /// The means of all channels, for the correction of biases, if they were asked for.
    pub fn means(&self) -> Option<&Means> {
        self.means.as_ref()
    }

    /// Tensors with infinite values or values that are no numbers, and how many.
    pub fn invalid(&self) -> impl Iterator<Item = (&str, u64)> {
        self.observers
            .iter()
            .map(|(name, observer)| (name.as_str(), observer.invalid()))
            .filter(|&(_, count)| count > 0)
    }

    /// What is kept of a tensor.
    pub fn observer(&self, tensor: &str) -> Option<&Observer> {
        self.observers.get(tensor)
    }

    /// The state as JSON.
    ///
    /// # Errors
    /// None that can happen: all parts have a JSON form.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// A state that [`to_json`](Self::to_json) gave.
    ///
    /// # Errors
    /// Text of another form.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}
