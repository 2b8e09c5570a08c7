#!/usr/bin/env python3
"""Times the calibration of full-size networks on many pictures against the float engine's own inference of them, and measures its memory.

    cargo build --release -p cnnip-cli
    tools/bench_calibration.py [--images 1000] [--networks mobilenet_v2,resnet50] [--methods min-max,percentile,entropy,mse] [--folder]

Networks: those of `make_networks.py` at 224x224. Of each: `cnnip evaluate --levels float --threads 1` on the pictures, which is the float
engine's inference; ONNX Runtime's with one thread on a part of them; and `cnnip compile --calib` with each method, less the time of
`cnnip compile --ranges`, which compiles without calibration: so the search for the ranges counts. Wall time and processor time, and the
most memory that the whole command had. Pictures are seeded noise in one .npz file, or with `--folder` PNG files.

Needs `onnx`, `onnxruntime` and `numpy`; `--folder` Pillow as well.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

import make_networks
from bench_float import REPOSITORY, session

NETWORKS = ("mobilenet_v2", "resnet50")
METHODS = ("min-max", "percentile", "entropy", "mse")
SIZE = 224
ORACLE_IMAGES = 100
MOST_MIB, MOST_RATIO = 1024, 1.3  # the goals


# The most memory of a program counts what its process held before it became the program. So a process that holds little starts it.
MEASURED = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def run(command) -> np.ndarray:
    """Wall time and processor time of a program, in seconds, and its most memory, in MiB."""
    words = [sys.executable, "-c", MEASURED, *(str(word) for word in command)]
    return np.array(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split(), float)


def pictures(folder: pathlib.Path, count: int, files: bool) -> pathlib.Path:
    """Seeded pictures: an archive, or a folder of PNG files."""
    random = np.random.default_rng(1)
    if not files:
        np.savez(folder / "pictures.npz", image=random.integers(0, 256, (count, 3, SIZE, SIZE), np.uint8))
        return folder / "pictures.npz"
    from PIL import Image

    (folder / "pictures").mkdir()
    for number in range(count):
        # Blocks: noise of single pixels takes longer to decode than photographs do.
        coarse = random.integers(0, 256, (SIZE // 8, SIZE // 8, 3), np.uint8)
        Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)).save(folder / "pictures" / f"{number:05}.png")
    return folder / "pictures"


def oracle(model: pathlib.Path) -> float:
    """Seconds per picture of ONNX Runtime, one thread."""
    running, values = session(model), np.random.default_rng(2).random((1, 3, SIZE, SIZE), np.float32)
    running.run(None, {"image": values})
    start = time.perf_counter()
    for _ in range(ORACLE_IMAGES):
        running.run(None, {"image": values})
    return (time.perf_counter() - start) / ORACLE_IMAGES


def measure(program, name, folder, data, methods, images) -> bool:
    """Prints the table of a network; whether the goals are met."""
    model, package, ranges = folder / f"{name}.onnx", folder / "model.cnnip", folder / "ranges.json"
    compiled = [program, "compile", model, "-o", package]
    scale = ["--mean", "128", "--std", "64"] if data.is_dir() else []
    calibrated = lambda method: [*compiled, "--calib", data, "--calib-method", method, *scale]  # noqa: E731
    run([*calibrated("min-max"), "--calib-count", "1", "--save-ranges", ranges])
    idle = run([*compiled, "--ranges", ranges])
    inference = run([program, "evaluate", model, "--data", data, "--levels", "float", "--threads", "1", *scale])
    ort = oracle(model) * images
    print(f"{name}, {images} pictures\n  {'':12} {'wall s':>8} {'x':>6} {'cpu s':>8} {'x':>6} {'MiB':>6}")
    print(f"  {'float engine':12} {inference[0]:8.1f} {'':6} {inference[1]:8.1f}\n  {'ONNX Runtime':12} {ort:8.1f}")
    met = True
    for method in methods:
        found = run(calibrated(method))
        (wall, cpu, _), memory = found - idle, found[2]
        met &= wall / inference[0] <= MOST_RATIO and memory < MOST_MIB
        print(f"  {method:12} {wall:8.1f} {wall / inference[0]:6.2f} {cpu:8.1f} {cpu / inference[1]:6.2f} {memory:6.0f}", flush=True)
    return met


def main() -> int:
    """Entry point; status 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--folder", action="store_true", help="a folder of PNG files instead of an archive")
    parser.add_argument("--program", type=pathlib.Path, default=REPOSITORY / "target" / "release" / "cnnip")
    arguments = parser.parse_args()
    if not arguments.program.exists():
        sys.exit(f"{arguments.program} is missing: cargo build --release -p cnnip-cli")
    met = True
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        data = pictures(folder, arguments.images, arguments.folder)
        for name in arguments.networks.split(","):
            make_networks.write(name, folder, 1, False)
            met &= measure(arguments.program, name, folder, data, arguments.methods.split(","), arguments.images)
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
