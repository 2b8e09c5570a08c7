//! Every rule of the content: a package that breaks it and only it.

mod common;

use cnnip_package::{
    Color, ElementType, HostOperator, Layout, ListId, MAX_PROBLEMS, Memory, Package, PackageError, Pixels, Preprocess,
    Quantization, Region, RegionId, RegionKind, SourceTensor, Step, TensorId, Tile, TokenOwner, TraceSource, Traced,
    TracedId,
};
use common::sample;

/// A rule, and what to do to the sample to break it.
type Case = (&'static str, fn(&mut Package));

fn host_step(package: &mut Package) -> (&mut HostOperator, &mut Vec<TensorId>, &mut Vec<TensorId>) {
    match &mut package.program[1] {
        Step::Host(step) => (&mut step.operator, &mut step.inputs, &mut step.outputs),
        Step::Device { .. } => panic!("the sample's second step is the host's"),
    }
}

fn device_step(package: &mut Package) -> &mut Vec<ListId> {
    match &mut package.program[0] {
        Step::Device { lists } => lists,
        Step::Host(_) => panic!("the sample's first step is the device's"),
    }
}

fn picture(package: &mut Package) -> &mut Preprocess {
    package.inputs[0].preprocess.as_mut().expect("the sample's input is a picture")
}

fn tile(package: &mut Package) -> &mut Tile {
    &mut package.tile_map.as_mut().expect("the sample has a tile map").tiles[0]
}

fn traced(package: &mut Package, index: usize) -> &mut Traced {
    &mut package.tile_map.as_mut().expect("the sample has a tile map").tensors[index]
}

fn quantization(package: &mut Package, change: impl FnOnce(&mut Quantization)) {
    change(package.tensors[0].quantization.as_mut().expect("the sample's input is quantized"));
}

const CASES: [Case; 60] = [
    ("spec-version", |package| package.spec_version += 1),
    ("name", |package| package.target.clear()),
    ("name", |package| package.lists[0].name = "a\tb".into()),
    ("name", |package| package.layers[0].name.clear()),
    ("duplicate", |package| package.provenance[1].0 = "tool".into()),
    ("duplicate", |package| package.regions[1].name = "image".into()),
    ("duplicate", |package| package.lists[1].name = "load".into()),
    ("duplicate", |package| package.tensors[1].name = "input".into()),
    ("duplicate", |package| package.tokens[1].token = 3),
    ("duplicate", |package| package.layers.push(package.layers[0].clone())),
    ("duplicate", |package| package.inputs.push(package.inputs[0].clone())),
    ("region-count", |package| {
        let scratch = |index| Region { name: format!("more{index}"), ..package.regions[2].clone() };
        package.regions = package.regions.iter().cloned().chain((0..30).map(scratch)).collect();
    }),
    ("region-bytes", |package| package.regions[2].bytes = (1 << 32) + 1),
    ("constant-bytes", |package| package.constants.insert(RegionId(1), &[0; 71][..])),
    ("constant-bytes", |package| package.constants.insert(RegionId(2), &[][..])),
    ("constant-bytes", |package| package.constants.insert(RegionId(9), &[][..])),
    ("constant-bytes", |package| package.regions[2].kind = RegionKind::Constant),
    ("reference", |package| package.tensors[1].place.region = RegionId(5)),
    ("reference", |package| device_step(package).push(ListId(2))),
    ("reference", |package| host_step(package).1[0] = TensorId(3)),
    ("reference", |package| package.outputs.push(TensorId(u32::MAX))),
    ("token", |package| package.tokens[0].token = 128),
    ("token-scope", |package| package.tokens[0].wait.core = 1),
    ("empty-list", |package| {
        package.lists[0].words.clear();
    }),
    ("empty-dimension", |package| package.tensors[1].shape = vec![1, 10, 0]),
    ("outside-region", |package| package.tensors[1].place.offset = 55),
    ("outside-region", |package| package.tensors[1].place.offset = u64::MAX),
    ("outside-region", |package| tile(package).address = 61),
    ("outside-region", |package| tile(package).strides[1] = u64::MAX),
    ("scale", |package| quantization(package, |quantization| quantization.scale = 0.0)),
    ("scale", |package| quantization(package, |quantization| quantization.scale = f64::INFINITY)),
    ("zero-point", |package| quantization(package, |quantization| quantization.zero_point = 128)),
    ("engine-twice", |package| device_step(package).push(ListId(1))),
    ("empty-step", |package| device_step(package).clear()),
    ("arity", |package| host_step(package).2.push(TensorId(1))),
    ("operator-tensors", |package| *host_step(package).0 = HostOperator::Quantize),
    ("operator-tensors", |package| {
        *host_step(package).0 = HostOperator::Dequantize;
        package.tensors[1].quantization = None;
    }),
    ("number", |package| *host_step(package).0 = HostOperator::Softmax { beta: f32::NAN }),
    ("number", |package| picture(package).pixels = Pixels::Float { mean: vec![0.0], std: vec![0.0] }),
    ("region-kind", |package| package.outputs[0] = TensorId(1)),
    ("region-kind", |package| package.inputs[0].tensor = TensorId(1)),
    ("preprocess", |package| picture(package).color = Color::Rgb),
    ("preprocess", |package| picture(package).height = u32::MAX),
    ("preprocess", |package| picture(package).pixels = Pixels::Offset(-127)),
    ("preprocess", |package| picture(package).pixels = Pixels::Float { mean: vec![], std: vec![1.0] }),
    ("tile", |package| tile(package).pc = 1),
    ("tile", |package| tile(package).start[1] = 7),
    ("tile", |package| tile(package).size[0] = 0),
    ("tile", |package| tile(package).strides = vec![1]),
    ("tile", |package| tile(package).step[1] = 3),
    ("tile", |package| tile(package).step[0] = 0),
    ("tile", |package| tile(package).tensor = TracedId(1)),
    ("tile", |package| traced(package, 3).shape = vec![10]),
    ("tile", |package| traced(package, 0).shape = vec![9]),
    ("tile", |package| traced(package, 3).source = TraceSource::Alias(TracedId(0))),
    ("axes", |package| traced(package, 0).model = SourceTensor::View { name: "x".into(), axes: vec![1, 1] }),
    ("axes", |package| traced(package, 0).model = SourceTensor::View { name: "x".into(), axes: vec![0] }),
    ("name", |package| traced(package, 0).model = SourceTensor::View { name: String::new(), axes: vec![0, 1] }),
    ("reference", |package| traced(package, 0).source = TraceSource::Alias(TracedId(4))),
    ("duplicate", |package| traced(package, 0).name = "scores".into()),
];

#[test]
fn every_broken_rule_is_named() {
    for (number, (rule, break_it)) in CASES.into_iter().enumerate() {
        let mut package = sample();
        break_it(&mut package);
        let rules: Vec<_> = package.check().iter().map(|problem| problem.defect.rule()).collect();
        assert!(rules.contains(&rule), "case {number} should break `{rule}`, found {rules:?}");
        assert_ne!(Package::read(&package.to_bytes()), Ok(package), "case {number}, `{rule}`");
    }
}

#[test]
fn the_specification_names_every_rule() {
    let page = include_str!("../../../isa-spec/package.md");
    for (rule, break_it) in CASES {
        let mut package = sample();
        break_it(&mut package);
        assert!(page.contains(&format!("`{rule}`")), "isa-spec/package.md has no rule `{rule}`");
        assert!(package.check().iter().all(|problem| !problem.defect.hint().is_empty()));
    }
}

#[test]
fn what_the_rules_allow_passes() {
    let allowed: [fn(&mut Package); 7] = [
        |package| package.tensors[1].place.offset = 54,
        |package| package.tensors[0].shape = vec![64],
        |package| picture(package).layout = Layout::Nchw,
        |package| picture(package).pixels = Pixels::Raw,
        |package| tile(package).memory = Memory::Sram,
        |package| package.regions[2].bytes = 1 << 32,
        |package| {
            let owner = package.tokens[0];
            let other = |mut engine: cnnip_package::EngineId| {
                engine.core = 1;
                engine
            };
            package.tokens.push(TokenOwner { signal: other(owner.signal), wait: other(owner.wait), ..owner });
            package.tokens.push(TokenOwner { token: 64, wait: other(owner.wait), ..owner });
        },
    ];
    for (number, change) in allowed.into_iter().enumerate() {
        let mut package = sample();
        change(&mut package);
        assert_eq!(package.check(), [], "case {number}");
        assert_eq!(Package::read(&package.to_bytes()), Ok(package), "case {number}");
    }
}

#[test]
fn a_hopeless_package_has_a_limited_number_of_problems() {
    let mut package = sample();
    package.outputs = vec![TensorId(99); 10_000];
    assert_eq!(package.check().len(), MAX_PROBLEMS);
    package.outputs.clear();
    package.tensors[0].name = "n".repeat(1_000_000);
    package.tensors[0].element = ElementType::Int64;
    let Err(PackageError::Invalid { problems }) = Package::read(&package.to_bytes()) else { panic!("accepted") };
    assert!(problems[0].to_string().len() < 300, "long names are cut");
}
