//! Looking between the layers as a user does: dumps, comparison, bisection, derivation.

mod common;

use common::Bench;

const MODEL: &str = "examples/digits/digits.tflite";
const IMAGE: &str = "--input examples/digits/images/7_00.png";

#[test]
fn the_simulators_agree_on_every_tensor() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {MODEL} -o @x.cnnip --target v3m"));
    let ran = bench.done(&format!("cnnip compare accurate:{MODEL} iss:@x.cnnip {IMAGE} --target v3m"));
    assert!(ran.out.contains("are equal, bit for bit"), "{}", ran.out);
    let ran = bench.done(&format!("cnnip bisect accurate:{MODEL} iss:@x.cnnip {IMAGE} --target v3m"));
    assert_eq!(ran.out, "equal in every tensor\n");
}

#[test]
fn dumps_are_what_the_simulators_have() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {MODEL} -o @x.cnnip"));
    bench.done("iss-run @x.cnnip examples/digits/images/7_00.png --dump-all @all --dump *=@all.npz");
    for dump in ["@all", "@all.npz"] {
        bench.done(&format!("cnnip compare accurate:{MODEL} {dump} {IMAGE}"));
    }
    let other = "--input examples/digits/images/3_00.png";
    let ran = bench.run(&format!("cnnip compare @all.npz accurate:{MODEL} {other} --json --html @page.html"));
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(ran.data()["equal"], false);
    assert!(bench.files().contains(&"page.html".to_owned()));
    let rows = bench.run(&format!("cnnip compare @all.npz accurate:{MODEL} {other} --csv --local"));
    assert!(rows.out.starts_with("tensor,elements,equal,"), "{rows:?}");
}

#[test]
fn what_cannot_be_compared_is_named() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {MODEL} -o @x.cnnip"));
    bench.done("iss-run @x.cnnip examples/digits/images/7_00.png --dump image=@image.npy");
    let said = bench.refused(&format!("cnnip compare accurate:{MODEL} @image.npy {IMAGE}"));
    assert!(said.contains("`probabilities` is not in") && said.contains("--only"), "{said}");
    bench.done(&format!("cnnip compare accurate:{MODEL} @image.npy {IMAGE} --only image"));
    let said = bench.refused("iss-run @x.cnnip examples/digits/images/7_00.png --dump imagee=@i.npy");
    assert!(said.contains("no tensor `imagee`; did you mean `image`?"), "{said}");
}

#[test]
fn the_derivation_of_an_element_gives_its_value() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {MODEL} -o @x.cnnip"));
    let tensors = bench.done(&format!("cnnip compare accurate:{MODEL} iss:@x.cnnip {IMAGE} --json")).data();
    for tensor in tensors["tensors"].as_array().unwrap() {
        let (name, rank) = (tensor["name"].as_str().unwrap(), tensor["shape"].as_array().unwrap().len());
        if name.contains(' ') {
            continue;
        }
        let ran = bench.done(&format!("cnnip why {MODEL} {name}[{}] {IMAGE} --json", vec!["0"; rank].join(",")));
        let (derived, stored) = (&ran.data()["derived"], &ran.data()["stored"]);
        assert!(derived.is_null() || derived == stored, "{name}: {derived} {stored}");
    }
}

const NCHW: &str = "crates/cnnip-cli/tests/goldens/nchw";

/// Compares with ONNX Runtime's dump of every tensor; gives the measures by name.
fn against_onnx_runtime(bench: &Bench, level: &str) -> Vec<serde_json::Value> {
    let line = format!("cnnip compare {NCHW}/tensors.npz {level} --input {NCHW}/input.npy --json");
    let data = bench.run(&line).data();
    data["tensors"].as_array().unwrap_or_else(|| panic!("{level}: {data}")).clone()
}

#[test]
fn an_onnx_model_comes_out_in_its_own_names_and_layout() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {NCHW}/model.onnx --calib {NCHW}/calibration.npz -o @x.cnnip"));
    let levels = [format!("float:{NCHW}/model.onnx"), "accurate:@x.cnnip".to_owned(), "iss:@x.cnnip".to_owned()];
    for (level, least_db) in levels.iter().zip([100.0, 15.0, 15.0]) {
        let found = against_onnx_runtime(&bench, level);
        let names: Vec<&str> = found.iter().filter_map(|measure| measure["name"].as_str()).collect();
        for name in
            ["relu1", "pool1", "relu2", "pointwise3", "sum3", "both", "middle", "average", "flat", "scores", "map"]
        {
            assert!(names.contains(&name), "{level} has no {name}: {names:?}");
        }
        for measure in &found {
            let db = measure["sqnr_db"].as_f64().unwrap_or(f64::INFINITY);
            assert!(db >= least_db, "{level}: {measure}");
        }
        let both = found.iter().find(|measure| measure["name"] == "both").unwrap();
        assert_eq!(both["shape"], serde_json::json!([1, 12, 4, 6]), "{level}");
    }
}

#[test]
fn dumps_of_an_onnx_model_are_equal_on_all_levels_and_named_by_the_model() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {NCHW}/model.onnx --calib {NCHW}/calibration.npz -o @x.cnnip"));
    bench.done(&format!("iss-run @x.cnnip {NCHW}/input.npy --dump-all @iss --dump both=@both.npy"));
    bench.done(&format!("cnnip accurate @x.cnnip {NCHW}/input.npy --dump @accurate.npz"));
    bench.done("cnnip compare @iss @accurate.npz");
    bench.done(&format!("cnnip bisect accurate:@x.cnnip iss:@x.cnnip --input {NCHW}/input.npy"));
    let header = std::fs::read(bench.path("both.npy")).unwrap();
    assert!(String::from_utf8_lossy(&header[..128]).contains("(1, 12, 4, 6)"));
}

#[test]
fn an_element_is_derived_by_its_index_in_the_model() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {NCHW}/model.onnx --calib {NCHW}/calibration.npz -o @x.cnnip"));
    for (element, tap) in [("pool1[0,5,3,4]", [0, 5, 6, 8]), ("relu2[0,5,3,4]", [0, 5, 2, 3])] {
        let ran = bench.done(&format!("cnnip why @x.cnnip {element} --input {NCHW}/input.npy --json")).data();
        assert_eq!(ran["derived"], ran["stored"], "{element}");
        assert_eq!(ran["taps"][0]["index"], serde_json::json!(tap), "{element}: the first tap in the model's order");
    }
    let said = bench.refused(&format!("cnnip why @x.cnnip relu1[0,7,11,5] --input {NCHW}/input.npy"));
    assert!(said.contains("has shape [1, 6, 8, 12]"), "{said}");
}

#[test]
fn many_inputs_give_one_figure_per_tensor() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {NCHW}/model.onnx --calib {NCHW}/calibration.npz -o @x.cnnip"));
    let data = format!("--data {NCHW}/calibration.npz --count 5");
    let one = format!("float:{NCHW}/model.onnx accurate:@x.cnnip");
    let found = bench.run(&format!("cnnip compare {one} {data} --local --json")).data();
    assert_eq!(found["inputs"], 5, "{found}");
    let elements = |name: &str| {
        let all = found["tensors"].as_array().unwrap();
        all.iter().find(|measure| measure["name"] == name).map(|measure| measure["elements"].clone())
    };
    assert_eq!(elements("scores"), Some(50.into()));
    assert!(found["verdicts"].as_array().is_some_and(|verdicts| !verdicts.is_empty()));
    bench.done(&format!("cnnip accurate @x.cnnip {data} --dump @{{}}.npz"));
    bench.done(&format!("cnnip compare iss:@x.cnnip @{{}}.npz {data}"));
    let said = bench.refused(&format!("cnnip compare iss:@x.cnnip @0.npz {data}"));
    assert!(said.contains("the number of the example"), "{said}");
}

#[test]
fn masks_have_classes_and_a_picture_of_their_difference() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {NCHW}/model.onnx --calib {NCHW}/calibration.npz -o @x.cnnip"));
    let one = format!("float:{NCHW}/model.onnx accurate:@x.cnnip --input {NCHW}/input.npy");
    let found = bench.run(&format!("cnnip compare {one} --json --html @page.html")).data();
    let mask = &found["masks"][0];
    assert_eq!((&mask["name"], &mask["pixels"]), (&"map".into(), &24.into()), "{found}");
    let mean = mask["mean_iou"].as_f64().unwrap();
    assert!((0.2..=1.0).contains(&mean), "{mask}");
    let page = std::fs::read_to_string(bench.path("page.html")).unwrap();
    assert!(page.contains("<section class=\"picture\">") && page.contains("mIoU"), "the mask and its difference");
    let text = bench.run(&format!("cnnip compare {one} --mask middle")).out;
    assert!(text.contains("mask middle: ") && !text.contains("mask map: "), "{text}");
}

#[test]
fn what_is_wrong_with_a_dump_is_named() {
    let bench = Bench::new();
    bench.done(&format!("cnnip compile {NCHW}/model.onnx --calib {NCHW}/calibration.npz -o @x.cnnip"));
    bench.done(&format!("cnnip accurate @x.cnnip {NCHW}/input.npy --dump @dump --dequantize"));
    let line = format!("cnnip compare accurate:@x.cnnip @dump --input {NCHW}/input.npy");
    assert_eq!(bench.run(&line).status, 1, "real numbers are not the integers");
    std::fs::rename(bench.path("dump/sum3.npy"), bench.path("dump/other.npy")).unwrap();
    let said = bench.refused(&line);
    assert!(said.contains("`sum3` is not in") && said.contains("`other` is not in"), "{said}");
    std::fs::rename(bench.path("dump/other.npy"), bench.path("dump/sum3.npy")).unwrap();
    std::fs::copy(bench.path("dump/relu1.npy"), bench.path("dump/relu2.npy")).unwrap();
    let said = bench.refused(&line);
    assert!(said.contains("`relu2` has shape [1, 6, 4, 6] in one and [1, 6, 8, 12] in the other"), "{said}");
    let mut bytes = std::fs::read(bench.path("dump/relu1.npy")).unwrap();
    let length = bytes.len();
    bytes[length - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    bench.file("dump/relu1.npy", bytes);
    let said = bench.refused(&line);
    assert!(said.contains("`relu1`") && said.contains("element 575 is NaN"), "{said}");
    let said = bench.refused(&format!("cnnip compare {NCHW}/tensors.npz accurate:{MODEL} {IMAGE}"));
    assert!(said.contains("is not in"), "a dump of another model: {said}");
}
