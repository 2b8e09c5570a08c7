#!/usr/bin/env python3
"""What fewer bits and fewer weights do to the digits: accuracy over all held-out images, bytes and cycles.

    .venv/bin/python tools/check_digits.py --bin-dir target/release [--markdown]

The float network of `make_digits.py --float`, compiled in several ways, runs on the Accurate Simulator over all 500 held-out images;
the instruction set simulator runs the first ten of each and must give the same. Float is `cnnip evaluate --levels float`.

Exit status: 0 when the simulators agree, 1 otherwise.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from report_tables import as_markdown, as_text

VARIANTS = {
    "int8": [],
    "16 bit": ["--int16", "*"],
    "int8, a quarter of the weights 0": ["--prune", "0.25", "--weights", "smallest"],
    "int8, half of the weights 0": ["--prune", "0.5", "--weights", "smallest"],
    "int8, half of the weight blocks 0": ["--prune", "0.5", "--prune-blocks", "--weights", "sparse"],
    "int8, 128 kernels per layer": ["--cluster", "7", "--weights", "cluster"],
    "int8, 16 kernels per layer": ["--cluster", "4", "--weights", "cluster"],
}
ON_THE_MACHINE = 10
TARGET = "v4h"


def run(*command) -> str:
    """What a program prints; it must not fail."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def accurate(binaries: Path, package: Path, data: Path, folder: Path) -> list[np.ndarray]:
    """The outputs of all examples."""
    output = json.loads(run(binaries / "cnnip", "info", package, "--json"))["outputs"][0]["name"]
    pattern = folder / "{}.npz"
    run(binaries / "cnnip", "accurate", package, "--data", data, "--dump", pattern, "--tensors", output)
    found = sorted(folder.glob("*.npz"), key=lambda path: int(path.stem))
    return [np.load(path)[output].ravel() for path in found]


def machine(binaries: Path, package: Path, image: np.ndarray, folder: Path) -> np.ndarray:
    """The output of one example on the instruction set simulator."""
    np.save(folder / "image.npy", image)
    run(binaries / "iss-run", package, folder / "image.npy", "--output", folder / "output.npy")
    return np.load(folder / "output.npy").ravel()


def measure(binaries: Path, network: Path, options: list[str]) -> tuple[list[str], bool]:
    """Accuracy, bytes that the machine loads, and cycles of a variant, and whether the simulators agree."""
    with tempfile.TemporaryDirectory() as name:
        folder, package = Path(name), Path(name) / "digits.cnnip"
        calibration = ["--calib", network / "calibration.npz"]
        command = ["compile", network / "digits_float.tflite", "-o", package, "--target", TARGET, "--json"]
        made = json.loads(run(binaries / "cnnip", *command, *calibration, *options))
        held_out = np.load(network / "held_out.npz")
        outputs = accurate(binaries, package, network / "held_out.npz", folder)
        right = np.mean([output.argmax() == label for output, label in zip(outputs, held_out["labels"], strict=True)])
        images = held_out["image"][:ON_THE_MACHINE, None]
        equal = all(np.array_equal(machine(binaries, package, x, folder), y) for x, y in zip(images, outputs, strict=False))
        return [f"{right:.1%}", f"{made['report']['loaded_bytes']:,}", f"{made['report']['cycles_estimate']:,}"], equal


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = options.parse_args()
    binaries = arguments.bin_dir.resolve()
    rows, equal = [("network", "right", "bytes loaded", f"cycles on {TARGET}")], True
    with tempfile.TemporaryDirectory() as name:
        network = Path(name)
        run(sys.executable, Path(__file__).with_name("make_digits.py"), "--float", network)
        command = ["evaluate", network / "digits_float.tflite", "--data", network / "held_out.npz", "--levels", "float", "--json"]
        found = json.loads(run(binaries / "cnnip", *command))
        weights = (network / "digits_float.tflite").stat().st_size
        rows.append(("float", f"{found['levels'][0]['top1'] / found['examples']:.1%}", f"{weights:,} (file)", "-"))
        for variant, flags in VARIANTS.items():
            row, same = measure(binaries, network, flags)
            rows.append((variant, *row))
            equal &= same
    print((as_markdown if arguments.markdown else as_text)(rows))
    if not equal:
        print("the simulators do not agree")
    return int(not equal)


if __name__ == "__main__":
    sys.exit(main())
