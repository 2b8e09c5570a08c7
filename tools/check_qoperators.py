#!/usr/bin/env python3
"""Compares our simulator with ONNX Runtime on random models of one quantized operator each, element by element.

    .venv/bin/python tools/check_qoperators.py --bin-dir target/release --seeds 500 --markdown docs/operators.md
    .venv/bin/python tools/check_qoperators.py --operators conv,add --seeds 20

The models are in QOperator form, int8 and uint8, compiled with `--rounding float`; ONNX Runtime runs them with all
graph optimizations off, on one thread. Its byte products need a processor with AVX512-VNNI or AVX-VNNI: on older
ones they saturate at 16 bits, which no model means.

Exit status: 0 when every element of every model is equal, apart from the operators that `DIFFERING` names, whose elements
may differ by one; 1 otherwise.
"""

import argparse
import itertools
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

import random_qoperators
from oracle_runs import Crash, isolated
from our_runs import Binaries, Refused
from report_tables import as_markdown, as_text

REPORTED_FAILURES = 20
# The rule that differs, and the most by which an element may.
DIFFERING = {
    "average_pool": (
        "the oracle sums de-quantized binary32 numbers, the machine sums integers: where the exact quotient lies half-way "
        "between two integers, the oracle's rounding errors decide",
        1,
    )
}


@dataclass(frozen=True)
class Job:
    """One random model to run on one target."""

    operator: str
    types: str
    seed: int
    ours: Binaries
    keep: Path | None = None

    def __str__(self):
        return f"{self.operator} {self.types} seed {self.seed} {self.ours.target}"

    @property
    def row(self) -> str:
        """Where it counts in the report."""
        return f"{self.operator} {self.types}"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `elements` compared, `wrong` of them by at most `most`; or refused, by whom `detail` says."""

    kind: str
    elements: int = 0
    wrong: int = 0
    most: int = 0
    detail: str = ""


def onnx_runtime(model: bytes, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The output ONNX Runtime gives."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def ours(binaries: Binaries, case: random_qoperators.Case) -> np.ndarray:
    """The output our binaries give."""
    with tempfile.TemporaryDirectory() as scratch:
        source, package = Path(scratch) / "model.onnx", Path(scratch) / "model.cnnip"
        source.write_bytes(case.model)
        binaries.compile(source, package)
        return binaries.run(package, case.inputs, ["y"])[0]


def run(job: Job) -> Outcome:
    """Builds the model, asks both sides, compares."""
    case = random_qoperators.make(job.operator, job.seed, job.types)
    try:
        expected = onnx_runtime(case.model, case.inputs)
    except Exception as refusal:  # the runtime's exceptions have no common base of their own
        return Outcome("no oracle", detail=f"{case.note}: {str(refusal).splitlines()[0]}")
    try:
        actual = ours(job.ours, case)
    except Refused as refusal:
        keep(job, case, expected, None)
        return Outcome("refused", expected.size, detail=f"{case.note}: {str(refusal).splitlines()[0]}")
    outcome = compare(case, expected, actual)
    if outcome.wrong:
        keep(job, case, expected, actual)
    return outcome


def compare(case: random_qoperators.Case, expected: np.ndarray, actual: np.ndarray) -> Outcome:
    """Counts the elements that differ, and by how much at most."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        detail = f"{case.note}: {actual.dtype}{list(actual.shape)} for {expected.dtype}{list(expected.shape)}"
        return Outcome("compared", expected.size, expected.size, 255, detail)
    apart = np.abs(expected.astype(np.int32) - actual.astype(np.int32))
    wrong, most = int(np.count_nonzero(apart)), int(apart.max(initial=0))
    return Outcome("compared", expected.size, wrong, most, f"{case.note}: {wrong} of {expected.size} differ, by {most}")


def keep(job: Job, case: random_qoperators.Case, expected: np.ndarray, actual: np.ndarray | None) -> None:
    """Leaves a failing case in the directory asked for."""
    if job.keep is None:
        return
    job.keep.mkdir(parents=True, exist_ok=True)
    stem = job.keep / str(job).replace(" ", "_")
    stem.with_suffix(".onnx").write_bytes(case.model)
    arrays = {**case.inputs, "expected": expected} | ({} if actual is None else {"actual": actual})
    np.savez(stem.with_suffix(".npz"), **arrays)


def fails(job: Job, outcome: Outcome) -> bool:
    """Whether an outcome is not as it is to be."""
    if outcome.kind == "refused":
        return True
    _, allowed = DIFFERING.get(job.operator, ("", 0))
    return outcome.most > allowed


COLUMNS = ("models", "elements", "equal", "differ", "by at most", "refused", "no oracle")


def table(totals: dict[str, Counter]) -> list[tuple[str, ...]]:
    """Rows of the report: models, elements, and what became of them."""
    return [("operator", *COLUMNS)] + [(name, *(f"{t[c]:,}" for c in COLUMNS)) for name, t in totals.items()]


def versions() -> str:
    """One line that names the oracle in use."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("onnxruntime", "onnx", "numpy"))


BEGIN, END = "<!-- quantized operators: begin -->", "<!-- quantized operators: end -->"


def write(page: Path, section: str) -> None:
    """Puts the section between its marks on the page; a page without them is that section."""
    text = page.read_text() if page.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    marked = f"{BEGIN}\n{section}{END}"
    page.write_text(f"{before}{marked}{after}" if begin and end else f"{marked}\n")


def section(arguments, rows) -> str:
    """What is written for people."""
    rules = "\n".join(f"- `{name}` *differs*: {rule}." for name, (rule, _) in DIFFERING.items())
    return (
        f"Random models of one operator each in QOperator form, {arguments.seeds} seeds from {arguments.first} per type, "
        f"rounding `float`, on {arguments.targets}; ONNX Runtime with graph optimizations off. *Equal* and *differ* count "
        "output elements, *refused* models we do not take, *no oracle* models that ONNX Runtime refuses.\n\n"
        f"Made by `tools/check_qoperators.py` with {versions()}.\n\n{as_markdown(rows)}\n\n{rules}\n"
    )


def parse() -> argparse.Namespace:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ",".join(random_qoperators.OPERATORS)
    options.add_argument("--operators", default=known, help=f"comma-separated (default {known})")
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--seeds", type=int, default=500, help="models per operator and type (default 500)")
    options.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    options.add_argument("--types", default="int8,uint8", help="comma-separated (default int8,uint8)")
    options.add_argument("--targets", default="v4h", help="comma-separated targets (default v4h)")
    options.add_argument("--markdown", type=Path, help="also write the table between its marks on this page")
    options.add_argument("--keep", type=Path, help="leave failing models, inputs and outputs here")
    options.add_argument("--workers", type=int, default=2)
    arguments = options.parse_args()
    unknown = set(arguments.operators.split(",")) - set(random_qoperators.OPERATORS)
    unknown |= set(arguments.types.split(",")) - set(random_qoperators.DTYPES)
    if unknown:
        options.error(f"unknown operator or type {', '.join(sorted(unknown))}")
    if not (arguments.bin_dir / "iss-run").exists():
        options.error(f"no iss-run in {arguments.bin_dir}; build it with: cargo build --release")
    return arguments


def make_jobs(arguments) -> list[Job]:
    """Every operator, type, seed and target asked for."""
    directory = arguments.bin_dir.resolve()
    sides = [Binaries(directory, target, "float") for target in arguments.targets.split(",")]
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    choices = itertools.product(arguments.operators.split(","), arguments.types.split(","), seeds, sides)
    return [Job(*choice, arguments.keep) for choice in choices]


def main() -> int:
    """Entry point; returns the exit status."""
    arguments = parse()
    print(versions())
    jobs = make_jobs(arguments)
    totals: dict[str, Counter] = defaultdict(Counter, {job.row: Counter() for job in jobs})
    failures = 0
    for job, outcome in isolated(run, jobs, arguments.workers):
        if isinstance(outcome, Crash):
            outcome = Outcome("no oracle", detail=str(outcome))
        total, counted = totals[job.row], outcome.kind == "compared"
        equal = outcome.elements - outcome.wrong if counted else 0
        total.update({"models": 1, "elements": outcome.elements, "equal": equal, "differ": outcome.wrong})
        total[outcome.kind] += 1
        total["by at most"] = max(total["by at most"], outcome.most)
        if fails(job, outcome):
            failures += 1
            if failures <= REPORTED_FAILURES:
                print(f"{job}: {outcome.detail}", file=sys.stderr)
    rows = table(totals)
    print(as_text(rows))
    if arguments.markdown:
        write(arguments.markdown, section(arguments, rows))
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
