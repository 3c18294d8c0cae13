"""Which learning rate to use: some are tried for a few steps on the real images, the largest first.

After the range test of Smith 2017 ("Cyclical Learning Rates"), cut short. The network starts from a solved head, so
every step at first raises the loss a little, and a low rate always looks best. What matters is whether a rate destroys
the features: then the network soon knows no more than guessing. On very few images it does not show, as they are soon
learnt by heart; there the rate is bounded by their number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlkit.finetune.loop import Job
from tlkit.finetune.step import restore, snapshot
from tlkit.plan.recipe import LEARNING_RATE
from tlkit.progress import Progress

CANDIDATES = (1e-3, 3e-4, 1e-4)
STEPS = 12  # for each rate
WARM_UP = 4  # of them, as the schedule will have one
RATE_PER_IMAGE = 1.6e-5  # largest rate for each training image: 1e-3 from 63 of them on, 3e-4 from 19 on
HARMLESS = 0.9  # share of the loss of guessing, below which a rate has left the features in place


@dataclass(frozen=True)
class Trial:
    """One rate tried.

    Attributes:
        rate: Of the head.
        loss: Mean training loss of the last third of the steps, nats; infinite where it diverged.
        harmless: Whether the network still knows more than guessing.
    """

    rate: float
    loss: float
    harmless: bool


def try_rates(job: Job, classes: int, progress: Progress, seconds: float = math.inf) -> tuple[Trial, ...]:
    """Train a few steps at each candidate until one is harmless, and put everything back as it was.

    Args:
        job: As it will be trained; its recipe's own rate is not used.
        classes: How many there are: guessing costs their logarithm.
        progress: Told about every step.
        seconds: Time it may take; where that is not enough for one candidate, nothing is tried.

    Returns:
        The trials in the order made; the last one is harmless, unless none was.
    """
    start = snapshot(job.tuner.state())
    job.tuner.step(*job.batch(0), 0.0)  # the first one includes building the graph
    began = time.perf_counter()
    trials: list[Trial] = []
    with progress.phase("Learning-rate check", STEPS) as advance:
        for rate in allowed_rates(len(job.train)):
            restore(job.tuner.state(), start)
            losses: list[float] = []
            for step in range(STEPS):
                loss, _ = job.tuner.step(*job.batch(step), rate * min(1.0, (step + 1) / WARM_UP))
                losses.append(loss)
                advance(1 if not trials else 0)
                if not trials and step == 1 and (time.perf_counter() - began) / 2 * STEPS > seconds:
                    restore(job.tuner.state(), start)
                    return ()
            tail = float(np.mean(losses[-STEPS // 3 :]))
            loss = tail if math.isfinite(tail) else math.inf
            trials.append(Trial(rate, loss, loss < HARMLESS * math.log(classes)))
            if trials[-1].harmless:
                break
    restore(job.tuner.state(), start)
    return tuple(trials)


def allowed_rates(images: int) -> tuple[float, ...]:
    """The candidates that are not too large for so many training images, the largest first; at least the smallest."""
    return tuple(rate for rate in CANDIDATES if rate <= RATE_PER_IMAGE * images) or CANDIDATES[-1:]


def best_rate(trials: Sequence[Trial], images: int) -> float:
    """The rate to train so many images at: the one found harmless, the smallest if none was.

    Without trials it is `LEARNING_RATE`, or a smaller one where images are few.
    """
    return trials[-1].rate if trials else min(LEARNING_RATE, allowed_rates(images)[0])
