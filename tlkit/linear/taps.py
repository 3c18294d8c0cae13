"""Which stages of a frozen backbone the head takes its features from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlkit.backbones.extractor import TOP, Taps, rows_of, widths_of
from tlkit.errors import TlkitError
from tlkit.linear.head import Matrix, least_loss
from tlkit.plan.choices import ALL, EARLY, LAST_LAYERS
from tlkit.progress import Progress

EARLIEST, DEEPEST = 2, 2 / 3  # first stage considered, and the share of the stages that count as early or middle


@dataclass(frozen=True)
class Choice:
    """What the head takes.

    Attributes:
        taps: Names of the pooled blocks, from input to output.
        boundary: The last stage kept, or with "last-layers" the last one that stays as it is; None: there is none.
        measured: (stage, cross-validated log loss, accuracy) of every boundary that was compared.
    """

    taps: tuple[str, ...]
    boundary: str | None
    measured: tuple[tuple[str, float, float], ...] = ()


def early_stages(taps: Taps) -> list[str]:
    """The stages a backbone may be cut after by itself: early and middle ones."""
    stages = [name for name, _ in taps if name != TOP]
    last = max(1, round((len(stages) + 1) * DEEPEST))
    return stages[:last][min(EARLIEST, last) - 1 :]


def check_boundary(boundary: str | None, strategy: str, taps: Taps | None = None) -> None:
    """Refuse a boundary that cannot be.

    Args:
        boundary: Name of a stage, or None.
        strategy: As in the Plan.
        taps: Of the backbone, if known already.

    Raises:
        TlkitError: The strategy has no boundary, or the backbone no such stage.
    """
    if boundary is None:
        return
    if strategy not in (EARLY, LAST_LAYERS):
        hint = f"it goes with {EARLY} and {LAST_LAYERS}"
        raise TlkitError(f"--boundary has no meaning with --strategy {strategy}", hint)
    stages = [name for name, _ in taps or () if name != TOP]
    if taps is not None and boundary not in stages:
        raise TlkitError(f"no stage '{boundary}' to cut after", f"one of {', '.join(stages)}")


def choose_taps(
    matrix: Matrix,
    taps: Taps,
    labels: Sequence[int],
    groups: Sequence[int],
    *,
    strategy: str,
    features: str,
    boundary: str | None,
    balanced: bool,
    seed: int,
    progress: Progress,
) -> Choice:
    """Which blocks the head takes.

    "early-layers" without a boundary compares the early and middle stages: the one whose features have the least
    cross-validated log loss on the training images is taken, the earlier of two alike.

    Args:
        matrix: float32 [n, columns], the blocks ``taps`` one after another, of the training images.
        taps: (name, width) of each block.
        labels: Class index of each row.
        groups: Copies of one image share a group.
        strategy: As in the Plan.
        features: "last" or "all".
        boundary: The stage to cut after; None: by measure. With "last-layers" it is known.
        balanced: Weigh classes by the inverse of their share.
        seed: Of the folds.
        progress: Told about every solution.
    """
    names = [name for name, _ in taps]

    def upto(stage: str) -> tuple[str, ...]:
        return tuple(names[: names.index(stage) + 1]) if features == ALL else (stage,)

    if strategy == LAST_LAYERS and boundary is not None:
        # what lies below the boundary is computed once, so the head has no part in it
        return Choice(tuple(names[names.index(boundary) :]) if features == ALL else (TOP,), boundary)
    if strategy != EARLY:
        return Choice(upto(TOP), None)
    if boundary is not None:
        return Choice(upto(boundary), boundary)
    measured = []
    for stage in early_stages(taps):
        chosen = upto(stage)
        point = least_loss(
            rows_of(matrix, taps, chosen),
            labels,
            groups=groups,
            balanced=balanced,
            blocks=widths_of(taps, chosen),
            seed=seed,
            progress=progress,
        )
        if point is not None:
            measured.append((stage, point.log_loss, point.accuracy))
    # without folds nothing can be measured: the middle one
    best = min(measured, key=lambda each: each[1])[0] if measured else early_stages(taps)[-1]
    return Choice(upto(best), best, tuple(measured))
