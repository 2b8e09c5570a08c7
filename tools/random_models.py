"""Seeded random models of one operator each, with an input that reaches the edges.

`make(operator, seed, types)` always gives the same case. Types are those of the activations: `int8`, `int16x8` (int16
with int8 weights), `uint8` (with asymmetric uint8 weights). What varies: shapes (ones, odd, wide, deep, batches), strides,
dilations, padding, fused activation, scales, zero points (the ends of int8 among them), weight scales per tensor or
per channel, bias or none, multipliers above one. Accumulators stay inside 32 bits, where every int8 runtime agrees
on what they mean.
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_models import ModelBuilder, Quantization, shape_of

WEIGHT_LIMIT = 127
MAX_ELEMENTS = 40_000
MAX_MACS = 1_500_000
ACCUMULATOR_LIMIT = 2**30
WIDE_ACCUMULATOR_LIMIT = 2**44
SOFTMAX_SUM_LIMIT = 500  # tflite-micro aborts at 512

# Where tflite-micro is not the oracle: it pads with the integer 0, LiteRT with the zero point, which means real 0.
LITERT_KNOWS_BETTER = frozenset({"space_to_batch"})

ACTIVATIONS = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
    "relu_n1_to_1": schema.ActivationFunctionType.RELU_N1_TO_1,
}


@dataclass(frozen=True)
class Case:
    """One model, its inputs in order, and a line that says what it is."""

    operator: str
    seed: int
    model: bytes
    inputs: list[np.ndarray]
    note: str


@dataclass(frozen=True)
class Types:
    """Element types of a model: of its activations and of its weights."""

    name: str
    dtype: type
    least: int
    greatest: int
    weights: type

    @property
    def is_wide(self) -> bool:
        """Whether activations have 16 bits, which makes them symmetric and accumulators 64 bits wide."""
        return self.dtype is np.int16


TYPES = {
    types.name: types
    for types in (
        Types("int8", np.int8, -128, 127, np.int8),
        Types("int16x8", np.int16, -32768, 32767, np.int8),
        Types("uint8", np.uint8, 0, 255, np.uint8),
    )
}


class Dice:
    """The random choices the operators share; every draw comes from one generator."""

    def __init__(self, operator: str, seed: int, types: Types):
        entropy = [seed, zlib.crc32(operator.encode())]
        self.rng = np.random.default_rng(entropy if types.name == "int8" else [*entropy, zlib.crc32(types.name.encode())])
        self.types = types
        self.dtype, self.least, self.greatest = types.dtype, types.least, types.greatest

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, *values):
        """One of the values."""
        return values[self.between(0, len(values) - 1)]

    def size(self, limit: int) -> int:
        """A dimension: one, a small number, a power of two, or anything up to the limit."""
        if self.chance(0.1):
            return 1
        return min(limit, self.one_of(self.between(2, 8), 2 ** self.between(1, 6), self.between(1, limit)))

    def scale(self) -> float:
        """A float32 scale: log-uniform, now and then a power of two."""
        if self.chance(0.15):
            return float(2.0 ** self.between(-10, 1))
        return float(np.float32(10.0 ** self.rng.uniform(-3.5, 0.5)))

    def zero_point(self) -> int:
        """A zero point; its ends and zero are likelier than the rest. 16 bit is symmetric."""
        if self.types.is_wide:
            return 0
        if self.chance(0.25):
            return self.one_of(self.least, self.least, 0, self.greatest)
        return self.between(self.least, self.greatest)

    def quantization(self) -> Quantization:
        """A per-tensor quantization."""
        return Quantization.per_tensor(self.scale(), self.zero_point())

    def image(self, channels: int, side: int = 24) -> tuple[int, ...]:
        """A `[batch, height, width, channels]` shape of bounded size, now and then very wide or tall."""
        batch = self.one_of(1, 1, 1, 2, 3)
        height, width = self.size(side), self.size(side)
        if self.chance(0.08):
            height, width = self.one_of((1, 300), (300, 1), (2, 150))
        shape = (batch, height, width, channels)
        return shape if math.prod(shape) <= MAX_ELEMENTS else (1, min(height, 12), min(width, 12), channels)

    def values(self, shape, zero_point: int = 0) -> np.ndarray:
        """Values of the activations' type: uniform, only edges, near the zero point, one throughout, or a mixture."""
        return self._values(shape, zero_point, self.least, self.greatest).astype(self.dtype)

    def weights(self, shape) -> np.ndarray:
        """Signed 8-bit values in the same variety."""
        return self._values(shape, 0, -128, 127)

    def _values(self, shape, zero_point: int, least: int, greatest: int) -> np.ndarray:
        kind = self.rng.choice(["uniform", "mixed", "edges", "near", "flat"], p=[0.45, 0.3, 0.1, 0.1, 0.05])
        uniform = self.rng.integers(least, greatest + 1, shape)
        middle = [-1, 0, 1] if least < 0 else [127, 128, 129]
        edges = self.rng.choice([least, least + 1, *middle, greatest - 1, greatest], shape)
        if kind == "mixed":
            drawn = np.where(self.rng.random(shape) < 0.5, uniform, edges)
        elif kind == "near":
            drawn = np.clip(zero_point + self.rng.integers(-3, 4, shape), least, greatest)
        elif kind == "flat":
            drawn = np.full(shape, self.one_of(least, greatest, zero_point, 0))
        else:
            drawn = edges if kind == "edges" else uniform
        return drawn

    def activation(self) -> str:
        """A fused activation."""
        return self.one_of("none", "none", "none", "relu", "relu", "relu6", "relu6", "relu_n1_to_1")


# No oracle converts between these.
MIXED = {"int16x8", "uint8"}


def make(operator: str, seed: int, types: str = "int8") -> Case:
    """The case of this operator, seed and types."""
    dice = Dice(operator, seed, TYPES[types])
    builder = ModelBuilder(f"{operator} {seed}")
    inputs, outputs, arrays, note = OPERATORS[operator](dice, builder)
    return Case(operator, seed, builder.finish(inputs, outputs), arrays, note)


# Layers with weights


@dataclass(frozen=True)
class Weights:
    """Weights, bias and scales drawn so that outputs spread over int8 and accumulators stay in bounds."""

    values: np.ndarray
    scales: Quantization
    bias: np.ndarray | None
    bias_scales: Quantization
    output: Quantization
    quiet: bool
    """The input is to hold its zero point throughout, so that every accumulator equals its bias."""


def _weights(dice: Dice, shape, depth: int, axis: int, source: Quantization) -> Weights:
    """Draws weights of `shape`, whose output channels run along `axis` and whose sums have `depth` products."""
    channels = shape[axis]
    steep = dice.chance(0.15)  # few small sums and a multiplier above one
    sparse = dice.rng.integers(-1, 2, shape) * (dice.rng.random(shape) < 8 / depth)
    values = sparse if steep else dice.weights(shape).clip(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    output = Quantization.per_tensor(10.0 ** dice.rng.uniform(-3, -0.3), dice.zero_point())
    gain = 1 / dice.rng.uniform(1, 8) if steep else math.sqrt(depth) * 100 * 2.0 ** dice.rng.uniform(-2, 3)
    base = output.scale / (source.scale * gain)
    spread = np.exp2(dice.rng.uniform(-4, 4, channels)) if dice.chance(0.7) else None
    zero = 0
    if dice.dtype is np.uint8:  # one scale and zero point for all channels
        values, spread = values - values.min(), None
        zero = dice.between(0, 255)
        values = (values + dice.between(0, 255 - int(values.max()))).clip(0, 255)
    scales = Quantization.per_tensor(base, zero) if spread is None else Quantization.per_channel(base * spread, axis)
    limit = _bias_limit(dice, depth, source, scales, output)
    bias_scales = Quantization(
        tuple(float(np.float32(source.scale) * np.float32(s)) for s in scales.scales), (0,) * len(scales.scales), 0
    )
    quiet = dice.chance(0.15)
    if quiet:
        bias = _half_way_bias(dice, channels, limit, scales, source, output)
    else:
        bias = _bias(dice, channels, limit, depth)
    if bias is None and dice.dtype is np.uint8:  # the oracle has no uint8 convolution without
        bias = np.zeros(channels, np.int32)
    return Weights(np.asarray(values, dice.types.weights), scales, bias, bias_scales, output, quiet)


def _bias_limit(dice: Dice, depth: int, source: Quantization, scales: Quantization, output: Quantization) -> int:
    """Largest bias whose accumulator, shifted left by its multiplier's exponent, still fits."""
    steepest = source.scale * max(scales.scales) / output.scale
    limit = WIDE_ACCUMULATOR_LIMIT if dice.types.is_wide else ACCUMULATOR_LIMIT
    product = 255 * 255 if dice.dtype is np.uint8 else WEIGHT_LIMIT * max(255, dice.greatest)
    return max(0, (limit >> max(0, math.frexp(steepest)[1])) - depth * product)


def _bias(dice: Dice, channels: int, limit: int, depth: int) -> np.ndarray | None:
    kind = dice.rng.choice(["none", "zero", "typical", "huge"], p=[0.2, 0.1, 0.63, 0.07])
    if kind == "none":
        return None
    typical = int(5000 * math.sqrt(depth)) << (8 if dice.types.is_wide else 0)
    reach = {"zero": 0, "typical": min(limit, typical), "huge": limit}[kind]
    return dice.rng.integers(-reach, reach + 1, channels).astype(_bias_type(dice))


def _bias_type(dice: Dice):
    return np.int64 if dice.types.is_wide else np.int32


def _half_way_bias(dice: Dice, channels: int, limit: int, scales, source, output) -> np.ndarray:
    """Accumulators next to where the output steps from one integer to the next: there rounding shows."""
    factors = source.scale * np.float64(np.broadcast_to(scales.scales, channels)) / output.scale
    targets = dice.rng.integers(dice.least, dice.greatest + 1, channels) - output.zero_point + 0.5
    near = np.rint(targets / factors) + dice.rng.integers(-1, 2, channels)
    return np.clip(near, -limit, limit).astype(_bias_type(dice))


def _add_weighted(dice: Dice, builder: ModelBuilder, name: str, source: int, out_shape, weights: Weights, options):
    operands = [source, builder.constant("weights", weights.values, weights.scales)]
    if weights.bias is not None:
        operands.append(builder.constant("bias", weights.bias, weights.bias_scales))
    elif name == "FULLY_CONNECTED":
        operands.append(-1)  # "none" as converters write it here; for the other layers the oracles want it left out
    target = builder.tensor("output", out_shape, dice.dtype, weights.output)
    builder.operator(name, operands, [target], options)
    return target


@dataclass(frozen=True)
class Window:
    """Kernel, stride, dilation and padding of a layer that slides over an image."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    same: bool

    def output_size(self, image) -> tuple[int, int]:
        """Rows and columns of the output for a `[n, h, w, c]` input."""
        pairs = zip(image[1:3], self.extent(), self.stride, strict=True)
        return tuple(-(-size // step) if self.same else (size - extent) // step + 1 for size, extent, step in pairs)

    def extent(self) -> tuple[int, int]:
        """Rows and columns that one window spans."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def padding(self) -> int:
        """The schema's padding code."""
        return schema.Padding.SAME if self.same else schema.Padding.VALID


def _window(dice: Dice, image, dilated: bool) -> Window:
    kernel = (dice.one_of(1, 3, 3, dice.between(1, 7)), dice.one_of(1, 3, 3, dice.between(1, 7)))
    stride = (dice.between(1, 3), dice.between(1, 3))
    dilation = (dice.between(1, 4), dice.between(1, 4)) if dilated and dice.chance(0.25) else (1, 1)
    window = Window(kernel, stride, dilation, dice.chance(0.5))
    fits = all(extent <= size for extent, size in zip(window.extent(), image[1:3], strict=True))
    return window if fits or window.same else Window(kernel, stride, dilation, True)


def _conv2d(dice: Dice, builder: ModelBuilder, groups: int = 1):
    depth = dice.one_of(dice.size(96), dice.size(16)) if groups == 1 else dice.size(8)
    image = dice.image(depth * groups, side=20)
    window = _window(dice, image, dilated=True)
    rows, columns = window.output_size(image)
    products = math.prod(window.kernel) * depth
    affordable = max(1, MAX_MACS // (image[0] * rows * columns * products))
    channels = groups * min(dice.one_of(dice.size(96), dice.size(24)), affordable)
    source = dice.quantization()
    weights = _weights(dice, (channels, *window.kernel, depth), products, 0, source)
    options = schema.Conv2DOptionsT()
    return _slide(dice, builder, "CONV_2D", image, window, weights, source, options)


def _grouped_conv2d(dice: Dice, builder: ModelBuilder):
    return _conv2d(dice, builder, groups=dice.between(2, 4))


def _depthwise_conv2d(dice: Dice, builder: ModelBuilder):
    multiplier = dice.one_of(1, 1, 1, 2, 3, dice.between(1, 8))
    image = dice.image(dice.size(64), side=20)
    window = _window(dice, image, dilated=True)
    source = dice.quantization()
    channels = image[3] * multiplier
    weights = _weights(dice, (1, *window.kernel, channels), math.prod(window.kernel), 3, source)
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier = multiplier
    return _slide(dice, builder, "DEPTHWISE_CONV_2D", image, window, weights, source, options)


def _slide(dice: Dice, builder: ModelBuilder, name: str, image, window: Window, weights: Weights, source, options):
    activation = dice.activation()
    options.padding = window.padding()
    options.strideH, options.strideW = window.stride
    options.dilationHFactor, options.dilationWFactor = window.dilation
    options.fusedActivationFunction = ACTIVATIONS[activation]
    entry = builder.tensor("input", image, dice.dtype, source)
    out_shape = (image[0], *window.output_size(image), weights.values.shape[weights.scales.axis or 0])
    if name == "DEPTHWISE_CONV_2D":
        out_shape = (*out_shape[:3], weights.values.shape[3])
    target = _add_weighted(dice, builder, name, entry, out_shape, weights, options)
    note = f"{image} -> {out_shape} {window} {activation} {len(weights.scales.scales)} weight scales"
    return [entry], [target], [_layer_input(dice, image, source, weights)], note


def _layer_input(dice: Dice, shape, source: Quantization, weights: Weights) -> np.ndarray:
    quiet = np.full(shape, source.zero_point, dice.dtype)
    return quiet if weights.quiet else dice.values(shape, source.zero_point)


def _fully_connected(dice: Dice, builder: ModelBuilder):
    depth, channels = dice.one_of(dice.size(64), dice.size(1500)), dice.one_of(dice.size(64), dice.between(20, 300))
    batch = dice.one_of((1,), (1,), (dice.between(1, 5),), (1, 1, 1), (2, 2))
    source = dice.quantization()
    weights = _weights(dice, (channels, depth), depth, 0, source)
    activation = dice.activation()
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = ACTIVATIONS[activation]
    options.keepNumDims = len(batch) > 1
    shape = (*batch, depth)
    entry = builder.tensor("input", shape, dice.dtype, source)
    target = _add_weighted(dice, builder, "FULLY_CONNECTED", entry, (*batch, channels), weights, options)
    note = f"{shape} -> {channels} {activation} {len(weights.scales.scales)} weight scales"
    return [entry], [target], [_layer_input(dice, shape, source, weights)], note


# Pooling and reduction


def _pool(name: str):
    def build(dice: Dice, builder: ModelBuilder):
        image = dice.image(dice.size(64))
        window = _window(dice, image, dilated=False)
        if dice.chance(0.15):  # global
            window = Window(image[1:3], (1, 1), (1, 1), False)
        both = dice.quantization()
        activation = dice.activation()
        options = schema.Pool2DOptionsT()
        options.padding = window.padding()
        options.filterHeight, options.filterWidth = window.kernel
        options.strideH, options.strideW = window.stride
        options.fusedActivationFunction = ACTIVATIONS[activation]
        out_shape = (image[0], *window.output_size(image), image[3])
        note = f"{image} -> {out_shape} {window} {activation}"
        return _unary(dice, builder, name, image, both, out_shape, both, options, note)

    return build


def _unary(dice, builder, name, shape, source, out_shape, result, options, note, constants=()):
    """One computed input, one output, constants after the input."""
    entry = builder.tensor("input", shape, dice.dtype, source)
    target = builder.tensor("output", out_shape, dice.dtype, result)
    operands = [entry] + [builder.constant(label, values) for label, values in constants]
    builder.operator(name, operands, [target], options)
    return [entry], [target], [dice.values(shape, source.zero_point)], note


def _sum_over(dice: Dice, builder: ModelBuilder):
    return _mean(dice, builder, "SUM")


def _extremum_over(name: str):
    def build(dice: Dice, builder: ModelBuilder):
        return _mean(dice, builder, name, same=True)

    return build


def _mean(dice: Dice, builder: ModelBuilder, name: str = "MEAN", same: bool = False):
    shape = dice.image(dice.size(64)) if dice.chance(0.8) else tuple(dice.size(12) for _ in range(dice.between(1, 3)))
    axes = _axes(dice, len(shape))
    keep = dice.chance(0.5)
    source = dice.quantization()
    result = source if dice.chance(0.3) else dice.quantization()
    if same:
        result = source
    elif dice.chance(0.5):  # near scales, so that few outputs saturate
        result = Quantization.per_tensor(source.scale * 2.0 ** dice.rng.uniform(-1.5, 1.5), result.zero_point)
    reduced = {axis % len(shape) for axis in axes}
    out_shape = [1 if i in reduced else n for i, n in enumerate(shape) if keep or i not in reduced]
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    note = f"{shape} axes {axes} keep {keep} scales {source.scale} {result.scale}"
    constants = [("axes", np.array(axes, np.int32))]
    return _unary(dice, builder, name, shape, source, out_shape, result, options, note, constants)


def _axes(dice: Dice, rank: int) -> list[int]:
    if rank == 4 and dice.chance(0.6):
        return dice.one_of([1, 2], [2, 1], [1, 2])
    count = dice.between(1, max(1, rank - 1))
    axes = [int(axis) for axis in dice.rng.permutation(rank)[:count]]
    return [axis - rank for axis in axes] if dice.chance(0.2) else axes


# Data movement


def _pad(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(32)) if dice.chance(0.8) else tuple(dice.size(16) for _ in range(dice.between(1, 3)))
    amounts = np.array([[dice.one_of(0, dice.between(0, 4)) for _ in range(2)] for _ in shape], np.int32)
    if len(shape) == 4 and dice.chance(0.6):
        amounts[[0, 3]] = 0
    both = dice.quantization()
    out_shape = [int(n + before + after) for n, (before, after) in zip(shape, amounts, strict=True)]
    note = f"{shape} amounts {amounts.tolist()}"
    if dice.chance(0.7):
        constants = [("amounts", amounts)]
        return _unary(dice, builder, "PAD", shape, both, out_shape, both, schema.PadOptionsT(), note, constants)
    entry = builder.tensor("input", shape, dice.dtype, both)
    target = builder.tensor("output", out_shape, dice.dtype, both)
    fill = builder.constant("fill", np.array([dice.between(dice.least, dice.greatest)], dice.dtype), both)
    operands = [entry, builder.constant("amounts", amounts), fill]
    builder.operator("PADV2", operands, [target], schema.PadV2OptionsT())
    return [entry], [target], [dice.values(shape, both.zero_point)], f"{note} with a fill value"


def _reshape(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(32))
    factors = [int(n) for n in dice.rng.permutation(shape)]
    cut = dice.between(0, 3)
    out_shape = [math.prod(factors[: cut + 1]), *factors[cut + 1 :]]
    options = schema.ReshapeOptionsT()
    options.newShape = out_shape
    both = dice.quantization()
    constants = [("shape", np.array(out_shape, np.int32))]
    note = f"{shape} -> {out_shape}"
    return _unary(dice, builder, "RESHAPE", shape, both, out_shape, both, options, note, constants)


def _transpose(dice: Dice, builder: ModelBuilder):
    shape = tuple(dice.size(24) for _ in range(dice.one_of(2, 3, 4, 4)))
    order = [int(axis) for axis in dice.rng.permutation(len(shape))]
    both = dice.quantization()
    constants = [("order", np.array(order, np.int32))]
    out_shape = [shape[axis] for axis in order]
    note = f"{shape} order {order}"
    options = schema.TransposeOptionsT()
    return _unary(dice, builder, "TRANSPOSE", shape, both, out_shape, both, options, note, constants)


def _concatenation(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(24))[dice.one_of(0, 0, 0, 1, 2) :]
    axis = dice.between(0, len(shape) - 1)
    shapes = [(*shape[:axis], dice.size(12), *shape[axis + 1 :]) for _ in range(dice.between(1, 5))]
    out_shape = [*shape[:axis], sum(s[axis] for s in shapes), *shape[axis + 1 :]]
    options = schema.ConcatenationOptionsT()
    options.axis = axis - len(shape) if dice.chance(0.3) else axis
    return _joined(dice, builder, "CONCATENATION", shapes, out_shape, options)


def _pack(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(24), side=12)[dice.between(1, 3) :]
    count, axis = dice.between(1, 5), dice.between(0, len(shape))
    options = schema.PackOptionsT()
    options.valuesCount, options.axis = count, axis - len(shape) - 1 if dice.chance(0.3) else axis
    return _joined(dice, builder, "PACK", [shape] * count, [*shape[:axis], count, *shape[axis:]], options)


def _joined(dice: Dice, builder: ModelBuilder, name: str, shapes, out_shape, options):
    """Several inputs, some of them constants, of one quantization."""
    both = dice.quantization()
    operands, entries, arrays = [], [], []
    for number, shape in enumerate(shapes):
        values = dice.values(shape, both.zero_point)
        if number and dice.chance(0.2):
            operands.append(builder.constant(f"fixed{number}", values, both))
            continue
        entry = builder.tensor(f"input{number}", shape, dice.dtype, both)
        operands.append(entry)
        entries.append(entry)
        arrays.append(values)
    target = builder.tensor("output", out_shape, dice.dtype, both)
    builder.operator(name, operands, [target], options)
    return entries, [target], arrays, f"{shapes} -> {out_shape}"


def _parts(dice: Dice, builder: ModelBuilder, name: str, shape, out_shapes, operands, options):
    """One input between constants, several outputs; `None` among the operands stands for the input."""
    both = dice.quantization()
    entry = builder.tensor("input", shape, dice.dtype, both)
    targets = [builder.tensor(f"output{number}", part, dice.dtype, both) for number, part in enumerate(out_shapes)]
    inputs = [entry if value is None else builder.constant(f"fixed{at}", value) for at, value in enumerate(operands)]
    builder.operator(name, inputs, targets, options)
    return [entry], targets, [dice.values(shape, both.zero_point)], f"{shape} -> {out_shapes}"


def _split(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(24), side=12)
    axis, count = dice.between(0, 3), dice.between(1, 4)
    part = (*shape[:axis], dice.size(6), *shape[axis + 1 :])
    whole = (*shape[:axis], part[axis] * count, *shape[axis + 1 :])
    options = schema.SplitOptionsT()
    options.numSplits = count
    return _parts(dice, builder, "SPLIT", whole, [part] * count, [np.array(axis, np.int32), None], options)


def _split_v(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(24), side=12)
    axis = dice.between(0, 3)
    sizes = [dice.size(6) for _ in range(dice.between(1, 4))]
    whole = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    options = schema.SplitVOptionsT()
    options.numSplits = len(sizes)
    constants = [None, np.array(sizes, np.int32), np.array(axis, np.int32)]
    return _parts(dice, builder, "SPLIT_V", whole, parts, constants, options)


def _unpack(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(24), side=10)
    axis = dice.between(0, 3)
    shape = (*shape[:axis], dice.between(1, 5), *shape[axis + 1 :])
    options = schema.UnpackOptionsT()
    options.num, options.axis = shape[axis], axis - 4 if dice.chance(0.3) else axis
    part = (*shape[:axis], *shape[axis + 1 :])
    return _parts(dice, builder, "UNPACK", shape, [part] * shape[axis], [None], options)


def _slice(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(32))
    begin = [dice.between(0, n - 1) for n in shape]
    count = [dice.between(1, n - b) for n, b in zip(shape, begin, strict=True)]
    size = [-1 if b + c == n and dice.chance(0.5) else c for n, b, c in zip(shape, begin, count, strict=True)]
    constants = [None, np.array(begin, np.int32), np.array(size, np.int32)]
    return _parts(dice, builder, "SLICE", shape, [count], constants, schema.SliceOptionsT())


def _strided_slice(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(32))
    options = schema.StridedSliceOptionsT()
    options.ellipsisMask = options.newAxisMask = 0
    options.beginMask, options.endMask = dice.between(0, 15), dice.between(0, 15)
    options.shrinkAxisMask = dice.one_of(0, 0, dice.between(0, 7))
    rows = [_bounds(dice, n, bool(options.shrinkAxisMask >> axis & 1)) for axis, n in enumerate(shape)]
    if dice.chance(0.3):
        rows = _with_special_axes(dice, options, rows)
    index = strided_index(options, rows)
    out_shape = np.empty(shape, np.bool_)[index].shape
    constants = [None, *(np.array(column, np.int32) for column in zip(*rows, strict=True))]
    entries, targets, arrays, note = _parts(dice, builder, "STRIDED_SLICE", shape, [out_shape], constants, options)
    masks = (options.beginMask, options.endMask, options.ellipsisMask, options.newAxisMask, options.shrinkAxisMask)
    return entries, targets, arrays, f"{note} {rows} masks {masks}"


def strided_index(options, rows) -> tuple:
    """What a strided slice with these begins, ends and strides is in numpy's words."""
    index = []
    for entry, (begin, end, stride) in enumerate(rows):
        if options.ellipsisMask >> entry & 1:
            index.append(Ellipsis)
        elif options.newAxisMask >> entry & 1:
            index.append(np.newaxis)
        elif options.shrinkAxisMask >> entry & 1:
            index.append(0 if options.beginMask >> entry & 1 else begin)
        else:
            first = None if options.beginMask >> entry & 1 else begin
            last = None if options.endMask >> entry & 1 else end
            index.append(slice(first, last, stride))
    return tuple(index)


def _bounds(dice: Dice, size: int, shrink: bool) -> tuple[int, int, int]:
    """A begin, an end behind it, and a stride; now and then backwards, or counted from the end."""
    begin = dice.between(0, size - 1)
    end = begin + 1 if shrink else dice.between(begin + 1, size)
    stride = 1 if shrink else dice.one_of(1, 1, dice.between(1, 4))
    if not shrink and dice.chance(0.2):
        return end - 1, begin - 1 - size, -stride  # an end of -1 would be the last index
    return begin - size if dice.chance(0.2) else begin, end - size if end < size and dice.chance(0.2) else end, stride


def _with_special_axes(dice: Dice, options, rows):
    """The same with an ellipsis for some entries, or an entry for a new axis. Masks of axes that move are cleared."""
    at = dice.between(0, len(rows) - 1)
    options.beginMask = options.endMask = options.shrinkAxisMask = 0
    if dice.chance(0.5):
        options.ellipsisMask = 1 << at
        count = dice.between(1, len(rows) - at)
        return [*rows[:at], (0, 0, 1), *rows[at + count :]]
    options.newAxisMask = 1 << at
    return [*rows[:at], (0, 1, 1), *rows[at:]]


def _gather(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(24), side=12)
    axis = dice.between(0, 3)
    count = dice.one_of((dice.between(1, 9),), (dice.between(1, 9),), (2, 3))
    indices = dice.rng.integers(0, shape[axis], count).astype(np.int32)
    if dice.chance(0.3):
        indices = np.sort(indices)
    options = schema.GatherOptionsT()
    options.axis, options.batchDims = axis, 0
    return _parts(
        dice, builder, "GATHER", shape, [[*shape[:axis], *count, *shape[axis + 1 :]]], [None, indices], options
    )


def _depth_to_space(dice: Dice, builder: ModelBuilder):
    n, h, w, c = dice.image(dice.size(12), side=12)
    block = dice.between(1, 4)
    options = schema.DepthToSpaceOptionsT()
    options.blockSize = block
    whole = [(n, h, w, c * block * block), [(n, h * block, w * block, c)]]
    return _parts(dice, builder, "DEPTH_TO_SPACE", *whole, [None], options)


def _space_to_depth(dice: Dice, builder: ModelBuilder):
    n, h, w, c = dice.image(dice.size(12), side=8)
    block = dice.between(1, 4)
    options = schema.SpaceToDepthOptionsT()
    options.blockSize = block
    whole = [(n, h * block, w * block, c), [(n, h, w, c * block * block)]]
    return _parts(dice, builder, "SPACE_TO_DEPTH", *whole, [None], options)


def _space_to_batch(dice: Dice, builder: ModelBuilder):
    batches, shape, block, around = _batch_blocks(dice)
    constants = [None, block, around]
    return _parts(dice, builder, "SPACE_TO_BATCH_ND", shape, [batches], constants, schema.SpaceToBatchNDOptionsT())


def _batch_to_space(dice: Dice, builder: ModelBuilder):
    batches, shape, block, around = _batch_blocks(dice)
    constants = [None, block, around]
    return _parts(dice, builder, "BATCH_TO_SPACE_ND", batches, [shape], constants, schema.BatchToSpaceNDOptionsT())


def _batch_blocks(dice: Dice):
    """Shapes with the blocks in the batch and in place, the blocks, and what surrounds the positions."""
    n, h, w, c = dice.image(dice.size(16), side=10)
    block = (dice.between(1, 3), dice.between(1, 3))
    whole = (h * block[0], w * block[1])
    around = [[dice.between(0, min(2, (size - 1) // 2)) for _ in range(2)] for size in whole]
    inner = [size - sum(pair) for size, pair in zip(whole, around, strict=True)]
    batches = (n * block[0] * block[1], h, w, c)
    return batches, (n, *inner, c), np.array(block, np.int32), np.array(around, np.int32)


# Transposed convolution, resizes, indices


def _transpose_conv(dice: Dice, builder: ModelBuilder):
    image = dice.image(dice.size(24), side=10)
    kernel = (dice.between(1, 5), dice.between(1, 5))
    stride = (dice.between(1, 4), dice.between(1, 4))
    same = dice.chance(0.5)
    # Mostly the sizes whose convolution gives the image; with "valid", perhaps rows and columns beyond.
    beyond = [dice.between(0, 2) if dice.chance(0.2) else 0 for _ in range(2)]
    sizes = zip(image[1:3], kernel, stride, beyond, strict=True)
    rows, columns = (n * s if same else (n - 1) * s + k + b for n, k, s, b in sizes)
    products = math.prod(kernel) * image[3]
    affordable = max(1, MAX_MACS // (math.prod(image[:3]) * products))
    channels = min(dice.size(32), affordable)
    source = dice.quantization()
    weights = _weights(dice, (channels, *kernel, image[3]), products, 0, source)
    out_shape = (image[0], rows, columns, channels)
    options = schema.TransposeConvOptionsT()
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH, options.strideW = stride
    shape = builder.constant("shape", np.array(out_shape, np.int32))
    entry = builder.tensor("input", image, dice.dtype, source)
    operands = [shape, builder.constant("weights", weights.values, weights.scales), entry]
    if weights.bias is not None:
        operands.append(builder.constant("bias", weights.bias, weights.bias_scales))
    target = builder.tensor("output", out_shape, dice.dtype, weights.output)
    builder.operator("TRANSPOSE_CONV", operands, [target], options)
    note = f"{image} -> {out_shape} kernel {kernel} stride {stride} same {same}"
    return [entry], [target], [_layer_input(dice, image, source, weights)], note


def _resize(name: str, options_type):
    def build(dice: Dice, builder: ModelBuilder):
        image = dice.image(dice.size(24), side=12)
        scales = [dice.one_of(1, 2, 2, 3, 4, 5, 8) for _ in range(2)]
        whole = dice.chance(0.6)
        out = [n * s if whole else dice.between(1, 40) for n, s in zip(image[1:3], scales, strict=True)]
        options = options_type()
        options.alignCorners = dice.chance(0.3)
        options.halfPixelCenters = not options.alignCorners and dice.chance(0.5)
        if name == "RESIZE_BILINEAR":  # the targets' limit
            limits = [5 * (n - 1) + 1 if options.alignCorners else 5 * n for n in image[1:3]]
            out = [min(pair) for pair in zip(limits, out, strict=True)]
            out = [_within(n, size, options) for n, size in zip(image[1:3], out, strict=True)]
        out_shape = (image[0], *out, image[3])
        note = f"{image} -> {out_shape} corners {options.alignCorners} half pixel {options.halfPixelCenters}"
        constants = [("size", np.array(out, np.int32))]
        source = dice.quantization()
        return _unary(dice, builder, name, image, source, out_shape, source, options, note, constants)

    return build


def _within(source: int, size: int, options) -> int:
    """The largest output up to `size` for which the oracle, whose steps are rounded to 1/1024, reads inside its input."""

    def last(size: int) -> int:
        corners = int(options.alignCorners and size > 1)
        step = (1024 * (source - corners) + (size - corners) // 2) // (size - corners)
        return ((size - 1) * step + (step // 2 - 512 if options.halfPixelCenters else 0)) >> 10

    return next(n for n in range(size, 0, -1) if last(n) < source)


def _index_of(name: str, options_type):
    def build(dice: Dice, builder: ModelBuilder):
        # Beyond the targets' limit of 32 the host searches.
        shape = dice.image(dice.one_of(dice.size(32), dice.size(32), dice.between(33, 200)), side=10)
        axis = dice.one_of(3, 3, 3, -1, 0, 1, 2)
        out_shape = tuple(np.delete(shape, axis).tolist())
        options = options_type()
        kind = dice.one_of(np.int32, np.int32, np.int64)
        options.outputType = schema.TensorType.INT64 if kind is np.int64 else schema.TensorType.INT32
        source = dice.quantization()
        entry = builder.tensor("input", shape, dice.dtype, source)
        target = builder.tensor("output", out_shape, kind, None)
        axes = builder.constant("axis", np.array(axis, np.int32))
        builder.operator(name, [entry, axes], [target], options)
        values = dice.values(shape, source.zero_point)
        if dice.chance(0.5):  # ties
            values = (values // 64).astype(dice.dtype)
        return [entry], [target], [values], f"{shape} along {axis}"

    return build


def _mirror_pad(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(12), side=10)
    options = schema.MirrorPadOptionsT()
    options.mode = dice.one_of(schema.MirrorPadMode.REFLECT, schema.MirrorPadMode.SYMMETRIC)
    most = [size - (options.mode == schema.MirrorPadMode.REFLECT) for size in shape]
    pads = [[dice.between(0, min(limit, 3)) for _ in range(2)] for limit in most]
    out_shape = tuple(size + sum(pair) for size, pair in zip(shape, pads, strict=True))
    source = dice.quantization()
    note = f"{shape} by {pads} mode {options.mode}"
    constants = [("paddings", np.array(pads, np.int32))]
    return _unary(dice, builder, "MIRROR_PAD", shape, source, out_shape, source, options, note, constants)


def _tile(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(8), side=6)
    times = [dice.one_of(1, 1, dice.between(1, 3)) for _ in shape]
    out_shape = tuple(size * n for size, n in zip(shape, times, strict=True))
    source = dice.quantization()
    constants = [("multiples", np.array(times, np.int32))]
    options = schema.TileOptionsT()
    return _unary(dice, builder, "TILE", shape, source, out_shape, source, options, f"{shape} {times}", constants)


def _broadcast_to(dice: Dice, builder: ModelBuilder):
    out_shape = dice.image(dice.size(12), side=8)
    shape = tuple(1 if dice.chance(0.4) else size for size in out_shape)
    source = dice.quantization()
    constants = [("shape", np.array(out_shape, np.int32))]
    options = schema.BroadcastToOptionsT()
    note = f"{shape} -> {out_shape}"
    return _unary(dice, builder, "BROADCAST_TO", shape, source, out_shape, source, options, note, constants)


def _reverse(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(12), side=10)
    axis = dice.between(0, 3)
    source = dice.quantization()
    constants = [("axis", np.array([axis], np.int32))]
    options = schema.ReverseV2OptionsT()
    return _unary(dice, builder, "REVERSE_V2", shape, source, shape, source, options, f"{shape} axis {axis}", constants)


# Element by element


def _sum(name: str, options_type):
    def build(dice: Dice, builder: ModelBuilder):
        first, second = dice.quantization(), dice.quantization()
        if dice.chance(0.6):  # near scales, as trained networks have them
            second = Quantization.per_tensor(first.scale * 2.0 ** dice.rng.uniform(-3, 3), second.zero_point)
        reach = max(first.scale, second.scale) * 2.0 ** dice.rng.uniform(-3, 3)
        result = Quantization.per_tensor(reach, dice.zero_point())
        return _binary(dice, builder, name, first, second, result, options_type())

    return build


def _mul(dice: Dice, builder: ModelBuilder):
    first, second = dice.quantization(), dice.quantization()
    reach = first.scale * second.scale * 127 * 2.0 ** dice.rng.uniform(-6, 3)
    result = Quantization.per_tensor(reach, dice.zero_point())
    return _binary(dice, builder, "MUL", first, second, result, schema.MulOptionsT())


def _extremum(name: str):
    def build(dice: Dice, builder: ModelBuilder):
        one = dice.quantization()
        return _binary(dice, builder, name, one, one, one, schema.MaximumMinimumOptionsT())

    return build


def _binary(dice: Dice, builder: ModelBuilder, name: str, first, second, result, options):
    """A function of two tensors that broadcast, the second now and then a constant."""
    left, right = _broadcastable(dice)
    activation = dice.activation()
    if hasattr(options, "fusedActivationFunction"):
        options.fusedActivationFunction = ACTIVATIONS[activation]
    a = builder.tensor("left", left, dice.dtype, first)
    left_values, right_values = dice.values(left, first.zero_point), dice.values(right, second.zero_point)
    fixed = dice.chance(0.3)
    b = builder.constant("right", right_values, second) if fixed else builder.tensor("right", right, dice.dtype, second)
    target = builder.tensor("output", np.broadcast_shapes(left, right), dice.dtype, result)
    builder.operator(name, [a, b], [target], options)
    entries, arrays = ([a], [left_values]) if fixed else ([a, b], [left_values, right_values])
    note = f"{left} {name} {right} {activation} scales {first.scale} {second.scale} {result.scale}"
    return entries, [target], arrays, note


def _broadcastable(dice: Dice):
    shape = dice.image(dice.size(48))
    if dice.chance(0.5):
        return shape, shape
    other = tuple(1 if dice.chance(0.5) else n for n in shape)
    if dice.chance(0.3):
        other = other[dice.between(1, 3) :]
    return (shape, other) if dice.chance(0.7) else (other, shape)


def _quantize(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(48))
    source, result = dice.quantization(), dice.quantization()
    kind = dice.one_of("any", "near", "near", "same scale")
    if kind != "any":
        factor = 1.0 if kind == "same scale" else 2.0 ** dice.rng.uniform(-2, 2)
        result = Quantization.per_tensor(source.scale * factor, result.zero_point)
    note = f"{shape} {kind} scales {source.scale} {result.scale}"
    return _unary(dice, builder, "QUANTIZE", shape, source, shape, result, schema.QuantizeOptionsT(), note)


def _requantize(dice: Dice, builder: ModelBuilder):
    """From one integer type to another."""
    shape = dice.image(dice.size(48))
    others = [types for types in TYPES.values() if types != dice.types and not {types.name, dice.types.name} == MIXED]
    target_types = others[dice.between(0, len(others) - 1)]
    source = dice.quantization()
    zero_point = 0 if target_types.is_wide else dice.between(target_types.least, target_types.greatest)
    steps = (dice.greatest - dice.least) / (target_types.greatest - target_types.least)
    result = Quantization.per_tensor(source.scale * steps * 2.0 ** dice.rng.uniform(-3, 2), zero_point)
    entry = builder.tensor("input", shape, dice.dtype, source)
    target = builder.tensor("output", shape, target_types.dtype, result)
    builder.operator("QUANTIZE", [entry], [target], schema.QuantizeOptionsT())
    note = f"{shape} to {target_types.name} scales {source.scale} {result.scale}"
    return [entry], [target], [dice.values(shape, source.zero_point)], note


def _float_ends(dice: Dice, builder: ModelBuilder):
    """From real numbers and back to them, with a function in between that changes nothing."""
    shape = dice.image(dice.size(48))
    both = dice.quantization()
    entry, target = builder.tensor("input", shape, np.float32), builder.tensor("output", shape, np.float32)
    first, second = (builder.tensor(name, shape, dice.dtype, both) for name in ("quantized", "same"))
    builder.operator("QUANTIZE", [entry], [first], schema.QuantizeOptionsT())
    builder.operator("MAXIMUM", [first, first], [second], schema.MaximumMinimumOptionsT())
    builder.operator("DEQUANTIZE", [second], [target], schema.DequantizeOptionsT())
    reach = (dice.greatest - dice.least) * both.scale
    middle = (dice.values(shape).astype(np.int64) - both.zero_point) * both.scale
    values = np.where(dice.rng.random(shape) < 0.5, middle + both.scale / 2, dice.rng.uniform(-reach, reach, shape))
    return [entry], [target], [values.astype(np.float32)], f"{shape} {both}"


def _softmax(dice: Dice, builder: ModelBuilder):
    outer = dice.one_of((1,), (dice.between(1, 4),), (2, 3), (1, 2, 3))
    shape = (*outer, dice.one_of(dice.size(64), dice.between(1, 1001)))
    source = dice.quantization()
    options = schema.SoftmaxOptionsT()
    options.beta = dice.one_of(1.0, 1.0, 1.0, float(np.float32(dice.rng.uniform(0.1, 4))))
    result = Quantization.per_tensor(1 / 32768, 0) if dice.types.is_wide else Quantization.per_tensor(1 / 256, dice.least)
    values = dice.values(shape, source.zero_point)
    while _sum_of_exponentials(values, source.scale * options.beta) > SOFTMAX_SUM_LIMIT:
        values = values[..., : values.shape[-1] // 2]
    shape = values.shape
    note = f"{shape} beta {options.beta} scale {source.scale}"
    entries, targets, _, note = _unary(dice, builder, "SOFTMAX", shape, source, shape, result, options, note)
    return entries, targets, [values], note


def _sum_of_exponentials(values: np.ndarray, scale: float) -> float:
    """Largest sum over a row of `exp(scale * (x - max))`."""
    distance = values.astype(np.float64) - values.max(axis=-1, keepdims=True)
    return float(np.exp(scale * distance).sum(axis=-1).max())


def _function(name: str, options_type=None, same: bool = False, low: bool = False):
    """A function of one input, computed from a table or in fixed point."""

    def build(dice: Dice, builder: ModelBuilder):
        shape = dice.image(dice.size(48))
        source, result = _near_pair(dice)
        if dice.types.is_wide:  # a table of 513 entries over all of int16: reals of moderate size
            source = Quantization.per_tensor(10.0 ** dice.rng.uniform(-5, -3.2), 0)
            result = Quantization.per_tensor(10.0 ** dice.rng.uniform(-5, -2.5), 0)
        elif low:  # the oracle refuses numbers below real 0
            source = Quantization.per_tensor(source.scale, dice.least)
            result = Quantization.per_tensor(10.0 ** dice.rng.uniform(-2.5, 0), result.zero_point)
        if same:
            source = result = Quantization.per_tensor(source.scale, 0)
        options = options_type() if options_type else None
        if name == "GELU":
            options.approximate = dice.chance(0.5)
        note = f"{shape} {source} {result}"
        return _unary(dice, builder, name, shape, source, shape, result, options, note)

    return build


def _abs(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(48))
    source, result = _near_pair(dice)
    if dice.chance(0.3):
        result = Quantization.per_tensor(source.scale, result.zero_point)
    options = schema.AbsOptionsT()
    return _unary(dice, builder, "ABS", shape, source, shape, result, options, f"{shape} {source} {result}")


def _squared_difference(dice: Dice, builder: ModelBuilder):
    first, second = dice.quantization(), dice.quantization()
    if dice.chance(0.7):
        second = Quantization.per_tensor(first.scale * 2.0 ** dice.rng.uniform(-3, 3), second.zero_point)
    bits = 16 if dice.types.is_wide else 8
    reach = max(first.scale, second.scale) ** 2 * 2.0 ** dice.rng.uniform(-2, bits + 2)
    result = Quantization.per_tensor(reach, dice.zero_point())
    return _binary(dice, builder, "SQUARED_DIFFERENCE", first, second, result, schema.SquaredDifferenceOptionsT())


def _lstm(dice: Dice, builder: ModelBuilder):
    """A recurrent layer with gates that are neither shut nor open throughout."""
    batch, time, depth, units = dice.one_of(1, 2, 3), dice.between(1, 6), dice.size(24), dice.size(20)
    major = dice.chance(0.4)
    source = Quantization.per_tensor(10.0 ** dice.rng.uniform(-3, -1) / (256 if dice.types.is_wide else 1), dice.zero_point())
    hidden = Quantization.per_tensor((1 / 32768 if dice.types.is_wide else 1 / 128) * dice.one_of(1, 1, 0.8), dice.zero_point())
    cell = Quantization.per_tensor(2.0 ** -dice.between(9, 15), 0)
    shape = (time, batch, depth) if major else (batch, time, depth)
    entry = builder.tensor("input", shape, dice.dtype, source)
    operands = {0: entry}
    for gate in range(4):
        scales = []
        for slot, inner, over in ((1, depth, source), (5, units, hidden)):
            reach = dice.rng.uniform(0.5, 4) / (math.sqrt(inner) * 60 * over.scale * (dice.greatest + 1) * 0.6)
            scale = Quantization.per_tensor(reach, 0)
            values = dice.weights((units, inner)).clip(-WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
            operands[slot + gate] = builder.constant(f"weights{slot + gate}", values, scale)
            scales.append(scale.scale)
        step = Quantization.per_tensor(source.scale * scales[0], 0)
        bias = np.rint(dice.rng.normal(0, 1, units) / step.scale).clip(-(2**30), 2**30)
        operands[12 + gate] = builder.constant(f"bias{gate}", bias.astype(_bias_type(dice)), step)
    operands[18] = builder.variable("hidden", (batch, units), dice.dtype, hidden)
    operands[19] = builder.variable("cell", (batch, units), np.int16, cell)
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    options.cellClip, options.projClip = dice.one_of(0.0, 0.0, float(np.float32(dice.rng.uniform(0.1, 3)))), 0.0
    options.timeMajor, options.asymmetricQuantizeInputs = major, False
    target = builder.tensor("output", (*shape[:2], units), dice.dtype, hidden)
    slots = [operands.get(slot, -1) for slot in range(24)]
    builder.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", slots, [target], options)
    gates = Quantization.per_tensor(2.0**-12, 0)
    inner = [builder.tensor(f"gate{gate}", (0,), np.int16, gates) for gate in range(4)]
    builder.graph.operators[-1].intermediates = [*inner, builder.tensor("gate4", (0,), dice.dtype, hidden)]
    note = f"{shape} {units} units, time first {major}, cell {cell.scale}, clip {options.cellClip}"
    return [entry], [target], [dice.values(shape, source.zero_point)], note


def _relu(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(48))
    source = dice.quantization()
    factor = dice.one_of(1.0, 2.0 ** dice.rng.uniform(-2, 2))
    result = Quantization.per_tensor(source.scale * factor, source.zero_point if factor == 1 else dice.zero_point())
    return _unary(dice, builder, "RELU", shape, source, shape, result, None, f"{shape} factor {factor}")


def _relu6(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(48))
    both = dice.quantization()  # the oracles disagree on what different quantizations mean here
    return _unary(dice, builder, "RELU6", shape, both, shape, both, None, f"{shape} {both}")


def _leaky_relu(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(48))
    source, result = _near_pair(dice)
    options = schema.LeakyReluOptionsT()
    options.alpha = float(np.float32(dice.one_of(0.01, 0.1, 0.2, 0.3, 0.5, 1.0, 0.0, 1.5, dice.rng.uniform(0, 2))))
    note = f"{shape} alpha {options.alpha} scales {source.scale} {result.scale}"
    return _unary(dice, builder, "LEAKY_RELU", shape, source, shape, result, options, note)


def _hard_swish(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(48))
    source = dice.quantization()
    reach = source.scale * 2.0 ** dice.rng.uniform(-4, 2)  # the kernel takes no scale below 1/128 of the input's
    result = Quantization.per_tensor(reach, dice.zero_point())
    note = f"{shape} scales {source.scale} {result.scale}"
    return _unary(dice, builder, "HARD_SWISH", shape, source, shape, result, schema.HardSwishOptionsT(), note)


def _curve(name: str, steps: int, signed: bool):
    def build(dice: Dice, builder: ModelBuilder):
        shape = dice.image(dice.size(48))
        source = dice.quantization()
        middle = 0 if dice.least < 0 else 128
        result = Quantization.per_tensor(1 / steps, middle if signed else dice.least)
        if dice.types.is_wide:
            result = Quantization.per_tensor(1 / 32768, 0)
            source = Quantization.per_tensor(dice.one_of(2.0**-12, 2.0**-11, 2.0**-13, source.scale / 128), 0)
        return _unary(dice, builder, name, shape, source, shape, result, None, f"{shape} scale {source.scale}")

    return build


def _prelu(dice: Dice, builder: ModelBuilder):
    shape = dice.image(dice.size(48))
    source, result = _near_pair(dice)
    slopes = Quantization.per_tensor(2.0 ** dice.rng.uniform(-10, -5), dice.one_of(0, dice.zero_point()))
    alpha = dice.one_of((1, 1, shape[3]), (1, 1, shape[3]), shape[1:], (1, 1, 1))
    entry = builder.tensor("input", shape, dice.dtype, source)
    constant = builder.constant("slopes", dice.values(alpha, slopes.zero_point), slopes)
    target = builder.tensor("output", shape, dice.dtype, result)
    builder.operator("PRELU", [entry, constant], [target])
    note = f"{shape} slopes {alpha} scales {source.scale} {slopes.scale} {result.scale}"
    return [entry], [target], [dice.values(shape, source.zero_point)], note


def _near_pair(dice: Dice) -> tuple[Quantization, Quantization]:
    """Quantizations of an input and an output, most often with scales near each other."""
    source, result = dice.quantization(), dice.quantization()
    if dice.chance(0.8):
        result = Quantization.per_tensor(source.scale * 2.0 ** dice.rng.uniform(-2, 2), result.zero_point)
    return source, result


def _network(dice: Dice, builder: ModelBuilder):
    """A small network: convolutions around a sum, a pool, an average, a fully connected layer, softmax."""
    image, channels, classes = (1, dice.between(6, 16), dice.between(6, 16), dice.one_of(1, 3, 8)), dice.between(4, 24), 10
    source = dice.quantization()
    entry = builder.tensor("input", image, dice.dtype, source)
    map_shape = (*image[:3], channels)

    def layer(name: str, at: int, quantization: Quantization, kernel: int, out_shape, options, axis: int = 0):
        depth = shape_of(builder.graph.tensors[at])[-1]
        inner = (1, kernel, kernel, channels) if axis else (out_shape[-1], kernel, kernel, depth)
        inner = (out_shape[-1], depth) if name == "FULLY_CONNECTED" else inner
        weights = _weights(dice, inner, kernel * kernel * (1 if axis else depth), axis, quantization)
        return _add_weighted(dice, builder, name, at, out_shape, weights, options), weights.output

    def sliding(options):
        options.padding, options.strideH, options.strideW = schema.Padding.SAME, 1, 1
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = ACTIVATIONS[dice.one_of("none", "relu", "relu6")]
        return options

    deep = sliding(schema.DepthwiseConv2DOptionsT())
    deep.depthMultiplier = 1
    first, scales = layer("CONV_2D", entry, source, 3, map_shape, sliding(schema.Conv2DOptionsT()))
    second, inner = layer("DEPTHWISE_CONV_2D", first, scales, 3, map_shape, deep, axis=3)
    third, other = layer("CONV_2D", second, inner, 1, map_shape, sliding(schema.Conv2DOptionsT()))
    total = Quantization.per_tensor(max(scales.scale, other.scale) * 2, dice.zero_point())
    added = builder.tensor("sum", map_shape, dice.dtype, total)
    builder.operator("ADD", [first, third], [added], schema.AddOptionsT())
    pool = schema.Pool2DOptionsT()
    pool.padding, pool.strideH, pool.strideW, pool.filterHeight, pool.filterWidth = schema.Padding.VALID, 2, 2, 2, 2
    pooled = builder.tensor("pooled", (1, image[1] // 2, image[2] // 2, channels), dice.dtype, total)
    builder.operator("MAX_POOL_2D", [added], [pooled], pool)
    average = schema.ReducerOptionsT()
    average.keepDims = False
    flat = builder.tensor("average", (1, channels), dice.dtype, total)
    builder.operator("MEAN", [pooled, builder.constant("axes", np.array([1, 2], np.int32))], [flat], average)
    logits, scales = layer("FULLY_CONNECTED", flat, total, 1, (1, classes), schema.FullyConnectedOptionsT())
    result = Quantization.per_tensor(1 / 32768, 0) if dice.types.is_wide else Quantization.per_tensor(1 / 256, dice.least)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    target = builder.tensor("output", (1, classes), dice.dtype, result)
    builder.operator("SOFTMAX", [logits], [target], softmax)
    for number, tensor in enumerate(builder.graph.tensors):
        tensor.name = f"{tensor.name}{number}"
    return [entry], [logits, target], [dice.values(image, source.zero_point)], f"{image} {channels} channels"


OPERATORS = {
    "conv2d": _conv2d,
    "grouped_conv2d": _grouped_conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "transpose_conv": _transpose_conv,
    "fully_connected": _fully_connected,
    "max_pool": _pool("MAX_POOL_2D"),
    "average_pool": _pool("AVERAGE_POOL_2D"),
    "mean": _mean,
    "sum": _sum_over,
    "reduce_max": _extremum_over("REDUCE_MAX"),
    "reduce_min": _extremum_over("REDUCE_MIN"),
    "concatenation": _concatenation,
    "pack": _pack,
    "split": _split,
    "split_v": _split_v,
    "unpack": _unpack,
    "slice": _slice,
    "strided_slice": _strided_slice,
    "gather": _gather,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "space_to_batch": _space_to_batch,
    "batch_to_space": _batch_to_space,
    "resize_nearest": _resize("RESIZE_NEAREST_NEIGHBOR", schema.ResizeNearestNeighborOptionsT),
    "resize_bilinear": _resize("RESIZE_BILINEAR", schema.ResizeBilinearOptionsT),
    "arg_max": _index_of("ARG_MAX", schema.ArgMaxOptionsT),
    "arg_min": _index_of("ARG_MIN", schema.ArgMinOptionsT),
    "mirror_pad": _mirror_pad,
    "tile": _tile,
    "broadcast_to": _broadcast_to,
    "reverse": _reverse,
    "pad": _pad,
    "add": _sum("ADD", schema.AddOptionsT),
    "sub": _sum("SUB", schema.SubOptionsT),
    "mul": _mul,
    "maximum": _extremum("MAXIMUM"),
    "minimum": _extremum("MINIMUM"),
    "prelu": _prelu,
    "leaky_relu": _leaky_relu,
    "hard_swish": _hard_swish,
    "logistic": _curve("LOGISTIC", 256, signed=False),
    "tanh": _curve("TANH", 128, signed=True),
    "reshape": _reshape,
    "transpose": _transpose,
    "quantize": _quantize,
    "requantize": _requantize,
    "float_ends": _float_ends,
    "softmax": _softmax,
    "relu": _relu,
    "relu6": _relu6,
    "relu_0_to_1": _function("RELU_0_TO_1"),
    "abs": _abs,
    "neg": _function("NEG", schema.NegOptionsT, same=True),
    "exp": _function("EXP", schema.ExpOptionsT),
    "log": _function("LOG", low=True),
    "rsqrt": _function("RSQRT", low=True),
    "elu": _function("ELU"),
    "gelu": _function("GELU", schema.GeluOptionsT),
    "squared_difference": _squared_difference,
    "lstm": _lstm,
    "network": _network,
}
