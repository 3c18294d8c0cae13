"""The table of `advisor.py` as cells, and the regret of a choice without the luck of the best one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from strategies import rows_in

from tlkit.advisor.evidence import Evidence
from tlkit.advisor.pilot import Pilot

DEFAULT = "efficientnet-lite0 224 last"  # the frozen network that was shipped before they were searched
TUNED = ("last-layers", "fine-tune")

Row = dict[str, Any]
Score = tuple[float, float, float]  # accuracy on all test images, on the first half, on the second


@dataclass(frozen=True)
class Cell:
    """A dataset at one size and seed.

    Attributes:
        images: Name of the dataset.
        per_class: Images per class; 0: all.
        seed: The seed.
        test: Number of test images.
        evidence: What the advisor measured, with the cross-validated accuracy of the chosen head, without a pilot.
        cv_half: Cross-validated accuracy of the chosen head on half of the training images.
        features: Features of the chosen frozen head.
        columns: Number of features of all stages.
        cost: Multiply-adds of the chosen network, relative to the default one.
        frozen: Score of every frozen candidate with the head on all images, as after the refit.
        parts: The same with the head on the training part.
        reached: Score of what tlkit saves, by strategy; of "freeze" after the refit.
        tuned: Score of the tuned network, saved or not, by strategy.
        rival: Score of the frozen network that it was compared with, before the refit, by strategy; with "freeze" that
            of the frozen network itself.
        pilot: The pilot; None: there was none.
    """

    images: str
    per_class: int
    seed: int
    test: int
    evidence: Evidence
    cv_half: float | None
    features: str
    columns: int
    cost: float
    frozen: Mapping[str, Score]
    parts: Mapping[str, Score]
    reached: Mapping[str, Score]
    tuned: Mapping[str, Score]
    rival: Mapping[str, Score]
    pilot: Pilot | None

    @property
    def options(self) -> list[Score]:
        """Everything that could have been chosen: the strategies and all frozen candidates."""
        return [*self.reached.values(), *self.frozen.values()]

    def regret(self, chosen: Score) -> float:
        """Regret of a choice, unbiased: may be below 0."""
        return regret(self.options, chosen)


def regret(options: Sequence[Score], chosen: Score) -> float:
    """Accuracy that a choice lacks to the best option.

    The best of many options owes a part of its accuracy to chance. So it is chosen by one half of the test images and
    judged by the other, both ways; of equally good ones the mean counts.

    Args:
        options: Scores of all options, the choice among them.
        chosen: Score of the choice.
    """
    found = 0.0
    for chooses, judges in ((1, 2), (2, 1)):
        most = max(each[chooses] for each in options)
        found += float(np.mean([each[judges] for each in options if each[chooses] == most])) - chosen[judges]
    return found / 2


def read(table: Path) -> list[Cell]:
    """The cells that have at least the lines "cell" and "frozen", and a run of "freeze" and "last-layers"."""
    lines: dict[tuple[Any, ...], dict[str, Row]] = defaultdict(dict)
    for row in rows_in(table):
        lines[row["images"], row["per_class"], row["seed"]][row.get("strategy", row["kind"])] = row
    needed = {"cell", "frozen", "freeze", "last-layers"}
    return [cell_of(its) for its in lines.values() if needed <= set(its)]


def cell_of(lines: Mapping[str, Row]) -> Cell:
    """One cell from its lines."""
    first, candidates = lines["cell"], lines["frozen"]["candidates"]
    frozen = {name: score(its["all"]) for name, its in candidates.items()}
    reached, tuned, rival = {"freeze": score(lines["freeze"]["saved"])}, {}, {"freeze": score(lines["freeze"]["part"])}
    for name in TUNED:
        if name in lines:
            row = lines[name]
            tuned[name], rival[name] = score(row["tuned"]), score(row["frozen"])
            reached[name] = tuned[name] if row["kept"] else reached["freeze"]
    cost = next((each["cost"] for each in first["compared"] if each["chosen"]), 1.0)
    return Cell(
        first["images"],
        first["per_class"],
        first["seed"],
        first["test"],
        Evidence(**{**first["evidence"], "head": first["cv"][0], "head_images": first["evidence"]["images"]}),
        first["cv_half"] and first["cv_half"][0],
        first["features"],
        first["columns"],
        cost,
        frozen,
        {name: score(its["part"]) for name, its in candidates.items()},
        reached,
        tuned,
        rival,
        Pilot(**lines["pilot"]["pilot"]) if "pilot" in lines else None,
    )


def score(values: Iterable[float]) -> Score:
    """A score from its line."""
    whole, first, second = values
    return whole, first, second


def names(cells: Sequence[Cell]) -> list[str]:
    """Names of the datasets."""
    return list(dict.fromkeys(cell.images for cell in cells))
