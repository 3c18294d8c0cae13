"""One step of fine-tuning: gradients on one or several devices, AdamW with a learning rate per group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.runtime import import_tensorflow
from tlkit.finetune.augmentation import augment
from tlkit.finetune.optimizer import AdamW
from tlkit.finetune.trainable import Trainable
from tlkit.plan.recipe import MOVING, Recipe
from tlkit.words import plural

Array = NDArray[Any]
MIN_SPLIT = 1  # smallest part of a batch per replica, in images; if it does not fit, memory is out


class Trainer:
    """Trains a `Trainable` step by step.

    The gradient of a batch is the weighted sum of its images' gradients, with weights that add up to 1. How a batch is
    split does not matter: across replicas, or into parts that are accumulated if memory is short.

    Args:
        trainable: The network to train, created within ``strategy.scope()``.
        recipe: Learning rates, augmentation and other settings.
        strategy: A ``tf.distribute.Strategy``; None: the default, one device.
        tell: Called with a message if batches are split because memory is short.
    """

    def __init__(
        self, trainable: Trainable, recipe: Recipe, strategy: Any = None, tell: Callable[[str], None] | None = None
    ) -> None:
        tf = import_tensorflow()
        self.trainable, self.recipe = trainable, recipe
        self._strategy = strategy or tf.distribute.get_strategy()
        self._replicas = int(self._strategy.num_replicas_in_sync)
        self._tell = tell or (lambda _: None)
        self._variables = trainable.variables
        self._most: int | None = None  # images per part if memory is short
        with self._strategy.scope():
            self._optimizer = AdamW(trainable.groups, recipe.weight_decay, recipe.epsilon, recipe.l2_sp)
        self._gradients_of = tf.function(self._distributed, reduce_retracing=True, autograph=False)
        self._update = tf.function(self._apply, autograph=False)
        self._infer = tf.function(self._logits, reduce_retracing=True, autograph=False)

    def step(self, inputs: Array, labels: Array, weights: Array, draws: Array, rate: float) -> tuple[float, float]:
        """Make one optimizer step.

        Args:
            inputs: Pixels, uint8 [n, h, w, 3], or stored outputs of the frozen part, float16 [n, h, w, c].
            labels: Class indices, int32 [n].
            weights: Share of each image in the loss, float32 [n], sum 1.
            draws: Random numbers for the augmentation of pixels, float32 [n, DRAWS].
            rate: Learning rate of the head.

        Returns:
            Loss (mean cross-entropy, nats) and accuracy (0..1) on this batch, before the step.
        """
        tf = import_tensorflow()
        while True:
            try:
                gradients, loss, right = self._accumulate(inputs, labels, weights, draws)
                break
            except tf.errors.ResourceExhaustedError:
                now = min(self._most or len(labels), len(labels))
                if now <= MIN_SPLIT * self._replicas:
                    raise MemoryError from None
                self._most = max(MIN_SPLIT * self._replicas, now // 2)
                self._tell(
                    f"out of memory: using {plural(self._most, 'image')} at a time from now on; "
                    f"the batch size stays {len(labels)}"
                )
        self._update(gradients, tf.constant(rate, tf.float32))
        return float(loss), float(right) / len(labels)

    def logits(self, inputs: Array) -> NDArray[np.float32]:
        """Return logits in inference mode, float32 [n, classes]; inputs as for `step`, not augmented."""
        return np.asarray(self._infer(inputs), dtype=np.float32)

    def state(self) -> list[Any]:
        """Return every variable that a step may change: those of the network, then those of the optimizer."""
        return [*self.trainable.state, *self._optimizer.variables]

    def restart(self, start: Sequence[Array]) -> None:
        """Set the network back to values of `Trainable.state`, and the optimizer to its beginning."""
        restore(self.trainable.state, start)
        restore(self._optimizer.variables, [np.zeros(each.shape, each.dtype) for each in self._optimizer.variables])

    @property
    def steps(self) -> int:
        """Number of optimizer steps done."""
        return self._optimizer.steps

    def _accumulate(self, inputs: Array, labels: Array, weights: Array, draws: Array) -> tuple[list[Any], Any, Any]:
        most = self._most or len(labels)
        total: list[Any] = []
        loss, right = 0.0, 0.0
        for start in range(0, len(labels), most):
            part = slice(start, start + most)
            arrays = self._filled_up(inputs[part], labels[part], weights[part], draws[part])
            gradients, its_loss, its_right = self._gradients_of(*(self._spread(each) for each in arrays))
            total = [a + b for a, b in zip(total, gradients, strict=True)] if total else gradients
            loss, right = loss + its_loss, right + its_right
        return total, loss, right

    def _filled_up(self, inputs: Array, labels: Array, weights: Array, draws: Array) -> tuple[Array, ...]:
        """Fill a batch up to one image per replica with images that do not count: some kernels refuse empty ones."""
        missing = self._replicas - len(labels)
        if missing <= 0:
            return inputs, labels, weights, draws
        first = [0] * missing
        return (
            np.concatenate([inputs, inputs[first]]),
            np.concatenate([labels, np.full(missing, -1, labels.dtype)]),  # no class, so never right
            np.concatenate([weights, np.zeros(missing, weights.dtype)]),
            np.concatenate([draws, draws[first]]),
        )

    def _spread(self, array: Array) -> Any:
        """Distribute a batch across the replicas."""
        tf = import_tensorflow()
        if self._replicas == 1:
            return tf.constant(array)
        parts = np.array_split(array, self._replicas)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def _distributed(self, inputs: Any, labels: Any, weights: Any, draws: Any) -> tuple[list[Any], Any, Any]:
        tf = import_tensorflow()
        gradients, loss, right = self._strategy.run(self._gradients, args=(inputs, labels, weights, draws))
        total = tf.distribute.ReduceOp.SUM
        return (
            [self._strategy.reduce(total, each, axis=None) for each in gradients],
            self._strategy.reduce(total, loss, axis=None),
            self._strategy.reduce(total, right, axis=None),
        )

    def _gradients(self, inputs: Any, labels: Any, weights: Any, draws: Any) -> tuple[list[Any], Any, Any]:
        tf = import_tensorflow()
        values = tf.cast(inputs, tf.float32)
        if not self.trainable.split:
            values = augment(values, draws, self.recipe.augment, self.recipe.flip)
        with tf.GradientTape() as tape:
            logits = tf.cast(self.trainable.part(values, training=self.recipe.batch_norm == MOVING), tf.float32)
            target = tf.one_hot(labels, logits.shape[-1])
            smoothing = self.recipe.label_smoothing
            target = target * (1 - smoothing) + smoothing / logits.shape[-1]
            loss = tf.reduce_sum(weights * tf.nn.softmax_cross_entropy_with_logits(target, logits))
        gradients = tape.gradient(loss, [each.value for each in self._variables])
        answers = tf.argmax(logits, axis=-1, output_type=labels.dtype)
        return gradients, loss, tf.reduce_sum(tf.cast(answers == labels, tf.float32))

    def _apply(self, gradients: Sequence[Any], rate: Any) -> None:
        tf = import_tensorflow()
        clipped, _ = tf.clip_by_global_norm(gradients, self.recipe.clip)
        self._strategy.run(lambda: self._optimizer.apply(clipped, rate))

    def _logits(self, inputs: Any) -> Any:
        tf = import_tensorflow()
        return tf.cast(self.trainable.part(tf.cast(inputs, tf.float32), training=False), tf.float32)


def snapshot(variables: Sequence[Any]) -> list[Array]:
    """Return the values of variables."""
    return [np.array(each.value.numpy()) for each in variables]


def restore(variables: Sequence[Any], values: Sequence[Array]) -> None:
    """Set variables to values from `snapshot`."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
