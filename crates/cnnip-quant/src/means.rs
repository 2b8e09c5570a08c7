//! Means of the channels of activations.

use std::collections::BTreeMap;

use cnnip_graph::Tensor;
use serde::{Deserialize, Serialize};

/// Sums over all values of each channel, the innermost axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Means {
    tensors: BTreeMap<String, Sums>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    /// Per channel.
    sums: Vec<f64>,
    /// Values of one channel.
    count: u64,
}

impl Means {
    /// Takes the values of a tensor.
    pub(crate) fn observe(&mut self, tensor: &Tensor, values: &[f32]) {
        let channels = tensor.shape.dims().last().copied().unwrap_or(1).max(1);
        let mut sums = vec![0.0; channels];
        for pixel in values.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let count = u64::try_from(values.len() / channels).unwrap_or(u64::MAX);
        match self.tensors.get_mut(&tensor.name) {
            Some(all) => all.add(&Sums { sums, count }),
            None => {
                self.tensors.insert(tensor.name.clone(), Sums { sums, count });
            }
        }
    }

    /// Adds what another pass has seen.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (name, theirs) in &other.tensors {
            self.tensors.entry(name.clone()).or_default().add(theirs);
        }
    }

    /// The mean of every channel of a tensor; `None` if none was seen, or if one is not a number.
    pub fn of(&self, name: &str) -> Option<Vec<f64>> {
        let Sums { sums, count } = self.tensors.get(name)?;
        let count = crate::histogram::share(*count, 1);
        let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        means.iter().all(|mean| mean.is_finite()).then_some(means)
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.sums.resize(self.sums.len().max(other.sums.len()), 0.0);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
        self.count += other.count;
    }
}
