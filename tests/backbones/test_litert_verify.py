"""Networks in LiteRT's format that a stranger may have written: LiteRT sees only those that it can run safely."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import flipped, mutated_graph

pytest.importorskip("ai_edge_litert")

from tlkit.backbones.engines import _Interpreter
from tlkit.backbones.litert import trial
from tlkit.backbones.litert.graph import Graph
from tlkit.backbones.litert.verify import verify_graph, verify_lite
from tlkit.bundle.load import load
from tlkit.bundle.save import manifest_digest
from tlkit.errors import TlkitError
from tlkit.files import file_hash

CHANCE = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return CHANCE.normal(size=shape).astype(np.float32)


def small() -> Graph:
    """Most operators that tlkit writes itself."""
    graph = Graph()
    x = graph.rescale(graph.image(9, 8), 1 / 255, -0.5)
    x = graph.conv(x, numbers(3, 3, 3, 4), numbers(4), stride=2)
    y = graph.depthwise(x, numbers(3, 3, 4, 1), numbers(4))
    pooled = graph.concatenate([graph.pool(graph.add(x, y)), graph.pool(x)])
    graph.graph.outputs = [graph.softmax(graph.dense(pooled, numbers(8, 3), numbers(3)))]
    return graph


def file_of(graph: Graph) -> bytes:
    return graph.finish(*graph.graph.outputs)


WHOLE = file_of(small())


def verify(data: bytes) -> tuple[str, ...]:
    return verify_graph(memoryview(data))


def changed(change: Callable[[Any, Any], object]) -> bytes:
    """The small network after a change to its model and graph."""
    import flatbuffers

    graph = Graph(WHOLE)
    change(graph.model, graph.graph)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(graph.model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def operator(graph: Any, kind: str) -> Any:
    return next(each for each in graph.operators if type(each.builtinOptions).__name__ == f"{kind}OptionsT")


def kernel(model: Any) -> Any:
    return max(model.buffers, key=lambda each: 0 if each.data is None else len(each.data))


def test_what_tlkit_writes_passes(trained: Any) -> None:
    assert verify(WHOLE) == ()
    assert verify(changed(lambda model, graph: None)) == ()
    assert verify_lite(trained.bundle / "model.tflite") == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, g: setattr(operator(g, "Conv2D").builtinOptions, "strideH", 0), "does not fit"),
        (lambda m, g: setattr(operator(g, "Conv2D").builtinOptions, "strideW", 1), "gives another shape"),
        (lambda m, g: setattr(operator(g, "Conv2D").builtinOptions, "dilationHFactor", -1), "does not fit"),
        (lambda m, g: setattr(operator(g, "Conv2D").builtinOptions, "fusedActivationFunction", 9), "does not fit"),
        (lambda m, g: setattr(operator(g, "Conv2D"), "builtinOptionsType", 8), "options of another"),
        (lambda m, g: setattr(operator(g, "DepthwiseConv2D").builtinOptions, "depthMultiplier", 2), "does not fit"),
        (lambda m, g: setattr(operator(g, "Concatenation").builtinOptions, "axis", 7), "does not fit"),
        (lambda m, g: setattr(operator(g, "Conv2D"), "inputs", [0, 999, 1]), "names no tensor"),
        (lambda m, g: setattr(operator(g, "Conv2D"), "inputs", [0, -1, 1]), "too few or too many"),
        (lambda m, g: setattr(operator(g, "Conv2D"), "outputs", []), "too few or too many"),
        (lambda m, g: setattr(operator(g, "Conv2D"), "opcodeIndex", 99), "a kind that there is not"),
        (lambda m, g: setattr(operator(g, "Softmax"), "outputs", [0]), "not in an order"),
        (lambda m, g: g.operators.reverse(), "not in an order"),
        (lambda m, g: setattr(g, "outputs", [-1]), "names no tensor"),
        (lambda m, g: setattr(g, "inputs", [0, 1]), "several inputs"),
        (lambda m, g: setattr(g, "operators", g.operators[:-1]), "an output is not computed"),
        (lambda m, g: m.subgraphs.append(g), "more than one graph"),
        (lambda m, g: setattr(m.operatorCodes[0], "customCode", "mine"), "does not have|do not have"),
        (lambda m, g: setattr(g.tensors[1], "buffer", 999), "a type or a buffer"),
        (lambda m, g: setattr(g.tensors[1], "type", 5), "a type or a buffer"),
        (lambda m, g: setattr(g.tensors[1], "isVariable", True), "a type or a buffer"),
        (lambda m, g: setattr(g.tensors[1], "shape", [1, 2**31 - 1, 9, 9]), "too large|two shapes|bytes"),
        (lambda m, g: setattr(kernel(m), "data", kernel(m).data[:-4]), "more or fewer bytes"),
        (lambda m, g: setattr(m.buffers[2], "offset", 1 << 40), "do not have"),
        (lambda m, g: setattr(m.signatureDefs[0], "subgraphIndex", 3), "names no graph"),
    ],
)
def test_a_network_that_lies_is_refused(change: Callable[[Any, Any], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        verify(changed(change))


def test_axes_outside_a_tensor_are_refused() -> None:
    """As they are numbers in the file, only their values tell."""

    def shift(model: Any, graph: Any) -> None:
        axes = next(each for each in graph.tensors if each.type == 2)
        model.buffers[axes.buffer].data = np.array([1, 90], "<i4").view(np.uint8)

    with pytest.raises(ValueError, match="does not fit"):
        verify(changed(shift))


@given(st.integers(0, 2**32))
def test_damage_is_refused_or_harmless(seed: int) -> None:
    """Whatever passes, LiteRT refuses or runs; a crash would end the test."""
    chance = random.Random(seed)
    data = (flipped if seed % 2 else mutated_graph)(WHOLE, chance)
    try:
        verify(data)
    except ValueError:
        return
    try:
        interpreter = _Interpreter(data, 1)
        taken = interpreter._interpreter.get_input_details()[0]["shape"]
        interpreter.run(np.zeros(tuple(taken[1:]), np.uint8))
    except (ValueError, RuntimeError):
        return


def single(code: int, options: Any, taken: list[Any], shape: tuple[int, ...]) -> bytes:
    """A network of one operator on an image of 6 x 5 pixels, which is said to give a shape."""
    graph = Graph()
    inputs = [graph.image(6, 5), *(graph._constant(np.asarray(each)) for each in taken)]
    graph.graph.outputs = [graph._operation(code, inputs, shape, options)]
    tensor = graph.graph.tensors[graph.graph.outputs[0]]
    tensor.shape, tensor.shapeSignature = list(shape), None
    return file_of(graph)


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def options(kind: str, **values: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    made = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        setattr(made, name, value)
    return made


POOL = {"strideH": 2, "strideW": 1, "filterHeight": 3, "filterWidth": 2}


@pytest.mark.parametrize(
    ("code", "made", "taken", "shape"),
    [
        (34, options("Pad"), [ints([0, 0], [1, 2], [0, 3], [0, 0])], (1, 9, 8, 3)),
        (40, options("Reducer", keepDims=True), [ints(-1, 1)], (1, 1, 5, 1)),
        (17, options("Pool2D", padding=1, **POOL), [], (1, 2, 4, 3)),
        (1, options("Pool2D", padding=0, **POOL), [], (1, 3, 5, 3)),
        (22, options("Reshape"), [ints(1, -1, 9)], (1, 10, 9)),
        (39, options("Transpose"), [ints(0, 3, 1, 2)], (1, 3, 6, 5)),
        (45, options("StridedSlice", beginMask=1, endMask=1), [ints(0, 1, -2, 0), ints(0, 9, 4, 3), ints(1, 2, 1, 1)],
         (1, 3, 1, 3)),
        (36, options("Gather", axis=2), [ints(4, 0)], (1, 6, 2, 3)),
        (18, options("Mul"), [numbers(5, 1)], (1, 6, 5, 3)),
        (99, options("SquaredDifference"), [numbers(6, 5, 3)], (1, 6, 5, 3)),
        (9, options("FullyConnected"), [numbers(4, 15)], (6, 4)),
        (3, options("Conv2D", padding=1, strideH=1, strideW=2, dilationHFactor=2, dilationWFactor=1),
         [numbers(4, 3, 2, 3), numbers(4)], (1, 2, 2, 4)),
        (4, options("DepthwiseConv2D", padding=0, strideH=2, strideW=2, depthMultiplier=2),
         [numbers(1, 3, 3, 6), numbers(6)], (1, 3, 3, 6)),
        (117, options("HardSwish"), [], (1, 6, 5, 3)),
    ],
)  # fmt: skip
def test_shapes_are_those_of_the_kernels(code: int, made: Any, taken: list[Any], shape: tuple[int, ...]) -> None:
    data = single(code, made, taken, shape)
    assert verify(data) == ()
    interpreter = _Interpreter(data, 1)
    interpreter.run(np.zeros((6, 5, 3), np.uint8))
    assert interpreter._interpreter.get_output_details()[0]["shape"].tolist() == list(shape)
    with pytest.raises(ValueError, match="gives another shape"):
        verify(single(code, made, taken, (*shape[:-1], shape[-1] + 1)))


def forged(bundle: Path, place: Path, network: bytes) -> Path:
    """A copy of a bundle with another network for LiteRT, and with all hashes right."""
    target = place / "m.tlkit"
    target.mkdir()
    for file in bundle.iterdir():
        (target / file.name).write_bytes(network if file.name == "model.tflite" else file.read_bytes())
    manifest = json.loads((target / "tlkit.json").read_text())
    manifest["files"]["model.tflite"] = file_hash(target / "model.tflite")
    manifest["digest"] = manifest_digest(manifest)
    (target / "tlkit.json").write_text(json.dumps(manifest))
    return target


def test_every_command_refuses_a_bundle_whose_network_lies(
    tlkit: Callable[..., Any], trained: Any, garden: Path, tmp_path: Path
) -> None:
    graph = Graph((trained.bundle / "model.tflite").read_bytes())
    operator(graph.graph, "Conv2D").builtinOptions.strideH = 0
    bundle = forged(trained.bundle, tmp_path, file_of(graph))
    image = sorted(garden.rglob("*.png"))[0]
    for words in (["predict", image], ["evaluate", garden], ["explain", image], ["export", "--format", "litert"]):
        ran = tlkit(*words, "--model", bundle, cwd=tmp_path)
        assert ran.code == 2, (words, ran.err)
        assert "in model.tflite, there is no network that LiteRT can run safely" in ran.err


def test_operators_that_cannot_be_checked_are_tried_in_another_process_once(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    graph = Graph((trained.bundle / "model.tflite").read_bytes())
    softmax = operator(graph.graph, "Softmax")
    softmax.opcodeIndex = graph._code(50)  # LOG_SOFTMAX
    softmax.builtinOptions, softmax.builtinOptionsType = None, 0
    bundle, image = forged(trained.bundle, tmp_path, file_of(graph)), np.zeros((1, 224, 224, 3), np.uint8)
    assert verify_lite(bundle / "model.tflite") == ("50",)
    assert load(bundle).probabilities(image).max() < 0
    with monkeypatch.context() as patch:
        patch.setattr(trial.subprocess, "run", None)  # not needed again
        load(bundle).probabilities(image)
    monkeypatch.setattr(trial, "_TRY", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "another"))
    with pytest.raises(TlkitError, match="LiteRT crashes on it"):
        load(bundle).probabilities(image)
    monkeypatch.setattr(trial, "_TRY", "import time; time.sleep(9)")
    monkeypatch.setattr(trial, "LIMIT", 0.1)
    with pytest.raises(TlkitError, match="takes over 0 s"):
        load(bundle).probabilities(image)
    assert not (tmp_path / "another").exists()
