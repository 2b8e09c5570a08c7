#!/usr/bin/env python3
"""Writes float ONNX networks with seeded random weights: the shapes of well-known ones, as PyTorch exports them.

    python tools/make_networks.py OUT_DIR [--only resnet18,mobilenet_v2] [--small] [--seed 1]

Weights keep the variance of what they multiply. Every node is computed while it is added, for a few smooth random
pictures, and batch normalization gets the mean and the variance that were found: so every channel of the output varies,
as in a trained network. Beside `NAME.onnx` stands `NAME.calib.npz` with 32 examples, and `NAME.test.npz` with 32
others. `--small` makes inputs smaller, and with them only the time that checks take.

Detectors end with decoded boxes, scores, and what non-maximum suppression keeps.

Needs `numpy`, `onnx` and `onnxruntime`. Equal seeds and versions give equal files.
"""

import argparse
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
EXAMPLES = 32
PROBES = 8  # pictures that batch normalization takes its statistics from
EPSILON = 1e-5
RESIDUAL = 0.5  # factor of a normalization without activation: the branch of a residual block


@dataclass(frozen=True)
class Value:
    """A tensor of the network under its name, with what the probes make of it: `[probe, channel, row, column]`."""

    name: str
    data: np.ndarray

    @property
    def channels(self) -> int:
        """Channels, or features."""
        return self.data.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.data.shape[2], self.data.shape[3]


class Network:
    """An ONNX graph in the making; every node is carried out as it is added."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants, self.inputs = [], [], []
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = 1
        self.options.log_severity_level = 3

    def input(self, name: str, data: np.ndarray) -> Value:
        """An input; of `data`, whose first extent counts probes, the file keeps the other extents."""
        shape = [1, *data.shape[1:]]
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Value(name, data)

    def constant(self, values: np.ndarray) -> Value:
        """An initializer."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return Value(name, values)

    def integers(self, *values: int) -> Value:
        """A list of int64."""
        return self.constant(np.array(values, np.int64))

    def node(self, kind: str, *inputs: Value | None, outputs: int = 1, **attributes):
        """Adds a node; gives its output, or a list of them."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        node = helper.make_node(kind, ["" if i is None else i.name for i in inputs], names, name, **attributes)
        self.nodes.append(node)
        made = [Value(n, d) for n, d in zip(names, self._computed(node, inputs), strict=True)]
        return made[0] if outputs == 1 else made

    def _computed(self, node, inputs) -> list[np.ndarray]:
        """What ONNX Runtime makes of the probes."""
        given = {i.name: i.data for i in inputs if i is not None}
        known = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(d.dtype), d.shape)
            for n, d in given.items()
        ]
        unknown = [onnx.ValueInfoProto(name=n) for n in node.output]
        model = _model(helper.make_graph([node], "node", known, unknown))
        session = onnxruntime.InferenceSession(model.SerializeToString(), self.options, ["CPUExecutionProvider"])
        return session.run(None, given)

    def finish(self, outputs: dict[str, Value]) -> onnx.ModelProto:
        """The file, with outputs under these names."""
        infos = []
        for name, value in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value.name], [name], f"output_{name}"))
            kind = helper.np_dtype_to_tensor_dtype(value.data.dtype)
            # Of integers only lists come out, whose rows nobody knows before.
            rows = 1 if kind == TensorProto.FLOAT else "rows"
            infos.append(helper.make_tensor_value_info(name, kind, [rows, *value.data.shape[1:]]))
        model = _model(helper.make_graph(self.nodes, "network", self.inputs, infos, self.constants))
        onnx.checker.check_model(model, full_check=True)
        return model

    # Layers

    def weights(self, shape: tuple[int, ...], depth: int, x: Value) -> Value:
        """Random weights that give outputs a mean square of 1."""
        power = float(np.mean(np.square(x.data))) or 1.0
        values = self.random.normal(0, 1 / np.sqrt(depth * power), shape)
        return self.constant(values.astype(np.float32))

    def number(self, value: float) -> Value:
        """A float."""
        return self.constant(np.array(value, np.float32))

    def suppressed(self, boxes: Value, scores: Value, center=0, threshold=0.9) -> Value:
        """The best boxes of every class, at most ten of each."""
        operands = [self.integers(10), self.number(0.5), self.number(threshold)]
        return self.node("NonMaxSuppression", boxes, scores, *operands, center_point_box=center)

    def vector(self, values: np.ndarray) -> Value:
        """A float per channel, rounded to 11 bits so that a runtime's last bits do not matter."""
        return self.constant(values.astype(np.float16).astype(np.float32))

    def conv(self, x: Value, out: int, kernel=3, stride=1, act="Relu", *, groups=1, dilation=1, pad=None, norm=True):
        """A convolution, its batch normalization (or a bias) and its activation."""
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        ph, pw = (dilation * (kh // 2), dilation * (kw // 2)) if pad is None else (pad, pad)
        depth = x.channels // groups
        operands = [x, self.weights((out, depth, kh, kw), depth * kh * kw, x)]
        if not norm:
            operands.append(self.vector(self.random.normal(0, 0.1, out)))
        y = self.node(
            "Conv", *operands, kernel_shape=[kh, kw], strides=[stride] * 2, pads=[ph, pw, ph, pw],
            dilations=[dilation] * 2, group=groups,
        )  # fmt: skip
        return self.act(self.norm(y, act) if norm else y, act)

    def norm(self, x: Value, act: str | None) -> Value:
        """Batch normalization with the statistics that the probes give, before an activation (None for none).

        What goes to an activation is positive for the most part. Else random layers are chaotic: with a mean of 0 a ReLU
        leaves 0.34 of the variance of a signal, but half of that of a small error in it, so that 50 layers drown in the
        error of the first. With a mean of 1 it is 0.75 and 0.84.
        """
        axes = (0, *range(2, x.data.ndim))
        mean, variance = x.data.mean(axes), x.data.var(axes)
        factor = self.random.uniform(0.7, 1.3, x.channels) * (1 if act else RESIDUAL)
        offset = self.random.normal(1 if act else 0, 0.3, x.channels)
        parameters = [self.vector(v) for v in (factor, offset, mean, np.maximum(variance, 1e-3))]
        return self.node("BatchNormalization", x, *parameters, epsilon=EPSILON)

    def act(self, x: Value, kind: str | None) -> Value:
        """An activation by the name of its operator; None for none."""
        match kind:
            case None:
                return x
            case "Relu6":
                return self.node("Clip", x, *(self.constant(np.array(bound, np.float32)) for bound in (0, 6)))
            case "HardSigmoid":
                return self.node(kind, x, alpha=1 / 6, beta=0.5)
            case "LeakyRelu":
                return self.node(kind, x, alpha=0.1)
            case "Silu":
                return self.node("Mul", x, self.node("Sigmoid", x))
        return self.node(kind, x)

    def add(self, a: Value, b: Value) -> Value:
        """The sum."""
        return self.node("Add", a, b)

    def concat(self, *values: Value, axis=1) -> Value:
        """One behind the other, along the channels by default."""
        return self.node("Concat", *values, axis=axis)

    def max_pool(self, x: Value, kernel: int, stride: int, pad=0, ceil=0) -> Value:
        """Maximum of windows."""
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4, "ceil_mode": ceil}
        return self.node("MaxPool", x, **sizes)

    def average_pool(self, x: Value, kernel: int, stride: int, pad=0) -> Value:
        """Mean of windows; padding counts, as PyTorch has it."""
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.node("AveragePool", x, count_include_pad=1, **sizes)

    def mean(self, x: Value) -> Value:
        """The mean over rows and columns, which stay as extents of 1."""
        return self.node("GlobalAveragePool", x)

    def resize(self, x: Value, size: tuple[int, int], mode="linear") -> Value:
        """To rows and columns, as `interpolate` of PyTorch does."""
        way = {"linear": "half_pixel", "nearest": "asymmetric"}[mode]
        more = {"nearest_mode": "floor"} if mode == "nearest" else {}
        scales = [1, 1, size[0] / x.size[0], size[1] / x.size[1]]
        scales = self.constant(np.array(scales, np.float32))
        return self.node("Resize", x, None, scales, mode=mode, coordinate_transformation_mode=way, **more)

    def transposed(self, x: Value, out: int, kernel=2, stride=2) -> Value:
        """A transposed convolution."""
        weights = self.weights((x.channels, out, kernel, kernel), x.channels, x)
        bias = self.vector(self.random.normal(0, 0.1, out))
        return self.node("ConvTranspose", x, weights, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2)

    def dense(self, x: Value, out: int, act=None) -> Value:
        """A fully connected layer."""
        bias = self.vector(self.random.normal(0, 0.1, out))
        return self.act(self.node("Gemm", x, self.weights((out, x.channels), x.channels, x), bias, transB=1), act)

    def reshape(self, x: Value, *dims: int) -> Value:
        """To other extents; the first, the batch, stays."""
        return self.node("Reshape", x, self.integers(0, *dims))

    def classifier(self, x: Value, classes=1000) -> Value:
        """The mean over all pixels and a fully connected layer."""
        return self.dense(self.node("Flatten", self.mean(x), axis=1), classes)

    def gate(self, x: Value, squeezed: int, act="HardSigmoid") -> Value:
        """Squeeze and excite: every channel times a factor that follows from all of them."""
        gate = self.conv(self.mean(x), squeezed, 1, norm=False)
        return self.node("Mul", x, self.conv(gate, x.channels, 1, act=act, norm=False))


def _model(graph) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def pictures(random, count: int, size: int, channels=3) -> np.ndarray:
    """Smooth random pictures of mean about 0 and deviation about 1: noise of all sizes, the larger the stronger."""
    total = random.normal(0, 0.5, (count, channels, 1, 1)) * np.ones((1, 1, size, size))
    cell = size
    while cell >= 1:
        coarse = random.normal(0, 1, (count, channels, -(-size // cell) + 1, -(-size // cell) + 1))
        total += _enlarged(coarse, cell, size) * (cell / size) ** 0.5 * 0.6
        cell //= 2
    return total.astype(np.float32)


def _enlarged(coarse: np.ndarray, cell: int, size: int) -> np.ndarray:
    """Linear interpolation between the corners of cells."""
    at = np.arange(size) / cell
    low, part = at.astype(int), at - at.astype(int)
    rows = coarse[:, :, low] * (1 - part)[:, None] + coarse[:, :, low + 1] * part[:, None]
    return rows[..., low] * (1 - part) + rows[..., low + 1] * part


# Networks: each takes the graph and its input, and gives the outputs by name.


def mlp(net: Network, x: Value) -> dict[str, Value]:
    """The fully connected 13-128-128-1 network of a steering function."""
    x = net.dense(net.dense(x, 128, "Relu"), 128, "Relu")
    return {"steering": net.dense(x, 1)}


def resnet(net: Network, x: Value, depths, bottleneck: bool) -> dict[str, Value]:
    """ResNet, version 1 with the stride in the 3x3."""
    x = net.max_pool(net.conv(x, 64, 7, 2), 3, 2, 1)
    for stage, depth in enumerate(depths):
        width = 64 << stage
        out = width * 4 if bottleneck else width
        for block in range(depth):
            stride = 2 if stage and not block else 1
            around = x if x.channels == out and stride == 1 else net.conv(x, out, 1, stride, None)
            if bottleneck:
                y = net.conv(net.conv(net.conv(x, width, 1), width, 3, stride), out, 1, act=None)
            else:
                y = net.conv(net.conv(x, width, 3, stride), out, 3, act=None)
            x = net.act(net.add(y, around), "Relu")
    return {"scores": net.classifier(x)}


def resnet18(net, x):
    """ResNet-18."""
    return resnet(net, x, (2, 2, 2, 2), bottleneck=False)


def resnet50(net, x):
    """ResNet-50."""
    return resnet(net, x, (3, 4, 6, 3), bottleneck=True)


def vgg16(net, x, divide=1):
    """VGG-16 without batch normalization."""
    for depth, width in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(depth):
            x = net.conv(x, width // divide, 3, norm=False)
        x = net.max_pool(x, 2, 2)
    x = net.node("Flatten", x, axis=1)
    x = net.dense(net.dense(x, 4096 // divide, "Relu"), 4096 // divide, "Relu")
    return {"scores": net.dense(x, 1000)}


def vgg16_narrow(net, x):
    """VGG-16 with a quarter of the channels."""
    return vgg16(net, x, divide=4)


def squeezenet(net, x):
    """SqueezeNet 1.1."""
    def fire(x, squeezed, expanded):
        x = net.conv(x, squeezed, 1, norm=False)
        return net.concat(net.conv(x, expanded, 1, norm=False), net.conv(x, expanded, 3, norm=False))

    x = net.max_pool(net.conv(x, 64, 3, 2, pad=0, norm=False), 3, 2, ceil=1)
    x = net.max_pool(fire(fire(x, 16, 64), 16, 64), 3, 2, ceil=1)
    x = net.max_pool(fire(fire(x, 32, 128), 32, 128), 3, 2, ceil=1)
    x = fire(fire(fire(fire(x, 48, 192), 48, 192), 64, 256), 64, 256)
    x = net.mean(net.conv(x, 1000, 1, norm=False))
    return {"scores": net.node("Flatten", x, axis=1)}


MOBILENET_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def mobilenet_v1(net, x):
    """MobileNet, version 1."""
    return {"scores": net.classifier(mobilenet_v1_features(net, x)[-1])}


def mobilenet_v1_features(net, x):
    """All maps before a stride, and the last."""
    x, maps = net.conv(x, 32, 3, 2, "Relu6"), []
    for out, stride in MOBILENET_V1:
        if stride == 2:
            maps.append(x)
        x = net.conv(net.conv(x, x.channels, 3, stride, "Relu6", groups=x.channels), out, 1, act="Relu6")
    return [*maps, x]


def inverted(net, x, expanded, out, kernel=3, stride=1, act="Relu6", gate=0, dilation=1):
    """An inverted residual block; `gate` is the number of squeezed channels, 0 for none."""
    y = net.conv(x, expanded, 1, act=act) if expanded != x.channels else x
    y = net.conv(y, expanded, kernel, stride, act, groups=expanded, dilation=dilation)
    y = net.gate(y, gate) if gate else y
    y = net.conv(y, out, 1, act=None)
    return net.add(x, y) if stride == 1 and x.channels == out else y


# Factor of expansion, channels, repetitions, stride of the first; kernel.
MOBILENET_V2 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
                (6, 160, 3, 2, 3), (6, 320, 1, 1, 3))  # fmt: skip
EFFICIENTNET_LITE0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
                      (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))  # fmt: skip


def inverted_stages(net, x, stages):
    """Stages of inverted residual blocks, the convolution before and the one after."""
    x = net.conv(x, 32, 3, 2, "Relu6")
    for factor, out, depth, stride, kernel in stages:
        for block in range(depth):
            x = inverted(net, x, x.channels * factor, out, kernel, 1 if block else stride)
    return net.conv(x, 1280, 1, act="Relu6")


def mobilenet_v2(net, x):
    """MobileNet, version 2."""
    return {"scores": net.classifier(inverted_stages(net, x, MOBILENET_V2))}


def efficientnet_lite0(net, x):
    """EfficientNet-Lite0."""
    return {"scores": net.classifier(inverted_stages(net, x, EFFICIENTNET_LITE0))}


# Kernel, expanded, channels, squeezed channels, activation, stride.
MOBILENET_V3 = (
    (3, 16, 16, 0, "Relu", 1), (3, 64, 24, 0, "Relu", 2), (3, 72, 24, 0, "Relu", 1), (5, 72, 40, 24, "Relu", 2),
    (5, 120, 40, 32, "Relu", 1), (5, 120, 40, 32, "Relu", 1), (3, 240, 80, 0, "HardSwish", 2),
    (3, 200, 80, 0, "HardSwish", 1), (3, 184, 80, 0, "HardSwish", 1), (3, 184, 80, 0, "HardSwish", 1),
    (3, 480, 112, 120, "HardSwish", 1), (3, 672, 112, 168, "HardSwish", 1), (5, 672, 160, 168, "HardSwish", 2),
    (5, 960, 160, 240, "HardSwish", 1), (5, 960, 160, 240, "HardSwish", 1),
)  # fmt: skip


def mobilenet_v3_features(net, x, dilated=False):
    """The maps after strides 8 and 16 or 32; the last stride may become a dilation instead."""
    x, low = net.conv(x, 16, 3, 2, "HardSwish"), None
    for index, (kernel, expanded, out, gate, act, stride) in enumerate(MOBILENET_V3):
        dilation = 2 if dilated and index >= 12 else 1
        x = inverted(net, x, expanded, out, kernel, 1 if dilation > 1 else stride, act, gate, dilation)
        low = x if index == 5 else low
    return low, net.conv(x, 960, 1, act="HardSwish")


def mobilenet_v3(net, x):
    """MobileNet, version 3, large."""
    x = net.node("Flatten", net.mean(mobilenet_v3_features(net, x)[1]), axis=1)
    return {"scores": net.dense(net.dense(x, 1280, "HardSwish"), 1000)}


def shufflenet_v2(net, x):
    """ShuffleNet, version 2, 1.0x."""
    def shuffled(x):
        rows, columns = x.size
        y = net.reshape(x, 2, x.channels // 2, rows, columns)
        y = net.node("Transpose", y, perm=[0, 2, 1, 3, 4])
        return net.reshape(y, x.channels, rows, columns)

    def branch(x, half, stride):
        y = net.conv(x, half, 1)
        return net.conv(net.conv(y, half, 3, stride, None, groups=half), half, 1)

    x = net.max_pool(net.conv(x, 24, 3, 2), 3, 2, 1)
    for out, depth in ((116, 4), (232, 8), (464, 4)):
        half = out // 2
        around = net.conv(net.conv(x, x.channels, 3, 2, None, groups=x.channels), half, 1)
        x = shuffled(net.concat(around, branch(x, half, 2)))
        for _ in range(depth - 1):
            kept, y = net.node("Split", x, net.integers(half, half), outputs=2, axis=1)
            x = shuffled(net.concat(kept, branch(y, half, 1)))
    return {"scores": net.classifier(net.conv(x, 1024, 1))}


def densenet121(net, x):
    """DenseNet-121."""
    x = net.max_pool(net.conv(x, 64, 7, 2), 3, 2, 1)
    for stage, depth in enumerate((6, 12, 24, 16)):
        for _ in range(depth):
            y = net.conv(net.act(net.norm(x, "Relu"), "Relu"), 128, 1)
            x = net.concat(x, net.conv(y, 32, 3, act=None, norm=False))
        x = net.act(net.norm(x, "Relu"), "Relu")
        if stage < 3:
            x = net.average_pool(net.conv(x, x.channels // 2, 1, act=None, norm=False), 2, 2)
    return {"scores": net.classifier(x)}


def inception_v3(net, x):
    """Inception, version 3."""
    def pooled(x, out):
        return net.conv(net.average_pool(x, 3, 1, 1), out, 1)

    def chain(x, *layers):
        for out, kernel, *stride in layers:
            x = net.conv(x, out, kernel, *(stride or [1]), pad=0 if stride else None)
        return x

    x = chain(x, (32, 3, 2), (32, 3, 1), (64, 3))
    x = chain(net.max_pool(x, 3, 2), (80, 1), (192, 3, 1))
    x = net.max_pool(x, 3, 2)
    for out in (32, 64, 64):
        x = net.concat(chain(x, (64, 1)), chain(x, (48, 1), (64, 5)), chain(x, (64, 1), (96, 3), (96, 3)),
                       pooled(x, out))  # fmt: skip
    x = net.concat(chain(x, (384, 3, 2)), chain(x, (64, 1), (96, 3), (96, 3, 2)), net.max_pool(x, 3, 2))
    row, column = (1, 7), (7, 1)
    for c in (128, 160, 160, 192):
        x = net.concat(chain(x, (192, 1)), chain(x, (c, 1), (c, row), (192, column)),
                       chain(x, (c, 1), (c, column), (c, row), (c, column), (192, row)), pooled(x, 192))  # fmt: skip
    x = net.concat(chain(x, (192, 1), (320, 3, 2)), chain(x, (192, 1), (192, row), (192, column), (192, 3, 2)),
                   net.max_pool(x, 3, 2))  # fmt: skip
    row, column = (1, 3), (3, 1)
    for _ in range(2):
        a, b = chain(x, (384, 1)), chain(x, (448, 1), (384, 3))
        x = net.concat(chain(x, (320, 1)), chain(a, (384, row)), chain(a, (384, column)), chain(b, (384, row)),
                       chain(b, (384, column)), pooled(x, 192))  # fmt: skip
    return {"scores": net.classifier(x)}


def unet(net, x, width=16):
    """U-Net: the way up once by transposed convolution, once by resize in turn."""
    def double(x, out):
        return net.conv(net.conv(x, out), out)

    kept = []
    for stage in range(4):
        kept.append(double(x, width << stage))
        x = net.max_pool(kept[-1], 2, 2)
    x = double(x, width << 4)
    for stage in reversed(range(4)):
        out = width << stage
        if stage % 2:
            x = net.transposed(x, out)
        else:
            x = net.conv(net.resize(x, kept[stage].size), out, 1, act=None, norm=False)
        x = double(net.concat(kept[stage], x), out)
    return {"mask": net.conv(x, 2, 1, act=None, norm=False)}


def deeplab_v3(net, x, classes=21):
    """DeepLabV3 on MobileNetV3: dilated convolutions, a pooled branch, bilinear resizes."""
    size = x.size
    x = mobilenet_v3_features(net, x, dilated=True)[1]
    branches = [net.conv(x, 256, 1)] + [net.conv(x, 256, 3, dilation=d) for d in (12, 24, 36)]
    # Normalizing single pixels over few probes would make noise of them: a bias instead.
    branches.append(net.resize(net.conv(net.mean(x), 256, 1, norm=False), x.size))
    x = net.conv(net.conv(net.concat(*branches), 256, 1), 256, 3)
    return {"mask": net.resize(net.conv(x, classes, 1, act=None, norm=False), size)}


def ssd_mobilenet(net, x, classes=91):
    """SSD on MobileNetV1: six maps, each with a head for scores and one for boxes."""
    *_, middle, last = mobilenet_v1_features(net, x)
    maps = [middle, last]
    for out in (512, 256, 256, 128):
        maps.append(net.conv(net.conv(maps[-1], out // 2, 1, act="Relu6"), out, 3, 2, "Relu6"))

    def head(x, per_box, boxes):
        y = net.conv(x, boxes * per_box, 3, act=None, norm=False)
        y = net.node("Transpose", y, perm=[0, 2, 3, 1])
        return net.reshape(y, -1, per_box)

    boxes = [3, 6, 6, 6, 6, 6]
    offsets = net.concat(*(head(m, 4, n) for m, n in zip(maps, boxes, strict=True)), axis=1)
    scores = net.concat(*(head(m, classes, n) for m, n in zip(maps, boxes, strict=True)), axis=1)
    middles, extents = anchors([m.size for m in maps], boxes)
    middle, extent = net.node("Split", offsets, net.integers(2, 2), outputs=2, axis=2)
    middle = net.add(net.node("Mul", middle, net.constant(0.1 * extents)), net.constant(middles))
    extent = net.node("Mul", net.node("Exp", net.node("Mul", extent, net.number(0.2))), net.constant(0.5 * extents))
    corners = net.concat(net.node("Sub", middle, extent), net.add(middle, extent), axis=2)
    # The first class is the background.
    scores = net.node("Transpose", net.act(scores, "Sigmoid"), perm=[0, 2, 1])
    scores = net.node("Slice", scores, net.integers(1), net.integers(classes), net.integers(1))
    return {"boxes": corners, "scores": scores, "selected": net.suppressed(corners, scores)}


def anchors(sizes, boxes) -> tuple[np.ndarray, np.ndarray]:
    """Middles and extents of the boxes that offsets count from, down and across, as parts of the picture."""
    middles, extents = [], []
    for index, ((rows, columns), count) in enumerate(zip(sizes, boxes, strict=True)):
        side = 0.2 + 0.75 * index / (len(sizes) - 1)
        ratios = np.sqrt([1, 2, 1 / 2, 3, 1 / 3, 1.2][:count])
        shape = side * np.stack([1 / ratios, ratios], -1)
        at = np.stack(np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij"), -1)
        middles.append(np.repeat(at.reshape(-1, 2), count, 0))
        extents.append(np.tile(shape, (rows * columns, 1)))
    joined = (np.concatenate(parts)[None].astype(np.float32) for parts in (middles, extents))
    return tuple(joined)


def yolo(net, x, classes=20, act="Silu"):
    """A small YOLO: a feature pyramid of two maps, each decoded to boxes in grid cells."""
    x = net.conv(x, 16, 3, 2, act)
    for out in (32, 64):
        x = net.conv(x, out, 3, 2, act)
        x = net.add(x, net.conv(net.conv(x, out // 2, 1, act=act), out, 3, act=act))
    fine = net.conv(x, 128, 3, 2, act)
    coarse = net.conv(fine, 256, 3, 2, act)
    pooled = net.max_pool(coarse, 5, 1, 2)
    coarse = net.conv(net.concat(coarse, pooled), 128, 1, act=act)
    fine = net.conv(net.concat(fine, net.resize(coarse, fine.size, "nearest")), 128, 3, act=act)
    heads = [yolo_head(net, m, classes, s) for m, s in ((fine, 16), (coarse, 32))]
    boxes, objects, classes = net.node("Split", net.concat(*heads, axis=1), net.integers(4, 1, classes), outputs=3, axis=2)
    scores = net.node("Transpose", net.node("Mul", objects, classes), perm=[0, 2, 1])
    return {"boxes": boxes, "scores": scores, "selected": net.suppressed(boxes, scores, center=1, threshold=0.5)}


def yolo_head(net, x, classes, stride, anchors=3):
    """Center and size of boxes in pixels, and scores."""
    rows, columns = x.size
    y = net.conv(x, anchors * (5 + classes), 1, act=None, norm=False)
    y = net.reshape(y, anchors, 5 + classes, rows, columns)
    y = net.act(net.node("Transpose", y, perm=[0, 1, 3, 4, 2]), "Sigmoid")
    center, size, scores = net.node("Split", y, net.integers(2, 2, 1 + classes), outputs=3, axis=4)
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1)[None, None].astype(np.float32)
    number = net.number
    center = net.node("Mul", net.add(net.node("Mul", center, number(2)), net.constant(grid - 0.5)), number(stride))
    sizes = net.constant(stride * net.random.uniform(0.5, 4, (1, anchors, 1, 1, 2)).astype(np.float32))
    size = net.node("Mul", net.node("Pow", net.node("Mul", size, number(2)), number(2)), sizes)
    # One scale per output: boxes in parts of the picture, as scores are.
    scale = number(1 / (stride * max(rows, columns)))
    y = net.concat(net.node("Mul", center, scale), net.node("Mul", size, scale), scores, axis=4)
    return net.reshape(y, -1, 5 + classes)


GRID = (3, 13)  # lanes and places along the road, in the manner of CS-LSTM
HISTORY, FUTURE = 16, 25


def lstm(net, x, hidden):
    """A layer of LSTM over `[step, sequence, feature]`: all states, and the last."""
    features = x.data.shape[2]
    w = net.random.normal(0, 1 / np.sqrt(features), (1, 4 * hidden, features)).astype(np.float32)
    r = net.random.normal(0, 1 / np.sqrt(hidden), (1, 4 * hidden, hidden)).astype(np.float32)
    b = net.random.normal(0, 0.1, (1, 8 * hidden)).astype(np.float32)
    states, last, _ = net.node("LSTM", x, *map(net.constant, (w, r, b)), outputs=3, hidden_size=hidden)
    return net.node("Squeeze", states, net.integers(1)), net.node("Squeeze", last, net.integers(0))


def cs_lstm(net, own, others):
    """Trajectory prediction: LSTM encoders, convolutional social pooling over up to 38 neighbours, LSTM decoder."""
    cells = GRID[0] * GRID[1]

    def matrix(x, out, act=None):
        weights = net.constant(net.random.normal(0, x.data.shape[-1] ** -0.5, (x.data.shape[-1], out)).astype(np.float32))
        bias = net.vector(net.random.normal(0, 0.1, out))
        return net.act(net.add(net.node("MatMul", x, weights), bias), act)

    steps = lambda x, n: net.node("Reshape", x, net.integers(HISTORY, n, 2))  # noqa: E731
    mine = lstm(net, matrix(steps(own, 1), 32, "LeakyRelu"), 64)[1]
    mine = matrix(mine, 32, "LeakyRelu")
    theirs = lstm(net, matrix(steps(others, cells), 32, "LeakyRelu"), 64)[1]
    grid = net.node("Reshape", net.node("Transpose", theirs, perm=[1, 0]), net.integers(1, 64, *GRID))
    social = net.conv(grid, 64, 3, act="LeakyRelu", pad=0, norm=False)
    social = net.conv(social, 16, (1, 3), act="LeakyRelu", pad=0, norm=False)
    social = net.node("MaxPool", social, kernel_shape=[1, 2], strides=[1, 2], pads=[0, 1, 0, 0])
    both = net.concat(net.node("Flatten", social, axis=1), mine)
    repeated = net.node("Expand", net.node("Unsqueeze", both, net.integers(0)), net.integers(FUTURE, 1, both.channels))
    path = matrix(lstm(net, repeated, 128)[0], 5)
    return {"path": net.node("Transpose", path, perm=[1, 0, 2])}


@dataclass(frozen=True)
class Recipe:
    """How to make a network: its function, and the size of its pictures."""

    make: object
    size: int = 224
    small: int = 96
    probes: int = PROBES

    def samples(self, random, count: int, small: bool) -> dict[str, np.ndarray]:
        """Examples: an array per input."""
        if self.make is mlp:
            return {"state": random.uniform(-2, 2, (count, 13)).astype(np.float32)}
        if self.make is cs_lstm:
            return trajectories(random, count)
        return {"image": pictures(random, count, self.small if small else self.size)}


def trajectories(random, count: int) -> dict[str, np.ndarray]:
    """Ways of cars of almost constant speed; most cells have no neighbour, and are 0."""
    cells = GRID[0] * GRID[1]
    speed = random.normal(0, 0.15, (count, 1, cells + 1, 2))
    ways = np.cumsum(speed + random.normal(0, 0.03, (count, HISTORY, cells + 1, 2)), 1)
    ways[:, :, 1:] *= random.uniform(0, 1, (count, 1, cells, 1)) < 0.3
    ways = ways.astype(np.float32)
    return {"own": ways[:, :, 0], "others": ways[:, :, 1:]}


RECIPES = {
    "mlp_steering": Recipe(mlp),
    "resnet18": Recipe(resnet18),
    "resnet50": Recipe(resnet50),
    "mobilenet_v1": Recipe(mobilenet_v1),
    "mobilenet_v2": Recipe(mobilenet_v2),
    "mobilenet_v3": Recipe(mobilenet_v3),
    "efficientnet_lite0": Recipe(efficientnet_lite0),
    "vgg16": Recipe(vgg16, small=32),
    "vgg16_narrow": Recipe(vgg16_narrow, small=64),
    "squeezenet": Recipe(squeezenet),
    "shufflenet_v2": Recipe(shufflenet_v2),
    "densenet121": Recipe(densenet121),
    "inception_v3": Recipe(inception_v3, 299, 107),
    "unet": Recipe(unet, 256, 64),
    "deeplab_v3_mobilenet": Recipe(deeplab_v3, 256, 64),
    "ssd_mobilenet": Recipe(ssd_mobilenet, 300, 128),
    "yolo": Recipe(yolo, 320, 96),
    "cs_lstm": Recipe(cs_lstm, probes=1),
}


def write(name: str, folder: Path, seed: int, small: bool) -> None:
    """Writes a network and its examples."""
    recipe, seed = RECIPES[name], [seed, zlib.crc32(name.encode())]
    random = np.random.default_rng([*seed, 1])
    net = Network(seed)
    probes = recipe.samples(random, recipe.probes, small)
    model = net.finish(recipe.make(net, *(net.input(*named) for named in probes.items())))
    onnx.save(model, folder / f"{name}.onnx")
    for part in ("calib", "test"):
        np.savez(folder / f"{name}.{part}.npz", **recipe.samples(random, EXAMPLES, small))


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, help="where to write")
    options.add_argument("--only", help="comma-separated names (default: all)")
    options.add_argument("--small", action="store_true", help="smaller inputs")
    options.add_argument("--seed", type=int, default=1)
    options = options.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(",") if options.only else RECIPES:
        write(name, options.folder, options.seed, options.small)
        print(name, flush=True)


if __name__ == "__main__":
    main()
