"""``tlkit.check``: find problems in a dataset before training on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.api.places import places_of
from tlkit.api.table_options import TableOptions
from tlkit.api.train.dataset import read_features
from tlkit.api.train.grouping import find_grouping
from tlkit.api.train.keywords import documented
from tlkit.backbones import catalog
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.run import answers
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.batches import Loaded
from tlkit.images.check import Checked, assess
from tlkit.images.class_names import matched_names
from tlkit.images.duplicates import Pair, copy_pairs
from tlkit.images.facts import Facts, examine, facts_of, start_examining
from tlkit.images.folder import LAYOUT_HINT, ImageFolder
from tlkit.images.group_spec import TABLE, group_spec
from tlkit.images.groups import described, joined_groups, with_groups
from tlkit.images.labelled import labelled_images
from tlkit.linear.label_issues import LabelIssue, find_label_issues, probe_probabilities
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.store.bound import refuse_cache_among

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
    folder = labelled_images(images, table.columns, min_classes=0)
    refuse_cache_among(places_of(folder).within)
    for remark in folder.remarks:
        context.show.note(remark)
    if not folder.files:
        labelled_images(images, table.columns, min_classes=1)  # says why
        raise TlkitError(f"no images in class folders in {folder.root}", LAYOUT_HINT)
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
    with context.show.phase("Looking for copies", None):
        return assess(folder, facts, _copies(facts))


def _copies(facts: Sequence[Facts]) -> list[Pair]:
    return copy_pairs([fact.content for fact in facts], [fact.fingerprint for fact in facts])


def _with_probes(folder: ImageFolder, engine: str, context: Context, by: str | None) -> Checked:
    """Find suspects by cross-validated probes on the frozen features of the deeper half of the stages and the top.

    With the features of the top, also find out whether images come in groups.
    """
    from tlkit.backbones.copies import confirmed_copies
    from tlkit.backbones.extractor import TOP, columns_of, open_extractor

    extractor = open_extractor(catalog.DEFAULT, engine=engine, progress=context.show)
    names = [name for name, _ in extractor.taps]
    paths = folder.paths
    facts: list[Facts] = []

    def observe(item: Loaded) -> None:
        facts.append(facts_of(paths[item.index], item))

    features = read_features(folder, extractor, context, observe, taps=names[len(names) // 2 :])
    rows = features.rows
    with context.show.phase("Looking for copies", None):
        copies = confirmed_copies(features)
        found = assess(folder, facts, [(rows[one], rows[two]) for one, two in copies])
    labels, present = np.unique([folder.labels[row] for row in rows], return_inverse=True)
    readable = folder.keep(list(rows))
    probabilities = None
    if len(labels) > 1:
        by = by or (TABLE if any(readable.groups) else None)
        top = features.matrix[:, columns_of(features.taps, [TOP])]
        found.groups = find_grouping(readable, top, copies, context, by)
        groups = joined_groups(readable.groups, copies, len(rows))
        blocks = [width for _, width in features.taps]
        probabilities = probe_probabilities(
            features.matrix, present.tolist(), groups, context.seed, blocks=blocks, progress=context.show
        )
    if probabilities is None:
        what = "groups" if any(readable.groups) else "different images"
        found.suspects_by = f"not checked: every class needs at least two {what}"
        return found
    found.suspects_by = f"cross-validated probes on the frozen features of {extractor.backbone.name}"
    names = [folder.classes[label] for label in labels]
    _name_suspects(
        found, find_label_issues(probabilities, present.tolist()), [folder.files[row] for row in rows], names
    )
    return found


def _with_bundle(folder: ImageFolder, bundle: Bundle, engine: str, context: Context) -> Checked:
    """Find suspects by a bundle's predictions; images of classes that it does not have are ignored."""
    matches = matched_names(folder.classes, bundle.classes)
    if not matches:
        raise TlkitError(
            f"{bundle.path} has none of the classes in {folder.source}", f"its classes are {', '.join(bundle.classes)}"
        )
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
    with context.show.phase("Looking for copies", None):
        found = assess(folder, facts, _copies(facts))
    number = {name: index for index, name in enumerate(bundle.classes)}
    order = sorted(predicted)
    labels = [number[matches[folder.classes[folder.labels[index]]]] for index in order]
    found.suspects_by = f"predictions of {bundle.path}"
    if order:
        worst = find_label_issues(np.stack([predicted[index] for index in order]), labels)
        _name_suspects(found, worst, [folder.files[index] for index in order], bundle.classes)
    return found


def _name_suspects(found: Checked, suspects: list[LabelIssue], files: Sequence[str], classes: Sequence[str]) -> None:
    """Add suspects to the result, except blank images and those reported as copies in another class."""
    reported = {file for group in found.conflicts for file in group} | set(found.blank)
    found.suspects = [
        (files[each.index], classes[each.label], classes[each.looks_like], each.margin)
        for each in suspects
        if files[each.index] not in reported
    ]
