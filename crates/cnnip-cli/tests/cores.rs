//! Packages for several cores, as a user makes and runs them.

mod common;

use common::Bench;
use serde_json::Value;

const MODEL: &str = "examples/digits/digits.tflite";
const IMAGES: [&str; 3] = ["7_00", "3_00", "0_00"];

fn image(name: &str) -> String {
    format!("examples/digits/images/{name}.png")
}

/// Elements of every output.
fn elements(ran: &Value) -> Vec<Value> {
    ran["outputs"].as_array().unwrap().iter().map(|output| output["elements"].clone()).collect()
}

#[test]
fn three_networks_run_at_once() {
    let bench = Bench::new();
    let made = bench.done(&format!("cnnip compile {MODEL} {MODEL} {MODEL} -o @all.cnnip --target v3u --json")).data();
    assert_eq!(made["report"]["cores"].as_array().unwrap().len(), 3);
    let names: Vec<&str> =
        made["inputs"].as_array().unwrap().iter().map(|input| input["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["digits/image", "digits.2/image", "digits.3/image"]);
    let files = names.iter().zip(IMAGES).map(|(name, file)| format!("--input {name}={}", image(file)));
    let inputs = files.collect::<Vec<_>>().join(" ");
    let all = bench.done(&format!("iss-run @all.cnnip {inputs} --json")).data();
    bench.done(&format!("cnnip compile {MODEL} -o @one.cnnip --target v3u"));
    for (found, file) in elements(&all).into_iter().zip(IMAGES) {
        let one = bench.done(&format!("iss-run @one.cnnip {} --json", image(file))).data();
        assert_eq!(vec![found], elements(&one), "{file}");
        let (together, alone) = (&all["cycles_estimate"], &one["cycles_estimate"]);
        assert_eq!(together, alone, "each has a core to itself");
    }
    let ran = bench.done(&format!("cnnip bisect accurate:@all.cnnip iss:@all.cnnip {inputs}"));
    assert_eq!(ran.out, "equal in every tensor\n");
    bench.done(&format!("iss-run @all.cnnip {inputs} --dump-all @tensors.npz"));
}

#[test]
fn cores_that_share_a_network_give_its_outputs() {
    let bench = Bench::new();
    let image = image(IMAGES[0]);
    for (name, cores) in [("one", 1), ("three", 3)] {
        bench.done(&format!("cnnip compile {MODEL} -o @{name}.cnnip --target v3u --cores {cores}"));
    }
    let run = |name: &str| bench.done(&format!("iss-run @{name}.cnnip {image} --json")).data();
    let (one, three) = (run("one"), run("three"));
    assert_eq!(elements(&one), elements(&three));
    assert!(three["cycles_estimate"].as_u64() <= one["cycles_estimate"].as_u64());
}

#[test]
fn several_cores_are_tuned_and_reported() {
    let bench = Bench::new();
    for (models, cores) in [(MODEL.to_owned(), 3), (format!("{MODEL} {MODEL}"), 2)] {
        let line = format!("cnnip compile {models} --cores {cores} --target v3u -o @x.cnnip --json");
        let plain = bench.done(&line).data();
        let tuned = bench.done(&format!("{line} --tune 30 --report @r.json --report @r.html --report @r.txt")).data();
        let cycles = |data: &Value| data["cycles_estimate"].as_u64().unwrap();
        assert_eq!(cycles(&tuned["tuning"]["before"]), cycles(&plain["report"]));
        assert_eq!(cycles(&tuned["tuning"]["after"]), cycles(&tuned["report"]));
        assert!(cycles(&tuned["report"]) <= cycles(&plain["report"]));
        let report: Value = serde_json::from_slice(&std::fs::read(bench.path("r.json")).unwrap()).unwrap();
        let layers = report["layers"].as_array().unwrap();
        for (core, of_core) in report["total"]["cores"].as_array().unwrap().iter().enumerate() {
            let here = layers.iter().filter(|layer| layer["core"] == core);
            assert_eq!(here.map(cycles).sum::<u64>(), cycles(of_core), "core {core} of {models}");
        }
    }
}

#[test]
fn cores_that_are_not_there_are_refused() {
    let bench = Bench::new();
    let said = bench.refused(&format!("cnnip compile {MODEL} -o @x.cnnip --cores 2"));
    assert!(said.contains("2 cores asked for; v4h has 1") && said.contains("hint: choose a target"), "{said}");
    let said = bench.refused(&format!("cnnip compile {MODEL} {MODEL} -o @x.cnnip --target v3u --cores 3"));
    assert!(said.contains("3 cores asked for 2 networks"), "{said}");
    let said = bench.refused(&format!("cnnip compile {MODEL} -o @x.cnnip --target v3u --cores 0"));
    assert!(said.contains("0 cores asked for; v3u has 3"), "{said}");
}
