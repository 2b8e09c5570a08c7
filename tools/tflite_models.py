"""Builds, takes apart and reads quantized TFLite models.

The schema classes come from the `ai_edge_litert` package; this module adds the few lines that make them pleasant:
tensors and operators by name, constants aligned as the format asks, single operators cut out of a network.
"""

from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FILE_IDENTIFIER = b"TFL3"
CONSTANT_ALIGNMENT = 16

TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
}
DTYPES = {code: dtype for dtype, code in TYPES.items()}

# Operator versions that admit int8; runtimes refuse a version they do not know.
VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "MAX_POOL_2D": 2, "AVERAGE_POOL_2D": 2, "MEAN": 2,
    "PAD": 2, "PADV2": 2, "ADD": 2, "RESHAPE": 1, "TRANSPOSE": 2, "QUANTIZE": 2, "DEQUANTIZE": 2, "SOFTMAX": 2, "RELU": 2, "RELU6": 2,
    "SUB": 2, "MUL": 2, "MAXIMUM": 2, "MINIMUM": 2, "PRELU": 1, "LEAKY_RELU": 2, "HARD_SWISH": 1, "LOGISTIC": 2, "TANH": 2,
    "CONCATENATION": 2, "PACK": 2, "SPLIT": 2, "SPLIT_V": 2, "UNPACK": 2, "SLICE": 2, "STRIDED_SLICE": 2, "GATHER": 2,
    "SUM": 2, "REDUCE_MAX": 2, "REDUCE_MIN": 2, "DEPTH_TO_SPACE": 1, "SPACE_TO_DEPTH": 2, "SPACE_TO_BATCH_ND": 2,
    "BATCH_TO_SPACE_ND": 2, "TRANSPOSE_CONV": 3, "RESIZE_NEAREST_NEIGHBOR": 3, "RESIZE_BILINEAR": 3, "ARG_MAX": 2,
    "ARG_MIN": 2, "MIRROR_PAD": 2, "TILE": 1, "BROADCAST_TO": 2, "REVERSE_V2": 1,
    "ABS": 2, "NEG": 1, "EXP": 2, "LOG": 2, "RSQRT": 2, "ELU": 1, "GELU": 1, "SQUARED_DIFFERENCE": 2, "RELU_0_TO_1": 1,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 3,
}  # fmt: skip


@dataclass(frozen=True)
class Quantization:
    """Affine quantization: `real = scale * (integer - zero_point)`; several scales run along `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0

    @staticmethod
    def per_tensor(scale: float, zero_point: int) -> "Quantization":
        """One scale and zero point for the whole tensor."""
        return Quantization((float(np.float32(scale)),), (int(zero_point),))

    @staticmethod
    def per_channel(scales, axis: int) -> "Quantization":
        """Symmetric, one scale per index along `axis`."""
        return Quantization(tuple(float(s) for s in np.float32(scales)), (0,) * len(scales), axis)

    @property
    def scale(self) -> float:
        """The scale of a per-tensor quantization."""
        (scale,) = self.scales
        return scale

    @property
    def zero_point(self) -> int:
        """The zero point of a per-tensor quantization."""
        (zero_point,) = self.zero_points
        return zero_point


class AlignedBuffer(schema.BufferT):
    """A constant whose bytes start at a multiple of 16, which the generated `Pack` does not see to."""

    def Pack(self, builder: flatbuffers.Builder):  # noqa: N802, the generated classes name it so
        """Writes the buffer; an absent or empty one as an empty table."""
        if self.data is None or len(self.data) == 0:
            schema.BufferStart(builder)
            return schema.BufferEnd(builder)
        content = bytes(self.data)
        builder.StartVector(1, len(content), CONSTANT_ALIGNMENT)
        builder.head = builder.head - len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def pack(model: schema.ModelT) -> bytes:
    """Serializes a model object; equal objects give equal bytes."""
    for index, buffer in enumerate(model.buffers):
        aligned = AlignedBuffer()
        aligned.data = buffer.data
        model.buffers[index] = aligned
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def unpack(model: bytes) -> schema.ModelT:
    """Parses a model file into the object tree."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """The schema's name of an operator, such as `CONV_2D`."""
    code = model.operatorCodes[operator.opcodeIndex]
    return OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


def constant(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray | None:
    """The values of a constant tensor in its shape, or `None` when the tensor is computed."""
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    return np.frombuffer(bytes(data), DTYPES[tensor.type]).reshape(shape_of(tensor))


def shape_of(tensor: schema.TensorT) -> tuple[int, ...]:
    """A tensor's shape; a scalar has none."""
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def quantization_of(tensor: schema.TensorT) -> Quantization | None:
    """A tensor's quantization, or `None` when it has no scale."""
    found = tensor.quantization
    if found is None or found.scale is None or len(found.scale) == 0:
        return None
    return Quantization(
        tuple(float(s) for s in found.scale), tuple(int(z) for z in found.zeroPoint), found.quantizedDimension
    )


class ModelBuilder:
    """Collects tensors and operators of one graph.

    >>> b = ModelBuilder("twice")
    >>> q = Quantization.per_tensor(0.5, 0)
    >>> x, y = b.tensor("x", (1, 4), np.int8, q), b.tensor("y", (1, 4), np.int8, q)
    >>> b.operator("ADD", [x, x], [y], schema.AddOptionsT())
    >>> len(b.finish([x], [y])) > 0
    True
    """

    def __init__(self, description: str):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = description
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors = []
        self.graph.operators = []
        self.model.subgraphs = [self.graph]

    def tensor(self, name: str, shape, dtype, quantization: Quantization | None = None) -> int:
        """Adds a computed tensor; returns its index."""
        tensor = schema.TensorT()
        tensor.name = name
        tensor.shape = [int(size) for size in shape]
        tensor.type = TYPES[np.dtype(dtype)]
        tensor.buffer = 0
        tensor.quantization = _quantization_table(quantization)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def variable(self, name: str, shape, dtype, quantization: Quantization) -> int:
        """Adds a tensor that an operator keeps its state in; returns its index."""
        index = self.tensor(name, shape, dtype, quantization)
        self.graph.tensors[index].isVariable = True
        return index

    def constant(self, name: str, values: np.ndarray, quantization: Quantization | None = None) -> int:
        """Adds a constant tensor; returns its index."""
        index = self.tensor(name, values.shape, values.dtype, quantization)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def operator(self, name: str, inputs, outputs, options=None) -> None:
        """Adds an operator with its options table; an absent optional input is -1."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(name)
        operator.inputs = list(inputs)
        operator.outputs = list(outputs)
        if options is not None:
            union = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, union)
            operator.builtinOptions = options
        self.graph.operators.append(operator)

    def finish(self, inputs, outputs) -> bytes:
        """Names the graph's inputs and outputs and returns the file's bytes."""
        self.graph.inputs = list(inputs)
        self.graph.outputs = list(outputs)
        return pack(self.model)

    def _code(self, name: str) -> int:
        number = getattr(schema.BuiltinOperator, name)
        for index, code in enumerate(self.model.operatorCodes):
            if code.builtinCode == number:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode = number
        code.deprecatedBuiltinCode = min(number, 127)
        code.version = VERSIONS[name]
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1


def _quantization_table(quantization: Quantization | None):
    if quantization is None:
        return None
    table = schema.QuantizationParametersT()
    table.scale = np.array(quantization.scales, np.float32)
    table.zeroPoint = np.array(quantization.zero_points, np.int64)
    table.quantizedDimension = quantization.axis
    return table


def single_operator(model: schema.ModelT, index: int) -> bytes:
    """Cuts operator `index` of the first graph out as a model of its own.

    Constants go along; every computed input becomes an input of the new model, every output an output.
    """
    graph = model.subgraphs[0]
    source = graph.operators[index]
    code = model.operatorCodes[source.opcodeIndex]
    part = ModelBuilder(f"operator {index} of {model.description}")
    part.model.operatorCodes = [code]
    used = [t for t in dict.fromkeys([*source.inputs, *source.outputs]) if t >= 0]
    place = {int(tensor): _copy_tensor(part, model, graph.tensors[tensor]) for tensor in used}
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs = [place.get(int(t), -1) for t in source.inputs]
    operator.outputs = [place[int(t)] for t in source.outputs]
    operator.builtinOptionsType = source.builtinOptionsType
    operator.builtinOptions = source.builtinOptions
    part.graph.operators = [operator]
    computed = [place[int(t)] for t in computed_inputs(model, source)]
    return part.finish(computed, operator.outputs)


def computed_inputs(model: schema.ModelT, operator: schema.OperatorT) -> list[int]:
    """The tensors an operator reads that are not constants, without repetition."""
    tensors = model.subgraphs[0].tensors
    return [int(t) for t in dict.fromkeys(operator.inputs) if t >= 0 and constant(model, tensors[t]) is None]


def _copy_tensor(part: ModelBuilder, model: schema.ModelT, tensor: schema.TensorT) -> int:
    name = _name(tensor)
    values = constant(model, tensor)
    quantization = quantization_of(tensor)
    if values is None:
        return part.tensor(name, shape_of(tensor), DTYPES[tensor.type], quantization)
    return part.constant(name, values, quantization)


def tensor_names(model: bytes) -> tuple[list[str], list[str]]:
    """Names of a model's inputs and outputs."""
    graph = unpack(model).subgraphs[0]
    return [_name(graph.tensors[i]) for i in graph.inputs], [_name(graph.tensors[i]) for i in graph.outputs]


def _name(tensor: schema.TensorT) -> str:
    return tensor.name.decode() if isinstance(tensor.name, bytes) else tensor.name
