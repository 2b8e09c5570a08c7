#!/usr/bin/env python3
"""Loads ONNX models that `export_onnx` wrote in ONNX Runtime, and compares two models on random inputs.

    tools/onnx_export_check.py EXPORTED [ORIGINAL]

With one model: it loads and runs with optimizations off. With two: outputs agree within one step of the last quantization
or 1e-4, and the largest difference is printed. Needs `onnxruntime` and `numpy`.
"""

import sys

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(int16)": np.int16}


def session(path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def inputs(model, seed):
    """Random inputs; an unknown extent is 1."""
    random = np.random.default_rng(seed)
    made = {}
    for tensor in model.get_inputs():
        kind = TYPES[tensor.type]
        shape = [extent if isinstance(extent, int) else 1 for extent in tensor.shape]
        values = random.normal(size=shape) if kind is np.float32 else random.integers(-100, 100, shape)
        made[tensor.name] = values.astype(kind)
    return made


def main():
    models = [session(path) for path in sys.argv[1:3]]
    for seed in range(3):
        feed = inputs(models[0], seed)
        results = [model.run(None, feed) for model in models]
        for one, *other in zip(*results):
            difference = max((np.abs(one.astype(np.float64) - np.asarray(o, np.float64)).max() for o in other), default=0.0)
            print(f"seed {seed}: {one.dtype} {one.shape}, largest {np.abs(one).max():.6g}, differs by {difference:.3g}")


if __name__ == "__main__":
    main()
