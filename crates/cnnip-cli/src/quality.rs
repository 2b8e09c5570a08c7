//! How far the layers of a quantized network are from the float model they come from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cnnip_accurate::Simulator;
use cnnip_analysis::tensors;
use cnnip_data::Dataset;
use cnnip_evaluate::level;
use cnnip_float::{Embedded, Engine};
use cnnip_graph::{Graph, TensorId};
use cnnip_lowered::Network;

use crate::calibration::spread;
use crate::error::Error;

/// Examples that are looked at, spread over all.
const EXAMPLES: usize = 4;

/// Sums over elements.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    signal: f64,
    noise: f64,
}

/// Signal to noise in dB of every tensor that both networks have, over some examples; float is the signal. A tensor without noise has
/// an infinite one.
pub(crate) fn of_tensors(
    path: &Path,
    float: &Arc<Graph>,
    network: &Network,
    data: &Dataset,
) -> Result<BTreeMap<String, f64>, Error> {
    let failed = |why: String| Error::Analysis {
        kind: "data",
        message: format!("{}: {why}", path.display()),
        hint: "the report needs examples that run in float and in integers".to_owned(),
    };
    let computed: Vec<TensorId> = float.nodes.iter().flat_map(|node| node.outputs.iter().copied()).collect();
    let prepared = Embedded::default().prepare(Arc::clone(float), &computed);
    let mut session = prepared.map_err(|why| Error::Float { path: path.into(), why })?.session();
    let mut simulator = Simulator::new(network.clone()).map_err(|why| failed(why.to_string()))?;
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    for index in spread(data.len(), EXAMPLES) {
        let example = data.load(index).map_err(|why| Error::Examples { broken: vec![why], more: 0 })?;
        let inputs: Vec<&[f32]> = example.inputs.iter().map(Vec::as_slice).collect();
        let mut wanted: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let ran = session.run(&inputs, &mut |id, values| {
            // In the source's order of axes, as the simulator gives it.
            wanted.insert(&float[id].name, tensors::of_values(float, id, values).real(None).unwrap_or_default());
        });
        ran.map_err(|why| Error::Float { path: path.into(), why })?;
        level::set_inputs(&mut simulator, &example.inputs).map_err(|why| failed(why.to_string()))?;
        let found = tensors::of_simulator("accurate", &mut simulator).map_err(|why| failed(why.to_string()))?;
        for tensor in found.tensors {
            let Some((wanted, found)) = wanted.get(tensor.name.as_str()).zip(tensor.real(None)) else { continue };
            if wanted.len() == found.len() {
                sums.entry(tensor.name).or_default().add(wanted, &found);
            }
        }
    }
    Ok(sums.into_iter().map(|(name, sums)| (name, sums.decibels())).collect())
}

impl Sums {
    fn add(&mut self, wanted: &[f64], found: &[f64]) {
        for (wanted, found) in wanted.iter().zip(found) {
            self.signal += wanted * wanted;
            self.noise += (wanted - found) * (wanted - found);
        }
    }

    fn decibels(self) -> f64 {
        if self.noise > 0.0 { 10.0 * (self.signal / self.noise).log10() } else { f64::INFINITY }
    }
}
