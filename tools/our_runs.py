"""Runs our own binaries: `cnnip compile` and `iss-run`."""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tflite_models import tensor_names

TIMEOUT_SECONDS = 300
KEPT_LINES = 12


class Refused(Exception):
    """One of our binaries ended with a status other than 0."""

@dataclass(frozen=True)
class Binaries:
    """Where the binaries are, and what to compile for: a target, or a target and its cores, as `v3u/3`."""

    directory: Path
    target: str = "v4h"
    rounding: str = "double"

    def compile(self, model: Path, package: Path) -> None:
        """Compiles a TFLite file to a package."""
        target, _, cores = self.target.partition("/")
        options = ["-o", str(package), "--target", target, "--cores", cores or "1", "--rounding", self.rounding]
        self._call("cnnip", "compile", str(model), *options)

    def run(self, package: Path, inputs: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        """Runs a package once; inputs by name, outputs in the order of their names."""
        with tempfile.TemporaryDirectory() as scratch:
            options = []
            for index, (name, values) in enumerate(inputs.items()):
                path = Path(scratch) / f"in{index}.npy"
                np.save(path, values)
                options += ["--input", f"{name}={path}"]
            paths = [Path(scratch) / f"out{index}.npy" for index in range(len(outputs))]
            for name, path in zip(outputs, paths, strict=True):
                options += ["--output", f"{name}={path}"]
            self._call("iss-run", str(package), *options)
            return [_load(path) for path in paths]

    def compile_and_run(self, model: bytes, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs of a model for one set of inputs, in the model's order."""
        names_in, names_out = tensor_names(model)
        with tempfile.TemporaryDirectory() as scratch:
            source, package = Path(scratch) / "model.tflite", Path(scratch) / "model.cnnip"
            source.write_bytes(model)
            self.compile(source, package)
            return self.run(package, dict(zip(names_in, inputs, strict=True)), names_out)

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self.directory / program), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise Refused(f"{program}: no answer within {TIMEOUT_SECONDS} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "said nothing").splitlines()[:KEPT_LINES]
            raise Refused(f"{program}: status {done.returncode}: " + "\n".join(said))


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path)
    except (OSError, ValueError) as problem:
        raise Refused(f"iss-run: status 0, but no readable output: {problem}") from None
