"""Interpolate between the weights a run started from and those it ended with.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT): weights between the two are often better than
either, because what was unlearnt comes back sooner than what was learnt is lost. A run starts from the solved head on
the frozen backbone, so that share 0 is the frozen network itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from tlkit.finetune.job import Job, all_logits, cross_entropy
from tlkit.finetune.step import restore
from tlkit.linear.temperature import fit_temperature
from tlkit.progress import Progress

SHARES = (1.0, 0.75, 0.5, 0.25)  # of the tuned weights, if validation images choose


@dataclass(frozen=True)
class Mix:
    """A network between start and end of a run.

    Attributes:
        share: Share of the tuned weights, 0..1; the rest is that of the starting weights.
        val_loss: Its log loss on the validation images, nats.
        val_accuracy: Its accuracy on them, 0..1.
        losses: Loss of each validation image after temperature scaling, nats, float64 [n]; infinite if an output is not
            finite. Training makes a network too confident long before it answers worse, and confidence is calibrated
            afterwards anyway.
    """

    share: float
    val_loss: float
    val_accuracy: float
    losses: NDArray[np.float64] = field(compare=False, repr=False)

    @property
    def calibrated_loss(self) -> float:
        """Log loss after temperature scaling, nats."""
        return float(self.losses.mean())


def mix_of(job: Job, share: float) -> Mix:
    """Evaluate the network as it is on the validation images of a job."""
    return mix_of_logits(all_logits(job.trainer, job.inputs, job.val), job.labels[list(job.val)], share)


def mix_of_logits(logits: NDArray[np.float64], truth: NDArray[np.int32], share: float) -> Mix:
    """Evaluate logits, float64 [n, classes], against class indices, int32 [n]."""
    accuracy = float((logits.argmax(axis=1) == truth).mean())
    losses = cross_entropy(logits, truth)
    if not np.isfinite(losses).all():
        return Mix(share, float(losses.mean()), accuracy, np.full(len(truth), np.inf))
    temperature = fit_temperature(softmax(logits, axis=1), truth.tolist())
    return Mix(share, float(losses.mean()), accuracy, cross_entropy(logits / temperature, truth))


def shares(wanted: float | None) -> tuple[float, ...]:
    """Return the shares that `interpolate` evaluates for a recipe's setting: also both ends, to compare them."""
    return () if wanted == 1 else (*SHARES, 0.0) if wanted is None else (wanted, 1.0, 0.0)


def interpolate(
    job: Job, start: Sequence[NDArray[Any]], end: Sequence[NDArray[Any]], wanted: float | None, show: Progress
) -> tuple[Mix, tuple[Mix, ...]]:
    """Set the network to weights between start and end.

    Args:
        job: The training job.
        start: Values of `Trainable.state` before training.
        end: Those after it.
        wanted: Share of the tuned weights; None: that of `SHARES` with the lowest calibrated loss; of equal ones, the
            largest.
        show: Progress reporter.

    Returns:
        The network as it is set, and all that were evaluated.
    """
    state, tried = job.trainer.trainable.state, []
    with show.phase("Interpolating the weights", len(shares(wanted))) as advance:
        for share in shares(wanted):
            restore(state, between(start, end, share))
            tried.append(mix_of(job, share))
            advance(1)
    chosen = tried[0] if wanted is not None else min(tried[: len(SHARES)], key=lambda mix: mix.calibrated_loss)
    restore(state, between(start, end, chosen.share))
    return chosen, tuple(tried)


def between(start: Sequence[NDArray[Any]], end: Sequence[NDArray[Any]], share: float) -> Sequence[NDArray[Any]]:
    """Return weights between two sets of them: ``start`` at share 0, ``end`` at share 1."""
    if share in (0, 1):
        return end if share else start
    return [((1 - share) * one + share * other).astype(one.dtype) for one, other in zip(start, end, strict=True)]
