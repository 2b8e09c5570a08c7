#!/usr/bin/env python3
"""Holds the numpy description of tflite-micro's kernels against tflite-micro itself, element by element.

LiteRT's reference kernels stand in where tflite-micro lacks an operator or pads otherwise.

    .venv/bin/python tools/test_tflm_reference.py [--seeds 200] [operator ...]
"""

import argparse
import sys

import numpy as np

import random_models
import tflm_reference
from oracle_runs import Crash, isolated, litert, tflite_micro, versions


def differences(job: tuple[str, int]) -> tuple[int, int]:
    """Elements compared and elements that differ, for one random model."""
    case = random_models.make(*job)
    theirs = _theirs(case)
    ours = tflm_reference.run(case.model, case.inputs)
    if [values.shape for values in theirs] != [values.shape for values in ours]:
        raise ValueError(f"{job}: the shapes of the outputs differ")
    pairs = list(zip(theirs, ours, strict=True))
    return sum(a.size for a in theirs), sum(int(np.count_nonzero(a != b)) for a, b in pairs)


def _theirs(case: random_models.Case) -> list[np.ndarray]:
    if case.operator in random_models.LITERT_KNOWS_BETTER:
        return litert(case.model, case.inputs)
    try:
        return tflite_micro(case.model, case.inputs)
    except (RuntimeError, ValueError):  # an operator it lacks
        return litert(case.model, case.inputs)


def main() -> int:
    """Entry point; 0 when everything is equal."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=200, help="models per operator (default 200)")
    # This reference knows int8 only, not what comes from floats, goes to another type, or has 16 bits inside.
    others = ("float_ends", "requantize", "lstm")
    integer = [operator for operator in random_models.OPERATORS if operator not in others]
    options.add_argument("operators", nargs="*", default=integer)
    arguments = options.parse_args()
    print(versions())
    jobs = [(operator, seed) for operator in arguments.operators for seed in range(arguments.seeds)]
    totals = {operator: [0, 0, 0] for operator in arguments.operators}
    failed = False
    for (operator, seed), outcome in isolated(differences, jobs):
        if isinstance(outcome, Crash) or outcome[1]:
            print(f"{operator} seed {seed}: {outcome}", file=sys.stderr)
            failed = True
        if not isinstance(outcome, Crash):
            totals[operator] = [a + b for a, b in zip(totals[operator], (1, *outcome), strict=True)]
    for operator, (models, elements, wrong) in totals.items():
        print(f"{operator:18} {models:5} models {elements:10,} elements {wrong:8,} wrong")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
