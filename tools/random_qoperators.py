"""Seeded random ONNX models of one quantized operator each (QOperator form), with an input of all integers of its type.

`make(operator, seed, types)` always gives the same case; types are `int8` and `uint8`. What varies: shapes, attributes,
broadcasts, scales, zero points, weight scales per tensor or per channel, uint8 activations with int8 and uint8 weights,
bias or none. The output scale is such that most results lie within the type.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

DTYPES = {"int8": np.int8, "uint8": np.uint8}
MICROSOFT = "com.microsoft"
STANDARD = {"QLinearConv", "QLinearMatMul"}
OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True)
class Case:
    """One model, its inputs by name, and a line that says what it is."""

    operator: str
    model: bytes
    inputs: dict[str, np.ndarray]
    note: str


@dataclass
class Build:
    """A node's operands as they come, and the random choices."""

    rng: np.random.Generator
    dtype: type
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    operands: list[str] = field(default_factory=list)

    def number(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.number(1, 100) <= percent

    def elements(self, shape, dtype=None) -> np.ndarray:
        """Random integers of a type, its ends among them."""
        limits = np.iinfo(dtype or self.dtype)
        return self.rng.integers(limits.min, limits.max + 1, shape).astype(limits.dtype)

    def scale(self) -> float:
        """A scale from 2^-9 to 1/4, now and then a power of two."""
        exponent = self.rng.uniform(-9, -2)
        return float(np.float32(2.0 ** (round(exponent) if self.chance(20) else exponent)))

    def zero(self, dtype=None):
        """A zero point: any, an end, or the middle."""
        limits = np.iinfo(dtype or self.dtype)
        middle = (limits.min + limits.max + 1) // 2
        return limits.dtype.type(self.rng.choice([limits.min, limits.max, middle, self.number(limits.min, limits.max)]))

    def constant(self, name: str, values) -> None:
        """Adds a constant operand."""
        self.constants[name] = np.asarray(values)
        self.operands.append(name)

    def quantization(self, name: str, scale, zero) -> None:
        """Adds scale and zero point."""
        self.constant(f"{name}_scale", np.asarray(scale, np.float32))
        self.constant(f"{name}_zero", zero)

    def input(self, name: str, shape, quantized: bool = True) -> float:
        """Adds an activation and, if wanted, its quantization; returns the scale."""
        self.inputs[name] = self.elements(shape)
        self.operands.append(name)
        scale = self.scale()
        if quantized:
            self.quantization(name, scale, self.zero())
        return scale

    def output(self, scale: float) -> None:
        """Adds the output's quantization."""
        self.quantization("y", scale, self.zero())

    def weights(self, shape, channels: int) -> float:
        """Adds weights with scales per tensor or per channel; returns the largest scale."""
        dtype = np.int8 if self.dtype is np.int8 or self.chance(40) else np.uint8
        many = channels if self.chance(50) else 1
        scale = np.array([self.scale() / 8 for _ in range(many)], np.float32)
        zero = np.zeros(many, dtype) if dtype is np.int8 else np.full(many, self.zero(dtype))
        self.constant("w", self.elements(shape, dtype))
        per_channel = many > 1
        self.quantization("w", scale if per_channel else scale[0], zero if per_channel else zero[0])
        return float(scale.max())

    def map(self) -> tuple[int, int, int, int]:
        """A channels-first shape."""
        return (1 if self.chance(80) else 2, self.number(1, 20), self.number(1, 14), self.number(1, 14))


def conv(build: Build):
    """QLinearConv: groups, depthwise, strides, dilations, pads."""
    batch, _, rows, columns = build.map()
    groups = build.number(1, 8) if build.chance(40) else 1
    depth = 1 if groups > 1 and build.chance(60) else build.number(1, 8)
    outputs = groups * (1 if groups > 1 and build.chance(60) else build.number(1, 8))
    kernel = [min(build.number(1, 4), rows), min(build.number(1, 4), columns)]
    dilations = [1 if (k - 1) * 2 >= n or build.chance(70) else 2 for k, n in zip(kernel, (rows, columns), strict=True)]
    pads = [build.number(0, k - 1) for k in kernel] * 2
    strides = [build.number(1, 2), build.number(1, 2)]
    x = build.input("x", (batch, groups * depth, rows, columns))
    taps = depth * kernel[0] * kernel[1]
    w = build.weights((outputs, depth, *kernel), outputs)
    build.output(x * w * np.sqrt(taps) * 100)
    if build.chance(70):
        build.constant("b", build.rng.integers(-20_000, 20_000, outputs).astype(np.int32))
    return "QLinearConv", {"kernel_shape": kernel, "dilations": dilations, "pads": pads, "strides": strides, "group": groups}


def mat_mul(build: Build):
    """QLinearMatMul by a constant matrix."""
    depth, outputs = build.number(1, 60), build.number(1, 40)
    a = build.input("x", (*([build.number(1, 3)] if build.chance(30) else []), build.number(1, 20), depth))
    w = build.weights((depth, outputs), outputs)
    build.output(a * w * np.sqrt(depth) * 100)
    return "QLinearMatMul", {}


def gemm(build: Build):
    """QGemm by a constant matrix, alpha 1."""
    depth, outputs, transposed = build.number(1, 60), build.number(1, 40), build.number(0, 1)
    a = build.input("x", (build.number(1, 20), depth))
    w = build.weights((outputs, depth) if transposed else (depth, outputs), outputs)
    if build.chance(70):
        build.constant("b", build.rng.integers(-20_000, 20_000, outputs).astype(np.int32))
    else:
        build.operands.append("")
    build.output(a * w * np.sqrt(depth) * 100)
    return "QGemm", {"transB": transposed}


def shapes(build: Build):
    """Two shapes, one of which may be repeated along axes."""
    full = build.map()
    kind = build.number(0, 9)
    other = full if kind < 6 else (1, full[1], 1, 1) if kind < 8 else (1, 1, 1, 1)
    return (full, other) if build.chance(50) else (other, full)


def add(build: Build):
    """QLinearAdd."""
    a, b = shapes(build)
    scales = [build.input("a", a), build.input("b", b)]
    build.output(max(scales) * build.rng.uniform(0.5, 2))
    return "QLinearAdd", {}


def mul(build: Build):
    """QLinearMul."""
    a, b = shapes(build)
    scales = [build.input("a", a), build.input("b", b)]
    build.output(scales[0] * scales[1] * build.rng.uniform(20, 150))
    return "QLinearMul", {}


def average_pool(build: Build):
    """QLinearAveragePool: padding counted or not."""
    shape = build.map()
    kernel = [min(build.number(1, 4), n) for n in shape[2:]]
    pads = [build.number(0, k - 1) if build.chance(40) else 0 for k in kernel] * 2
    x = build.input("x", shape)
    build.output(x if build.chance(30) else x * build.rng.uniform(0.3, 1.2))
    strides = [build.number(1, 2), build.number(1, 2)]
    counted = build.number(0, 1)
    return "QLinearAveragePool", {"kernel_shape": kernel, "pads": pads, "strides": strides, "count_include_pad": counted}


def global_average_pool(build: Build):
    """QLinearGlobalAveragePool."""
    x = build.input("x", build.map())
    build.output(x * build.rng.uniform(0.1, 1.1))
    return "QLinearGlobalAveragePool", {"channels_last": 0}


def leaky_relu(build: Build):
    """QLinearLeakyRelu."""
    x = build.input("x", build.map())
    build.output(x * build.rng.uniform(0.4, 1.5))
    return "QLinearLeakyRelu", {"alpha": float(np.float32(build.rng.uniform(0, 1)))}


def sigmoid(build: Build):
    """QLinearSigmoid."""
    build.input("x", build.map())
    build.output(1 / 256 if build.chance(50) else build.scale() / 16)
    return "QLinearSigmoid", {}


def concat(build: Build):
    """QLinearConcat along any axis, with quantizations of the inputs' own or the output's."""
    shape, axis = list(build.map()), build.number(0, 3)
    scale, zero = build.scale(), build.zero()
    build.quantization("y", scale, zero)
    for index in range(build.number(2, 4)):
        own = [*shape[:axis], build.number(1, 6), *shape[axis + 1 :]]
        build.input(f"x{index}", own, quantized=False)
        same = build.chance(30)
        build.quantization(f"x{index}", scale if same else build.scale(), zero if same else build.zero())
    return "QLinearConcat", {"axis": axis}


OPERATORS = {
    "conv": conv,
    "mat_mul": mat_mul,
    "gemm": gemm,
    "add": add,
    "mul": mul,
    "average_pool": average_pool,
    "global_average_pool": global_average_pool,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "concat": concat,
}


def make(operator: str, seed: int, types: str) -> Case:
    """The case of a seed."""
    rng = np.random.default_rng([seed, zlib.crc32(operator.encode()), zlib.crc32(types.encode())])
    build = Build(rng, DTYPES[types])
    kind, attributes = OPERATORS[operator](build)
    domain = "" if kind in STANDARD else MICROSOFT
    node = helper.make_node(kind, build.operands, ["y"], name="operator", domain=domain, **attributes)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(build.dtype))
    inputs = [helper.make_tensor_value_info(name, element, x.shape) for name, x in build.inputs.items()]
    constants = [numpy_helper.from_array(values, name) for name, values in build.constants.items()]
    graph = helper.make_graph([node], kind, inputs, [helper.make_tensor_value_info("y", element, None)], constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    described = [f"{name}{list(x.shape)}" for name, x in build.inputs.items()]
    note = " ".join([kind, *described, *(f"{key}={value}" for key, value in attributes.items())])
    return Case(operator, model.SerializeToString(), build.inputs, note)
