"""From what was measured to the accuracy that each strategy will reach: a rule fitted on a grid of data sets.

The share of errors that a strategy leaves, of those of a head on all stages' features, is a log-linear function of what
the probes say. ``benchmarks/advisor.py`` made the grid, ``advisor_fit.py`` the coefficients in `tlkit.advisor.fitted`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tlkit.advisor.evidence import Evidence
from tlkit.advisor.fitted import COEFFICIENTS, LEAST_ERROR, QUANTILE, SPREAD
from tlkit.training.plan import FREEZE

FROZEN_ALL = "freeze-all"  # the name here of a frozen backbone with all stages' features


@dataclass(frozen=True)
class Expectation:
    """What a strategy is expected to reach on pictures that nothing was chosen on.

    Attributes:
        accuracy: 0..1.
        low: Lower end of the 90% interval, 0..1.
        high: Upper end.
    """

    accuracy: float
    low: float
    high: float


def inputs_of(evidence: Evidence) -> dict[str, float]:
    """The numbers that the fitted rule takes, by name; all of the order of 1.

    Errors are floored at `LEAST_ERROR`, as a few pictures without an error do not mean that there are none.
    """
    errors = {
        name: max(LEAST_ERROR, 1.0 - getattr(evidence, name))
        for name in ("last", "together", "early", "neighbours", "half", "quarter")
    }
    return {
        "constant": 1.0,
        "error": math.log(errors["together"]),
        "pictures": math.log(evidence.pictures / 100),
        "per_class": math.log(evidence.per_class / 10),
        "stages": math.log(errors["together"] / errors["last"]),
        "early": math.log(errors["early"] / errors["last"]),
        "neighbours": math.log(errors["neighbours"] / errors["last"]),
        "slope": math.log(errors["half"] / errors["last"]),
        "dissimilarity": 1.0 - evidence.similarity,
    }


def expect(
    evidence: Evidence,
    coefficients: Mapping[str, Mapping[str, float]] = COEFFICIENTS,
    spread: Mapping[str, float] = SPREAD,
) -> dict[str, Expectation]:
    """The accuracy of each strategy; without coefficients, of the frozen ones alone, as cross-validated.

    Args:
        evidence: Measured on the training pictures.
        coefficients: By strategy and input.
        spread: By strategy.
    """
    inputs = inputs_of(evidence)
    base = max(LEAST_ERROR, 1.0 - evidence.together)
    reach = QUANTILE * evidence.noise
    found = {
        name: Expectation(accuracy, max(0.0, accuracy - reach), min(1.0, accuracy + reach))
        for name, accuracy in ((FREEZE, evidence.last), (FROZEN_ALL, evidence.together))
    }
    for strategy, its in coefficients.items():
        log_share = sum(weight * inputs[name] for name, weight in its.items())
        error = min(base * math.exp(log_share), 1.0 - 1.0 / evidence.classes)
        found[strategy] = Expectation(1.0 - error, *_interval(error, evidence, spread[strategy]))
    return found


def _interval(error: float, evidence: Evidence, spread: float) -> tuple[float, float]:
    """90% interval of an accuracy: from the rule's spread and the noise of what was measured, on the log scale."""
    noise = evidence.noise / max(LEAST_ERROR, 1.0 - evidence.last)
    reach = QUANTILE * math.hypot(spread, noise)
    return 1.0 - min(1.0, error * math.exp(reach)), 1.0 - error * math.exp(-reach)
