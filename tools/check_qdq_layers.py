#!/usr/bin/env python3
"""Holds whole quantized ONNX networks to ONNX Runtime layer by layer, on the inputs that the oracle's own run gave each layer.

    .venv/bin/python tools/check_qdq_layers.py --bin-dir target/release [--only resnet18,unet] [--markdown docs/networks.md]

Networks in QDQ form: those of `make_networks.py` (small inputs), quantized by `onnxruntime.quantization` with int8 and uint8 activations and
weights per channel; and what `cnnip export` writes of the quantized TFLite networks in ../shared/data.

Of each network:

1. It is compiled whole for both targets, and the instruction set simulator equals the Accurate Simulator.
2. ONNX Runtime optimizes it as far as it does, with every quantized tensor an output, and runs an example. A layer is what stands between
   de-quantized tensors and one quantization. What the optimized graph computes on integers is an *integer kernel*; the rest is the oracle's
   binary32 arithmetic, and instead of it the exact result counts: de-quantize, operator, quantize in rational numbers, ties to even.
3. All layers, each with inputs of its own, become one model, which is compiled with `--rounding float` and runs on the oracle's tensors.
   Every element is compared.

Exit status: 0 when every element is equal but for the rules in `DIFFERING`, and no layer is refused but those in `REFUSED`; 1 otherwise.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import exact_layers
import make_networks
from check_tiny import data
from our_runs import Binaries, Refused
from report_tables import as_markdown, as_text

NETWORKS = ("resnet18", "mobilenet_v2", "squeezenet", "shufflenet_v2", "unet", "densenet121", "efficientnet_lite0", "mobilenet_v3")
EXPORTED = ("person_detect", "vww_96_int8", "pretrainedResnet_quant", "kws_ref_model", "ad01_int8")
TYPES = ("int8", "uint8")
TARGETS = ("v3m", "v4h")
CALIBRATION_EXAMPLES = 4
REPORTED_PROBLEMS = 12
SECTION = "## Quantized ONNX networks, layer by layer, against ONNX Runtime"


MOVING = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity"}
CLAMPS = {"Relu", "Clip"}
# What may differ: the operator and how it is computed, the rule, and the most by which an element may.
DIFFERING = {
    ("AveragePool", "integer kernel"): (
        "the oracle sums de-quantized binary32 numbers, the machine sums integers: where the exact quotient lies half-way between two "
        "integers, the oracle's rounding errors decide",
        1,
    ),
    ("BatchNormalization", "exact"): (
        "factors and summands are rounded to binary32 when they are read, and the machine's products are binary32: an exact result may lie "
        "nearer to a half than that",
        1,
    ),
}


# What is not compiled, and why.
REFUSED: dict[str, str] = {}


@dataclass
class Layer:
    """Nodes between de-quantized tensors and one quantization."""

    output: str
    nodes: list = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    @property
    def operators(self) -> list:
        """The nodes that compute."""
        return [node for node in self.nodes if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]

    @property
    def kind(self) -> str:
        """The operator that computes, for the tables: what moves elements around it, and clamps behind it, do not count."""
        names = [node.op_type for node in self.operators]
        return next((name for kinds in (MOVING | CLAMPS, MOVING) for name in names if name not in kinds), [*names, "QuantizeLinear"][0])


class Network:
    """A model in QDQ form, and where its tensors come from."""

    def __init__(self, model: onnx.ModelProto):
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.layers = [layer for node in model.graph.node if (layer := self._layer(node))]

    def _layer(self, node) -> Layer | None:
        """The layer that ends with this quantization; none for one of constants or of the network's inputs."""
        if node.op_type != "QuantizeLinear":
            return None
        layer, todo, real = Layer(node.output[0]), [node], False
        while todo:
            at = todo.pop()
            if any(at is known for known in layer.nodes):
                continue
            layer.nodes.append(at)
            for name in at.input:
                if not name or name in self.constants:
                    continue
                before = self.producers.get(name)
                if at.op_type == "DequantizeLinear":
                    layer.inputs += [name] * (name not in layer.inputs)
                elif before is None:
                    real = True
                else:
                    todo.append(before)
        layer.nodes.reverse()
        order = {id(one): index for index, one in enumerate(self.model.graph.node)}
        layer.nodes.sort(key=lambda one: order[id(one)])
        return layer if layer.inputs and not real else None

    def constant(self, name: str) -> np.ndarray:
        """A constant's values."""
        return numpy_helper.to_array(self.constants[name])


class Oracle:
    """ONNX Runtime's run of a network with all its optimizations, and how it computed each quantized tensor."""

    def __init__(self, network: Network, folder: Path, inputs: dict[str, np.ndarray]):
        names = [name for layer in network.layers for name in (*layer.inputs, layer.output)]
        known = {output.name for output in network.model.graph.output} | {entry.name for entry in network.model.graph.input}
        shown = onnx.ModelProto()
        shown.CopyFrom(network.model)
        shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in known)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(folder / "optimized.onnx")
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        # int8 networks would be run in binary32 on this kind of processor otherwise.
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        self.values = dict(zip(outputs, session.run(outputs, inputs), strict=True)) | inputs
        optimized = onnx.load(folder / "optimized.onnx").graph
        self.producers = {name: node for node in optimized.node for name in node.output}

    def kernel(self, layer: Layer) -> str | None:
        """The integer kernel that computes a layer; none where its result is quantized afterwards."""
        node = self.producers[layer.output]
        while node.op_type in MOVING and layer.kind not in MOVING:
            node = self.producers[node.input[0]]
        return None if node.op_type == "QuantizeLinear" and layer.operators else node.op_type


def joined(network: Network, layers: list[Layer], oracle: Oracle) -> onnx.ModelProto:
    """One model of all layers, side by side: inputs `iN_K`, outputs `oN`."""
    nodes, inputs, outputs, constants = [], [], [], {}
    element = {np.dtype(np.int8): onnx.TensorProto.INT8, np.dtype(np.uint8): onnx.TensorProto.UINT8}
    for index, layer in enumerate(layers):
        given = {name: f"i{index}_{at}" for at, name in enumerate(layer.inputs)}
        for node in layer.nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"layer{index}_{node.name or node.output[0]}"
            constants |= {name: network.constants[name] for name in node.input if name in network.constants}
            rename = lambda name: name if not name or name in network.constants else given.get(name, f"l{index}_{name}")  # noqa: B023, E731
            copy.input[:] = map(rename, node.input)
            copy.output[:] = [f"o{index}" if name == layer.output else f"l{index}_{name}" for name in node.output]
            nodes += channels_last(copy)
        described = lambda name, values: helper.make_tensor_value_info(name, element[values.dtype], values.shape)  # noqa: E731
        inputs += [described(ours, oracle.values[name]) for name, ours in given.items()]
        outputs.append(described(f"o{index}", oracle.values[layer.output]))
    graph = helper.make_graph(nodes, "layers", inputs, outputs, list(constants.values()))
    return helper.make_model(graph, opset_imports=network.model.opset_import, ir_version=network.model.ir_version)


def channels_last(node) -> list:
    """The node; a normalization alone would keep its channels in front, which a pool of single positions before it changes."""
    if node.op_type != "BatchNormalization":
        return [node]
    before, node.input[0] = node.input[0], f"{node.input[0]}_pooled"
    return [helper.make_node("MaxPool", [before], [node.input[0]], f"{node.name}_pool", kernel_shape=[1, 1]), node]


@dataclass
class Found:
    """What was found about one network."""

    name: str
    whole: str = "equal"
    equal: Counter = field(default_factory=Counter)
    wrong: Counter = field(default_factory=Counter)
    layers: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        """The network's line of the table."""
        kernels = [sum(n for (_, how), n in self.layers.items() if how == wanted) for wanted in ("integer kernel", "exact")]
        refused = ", ".join(f"{n} {kind}" for kind, n in self.refused.items())
        counts = (*kernels, self.equal.total() + self.wrong.total(), self.equal.total(), self.wrong.total())
        return (self.name, *(f"{n:,}" for n in counts), refused or "-", self.whole)


def run(binaries: Binaries, model: onnx.ModelProto, layers: list[Layer], oracle: Oracle, folder: Path) -> list[np.ndarray]:
    """Our results of all layers."""
    path, package = folder / "layers.onnx", folder / "layers.cnnip"
    onnx.save(model, path)
    binaries.compile(path, package)
    feed = {f"i{n}_{k}": oracle.values[name] for n, layer in enumerate(layers) for k, name in enumerate(layer.inputs)}
    return binaries.run(package, feed, [f"o{n}" for n in range(len(layers))])


def taken(binaries: Binaries, network: Network, layers: list[Layer], oracle: Oracle, folder: Path, found: Found):
    """Layers that are compiled, and their results; the others are noted with the compiler's words."""
    try:
        return layers, run(binaries, joined(network, layers, oracle), layers, oracle, folder)
    except Refused:
        pass
    kept = []
    for layer in layers:
        path = folder / "one.onnx"
        onnx.save(joined(network, [layer], oracle), path)
        try:
            binaries.compile(path, folder / "one.cnnip")
            kept.append(layer)
        except Refused as refusal:
            found.refused[layer.kind] += 1
            if layer.kind not in REFUSED:
                found.problems.append(f"{layer.kind} {layer.output}: {refusal}")
    return kept, run(binaries, joined(network, kept, oracle), kept, oracle, folder)


def compare(found: Found, network: Network, layer: Layer, oracle: Oracle, ours: np.ndarray) -> None:
    """Counts what is equal."""
    kernel, wanted = oracle.kernel(layer), oracle.values[layer.output]
    how = "integer kernel" if kernel else "exact"
    if not kernel:
        wanted = exact_layers.result(network, layer, oracle.values)
    row = (layer.kind, how)
    apart = np.abs(wanted.astype(int) - ours.astype(int)) if wanted.shape == ours.shape else np.full(wanted.shape, 255)
    wrong, most = int(np.count_nonzero(apart)), int(apart.max(initial=0))
    found.layers[row] += 1
    found.equal[row] += apart.size - wrong
    found.wrong[row] += wrong
    if most > DIFFERING.get(row, ("", 0))[1]:
        found.problems.append(f"{layer.kind} {layer.output} ({kernel or how}): {wrong} of {apart.size} differ, by {most} at most")


def whole(binaries: Path, path: Path, examples: Path, target: str) -> str:
    """Empty when a network compiles and both simulators agree on its examples."""
    command = [binaries / "cnnip", "evaluate", path, "--data", examples, "--levels", "accurate,iss", "--count", 2, "--target", target,
               "--rounding", "float", "--threads", 1, "--json"]  # fmt: skip
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return (done.stderr.strip() or done.stdout.strip())[:300]
    found = json.loads(done.stdout)
    different = sum(level.get("different") or 0 for level in found["levels"])
    return f"{different} elements differ" if different else found["broken"][0] if found["failed"] else ""


def check(name: str, path: Path, examples: dict[str, np.ndarray], binaries: Binaries, targets) -> Found:
    """Everything about one network in QDQ form."""
    found = Found(name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.savez(folder / "examples.npz", **examples)
        network = Network(onnx.load(path))
        oracle = Oracle(network, folder, {key: values[:1] for key, values in examples.items()})
        layers, results = taken(binaries, network, network.layers, oracle, folder, found)
        for layer, ours in zip(layers, results, strict=True):
            compare(found, network, layer, oracle, ours)
        for target in targets:
            said = whole(binaries.directory, path, folder / "examples.npz", target)
            if said and not found.refused:
                found.problems.append(f"whole, {target}: {said}")
            found.whole = found.whole if not said else "refused" if found.refused else "wrong"
    return found


# Networks

def quantized(name: str, types: str, folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A network of `make_networks.py`, quantized by the oracle's own tool."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, arrays):
            self.feeds = iter([{key: values[n : n + 1] for key, values in arrays.items()} for n in range(CALIBRATION_EXAMPLES)])

        def get_next(self):
            return next(self.feeds, None)

    make_networks.write(name, folder, 1, True)
    source, prepared, path = (folder / f"{name}{end}.onnx" for end in ("", ".prepared", f".{types}"))
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    activations = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[types]
    with np.load(folder / f"{name}.calib.npz") as arrays:
        quantize_static(prepared, path, Reader(dict(arrays)), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=activations, weight_type=QuantType.QInt8)  # fmt: skip
    with np.load(folder / f"{name}.test.npz") as arrays:
        return path, {key: values[:2] for key, values in arrays.items()}


def exported(name: str, folder: Path, binaries: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """What `cnnip export` writes of a quantized TFLite network."""
    path = folder / f"{name}.onnx"
    subprocess.run([binaries / "cnnip", "export", data() / f"{name}.tflite", "-o", path], check=True, capture_output=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random, examples = np.random.default_rng(5), {}
    for entry in session.get_inputs():
        limits = np.iinfo(np.uint8 if "uint8" in entry.type else np.int8)
        examples[entry.name] = random.integers(limits.min, limits.max + 1, [2, *entry.shape[1:]]).astype(limits.dtype)
    return path, examples


def networks(only, folder: Path, binaries: Path):
    """Name, file and examples of each."""
    for name in only or NETWORKS:
        if name in NETWORKS:
            for types in TYPES:
                yield f"{name} {types}", *quantized(name, types, folder)
    if data() is None:
        print("skipped: ../shared/data not found")
        return
    for name in only or EXPORTED:
        if name in EXPORTED:
            yield f"{name} exported", *exported(name, folder, binaries)


HEADING = ("network", "integer kernels", "exact", "elements", "equal", "differ", "refused", "whole")
BY_OPERATOR = ("operator", "against", "layers", "elements", "equal", "differ")


def by_operator(found: list[Found]) -> list[tuple[str, ...]]:
    """The table of the operators over all networks."""
    sums = [sum((getattr(one, what) for one in found), Counter()) for what in ("layers", "equal", "wrong")]
    layers, equal, wrong = sums
    rows = [(kind, how, f"{n:,}", f"{equal[kind, how] + wrong[kind, how]:,}", f"{equal[kind, how]:,}", f"{wrong[kind, how]:,}")
            for (kind, how), n in sorted(layers.items())]  # fmt: skip
    return [BY_OPERATOR, *rows]


def write_page(path: Path, found: list[Found], targets) -> None:
    """Puts the tables into their section of a page; other sections stay."""
    wrong = sum((one.wrong for one in found), Counter())
    rules = [f"- `{row[0]}` *differs*, by {most}: {rule}." for row, (rule, most) in DIFFERING.items() if wrong[row]]
    rules += [f"- `{kind}` is refused: {why}." for kind, why in REFUSED.items() if any(one.refused[kind] for one in found)]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("onnxruntime", "onnx", "numpy"))
    text = f"""{SECTION}

Made by `tools/check_qdq_layers.py` with {versions}; rounding `float`. Networks of `tools/make_networks.py` with small inputs, made QDQ by
ONNX Runtime's own quantization (`quant_pre_process`, then `quantize_static` with {CALIBRATION_EXAMPLES} examples, weights int8 per channel), and what
`cnnip export` writes of quantized TFLite networks. A layer is what stands between de-quantized tensors and one quantization; it gets the
tensors of ONNX Runtime's own run, with all optimizations and int8 allowed. *Integer kernels*: layers that the optimized graph computes on
integers, compared with its tensors. *Exact*: the others, compared with de-quantize, operator, quantize in rational numbers, ties to even.
*Whole*: the network compiled for {" and ".join(targets)}, and the instruction set simulator equal to the Accurate Simulator in every output
element of two examples.

{as_markdown([HEADING, *(one.row() for one in found)])}

{as_markdown(by_operator(found))}

{chr(10).join(rules)}
"""
    page = path.read_text() if path.exists() else ""
    before, _, rest = page.partition(SECTION)
    after = rest[rest.index("\n## ") + 1 :] if "\n## " in rest else ""
    path.write_text("\n\n".join(part.strip("\n") for part in (before, text, after) if part.strip()) + "\n")


def main() -> int:
    """Entry point; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bin-dir", type=Path, default=Path("target/release"), help="where cnnip and iss-run are")
    options.add_argument("--only", help="comma-separated names (default: all)")
    options.add_argument("--targets", default=",".join(TARGETS))
    options.add_argument("--markdown", type=Path, help="also write the tables into their section of this page")
    arguments = options.parse_args()
    targets = arguments.targets.split(",")
    binaries = Binaries(arguments.bin_dir.resolve(), targets[-1], "float")
    all_found = []
    with tempfile.TemporaryDirectory() as scratch:
        only = arguments.only.split(",") if arguments.only else None
        for name, path, examples in networks(only, Path(scratch), binaries.directory):
            found = check(name, path, examples, binaries, targets)
            all_found.append(found)
            print(" | ".join(found.row()), flush=True)
            for problem in found.problems[:REPORTED_PROBLEMS]:
                print(f"  {problem}", file=sys.stderr, flush=True)
    print(as_text(by_operator(all_found)))
    if arguments.markdown:
        write_page(arguments.markdown, all_found, targets)
    return int(any(found.problems for found in all_found))


if __name__ == "__main__":
    sys.exit(main())
