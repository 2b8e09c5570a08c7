//! The examples print what their golden files say. `SNAPSHOTS=overwrite cargo test -p cnnip-cli` writes these anew.

mod common;

use common::Bench;
use snapbox::{assert_data_eq, file};

const PICTURE: &str = "examples/digits/images/7_00.png";

fn run(example: &str) -> common::Ran {
    let bench = Bench::new();
    bench.done(&format!("cnnip asm examples/{example}.s -o @x.cnnip"));
    bench.run(&format!("iss-run @x.cnnip {PICTURE}"))
}

#[test]
fn a_convolution_by_hand() {
    let ran = run("conv3x3");
    assert_eq!(ran.status, 0);
    assert_data_eq!(ran.out, file!["goldens/conv3x3.txt"]);
}

#[test]
fn a_pipeline_with_loops() {
    let ran = run("loop");
    assert_eq!(ran.status, 0);
    assert_data_eq!(ran.out, file!["goldens/loop.txt"]);
}

#[test]
fn a_race_and_its_report() {
    let ran = run("race");
    assert_eq!((ran.status, ran.out.as_str()), (1, ""));
    assert_data_eq!(ran.err, file!["goldens/race.txt"]);
}

#[test]
fn help_is_worth_reading() {
    let bench = Bench::new();
    assert_data_eq!(bench.done("iss-run --help").out, file!["goldens/help_iss_run.txt"]);
    assert_data_eq!(bench.done("cnnip --help").out, file!["goldens/help_cnnip.txt"]);
    assert_data_eq!(bench.done("cnnip compile --help").out, file!["goldens/help_cnnip_compile.txt"]);
}
