#!/usr/bin/env python3
"""Takes float networks of known shapes from ONNX to the instruction set simulator, and says what became of them.

    python tools/check_zoo.py --bin-dir target/release [--small] [--only resnet18,unet] [--markdown docs/networks.md]

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
    "cs_lstm": ("lstm*", "a recurrence rounds its state at every step, and early steps are small in the range of all"),
}
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
    reports: dict[str, dict] = field(default_factory=dict)
    hosts: str = ""
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

    def float_distance(self, name: str) -> float:
        """Signal to noise of our float outputs for two examples, ONNX Runtime's being the signal."""
        session, data = self.session(name), self.data(name)
        worst = np.inf
        for number in range(2):
            wanted = session.run(None, {key: values[number : number + 1] for key, values in data.items()})
            found = self.run(["cnnip", "fast", self.folder / f"{name}.onnx"], name, number)
            worst = min(worst, *(decibels(w, f) for w, f in zip(wanted, found, strict=True)))
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
            found.float_db = self.float_distance(name)
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
            outputs[target] = self.run(["iss-run", package], name, 0)
        first = outputs[TARGETS[0]]
        if any(not np.array_equal(a, b) for other in outputs.values() for a, b in zip(first, other, strict=True)):
            found.problems.append(f"{width}: targets differ")
        best = found.quality[width] = self.quality(name, calibration)
        if width == "int8" and name in MIXED:
            best = found.mixed = self.quality(name, [*calibration, "--int16", MIXED[name][0]])
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


def decibels(wanted: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise; infinite where nothing differs."""
    noise = float(np.sum((wanted.astype(np.float64) - found) ** 2))
    return 10 * np.log10(float(np.sum(wanted.astype(np.float64) ** 2)) / noise) if noise else np.inf


def mixed_text(found: list[Found]) -> str:
    """What 16 bits for some tensors give where int8 is too coarse."""
    lines = [
        f"`{one.name}` has {one.mixed:.1f} dB with `--int16 '{MIXED[one.name][0]}'`: {MIXED[one.name][1]}."
        for one in found
        if not np.isnan(one.mixed)
    ]
    return "\n".join(lines)


def write_page(path: Path, found: list[Found], arguments) -> None:
    """Puts the table into its section of a page; other sections stay."""
    rows = [HEADING, *(one.row() for one in found)]
    size = "reduced inputs (`--small`)" if arguments.small else "their usual input sizes"
    text = f"""{SECTION}

Made by `tools/check_zoo.py`: networks of `tools/make_networks.py` with random weights at {size}, calibrated by smallest
and largest value over {make_networks.EXAMPLES} examples. *float dB*: our float outputs against ONNX Runtime {onnxruntime.__version__}.
*int8 dB*, *int16 dB*: signal to noise of the quantized network's outputs against float over {arguments.examples} held-out examples; int16
is `--int16 '*'`, activations and weights. Cycles are estimates. *integers*: `equal` where the instruction set
simulator equals the Accurate Simulator in every output element on each of {arguments.exact} held-out examples, and both targets
each other; else what is wrong. All MACs are the device's: no host step has any. Detectors end with scores and box
offsets; decoding to lists and non-maximum suppression are the host program's. Weights are random, so a
decibel here says how the tool treats a structure, not how well a trained network fares; offsets of normalizations are
chosen so that activations look like trained ones (with offsets around 0, deep networks of random weights have 4 to
18 dB in int8).

{as_markdown(rows)}

{mixed_text(found)}
"""
    page = path.read_text() if path.exists() else "# Networks against the oracles\n"
    before, _, rest = page.partition(SECTION)
    after = rest[rest.index("\n## ") + 1 :] if "\n## " in rest else ""
    path.write_text("\n\n".join(part.strip("\n") for part in (before, text, after) if part.strip()) + "\n")


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
