"""A training job: network, recipe and data; and how its network is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tlkit.finetune.augmentation import draw
from tlkit.finetune.step import Trainer
from tlkit.plan.recipe import Recipe

Array = NDArray[Any]


class Inputs(Protocol):
    """Source of a network's inputs."""

    def batch(self, images: Sequence[int], draws: NDArray[np.float32] | None) -> Array:
        """Return the inputs of some images: augmented if ``draws`` [n, DRAWS] are given, else the originals."""
        ...


@dataclass(frozen=True)
class Job:
    """A training job: network, recipe and data.

    Attributes:
        trainer: Makes the optimizer steps.
        recipe: Number of steps, learning rates and other settings.
        inputs: Source of the network's inputs.
        labels: Class index of every image.
        train: Indices of the training images.
        val: Indices of the validation images.
        class_weights: Weight of each class's images in the loss, float32 [classes], or None.
        seed: Random seed of the order and the augmentation.
    """

    trainer: Trainer
    recipe: Recipe
    inputs: Inputs
    labels: NDArray[np.int32]
    train: tuple[int, ...]
    val: tuple[int, ...]
    class_weights: NDArray[np.float32] | None
    seed: int

    def batch(self, step: int) -> tuple[Array, Array, Array, Array]:
        """Return inputs, labels, weights and random numbers of one step; they depend only on the seed and the step.

        Every epoch is a new permutation. A batch may span two epochs, so that all batches have the same size.
        """
        size, count = self.recipe.batch_size, len(self.train)
        chosen: list[int] = []
        while len(chosen) < size:
            epoch, place = divmod(step * size + len(chosen), count)
            order = np.random.default_rng([self.seed, epoch]).permutation(count)
            chosen.extend(self.train[i] for i in order[place : place + size - len(chosen)])
        draws = draw(size, self.seed, step)
        labels = self.labels[chosen]
        weights = np.ones(size, np.float32) if self.class_weights is None else self.class_weights[labels]
        return self.inputs.batch(chosen, draws), labels, np.asarray(weights / weights.sum(), np.float32), draws


def evaluate(trainer: Trainer, inputs: Inputs, images: Sequence[int], labels: NDArray[np.int32]) -> tuple[float, float]:
    """Return mean cross-entropy, nats, and accuracy, 0..1, on some images."""
    logits, target = all_logits(trainer, inputs, images), labels[list(images)]
    return float(cross_entropy(logits, target).mean()), float((logits.argmax(axis=1) == target).mean())


def cross_entropy(logits: NDArray[np.float64], target: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the cross-entropy of each image, nats, float64 [n], of logits [n, classes] and class indices [n]."""
    largest = logits.max(axis=1)
    log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return np.asarray(log_sum - logits[np.arange(len(target)), target])


def all_logits(trainer: Trainer, inputs: Inputs, images: Sequence[int]) -> NDArray[np.float64]:
    """Return the logits of some images, not augmented, float64 [n, classes]."""
    size = trainer.recipe.batch_size
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    return np.concatenate([trainer.logits(inputs.batch(part, None)) for part in parts]).astype(np.float64)
