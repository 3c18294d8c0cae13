"""How well a bundle does on labelled images: what ``evaluate`` finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.promise import Kept, Promises
from tlkit.api.table_options import TableOptions
from tlkit.evaluation.background import Background
from tlkit.evaluation.classes import ClassFigures, ConfusedPair, class_figures, confusion, figures, most_confused
from tlkit.evaluation.metrics import TOP, Metrics
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.words import plural, some


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a bundle does on labelled images.

    Attributes:
        model: The bundle's folder.
        images: The images' folder, or the table that names them.
        root: The folder that the paths of ``files`` start from.
        table: How the table was to be understood.
        classes: The bundle's class names.
        split: Part of the folder that was evaluated: "train", "val", "test" or "all".
        files: Images that were predicted, relative to the folder.
        labels: Class index of each, among the bundle's classes.
        probabilities: float64 [n, classes], rows sum to 1.
        unknown: Whether each is flagged as unknown; None if the bundle cannot tell.
        used: What training used each image for, found by content: "train", "val", "test" or "" (nothing).
        skipped: (file, reason) of every image or folder that could not be read, or that the table names in vain.
        unused: Files of the image folder that are not used, and why; as in the JSON of ``train``.
        doubts: Why the classes of the images may not be those that are meant, one sentence each.
        unknown_classes: Classes that the bundle does not have, with their number of images; these are ignored.
        metrics: Metrics over all images.
        promises: What can be promised of the answers, from images that training did not use.
        kept: What the bundle's own promise, of the precision asked for, came to on these images; None: nothing was
            asked for, or it makes no such promise.
        background: What the classes can be read from besides the object; None: that was not asked for.
    """

    model: Path
    images: Path
    root: Path
    table: TableOptions
    classes: tuple[str, ...]
    split: str
    files: tuple[str, ...]
    labels: tuple[int, ...]
    probabilities: NDArray[np.float64]
    unknown: tuple[bool, ...] | None
    used: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    unknown_classes: dict[str, int]
    metrics: Metrics
    promises: Promises
    kept: Kept | None = None
    background: Background | None = None
    unused: tuple[dict[str, Any], ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def per_class(self) -> list[ClassFigures]:
        """Metrics of every class of the bundle."""
        return class_figures(self.probabilities, self.labels, self.classes)

    @property
    def confused(self) -> list[ConfusedPair]:
        """The pairs of classes with the most mistakes."""
        return most_confused(confusion(self.probabilities, self.labels), self.classes)

    @property
    def unknown_share(self) -> float | None:
        """Share of images flagged as unknown, 0..1. Their classes are known, so these are false alarms."""
        return None if self.unknown is None else sum(self.unknown) / len(self.unknown)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the metrics may mislead, one sentence each."""
        found = list(self.doubts)
        for split, use, why in (
            (TRAIN, "used in training", "the accuracy is inflated"),
            (VAL, "used to select the model", "the accuracy is probably optimistic"),
        ):
            if count := self.used.count(split):
                found.append(f"{count} of {plural(len(self.used), 'image')} {use}: {why}")
        for name, count in self.unknown_classes.items():
            found.append(f"the bundle has no class '{name}': {plural(count, 'image')} ignored")
        if missing := [its.name for its in self.per_class if not its.support]:
            found.append(f"no images of {some(missing, TOP)}: their recall is not known")
        return (*found, *(self.background.warnings if self.background is not None else ()))

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "split": self.split,
            **figures(self.probabilities, self.labels, self.classes),
            "accuracy_ci95": list(self.metrics.accuracy_ci95),
            "accuracy_interval": "wilson",
            "unknown_share": self.unknown_share,
            "used_in_training": {split: self.used.count(split) for split in (TRAIN, VAL, TEST)},
            "unknown_classes": self.unknown_classes,
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            "warnings": list(self.warnings),
            "promise": self.promises.to_json(),
            "own_promise": None if self.kept is None else self.kept.to_json(),
            "background": None if self.background is None else self.background.to_json(),
            "unused": list(self.unused),
        }
