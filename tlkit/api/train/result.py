"""What training gave."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.plan.plan import Plan


@dataclass(frozen=True)
class TrainResult:
    """What training gave.

    Attributes:
        model: The bundle's folder.
        plan: What was done.
        classes: Class names; a label is an index into it.
        images: Images used, by split, and how many were "skipped".
        skipped: (file, reason) of every image that could not be read.
        leaks: Groups of files that are copies of one another in different splits of the folder's own.
        uneven: Whether the largest class has over twice the training images of the smallest.
        metrics: Figures on the held-out images, as in the JSON contract: shares 0..1, loss in nats.
        seconds: "total", "features" and "training".
        reused: Images whose features were kept from an earlier run.
        tuning: Of tuned strategies, how training ended: "kept" (whether the tuned weights are in the bundle), "stopped"
            (why), "steps", "best_step", "frozen_val_accuracy" and "frozen_val_loss"; None where only a head was solved.
        resume: The run's folder, where it was interrupted and can go on.
        report: The HTML page in the bundle; None where none was asked for.
    """

    model: Path
    plan: Plan
    classes: tuple[str, ...]
    images: dict[str, int]
    skipped: tuple[tuple[str, str], ...]
    leaks: tuple[tuple[str, ...], ...]
    uneven: bool
    metrics: dict[str, Any]
    seconds: dict[str, float]
    reused: int
    tuning: dict[str, Any] | None = None
    resume: Path | None = None
    report: Path | None = None

    def accuracies(self) -> list[str]:
        """Every accuracy in a sentence that says what was chosen by it."""
        return accuracy_lines(self.metrics, self.tuning is not None, self.uneven)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "backbone": self.plan.backbone,
            "strategy": self.plan.strategy,
            "classes": list(self.classes),
            "images": self.images,
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            "leaks": [list(group) for group in self.leaks],
            "features_reused": self.reused,
            "tuning": self.tuning,
            "report": None if self.report is None else str(self.report),
            "resume": None if self.resume is None else str(self.resume),
            "metrics": self.metrics,
            "seconds": self.seconds,
            "plan": self.plan.to_json(),
        }


def accuracy_lines(metrics: dict[str, Any], tuned: bool, uneven: bool) -> list[str]:
    """Every accuracy in a sentence that says what was chosen by it.

    Args:
        metrics: As in `TrainResult`.
        tuned: Whether networks were compared on the validation images.
        uneven: Whether classes are so uneven that plain accuracy misleads.
    """
    lines = []
    chosen = {"val": ", by which the network was chosen" if tuned else "", "test": ", nothing was chosen by it"}
    for split, name, prefix in (("val", "validation", ""), ("test", "test", "test_")):
        if f"{split}_accuracy" not in metrics:
            continue
        guessing = f"always guessing the largest class {metrics[f'{prefix}baseline_accuracy']:.1%}"
        lines.append(f"{name} accuracy {_with_interval(metrics, split)}{chosen[split]}, {guessing}")
        if uneven:
            balanced, f1 = metrics[f"{split}_balanced_accuracy"], metrics[f"{split}_macro_f1"]
            lines.append(f"classes are uneven: balanced accuracy {balanced:.1%}, macro-F1 {f1:.1%}")
    if "cv_accuracy" in metrics:
        lines.append(
            f"cross-validated accuracy {_with_interval(metrics, 'cv')} of the frozen backbone, on the training "
            "images, in place of a test"
        )
    return lines


def _with_interval(metrics: dict[str, Any], split: str) -> str:
    low, high = metrics[f"{split}_accuracy_ci95"]
    return f"{metrics[f'{split}_accuracy']:.1%} (95% interval {low:.0%} to {high:.0%})"


class Clock:
    """Seconds in all and by lap, to a millisecond."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Note the seconds since the last lap."""
        now = time.perf_counter()
        self.laps[name], self.last = round(now - self.last, 3), now

    def total(self) -> float:
        """Seconds since the start."""
        return round(time.perf_counter() - self.start, 3)
