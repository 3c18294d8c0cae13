"""Open the frozen backbone, compute the features of all images with it, and split them."""

from __future__ import annotations

from dataclasses import replace

from tlkit.api.train.dataset import Dataset, prepare, read_features, stored_features
from tlkit.api.train.grouping import find_grouping
from tlkit.api.train.head import needed_taps
from tlkit.api.train.start import Start
from tlkit.backbones.extractor import TOP, Extractor, open_extractor
from tlkit.context import Context
from tlkit.images.folder import TRAIN, VAL, ImageFolder
from tlkit.images.group_spec import TABLE
from tlkit.linear.taps import check_boundary
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress
from tlkit.words import plural

ONE_GROUP = "all images of a class in one group cannot be on both sides of a split"


def open_backbone(start: Start, context: Context) -> Extractor:
    """Open the frozen backbone, ready to compute features.

    Raises:
        TlkitError: Its weights cannot be loaded, or it does not have the boundary stage.
    """
    plan = start.plan
    extractor = open_extractor(
        start.backbone,
        weights=start.weights,
        input_size=plan.input_size,
        engine=start.request.engine,
        progress=context.show,
    )
    context.clock.lap("loading")
    if plan.strategy != AUTO:
        check_boundary(plan.boundary, plan.strategy, extractor.taps)
    return extractor


def read_dataset(
    start: Start, folder: ImageFolder, extractor: Extractor, context: Context, *, quiet: bool = False
) -> Dataset:
    """Compute the features of all images, and split them.

    Args:
        start: What training starts from.
        folder: The images found.
        extractor: The network.
        context: Context of the run.
        quiet: Whether copies and reused features have been reported already.
    """
    plan = start.plan
    taps = [name for name, _ in extractor.taps] if start.compares_features else needed_taps(plan, extractor.taps)
    if quiet:
        found = stored_features(folder.paths, extractor, context, taps=taps)
    else:
        found = read_features(folder, extractor, context, taps=taps)
    context.clock.lap("features")
    with context.show.phase("Looking for copies", None):
        dataset = prepare(
            folder,
            found,
            plan.val_split,
            plan.seed,
            plan.drop_leaks,
            known=start.earlier_split,
            test_split=plan.test_split,
        )
    if quiet:
        return dataset
    report_copies(dataset, context.show)
    if TOP in dict(dataset.features.taps):  # a plan may need other features only
        dataset = with_grouping(dataset, plan.groups, context)
    return dataset


def with_grouping(dataset: Dataset, asked: str | None, context: Context) -> Dataset:
    """Compare random and grouped folds of the training images; say what was found."""
    training = dataset.part(dataset.of(TRAIN), [TRAIN] * dataset.count(TRAIN))
    asked = asked or (TABLE if any(dataset.folder.groups) else None)
    top = training.matrix(TRAIN, [TOP])
    grouping = find_grouping(training.folder, top, training.copy_pairs, context, asked)
    context.clock.lap("groups")
    if grouping is not None:
        context.show.note(f"groups: {grouping.message}")
    return replace(dataset, grouping=grouping)


def report_copies(dataset: Dataset, show: Progress) -> None:
    """Say which images have copies, and whether they are on both sides of a split."""
    if dataset.split_groups:
        named, done = dataset.split_groups[0], _dropped(dataset)
        show.note(f"groups with images in more than one split: {len(dataset.split_groups)}, such as {named}; {done}")
    splits = dataset.folder.splits
    apart = sum(splits[one] != splits[two] for one, two in dataset.copy_pairs)
    if apart and not dataset.leaks:
        show.note(f"pairs of copies in different groups, on both sides of the split: {apart}")
    if untested := classes_of_one_group(dataset):
        show.note(f"no validation images of {', '.join(untested)}: {ONE_GROUP}")
    if dataset.seen:
        show.note(f"held-out images that an earlier training used: {dataset.seen}; the accuracy may be inflated")
    if dataset.leaks:
        done = _dropped(dataset)
        named = " = ".join(dataset.leaks[0][:2])
        show.note(f"images with copies in another split: {len(dataset.leaks)}, such as {named}; {done}")
    elif dataset.copies and not apart:
        show.note(f"images that have copies: {dataset.copies}; copies stay on one side of the split")


def _dropped(dataset: Dataset) -> str:
    dropped = plural(dataset.dropped, "training image")
    return f"{dropped} left out" if dataset.dropped else "the accuracy may be inflated (see --drop-leaks)"


def classes_of_one_group(dataset: Dataset) -> list[str]:
    """Names of classes without validation images because all their images are in one group of the folder."""
    if dataset.own_validation or not any(dataset.folder.groups):
        return []
    return [name for name, count in dataset.folder.counts(VAL).items() if not count]
