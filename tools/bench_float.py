#!/usr/bin/env python3
"""Times the embedded float engine against ONNX Runtime float32, one thread, same model, same picture, in turn.

    cargo build --release -p cnnip-fast --example speed
    tools/bench_float.py [--rounds 5] [--runs 20]

Models: ResNet-50 and MobileNetV2 at 224x224 with random weights and no batch normalization, made here. Prints for each the
least time of ONNX Runtime, and of the embedded engine with its ratio to that: plain, with every activation rounded to an
int8 grid, and so with every tensor shown to an observer. The outputs of the plain run are compared.

Needs `onnx`, `onnxruntime` and `numpy`.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
VARIANTS = {"plain": [], "grids": ["--grids"], "grids, all tensors": ["--grids", "--watch"]}


class Network:
    """A float model in the making; weights keep the variance of what they multiply."""

    def __init__(self):
        self.random = np.random.default_rng(1)
        self.nodes, self.constants, self.channels = [], [], {"image": 3}

    def constant(self, shape, fan):
        name = f"w{len(self.constants)}"
        values = self.random.normal(0, np.sqrt(2 / fan), shape).astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def node(self, op, inputs, channels, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.channels[name] = channels
        return name

    def conv(self, x, outputs, kernel, stride, group=1):
        depth = self.channels[x] // group
        weights = self.constant((outputs, depth, kernel, kernel), depth * kernel * kernel)
        bias = self.constant((outputs,), 10000)
        pad = (kernel - 1) // 2
        return self.node(
            "Conv", [x, weights, bias], outputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=group
        )

    def relu(self, x):
        return self.node("Relu", [x], self.channels[x])

    def relu6(self, x):
        for name, value in (("zero", 0), ("six", 6)):
            if not any(constant.name == name for constant in self.constants):
                self.constants.append(numpy_helper.from_array(np.float32(value), name))
        return self.node("Clip", [x, "zero", "six"], self.channels[x])

    def add(self, a, b):
        return self.node("Add", [a, b], self.channels[a])

    def model(self, x):
        pooled = self.node("GlobalAveragePool", [x], self.channels[x])
        flat = self.node("Flatten", [pooled], self.channels[x])
        weights = self.constant((self.channels[x], 1000), self.channels[x])
        logits = self.node("Gemm", [flat, weights, self.constant((1000,), 10000)], 1000)
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])
        output = helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, 1000])
        graph = helper.make_graph(self.nodes, "network", [image], [output], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet50():
    net = Network()
    x = net.relu(net.conv("image", 64, 7, 2))
    x = net.node("MaxPool", [x], 64, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first if block == 0 else 1
            shortcut = net.conv(x, 4 * width, 1, stride) if block == 0 else x
            y = net.relu(net.conv(x, width, 1, 1))
            y = net.relu(net.conv(y, width, 3, stride))
            x = net.relu(net.add(net.conv(y, 4 * width, 1, 1), shortcut))
    return net.model(x)


def mobilenet_v2():
    net = Network()
    x = net.relu6(net.conv("image", 32, 3, 2))
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, outputs, blocks, first in stages:
        for block in range(blocks):
            stride, channels = (first if block == 0 else 1), net.channels[x]
            y = x if expansion == 1 else net.relu6(net.conv(x, channels * expansion, 1, 1))
            y = net.relu6(net.conv(y, net.channels[y], 3, stride, group=net.channels[y]))
            y = net.conv(y, outputs, 1, 1)
            x = net.add(y, x) if stride == 1 and channels == outputs else y
    return net.model(net.relu6(net.conv(x, 1280, 1, 1)))


def ours(program, model, runs, flags):
    """The least time in milliseconds."""
    text = subprocess.run([program, model, str(runs), *flags], check=True, capture_output=True, text=True).stdout
    return float(text.split(" min ")[1].split()[0])


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def least(run, runs):
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        run()
        best = min(best, 1e3 * (time.perf_counter() - start))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=20)
    program = REPOSITORY / "target" / "release" / "examples" / "speed"
    parser.add_argument("--program", type=pathlib.Path, default=program)
    arguments = parser.parse_args()
    if not arguments.program.exists():
        sys.exit(f"{arguments.program} is missing: cargo build --release -p cnnip-fast --example speed")
    image = ((np.arange(3 * 224 * 224) % 255) / 127.5 - 1).astype(np.float32).reshape(1, 3, 224, 224)
    for make in (resnet50, mobilenet_v2):
        with tempfile.TemporaryDirectory() as folder:
            model, output = pathlib.Path(folder) / f"{make.__name__}.onnx", pathlib.Path(folder) / "output.bin"
            onnx.save(make(), model)
            oracle = session(model)
            times = {name: float("inf") for name in ("onnxruntime", *VARIANTS)}
            for _ in range(arguments.rounds):
                run = lambda: oracle.run(None, {"image": image})
                times["onnxruntime"] = min(times["onnxruntime"], least(run, arguments.runs))
                for name, flags in VARIANTS.items():
                    flags = [*flags, f"--output={output}"] if name == "plain" else flags
                    times[name] = min(times[name], ours(arguments.program, model, arguments.runs, flags))
            want = oracle.run(None, {"image": image})[0].ravel()
            error = np.abs(np.fromfile(output, np.float32) - want).max() / np.abs(want).max()
            print(f"{make.__name__}: onnxruntime {onnxruntime.__version__} {times['onnxruntime']:.2f} ms, 1 thread")
            for name in VARIANTS:
                print(f"  {name:20} {times[name]:8.2f} ms  {times[name] / times['onnxruntime']:.2f}x")
            print(f"  largest difference of the outputs {error:.1e} of the largest")


if __name__ == "__main__":
    main()
