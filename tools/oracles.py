#!/usr/bin/env python3
"""Makes `.venv` in the repository root from `tools/oracles.lock`.

Needs nothing but Python's standard library. Does nothing when the environment was already made from the same
lock by the same Python version; starts afresh when either changed.

    python3 tools/oracles.py          # make or check the environment
    python3 tools/oracles.py --where  # the same, then print the environment's interpreter
"""

import argparse
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "tools" / "oracles.lock"
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "oracles.stamp"
PYTHON = ENVIRONMENT / "bin" / "python"


def wanted_stamp() -> str:
    """Digest of everything the environment depends on: the lock and the Python version."""
    return hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()


def is_fresh() -> bool:
    """Whether the environment was completed from this very lock."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted_stamp()


def make() -> None:
    """Builds the environment anew; the stamp is written last, so a broken attempt is repeated."""
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--requirement", str(LOCK)], check=True)
    subprocess.run([str(PYTHON), "-m", "pip", "--disable-pip-version-check", "check"], check=True, stdout=sys.stderr)
    STAMP.write_text(wanted_stamp())


def main() -> int:
    """Entry point; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--where", action="store_true", help="print the path of the environment's Python")
    arguments = options.parse_args()
    if not is_fresh():
        try:
            make()
        except subprocess.CalledProcessError as failure:
            print(f"oracles: pip ended with status {failure.returncode}; the lock is {LOCK}", file=sys.stderr)
            return 1
    if arguments.where:
        print(PYTHON)
    return 0


if __name__ == "__main__":
    sys.exit(main())
