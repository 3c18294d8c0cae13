"""Fit the advisor's rule to the table of `advisor.py`, and measure how good its recommendations are.

    python advisor_fit.py advisor_grid.jsonl

Each recommendation for a dataset is made by tlkit's own code (the price of time, at most ten minutes, and the pilot if
there is one and tlkit would have run it), with coefficients fitted on the other datasets. Regret is the accuracy that
it lacks to the best of all strategies and frozen networks, in percentage points of test accuracy; it is unbiased
(`advisor_cells.regret`). A recommendation is near the best within one point or one standard error. Times are those that
tlkit predicts for an idle machine. `--write` writes the coefficients into a Python module.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from advisor_cells import DEFAULT, TUNED, Cell, Row, Score, names, read
from advisor_rule import (
    FITTED,
    INPUTS,
    Rule,
    advised,
    fit,
    frozen_predictions,
    module,
    nominal_seconds,
    pilot_seconds,
    rule_of,
)
from measure import machine

Choice = tuple[Score, float]  # score of what is saved, and the seconds that it takes
OTHER_INPUTS = (("constant",), INPUTS, (*INPUTS, "images"), (*INPUTS, "relative"))


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--write", type=Path, help="write the coefficients to this module")
    arguments = parser.parse_args()
    cells = read(arguments.table)
    if len(names(cells)) < 2:
        raise SystemExit(f"{arguments.table} needs complete cells of two datasets or more")
    rules = left_out(cells, INPUTS)
    result = {
        "benchmark": "advisor",
        "cells": len(cells),
        "datasets": {name: sum(cell.images == name for cell in cells) for name in names(cells)},
        "recommendations": {name: summary(cells, chooser) for name, chooser in choosers(rules).items()},
        "recommended": dict(Counter(advised(cell, rules[cell.images])[0].strategy for cell in cells)),
        "by_inputs": {
            " ".join(inputs): summary(cells, by_rules(left_out(cells, inputs)))["mean_regret"]
            for inputs in OTHER_INPUTS
        },
        "predictions": predictions(cells, rules),
        "frozen_predictions": frozen_predictions(cells),
        "refit_gain": refit_gains(cells),
        "per_cell": [line_of(cell, rules[cell.images]) for cell in cells],
        **machine(),
    }
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(module(fit(cells, INPUTS)), encoding="utf-8")


def left_out(cells: Sequence[Cell], inputs: Sequence[str]) -> dict[str, Rule]:
    """By dataset, the rule that was fitted on all others."""
    return {name: fit([cell for cell in cells if cell.images != name], inputs) for name in names(cells)}


def choosers(rules: dict[str, Rule]) -> dict[str, Callable[[Cell], Choice | None]]:
    """What is compared, by name; None: that strategy was not run on a cell."""
    return {
        "tlkit": by_rules(rules),
        "tlkit, no pilot": by_rules(rules, pilots=False),
        "tlkit, coefficients as shipped (not left out)": by_rules(None),
        "freeze as shipped before: Lite0, 224 px, last stage, no refit": lambda cell: (
            cell.parts[DEFAULT],
            nominal_seconds(cell)["freeze"],
        ),
        "always freeze, searched": lambda cell: reached(cell, "freeze"),
        **{f"always {name}": (lambda cell, name=name: reached(cell, name)) for name in TUNED},
        "a pilot alone: last-layers if it shows a gain": by_pilot,
        "two-by-two rule (early-layers counts as freeze)": lambda cell: reached(cell, rule_of(cell), "freeze"),
    }


def reached(cell: Cell, strategy: str, otherwise: str | None = None) -> Choice | None:
    """What a strategy comes to."""
    if strategy not in cell.reached:
        return None if otherwise is None else reached(cell, otherwise)
    return cell.reached[strategy], nominal_seconds(cell)[strategy]


def by_pilot(cell: Cell) -> Choice:
    """The last layers if a pilot shows a gain, else the frozen network."""
    strategy = "last-layers" if cell.pilot is not None and cell.pilot.shows_gain else "freeze"
    seconds = nominal_seconds(cell)
    return cell.reached[strategy], seconds[strategy] + (pilot_seconds(seconds) if cell.pilot else 0.0)


def by_rules(rules: dict[str, Rule] | None, pilots: bool = True) -> Callable[[Cell], Choice | None]:
    """What tlkit chooses; None: by the coefficients it has."""

    def choose(cell: Cell) -> Choice | None:
        advice, seconds = advised(cell, FITTED if rules is None else rules[cell.images], pilots)
        found = reached(cell, advice.strategy, "last-layers")  # as "recommended" shows, others are rare
        return found and (found[0], found[1] + seconds)

    return choose


def summary(cells: Sequence[Cell], choose: Callable[[Cell], Choice | None]) -> Row:
    """Regret of a way to choose, and its time relative to always fine-tuning."""
    regrets, near, seconds, full = [], [], [], []
    for cell in cells:
        found = choose(cell)
        if found is None:
            continue
        chosen, took = found
        regrets.append(100 * cell.regret(chosen))
        best = max(each[0] for each in cell.options)
        near.append(regrets[-1] <= max(1.0, 100 * math.sqrt(best * (1 - best) / cell.test)))
        seconds.append(took)
        full.append(nominal_seconds(cell)["fine-tune"])
    if not regrets:
        return {"cells": 0, "mean_regret": None}
    return {
        "cells": len(regrets),
        "mean_regret": round(float(np.mean(regrets)), 2),
        "p95_regret": round(float(np.percentile(regrets, 95)), 2),
        "worst_regret": round(max(regrets), 2),
        "near_the_best": round(float(np.mean(near)), 3),
        "time": round(sum(seconds) / sum(full), 3),
    }


def predictions(cells: Sequence[Cell], rules: dict[str, Rule]) -> Row:
    """How far the predicted accuracy of what is chosen is off, in points, and how often its interval contains it."""
    off: dict[str, list[float]] = defaultdict(list)
    inside: dict[str, list[bool]] = defaultdict(list)
    for cell in cells:
        advice, _ = advised(cell, rules[cell.images])
        for each in advice.candidates:
            if each.expected is None or each.strategy not in cell.reached:
                continue
            its, actual = each.expected, cell.reached[each.strategy][0]
            groups = [each.strategy]
            if each.strategy == advice.strategy:
                groups += ["chosen", *(["chosen, 100 images and more"] if cell.evidence.images >= 100 else [])]
            for group in groups:
                off[group].append(100 * abs(its.accuracy - actual))
                inside[group].append(its.low <= actual <= its.high)
    return {
        name: {
            "cells": len(its),
            "points_off": round(float(np.mean(its)), 2),
            "coverage": round(float(np.mean(inside[name])), 3),
        }
        for name, its in off.items()
    }


def refit_gains(cells: Sequence[Cell]) -> Row:
    """Points that solving the frozen head once more on all images gains on test images, by dataset."""
    found = {
        name: [100 * (cell.reached["freeze"][0] - cell.rival["freeze"][0]) for cell in cells if cell.images == name]
        for name in names(cells)
    }
    every = [gain for its in found.values() for gain in its]
    means = {name: round(float(np.mean(its)), 2) for name, its in found.items()}
    return {**means, "mean": round(float(np.mean(every)), 2), "worst": round(min(every), 2)}


def line_of(cell: Cell, rule: Rule) -> dict[str, Any]:
    """What happened in a cell, for a table."""
    advice, _ = advised(cell, rule)
    best = max(cell.frozen, key=lambda name: cell.frozen[name][0])
    return {
        "cell": f"{cell.images}, {cell.per_class or 'all'}, seed {cell.seed}",
        "training_images": cell.evidence.images,
        "advice": advice.strategy,
        "expected": [round(100 * each, 1) for each in advice.expected or ()],
        "pilot_shows_gain": cell.pilot.shows_gain if cell.pilot else None,
        "frozen_before": percent(cell.parts[DEFAULT]),
        "best_frozen": f"{best}: {percent(cell.frozen[best])}",
        **{name: percent(its) for name, its in cell.reached.items()},
        **{f"{name}, tuned": percent(its) for name, its in cell.tuned.items()},
    }


def percent(score: Score) -> float:
    """Accuracy on all test images."""
    return round(100 * score[0], 1)


if __name__ == "__main__":
    main()
