"""Runs the outside oracles, and keeps their crashes away from us.

`tflite_micro` and `litert` run a model in this process. A C++ runtime may abort or segfault on a model it does not
like, so checks send their work through `isolated`, which survives the death of a worker and reports it.
"""

import multiprocessing
import os
import queue
import sys
import threading
from importlib import metadata

import numpy as np

ORACLE_PACKAGES = ("tflite-micro", "ai-edge-litert", "numpy")
SPARE_ARENA = 1 << 20


class Crash:
    """What a worker left when it died: its exit code (negative for a signal)."""

    def __init__(self, exit_code: int | None):
        self.exit_code = exit_code

    def __str__(self):
        return f"the worker died with status {self.exit_code}"


def versions() -> str:
    """One line that names the oracles in use."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in ORACLE_PACKAGES)


def tflite_micro(model: bytes, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs tflite-micro gives; raises `RuntimeError` or `ValueError` on a model it refuses."""
    from tflite_micro import runtime

    arena = 10 * len(model) + 16 * sum(x.nbytes for x in inputs) + SPARE_ARENA
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
    for index, values in enumerate(inputs):
        interpreter.set_input(values, index)
    interpreter.invoke()
    return [interpreter.get_output(index) for index in range(_output_count(model))]


def _output_count(model: bytes) -> int:
    from ai_edge_litert import schema_py_generated as schema

    return schema.Model.GetRootAsModel(model, 0).Subgraphs(0).OutputsLength()


def litert(model: bytes, inputs: list[np.ndarray], reference: bool = True) -> list[np.ndarray]:
    """The outputs LiteRT gives with its reference kernels, or with XNNPACK."""
    interpreter = _litert_interpreter(model, inputs, reference, keep_all=False)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def litert_tensors(model: bytes, inputs: list[np.ndarray]) -> dict[int, np.ndarray]:
    """Every tensor of a run with LiteRT's reference kernels, by index."""
    interpreter = _litert_interpreter(model, inputs, reference=True, keep_all=True)
    interpreter.invoke()
    return {d["index"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_tensor_details() if d["name"]}


def _litert_interpreter(model: bytes, inputs, reference: bool, keep_all: bool):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=kernels,
        experimental_preserve_all_tensors=keep_all,
    )
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    return interpreter


def differing(expected: np.ndarray, actual: np.ndarray) -> int:
    """Elements that differ; another shape or type makes all of them differ."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return max(expected.size, 1)
    return int(np.count_nonzero(expected != actual))


def isolated(function, jobs, workers: int = 2):
    """Yields `(job, function(job))` as jobs finish; a job that kills its worker yields `(job, Crash)`.

    `function` and the jobs must pickle. An exception inside `function` is a mistake of ours and is raised here.
    """
    todo, done = queue.SimpleQueue(), queue.SimpleQueue()
    count = 0
    for job in jobs:
        todo.put(job)
        count += 1
    for _ in range(workers):
        threading.Thread(target=_feed, args=(function, todo, done), daemon=True).start()
    for _ in range(count):
        job, outcome = done.get()
        if isinstance(outcome, BaseException):
            raise outcome
        yield job, outcome


def _feed(function, todo, done) -> None:
    """Hands jobs to one worker process after another until none is left."""
    worker = None
    while True:
        try:
            job = todo.get_nowait()
        except queue.Empty:
            break
        worker = worker or _Worker(function)
        try:
            outcome = worker.call(job)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            outcome, worker = Crash(worker.exit_code()), None
        done.put((job, outcome))
    if worker:
        worker.close()


class _Worker:
    """A process that answers one job at a time over a pipe."""

    def __init__(self, function):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def call(self, job):
        """The job's result, or the exception it raised."""
        self.pipe.send(job)
        return self.pipe.recv()

    def exit_code(self) -> int | None:
        """How the process ended."""
        self.process.join()
        return self.process.exitcode

    def close(self) -> None:
        """Lets the process end."""
        self.pipe.close()
        self.process.join()


def _serve(function, pipe) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # the runtimes' own chatter
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(function(job))
        except Exception as mistake:  # noqa: BLE001, carried to the parent, which raises it
            pipe.send(mistake)
