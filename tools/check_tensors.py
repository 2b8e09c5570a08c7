#!/usr/bin/env python3
"""Compares every tensor of real networks between the Accurate Simulator and the oracles, element by element.

    .venv/bin/python tools/check_tensors.py --bin-dir target/release --inputs 100

A tensor is compared with that of LiteRT's reference kernels in a run that keeps all tensors. Where the two part, the
operator that wrote it is cut out as a network of its own, fed our own tensors, and run by tflite-micro: the device's
rounding is that of tflite-micro, and a fully connected layer of LiteRT rounds otherwise. A network that LiteRT refuses is
compared with tflite-micro throughout, operator by operator.

The networks are third-party data beside the project; without them the script says so and succeeds.

Exit status: 0 when every element is equal to one of the two, 1 otherwise.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from check_networks import DATA, NETWORKS, PERSON, ROOT, input_for
from oracle_runs import Crash, differing, isolated, litert_tensors, tflite_micro, versions
from report_tables import as_markdown, as_text
from tflite_models import computed_inputs, operator_name, single_operator, unpack

TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Run:
    """One input of one network."""

    model: Path
    seed: int
    directory: Path


def compare(job: Run) -> dict[str, np.ndarray]:
    """Per operator: tensors, elements, tensors that equal LiteRT's, those that equal tflite-micro's only, wrong elements."""
    model = job.model.read_bytes()
    values = input_for(model, job.seed)
    ours = our_tensors(job, values)
    theirs = by_litert(model, values)
    graph = unpack(model)
    rows: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(6, dtype=np.int64))
    for index, operator in enumerate(graph.subgraphs[0].operators):
        for tensor in operator.outputs:
            name = graph.subgraphs[0].tensors[tensor].name.decode()
            rows[operator_name(graph, operator)] += compared(graph, index, ours, name, theirs.get(tensor))
    return dict(rows)


def by_litert(model: bytes, values: np.ndarray) -> dict[int, np.ndarray]:
    """LiteRT's tensors by index; none of a network it refuses."""
    try:
        return litert_tensors(model, [values])
    except (RuntimeError, ValueError) as refusal:
        print(f"LiteRT refuses the network: {str(refusal)[:100]}", file=sys.stderr)
        return {}


def compared(graph, index: int, ours, name: str, expected: np.ndarray | None) -> tuple[int, ...]:
    """One tensor: 1, its elements, whether LiteRT or only tflite-micro agrees, wrong elements, whether it was fused away."""
    if name not in ours:
        return 1, 0, 0, 0, 0, 1
    elements = ours[name].size
    if expected is not None and differing(expected, ours[name]) == 0:
        return 1, elements, 1, 0, 0, 0
    subgraph = graph.subgraphs[0]
    operator = subgraph.operators[index]
    inputs = [subgraph.tensors[tensor].name.decode() for tensor in computed_inputs(graph, operator)]
    if any(tensor not in ours for tensor in inputs):
        return 1, elements, 0, 0, elements, 0
    (alone,) = tflite_micro(single_operator(graph, index), [ours[tensor] for tensor in inputs])
    wrong = differing(alone, ours[name])
    return 1, elements, 0, int(wrong == 0), wrong, 0


def our_tensors(job: Run, values: np.ndarray) -> dict[str, np.ndarray]:
    """All tensors of a run of the Accurate Simulator, by name."""
    with tempfile.TemporaryDirectory() as scratch:
        given, dump = Path(scratch) / "input.npy", Path(scratch) / "tensors.npz"
        np.save(given, values)
        command = [str(job.directory / "cnnip"), "accurate", str(job.model), str(given), "--dump", str(dump)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"cnnip accurate: status {done.returncode}: {done.stderr.strip()}")
        with np.load(dump) as archive:
            return {name: archive[name] for name in archive.files}


def main() -> int:
    arguments = parse()
    data = arguments.data if arguments.data.is_absolute() else ROOT / arguments.data
    models = [data / f"{name}.tflite" for name in (*NETWORKS, PERSON)]
    models = [model for model in models if model.is_file()]
    if not models:
        print("skipped: ../shared/data not found")
        return 0
    directory = arguments.bin_dir.resolve()
    jobs = [Run(model, seed, directory) for model in models for seed in range(arguments.inputs)]
    totals: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(6, dtype=np.int64))
    crashed = 0
    for job, rows in isolated(compare, jobs, arguments.workers):
        if isinstance(rows, Crash):
            crashed += 1
            print(f"{job.model.stem} seed {job.seed}: {rows}", file=sys.stderr)
            continue
        for operator, counts in rows.items():
            totals[job.model.stem, operator] += counts
    heading = ("network", "operator", "tensors", "elements", "= LiteRT", "= tflite-micro only", "wrong", "fused away")
    table = [heading] + [(*key, *map(str, counts)) for key, counts in sorted(totals.items())]
    print((as_markdown if arguments.markdown else as_text)(table))
    print(f"{arguments.inputs} random inputs each; {versions()}")
    wrong = sum(int(counts[4]) for counts in totals.values())
    return 1 if wrong or crashed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "target/release", help="folder of our binaries")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the networks")
    parser.add_argument("--inputs", type=int, default=2, help="random inputs per network")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
