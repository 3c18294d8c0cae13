"""Plots as SVG text that takes its colours from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

INK = "#010203"  # stands for the page's text colour while matplotlib draws
ACCENT, FAINT = "#3b82c4", "#8a8f98"


def interval_bars(
    names: Sequence[str], values: Sequence[float], lows: Sequence[float], highs: Sequence[float], chosen: int
) -> Markup:
    """Horizontal bars of shares with intervals, the chosen one in colour.

    Args:
        names: One a bar, from top to bottom.
        values: 0..1.
        lows: Lower ends, 0..1.
        highs: Upper ends, 0..1.
        chosen: Which bar is in colour.
    """
    with _figure(6.4, 0.6 + 0.5 * len(names)) as (figure, axes):
        places = range(len(names))
        colours = [ACCENT if i == chosen else FAINT for i in places]
        reach = [
            [max(0.0, value - low) for value, low in zip(values, lows, strict=True)],
            [max(0.0, high - value) for value, high in zip(values, highs, strict=True)],
        ]
        axes.barh(places, values, color=colours, height=0.6, xerr=reach, error_kw={"ecolor": INK, "capsize": 4})
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlim(max(0.0, min(lows) - 0.1), 1.0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        return _svg(figure)


def learning_curve(pictures: Sequence[float], accuracies: Sequence[float], ahead: tuple[float, float] | None) -> Markup:
    """Accuracy by the number of training pictures; ``ahead`` is a point that is foreseen, not measured."""
    with _figure(6.4, 3.0) as (figure, axes):
        axes.plot(pictures, accuracies, marker="o", color=ACCENT)
        if ahead is not None:
            axes.plot([pictures[-1], ahead[0]], [accuracies[-1], ahead[1]], marker="o", ls=":", color=FAINT)
        axes.set_xscale("log", base=2)
        places = [*pictures, *([ahead[0]] if ahead else [])]
        axes.set_xticks(places, [f"{round(place)}" for place in places])
        axes.minorticks_off()
        axes.set_xlabel("training pictures")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        return _svg(figure)


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A figure without a background, drawn in one ink."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "tlkit",
        "font.family": "sans-serif",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.subplots()


def _svg(figure: Any) -> Markup:
    """The figure as an inline element, its ink replaced by the page's."""
    from markupsafe import Markup

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # its size comes from the page; the view box keeps the proportions
    for side in ("width", "height"):
        text = re.sub(rf'(<svg[^>]*?) {side}="[^"]*"', r"\1", text, count=1)
    return Markup(text)  # matplotlib escapes the text it is given
