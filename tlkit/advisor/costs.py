"""Estimate how long each strategy takes on this machine, from the measured speed of the frozen network."""

from __future__ import annotations

from tlkit.plan.choices import EARLY, FINE_TUNE, FREEZE, LAST_LAYERS
from tlkit.plan.recipe import BATCH, step_budget

# training time per image, in forward passes (benchmarks/tune_speed.py; early-layers by its share of the time of
# fine-tuning, which benchmarks/advisor_fit.py prints)
TIMES_PER_PASS = {EARLY: 4.7, LAST_LAYERS: 2.0, FINE_TUNE: 7.6}
START = {FREEZE: 5.0, EARLY: 20.0, LAST_LAYERS: 22.0, FINE_TUNE: 20.0}  # seconds: imports, graphs, the bundle
VIEWS = 4.0  # approximate passes of "last-layers" through the frozen part, per image
TRAININGS = 2  # times the recipe's steps, between one (a low rate is enough) and three (the data ask for more)
HEAD = 2e-9  # seconds per image, feature and class, for the hundred steps counted to solve the head


def estimate_seconds(images: int, classes: int, columns: int, rate: float) -> dict[str, float]:
    """Estimate the seconds each strategy takes once the features are computed.

    Args:
        images: Number of training images.
        classes: Number of classes.
        columns: Number of features per image.
        rate: Speed of the frozen network, images per second.
    """
    trained = TRAININGS * step_budget(images) * min(BATCH, images)
    head = HEAD * images * columns * classes * 100
    found = {FREEZE: START[FREEZE] + head}
    for strategy, times in TIMES_PER_PASS.items():
        passes = VIEWS * images if strategy == LAST_LAYERS else 0.0
        found[strategy] = START[strategy] + head + (times * trained + passes) / rate
    return {strategy: round(seconds, 1) for strategy, seconds in found.items()}
