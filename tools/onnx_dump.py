#!/usr/bin/env python3
"""Every tensor of an ONNX model, as ONNX Runtime computes it without optimizations, by name in an .npz file.

    tools/onnx_dump.py MODEL.onnx INPUT.npz|INPUT.npy OUT.npz
    tools/onnx_dump.py --example DIR

`cnnip compare OUT.npz accurate:MODEL --input INPUT.npy` takes it. An .npz input has an array per input of the model, by name.
With --example it writes a small network of its own with calibration data, an input and its dump: what the tests of
`crates/cnnip-cli` have in `tests/goldens/nchw`. Needs `numpy`, `onnx`, `onnxruntime`.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def dump(model, feed):
    """All tensors that nodes make, and the inputs; those of other types than files have are left out."""
    model = onnx.shape_inference.infer_shapes(model)
    outputs = {output.name for output in model.graph.output}
    made = {name for node in model.graph.node for name in node.output}
    for value in model.graph.value_info:
        if value.name in made - outputs:
            model.graph.output.append(value)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, feed)), **feed)
    return {name: array for name, array in found.items() if array.dtype != bool}


def example():
    """Convolutions, a depthwise one, normalization, a residual sum, concat, slice, pooling, a matrix product."""
    random = np.random.default_rng(1)

    def constant(name, array):
        return numpy_helper.from_array(np.asarray(array), name)

    def normal(name, *shape):
        return constant(name, random.normal(0, 0.2, shape).astype(np.float32))

    channels = 6
    positive = [random.uniform(0.5, 2, channels).astype(np.float32) for _ in range(2)]
    constants = [
        normal("w1", channels, 3, 3, 3), normal("b1", channels), normal("w2", channels, 1, 3, 3),
        normal("w3", channels, channels, 1, 1), normal("w4", 10, channels), normal("b4", 10),
        constant("scale", positive[0]), normal("shift", channels), normal("mean", channels), constant("variance", positive[1]),
        constant("starts", np.array([3])), constant("ends", np.array([9])), constant("axes", np.array([1])),
    ]
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["conv1"], pads=[1, 1, 1, 1]),
        node("Relu", ["conv1"], ["relu1"]),
        node("MaxPool", ["relu1"], ["pool1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pool1", "w2"], ["depthwise2"], pads=[1, 1, 1, 1], group=channels),
        node("BatchNormalization", ["depthwise2", "scale", "shift", "mean", "variance"], ["norm2"]),
        node("Relu", ["norm2"], ["relu2"]),
        node("Conv", ["relu2", "w3"], ["pointwise3"]),
        node("Add", ["pointwise3", "pool1"], ["sum3"]),
        node("Concat", ["sum3", "pointwise3"], ["both"], axis=1),
        node("Slice", ["both", "starts", "ends", "axes"], ["middle"]),
        node("GlobalAveragePool", ["middle"], ["average"]),
        node("Flatten", ["average"], ["flat"]),
        node("Gemm", ["flat", "w4", "b4"], ["scores"], transB=1),
        node("Sigmoid", ["middle"], ["map"]),
    ]
    shapes = {"x": [1, 3, 8, 12], "scores": [1, 10], "map": [1, channels, 4, 6]}
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = helper.make_graph(nodes, "nchw", [infos["x"]], [infos["scores"], infos["map"]], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model, random.normal(0, 1, (17, 3, 8, 12)).astype(np.float32)


def write_example(folder):
    folder.mkdir(parents=True, exist_ok=True)
    model, images = example()
    onnx.save(model, folder / "model.onnx")
    np.savez_compressed(folder / "calibration.npz", x=images[:16])
    np.save(folder / "input.npy", images[16:])
    np.savez_compressed(folder / "tensors.npz", **dump(model, {"x": images[16:]}))
    versions = f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, numpy {np.__version__}\n"
    (folder / "README.md").write_text(f"Made by `tools/onnx_dump.py --example`; {versions}")


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--example":
        write_example(Path(sys.argv[2]))
        return
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model = onnx.load(sys.argv[1])
    given = np.load(sys.argv[2])
    first = next(info.name for info in model.graph.input if info.name not in {c.name for c in model.graph.initializer})
    feed = dict(given) if isinstance(given, np.lib.npyio.NpzFile) else {first: given}
    np.savez(sys.argv[3], **dump(model, feed))


if __name__ == "__main__":
    main()
