"""A network in LiteRT's format with float16 weights, or in int8, by ``litert-quantizer``.

The first convolutions stay in float32: they hold few weights, and everything that follows depends on them. In int8,
feature maps are held in 8 bits too, and convolutions are computed in integers. The head stays in float32, and
`tlkit.formats.bias_correction` takes off the mean error of the weights.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.litert.graph import Graph
from tlkit.backbones.runtime import silent_stderr
from tlkit.errors import TlkitError
from tlkit.formats.bias_correction import is_convolution, is_dense, name_of, with_corrected_biases
from tlkit.images.batches import cpu_count

FLOAT_CONVOLUTIONS = 6
"""So many convolutions, from the input on, keep float32 weights."""

_FLOAT_KINDS = ("MEAN", "CONCATENATION", "SOFTMAX", "INPUT", "OUTPUT")


def with_float16_weights(network: bytes) -> bytes:
    """Return a float32 network whose weights are held in float16, but for the first; it computes in float32."""
    kept = first_operations(Graph(network))
    with _quiet():
        from litert_quantizer import algorithm_manager, qtyping, quantizer

        tool = quantizer.Quantizer(bytearray(network))
        kinds, names = qtyping.TFLOperationName, algorithm_manager.AlgorithmName
        tool.add_weight_only_config(".*", kinds.ALL_SUPPORTED, 16, algorithm_key=names.FLOAT_CASTING)
        _keep(tool, kept, kinds.ALL_SUPPORTED, names.NO_QUANTIZE)
        return bytes(tool.quantize(enable_progress_report=False).quantized_model)


def in_int8(network: bytes, calibration: NDArray[np.uint8]) -> bytes:
    """Return a float32 network in int8; its input and output stay float32.

    Args:
        network: One image input, any batch size.
        calibration: uint8 [n, height, width, 3], n > 0: images that show which values occur.

    Raises:
        TlkitError: There are no calibration images.
    """
    if not len(calibration):
        raise TlkitError("int8 needs images to take the range of values from", "give some with --calibration IMAGES")
    graph = Graph(network)
    kept = [*first_operations(graph), *_head(graph)]
    network = with_corrected_biases(network, calibration, kept)
    with _quiet():
        from litert_quantizer import algorithm_manager, qtyping, quantizer

        kinds, names = qtyping.TFLOperationName, algorithm_manager.AlgorithmName
        tool = quantizer.Quantizer(bytearray(network))
        tool.add_static_config(".*", kinds.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
        for kind in _FLOAT_KINDS:
            tool.update_quantization_recipe(".*", kinds[kind], algorithm_key=names.NO_QUANTIZE)
        _keep(tool, kept, kinds.ALL_SUPPORTED, names.NO_QUANTIZE)
        samples = [{"image": image[None].astype(np.float32)} for image in calibration]
        ranges = tool.calibrate({"serving_default": samples}, num_threads=cpu_count())
        return bytes(tool.quantize(ranges, enable_progress_report=False).quantized_model)


def first_operations(graph: Graph) -> list[str]:
    """Return the names of the operations that stay in float32: those up to `FLOAT_CONVOLUTIONS` convolutions."""
    names, convolutions = [], 0
    for operator in graph.graph.operators:
        convolutions += is_convolution(graph, operator)
        if convolutions > FLOAT_CONVOLUTIONS:
            break
        names.append(name_of(graph, operator))
    return names


def _head(graph: Graph) -> list[str]:
    """Return the name of the last dense layer, in a list; ConvNeXt has others, which are its convolutions."""
    return [name_of(graph, each) for each in graph.graph.operators if is_dense(graph, each)][-1:]


def _keep(tool: Any, names: Sequence[str], every_kind: Any, as_it_is: Any) -> None:
    for name in names:
        tool.update_quantization_recipe(f"^{re.escape(name)};?$", every_kind, algorithm_key=as_it_is)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and warnings of the quantizer."""
    with silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
