"""AdamW with TensorFlow's fused kernels: two operations per variable.

The Keras optimizer needs some twenty small operations per variable. For the hundreds of variables of a backbone,
building their graph takes several seconds, longer than the training of a short run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.finetune.trainable import Group

BETA_1, BETA_2 = 0.9, 0.999


class AdamW:
    """Adam with decoupled weight decay and a learning rate per group of variables.

    Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"; as in ``keras.optimizers.AdamW``, the decay is
    proportional to the rate. With ``l2_sp``, all variables also decay towards the values they have now, those they
    start from (Li et al. 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks").

    Args:
        groups: Variables and their learning-rate factors, created in the same distribution scope as the optimizer.
        weight_decay: Share by which kernels decay towards zero per step at a learning rate of 1.
        epsilon: Added to the square root of the second moment.
        l2_sp: Share of the distance to the starting weights that is taken back per step at a learning rate of 1.
    """

    def __init__(self, groups: Sequence[Group], weight_decay: float, epsilon: float, l2_sp: float = 0.0) -> None:
        self._groups, self._decay, self._epsilon, self._l2_sp = groups, weight_decay, epsilon, l2_sp
        variables = [each for group in groups for each in (*group.decayed, *group.plain)]
        start = import_tensorflow().constant
        self._starts = [start(np.array(each.value.numpy())) if l2_sp else None for each in variables]
        self._slots = [(self._slot(each, "momentum"), self._slot(each, "velocity")) for each in variables]
        self._step = import_keras().Variable(0, dtype="int64", trainable=False, name="adamw_step")

    @property
    def variables(self) -> list[Any]:
        """The optimizer's own variables: the step count and two moments per trained variable."""
        return [self._step, *(slot for pair in self._slots for slot in pair)]

    @property
    def steps(self) -> int:
        """Number of steps done."""
        return int(self._step.numpy())

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """Apply one step on the current device.

        Args:
            gradients: Gradients of all variables, in the order of the groups.
            rate: Learning rate of a group with factor 1, float32 scalar.
        """
        tf = import_tensorflow()
        rest = iter(zip(gradients, self._slots, self._starts, strict=True))
        done = tf.cast(self._step.value, tf.float32) + 1
        powers = tf.exp(done * math.log(BETA_1)), tf.exp(done * math.log(BETA_2))
        for group in self._groups:
            its = rate * group.rate
            for number, variable in enumerate((*group.decayed, *group.plain)):
                gradient, (momentum, velocity), start = next(rest)
                # raw operations update the copy of a mirrored variable on this device
                handle = variable.value.handle
                if number < len(group.decayed) and self._decay:
                    tf.raw_ops.AssignSubVariableOp(resource=handle, value=variable.value * (its * self._decay))
                if start is not None:
                    back = (variable.value - start) * (its * self._l2_sp)
                    tf.raw_ops.AssignSubVariableOp(resource=handle, value=back)
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
