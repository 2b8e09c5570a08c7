//! Host steps that find boxes: bytes, text, rules.

use cnnip_package::text::{Diagnostic, from_text, to_text};
use cnnip_package::{HostOperator, Package, Step};

const TENSORS: &str = ".region in input host\n.region out output host\n.constant known host\n.bytes \
     00000000000000000000000000000000\n.tensor boxes int8 [1, 3, 4] region=in scale=0.1 zero=3\n\
     .tensor scores float32 [1, 2, 3] region=in\n.tensor found int64 [4, 3] region=out\n\
     .tensor rows float32 [1, 3, 3] region=in\n.tensor anchors int8 [3, 4] region=known scale=0.5\n\
     .tensor box float32 [1, 10, 4] region=out\n.tensor count float32 [1] region=out\n";

fn package(step: &str) -> Package {
    made(step).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn made(step: &str) -> Result<Package, Vec<Diagnostic>> {
    let text = format!("{TENSORS}.step host {step}\n.input boxes\n.input scores\n.input rows\n.output found\n");
    from_text(&text)
}

const SUPPRESSION: &str = "non_max_suppression boxes scores -> found";
const BOXES: &str = "detections boxes rows anchors -> box";

#[test]
fn they_survive_text_and_bytes() {
    let steps = [
        format!("{SUPPRESSION} per_class=2"),
        format!("{SUPPRESSION} per_class=2 center=1 iou=0.25 score=-0.5"),
        format!("{BOXES} most=5 classes_per_box=2 classes=3 scales=[10 10 5 5]"),
        format!("{BOXES} most=10 per_class=7 classes=2 score=0.5 iou=1"),
        "detections boxes rows anchors -> count result=count most=3 classes=3".to_owned(),
    ];
    for step in &steps {
        let package = package(step);
        assert_eq!(package.check().iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0], "{step}");
        assert_eq!(from_text(&to_text(&package)).unwrap(), package, "{step}");
        assert_eq!(Package::read(&package.to_bytes()).unwrap(), package, "{step}");
    }
    let list = package(&steps[0]);
    let is_list = |name: &str| list.is_list(list.tensor_named(name).unwrap());
    assert!(is_list("found") && !is_list("boxes"));
}

#[test]
fn what_does_not_fit_is_a_problem() {
    let cases = [
        ("non_max_suppression boxes -> found", "arity"),
        ("non_max_suppression scores boxes -> found per_class=2", "operator-tensors"),
        ("non_max_suppression boxes scores -> found per_class=1", "operator-tensors"),
        ("non_max_suppression boxes scores -> found per_class=2 iou=1.5", "number"),
        ("detections boxes rows -> box most=10 classes=3", "arity"),
        ("detections boxes rows anchors -> box most=9 classes=3", "operator-tensors"),
        ("detections boxes rows anchors -> box most=10 classes=5", "operator-tensors"),
        ("detections boxes rows anchors -> box most=4294967295 classes_per_box=2 classes=3", "operator-tensors"),
        ("detections boxes rows anchors -> box most=10 classes=3 iou=0", "number"),
        ("detections boxes rows anchors -> box most=10 classes=3 scales=[1 1 0 1]", "number"),
    ];
    for (step, rule) in cases {
        let found: Vec<String> = made(step).unwrap_err().into_iter().map(|problem| problem.message).collect();
        assert!(found.iter().all(|found| found.contains(rule)), "{step}: {found:?}");
    }
}

#[test]
fn an_operator_says_how_many_tensors_it_takes() {
    let arity = |step: &str| match &package(step).program[0] {
        Step::Host(step) => (step.operator.inputs(), step.operator.axis(), step.operator.is_list()),
        Step::Device { .. } => panic!("a step of the host"),
    };
    assert_eq!(arity(&format!("{SUPPRESSION} per_class=2")), (2, None, true));
    assert_eq!(arity(&format!("{BOXES} most=10 classes=3")), (3, None, false));
    assert!(HostOperator::Quantize.found(&[]).is_err());
}
