"""What of a network is trained, and how fast: all of it, or the stages above a boundary."""

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

UPPER_SHARE = 0.4  # of the multiplications, at most, that stages above the default boundary take


@dataclass(frozen=True)
class Group:
    """Variables that are trained at the same rate.

    Attributes:
        rate: Factor on the learning rate.
        decayed: Kernels, which weight decay pulls towards zero.
        plain: Biases and the parameters of norms, which it does not.
    """

    rate: float
    decayed: tuple[Any, ...]
    plain: tuple[Any, ...]


@dataclass(frozen=True)
class Trainable:
    """A network with its head, part of which is trained.

    Attributes:
        model: The whole ``keras.Model``, float32 [n, h, w, 3] (RGB, 0..255) to probabilities.
        part: What is run in training, from pixels or from the boundary's output to logits; shares the variables.
        groups: What is trained.
        boundary: The last stage that stays as it is, or None.
        split: Whether ``part`` starts at the boundary.
    """

    model: Any
    part: Any
    groups: tuple[Group, ...]
    boundary: str | None
    split: bool

    @property
    def variables(self) -> list[Any]:
        """All that are trained, in the order of the groups."""
        return [each for group in self.groups for each in (*group.decayed, *group.plain)]

    @property
    def state(self) -> list[Any]:
        """All variables that training may change: those of ``part``, statistics included."""
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
    """Put a head on a backbone and say what is trained.

    Args:
        network: The backbone; its variables become the model's.
        head: Where the head starts from.
        taps: Names of the pooled blocks the head takes; with a boundary, none below it.
        boundary: Name of the last stage that stays as it is; None: everything is trained.
        split: Start at the boundary's output instead of at the pixels.
        layer_decay: Factor on the rate from one stage to the one before it.
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
    last = max(stage_of.get(name, 0) for name in kept)  # later stages were dropped
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
    """The last stage that ``last-layers`` leaves as it is, if nobody says: as deep a part as is cheap is trained.

    Args:
        stages: Of the backbone.
        operations: Multiplications up to the end of each stage, and of the whole backbone under "top".

    Returns:
        The first stage behind which at most `UPPER_SHARE` of the multiplications are done; at least one stage stays
        frozen and one is trained.
    """
    names = [stage.name for stage in stages]
    for name in names[:-1]:
        if operations[TOP] - operations[name] <= UPPER_SHARE * operations[TOP]:
            return name
    return names[max(0, len(names) - 2)]


def _stage_numbers(network: Network) -> dict[str, int]:
    """The stage each layer of the backbone belongs to, from 1; what follows the last stage's end belongs to it."""
    ends = [stage.layer for stage in network.stages]
    number, numbers = 1, {}
    for operation in network.model.operations:
        numbers[operation.name] = min(number, len(ends))
        if operation.name in ends:
            number += 1
    return numbers
