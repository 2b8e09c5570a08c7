//! Several networks in one graph, a core each.

use cnnip_graph::{Graph, Node, Tensor, TensorId};
use cnnip_lowered::{Layer, Network};

/// All networks as one graph, and by node the network it is of. Names get that of their network and `/` before them.
pub(crate) fn side_by_side(networks: &[(String, Graph)]) -> (Graph, Vec<u8>) {
    let names: Vec<&str> = networks.iter().map(|(name, _)| name.as_str()).collect();
    let mut all = Graph { name: names.join(", "), ..Graph::default() };
    let mut owners = vec![];
    for ((name, graph), owner) in networks.iter().zip(0..=u8::MAX) {
        let before = all.tensors.len();
        let moved = |ids: &[TensorId]| ids.iter().map(|id| TensorId::new(before + id.index())).collect::<Vec<_>>();
        let named = |own: &str| format!("{name}/{own}");
        all.tensors.extend(graph.tensors.iter().map(|one| Tensor { name: named(&one.name), ..one.clone() }));
        all.nodes.extend(graph.nodes.iter().map(|node| Node {
            name: named(&node.name),
            op: node.op.clone(),
            inputs: moved(&node.inputs),
            outputs: moved(&node.outputs),
        }));
        all.inputs.extend(moved(&graph.inputs));
        all.outputs.extend(moved(&graph.outputs));
        owners.resize(all.nodes.len(), owner);
    }
    (all, owners)
}

/// The layers in an order in which the networks go through their device and host steps together: all up to their first host
/// step, then these, and so on.
pub(crate) fn in_step(mut network: Network, owners: &[u8]) -> Network {
    let mut phases: Vec<usize> = vec![0; owners.iter().map(|&owner| usize::from(owner) + 1).max().unwrap_or(0)];
    let phase = |layer: Layer| {
        let phase = &mut phases[usize::from(owners[layer.node])];
        // The device has the even phases.
        if layer.work.is_host() == phase.is_multiple_of(2) {
            *phase += 1;
        }
        (*phase, layer)
    };
    let mut layers: Vec<(usize, Layer)> = network.layers.into_iter().map(phase).collect();
    layers.sort_by_key(|&(phase, _)| phase);
    network.layers = layers.into_iter().map(|(_, layer)| layer).collect();
    network
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, compile_networks};
    use cnnip_graph::{ElementType, GraphBuilder, Op, Quantization, Shape};
    use cnnip_isa::Target;
    use cnnip_package::Step;

    /// A clamp, and a softmax on the host before or behind it.
    fn network(softmax_first: bool) -> Graph {
        let mut build = GraphBuilder::new("network");
        let x = Tensor::new("x", Shape::new([1, 8]).unwrap(), ElementType::I8);
        let x = build.input(x.quantized(Quantization::per_tensor(1.0 / 256.0, -128)));
        let softmax = Op::Softmax { beta: 1.0 };
        let (first, then) = if softmax_first { (softmax, Op::Relu6) } else { (Op::Relu6, softmax) };
        let quantization = Some(Quantization::per_tensor(1.0 / 256.0, -128));
        let between = build.apply_as("between", first, &[x], ElementType::I8, quantization.clone());
        let y = build.apply_as("y", then, &[between], ElementType::I8, quantization);
        build.output(y);
        build.finish().unwrap()
    }

    #[test]
    fn networks_share_device_steps() {
        let target = Target::by_name("v3u").unwrap();
        let networks =
            [("a".to_owned(), network(false)), ("b".to_owned(), network(true)), ("c".to_owned(), network(false))];
        let stages = compile_networks(&networks, &Options::new(target)).unwrap();
        let package = &stages.package;
        let kinds: Vec<String> = package
            .program
            .iter()
            .map(|step| match step {
                Step::Device { lists } => {
                    lists.iter().map(|&id| package.list(id).unwrap().engine.core.to_string()).collect()
                }
                Step::Host(_) => "host".to_owned(),
            })
            .collect();
        assert_eq!(kinds, ["000222", "host", "host", "host", "111"], "{:?}", package.program);
        let names: Vec<&str> = package.outputs.iter().map(|&id| package.tensor(id).unwrap().name.as_str()).collect();
        assert_eq!(names, ["a/y", "b/y", "c/y"]);
    }

    #[test]
    fn as_many_networks_as_cores() {
        let target = Target::by_name("v4h").unwrap();
        let networks = [("a".to_owned(), network(false)), ("b".to_owned(), network(false))];
        let errors = compile_networks(&networks, &Options::new(target)).unwrap_err();
        assert!(errors.to_string().contains("2 cores asked for; v4h has 1"), "{errors}");
    }
}
