"""Runs a model with other runtimes when told to: the other half of `cnnip bench --python`.

    python bench_oracles.py MODEL.tflite

The first line of standard output is a JSON list of the runtimes that were found and take the model. After that every line
of standard input is the position of one of them: it runs once, and the seconds of that run are printed. One thread each.
"""

import json
import os
import sys
import time

import numpy as np


def litert(model, reference):
    """LiteRT with XNNPACK or with its reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=kernels)
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


def pattern(shape, dtype):
    """Values that do not matter."""
    return (np.arange(np.prod(shape)) * 151 % 256 - 128).astype(dtype).reshape(shape)


def found(model):
    """Names and calls of the runtimes that take the model; what they say meanwhile goes to standard error."""
    makers = {
        "LiteRT XNNPACK": lambda: litert(model, reference=False),
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
    with open(sys.argv[1], "rb") as file:
        runtimes = found(file.read())
    print(json.dumps([name for name, _ in runtimes]), file=answers, flush=True)
    for line in sys.stdin:
        _, call = runtimes[int(line)]
        start = time.perf_counter()
        call()
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
