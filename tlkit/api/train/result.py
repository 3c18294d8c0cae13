"""The result of ``train``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.api.promise import Promises, promises_of
from tlkit.api.train.coverage import coverage_warnings
from tlkit.api.train.finished import Finished
from tlkit.api.train.start import Start
from tlkit.api.train.trained import Trained, Tuning
from tlkit.bundle.manifest import REPORT
from tlkit.context import Context
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.images.grouping import Grouping
from tlkit.libraries import no_keras
from tlkit.plan.choices import AUTO
from tlkit.plan.plan import Plan
from tlkit.words import plural


@dataclass(frozen=True)
class TrainResult:
    """The result of ``train``.

    Attributes:
        model: The bundle's folder.
        plan: The complete plan.
        classes: Class names; a label is an index into it.
        images: Number of images used, by split, and "skipped".
        skipped: (file, reason) of every image that could not be read.
        leaks: Groups of files that are copies of one another in different splits of the folder.
        imbalanced: Whether the largest class has over twice as many training images as the smallest.
        metrics: Metrics on the held-out images, as in the JSON contract: shares 0..1, loss in nats.
        seconds: "total", "features" and "training".
        reused: Number of images whose features come from an earlier run.
        tuning: How fine-tuning ended; None if only a head was solved.
        resume: The run's folder, if it was interrupted and can be resumed.
        groups: Groups that were asked for or found, and what they mean for the accuracy; None: none were found.
        refit: Splits that the head was solved on once more, after the metrics were measured; empty: it was not.
        report: The HTML page in the bundle; None if there is none.
        promises: What the bundle promises of its answers.
        warnings: What the accuracies do not cover, which classes are in doubt, and what was not possible here, one
            sentence each.
        unused: Files of the image folder that are not used, and why; as in the JSON of ``check``.
    """

    model: Path
    plan: Plan
    classes: tuple[str, ...]
    images: dict[str, int]
    skipped: tuple[tuple[str, str], ...]
    leaks: tuple[tuple[str, ...], ...]
    imbalanced: bool
    metrics: dict[str, Any]
    seconds: dict[str, float]
    reused: int
    tuning: Tuning | None = None
    resume: Path | None = None
    groups: Grouping | None = None
    refit: tuple[str, ...] = ()
    report: Path | None = None
    promises: Promises | None = None
    warnings: tuple[str, ...] = ()
    unused: tuple[dict[str, Any], ...] = ()

    def accuracies(self) -> list[str]:
        """Every accuracy in a sentence that says what its images were used for."""
        tuned = self.tuning is not None
        return accuracy_lines(self.metrics, self.images, tuned, self.imbalanced, self.refit, self.groups)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "backbone": self.plan.backbone,
            "strategy": self.plan.strategy,
            "classes": list(self.classes),
            "images": self.images,
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            "leaks": [list(group) for group in self.leaks],
            "warnings": list(self.warnings),
            "unused": list(self.unused),
            "groups": None if self.groups is None else self.groups.to_json(),
            "features_reused": self.reused,
            "tuning": None if self.tuning is None else self.tuning.to_json(),
            "refit": {"splits": list(self.refit), "images": sum(self.images[split] for split in self.refit)},
            "report": None if self.report is None else str(self.report),
            "resume": None if self.resume is None else str(self.resume),
            "metrics": self.metrics,
            "promise": None if self.promises is None else self.promises.to_json(),
            "seconds": self.seconds,
            "plan": self.plan.to_json(),
        }


def result_of(finished: Finished, plan: Plan, resume: Path | None, context: Context) -> TrainResult:
    """Make the result of a run, once its bundle is written.

    Args:
        finished: The finished run.
        plan: The plan in the bundle.
        resume: The run's folder, if it can be resumed.
        context: Context of the run.
    """
    dataset, trained, target = finished.dataset, finished.trained, finished.place.target
    skipped = finished.skipped
    return TrainResult(
        model=target,
        report=target / REPORT if (target / REPORT).is_file() else None,
        plan=plan,
        classes=dataset.classes,
        images={**{split: dataset.count(split) for split in (TRAIN, VAL, TEST)}, "skipped": len(skipped)},
        skipped=skipped,
        leaks=dataset.leaks,
        imbalanced=dataset.imbalanced,
        metrics=trained.metrics,
        seconds=context.clock.seconds("features", "advice", "training"),
        reused=dataset.features.reused,
        tuning=trained.tuning,
        resume=resume,
        groups=dataset.grouping,
        refit=trained.refit,
        promises=promised(trained, dataset.classes),
        warnings=(*coverage_warnings(dataset), *_not_possible(finished.start)),
        unused=tuple(each.to_json() for each in finished.folder.unused),
    )


def promised(trained: Trained, classes: Sequence[str]) -> Promises | None:
    """What a network promises of its answers; None if that was not measured."""
    its, ood = trained.measured, trained.ood
    if its is None:
        return None
    rate = ood.rate if ood is not None and ood.statistics is not None else 0.0
    return promises_of(its.held_out, its.source, its.why, classes=classes, unknown_rate=rate)


def _not_possible(start: Start) -> tuple[str, ...]:
    """What the advisor could not choose, since something is not installed."""
    lacking = no_keras() if start.request.strategy == AUTO and not start.planned else ""
    return (f"only the head was trained: {lacking}",) if lacking else ()


def accuracy_lines(
    metrics: dict[str, Any],
    images: dict[str, int],
    tuned: bool,
    imbalanced: bool,
    refit: Sequence[str] = (),
    groups: Grouping | None = None,
) -> list[str]:
    """Write every accuracy as a sentence that says what its images were used for.

    Args:
        metrics: As in `TrainResult`.
        images: Likewise.
        tuned: Whether networks were compared on the validation images.
        imbalanced: Whether class imbalance makes plain accuracy misleading.
        refit: Splits that the head was solved on once more after that.
        groups: As in `TrainResult`.
    """
    lines = []
    used = {
        VAL: "also used to select the model, so probably optimistic" if tuned else "",
        TEST: "never used in training",
    }
    for split, name, prefix in ((VAL, "validation", ""), (TEST, "test", "test_")):
        if f"{split}_accuracy" not in metrics:
            continue
        noted = f"{plural(images[split], 'image')}{f', {used[split]}' if used[split] else ''}"
        guessing = f"always guessing the largest class: {metrics[f'{prefix}baseline_accuracy']:.1%}"
        lines.append(f"{name} accuracy {_with_interval(metrics, split)}, {noted}; {guessing}")
        if imbalanced:
            balanced, f1 = metrics[f"{split}_balanced_accuracy"], metrics[f"{split}_macro_f1"]
            both = f"balanced accuracy {balanced:.1%}, macro-F1 {f1:.3f}"
            lines.append(f"class imbalance: {both}, {plural(images[split], 'image')}")
    if "cv_accuracy" in metrics:
        lines.append(
            f"cross-validated accuracy of the frozen backbone {_with_interval(metrics, 'cv')}, "
            f"{plural(images[TRAIN], 'training image')} (too few images for a test set)"
        )
    if groups is not None:
        lines.append(f"groups: {groups.compared}" if groups.asked else groups.warning)
    if refit:
        total = sum(images[split] for split in refit)
        lines.append(f"the head was then solved once more on all {total:,} images, which these figures do not count")
    return lines


def _with_interval(metrics: dict[str, Any], split: str) -> str:
    low, high = metrics[f"{split}_accuracy_ci95"]
    return f"{metrics[f'{split}_accuracy']:.1%} (95% interval {low:.0%} to {high:.0%})"
