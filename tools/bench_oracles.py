"""Runs a model with other runtimes when told to: the other half of `cnnip bench --python`.

    python bench_oracles.py MODEL.tflite|MODEL.onnx...

The first line of standard output is a JSON list of the runtimes that were found and take a model: of a network as TFLite and as
ONNX, each takes its own. After that every line of standard input is the position of one of them: it runs once, and the seconds
of that run are printed. One thread each, but where the name says so.
"""

import json
import os
import sys
import time

import numpy as np


def litert(model, reference, threads=1):
    """LiteRT with XNNPACK or with its reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(model_content=model, num_threads=threads, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], pattern(detail["shape"], detail["dtype"]))
    return interpreter.invoke


def tflite_micro(model):
    """tflite-micro."""
    from ai_edge_litert.interpreter import Interpreter
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=10 * len(model) + (1 << 24))
    for index, detail in enumerate(Interpreter(model_content=model).get_input_details()):
        interpreter.set_input(pattern(detail["shape"], detail["dtype"]), index)
    return interpreter.invoke


def onnx_runtime(model):
    """ONNX Runtime on the processor, with all its optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Without it int8 becomes uint8 on x86, but not where a QuantizeLinear says its type, and the model is refused.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "float32", "tensor(int8)": "int8", "tensor(uint8)": "uint8"}
    # Extents that a model leaves open are one.
    inputs = {
        value.name: pattern([n if isinstance(n, int) else 1 for n in value.shape], types[value.type])
        for value in session.get_inputs()
    }
    return lambda: session.run(None, inputs)


def pattern(shape, dtype):
    """Values that do not matter."""
    return (np.arange(np.prod(shape)) * 151 % 256 - 128).astype(dtype).reshape(shape)


def found(path):
    """Names and calls of the runtimes that take the model; what they say meanwhile goes to standard error."""
    with open(path, "rb") as file:
        model = file.read()
    if path.lower().endswith(".onnx"):
        makers = {"ONNX Runtime": lambda: onnx_runtime(model)}
    else:
        makers = {
            "LiteRT XNNPACK": lambda: litert(model, reference=False),
            "XNNPACK, 2 threads": lambda: litert(model, reference=False, threads=2),
            "LiteRT reference": lambda: litert(model, reference=True),
            "tflite-micro": lambda: tflite_micro(model),
        }
    runtimes = []
    for name, make in makers.items():
        try:
            call = make()
            call()
        except Exception as error:  # one that is absent or refuses the model is left out
            print(f"{name}: {error}", file=sys.stderr)
            continue
        runtimes.append((name, call))
    return runtimes


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    runtimes = [runtime for path in sys.argv[1:] for runtime in found(path)]
    print(json.dumps([name for name, _ in runtimes]), file=answers, flush=True)
    for line in sys.stdin:
        _, call = runtimes[int(line)]
        start = time.perf_counter()
        call()
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
