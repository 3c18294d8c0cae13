"""Write the packaged backbone with a head as a ``.keras`` file, without TensorFlow.

A ``.keras`` file is a zip of three files: the configuration of every layer as JSON, the weights as HDF5, and versions.
The layers of the packaged network are known, so the file is written directly. Importing TensorFlow to save the same
network would take seconds. Values missing from a layer's configuration are Keras defaults.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.efficientnet_lite import EPSILON, HEAD_FILTERS, blocks_of, packaged_weights, variant_of
from tlkit.backbones.extractor import TOP
from tlkit.linear.classifier import JOINED, LOGITS, MODEL, POOL, PROBABILITIES

# names of the layer types in the weights file
_GROUPS = {"Conv2D": "conv2d", "DepthwiseConv2D": "depthwise_conv2d", "BatchNormalization": "batch_normalization"}
_GROUPS |= {"Dense": "dense"}

OLDEST_KERAS = "3.12.0"  # that `setup.cfg` allows; the file has been the same in all since

Shape = tuple[int, ...]


def keras_version() -> str:
    """Return the version of Keras that a file says it was written by: the installed one, else `OLDEST_KERAS`."""
    try:
        return version("keras")
    except PackageNotFoundError:
        return OLDEST_KERAS


class _Output(NamedTuple):
    """A layer's output: the layer's name and the shape without the batch dimension."""

    layer: str
    shape: Shape


class _Archive:
    """The layers in order, with their weights."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []
        self.weights: dict[str, list[NDArray[Any]]] = {}
        self._counts: Counter[str] = Counter()

    def add(
        self,
        kind: str,
        name: str,
        inputs: Sequence[_Output],
        shape: Shape,
        config: dict[str, Any],
        weights: Sequence[NDArray[Any]] = (),
    ) -> _Output:
        """Add a Keras layer. Several inputs are passed as one list."""
        tensors = [_tensor(each) for each in inputs]
        nodes: list[dict[str, Any]] = (
            [{"args": tensors if len(tensors) == 1 else [tensors], "kwargs": {}}] if tensors else []
        )
        self.layers.append(
            {
                "module": "keras.layers",
                "class_name": kind,
                "config": {"name": name, "dtype": "float32", **config},
                "registered_name": None,
                "name": name,
                "inbound_nodes": nodes,
            }
        )
        if weights:
            number = self._counts[kind]
            self._counts[kind] += 1
            self.weights[_GROUPS[kind] + (f"_{number}" if number else "")] = list(weights)
        return _Output(name, shape)

    def write(self, file: Path, last: _Output) -> None:
        """Write the zip, uncompressed like Keras does."""
        network = {
            "module": "keras.src.models.functional",
            "class_name": "Functional",
            "config": {
                "name": MODEL,
                "trainable": True,
                "layers": self.layers,
                "input_layers": [self.layers[0]["name"], 0, 0],
                "output_layers": [last.layer, 0, 0],
            },
            "registered_name": "Functional",
        }
        saved = datetime.now(timezone.utc).strftime("%Y-%m-%d@%H:%M:%S")
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": keras_version(), "date_saved": saved}))
            archive.writestr("config.json", json.dumps(network))
            archive.writestr("model.weights.h5", self._hdf5())

    def _hdf5(self) -> bytes:
        memory = io.BytesIO()
        with h5py.File(memory, "w") as store:
            for group, arrays in self.weights.items():
                for number, array in enumerate(arrays):
                    store[f"layers/{group}/vars/{number}"] = np.ascontiguousarray(array, dtype=np.float32)
        return memory.getvalue()


def write_packaged(
    file: Path,
    variant: str,
    input_size: int,
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
    taps: Sequence[str] = (TOP,),
) -> dict[str, str]:
    """Write the packaged network with its ImageNet weights and a softmax head, as `attach_head` would build it.

    Args:
        file: Path of the file to write.
        variant: A key of `tlkit.backbones.efficientnet_lite.VARIANTS`.
        input_size: Side of the square input in pixels.
        kernel: Kernel of the head, float32 [columns of the taps, classes].
        bias: Bias of the head, float32 [classes].
        taps: Names of the taps the head uses, from input to output. Layers after the last one are left out.

    Returns:
        The layer behind each tap of the written network.

    Raises:
        TlkitError: There is no such variant, its package is not installed, or its weights file is not the expected one.
    """
    archive, ends = _Archive(), {}
    for tap, end in _stages(archive, variant, input_size):
        ends[tap] = end
        if tap == taps[-1]:
            break
    single = len(taps) == 1
    pools = [
        archive.add("GlobalAveragePooling2D", POOL if single else f"{POOL}_{tap}", [ends[tap]], ends[tap].shape[2:], {})
        for tap in taps
    ]
    width, classes = kernel.shape
    pooled = pools[0] if single else archive.add("Concatenate", JOINED, pools, (width,), {"axis": -1})
    logits = archive.add("Dense", LOGITS, [pooled], (classes,), {"units": classes}, [kernel, bias])
    archive.write(file, archive.add("Softmax", PROBABILITIES, [logits], (classes,), {"axis": -1}))
    return {tap: end.layer for tap, end in ends.items()}


def _stages(archive: _Archive, variant: str, input_size: int) -> Any:
    """Add the layers of the network; yield (tap, output) at the end of each stage."""
    weights, _ = packaged_weights(variant)
    image = {"batch_shape": [None, input_size, input_size, 3]}
    x = archive.add("InputLayer", "image", [], (input_size, input_size, 3), image)
    x = archive.add("Rescaling", "rescale", [x], x.shape, {"scale": 1 / 128, "offset": -127 / 128})

    def conv(x: _Output, name: str, *, stride: int = 1, relu6: bool = True) -> _Output:
        """Add convolution, BatchNorm and ReLU6."""
        (kernel,), statistics = weights[f"{name}_conv"], weights[f"{name}_bn"]
        depthwise = name.endswith("depthwise")
        kind, filters = ("DepthwiseConv2D", {}) if depthwise else ("Conv2D", {"filters": kernel.shape[3]})
        shape = (-(-x.shape[0] // stride), -(-x.shape[1] // stride), kernel.shape[2] if depthwise else kernel.shape[3])
        config = {
            **filters,
            "kernel_size": list(kernel.shape[:2]),
            "strides": [stride, stride],
            "padding": "same",
            "use_bias": False,
        }
        x = archive.add(kind, f"{name}_conv", [x], shape, config, [kernel])
        x = archive.add("BatchNormalization", f"{name}_bn", [x], shape, {"epsilon": EPSILON}, statistics)
        return archive.add("ReLU", f"{name}_relu6", [x], shape, {"max_value": 6.0}) if relu6 else x

    x = conv(x, "stem", stride=2)
    blocks = list(blocks_of(variant_of(variant)))
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        entry = x
        if block.expansion != 1:
            x = conv(x, f"{block.name}_expand")
        x = conv(x, f"{block.name}_depthwise", stride=block.stride)
        x = conv(x, f"{block.name}_project", relu6=False)
        if block.stride == 1 and entry.shape[2] == block.filters:
            x = archive.add("Add", f"{block.name}_add", [entry, x], x.shape, {})
        stage = block.name.split("_")[0]
        # the last group ends in the top and is not a tap of its own
        if following is not None and not following.name.startswith(f"{stage}_"):
            yield stage.replace("block", "stage"), x
    x = conv(x, "top")
    assert x.shape[2] == HEAD_FILTERS
    yield TOP, x


def _tensor(output: _Output) -> dict[str, Any]:
    config = {"shape": [None, *output.shape], "dtype": "float32", "keras_history": [output.layer, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": config}
