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
