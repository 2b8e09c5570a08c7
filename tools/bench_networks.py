#!/usr/bin/env python3
"""Times whole networks: `iss-run` as a process against LiteRT's and tflite-micro's invoke, interleaved, one thread.

    .venv/bin/python tools/bench_networks.py --bin-dir target/release --runs 15

`iss-run` is timed as its user runs it: process start, reading the package and the image, default checks, printing the
result. The others are timed from the call of invoke to its end, in a process that is warm. So the ratios flatter the
others. Prints medians and ratios, and appends a record with `--record FILE` (JSON).
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from check_networks import DATA
from oracle_runs import versions
from our_runs import Binaries
from tflite_models import tensor_names

NETWORKS = [
    "mobilenet_v2_quantized_1x3x224x224",
    "vww_96_int8",
    "pretrainedResnet_quant",
    "kws_ref_model",
    "ad01_int8",
]


def litert(model: bytes, reference: bool):
    """A warm LiteRT interpreter and its input's details."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    return interpreter


def tflite_micro(model: bytes, values: np.ndarray):
    """A warm tflite-micro interpreter."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=10 * len(model) + (1 << 24))
    interpreter.set_input(values, 0)
    return interpreter


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(name: str, path: Path, options) -> dict:
    """Medians in milliseconds of all runtimes on one network."""
    model = path.read_bytes()
    reference, xnnpack = litert(model, reference=True), litert(model, reference=False)
    detail = reference.get_input_details()[0]
    values = np.random.default_rng(1).integers(-128, 128, detail["shape"], dtype=np.int8)
    for interpreter in (reference, xnnpack):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    micro = tflite_micro(model, values)
    with tempfile.TemporaryDirectory() as scratch:
        package, image, out = (Path(scratch) / name for name in ("model.cnnip", "in.npy", "out.npy"))
        np.save(image, values)
        Binaries(options.bin_dir).compile(path, package)
        input_name, output_name = tensor_names(model)[0][0], tensor_names(model)[1][0]
        command = [options.bin_dir / "iss-run", package, "--input", f"{input_name}={image}"]
        command += ["--output", f"{output_name}={out}"]
        runners = {
            "iss-run": lambda: subprocess.run(command, check=True, capture_output=True),
            "LiteRT reference": reference.invoke,
            "LiteRT XNNPACK": xnnpack.invoke,
            "tflite-micro": micro.invoke,
        }
        times = {runner: [] for runner in runners}
        for turn in range(options.runs + 1):
            for runner, call in runners.items():
                spent = seconds(call)
                if turn > 0:  # the first turn warms up
                    times[runner].append(spent)
        package_bytes = package.stat().st_size
    medians = {runner: statistics.median(spent) * 1e3 for runner, spent in times.items()}
    return {"network": name, "package_bytes": package_bytes, "milliseconds": medians}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=DATA, help=f"where the networks are (default {DATA})")
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--runs", type=int, default=15, help="timed runs of each (default 15)")
    options.add_argument("--record", type=Path, help="write the figures as JSON")
    options = options.parse_args()
    if not options.data.is_dir():
        print(f"skipped: {options.data} not found")
        return 0
    rows = []
    print(f"{'network':38} {'iss-run':>9} {'reference':>10} {'XNNPACK':>9} {'micro':>9}   ratios: reference, XNNPACK")
    for name in NETWORKS:
        row = measure(name, options.data / f"{name}.tflite", options)
        rows.append(row)
        ours, reference, xnnpack, micro = row["milliseconds"].values()
        print(f"{name:38} {ours:9.2f} {reference:10.2f} {xnnpack:9.2f} {micro:9.2f}   "
              f"{reference / ours:.2f}x faster, {ours / xnnpack:.2f}x its time")
    if options.record:
        record = {"date": str(date.today()), "oracles": versions(), "processor": platform.machine(), "rows": rows}
        options.record.parent.mkdir(parents=True, exist_ok=True)
        options.record.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
