#!/usr/bin/env python3
"""Makes the demonstration in `examples/digits`: a small int8 network that reads handwritten digits.

Trains a convolutional network on scikit-learn's 8x8 digits with plain numpy, quantizes it, writes it as TFLite,
writes twenty held-out images as PNG and what tflite-micro answers for each. Takes under a minute.

    .venv/bin/python tools/make_digits.py           # writes examples/digits
    .venv/bin/python tools/make_digits.py --check   # makes it again elsewhere and compares every byte
    .venv/bin/python tools/make_digits.py --float DIR   # the float network and its data, for docs/recipe.md
"""

import argparse
import filecmp
import json
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from PIL import Image
from sklearn.datasets import load_digits

from oracle_runs import tflite_micro
from tflite_models import ModelBuilder, Quantization

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "digits"
SEED = 1797
HELD_OUT = 500
EPOCHS = 60
BATCH = 50
LEARNING_RATE = 0.004
SMOOTHING = 0.1
"""Share of each label spread over all digits: keeps the answers off the ends of int8, where they would say little."""

IMAGES_PER_DIGIT = 2
GRID = 2.0**-10
"""Trained weights are rounded to multiples of this, so that the last bits of another CPU's sums leave no trace."""

CALIBRATION = 200
"""Training images in the calibration set of `--float`."""

WIDE = 1000.0
"""How much wider than another the channel is with which int8 breaks the network."""

CONV1, CONV2, DIGITS = 12, 24, 10
PACKAGES = ("ai-edge-litert", "numpy", "pillow", "scikit-learn", "tflite-micro")


# Data


def load() -> tuple[np.ndarray, np.ndarray]:
    """Grey pixels `[n, 8, 8, 1]`, 0 to 255, and labels, in a fixed shuffled order."""
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)
    return pixels[order, :, :, None], digits.target[order]


def as_real(pixels: np.ndarray) -> np.ndarray:
    """What the network sees: 0 to 1."""
    return pixels / 255.0


# The network in float64: forward keeps what backward needs


def patches(x: np.ndarray, stride: int) -> np.ndarray:
    """The 3x3 neighbourhoods, `[n, h, w, 9 * c]`, under TFLite's SAME padding."""
    rows = -(-x.shape[1] // stride)
    total = max(0, (rows - 1) * stride + 3 - x.shape[1])
    edge = (total // 2, total - total // 2)
    padded = np.pad(x, ((0, 0), edge, edge, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)


def unpatches(grad: np.ndarray, shape, stride: int) -> np.ndarray:
    """Adjoint of `patches`: adds each neighbourhood back to where it came from."""
    n, h, w, c = shape
    rows, columns = grad.shape[1:3]
    total = max(0, (rows - 1) * stride + 3 - h)
    before = total // 2
    padded = np.zeros((n, h + total, w + total, c))
    parts = grad.reshape(n, rows, columns, 3, 3, c)
    for i in range(3):
        for j in range(3):
            padded[:, i : i + stride * rows : stride, j : j + stride * columns : stride] += parts[:, :, :, i, j]
    return padded[:, before : before + h, before : before + w]


def initial_weights() -> dict[str, np.ndarray]:
    """He initialization; biases start at zero."""
    rng = np.random.default_rng(SEED + 1)
    shapes = {"w1": (9, CONV1), "w2": (9 * CONV1, CONV2), "w3": (4 * CONV2, DIGITS)}
    weights = {name: rng.normal(0, np.sqrt(2 / s[0]), s) for name, s in shapes.items()}
    return weights | {f"b{i}": np.zeros(n) for i, n in enumerate((CONV1, CONV2, DIGITS), 1)}


def forward(p: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of the network: conv, relu, conv stride 2, relu, max pool 2x2, dense."""
    t = {"x": x, "p1": patches(x, 1)}
    t["a1"] = np.maximum(t["p1"] @ p["w1"] + p["b1"], 0)
    t["p2"] = patches(t["a1"], 2)
    t["a2"] = np.maximum(t["p2"] @ p["w2"] + p["b2"], 0)
    t["blocks"] = t["a2"].reshape(-1, 2, 2, 2, 2, CONV2).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 2, 2, 4, CONV2)
    t["pool"] = t["blocks"].max(axis=3)
    t["flat"] = t["pool"].reshape(len(x), -1)
    t["logits"] = t["flat"] @ p["w3"] + p["b3"]
    return t


def gradients(p: dict[str, np.ndarray], t: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Of the mean cross entropy with smoothed labels, by hand."""
    exponentials = np.exp(t["logits"] - t["logits"].max(axis=1, keepdims=True))
    d = exponentials / exponentials.sum(axis=1, keepdims=True)
    d = (d - SMOOTHING / DIGITS - (1 - SMOOTHING) * np.eye(DIGITS)[labels]) / len(labels)
    g = {"w3": t["flat"].T @ d, "b3": d.sum(axis=0)}
    d = _unpool(t, (d @ p["w3"].T).reshape(t["pool"].shape)) * (t["a2"] > 0)
    g |= {"w2": np.tensordot(t["p2"], d, [[0, 1, 2], [0, 1, 2]]), "b2": d.sum(axis=(0, 1, 2))}
    d = unpatches(d @ p["w2"].T, t["a1"].shape, 2) * (t["a1"] > 0)
    return g | {"w1": np.tensordot(t["p1"], d, [[0, 1, 2], [0, 1, 2]]), "b1": d.sum(axis=(0, 1, 2))}


def _unpool(t: dict[str, np.ndarray], d: np.ndarray) -> np.ndarray:
    """Sends the gradient of a maximum to the first element that attains it."""
    first = t["blocks"].argmax(axis=3)
    spread = np.where(np.arange(4)[:, None] == first[:, :, :, None], d[:, :, :, None], 0.0)
    return spread.reshape(-1, 2, 2, 2, 2, CONV2).transpose(0, 1, 3, 2, 4, 5).reshape(t["a2"].shape)


def train(x: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Adam with a learning rate that falls to zero along a cosine."""
    p = initial_weights()
    first, second = ({name: np.zeros_like(v) for name, v in p.items()} for _ in range(2))
    rng = np.random.default_rng(SEED + 2)
    steps = EPOCHS * (len(x) // BATCH)
    for step in range(steps):
        if step % (len(x) // BATCH) == 0:
            order = rng.permutation(len(x))
        chosen = order[step % (len(x) // BATCH) * BATCH :][:BATCH]
        g = gradients(p, forward(p, x[chosen]), labels[chosen])
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
        for name, gradient in g.items():
            first[name] += 0.1 * (gradient - first[name])
            second[name] += 0.001 * (gradient**2 - second[name])
            mean, spread = first[name] / (1 - 0.9 ** (step + 1)), second[name] / (1 - 0.999 ** (step + 1))
            p[name] -= rate * mean / (np.sqrt(spread) + 1e-8)
    return {name: np.rint(v / GRID) * GRID for name, v in p.items()}


# Quantization


def asymmetric(values: np.ndarray) -> Quantization:
    """int8 quantization that covers the values and zero."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = float(np.float32((high - low) / 255))
    return Quantization.per_tensor(scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)))


def add_layer(builder: ModelBuilder, name: str, operator: str, source, weights, bias, result, shape, options) -> int:
    """A layer with weights: symmetric, per output channel for convolutions and per tensor for the dense layer."""
    index, quantization = source
    axes = tuple(range(1, weights.ndim)) if operator == "CONV_2D" else None
    scales = np.float32(np.atleast_1d(np.abs(weights).max(axis=axes)) / 127)
    per_row = scales.reshape(-1, *[1] * (weights.ndim - 1)).astype(np.float64)
    integers = np.rint(weights / per_row).astype(np.int8)
    bias_scales = np.float32(quantization.scale) * scales
    bias_integers = np.rint(bias / bias_scales.astype(np.float64)).astype(np.int32)
    zeros = (0,) * len(scales)
    operands = [
        index,
        builder.constant(f"{name}/weights", integers, Quantization(tuple(map(float, scales)), zeros)),
        builder.constant(f"{name}/bias", bias_integers, Quantization(tuple(map(float, bias_scales)), zeros)),
    ]
    target = builder.tensor(name, shape, np.int8, result)
    builder.operator(operator, operands, [target], options)
    return target


def convolution_options(stride: int) -> schema.Conv2DOptionsT:
    """SAME padding and a fused ReLU."""
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideH = options.strideW = stride
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    return options


def kernel(matrix: np.ndarray) -> np.ndarray:
    """`[9 * c, out]` as TFLite's `[out, 3, 3, c]`."""
    return matrix.T.reshape(matrix.shape[1], 3, 3, -1)


def quantized_model(p: dict[str, np.ndarray], t: dict[str, np.ndarray]) -> bytes:
    """The int8 TFLite file; ranges are those of the training tensors."""
    builder = ModelBuilder("handwritten digits, 8x8, int8; made by tools/make_digits.py")
    pixels = Quantization.per_tensor(1 / 255, -128)
    q1, q2, q3 = asymmetric(t["a1"]), asymmetric(t["a2"]), asymmetric(t["logits"])
    image = builder.tensor("image", (1, 8, 8, 1), np.int8, pixels)
    o1, o2 = convolution_options(stride=1), convolution_options(stride=2)
    k1, k2 = kernel(p["w1"]), kernel(p["w2"])
    first = add_layer(builder, "conv1", "CONV_2D", (image, pixels), k1, p["b1"], q1, (1, 8, 8, CONV1), o1)
    second = add_layer(builder, "conv2", "CONV_2D", (first, q1), k2, p["b2"], q2, (1, 4, 4, CONV2), o2)
    pooled = builder.tensor("pool", (1, 2, 2, CONV2), np.int8, q2)
    builder.operator("MAX_POOL_2D", [second], [pooled], pool_options())
    flat = builder.tensor("flat", (1, 4 * CONV2), np.int8, q2)
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = [1, 4 * CONV2]
    flat_shape = builder.constant("shape", np.array([1, 4 * CONV2], np.int32))
    builder.operator("RESHAPE", [pooled, flat_shape], [flat], reshape)
    dense = schema.FullyConnectedOptionsT()
    logits = add_layer(builder, "logits", "FULLY_CONNECTED", (flat, q2), p["w3"].T, p["b3"], q3, (1, DIGITS), dense)
    result = builder.tensor("probabilities", (1, DIGITS), np.int8, Quantization.per_tensor(1 / 256, -128))
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    builder.operator("SOFTMAX", [logits], [result], softmax)
    return builder.finish([image], [result])


def float_model(p: dict[str, np.ndarray]) -> bytes:
    """The trained network in float32, as a float TFLite file; an input is a pixel divided by 255."""
    builder = ModelBuilder("handwritten digits, 8x8, float32; made by tools/make_digits.py")

    def layer(name: str, operator: str, source: int, weights, bias, shape, options) -> int:
        operands = [
            source,
            builder.constant(f"{name}/weights", weights.astype(np.float32)),
            builder.constant(f"{name}/bias", bias.astype(np.float32)),
        ]
        target = builder.tensor(name, shape, np.float32)
        builder.operator(operator, operands, [target], options)
        return target

    image = builder.tensor("image", (1, 8, 8, 1), np.float32)
    o1, o2 = convolution_options(stride=1), convolution_options(stride=2)
    first = layer("conv1", "CONV_2D", image, kernel(p["w1"]), p["b1"], (1, 8, 8, len(p["b1"])), o1)
    second = layer("conv2", "CONV_2D", first, kernel(p["w2"]), p["b2"], (1, 4, 4, CONV2), o2)
    pooled = builder.tensor("pool", (1, 2, 2, CONV2), np.float32)
    builder.operator("MAX_POOL_2D", [second], [pooled], pool_options())
    flat = builder.tensor("flat", (1, 4 * CONV2), np.float32)
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = [1, 4 * CONV2]
    flat_shape = builder.constant("shape", np.array([1, 4 * CONV2], np.int32))
    builder.operator("RESHAPE", [pooled, flat_shape], [flat], reshape)
    dense = schema.FullyConnectedOptionsT()
    logits = layer("logits", "FULLY_CONNECTED", flat, p["w3"].T, p["b3"], (1, DIGITS), dense)
    result = builder.tensor("probabilities", (1, DIGITS), np.float32)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    builder.operator("SOFTMAX", [logits], [result], softmax)
    return builder.finish([image], [result])


def widened(p: dict[str, np.ndarray], factor: float) -> dict[str, np.ndarray]:
    """The same function, with one channel more in conv1: `factor` times the first one, and not used by conv2.

    Training leaves such channels behind where nothing bounds what it does not need; int8 then has few steps for the others.
    """
    w2 = p["w2"].reshape(9, CONV1, CONV2)
    w2 = np.concatenate([w2, np.zeros_like(w2[:, :1])], axis=1)
    w1 = np.concatenate([p["w1"], factor * p["w1"][:, :1]], axis=1)
    b1 = np.append(p["b1"], factor * p["b1"][0])
    return p | {"w1": w1, "b1": b1, "w2": w2.reshape(-1, CONV2)}


def write_float(directory: Path) -> None:
    """Writes two float networks of the same function, examples to calibrate with, and held-out examples with labels."""
    pixels, labels = load()
    held, kept = slice(0, HELD_OUT), slice(HELD_OUT, None)
    parameters = train(as_real(pixels[kept]), labels[kept])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "digits_float.tflite").write_bytes(float_model(parameters))
    (directory / "digits_wide.tflite").write_bytes(float_model(widened(parameters, WIDE)))
    real = as_real(pixels).astype(np.float32)
    np.savez(directory / "calibration.npz", image=real[kept][:CALIBRATION])
    np.savez(directory / "held_out.npz", image=real[held], labels=labels[held])
    np.save(directory / "one.npy", real[:1])


def pool_options() -> schema.Pool2DOptionsT:
    """2x2 windows side by side."""
    options = schema.Pool2DOptionsT()
    options.padding = schema.Padding.VALID
    options.filterHeight = options.filterWidth = options.strideH = options.strideW = 2
    return options


def answer(model: bytes, pixels: np.ndarray) -> np.ndarray:
    """tflite-micro's ten int8 outputs for one image of 8-bit pixels."""
    values = (pixels.astype(np.int16) - 128).astype(np.int8)[None]
    return tflite_micro(model, [values])[0][0]


# Writing


def write(directory: Path) -> dict:
    """Trains, quantizes and writes everything but the README; returns the accuracies."""
    pixels, labels = load()
    held, kept = slice(0, HELD_OUT), slice(HELD_OUT, None)
    parameters = train(as_real(pixels[kept]), labels[kept])
    model = quantized_model(parameters, forward(parameters, as_real(pixels[kept])))
    guesses = forward(parameters, as_real(pixels[held]))["logits"].argmax(axis=1)
    answers = np.stack([answer(model, image) for image in pixels[held]])
    accuracy = {
        "images": HELD_OUT,
        "float": float(np.mean(guesses == labels[held])),
        "int8_tflite_micro": float(np.mean(answers.argmax(axis=1) == labels[held])),
    }
    (directory / "images").mkdir(parents=True, exist_ok=True)
    (directory / "digits.tflite").write_bytes(model)
    (directory / "digits_float.tflite").write_bytes(float_model(parameters))
    images = write_images(directory / "images", pixels[held], labels[held], answers)
    (directory / "images.csv").write_text("".join(f"images/{name},{image['label']}\n" for name, image in images.items()))
    write_expected(directory / "expected.json", parameters, accuracy, images)
    return accuracy


def write_images(directory: Path, pixels, labels, answers) -> dict:
    """The first held-out images of every digit as PNG; returns what is expected of each."""
    expected = {}
    for digit in range(DIGITS):
        for number, index in enumerate(np.flatnonzero(labels == digit)[:IMAGES_PER_DIGIT]):
            name = f"{digit}_{number:02}.png"
            Image.fromarray(pixels[index, :, :, 0]).save(directory / name)
            output = [int(v) for v in answers[index]]
            expected[name] = {"label": digit, "digit": int(np.argmax(output)), "output": output}
    return expected


def write_expected(path: Path, parameters, accuracy: dict, images: dict) -> None:
    """Expected outputs with the script and versions that made them."""
    record = {
        "script": "tools/make_digits.py",
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "preprocessing": "8-bit grey pixel minus 128 as int8; scale 1/255, zero point -128",
        "parameters": int(sum(v.size for v in parameters.values())),
        "held_out": accuracy,
        "images": images,
    }
    lines = json.dumps(record, indent=2)
    for entry in images.values():  # one line per output vector
        lines = lines.replace(json.dumps(entry["output"], indent=2).replace("\n", "\n" + " " * 6), str(entry["output"]))
    path.write_text(lines + "\n")


def check() -> int:
    """Makes the example in a scratch directory and compares it with the committed one."""
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch))
        made = sorted(p.relative_to(scratch) for p in Path(scratch).rglob("*") if p.is_file())
        stale = [str(p) for p in made if not _same(Path(scratch) / p, EXAMPLE / p)]
    for name in stale:
        print(f"examples/digits/{name} is not what tools/make_digits.py makes", file=sys.stderr)
    print(f"{len(made) - len(stale)} of {len(made)} files equal")
    return int(bool(stale))


def _same(a: Path, b: Path) -> bool:
    return b.exists() and filecmp.cmp(a, b, shallow=False)


def main() -> int:
    """Entry point; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options.add_argument("--float", type=Path, metavar="DIR", help="write the float network and its data there only")
    arguments = options.parse_args()
    if arguments.check:
        return check()
    if arguments.float:
        write_float(arguments.float)
        return 0
    accuracy = write(EXAMPLE)
    print(f"held-out accuracy: float {accuracy['float']:.1%}, int8 {accuracy['int8_tflite_micro']:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
