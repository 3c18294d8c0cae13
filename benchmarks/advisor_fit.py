"""Fits the advisor's rule on the grid that `advisor.py` made, and says how good its advice is: one JSON document.

    python benchmarks/advisor_fit.py advisor.jsonl

Everything but the coefficients is leave-one-dataset-out: advice on a data set comes from a rule fitted on the others.
Regret is the test accuracy of the best strategy of a cell (mean over the seeds) less that of the one advised, in
points; the best of several equally good ones is lucky on its test images, so that not even perfect advice has none.
Advice is near-optimal within one point or one standard error of the best. Beside the advisor: the two-by-two rule,
always one strategy, and a choice by nothing but the nearest neighbours' accuracy. ``time`` is what training took,
pilots included, as a share of always fine-tuning. Advice with the pilot is compared with that without on the cells that
have one. A strategy that was not run with every seed of a place is not there to be chosen or compared with.
``--write`` puts the coefficients into a Python module.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from advisor_cells import COST, Cell, Row, means, names, read, times
from measure import machine

STRENGTH = 10.0  # of the ridge, on standardised inputs
PILOT_STRENGTH = 1.0  # likewise, on what a pilot found as it is: of the order of 0.3
INPUTS = ("constant", "relative", "images", "dissimilarity")
OTHER_INPUTS = (INPUTS[:2], INPUTS[:3], INPUTS, (*INPUTS, "neighbours"))
NEIGHBOURS_ONLY = ("constant", "neighbours")
TRAINED = ("early-layers", "last-layers", "fine-tune")
MARGIN = 0.005  # chosen, not fitted: what an expected point is worth in time is a matter of taste
MARGINS = (0.0, 0.005, 0.01, 0.02)
LEAST_ERROR = 0.5  # test images: the error of a network without any
NO_SPREAD = dict.fromkeys(COST, 0.0)

Coefficients = dict[str, dict[str, float]]
Truth = Mapping[tuple[str, int], Mapping[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--write", type=Path, help="write the coefficients to this module")
    arguments = parser.parse_args()
    found = read(arguments.table)
    truth = means(found)
    predicted = left_out(found, INPUTS)
    spread = spreads(found, predicted)
    by_margin = {each: summary(found, truth, advisor(predicted, each, truth)) for each in MARGINS}
    choosers: dict[str, Callable[[Cell], str]] = {
        "advisor": advisor(predicted, MARGIN, truth),
        "neighbours only": advisor(left_out(found, NEIGHBOURS_ONLY), MARGIN, truth),
        "two-by-two rule": rule,
        **{f"always {name}": (lambda cell, name=name: name) for name in COST},
    }
    report = {name: summary(found, truth, chooser) for name, chooser in choosers.items()}
    single = min(report[f"always {name}"].get("mean_regret", math.inf) for name in COST)
    result = {
        "benchmark": "advisor",
        "cells": len(truth),
        "runs": sum(len(cell.reached) for cell in found),
        "margin": MARGIN,
        "by_margin": {
            each: {name: its[name] for name in ("mean_regret", "near_optimal", "time")}
            for each, its in by_margin.items()
        },
        "by_inputs": {
            " ".join(its[1:]): summary(found, truth, advisor(left_out(found, its), MARGIN, truth))["mean_regret"]
            for its in OTHER_INPUTS
        },
        "advice": report,
        "less_regret_than_best_single": round(1 - report["advisor"]["mean_regret"] / single, 3) if single else None,
        "predicted": predictions(found, predicted, spread),
        "with_pilot": with_pilot(found, truth),
        "foreseen_to_taken_seconds": times(found),
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
        fitted, piloted = fit(found, INPUTS), [cell for cell in found if cell.pilot_seconds is not None]
        pilots = fit_pilot(found, fitted), spreads(piloted, left_out(found, INPUTS, pilots=True))
        arguments.write.write_text(module(fitted, spread, *pilots), encoding="utf-8")


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
        ours = [place for place, cell in enumerate(cells) if name in cell.reached]
        target = [log_share(cells[place], cells[place].reached[name]) for place in ours]
        weight = 1 / np.asarray(seeds)[ours]
        solved = Ridge(alpha=STRENGTH).fit(((matrix - mean) / deviation)[ours], target, sample_weight=weight)
        weights = solved.coef_ / deviation
        found[name] = {"constant": float(solved.intercept_ - mean @ weights), **dict(zip(chosen, weights, strict=True))}
    return {name: {key: round(float(value), 4) for key, value in its.items()} for name, its in found.items()}


def log_share(cell: Cell, accuracy: float) -> float:
    """Logarithm of an error over that of the probe on all stages."""
    from tlkit.advisor.expect import error_of

    return math.log(max(LEAST_ERROR / cell.test, 1 - accuracy) / error_of(cell.evidence.together, cell.evidence.images))


def fit_pilot(cells: Sequence[Cell], base: Coefficients) -> Coefficients:
    """A rule with the pilot as one more input, and the rest as it was.

    How much of what a pilot found is to be believed is fitted, the same for all strategies that it is about; so are
    their constants. A pilot says nothing about the early layers.
    """
    from tlkit.advisor.expect import inputs_of

    ours = [cell for cell in cells if cell.pilot_seconds is not None]
    gains = np.asarray([cell.evidence.pilot for cell in ours])
    left = {
        name: np.asarray(
            [
                log_share(cell, cell.reached[name]) - sum(its[key] * inputs_of(cell.evidence)[key] for key in its)
                for cell in ours
            ]
        )
        for name, its in base.items()
        if name != "early-layers"
    }
    if not ours:
        return base
    apart = gains - gains.mean()
    slope = sum(float(apart @ each) for each in left.values()) / (len(left) * float(apart @ apart) + PILOT_STRENGTH)
    found = dict(base)
    for name, each in left.items():
        constant = base[name]["constant"] + float(each.mean()) - slope * float(gains.mean())
        found[name] = {**base[name], "constant": round(constant, 4), "pilot": round(slope, 4)}
    return found


def left_out(cells: Sequence[Cell], inputs: Sequence[str], pilots: bool = False) -> dict[str, Coefficients]:
    """By data set, the rule that was fitted on all others."""
    rules = {}
    for images in names(cells):
        others = [cell for cell in cells if cell.images != images]
        rules[images] = fit(others, inputs)
        if pilots:
            rules[images] = fit_pilot(others, rules[images])
    return rules


def with_pilot(cells: Sequence[Cell], truth: Truth) -> Row:
    """Advice with and without the pilot, on the cells that have one."""
    rules, plain = left_out(cells, INPUTS, pilots=True), left_out(cells, INPUTS)
    ours = [cell for cell in cells if cell.pilot_seconds is not None]
    return {
        "cells": len(ours),
        "without": summary(ours, truth, advisor(plain, MARGIN, truth)),
        "with": summary(ours, truth, advisor(rules, MARGIN, truth), pilots=True),
        "always fine-tune": summary(ours, truth, lambda cell: "fine-tune"),
        "predicted": predictions(ours, rules, spreads(ours, rules)),
        "predicted_without": predictions(ours, plain, spreads(ours, plain)),
        "seconds": round(float(np.median([cell.pilot_seconds or 0.0 for cell in ours])), 1),
        "share_of_a_fine_tune": round(
            float(np.median([(cell.pilot_seconds or 0.0) / cell.seconds["fine-tune"] for cell in ours])), 3
        ),
    }


def advisor(rules: Mapping[str, Coefficients], margin: float, truth: Truth) -> Callable[[Cell], str]:
    """Advice by the rule that was fitted on all other data sets."""
    from tlkit.advisor.expect import expect

    def choose(cell: Cell) -> str:
        expected = {
            name: its.accuracy
            for name, its in expect(cell.evidence, rules[cell.images], NO_SPREAD).items()
            if name in truth[cell.place]
        }
        best = max(expected.values())
        close = [name for name, accuracy in expected.items() if accuracy >= best - margin]
        return min(close, key=lambda name: (COST[name], -expected[name]))

    return choose


def rule(cell: Cell) -> str:
    """Advice by the two-by-two rule."""
    from tlkit.advisor.rule import rule_of_thumb
    from tlkit.advisor.similarity import Similarity, level_of
    from tlkit.advisor.size import judge_size

    size = judge_size([max(1, round(cell.evidence.images / cell.evidence.classes))] * cell.evidence.classes)
    score = cell.evidence.similarity
    return rule_of_thumb(size, Similarity(score, level_of(score), 0.0, {}, (), 0))[0]


def summary(
    cells: Sequence[Cell],
    truth: Truth,
    choose: Callable[[Cell], str],
    pilots: bool = False,
) -> Row:
    """Regret in points, over all cells and seeds, and how often advice was near the best."""
    regrets, near, seconds, full = [], [], [], []
    chosen = [(cell, choose(cell)) for cell in cells if choose(cell) in truth[cell.place]]
    for cell, strategy in chosen:
        reached = truth[cell.place]
        best = max(reached.values())
        regrets.append(100 * (best - reached[strategy]))
        near.append(regrets[-1] <= max(1.0, 100 * math.sqrt(best * (1 - best) / cell.test)))
        seconds.append(cell.seconds[strategy] + (cell.pilot_seconds or 0.0) * pilots)
        full.append(cell.seconds["fine-tune"])
    if not chosen:
        return {}
    return {
        "cells": len(chosen),
        "mean_regret": round(float(np.mean(regrets)), 2),
        "p95_regret": round(float(np.percentile(regrets, 95)), 2),
        "worst_regret": round(float(max(regrets)), 2),
        "near_optimal": round(float(np.mean(near)), 3),
        "time": round(float(np.mean(seconds)) / float(np.mean(full)), 3),
        "chosen": {name: sum(strategy == name for _, strategy in chosen) for name in COST},
    }


def spreads(cells: Sequence[Cell], rules: Mapping[str, Coefficients]) -> dict[str, float]:
    """Deviation of the logarithm of the error from what is expected, beyond the noise of what was measured."""
    from tlkit.advisor.expect import error_of, expect

    found = {}
    for name in COST:
        excess = []
        for cell in cells:
            if name not in cell.reached:
                continue
            expected = 1 - expect(cell.evidence, rules[cell.images], NO_SPREAD)[name].accuracy
            apart = math.log(max(LEAST_ERROR / cell.test, 1 - cell.reached[name]) / expected)
            noise = cell.evidence.noise / error_of(cell.evidence.last, cell.evidence.images)
            excess.append(apart**2 - noise**2)
        found[name] = round(math.sqrt(max(0.01, float(np.mean(excess or [0.0])))), 3)
    return found


def predictions(cells: Sequence[Cell], rules: Mapping[str, Coefficients], spread: Mapping[str, float]) -> Row:
    """How far expected accuracies are off, in points, and how often their intervals hold what was reached."""
    from tlkit.advisor.expect import expect

    off: dict[str, list[float]] = defaultdict(list)
    by_images: dict[str, list[float]] = defaultdict(list)
    inside: dict[str, list[bool]] = defaultdict(list)
    for cell in cells:
        for name, its in expect(cell.evidence, rules[cell.images], spread).items():
            if name not in cell.reached:
                continue
            off[name].append(100 * abs(its.accuracy - cell.reached[name]))
            size = next((f"under {most}" for most in (50, 150) if cell.evidence.images < most), "more")
            by_images[size].append(off[name][-1])
            inside[name].append(its.low <= cell.reached[name] <= its.high)
    return {
        "mean_points_off": round(float(np.mean([each for its in off.values() for each in its])), 2),
        "interval_coverage": round(float(np.mean([each for its in inside.values() for each in its])), 3),
        "points_off_by_images": {size: round(float(np.mean(its)), 2) for size, its in by_images.items()},
        "by_strategy": {
            name: {
                "points_off": round(float(np.mean(off[name])), 2),
                "coverage": round(float(np.mean(inside[name])), 3),
            }
            for name in off
        },
    }


def module(
    coefficients: Coefficients,
    spread: Mapping[str, float],
    piloted: Coefficients,
    piloted_spread: Mapping[str, float],
) -> str:
    """Source of `tlkit.advisor.fitted`."""
    from tlkit.advisor.fitted import PRIOR_ERROR, PRIOR_IMAGES, QUANTILE

    lines = [
        '"""What the advisor\'s rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""',
        "",
        f"PRIOR_IMAGES, PRIOR_ERROR = {PRIOR_IMAGES}, {PRIOR_ERROR}  # thought measured beside the real ones",
        f"MARGIN = {MARGIN}  # accuracy that a cheaper strategy may be expected to lack and still be advised",
        f"QUANTILE = {QUANTILE}  # of the normal distribution, for 90% intervals",
        "# by strategy: deviation of the logarithm of the error from what is expected",
        f"SPREAD = {json.dumps(spread)}",
        "# by strategy and input (`tlkit.advisor.expect.inputs_of`): logarithm of the share of errors left",
        "COEFFICIENTS: dict[str, dict[str, float]] = {",
        *(f"    {json.dumps(name)}: {json.dumps(its)}," for name, its in coefficients.items()),
        "}",
        "# both with a pilot",
        f"PILOT_SPREAD = {json.dumps(piloted_spread)}",
        "PILOT_COEFFICIENTS: dict[str, dict[str, float]] = {",
        *(f"    {json.dumps(name)}: {json.dumps(its)}," for name, its in piloted.items()),
        "}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
