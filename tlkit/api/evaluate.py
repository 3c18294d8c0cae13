"""``tlkit.evaluate``: measure how well a bundle does on labelled images."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.api.evaluation import Evaluation
from tlkit.api.labelled import find_part
from tlkit.api.predict import unknown_limit
from tlkit.api.promise import check_precision, promised_on
from tlkit.api.table_options import TableOptions
from tlkit.api.train.keywords import documented
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.run import answers, check_mirroring
from tlkit.errors import TlkitError
from tlkit.evaluation.metrics import TOP, exact, measure
from tlkit.images.class_names import matched_names
from tlkit.images.folder import TRAIN, ImageFolder
from tlkit.images.labelled import data_name
from tlkit.images.layout import class_doubts
from tlkit.libraries import require
from tlkit.plan.choices import ALL, AUTO
from tlkit.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from tlkit.evaluation.grad_cam import ClassMaps

PathLike = str | os.PathLike[str]


@documented(TableOptions)
def evaluate(  # noqa: PLR0913  (one argument an option)
    images: PathLike,
    model: PathLike | Bundle | None = None,
    *,
    split: str = AUTO,
    unknown_rate: float | None = None,
    precision: float | None = None,
    background_test: bool = False,
    tta: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Evaluation:
    """Predict images whose classes are known, and compare. Classes are matched by name, never by position.

    Args:
        images: A folder with one sub-folder per class, or with train/, val/ or test/; or a table of files and labels.
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        split: Part of images with splits of their own. "auto": test/ if there is one, else val/, else everything.
        unknown_rate: As for `tlkit.predict`.
        precision: Find how sure the bundle must be for this share of its answers to be right, from those of these
            images that training did not use; None: for 99%, 95% and 90%.
        background_test: Also find out whether the class can be read from the border of the images or from the facts of
            their files.
        tta: As for `tlkit.predict`.
        engine: "auto": LiteRT on a CPU, Keras on a GPU; "litert"; "keras".
        workers: Threads to read images with, and cores to compute with; None: all.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: There is no bundle or it is damaged, the folder has no such part, none of its classes is in the
            bundle, no image can be read, or there are too few for what was asked.
    """
    table = TableOptions.of("evaluate", options)
    require("evaluate", "scipy", "sklearn")
    bundle = model if isinstance(model, Bundle) else load(model)
    show = progress or SilentProgress()
    folder, part = find_part(images, table, split, show)
    result = evaluate_folder(
        folder,
        part,
        bundle,
        table,
        unknown_rate=unknown_rate,
        precision=precision,
        tta=tta,
        engine=engine,
        workers=workers,
        show=show,
    )
    if not background_test:
        return result
    from tlkit.api.background import background_of

    paths = [result.root / file for file in result.files]
    found = background_of(paths, result.labels, bundle, engine=engine, workers=workers, show=show)
    return replace(result, background=found)


def evaluate_folder(  # noqa: PLR0913  (one argument an option)
    folder: ImageFolder,
    part: str,
    bundle: Bundle,
    table: TableOptions,
    *,
    unknown_rate: float | None = None,
    precision: float | None = None,
    tta: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    show: Progress,
) -> Evaluation:
    """Evaluate a bundle on images that are found already; for the arguments, see `evaluate`.

    Args:
        folder: The images.
        part: Name of the part of the data set that they are, for the result.
        bundle: The bundle.
        table: How the table was to be understood, for the result.
        unknown_rate: As for `evaluate`.
        precision: As for `evaluate`.
        tta: As for `evaluate`.
        engine: As for `evaluate`.
        workers: As for `evaluate`.
        show: Progress reporter.

    Raises:
        TlkitError: As for `evaluate`.
    """
    if precision is not None:
        check_precision(precision)
    known, unknown = _matched(folder, bundle)
    limit = unknown_limit(bundle, unknown_rate)
    if tta:
        check_mirroring(bundle)
    files, labels, rows, unlike, used, contents = [], [], [], [], [], []
    skipped = [*((each.file, each.reason) for each in folder.dropped), *folder.unreadable]
    with show.phase("Evaluating", len(known)) as advance:
        paths = [folder.paths[index] for index, _ in known]
        for answer in answers(paths, bundle, engine=engine, workers=workers, mirrored=tta):
            item, values = answer.item, answer.probabilities
            index, label = known[item.index]
            if values is None:
                skipped.append((folder.files[index], str(answer.error)))
            else:
                files.append(folder.files[index])
                labels.append(label)
                rows.append(values)
                unlike.append(answer.ood_score)
                contents.append(item.content.hex())
                used.append(used_in(bundle, contents[-1]))
            advance(1)
    if not rows:
        raise TlkitError(f"no readable image in {folder.source}", "{}: {}".format(*skipped[0]))
    probabilities = exact(np.stack(rows))
    with show.phase("Computing the metrics", None):
        metrics = measure(probabilities, labels)
        unknown_images = None if limit is None else tuple(each is not None and not each <= limit for each in unlike)
        promises, kept = promised_on(bundle, probabilities, labels, used, contents, unknown_images, precision)
    return Evaluation(
        model=bundle.path,
        images=folder.source,
        root=folder.root,
        table=table,
        classes=bundle.classes,
        split=part,
        files=tuple(files),
        labels=tuple(labels),
        probabilities=probabilities,
        unknown=unknown_images,
        used=tuple(used),
        skipped=tuple(skipped),
        unknown_classes=unknown,
        metrics=metrics,
        promises=promises,
        kept=kept,
        unused=tuple(each.to_json() for each in folder.unused),
        doubts=tuple(class_doubts(folder)),
    )


def used_in(bundle: Bundle, content: str) -> str:
    """What an image with a content hash was used for: "train", "val", "test", or "" for nothing.

    Images that the head was solved on once more, after it was measured, count as training images.
    """
    split = str(bundle.manifest["split"].get(content, ""))
    return TRAIN if split in bundle.manifest.get("refit", ()) else split


def _matched(folder: ImageFolder, bundle: Bundle) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """Match classes by name: (image, class of the bundle) of every match; the number of images of other classes."""
    classes = bundle.classes
    number = {name: index for index, name in enumerate(classes)}
    matches = matched_names(folder.classes, classes)  # regardless of case and encoded accents
    names = [folder.classes[label] for label in folder.labels]
    known = [(index, number[matches[name]]) for index, name in enumerate(names) if name in matches]
    others = [name for name in names if name not in matches]
    unknown = {name: others.count(name) for name in dict.fromkeys(others)}
    if not known:
        raise TlkitError(
            f"no class in {folder.source} is named like a class of the bundle",
            f"the bundle has {', '.join(classes[:TOP])}{', ...' if len(classes) > TOP else ''}; "
            f"the images have {', '.join(list(unknown)[:TOP])}{', ...' if len(unknown) > TOP else ''}",
        )
    return known, unknown


def page_of_evaluation(result: Evaluation, locate: ClassMaps | None, size: tuple[int, int]) -> str:
    """Render the HTML page of an evaluation.

    Args:
        result: The evaluation.
        locate: As for `tlkit.report.gather.sections_of`.
        size: As for `tlkit.report.gather.sections_of`.
    """
    from tlkit.report.evaluation import evaluation_page
    from tlkit.report.gather import sections_of

    found = result.to_json()
    files = [(file, result.root / file) for file in result.files]
    sections = sections_of(found, result.probabilities, result.labels, files, locate, size)
    words = ["tlkit", "evaluate", str(result.images), *result.table.table_words(), "--model", str(result.model)]
    words += [] if result.split == ALL else ["--split", result.split]
    return evaluation_page(found, sections, data_name(result.images), shlex.join(words))
