#!/usr/bin/env python3
"""Writes an int8 ResNet-50 (224x224, the stride in the 3x3) with random weights: the shapes of the real one, for timing.

    .venv/bin/python tools/make_resnet50.py resnet50.tflite

Scales are such that values neither vanish nor saturate. Equal seeds give equal files.
"""

import argparse
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_models import ModelBuilder, Quantization

# Channels within a block, how often it repeats, the stride of its first repetition.
STAGES = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]
EXPANSION = 4
CLASSES = 1000
AFTER_RELU = Quantization.per_tensor(0.02, -128)
SIGNED = Quantization.per_tensor(0.04, 3)


class Builder:
    """The graph so far; a tensor is its index, size, channels and quantization."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.model = ModelBuilder("ResNet-50 with random weights")
        self.count = 0

    def name(self, kind: str) -> str:
        """The next tensor's name."""
        self.count += 1
        return f"{kind}_{self.count}"

    def parameters(self, shape, depth: int, source: Quantization, out: Quantization):
        """Random weights and biases of a layer whose outputs spread over the range of `out`."""
        spread = 40 * out.scale / (source.scale * 40 * 50 * np.sqrt(depth))
        scales = spread * self.random.uniform(0.5, 2, shape[0])
        weights = self.random.integers(-127, 128, shape, dtype=np.int8)
        biases = self.random.integers(-1000, 1000, shape[0], dtype=np.int32)
        quantization = Quantization.per_channel(scales, 0)
        bias_quantization = Quantization(tuple(s * source.scale for s in quantization.scales), (0,) * shape[0], 0)
        name = self.name("weights")
        return [
            self.model.constant(name, weights, quantization),
            self.model.constant(f"{name}_bias", biases, bias_quantization),
        ]

    def conv(self, source, channels: int, kernel: int, stride: int, relu: bool):
        """A convolution, with padding as TensorFlow's SAME."""
        tensor, size, depth, quantization = source
        out = AFTER_RELU if relu else SIGNED
        shape = (channels, kernel, kernel, depth)
        parameters = self.parameters(shape, kernel * kernel * depth, quantization, out)
        size = -(-size // stride)
        result = self.model.tensor(self.name("conv"), (1, size, size, channels), np.int8, out)
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = (
            schema.ActivationFunctionType.RELU if relu else schema.ActivationFunctionType.NONE
        )
        self.model.operator("CONV_2D", [tensor, *parameters], [result], options)
        return result, size, channels, out

    def add(self, a, b):
        """The sum of two maps, and ReLU."""
        _, size, channels, _ = a
        result = self.model.tensor(self.name("add"), (1, size, size, channels), np.int8, AFTER_RELU)
        options = schema.AddOptionsT()
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        self.model.operator("ADD", [a[0], b[0]], [result], options)
        return result, size, channels, AFTER_RELU

    def max_pool(self, source):
        """3x3, stride 2."""
        tensor, size, channels, quantization = source
        size //= 2
        result = self.model.tensor(self.name("pool"), (1, size, size, channels), np.int8, quantization)
        options = schema.Pool2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = 2
        options.filterHeight = options.filterWidth = 3
        self.model.operator("MAX_POOL_2D", [tensor], [result], options)
        return result, size, channels, quantization

    def bottleneck(self, source, width: int, stride: int):
        """1x1, 3x3, 1x1, and the way around them."""
        around = source
        if stride != 1 or source[2] != width * EXPANSION:
            around = self.conv(source, width * EXPANSION, 1, stride, relu=False)
        inner = self.conv(source, width, 1, 1, relu=True)
        inner = self.conv(inner, width, 3, stride, relu=True)
        return self.add(self.conv(inner, width * EXPANSION, 1, 1, relu=False), around)

    def classifier(self, source) -> int:
        """The mean over all pixels, and a fully connected layer."""
        tensor, _, channels, quantization = source
        mean = self.model.tensor(self.name("mean"), (1, channels), np.int8, quantization)
        axes = self.model.constant(self.name("axes"), np.array([1, 2], np.int32))
        options = schema.ReducerOptionsT()
        options.keepDims = False
        self.model.operator("MEAN", [tensor, axes], [mean], options)
        parameters = self.parameters((CLASSES, channels), channels, quantization, SIGNED)
        scores = self.model.tensor("scores", (1, CLASSES), np.int8, SIGNED)
        self.model.operator("FULLY_CONNECTED", [mean, *parameters], [scores], schema.FullyConnectedOptionsT())
        return scores


def resnet50(seed: int) -> bytes:
    """The model file."""
    builder = Builder(seed)
    image = Quantization.per_tensor(1 / 64, 0)
    x = (builder.model.tensor("image", (1, 224, 224, 3), np.int8, image), 224, 3, image)
    x = builder.max_pool(builder.conv(x, 64, 7, 2, relu=True))
    inputs = [0]
    for width, repeat, stride in STAGES:
        for index in range(repeat):
            x = builder.bottleneck(x, width, stride if index == 0 else 1)
    return builder.model.finish(inputs, [builder.classifier(x)])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("output", type=Path, help="the model to write")
    options.add_argument("--seed", type=int, default=1, help="of the weights (default 1)")
    options = options.parse_args()
    options.output.write_bytes(resnet50(options.seed))


if __name__ == "__main__":
    main()
