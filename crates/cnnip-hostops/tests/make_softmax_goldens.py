"""Makes goldens/softmax_int8.txt with the real tflite-micro.

Run: python make_softmax_goldens.py > goldens/softmax_int8.txt
Made with Python 3.11, numpy 2.4.6, flatbuffers 25.12.19, ai-edge-litert 2.3.0 (schema and second witness),
tflite_micro 0.dev20261023182759.
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro.runtime import Interpreter as MicroInterpreter


def tensor(name, shape, scale, zero_point):
    t = schema.TensorT()
    t.name, t.shape, t.type, t.buffer = name, list(shape), schema.TensorType.INT8, 0
    t.quantization = schema.QuantizationParametersT()
    t.quantization.scale, t.quantization.zeroPoint = [float(scale)], [zero_point]
    return t


def softmax_model(shape, beta, scale):
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SOFTMAX
    code.version = 2
    node = schema.OperatorT()
    node.opcodeIndex, node.inputs, node.outputs = 0, [0], [1]
    node.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
    node.builtinOptions = schema.SoftmaxOptionsT()
    node.builtinOptions.beta = float(beta)
    graph = schema.SubGraphT()
    graph.tensors = [tensor(b"x", shape, scale, 0), tensor(b"y", shape, 1 / 256, -128)]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [node]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def micro(model, x):
    interpreter = MicroInterpreter.from_bytes(model, arena_size=1 << 20)
    interpreter.set_input(x, 0)
    interpreter.invoke()
    return interpreter.get_output(0)


def reference(model, x):
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def words(values):
    return " ".join(str(v) for v in values.ravel())


def main():
    rng = np.random.default_rng(20261121)
    print("# beta scale | input row | output row; made by make_softmax_goldens.py")
    for depth in (1, 2, 3, 10, 12, 33):
        for scale in (2.0**-20, 0.001, 1 / 256, 0.05, 0.17, 0.9, 4.0, 16.0, 31.0, 200.0):
            for beta in (1.0, 0.37):
                scale, beta = np.float32(scale), np.float32(beta)
                x = rng.integers(-128, 128, (1, depth)).astype(np.int8)
                if scale >= 4:  # keep some neighbours of the maximum
                    x[0, depth // 2 :] = np.clip(x.max() - rng.integers(0, 4, depth - depth // 2), -128, 127)
                model = softmax_model(x.shape, beta, scale)
                y = micro(model, x)
                assert (y == reference(model, x)).all()
                print(f"{beta.view(np.uint32):#010x} {scale.view(np.uint32):#010x} | {words(x)} | {words(y)}")


main()
