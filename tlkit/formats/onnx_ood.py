"""The out-of-distribution score as a part of an ONNX network."""

from __future__ import annotations

import numpy as np

from tlkit.formats.onnx_graph import OnnxGraph
from tlkit.linear.ood import OodStatistics


def add_ood_score(graph: OnnxGraph, features: str, ood: OodStatistics) -> str:
    """Add what `OodStatistics.score` computes, and return the name of the scores, float32 [n].

    It is computed in float32, from the same stored numbers. The second measure is written as the difference that it is,
    so that the length of an image's vector, which is large, drops out instead of being subtracted from itself.

    Args:
        graph: The network.
        features: Name of the features, float32 [n, d].
        ood: The statistics.
    """
    classes, shares = ood.classes.astype(np.float64), ood.shares.astype(np.float64)
    sizes = (classes**2).sum(axis=1)
    inner = np.linalg.inv(np.diag(1 / shares) + classes @ classes.T)
    mean, deviation = ood.typical.astype(np.float64)

    def number(values: object) -> str:
        return graph.constant(np.asarray(values, np.float32), exact=True)

    def two(kind: str, x: str, y: str) -> str:
        return graph.node(kind, [x, y])

    def over(kind: str, x: str) -> str:
        return graph.node(kind, [x, graph.constant([1])], keepdims=1)

    scaled = two("Div", two("Sub", features, number(ood.mean)), number(ood.scale))
    basis = graph.constant(ood.basis)
    along_basis = graph.node("MatMul", [scaled, graph.node("Transpose", [basis], perm=[1, 0])])
    whitened = two("MatMul", two("Mul", along_basis, number(ood.gain)), basis)
    white = two("Sub", two("Add", whitened, two("Mul", scaled, number(ood.rest))), number(ood.centre))

    lengths = over("ReduceSum", two("Mul", white, white))  # [n, 1]
    along = two("MatMul", white, graph.node("Transpose", [graph.constant(ood.classes)], perm=[1, 0]))  # [n, k]
    nearer = over("ReduceMin", two("Sub", number(sizes), two("Mul", along, number(2.0))))
    shared = over("ReduceSum", two("Mul", two("MatMul", along, number(inner)), along))
    norms = graph.node("Sqrt", [two("Max", two("Mul", lengths, number(sizes)), number(1e-12))])
    cosine = graph.node("Neg", [over("ReduceMax", two("Div", along, norms))])

    measures = graph.node("Concat", [two("Add", lengths, nearer), two("Add", nearer, shared), cosine], axis=1)
    standardised = two("Div", two("Sub", measures, number(mean)), number(deviation))
    return graph.node("ReduceSum", [standardised, graph.constant([1])], name="ood_score", keepdims=0)
