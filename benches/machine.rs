//! Decoding, dispatch and whole networks on the machine, with default checks.
//!
//! Networks: the digits of `examples/`, and, where `../shared/data` is beside the repository, the real ones in it.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use cnnip_compiler::{Options, compile};
use cnnip_driver::{Device, Session, Target};
use cnnip_isa::{Command, EngineKind, ListBuilder, decode_at};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const NETWORKS: [&str; 5] =
    ["pretrainedResnet_quant", "vww_96_int8", "kws_ref_model", "ad01_int8", "mobilenet_v2_quantized_1x3x224x224"];

/// A list of `count` bursts of three registers, and `END`.
fn bursts(count: usize) -> Vec<u32> {
    let mut list = ListBuilder::new();
    for _ in 0..count {
        list.set(0, &[0, 0, 0]).expect("three registers are a burst");
    }
    list.push(&Command::End).expect("END has no fields");
    list.finish()
}

fn decode(c: &mut Criterion) {
    let list = bursts(10_000);
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("SET of three registers", |b| {
        b.iter(|| {
            let mut pc = 0;
            while let Ok((command, words)) = decode_at(black_box(&list), pc, EngineKind::Cnn) {
                black_box(&command);
                pc += words;
            }
            pc
        });
    });
}

/// The cost of a command that does next to nothing, everything around it included.
fn dispatch(c: &mut Criterion) {
    use cnnip_core::{EngineId, Machine, NoObserver, Options, Program, Slot, Stop};
    let target = Target::by_name("v4h").expect("v4h is a target");
    let engine = EngineId { core: 0, slot: Slot::Cnn };
    let program = Program::new(target, [(engine, Arc::from(bursts(10_000)))], []).expect("one list fits");
    let mut group = c.benchmark_group("dispatch");
    group.throughput(Throughput::Elements(10_000));
    let machine = || Machine::new(target, program.clone(), Vec::new(), Options::default());
    group.bench_function("SET of three registers", |b| {
        b.iter_batched_ref(
            machine,
            |machine| assert_eq!(machine.run(&mut NoObserver), Stop::Done),
            criterion::BatchSize::LargeInput,
        );
    });
}

fn session(model: &Path) -> Option<Session> {
    let bytes = std::fs::read(model).ok()?;
    let target = Target::by_name("v4h")?;
    let graph = cnnip_graph::tflite::import_tflite(&bytes).expect("a model that the tests import");
    let package = compile(&graph, &Options::new(target)).expect("a model that the tests compile");
    let input = package.tensor(package.inputs[0].tensor).expect("an input").clone();
    let count = usize::try_from(input.bytes().expect("a size")).expect("a small input");
    let values: Vec<u8> = (0..=u8::MAX).cycle().map(|n| n.wrapping_mul(151)).take(count).collect();
    let mut session = Device::new(target).load(package).expect("a package for this target");
    session.bind(input.name.as_str(), &values).expect("the input's size");
    Some(session)
}

fn networks(c: &mut Criterion) {
    let digits = Path::new(ROOT).join("examples/digits/digits.tflite");
    let data = Path::new(ROOT).join("../shared/data");
    let real = NETWORKS.iter().map(|name| data.join(name).with_extension("tflite"));
    let mut group = c.benchmark_group("network");
    group.sample_size(20);
    for path in std::iter::once(digits).chain(real) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut ready = session(&path);
        if ready.is_none() {
            group.bench_function(format!("{name} (skipped: not found)"), |b| b.iter(|| ()));
            continue;
        }
        group.bench_function(name, |b| {
            b.iter(|| {
                let job = ready.take().map(Session::submit).and_then(Result::ok).expect("inputs stay bound");
                ready = Some(job.wait().expect("the network runs").into_session());
            });
        });
    }
}

/// Compilation of a real network, if it is there.
fn compilation(c: &mut Criterion) {
    let path: PathBuf = Path::new(ROOT).join("../shared/data").join(NETWORKS[4]).with_extension("tflite");
    let Ok(bytes) = std::fs::read(path) else { return };
    let target = Target::by_name("v4h").expect("v4h is a target");
    let mut group = c.benchmark_group("compile");
    group.sample_size(20);
    group.bench_function(NETWORKS[4], |b| {
        b.iter(|| {
            let graph = cnnip_graph::tflite::import_tflite(&bytes).expect("a model that the tests import");
            compile(&graph, &Options::new(target)).expect("a model that the tests compile")
        });
    });
}

criterion_group!(machine, decode, dispatch, networks, compilation);
criterion_main!(machine);
