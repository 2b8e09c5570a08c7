#!/usr/bin/env python3
"""MLPerf Tiny's float models against their int8 versions, at all levels, on seeded inputs; prints a table.

    cargo build --release -p cnnip-cli
    .venv/bin/python tools/check_tiny.py [--inputs 100] [--bin-dir target/release]

There is no labelled data beside the models, so the table has agreement and signal to noise, not accuracy. Networks that see take random
parts of photographs, the others numbers drawn evenly over the grid of the int8 model's input. Skips when ../shared/data is absent.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from bench_float import REPOSITORY

MODELS = (
    ("vww_96_float", "vww_96_int8", True),
    ("pretrainedResnet_float", "pretrainedResnet_quant", True),
    ("kws_ref_model_float32", "kws_ref_model", False),
    ("ad01_fp32", "ad01_int8", False),
)
PHOTOGRAPHS = ("grace_hopper.bmp", "bird.bmp")


def data():
    """The folder of models, or None."""
    found = [above / "shared" / "data" for above in REPOSITORY.parents]
    return next((folder for folder in found if folder.is_dir()), None)


def part(random, photograph, shape):
    """A random part of a photograph of at least the size, scaled to it, 0 to 255."""
    width, height = photograph.size
    side = int(random.integers(max(shape[:2]), min(width, height) + 1))
    left, top = (int(random.integers(0, extent - side + 1)) for extent in (width, height))
    box = (left, top, left + side, top + side)
    return np.asarray(photograph.resize((shape[1], shape[0]), Image.BILINEAR, box), np.float32)


def inputs(folder, model, sees, count):
    """Real numbers on the grid of the int8 model's input."""
    details = Interpreter(str(folder / f"{model}.tflite")).get_input_details()[0]
    (scale, zero), shape = details["quantization"], tuple(details["shape"][1:])
    random = np.random.default_rng(7)
    if not sees:
        codes = random.integers(-128, 128, (count, *shape))
    else:
        photographs = [Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS]
        codes = np.stack([part(random, photographs[i % len(photographs)], shape) for i in range(count)]).round() - 128
    return ((codes - zero) * scale).astype(np.float32)


def evaluate(program, folder, names, sees, count):
    real, whole, _ = names
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "data.npz"
        np.savez(path, input=inputs(folder, whole, sees, count))
        command = [program, "evaluate", folder / f"{whole}.tflite", "--float", folder / f"{real}.tflite"]
        command += ["--data", path, "--levels", "float,fast,accurate,iss", "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=REPOSITORY / "target" / "release")
    arguments = parser.parse_args()
    folder = data()
    if folder is None:
        print("skipped: ../shared/data not found")
        return 0
    print("| float | int8 | inputs | fast: agree, SQNR | accurate: agree, SQNR | iss: agree, SQNR |")
    print("|---|---|---:|---:|---:|---:|")
    for names in MODELS:
        found = evaluate(arguments.bin_dir / "cnnip", folder, names, names[2], arguments.inputs)
        cell = lambda level: f"{100 * level['agree'] / found['examples']:.0f} %, {level['sqnr_db']:.1f} dB"
        cells = " | ".join(cell(level) for level in found["levels"][1:])
        print(f"| `{names[0]}` | `{names[1]}` | {found['examples']} | {cells} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
