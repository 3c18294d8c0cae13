"""Which learning rate to use: a few are tried for a few steps on the real pictures.

After the range test of Smith 2017 ("Cyclical Learning Rates"), cut short.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlkit.progress import Progress
from tlkit.training.fit import Job
from tlkit.training.recipe import LEARNING_RATE
from tlkit.training.tuner import restore, snapshot

CANDIDATES = (1e-4, 3e-4, 1e-3)
STEPS = 12  # for each rate
WORTH = 200  # optimizer steps of a schedule, from which on the check is worth its time


@dataclass(frozen=True)
class Trial:
    """One rate tried: the mean training loss of its last third, in nats; infinite where it diverged."""

    rate: float
    loss: float


def try_rates(job: Job, progress: Progress, seconds: float = math.inf) -> tuple[Trial, ...]:
    """Train a few steps at each candidate, on the same batches, and put everything back as it was.

    Args:
        job: As it will be trained; its recipe's own rate is not used.
        progress: Told about every step.
        seconds: Time it may take; where that is not enough, nothing is tried.

    Returns:
        A trial for each candidate; none where the schedule is too short to be worth it, or the time.
    """
    if job.recipe.steps < WORTH:
        return ()
    start = snapshot(job.tuner.state())
    trials: list[Trial] = []
    job.tuner.step(*job.batch(0), 0.0)  # the first one includes building the graph
    began = time.perf_counter()
    with progress.phase("Learning-rate check", len(CANDIDATES) * STEPS) as advance:
        for rate in CANDIDATES:
            losses: list[float] = []
            restore(job.tuner.state(), start)
            for step in range(STEPS):
                # a short warm-up, as the schedule will have one
                loss, _ = job.tuner.step(*job.batch(step), rate * min(1.0, (step + 1) / (STEPS / 3)))
                losses.append(loss)
                advance(1)
                if not trials and step == 1 and (time.perf_counter() - began) / 2 * len(CANDIDATES) * STEPS > seconds:
                    restore(job.tuner.state(), start)
                    return ()
            tail = float(np.mean(losses[-STEPS // 3 :]))
            trials.append(Trial(rate, tail if np.isfinite(tail) else float("inf")))
    restore(job.tuner.state(), start)
    return tuple(trials)


def best_rate(trials: Sequence[Trial]) -> float:
    """The rate to train at: `LEARNING_RATE`, unless a trial speaks against it.

    Args:
        trials: In the order of their rates, or none.
    """
    if not trials:
        return LEARNING_RATE
    return min(trials, key=lambda trial: trial.loss).rate
