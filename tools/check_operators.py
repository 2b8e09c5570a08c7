#!/usr/bin/env python3
"""Compares our simulator with the oracles on random models of one operator each, element by element.

    .venv/bin/python tools/check_operators.py --bin-dir target/release --seeds 200
    .venv/bin/python tools/check_operators.py --bin-dir target/release --seeds 200 --rounding float

With `--rounding double` the oracle is tflite-micro, and LiteRT's reference kernels where tflite-micro refuses the
model, dies of it, or pads otherwise. With `--rounding float` it is LiteRT's XNNPACK path, for the operators that have weights.
`--self-check` needs no binaries: it puts our numpy description of the kernels, or LiteRT's reference kernels, in
their place (LiteRT then differs in fully connected, which rounds otherwise, and refuses convolutions without bias).

Exit status: 0 when every element of every model is equal, 1 otherwise.
"""

import argparse
import datetime
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
    """One random model to run on every side of ours, target after target; `oracle` is the one to ask, once."""

    operator: str
    seed: int
    sides: tuple[Binaries | str, ...]
    oracle: str
    types: str = "int8"
    keep: Path | None = None

    def on(self, side: Binaries | str) -> str:
        """What it is called in messages."""
        where = side.target if isinstance(side, Binaries) else side
        return f"{self.operator} {self.types} seed {self.seed} {where}"

    @property
    def row(self) -> str:
        """Where it counts in the report."""
        return self.operator if self.types == "int8" else f"{self.operator} {self.types}"


@dataclass(frozen=True)
class Outcome:
    """How a job ended on one side: `kind` is `equal`, `wrong`, `refused` (by us) or `no oracle`."""

    kind: str
    elements: int = 0
    wrong: int = 0
    detail: str = ""


def run(job: Job) -> list[Outcome]:
    """Builds the model, asks the oracle, and compares every side with it."""
    case = random_models.make(job.operator, job.seed, job.types)
    try:
        expected = ask_oracle(job.oracle, case)
    except REFUSALS as refusal:
        return [Outcome("no oracle", detail=str(refusal))] * len(job.sides)
    return [compare(job, side, case, expected) for side in job.sides]


def compare(job: Job, side: Binaries | str, case: random_models.Case, expected: list[np.ndarray]) -> Outcome:
    """Runs the model on one side of ours."""
    try:
        actual = ask_ours(side, case)
    except (Refused, *REFUSALS) as refusal:
        keep(job, side, case, expected, None)
        return Outcome("refused", expected[0].size, detail=f"{case.note}: {str(refusal).splitlines()[0]}")
    wrong = sum(differing(e, a) for e, a in zip(expected, actual, strict=True))
    if wrong:
        keep(job, side, case, expected, actual)
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


def keep(job: Job, side: Binaries | str, case: random_models.Case, expected, actual) -> None:
    """Leaves a failing case in the directory asked for."""
    if job.keep is None:
        return
    job.keep.mkdir(parents=True, exist_ok=True)
    stem = job.keep / job.on(side).replace(" ", "_")
    stem.with_suffix(".tflite").write_bytes(case.model)
    for label, arrays in (("input", case.inputs), ("expected", expected), ("actual", actual or [])):
        for index, values in enumerate(arrays):
            np.save(stem.with_suffix(f".{label}{index}.npy"), values)


def collect(jobs: list[Job], workers: int):
    """Yields every job's outcomes; one whose oracle killed the worker is asked once more of LiteRT."""
    again = []
    for job, outcomes in isolated(run, jobs, workers):
        if isinstance(outcomes, Crash) and job.oracle == "tflite-micro":
            again.append(replace(job, oracle="litert"))
        else:
            yield job, _settled(job, outcomes)
    for job, outcomes in isolated(run, again, workers):
        yield job, _settled(job, outcomes)


def _settled(job: Job, outcomes) -> list[Outcome]:
    return [Outcome("no oracle", detail=str(outcomes))] * len(job.sides) if isinstance(outcomes, Crash) else outcomes


# What the compiler refuses by name: no oracle has an integer kernel of it, or one whose table depends on the last bit of a
# mathematical library.
REFUSED = (
    ("prelu", "int16x8"),
    ("resize_bilinear", "uint8"),
    ("log", "int16x8"),
    ("rsqrt", "int16x8"),
    ("elu", "int16x8"),
    ("gelu", "int16x8"),
    ("lstm", "uint8"),
)


def refusals(binaries: Binaries) -> list[tuple[str, ...]]:
    """Rows with what the compiler says of a model of each operator and type that it refuses."""
    rows = [("operator", "what the compiler says")]
    for operator, types in REFUSED:
        case = random_models.make(operator, 0, types)
        try:
            ask_ours(binaries, case)
        except Refused as refusal:
            said = str(refusal).splitlines()[0]
            rows.append((f"{operator} {types}", said.partition("node 0, ")[2].replace("|", "\\|")))
        else:
            raise SystemExit(f"{operator} {types} is listed as refused, and is not")
    return rows


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
        f"`{arguments.rounding}`, each on {targets}; oracle: {oracle}. A row without a type is int8. *Models* counts a model "
        "once per target. *Equal* and *wrong* count output elements; *refused* counts models we do not take, *no oracle* "
        "models no oracle takes.\n\n"
        f"Made on {datetime.date.today()} by `tools/check_operators.py` with {versions()}."
    )


def page(arguments, rows, refused) -> str:
    """The whole page: the table, and what is refused by name."""
    parts = [heading(arguments, arguments.self_check or arguments.targets), as_markdown(rows)]
    if len(refused) > 1:
        parts += ["## Refused by name", as_markdown(refused, "---")]
    return "\n\n".join(parts) + "\n"


def parse() -> argparse.Namespace:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("operators", nargs="*", metavar="operator", help=f"of {' '.join(random_models.OPERATORS)}")
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--seeds", type=int, default=200, help="models per operator and type (default 200)")
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
    combinations = itertools.product(operators, types, seeds)
    # uint8 is LiteRT's: tflite-micro has it for few operators.
    return [
        Job(operator, seed, tuple(sides), "litert" if kind == "uint8" else oracle, kind, arguments.keep)
        for operator, kind, seed in combinations
        if (operator, kind) not in REFUSED
    ]


def main() -> int:
    """Entry point; returns the exit status."""
    arguments = parse()
    print(versions())
    jobs = make_jobs(arguments)
    totals: dict[str, Counter] = defaultdict(Counter, {job.row: Counter() for job in jobs})
    failures = 0
    for job, outcomes in collect(jobs, arguments.workers):
        for side, outcome in zip(job.sides, outcomes, strict=True):
            equal = 0 if outcome.kind == "refused" else outcome.elements - outcome.wrong
            counts = {"models": 1, "elements": outcome.elements, "equal": equal, "wrong": outcome.wrong}
            totals[job.row].update(counts | {outcome.kind: counts.get(outcome.kind, 1)})
            if outcome.kind in ("wrong", "refused"):
                failures += 1
                if failures <= REPORTED_FAILURES:
                    print(f"{outcome.kind}: {job.on(side)}: {outcome.detail}", file=sys.stderr)
    rows = table(totals)
    print(as_text(rows))
    refused = [] if arguments.self_check or arguments.operators else refusals(jobs[0].sides[0])
    if refused:
        print(as_text(refused))
    if arguments.markdown:
        arguments.markdown.write_text(page(arguments, rows, refused))
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
