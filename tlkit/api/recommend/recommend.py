"""``tlkit.recommend``: recommend a strategy for a dataset, with reasons and predicted accuracy."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from tlkit.advisor.frozen_choice import FrozenCandidate
from tlkit.advisor.growth import Growth, predict_growth
from tlkit.api.recommend.frozen_search import search_frozen
from tlkit.api.recommend.measure import Measured, measure
from tlkit.api.train.dataset import skipped_files
from tlkit.api.train.head import weighs_classes
from tlkit.api.train.keywords import documented, refuse_unknown
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.reading import open_backbone, read_dataset
from tlkit.api.train.stages import ADVICE, IMAGES, expect_advice
from tlkit.api.train.start import context_of, find_labelled, prepare_start
from tlkit.context import Clock
from tlkit.images.grouping import Grouping
from tlkit.plan.option import declared
from tlkit.plan.plan import Plan
from tlkit.progress import Progress

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The recommendation for a dataset.

    Attributes:
        classes: Class names.
        counts: Training images of each class.
        measured: What was measured, and the advice.
        frozen: The frozen networks and features compared; empty if all was given.
        growth: What more images would bring; None if nothing could be measured.
        plan: The plan for `tlkit.train`.
        groups: Groups that were asked for or found, and what they mean for the accuracy; None: none were found.
        skipped: (file, reason) of every image that could not be read.
        seconds: "total" and "features".
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    measured: Measured
    frozen: tuple[FrozenCandidate, ...]
    growth: Growth | None
    plan: Plan
    groups: Grouping | None
    skipped: tuple[tuple[str, str], ...]
    seconds: dict[str, float]

    @property
    def compared(self) -> list[dict[str, Any]]:
        """The frozen networks compared, the chosen one first, then by log loss, as in the JSON contract."""
        plan = self.plan
        chosen = (plan.backbone, plan.input_size, plan.frozen_features)
        ranked = sorted(self.frozen, key=lambda each: (-each.images, each.priced_loss))
        rows = [{**asdict(each), "chosen": (*each.network, each.features) == chosen} for each in ranked]
        return sorted(rows, key=lambda row: not row["chosen"])

    @property
    def expected(self) -> list[dict[str, Any]]:
        """Predicted accuracy of each strategy, as in the JSON contract; accuracies are None if unknown."""
        rows = []
        for each in self.measured.advice.candidates:
            its = each.expected
            figures = {
                name: None if its is None else round(getattr(its, name), 4) for name in ("accuracy", "low", "high")
            }
            rows.append(
                {
                    "strategy": each.strategy,
                    "features": each.features,
                    **figures,
                    "seconds": each.seconds,
                    "measured": each.measured and its is not None,
                }
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        measured, ordered = self.measured, sorted(self.counts)
        return {
            "dataset": {
                "images": sum(self.counts),
                "classes": len(self.classes),
                "per_class_min": ordered[0],
                "per_class_median": measured.size.median,
                "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            },
            "size": {"level": measured.size.level, "why": measured.size.why},
            "similarity": {
                "score": measured.similarity.score,
                "level": measured.similarity.level,
                "evidence": list(measured.similarity.evidence),
            },
            "advisor": measured.advice.by,
            "strategy": measured.advice.strategy,
            "features": measured.advice.features,
            "boundary": self.plan.boundary,
            "backbone": self.plan.backbone,
            "frozen": self.compared,
            "expected": self.expected,
            "groups": None if self.groups is None else self.groups.to_json(),
            "more_pictures": None if self.growth is None else asdict(self.growth),
            "pilot": None if measured.pilot is None else measured.pilot.to_json(),
            "measured": None if measured.evidence is None else measured.evidence.to_json(),
            "reasons": list(self.plan.reasons),
            "seconds": self.seconds,
            "plan": self.plan.to_json(),
        }


@documented(TrainOptions, advisor=True)
def recommend(images: PathLike, *, progress: Progress | None = None, **options: Any) -> Recommendation:
    """Recommend a strategy for a folder of images; nothing but the cache is written.

    The features are kept, so `tlkit.train` does not compute them again. Everything is measured on the images that it
    would train on, never on its validation or test images.

    Example:
        >>> tlkit.recommend("photos").plan.strategy  # doctest: +SKIP
        'freeze'

    Args:
        images: A folder or a table, as for `tlkit.train`.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: The folder, an option or the weights cannot be used.
    """
    refuse_unknown("recommend", options, [each.name for each in declared(TrainOptions).values() if each.option.advisor])
    request = TrainOptions.make(images, **options)
    context = context_of(request, progress)
    expect_advice(request, context)
    context.begin(IMAGES)
    start, folder = prepare_start(request, context), find_labelled(request, context)
    extractor = open_backbone(start, context)
    dataset = read_dataset(start, folder, extractor, context)
    # the time budget is for training, which starts after this
    timeless = replace(context, clock=Clock())
    found = search_frozen(start, folder, dataset, extractor, timeless)
    start, dataset = found.start, found.dataset
    context.begin(ADVICE)
    measured = measure(dataset, found.extractor, start, weighs_classes(start.plan, dataset), timeless, found.chosen)
    return Recommendation(
        classes=dataset.classes,
        counts=tuple(dataset.counts()),
        measured=measured,
        frozen=found.compared,
        growth=None if measured.probes is None else predict_growth(measured.probes, dataset.classes),
        plan=measured.follow(start.plan),
        groups=dataset.grouping,
        skipped=skipped_files(folder, dataset.features),
        seconds=context.clock.seconds("features"),
    )
