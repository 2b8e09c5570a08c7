//! Executes the worked examples of `isa-spec/numerics.md`.

use cnnip_numerics::eltwise::{Affine, Function, Input, Output};
use cnnip_numerics::quantize::{self, QuantizedMultiplier};
use cnnip_numerics::resize::{Tap, bilinear};
use cnnip_numerics::{Eltwise, RoundingMode, Scale, average, finish, table};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::str::FromStr;

const SPECIFICATION: &str = include_str!("../../../isa-spec/numerics.md");

/// The left side of an example: `name=value` words.
struct Case<'a> {
    line: &'a str,
    words: BTreeMap<&'a str, &'a str>,
    want: &'a str,
}

impl<'a> Case<'a> {
    fn parse(line: &'a str) -> Self {
        let (left, want) = line.split_once(" -> ").unwrap_or_else(|| panic!("no arrow in {line:?}"));
        let words =
            left.split_whitespace().map(|word| word.split_once('=').unwrap_or_else(|| panic!("no = in {line:?}")));
        Self { line, words: words.collect(), want }
    }

    fn text(&self, name: &str) -> &str {
        self.words.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.line))
    }

    fn get<T: FromStr<Err: Debug>>(&self, name: &str) -> T {
        self.text(name).parse().unwrap_or_else(|error| panic!("{name} in {:?}: {error:?}", self.line))
    }

    /// `m:shift` of mode `double`, or `-` for none.
    fn scale(&self, name: &str) -> Scale {
        self.text(name).split_once(':').map_or(Scale::NONE, |(m, shift)| {
            let multiplier: i32 = m.parse().unwrap();
            Scale::new(RoundingMode::Double, multiplier.cast_unsigned(), shift.parse().unwrap()).unwrap()
        })
    }
}

/// Kind and lines of every block that is marked `example`.
fn blocks() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut blocks = Vec::new();
    let mut lines = SPECIFICATION.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```example ") {
            blocks.push((kind, lines.by_ref().take_while(|line| *line != "```").collect()));
        }
    }
    blocks
}

fn integer_scale(case: &Case, mode: RoundingMode) -> String {
    let scale = Scale::new(mode, case.get::<i32>("m").cast_unsigned(), case.get("shift")).unwrap();
    let acc = scale.accumulator().check(case.get("acc")).unwrap();
    scale.apply(acc).to_string()
}

fn float_zero(case: &Case) -> String {
    let scale = Scale::new(RoundingMode::FloatZero, case.get::<f32>("m").to_bits(), 0).unwrap();
    scale.finish(case.get("acc"), case.get("zero"), -128, 127).to_string()
}

fn element_wise(case: &Case) -> String {
    let function = match case.text("f") {
        "add" => Function::Add,
        "sub" => Function::Sub,
        "mul" => Function::Mul,
        "min" => Function::Min,
        "max" => Function::Max,
        "pass" => Function::Pass,
        other => panic!("unknown function {other}"),
    };
    let input = |zero, scale| Input { zero_point: case.get(zero), scale: case.scale(scale) };
    let output = Output {
        scale: case.scale("out_scale"),
        zero_point: case.get("zo"),
        min: case.get("min"),
        max: case.get("max"),
    };
    let operation =
        Eltwise::new(function, case.get("pre"), input("za", "a_scale"), input("zb", "b_scale"), output).unwrap();
    operation.apply(case.get("a"), case.get("b")).unwrap().to_string()
}

fn affine(case: &Case) -> String {
    let sum = Affine {
        scales: [case.get("A"), case.get("B")],
        zero_points: [case.get("za"), case.get("zb")],
        offset: case.get("C"),
        zero_point: case.get("zo"),
        min: case.get("min"),
        max: case.get("max"),
    };
    sum.apply(case.get("a"), case.get("b")).to_string()
}

fn lookup(case: &Case) -> String {
    let x = case.get("x");
    let half = || table::half_table_input(x, case.get("mult"), case.get("shift"));
    let line = std::array::from_fn(|i| 64 * (i16::try_from(i).unwrap() - 256));
    match case.text("kind") {
        "int16_sigmoid" => table::sigmoid_i16(&quantize::half_table(), half()).to_string(),
        "int16_tanh" => table::tanh_i16(&quantize::half_table(), half()).to_string(),
        "int16_513" => table::lookup_513(&line, x).to_string(),
        other => panic!("unknown table {other}"),
    }
}

fn four_samples(case: &Case) -> String {
    let tap = |weight| Tap { low: 0, high: 1, weight };
    let samples = [[case.get("p00"), case.get("p01")], [case.get("p10"), case.get("p11")]];
    bilinear(samples, tap(case.get("wy")), tap(case.get("wx")), case.get("f")).to_string()
}

fn pair(q: QuantizedMultiplier) -> String {
    format!("{} {}", q.multiplier, q.shift)
}

fn result(kind: &str, case: &Case) -> String {
    match kind {
        "double" => integer_scale(case, RoundingMode::Double),
        "single" => integer_scale(case, RoundingMode::Single),
        "reduced" => integer_scale(case, RoundingMode::Reduced),
        "float" => Scale::from_f32(case.get("m")).unwrap().apply(case.get("acc")).to_string(),
        "float_zero" => float_zero(case),
        "finish" => finish(case.get("value"), case.get("zero"), case.get("min"), case.get("max")).to_string(),
        "eltwise" => element_wise(case),
        "affine" => affine(case),
        "average" => average::divide(case.get("sum"), NonZeroU32::new(case.get("n")).unwrap()).to_string(),
        "table" => lookup(case),
        "bilinear" => four_samples(case),
        "multiplier" => pair(quantize::quantize_multiplier(case.get("real")).unwrap()),
        "mean" => {
            let scale = QuantizedMultiplier { multiplier: case.get("m"), shift: case.get("shift") };
            pair(quantize::mean_multiplier(scale, case.get("n")))
        }
        other => panic!("no executor for examples of kind {other:?}"),
    }
}

#[test]
fn every_worked_example_holds() {
    let mut wrong = Vec::new();
    for (kind, lines) in blocks() {
        assert!(!lines.is_empty(), "the block of kind {kind} has no examples");
        for case in lines.into_iter().map(Case::parse) {
            let got = result(kind, &case);
            if got != case.want {
                wrong.push(format!("{kind}: {}, got {got}", case.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_kind_of_arithmetic_has_examples() {
    let kinds: Vec<&str> = blocks().into_iter().map(|(kind, _)| kind).collect();
    let wanted = [
        "double",
        "single",
        "reduced",
        "float",
        "float_zero",
        "finish",
        "eltwise",
        "affine",
        "average",
        "table",
        "bilinear",
        "multiplier",
        "mean",
    ];
    assert_eq!(kinds, wanted);
}
