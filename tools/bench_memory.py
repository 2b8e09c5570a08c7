#!/usr/bin/env python3
"""Measures the most memory that the simulators and XNNPACK take for one run of a network, above that of a process that does nothing.

    cargo build --release -p cnnip-cli
    tools/bench_memory.py MODEL.tflite... [--json]

Files that were mapped and read are in it: the package of ours, the model of LiteRT. Needs `ai_edge_litert`, and what
`bench_evaluate.py` needs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from bench_evaluate import REPOSITORY, most_memory

XNNPACK = """
import sys
from ai_edge_litert.interpreter import Interpreter
def status(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(what)) / 1024
before = status("VmRSS")
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
interpreter.invoke()
print(status("VmHWM") - before)
"""


def write_input(model, path):
    """Zeros for the model's only input."""
    from ai_edge_litert.interpreter import Interpreter

    detail = Interpreter(model_path=str(model)).get_input_details()[0]
    np.save(path, np.zeros(detail["shape"], detail["dtype"]))


def measure(model, programs, folder):
    """MiB above the bare process, by name."""
    package, image = folder / "model.cnnip", folder / "input.npy"
    subprocess.run([programs / "cnnip", "compile", model, "-o", package], check=True, capture_output=True)
    write_input(model, image)
    bare = {name: most_memory([programs / name, "--version"]) for name in ("iss-run", "cnnip")}
    xnnpack = subprocess.run([sys.executable, "-c", XNNPACK, model], check=True, capture_output=True)
    return {
        "ISS": most_memory([programs / "iss-run", package, image]) - bare["iss-run"],
        "Accurate": most_memory([programs / "cnnip", "accurate", package, image, "--threads", "1"]) - bare["cnnip"],
        "LiteRT XNNPACK": float(xnnpack.stdout),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--programs", type=pathlib.Path, default=REPOSITORY / "target" / "release")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {}
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as name:
            found[model.stem] = measure(model, arguments.programs, pathlib.Path(name))
    if arguments.json:
        return print(json.dumps(found, indent=1))
    for name, row in found.items():
        base = row["LiteRT XNNPACK"]
        print(name, *(f"  {what}: {mebibytes:.1f} MiB, {mebibytes / base:.2f}x" for what, mebibytes in row.items()), sep="\n")


if __name__ == "__main__":
    main()
