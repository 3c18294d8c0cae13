"""Plots as SVG that takes its colours from the page around it."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tlkit.csvtext import escaped
from tlkit.store.bound import keep_font_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

INK = "#010203"  # stands for the page's text colour while matplotlib draws
ACCENT, WRONG, FAINT = "#3b82c4", "#d9742b", "#8a8f98"
MAX_SPACIOUS = 20  # bars or classes drawn at full size
MAX_NAME = 24  # characters of a class name
REM = 6.25  # CSS rem per inch of a figure


def interval_bars(
    names: Sequence[str], values: Sequence[float], lows: Sequence[float], highs: Sequence[float], chosen: int | None
) -> Markup:
    """Draw horizontal bars of shares with intervals, the chosen one in colour.

    Args:
        names: One per bar, from top to bottom.
        values: 0..1.
        lows: Lower ends, 0..1.
        highs: Upper ends, 0..1.
        chosen: Which bar is in colour; None: all.
    """
    with _figure(6.4, 0.6 + (0.5 if len(names) <= MAX_SPACIOUS else 0.25) * len(names)) as (figure, axes):
        places = range(len(names))
        colours = [ACCENT if chosen in (i, None) else FAINT for i in places]
        reach = [
            [max(0.0, value - low) for value, low in zip(values, lows, strict=True)],
            [max(0.0, high - value) for value, high in zip(values, highs, strict=True)],
        ]
        axes.barh(places, values, color=colours, height=0.6, xerr=reach, error_kw={"ecolor": INK, "capsize": 4})
        axes.set_yticks(places, [_short(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlim(0.0, 1.0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        return _svg(figure, legible=28)


def learning_curve(images: Sequence[float], accuracies: Sequence[float], ahead: tuple[float, float] | None) -> Markup:
    """Plot accuracy by the number of training images; ``ahead`` is a predicted point, not a measured one."""
    with _figure(6.4, 3.0) as (figure, axes):
        axes.plot(images, accuracies, marker="o", color=ACCENT)
        if ahead is not None:
            axes.plot([images[-1], ahead[0]], [accuracies[-1], ahead[1]], marker="o", ls=":", color=FAINT)
        axes.set_xscale("log", base=2)
        places = [*images, *([ahead[0]] if ahead else [])]
        axes.set_xticks(places, [f"{round(place)}" for place in places])
        axes.minorticks_off()
        axes.set_xlabel("training images")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        return _svg(figure)


def tuning_curves(
    steps: Sequence[int], accuracies: Sequence[float], losses: Sequence[float], best: int, frozen: float
) -> Markup:
    """Plot validation accuracy and log loss by step, with the best step and the accuracy of the frozen backbone."""
    with _figure(6.4, 3.0) as (figure, axes):
        axes.plot(steps, accuracies, marker="o", color=ACCENT)
        axes.axvline(best, ls=":", color=FAINT)
        axes.axhline(frozen, ls="--", color=FAINT)
        axes.set_xlabel("step")
        axes.set_ylabel("accuracy", color=ACCENT)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        other = axes.twinx()
        other.plot(steps, losses, marker=".", color=FAINT)
        other.set_ylabel("log loss, nats", color=FAINT)
        return _svg(figure)


def search_curve(strengths: Sequence[float], losses: Sequence[float]) -> Markup:
    """Plot the cross-validated log loss of a head by its inverse L2 strength."""
    with _figure(6.4, 3.0) as (figure, axes):
        axes.plot(strengths, losses, marker="o", color=ACCENT)
        axes.set_xscale("log")
        axes.set_xlabel("C, inverse L2 strength")
        axes.set_ylabel("log loss, nats")
        return _svg(figure)


def confusion_map(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    """Draw the confusion matrix: true class (row) by predicted class (column), shaded by the share of the row.

    The diagonal, which is right, and the mistakes have different hues.
    """
    count = len(names)
    side = min(9.0, 1.6 + 0.45 * count)
    with _figure(side, side) as (figure, axes):
        right, wrong = _shades(ACCENT), _shades(WRONG)
        for i, row in enumerate(matrix):
            for j, number in enumerate(row):
                if not number:
                    continue
                share = number / sum(row)
                axes.add_patch(_square(j, i, (right if i == j else wrong)(share)))
                if count <= MAX_SPACIOUS:
                    axes.text(j, i, str(number), ha="center", va="center", color=INK, fontsize=9)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.set_xticks(range(count), [_short(name) for name in names], rotation=90)
        axes.set_yticks(range(count), [_short(name) for name in names])
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        return _svg(figure, legible=min(44.0, 4 * side))


def reliability_diagram(rows: Sequence[tuple[float, float, int]]) -> Markup:
    """Plot accuracy against confidence.

    Args:
        rows: (mean confidence, accuracy, number of images) of each bin of confidence.
    """
    with _figure(4.2, 4.0) as (figure, axes):
        axes.plot([0, 1], [0, 1], ls=":", color=FAINT)
        total = sum(count for *_, count in rows)
        sizes = [20 + 380 * count / total for *_, count in rows]
        axes.scatter([row[0] for row in rows], [row[1] for row in rows], s=sizes, color=ACCENT, alpha=0.7, zorder=2)
        for which in (axes.xaxis, axes.yaxis):
            which.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        return _svg(figure)


def _shades(colour: str) -> Any:
    """Map 0..1 to a colour on which text is legible, on light and dark pages."""
    from matplotlib.colors import to_rgba

    return lambda share: (*to_rgba(colour)[:3], 0.08 + 0.57 * share)


def _square(x: int, y: int, colour: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), 1, 1, color=colour, lw=0)


def prepare_matplotlib() -> None:
    """Make matplotlib silent. Called before each import of it.

    Users cannot act on its warnings about fonts and folders: in SVG, the browser has the letters that a font lacks.
    """
    keep_font_list()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # by a filter: warnings.catch_warnings would change those of other threads
    warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
    warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")


def _short(name: str) -> str:
    """Shorten a class name for a plot, and escape dollar signs, which matplotlib reads as formulas.

    What is not Unicode or would break a line is escaped too: no font has it.
    """
    name = escaped(name)
    cut = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
    return cut.replace("$", r"\$")


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """Make a figure without a background, drawn in one ink."""
    prepare_matplotlib()
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


def _svg(figure: Any, legible: float = 0.0) -> Markup:
    """Return the figure as an inline element, with the page's text colour as ink.

    Args:
        figure: The figure.
        legible: Width in CSS rem, below which its text would be too small to read; a narrower page scrolls it.
    """
    from markupsafe import Markup

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = _own_ids(text[text.index("<svg") :]).replace(INK, "currentColor")
    # the page sets its size; the view box keeps its proportions
    for side in ("width", "height"):
        text = re.sub(rf'(<svg[^>]*?) {side}="[^"]*"', r"\1", text, count=1)
    style = f"max-width: {REM * figure.get_figwidth():.1f}rem" + (f"; min-width: {legible:g}rem" if legible else "")
    text = text.replace("<svg", f'<svg style="{style}"', 1)
    return Markup(text)  # matplotlib escapes the text it is given


def _own_ids(text: str) -> str:
    """Keep only the ids that a drawing refers to, and make them its own: a page holds several drawings."""
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda its: f' id="{mark}-{its[1]}"' if its[1] in used else "", text)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{mark}-", text)
