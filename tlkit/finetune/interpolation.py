"""Interpolate between the weights a run started from and those it ended with.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT): weights between the two are often better than
either, because what was unlearnt comes back sooner than what was learnt is lost. A run starts from the solved head on
the frozen backbone, so that share 0 is the frozen network itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from scipy.special import softmax

from tlkit.finetune.step import restore
from tlkit.linear.temperature import fit_temperature
from tlkit.progress import Progress

if TYPE_CHECKING:
    from tlkit.finetune.loop import Job

SHARES = (1.0, 0.75, 0.5, 0.25)  # of the tuned weights, if validation images choose


@dataclass(frozen=True)
class Mix:
    """A network between start and end of a run.

    Attributes:
        share: Share of the tuned weights, 0..1; the rest is that of the starting weights.
        val_loss: Its log loss on the validation images, nats.
        val_accuracy: Its accuracy on them, 0..1.
        calibrated_loss: Its log loss after temperature scaling, nats. Training makes a network too confident long
            before it answers worse, and confidence is calibrated afterwards anyway.
    """

    share: float
    val_loss: float
    val_accuracy: float
    calibrated_loss: float


def mix_of(job: Job, share: float) -> Mix:
    """Evaluate the network as it is on the validation images of a job."""
    from tlkit.finetune.loop import all_logits, cross_entropy

    logits, truth = all_logits(job.trainer, job.inputs, job.val), job.labels[list(job.val)]
    accuracy = float((logits.argmax(axis=1) == truth).mean())
    loss = cross_entropy(logits, truth)
    if not math.isfinite(loss):
        return Mix(share, loss, accuracy, math.inf)
    temperature = fit_temperature(softmax(logits, axis=1), truth.tolist())
    return Mix(share, loss, accuracy, cross_entropy(logits / temperature, truth))


def evaluations(share: float | None) -> int:
    """Return how many evaluations on the validation images `interpolate` makes for a recipe's setting."""
    return len(SHARES) if share is None else int(share < 1)


def interpolate(
    job: Job, start: Sequence[NDArray[Any]], end: Sequence[NDArray[Any]], share: float | None, show: Progress
) -> tuple[Mix, ...]:
    """Set the network to weights between start and end, and return what was tried, the chosen one first.

    Args:
        job: The training job.
        start: Values of `Trainable.state` before training.
        end: Those after it.
        share: Share of the tuned weights; None: that of `SHARES` with the lowest calibrated loss; of equal ones, the
            largest.
        show: Progress reporter.
    """
    state, tried = job.trainer.trainable.state, []
    with show.phase("Interpolating the weights", evaluations(share)) as advance:
        for each in SHARES if share is None else (share,):
            restore(state, between(start, end, each))
            tried.append(mix_of(job, each))
            advance(1)
    tried.sort(key=lambda mix: mix.calibrated_loss)
    restore(state, between(start, end, tried[0].share))
    return tuple(tried)


def between(start: Sequence[NDArray[Any]], end: Sequence[NDArray[Any]], share: float) -> Sequence[NDArray[Any]]:
    """Return weights between two sets of them: ``start`` at share 0, ``end`` at share 1."""
    if share == 1:
        return end
    return [((1 - share) * one + share * other).astype(one.dtype) for one, other in zip(start, end, strict=True)]
