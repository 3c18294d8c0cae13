"""Choose the stages of a frozen backbone that provide the head's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlkit.backbones.extractor import TOP, Taps, rows_of, widths_of
from tlkit.errors import TlkitError
from tlkit.linear.head import GridPoint, best_grid_point
from tlkit.plan.choices import ALL, EARLY, LAST_LAYERS
from tlkit.plan.plan import Plan
from tlkit.progress import Progress
from tlkit.store.disk_matrix import Vectors

EARLIEST, DEEPEST = 2, 2 / 3  # first stage considered; share of the stages that count as early or middle


@dataclass(frozen=True)
class Choice:
    """The features a head uses.

    Attributes:
        taps: Names of the taps, from input to output.
        boundary: The last stage kept ("early-layers") or the last frozen stage ("last-layers"); None: no boundary.
        measured: (stage, cross-validated log loss, accuracy) of every boundary compared.
    """

    taps: tuple[str, ...]
    boundary: str | None
    measured: tuple[tuple[str, float, float], ...] = ()


def early_stages(taps: Taps) -> list[str]:
    """Return the early and middle stages: those after which a backbone may be cut automatically."""
    stages = [name for name, _ in taps if name != TOP]
    last = max(1, round((len(stages) + 1) * DEEPEST))
    return stages[:last][min(EARLIEST, last) - 1 :]


def check_boundary(boundary: str | None, strategy: str, taps: Taps | None = None) -> None:
    """Refuse an invalid boundary.

    Args:
        boundary: Name of a stage, or None.
        strategy: As in the Plan.
        taps: Taps of the backbone, if already known.

    Raises:
        TlkitError: The strategy has no boundary, or the backbone has no such stage.
    """
    if boundary is None:
        return
    if strategy not in (EARLY, LAST_LAYERS):
        hint = f"use it with {EARLY} or {LAST_LAYERS}"
        raise TlkitError(f"--boundary does not apply to --strategy {strategy}", hint)
    stages = [name for name, _ in taps or () if name != TOP]
    if taps is not None and boundary not in stages:
        raise TlkitError(f"no stage '{boundary}' in this backbone", f"one of {', '.join(stages)}")


def choose_taps(
    matrix: Vectors,
    taps: Taps,
    labels: Sequence[int],
    groups: Sequence[int],
    plan: Plan,
    *,
    balanced: bool,
    progress: Progress,
) -> Choice:
    """Choose the taps that the head uses.

    "early-layers" without a boundary compares the early and middle stages and takes the one with the lowest
    cross-validated log loss on the training images; on a tie, the earlier one.

    Args:
        matrix: Features of the training images, float32 [n, columns], the ``taps`` concatenated.
        taps: (name, width) of each tap.
        labels: Class index of each row.
        groups: Group of each row; copies of one image share a group.
        plan: The strategy with its features, its seed and, for "last-layers", its boundary.
        balanced: Weight classes by inverse frequency.
        progress: Progress reporter.
    """
    features, boundary = plan.features, plan.boundary
    names = [name for name, _ in taps]

    def upto(stage: str) -> tuple[str, ...]:
        return tuple(names[: names.index(stage) + 1]) if features == ALL else (stage,)

    if plan.strategy == LAST_LAYERS and boundary is not None:
        # the part below the boundary is computed once and stored, so the head cannot use its taps
        return Choice(tuple(names[names.index(boundary) :]) if features == ALL else (TOP,), boundary)
    if plan.strategy != EARLY:
        return Choice(upto(TOP), None)
    if boundary is not None:
        return Choice(upto(boundary), boundary)
    measured = []
    for stage in early_stages(taps):
        point = cross_validated(
            matrix, taps, upto(stage), labels, groups, balanced=balanced, seed=plan.seed, progress=progress
        )
        if point is not None:
            measured.append((stage, point.log_loss, point.accuracy))
    # if cross-validation is not possible, take the last candidate
    best = min(measured, key=lambda each: each[1])[0] if measured else early_stages(taps)[-1]
    return Choice(upto(best), best, tuple(measured))


def cross_validated(
    matrix: Vectors,
    taps: Taps,
    chosen: Sequence[str],
    labels: Sequence[int],
    groups: Sequence[int],
    *,
    balanced: bool,
    seed: int,
    progress: Progress,
) -> GridPoint | None:
    """Cross-validate a head on the features of some taps, at the best L2 strength; None if a class is too small.

    Args:
        matrix: Features, float32 [n, columns], the ``taps`` concatenated.
        taps: (name, width) of each tap.
        chosen: Names of the taps that the head uses.
        labels: Class index of each row.
        groups: Group of each row; copies of one image share a group.
        balanced: Weight classes by inverse frequency.
        seed: Random seed of the folds.
        progress: Progress reporter.
    """
    return best_grid_point(
        rows_of(matrix, taps, chosen),
        labels,
        groups=groups,
        balanced=balanced,
        blocks=widths_of(taps, chosen),
        seed=seed,
        progress=progress,
    )


def taps_of(features: str, taps: Taps) -> tuple[str, ...]:
    """Return the names of the taps behind "last" or "all" features of a whole network."""
    return tuple(name for name, _ in taps) if features == ALL else (TOP,)
