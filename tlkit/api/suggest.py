"""``tlkit.suggest``: which unlabelled images to label next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkit.api.inputs import find_images
from tlkit.api.places import places_of
from tlkit.api.suggestion import Suggested, Suggestion, verdict_of, why_of
from tlkit.api.train.dataset import stored_features
from tlkit.backbones.copies import confirmed_copies
from tlkit.backbones.extractor import TOP, Extractor, rows_of, widths_of
from tlkit.backbones.features import Features
from tlkit.bundle.backbone import bundle_extractor
from tlkit.bundle.kept import read_kept
from tlkit.bundle.load import Bundle, load
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.duplicates import group_pairs
from tlkit.images.groups import joined_groups
from tlkit.images.labelled import labelled_images
from tlkit.linear.acquisition import RANDOM, WAYS, choose, compact, probabilities_of, strength_of
from tlkit.linear.classifier import ood_taps
from tlkit.linear.replay import Backtest, replay
from tlkit.plan.choices import AUTO
from tlkit.plan.option import unknown_choice
from tlkit.progress import Progress, SilentProgress
from tlkit.store.bound import refuse_cache_among
from tlkit.words import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    than a random draw of as many, by more than chance, the suggestion is a random draw. Copies of labelled images, and of
    each other, are left out. Nothing but the cache is written.

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
    kept = None if labelled is not None else read_kept(bundle, "suggest without --labelled")
    paths = [path for path in find_images(images, progress=progress) if isinstance(path, Path)]
    if not paths:
        raise TlkitError("images in memory cannot be suggested", "give files or folders")
    extractor, head_taps = bundle_extractor(bundle, engine=engine, progress=context.show)
    shown = ood_taps(extractor.taps, head_taps)
    if kept is not None:
        taps = [name for name, _ in kept.taps]
        known = _Labelled(
            Features(
                kept.matrix.astype(np.float32), tuple(range(len(kept))), kept.contents, kept.prints, {}, kept.taps, 0
            ),
            kept.labels,
            bundle.classes,
            kept.groups,
        )
        if missing := {*head_taps, *shown, TOP} - set(taps):
            raise TlkitError(
                f"{bundle.path} keeps no features of {', '.join(sorted(missing))}", "give --labelled IMAGES"
            )
    else:
        taps = [name for name, _ in extractor.taps if name in {*head_taps, *shown, TOP}]
        known = _labelled(str(labelled), taps, extractor, context)
    found = stored_features(paths, extractor, context, taps=taps)
    if found.taps != known.features.taps:
        raise TlkitError(f"the kept features are not of the network in {bundle.path}", "train it again")
    skipped = tuple((str(paths[index]), reason) for index, reason in found.errors.items())
    if not found.rows:
        raise TlkitError(f"no readable image among {plural(len(paths), 'file')}", f"{skipped[0][0]}: {skipped[0][1]}")
    return _suggested(bundle, known, found, paths, head_taps, shown, n, by, skipped, context)


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Labelled images: features, class indices, class names, and the group of each."""

    features: Features
    labels: Sequence[int]
    classes: tuple[str, ...]
    groups: Sequence[str]


def _labelled(images: str, taps: Sequence[str], extractor: Extractor, context: Context) -> _Labelled:
    folder = labelled_images(images)
    refuse_cache_among(places_of(folder).within)
    features = stored_features(folder.paths, extractor, context, taps=taps)
    if not features.rows:
        raise TlkitError(f"no readable image in {folder.source}")
    used = folder.keep(list(features.rows))
    return _Labelled(features, used.labels, used.classes, used.groups)


def _suggested(
    bundle: Bundle,
    known: _Labelled,
    found: Features,
    paths: Sequence[Path],
    head_taps: Sequence[str],
    shown: Sequence[str],
    n: int,
    by: str,
    skipped: tuple[tuple[str, str], ...],
    context: Context,
) -> Suggested:
    labels = np.asarray(known.labels, dtype=np.int64)
    count = len(labels)
    with context.show.phase("Looking for copies", None):
        together = joined(known.features, found)
        copies = confirmed_copies(together)
        pool, labelled_already = _different(group_pairs(copies, len(together.rows)), count)
        groups = joined_groups(known.groups, [pair for pair in copies if max(pair) < count], count)
    if not pool:
        raise TlkitError(
            "no image is left to suggest: all have a label already, or copies that do", "give other images"
        )
    blocks = widths_of(together.taps, head_taps)
    rows = compact(rows_of(together.matrix, together.taps, head_taps), blocks)
    c = strength_of(rows[:count], labels.tolist(), groups, context.seed)
    backtest = replay(rows[:count], labels.tolist(), groups, c, n, seed=context.seed, progress=context.show)
    way = by if by != AUTO else _way_of(backtest)
    classes = len(known.classes)
    probabilities = probabilities_of(rows[:count], labels, rows[pool], classes, c)
    rng = np.random.default_rng([context.seed, 0x5E1EC7])
    with context.show.phase("Choosing", None):
        chosen = choose(way, rows, list(range(count)), pool, probabilities, n, rng)
    place = {row: number for number, row in enumerate(pool)}
    unknown = _unknown(bundle, rows_of(together.matrix[chosen], together.taps, shown))
    why = why_of(way, known.classes)
    made = []
    for rank, row in enumerate(chosen, 1):
        its = probabilities[place[row]]
        file = str(paths[found.rows[row - count]])
        best = int(its.argmax())
        made.append(Suggestion(rank, file, why(its.tolist()), known.classes[best], float(its[best]), unknown[rank - 1]))
    return Suggested(
        model=bundle.path,
        suggestions=tuple(made),
        way=way,
        verdict=verdict_of(backtest, way, count, asked=by != AUTO),
        images=len(pool),
        labelled=count,
        known=labelled_already,
        copies=len(found.rows) - len(pool) - labelled_already,
        backtest=backtest,
        skipped=skipped,
    )


def joined(one: Features, two: Features) -> Features:
    """Return the features of the readable images of two lists one after the other."""
    parts = (one, two)
    total = len(one.rows) + len(two.rows)
    return replace(
        one,
        matrix=np.concatenate([each.matrix for each in parts]),
        rows=tuple(range(total)),
        contents=tuple(each.contents[row] for each in parts for row in each.rows),
        prints=tuple(each.prints[row] for each in parts for row in each.rows),
        errors={},
    )


def _different(groups: Sequence[int], labelled: int) -> tuple[list[int], int]:
    """Return the rows that may be chosen, one of each group of copies, and the number of those with a label already."""
    taken = set(groups[:labelled])
    pool, known, seen = [], 0, set()
    for row in range(labelled, len(groups)):
        if groups[row] in taken:
            known += 1
        elif groups[row] not in seen:
            seen.add(groups[row])
            pool.append(row)
    return pool, known


def _way_of(backtest: Backtest | None) -> str:
    return RANDOM if backtest is None or backtest.best is None else backtest.best.way


def _unknown(bundle: Bundle, features: NDArray[np.float32]) -> list[bool | None]:
    """Return whether each image is unlike those that the bundle was trained on; None: the bundle cannot tell."""
    statistics = bundle.ood
    if statistics is None or features.shape[1] != len(statistics.mean):
        return [None] * len(features)
    limit = statistics.threshold(bundle.unknown_rate)
    return [bool(score > limit) for score in statistics.score(features)]
