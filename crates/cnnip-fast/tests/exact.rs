//! How far the Fast Simulator is from the exact integers, layer by layer.
//!
//! `cargo test --release -p cnnip-fast --test exact -- --nocapture` prints the table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cnnip_fast::{Difference, Elements, Fast, TensorView};
use cnnip_graph::tflite::import_tflite;
use cnnip_graph::{ElementType, Graph, TensorId};
use cnnip_testkit::reference::{Profile, evaluate};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder with models made by others; says so where there is none.
#[expect(clippy::print_stderr, reason = "a skipped test must show")]
fn data() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|above| above.join("shared/data")).find(|data| data.is_dir());
    if found.is_none() {
        eprintln!("skipped: ../shared/data not found");
    }
    found
}

/// The roundings that an exact network may be compiled with.
const PROFILES: [Profile; 3] = [Profile::Double, Profile::Single, Profile::Float];

/// The differences of one tensor, per profile.
type Differences = [Difference; PROFILES.len()];

/// The differences of every tensor of the network from the input on, over some inputs.
fn differences(graph: &Arc<Graph>, inputs: &[Vec<i8>]) -> Vec<(TensorId, Differences)> {
    let all: Vec<TensorId> = graph.nodes.iter().map(|node| node.outputs[0]).collect();
    let fast = Fast::new(Arc::clone(graph), &all).unwrap();
    let mut session = fast.session();
    let mut sums: Vec<Differences> = vec![Differences::default(); graph.tensors.len()];
    for input in inputs {
        let exact = PROFILES.map(|profile| evaluate(graph, std::slice::from_ref(input), profile));
        session.bind(0, &Elements::Integer(input.iter().copied().map(i64::from).collect())).unwrap();
        let observe = &mut |id: TensorId, view: TensorView<'_>| {
            for (sum, exact) in sums[id.index()].iter_mut().zip(&exact) {
                if let (Some(exact), Some(codes)) = (&exact[id.index()], view.codes()) {
                    let exact: Vec<i64> = exact.iter().copied().map(i64::from).collect();
                    sum.add(&Difference::between(&exact, &codes).unwrap());
                }
            }
        };
        session.run_with(observe).unwrap();
    }
    all.into_iter().map(|id| (id, sums[id.index()].clone())).filter(|(_, sums)| sums[0].elements > 0).collect()
}

fn network(path: &Path) -> Arc<Graph> {
    Arc::new(import_tflite(&std::fs::read(path).unwrap()).unwrap())
}

/// Prints the table; gives the differences of all tensors together, per profile.
#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn report(name: &str, graph: &Graph, differences: &[(TensorId, Differences)]) -> Differences {
    println!("{name}: elements that differ from the exact network, by at most so many steps; profiles {PROFILES:?}");
    let line = |found: &Differences, what: &str| {
        let columns = found.each_ref().map(|found| format!("{:8.4} % {:2}", 100.0 * found.share(), found.largest()));
        println!("  {} {what:.60}", columns.join(" "));
    };
    let mut total = Differences::default();
    for (id, found) in differences {
        line(found, &graph[*id].name);
        total.iter_mut().zip(found).for_each(|(total, found)| total.add(found));
    }
    line(&total, "all tensors");
    total
}

/// Numbers that look alike on every machine.
fn noise(count: usize) -> Vec<i8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24).to_le_bytes()[0].cast_signed()
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn digits_are_exact_with_one_rounding_and_one_step_off_with_two() {
    let graph = network(&root().join("examples/digits/digits.tflite"));
    let images = std::fs::read_dir(root().join("examples/digits/images")).unwrap();
    let mut paths: Vec<PathBuf> = images.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let picture = |path: &PathBuf| image::open(path).unwrap().into_luma8().into_raw();
    let inputs: Vec<Vec<i8>> =
        paths.iter().map(|path| picture(path).iter().map(|byte| (byte ^ 0x80).cast_signed()).collect()).collect();
    let differences = differences(&graph, &inputs);
    assert!(differences.len() > 4, "the exact twin knows the layers");
    let [double, single, float] = report("digits", &graph, &differences);
    assert_eq!((single.differing(), float.differing()), (0, 0));
    assert!(double.share() < 0.03 && double.largest() == 1, "{double}");
}

#[test]
fn real_networks_differ_in_few_elements_with_one_rounding() {
    let Some(data) = data() else { return };
    for name in ["person_detect", "vww_96_int8", "kws_ref_model", "ad01_int8", "pretrainedResnet_quant"] {
        let graph = network(&data.join(name).with_extension("tflite"));
        let input = &graph[graph.inputs[0]];
        assert_eq!(input.element, ElementType::I8, "{name}");
        let differences = differences(&graph, &[noise(input.shape.elements())]);
        let [double, single, float] = report(name, &graph, &differences);
        // Two roundings round more numbers up than one does, and every layer inherits that from the one before.
        assert!(double.share() < 0.25 && double.largest() <= 8, "{name}: {double}");
        assert!(single.share() < 0.002 && single.largest() <= 2, "{name}: {single}");
        assert!(float.share() < 0.002 && float.largest() <= 2, "{name}: {float}");
    }
}
