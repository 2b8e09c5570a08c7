//! Bad usage, bad input, bad programs: one clear error each, and the exit status that says which it was.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::{Bench, program, root};

/// Copies four bytes in one step.
const COPY: &str = "
.region in input
.region out output
.tensor in int8 [4]
.tensor out int8 [4] scale=0.5 zero=1
.list dma0
    set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=dram REGION=1, DST_ADDR 0
    set RUN_BYTES 4, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    run COPY
    end
.endlist
";

/// Quantizes two numbers on the host.
const QUANTIZE: &str = "
.region in input host
.region out output host
.tensor in float32 [2]
.tensor out int8 [2] scale=1 zero=0
.step host quantize in -> out
";

/// Wants a picture of 2x1 grey pixels.
const PICTURE: &str = "
.region in input
.tensor in int8 [1, 1, 2, 1]
.input in height=1 width=2 layout=nhwc color=gray pixel_offset=-128
";

fn copy() -> Bench {
    let bench = Bench::new();
    bench.package("copy", COPY);
    bench.file("in.bin", [1, 2, 3, 254]);
    bench
}

#[test]
fn bad_flags_are_refused() {
    let bench = Bench::new();
    for (line, want) in [
        ("iss-run", "<PACKAGE>"),
        ("iss-run x --fast", "--fast"),
        ("iss-run x --check races", "there is no check `races`: all, none, or some of race, uninit"),
        ("iss-run x --step twice", "[possible values: run, command, cycle]"),
        ("iss-run x --max-cycles many", "--max-cycles"),
        ("cnnip compile x", "--output"),
        ("cnnip compile x -o y --target v9", "only v3m, v3h, v3u, v4h"),
        ("cnnip dissect x", "dissect"),
    ] {
        let err = bench.refused(line);
        assert!(err.starts_with("error: ") && err.contains(want), "{line}: {err}");
    }
}

#[test]
fn bad_files_are_refused_with_one_error_and_a_hint() {
    let bench = copy();
    bench.file("empty", "");
    bench.file("text", "not a package at all, but long enough to have a header of sorts");
    let whole = std::fs::read(bench.path("copy.cnnip")).unwrap();
    bench.file("cut.cnnip", &whole[..whole.len() - 9]);
    let mut flipped = whole;
    flipped[300] ^= 1;
    bench.file("flipped.cnnip", flipped);
    bench.file("bad.s", [0x2e, 0xff]);
    bench.file("model.onnx", "no model");
    for (line, want) in [
        ("iss-run @nothing", "error: @nothing: cannot be read: No such file"),
        ("iss-run @", "error: @: cannot be read: Is a directory"),
        ("iss-run @empty", "error: @empty: at byte 0x0 (header): the file does not begin"),
        ("iss-run @text", "error: @text: at byte 0x0 (header): the file does not begin with the package signature"),
        ("iss-run @cut.cnnip", "error: @cut.cnnip: at byte"),
        ("iss-run @flipped.cnnip", "error: @flipped.cnnip: at byte"),
        ("cnnip disasm @text", "error: @text: at byte 0x0"),
        ("cnnip info @text", "error: @text: at byte 0x0"),
        ("cnnip asm @bad.s -o @x", "error: @bad.s: the text is not UTF-8 from byte 0x1 on"),
        ("cnnip asm @nothing.s -o @x", "error: @nothing.s: cannot be read"),
        ("cnnip asm @empty -o @x", "error: @empty: line 1, column 1: the text has no directive"),
        ("cnnip compile @nothing.tflite -o @x", "error: @nothing.tflite: cannot be read"),
        ("cnnip compile @text -o @x", "error: @text: "),
        ("cnnip compile @empty -o @x", "error: @empty: "),
        ("cnnip compile @model.onnx -o @x", "error: @model.onnx: model: the file is no ONNX model"),
        ("iss-run @copy.cnnip @in.bin --labels @nothing", "error: @nothing: cannot be read"),
    ] {
        let err = bench.refused(line);
        assert!(err.starts_with(want), "{line}: {err}");
        assert!(err.contains("hint: "), "{line}: {err}");
    }
    assert!(!bench.files().contains(&"x".to_owned()), "nothing was written");
}

#[test]
fn bad_inputs_are_refused_with_one_error_and_a_hint() {
    let bench = copy();
    bench.package("quantize", QUANTIZE);
    bench.package("picture", PICTURE);
    bench.file("short.bin", [1]);
    bench.file("long.bin", [1; 1000]);
    bench.file("nan.bin", [f32::NAN, 1.0].map(f32::to_le_bytes).concat());
    bench.file("fake.png", "no picture");
    bench.file("empty.png", "");
    bench.file("fake.npy", "no array");
    bench.file("small.pgm", "P5 1 1 255\n\x07");
    bench.file("huge.pgm", "P5 60000 60000 255\n\x07");
    bench.file("cut.pgm", "P5 2 1 255\n\x07");
    bench.done("iss-run @copy.cnnip @in.bin --output @four.npy");
    for (line, want) in [
        ("iss-run @copy.cnnip", "error: input `in` has no file"),
        ("iss-run @copy.cnnip @nothing", "error: @nothing: cannot be read"),
        ("iss-run @copy.cnnip @short.bin", "error: @short.bin: `in` takes 4 bytes, 1 are given"),
        ("iss-run @copy.cnnip @long.bin", "error: @long.bin: `in` takes 4 bytes, the file has 1000"),
        ("iss-run @copy.cnnip @in.bin @in.bin", "error: unexpected argument"),
        (
            "iss-run @copy.cnnip @in.bin --input @in.bin",
            "error: @in.bin: there is no input left for it, of 1 each has a file",
        ),
        (
            "iss-run @copy.cnnip --input in=@in.bin --input in=@four.npy",
            "error: @four.npy: input `in` has another file already",
        ),
        ("iss-run @copy.cnnip --input in=", "error: an empty file name: cannot be read"),
        ("iss-run @copy.cnnip --input out=@in.bin", "error: out=@in.bin: cannot be read"),
        ("iss-run @copy.cnnip @fake.npy", "error: @fake.npy: this is not an .npy file"),
        ("iss-run @copy.cnnip @fake.png", "error: @fake.png: the picture cannot be decoded"),
        (
            "iss-run @quantize.cnnip @nan.bin",
            "error: @nan.bin: element 0 is NaN, tensor `in` takes finite numbers only",
        ),
        ("iss-run @quantize.cnnip @four.npy", "error: @four.npy: the array holds int8, tensor `in` float32"),
        ("iss-run @picture.cnnip @four.npy", "error: @four.npy: the array has shape [4], tensor `in` [1, 1, 2, 1]"),
        ("iss-run @picture.cnnip @empty.png", "error: @empty.png: the picture cannot be decoded"),
        ("iss-run @picture.cnnip @small.pgm", "error: @small.pgm: `in`: the picture is 1x1 grey, the input 2x1 grey"),
        (
            "iss-run @picture.cnnip @huge.pgm",
            "error: @huge.pgm: `in`: the picture is 60000x60000 grey, the input 2x1 grey",
        ),
        ("iss-run @picture.cnnip @cut.pgm", "error: @cut.pgm: the picture cannot be decoded"),
    ] {
        let err = bench.refused(line);
        assert!(err.starts_with(want), "{line}: {err}");
        assert!(err.contains("hint: ") || want.contains("argument"), "{line}: {err}");
    }
}

#[test]
fn bad_assembly_is_shown_all_at_once_in_its_place() {
    let bench = Bench::new();
    bench.file("bad.s", ".list dma0\n    set SRC_ADR 1\n    run CONV\n.endlist\n");
    let err = bench.refused("cnnip asm @bad.s -o @bad.cnnip");
    assert_eq!(
        err,
        "error: @bad.s: line 2, column 9: the dma engine has no register `SRC_ADR`\n  \
         2 |     set SRC_ADR 1\n    \
         |         ^^^^^^^\n  \
         hint: did you mean `SRC_ADDR`?\n\
         @bad.s: line 3, column 9: CONV is an operation of the cnn engine\n  \
         3 |     run CONV\n    \
         |         ^^^^\n  \
         hint: this is a list of a dma engine\n"
    );
    assert_eq!(bench.files(), ["bad.s"]);
    let data = bench.run("cnnip asm @bad.s -o @bad.cnnip --json").data();
    assert_eq!(data["error"]["kind"], "assembly");
    assert_eq!(data["error"]["problems"][1]["line"], 3);
}

#[test]
fn what_is_read_is_not_written_over() {
    let bench = copy();
    for line in
        ["cnnip asm @copy.s -o @copy.s", "cnnip disasm @copy.cnnip -o @copy.cnnip", "cnnip compile @in.bin -o @in.bin"]
    {
        let err = bench.refused(line);
        assert!(err.contains(": would be written over itself\n  hint: "), "{line}: {err}");
    }
    assert_eq!(std::fs::read_to_string(bench.path("copy.s")).unwrap(), COPY);
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    let bench = copy();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for (name, arguments) in
        [("cnnip", "info @copy.cnnip"), ("iss-run", "@copy.cnnip @in.bin --json"), ("cnnip", "--help")]
    {
        let arguments = arguments.split(' ').map(|argument| match argument.strip_prefix('@') {
            Some(file) => bench.path(file),
            None => argument.to_owned(),
        });
        let output = Command::new(program(name)).args(arguments).stdout(full()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.starts_with("error: standard output cannot be written: "), "{err}");
    }
}

#[test]
fn a_hint_that_many_problems_share_stands_once() {
    use cnnip_graph::{ElementType, GraphBuilder, Op, Shape, Tensor, tflite::export_tflite};
    let mut build = GraphBuilder::new("int32");
    let x = build.input(Tensor::new("x", Shape::new([1, 4]).unwrap(), ElementType::I32));
    let a = build.apply("a", Op::Relu, &[x]);
    let b = build.apply("b", Op::Relu6, &[a]);
    build.output(b);
    let bench = Bench::new();
    bench.file("int32.tflite", export_tflite(&build.finish().unwrap()).unwrap());
    let err = bench.refused("cnnip compile @int32.tflite -o @x");
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines[0].starts_with("error: @int32.tflite: tensor 0 (x): "), "{err}");
    assert!(lines[1].starts_with("@int32.tflite: node 0, Relu (a): "), "{err}");
    assert!(lines[2].starts_with("@int32.tflite: node 1, Relu6 (b): "), "{err}");
    assert_eq!(lines[3..], ["  hint: quantize the whole model to int8, uint8 or int16 with int8 weights"]);
}

#[test]
fn faults_end_with_status_1_and_leave_outputs_alone() {
    let bench = copy();
    bench.file("out.npy", "what was there");
    let ran = bench.run("iss-run @copy.cnnip @in.bin --output @out.npy --max-commands 2 --registers");
    assert_eq!((ran.status, ran.out.as_str()), (1, ""));
    assert!(ran.err.starts_with("dma0 SRC_PLACE = 0x00000001\n"), "{}", ran.err);
    assert!(ran.err.contains("\nfault Budget (code 14): needs 3 commands, the budget is 2\n"), "{}", ran.err);
    assert!(ran.err.contains("`run COPY` on core 0 dma0, list `dma0`, pc 0xb = 11"), "{}", ran.err);
    assert!(ran.err.trim_end().ends_with("allow more: --max-commands, --max-cycles"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(bench.path("out.npy")).unwrap(), "what was there");
}

#[test]
fn json_has_results_faults_and_errors() {
    let bench = copy();
    let data = bench.done("iss-run @copy.cnnip @in.bin --json --dequantize").data();
    let output = &data["outputs"][0];
    assert_eq!((&output["name"], &output["type"], &output["shape"][0]), (&"out".into(), &"int8".into(), &4.into()));
    assert_eq!(output["elements"], serde_json::json!([1, 2, 3, -2]));
    assert_eq!(output["real"], serde_json::json!([0.0, 0.5, 1.0, -1.5]));
    assert_eq!((&data["commands"], &data["target"]["name"]), (&4.into(), &"v4h".into()));
    assert!(data["cycles_estimate"].as_u64().unwrap() > 4 && data["microseconds_estimate"].is_f64());

    let ran = bench.run("iss-run @copy.cnnip @in.bin --json --max-commands 2");
    let fault = &ran.data()["error"]["fault"];
    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    assert_eq!(
        (&fault["name"], &fault["command"]["pc"], &fault["registers"]["RUN_BYTES"]),
        (&"Budget".into(), &11.into(), &4.into())
    );

    let data = bench.run("iss-run @copy.cnnip @in.bin --json --max-commands 2 --registers").data();
    assert_eq!(data["error"]["registers"]["dma0"]["RUN_BYTES"], 4);

    for (line, kind) in [
        ("iss-run @nothing --json", "read"),
        ("iss-run @in.bin --json", "package"),
        ("iss-run --json --what", "usage"),
        ("iss-run @copy.cnnip --json", "input"),
        ("cnnip info @in.bin --json", "package"),
        ("cnnip compile @in.bin -o @x --json", "model"),
    ] {
        let ran = bench.run(line);
        assert_eq!((ran.status, ran.err.as_str(), &ran.data()["error"]["kind"]), (2, "", &kind.into()), "{line}");
        assert!(ran.data()["error"]["message"].is_string(), "{line}");
    }
}

#[test]
fn outputs_are_written_as_arrays_that_inputs_can_be() {
    let bench = copy();
    bench.done("iss-run @copy.cnnip @in.bin --output out=@a.npy");
    bench.done("iss-run @copy.cnnip --input in=@a.npy --output @b.npy");
    let file = std::fs::read(bench.path("a.npy")).unwrap();
    assert_eq!(file, std::fs::read(bench.path("b.npy")).unwrap());
    assert_eq!((&file[..6], &file[file.len() - 4..]), (&b"\x93NUMPY"[..], &[1, 2, 3, 254][..]));
    bench.done("iss-run @copy.cnnip @in.bin --output @real.npy --dequantize");
    let file = std::fs::read(bench.path("real.npy")).unwrap();
    assert_eq!(file[file.len() - 4..], (-1.5_f32).to_le_bytes());
    let err = bench.refused("iss-run @copy.cnnip @in.bin --output @no/such/folder.npy");
    assert!(err.starts_with("error: @no/such/folder.npy: cannot be written"), "{err}");
}

#[test]
fn a_package_goes_to_text_and_back() {
    let bench = copy();
    bench.done("cnnip disasm @copy.cnnip -o @again.s");
    bench.done("cnnip asm @again.s -o @again.cnnip");
    assert_eq!(std::fs::read(bench.path("again.cnnip")).unwrap(), std::fs::read(bench.path("copy.cnnip")).unwrap());
    assert_eq!(bench.done("cnnip disasm @copy.cnnip").out, std::fs::read_to_string(bench.path("again.s")).unwrap());
    let info = bench.done("cnnip info @copy.cnnip --json").data();
    assert_eq!((&info["inputs"][0]["name"], &info["lists"][0]["words"]), (&"in".into(), &13.into()));
    assert!(bench.done("cnnip info @copy.cnnip").out.contains("input `in`: int8 [4]"));
    bench.package("picture", PICTURE);
    assert!(bench.done("cnnip info @picture.cnnip").out.contains(", from 2x1 grey pictures, pixel - 128\n"));
    assert_eq!(bench.done("cnnip targets --json").data()[3]["name"], "v4h");
    assert!(bench.done("cnnip targets").out.contains("v3m: "));
    let operators = bench.done("cnnip operators").out;
    for name in ["DEPTHWISE_CONV_2D", "Conv", "com.microsoft.QLinearAdd"] {
        assert!(operators.lines().any(|line| line.trim() == name), "{operators}");
    }
    let data = bench.done("cnnip operators --json").data();
    assert_eq!((&data["tflite"][0], &data["onnx"][0]), (&"ABS".into(), &"Abs".into()));
}

#[test]
fn a_trace_goes_where_it_is_sent() {
    let bench = copy();
    let ran = bench.done("iss-run @copy.cnnip @in.bin --trace=@trace.txt");
    assert_eq!(ran.err, "");
    let trace = std::fs::read_to_string(bench.path("trace.txt")).unwrap();
    assert_eq!(trace.lines().count(), 4);
    assert_eq!(trace.lines().nth(2), Some("        11 dma0           11 run COPY"));
    assert_eq!(bench.done("iss-run @copy.cnnip @in.bin --trace").err, trace);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = copy();
    let mut child = Command::new(program("cnnip"))
        .args(["disasm", &bench.path("copy.cnnip")])
        .current_dir(root())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_can_be_an_input() {
    let bench = copy();
    let mut child = Command::new(program("iss-run"))
        .args([&bench.path("copy.cnnip"), "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&[9, 8, 7, 6]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("elements 9 8 7 6"), "{output:?}");
}
