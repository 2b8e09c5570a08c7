#!/usr/bin/env python3
"""Holds non-maximum suppression and box decoding to ONNX Runtime and LiteRT, on seeded random boxes.

    python tools/check_boxes.py [--bin-dir target/release] [--seeds 500] [--first 0] [--target v4h]

Per seed: an ONNX model of NonMaxSuppression, and a TFLite model of TFLite_Detection_PostProcess. The first runs in real numbers
(`cnnip fast`) and, from int8 or uint8 boxes and scores, as a package on the instruction set simulator; the second as float32, int8 (LiteRT: the same
numbers as uint8) or uint8. Numbers are drawn from few values, so that scores are often equal and boxes often the same. Kept boxes, their order and
their number must be the oracle's; boxes in real numbers equal to the last bit but for the exponential, which may be one unit of the
last place off.

Exit status: 0 when all are equal.

Needs `numpy`, `onnx`, `onnxruntime`, `flatbuffers` and `ai_edge_litert`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from onnx import TensorProto, helper, numpy_helper

import oracle_runs
from tflite_models import ModelBuilder, Quantization

OPSETS = (10, 11, 17)
UNITS = 1e-6  # relative difference of decoded edges that a last place of the exponential makes


def run(program: list) -> None:
    """Runs one of our binaries."""
    done = subprocess.run([str(word) for word in program], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{Path(str(program[0])).name}: status {done.returncode}: {done.stderr.strip()[:300]}")


class Bench:
    """Where binaries are, and a folder to work in."""

    def __init__(self, binaries: Path, target: str, folder: Path):
        self.binaries, self.target, self.folder = binaries, target, folder

    def arrays(self, inputs: dict, outputs: list[str]) -> tuple[list, list[Path]]:
        """Options for inputs and outputs, and where the outputs will be."""
        options, paths = [], []
        for name, values in inputs.items():
            np.save(self.folder / f"{name}.npy", values)
            options += ["--input", f"{name}={self.folder / name}.npy"]
        for name in outputs:
            paths.append(self.folder / f"{name}.out.npy")
            options += ["--output", f"{name}={paths[-1]}"]
        return options, paths

    def fast(self, model: Path, inputs: dict, outputs: list[str]) -> list[np.ndarray]:
        """A model in real numbers."""
        options, paths = self.arrays(inputs, outputs)
        run([self.binaries / "cnnip", "fast", model, *options])
        return [np.load(path) for path in paths]

    def package(self, model: Path, inputs: dict, outputs: list[str]) -> list[np.ndarray]:
        """A quantized model on the instruction set simulator."""
        options, paths = self.arrays(inputs, outputs)
        package = self.folder / "model.cnnip"
        run([self.binaries / "cnnip", "compile", model, "-o", package, "--target", self.target])
        run([self.binaries / "iss-run", package, *options])
        return [np.load(path) for path in paths]


# ONNX


def suppression(random, quantized: bool):
    """A model of NonMaxSuppression, its inputs as they are and as real numbers."""
    images, classes, count = random.integers(1, 3), random.integers(1, 5), random.integers(1, 40)
    center, opset = int(random.integers(0, 2)), int(random.choice(OPSETS))
    dtype = [np.int8, np.uint8][random.integers(0, 2)]
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max + 1
    steps = int(random.choice([3, 17, 256]))  # few values make ties
    grid = lambda shape: np.linspace(low, high - 1, steps)[random.integers(0, steps, shape)].astype(dtype)  # noqa: E731
    integers = {"boxes": grid((images, count, 4)), "scores": grid((images, classes, count))}
    scales = {name: np.float32(random.uniform(0.002, 0.1)) for name in integers}
    zeros = {name: dtype(random.integers(low, high)) for name in integers}
    real = {name: (values.astype(np.int32) - zeros[name]).astype(np.float32) * scales[name]
            for name, values in integers.items()}  # fmt: skip
    operands, constants = ["boxes_real", "scores_real"] if quantized else ["boxes", "scores"], []
    optional = {
        "most": np.array([random.integers(1, count + 4)], np.int64),
        "iou": np.array([random.choice([0, 0.25, 0.5, 1, random.uniform(0, 1)])], np.float32),
        "score": np.array([random.choice(np.append(real["scores"].reshape(-1), 0))], np.float32),
    }
    for name in list(optional)[: random.integers(1, 4)]:
        values = optional[name]
        constants.append(numpy_helper.from_array(values.reshape(()) if random.integers(0, 2) else values, name))
        operands.append(name)
    if len(operands) == 5 and random.integers(0, 4) == 0:
        operands[3] = ""
    nodes = [helper.make_node("NonMaxSuppression", operands, ["selected"], center_point_box=center)]
    infos = []
    for name, values in integers.items():
        kind = helper.np_dtype_to_tensor_dtype(values.dtype) if quantized else TensorProto.FLOAT
        infos.append(helper.make_tensor_value_info(name, kind, values.shape))
        if quantized:
            constants += [numpy_helper.from_array(scales[name], f"{name}_scale"),
                          numpy_helper.from_array(zeros[name], f"{name}_zero")]  # fmt: skip
            operand = [name, f"{name}_scale", f"{name}_zero"]
            nodes.insert(0, helper.make_node("DequantizeLinear", operand, [f"{name}_real"]))
    output = helper.make_tensor_value_info("selected", TensorProto.INT64, ["rows", 3])
    graph = helper.make_graph(nodes, "boxes", infos, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model, integers if quantized else real


def check_suppression(bench: Bench, seed: int, quantized: bool) -> str | None:
    """What is wrong, if anything."""
    model, inputs = suppression(np.random.default_rng([seed, int(quantized)]), quantized)
    path = bench.folder / "model.onnx"
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, inputs)
    (found,) = (bench.package if quantized else bench.fast)(path, inputs, ["selected"])
    if found.dtype != np.int64 or found.shape != wanted.shape:
        return f"{found.dtype} {found.shape}, wanted {wanted.dtype} {wanted.shape}"
    return None if np.array_equal(found, wanted) else f"{found.tolist()}\n  wanted {wanted.tolist()}"


# TFLite


def detection(random, dtype):
    """A model of TFLite_Detection_PostProcess and its inputs."""
    count, classes, background = int(random.integers(1, 40)), int(random.integers(1, 6)), int(random.integers(0, 2))
    length = 4 + 2 * int(random.integers(0, 2))
    regular = bool(random.integers(0, 2))
    options = {
        "max_detections": int(random.integers(1, 12)),
        # Several classes of a box with equal scores come in no order of their own in LiteRT: one class per box here.
        "max_classes_per_detection": 1,
        "nms_score_threshold": float(np.float32(random.choice([0.0, 0.3, random.uniform(0, 1)]))),
        "nms_iou_threshold": float(np.float32(random.choice([0.2, 0.5, 1.0, random.uniform(0.01, 1)]))),
        "num_classes": classes,
        "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    if regular or random.integers(0, 2):
        options["use_regular_nms"] = regular
    if random.integers(0, 2):
        options["detections_per_class"] = int(random.integers(1, 20))
    anchors = random.uniform([0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.5, 0.5], (count, 4)).astype(np.float32)
    anchors[count // 2 :] = anchors[: count - count // 2]  # the same anchors twice
    codes = random.normal(0, 2, (1, count, length)).astype(np.float32)
    steps = int(random.choice([4, 20, 255]))
    scores = (random.integers(0, steps + 1, (1, count, classes + background)) / steps).astype(np.float32)
    build = ModelBuilder("boxes")
    if dtype == np.float32:
        inputs, constant = [codes, scores], build.constant("anchors", anchors)
        names = [build.tensor(n, v.shape, v.dtype) for n, v in zip(("codes", "scores"), inputs, strict=True)]
    else:
        limits = np.iinfo(dtype)
        inputs, names = [], []
        for name, values, scale, zero in (("codes", codes, 0.06, -3), ("scores", scores, 1 / 255, -128),
                                          ("anchors", anchors, 0.004, -128)):  # fmt: skip
            zero += 128 + limits.min
            integers = np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(dtype)
            quantization = Quantization.per_tensor(scale, zero)
            if name == "anchors":
                constant = build.constant(name, integers, quantization)
            else:
                inputs.append(integers)
                names.append(build.tensor(name, integers.shape, dtype, quantization))
    # Converters leave the shapes of the results out.
    outputs = [build.tensor(name, (), np.float32) for name in ("boxes", "classes", "found", "count")]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = "TFLite_Detection_PostProcess", 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [*names, constant], outputs
    operator.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(options)), np.uint8)
    build.model.operatorCodes.append(code)
    build.graph.operators.append(operator)
    return build.finish(names, outputs), inputs


def check_detection(bench: Bench, seed: int, dtype) -> str | None:
    """What is wrong, if anything."""
    of = lambda kind: detection(np.random.default_rng([seed, 2]), kind)  # noqa: E731
    model, inputs = of(dtype)
    path = bench.folder / "model.tflite"
    path.write_bytes(model)
    # LiteRT does not take int8 here: the same numbers as uint8.
    wanted = oracle_runs.litert(*of(np.uint8 if dtype == np.int8 else dtype))
    named = dict(zip(("codes", "scores"), inputs, strict=True))
    outputs = ["boxes", "classes", "found", "count"]
    found = (bench.fast if dtype == np.float32 else bench.package)(path, named, outputs)
    count = int(wanted[3][0])
    if found[3].tolist() != wanted[3].tolist():
        return f"{found[3].tolist()} boxes, wanted {wanted[3].tolist()}"
    # Rows behind the last are what memory held before, in LiteRT.
    (boxes, classes, scores), (b, c, s) = ([part[0][:count] for part in of[:3]] for of in (found, wanted))
    if not np.array_equal(classes, c) or not np.array_equal(scores, s):
        return f"classes {classes.tolist()}, wanted {c.tolist()}; scores {scores.tolist()}, wanted {s.tolist()}"
    if any(np.any(part[0][count:]) for part in found[:3]):
        return "rows behind the last are not zero"
    return None if np.allclose(boxes, b, rtol=UNITS, atol=UNITS) else f"{boxes.tolist()}\n  wanted {b.tolist()}"


def main() -> int:
    """Entry point; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--seeds", type=int, default=500, help="random cases of each kind (default 500)")
    options.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    options.add_argument("--target", default="v4h")
    arguments = options.parse_args()
    kinds = {
        "NonMaxSuppression float": lambda bench, seed: check_suppression(bench, seed, quantized=False),
        "NonMaxSuppression quantized": lambda bench, seed: check_suppression(bench, seed, quantized=True),
        "detections float": lambda bench, seed: check_detection(bench, seed, np.float32),
        "detections int8": lambda bench, seed: check_detection(bench, seed, np.int8),
        "detections uint8": lambda bench, seed: check_detection(bench, seed, np.uint8),
    }
    wrong = Counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments.bin_dir.resolve(), arguments.target, Path(folder))
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            for kind, check in kinds.items():
                try:
                    why = check(bench, seed)
                except RuntimeError as failure:
                    why = str(failure)
                if why:
                    wrong[kind] += 1
                    print(f"{kind}, seed {seed}: {why}", flush=True)
    for kind in kinds:
        print(f"{kind}: {arguments.seeds - wrong[kind]} of {arguments.seeds} equal")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
