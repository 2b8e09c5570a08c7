#!/usr/bin/env python3
"""Compares our simulator with the oracles on real int8 networks, element by element.

    .venv/bin/python tools/check_networks.py --bin-dir target/release --inputs 100 --targets v3m,v4h,v3u/3

Whole networks, rounding `double`, against tflite-micro: seeded random inputs, the photographs that fit, and
person_detect's two known answers. Then layer by layer, rounding `float`: every layer with weights is cut out as a
network of its own, fed the tensor it gets in a full run, and compared with LiteRT's XNNPACK kernels.

The networks are third-party data beside the project; without them the script says so and succeeds.
`--self-check` needs no binaries: our numpy description of the kernels takes their place.

Exit status: 0 when every element is equal, 1 otherwise.
"""

import argparse
import re
import sys
import tempfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import tflm_reference
from oracle_runs import Crash, differing, isolated, litert, litert_tensors, tflite_micro, versions
from our_runs import Binaries, Refused
from report_tables import as_markdown, as_text
from tflite_models import computed_inputs, operator_name, shape_of, single_operator, tensor_names, unpack

ROOT = Path(__file__).resolve().parent.parent
DATA = Path("../shared/data")  # from the repository's root
NETWORKS = (
    "pretrainedResnet_quant",
    "vww_96_int8",
    "kws_ref_model",
    "ad01_int8",
    "mobilenet_v2_quantized_1x3x224x224",
)
PERSON = "person_detect"
KNOWN_ANSWERS = {"person.bmp": [-113, 113], "no_person.bmp": [57, -57]}
PHOTOGRAPHS = ("person.bmp", "no_person.bmp", "grace_hopper.bmp", "bird.bmp")
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
REPORTED_FAILURES = 20


@dataclass(frozen=True)
class Comparison:
    """One run to compare: a model file, where its inputs come from, and our side of it.

    `source` is a seed for random values, a photograph, or a saved array. `packages` holds, per target, what we
    compiled; it is empty for a self-check.
    """

    row: str
    model: Path
    source: int | Path
    oracle: str
    directory: Path | None
    packages: tuple[tuple[str, Path], ...]


def compare(job: Comparison) -> list[tuple[str, int, int, str]]:
    """For each target: elements, how many differ, and our refusal if there was one."""
    model = job.model.read_bytes()
    values = input_for(model, job.source)
    expected = tflite_micro(model, [values]) if job.oracle == "double" else litert(model, [values], reference=False)
    elements = sum(e.size for e in expected)
    results = []
    for target, package in job.packages or (("numpy", None),):
        try:
            actual = our_outputs(job, model, values, target, package)
        except Refused as refusal:
            results.append((target, elements, elements, str(refusal).splitlines()[0]))
            continue
        wrong = sum(differing(e, a) for e, a in zip(expected, actual, strict=True))
        wrong += known_answer_missed(job, expected[0])
        results.append((target, elements, wrong, ""))
    return results


def our_outputs(job: Comparison, model: bytes, values, target: str, package: Path | None) -> list[np.ndarray]:
    """Our outputs, or the stand-in's."""
    if package is None:
        return tflm_reference.run(model, [values], job.oracle)
    (name,), outputs = tensor_names(model)
    return Binaries(job.directory, target, job.oracle).run(package, {name: values}, outputs)


def known_answer_missed(job: Comparison, expected: np.ndarray) -> int:
    """Elements in which the oracle itself departs from person_detect's published answers."""
    if job.model.stem != PERSON or not isinstance(job.source, Path):
        return 0
    return int(np.count_nonzero(expected.reshape(-1) != KNOWN_ANSWERS[job.source.name]))


# Inputs


def input_for(model: bytes, source: int | Path) -> np.ndarray:
    """Seeded random int8 values, a photograph made to fit, or a saved array."""
    graph = unpack(model).subgraphs[0]
    shape = shape_of(graph.tensors[graph.inputs[0]])
    if isinstance(source, int):
        return np.random.default_rng([source, zlib.crc32(model)]).integers(-128, 128, shape).astype(np.int8)
    return np.load(source) if source.suffix == ".npy" else photograph(source, shape)


def photograph(path: Path, shape) -> np.ndarray:
    """A photograph as a network's int8 input: grey bytes as they stand, colour resized, minus 128."""
    image = Image.open(path)
    if shape[3] == 1:
        return np.asarray(image.convert("L")).view(np.int8).reshape(shape)
    planar = shape[1] == 3
    rows, columns = shape[2:] if planar else shape[1:3]
    pixels = np.asarray(image.convert("RGB").resize((columns, rows), Image.Resampling.BILINEAR))
    values = (pixels.astype(np.int16) - 128).astype(np.int8)
    return values.transpose(2, 0, 1)[None] if planar else values[None]


def photographs_for(name: str, data: Path) -> list[Path]:
    """The photographs that make sense for a network."""
    if name == PERSON:
        return [data / photo for photo in KNOWN_ANSWERS]
    if name in ("kws_ref_model", "ad01_int8"):  # sound, not images
        return []
    return [data / photo for photo in PHOTOGRAPHS]


# Jobs


class Workshop:
    """Compiles models once per target into a scratch directory and writes the jobs that use them."""

    def __init__(self, arguments, scratch: Path):
        self.arguments = arguments
        self.scratch = scratch
        self.directory = None if arguments.self_check else arguments.bin_dir.resolve()
        self.failures: list[str] = []

    def packages(self, model: Path, rounding: str) -> tuple[tuple[str, Path], ...]:
        """The model compiled for every target that takes it; the others are noted as failures."""
        made = []
        for target in () if self.directory is None else self.arguments.targets.split(","):
            package = self.scratch / f"{model.stem}.{target.replace('/', '-')}.{rounding}.cnnip"
            try:
                Binaries(self.directory, target, rounding).compile(model, package)
                made.append((target, package))
            except Refused as refusal:
                self.failures.append(f"{model.name} for {target}: {refusal}")
        return tuple(made)

    def jobs(self, row: str, model: Path, sources, rounding: str) -> list[Comparison]:
        """One job per input; none when no target takes the model."""
        packages = self.packages(model, rounding)
        if self.directory is not None and not packages:
            return []
        return [Comparison(row, model, source, rounding, self.directory, packages) for source in sources]

    def network_jobs(self) -> list[Comparison]:
        """Whole networks."""
        data, jobs = self.arguments.data, []
        for name in (*NETWORKS, PERSON):
            sources = [*range(self.arguments.inputs), *photographs_for(name, data)]
            jobs += self.jobs(name, data / f"{name}.tflite", sources, "double")
        return jobs

    def layer_jobs(self) -> list[Comparison]:
        """Single layers of the networks, with what they see in a full run."""
        cuts = [(self.arguments.data / f"{name}.tflite", self.scratch) for name in NETWORKS]
        found = dict(isolated(cut_layers, cuts, self.arguments.workers))
        jobs = []
        for cut in cuts:
            if isinstance(found[cut], Crash):
                self.failures.append(f"{cut[0].name}: LiteRT gave no tensors: {found[cut]}")
                continue
            for kind, part, values in found[cut]:
                jobs += self.jobs(f"{cut[0].stem} {kind}", part, [values], "float")
        return jobs


def cut_layers(job: tuple[Path, Path]) -> list[tuple[str, Path, Path]]:
    """Cuts every layer with weights out of a model: kind, model file and input file of each."""
    path, scratch = job
    model = path.read_bytes()
    tensors = litert_tensors(model, [input_for(model, 0)])
    layers = []
    for index, operator in enumerate(unpack(model).subgraphs[0].operators):
        parsed = unpack(model)
        kind = operator_name(parsed, operator)
        if kind in WEIGHTED:
            part, values = scratch / f"{path.stem}.{index}.tflite", scratch / f"{path.stem}.{index}.npy"
            part.write_bytes(single_operator(parsed, index))
            np.save(values, tensors[computed_inputs(parsed, operator)[0]])
            layers.append((kind, part, values))
    return layers


# Report


def tally(jobs: list[Comparison], workers: int, failures: list[str]) -> dict[tuple[str, str], Counter]:
    """Runs the jobs and adds up their elements per row and target."""
    totals = {(job.row, target): Counter() for job in jobs for target, _ in job.packages or (("numpy", None),)}
    for job, results in isolated(compare, jobs, workers):
        if isinstance(results, Crash):
            failures.append(f"{job.row}, input {_name(job.source)}: the oracle: {results}")
            continue
        for target, elements, wrong, refusal in results:
            totals[job.row, target].update(runs=1, elements=elements, equal=elements - wrong, wrong=wrong)
            if wrong:
                what = refusal or f"{wrong} of {elements} differ"
                failures.append(f"{job.row} on {target}, input {_name(job.source)}: {what}")
    return totals


def _name(source: int | Path) -> str:
    return source.name if isinstance(source, Path) else f"seed {source}"


def rows(totals: dict[tuple[str, str], Counter]) -> list[tuple[str, ...]]:
    """The table: one line per row and target."""
    columns = ("runs", "elements", "equal", "wrong")
    lines = [(row, target, *(f"{t[c]:,}" for c in columns)) for (row, target), t in totals.items()]
    return [("network", "target", *columns), *lines]


def parse() -> argparse.Namespace:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=DATA, help=f"where the networks are (default {DATA})")
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--inputs", type=int, default=100, help="random inputs per network (default 100)")
    targets = "comma-separated targets, with /N for N cores, as v3u/3 (default v3m,v4h)"
    options.add_argument("--targets", default="v3m,v4h", help=targets)
    options.add_argument("--only", choices=["networks", "layers"], help="leave the other half out")
    options.add_argument("--markdown", type=Path, help="also write the tables to this page")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--self-check", action="store_true", help="our numpy description in the binaries' place")
    arguments = options.parse_args()
    arguments.data = ROOT / DATA if arguments.data == DATA else arguments.data
    if not arguments.self_check and not (arguments.bin_dir / "iss-run").exists():
        options.error(f"no iss-run in {arguments.bin_dir}; build it with: cargo build --release")
    return arguments


PARTS = {
    "networks": "Whole networks, rounding `double`, against tflite-micro",
    "layers": "Layers with weights, rounding `float`, against LiteRT's XNNPACK kernels",
}


def other_sections(path, page):
    """Sections that the page has and `page` has not: other tools write some."""
    sections = re.split(r"(?m)^(?=## )", path.read_text())[1:] if path.exists() else []
    titles = {line for line in page if line.startswith("## ")}
    return [section.strip() for section in sections if section.splitlines()[0] not in titles]


def main() -> int:
    """Entry point; returns the exit status."""
    arguments = parse()
    if not arguments.data.is_dir():
        print(f"skipped: {DATA if arguments.data == ROOT / DATA else arguments.data} not found")
        return 0
    print(versions())
    page = ["# Networks against the oracles", f"Made by `tools/check_networks.py` with {versions()}."]
    with tempfile.TemporaryDirectory() as scratch:
        workshop = Workshop(arguments, Path(scratch))
        for part, title in PARTS.items():
            if arguments.only in (None, part):
                jobs = workshop.network_jobs() if part == "networks" else workshop.layer_jobs()
                found = rows(tally(jobs, arguments.workers, workshop.failures))
                print(f"\n{title}\n{as_text(found)}")
                page += [f"## {title}", as_markdown(found)]
    for failure in workshop.failures[:REPORTED_FAILURES]:
        print(failure, file=sys.stderr)
    if arguments.markdown:
        page += other_sections(arguments.markdown, page)
        arguments.markdown.write_text("\n\n".join(page) + "\n")
    return int(bool(workshop.failures))


if __name__ == "__main__":
    sys.exit(main())
