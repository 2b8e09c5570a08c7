#!/usr/bin/env python3
"""Runs the ONNX project's backend node tests through our importer, shape inference, passes and reference evaluator.

For every operator that `cnnip operators` lists for ONNX, each test of the `onnx` package runs twice: on the graph as it is
imported, and after the standard passes. Results are compared within the suite's own tolerance; results of integer types
exactly. Operands that must be known at compile time (shapes, axes, ...) are inputs in these tests and are made constants
here. Writes the list of operators and tests to docs/operators.md with `--write`; a test that passed there and fails now is
an error.

Needs `onnx` and `numpy`, and `cargo build --release -p cnnip-float --example evaluate_onnx`.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import numpy_helper

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = REPOSITORY / "docs" / "operators.md"
OLDEST = 7
BEGIN, END = "<!-- onnx node tests: begin -->", "<!-- onnx node tests: end -->"


def cases():
    """All node tests of the package."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    from onnx.backend.test.case.node import collect_testcases

    return sorted(collect_testcases(None), key=lambda case: case.name)


def operators(executable):
    """The operators that are read, of the standard domain."""
    listed = subprocess.run([executable, "--operators"], capture_output=True, text=True, check=True).stdout.split()
    return {name for name in listed if "." not in name}


class Evaluator:
    """The example `evaluate_onnx`, started once."""

    def __init__(self, executable, folder):
        self.folder = folder
        self.process = subprocess.Popen([executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, model, inputs, passes):
        """Outputs with their types, or the reason why there are none."""
        path = self.folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        for number, value in enumerate(inputs):
            if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "biuf":
                return None, "input of another type than numbers"
            np.asarray(value, dtype="<f8").tofile(self.folder / f"input_{number}.bin")
        self.process.stdin.write(f"{path}\t{passes}\t{self.folder}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            return None, f"crashed with status {self.process.wait()}"
        if answer[0] != "ok":
            return None, " ".join(answer[1:])
        outputs = []
        for number, kind in enumerate(answer[1:]):
            element, shape = kind.split(":")
            dims = [] if shape == "scalar" else [int(dim) for dim in shape.split("x")]
            outputs.append((element, np.fromfile(self.folder / f"output_{number}.bin", "<f8").reshape(dims)))
        return outputs, None


def fixed(model, inputs, why):
    """The model with the operand that `why` names made a constant, and the inputs left."""
    found = re.search(r"tensor (\d+), is not a constant", why)
    if not found:
        return None
    graph = model.graph
    index = int(found.group(1)) - len(graph.initializer)
    return constant(model, inputs, index) if 0 <= index < len(graph.input) else None


def constant(model, inputs, index):
    """The model with an input made a constant, and the inputs left."""
    graph = model.graph
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if len(graph.input) == 1:
        # A graph has an input, be it one that nothing reads.
        changed.graph.input.append(onnx.helper.make_tensor_value_info("unread", onnx.TensorProto.FLOAT, [1]))
        inputs = inputs + [np.zeros(1)]
    changed.graph.initializer.append(numpy_helper.from_array(np.asarray(inputs[index]), graph.input[index].name))
    del changed.graph.input[index]
    return changed, inputs[:index] + inputs[index + 1 :]


def compare(case, expected, outputs):
    """The reason why outputs are wrong, or None."""
    if len(expected) != len(outputs):
        return f"{len(outputs)} outputs, not {len(expected)}"
    for want, (element, got) in zip(expected, outputs):
        want = np.asarray(want)
        if want.dtype.kind not in "biuf":
            return "output of another type than numbers"
        if want.dtype.name != element:
            return f"output of {element}, not {want.dtype.name}"
        if want.shape != got.shape:
            return f"output of shape {got.shape}, not {want.shape}"
        if want.dtype.kind == "f":
            if not np.allclose(got, want.astype(np.float64), rtol=case.rtol, atol=case.atol, equal_nan=True):
                return f"differs by up to {np.abs(got - want).max()}"
        elif not np.array_equal(got, want.astype(np.float64)):
            return f"{np.count_nonzero(got != want)} of {want.size} integers differ"
    return None


def run(case, evaluator):
    """The reason why a test fails, or None."""
    for inputs, expected in case.data_sets:
        model = case.model
        # Some tests name the version that an operator was last changed in, which is older than any we read.
        for opset in model.opset_import:
            opset.version = max(opset.version, OLDEST)
        inputs = list(inputs)
        for empty in [n for n, value in enumerate(inputs) if n and np.size(value) == 0][::-1]:
            model, inputs = constant(model, inputs, empty)
        for passes in ["raw", "standard"]:
            outputs, why = evaluator.run(model, inputs, passes)
            while outputs is None and (change := fixed(model, inputs, why)):
                model, inputs = change
                outputs, why = evaluator.run(model, inputs, passes)
            why = why or compare(case, expected, outputs)
            if why:
                return why if passes == "raw" else f"after passes: {why}"
    return None


def short(why):
    """A reason without place and hint."""
    why = re.sub(r"^(node \d+, \w+ \([^)]*\)|tensor \d+ \([^)]*\)|model): ", "", why)
    return re.sub(r" \([^()]*\)$", "", why).replace("|", "\\|")


def table(results):
    """The part of docs/operators.md that this tool writes."""
    lines = ["| operator | tests that pass | not passed, and why |", "|---|---|---|"]
    for operator, tests in sorted(results.items()):
        passed = [name for name, why in tests if why is None]
        reasons = collections.Counter(short(why) for _, why in tests if why is not None)
        failed = "; ".join(f"{why} ({count})" for why, count in sorted(reasons.items()))
        lines.append(f"| {operator} | {len(passed)} of {len(tests)} | {failed} |")
    names = [name for tests in results.values() for name, why in tests if why is None]
    lines += ["", f"Passing tests, {len(names)}:", "", "```text", *sorted(names), "```"]
    return "\n".join(lines)


def written(text):
    """docs/operators.md with this table in its place."""
    old = DOCUMENT.read_text() if DOCUMENT.exists() else f"# Operators\n\n{BEGIN}\n{END}\n"
    head, rest = old.split(BEGIN)
    return f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}"


def passed_before():
    """The tests that the document lists as passing."""
    if not DOCUMENT.exists():
        return set()
    part = DOCUMENT.read_text().split(BEGIN)[-1].split(END)[0]
    return set(re.findall(r"^test_\w+$", part, re.MULTILINE))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = REPOSITORY / "target" / "release" / "examples" / "evaluate_onnx"
    parser.add_argument("--evaluator", type=pathlib.Path, default=default, help="the example, built")
    parser.add_argument("--only", default="", help="run tests whose name has this part")
    parser.add_argument("--write", action="store_true", help="write docs/operators.md")
    arguments = parser.parse_args()
    known = operators(arguments.evaluator)
    results = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Evaluator(arguments.evaluator, pathlib.Path(folder))
        for case in cases():
            nodes = case.model.graph.node
            operator = nodes[0].op_type if nodes else ""
            # Functions written out in other operators are tests of these, which have their own.
            written_out = "_expanded" in case.name
            if written_out or operator not in known or arguments.only not in case.name:
                continue
            why = run(case, evaluator)
            results[operator].append((case.name, why))
            if why:
                print(f"{case.name}: {why[:200]}", flush=True)
                if why.startswith("crashed"):
                    evaluator = Evaluator(arguments.evaluator, pathlib.Path(folder))
        evaluator.process.stdin.close()
        evaluator.process.wait()
    ran = [test for tests in results.values() for test in tests]
    passing = {name for name, why in ran if why is None}
    print(f"{len(passing)} of {len(ran)} tests of {len(results)} operators pass")
    lost = sorted(name for name in passed_before() - passing if arguments.only in name)
    if lost:
        sys.exit(f"passed before: {', '.join(lost)}")
    if arguments.write:
        DOCUMENT.write_text(written(table(results)))


if __name__ == "__main__":
    main()
