"""``tlkit.compare``: two bundles on the same labelled images, and whether their difference is more than chance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.comparison import ClassDifference, Comparison, Disagreement, Side
from tlkit.api.evaluate import evaluate_folder, used_in
from tlkit.api.evaluation import Evaluation
from tlkit.api.labelled import find_part
from tlkit.api.table_options import TableOptions
from tlkit.api.train.keywords import documented
from tlkit.bundle.cost import latencies, network_size
from tlkit.bundle.load import Bundle, load
from tlkit.durable import new_file
from tlkit.errors import TlkitError
from tlkit.evaluation.metrics import Metrics, measure
from tlkit.evaluation.paired import holm, mean_interval, paired
from tlkit.files import file_hash
from tlkit.images.folder import TRAIN, VAL, ImageFolder
from tlkit.libraries import require
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.words import plural

PathLike = str | os.PathLike[str]


@documented(TableOptions)
def compare(
    a: PathLike | Bundle,
    b: PathLike | Bundle,
    images: PathLike | None = None,
    *,
    split: str = AUTO,
    engine: str = AUTO,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Compare two bundles on the same labelled images, by class names.

    Images that either was trained on are left out, as well as those whose class only one of them has.

    Example:
        >>> tlkit.compare("old.tlkit", "new.tlkit", "fresh").verdict  # doctest: +SKIP
        'B is better by 2.1 points (95% interval 0.4 to 3.8), 1,204 images'

    Args:
        a: A bundle or its folder.
        b: Another one.
        images: A folder of class folders, or a table of files and labels, as for `tlkit.evaluate`.
        split: As for `tlkit.evaluate`.
        engine: As for `tlkit.evaluate`.
        workers: As for `tlkit.evaluate`.
        seed: Random seed of the intervals.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: A bundle is damaged or both are the same, no images are given, or as for `tlkit.evaluate`; or no
            image is left that neither was trained on and whose class both have.
    """
    table = TableOptions.of("compare", options)
    require("compare", "scipy", "sklearn")
    one, two = (each if isinstance(each, Bundle) else load(each) for each in (a, b))
    if one.manifest["digest"] == two.manifest["digest"]:
        raise TlkitError(f"{one.path} and {two.path} are the same bundle", "name two different ones")
    if images is None:
        raise TlkitError(
            "to compare bundles, images are needed whose classes are known",
            f"tlkit compare {one.path} {two.path} IMAGES",
        )
    show = progress or SilentProgress()
    folder, part = find_part(images, table, split, show)
    folder, warnings = _comparable(folder, (one, two), show)
    found = [
        evaluate_folder(folder, part, each, table, engine=engine, workers=workers, show=show) for each in (one, two)
    ]
    with show.phase("Measuring the speed", None):
        speeds = latencies([one, two], engine)
    with show.phase("Computing the difference", None):
        return _comparison(found, (one, two), speeds, warnings, seed)


def _comparable(folder: ImageFolder, bundles: Sequence[Bundle], show: Progress) -> tuple[ImageFolder, list[str]]:
    """Keep the images that neither bundle was trained on and whose class both have; and say what of the others.

    Raises:
        TlkitError: There are none.
    """
    a, b = bundles
    both = set(a.classes) & set(b.classes)
    shared = folder.keep([i for i, label in enumerate(folder.labels) if folder.classes[label] in both])
    if not shared.files:
        some = [", ".join(each.classes[:5]) + (", ..." if len(each.classes) > 5 else "") for each in bundles]
        raise TlkitError(
            f"no image in {folder.source} has a class that both bundles have", f"A has {some[0]}; B has {some[1]}"
        )
    uses = _uses(shared, bundles, show)
    fresh = shared.keep([index for index, use in enumerate(uses) if TRAIN not in use])
    gone = len(shared.files) - len(fresh.files)
    if not fresh.files:
        raise TlkitError(
            f"{a.path} or {b.path} was trained on all {plural(gone, 'image')} of {folder.source}",
            "compare on other images; the held-out images of bundles trained with --no-refit can be used",
        )
    said = [f"{plural(gone, 'image')} left out that A or B was trained on"] if gone else []
    for name, count in folder.counts().items():
        if count and name not in both:
            who = " and ".join(side for side, each in zip("AB", bundles, strict=True) if name not in each.classes)
            said.append(f"{plural(count, 'image')} of '{name}' left out: not a class of {who}")
    return fresh, [*said, *_caveats(uses, bundles)]


def _uses(folder: ImageFolder, bundles: Sequence[Bundle], show: Progress) -> list[list[str]]:
    """Return what each bundle's training used each image for; images are recognised by their content."""

    def use(path: Path) -> list[str]:
        try:
            content = file_hash(path)
        except OSError:  # it will be skipped, with the reason
            return [""] * len(bundles)
        return [used_in(bundle, content) for bundle in bundles]

    found = []
    with show.phase("Looking for images used in training", len(folder.files)) as advance, ThreadPoolExecutor() as pool:
        for its in pool.map(use, folder.paths):
            found.append(its)
            advance(1)
    return found


def _caveats(uses: Sequence[Sequence[str]], bundles: Sequence[Bundle]) -> list[str]:
    said = []
    if set(bundles[0].classes) != set(bundles[1].classes):
        said.append(f"A chooses among {len(bundles[0].classes)} classes, B among {len(bundles[1].classes)}")
    counts = [sum(TRAIN not in use and use[side] == VAL for use in uses) for side in (0, 1)]
    chosen = [f"{plural(count, 'image')} for {name}" for name, count in zip("AB", counts, strict=True) if count]
    if chosen:
        said.append(f"used to select the model: {', '.join(chosen)}; the accuracy is probably optimistic")
    return said


def _comparison(
    found: Sequence[Evaluation],
    bundles: Sequence[Bundle],
    speeds: Sequence[float],
    warnings: Sequence[str],
    seed: int,
) -> Comparison:
    a, b = found
    place = {file: row for row, file in enumerate(b.files)}
    rows = [(row, place[file]) for row, file in enumerate(a.files) if file in place]
    if not rows:
        raise TlkitError(f"no image in {a.images} got an answer from both bundles")
    picked = [[row[side] for row in rows] for side in (0, 1)]
    truth = [[each.labels[row] for row in its] for each, its in zip(found, picked, strict=True)]
    values = [each.probabilities[its] for each, its in zip(found, picked, strict=True)]
    right = [probabilities.argmax(axis=1) == labels for probabilities, labels in zip(values, truth, strict=True)]
    names = [a.classes[label] for label in truth[0]]
    losses = [_losses(probabilities, labels) for probabilities, labels in zip(values, truth, strict=True)]
    sides = [
        _side(bundle, measure(probabilities, labels), speed)
        for bundle, probabilities, labels, speed in zip(bundles, values, truth, speeds, strict=True)
    ]
    return Comparison(
        a=sides[0],
        b=sides[1],
        root=a.root,
        split=a.split,
        paired=paired(right[0].tolist(), right[1].tolist(), seed),
        log_loss_difference=float((losses[1] - losses[0]).mean()),
        log_loss_ci95=mean_interval(losses[1] - losses[0], seed),
        per_class=_per_class(names, right, [name for name in a.classes if name in set(names)], seed),
        disagreements=_disagreements([a.files[row] for row in picked[0]], names, found, values),
        warnings=(*a.doubts, *warnings),
        skipped=tuple(dict.fromkeys((*a.skipped, *b.skipped))),
        unused=a.unused,
    )


def _losses(probabilities: NDArray[np.float64], labels: Sequence[int]) -> NDArray[np.float64]:
    """Return the negative log probability of each image's class, as scikit-learn's log loss clips it."""
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(own, np.finfo(np.float64).eps, 1)))


def _side(bundle: Bundle, metrics: Metrics, seconds: float) -> Side:
    its = bundle.manifest
    return Side(
        model=bundle.path,
        backbone=its["backbone"],
        strategy=its["strategy"],
        input_size=bundle.input_size,
        classes=bundle.classes,
        metrics=metrics,
        size=network_size(bundle),
        milliseconds=round(1000 * seconds, 3),
    )


def _per_class(
    names: Sequence[str], right: Sequence[NDArray[np.bool_]], classes: Sequence[str], seed: int
) -> tuple[ClassDifference, ...]:
    own = np.asarray(names, dtype=object)
    pairs = [paired(right[0][own == name].tolist(), right[1][own == name].tolist(), seed) for name in classes]
    corrected = holm([each.p_value for each in pairs])
    return tuple(ClassDifference(*each) for each in zip(classes, pairs, corrected, strict=True))


def _disagreements(
    files: Sequence[str], names: Sequence[str], found: Sequence[Evaluation], values: Sequence[NDArray[np.float64]]
) -> tuple[Disagreement, ...]:
    rows = []
    for file, name, one, two in zip(files, names, *values, strict=True):
        a, b = found[0].classes[int(one.argmax())], found[1].classes[int(two.argmax())]
        if a != b:
            rows.append(Disagreement(file, name, a, b, float(one.max()), float(two.max())))
    return tuple(
        sorted(rows, key=lambda each: (each.right is None, -each.probability_a - each.probability_b, each.file))
    )


def sheet_of_disagreements(result: Comparison, path: Path) -> int:
    """Draw the images that the bundles label differently on one sheet, and return their number.

    Args:
        result: The comparison.
        path: A new image file. It is not written if there are no such images, or none can be read any more.

    Raises:
        TlkitError: It cannot be written.
    """
    from tlkit.api.explain import MAX_ON_SHEET
    from tlkit.images.batches import load_image
    from tlkit.report.sheet import Tile, contact_sheet

    tiles = []
    for each in result.disagreements[:MAX_ON_SHEET]:
        item = load_image(result.root / each.file, None)
        if item.image is not None:
            answers = (f"A: {each.a} {each.probability_a:.0%}", f"B: {each.b} {each.probability_b:.0%}")
            tiles.append(Tile((item.image.pixels,), (each.label, *answers)))
    if tiles:
        with new_file(path) as part:
            contact_sheet(tiles).save(part)
    return len(tiles)
