//! Data sets through levels, as a user runs them.

mod common;

use cnnip_graph::{
    Activation, ElementType, FullyConnected, Graph, GraphBuilder, Op, Shape, Tensor, TensorId, tflite::export_tflite,
};
use common::Bench;
use serde_json::{Value, json};

const DIGITS: &str = "examples/digits";

fn levels(data: &Value) -> impl Iterator<Item = &Value> {
    data["levels"].as_array().unwrap().iter()
}

#[test]
fn digits_at_all_four_levels() {
    let bench = Bench::new();
    let models = format!("{DIGITS}/digits.tflite --float {DIGITS}/digits_float.tflite");
    let line = format!(
        "cnnip evaluate {models} --data {DIGITS}/images.csv --levels float,fast,accurate,iss --layers 20 --json"
    );
    let data = bench.done(&line).data();
    // One of the twenty, 9_00.png, is read as a 7 by every level.
    for level in levels(&data) {
        assert_eq!((&level["top1"], &level["agree"]), (&json!(19), &json!(20)), "{level}");
    }
    let named: Vec<&str> = levels(&data).map(|level| level["level"].as_str().unwrap()).collect();
    assert_eq!(named, ["float", "fast", "accurate", "iss"]);
    assert_eq!(data["levels"][2]["sqnr_db"], data["levels"][3]["sqnr_db"], "accurate and ISS have the same bits");
    for layer in data["layers"].as_array().unwrap() {
        assert!(layer["largest_steps"].as_u64().unwrap() <= 2, "{layer}");
    }
    // With one rounding, fast is exact but for the softmax, which the device looks up.
    let single = bench.done(&format!("{line} --rounding float")).data();
    let differing = |data: &Value| -> u64 {
        let layers = data["layers"].as_array().unwrap().iter().filter(|layer| layer["tensor"] != "probabilities");
        layers.map(|layer| layer["different"].as_u64().unwrap()).sum()
    };
    assert!(differing(&data) > 0);
    assert_eq!(differing(&single), 0);
}

#[test]
fn engines_agree() {
    let bench = Bench::new();
    let line =
        format!("cnnip evaluate {DIGITS}/digits.tflite --data {DIGITS}/images.csv --levels accurate,fast --json");
    let run = |engine: &str| bench.done(&format!("{line} --engine {engine}")).data();
    assert_eq!(run("embedded")["levels"][1]["top1"], run("reference")["levels"][1]["top1"]);
    let answer = |engine: &str| {
        bench.done(&format!("cnnip fast {DIGITS}/digits.tflite {DIGITS}/images/7_00.png --engine {engine} --top 1")).out
    };
    assert_eq!(answer("embedded"), answer("reference"));
    if cfg!(not(feature = "ort")) {
        let said = bench.refused(&format!("{line} --engine ort").replace(" --json", ""));
        assert!(said.contains("no engine `ort`") && said.contains("--features ort"), "{said}");
    }
}

#[test]
fn records_go_to_tables_and_the_worst_to_files() {
    let bench = Bench::new();
    let model = format!("{DIGITS}/digits.tflite --float {DIGITS}/digits_float.tflite");
    bench.done(&format!(
        "cnnip evaluate {model} --data {DIGITS}/images.csv --levels float,iss --parquet @rows.parquet --save-worst @worst"
    ));
    let table = std::fs::read(bench.path("rows.parquet")).unwrap();
    assert_eq!((&table[..4], &table[table.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
    let mut worst: Vec<String> = std::fs::read_dir(bench.path("worst"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    worst.sort();
    assert_eq!(worst.len(), 20);
    let input = format!("@worst/{}", worst[0]);
    bench.run(&format!(
        "cnnip compare float:{DIGITS}/digits_float.tflite accurate:{DIGITS}/digits.tflite --input {input}"
    ));
}

#[test]
fn what_cannot_be_used_is_named_and_counted() {
    let bench = Bench::new();
    let image = std::fs::read(common::root().join(DIGITS).join("images/7_00.png")).unwrap();
    bench.file("good.png", &image);
    bench.file("cut.png", &image[..60]);
    bench.file("wide.pgm", "P5 9 8 255\n");
    bench.file("list.csv", "cut.png,1\ngone.png,2\nwide.pgm,3\ngood.png,12\ngood.png,7\n");
    let line = format!("cnnip evaluate {DIGITS}/digits.tflite --data @list.csv --levels fast");
    let ran = bench.run(&line);
    assert_eq!(ran.status, 2);
    assert!(ran.out.starts_with("1 examples, 1 with a class, 4 could not be used\n"), "{ran:?}");
    for want in [
        "cut.png: the picture cannot be decoded",
        "gone.png: ",
        "wide.pgm: the picture is 9x8, the network takes 8x8",
        "good.png: its class is 12, the network has 10 from 0 on",
    ] {
        assert!(ran.err.contains(want), "{want}: {ran:?}");
    }
    let ran = bench.run(&format!("{line} --strict"));
    assert!(ran.status == 2 && ran.out.contains("0 examples, 0 with a class, 1 could not be used"), "{ran:?}");
}

fn tensor(name: &str, shape: &[usize]) -> Tensor {
    Tensor::new(name, Shape::new(shape).unwrap(), ElementType::F32)
}

fn constant(build: &mut GraphBuilder, name: &str, shape: &[usize], values: &[f32]) -> TensorId {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    build.tensor(tensor(name, shape).constant(bytes))
}

/// A network of a grey 2x2 picture whose outputs are what `outputs` says, whatever it sees.
fn says(outputs: &[(&str, &[usize], &[f32])]) -> Graph {
    let mut build = GraphBuilder::new("says");
    let image = build.input(tensor("image", &[1, 2, 2, 1]));
    let flat = build.apply("flat", Op::Reshape { shape: Shape::new([1, 4]).unwrap() }, &[image]);
    for (name, shape, values) in outputs {
        let weights = constant(&mut build, &format!("{name}/w"), &[values.len(), 4], &vec![0.0; 4 * values.len()]);
        let bias = constant(&mut build, &format!("{name}/b"), &[values.len()], values);
        let op = FullyConnected { activation: Activation::None, keep_num_dims: false };
        let line = build.apply(&format!("{name}/line"), Op::FullyConnected(op), &[flat, weights, bias]);
        let shaped = build.apply(name, Op::Reshape { shape: Shape::new(shape.to_vec()).unwrap() }, &[line]);
        build.output(shaped);
    }
    build.finish().unwrap()
}

#[test]
fn objects_in_boxes_have_an_average_precision() {
    let bench = Bench::new();
    // Of two pictures, 20x10: an object of class 1 in the left half, and another one everywhere.
    let boxes = [0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 1.0, 1.0];
    let model =
        says(&[("boxes", &[1, 2, 4], &boxes), ("classes", &[1, 2], &[1.0, 0.0]), ("scores", &[1, 2], &[0.9, 0.8])]);
    bench.file("model.tflite", export_tflite(&model).unwrap());
    for name in ["a.pgm", "b.pgm"] {
        bench.file(name, [&b"P5 20 10 255\n"[..], &[7; 200]].concat());
    }
    let object = |image: usize, category: usize, bbox: [u8; 4]| json!({ "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0 });
    let annotations = json!({
        "images": [{ "id": 1, "file_name": "a.pgm" }, { "id": 2, "file_name": "b.pgm" }],
        "annotations": [object(1, 5, [0, 0, 10, 10]), object(2, 5, [0, 0, 10, 6]), object(2, 2, [0, 0, 20, 10])],
        "categories": [{ "id": 5, "name": "half" }, { "id": 2, "name": "all" }],
    });
    bench.file("objects.json", annotations.to_string());
    let line = "cnnip evaluate @model.tflite --data @objects.json --levels float --fit stretch";
    let data = bench.done(&format!("{line} --json")).data();
    // Class 0 ("all"): a wrong one in the first picture goes before the right one in the second, of equal scores: precision 1/2.
    // Class 1 ("half"): at 0.5 and 0.55 and 0.6 both are right, above only the first of two objects: 51 of 101 recalls.
    let (all, low, high) = (0.5, 1.0, 51.0 / 101.0);
    let near = |value: &Value, want: f64| assert!((value.as_f64().unwrap() - want).abs() < 1e-9, "{value} {want}");
    near(&data["levels"][0]["map50"], (all + low) / 2.0);
    near(&data["levels"][0]["map"], (all + (3.0 * low + 7.0 * high) / 10.0) / 2.0);
    let text = bench.done(line).out;
    assert!(text.contains("mAP %") && text.contains("2 examples, 2 with objects, 0 could not be used"), "{text}");
    let said = bench.refused(&format!("{line} --box-outputs scores,classes,boxes"));
    assert!(said.contains("are not boxes, classes, scores"), "{said}");
    let said = bench.refused(&format!("{line} --box-outputs nothing"));
    assert!(
        said.contains("there is no output `nothing`") && said.contains("there are boxes, classes, scores"),
        "{said}"
    );
}

#[test]
fn masks_have_a_mean_intersection_over_union() {
    let bench = Bench::new();
    // Class 1 on the left, 0 on the right, as scores per pixel of a 2x2 map.
    let scores = [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    bench.file("model.tflite", export_tflite(&says(&[("map", &[1, 2, 2, 2], &scores)])).unwrap());
    std::fs::create_dir_all(bench.path("pictures")).unwrap();
    std::fs::create_dir_all(bench.path("masks")).unwrap();
    for (name, mask) in [("a.pgm", [1, 0, 1, 1]), ("b.pgm", [1, 255, 1, 0])] {
        bench.file(&format!("pictures/{name}"), [&b"P5 2 2 255\n"[..], &[9; 4]].concat());
        bench.file(&format!("masks/{name}"), [&b"P5 2 2 255\n"[..], &mask].concat());
    }
    let line = "cnnip evaluate @model.tflite --data @pictures --masks @masks --levels float";
    let data = bench.done(&format!("{line} --json")).data();
    // Class 0: said 3, real 2, both 2. Class 1: said 4, real 5, both 4.
    let (zero, one) = (2.0 / 3.0, 4.0 / 5.0);
    let level = &data["levels"][0];
    assert!((level["miou"].as_f64().unwrap() - (zero + one) / 2.0).abs() < 1e-9, "{level}");
    assert!((level["right"].as_f64().unwrap() - 6.0 / 7.0).abs() < 1e-9, "{level}");
    bench.file("masks/c.pgm", "P5 2 2 255\n");
    let ran = bench.run(line);
    assert!(ran.status == 2 && ran.err.contains("c: there is a label for it, but no picture"), "{ran:?}");
    let said =
        bench.refused(&format!("cnnip evaluate {DIGITS}/digits.tflite --data @pictures --masks @masks --levels fast"));
    assert!(said.contains("says no class per pixel"), "{said}");
}

#[test]
fn a_network_goes_to_other_frameworks() {
    let bench = Bench::new();
    // What ONNX Runtime makes of them `tools/check_qdq.py` says.
    for model in ["digits", "digits_float"] {
        let ran = bench.done(&format!("cnnip export {DIGITS}/{model}.tflite -o @{model}.onnx --json")).data();
        let file = std::fs::read(bench.path(&format!("{model}.onnx"))).unwrap();
        assert_eq!(ran["bytes"].as_u64(), u64::try_from(file.len()).ok());
        let holds = |text: &[u8]| file.windows(text.len()).any(|bytes| bytes == text);
        assert_eq!(holds(b"QuantizeLinear"), model == "digits");
    }
    // And back: the exported network is compiled to the same integers.
    bench.done("cnnip compile @digits.onnx -o @back.cnnip");
    let outputs = |package: &str| {
        bench.done(&format!("iss-run {package} {DIGITS}/images/7_00.png --json")).data()["outputs"].clone()
    };
    assert_eq!(outputs("@back.cnnip"), outputs(&format!("{DIGITS}/digits.cnnip")));
    let said = bench.refused("cnnip export @digits.onnx -o @digits.onnx");
    assert!(said.contains("written over itself"), "{said}");
}
