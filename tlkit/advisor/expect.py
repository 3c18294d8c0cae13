"""From what was measured to the accuracy that each strategy will reach: a rule fitted on a grid of data sets.

Frozen backbones reach what cross-validation says. For a strategy that trains weights, the share that it leaves of the
errors of a head on all stages' features is a log-linear function of what was measured; with a pilot, of that too.
``benchmarks/advisor.py`` made the grid, ``advisor_fit.py`` the coefficients in `tlkit.advisor.fitted`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tlkit.advisor import fitted
from tlkit.advisor.evidence import Evidence
from tlkit.advisor.fitted import PRIOR_ERROR, PRIOR_IMAGES, QUANTILE
from tlkit.plan.choices import FREEZE

LONGEST = 50.0  # reach of an interval on the log scale: anything at all
FROZEN_ALL = "freeze-all"  # the name here of a frozen backbone with all stages' features


@dataclass(frozen=True)
class Expectation:
    """What a strategy is expected to reach on images that nothing was chosen on.

    Attributes:
        accuracy: 0..1.
        low: Lower end of the 90% interval, 0..1.
        high: Upper end.
    """

    accuracy: float
    low: float
    high: float


def error_of(accuracy: float, images: int) -> float:
    """The error, above 0 and below 1, that a measured accuracy stands for.

    A few images without an error do not mean that there are none: `PRIOR_IMAGES` more are thought to have been
    measured, with an error of `PRIOR_ERROR`.

    Args:
        accuracy: Measured, 0..1.
        images: On how many.
    """
    return ((1.0 - accuracy) * images + PRIOR_ERROR * PRIOR_IMAGES) / (images + PRIOR_IMAGES)


def inputs_of(evidence: Evidence) -> dict[str, float]:
    """The numbers that a fitted rule takes, by name; all of the order of 1."""
    together, neighbours = (
        error_of(accuracy, evidence.images) for accuracy in (evidence.together, evidence.neighbours)
    )
    return {
        "constant": 1.0,
        # of the errors of always naming the largest class: what is far from clear may never become so
        "relative": math.log(together / error_of(evidence.chance, evidence.images)),
        "images": math.log(evidence.images / 100),
        "dissimilarity": 1.0 - evidence.similarity,
        "neighbours": math.log(neighbours / together),
        "pilot": evidence.pilot or 0.0,
    }


def expect(
    evidence: Evidence,
    coefficients: Mapping[str, Mapping[str, float]] | None = None,
    spread: Mapping[str, float] | None = None,
) -> dict[str, Expectation]:
    """The accuracy of the frozen strategies, and of those that the coefficients are for.

    Args:
        evidence: Measured on the training images.
        coefficients: By strategy and input; None: the fitted ones, with or without a pilot.
        spread: By strategy, deviation of the error's logarithm beyond the noise of what was measured; 0 where missing.
            None: likewise.
    """
    if coefficients is None:
        coefficients = fitted.COEFFICIENTS if evidence.pilot is None else fitted.PILOT_COEFFICIENTS
    if spread is None:
        spread = fitted.SPREAD if evidence.pilot is None else fitted.PILOT_SPREAD
    inputs = inputs_of(evidence)
    together = error_of(evidence.together, evidence.images)
    errors = {FREEZE: error_of(evidence.last, evidence.images), FROZEN_ALL: together}
    for strategy, its in coefficients.items():
        log_share = sum(weight * inputs[name] for name, weight in its.items())
        errors[strategy] = min(together * math.exp(log_share), 1.0 - 1.0 / evidence.classes)
    return {
        strategy: Expectation(1.0 - error, *_interval(error, evidence, spread.get(strategy, 0.0)))
        for strategy, error in errors.items()
    }


def _interval(error: float, evidence: Evidence, spread: float) -> tuple[float, float]:
    """90% interval of an accuracy: from the rule's spread and the noise of what was measured, on the log scale."""
    noise = evidence.noise / error_of(evidence.last, evidence.images)
    reach = min(LONGEST, QUANTILE * math.hypot(spread, noise))
    return 1.0 - min(1.0, error * math.exp(reach)), 1.0 - error * math.exp(-reach)
