"""Plot the catalogue: accuracy against operations, blob size by parameters (Canziani, Paszke & Culurciello 2016)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tlkit.durable import new_file
from tlkit.errors import TlkitError
from tlkit.files import check_free
from tlkit.report.plots import prepare_matplotlib

SUFFIXES = (".svg", ".png")
DPI = 150
AREA = 5.0  # square points per million parameters
LEGEND = (5, 50, 350)  # million parameters of the blobs in the legend
DISTANCES = (2, 9, 18, 30, 45)  # points between a blob and its name

Box = tuple[float, float, float, float]
"""Left, lower, right and upper end in pixels."""


class PlottedNetwork(Protocol):
    """A network to draw, such as `tlkit.api.backbones.listing.Entry`."""

    @property
    def name(self) -> str:
        """Its label."""
        ...

    @property
    def family(self) -> str:
        """Its family, which sets the colour."""
        ...

    @property
    def params_top(self) -> int:
        """Parameters."""
        ...

    @property
    def operations_top(self) -> int:
        """Multiply-adds."""
        ...

    @property
    def top1(self) -> float | None:
        """Top-1 accuracy in percent; without it the network is not drawn."""
        ...

    @property
    def dominated_by(self) -> str | None:
        """The network that dominates it; None draws a dark edge."""
        ...


def check_plot(path: Path) -> None:
    """Require a new .svg or .png file in an existing folder, before any work.

    Raises:
        TlkitError: It is not one.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise TlkitError(f"--plot requires an .svg or .png file, not '{path}'", "for example --plot networks.svg")
    check_free(path, None, "--plot")


def draw_catalogue(entries: Sequence[PlottedNetwork], path: Path) -> None:
    """Plot top-1 accuracy against operations into a new file.

    Args:
        entries: The networks.
        path: An .svg or .png file that does not exist.

    Raises:
        TlkitError: As `check_plot`, or none of the networks has a published accuracy.
    """
    check_plot(path)
    drawn = [entry for entry in entries if entry.top1 is not None]
    if not drawn:
        raise TlkitError("none of these networks has a published accuracy to plot", "leave out a filter")
    prepare_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "tlkit", "font.family": "sans-serif"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(11, 7.5), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        _blobs(axes, drawn)
        _frame(axes)
        canvas.draw()  # fixes the sizes of text
        _label(axes, drawn, canvas.get_renderer())
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
        with new_file(path) as part:
            figure.savefig(part, format=path.suffix.lower()[1:], dpi=DPI, metadata=metadata)


def _blobs(axes: Any, entries: Sequence[PlottedNetwork]) -> None:
    import matplotlib as mpl

    families = list(dict.fromkeys(entry.family for entry in entries))
    colours = mpl.colormaps["tab20"]
    for entry in sorted(entries, key=lambda entry: -entry.params_top):  # small ones on top
        axes.scatter(
            entry.operations_top / 1e9,
            entry.top1,
            s=AREA * entry.params_top / 1e6,
            color=colours(families.index(entry.family) % 20),
            alpha=0.7,
            edgecolors="black" if entry.dominated_by is None else "none",
            linewidths=1.2,
        )
    for millions in LEGEND:
        axes.scatter([], [], s=AREA * millions, color="lightgrey", label=f"{millions} M")
    axes.scatter(
        [], [], s=AREA * LEGEND[1], color="white", edgecolors="black", label="not dominated by another network"
    )
    axes.legend(title="parameters", loc="upper left", labelspacing=2.4, borderpad=1.6, handletextpad=1.6, frameon=False)


def _frame(axes: Any) -> None:
    axes.set_xscale("log")
    axes.margins(0.08)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_xlabel("billion multiply-adds for one image, at the published input size")
    axes.set_ylabel("published ImageNet top-1 accuracy in %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)


def _label(axes: Any, entries: Sequence[PlottedNetwork], renderer: Any) -> list[Box]:
    """Write each name near its blob, where it overlaps other names and blobs least.

    Returns:
        The boxes of the names, the most accurate network's first.
    """
    scale = renderer.dpi / 72  # pixels a point
    places = {entry.name: axes.transData.transform((entry.operations_top / 1e9, entry.top1)) for entry in entries}
    blobs = [_box(places[entry.name], (2 * scale * _radius(entry),) * 2, (0.0, 0.0)) for entry in entries]
    taken: list[Box] = []
    for entry in sorted(entries, key=lambda entry: -(entry.top1 or 0.0)):
        x, y = places[entry.name]
        size = _text(axes, entry, (0.0, 0.0), measure=renderer)
        best, least, kept = (0.0, 0.0), math.inf, (0.0, 0.0, 0.0, 0.0)
        for reach in DISTANCES:
            for turn in range(12):
                distance, angle = _radius(entry) + reach, math.pi * turn / 6
                offset = (distance * math.cos(angle), distance * math.sin(angle))
                box = _box((x + scale * offset[0], y + scale * offset[1]), size, offset)
                cost = scale * reach + 2 * sum(_shared(box, other) for other in taken)
                cost += sum(_shared(box, blob) for blob in blobs)
                cost += 1e6 * (_shared(box, axes.bbox.extents) < 0.99 * size[0] * size[1])
                if cost < least:
                    best, least, kept = offset, cost, box
        _text(axes, entry, best)
        taken.append(kept)
    return taken


def _text(axes: Any, entry: PlottedNetwork, offset: tuple[float, float], measure: Any = None) -> tuple[float, float]:
    """Write a name, or only measure it if there is a renderer; return its (width, height) in pixels."""
    far = math.hypot(*offset) > _radius(entry) + DISTANCES[1]
    text = axes.annotate(
        entry.name,
        (entry.operations_top / 1e9, entry.top1),
        xytext=offset,
        textcoords="offset points",
        ha=("center", "left", "right")[_side(offset[0])],
        va=("center", "bottom", "top")[_side(offset[1])],
        fontsize=7.5,
        arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "grey"} if far else None,
    )
    if measure is None:
        return (0.0, 0.0)
    box = text.get_window_extent(measure)
    text.remove()
    return (box.width, box.height)


def _radius(entry: PlottedNetwork) -> float:
    """Radius of its blob in points."""
    return math.sqrt(AREA * entry.params_top / 1e6 / math.pi)


def _side(offset: float) -> int:
    """Return 1 for right or above, -1 for left or below, 0 for neither."""
    return (offset > 1) - (offset < -1)


def _box(anchor: tuple[float, float], size: tuple[float, float], offset: tuple[float, float]) -> Box:
    """The box of a text at an offset from its blob."""
    starts = [at - length * (0.5, 0.0, 1.0)[_side(to)] for at, length, to in zip(anchor, size, offset, strict=True)]
    return (starts[0], starts[1], starts[0] + size[0], starts[1] + size[1])


def _shared(one: Box, other: Any) -> float:
    """Area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return float(max(0.0, width) * max(0.0, height))
