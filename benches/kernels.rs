//! Kernels at the shapes of MobileNetV2 (224x224) and ResNet-50, for every backend of this processor.
//!
//! `cargo bench -p cnnip-benches --bench kernels -- vnni` measures one backend. Throughput is in MACs, or in elements.
#![allow(missing_docs, reason = "criterion's macros make public items")]

mod networks;

use cnnip_kernels::{
    Backend, Divisor, Element8, Eltwise8, Kernels, Map, Output8, Pool8, Runs, Scratch, Source8, Stage, Window,
};
use cnnip_numerics::RoundingMode;
use cnnip_numerics::eltwise::Function;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use networks::{Layer, Network, bytes};
use std::time::Duration;

fn backends() -> impl Iterator<Item = Kernels> {
    Backend::ALL.into_iter().filter_map(Kernels::new)
}

fn output(mode: RoundingMode) -> Output8 {
    Output8 { zero: -3, min: -128, max: 127, mode }
}

/// One layer of each kind.
fn layers(c: &mut Criterion) {
    let mut group = c.benchmark_group("layer");
    for layer in networks::typical() {
        group.throughput(Throughput::Elements(layer.macs()));
        for kernels in backends() {
            let mut prepared = layer.prepare(RoundingMode::Double);
            let mut scratch = Scratch::new();
            let id = BenchmarkId::new(layer.name(), kernels.backend().name());
            group.bench_function(id, |b| b.iter(|| prepared.run(&kernels, &mut scratch)));
        }
    }
}

/// The cost of the output stage: one input channel, so hardly any products.
fn requantize(c: &mut Criterion) {
    let layer = Layer::conv(56, 1, 64, 1, 1);
    let mut group = c.benchmark_group("requantize");
    group.throughput(Throughput::Elements(56 * 56 * 64));
    for mode in [RoundingMode::Double, RoundingMode::Single, RoundingMode::Float] {
        for kernels in backends() {
            let mut prepared = layer.prepare(mode);
            let mut scratch = Scratch::new();
            let id = BenchmarkId::new(format!("{mode:?}").to_lowercase(), kernels.backend().name());
            group.bench_function(id, |b| b.iter(|| prepared.run(&kernels, &mut scratch)));
        }
    }
}

/// All kernels of a network, one after the other.
fn whole_networks(c: &mut Criterion) {
    let mut group = c.benchmark_group("network");
    for network in [Network::mobilenet_v2(), Network::resnet_50()] {
        group.throughput(Throughput::Elements(network.layers.iter().map(Layer::macs).sum()));
        for kernels in backends().filter(|kernels| kernels.backend() != Backend::Scalar) {
            let mut layers: Vec<_> = network.layers.iter().map(|layer| layer.prepare(RoundingMode::Double)).collect();
            let mut scratch = Scratch::new();
            let id = BenchmarkId::new(network.name, kernels.backend().name());
            group.bench_function(id, |b| {
                b.iter(|| layers.iter_mut().for_each(|layer| layer.run(&kernels, &mut scratch)))
            });
        }
    }
}

fn pools(c: &mut Criterion) {
    let map = Map::dense(112, 112, 64);
    let input = bytes(1, 112 * 112 * 64);
    let source = Source8 { bytes: &input, map, element: Element8::Int8, zero: 4 };
    let half = Map::dense(56, 56, 64);
    let mut out = vec![0; 56 * 56 * 64];
    let mut group = c.benchmark_group("pool");
    group.throughput(Throughput::Elements(56 * 56 * 64));
    for kernels in backends() {
        let mut scratch = Scratch::new();
        let name = kernels.backend().name();
        let max = Pool8 { input: source, window: Window::square(3, 2, 1) };
        group.bench_function(BenchmarkId::new("max 3x3", name), |b| {
            b.iter(|| kernels.max_pool8(&max, &mut out, half, output(RoundingMode::None)));
        });
        let average = Pool8 { input: source, window: Window::square(2, 2, 0) };
        group.bench_function(BenchmarkId::new("average 2x2", name), |b| {
            b.iter(|| {
                kernels.average_pool8(
                    &mut scratch,
                    &average,
                    Divisor::Valid,
                    &mut out,
                    half,
                    output(RoundingMode::None),
                )
            });
        });
    }
}

fn element_wise(c: &mut Criterion) {
    let map = Map::dense(56, 56, 24);
    let (a, b) = (bytes(1, 56 * 56 * 24), bytes(2, 56 * 56 * 24));
    let stage = Stage { mode: RoundingMode::Double, multiplier: 1_518_500_250, shift: -1 };
    let source = |bytes| Source8 { bytes, map, element: Element8::Int8, zero: 4 };
    let add = Eltwise8 {
        function: Function::Add,
        pre_shift: 20,
        a: source(&a),
        a_stage: stage,
        b: source(&b),
        b_stage: stage,
        multiplier: 1_518_500_250,
        shift: -19,
    };
    let mut out = vec![0; 56 * 56 * 24];
    let mut sums = vec![0; 24];
    let table: [u8; 256] = std::array::from_fn(|i| 255 - u8::try_from(i).unwrap_or(0));
    let mut group = c.benchmark_group("elements");
    group.throughput(Throughput::Elements(56 * 56 * 24));
    for kernels in backends() {
        let name = kernels.backend().name();
        group.bench_function(BenchmarkId::new("add", name), |b| {
            b.iter(|| kernels.eltwise8(&add, &mut out, map, output(RoundingMode::Double)));
        });
        group.bench_function(BenchmarkId::new("table", name), |b| {
            b.iter(|| kernels.table8(&a, map, &table, &mut out, map))
        });
        group.bench_function(BenchmarkId::new("reduce", name), |b| {
            b.iter(|| kernels.reduce_sum8(&source(&a), &mut sums))
        });
    }
}

/// The copies of a DMA engine: a tile of rows, a concatenation of channels, a transposition from planes to pixels.
fn copies(c: &mut Criterion) {
    let planes = 224 * 224;
    let runs = [
        (
            "rows",
            Runs { bytes: 56 * 64, counts: [56, 1, 1, 1], source: [56 * 64, 0, 0, 0], destination: [60 * 64, 0, 0, 0] },
        ),
        ("channels", Runs { bytes: 32, counts: [56 * 56, 1, 1, 1], source: [32, 0, 0, 0], destination: [64, 0, 0, 0] }),
        (
            "planes to pixels",
            Runs { bytes: 1, counts: [planes, 3, 1, 1], source: [1, planes, 0, 0], destination: [3, 1, 0, 0] },
        ),
        (
            "pixels to planes",
            Runs { bytes: 1, counts: [64, 3136, 1, 1], source: [1, 64, 0, 0], destination: [3136, 1, 0, 0] },
        ),
    ];
    let (source, mut destination) = (bytes(1, 1 << 18), vec![0; 1 << 18]);
    let kernels = Kernels::default();
    let mut group = c.benchmark_group("copy");
    for (name, runs) in runs {
        let bytes = runs.bytes * runs.counts.iter().product::<usize>();
        group.throughput(Throughput::Bytes(u64::try_from(bytes).unwrap_or(0)));
        assert_eq!(kernels.copy_strided(&source, &mut destination, &runs), Ok(()));
        group.bench_function(name, |b| b.iter(|| kernels.copy_strided(&source, &mut destination, &runs)));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).sample_size(10);
    targets = layers, requantize, whole_networks, pools, element_wise, copies
}
criterion_main!(benches);
