#!/usr/bin/env python3
"""Instructions that a few everyday commands take, counted by callgrind: what must not creep up where time is too noisy to see.

    python3 tools/instructions.py            # compare with the committed baseline; more than 5 % worse fails
    python3 tools/instructions.py --write    # make the baseline anew, with the reason in the commit's message

Counts depend on the compiler, so a baseline that another one made is not compared. Kernels are those for AVX2: valgrind knows
no larger vectors.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASELINE = ROOT / "benches" / "record" / "instructions.json"
DIGITS = ROOT / "examples" / "digits"
# How much more a command may take than in the baseline.
MARGIN = 0.05


def scenarios(binaries, scratch):
    """Commands by what they measure."""
    package, model, picture = DIGITS / "digits.cnnip", DIGITS / "digits.tflite", DIGITS / "images" / "0_00.png"
    iss, tool = [binaries / "iss-run", package, picture], binaries / "cnnip"
    return {
        "open a package and decode its lists": [tool, "disasm", package],
        "run": iss,
        "run, no checks": [*iss, "--check", "none"],
        "run by command": [*iss, "--step", "command"],
        "run by cycle": [*iss, "--step", "cycle"],
        "accurate": [tool, "accurate", package, picture],
        "compile": [tool, "compile", model, "-o", scratch / "digits.cnnip"],
    }


def count(command):
    """Instructions of a command in user mode."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    settings = os.environ | {"CNNIP_KERNELS": "avx2"}
    run = subprocess.run([*valgrind, *command], capture_output=True, text=True, env=settings)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or not found:
        sys.exit(f"{' '.join(map(str, command))}: {run.stderr.strip().splitlines()[-1:]}")
    return int(found[1])


def compiler():
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()


def compare(rows, baseline):
    """Prints every count beside the baseline's, and gives those that are too large."""
    worse = []
    for name, instructions in rows.items():
        before = baseline.get(name)
        change = instructions / before - 1 if before else 0.0
        print(f"{name:40} {instructions:14,} {change:+8.1%}")
        if change > MARGIN:
            worse.append(name)
    return worse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target" / "release", help="where the programs are")
    parser.add_argument("--write", action="store_true", help="make the baseline anew")
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        print("skipped: no valgrind")
        return 0
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if not arguments.write and baseline.get("compiler") != compiler():
        print(f"baseline of another compiler ({baseline.get('compiler')}): not compared")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        commands = scenarios(arguments.bin_dir.resolve(), pathlib.Path(scratch))
        rows = {name: count(command) for name, command in commands.items()}
    worse = compare(rows, baseline.get("instructions", {}))
    if arguments.write:
        BASELINE.write_text(json.dumps({"compiler": compiler(), "kernels": "avx2", "instructions": rows}, indent=1) + "\n")
    elif worse:
        print(f"more than {MARGIN:.0%} worse: {', '.join(worse)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
