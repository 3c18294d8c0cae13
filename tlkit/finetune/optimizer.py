"""AdamW by TensorFlow's fused kernels: two operations a variable.

Keras's optimizer makes some twenty small operations a variable. Building their graph takes several seconds for the
hundreds of variables of a backbone, longer than a short run trains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.finetune.trainable import Group

BETA_1, BETA_2 = 0.9, 0.999


class AdamW:
    """Adam with decoupled weight decay and a rate for each group of variables.

    Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"; as in ``keras.optimizers.AdamW``, the decay is
    proportional to the rate.

    Args:
        groups: Variables and their share of the rate; made in the distribution scope that this is made in.
        weight_decay: Share of a kernel that decays at a rate of 1.
        epsilon: Added to the root of the second moment.
    """

    def __init__(self, groups: Sequence[Group], weight_decay: float, epsilon: float) -> None:
        self._groups, self._decay, self._epsilon = groups, weight_decay, epsilon
        variables = [each for group in groups for each in (*group.decayed, *group.plain)]
        self._slots = [(self._slot(each, "momentum"), self._slot(each, "velocity")) for each in variables]
        self._step = import_keras().Variable(0, dtype="int64", trainable=False, name="adamw_step")

    @property
    def variables(self) -> list[Any]:
        """All that `apply` changes beside the variables trained: the steps done, two moments for each variable."""
        return [self._step, *(slot for pair in self._slots for slot in pair)]

    @property
    def steps(self) -> int:
        """Steps done."""
        return int(self._step.numpy())

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """One step, on the device it is called on.

        Args:
            gradients: Of all variables, in the groups' order.
            rate: float32 scalar, the learning rate of a group whose share is 1.
        """
        tf = import_tensorflow()
        rest = iter(zip(gradients, self._slots, strict=True))
        done = tf.cast(self._step.value, tf.float32) + 1
        powers = tf.exp(done * math.log(BETA_1)), tf.exp(done * math.log(BETA_2))
        for group in self._groups:
            its = rate * group.rate
            for number, variable in enumerate((*group.decayed, *group.plain)):
                gradient, (momentum, velocity) = next(rest)
                # operations by handle act on the copy of a mirrored variable that is on this device
                handle = variable.value.handle
                if number < len(group.decayed) and self._decay:
                    tf.raw_ops.AssignSubVariableOp(resource=handle, value=variable.value * (its * self._decay))
                tf.raw_ops.ResourceApplyAdam(
                    var=handle,
                    m=momentum.value.handle,
                    v=velocity.value.handle,
                    beta1_power=powers[0],
                    beta2_power=powers[1],
                    lr=its,
                    beta1=BETA_1,
                    beta2=BETA_2,
                    epsilon=self._epsilon,
                    grad=gradient,
                )
        tf.raw_ops.AssignAddVariableOp(resource=self._step.value.handle, value=tf.constant(1, tf.int64))

    def _slot(self, variable: Any, name: str) -> Any:
        return import_keras().Variable(
            initializer="zeros", shape=variable.shape, dtype=variable.dtype, trainable=False, name=name
        )
