"""What a checkpoint says of a run, checked before training goes on from it: the file may be anyone's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from numpy.typing import NDArray

from tlkit.schema import Count, Length, Loss, Within, WrongDataError


@dataclass(frozen=True)
class SavedRow:
    """A row of `tlkit.finetune.loop.TrainState.rows`; figures may be no numbers, if training diverged."""

    step: Count
    epoch: Loss
    learning_rate: Loss
    loss: Loss | None
    accuracy: Loss | None
    val_loss: Loss
    val_accuracy: Loss
    seconds: Loss


@dataclass(frozen=True)
class SavedRun:
    """The plain values of a `tlkit.finetune.loop.TrainState`."""

    step: Count
    seconds: Annotated[float, Within(0, 1e9)]
    rows: Annotated[tuple[SavedRow, ...], Length(1, 100_000)]
    best_row: Count
    loss: Loss
    right: Loss
    since: Count


def fitting(arrays: Mapping[str, NDArray[Any]], name: str, variables: Sequence[Any]) -> list[NDArray[Any]]:
    """Return the saved arrays of variables, in their order.

    Args:
        arrays: Arrays by name: "now0", "now1" and so on.
        name: What the names begin with.
        variables: The variables.

    Raises:
        WrongDataError: An array is missing, is not numeric, or has another shape than its variable.
    """
    found = []
    for number, variable in enumerate(variables):
        array = arrays.get(f"{name}{number}")
        if array is None or array.shape != tuple(variable.value.shape) or array.dtype.kind not in "biuf":
            raise WrongDataError(f"the array {name}{number} does not fit the network")
        found.append(array)
    return found
