#!/usr/bin/env python3
"""Takes float networks of known shapes from ONNX to the instruction set simulator, and says what became of them.

    python tools/check_zoo.py --bin-dir target/release [--small] [--only resnet18,unet] [--markdown docs/networks.md]

With `--markdown`, networks that are not run keep the lines that the page has of them, so it may be made one by one.

Per network of `make_networks.py`: our float results against ONNX Runtime; calibration and compilation in int8 and, with
`--int16 '*'`, in 16 bits; on held-out examples the Accurate Simulator against float, and the instruction set simulator
against the Accurate Simulator and against itself on another target.

Exit status: 0 when every network runs, is equal wherever integers are compared, and is as near to float as `GOALS` has it.

Needs `numpy`, `onnx` and `onnxruntime`.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

import make_networks
from report_tables import as_markdown, as_text

TARGETS = ("v3m", "v4h")
FLOAT_DB = 90  # least distance of our float results from ONNX Runtime's
GOALS = {"int8": 20, "int16": 45}  # least signal to noise of a quantized network's outputs, in dB
WIDTHS = {"int8": [], "int16": ["--int16", "*"]}
TIMEOUT_SECONDS = 1200
# Where int8 misses the goal: the tensors that need 16 bits, and why.
MIXED = {
    "cs_lstm": (("lstm*",), "a recurrence rounds its state at every step, and early steps are small in the range of all"),
    "deeplab_v3_mobilenet": (
        ("image", "add_*", *(f"{kind}_{digits}" for digits in ("?", "1?", "2?") for kind in ("relu", "batchnormalization"))),
        "every layer by itself has 31 to 51 dB, and the errors add up where maps have few channels: 41 dB at the picture, 27 at "
        "`batchnormalization_7` (16 channels), 16 at `batchnormalization_24` (24), 11 at `add_177` (160), 17 at the mask (one example)",
    ),
}
LISTS = 0.9  # least share of the rows of a list that our float level and ONNX Runtime have in common
SECTION = "## Float networks, from ONNX to command lists"


class Refused(Exception):
    """A binary ended with a status other than 0."""


@dataclass
class Found:
    """What was found about one network."""

    name: str
    float_db: float = float("nan")
    quality: dict[str, float] = field(default_factory=dict)
    mixed: float = float("nan")
    lists: dict[str, float] = field(default_factory=dict)
    reports: dict[str, dict] = field(default_factory=dict)
    hosts: str = ""
    known: list = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        """The network's line of the table."""
        decibel = lambda value: "-" if np.isnan(value) else f"{value:.1f}"  # noqa: E731
        costs = []
        for target in TARGETS:
            report = self.reports.get(target)
            costs += (f"{report['cycles_estimate']:,}", f"{moved(report):,}") if report else ("-", "-")
        macs = next((f"{report['macs'] / 1e6:,.0f}" for report in self.reports.values()), "-")
        quality = (decibel(self.quality.get(width, float("nan"))) for width in WIDTHS)
        return (self.name, decibel(self.float_db), *quality, macs, *costs, self.hosts or "-",
                "; ".join(self.problems) or "equal")  # fmt: skip


HEADING = ("network", "float dB", *(f"{width} dB" for width in WIDTHS), "million MACs",
           *(f"{target} {what}" for target in TARGETS for what in ("cycles", "DMA bytes")), "host steps", "integers")


def moved(report: dict) -> int:
    """Bytes from and to external memory."""
    return report["loaded_bytes"] + report["stored_bytes"]


@dataclass(frozen=True)
class Bench:
    """Where binaries and networks are."""

    binaries: Path
    folder: Path
    examples: int
    exact: int

    def call(self, program: str, *arguments) -> str:
        """Runs a binary; gives what it printed."""
        command = [str(self.binaries / program), *map(str, arguments)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise Refused(f"{program}: no answer within {TIMEOUT_SECONDS} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "said nothing").splitlines()[0]
            raise Refused(f"{program} {arguments[0]}: status {done.returncode}: {said[:200]}")
        return done.stdout

    def data(self, name: str) -> dict[str, np.ndarray]:
        """Held-out examples."""
        with np.load(self.folder / f"{name}.test.npz") as arrays:
            return dict(arrays)

    def run(self, program: list, name: str, number: int) -> list[np.ndarray]:
        """The outputs of one held-out example, in the order of the model's outputs."""
        outputs = [o.name for o in self.session(name).get_outputs()]
        with tempfile.TemporaryDirectory() as scratch:
            options = []
            for key, values in self.data(name).items():
                np.save(f"{scratch}/{key}.npy", values[number : number + 1])
                options += ["--input", f"{key}={scratch}/{key}.npy"]
            for key in outputs:
                options += ["--output", f"{key}={scratch}/{key}.out.npy"]
            self.call(*program, *options)
            return [np.load(f"{scratch}/{key}.out.npy") for key in outputs]

    def session(self, name: str) -> onnxruntime.InferenceSession:
        """The network in ONNX Runtime."""
        return onnxruntime.InferenceSession(str(self.folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])

    # Steps

    def float_distance(self, found: Found) -> float:
        """Signal to noise of our float outputs for two examples, ONNX Runtime's being the signal."""
        name = found.name
        session, data = self.session(name), self.data(name)
        worst = np.inf
        for number in range(2):
            wanted = session.run(None, {key: values[number : number + 1] for key, values in data.items()})
            known = self.run(["cnnip", "fast", self.folder / f"{name}.onnx"], name, number)
            worst = min(worst, *(decibels(w, f) for w, f in zip(wanted, known, strict=True) if not is_list(w)))
            if (share := in_common(wanted, known)) < LISTS:
                found.problems.append(f"only {share:.0%} of the boxes that ONNX Runtime keeps")
            if number == 0:
                found.known = known
        return worst

    def evaluate(self, name: str, target: str, levels: str, count: int, options) -> dict[str, dict]:
        """Distances from the first level."""
        said = self.call("cnnip", "evaluate", self.folder / f"{name}.onnx", "--data", self.folder / f"{name}.test.npz",
                         "--levels", levels, "--count", count, "--target", target, "--threads", 1, "--json",
                         *options)  # fmt: skip
        found = json.loads(said)
        if found["failed"]:
            raise Refused(f"{found['failed']} examples could not be used: {found['broken'][0]}")
        return {level["level"]: level for level in found["levels"]}

    def check(self, name: str) -> Found:
        """Everything about one network."""
        found = Found(name)
        try:
            found.float_db = self.float_distance(found)
            if found.float_db < FLOAT_DB:
                found.problems.append(f"float below {FLOAT_DB} dB")
            for width, options in WIDTHS.items():
                self.quantized(found, width, options)
        except Refused as refusal:
            found.problems.append(str(refusal))
        return found

    def quantized(self, found: Found, width: str, options: list[str]) -> None:
        """One width, on all targets."""
        name, ranges = found.name, self.folder / f"{found.name}.ranges.json"
        model, outputs = self.folder / f"{name}.onnx", {}
        calibration = ["--ranges", ranges, *options]
        for target in TARGETS:
            package = self.folder / f"{name}.{width}.{target}.cnnip"
            known = ["--ranges", ranges] if ranges.exists() else ["--save-ranges", ranges]
            known = known if ranges.exists() else [*known, "--calib", self.folder / f"{name}.calib.npz"]
            said = json.loads(self.call("cnnip", "compile", model, "-o", package, "--target", target, "--json",
                                        *known, *options))  # fmt: skip
            if width == "int8":
                found.reports[target] = said["report"]
                found.hosts = hosts(said["steps"])
            exact = self.evaluate(name, target, "accurate,iss", self.exact, calibration)
            if exact["iss"]["different"]:
                found.problems.append(f"{width} on {target}: {exact['iss']['different']} elements differ")
            # Lists of our own compiler end: no cap on the host's time.
            outputs[target] = self.run(["iss-run", package, "--max-cycles", 10**12, "--max-commands", 10**12], name, 0)
        first = outputs[TARGETS[0]]
        if any(is_list(output) for output in first):
            found.lists[width] = in_common(found.known, first)
        if any(not np.array_equal(a, b) for other in outputs.values() for a, b in zip(first, other, strict=True)):
            found.problems.append(f"{width}: targets differ")
        best = found.quality[width] = self.quality(name, calibration)
        if width == "int8" and name in MIXED:
            best = found.mixed = self.quality(name, [*calibration, *(f"--int16={pattern}" for pattern in MIXED[name][0])])
        if best < GOALS[width]:
            found.problems.append(f"{width} below {GOALS[width]} dB")

    def quality(self, name: str, calibration: list) -> float:
        """Signal to noise of the Accurate Simulator's outputs, float being the signal."""
        levels = self.evaluate(name, TARGETS[-1], "float,accurate", self.examples, calibration)
        return levels["accurate"]["sqnr_db"] or np.inf


def hosts(steps: list[str]) -> str:
    """Steps of the host, but for the conversions of inputs and outputs."""
    names = [match[1] for step in steps if (match := re.match(r"host (\w+)", step))]
    others = sorted({name for name in names if name not in ("quantize", "dequantize")})
    return ", ".join(f"{names.count(name)} {name}" for name in others)


def is_list(array: np.ndarray) -> bool:
    """Whether an output is a list of indices."""
    return array.dtype.kind == "i"


def in_common(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    """The share of all rows of their lists that both have; 1 without lists."""
    rows = [{tuple(row) for output in outputs if is_list(output) for row in output.tolist()} for outputs in (some, others)]
    return len(rows[0] & rows[1]) / max(len(rows[0] | rows[1]), 1) if any(rows) else 1.0


def decibels(wanted: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise; infinite where nothing differs."""
    noise = float(np.sum((wanted.astype(np.float64) - found) ** 2))
    return 10 * np.log10(float(np.sum(wanted.astype(np.float64) ** 2)) / noise) if noise else np.inf


def notes(found: list[Found]) -> dict[str, str]:
    """What 16 bits for some tensors give where int8 is too coarse, and what becomes of boxes; by network."""
    lines = {}
    for one in found:
        said = []
        if not np.isnan(one.mixed):
            patterns, why = MIXED[one.name]
            options = " ".join(f"--int16 '{pattern}'" for pattern in patterns)
            said.append(f"{why}. With `{options}` and the rest in int8 it has {one.mixed:.1f} dB.")
        if one.lists:
            shares = " and ".join(f"{share:.0%} in {width}" for width, share in one.lists.items())
            said.append(f"of the boxes that either keeps, float and the package have {shares} in common (one example).")
        if said:
            lines[one.name] = f"- `{one.name}`: {' '.join(said)}"
    return lines


def known_lines(section: str) -> tuple[dict[str, tuple], dict[str, str]]:
    """Rows and notes of a page's section, by network."""
    rows, said = {}, {}
    for line in section.splitlines():
        if line.startswith("|") and (cells := tuple(cell.strip() for cell in line.strip("|").split("|")))[0] in make_networks.RECIPES:
            rows[cells[0]] = cells
        elif match := re.match(r"- `(\w+)`: ", line):
            said[match[1]] = line
    return rows, said


def write_page(path: Path, found: list[Found], arguments) -> None:
    """Puts the table into its section of a page; other sections stay, and lines of networks that were not run."""
    page = path.read_text() if path.exists() else "# Networks against the oracles\n"
    before, _, rest = page.partition(SECTION)
    cut = rest.index("\n## ") + 1 if "\n## " in rest else len(rest)
    rows, said = known_lines(rest[:cut])
    for one in found:
        rows[one.name] = one.row()
        said.pop(one.name, None)
    said |= notes(found)
    order = [name for name in make_networks.RECIPES if name in rows]
    size = "reduced input sizes (`--small`)" if arguments.small else "their usual input sizes"
    text = f"""{SECTION}

Made by `tools/check_zoo.py`: networks of `tools/make_networks.py` with random weights at {size}, calibrated by smallest
and largest value over {make_networks.EXAMPLES} examples. *float dB*: our float outputs against ONNX Runtime {onnxruntime.__version__}.
*int8 dB*, *int16 dB*: signal to noise of the quantized network's outputs against float over {arguments.examples} held-out examples, lists of
boxes left out; int16 is `--int16 '*'`, activations and weights. Cycles are estimates. *integers*: `equal` where the instruction set
simulator equals the Accurate Simulator in every output element on each of {arguments.exact} held-out examples, lists included, and both
targets each other; else what is below its goal. Where int8 has less than 20 dB, a note says why and which 16 bits are enough. All MACs are the device's: no host step has any. Detectors end with decoded boxes,
scores, and the indices that non-maximum suppression keeps, a step of the host. Weights are random, so a
decibel here says how the tool treats a structure, not how well a trained network fares; offsets of normalizations are
chosen so that activations look like trained ones (with offsets around 0, deep networks of random weights have 4 to
18 dB in int8).

{as_markdown([HEADING, *(rows[name] for name in order)])}

{chr(10).join(said[name] for name in order if name in said)}
"""
    path.write_text("\n\n".join(part.strip("\n") for part in (before, text, rest[cut:]) if part.strip()) + "\n")


def main() -> int:
    """Entry point; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--only", help="comma-separated names (default: all)")
    options.add_argument("--small", action="store_true", help="smaller inputs")
    options.add_argument("--examples", type=int, default=32, help="held-out examples against float (default 32)")
    options.add_argument("--exact", type=int, default=2, help="examples on the instruction set simulator (default 2)")
    options.add_argument("--markdown", type=Path, help="also write the table into its section of this page")
    arguments = options.parse_args()
    names = arguments.only.split(",") if arguments.only else list(make_networks.RECIPES)
    found = []
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            make_networks.write(name, Path(scratch), 1, arguments.small)
            bench = Bench(arguments.bin_dir.resolve(), Path(scratch), arguments.examples, arguments.exact)
            found.append(bench.check(name))
        print(" | ".join(found[-1].row()), flush=True)
        if arguments.markdown:
            write_page(arguments.markdown, found, arguments)
    print(as_text([HEADING, *(one.row() for one in found)]))
    return int(any(one.problems for one in found))


if __name__ == "__main__":
    sys.exit(main())
