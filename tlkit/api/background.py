"""``evaluate --background-test``: can the class be read from the border of images, or from the facts of their files?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.catalog.table import DEFAULT
from tlkit.backbones.engines import Forward
from tlkit.backbones.extractor import TOP, open_extractor, rows_of
from tlkit.bundle.load import Bundle
from tlkit.errors import TlkitError
from tlkit.evaluation.background import (
    FILE_FACTS,
    VIEWS,
    Background,
    Reading,
    most_common,
    seen,
)
from tlkit.images.batches import Loaded, load_batches
from tlkit.images.capture import Capture, read_captures
from tlkit.linear.folds import Fold, make_folds
from tlkit.progress import Progress
from tlkit.words import plural

SIDE = 192  # pixels that the small classifiers see
BATCH = 32
MAX_IMAGES, MIN_IMAGES = 600, 60
STRENGTH = 0.1  # of the ridge classifiers, see `tlkit.linear.ridge`
TREES, MIN_LEAF = 100, 3  # of the forests
MAX_CAMERAS = 20

Matrix = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class _Seen:
    """What was found by looking at the images once, row by row.

    Attributes:
        features: Pooled features of the packaged network by view, float32 [n, columns].
        right: bool [n] by view: whether the bundle is right.
        light: Brightness and contrast, float32 [n, 2].
        files: Facts of the files by name, float32 [n, columns] each.
        contents: Content hash of each image.
    """

    features: dict[str, Matrix]
    right: dict[str, NDArray[np.bool_]]
    light: Matrix
    files: dict[str, Matrix]
    contents: list[bytes]


def background_of(
    paths: Sequence[Path],
    labels: Sequence[int],
    bundle: Bundle,
    *,
    engine: str,
    workers: int | None,
    show: Progress,
) -> Background:
    """Find out what the class of labelled images can be read from besides the object.

    A network whose weights nobody fitted to these classes, the packaged one, describes the whole images, their border
    and their centre; a ridge classifier of each is cross-validated. So it is told what can be learnt from the border,
    whatever this bundle makes of images whose centre is missing, which it never saw in training; its own answers to
    these are counted besides. The facts of the files are given to a random forest likewise.

    Args:
        paths: The image files.
        labels: Class index of each.
        bundle: The bundle.
        engine: What runs its network, see `tlkit.evaluate`.
        workers: Threads to read images with, and cores to compute with; None: all.
        show: Progress reporter.

    Raises:
        TlkitError: There are too few images, or images of one class only.
    """
    chosen = _chosen(labels)
    names, target = np.unique(np.asarray(labels)[chosen], return_inverse=True)
    if len(chosen) < MIN_IMAGES or len(names) < 2:
        what = f"{plural(len(chosen), 'image')} of {plural(len(names), 'class', 'classes')}"
        raise TlkitError(f"--background-test requires {MIN_IMAGES} images of two classes, and there are {what}")
    some = [paths[index] for index in chosen]
    found = _look(some, names[target], bundle, engine, workers, show)
    _, group = np.unique(np.array(found.contents, dtype=object).astype(bytes), return_inverse=True)
    folds = make_folds(target, group.tolist(), 0)
    if not folds:
        raise TlkitError(
            "--background-test requires two different images of each class", "add images, or leave a class out"
        )
    with show.phase("Testing the background", len(VIEWS) + len(FILE_FACTS) + 2) as advance:

        def read(make: Any, matrix: Matrix) -> Reading:
            right = _cross_validated(make, matrix, target, folds)
            advance(1)
            return Reading(right)

        return Background(
            images=len(chosen),
            majority=float(np.bincount(target).max() / len(target)),
            views={view: read(_ridge, found.features[view]) for view in VIEWS},
            answers={view: Reading(found.right[view]) for view in VIEWS},
            files=read(_forest, np.concatenate(list(found.files.values()), axis=1)),
            light=read(_forest, found.light),
            facts={name: read(_forest, found.files[name]) for name in FILE_FACTS},
            left_out=len(labels) - len(chosen),
        )


def _chosen(labels: Sequence[int]) -> Rows:
    """Return the images to look at: all, or `MAX_IMAGES` of them drawn at random."""
    if len(labels) <= MAX_IMAGES:
        return np.arange(len(labels))
    return np.sort(np.random.default_rng(0).choice(len(labels), MAX_IMAGES, replace=False))


def _look(
    paths: Sequence[Path], labels: Rows, bundle: Bundle, engine: str, workers: int | None, show: Progress
) -> _Seen:
    """Read the images, and run the packaged network and the bundle over each view of them."""
    extractor = open_extractor(DEFAULT, input_size=SIDE, progress=show)
    describe, classify = extractor.forward(workers), bundle.forward(engine, len(paths), workers)
    features: dict[str, list[Matrix]] = {view: [] for view in VIEWS}
    right: dict[str, list[NDArray[np.bool_]]] = {view: [] for view in VIEWS}
    light: list[Matrix] = []
    items: list[Loaded] = []
    ours, its = (_items(paths, size, workers) for size in ((SIDE, SIDE), bundle.input_size))
    with show.phase("Looking at borders and centres", len(paths)) as advance:
        while small := list(islice(ours, BATCH)):
            own = list(islice(its, BATCH))
            pixels, larger = _pixels(small), _pixels(own)
            truth = labels[len(items) : len(items) + len(small)]
            for view in VIEWS:
                features[view].append(rows_of(_run(describe, seen(pixels, view)), extractor.taps, [TOP]))
                answers = _run(classify, seen(larger, view))[:, : len(bundle.classes)]
                right[view].append(answers.argmax(axis=1) == truth)
            grey = pixels.mean(axis=3, dtype=np.float32)
            light.append(np.stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))], axis=1))
            items += small
            advance(len(small))
    return _Seen(
        {view: np.concatenate(rows) for view, rows in features.items()},
        {view: np.concatenate(rows) for view, rows in right.items()},
        np.concatenate(light),
        _file_facts(paths, items, read_captures(paths, workers)),
        [item.content for item in items],
    )


def _items(paths: Sequence[Path], size: tuple[int, int], workers: int | None) -> Iterator[Loaded]:
    for batch in load_batches(paths, size, BATCH, workers=workers, ahead=BATCH):
        yield from batch


def _run(forward: Forward, pixels: NDArray[np.uint8]) -> Matrix:
    return np.array(forward(np.ascontiguousarray(pixels)))  # a copy: the output may be the network's own memory


def _pixels(batch: Sequence[Loaded]) -> NDArray[np.uint8]:
    """Return the pixels of images that could be read a moment ago."""
    for item in batch:
        if item.image is None:
            raise TlkitError(f"an image changed while it was looked at: {item.error}", "run it again")
    return np.stack([item.image.pixels for item in batch if item.image is not None])


def _file_facts(paths: Sequence[Path], items: Sequence[Loaded], captures: Sequence[Capture]) -> dict[str, Matrix]:
    """Return the facts of `FILE_FACTS`, float32 [n, columns] each."""
    images = [item.image for item in items if item.image is not None]
    sides = np.array([(each.width, each.height) for each in images], np.float32)
    area = sides.prod(axis=1)
    size = np.array([path.stat().st_size for path in paths], np.float32)
    days = sorted({each.day for each in captures})
    return dict(
        zip(
            FILE_FACTS,
            (
                np.column_stack([sides, sides[:, 0] / sides[:, 1], area]),
                np.column_stack([size, size / area]),
                _one_hot([f"{each.format} {each.mode}" for each in images]),
                _one_hot([each.camera for each in captures]),
                np.array([[days.index(each.day)] for each in captures], np.float32),
            ),
            strict=True,
        )
    )


def _one_hot(values: Sequence[str]) -> Matrix:
    names = most_common(values, MAX_CAMERAS)
    return np.array([[value == name for name in names] for value in values], np.float32)


def _cross_validated(make: Any, matrix: Matrix, target: Rows, folds: Sequence[Fold]) -> NDArray[np.bool_]:
    """Return whether each row is predicted right by a classifier that was not trained on it; False if never tested."""
    right = np.zeros(len(target), np.bool_)
    for train, test in folds:
        right[test] = make(matrix[train], target[train], matrix[test]) == target[test]
    return right


def _ridge(seen_rows: Matrix, labels: Rows, tested: Matrix) -> Rows:
    from tlkit.linear.ridge import ridge_scores

    mean, scale = seen_rows.mean(axis=0), seen_rows.std(axis=0) + 1e-6
    (scores,) = ridge_scores((seen_rows - mean) / scale, labels, (tested - mean) / scale, [STRENGTH])
    return np.asarray(scores.argmax(axis=1))


def _forest(seen_rows: Matrix, labels: Rows, tested: Matrix) -> Rows:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(TREES, min_samples_leaf=MIN_LEAF, random_state=0)
    return np.asarray(forest.fit(seen_rows, labels).predict(tested))
