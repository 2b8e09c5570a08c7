#!/usr/bin/env python3
"""Compares our simulator with the oracles on random models of one operator each, element by element.

    .venv/bin/python tools/check_operators.py --bin-dir target/release --seeds 150
    .venv/bin/python tools/check_operators.py --bin-dir target/release --seeds 150 --rounding float

With `--rounding double` the oracle is tflite-micro, and LiteRT's reference kernels where tflite-micro refuses the
model, dies of it, or pads otherwise. With `--rounding float` it is LiteRT's XNNPACK path, for the operators that have weights.
`--self-check` needs no binaries: it puts our numpy description of the kernels, or LiteRT's reference kernels, in
their place (LiteRT then differs in fully connected, which rounds otherwise, and refuses convolutions without bias).

Exit status: 0 when every element of every model is equal, 1 otherwise.
"""

import argparse
import itertools
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import random_models
import tflm_reference
from oracle_runs import Crash, differing, isolated, litert, tflite_micro, versions
from our_runs import Binaries, Refused
from report_tables import as_markdown, as_text

WEIGHTED = ["conv2d", "grouped_conv2d", "depthwise_conv2d", "fully_connected"]
REPORTED_FAILURES = 20
REFUSALS = (RuntimeError, ValueError)  # what the oracles raise on a model they do not take


@dataclass(frozen=True)
class Job:
    """One random model to run on one target; `oracle` is the one to ask."""

    operator: str
    seed: int
    ours: Binaries | str
    oracle: str
    types: str = "int8"
    keep: Path | None = None

    def __str__(self):
        where = self.ours.target if isinstance(self.ours, Binaries) else self.ours
        return f"{self.operator} {self.types} seed {self.seed} {where}"

    @property
    def row(self) -> str:
        """Where it counts in the report."""
        return self.operator if self.types == "int8" else f"{self.operator} {self.types}"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `kind` is `equal`, `wrong`, `refused` (by us) or `no oracle`."""

    kind: str
    elements: int = 0
    wrong: int = 0
    detail: str = ""


def run(job: Job) -> Outcome:
    """Builds the model, asks both sides, compares."""
    case = random_models.make(job.operator, job.seed, job.types)
    try:
        expected = ask_oracle(job.oracle, case)
    except REFUSALS as refusal:
        return Outcome("no oracle", detail=str(refusal))
    try:
        actual = ask_ours(job.ours, case)
    except (Refused, *REFUSALS) as refusal:
        keep(job, case, expected, None)
        return Outcome("refused", expected[0].size, detail=f"{case.note}: {str(refusal).splitlines()[0]}")
    wrong = sum(differing(e, a) for e, a in zip(expected, actual, strict=True))
    if wrong:
        keep(job, case, expected, actual)
    elements = sum(e.size for e in expected)
    return Outcome("wrong" if wrong else "equal", elements, wrong, f"{case.note}: {wrong} of {elements} differ")


def ask_oracle(oracle: str, case: random_models.Case) -> list[np.ndarray]:
    """The oracle's outputs; tflite-micro's refusal passes the question on to LiteRT's reference kernels."""
    if oracle == "xnnpack":
        return litert(case.model, case.inputs, reference=False)
    if oracle == "litert" or case.operator in random_models.LITERT_KNOWS_BETTER:
        return litert(case.model, case.inputs)
    try:
        return tflite_micro(case.model, case.inputs)
    except REFUSALS:
        return litert(case.model, case.inputs)


def ask_ours(ours: Binaries | str, case: random_models.Case) -> list[np.ndarray]:
    """Our outputs, or those of the stand-in."""
    if isinstance(ours, Binaries):
        return ours.compile_and_run(case.model, case.inputs)
    if ours == "litert":
        return litert(case.model, case.inputs)
    return tflm_reference.run(case.model, case.inputs, ours.removeprefix("numpy "))


def keep(job: Job, case: random_models.Case, expected, actual) -> None:
    """Leaves a failing case in the directory asked for."""
    if job.keep is None:
        return
    job.keep.mkdir(parents=True, exist_ok=True)
    stem = job.keep / str(job).replace(" ", "_")
    stem.with_suffix(".tflite").write_bytes(case.model)
    for label, arrays in (("input", case.inputs), ("expected", expected), ("actual", actual or [])):
        for index, values in enumerate(arrays):
            np.save(stem.with_suffix(f".{label}{index}.npy"), values)


def collect(jobs: list[Job], workers: int):
    """Yields every job's outcome; one whose oracle killed the worker is asked once more of LiteRT."""
    again = []
    for job, outcome in isolated(run, jobs, workers):
        if isinstance(outcome, Crash) and job.oracle == "tflite-micro":
            again.append(replace(job, oracle="litert"))
        else:
            yield job, _settled(outcome)
    for job, outcome in isolated(run, again, workers):
        yield job, _settled(outcome)


def _settled(outcome) -> Outcome:
    return Outcome("no oracle", detail=str(outcome)) if isinstance(outcome, Crash) else outcome


# What the compiler refuses by name: LiteRT computes it in floats, or as nobody has found out.
REFUSED = {("prelu", "int16x8"), ("resize_bilinear", "uint8")}

COLUMNS = ("models", "elements", "equal", "wrong", "refused", "no oracle")


def table(totals: dict[str, Counter]) -> list[tuple[str, ...]]:
    """Rows of the report, with a sum at the end. `equal` and `wrong` count elements, the last two models."""
    everything = sum(totals.values(), Counter())
    rows = [*totals.items(), ("all", everything)]
    return [("operator", *COLUMNS)] + [(name, *(f"{t[c]:,}" for c in COLUMNS)) for name, t in rows]


def heading(arguments, targets: str) -> str:
    """What the page says above the table."""
    oracle = {
        "double": "tflite-micro (LiteRT's reference kernels where it has no answer)",
        "float": "LiteRT's XNNPACK path",
    }[arguments.rounding]
    return (
        "# Operators against the oracles\n\n"
        f"Random models of one operator each, {arguments.seeds} seeds from {arguments.first}, rounding "
        f"`{arguments.rounding}`, on {targets}; oracle: {oracle}. *Equal* and *wrong* count output elements; *refused* "
        "counts models we do not take, *no oracle* models no oracle takes.\n\n"
        f"Made by `tools/check_operators.py` with {versions()}."
    )


def parse() -> argparse.Namespace:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("operators", nargs="*", metavar="operator", help=f"of {' '.join(random_models.OPERATORS)}")
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--seeds", type=int, default=150, help="models per operator (default 150)")
    options.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    options.add_argument("--types", default="int8", help=f"comma-separated, of {' '.join(random_models.TYPES)} (default int8)")
    options.add_argument("--targets", default="v4h", help="comma-separated targets (default v4h)")
    options.add_argument("--rounding", choices=["double", "float"], default="double")
    options.add_argument("--markdown", type=Path, help="also write the table to this page")
    options.add_argument("--keep", type=Path, help="leave failing models, inputs and outputs here")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--self-check", nargs="?", const="litert", choices=["litert", "numpy"])
    arguments = options.parse_args()
    unknown = set(arguments.operators) - set(random_models.OPERATORS)
    unknown |= set(arguments.types.split(",")) - set(random_models.TYPES)
    if unknown:
        options.error(f"unknown operator or type {', '.join(sorted(unknown))}")
    if not arguments.self_check and not (arguments.bin_dir / "iss-run").exists():
        options.error(f"no iss-run in {arguments.bin_dir}; build it with: cargo build --release")
    return arguments


def make_jobs(arguments) -> list[Job]:
    """Every operator, seed and target asked for."""
    operators = arguments.operators or (WEIGHTED if arguments.rounding == "float" else list(random_models.OPERATORS))
    oracle = "xnnpack" if arguments.rounding == "float" else "tflite-micro"
    directory = arguments.bin_dir.resolve()
    binaries = [Binaries(directory, target, arguments.rounding) for target in arguments.targets.split(",")]
    stand_in = f"numpy {arguments.rounding}" if arguments.self_check == "numpy" else arguments.self_check
    sides = [stand_in] if stand_in else binaries
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    types = arguments.types.split(",")
    combinations = itertools.product(operators, types, seeds, sides)
    # uint8 is LiteRT's: tflite-micro has it for few operators.
    return [
        Job(operator, seed, side, "litert" if kind == "uint8" else oracle, kind, arguments.keep)
        for operator, kind, seed, side in combinations
        if (operator, kind) not in REFUSED
    ]


def main() -> int:
    """Entry point; returns the exit status."""
    arguments = parse()
    print(versions())
    jobs = make_jobs(arguments)
    totals: dict[str, Counter] = defaultdict(Counter, {job.row: Counter() for job in jobs})
    failures = 0
    for job, outcome in collect(jobs, arguments.workers):
        equal = 0 if outcome.kind == "refused" else outcome.elements - outcome.wrong
        counts = {"models": 1, "elements": outcome.elements, "equal": equal, "wrong": outcome.wrong}
        totals[job.row].update(counts | {outcome.kind: counts.get(outcome.kind, 1)})
        if outcome.kind in ("wrong", "refused"):
            failures += 1
            if failures <= REPORTED_FAILURES:
                print(f"{outcome.kind}: {job}: {outcome.detail}", file=sys.stderr)
    rows = table(totals)
    print(as_text(rows))
    if arguments.markdown:
        page = heading(arguments, arguments.self_check or arguments.targets)
        arguments.markdown.write_text(f"{page}\n\n{as_markdown(rows)}\n")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
