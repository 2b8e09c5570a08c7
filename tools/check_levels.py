#!/usr/bin/env python3
"""Every tensor of networks on the Accurate Simulator against the command lists, rebuilt through the tile map, for several targets.

    tools/check_levels.py --bin-dir target/release --targets v3m,v3h,v3u,v3u/3,v4h [--inputs N] [--markdown] [MODEL...]

MODEL is a .tflite or .onnx file; without any, all int8 networks of ../shared/data. A float model has its examples for calibration beside
it, as tools/make_networks.py writes them: NAME.calib.npz. `v3u/3` are three cores. Inputs are seeded random elements.
Needs `numpy`. Exit status: 0 when every element of every tensor is equal, 1 otherwise.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from report_tables import as_markdown, as_text

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "../shared/data"
NETWORKS = (
    "ad01_int8",
    "kws_ref_model",
    "mobilenet_v2_quantized_1x3x224x224",
    "person_detect",
    "pretrainedResnet_quant",
    "vww_96_int8",
)
HEADING = ["network", "target", "inputs", "tensors", "elements", "different"]


def random_input(description: dict, seed: int) -> np.ndarray:
    """Random elements of an input as `cnnip info` describes it."""
    random, kind, shape = np.random.default_rng(seed), np.dtype(description["type"]), description["shape"]
    if kind.kind == "f":
        return random.normal(size=shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, kind, endpoint=True)


def asked(program: Path, *arguments: str) -> dict:
    """What a command prints as JSON; 1 is the exit status of a difference."""
    done = subprocess.run([program, *arguments, "--json"], capture_output=True, text=True, check=False)
    if done.returncode > 1:
        sys.exit(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def compared(program: Path, model: Path, target: str, inputs: int) -> list[str]:
    """The row of a network on a target."""
    tensors = elements = different = 0
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "network.cnnip"
        name, _, cores = target.partition("/")
        examples = model.with_suffix(".calib.npz")
        options = ["--cores", cores] * bool(cores) + ["--calib", str(examples)] * examples.exists()
        asked(program, "compile", str(model), "-o", str(package), "--target", name, *options)
        descriptions = asked(program, "info", str(package))["inputs"]
        for seed in range(inputs):
            options = []
            for index, description in enumerate(descriptions):
                path = Path(scratch) / f"{index}.npy"
                np.save(path, random_input(description, seed + index))
                options += ["--input", f"{description['name']}={path}"]
            found = asked(program, "compare", f"accurate:{package}", f"iss:{package}", *options)["tensors"]
            tensors = len(found)
            elements += sum(tensor["elements"] for tensor in found)
            different += sum(tensor["different"] for tensor in found)
    return [model.stem, target, *(str(count) for count in (inputs, tensors, elements, different))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "target/release")
    parser.add_argument("--targets", default="v3m,v3h,v3u,v3u/3,v4h")
    parser.add_argument("--inputs", type=int, default=1)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    models = arguments.models or [DATA / f"{name}.tflite" for name in NETWORKS]
    missing = [model for model in models if not model.exists()]
    if missing and not arguments.models:
        print("skipped: ../shared/data not found")
        return 0
    program = arguments.bin_dir / "cnnip"
    rows = [
        compared(program, model, target, arguments.inputs)
        for model in models
        for target in arguments.targets.split(",")
    ]
    print((as_markdown if arguments.markdown else as_text)([HEADING, *rows]))
    return 0 if all(row[-1] == "0" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
