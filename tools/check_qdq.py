#!/usr/bin/env python3
"""Runs what `cnnip export` writes in ONNX Runtime, and compares it with `cnnip fast` on the same inputs.

    cargo build --release -p cnnip-cli
    .venv/bin/python tools/check_qdq.py [--inputs 5] [--bin-dir target/release] [MODEL.tflite ..]

Models are quantized ones with one input; without any, the digits, and those of ../shared/data where it is. Outputs may differ where
sums in binary32 fall on a tie, and a softmax makes several steps of one; more than a quarter of the elements, or more than ten
steps, is an error. ONNX Runtime is told to leave the pairs of QuantizeLinear and DequantizeLinear as they are: by default it makes
other integer arithmetic of them.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

from bench_float import REPOSITORY
from check_tiny import data

SHARED = ("person_detect", "vww_96_int8", "pretrainedResnet_quant", "kws_ref_model", "ad01_int8")
# Share and steps that may differ; nothing, of models that are not named. Here an exact result lies nearer to a half than binary32 can
# tell (docs/fast.md), and the layers behind it pass that on.
KNOWN = {"pretrainedResnet_quant": (0.25, 10)}


def session(path):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compare(program, model, count):
    """Share of elements that differ, and by how many steps at most."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        run = lambda *words: subprocess.run([program, *map(str, words)], check=True, capture_output=True)
        run("export", model, "-o", folder / "model.onnx")
        runtime = session(folder / "model.onnx")
        entry = runtime.get_inputs()[0]
        random = np.random.default_rng(3)
        differences = []
        for _ in range(count):
            limits = np.iinfo(np.uint8 if "uint8" in entry.type else np.int8)
            values = random.integers(limits.min, limits.max + 1, entry.shape).astype(limits.dtype)
            np.save(folder / "input.npy", values)
            run("fast", model, folder / "input.npy", "--output", folder / "output.npy")
            want = runtime.run(None, {entry.name: values})[0].astype(int)
            differences.append(np.abs(np.load(folder / "output.npy").astype(int) - want).ravel())
        differences = np.concatenate(differences)
        return float((differences > 0).mean()), int(differences.max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--inputs", type=int, default=5)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=REPOSITORY / "target" / "release")
    arguments = parser.parse_args()
    models = arguments.models or [REPOSITORY / "examples" / "digits" / "digits.tflite"]
    if not arguments.models and data() is None:
        print("skipped: ../shared/data not found")
    elif not arguments.models:
        models += [data() / f"{name}.tflite" for name in SHARED]
    failed = False
    for model in models:
        share, most = compare(arguments.bin_dir / "cnnip", model, arguments.inputs)
        largest = KNOWN.get(model.stem, (0.0, 0))
        failed |= share > largest[0] or most > largest[1]
        print(f"{model.stem}: {100 * share:.3f} % of the outputs differ, by {most} steps at most")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
