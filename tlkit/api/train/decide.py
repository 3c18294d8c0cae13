"""Turn options into a plan: features, split, and the strategy, as given or as the advisor chooses."""

from __future__ import annotations

from dataclasses import replace

from tlkit.api.train.dataset import Dataset, prepare, read_features
from tlkit.api.train.head import needed_taps, weighs_classes
from tlkit.api.train.metrics import data_reasons
from tlkit.api.train.stages import ADVICE
from tlkit.api.train.start import Start
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.context import Context
from tlkit.images.folder import ImageFolder
from tlkit.linear.taps import check_boundary
from tlkit.plan.choices import AUTO, LAST, LAST_LAYERS
from tlkit.plan.plan import Plan
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


def read_dataset(start: Start, folder: ImageFolder, extractor: Extractor, context: Context) -> Dataset:
    """Compute the features of all images, and split them."""
    plan = start.plan
    found = read_features(folder, extractor, context, taps=needed_taps(plan, extractor.taps))
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
    _report_copies(dataset, context.show)
    return dataset


def decide(start: Start, dataset: Dataset, extractor: Extractor, context: Context) -> Plan:
    """Complete the plan; for "auto" with the strategy that the advisor chooses, which is reported."""
    plan = start.plan
    if plan.strategy == AUTO:
        plan = _advised(start, dataset, extractor, context)
    if plan.strategy == LAST_LAYERS and plan.boundary is None:
        from tlkit.api.train.network import last_layers_from

        plan = replace(plan, boundary=last_layers_from(extractor, context.show))
    partial_note = [extractor.partial_note] if extractor.partial_note else []
    return plan.because(*data_reasons(dataset, plan), *partial_note)


def _advised(start: Start, dataset: Dataset, extractor: Extractor, context: Context) -> Plan:
    from tlkit.api.recommend.measure import measure

    context.begin(ADVICE)
    plan = start.plan
    measured = measure(dataset, extractor, start.request, weighs_classes(plan, dataset), context)
    advice = measured.advice
    context.clock.lap("advice")
    context.show.note(f"strategy {advice.strategy}: {advice.reasons[0]}")
    return replace(
        plan,
        strategy=advice.strategy,
        features=plan.features if plan.features != LAST else advice.features,
        boundary=advice.boundary,
        expected=advice.expected,
        flips=measured.flips,
        reasons=(*plan.reasons, *advice.reasons),
    )


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
