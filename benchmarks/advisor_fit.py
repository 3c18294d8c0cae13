"""Fits the advisor's rule on the grid that `advisor.py` made, and says how good its advice is: one JSON document.

    python benchmarks/advisor_fit.py advisor.jsonl

Everything but the coefficients is leave-one-dataset-out: advice on a data set comes from a rule fitted on the others.
Regret is the test accuracy of the best strategy of a cell (mean over the seeds) less that of the one advised, in
points; the best of several equally good ones is lucky on its test pictures, so that not even perfect advice has none.
Advice is near-optimal within one point or one standard error of the best. Beside the advisor: the two-by-two rule,
always one strategy, and a choice by nothing but the nearest neighbours' accuracy. ``time`` is what training took, as a
share of always fine-tuning. ``--write`` puts the coefficients into a Python module.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from strategies import rows_in

STRENGTH = 10.0  # of the ridge, on standardised inputs
INPUTS = ("constant", "error", "pictures", "dissimilarity")
NEIGHBOURS_ONLY = ("constant", "neighbours")
COST = {"freeze": 0, "freeze-all": 0, "early-layers": 1, "last-layers": 2, "fine-tune": 3}
TRAINED = ("early-layers", "last-layers", "fine-tune")
MARGIN = 0.01  # chosen, not fitted: what an expected point is worth in time is a matter of taste
MARGINS = (0.0, 0.005, 0.01, 0.02)
LEAST_ERROR = 0.5  # test pictures: the error of a network without any
NO_SPREAD = dict.fromkeys(COST, 0.0)

Row = dict[str, Any]
Coefficients = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Cell:
    """A data set of one size in one seed: what was measured, and what each strategy reached on test pictures."""

    images: str
    per_class: int
    seed: int
    test: int
    evidence: Any
    reached: Mapping[str, float]
    seconds: Mapping[str, float]
    probe_seconds: float

    @property
    def place(self) -> tuple[str, int]:
        """The cell without its seed."""
        return self.images, self.per_class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--write", type=Path, help="write the coefficients to this module")
    arguments = parser.parse_args()
    found = read(arguments.table)
    truth = means(found)
    by_margin = {each: summary(found, truth, advisor(found, INPUTS, each)) for each in MARGINS}
    predicted = {images: fit([cell for cell in found if cell.images != images], INPUTS) for images in names(found)}
    spread = spreads(found, predicted)
    choosers: dict[str, Callable[[Cell], str]] = {
        "advisor": advisor(found, INPUTS, MARGIN),
        "neighbours only": advisor(found, NEIGHBOURS_ONLY, MARGIN),
        "two-by-two rule": rule,
        **{f"always {name}": (lambda cell, name=name: name) for name in COST},
    }
    report = {name: summary(found, truth, chooser) for name, chooser in choosers.items()}
    single = min(report[f"always {name}"]["mean_regret"] for name in COST)
    result = {
        "benchmark": "advisor",
        "cells": len(truth),
        "runs": sum(len(cell.reached) for cell in found),
        "margin": MARGIN,
        "by_margin": {
            each: {name: its[name] for name in ("mean_regret", "near_optimal", "time")}
            for each, its in by_margin.items()
        },
        "advice": report,
        "less_regret_than_best_single": round(1 - report["advisor"]["mean_regret"] / single, 3) if single else None,
        "predicted": predictions(found, predicted, spread),
        "test_accuracy": {
            f"{images}, {count or 'all'}": {name: round(100 * its, 1) for name, its in reached.items()}
            for (images, count), reached in truth.items()
        },
        "share_of_a_fine_tune": round(
            float(np.median([cell.probe_seconds / cell.seconds["fine-tune"] for cell in found])), 3
        ),
        **machine(),
    }
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(module(fit(found, INPUTS), spread), encoding="utf-8")


def read(table: Path) -> list[Cell]:
    """Cells of which every strategy was run."""
    from tlkit.advisor.evidence import Evidence

    runs: dict[tuple[Any, ...], dict[str, Row]] = defaultdict(dict)
    firsts: dict[tuple[Any, ...], Row] = {}
    for row in rows_in(table):
        key = row["images"], row["per_class"], row["seed"]
        if row["kind"] == "cell":
            firsts[key] = row
        else:
            runs[key][row["strategy"]] = row
    return [
        Cell(
            *key,
            row["test"],
            Evidence(**row["evidence"]),
            {name: reached(its, runs[key]["freeze"], row) for name, its in runs[key].items()},
            {name: its["seconds"] for name, its in runs[key].items()},
            row["probe_seconds"],
        )
        for key, row in firsts.items()
        if set(runs[key]) == set(COST)
    ]


def reached(run: Row, freeze: Row, first: Row) -> float:
    """Test accuracy of what tlkit would save now, whatever it chose when the grid was run."""
    from tlkit.api.outcome import better
    from tlkit.training.recipe import FEWEST_TO_CHOOSE

    if "last" not in run:
        return float(run["test_accuracy"])
    validation = first["pictures"] - first["evidence"]["pictures"]
    ours = run["last"] if validation < FEWEST_TO_CHOOSE else run["best"]
    chosen = ours if better(ours, run["frozen"], validation) else freeze
    return float(chosen["test_accuracy"])


def names(cells: Sequence[Cell]) -> list[str]:
    """Data sets."""
    return list(dict.fromkeys(cell.images for cell in cells))


def means(cells: Sequence[Cell]) -> dict[tuple[str, int], dict[str, float]]:
    """Test accuracy of each strategy, mean over the seeds by their test pictures, by place."""
    return {
        place: {
            name: float(np.average([cell.reached[name] for cell in ours], weights=[cell.test for cell in ours]))
            for name in COST
        }
        for place in dict.fromkeys(cell.place for cell in cells)
        if (ours := [cell for cell in cells if cell.place == place])
    }


def fit(cells: Sequence[Cell], inputs: Sequence[str]) -> Coefficients:
    """By strategy and input: how the logarithm of the share of errors it leaves depends on what was measured."""
    from sklearn.linear_model import Ridge

    from tlkit.advisor.expect import inputs_of

    rows = [inputs_of(cell.evidence) for cell in cells]
    chosen = [name for name in inputs if name != "constant"]
    matrix = np.asarray([[row[name] for name in chosen] for row in rows])
    mean, deviation = matrix.mean(axis=0), matrix.std(axis=0)
    deviation[deviation == 0] = 1.0
    # a place counts as much as another, however many seeds it has
    seeds = [sum(other.place == cell.place for other in cells) for cell in cells]
    found: Coefficients = {}
    for name in TRAINED:
        target = [log_share(cell, cell.reached[name]) for cell in cells]
        solved = Ridge(alpha=STRENGTH).fit((matrix - mean) / deviation, target, sample_weight=1 / np.asarray(seeds))
        weights = solved.coef_ / deviation
        found[name] = {"constant": float(solved.intercept_ - mean @ weights), **dict(zip(chosen, weights, strict=True))}
    return {name: {key: round(float(value), 4) for key, value in its.items()} for name, its in found.items()}


def log_share(cell: Cell, accuracy: float) -> float:
    """Logarithm of an error over that of the probe on all stages."""
    from tlkit.advisor.expect import error_of

    return math.log(
        max(LEAST_ERROR / cell.test, 1 - accuracy) / error_of(cell.evidence.together, cell.evidence.pictures)
    )


def advisor(cells: Sequence[Cell], inputs: Sequence[str], margin: float) -> Callable[[Cell], str]:
    """Advice by a rule fitted on all other data sets."""
    from tlkit.advisor.expect import expect

    rules = {images: fit([cell for cell in cells if cell.images != images], inputs) for images in names(cells)}

    def choose(cell: Cell) -> str:
        expected = {name: its.accuracy for name, its in expect(cell.evidence, rules[cell.images], NO_SPREAD).items()}
        best = max(expected.values())
        close = [name for name, accuracy in expected.items() if accuracy >= best - margin]
        return min(close, key=lambda name: (COST[name], -expected[name]))

    return choose


def rule(cell: Cell) -> str:
    """Advice by the two-by-two rule."""
    from tlkit.advisor.rule import rule_of_thumb
    from tlkit.advisor.similarity import Similarity, level_of
    from tlkit.advisor.size import judge_size

    size = judge_size([max(1, round(cell.evidence.pictures / cell.evidence.classes))] * cell.evidence.classes)
    score = cell.evidence.similarity
    return rule_of_thumb(size, Similarity(score, level_of(score), 0.0, {}, (), 0))[0]


def summary(cells: Sequence[Cell], truth: Mapping[Any, Mapping[str, float]], choose: Callable[[Cell], str]) -> Row:
    """Regret in points, over all cells and seeds, and how often advice was near the best."""
    regrets, near = [], []
    for cell in cells:
        reached = truth[cell.place]
        best = max(reached.values())
        regrets.append(100 * (best - reached[choose(cell)]))
        near.append(regrets[-1] <= max(1.0, 100 * math.sqrt(best * (1 - best) / cell.test)))
    return {
        "mean_regret": round(float(np.mean(regrets)), 2),
        "p95_regret": round(float(np.percentile(regrets, 95)), 2),
        "worst_regret": round(float(max(regrets)), 2),
        "near_optimal": round(float(np.mean(near)), 3),
        "time": round(
            float(np.mean([cell.seconds[choose(cell)] for cell in cells]))
            / float(np.mean([cell.seconds["fine-tune"] for cell in cells])),
            3,
        ),
        "chosen": {name: sum(choose(cell) == name for cell in cells) for name in COST},
    }


def spreads(cells: Sequence[Cell], rules: Mapping[str, Coefficients]) -> dict[str, float]:
    """Deviation of the logarithm of the error from what is expected, beyond the noise of what was measured."""
    from tlkit.advisor.expect import error_of, expect

    found = {}
    for name in COST:
        excess = []
        for cell in cells:
            expected = 1 - expect(cell.evidence, rules[cell.images], NO_SPREAD)[name].accuracy
            apart = math.log(max(LEAST_ERROR / cell.test, 1 - cell.reached[name]) / expected)
            noise = cell.evidence.noise / error_of(cell.evidence.last, cell.evidence.pictures)
            excess.append(apart**2 - noise**2)
        found[name] = round(math.sqrt(max(0.01, float(np.mean(excess)))), 3)
    return found


def predictions(cells: Sequence[Cell], rules: Mapping[str, Coefficients], spread: Mapping[str, float]) -> Row:
    """How far expected accuracies are off, in points, and how often their intervals hold what was reached."""
    from tlkit.advisor.expect import expect

    off: dict[str, list[float]] = defaultdict(list)
    inside: dict[str, list[bool]] = defaultdict(list)
    for cell in cells:
        for name, its in expect(cell.evidence, rules[cell.images], spread).items():
            off[name].append(100 * abs(its.accuracy - cell.reached[name]))
            inside[name].append(its.low <= cell.reached[name] <= its.high)
    return {
        "mean_points_off": round(float(np.mean([each for its in off.values() for each in its])), 2),
        "interval_coverage": round(float(np.mean([each for its in inside.values() for each in its])), 3),
        "by_strategy": {
            name: {
                "points_off": round(float(np.mean(off[name])), 2),
                "coverage": round(float(np.mean(inside[name])), 3),
            }
            for name in off
        },
    }


def module(coefficients: Coefficients, spread: Mapping[str, float]) -> str:
    """Source of `tlkit.advisor.fitted`."""
    from tlkit.advisor.fitted import PRIOR_ERROR, PRIOR_PICTURES, QUANTILE

    lines = [
        '"""What the advisor\'s rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""',
        "",
        f"PRIOR_PICTURES, PRIOR_ERROR = {PRIOR_PICTURES}, {PRIOR_ERROR}  # thought measured beside the real ones",
        f"MARGIN = {MARGIN}  # accuracy that a cheaper strategy may be expected to lack and still be advised",
        f"QUANTILE = {QUANTILE}  # of the normal distribution, for 90% intervals",
        "# by strategy: deviation of the logarithm of the error from what is expected",
        f"SPREAD = {json.dumps(spread)}",
        "# by strategy and input (`tlkit.advisor.expect.inputs_of`): logarithm of the share of errors left",
        "COEFFICIENTS: dict[str, dict[str, float]] = {",
        *(f"    {json.dumps(name)}: {json.dumps(its)}," for name, its in coefficients.items()),
        "}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
