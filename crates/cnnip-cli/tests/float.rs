//! From a float model to integers as a user does: calibration, quantization, evaluation.

mod common;

use std::process::Stdio;
use std::time::Duration;

use cnnip_graph::{
    Activation, Conv2d, ElementType, Graph, GraphBuilder, Hw, Op, Padding, Shape, Tensor, TensorId,
    tflite::export_tflite,
};
use common::Bench;

fn tensor(name: &str, shape: &[usize]) -> Tensor {
    Tensor::new(name, Shape::new(shape).unwrap(), ElementType::F32)
}

/// Numbers that look random, from -1 to 1.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 32768.0 - 1.0
    };
    (0..count).map(next).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn constant(build: &mut GraphBuilder, name: &str, shape: &[usize], seed: u32) -> TensorId {
    let values = noise(shape.iter().product(), seed);
    build.tensor(tensor(name, shape).constant(bytes(&values)))
}

/// Two convolutions over a grey picture of 6x6, and the mean of each of four channels.
fn network() -> Graph {
    let conv = |activation| {
        Op::Conv2d(Conv2d { stride: Hw::ONE, dilation: Hw::ONE, padding: Padding::NONE, groups: 1, activation })
    };
    let mut build = GraphBuilder::new("float");
    let image = build.input(tensor("image", &[1, 6, 6, 1]));
    let (w, b) = (constant(&mut build, "w1", &[8, 3, 3, 1], 1), constant(&mut build, "b1", &[8], 2));
    let features = build.apply("features", conv(Activation::Relu), &[image, w, b]);
    let (w, b) = (constant(&mut build, "w2", &[4, 3, 3, 8], 3), constant(&mut build, "b2", &[4], 4));
    let maps = build.apply("maps", conv(Activation::None), &[features, w, b]);
    let mean = Op::Mean(cnnip_graph::Mean { axes: vec![1, 2], keep_dims: false });
    let scores = build.apply("scores", mean, &[maps]);
    build.output(scores);
    build.finish().unwrap()
}

/// A folder with the model, and 40 examples in an archive of their own.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.file("model.tflite", export_tflite(&network()).unwrap());
    examples(&bench, "data.npy", 40);
    bench
}

/// Writes so many pictures into an archive.
fn examples(bench: &Bench, name: &str, count: usize) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 6, 6, 1), }}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let values = bytes(&noise(count * 36, 5));
    bench.file(name, [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &values].concat());
}

#[test]
fn a_calibration_goes_on_where_it_was() {
    let bench = bench();
    let line = "cnnip compile @model.tflite --calib-method mse --correct-bias";
    bench.done(&format!("{line} --calib @data.npy -o @whole.cnnip"));
    // The first 15 examples under the same name: what a run that was ended then has seen.
    let whole = std::fs::read(bench.path("data.npy")).unwrap();
    let text = String::from_utf8_lossy(&whole[..whole.len() - 40 * 36 * 4]).replace("(40,", "(15,");
    std::fs::create_dir(bench.path("part")).unwrap();
    let values = &whole[whole.len() - 40 * 36 * 4..][..15 * 36 * 4];
    let header = text.split_once('{').map(|(_, header)| format!("{{{header}")).unwrap();
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    bench.file("part/data.npy", [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat());
    let journal = "--calib-journal @journal.json";
    bench.done(&format!("{line} --calib @part/data.npy {journal} -o @part.cnnip"));
    bench.done(&format!("{line} --calib @data.npy {journal} -o @resumed.cnnip"));
    let package = |name: &str| std::fs::read(bench.path(name)).unwrap();
    assert_ne!(package("part.cnnip"), package("whole.cnnip"));
    assert_eq!(package("resumed.cnnip"), package("whole.cnnip"));
    let said = bench.refused(&format!("cnnip compile @model.tflite --calib @data.npy {journal} -o @x.cnnip"));
    assert!(said.contains("begun with another method"), "{said}");
}

/// Kills a calibration, so that it can do nothing about it, as soon as its journal has something new.
fn kill_when_written(bench: &Bench, line: &str, journal: &str) {
    let before = std::fs::read(bench.path(journal)).ok();
    let mut child = bench.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && std::fs::read(bench.path(journal)).ok() == before {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap(); // SIGKILL; nothing if it has ended
    child.wait().unwrap();
    assert_ne!(std::fs::read(bench.path(journal)).ok(), before, "{line}");
}

/// Whatever is left then is whole, and every command that calibrates goes on with it to the ranges of an unbroken run, byte for byte.
#[test]
fn a_calibration_survives_being_killed() {
    let bench = bench();
    examples(&bench, "many.npy", 20_000);
    let ranges = |name: &str| std::fs::read(bench.path(name)).unwrap();
    for method in ["entropy", "average", "min-max --correct-bias"] {
        let calibration = format!("@model.tflite --calib @many.npy --calib-method {method}");
        bench.done(&format!("cnnip compile {calibration} -o @whole.cnnip --save-ranges @whole.json"));
        let journal = "journal.json";
        let broken = format!("cnnip compile {calibration} -o @broken.cnnip --calib-journal @{journal}");
        for _ in 0..3 {
            kill_when_written(&bench, &broken, journal);
        }
        let left = ranges(journal);
        for rest in [
            "compile ARGUMENTS -o @resumed.cnnip",
            "export ARGUMENTS -o @resumed.onnx",
            "evaluate ARGUMENTS --data @data.npy --levels fast --count 1",
            "precision ARGUMENTS --data @data.npy --goal-db 1 --count 1 -o @precision.json",
        ] {
            bench.file(journal, &left);
            let rest = rest.replace("ARGUMENTS", &calibration);
            bench.done(&format!("cnnip {rest} --calib-journal @{journal} --save-ranges @resumed.json"));
            assert!(ranges("resumed.json") == ranges("whole.json"), "{rest}");
        }
        assert!(ranges("resumed.cnnip") == ranges("whole.cnnip"), "{method}");
        std::fs::remove_file(bench.path(journal)).unwrap();
    }
}

#[test]
fn a_report_says_what_every_layer_takes() {
    let bench = bench();
    let reports = "--report @r.json --report @r.txt --report @r.html";
    let said =
        bench.done(&format!("cnnip compile @model.tflite --calib @data.npy -o @x.cnnip --json {reports}")).data();
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(bench.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["total"], said["report"]);
    let layers = report["layers"].as_array().unwrap();
    let sum = |key: &str| layers.iter().map(|layer| layer[key].as_u64().unwrap()).sum::<u64>();
    for (of_layers, of_all) in
        [("macs", "macs"), ("cycles_estimate", "cycles_estimate"), ("loaded_bytes", "loaded_bytes")]
    {
        assert_eq!(report["total"][of_all], sum(of_layers), "{of_layers}");
    }
    assert_eq!(sum("parameters"), 8 * 9 + 8 + 4 * 9 * 8 + 4);
    let maps = layers.iter().find(|layer| layer["name"] == "maps").unwrap();
    assert!(maps["sqnr_db"].as_f64().unwrap() > 20.0, "{maps}");
    assert!(std::fs::read_to_string(bench.path("r.txt")).unwrap().lines().count() > layers.len());
    let said = bench.refused("cnnip compile @model.tflite --calib @data.npy -o @y.cnnip --report @r.pdf");
    assert!(said.contains(".html, .json or .txt"), "{said}");
}

#[test]
fn a_report_of_several_models_measures_each() {
    let bench = bench();
    let line = "cnnip compile @model.tflite @model.tflite --calib @data.npy --target v3u -o @x.cnnip";
    bench.done(&format!("{line} --report @r.json"));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(bench.path("r.json")).unwrap()).unwrap();
    let layers = report["layers"].as_array().unwrap();
    let quality = |name: &str| layers.iter().find(|layer| layer["name"] == name).unwrap()["sqnr_db"].as_f64().unwrap();
    assert!(quality("model/maps") > 20.0);
    assert_eq!(quality("model/maps").to_bits(), quality("model.2/maps").to_bits());
    let said = bench.refused(&format!("{line} --calib-journal @journal.json"));
    assert!(said.contains("--calib-journal is of one model") && said.contains("--save-ranges"), "{said}");
}

#[test]
fn a_float_model_becomes_a_package() {
    let bench = bench();
    let said = bench.refused("cnnip compile @model.tflite -o @x.cnnip");
    assert!(said.contains("this is a float model") && said.contains("--calib"), "{said}");
    for method in ["min-max", "average", "percentile", "entropy", "mse"] {
        bench.done(&format!("cnnip compile @model.tflite --calib @data.npy --calib-method {method} -o @x.cnnip"));
    }
    bench.done("cnnip compile @model.tflite --calib @data.npy --save-ranges @ranges.json -o @x.cnnip");
    bench.done("cnnip compile @model.tflite --ranges @ranges.json -o @y.cnnip");
    assert_eq!(std::fs::read(bench.path("x.cnnip")).unwrap(), std::fs::read(bench.path("y.cnnip")).unwrap());
    bench.file("image.bin", bytes(&noise(36, 6)));
    bench.done("iss-run @x.cnnip @image.bin --output @scores.npy");
    let said = bench.refused("cnnip compile examples/digits/digits.tflite --calib @data.npy -o @x.cnnip");
    assert!(said.contains("quantized already"), "{said}");
}

#[test]
fn more_bits_and_even_weights_bring_the_levels_together() {
    let bench = bench();
    let sqnr = |flags: &str| {
        let line = "cnnip evaluate @model.tflite --data @data.npy --calib @data.npy --levels float,accurate,iss --json";
        let data = bench.done(&format!("{line} {flags}")).data();
        assert_eq!(data["examples"], 40);
        assert_eq!(data["levels"][1]["sqnr_db"], data["levels"][2]["sqnr_db"], "accurate and ISS have the same bits");
        data["levels"][1]["sqnr_db"].as_f64().unwrap()
    };
    let (narrow, wide) = (sqnr(""), sqnr("--int16 *"));
    assert!(narrow > 25.0, "{narrow} dB");
    assert!(wide > narrow + 10.0, "{wide} dB against {narrow} dB");
    assert!(sqnr("--equalize --correct-bias") > 25.0);
}

#[test]
fn an_evaluation_goes_on_where_it_was_and_says_what_it_could_not_use() {
    let bench = bench();
    let line = "cnnip evaluate @model.tflite --calib @data.npy --levels float,fast,accurate --json";
    let whole = bench.done(&format!("{line} --data @data.npy")).data();
    bench.done(&format!("{line} --data @data.npy --journal @journal.csv --count 7"));
    let resumed = bench.done(&format!("{line} --data @data.npy --journal @journal.csv --resume --threads 3")).data();
    assert_eq!(whole, resumed);
    std::fs::create_dir_all(bench.path("pictures/cat")).unwrap();
    bench.file("pictures/cat/broken.png", "no picture");
    let ran = bench.run(&format!("{line} --data @pictures"));
    assert_eq!((ran.status, ran.data()["failed"].as_u64()), (2, Some(1)), "{ran:?}");
    let said = bench.refused("cnnip compile @model.tflite --calib @pictures -o @x.cnnip");
    assert!(said.contains("cat/broken.png: the picture cannot be decoded"), "{said}");
    assert!(!bench.files().contains(&"x.cnnip".to_owned()), "nothing was written");
}

#[test]
fn the_fast_simulator_writes_its_tensors() {
    let bench = Bench::new();
    let (model, image) = ("examples/digits/digits.tflite", "examples/digits/images/7_00.png");
    bench.done(&format!("cnnip fast {model} {image} --dump @integers.npz"));
    bench.done(&format!("cnnip fast {model} {image} --dump @real --dequantize"));
    let ran = bench.done(&format!("cnnip compare @real float:{model} --input {image}"));
    assert!(ran.out.contains("tensors are equal"), "{}", ran.out);
    // Integers without scales are those of the device, but for the few that it rounds otherwise.
    let ran = bench.run(&format!("cnnip compare @integers.npz accurate:{model} --input {image}"));
    assert!(ran.status == 1 && ran.out.contains("of 7 tensors differ"), "{ran:?}");
    bench.done(&format!("cnnip fast {model} {image} --dump @some --tensors conv* --dequantize"));
    let said = bench.refused(&format!("cnnip compare @some float:{model} --input {image}"));
    assert!(said.contains("is not in") && said.contains("logits") && !said.contains("conv1"), "{said}");
    let said = bench.refused(&format!("cnnip fast {model} {image} --dump @none.npz --tensors nothing"));
    assert!(said.contains("no tensor has such a name"), "{said}");
}

#[test]
fn levels_run_on_their_own() {
    let bench = bench();
    bench.file("image.bin", bytes(&noise(36, 6)));
    for level in ["fast", "accurate"] {
        let model = "examples/digits/digits.tflite examples/digits/images/7_00.png";
        let ran = bench.done(&format!("cnnip {level} {model} --labels examples/digits/labels.txt --top 1"));
        assert!(ran.out.contains('7'), "{level}: {}", ran.out);
    }
    bench.done("cnnip fast @model.tflite @image.bin --output @scores.npy");
}
