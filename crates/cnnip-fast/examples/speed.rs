//! Times the embedded engine on networks with random weights, one image at a time.
//!
//! `cargo run --release -p cnnip-fast --example speed -- NETWORK [RUNS] [--grids] [--watch] [--layers] [--output=FILE]`, where NETWORK
//! is `resnet50`, `mobilenet_v2` or an ONNX file of one input. Prints the least and the median time in milliseconds; `--grids` makes every
//! activation int8, `--watch` shows all tensors to an observer, `--layers` prints the time of each step, `--output` writes the first
//! output, little-endian. `tools/bench_float.py` compares with ONNX Runtime.
#![allow(clippy::print_stdout, reason = "a measurement prints")]

use std::sync::Arc;
use std::time::Instant;

use cnnip_float::{Embedded, Engine};
use cnnip_graph::onnx::{OnnxOptions, import_onnx};
use cnnip_graph::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, FullyConnected, Graph, GraphBuilder, Hw, Mean, Op, Padding,
    Pool2d, Quantization, Shape, Tensor, TensorId, passes,
};

/// A network in the making.
struct Making {
    build: GraphBuilder,
    grids: bool,
    state: u32,
    count: usize,
}

impl Making {
    fn number(&mut self) -> f32 {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(self.state >> 16).unwrap_or(0)) / 32768.0 - 1.0
    }

    /// Weights whose sums keep the variance of the inputs.
    fn constant(&mut self, dims: &[usize], fan: usize) -> TensorId {
        let shape = Shape::new(dims).expect("a small shape");
        let scale = (6.0 / fan as f32).sqrt();
        let bytes: Vec<u8> = (0..shape.elements()).flat_map(|_| (self.number() * scale).to_le_bytes()).collect();
        self.count += 1;
        self.build.tensor(Tensor::new(format!("c{}", self.count), shape, ElementType::F32).constant(bytes))
    }

    fn apply(&mut self, op: Op, inputs: &[TensorId]) -> TensorId {
        self.count += 1;
        let quantization = self.grids.then(|| Quantization::per_tensor(0.05, 0));
        let element = if self.grids { ElementType::I8 } else { ElementType::F32 };
        self.build.apply_as(&format!("t{}", self.count), op, inputs, element, quantization)
    }

    fn channels(&self, x: TensorId) -> usize {
        self.build[x].shape.dims()[3]
    }

    fn conv(&mut self, x: TensorId, outputs: usize, kernel: usize, stride: usize, activation: Activation) -> TensorId {
        let depth = self.channels(x);
        let weights = self.constant(&[outputs, kernel, kernel, depth], kernel * kernel * depth);
        let bias = self.constant(&[outputs], 1000);
        let side = (kernel - 1) / 2;
        let padding = Padding { top: side, bottom: side, left: side, right: side };
        let op = Conv2d { stride: Hw::new(stride, stride), dilation: Hw::ONE, padding, groups: 1, activation };
        self.apply(Op::Conv2d(op), &[x, weights, bias])
    }

    fn depthwise(&mut self, x: TensorId, stride: usize) -> TensorId {
        let channels = self.channels(x);
        let (weights, bias) = (self.constant(&[1, 3, 3, channels], 9), self.constant(&[channels], 1000));
        let padding = Padding { top: 1, bottom: 1, left: 1, right: 1 };
        let op = DepthwiseConv2d {
            stride: Hw::new(stride, stride),
            dilation: Hw::ONE,
            padding,
            multiplier: 1,
            activation: Activation::Relu6,
        };
        self.apply(Op::DepthwiseConv2d(op), &[x, weights, bias])
    }

    fn head(mut self, x: TensorId) -> Graph {
        let mean = self.apply(Op::Mean(Mean { axes: vec![1, 2], keep_dims: false }), &[x]);
        let depth = self.build[mean].shape.dims()[1];
        let (weights, bias) = (self.constant(&[1000, depth], depth), self.constant(&[1000], 1000));
        let layer = FullyConnected { activation: Activation::None, keep_num_dims: false };
        let logits = self.apply(Op::FullyConnected(layer), &[mean, weights, bias]);
        self.build.output(logits);
        self.build.finish().expect("a sound network")
    }
}

fn resnet50(mut making: Making, image: TensorId) -> Graph {
    let mut x = making.conv(image, 64, 7, 2, Activation::Relu);
    let padding = Padding { top: 1, bottom: 1, left: 1, right: 1 };
    let pool = Pool2d { window: Hw::new(3, 3), stride: Hw::new(2, 2), padding, activation: Activation::None };
    x = making.apply(Op::MaxPool2d(pool), &[x]);
    for (width, blocks, first) in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)] {
        for block in 0..blocks {
            let stride = if block == 0 { first } else { 1 };
            let shortcut = if block == 0 { making.conv(x, width * 4, 1, stride, Activation::None) } else { x };
            let a = making.conv(x, width, 1, 1, Activation::Relu);
            let b = making.conv(a, width, 3, stride, Activation::Relu);
            let c = making.conv(b, width * 4, 1, 1, Activation::None);
            x = making.apply(Op::Add { activation: Activation::Relu }, &[c, shortcut]);
        }
    }
    making.head(x)
}

fn mobilenet_v2(mut making: Making, image: TensorId) -> Graph {
    let mut x = making.conv(image, 32, 3, 2, Activation::Relu6);
    let stages =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    for (expansion, outputs, blocks, first) in stages {
        for block in 0..blocks {
            let (stride, channels) = (if block == 0 { first } else { 1 }, making.channels(x));
            let wide = if expansion == 1 { x } else { making.conv(x, channels * expansion, 1, 1, Activation::Relu6) };
            let deep = making.depthwise(wide, stride);
            let y = making.conv(deep, outputs, 1, 1, Activation::None);
            let add = Op::Add { activation: Activation::None };
            x = if stride == 1 && channels == outputs { making.apply(add, &[y, x]) } else { y };
        }
    }
    x = making.conv(x, 1280, 1, 1, Activation::Relu6);
    making.head(x)
}

/// Makes every activation int8, for the cost of it; the values become meaningless.
fn on_grids(mut graph: Graph) -> Graph {
    let outputs: Vec<TensorId> = graph.nodes.iter().map(|node| node.outputs[0]).collect();
    for id in outputs {
        let tensor = &mut graph.tensors[id.index()];
        (tensor.element, tensor.quantization) = (ElementType::I8, Some(Quantization::per_tensor(0.05, 0)));
    }
    graph
}

fn network(name: &str, grids: bool) -> Graph {
    if name.ends_with(".onnx") {
        let bytes = std::fs::read(name).expect("a file that can be read");
        let graph = import_onnx(&bytes, &OnnxOptions::default()).expect("a model that can be read");
        let graph = passes::standard(graph, |_, _| {});
        return if grids { on_grids(graph) } else { graph };
    }
    let mut making = Making { build: GraphBuilder::new(name), grids, state: 1, count: 0 };
    let image = Tensor::new("image", Shape::new([1, 224, 224, 3]).expect("a small shape"), ElementType::F32);
    let image = making.build.input(image);
    if name == "resnet50" { resnet50(making, image) } else { mobilenet_v2(making, image) }
}

/// The picture that `tools/bench_float.py` feeds as well.
fn picture(elements: usize) -> Vec<f32> {
    (0..elements).map(|i| (i % 255) as f32 / 127.5 - 1.0).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let mut plain = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let name = plain.next().map_or("resnet50", String::as_str);
    let runs: usize = plain.next().and_then(|runs| runs.parse().ok()).unwrap_or(20);
    let graph = Arc::new(network(name, has("--grids")));
    let all: Vec<TensorId> = graph.nodes.iter().map(|node| node.outputs[0]).collect();
    let watched = if has("--watch") { &all[..] } else { &[] };
    let network = Embedded::default().prepare(Arc::clone(&graph), watched).expect("operators the engine has");
    let mut session = network.session();
    let input = picture(graph[graph.inputs[0]].shape.elements());
    let mut times = vec![];
    let mut steps = vec![f64::INFINITY; graph.tensors.len()];
    for _ in 0..runs {
        let start = Instant::now();
        let mut last = start;
        session
            .run(&[&input], &mut |id, _| {
                let now = Instant::now();
                steps[id.index()] = steps[id.index()].min((now - last).as_secs_f64() * 1e3);
                last = now;
            })
            .expect("inputs fit");
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("{name} min {:.2} median {:.2} ms", times[0], times[times.len() / 2]);
    if let Some(path) = arguments.iter().find_map(|argument| argument.strip_prefix("--output=")) {
        let output = session.output(0).expect("a network has an output");
        let bytes: Vec<u8> = output.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(path, bytes).expect("a file that can be written");
    }
    if has("--layers") {
        for node in graph.nodes.iter().filter(|node| steps[node.outputs[0].index()].is_finite()) {
            let output = node.outputs[0];
            println!("{:8.3} ms  {} {}", steps[output.index()], graph[output].shape, node.op);
        }
    }
}
