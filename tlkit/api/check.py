"""``tlkit.check``: find problems in a dataset before training on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.api.check_findings import found_alone, found_by_bundle, found_by_probes
from tlkit.api.places import places_of
from tlkit.api.table_options import TableOptions
from tlkit.api.train.dataset import read_features
from tlkit.api.train.keywords import documented
from tlkit.backbones import catalog
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.run import answers
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.batches import Loaded
from tlkit.images.check import Checked
from tlkit.images.class_names import matched_names
from tlkit.images.facts import Facts, examine, facts_of, start_examining
from tlkit.images.folder import LAYOUT_HINT, ImageFolder
from tlkit.images.group_spec import group_spec
from tlkit.images.groups import described, with_groups
from tlkit.images.labelled import labelled_images
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.store.bound import refuse_cache_among

if TYPE_CHECKING:
    from tlkit.backbones.extractor import Extractor

PathLike = str | os.PathLike[str]


@documented(TableOptions)
def check(
    images: PathLike,
    *,
    suspects: bool = True,
    model: PathLike | Bundle | None = None,
    groups: str | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Checked:
    """Read every file once and report problems; nothing on disk is changed.

    Args:
        images: A folder of class folders, or a table of files and labels, as for training.
        suspects: Also look for wrong labels. This takes a forward pass of the default backbone over every image, whose
            features are kept for training, and confirms near copies by their features.
        model: A bundle whose predictions show wrong labels, instead of cross-validated probes.
        groups: How images are grouped, as for `tlkit.train`; None: look for groups, by folders, file names, EXIF data
            and features, which the search for wrong labels computes.
        engine: "auto" (LiteRT on a CPU, Keras on a GPU), "litert" or "keras".
        workers: Threads or processes to read images with; None: all cores.
        seed: Random seed of the cross-validation.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: There is no such folder, it has no images, or the bundle or the groups cannot be used.
    """
    table = TableOptions.of("check", options)
    context = Context(progress or SilentProgress(), workers, seed)
    by = None if groups is None else group_spec(os.fspath(groups))
    quick = model is None and not suspects
    if quick and workers != 1:
        start_examining(workers)
    folder = folder_to_check(images, table, context.show)
    if by is not None:
        folder = with_groups(folder, by, workers)
        context.show.note(described(folder, by))
    if model is not None:
        return _with_bundle(folder, model if isinstance(model, Bundle) else load(model), engine, context)
    if not quick:
        return _with_probes(folder, engine, context, by)
    facts: list[Facts] = []
    with context.show.phase("Checking", len(folder.files)) as advance:
        for fact in examine(folder.paths, workers):
            facts.append(fact)
            advance(1)
    return found_alone(folder, facts, context)


def folder_to_check(images: PathLike, table: TableOptions, show: Progress) -> ImageFolder:
    """Find the labelled images, and say how they were understood.

    Raises:
        TlkitError: There is no such folder, or it has no images.
    """
    folder = labelled_images(images, table.columns, min_classes=0)
    refuse_cache_among(places_of(folder).within)
    for remark in folder.remarks:
        show.note(remark)
    if not folder.files:
        labelled_images(images, table.columns, min_classes=1)  # says why
        raise TlkitError(f"no images in class folders in {folder.root}", LAYOUT_HINT)
    return folder


def probe_taps(extractor: Extractor) -> list[str]:
    """Names of the deeper half of the stages, and the top: whose features show wrong labels."""
    names = [name for name, _ in extractor.taps]
    return names[len(names) // 2 :]


def _with_probes(folder: ImageFolder, engine: str, context: Context, by: str | None) -> Checked:
    """Find suspects by cross-validated probes on frozen features, and find out whether images come in groups."""
    from tlkit.backbones.extractor import open_extractor

    extractor = open_extractor(catalog.DEFAULT, engine=engine, progress=context.show)
    paths = folder.paths
    facts: list[Facts] = []

    def observe(item: Loaded) -> None:
        facts.append(facts_of(paths[item.index], item))

    features = read_features(folder, extractor, context, observe, taps=probe_taps(extractor))
    return found_by_probes(folder, facts, features, extractor.backbone.name, context, by)


def _with_bundle(folder: ImageFolder, bundle: Bundle, engine: str, context: Context) -> Checked:
    """Find suspects by a bundle's predictions; images of classes that it does not have are ignored."""
    matches = matched_classes(folder, bundle)
    paths = folder.paths
    facts: list[Facts] = []
    predicted: dict[int, np.ndarray] = {}
    with context.show.phase("Checking", len(paths)) as advance:
        for answer in answers(paths, bundle, engine=engine, workers=context.workers, fingerprints=True):
            item, probabilities = answer.item, answer.probabilities
            facts.append(facts_of(paths[item.index], item))
            if probabilities is not None and folder.classes[folder.labels[item.index]] in matches:
                predicted[item.index] = probabilities
            advance(1)
    return found_by_bundle(folder, facts, predicted, matches, bundle.classes, bundle.path, context)


def matched_classes(folder: ImageFolder, bundle: Bundle) -> dict[str, str]:
    """Return the bundle's name of each class of a folder that it has.

    Raises:
        TlkitError: It has none.
    """
    matches = matched_names(folder.classes, bundle.classes)
    if not matches:
        raise TlkitError(
            f"{bundle.path} has none of the classes in {folder.source}", f"its classes are {', '.join(bundle.classes)}"
        )
    return matches
