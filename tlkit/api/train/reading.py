"""Open the frozen backbone, compute the features of all images with it, and split them."""

from __future__ import annotations

from tlkit.api.train.dataset import Dataset, prepare, read_features, stored_features
from tlkit.api.train.head import needed_taps
from tlkit.api.train.start import Start
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.context import Context
from tlkit.images.folder import ImageFolder
from tlkit.linear.taps import check_boundary
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress
from tlkit.words import plural


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
    if not quiet:
        _report_copies(dataset, context.show)
    return dataset


def _report_copies(dataset: Dataset, show: Progress) -> None:
    if dataset.seen:
        show.note(f"held-out images that an earlier training used: {dataset.seen}; the accuracy may be inflated")
    if dataset.leaks:
        dropped = plural(dataset.dropped, "training image")
        done = f"{dropped} left out" if dataset.dropped else "the accuracy may be inflated (see --drop-leaks)"
        named = " = ".join(dataset.leaks[0][:2])
        show.note(f"images with copies in another split: {len(dataset.leaks)}, such as {named}; {done}")
    elif dataset.copies:
        show.note(f"images that have copies: {dataset.copies}; copies stay on one side of the split")
