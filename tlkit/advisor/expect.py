"""Predict the accuracy of each strategy from measurements, by a rule fitted on a grid of datasets.

For the frozen network it is the cross-validated accuracy of its own head, corrected by a constant. A strategy that
fine-tunes leaves a share of its errors; the logarithm of this share is a linear function of the measurements, including
the pilot if there was one. ``benchmarks/advisor.py`` ran the grid, ``advisor_fit.py`` fitted `tlkit.advisor.fitted`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tlkit.advisor import fitted
from tlkit.advisor.evidence import Evidence
from tlkit.advisor.fitted import PRIOR_ERROR, PRIOR_IMAGES, QUANTILE
from tlkit.plan.choices import FREEZE

MAX_REACH = 50.0  # maximum half-width of an interval on the log scale, effectively unbounded
STEEPEST = -0.7  # bound on the slope of a learning curve: a few images can show any slope


@dataclass(frozen=True)
class Expectation:
    """Predicted accuracy of a strategy on new images.

    Attributes:
        accuracy: Predicted accuracy, 0..1.
        low: Lower end of the 90% interval, 0..1.
        high: Upper end of the 90% interval, 0..1.
    """

    accuracy: float
    low: float
    high: float


def error_of(accuracy: float, images: int) -> float:
    """Estimate the error rate, above 0 and below 1, behind a measured accuracy.

    No errors on a few images do not mean an error rate of zero, so a prior is added: `PRIOR_IMAGES` images with an
    error rate of `PRIOR_ERROR`.

    Args:
        accuracy: Measured accuracy, 0..1.
        images: Number of images it was measured on.
    """
    return ((1.0 - accuracy) * images + PRIOR_ERROR * PRIOR_IMAGES) / (images + PRIOR_IMAGES)


def frozen_error(evidence: Evidence) -> float:
    """Estimate the error rate of the frozen network, above 0 and below 1, from the cross-validation of its head.

    If that was done on some of the training images only, it is scaled to all of them by the learning curve.
    """
    found = error_of(evidence.head, evidence.head_images)
    if evidence.head_images >= evidence.images:
        return found
    whole, quarter = (error_of(accuracy, evidence.images) for accuracy in (evidence.last, evidence.quarter))
    slope = min(0.0, max(STEEPEST, math.log(whole / quarter) / math.log(4)))
    return found * math.exp(slope * math.log(evidence.images / evidence.head_images))


def inputs_of(evidence: Evidence) -> dict[str, float]:
    """Return the inputs of the fitted rule by name; all are of the order of 1."""
    frozen, neighbours = frozen_error(evidence), error_of(evidence.neighbours, evidence.images)
    return {
        "constant": 1.0,
        # relative to the error of always predicting the largest class
        "relative": math.log(frozen / error_of(evidence.chance, evidence.images)),
        "images": math.log(evidence.images / 100),
        "dissimilarity": 1.0 - evidence.similarity,
        "neighbours": math.log(neighbours / frozen),
        "pilot": evidence.pilot or 0.0,
    }


def expect(
    evidence: Evidence,
    coefficients: Mapping[str, Mapping[str, float]] | None = None,
    spread: Mapping[str, float] | None = None,
) -> dict[str, Expectation]:
    """Predict the accuracy of the frozen network and of the strategies with coefficients.

    Args:
        evidence: Measurements on the training images.
        coefficients: Coefficients by strategy and input; None: the fitted ones, with or without a pilot.
        spread: Standard deviation of the log error beyond measurement noise, by strategy, 0 if missing; None: the
            fitted ones, with or without a pilot.
    """
    if coefficients is None:
        coefficients = fitted.COEFFICIENTS if evidence.pilot is None else fitted.PILOT_COEFFICIENTS
    if spread is None:
        spread = fitted.SPREAD if evidence.pilot is None else fitted.PILOT_SPREAD
    inputs = inputs_of(evidence)
    shares = {
        strategy: math.exp(sum(weight * inputs[name] for name, weight in its.items()))
        for strategy, its in coefficients.items()
    }
    frozen, worst = frozen_error(evidence) * shares.pop(FREEZE, 1.0), 1.0 - 1.0 / evidence.classes
    errors = {FREEZE: min(frozen, worst), **{strategy: min(frozen * its, worst) for strategy, its in shares.items()}}
    return {
        strategy: Expectation(1.0 - error, *_interval(error, evidence, spread.get(strategy, 0.0)))
        for strategy, error in errors.items()
    }


def _interval(error: float, evidence: Evidence, spread: float) -> tuple[float, float]:
    """Return the 90% interval of an accuracy, from the rule's spread and measurement noise on the log scale."""
    noise = evidence.noise / error_of(evidence.last, evidence.images)
    reach = min(MAX_REACH, QUANTILE * math.hypot(spread, noise))
    return 1.0 - min(1.0, error * math.exp(reach)), 1.0 - error * math.exp(-reach)
