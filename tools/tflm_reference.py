"""What tflite-micro's int8 kernels compute, written again in numpy from their observed behaviour.

Every function is exact integer arithmetic in 64 bits, save the few places where the runtime itself works in
float32 or float64 to derive a multiplier or a range, and those say so. `run` executes a whole int8 model.
`test_tflm_reference.py` holds it against the real runtime, element by element.

Multipliers are pairs `(m, e)`: a mantissa in [2^30, 2^31) and a power-of-two exponent, together `m * 2^(e - 31)`.
"""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_models import DTYPES, constant, operator_name, quantization_of, shape_of, unpack

INT8_MIN, INT8_MAX = -128, 127
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
ADD_LEFT_SHIFT = 20


# Fixed-point arithmetic


def quantize_multiplier(real: float) -> tuple[int, int]:
    """`(m, e)` of a non-negative double; halves round away from zero, anything below 2^-32 becomes zero."""
    if real == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(real)
    mantissa = math.floor(fraction * 2**31 + 0.5)
    if mantissa == 2**31:
        mantissa, exponent = 2**30, exponent + 1
    return (0, 0) if exponent < -31 else (mantissa, exponent)


def wrap32(x):
    """The low 32 bits as a signed number."""
    return ((np.asarray(x, np.int64) + 2**31) & 0xFFFFFFFF) - 2**31


def high_mul(a, b):
    """`a * b / 2^31`, halves up (-1.5 becomes -1), saturating at `-2^31 * -2^31`."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    nudged = product + np.where(product >= 0, 2**30, 1 - 2**30)
    return np.minimum(_divide_towards_zero(nudged, 2**31), INT32_MAX)


def shift_right_rounding(x, bits):
    """`x / 2^bits`, halves away from zero."""
    x = np.asarray(x, np.int64)
    mask = (np.int64(1) << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))


def shift_left_saturating(x, bits: int):
    """`x * 2^bits`, clamped to 32 bits."""
    return np.clip(np.asarray(x, np.int64) << bits, INT32_MIN, INT32_MAX)


def multiply(x, multiplier, exponent):
    """`x * m * 2^(e - 31)`: left shift first (wrapping), high multiply, then rounding right shift."""
    left, right = np.maximum(exponent, 0), np.maximum(-np.asarray(exponent), 0)
    return shift_right_rounding(high_mul(wrap32(np.asarray(x, np.int64) << left), multiplier), right)


def _divide_towards_zero(a, b):
    a = np.asarray(a, np.int64)
    return np.where(a >= 0, a // b, -((-a) // b))


def _to_int8(x, low=INT8_MIN, high=INT8_MAX):
    return np.clip(x, low, high).astype(np.int8)


# Parameters


def activation_range(activation: int, quantization) -> tuple[int, int]:
    """Clamp limits of a fused activation; the quotient is float32, halves round away from zero."""
    low, high = {
        schema.ActivationFunctionType.NONE: (None, None),
        schema.ActivationFunctionType.RELU: (0.0, None),
        schema.ActivationFunctionType.RELU6: (0.0, 6.0),
        schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
    }[activation]
    smallest = INT8_MIN if low is None else max(INT8_MIN, quantize_value(low, quantization))
    largest = INT8_MAX if high is None else min(INT8_MAX, quantize_value(high, quantization))
    return smallest, largest


def quantize_value(real: float, quantization) -> int:
    """`round(real / scale) + zero_point` with a float32 quotient."""
    quotient = float(np.float32(real) / np.float32(quantization.scale))
    return quantization.zero_point + int(math.copysign(math.floor(abs(quotient) + 0.5), quotient))


def channel_multipliers(source, weights, result, channels: int):
    """`double(input) * double(weight) / double(output)`, one pair per output channel, also for dense layers."""
    scales = weights.scales if len(weights.scales) > 1 else weights.scales * channels
    pairs = [quantize_multiplier(source.scale * scale / result.scale) for scale in scales]
    return np.array([m for m, _ in pairs], np.int64), np.array([e for _, e in pairs], np.int64)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Padding before the first element; the odd one goes after the last."""
    rows = -(-size // stride)
    return max(0, (rows - 1) * stride + (kernel - 1) * dilation + 1 - size) // 2


# Operators: each takes the layer (see `Layer`) and its integer inputs


class Layer:
    """One operator with its tensors at hand."""

    def __init__(self, model, operator, rounding: str):
        self.rounding = rounding
        tensors = model.subgraphs[0].tensors
        self.options = operator.builtinOptions
        self.inputs = [tensors[i] if i >= 0 else None for i in operator.inputs]
        self.outputs = [tensors[i] for i in operator.outputs]
        self.model = model

    def source(self, index: int = 0):
        """Quantization of an input."""
        return quantization_of(self.inputs[index])

    def result(self):
        """Quantization of the output."""
        return quantization_of(self.outputs[0])

    def fixed(self, index: int) -> np.ndarray | None:
        """A constant input, `None` when absent."""
        present = index < len(self.inputs) and self.inputs[index] is not None
        return constant(self.model, self.inputs[index]) if present else None

    def out_type(self):
        """Type of the output."""
        return DTYPES[self.outputs[0].type]

    def out_shape(self):
        """Shape of the output."""
        return shape_of(self.outputs[0])

    def clamp(self) -> tuple[int, int]:
        """Limits of the fused activation."""
        return activation_range(self.options.fusedActivationFunction, self.result())

    def bias(self, channels: int):
        """Bias, zero when absent."""
        found = self.fixed(2)
        return np.zeros(channels, np.int64) if found is None else found.astype(np.int64)


def conv_2d(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Convolution, grouped when the weights are shallower than the input."""
    weights = layer.fixed(1).astype(np.int64)
    groups = x.shape[3] // weights.shape[3]
    windows = _windows(layer, x, weights.shape[1:3], layer.source().zero_point)
    split = windows.reshape(*windows.shape[:5], groups, -1)
    kernels = weights.reshape(groups, -1, *weights.shape[1:])
    sums = np.einsum("nyxhwgi,gohwi->nyxgo", split, kernels, optimize=True)
    return _requantize_channels(layer, sums.reshape(*sums.shape[:3], -1))


def depthwise_conv_2d(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Depthwise convolution; output channel `c * multiplier + k` reads input channel `c`."""
    weights = layer.fixed(1).astype(np.int64)[0]
    multiplier = weights.shape[2] // x.shape[3]
    windows = _windows(layer, x, weights.shape[:2], layer.source().zero_point)
    sums = np.einsum("nyxhwc,hwc->nyxc", np.repeat(windows, multiplier, axis=5), weights, optimize=True)
    return _requantize_channels(layer, sums)


def transpose_conv(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Every input position adds its multiple of the kernel to the output; inputs are shape, weights, activation, bias."""
    weights, o = layer.fixed(1).astype(np.int64), layer.options
    n, rows, columns, channels = layer.out_shape()
    kernel, strides = weights.shape[1:3], (o.strideH, o.strideW)
    pairs = zip((rows, columns), kernel, strides, strict=True)
    top, left = (same_padding(*pair, 1) if o.padding == schema.Padding.SAME else 0 for pair in pairs)
    sums = np.zeros((n, rows, columns, channels), np.int64)
    products = np.einsum("nyxi,ohwi->nyxhwo", x.astype(np.int64) - layer.source(2).zero_point, weights, optimize=True)
    for y, z, h, w in np.ndindex(*x.shape[1:3], *kernel):
        row, column = y * strides[0] + h - top, z * strides[1] + w - left
        if 0 <= row < rows and 0 <= column < columns:
            sums[:, row, column] += products[:, y, z, h, w]
    bias = layer.fixed(3)
    m, e = channel_multipliers(layer.source(2), layer.source(1), layer.result(), channels)
    return _to_int8(multiply(sums + (0 if bias is None else bias), m, e) + layer.result().zero_point)


def resize_nearest(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The sample nearest by binary32 arithmetic."""
    o, f = layer.options, np.float32

    def indices(size: int, out: int) -> np.ndarray:
        less = int(o.alignCorners and out > 1)
        at = (np.arange(out, dtype=f) + f(0.5 if o.halfPixelCenters else 0)) * (f(size - less) / f(out - less))
        nearest = np.floor(at + f(0.5)) if o.alignCorners else np.floor(at)
        return np.clip(nearest, 0, size - 1).astype(int)

    _, rows, columns, _ = layer.out_shape()
    return x[:, indices(x.shape[1], rows)][:, :, indices(x.shape[2], columns)]


def resize_bilinear(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Positions of ten fraction bits; the weighted sum rounded, halves away from zero."""
    o = layer.options

    def samples(size: int, out: int):
        less = int(o.alignCorners and out > 1)
        step = (1024 * (size - less) + (out - less) // 2) // (out - less)
        at = np.arange(out) * step + (step // 2 - 512 if o.halfPixelCenters else 0)
        at = np.clip(at, 0, (size - 1) * 1024)
        return at // 1024, np.minimum(at // 1024 + 1, size - 1), at % 1024

    _, rows, columns, _ = layer.out_shape()
    y0, y1, fy = samples(x.shape[1], rows)
    x0, x1, fx = samples(x.shape[2], columns)
    fy, fx, x = fy[None, :, None, None], fx[None, None, :, None], x.astype(np.int64)
    top = x[:, y0][:, :, x0] * (1024 - fx) + x[:, y0][:, :, x1] * fx
    bottom = x[:, y1][:, :, x0] * (1024 - fx) + x[:, y1][:, :, x1] * fx
    total = top * (1024 - fy) + bottom * fy
    return _to_int8(_divide_towards_zero(total + np.where(total > 0, 1 << 19, -(1 << 19)), 1 << 20))


def arg_max(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The lowest index of the largest."""
    return x.argmax(int(layer.fixed(1))).astype(layer.out_type())


def arg_min(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The lowest index of the smallest."""
    return x.argmin(int(layer.fixed(1))).astype(layer.out_type())


def mirror_pad(layer: Layer, x: np.ndarray) -> np.ndarray:
    """With the edge or without it."""
    reflect = layer.options.mode == schema.MirrorPadMode.REFLECT
    return np.pad(x, layer.fixed(1), "reflect" if reflect else "symmetric")


def tile(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Several times along each axis."""
    return np.tile(x, layer.fixed(1))


def broadcast_to(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Extents of one repeated."""
    return np.broadcast_to(x, layer.fixed(1))


def reverse(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Last index first."""
    return np.flip(x, tuple(layer.fixed(1).tolist()))


def fully_connected(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Matrix product over the last weight axis; leading dimensions are one batch."""
    weights = layer.fixed(1).astype(np.int64)
    sums = (x.reshape(-1, weights.shape[1]).astype(np.int64) - layer.source().zero_point) @ weights.T
    return _requantize_channels(layer, sums).reshape(layer.out_shape())


def _requantize_channels(layer: Layer, sums) -> np.ndarray:
    channels = sums.shape[-1]
    if layer.rounding == "float":
        return _requantize_float(layer, sums + layer.bias(channels))
    m, e = channel_multipliers(layer.source(), layer.source(1), layer.result(), channels)
    return _to_int8(multiply(sums + layer.bias(channels), m, e) + layer.result().zero_point, *layer.clamp())


def _requantize_float(layer: Layer, accumulators) -> np.ndarray:
    """XNNPACK's way: float32 throughout, every step rounded to nearest, ties to even."""
    source, result = np.float32(layer.source().scale), np.float32(layer.result().scale)
    scales = source * np.float32(layer.source(1).scales) / result
    low, high = (np.float32(limit - layer.result().zero_point) for limit in layer.clamp())
    scaled = np.clip(accumulators.astype(np.float32) * scales, low, high)
    return (np.rint(scaled) + layer.result().zero_point).astype(np.int8)


def _windows(layer: Layer, x: np.ndarray, kernel, zero_point: int) -> np.ndarray:
    """`[n, y, x, kh, kw, c]` views of the input minus its zero point; padding counts as zero."""
    o = layer.options
    strides, dilations = (o.strideH, o.strideW), (o.dilationHFactor, o.dilationWFactor)
    _, rows, columns, _ = layer.out_shape()
    steps = list(zip(x.shape[1:3], kernel, strides, dilations, strict=True))
    before = [same_padding(*s) if o.padding == schema.Padding.SAME else 0 for s in steps]
    after = [
        max(0, (count - 1) * s + (k - 1) * d + 1 - n - b)
        for (n, k, s, d), b, count in zip(steps, before, (rows, columns), strict=True)
    ]
    centred = x.astype(np.int64) - zero_point
    padded = np.pad(centred, ((0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)))
    y = np.arange(rows)[:, None] * strides[0] + np.arange(kernel[0]) * dilations[0]
    z = np.arange(columns)[:, None] * strides[1] + np.arange(kernel[1]) * dilations[1]
    return padded[:, y[:, None, :, None], z[None, :, None, :]]


def _pool_parts(layer: Layer, x: np.ndarray):
    """Per output position the part of the input under its window, `[n, h, w, c]`, clipped to the image."""
    o = layer.options
    _, rows, columns, _ = layer.out_shape()
    same = o.padding == schema.Padding.SAME
    top = same_padding(x.shape[1], o.filterHeight, o.strideH, 1) if same else 0
    left = same_padding(x.shape[2], o.filterWidth, o.strideW, 1) if same else 0
    for row in range(rows):
        y = row * o.strideH - top
        for column in range(columns):
            z = column * o.strideW - left
            yield row, column, x[:, max(0, y) : y + o.filterHeight, max(0, z) : z + o.filterWidth]


def max_pool_2d(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Maximum of the valid positions, then the clamp."""
    out = np.empty(layer.out_shape(), np.int8)
    for row, column, part in _pool_parts(layer, x):
        out[:, row, column] = part.max(axis=(1, 2))
    return _to_int8(out, *layer.clamp())


def average_pool_2d(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Raw int8 sum over the valid positions divided by their count, halves away from zero; no zero point."""
    out = np.empty(layer.out_shape(), np.int64)
    for row, column, part in _pool_parts(layer, x):
        count = part.shape[1] * part.shape[2]
        total = part.astype(np.int64).sum(axis=(1, 2))
        half = np.where(total > 0, count // 2, -(count // 2))
        out[:, row, column] = _divide_towards_zero(total + half, count)
    return _to_int8(out, *layer.clamp())


def mean_multiplier(source, result, count: int) -> tuple[int, int]:
    """The quotient of the scales with `1 / count` folded into the mantissa, truncating."""
    m, e = quantize_multiplier(source.scale / result.scale)
    shift = min(count.bit_length() - 1, 32, 31 + e)
    return (m << shift) // count, e - shift


def mean(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Sum minus `count * zero_point`, then one multiplication; equal scales are no special case."""
    axes = tuple({int(a) % x.ndim for a in layer.fixed(1).reshape(-1)})
    count = math.prod(x.shape[a] for a in axes)
    total = x.astype(np.int64).sum(axis=axes) - count * layer.source().zero_point
    scaled = multiply(total, *mean_multiplier(layer.source(), layer.result(), count))
    return _to_int8(scaled + layer.result().zero_point).reshape(layer.out_shape())


def sum_over(layer: Layer, x: np.ndarray) -> np.ndarray:
    """As `mean`, without the division."""
    axes = _axes(layer, x)
    total = x.astype(np.int64).sum(axis=axes) - math.prod(x.shape[a] for a in axes) * layer.source().zero_point
    scaled = multiply(total, *quantize_multiplier(layer.source().scale / layer.result().scale))
    return _to_int8(scaled + layer.result().zero_point).reshape(layer.out_shape())


def reduce_max(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The largest integer; quantization is not looked at."""
    return x.max(axis=_axes(layer, x)).reshape(layer.out_shape())


def reduce_min(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The smallest integer."""
    return x.min(axis=_axes(layer, x)).reshape(layer.out_shape())


def _axes(layer: Layer, x: np.ndarray) -> tuple[int, ...]:
    return tuple({int(a) % x.ndim for a in layer.fixed(1).reshape(-1)})


def _all_inputs(layer: Layer, computed) -> list[np.ndarray]:
    """Computed inputs and constants in the operator's order."""
    fixed = [layer.fixed(index) for index in range(len(layer.inputs))]
    rest = iter(computed)
    return [next(rest) if values is None else values for values in fixed]


def concatenation(layer: Layer, *computed: np.ndarray) -> np.ndarray:
    """One behind the other; quantization is not looked at."""
    return np.concatenate(_all_inputs(layer, computed), layer.options.axis)


def pack(layer: Layer, *computed: np.ndarray) -> np.ndarray:
    """Along a new axis."""
    return np.stack(_all_inputs(layer, computed), layer.options.axis)


def split(layer: Layer, x: np.ndarray) -> list[np.ndarray]:
    """Equal parts."""
    return np.split(x, len(layer.outputs), int(layer.fixed(0).reshape(())))


def split_v(layer: Layer, x: np.ndarray) -> list[np.ndarray]:
    """Parts of given sizes."""
    return np.split(x, np.cumsum(layer.fixed(1))[:-1], int(layer.fixed(2).reshape(())))


def unpack_axis(layer: Layer, x: np.ndarray) -> list[np.ndarray]:
    """One output per index of an axis."""
    return list(np.moveaxis(x, layer.options.axis, 0))


def slice_of(layer: Layer, x: np.ndarray) -> np.ndarray:
    """A box."""
    begin = layer.fixed(1)
    return x[tuple(slice(int(b), int(b) + n) for b, n in zip(begin, layer.out_shape(), strict=True))]


def strided_slice(layer: Layer, x: np.ndarray) -> np.ndarray:
    """A box in steps, perhaps backwards; an axis that shrinks has its begin only."""
    o, index = layer.options, []
    for entry, (begin, end, stride) in enumerate(zip(*(layer.fixed(i).tolist() for i in (1, 2, 3)), strict=True)):
        first = None if o.beginMask >> entry & 1 else begin
        last = None if o.endMask >> entry & 1 else end
        kept = (first or 0) if o.shrinkAxisMask >> entry & 1 else slice(first, last, stride)
        special = Ellipsis if o.ellipsisMask >> entry & 1 else None if o.newAxisMask >> entry & 1 else kept
        index.append(special)
    return x[tuple(index)]


def gather(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Elements at constant indices of an axis."""
    return np.take(x, layer.fixed(1), layer.options.axis)


def depth_to_space(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Channels to blocks, rows of a block first."""
    n, h, w, _ = x.shape
    b = layer.options.blockSize
    return x.reshape(n, h, w, b, b, -1).transpose(0, 1, 3, 2, 4, 5).reshape(layer.out_shape())


def space_to_depth(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Blocks to channels."""
    n, h, w, c = x.shape
    b = layer.options.blockSize
    return x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5).reshape(layer.out_shape())


def space_to_batch(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Pads with the output's zero point, then the positions within a block go in front of the batch."""
    (a, b), around = layer.fixed(1).tolist(), layer.fixed(2)
    padded = np.pad(x, [(0, 0), *around.tolist(), (0, 0)], constant_values=layer.result().zero_point)
    n, h, w, c = padded.shape
    return padded.reshape(n, h // a, a, w // b, b, c).transpose(2, 4, 0, 1, 3, 5).reshape(layer.out_shape())


def batch_to_space(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The inverse, cropped."""
    (a, b), ((top, _), (left, _)) = layer.fixed(1).tolist(), layer.fixed(2).tolist()
    n, h, w, c = x.shape[0] // (a * b), *x.shape[1:]
    whole = x.reshape(a, b, n, h, w, c).transpose(2, 3, 0, 4, 1, 5).reshape(n, h * a, w * b, c)
    _, rows, columns, _ = layer.out_shape()
    return whole[:, top : top + rows, left : left + columns]


def pad(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Constant padding: the given value, else the output zero point."""
    fill = layer.fixed(2)
    value = layer.result().zero_point if fill is None else int(fill.reshape(-1)[0])
    return np.pad(x, layer.fixed(1), constant_values=value)


def reshape(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Same elements, another shape."""
    return x.reshape(layer.out_shape())


def transpose(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Axes in another order."""
    return x.transpose(layer.fixed(1))


def add(layer: Layer, x: np.ndarray, y: np.ndarray | None = None, sign: int = 1) -> np.ndarray:
    """Both inputs shifted left by 20 and scaled to twice the larger scale, summed, scaled to the output."""
    y = layer.fixed(1) if y is None else y
    twice = 2.0 * max(layer.source(0).scale, layer.source(1).scale)
    parts = [_add_operand(value, layer.source(index), twice) for index, value in enumerate((x, y))]
    m, e = quantize_multiplier(twice / (2**ADD_LEFT_SHIFT * layer.result().scale))
    return _to_int8(multiply(parts[0] + sign * parts[1], m, e) + layer.result().zero_point, *layer.clamp())


def _add_operand(values: np.ndarray, quantization, twice: float):
    centred = values.astype(np.int64) - quantization.zero_point
    return multiply(centred << ADD_LEFT_SHIFT, *quantize_multiplier(quantization.scale / twice))


def sub(layer: Layer, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """As `add`, with the difference."""
    return add(layer, x, y, sign=-1)


def mul(layer: Layer, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Product of the differences from the zero points, scaled once."""
    y = layer.fixed(1) if y is None else y
    product = _centred(layer, 0, x) * _centred(layer, 1, y)
    scale = layer.source(0).scale * layer.source(1).scale / layer.result().scale
    return _to_int8(multiply(product, *quantize_multiplier(scale)) + layer.result().zero_point, *layer.clamp())


def maximum(layer: Layer, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """The larger integer; quantization is not looked at."""
    return np.maximum(x, layer.fixed(1) if y is None else y)


def minimum(layer: Layer, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """The smaller integer."""
    return np.minimum(x, layer.fixed(1) if y is None else y)


def prelu(layer: Layer, x: np.ndarray) -> np.ndarray:
    """From zero on scaled, below it multiplied by the slope and scaled otherwise."""
    value, product = _centred(layer, 0, x), _centred(layer, 0, x) * _centred(layer, 1, layer.fixed(1))
    real = layer.source(0).scale / layer.result().scale
    steep = layer.source(0).scale * layer.source(1).scale / layer.result().scale
    above, below = multiply(value, *quantize_multiplier(real)), multiply(product, *quantize_multiplier(steep))
    return _to_int8(np.where(value >= 0, above, below) + layer.result().zero_point)


def leaky_relu(layer: Layer, x: np.ndarray) -> np.ndarray:
    """One multiplier from zero on, another below; both quotients are float32."""
    value = _centred(layer, 0, x)
    source, result = np.float32(layer.source().scale), np.float32(layer.result().scale)
    real, steep = float(source / result), float(source * np.float32(layer.options.alpha) / result)
    above, below = multiply(value, *quantize_multiplier(real)), multiply(value, *quantize_multiplier(steep))
    return _to_int8(np.where(value >= 0, above, below) + layer.result().zero_point)


def _centred(layer: Layer, index: int, values: np.ndarray) -> np.ndarray:
    return values.astype(np.int64) - layer.source(index).zero_point


def quantize(layer: Layer, x: np.ndarray) -> np.ndarray:
    """int8 to int8 with another scale and zero point."""
    return _rescale(layer, x, INT8_MIN)


def relu(layer: Layer, x: np.ndarray) -> np.ndarray:
    """As `quantize`, but never below the output zero point."""
    return _rescale(layer, x, layer.result().zero_point)


def _rescale(layer: Layer, x: np.ndarray, low: int) -> np.ndarray:
    m, e = quantize_multiplier(layer.source().scale / layer.result().scale)
    centred = x.astype(np.int64) - layer.source().zero_point
    return _to_int8(multiply(centred, m, e) + layer.result().zero_point, low)


def relu6(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Clamp between the input's zero point and its value for six; the output's quantization is not read."""
    six = np.clip(quantize_value(6.0, layer.source()), INT8_MIN, INT8_MAX)
    return np.minimum(np.maximum(x, np.int8(layer.source().zero_point)), np.int8(six))


# Curves of one value


def hard_swish(layer: Layer, x: np.ndarray) -> np.ndarray:
    """`x * relu6(x + 3) / 6` in 16-bit fixed point; multipliers are float32 quotients cut to 16 bits."""
    fine = np.float32(layer.source().scale) / np.float32(128)
    m, e = quantize_multiplier(float(fine / np.float32(layer.result().scale)))
    gate_m, gate_e = quantize_multiplier(float(fine / (np.float32(3) / np.float32(32768))))
    value = _centred(layer, 0, x) << 7
    gate = value
    if gate_e > 0:
        gate = np.clip(gate << (gate_e - 1), -(2**15), 2**15 - 1)
    gate = _high_mul16(gate, gate_m)
    if gate_e > 0:
        gate = np.clip(gate << 1, -(2**15), 2**15 - 1)
    gate = (shift_right_rounding(gate, max(-gate_e, 0)) + 2**15) >> 1
    product = _divide_towards_zero(gate * _high_mul16(value, m), 2**15)
    return _to_int8(shift_right_rounding(product, max(-e, 0)) + layer.result().zero_point)


def _high_mul16(a: np.ndarray, multiplier: int) -> np.ndarray:
    product = a * min((multiplier + 2**15) >> 16, 2**15 - 1)
    nudged = product + np.where(product >= 0, 2**14, 1 - 2**14)
    return np.minimum(_divide_towards_zero(nudged, 2**15), 2**15 - 1)


def logistic(layer: Layer, x: np.ndarray) -> np.ndarray:
    """`1 / (1 + exp(-x))` from Q4.27, output scale 1/256 and zero point -128."""
    value, far = _curve_input(layer, x)
    positive = one_over_one_plus(exp_on_negative(-np.abs(value), integer_bits=4))
    real = np.where(value == 0, 2**30, np.where(value > 0, positive, INT32_MAX - positive))
    return _curve_output(far, shift_right_rounding(real, 23) + INT8_MIN)


def _curve_input(layer: Layer, x: np.ndarray):
    """The input in Q4.27, and how far beyond the radius it is (0 inside) as a sign."""
    m, e = quantize_multiplier(layer.source().scale * 2**27)
    radius = math.floor(15 * 2.0 ** (27 - e))
    difference = _centred(layer, 0, x)
    far = np.where(difference <= -radius, -1, np.where(difference >= radius, 1, 0))
    return multiply(np.where(far == 0, difference, 0), m, e), far


def _curve_output(far: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return _to_int8(np.where(far < 0, INT8_MIN, np.where(far > 0, INT8_MAX, inside)))


def tanh(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent from Q4.27, output scale 1/128 and zero point 0."""
    value, far = _curve_input(layer, x)
    # twice a Q4.27 value is the same bits as Q5.26
    positive = one_minus_over_one_plus(exp_on_negative(-np.abs(value)))
    real = np.where(value == 0, 0, np.where(value > 0, positive, -positive))
    return _curve_output(far, shift_right_rounding(real, 24))


def absolute(layer: Layer, x: np.ndarray) -> np.ndarray:
    """The distance from the zero point, rescaled only if the scales differ."""
    value = np.abs(_centred(layer, 0, x))
    source, result = layer.source(), layer.result()
    if source.scale != result.scale:
        value = multiply(value, *quantize_multiplier(source.scale / result.scale))
    return _to_int8(value + result.zero_point)


def negate(_: Layer, x: np.ndarray) -> np.ndarray:
    """The integer with the other sign; quantization is not looked at, and the smallest stays as it is."""
    return wrap32(-x.astype(np.int64)).astype(np.int8)


def squared_difference(layer: Layer, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Inputs shifted left by 7 and scaled to twice the larger scale; the square of their difference, scaled."""
    y = layer.fixed(1) if y is None else y
    first, second = layer.source(0), layer.source(1)
    twice = 2.0 * max(first.scale, second.scale)
    pairs = ((x, first), (y, second))
    a, b = (
        multiply((values.astype(np.int64) - of.zero_point) << 7, *quantize_multiplier(of.scale / twice))
        for values, of in pairs
    )
    scale = quantize_multiplier(twice * twice / (2**14 * layer.result().scale))
    return _to_int8(multiply((a - b) ** 2, *scale) + layer.result().zero_point)


def relu_0_to_1(layer: Layer, x: np.ndarray) -> np.ndarray:
    """As `quantize`, between the output's integers for 0 and 1."""
    m, e = quantize_multiplier(layer.source().scale / layer.result().scale)
    one = min(INT8_MAX, quantize_value(1.0, layer.result()))
    return _to_int8(multiply(_centred(layer, 0, x), m, e) + layer.result().zero_point, layer.result().zero_point, one)


def exponential(layer: Layer, x: np.ndarray) -> np.ndarray:
    """A table in float32."""
    return _from_table(layer, x, np.exp)


def logarithm(layer: Layer, x: np.ndarray) -> np.ndarray:
    """A table in float32; what has no logarithm is the smallest."""
    return _from_table(layer, x, np.log)


def elu(layer: Layer, x: np.ndarray) -> np.ndarray:
    """A table in float32."""
    return _from_table(layer, x, lambda real: np.where(real < 0, np.expm1(real), real))


def gelu(layer: Layer, x: np.ndarray) -> np.ndarray:
    """A table in float32, by the error function or a hyperbolic tangent."""
    if layer.options.approximate:
        slope = math.sqrt(2 / math.pi)
        return _from_table(layer, x, lambda real: real / 2 * (1 + np.tanh(slope * (real + 0.044715 * real**3))))
    return _from_table(layer, x, lambda real: real / 2 * np.vectorize(math.erfc)(-real * math.sqrt(0.5)))


def _from_table(layer: Layer, x: np.ndarray, function) -> np.ndarray:
    real = np.float32(layer.source().scale) * _centred(layer, 0, x).astype(np.float32)
    with np.errstate(all="ignore"):
        value = function(real.astype(np.float64)).astype(np.float32)
        steps = (value * (np.float32(1) / np.float32(layer.result().scale))).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(np.nan_to_num(steps, nan=-1e9, posinf=1e9, neginf=-1e9)) + 0.5), steps)
    return _to_int8(np.where(np.isnan(steps), -1e9, rounded) + layer.result().zero_point)


def rsqrt(layer: Layer, x: np.ndarray) -> np.ndarray:
    """A root in fixed point with 20 more bits, then scaled; 0 gives the largest."""
    root = np.sqrt(np.float32(layer.source().scale))
    m, e = quantize_multiplier(1 / float(root * np.float32(layer.result().scale)))
    table = {}
    for value in np.unique(_centred(layer, 0, x)).tolist():
        inverse, shift = _inverse_root(value)
        scaled = multiply(multiply(1, inverse, shift + 20), m, e - 20) + layer.result().zero_point
        table[value] = INT8_MAX if value <= 0 else int(scaled)
    return _to_int8(np.vectorize(table.__getitem__)(_centred(layer, 0, x)))


def _inverse_root(value: int) -> tuple[int, int]:
    """Multiplier and shift of one over a square root, of a value below 2^29: five Newton steps in Q3.28."""
    if value <= 1:
        return INT32_MAX, 0
    pairs = (31 - value.bit_length()) // 2 - 1
    scaled = (value << 2 * pairs) >> 1
    half, x = (scaled + 1) >> 1, 2**28
    for _ in range(5):
        cube = shift_left_saturating(high_mul(high_mul(x, x), x), 6)
        x = shift_left_saturating(high_mul(2**28 + 2**27, x) - high_mul(half, cube), 3)
    inverse, shift = int(high_mul(x, 1518500250)), 11 - pairs
    return (inverse << -shift, 0) if shift < 0 else (inverse, -shift)


# Softmax: Q5.26 differences, Q0.31 exponentials, Q12.19 sum

SCALED_DIFFERENCE_BITS = 5
SUM_BITS = 12
EXP_MINUS_EIGHTH = 1895147668
ONE_THIRD = 715827883
# exp(-2^k) in Q0.31 for k = -2 .. 4
EXP_POWERS = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}


def softmax(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, output scale 1/256 and zero point -128."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.int64)
    m, left, lowest = softmax_parameters(layer.source().scale, float(np.float32(layer.options.beta)))
    out = np.stack([_softmax_row(row, m, left, lowest) for row in rows])
    return out.reshape(x.shape)


def softmax_parameters(scale: float, beta: float) -> tuple[int, int, int]:
    """Mantissa, left shift and the smallest difference that still counts."""
    real = min(beta * scale * 2 ** (31 - SCALED_DIFFERENCE_BITS), 2.0**31 - 1)
    m, left = quantize_multiplier(real)
    radius = ((1 << SCALED_DIFFERENCE_BITS) - 1) * 2 ** (31 - SCALED_DIFFERENCE_BITS) / 2**left
    return m, left, -math.floor(radius)


def _softmax_row(row: np.ndarray, m: int, left: int, lowest: int) -> np.ndarray:
    difference = row - row.max()
    counted = difference >= lowest
    scaled = high_mul(np.where(counted, difference, 0) << left, m)
    exponentials = exp_on_negative(scaled)
    total = int(np.where(counted, shift_right_rounding(exponentials, SUM_BITS), 0).sum())
    reciprocal, bits_over_unit = reciprocal_of(total)
    exponent = bits_over_unit + 31 - 8
    if exponent > 31:
        raise ValueError("the row's exponentials sum to 512 or more, where tflite-micro aborts")
    values = shift_right_rounding(high_mul(reciprocal, exponentials), exponent) + INT8_MIN
    return np.where(counted, np.clip(values, INT8_MIN, INT8_MAX), INT8_MIN).astype(np.int8)


def exp_on_negative(a: np.ndarray, integer_bits: int = SCALED_DIFFERENCE_BITS) -> np.ndarray:
    """exp of a value at most zero with so many integer bits (Q5.26 down to -32) as Q0.31."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    low = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(shift_left_saturating(low, integer_bits))
    remainder = low - a
    for power, factor in EXP_POWERS.items():
        present = remainder & (1 << (fraction_bits + power))
        result = np.where(present != 0, high_mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _exp_near_zero(a: np.ndarray) -> np.ndarray:
    """exp on [-1/4, 0) in Q0.31: a Taylor polynomial of degree 4 around -1/8."""
    x = a + (1 << 28)
    square = high_mul(x, x)
    cube, fourth = high_mul(square, x), high_mul(square, square)
    tail = high_mul(shift_right_rounding(fourth, 2) + cube, ONE_THIRD) + square
    return EXP_MINUS_EIGHTH + high_mul(EXP_MINUS_EIGHTH, x + shift_right_rounding(tail, 1))


def reciprocal_of(total: int) -> tuple[int, int]:
    """Q0.31 reciprocal of a Q12.19 sum normalized to [1, 2), and how many bits the sum exceeds one by."""
    headroom = 32 - total.bit_length()
    minus_one = (total << headroom) - 2**31
    return int(one_over_one_plus(minus_one)), SUM_BITS - headroom


def one_over_one_plus(a):
    """`1 / (1 + a)` in Q0.31 for a Q0.31 value in [0, 1)."""
    return shift_left_saturating(_newton(a), 1)


def one_minus_over_one_plus(a):
    """`(1 - a) / (1 + a)` in Q0.31 for a Q0.31 value in [0, 1)."""
    return shift_left_saturating(_newton(a) - 2**29, 2)


def _newton(a):
    """`2 / (1 + a)` in Q2.29."""
    half = (np.asarray(a, np.int64) + INT32_MAX + 1) // 2
    x = 1515870810 + high_mul(half, -1010580540)  # 48/17 - 32/17 * half, Q2.29
    for _ in range(3):
        error = 2**29 - high_mul(half, x)
        x = x + shift_left_saturating(high_mul(x, error), 2)
    return x


OPERATORS = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest,
    "RESIZE_BILINEAR": resize_bilinear,
    "ARG_MAX": arg_max,
    "ARG_MIN": arg_min,
    "MIRROR_PAD": mirror_pad,
    "TILE": tile,
    "BROADCAST_TO": broadcast_to,
    "REVERSE_V2": reverse,
    "FULLY_CONNECTED": fully_connected,
    "MAX_POOL_2D": max_pool_2d,
    "AVERAGE_POOL_2D": average_pool_2d,
    "MEAN": mean,
    "SUM": sum_over,
    "REDUCE_MAX": reduce_max,
    "REDUCE_MIN": reduce_min,
    "CONCATENATION": concatenation,
    "PACK": pack,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "UNPACK": unpack_axis,
    "SLICE": slice_of,
    "STRIDED_SLICE": strided_slice,
    "GATHER": gather,
    "DEPTH_TO_SPACE": depth_to_space,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "BATCH_TO_SPACE_ND": batch_to_space,
    "PAD": pad,
    "PADV2": pad,
    "ADD": add,
    "SUB": sub,
    "MUL": mul,
    "MAXIMUM": maximum,
    "MINIMUM": minimum,
    "PRELU": prelu,
    "LEAKY_RELU": leaky_relu,
    "HARD_SWISH": hard_swish,
    "LOGISTIC": logistic,
    "TANH": tanh,
    "RESHAPE": reshape,
    "TRANSPOSE": transpose,
    "QUANTIZE": quantize,
    "SOFTMAX": softmax,
    "RELU": relu,
    "RELU6": relu6,
    "RELU_0_TO_1": relu_0_to_1,
    "ABS": absolute,
    "NEG": negate,
    "EXP": exponential,
    "LOG": logarithm,
    "RSQRT": rsqrt,
    "ELU": elu,
    "GELU": gelu,
    "SQUARED_DIFFERENCE": squared_difference,
}


def run(model: bytes, inputs: list[np.ndarray], rounding: str = "double") -> list[np.ndarray]:
    """The outputs of an int8 model, in order.

    With `rounding="float"` the layers with weights requantize as XNNPACK does.
    """
    parsed = unpack(model)
    graph = parsed.subgraphs[0]
    values = dict(zip((int(i) for i in graph.inputs), inputs, strict=True))
    for operator in graph.operators:
        layer = Layer(parsed, operator, rounding)
        computed = [values[int(i)] for i in operator.inputs if int(i) in values]
        found = OPERATORS[operator_name(parsed, operator)](layer, *computed)
        outputs = found if isinstance(found, list) else [found]
        values.update(zip((int(i) for i in operator.outputs), outputs, strict=True))
    return [values[int(i)] for i in graph.outputs]
