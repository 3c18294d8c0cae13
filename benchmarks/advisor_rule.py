"""The advisor's rule: how `advisor_fit.py` fits it, and what tlkit recommends by it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from advisor_cells import TUNED, Cell, Row, names

from tlkit.advisor import fitted
from tlkit.advisor.advise import Advice, advise
from tlkit.advisor.costs import TRAININGS, estimate_seconds
from tlkit.advisor.expect import error_of, expect, frozen_error, inputs_of
from tlkit.advisor.rule import rule_of_thumb
from tlkit.advisor.similarity import Similarity, level_of
from tlkit.advisor.size import judge_size
from tlkit.api.recommend.pilot import SHARE, is_worthwhile
from tlkit.plan.choices import ALL, EARLY, FREEZE

INPUTS = ("constant", "dissimilarity")
STRENGTH = 4.0  # of the ridge on standardised inputs, in cells
SHRINKAGE = 3.0  # cells without an effect that constants are averaged with, and that a pilot must outweigh
PILOT_SCALE = 0.3  # order of a pilot's result
LEAST_ERROR = 0.5  # test images: the error of a network without any
LEAST_SPREAD = 0.1
RATE = 130.0  # images per second of the default network on two idle cores
GROWTH = 1 / 0.64  # images after the refit, relative to those of a fold: four fifths, of which a fifth is left out

Coefficients = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Rule:
    """Coefficients by strategy and input, and spreads by strategy; both without and with a pilot."""

    plain: Mapping[str, Mapping[str, float]]
    spread: Mapping[str, float]
    piloted: Mapping[str, Mapping[str, float]]
    piloted_spread: Mapping[str, float]


FITTED = Rule(fitted.COEFFICIENTS, fitted.SPREAD, fitted.PILOT_COEFFICIENTS, fitted.PILOT_SPREAD)


@contextmanager
def in_use(rule: Rule) -> Iterator[None]:
    """Let tlkit predict by a rule."""
    members = {
        "COEFFICIENTS": rule.plain,
        "SPREAD": rule.spread,
        "PILOT_COEFFICIENTS": rule.piloted,
        "PILOT_SPREAD": rule.piloted_spread,
    }
    before = {name: getattr(fitted, name) for name in members}
    try:
        for name, value in members.items():
            setattr(fitted, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(fitted, name, value)


def advised(cell: Cell, rule: Rule, pilots: bool = True) -> tuple[Advice, float]:
    """What tlkit recommends, and the seconds of the pilot that it runs for it."""
    evidence, seconds = cell.evidence, nominal_seconds(cell)
    size, similarity = judge_size([round(evidence.per_class)] * evidence.classes), similarity_of(cell)
    with in_use(rule):
        advice = advise(evidence, size, similarity, seconds, features=cell.features)
        if cell.pilot is None or not pilots or not is_worthwhile(advice, evidence.images, None):
            return advice, 0.0
        known = replace(evidence, pilot=cell.pilot.gain)
        advice = advise(known, size, similarity, seconds, features=cell.features, pilot=cell.pilot)
    return advice, pilot_seconds(seconds)


def pilot_seconds(seconds: Mapping[str, float]) -> float:
    """Seconds of a pilot, from those of the strategies."""
    return SHARE / TRAININGS * seconds["last-layers"]


def nominal_seconds(cell: Cell) -> dict[str, float]:
    """Seconds of each strategy on an idle machine."""
    return estimate_seconds(cell.evidence.images, cell.evidence.classes, cell.columns, RATE / cell.cost)


def similarity_of(cell: Cell) -> Similarity:
    """Similarity to ImageNet, without what is only shown."""
    score = cell.evidence.similarity
    return Similarity(score, level_of(score), cell.evidence.confidence, {}, (), 0)


def rule_of(cell: Cell) -> str:
    """The strategy of the two-by-two rule."""
    size = judge_size([round(cell.evidence.per_class)] * cell.evidence.classes)
    return rule_of_thumb(size, similarity_of(cell))[0]


def fit(cells: Sequence[Cell], inputs: Sequence[str]) -> Rule:
    """Fit coefficients and spreads; the latter on datasets that the coefficients were not fitted on.

    Nothing is known of early-layers but what the rule says now, which was fitted on an earlier grid.
    """
    plain = coefficients(cells, inputs)
    others = {name: [cell for cell in cells if cell.images != name] for name in names(cells)}
    apart = {name: coefficients(its, inputs) for name, its in others.items()}
    piloted = {name: with_pilot(others[name], its) for name, its in apart.items()}
    return Rule(
        plain,
        spreads(cells, apart),
        with_pilot(cells, plain),
        spreads([cell for cell in cells if cell.pilot], piloted, pilots=True),
    )


def coefficients(cells: Sequence[Cell], inputs: Sequence[str]) -> Coefficients:
    """Fit the shares of errors: of "freeze" relative to its cross-validation, of the others relative to "freeze".

    Images that are unlike the training images raise the errors of all strategies alike. So the share that training
    leaves is fitted to test images alone. A strategy of which few runs are there is like the last layers, but for a
    constant.
    """
    shift = [log_error(cell, FREEZE) - math.log(frozen_error(cell.evidence)) for cell in cells]
    found: Coefficients = {
        EARLY: dict(fitted.COEFFICIENTS[EARLY]),
        FREEZE: {"constant": shrunk(shift)},
        "last-layers": ridge(cells, [log_share(cell, "last-layers") for cell in cells], inputs),
    }
    for name in TUNED[1:]:
        ours = [cell for cell in cells if name in cell.reached]
        more = shrunk([log_share(cell, name) - log_share(cell, "last-layers") for cell in ours])
        found[name] = {**found["last-layers"], "constant": found["last-layers"]["constant"] + more}
    return rounded(found)


def ridge(cells: Sequence[Cell], target: Sequence[float], inputs: Sequence[str]) -> dict[str, float]:
    """Linear coefficients by input; all but the constant are drawn towards 0."""
    chosen = [name for name in inputs if name != "constant"]
    rows = np.asarray([[inputs_of(cell.evidence)[name] for name in chosen] for cell in cells]).reshape(len(cells), -1)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    deviation[deviation == 0] = 1.0
    scaled, aim = (rows - mean) / deviation, np.asarray(target)
    solved = np.linalg.solve(scaled.T @ scaled + STRENGTH * np.eye(len(chosen)), scaled.T @ (aim - aim.mean()))
    weights = solved / deviation
    return {"constant": float(aim.mean() - mean @ weights), **dict(zip(chosen, map(float, weights), strict=True))}


def with_pilot(cells: Sequence[Cell], base: Coefficients) -> Coefficients:
    """Add what pilots show: how much of it is to be believed, and another constant, the same for all tuned strategies.

    A pilot says nothing about early layers and frozen networks.
    """
    ours = [cell for cell in cells if cell.pilot is not None]
    if not ours:
        return base
    gains = np.asarray([cell.pilot.gain for cell in ours if cell.pilot])
    left = np.asarray([log_share(cell, "last-layers") - predicted_share(cell, base["last-layers"]) for cell in ours])
    shift = float(left.sum()) / (len(ours) + SHRINKAGE)
    apart = gains - gains.mean()
    slope = float(apart @ (left - left.mean())) / (float(apart @ apart) + SHRINKAGE * PILOT_SCALE**2)
    slope = max(0.0, slope)
    found = dict(base)
    for name in TUNED:
        constant = base[name]["constant"] + shift - slope * float(gains.mean())
        found[name] = {**base[name], "constant": constant, "pilot": slope}
    return rounded(found)


def spreads(cells: Sequence[Cell], rules: Mapping[str, Coefficients], pilots: bool = False) -> dict[str, float]:
    """Deviation of the logarithm of the error from what is predicted, beyond the noise of what was measured."""
    found = {EARLY: (fitted.PILOT_SPREAD if pilots else fitted.SPREAD)[EARLY]}
    for name in (FREEZE, *TUNED):
        excess = []
        for cell in cells:
            if name in cell.reached:
                evidence = replace(cell.evidence, pilot=cell.pilot.gain if pilots and cell.pilot else None)
                expected = expect(evidence, rules[cell.images], {})[name]
                noise = cell.evidence.noise / error_of(cell.evidence.last, cell.evidence.images)
                excess.append((log_error(cell, name) - math.log(1 - expected.accuracy)) ** 2 - noise**2)
        if excess:
            found[name] = round(math.sqrt(max(LEAST_SPREAD**2, float(np.mean(excess)))), 3)
    return {**dict.fromkeys(TUNED, found.get("last-layers", LEAST_SPREAD)), **found}


def frozen_predictions(cells: Sequence[Cell]) -> Row:
    """How far predictions of the frozen accuracy are off, in points, by the way they are made.

    "Probes" are the ridge classifiers, "head" is the cross-validation of the head that is used, "curve" scales its
    errors to all images by its own learning curve, and "constant" by what the other datasets show.
    """
    found: dict[str, list[float]] = {name: [] for name in ("probes", "head", "head, curve", "head, constant")}
    for cell in cells:
        evidence, actual = cell.evidence, cell.reached[FREEZE][0]
        probe = evidence.together if cell.features == ALL else evidence.last
        head = frozen_error(evidence)
        half = error_of(evidence.head if cell.cv_half is None else cell.cv_half, evidence.images // 2)
        slope = min(0.0, max(-0.7, math.log(head / half) / math.log(2)))
        others = [other for other in cells if other.images != cell.images]
        shift = shrunk([log_error(other, FREEZE) - math.log(frozen_error(other.evidence)) for other in others])
        errors = error_of(probe, evidence.images), head, head * GROWTH**slope, head * math.exp(shift)
        for name, error in zip(found, errors, strict=True):
            found[name].append(100 * abs(1 - error - actual))
    return {name: round(float(np.mean(its)), 2) for name, its in found.items()}


def log_error(cell: Cell, strategy: str) -> float:
    """Logarithm of the error on test images of what tlkit saves."""
    return math.log(max(LEAST_ERROR / cell.test, 1 - cell.reached[strategy][0]))


def log_share(cell: Cell, strategy: str) -> float:
    """Logarithm of the share of the frozen network's errors that a strategy leaves."""
    return log_error(cell, strategy) - log_error(cell, FREEZE)


def predicted_share(cell: Cell, its: Mapping[str, float]) -> float:
    """The same, as a rule without a pilot predicts it."""
    inputs = inputs_of(cell.evidence)
    return sum(weight * inputs[name] for name, weight in its.items())


def shrunk(values: Sequence[float]) -> float:
    """Mean of some values and `SHRINKAGE` zeros."""
    return float(sum(values)) / (len(values) + SHRINKAGE)


def rounded(found: Coefficients) -> Coefficients:
    """To four digits."""
    return {name: {key: round(value, 4) for key, value in its.items()} for name, its in found.items()}


def module(rule: Rule) -> str:
    """Source of `tlkit.advisor.fitted`."""
    from tlkit.advisor.fitted import MARGIN, PRIOR_ERROR, PRIOR_IMAGES, QUANTILE

    def lines(name: str, its: Mapping[str, Mapping[str, float]]) -> list[str]:
        rows = (f"    {json.dumps(strategy)}: {json.dumps(weights)}," for strategy, weights in its.items())
        return [f"{name}: dict[str, dict[str, float]] = {{", *rows, "}"]

    text = [
        '"""What the advisor\'s rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""',
        "",
        f"PRIOR_IMAGES, PRIOR_ERROR = {PRIOR_IMAGES}, {PRIOR_ERROR}  # thought measured beside the real ones",
        f"MARGIN = {MARGIN}  # accuracy that a cheaper strategy may be expected to lack and still be advised",
        f"QUANTILE = {QUANTILE}  # of the normal distribution, for 90% intervals",
        "# by strategy: deviation of the logarithm of the error from what is expected",
        f"SPREAD = {json.dumps(dict(rule.spread))}",
        "# by strategy and input (`tlkit.advisor.expect.inputs_of`): logarithm of the share of errors left, for",
        "# freeze of those in cross-validation, for the others of those of freeze",
        *lines("COEFFICIENTS", rule.plain),
        "# both with a pilot",
        f"PILOT_SPREAD = {json.dumps(dict(rule.piloted_spread))}",
        *lines("PILOT_COEFFICIENTS", rule.piloted),
    ]
    return "\n".join(text) + "\n"
