"""``tlkit.recommend``: what to do with a data set, why, and what accuracy to expect."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from tlkit.advisor.advise import MEASURED
from tlkit.advisor.growth import Growth, foresee_growth
from tlkit.api.recommend.backbone_selection import start_and_folder
from tlkit.api.recommend.measure import Looked, class_counts, look
from tlkit.api.train.dataset import is_uneven, prepare, read_features, skipped_files
from tlkit.api.train.options import TrainOptions, absolute, absolute_backbone
from tlkit.api.train.result import Clock
from tlkit.backbones import catalog
from tlkit.backbones.engines import AUTO
from tlkit.backbones.extractor import open_extractor
from tlkit.backbones.weights.loading import IMAGENET, RANDOM
from tlkit.plan.plan import Plan
from tlkit.progress import Progress, SilentProgress

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What to do with a data set.

    Attributes:
        classes: Class names.
        counts: Training images of each.
        looked: What was measured, and the advice.
        growth: What more images would bring; None where nothing could be measured.
        plan: What `tlkit.train` does with it.
        skipped: (file, reason) of every image that could not be read.
        seconds: "total" and "features".
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    looked: Looked
    growth: Growth | None
    plan: Plan
    skipped: tuple[tuple[str, str], ...]
    seconds: dict[str, float]

    @property
    def expected(self) -> list[dict[str, Any]]:
        """What each strategy is expected to reach, as in the JSON contract; accuracies are None if unknown."""
        rows = []
        for each in self.looked.advice.candidates:
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
        """Plain data, the fields of the command line's JSON."""
        looked, ordered = self.looked, sorted(self.counts)
        return {
            "dataset": {
                "images": sum(self.counts),
                "classes": len(self.classes),
                "per_class_min": ordered[0],
                "per_class_median": looked.size.median,
                "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            },
            "size": {"level": looked.size.level, "why": looked.size.why},
            "similarity": {
                "score": looked.similarity.score,
                "level": looked.similarity.level,
                "evidence": list(looked.similarity.evidence),
            },
            "advisor": looked.advice.by,
            "strategy": looked.advice.strategy,
            "features": looked.advice.features,
            "boundary": self.plan.boundary,
            "backbone": self.plan.backbone,
            "expected": self.expected,
            "more_pictures": None if self.growth is None else asdict(self.growth),
            "pilot": None if looked.pilot is None else looked.pilot.to_json(),
            "measured": None if looked.evidence is None else looked.evidence.to_json(),
            "reasons": list(self.plan.reasons),
            "seconds": self.seconds,
            "plan": self.plan.to_json(),
        }


def recommend(
    images: PathLike,
    *,
    advisor: str = MEASURED,
    pilot: bool = False,
    backbone: str = catalog.DEFAULT,
    preprocessing: str | None = None,
    max_params: float | None = None,
    max_latency: float | None = None,
    weights: str = IMAGENET,
    image_size: int | None = None,
    val_split: float = 0.2,
    test_split: float | None = None,
    class_weights: str = "auto",
    drop_leaks: bool = False,
    time_budget: float | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Recommendation:
    """Say what to do with a folder of images; nothing but the cache is written.

    The features are those that `tlkit.train` uses and are kept for it. What is measured is measured on the images
    that it would train on, and never on its validation images.

    Args:
        images: A folder with one sub-folder per class, or with train/ and optionally val/ and test/.
        advisor: "measured": by cross-validation. "rule": by size and similarity alone.
        pilot: Where it is open whether training weights helps, train the last layers for a while on a part of the
            images, and see.
        backbone: Name in the catalogue, in any unambiguous spelling; a ``.keras`` file with a network of your own, see
            docs/own-backbone.md; "auto": of those whose weights are on this machine, the smallest that is not clearly
            worse than the best, by cross-validation on a sample.
        preprocessing: Of a ``.keras`` file: what its network takes, a key of
            `tlkit.backbones.own.keras_file.PREPROCESSING`; None: what it begins with.
        max_params: With "auto", parameters without the classifier at most.
        max_latency: With "auto", seconds an image on one core at most.
        weights: "imagenet" or a weights file.
        image_size: Side of the square input in pixels; None: the backbone's own.
        val_split: Share of each class kept for validation where the folder has no split of its own.
        test_split: Share of each class kept as test images, on which nothing is chosen, where the folder has none of
            its own; None: 0.1 where there are 300 images to draw from, else 0.
        class_weights: As for `tlkit.train`.
        drop_leaks: As for `tlkit.train`.
        time_budget: Seconds that training may take; strategies that take longer are not advised.
        engine: What computes features: "auto", "litert" or "keras".
        workers: Reading threads, and cores to compute with at most; None: one a processor.
        seed: Of the split and the folds.
        progress: Told what goes on.

    Raises:
        TlkitError: The folder, an option or the weights cannot be used.
    """
    options = TrainOptions(
        images=absolute(images),
        advisor=advisor,
        pilot=pilot,
        backbone=absolute_backbone(backbone),
        preprocessing=preprocessing,
        max_params=max_params,
        max_latency=max_latency,
        weights=weights if weights in (IMAGENET, RANDOM) else absolute(weights),
        image_size=image_size,
        val_split=val_split,
        test_split=test_split,
        class_weights=class_weights,
        drop_leaks=drop_leaks,
        time_budget=time_budget,
        engine=engine,
        seed=seed,
    )
    show, clock = progress or SilentProgress(), Clock()
    start, folder = start_and_folder(options, workers, show)
    extractor = open_extractor(
        start.backbone, weights=options.weights, input_size=image_size, engine=engine, progress=show
    )
    clock.lap("loading")
    found = read_features(folder, extractor, workers, show, taps=[name for name, _ in extractor.taps])
    clock.lap("features")
    data = prepare(folder, found, val_split, seed, drop_leaks, test_split=test_split)
    balanced = class_weights == "auto" and is_uneven(data.folder)
    looked = look(data, extractor, options, balanced=balanced, limit=time_budget, workers=workers, show=show)
    growth = None
    if looked.probes is not None:
        growth = foresee_growth(looked.probes, data.folder.classes)
    advice = looked.advice
    plan = Plan(
        backbone=start.backbone.name,
        weights=start.weights_name,
        strategy=advice.strategy,
        input_size=extractor.input_size,
        val_split=val_split,
        test_split=test_split,
        class_weights=class_weights,
        seed=seed,
        features=advice.features,
        boundary=advice.boundary,
        reasons=(*start.options.advice, *advice.reasons),
        expected=advice.expected,
        **start.origin,
    )
    return Recommendation(
        classes=data.folder.classes,
        counts=tuple(class_counts(data)),
        looked=looked,
        growth=growth,
        plan=plan,
        skipped=skipped_files(folder, found),
        seconds={"total": clock.total(), "features": clock.laps["features"]},
    )
