"""Networks in LiteRT's format cut and joined: a frozen lower part, a backbone with a head, what a head looks at."""

from __future__ import annotations

from collections.abc import Sequence

from tlkit.backbones.litert.graph import Array, Graph


def cut_at(data: bytes, tap: int) -> bytes | None:
    """The part of a backbone's file up to a feature map: from images to float32 [n, h, w, channels].

    Args:
        data: A backbone's file, whose output is a concatenation of pooled feature blocks.
        tap: Which of these blocks the map is averaged for.

    Returns:
        The file; None where the block is not the plain average of a map.
    """
    graph = Graph(data)
    source = graph.averaged(graph.parts()[tap])
    return None if source is None else graph.finish(source)


def attach_head(data: bytes, taps: Sequence[int], kernel: Array, bias: Array, shown: Sequence[int] = ()) -> bytes:
    """A backbone's file with a softmax head: from images to probabilities, and to features if asked for.

    Args:
        data: A backbone's file, whose output is a concatenation of pooled feature blocks.
        taps: Which of these blocks the head takes, in order.
        kernel: float32 [columns of these blocks, classes].
        bias: float32 [classes].
        shown: Which blocks are a second output, one after another.

    Returns:
        The file; what the head does not need of the backbone is left out.
    """
    graph = Graph(data)
    parts = graph.parts()
    chosen = graph.concatenate([parts[tap] for tap in taps], name="chosen")
    outputs = [graph.softmax(graph.dense(chosen, kernel, bias))]
    if shown:
        outputs.append(graph.concatenate([parts[tap] for tap in shown]))
    return graph.finish(*outputs)


def head_maps(data: bytes) -> tuple[bytes, Array] | None:
    """What a head looks at: of a file from `attach_head` the part up to the maps it averages, and its kernel.

    Returns:
        The file, whose outputs are float32 [n, h, w, channels], in the kernel's order; float32 [channels of all,
        classes]. None where the head takes something else.
    """
    graph = Graph(data)
    found = graph.head()
    sources = [graph.averaged(part) for part in graph.parts(found[0])] if found else [None]
    maps = [each for each in sources if each is not None]
    return (graph.finish(*maps), found[1]) if found and len(maps) == len(sources) else None
