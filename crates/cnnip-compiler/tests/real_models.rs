//! Models made by others compile for the targets and give what the slow evaluator gives, tensor by tensor.
//!
//! They are kept outside the project, in `../shared/data` as seen from its root.

mod common;

use std::path::{Path, PathBuf};

use cnnip_compiler::{Options, Rounding, compile, compile_stages};
use cnnip_graph::Graph;
use cnnip_graph::tflite::import_tflite;
use cnnip_isa::Target;
use cnnip_testkit::Rng;

/// The folder with the models; says so where there is none.
#[expect(clippy::print_stderr, reason = "a skipped test must show")]
fn data() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|above| above.join("shared/data")).find(|data| data.is_dir());
    if found.is_none() {
        eprintln!("skipped: ../shared/data not found");
    }
    found
}

fn import(path: &Path) -> Graph {
    let bytes = std::fs::read(path).unwrap();
    import_tflite(&bytes).unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()))
}

const SMALL: [&str; 5] = [
    "pretrainedResnet_quant.tflite",
    "vww_96_int8.tflite",
    "kws_ref_model.tflite",
    "ad01_int8.tflite",
    "person_detect.tflite",
];
const LARGE: &str = "mobilenet_v2_quantized_1x3x224x224.tflite";

fn check(file: &str, target: &str, rounding: Rounding) {
    let Some(data) = data() else { return };
    let graph = import(&data.join(file));
    let options = Options { rounding, ..Options::new(Target::by_name(target).unwrap()) };
    let inputs = common::random_inputs(&graph, &mut Rng::new(1));
    common::check(&graph, &options, &inputs);
}

#[test]
fn small_models_are_exact_on_both_targets() {
    for file in SMALL {
        check(file, "v3m", Rounding::Double);
        check(file, "v4h", Rounding::Double);
    }
}

#[test]
fn the_other_profiles_are_exact_too() {
    for file in SMALL {
        check(file, "v3m", Rounding::Single);
        check(file, "v3m", Rounding::Float);
    }
}

#[test]
fn a_large_model_is_exact() {
    check(LARGE, "v3m", Rounding::Double);
}

#[test]
fn compiling_is_deterministic() {
    let Some(data) = data() else { return };
    let graph = import(&data.join(SMALL[0]));
    let options = Options::new(Target::by_name("v4h").unwrap());
    assert_eq!(compile(&graph, &options).unwrap().to_bytes(), compile(&graph, &options).unwrap().to_bytes());
}

/// Bytes to and from external memory with values that stay in the scratchpad, as a part of those without, in percent.
#[test]
fn values_that_stay_save_most_of_the_traffic() {
    let Some(data) = data() else { return };
    for (file, target, most) in [(LARGE, "v4h", 25), (LARGE, "v3m", 40), (SMALL[0], "v3m", 30), (SMALL[4], "v4h", 40)] {
        let graph = import(&data.join(file));
        let target = Target::by_name(target).unwrap();
        let report = |chain| compile_stages(&graph, &Options { chain, ..Options::new(target) }).unwrap().report(target);
        let (with, without) = (report(true), report(false));
        let percent = 100 * with.external_bytes() / without.external_bytes();
        assert!(percent <= most, "{file} on {}: {percent} %", target.name);
        assert!(with.cycles < without.cycles, "{file} on {}: {with:?}, {without:?}", target.name);
    }
}
