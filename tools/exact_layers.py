"""The exact result of a layer in QDQ form: de-quantize, operator, quantize in rational numbers, ties to even."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from onnx import helper

# Below this distance from a half, binary64 is not asked: the element is settled in rational numbers.
DOUBT = 1e-6


@dataclass
class Linear:
    """`numbers * factor + summand` in real numbers, held to `low ..= high`; numbers are whole, factor and summand broadcast."""

    # Numbers, and arrays of rational numbers.

    numbers: np.ndarray
    factor: np.ndarray
    summand: np.ndarray | Fraction = Fraction(0)
    low: Fraction | None = None
    high: Fraction | None = None


def fractions(values) -> np.ndarray:
    """An array of rational numbers."""
    values = np.asarray(values, np.float32)
    return np.array([Fraction(float(value)) for value in values.ravel()], object).reshape(values.shape)


def quantize(exact: Linear, scale, zero: int, dtype) -> np.ndarray:
    """The nearest integers, ties to even, zero point added, held to the type."""
    numbers = exact.numbers
    factor = np.broadcast_to(exact.factor / Fraction(float(scale)), numbers.shape)
    bounds = [None if bound is None else bound / Fraction(float(scale)) for bound in (exact.low, exact.high)]
    summand = np.broadcast_to(np.asarray(exact.summand / Fraction(float(scale)), object), numbers.shape)
    real = numbers * factor.astype(np.float64) + summand.astype(np.float64)
    real = np.clip(real, *(None if bound is None else float(bound) for bound in bounds)) if any(b is not None for b in bounds) else real
    nearest = np.rint(real)
    for at in zip(*np.nonzero(np.abs(np.abs(real - np.floor(real)) - 0.5) < DOUBT), strict=True):
        value = int(numbers[at]) * factor[at] + summand[at]
        value = value if bounds[0] is None else max(value, bounds[0])
        value = value if bounds[1] is None else min(value, bounds[1])
        nearest[at] = round(value)
    limits = np.iinfo(dtype)
    return np.clip(nearest + zero, limits.min, limits.max).astype(dtype)


class Layers:
    """Computes one layer."""

    def __init__(self, network, layer, values):
        self.network, self.layer, self.values = network, layer, values
        self.producers = {name: node for node in layer.nodes for name in node.output}

    def real(self, name: str) -> Linear:
        """The real numbers of a tensor."""
        node = self.producers[name]
        if node.op_type == "DequantizeLinear":
            source = node.input[0]
            values = self.values[source] if source in self.values else self.network.constant(source)
            scale = fractions(self.network.constant(node.input[1]))
            zero = self.network.constant(node.input[2]).astype(np.int64) if len(node.input) > 2 else np.int64(0)
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            along = [1] * values.ndim
            if scale.ndim:
                if scale.size > 1:
                    along[axis] = scale.size
                scale, zero = scale.reshape(along), np.reshape(zero, along) if np.size(zero) > 1 else np.ravel(zero)[0]
            return Linear(values.astype(np.int64) - zero, scale)
        if node.op_type not in OPERATORS:
            raise NotImplementedError(f"no exact rule for {node.op_type}")
        return OPERATORS[node.op_type](self, node)

    def known(self, name: str) -> np.ndarray:
        """Constants in binary64, which holds their products with a scale whole."""
        if name in self.network.constants:
            return self.network.constant(name).astype(np.float64)
        real = self.real(name)
        return (real.numbers * real.factor).astype(np.float64)

    def attributes(self, node) -> dict:
        """A node's attributes."""
        return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def result(network, layer, values) -> np.ndarray:
    """The integers that a layer gives for these values of its inputs."""
    end = next(node for node in layer.nodes if layer.output in node.output)
    zero = network.constant(end.input[2])
    exact = Layers(network, layer, values).real(end.input[0])
    return quantize(exact, network.constant(end.input[1]).item(), int(zero.item()), zero.dtype)


def hard_sigmoid(layers: Layers, node) -> Linear:
    """`max(0, min(1, alpha x + beta))`, the attributes as binary32."""
    x = layers.real(node.input[0])
    attributes = layers.attributes(node)
    alpha, beta = (Fraction(float(np.float32(attributes.get(k, v)))) for k, v in (("alpha", 0.2), ("beta", 0.5)))
    return Linear(x.numbers, x.factor * alpha, beta, Fraction(0), Fraction(1))


def normalization(layers: Layers, node) -> Linear:
    """`(x - mean) / sqrt(variance + epsilon) * scale + bias`, the root and the quotient in binary64."""
    x = layers.real(node.input[0])
    scale, bias, mean, variance = (layers.known(name) for name in node.input[1:5])
    factor = scale / np.sqrt(variance + np.float64(np.float32(layers.attributes(node).get("epsilon", 1e-5))))
    along = [1, -1] + [1] * (x.numbers.ndim - 2)
    rational = lambda values: np.array([Fraction(value) for value in values], object).reshape(along)  # noqa: E731
    return Linear(x.numbers, rational(factor) * x.factor, rational(bias) - rational(mean) * rational(factor))


def mul(layers: Layers, node) -> Linear:
    """A product of two."""
    a, b = (layers.real(name) for name in node.input)
    return Linear(a.numbers * b.numbers, a.factor * b.factor)


def moved(move):
    """What picks or averages elements."""
    def apply(layers: Layers, node) -> Linear:
        x = layers.real(node.input[0])
        return Linear(move(layers, node, x.numbers), x.factor)
    return apply


def flatten(layers, node, x):
    """Two dimensions."""
    return x.reshape(int(np.prod(x.shape[: layers.attributes(node).get("axis", 1)])), -1)


def reshape(layers, node, x):
    """Another shape."""
    shape = layers.network.constant(node.input[1])
    return x.reshape([x.shape[n] if extent == 0 else extent for n, extent in enumerate(shape)])


def max_pool(layers, node, x):
    """The largest of each window."""
    a = layers.attributes(node)
    (kr, kc), (sr, sc) = a["kernel_shape"], a.get("strides", (1, 1))
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    least = np.iinfo(np.int64).min
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=least)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kr, kc), (2, 3))
    return windows[:, :, ::sr, ::sc].max((-1, -2))


def resize(layers: Layers, node) -> Linear:
    """Nearest and linear by whole factors, as multiples of 1 / (2 factor)^2."""
    x, a = layers.real(node.input[0]), layers.attributes(node)
    mode, grid = a.get("mode", b"nearest").decode(), a.get("coordinate_transformation_mode", b"half_pixel").decode()
    given = [layers.network.constant(name) if name else np.empty(0) for name in node.input[2:]]
    sizes = given[1] if len(given) > 1 else np.round(np.array(x.numbers.shape) * given[0]).astype(int)
    numbers, parts = x.numbers, 1
    for axis in (2, 3):
        extent, size = numbers.shape[axis], int(sizes[axis])
        at = [position(n, extent, size, grid) for n in range(size)]
        if mode == "nearest":
            numbers = numbers.take([nearest(p, extent, a.get("nearest_mode", b"round_prefer_floor").decode()) for p in at], axis)
            continue
        at = [min(max(p, Fraction(0)), Fraction(extent - 1)) for p in at]
        part = int(np.lcm.reduce([p.denominator for p in at]))
        before = [int(p) for p in at]
        after = [min(p + 1, extent - 1) for p in before]
        shape = [-1 if n == axis else 1 for n in range(numbers.ndim)]
        weight = np.array([int((p - b) * part) for p, b in zip(at, before, strict=True)]).reshape(shape)
        numbers = numbers.take(before, axis) * (part - weight) + numbers.take(after, axis) * weight
        parts *= part
    return Linear(numbers, x.factor / parts)


def position(n: int, extent: int, size: int, grid: str) -> Fraction:
    """Where an element of the result lies in the input."""
    if grid == "asymmetric":
        return Fraction(n * extent, size)
    if grid == "align_corners":
        return Fraction(n * (extent - 1), size - 1) if size > 1 else Fraction(0)
    if grid in ("half_pixel", "pytorch_half_pixel") and (size > 1 or grid == "half_pixel"):
        return Fraction((2 * n + 1) * extent, 2 * size) - Fraction(1, 2)
    raise NotImplementedError(f"no exact rule for the grid {grid}")


def nearest(at: Fraction, extent: int, mode: str) -> int:
    """The element that is taken."""
    half = Fraction(1, 2)
    rules = {"floor": lambda: at // 1, "ceil": lambda: -(-at // 1),
             "round_prefer_floor": lambda: -((half - at) // 1), "round_prefer_ceil": lambda: (at + half) // 1}  # fmt: skip
    return int(min(max(rules[mode](), 0), extent - 1))


def transposed(layers: Layers, node) -> Linear:
    """ConvTranspose: every element of the input adds the weights, times itself, around its place."""
    x, w = layers.real(node.input[0]), layers.real(node.input[1])
    a, groups = layers.attributes(node), layers.attributes(node).get("group", 1)
    batch, channels, rows, columns = x.numbers.shape
    _, per_group, kr, kc = w.numbers.shape
    (sr, sc), (top, left, bottom, right) = a.get("strides", (1, 1)), a.get("pads", (0, 0, 0, 0))
    more = a.get("output_padding", (0, 0))
    if groups != 1 or any(d != 1 for d in a.get("dilations", (1,))):
        raise NotImplementedError("no exact rule for groups and dilations of ConvTranspose")
    full = np.zeros((batch, per_group, (rows - 1) * sr + kr + more[0], (columns - 1) * sc + kc + more[1]), np.int64)
    for r in range(kr):
        for c in range(kc):
            part = np.einsum("bihw,io->bohw", x.numbers.astype(float), w.numbers[:, :, r, c].astype(float))
            full[:, :, r : r + rows * sr : sr, c : c + columns * sc : sc] += part.astype(np.int64)
    full = full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]
    scale = np.broadcast_to(x.factor * w.factor, (1, per_group, 1, 1)) if np.ndim(w.factor) else x.factor * w.factor
    return biased(layers, node, Linear(full, scale))


def conv(layers: Layers, node) -> Linear:
    """Conv, by the sums of its taps; binary64 holds these whole."""
    x, w = layers.real(node.input[0]), layers.real(node.input[1])
    a = layers.attributes(node)
    groups, (sr, sc) = a.get("group", 1), a.get("strides", (1, 1))
    (dr, dc), (top, left, bottom, right) = a.get("dilations", (1, 1)), a.get("pads", (0, 0, 0, 0))
    outputs, depth, kr, kc = w.numbers.shape
    padded = np.pad(x.numbers, ((0, 0), (0, 0), (top, bottom), (left, right))).astype(float)
    rows, columns = ((n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(padded.shape[2:], (kr, kc), (dr, dc), (sr, sc), strict=True))
    padded = padded.reshape(padded.shape[0], groups, depth, *padded.shape[2:])
    weights = w.numbers.reshape(groups, outputs // groups, depth, kr, kc).astype(float)
    total = np.zeros((padded.shape[0], groups, outputs // groups, rows, columns))
    for r in range(kr):
        for c in range(kc):
            taps = padded[..., r * dr : r * dr + (rows - 1) * sr + 1 : sr, c * dc : c * dc + (columns - 1) * sc + 1 : sc]
            total += np.einsum("bgihw,goi->bgohw", taps, weights[..., r, c], optimize=True)
    total = total.reshape(total.shape[0], outputs, rows, columns).astype(np.int64)
    scale = (x.factor * w.factor).reshape(1, -1, 1, 1) if np.ndim(w.factor) else x.factor * w.factor
    return biased(layers, node, Linear(total, scale))


def biased(layers: Layers, node, sums: Linear) -> Linear:
    """With a bias of int32 in the scale of the sums, as the oracle's tool writes it: that product, rounded to binary32."""
    if len(node.input) > 2 and node.input[2]:
        sums.numbers = sums.numbers + layers.real(node.input[2]).numbers.reshape(1, -1, 1, 1)
    return sums


def relu(layers: Layers, node) -> Linear:
    """Not below 0."""
    x = layers.real(node.input[0])
    return Linear(x.numbers, x.factor, x.summand, Fraction(0), x.high)


OPERATORS = {
    "BatchNormalization": normalization, "HardSigmoid": hard_sigmoid, "Mul": mul, "Resize": resize, "ConvTranspose": transposed, "Conv": conv, "Relu": relu,
    "MaxPool": moved(max_pool), "Flatten": moved(flatten), "Reshape": moved(reshape),
    "Transpose": moved(lambda layers, node, x: x.transpose(layers.attributes(node)["perm"])),
}  # fmt: skip
