"""Draws the table of ``frontier.py``: one panel for each folder, a line for each tool; needs matplotlib."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from strategies import Row

WIDTH, HEIGHT = 800, 265  # of the picture, and of a row of panels, in pixels
NAMES = {"tlkit": "tlkit", "keras-guide": "Keras guide", "fastai-like": "fastai-like"}
# a colour by day, and what stands for it by night
PAPER, INK, GRID = ("#fffffe", "#0d1117"), ("#1f2328", "#e6edf3"), ("#d8dee4", "#30363d")
COLOURS = {
    "tlkit": ("#0a62c9", "#58a6ff"),
    "keras-guide": ("#b34700", "#f0883e"),
    "fastai-like": ("#6b6f76", "#a8b0b9"),
}
LABEL_GAP = 0.085  # between labels at the ends of lines, as a share of a panel's height


def draw_frontier(rows: Sequence[Row], file: Path) -> None:
    """Write the picture as SVG; its colours follow the reader's choice of light or dark."""
    sets = list(dict.fromkeys(row["images"] for row in rows))
    budgets = sorted({row["budget"] for row in rows})
    style = {"svg.hashsalt": "frontier", "font.size": 12, "font.family": "DejaVu Sans"}
    matplotlib.use("svg")
    with pyplot.rc_context({**style, "text.color": INK[0], "axes.labelcolor": INK[0]}):
        high = math.ceil(len(sets) / 2)
        # 72 points to the inch: a point is a pixel
        figure, panels = pyplot.subplots(high, 2, figsize=(WIDTH / 72, (HEIGHT * high + 30) / 72), squeeze=False)
        figure.set_facecolor(PAPER[0])
        for panel, images in zip(panels.flat, sets, strict=False):
            draw_panel(panel, [row for row in rows if row["images"] == images], budgets)
            panel.set_title(images, loc="left", fontsize=14, fontweight="bold", color=INK[0])
        for panel in panels.flat[len(sets) :]:
            panel.set_axis_off()
        figure.supxlabel("time, everything included", fontsize=12, color=INK[0])
        figure.supylabel("test accuracy", fontsize=12, color=INK[0])
        figure.tight_layout(h_pad=1.5, w_pad=1.5)
        figure.savefig(file, format="svg", metadata={"Date": None, "Title": "Accuracy against time"})
        pyplot.close(figure)
    svg = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', file.read_text(encoding="utf-8"), count=2)
    svg = "\n".join(line.rstrip() for line in svg.replace("<defs>", f"{night()}\n <defs>", 1).splitlines())
    file.write_text(svg + "\n", encoding="utf-8")


def draw_panel(panel: Axes, rows: Sequence[Row], budgets: Sequence[int]) -> None:
    """One folder: a line for each tool with its name and last accuracy at the end."""
    lines = {tool: points_of([row for row in rows if row["tool"] == tool]) for tool in NAMES}
    lines = {tool: points for tool, points in lines.items() if points}
    for tool, points in reversed(lines.items()):
        wide = 2.6 if tool == "tlkit" else 1.8
        panel.plot(*zip(*points, strict=True), "o-", color=COLOURS[tool][0], linewidth=wide, markersize=5)
    panel.set_facecolor(PAPER[0])
    panel.set_xscale("log")
    panel.set_xlim(budgets[0] * 0.85, budgets[-1] * (budgets[-1] / budgets[0]) ** 0.6)
    panel.set_xticks(budgets, [f"{each} s" if each < 60 else f"{each / 60:g} min" for each in budgets])
    panel.set_xticks([], minor=True)
    lowest, highest = (pick(y for points in lines.values() for _, y in points) for pick in (min, max))
    room = max(4.0, highest - lowest) * 0.08
    panel.set_ylim(lowest - room, min(101, highest + room) if highest > lowest else highest + room)
    panel.yaxis.set_major_formatter("{x:g}%")
    panel.locator_params(axis="y", nbins=5)
    panel.grid(axis="y", color=GRID[0], linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(colors=INK[0], length=0, labelsize=11)
    for side, spine in panel.spines.items():
        spine.set(visible=side == "bottom", color=GRID[0])
    low, top = panel.get_ylim()
    ends = {tool: points[-1] for tool, points in lines.items()}
    spots = spread([(ends[tool][1] - low) / (top - low) for tool in ends])
    for (tool, (x, y)), spot in zip(ends.items(), spots, strict=True):
        panel.annotate(
            f"{NAMES[tool]} {y:.0f}%",
            (x, low + spot * (top - low)),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=COLOURS[tool][0],
            fontsize=12,
            fontweight="bold" if tool == "tlkit" else "normal",
            bbox={"facecolor": PAPER[0], "edgecolor": "none", "pad": 0.5},
        )


def points_of(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Seconds and mean accuracy in percent at each budget; a run that ended late stands where it ended."""
    return [
        (
            mean(max(row["seconds"], budget) for row in rows if row["budget"] == budget),
            mean(100 * row["accuracy"] for row in rows if row["budget"] == budget),
        )
        for budget in sorted({row["budget"] for row in rows})
    ]


def spread(heights: Sequence[float]) -> list[float]:
    """Heights from 0 to 1 moved apart until labels at them do not touch."""
    order = sorted(range(len(heights)), key=lambda each: heights[each])
    found = list(heights)
    for below, above in itertools.pairwise(order):
        found[above] = max(found[above], found[below] + LABEL_GAP)
    excess = max(0.0, max(found) - 0.97)
    for place in range(len(order) - 1, -1, -1):
        most = 0.97 if place == len(order) - 1 else found[order[place + 1]] - LABEL_GAP
        found[order[place]] = min(found[order[place]], most) if excess else found[order[place]]
    return found


def night() -> str:
    """The style that swaps the colours where the reader prefers a dark page."""
    rules = [
        f'[style*="{what}: {day}"] {{ {what}: {dark} !important; }}'
        for day, dark in (PAPER, INK, GRID, *COLOURS.values())
        for what in ("fill", "stroke")
    ]
    return f" <style>@media (prefers-color-scheme: dark) {{ {' '.join(rules)} }}</style>"
