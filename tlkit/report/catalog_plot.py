"""The catalogue as one image: accuracy by operations, blobs by parameters (Canziani, Paszke & Culurciello 2016)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tlkit.errors import TlkitError
from tlkit.files import check_free
from tlkit.report.plots import silence_matplotlib

SUFFIXES = (".svg", ".png")
DPI = 150
AREA = 5.0  # square points for a million parameters
KEYS = (5, 50, 350)  # million parameters that the legend shows
REACHES = (2, 9, 18, 30, 45)  # points between a blob and its name

Box = tuple[float, float, float, float]
"""Left, lower, right and upper end in pixels."""


class Shown(Protocol):
    """What is drawn of a network; `tlkit.api.backbones.listing.Entry` has it."""

    @property
    def name(self) -> str:
        """Written beside it."""
        ...

    @property
    def family(self) -> str:
        """One colour each."""
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
        """In percent; without it, it is not drawn."""
        ...

    @property
    def dominated_by(self) -> str | None:
        """Drawn with a dark edge if None."""
        ...


def check_plot(path: Path) -> None:
    """Refuse a file that is no .svg or .png, exists or has no folder, before any work.

    Raises:
        TlkitError: It cannot be drawn or written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise TlkitError(f"cannot draw '{path}'", "--plot takes an .svg or .png file")
    check_free(path, None, "--plot")


def draw_catalogue(entries: Sequence[Shown], path: Path) -> None:
    """Draw top-1 accuracy against operations into a new file.

    Args:
        entries: The networks.
        path: An .svg or .png file that does not exist.

    Raises:
        TlkitError: As `check_plot`, or none of the networks has a published accuracy.
    """
    check_plot(path)
    drawn = [entry for entry in entries if entry.top1 is not None]
    if not drawn:
        raise TlkitError("none of these networks has a published accuracy to draw", "leave a filter out")
    silence_matplotlib()
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
        canvas.draw()  # sizes of text are known from here on
        _label(axes, drawn, canvas.get_renderer())
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
        try:
            with path.open("xb") as file:
                figure.savefig(file, format=path.suffix.lower()[1:], dpi=DPI, metadata=metadata)
        except OSError as error:
            raise TlkitError(f"cannot write {path}: {error.strerror or error}") from None


def _blobs(axes: Any, entries: Sequence[Shown]) -> None:
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
    for millions in KEYS:
        axes.scatter([], [], s=AREA * millions, color="lightgrey", label=f"{millions} M")
    axes.scatter([], [], s=AREA * KEYS[1], color="white", edgecolors="black", label="no other is better in all three")
    axes.legend(title="parameters", loc="upper left", labelspacing=2.4, borderpad=1.6, handletextpad=1.6, frameon=False)


def _frame(axes: Any) -> None:
    axes.set_xscale("log")
    axes.margins(0.08)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_xlabel("G multiply-adds for one image, at the published input size")
    axes.set_ylabel("published ImageNet top-1 accuracy in %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)


def _label(axes: Any, entries: Sequence[Shown], renderer: Any) -> list[Box]:
    """Write each name beside its blob, at the first of places ever further off where it covers little else.

    Returns:
        What the names cover, the most accurate network's first.
    """
    scale = renderer.dpi / 72  # pixels a point
    places = {entry.name: axes.transData.transform((entry.operations_top / 1e9, entry.top1)) for entry in entries}
    blobs = [_box(places[entry.name], (2 * scale * _radius(entry),) * 2, (0.0, 0.0)) for entry in entries]
    taken: list[Box] = []
    for entry in sorted(entries, key=lambda entry: -(entry.top1 or 0.0)):
        x, y = places[entry.name]
        size = _text(axes, entry, (0.0, 0.0), measure=renderer)
        best, least, kept = (0.0, 0.0), math.inf, (0.0, 0.0, 0.0, 0.0)
        for reach in REACHES:
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


def _text(axes: Any, entry: Shown, offset: tuple[float, float], measure: Any = None) -> tuple[float, float]:
    """Write a name, or with a renderer only measure it, and return its (width, height) in pixels."""
    far = math.hypot(*offset) > _radius(entry) + REACHES[1]
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


def _radius(entry: Shown) -> float:
    """Of its blob, in points."""
    return math.sqrt(AREA * entry.params_top / 1e6 / math.pi)


def _side(offset: float) -> int:
    """0: neither, 1: right or above, -1: left or below."""
    return (offset > 1) - (offset < -1)


def _box(anchor: tuple[float, float], size: tuple[float, float], offset: tuple[float, float]) -> Box:
    """Where a text ends up that is written away from its blob."""
    starts = [at - length * (0.5, 0.0, 1.0)[_side(to)] for at, length, to in zip(anchor, size, offset, strict=True)]
    return (starts[0], starts[1], starts[0] + size[0], starts[1] + size[1])


def _shared(one: Box, other: Any) -> float:
    """Area that two boxes have in common."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return float(max(0.0, width) * max(0.0, height))
