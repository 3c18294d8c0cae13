"""``tlkit.suggest``: which unlabelled images to label next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlkit.api.inputs import find_images
from tlkit.api.labelled_features import Together, put_together
from tlkit.api.suggestion import Suggested, Suggestion, verdict_of, why_of
from tlkit.bundle.load import Bundle, load
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.linear.acquisition import RANDOM, WAYS, choose, probabilities_of, strength_of
from tlkit.linear.replay import replay
from tlkit.plan.choices import AUTO
from tlkit.plan.option import unknown_choice
from tlkit.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from tlkit.api.inputs import Images

PathLike = str | os.PathLike[str]
BY = (AUTO, *WAYS, RANDOM)

__all__ = ["Suggested", "Suggestion", "suggest"]


def suggest(
    images: Images,
    model: PathLike | None = None,
    *,
    n: int = 50,
    labelled: PathLike | None = None,
    by: str = AUTO,
    engine: str = AUTO,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Suggested:
    """Suggest which unlabelled images to label next.

    Every way of choosing is tried first on the labelled images, as if they had no labels. If none gets more accuracy
    than a random draw of as many, by more than chance, the suggestion is a random draw. Copies of labelled images, and
    of each other, are left out. Nothing but the cache is written.

    Example:
        >>> tlkit.suggest("unlabelled", "photos.tlkit", n=20).suggestions[0].file  # doctest: +SKIP
        'unlabelled/IMG_0412.jpg'

    Args:
        images: Unlabelled image files: paths, folders, tables of files, patterns, or a list of these.
        model: The bundle's folder; None: the newest ``*.tlkit`` in the current folder.
        n: Number of images to suggest.
        labelled: Labelled images, a folder or a table as for `tlkit.train`; None: those whose features the bundle keeps
            (``keep_features`` of `tlkit.train`).
        by: "auto" (what won), "margin", "diverse", "typical" or "random".
        engine: "auto", "litert" or "keras".
        workers: Number of reading threads, and maximum number of cores to compute with; None: all.
        seed: Random seed.
        progress: Progress reporter.

    Raises:
        TlkitError: The bundle keeps no features and no labelled images are given, an option is out of bounds, or no
            unlabelled image is left.
    """
    if by not in BY:
        raise unknown_choice("--by", by, BY)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise TlkitError(f"-n must be at least 1, not {n}", "it is the number of images to label")
    context = Context(progress or SilentProgress(), workers, seed, None)
    bundle = load(model)
    paths = [path for path in find_images(images, progress=progress) if isinstance(path, Path)]
    if not paths:
        raise TlkitError("images in memory cannot be suggested", "give files or folders")
    its = put_together(bundle, labelled, paths, engine, context)
    if not its.pool:
        raise TlkitError("no image is left to suggest: all of them, or copies of them, have a label", "give others")
    count = len(its.labels)
    known = its.rows[:count]
    c = strength_of(known, its.labels.tolist(), its.groups, seed)
    backtest = replay(known, its.labels.tolist(), its.groups, c, n, seed=seed, progress=context.show)
    way = by
    if by == AUTO:
        way = RANDOM if backtest is None or backtest.best is None else backtest.best.way
    with context.show.phase("Choosing", None):
        shown = probabilities_of(known, its.labels, its.rows[its.pool], len(its.classes), c)
        rng = np.random.default_rng([seed, 0x5E1EC7])
        chosen = choose(way, its.rows, list(range(count)), its.pool, shown, n, rng)
    return Suggested(
        model=bundle.path,
        suggestions=_rows(its, chosen, shown, way, bundle),
        way=way,
        verdict=verdict_of(backtest, way, count, asked=by != AUTO),
        images=len(its.pool),
        labelled=count,
        known=its.known,
        copies=len(its.files) - len(its.pool) - its.known,
        backtest=backtest,
        skipped=its.skipped,
    )


def _rows(
    its: Together, chosen: Sequence[int], probabilities: NDArray[np.float64], way: str, bundle: Bundle
) -> tuple[Suggestion, ...]:
    place = {row: number for number, row in enumerate(its.pool)}
    unknown, why = _unknown(bundle, its.shown[list(chosen)]), why_of(way, its.classes)
    made = []
    for rank, row in enumerate(chosen, 1):
        each = probabilities[place[row]]
        best = int(each.argmax())
        file = its.files[row - len(its.labels)]
        made.append(Suggestion(rank, file, why(each.tolist()), its.classes[best], float(each[best]), unknown[rank - 1]))
    return tuple(made)


def _unknown(bundle: Bundle, features: NDArray[np.float32]) -> list[bool | None]:
    """Return whether each image is unlike those that the bundle was trained on; None: the bundle cannot tell."""
    statistics = bundle.ood
    if statistics is None or features.shape[1] != len(statistics.mean):
        return [None] * len(features)
    limit = statistics.threshold(bundle.unknown_rate)
    return [bool(score > limit) for score in statistics.score(features)]
