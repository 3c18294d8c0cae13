"""How long each strategy will take on this machine, from the speed of the frozen network on it."""

from __future__ import annotations

from tlkit.plan.choices import EARLY, FINE_TUNE, FREEZE, LAST_LAYERS
from tlkit.plan.recipe import BATCH, step_budget

# Training on an image takes so many times as long as a frozen pass (benchmarks/tune_speed.py; early-layers by the
# share of fine-tuning's time that benchmarks/advisor_fit.py prints)
TIMES_A_PASS = {EARLY: 4.7, LAST_LAYERS: 2.0, FINE_TUNE: 7.6}
START = {FREEZE: 5.0, EARLY: 20.0, LAST_LAYERS: 22.0, FINE_TUNE: 20.0}  # seconds: imports, graphs, the bundle
VIEWS = 4.0  # passes through the frozen part that "last-layers" makes for each image, about
HEAD = 2e-9  # seconds for each image, feature and class, to solve the head


def estimate_seconds(images: int, classes: int, columns: int, rate: float) -> dict[str, float]:
    """Seconds each strategy takes once the features are there.

    Args:
        images: To train on.
        classes: How many classes.
        columns: Features of an image.
        rate: Images a second that the frozen network computes.
    """
    trained = step_budget(images) * min(BATCH, images)
    head = HEAD * images * columns * classes * 100
    found = {FREEZE: START[FREEZE] + head}
    for strategy, times in TIMES_A_PASS.items():
        passes = VIEWS * images if strategy == LAST_LAYERS else 0.0
        found[strategy] = START[strategy] + head + (times * trained + passes) / rate
    return {strategy: round(seconds, 1) for strategy, seconds in found.items()}
