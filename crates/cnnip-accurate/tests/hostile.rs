//! Lowered graphs of any bytes: an error, or a network that runs without leaving its memory.

use cnnip_accurate::Simulator;
use cnnip_compiler::{Options, compile};
use cnnip_graph::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, Graph, GraphBuilder, Hw, Mean, Op, Padding, Pool2d, Quantization,
    Shape, Tensor, TensorId,
};
use cnnip_isa::Target;
use cnnip_kernels::Kernels;
use cnnip_lowered::{LoweredError, Network};
use cnnip_package::Package;
use cnnip_testkit::Rng;

/// Changed graphs; raise it by the environment variable of the same name for a long run.
fn changes() -> u64 {
    std::env::var("CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

fn weights(build: &mut GraphBuilder, name: &str, dims: [usize; 4]) -> TensorId {
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(dims.iter().product()).collect();
    let tensor = Tensor::new(name, Shape::new(dims).unwrap(), ElementType::I8);
    build.tensor(tensor.quantized(Quantization::per_tensor(0.01, 0)).constant(bytes))
}

/// A layer of every kind.
fn graph() -> Graph {
    let mut build = GraphBuilder::new("all kinds");
    let image = Tensor::new("x", Shape::new([1, 6, 6, 3]).unwrap(), ElementType::F32);
    let x = build.input(image);
    let q = build.apply_as("q", Op::Quantize, &[x], ElementType::I8, Some(Quantization::per_tensor(0.05, -3)));
    let padding = Padding { top: 1, bottom: 1, left: 1, right: 1 };
    let w = weights(&mut build, "w", [20, 3, 3, 3]);
    let conv = Conv2d { stride: Hw::ONE, dilation: Hw::ONE, padding, groups: 1, activation: Activation::Relu };
    let c = build.apply("c", Op::Conv2d(conv), &[q, w]);
    let v = weights(&mut build, "v", [1, 3, 3, 20]);
    let depthwise =
        DepthwiseConv2d { stride: Hw::ONE, dilation: Hw::ONE, padding, multiplier: 1, activation: Activation::None };
    let d = build.apply("d", Op::DepthwiseConv2d(depthwise), &[c, v]);
    let a = build.apply("a", Op::Add { activation: Activation::None }, &[c, d]);
    let pool =
        Pool2d { window: Hw::new(2, 2), stride: Hw::new(2, 2), padding: Padding::NONE, activation: Activation::None };
    let p = build.apply("p", Op::AveragePool2d(pool), &[a]);
    let t = build.apply("t", Op::Transpose { perm: vec![0, 3, 1, 2] }, &[p]);
    let sigmoid = Some(Quantization::per_tensor(1.0 / 256.0, -128));
    let l = build.apply_as("l", Op::Logistic, &[t], ElementType::I8, sigmoid);
    let m = build.apply("m", Op::Mean(Mean { axes: vec![2, 3], keep_dims: false }), &[l]);
    let y = build.apply_as("y", Op::Dequantize, &[m], ElementType::F32, None);
    build.output(y);
    build.finish().unwrap()
}

fn package() -> Package {
    let options = Options::new(Target::by_name("v3m").unwrap());
    compile(&graph(), &options).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Runs it if it is a network at all.
fn run(package: &Package) -> Result<(), LoweredError> {
    let network = Network::of_package(package)?;
    if let Ok(mut simulator) = Simulator::with_kernels(network, Kernels::from_env(), 1 << 20) {
        let mut bytes = 0;
        let _ = simulator.run_with(|view| bytes += view.bytes().len());
    }
    Ok(())
}

#[test]
fn a_compiled_graph_runs() {
    assert_eq!(run(&package()), Ok(()));
    assert_eq!(run(&Package::new("v4h")), Err(LoweredError::Missing));
}

#[test]
fn what_is_cut_off_is_malformed() {
    let package = package();
    let whole = package.lowered.clone().unwrap();
    for length in 0..whole.len() {
        let cut = Package { lowered: Some(whole[..length].to_vec()), ..package.clone() };
        let error = run(&cut).unwrap_err();
        assert!(matches!(&error, LoweredError::Malformed(error) if error.offset <= length), "{length}: {error}");
    }
}

#[test]
fn changed_bytes_are_an_error_or_a_network() {
    let package = package();
    let whole = package.lowered.clone().unwrap();
    let (mut read, mut refused) = (0_u32, 0_u32);
    for seed in 0..changes() {
        let mut rng = Rng::new(seed);
        let mut bytes = whole.clone();
        for _ in 0..rng.within(1..=3) {
            let at = usize::try_from(rng.bits()).unwrap_or(0) % bytes.len();
            bytes[at] = rng.pick(&[0, 1, 2, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at].wrapping_add(1)]);
        }
        match run(&Package { lowered: Some(bytes), ..package.clone() }) {
            Ok(()) => read += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}
