"""Cut networks in LiteRT's format at a feature map, and attach heads to them."""

from __future__ import annotations

from collections.abc import Sequence

from tlkit.backbones.litert.graph import Array, Graph


def cut_at(data: bytes, tap: int) -> bytes | None:
    """Cut a backbone's file at a feature map.

    Args:
        data: The backbone's file. Its output is a concatenation of pooled feature blocks.
        tap: Index of the block that is pooled from the feature map.

    Returns:
        The file, from images to float32 [n, h, w, channels]; None if the block is not the average of a feature map.
    """
    graph = Graph(data)
    source = graph.averaged(graph.parts()[tap])
    return None if source is None else graph.finish(source)


def attach_head(data: bytes, taps: Sequence[int], kernel: Array, bias: Array, shown: Sequence[int] = ()) -> bytes:
    """Attach a softmax head to a backbone's file.

    Args:
        data: The backbone's file. Its output is a concatenation of pooled feature blocks.
        taps: Indices of the blocks that the head takes, in order.
        kernel: float32 [columns of these blocks, classes].
        bias: float32 [classes].
        shown: Indices of the blocks that are concatenated into a second output; empty: no second output.

    Returns:
        The file, from images to probabilities, and to features if there is a second output. Parts of the backbone that
        no output needs are left out.
    """
    graph = Graph(data)
    parts = graph.parts()
    chosen = graph.concatenate([parts[tap] for tap in taps], name="chosen")
    outputs = [graph.softmax(graph.dense(chosen, kernel, bias))]
    if shown:
        outputs.append(graph.concatenate([parts[tap] for tap in shown]))
    return graph.finish(*outputs)


def head_maps(data: bytes) -> tuple[bytes, Array] | None:
    """Cut a file from `attach_head` at the feature maps that its head averages.

    Returns:
        The file with these maps, float32 [n, h, w, channels], as outputs in the kernel's order; the head's kernel,
        float32 [channels of all maps, classes]. None if the head does not take averages of feature maps.
    """
    graph = Graph(data)
    found = graph.head()
    sources = [graph.averaged(part) for part in graph.parts(found[0])] if found else [None]
    maps = [source for source in sources if source is not None]
    return (graph.finish(*maps), found[1]) if found and len(maps) == len(sources) else None
