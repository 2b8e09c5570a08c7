//! The Accurate Simulator on the lowered network that the package holds.

use std::collections::HashMap;

use cnnip_accurate::{Simulator, State};
use cnnip_compiler::Stages;
use cnnip_graph::Graph;
use cnnip_lowered::Network;

/// Every tensor of the graph that exists after lowering is what the evaluator says.
pub(super) fn check(graph: &Graph, stages: &Stages, inputs: &[Vec<i8>], expected: &[Option<Vec<i8>>]) {
    let network = Network::of_package(&stages.package).unwrap_or_else(|error| panic!("{error}\n{graph}"));
    assert_eq!(network.layers, stages.legalized.layers, "the package's network is the compiled one");
    let mut simulator = Simulator::new(network).unwrap_or_else(|error| panic!("{error}\n{graph}"));
    for (index, input) in inputs.iter().enumerate() {
        let bytes: Vec<u8> = input.iter().map(|value| value.cast_unsigned()).collect();
        simulator.set_input(index, &bytes).expect("inputs have the graph's shapes");
    }
    let mut found: HashMap<String, Vec<i8>> = HashMap::new();
    simulator
        .run_with(|view| {
            let values = view.bytes().iter().map(|byte| byte.cast_signed()).collect();
            assert_eq!(found.insert(view.tensor().name.clone(), values), None, "every tensor comes once");
        })
        .unwrap_or_else(|fault| panic!("{fault}\n{graph}"));
    for (tensor, values) in graph.tensors.iter().zip(expected) {
        let (Some(values), Some(found)) = (values, found.get(&tensor.name)) else { continue };
        super::compare(graph, stages, found, values, &tensor.name);
    }
    for output in simulator.outputs() {
        assert_ne!(output.tensor().state, State::Fused, "{}", output.tensor().name);
    }
}
