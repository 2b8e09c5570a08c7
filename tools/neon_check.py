#!/usr/bin/env python3
"""Kernels for NEON against their scalar twins, on a processor that QEMU plays: the tests of cnnip-kernels for aarch64.

Fetches, from the mirror this machine's apt uses, what that needs and unpacks it under target/neon; nothing is installed.
A compiler of the next Debian release comes with its libraries for arm64, and QEMU's user mode with the present one. Says
"skipped" and why, and succeeds, where that cannot be had: no apt sources, another processor, no network.
"""

import argparse
import hashlib
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "neon"
# A release whose Rust is new enough for this workspace.
RELEASE = "forky"
TARGET = "aarch64-unknown-linux-gnu"
LIBRARIES = "usr/lib/aarch64-linux-gnu"
COMPILER = ["rustc", "libstd-rust-dev"]
# The standard library for the target, what programs are linked with, and what they load.
QEMU = "qemu-user-static"
TARGET_PACKAGES = ["libstd-rust-dev", "libc6-dev", "libc6", "libgcc-s1"]
# Called by the compiler only to link programs for this machine, which is done by its own.
NOT_NEEDED = {"gcc", "libc-dev", "binutils", "debconf"}


class Unavailable(Exception):
    """Why the check cannot be made here."""


def mirror():
    """The mirror and the release that apt uses."""
    text = ""
    for path in sorted(pathlib.Path("/etc/apt").glob("sources.list*/**/*")) + [pathlib.Path("/etc/apt/sources.list")]:
        if path.is_file():
            text += path.read_text(errors="replace") + "\n"
    uri = re.search(r"^URIs:\s*(\S+/debian)/?\s*$", text, re.M) or re.search(r"^deb\s.*?(https?://\S+/debian)/?\s", text, re.M)
    suite = re.search(r"^Suites:\s*(\S+)", text, re.M) or re.search(r"^deb\s.*?/debian/?\s+(\S+)", text, re.M)
    if not uri or not suite:
        raise Unavailable("apt has no Debian mirror")
    return uri[1], suite[1]


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except OSError as why:
        raise Unavailable(f"{url.rsplit('/', 1)[-1]}: {why}") from why


class Release:
    """The packages of one release and architecture, by name."""

    def __init__(self, uri, suite, architecture):
        index = lzma.decompress(fetch(f"{uri}/dists/{suite}/main/binary-{architecture}/Packages.xz")).decode()
        self.uri, self.architecture, self.packages = uri, architecture, {}
        for block in index.split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", block, re.M))
            if "Package" in fields:
                self.packages[fields["Package"]] = fields

    def closure(self, names):
        """The packages with all that they depend on."""
        found, wanted = {}, list(names)
        while wanted:
            name = wanted.pop()
            if name in found or name in NOT_NEEDED or name not in self.packages:
                continue
            found[name] = self.packages[name]
            depends = ", ".join(found[name].get(field, "") for field in ("Depends", "Pre-Depends"))
            wanted += [re.split(r"[ :|(]", part.strip())[0] for part in depends.split(",") if part.strip()]
        return found.values()

    def unpack(self, fields, place):
        """Fetches a package, whose sum must be right, and unpacks it, unless that has been done."""
        done = place / ".unpacked" / f"{fields['Package']}_{self.architecture}_{fields['SHA256'][:16]}"
        if done.exists():
            return
        data = fetch(f"{self.uri}/{fields['Filename']}")
        if hashlib.sha256(data).hexdigest() != fields["SHA256"]:
            raise Unavailable(f"{fields['Package']} is not what the index says")
        done.parent.mkdir(parents=True, exist_ok=True)
        package = place / "package.deb"
        package.write_bytes(data)
        subprocess.run(["dpkg", "-x", package, place], check=True)
        package.unlink()
        done.touch()


def install():
    """Fills PLACE, unless it is full already."""
    if os.uname().machine != "x86_64" or not shutil.which("dpkg"):
        raise Unavailable("this is made for Debian on x86-64")
    uri, suite = mirror()
    done = PLACE / "complete"
    if done.exists():
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    here, compiler = Release(uri, suite, "amd64"), Release(uri, RELEASE, "amd64")
    for fields in compiler.closure(COMPILER):
        compiler.unpack(fields, PLACE / "compiler")
    target = Release(uri, RELEASE, "arm64")
    for name in TARGET_PACKAGES:
        target.unpack(target.packages[name], PLACE / "arm64")
    here.unpack(here.packages[QEMU], PLACE / "qemu")
    link()
    done.touch()


def link():
    """What installed packages would have linked together."""
    system = PLACE / "arm64"
    libraries = {
        system / "lib": "usr/lib",
        system / LIBRARIES / "libgcc_s.so": "libgcc_s.so.1",
        PLACE / "compiler/usr/lib/rustlib" / TARGET: f"../../../../arm64/usr/lib/rustlib/{TARGET}",
    }
    for path, to in libraries.items():
        path.unlink(missing_ok=True)
        path.symlink_to(to)


def wrapper():
    """A compiler that runs with the libraries it came with."""
    root = PLACE / "compiler"
    loader = next(root.glob("usr/lib*/ld-linux-x86-64.so.2"), None) or next(root.glob("usr/lib/x86_64-linux-gnu/ld-linux*"))
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib"
    path = PLACE / "rustc"
    path.write_text(
        f'#!/bin/sh\nexec {loader} --library-path {libraries} {root}/usr/bin/rustc --sysroot {root}/usr "$@"\n'
    )
    path.chmod(0o755)
    return path


def environment():
    """What makes cargo build for the target and run what it built."""
    system = PLACE / "arm64"
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    linker = pathlib.Path(sysroot) / "lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"
    if not linker.exists():
        raise Unavailable("the toolchain has no rust-lld")
    arguments = [
        f"--sysroot={system}",
        f"-L{system}/{LIBRARIES}",
        "--dynamic-linker=/lib/ld-linux-aarch64.so.1",
        *(f"{system}/{LIBRARIES}/{name}" for name in ("Scrt1.o", "crti.o", "crtn.o")),
    ]
    flags = ["-Clinker-flavor=ld.lld", *(f"-Clink-arg={argument}" for argument in arguments)]
    name = "CARGO_TARGET_" + TARGET.upper().replace("-", "_")
    added = {
        "RUSTC": str(wrapper()),
        f"{name}_LINKER": str(linker),
        f"{name}_RUSTFLAGS": " ".join(flags),
        f"{name}_RUNNER": f"{PLACE}/qemu/usr/bin/qemu-aarch64-static -cpu max -L {system}",
        "CARGO_TARGET_DIR": str(PLACE / "build"),
    }
    # Flags for everything would take the place of those of the target.
    return {key: value for key, value in os.environ.items() if key != "RUSTFLAGS"} | added


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=32, help="random cases of each property (default 32)")
    parser.add_argument("filter", nargs="*", help="only tests whose names contain one of these")
    arguments = parser.parse_args()
    try:
        install()
        settings = environment()
    except Unavailable as why:
        print(f"skipped: {why}")
        return 0
    settings["PROPTEST_CASES"] = str(arguments.cases)
    command = ["cargo", "test", "--locked", "--package", "cnnip-kernels", "--lib", "--target", TARGET, "--"]
    return subprocess.run([*command, *arguments.filter], env=settings, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
