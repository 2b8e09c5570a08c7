//! Layers with random contents at the shapes of well-known networks.

use cnnip_kernels::{Conv8, Depthwise8, Element8, Kernels, Map, Output8, Scratch, Source8, Target8, Window};
use cnnip_numerics::{ChannelRecord, RoundingMode};

/// A square convolution; `groups` of 0 means depthwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    size: usize,
    ic: usize,
    oc: usize,
    k: usize,
    stride: usize,
    depthwise: bool,
}

/// A layer with its memory.
pub(crate) struct Prepared {
    layer: Layer,
    input: Vec<u8>,
    weights: Vec<u8>,
    records: Vec<u8>,
    out: Vec<u8>,
    output: Output8,
}

/// The convolutions of a network.
pub(crate) struct Network {
    /// Its name.
    pub(crate) name: &'static str,
    /// In order.
    pub(crate) layers: Vec<Layer>,
}

/// Random bytes.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

impl Layer {
    /// A dense convolution of a `size` x `size` map.
    pub(crate) const fn conv(size: usize, ic: usize, oc: usize, k: usize, stride: usize) -> Self {
        Self { size, ic, oc, k, stride, depthwise: false }
    }

    /// A depthwise 3x3.
    pub(crate) const fn depthwise(size: usize, c: usize, stride: usize) -> Self {
        Self { size, ic: c, oc: c, k: 3, stride, depthwise: true }
    }

    fn out_size(&self) -> usize {
        self.size.div_ceil(self.stride)
    }

    /// Products.
    pub(crate) fn macs(&self) -> u64 {
        let depth = if self.depthwise { 1 } else { self.ic };
        (self.out_size().pow(2) * self.oc * self.k * self.k * depth) as u64
    }

    /// What a report calls it.
    pub(crate) fn name(&self) -> String {
        let Self { size, ic, oc, k, stride, depthwise } = self;
        let kind = if *depthwise { "depthwise" } else { "conv" };
        format!("{kind} {k}x{k}s{stride} {ic}-{oc} @{size}")
    }

    /// With memory.
    pub(crate) fn prepare(self, mode: RoundingMode) -> Prepared {
        let depth = if self.depthwise { 1 } else { self.ic.next_multiple_of(4) };
        let weights = self.oc.next_multiple_of(16) * self.k * self.k * depth;
        let multiplier = if mode == RoundingMode::Float { 1e-3_f32.to_bits() } else { 1_200_000_000 };
        let shift = if mode == RoundingMode::Float { 0 } else { -9 };
        let record = ChannelRecord { bias: 1000, multiplier, shift }.to_le_bytes();
        Prepared {
            layer: self,
            input: bytes(1, self.size.pow(2) * self.ic),
            weights: bytes(2, weights),
            records: record.repeat(self.oc),
            out: vec![0; self.out_size().pow(2) * self.oc],
            output: Output8 { zero: -3, min: -128, max: 127, mode },
        }
    }
}

impl Prepared {
    /// Runs the layer.
    pub(crate) fn run(&mut self, kernels: &Kernels, scratch: &mut Scratch) {
        let Layer { size, ic, oc, k, stride, depthwise } = self.layer;
        let out = self.layer.out_size();
        let input = Source8 { bytes: &self.input, map: Map::dense(size, size, ic), element: Element8::Int8, zero: 3 };
        let window = Window::square(k, stride, (k - 1) / 2);
        let (weights, records) = (&self.weights[..], &self.records[..]);
        let map = Map::dense(out, out, oc);
        let target = Target8::Output { bytes: &mut self.out, map, output: self.output, load: None };
        let done = if depthwise {
            let conv =
                Depthwise8 { input, pad_value: 3, window, multiplier: 1, weights, w_zero: 0, records, use_bias: true };
            kernels.depthwise8(scratch, &conv, target)
        } else {
            let conv = Conv8 { input, pad_value: 3, window, groups: 1, weights, w_zero: 0, records, use_bias: true };
            kernels.conv8(scratch, &conv, target)
        };
        assert_eq!(done, Ok(()));
    }
}

/// One layer of each kind that matters.
pub(crate) fn typical() -> Vec<Layer> {
    vec![
        Layer::conv(224, 3, 32, 3, 2),
        Layer::conv(112, 16, 96, 1, 1),
        Layer::conv(56, 144, 24, 1, 1),
        Layer::conv(14, 384, 64, 1, 1),
        Layer::conv(14, 64, 384, 1, 1),
        Layer::conv(7, 320, 1280, 1, 1),
        Layer::conv(1, 1280, 1000, 1, 1),
        Layer::conv(56, 64, 64, 3, 1),
        Layer::conv(28, 128, 128, 3, 1),
        Layer::conv(14, 256, 256, 3, 1),
        Layer::conv(14, 1024, 256, 1, 1),
        Layer::depthwise(112, 32, 1),
        Layer::depthwise(112, 96, 2),
        Layer::depthwise(56, 144, 1),
        Layer::depthwise(14, 384, 1),
    ]
}

impl Network {
    /// MobileNetV2, width 1.0, 224x224.
    pub(crate) fn mobilenet_v2() -> Self {
        let mut layers = vec![Layer::conv(224, 3, 32, 3, 2)];
        let (mut size, mut channels) = (112, 32);
        for (expand, out, repeat, first_stride) in
            [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
        {
            for index in 0..repeat {
                let stride = if index == 0 { first_stride } else { 1 };
                let wide = channels * expand;
                if expand > 1 {
                    layers.push(Layer::conv(size, channels, wide, 1, 1));
                }
                layers.push(Layer::depthwise(size, wide, stride));
                size /= stride;
                layers.push(Layer::conv(size, wide, out, 1, 1));
                channels = out;
            }
        }
        layers.extend([Layer::conv(7, 320, 1280, 1, 1), Layer::conv(1, 1280, 1000, 1, 1)]);
        Self { name: "MobileNetV2", layers }
    }

    /// ResNet-50, 224x224, the stride in the 3x3.
    pub(crate) fn resnet_50() -> Self {
        let mut layers = vec![Layer::conv(224, 3, 64, 7, 2)];
        let (mut size, mut channels) = (56, 64);
        for (width, repeat, first_stride) in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)] {
            for index in 0..repeat {
                let stride = if index == 0 { first_stride } else { 1 };
                layers.push(Layer::conv(size, channels, width, 1, 1));
                layers.push(Layer::conv(size, width, width, 3, stride));
                if index == 0 {
                    layers.push(Layer::conv(size, channels, 4 * width, 1, stride));
                }
                size /= stride;
                layers.push(Layer::conv(size, width, 4 * width, 1, 1));
                channels = 4 * width;
            }
        }
        layers.push(Layer::conv(1, 2048, 1000, 1, 1));
        Self { name: "ResNet-50", layers }
    }
}
