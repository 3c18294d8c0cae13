"""Choose the learning rate: try candidates for a few steps on the real images, largest first.

A short form of the range test of Smith 2017 ("Cyclical Learning Rates"). The network starts from a solved head, so at
first every step raises the loss a little, and the lowest rate always looks best. What matters is whether a rate
destroys the features: the loss then soon reaches that of guessing. With very few images this does not show, because
the network memorises them; there the rate is limited by their number.
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
STEPS = 12  # per rate
WARM_UP = 4  # of these steps, as in the schedule
RATE_PER_IMAGE = 1.6e-5  # largest rate per training image: allows 1e-3 from 63 images on, 3e-4 from 19 on
HARMLESS = 0.9  # a rate is harmless if the loss stays below this share of the loss of guessing


@dataclass(frozen=True)
class Trial:
    """Result of trying one rate.

    Attributes:
        rate: Learning rate of the head.
        loss: Mean training loss of the last third of the steps, nats; infinite if it diverged.
        harmless: Whether the network is still better than guessing.
    """

    rate: float
    loss: float
    harmless: bool


def try_rates(job: Job, classes: int, progress: Progress, seconds: float = math.inf) -> tuple[Trial, ...]:
    """Train a few steps at each candidate rate until one is harmless, then restore the initial state.

    Args:
        job: The job to train; the learning rate of its recipe is ignored.
        classes: Number of classes; the loss of guessing is its logarithm.
        progress: Progress reporter.
        seconds: Time limit; if it does not suffice for one candidate, nothing is tried.

    Returns:
        The trials in order; the last one is harmless unless none was.
    """
    start = snapshot(job.trainer.state())
    trials: list[Trial] = []
    with progress.phase("Learning-rate check", STEPS) as advance:
        advance(0, "compiling the network")
        job.trainer.step(*job.batch(0), 0.0)  # the first step includes building the graph
        began = time.perf_counter()
        for rate in allowed_rates(len(job.train)):
            restore(job.trainer.state(), start)
            losses: list[float] = []
            for step in range(STEPS):
                loss, _ = job.trainer.step(*job.batch(step), rate * min(1.0, (step + 1) / WARM_UP))
                losses.append(loss)
                advance(1 if not trials else 0, f"rate {rate:.0e}")
                if not trials and step == 1 and (time.perf_counter() - began) / 2 * STEPS > seconds:
                    restore(job.trainer.state(), start)
                    return ()
            tail = float(np.mean(losses[-STEPS // 3 :]))
            loss = tail if math.isfinite(tail) else math.inf
            trials.append(Trial(rate, loss, loss < HARMLESS * math.log(classes)))
            if trials[-1].harmless:
                break
    restore(job.trainer.state(), start)
    return tuple(trials)


def allowed_rates(images: int) -> tuple[float, ...]:
    """Return the candidates allowed for this many training images, largest first; at least the smallest."""
    return tuple(rate for rate in CANDIDATES if rate <= RATE_PER_IMAGE * images) or CANDIDATES[-1:]


def best_rate(trials: Sequence[Trial], images: int) -> float:
    """Return the rate to train with: the harmless one, or the smallest if none was harmless.

    Without trials it is `LEARNING_RATE`, or less if there are few images.
    """
    return trials[-1].rate if trials else min(LEARNING_RATE, allowed_rates(images)[0])
