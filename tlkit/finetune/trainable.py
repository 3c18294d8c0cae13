"""Choose which part of a network is trained, all of it or the stages above a boundary, and at which rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlkit.backbones.extractor import TOP
from tlkit.backbones.network import Network
from tlkit.backbones.operations import is_kernel
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.stages import Stage
from tlkit.finetune.folding import fold
from tlkit.linear.classifier import LOGITS, attach_head
from tlkit.linear.head import Head
from tlkit.plan.recipe import MOVING

UPPER_SHARE = 0.4  # maximum share of the multiplications above the default boundary


@dataclass(frozen=True)
class Group:
    """Variables trained at the same rate.

    Attributes:
        rate: Factor on the learning rate.
        decayed: Variables with weight decay: kernels.
        plain: Variables without weight decay: biases and normalisation parameters.
    """

    rate: float
    decayed: tuple[Any, ...]
    plain: tuple[Any, ...]


@dataclass(frozen=True)
class Trainable:
    """A network with a head, all or part of which is trained.

    Attributes:
        model: The whole ``keras.Model``, float32 [n, h, w, 3] (RGB, 0..255) to probabilities.
        part: The part that runs in training, from pixels or the boundary's output to logits; shares the variables.
        groups: The variables to train.
        boundary: The last frozen stage, or None.
        split: Whether ``part`` starts at the boundary.
    """

    model: Any
    part: Any
    groups: tuple[Group, ...]
    boundary: str | None
    split: bool

    @property
    def variables(self) -> list[Any]:
        """All variables to train, in the order of the groups."""
        return [each for group in self.groups for each in (*group.decayed, *group.plain)]

    @property
    def state(self) -> list[Any]:
        """All variables that training may change: those of ``part``, including statistics."""
        return list(self.part.weights)


def make_trainable(
    network: Network,
    head: Head,
    taps: Sequence[str],
    *,
    boundary: str | None,
    split: bool,
    layer_decay: float,
    batch_norm: str,
) -> Trainable:
    """Attach a head to a backbone and group the variables to train.

    Args:
        network: The backbone; the model uses its variables.
        head: Initial values of the head.
        taps: Names of the taps the head uses; with a boundary, none below it.
        boundary: Name of the last frozen stage; None: everything is trained.
        split: Start at the boundary's output instead of at the pixels.
        layer_decay: Factor on the learning rate from each stage to the one before it.
        batch_norm: "frozen" or "moving".
    """
    keras = import_keras()
    model = attach_head(network, head, taps)
    logits = model.get_layer(LOGITS).output
    stage_of = _stage_numbers(network)
    floor = next((stage.index for stage in network.stages if stage.name == boundary), 0)
    start = network.model.get_layer(network.stages[floor - 1].layer).output if split and floor else model.input
    part = keras.Model(start, logits)
    kept = [layer.name for layer in part.layers]
    last = max(stage_of.get(name, 0) for name in kept)  # later stages were cut off
    groups = []
    for number in range(last + 1, floor, -1):
        # the head counts as one more stage
        layers = [each for each in model.layers if each.name in kept and stage_of.get(each.name, last + 1) == number]
        found = [variable for layer in layers for variable in layer.trainable_variables]
        if found:
            kernels = [each for each in found if is_kernel(each)]
            plain = [each for each in found if not is_kernel(each)]
            groups.append(Group(layer_decay ** (last + 1 - number), tuple(kernels), tuple(plain)))
    running = part if batch_norm == MOVING else fold(part)
    return Trainable(model, running, tuple(groups), boundary, bool(split and floor))


def default_boundary(stages: Sequence[Stage], operations: Mapping[str, float]) -> str:
    """Return the default boundary of ``last-layers``: trains as many stages as is cheap.

    Args:
        stages: Stages of the backbone.
        operations: Multiplications up to the end of each stage, and of the whole backbone under "top".

    Returns:
        The first stage above which at most `UPPER_SHARE` of the multiplications take place. At least one stage is
        frozen and one is trained.
    """
    names = [stage.name for stage in stages]
    for name in names[:-1]:
        if operations[TOP] - operations[name] <= UPPER_SHARE * operations[TOP]:
            return name
    return names[max(0, len(names) - 2)]


def _stage_numbers(network: Network) -> dict[str, int]:
    """Map each layer of the backbone to its stage number, from 1; layers after the last stage count as part of it."""
    ends = [stage.layer for stage in network.stages]
    number, numbers = 1, {}
    for operation in network.model.operations:
        numbers[operation.name] = min(number, len(ends))
        if operation.name in ends:
            number += 1
    return numbers
