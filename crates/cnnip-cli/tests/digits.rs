//! From a model to an answer: compile, run, compare with what tflite-micro gave.

mod common;

use common::{Bench, root};
use serde_json::Value;

const DIGITS: &str = "examples/digits";

fn expected() -> Value {
    let text = std::fs::read_to_string(root().join(DIGITS).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_image_gives_the_expected_output_on_every_target() {
    let bench = Bench::new();
    for target in ["v3m", "v3h", "v4h"] {
        bench.done(&format!("cnnip compile {DIGITS}/digits.tflite -o @{target}.cnnip --target {target}"));
        for (image, want) in expected()["images"].as_object().unwrap() {
            let ran = bench.done(&format!("iss-run @{target}.cnnip {DIGITS}/images/{image} --json --top 1"));
            let output = &ran.data()["outputs"][0];
            assert_eq!(output["elements"], want["output"], "{target} {image}");
            assert_eq!(output["top"][0]["index"], want["digit"], "{target} {image}");
        }
    }
}

#[test]
fn all_ways_to_advance_print_the_same() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {DIGITS}/digits.tflite -o @x.cnnip"));
    let line = format!("iss-run @x.cnnip {DIGITS}/images/3_00.png --json");
    let whole = bench.done(&line).out;
    for rest in ["--step command", "--step cycle", "--check none", "--check race --step cycle"] {
        assert_eq!(bench.done(&format!("{line} {rest}")).out, whole, "{rest}");
    }
}

#[test]
fn labels_name_the_answer() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {DIGITS}/digits.tflite -o @x.cnnip"));
    let ran = bench.done(&format!("iss-run @x.cnnip {DIGITS}/images/7_00.png --labels {DIGITS}/labels.txt --top 1"));
    assert!(ran.out.lines().any(|line| line == "  1. digit 7: 118 = 0.9609375"), "{}", ran.out);
    assert!(ran.out.contains("cycles (estimate)"), "{}", ran.out);
}

#[test]
fn tuning_goes_on_with_its_record_and_changes_no_result() {
    let bench = Bench::new();
    let line = format!("cnnip compile {DIGITS}/digits.tflite --target v3m --json --tune-record @record");
    bench.done(&format!("cnnip compile {DIGITS}/digits.tflite --target v3m -o @plain.cnnip"));
    let first = bench.done(&format!("{line} -o @x.cnnip --tune 20")).data();
    let cycles = |price: &Value| price["cycles_estimate"].as_u64().unwrap();
    let tuning = &first["tuning"];
    assert!(cycles(&tuning["after"]) <= cycles(&tuning["before"]), "{tuning}");
    assert_eq!(cycles(&tuning["after"]), cycles(&first["report"]), "what is written is what was found");
    assert_eq!((tuning["trials"].as_u64(), tuning["measured"].as_u64()), (Some(20), Some(20)));
    let more = bench.done(&format!("{line} -o @y.cnnip --tune 50")).data();
    assert_eq!((more["tuning"]["trials"].as_u64(), more["tuning"]["measured"].as_u64()), (Some(50), Some(30)));
    let whole =
        bench.done(&format!("cnnip compile {DIGITS}/digits.tflite --target v3m --json -o @z.cnnip --tune 50")).data();
    assert_eq!(whole["tuning"]["after"], more["tuning"]["after"], "the record changes nothing");
    let none = bench.done(&format!("{line} -o @n.cnnip --tune 90 --tune-seconds 0")).data();
    assert_eq!(none["tuning"]["trials"].as_u64(), Some(50), "what is known takes no time");
    let answer =
        |package: &str| bench.done(&format!("iss-run @{package}.cnnip {DIGITS}/images/3_00.png --json")).data();
    assert_eq!(answer("plain")["outputs"], answer("y")["outputs"]);
    let said = bench.run(&format!("{line} -o @y.cnnip --tune 50 --tune-seed 9"));
    assert!(said.status == 2 && said.out.contains("a record goes with one model"), "{said:?}");
}
