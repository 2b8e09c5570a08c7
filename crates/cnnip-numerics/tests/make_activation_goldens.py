"""Makes goldens/activations.txt with the real tflite-micro: LOGISTIC and TANH, int8 and int16.

Run: python make_activation_goldens.py > goldens/activations.txt
Made with Python 3.11, numpy 2.4.6, flatbuffers 25.12.19, ai-edge-litert 2.3.0 (schema only),
tflite_micro 0.dev20261023182759.
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_micro.python.tflite_micro.runtime import Interpreter

OPERATORS = {"logistic": schema.BuiltinOperator.LOGISTIC, "tanh": schema.BuiltinOperator.TANH}
TYPES = {np.int8: schema.TensorType.INT8, np.int16: schema.TensorType.INT16}
OUTPUTS = {
    ("logistic", np.int8): (1 / 256, -128),
    ("tanh", np.int8): (1 / 128, 0),
    ("logistic", np.int16): (1 / 32768, 0),
    ("tanh", np.int16): (1 / 32768, 0),
}


def tensor(name, shape, dtype, scale, zero_point):
    t = schema.TensorT()
    t.name, t.shape, t.type, t.buffer = name, list(shape), TYPES[dtype], 0
    t.quantization = schema.QuantizationParametersT()
    t.quantization.scale, t.quantization.zeroPoint = [float(scale)], [int(zero_point)]
    return t


def run(operator, x, scale, zero_point):
    dtype = x.dtype.type
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = OPERATORS[operator]
    code.version = 3
    node = schema.OperatorT()
    node.opcodeIndex, node.inputs, node.outputs = 0, [0], [1]
    graph = schema.SubGraphT()
    graph.tensors = [tensor(b"x", x.shape, dtype, scale, zero_point), tensor(b"y", x.shape, dtype, *OUTPUTS[operator, dtype])]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [node]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    interpreter = Interpreter.from_bytes(bytes(builder.Output()), arena_size=1 << 20)
    interpreter.set_input(x, 0)
    interpreter.invoke()
    return interpreter.get_output(0)


def emit(operator, x, scale, zero_point):
    scale = np.float32(scale)
    y = run(operator, x.reshape(1, -1), scale, zero_point)
    words = [" ".join(map(str, v.ravel())) for v in (x, y)]
    print(f"{operator} int{8 * x.itemsize} {scale.view(np.uint32):#010x} {zero_point} | {words[0]} | {words[1]}")


def main():
    rng = np.random.default_rng(20261121)
    print("# operator type scale zero_point | input | output; made by make_activation_goldens.py")
    for operator in OPERATORS:
        for scale, zero_point in ((0.0625, 0), (0.0371, -11), (0.2, 100), (1.0, 0), (0.001, -128), (1e-7, 3)):
            emit(operator, np.arange(-128, 128).astype(np.int8), scale, zero_point)
        for scale in (2.0**-12, 2.0**-11, 2.0**-10, 1e-4, 3.3e-4, 0.0021, 0.9, 1e-9):
            emit(operator, np.sort(rng.integers(-32768, 32768, 200)).astype(np.int16), scale, 0)


main()
