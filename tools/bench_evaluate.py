#!/usr/bin/env python3
"""Times `cnnip evaluate` on pseudo-quantized networks against ONNX Runtime float32, in turns, and measures its memory.

    cargo build --release -p cnnip-cli
    tools/bench_evaluate.py [--images 40] [--rounds 3] [--engine ort --ort-library FILE]

Networks: ResNet-50 and MobileNetV2 of `bench_float.py`, made int8 by `cnnip export --calib`. For each: time per image of ONNX Runtime on
the float network with one thread, and of `cnnip evaluate --levels fast` with one and two threads, on the same images, as wall
time and as processor time; start-up is taken off by a run of one image. Then the most memory that a run over 100 and over 2000 images had.

On a machine that does other work the processor times count: two threads that need as much of it per image as one give twice the rate
where there are two free cores. Needs `onnx`, `onnxruntime` and `numpy`.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx

from bench_float import REPOSITORY, mobilenet_v2, resnet50, session


def run(command):
    """Wall time and processor time of a program, in seconds."""
    start = time.perf_counter()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))}: {output.decode()}")
    return wall, usage.ru_utime + usage.ru_stime


# The most memory of a program counts what its process held before it became the program. So a process that holds little starts it.
MOST_MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def most_memory(command):
    """The most memory of a program, in MiB: files that it has mapped and read are in it."""
    words = [sys.executable, "-c", MOST_MEMORY, *(str(word) for word in command)]
    return float(subprocess.run(words, check=True, capture_output=True).stdout)


def oracle(model, images):
    """Wall and processor time per image of ONNX Runtime, one thread, in milliseconds."""
    running = session(model)
    feed = [image[None].astype(np.float32) for image in images]
    running.run(None, {"image": feed[0]})
    start, used = time.perf_counter(), time.process_time()
    for image in feed:
        running.run(None, {"image": image})
    return np.array([time.perf_counter() - start, time.process_time() - used]) * 1e3 / len(feed)


def ours(program, model, images, count, threads, engine):
    """The same of `cnnip evaluate`, start-up taken off."""
    command = [program, "evaluate", model, "--data", images, "--levels", "fast", "--threads", threads, *engine]
    times = [np.array(run([*command, "--count", most])) for most in (threads, count)]
    return (times[1] - times[0]) * 1e3 / (count - threads)


def compare(program, name, make, arguments, folder, images, engine):
    model, quantized = folder / f"{name}.onnx", folder / f"{name}_int8.onnx"
    onnx.save(make(), model)
    data = folder / "images.npz"
    run([program, "export", model, "--calib", data, "--calib-count", 4, "-o", quantized])
    best = {what: np.full(2, np.inf) for what in ("float32", 1, 2)}
    for _ in range(arguments.rounds):
        best["float32"] = np.minimum(best["float32"], oracle(model, images[: arguments.images]))
        for threads in (1, 2):
            found = ours(program, quantized, data, arguments.images, threads, engine)
            best[threads] = np.minimum(best[threads], found)
    base = best["float32"]
    print(f"{name}: per image, wall and processor time")
    print(f"  ONNX Runtime float32, 1 thread  {base[0]:7.2f} ms {base[1]:7.2f} ms")
    for threads in (1, 2):
        wall, used = best[threads]
        print(f"  fast, {threads} thread(s)               {wall:7.2f} ms {used:7.2f} ms  {used / base[1]:.2f}x of the processor time")
    one, two = best[1], best[2]
    print(f"  two threads: {one[0] / two[0]:.2f}x the images per second; {two[1] / one[1]:.3f}x the processor time per image")
    return quantized


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[100, 2000], help="images of the runs whose memory is measured")
    parser.add_argument("--engine", default="embedded", choices=["embedded", "ort"])
    parser.add_argument("--ort-library", type=pathlib.Path)
    parser.add_argument("--program", type=pathlib.Path, default=REPOSITORY / "target" / "release" / "cnnip")
    arguments = parser.parse_args()
    if not arguments.program.exists():
        sys.exit(f"{arguments.program} is missing: cargo build --release -p cnnip-cli")
    engine = ["--engine", arguments.engine]
    engine += ["--ort-library", arguments.ort_library] if arguments.ort_library else []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        most = max([arguments.images, *arguments.memory])
        images = np.random.default_rng(1).integers(0, 256, (most, 3, 224, 224), np.uint8)
        np.savez(folder / "images.npz", image=images)
        for network in (resnet50, mobilenet_v2):
            quantized = compare(arguments.program, network.__name__, network, arguments, folder, images, engine)
        for count in arguments.memory:
            command = [arguments.program, "evaluate", quantized, "--data", folder / "images.npz", "--levels", "fast", "--count", count]
            print(f"memory over {count} images: {most_memory([*command, *engine]):.0f} MiB")


if __name__ == "__main__":
    main()
