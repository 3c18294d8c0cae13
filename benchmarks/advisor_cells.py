"""The table of `advisor.py` as cells: what was measured, and what each strategy reached."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from strategies import rows_in

COST = {"freeze": 0, "freeze-all": 0, "early-layers": 2, "last-layers": 1, "fine-tune": 3}  # order by time
NEVER_BEST = {"early-layers"}  # may be missing from a seed

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A data set of one size in one seed: what was measured, and what each strategy reached on test images."""

    images: str
    per_class: int
    seed: int
    test: int
    evidence: Any
    reached: Mapping[str, float]
    seconds: Mapping[str, float]
    probe_seconds: float
    pilot_seconds: float | None = None
    foreseen_seconds: Mapping[str, float] | None = None

    @property
    def place(self) -> tuple[str, int]:
        """The cell without its seed."""
        return self.images, self.per_class


def read(table: Path) -> list[Cell]:
    """Cells of which every strategy but perhaps the one that was never the best was run."""
    from tlkit.advisor.evidence import Evidence

    runs: dict[tuple[Any, ...], dict[str, Row]] = defaultdict(dict)
    firsts: dict[tuple[Any, ...], Row] = {}
    pilots: dict[tuple[Any, ...], Row] = {}
    for row in rows_in(table):
        key = row["images"], row["per_class"], row["seed"]
        if row["kind"] == "cell":
            firsts[key] = row
        elif row["kind"] == "pilot":
            pilots[key] = row
        else:
            runs[key][row["strategy"]] = row
    return [
        Cell(
            *key,
            row["test"],
            Evidence(**{**row["evidence"], "pilot": gain(pilots.get(key))}),
            {name: reached(its, runs[key]["freeze"], row) for name, its in runs[key].items()},
            {name: its["seconds"] for name, its in runs[key].items()},
            row["probe_seconds"],
            pilots[key]["seconds"] if gain(pilots.get(key)) is not None else None,
            foreseen(row),
        )
        for key, row in firsts.items()
        if set(COST) - set(runs[key]) <= NEVER_BEST
    ]


def foreseen(row: Row) -> dict[str, float] | None:
    """Seconds that tlkit would say each strategy takes; None where the network's speed was not noted."""
    from tlkit.advisor.costs import estimate_seconds

    if "images_a_second" not in row:
        return None
    images, classes = row["evidence"]["images"], row["evidence"]["classes"]
    return estimate_seconds(images, classes, row["columns"], row["images_a_second"])


def gain(row: Row | None) -> float | None:
    """What the rule takes of a pilot; None where there was none, or tlkit would not have run it."""
    from tlkit.advisor.pilot import Pilot
    from tlkit.api.recommend.pilot import MIN_HELD_OUT

    if row is None or row["count"] < MIN_HELD_OUT:
        return None
    return Pilot(**{name: row["count" if name == "images" else name] for name in Pilot.__dataclass_fields__}).gain


def reached(run: Row, freeze: Row, first: Row) -> float:
    """Test accuracy of what tlkit would save now, whatever it chose when the grid was run."""
    from tlkit.api.train.trained import better
    from tlkit.plan.recipe import MIN_TO_SELECT

    if "last" not in run:
        return float(run["test_accuracy"])
    validation = first["count"] - first["evidence"]["images"]
    ours = run["last"] if validation < MIN_TO_SELECT else run["best"]
    chosen = ours if better(ours, run["frozen"], validation) else freeze
    return float(chosen["test_accuracy"])


def names(cells: Sequence[Cell]) -> list[str]:
    """Data sets."""
    return list(dict.fromkeys(cell.images for cell in cells))


def means(cells: Sequence[Cell]) -> dict[tuple[str, int], dict[str, float]]:
    """Test accuracy of each strategy that was run with every seed, mean over them by their test images, by place."""
    found: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for place in dict.fromkeys(cell.place for cell in cells):
        ours = [cell for cell in cells if cell.place == place]
        for name in COST:
            if all(name in cell.reached for cell in ours):
                values, tests = [cell.reached[name] for cell in ours], [cell.test for cell in ours]
                found[place][name] = float(np.average(values, weights=tests))
    return dict(found)


def times(cells: Sequence[Cell]) -> Row:
    """By strategy, the seconds foreseen as a multiple of those taken: 5th percentile, median, 95th."""
    found = {}
    for name in COST:
        ratios = [
            cell.foreseen_seconds[name.removesuffix("-all")] / cell.seconds[name]
            for cell in cells
            if cell.foreseen_seconds is not None and name in cell.seconds
        ]
        found[name] = [round(float(each), 2) for each in np.percentile(ratios, [5, 50, 95])] if ratios else None
    return found
