"""What training gave."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.training.plan import Plan


@dataclass(frozen=True)
class TrainResult:
    """What training gave.

    Attributes:
        model: The bundle's folder.
        plan: What was done.
        classes: Class names; a label is an index into it.
        images: Pictures used, by split, and how many were "skipped".
        skipped: (file, reason) of every picture that could not be read.
        leaks: Groups of files that are copies of one another in different splits of the folder's own.
        uneven: Whether the largest class has over twice the training pictures of the smallest.
        metrics: Figures on the held-out pictures, as in the JSON contract: shares 0..1, loss in nats.
        seconds: "total", "features" and "training".
        reused: Pictures whose features were kept from an earlier run.
        tuning: Of tuned strategies, how training ended: "kept" (whether the tuned weights are in the bundle), "stopped"
            (why), "steps", "best_step", "frozen_val_accuracy" and "frozen_val_loss"; None where only a head was solved.
        resume: The run's folder, where it was interrupted and can go on.
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
            "resume": None if self.resume is None else str(self.resume),
            "metrics": self.metrics,
            "seconds": self.seconds,
            "plan": self.plan.to_json(),
        }


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
